"""whodiff's answers against the engine's own, with the engine up and with it stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.lookup.query import lookup
from app.model import Kind, Layer, Owner, Role, Store
from app.survey import Request, survey
from tests.engine.scenario import ELK_PATH, FLOOD_PATH, WEB_TAGS, Scenario
from tests.engine.truth import Truth

pytestmark = pytest.mark.engine


def stores_of(scenario: Scenario, *, offline: bool) -> tuple[Store, ...]:
    request = Request((bytes(scenario.engine.data),), scenario.engine.url, offline, {})
    return survey(request).stores


def ids(owners: tuple[Owner, ...], kind: Kind) -> set[str]:
    return {owner.id for owner in owners if owner.kind is kind}


@pytest.fixture(scope="module")
def with_engine(engine_scenario: Scenario) -> Store:
    (store,) = stores_of(engine_scenario, offline=False)
    return store


@pytest.fixture(scope="module")
def without_engine(engine_scenario: Scenario) -> Store:
    with engine_scenario.engine.stopped():
        (store,) = stores_of(engine_scenario, offline=False)
    return store


@pytest.fixture(params=["with_engine", "without_engine"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def truth(engine_scenario: Scenario) -> Truth:
    return engine_scenario.truth


def test_who_answered_is_said(with_engine: Store, without_engine: Store) -> None:
    assert with_engine.witnesses == "disk and engine"
    assert "disk alone" in without_engine.witnesses


def test_every_directory_has_its_role(store: Store, truth: Truth) -> None:
    assert {name: layer.role.value for name, layer in store.layers.items()} == truth.roles()


def test_every_image_layer_names_all_its_images(store: Store, truth: Truth) -> None:
    for name in truth.image_directories:
        assert ids(store.layers[name].owners, Kind.IMAGE) == truth.image_owners(name), name


def test_every_tag_is_named(store: Store, truth: Truth) -> None:
    for name in truth.image_directories:
        said = {tag for owner in store.layers[name].owners for tag in owner.tags}
        images = (truth.images[id_] for id_ in truth.image_owners(name))
        assert said == {tag for image in images for tag in image.tags}


def test_every_container_on_a_layer_is_named(store: Store, truth: Truth) -> None:
    for name, layer in store.layers.items():
        said = {it.id for it in layer.references if it.kind is Kind.CONTAINER}
        assert said == truth.container_owners(name), name


def test_a_container_keeps_the_layers_of_a_removed_image(store: Store, truth: Truth) -> None:
    survivor = truth.containers["survivor"]
    alone = [name for name in survivor.directories[2:] if not truth.image_owners(name)]
    assert alone
    for name in alone:
        assert ids(store.layers[name].owners, Kind.CONTAINER) == {survivor.id}
        assert "no image holds this layer" in store.layers[name].note


def test_containers_with_name_state_image_and_compose(store: Store, truth: Truth) -> None:
    said = {container.owner.name: container.owner for container in store.containers}
    assert said.keys() == truth.containers.keys()
    for name, known in truth.containers.items():
        assert (said[name].id, said[name].state) == (known.id, known.state)
        assert said[name].compose_project == known.compose_project
        assert said[name].compose_service == known.compose_service
    assert said["web-api-1"].image == WEB_TAGS[0]


def test_cache_layers_name_their_records(store: Store, truth: Truth) -> None:
    named = set()
    for name in truth.cache_only:
        owners = ids(store.layers[name].owners, Kind.BUILD_CACHE)
        assert owners, name
        named |= owners
    assert named & truth.cache.keys()
    mounts = [
        owner.name
        for layer in store.layers.values()
        for owner in layer.owners
        if owner.kind is Kind.BUILD_CACHE
    ]
    assert any("compiler" in name for name in mounts)


def test_the_orphan_has_no_owner_and_says_who_was_asked(store: Store, truth: Truth) -> None:
    orphan = store.layers[truth.orphan]
    assert (orphan.role, orphan.owners) == (Role.UNREFERENCED, ())
    assert any("layerdb" in it.source for it in orphan.evidence)


def test_the_dangling_link_is_recognised(store: Store, truth: Truth) -> None:
    assert truth.dangling_token in store.dangling
    (answer,) = lookup(truth.dangling_token.encode(), (store,))
    assert not answer.found
    assert "gone" in answer.note


def test_volumes_name_their_containers(store: Store, truth: Truth) -> None:
    said = {volume.owner.name: volume for volume in store.volumes}
    assert said.keys() == truth.volumes.keys()
    for name, known in truth.volumes.items():
        assert sorted(user.name for user in said[name].users) == list(known.users)
        assert said[name].anonymous == known.anonymous


def test_running_containers_are_mounted_even_with_relative_options(
    store: Store, truth: Truth
) -> None:
    running = {it.writable for it in truth.containers.values() if it.state == "running"}
    writable = [it for it in store.layers.values() if it.role is Role.WRITABLE]
    assert {layer.id for layer in writable if layer.mounts} == running
    deep = truth.containers["deep-1"]
    for name in deep.directories[1:]:
        assert store.layers[name].mounts, name


def test_every_owner_has_evidence(store: Store) -> None:
    for layer in store.layers.values():
        assert layer.evidence, layer.id
        for owner in layer.owners:
            short = owner.id.removeprefix("sha256:")
            told = " ".join(f"{it.source} {it.says}" for it in layer.evidence)
            assert short in told, (layer.id, owner)


def owners_and_references(layer: Layer) -> tuple[object, ...]:
    return (
        layer.role,
        layer.parents,
        layer.mounts != (),
        {(it.kind, it.id, it.name, it.state) for it in layer.owners},
        {(it.kind, it.id) for it in layer.references if it.kind is not Kind.MOUNT},
    )


def test_both_witnesses_agree_on_everything(with_engine: Store, without_engine: Store) -> None:
    assert with_engine.layers.keys() == without_engine.layers.keys()
    for name, layer in with_engine.layers.items():
        alone = without_engine.layers[name]
        assert owners_and_references(layer) == owners_and_references(alone), name


def test_which_answers_for_paths_ids_and_tokens(store: Store, truth: Truth) -> None:
    flood = truth.containers["arroyo-worker-1"]
    directory = truth.root / "overlay2" / flood.writable
    token = (directory / "link").read_bytes()
    for asked in (
        bytes(directory),
        bytes(directory / "diff" / FLOOD_PATH),
        bytes(directory / "merged" / FLOOD_PATH / "chk-1"),
        flood.writable[:12].encode(),
        token,
        bytes(truth.root / "overlay2" / "l") + b"/" + token,
    ):
        answers = [
            it for it in lookup(asked, (store,)) if it.layer and it.layer.id == flood.writable
        ]
        assert [owner.name for it in answers for owner in it.owners] == ["arroyo-worker-1"], asked


def test_a_log_leads_to_its_container(store: Store, truth: Truth) -> None:
    (answer,) = lookup(bytes(truth.containers["chatty"].log_path), (store,))
    assert [(it.kind, it.name) for it in answer.owners] == [
        (Kind.LOG, "chatty"),
        (Kind.CONTAINER, "chatty"),
    ]


# --- the commands, as a user runs them ------------------------------------------------------------


def whodiff(scenario: Scenario, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DOCKER_HOST": scenario.engine.url}
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=120,
    )


def du(path: Path, *options: str) -> int:
    command = ["du", "--summarize", "--one-file-system", *options, str(path)]
    return int(subprocess.run(command, capture_output=True, check=True).stdout.split()[0])


@pytest.fixture(scope="module")
def report(engine_scenario: Scenario) -> dict[str, Any]:
    done = whodiff(engine_scenario, "report", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_layer_is_what_du_says(report: dict[str, Any], truth: Truth) -> None:
    for layer in report["layers"]:
        path = Path(layer["path"])
        assert layer["bytes"] == du(path, "--block-size=1"), path
        assert layer["inodes"] == du(path, "--inodes"), path
    assert {layer["layer"]["id"] for layer in report["layers"]} == truth.directories


def test_all_together_is_what_du_says_of_the_root(report: dict[str, Any], truth: Truth) -> None:
    # dockerd goes on writing its own small files; whodiff and du look a moment apart.
    assert report["total"]["inodes"] == pytest.approx(du(truth.root, "--inodes"), abs=5)
    measured = du(truth.root, "--block-size=1")
    assert report["total"]["bytes"] == pytest.approx(measured, abs=256 * 1024)


def test_the_inode_story(engine_scenario: Scenario) -> None:
    done = whodiff(engine_scenario, "report", "--json", "--sort", "inodes")
    writable = [it for it in json.loads(done.stdout)["layers"] if it["layer"]["role"] == "writable"]
    assert writable[0]["owners"][0]["name"] == "arroyo-worker-1"
    assert writable[0]["owners"][0]["compose"] == {"project": "pipeline", "service": "worker"}


def test_the_elk_story(engine_scenario: Scenario, truth: Truth) -> None:
    done = whodiff(engine_scenario, "report", "--json", "--sort", "bytes", "--top", "1")
    (layer,) = json.loads(done.stdout)["layers"]
    assert layer["owners"][0]["name"] == "elk-logstash-1"
    page = truth.root / "overlay2" / layer["layer"]["id"] / "diff" / ELK_PATH / "page.0"
    asked = whodiff(engine_scenario, "which", "--json", str(page))
    assert asked.returncode == 0
    assert json.loads(asked.stdout)[0]["owners"][0]["state"] == "running"


def test_which_says_when_nobody_owns_it(engine_scenario: Scenario, truth: Truth) -> None:
    done = whodiff(engine_scenario, "which", str(truth.root / "overlay2" / truth.orphan))
    assert done.returncode == 1
    assert "unreferenced" in done.stdout


def test_a_stopped_engine_is_said_and_survived(engine_scenario: Scenario, truth: Truth) -> None:
    path = str(truth.root / "overlay2" / truth.containers["web-api-1"].writable)
    with engine_scenario.engine.stopped():
        done = whodiff(engine_scenario, "which", "--data-root", str(truth.root), path)
    assert done.returncode == 0
    assert "web-api-1" in done.stdout
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_is_written_to_the_data_root(engine_scenario: Scenario, truth: Truth) -> None:
    with engine_scenario.engine.stopped():
        before = snapshot_of(truth.root)
        whodiff(engine_scenario, "report", "--offline", "--data-root", str(truth.root))
        assert snapshot_of(truth.root) == before


def snapshot_of(root: Path) -> dict[str, tuple[int, int, int, int]]:
    """Every entry outside the live mounts with what a write, a rename or a read would change."""
    found = {}
    device = root.stat().st_dev
    for folder, directories, files in os.walk(root):
        directories[:] = [
            it for it in directories if os.lstat(os.path.join(folder, it)).st_dev == device
        ]
        for name in (*directories, *files):
            path = os.path.join(folder, name)
            about = os.lstat(path)
            found[path] = (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    return found
