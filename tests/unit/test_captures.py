"""Two real hosts, answered against the truth that was written down beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.demo.content import DAY, set_age
from app.demo.ids import hex_id
from app.demo.layout import add_directory
from app.host.mounts import read_mountinfo
from app.model import ImageStore, Kind, Layer, Role, Store
from app.survey import Request, survey
from tests.unit import captured
from tests.unit.store_files import DAMAGES, remove
from tests.unit.stub_engine import StubEngine, capture_routes, says

STATES = {
    "shop-web-1": "running",
    "renamed-after": "running",
    "chatty": "running",
    "arroyo": "running",
    "couchdb": "exited",
    "never-started": "created",
}


def store_of(capture: Path, url: str = "") -> Store:
    """The one data root of a capture, answered; without ``url`` by the disk alone."""
    request = Request((bytes(capture / captured.ROOT),), url or None, not url, {})
    (store,) = survey(request).stores
    return store


def told(layer: Layer) -> dict[str, Any]:
    """A layer in the words of ``expected-layers.json``."""
    tags = [tag for owner in layer.owners for tag in owner.tags]
    containers = [it.name for it in layer.owners if it.kind is Kind.CONTAINER]
    return {"role": layer.role.value, "containers": containers, "tags": sorted(tags)}


def truth(capture: Path) -> dict[str, Any]:
    known = captured.expected(capture)
    return {name: {**it, "tags": sorted(it["tags"])} for name, it in known.items()}


# --- overlay2 -------------------------------------------------------------------------------------


@pytest.fixture
def overlay2(captures: Path) -> Path:
    return captures / "overlay2"


@pytest.fixture
def engine(overlay2: Path) -> Iterator[StubEngine]:
    with StubEngine(captured.engine_routes(overlay2)) as running:
        yield running


def test_the_disk_alone_answers_every_directory(overlay2: Path) -> None:
    store = store_of(overlay2)
    assert {name: told(layer) for name, layer in store.layers.items()} == truth(overlay2)
    assert store.problems == ()
    assert store.root.image_store is ImageStore.GRAPHDRIVER


def test_disk_and_engine_answer_every_directory(overlay2: Path, engine: StubEngine) -> None:
    store = store_of(overlay2, engine.url)
    assert store.witnesses == "disk and engine"
    assert {name: told(layer) for name, layer in store.layers.items()} == truth(overlay2)
    assert all(not layer.note for layer in store.layers.values())
    for name, it in truth(overlay2).items():
        if it["role"] in ("writable", "init", "image"):
            sources = [evidence.source for evidence in store.layers[name].evidence]
            assert any(source.startswith("engine: ") for source in sources)
            assert any("image/overlay2" in source for source in sources)


def test_the_witnesses_name_the_same_references(overlay2: Path, engine: StubEngine) -> None:
    both, alone = store_of(overlay2, engine.url), store_of(overlay2)
    for name, layer in both.layers.items():
        assert {(it.kind, it.id, it.name) for it in layer.references} == {
            (it.kind, it.id, it.name) for it in alone.layers[name].references
        }


def test_states_are_the_engines_where_it_answers(overlay2: Path, engine: StubEngine) -> None:
    said = {it.owner.name: it.owner for it in store_of(overlay2, engine.url).containers}
    assert {name: owner.state for name, owner in said.items()} == STATES
    web = said["shop-web-1"]
    assert (web.image, web.compose_project, web.compose_service) == ("app:1", "shop", "web")


def test_a_copy_does_not_claim_that_its_containers_run_here(overlay2: Path) -> None:
    said = {it.owner.name: it.owner.state for it in store_of(overlay2).containers}
    assert said == {
        name: f"{state} (as last saved)" if state == "running" else state
        for name, state in STATES.items()
    }


def test_containers_have_their_layers_and_volumes(overlay2: Path) -> None:
    store = store_of(overlay2)
    for container in store.containers:
        writable, init = container.layers
        assert (store.layers[writable].role, init) == (Role.WRITABLE, f"{writable}-init")
        assert os.path.isfile(os.path.join(container.directory, b"config.v2.json"))
    users = {it.owner.name: [user.name for user in it.users] for it in store.volumes}
    assert users == {"couchdata": ["couchdb"], "forgotten": []}


def test_images_list_their_layers_base_first(overlay2: Path, engine: StubEngine) -> None:
    for store in (store_of(overlay2), store_of(overlay2, engine.url)):
        named = {it.owner.tags: it for it in store.images}
        assert len(named) == 5
        app = named["app:1",]
        assert [store.layers[name].parents for name in app.layers] == [
            tuple(reversed(app.layers[:count])) for count in range(len(app.layers))
        ]
        assert named[()].layers


def _lose(root: Path, damage: Callable[[Path], None]) -> None:
    """Make every file of the metadata unreadable."""
    for place in ("image/overlay2/layerdb", "image/overlay2/imagedb"):
        remove(root / place)
        damage(root / place)
    for file in (*root.glob("containers/*/config.v2.json"), *root.glob("buildkit/*.db")):
        damage(file)


@pytest.mark.parametrize("damage", ["pipe", "looping symlink"])
def test_the_engine_alone_names_all_that_it_knows(
    captures: Path, tmp_path: Path, damage: str
) -> None:
    capture = captured.copy(captures, "overlay2", tmp_path)
    with StubEngine(captured.engine_routes(capture)) as engine:
        _lose(capture / captured.ROOT, DAMAGES[damage])
        store = store_of(capture, engine.url)
    named = 0
    for name, it in truth(capture).items():
        layer = store.layers[name]
        if it["role"] != "build-cache":
            assert told(layer) == it
            assert {evidence.source.partition(":")[0] for evidence in layer.evidence} == {"engine"}
        elif layer.role is Role.UNKNOWN:
            # The engine knows build-cache records, not where they are once they are committed.
            assert "could not be read" in layer.note
            assert any("buildkit" in evidence.source for evidence in layer.evidence)
        else:
            named += told(layer) == it
    assert named == 2
    assert {it.owner.name: it.owner.state for it in store.containers} == STATES
    assert {it.owner.tags for it in store.images} >= {("app:1",), ("base:1",), ()}


def test_the_engine_names_the_layers_of_an_image_that_layerdb_lost(
    captures: Path, tmp_path: Path
) -> None:
    capture = captured.copy(captures, "overlay2", tmp_path)
    with StubEngine(captured.engine_routes(capture)) as engine:
        whole = {it.owner.id: it.layers for it in store_of(capture, engine.url).images}
        remove(capture / captured.ROOT / "image/overlay2/layerdb/sha256")
        lost = {it.owner.id: it.layers for it in store_of(capture, engine.url).images}
    assert whole == lost
    assert all(name for names in lost.values() for name in names)
    assert all(not name for it in store_of(capture).images for name in it.layers)


def test_without_either_witness_everything_is_unknown(captures: Path, tmp_path: Path) -> None:
    capture = captured.copy(captures, "overlay2", tmp_path)
    _lose(capture / captured.ROOT, DAMAGES["pipe"])
    for layer in store_of(capture).layers.values():
        assert layer.role is Role.UNKNOWN
        assert "could not be read" in layer.note


def test_live_mounts_lead_to_the_running_containers(
    overlay2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (overlay2 / "api/mountinfo.txt").read_bytes()
    monkeypatch.setattr("app.survey.read_all", lambda: (read_mountinfo(text, "mnt:[1]", 1), ()))
    store = store_of(overlay2)
    mounted = {
        owner.name
        for layer in store.layers.values()
        if layer.role is Role.WRITABLE and layer.mounts
        for owner in layer.owners
    }
    assert mounted == {name for name, state in STATES.items() if state == "running"}


# --- both stores ---------------------------------------------------------------------------------


def test_layers_left_behind_by_overlay2_are_inactive(captures: Path, tmp_path: Path) -> None:
    """An upgraded host: the engine went over to containerd, the old layers are still there."""
    capture = captured.copy(captures, "overlay2", tmp_path)
    root = capture / captured.ROOT
    info = json.loads((captures / "containerd/api/info.json").read_text())
    routes = {**capture_routes(capture), "/info": says({**info, "DockerRootDir": str(root)})}
    with StubEngine(routes) as engine:
        store = store_of(capture, engine.url)
    assert store.layers.keys() == truth(capture).keys()
    for name, layer in store.layers.items():
        assert (layer.role, layer.active) == (Role.INACTIVE, False)
        assert "switches back" in layer.note
        assert told(layer)["tags"] == truth(capture)[name]["tags"]


def test_a_root_with_both_stores_calls_nothing_unreferenced(captures: Path, tmp_path: Path) -> None:
    capture = captured.copy(captures, "overlay2", tmp_path)
    root = capture / captured.ROOT
    (root / "rootfs/overlayfs").mkdir(parents=True)
    orphan = add_directory(root, hex_id("orphan")).path
    set_age(orphan, 30 * DAY)
    store = store_of(capture)
    assert store.root.image_store is ImageStore.UNDECIDED
    assert store.layers[orphan.name].role is Role.UNKNOWN
    assert "which image store is in use" in store.layers[orphan.name].note
    assert {name: told(store.layers[name]) for name in truth(capture)} == truth(capture)
