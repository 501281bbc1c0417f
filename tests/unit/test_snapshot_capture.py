"""A real Engine 29 host with the containerd image store, answered against the truth beside it."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from app.host.mounts import Mount, read_mountinfo
from app.lookup.query import lookup
from app.model import ImageStore, Kind, Layer, Role, Store
from app.scan.walk import read_fence
from app.survey import Request, survey
from app.usage.units import units_of
from tests.unit import captured
from tests.unit.captured import spoil_images
from tests.unit.containerd_files import META
from tests.unit.store_files import DAMAGES
from tests.unit.stub_engine import StubEngine, says

pytestmark = pytest.mark.usefixtures("captured_machine")

APIS = ["1.44", "1.45", "1.46", "1.51", "1.52", "1.56"]
SNAPSHOTTER = "io.containerd.snapshotter.v1.overlayfs"
#: Which images contain which snapshot: by the manifests and configs of the capture, by hand.
IMAGES = {
    1: ["app:1", "app:2", "base:1", "old:1", "registry.example.com/team/app:2"],
    9: ["app:1", "app:2", "old:1", "registry.example.com/team/app:2"],
    10: ["app:1", "old:1"],
    13: ["app:2", "registry.example.com/team/app:2"],
    20: ["old:1"],
}


@pytest.fixture
def capture(captures: Path) -> Path:
    return captures / "containerd"


@pytest.fixture
def own_copy(captures: Path, tmp_path: Path) -> Path:
    return captured.copy(captures, "containerd", tmp_path)


def store_of(root: Path, url: str = "") -> Store:
    request = Request((os.fsencode(root),), url or None, not url, {})
    (store,) = survey(request).stores
    return store


def check_every_entry(store: Store, capture: Path) -> None:
    """Key, kind, parent, container, role and tags of each directory, and no directory more."""
    known = captured.snapshots(capture)
    assert store.layers.keys() == {f"snapshots/{number}" for number in known}
    for number, it in known.items():
        layer = store.layers[f"snapshots/{number}"]
        assert layer.snapshot
        assert (layer.snapshot.key, layer.snapshot.kind) == (it["key"], it["kind"])
        below = f"snapshots/{it['parent']}" if it["parent"] else None
        assert next(iter(layer.parents), None) == below
        assert (layer.snapshot.recorded is not None) == (it["kind"] == "committed")
        expected = "image" if int(number) in IMAGES else it.get("role", "build-cache")
        assert layer.role.value == expected, (number, layer.note)
        containers = [owner.name for owner in layer.owners if owner.kind is Kind.CONTAINER]
        assert containers == ([it["container"]] if "container" in it else [])
        tags = sorted(tag for owner in layer.owners for tag in owner.tags)
        assert tags == IMAGES.get(int(number), [])
        assert layer.owners
        assert layer.evidence
        assert not layer.note


def test_the_disk_alone_answers_every_entry(capture: Path) -> None:
    store = store_of(capture / captured.ROOT)
    check_every_entry(store, capture)
    assert store.problems == ()
    assert store.root.containerd == os.fsencode(captured.containerd_root(capture))


@pytest.mark.parametrize("api", APIS)
def test_disk_and_engine_answer_every_entry(capture: Path, api: str) -> None:
    with StubEngine(captured.containerd_routes(capture, api)) as engine:
        store = store_of(capture / captured.ROOT, engine.url)
    assert store.witnesses == "disk and engine"
    check_every_entry(store, capture)
    assert store.problems == ()
    states = {it.owner.name: it.owner.state for it in store.containers}
    assert states["shop-web-1"] == "running"
    assert states["couchdb"] == "exited"
    for layer in store.layers.values():
        sources = [it.source for it in layer.evidence]
        assert any(source.endswith("metadata.db") for source in sources)
        if layer.role in (Role.WRITABLE, Role.INIT, Role.IMAGE):
            assert any(source.startswith("engine: ") for source in sources)


@pytest.mark.parametrize("damage", ["missing", "pipe", "empty", "zeros", "huge"])
def test_the_engine_stands_in_for_the_rest_of_the_disk(own_copy: Path, damage: str) -> None:
    """Without meta.db, contents and configs the snapshotter's keys still join with its ids."""
    root = own_copy / captured.ROOT
    DAMAGES[damage](captured.containerd_root(own_copy) / META)
    for config in root.glob("containers/*/config.v2.json"):
        DAMAGES[damage](config)
    with StubEngine(captured.containerd_routes(own_copy)) as engine:
        store = store_of(root, engine.url)
    for number, it in captured.snapshots(own_copy).items():
        layer = store.layers[f"snapshots/{number}"]
        if "container" in it:
            assert (layer.role.value, layer.owners[0].name) == (it["role"], it["container"])
        elif int(number) in IMAGES:
            assert layer.role is Role.IMAGE
            assert sorted(t for owner in layer.owners for t in owner.tags) == IMAGES[int(number)]
        else:
            assert layer.role in (Role.BUILD_CACHE, Role.UNKNOWN)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("database", [META, f"{SNAPSHOTTER}/metadata.db"])
def test_a_database_that_cannot_be_read_leaves_nobodys_snapshots_unknown(
    own_copy: Path, database: str, damage: str
) -> None:
    file = captured.containerd_root(own_copy) / database
    DAMAGES[damage](file)
    store = store_of(own_copy / captured.ROOT)
    if damage in ("symlink", "short") and not store.problems:
        # A link to the whole file, or a file that lost nothing but free pages.
        check_every_entry(store, own_copy)
        return
    assert any(it.hides_owners and str(file) in it.sentence for it in store.problems)
    assert len(store.layers) == 28
    for layer in store.layers.values():
        assert layer.role is not Role.UNREFERENCED
        if not layer.owners:
            assert layer.role is Role.UNKNOWN
            assert "could not be read" in layer.note


@pytest.mark.parametrize("damage", ["missing", "pipe", "empty", "zeros"])
@pytest.mark.parametrize("what", ["meta.db", "contents", "a config"])
def test_an_image_that_cannot_be_read_may_still_hold_what_the_cache_has(
    captures: Path, own_copy: Path, what: str, damage: str
) -> None:
    spoil_images(captured.containerd_root(own_copy), what, damage)
    whole = store_of(captures / "containerd" / captured.ROOT).layers
    layers = store_of(own_copy / captured.ROOT).layers
    hit = [name for name in layers if layers[name].role is not whole[name].role]
    assert hit
    for name in hit:
        layer = layers[name]
        assert whole[name].role is Role.IMAGE
        assert layer.role in (Role.UNKNOWN, Role.BUILD_CACHE)
        assert "could not be read" in layer.note
        assert not layer.note.startswith("an image") or layer.role is Role.BUILD_CACHE
    # What goes by a record's id no image can hold.
    assert not layers["snapshots/4"].note


def test_containers_have_their_snapshots_volumes_and_logs(capture: Path) -> None:
    found = {it.owner.name: it for it in store_of(capture / captured.ROOT).containers}
    assert found["couchdb"].layers == ("snapshots/29", "snapshots/28")
    assert found["couchdb"].volumes == ("couchdata",)
    assert os.path.isdir(found["couchdb"].directory)


def test_images_have_their_snapshots_and_their_blobs(capture: Path) -> None:
    store = store_of(capture / captured.ROOT)
    images = {it.owner.name: it for it in store.images}
    assert images["old:1"].layers == tuple(f"snapshots/{n}" for n in (1, 9, 10, 20))
    assert images["app:2"].owner.tags == ("app:2", "registry.example.com/team/app:2")
    for image in images.values():
        assert image.owner.id in image.blobs
        assert all(image.owner in store.blobs[digest].owners for digest in image.blobs)
    for blob in store.blobs.values():
        status = os.lstat(blob.path)
        assert (blob.usage.bytes, blob.usage.inodes) == (status.st_blocks * 512, 1)


def _mounts(capture: Path, *, prefix: str) -> tuple[Mount, ...]:
    text = (capture / "api/mountinfo.txt").read_text()
    return read_mountinfo(text.replace("/var/lib/", f"{prefix}/var/lib/").encode(), "mnt:[1]", 1)


def test_live_mounts_lead_to_the_running_containers(
    capture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = _mounts(capture, prefix=str(capture))
    monkeypatch.setattr("app.survey.read_all", lambda: (mounts, ()))
    store = store_of(capture / captured.ROOT)
    mounted = {
        owner.name
        for layer in store.layers.values()
        if layer.role is Role.WRITABLE and layer.mounts
        for owner in layer.owners
    }
    assert mounted == {"shop-web-1", "arroyo", "chatty", "renamed-after"}
    assert len(store.layers["snapshots/1"].mounts) == 4


def test_another_hosts_mounts_prove_nothing_about_a_copy(
    capture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.survey.read_all", lambda: (_mounts(capture, prefix=""), ()))
    assert not any(it.mounts for it in store_of(capture / captured.ROOT).layers.values())


def test_a_live_mount_names_its_container_where_the_databases_are_lost(
    own_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = _mounts(own_copy, prefix=str(own_copy))
    monkeypatch.setattr("app.survey.read_all", lambda: (mounts, ()))
    root = captured.containerd_root(own_copy)
    for database in (META, f"{SNAPSHOTTER}/metadata.db"):
        DAMAGES["empty"](root / database)
    layer = store_of(own_copy / captured.ROOT).layers["snapshots/27"]
    assert (layer.role, layer.owners[0].name) == (Role.WRITABLE, "arroyo")


# --- discovery ------------------------------------------------------------------------------------


def test_naming_the_containerd_root_shows_the_docker_that_uses_it(capture: Path) -> None:
    check_every_entry(store_of(captured.containerd_root(capture)), capture)


def test_both_roots_may_be_named_wherever_they_are(own_copy: Path, tmp_path: Path) -> None:
    docker, containerd = tmp_path / "one/data", tmp_path / "two/store"
    docker.parent.mkdir()
    containerd.parent.mkdir()
    (own_copy / captured.ROOT).rename(docker)
    captured.containerd_root(own_copy).rename(containerd)
    request = Request((os.fsencode(docker), os.fsencode(containerd)), None, True, {})
    (store,) = survey(request).stores
    check_every_entry(store, own_copy)
    alone = store_of(docker)
    assert alone.layers == {}
    assert "name both with --data-root" in alone.problems[0].sentence


def test_a_containerd_root_alone_still_names_images(own_copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(own_copy / captured.ROOT)
    store = store_of(captured.containerd_root(own_copy))
    image = store.layers["snapshots/20"]
    assert (image.role, image.owners[0].tags) == (Role.IMAGE, ("docker.io/library/old:1",))
    assert image.owners[0].namespace == "moby"
    writable = store.layers["snapshots/25"]
    assert (writable.role, writable.owners[0].kind) == (Role.UNKNOWN, Kind.LEASE)


def test_both_stores_on_one_host_are_shown_and_the_inactive_one_is_named(
    captures: Path, own_copy: Path, tmp_path: Path
) -> None:
    """The engine says which store it uses; nobody's data of the other is called unreferenced."""
    other = captured.copy(captures, "overlay2", tmp_path)
    root = own_copy / captured.ROOT
    for name in ("overlay2", "image/overlay2"):
        shutil.copytree(other / captured.ROOT / name, root / name, symlinks=True)
    with StubEngine(captured.containerd_routes(own_copy)) as engine:
        store = store_of(root, engine.url)
    assert len(store.layers) == 28 + len(captured.expected(other))
    for name, layer in store.layers.items():
        assert (layer.role is Role.INACTIVE) == (not name.startswith("snapshots/"))
    routes = captured.containerd_routes(own_copy)
    info = json.loads((other / "api/info.json").read_text())
    routes["/info"] = says({**info, "DockerRootDir": str(root)})
    with StubEngine(routes) as engine:
        store = store_of(root, engine.url)
    for name, layer in store.layers.items():
        assert (layer.role is Role.INACTIVE) == name.startswith("snapshots/")
        assert layer.role is not Role.UNREFERENCED
    assert store_of(root).root.image_store is ImageStore.UNDECIDED
    units = {unit.path for unit in units_of(store, read_fence().points)}
    assert all(layer.path in units for layer in store.layers.values())


def test_what_is_mounted_is_not_inactive(own_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that works with overlay2 says nothing of a container that another one runs."""
    mounts = _mounts(own_copy, prefix=str(own_copy))
    monkeypatch.setattr("app.survey.read_all", lambda: (mounts, ()))
    routes = captured.containerd_routes(own_copy)
    info = json.loads((own_copy / "api/info.json").read_text())
    overlay2 = {
        "Driver": "overlay2",
        "DriverStatus": [],
        "DockerRootDir": str(own_copy / captured.ROOT),
    }
    routes["/info"] = says({**info, **overlay2})
    with StubEngine(routes) as engine:
        layers = store_of(own_copy / captured.ROOT, engine.url).layers.values()
    assert any(layer.mounts for layer in layers)
    for layer in layers:
        assert layer.role is (Role.UNKNOWN if layer.mounts else Role.INACTIVE)
        assert layer.active == bool(layer.mounts)
        assert "yet it is mounted" in layer.note or not layer.mounts


# --- what nobody owns -----------------------------------------------------------------------------


def _leaked(store: Store) -> Layer:
    return store.layers["snapshots/25"]


def test_a_lease_whose_container_is_gone_is_named(own_copy: Path) -> None:
    root = own_copy / captured.ROOT
    (config,) = root.glob("containers/6285*/config.v2.json")
    shutil.rmtree(config.parent)
    layer = _leaked(_aged(root, own_copy))
    assert layer.role is Role.UNKNOWN
    assert [owner.kind for owner in layer.owners] == [Kind.LEASE]
    assert "no container has this id any more; lease 6285" in layer.note
    assert any(it.kind is Kind.LEASE for it in layer.references)


def _aged(root: Path, capture: Path) -> Store:
    """The store with every directory as old as on a host that has run for a while."""
    for folder in captured.containerd_root(capture).glob(f"{SNAPSHOTTER}/snapshots/*"):
        os.utime(folder / "fs", (1, 1)) if (folder / "fs").is_dir() else None
        os.utime(folder, (1, 1))
    return store_of(root)


def test_directories_that_no_database_knows_are_left_to_containerd(own_copy: Path) -> None:
    snapshots = captured.containerd_root(own_copy) / SNAPSHOTTER / "snapshots"
    for name in ("9999", "myorphan", "new-123"):
        (snapshots / name / "fs").mkdir(parents=True)
    store = _aged(own_copy / captured.ROOT, own_copy)
    for name in ("9999", "myorphan"):
        layer = store.layers[f"snapshots/{name}"]
        assert layer.role is Role.UNKNOWN
        assert layer.note.endswith("containerd removes it itself at its next collection")
    assert store.layers["snapshots/new-123"].note.startswith("being created?")


def test_a_young_directory_may_be_a_pull_in_progress(own_copy: Path) -> None:
    snapshots = captured.containerd_root(own_copy) / SNAPSHOTTER / "snapshots"
    (snapshots / "9999" / "fs").mkdir(parents=True)
    layer = store_of(own_copy / captured.ROOT).layers["snapshots/9999"]
    assert layer.note.startswith("being created?")


def test_a_snapshot_that_was_removed_by_hand_is_told(own_copy: Path) -> None:
    shutil.rmtree(captured.containerd_root(own_copy) / SNAPSHOTTER / "snapshots/10")
    store = store_of(own_copy / captured.ROOT)
    (problem,) = store.problems
    assert "snapshots/10 is gone" in problem.sentence
    images = {it.owner.name: it for it in store.images}
    assert images["app:1"].layers == ("snapshots/1", "snapshots/9", "")


@pytest.mark.parametrize(
    ("gone", "says_so"),
    [("containers", "the disk says container"), ("images", "the disk says image")],
)
def test_witnesses_that_differ_make_a_snapshot_unknown(
    capture: Path, gone: str, says_so: str
) -> None:
    routes = captured.containerd_routes(capture)
    routes[f"/{gone}/json"] = says([])
    with StubEngine(routes) as engine:
        store = store_of(capture / captured.ROOT, engine.url)
    number = "25" if gone == "containers" else "20"
    layer = store.layers[f"snapshots/{number}"]
    assert layer.role is Role.UNKNOWN
    assert says_so in layer.note


# --- which ----------------------------------------------------------------------------------------

CID = "6285bfcf2046752a7a13b68dfc72e53a98665acab8a3240beb432da8c5bcf72c"
ASKED = {
    "snapshots/25": "25",
    "25": "25",
    "snapshots/25/fs/etc/passwd": "25",
    f"{CID}-init": "24",
    f"moby/39/{CID}": "25",
    "sha256:34dda0cb5d3a5410eb638f0809bdcda838b8fbb249f1594ca2c49e6e3cba3731": "20",
    "34dda0cb5d3a": "20",
    "ln526hbt4r3q672pi5gcsdzee": "21",
    "a490v3eymu67": "14",
    f"{{containerd}}/{SNAPSHOTTER}/snapshots/25/fs/tmp": "25",
    f"{{docker}}/rootfs/overlayfs/{CID}/var/log": "25",
}


@pytest.mark.parametrize(("asked", "number"), ASKED.items())
def test_every_way_to_ask_for_a_snapshot_leads_to_it(
    capture: Path, asked: str, number: str
) -> None:
    store = store_of(capture / captured.ROOT)
    path = asked.format(
        containerd=captured.containerd_root(capture), docker=capture / captured.ROOT
    )
    (answer,) = lookup(os.fsencode(path), (store,))
    assert answer.layer == store.layers[f"snapshots/{number}"]
    assert answer.owners


def test_a_containers_id_leads_to_both_its_snapshots(capture: Path) -> None:
    store = store_of(capture / captured.ROOT)
    found = lookup(CID[:12].encode(), (store,))
    assert {it.layer.id for it in found if it.layer} == {"snapshots/25", "snapshots/24"}


def test_a_task_mount_leads_to_its_snapshot(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path below a mount point outside both roots, as k8s, nerdctl and ctr have them."""
    point = b"/run/x/io.containerd.runtime.v2.task/k8s.io/c/rootfs"
    first, *_ = _mounts(capture, prefix=str(capture))
    mounts = (replace(first, point=point),)
    monkeypatch.setattr("app.survey.read_all", lambda: (mounts, ()))
    elsewhere = lookup(point + b"/etc", (store_of(capture / captured.ROOT),))
    assert not any(it.layer for it in elsewhere)  # so far in another namespace only
    monkeypatch.setattr("app.survey.read_own", lambda: mounts)
    store = store_of(capture / captured.ROOT)
    (answer,) = lookup(point + b"/etc", (store,))
    assert answer.layer
    assert answer.layer.id == "snapshots/25"


def test_a_blob_leads_to_its_images(capture: Path) -> None:
    store = store_of(capture / captured.ROOT)
    config = "sha256:b3d8ed678317bdfc00fd5e1bb6270eb81576af47653ed9b981e9a85bcdb9c1ba"
    for asked in (config.encode(), config[:20].encode(), store.blobs[config].path):
        (answer,) = lookup(asked, (store,))
        assert [owner.name for owner in answer.owners] == ["base:1"]
        assert "blob" in answer.note


def test_files_of_containerds_own_are_its_own(capture: Path) -> None:
    store = store_of(capture / captured.ROOT)
    (answer,) = lookup(os.fsencode(captured.containerd_root(capture) / META), (store,))
    assert not answer.owners
    assert "containerd's own" in answer.note
    assert re.search("no container, image or volume", answer.note)
