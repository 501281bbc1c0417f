"""One data root read from disk: what is damaged, missing or just vanishing hides nobody's layer."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from app.demo.cache import CacheSpec, record_id, write_cache
from app.demo.content import DAY, HOUR, put_text, set_age
from app.demo.ids import cache_id, hex_id, link_token
from app.demo.images import add_image, add_layer, start_removal, write_tags
from app.demo.layout import add_directory, add_link
from app.discovery.roots import discover
from app.model import ImageStore, Kind, Layer, Role, Store
from app.stores.metadata.docker import read as disk_module
from app.stores.metadata.docker.container_state import checked_states
from app.stores.metadata.docker.containers import read_containers
from app.stores.metadata.docker.layerdb import GraphdriverReading, read_graphdriver
from app.stores.metadata.docker.read import read_disk
from tests.unit.small_root import SmallRoot, make_small_root
from tests.unit.store_files import DAMAGES, remove


@pytest.fixture
def small(tmp_path: Path) -> SmallRoot:
    return make_small_root(tmp_path / "docker")


def look(small: SmallRoot) -> Store:
    return small.store(time.time())


def roles(store: Store) -> dict[str, Role]:
    return {name: layer.role for name, layer in store.layers.items()}


def orphan(small: SmallRoot) -> Layer:
    return look(small).layers[small.orphan.name]


def test_the_root_is_answered(small: SmallRoot) -> None:
    store = look(small)
    assert roles(store) == {
        small.base.directory.name: Role.IMAGE,
        small.top.directory.name: Role.IMAGE,
        small.container.layer.name: Role.WRITABLE,
        small.container.init.name: Role.INIT,
        small.cached.name: Role.BUILD_CACHE,
        small.orphan.name: Role.UNREFERENCED,
    }
    assert store.problems == ()
    base = store.layers[small.base.directory.name]
    assert [(it.id, it.tags) for it in base.owners] == [(small.image.id, ("app:1", "app:latest"))]
    assert {(it.kind, it.name) for it in base.references} >= {(Kind.CONTAINER, "web")}


# --- one source after the other -------------------------------------------------------------------

#: Every file and directory of the metadata that may name an owner.
SOURCES = {
    "image": "image",
    "image/overlay2": "image/overlay2",
    "layerdb": "image/overlay2/layerdb",
    "layerdb/sha256": "image/overlay2/layerdb/sha256",
    "a layer": "image/overlay2/layerdb/sha256/{base}",
    "its cache-id": "image/overlay2/layerdb/sha256/{top}/cache-id",
    "its diff": "image/overlay2/layerdb/sha256/{top}/diff",
    "its parent": "image/overlay2/layerdb/sha256/{top}/parent",
    "mounts": "image/overlay2/layerdb/mounts",
    "a mount": "image/overlay2/layerdb/mounts/{container}",
    "its mount-id": "image/overlay2/layerdb/mounts/{container}/mount-id",
    "its init-id": "image/overlay2/layerdb/mounts/{container}/init-id",
    "the mount's parent": "image/overlay2/layerdb/mounts/{container}/parent",
    "imagedb": "image/overlay2/imagedb",
    "imagedb/content": "image/overlay2/imagedb/content",
    "imagedb/content/sha256": "image/overlay2/imagedb/content/sha256",
    "an image": "image/overlay2/imagedb/content/sha256/{image}",
    "repositories.json": "image/overlay2/repositories.json",
    "containers": "containers",
    "a container's config": "containers/{container}/config.v2.json",
    "buildkit": "buildkit",
    "metadata_v2.db": "buildkit/metadata_v2.db",
    "containerdmeta.db": "buildkit/containerdmeta.db",
    "snapshots.db": "buildkit/snapshots.db",
    "l": "overlay2/l",
    "a lower file": "overlay2/{directory}/lower",
}


def source(small: SmallRoot, name: str) -> Path:
    """Where one of SOURCES is."""
    return small.path / SOURCES[name].format(
        base=small.base.chain_id[7:],
        top=small.top.chain_id[7:],
        container=small.container.id,
        image=small.image.id[7:],
        directory=small.top.directory.name,
    )


@pytest.mark.parametrize("damage", ["pipe", "looping symlink"])
@pytest.mark.parametrize("name", SOURCES)
def test_an_unreadable_source_makes_the_unowned_unknown_and_is_named(
    small: SmallRoot, name: str, damage: str
) -> None:
    path = source(small, name)
    remove(path)
    path.touch()
    DAMAGES[damage](path)
    store = look(small)
    layer = store.layers[small.orphan.name]
    assert layer.role is Role.UNKNOWN
    assert str(path) in layer.note or str(path.parent) in layer.note
    assert "could not be read" in layer.note
    hiding = {problem.source for problem in store.problems if problem.hides_owners}
    assert any(str(path) in it or str(path.parent) == it for it in hiding)
    for owned in small.owned:
        assert store.layers[owned].role is not Role.UNREFERENCED


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_damage_makes_an_owned_directory_unreferenced(tmp_path: Path, damage: str) -> None:
    pristine = make_small_root(tmp_path / "pristine")
    files = [
        *pristine.path.glob("image/**/*"),
        *pristine.path.glob("containers/**/*"),
        *pristine.path.glob("buildkit/*"),
        *pristine.path.glob("overlay2/*/l*"),
        *pristine.path.glob("overlay2/l/*"),
    ]
    for number, file in enumerate(sorted(files)):
        if file.is_dir() and damage not in ("missing", "pipe", "looping symlink"):
            continue
        small = replace(pristine, path=tmp_path / str(number))
        shutil.copytree(pristine.path, small.path, symlinks=True)
        target = small.path / file.relative_to(pristine.path)
        if target.is_dir():
            remove(target)
            target.touch()
        DAMAGES[damage](target)
        found = roles(look(small))
        unreferenced = {name for name in small.owned if found[name] is Role.UNREFERENCED}
        assert not unreferenced, file
        shutil.rmtree(small.path)


# --- gaps -----------------------------------------------------------------------------------------


def test_an_image_whose_layer_layerdb_forgot_may_own_any_directory(small: SmallRoot) -> None:
    remove(source(small, "a layer"))
    store = look(small)
    assert store.layers[small.base.directory.name].role is Role.UNKNOWN
    assert store.layers[small.orphan.name].role is Role.UNKNOWN
    assert any(small.base.chain_id[7:] in it.source for it in store.problems)


def test_a_container_whose_layers_layerdb_forgot_may_own_any_directory(small: SmallRoot) -> None:
    remove(source(small, "a mount"))
    assert small.container.id in orphan(small).note
    # One that is being removed has lost its layers already, and owns no other.
    config = small.container.directory / "config.v2.json"
    config.write_text(config.read_text().replace('"Dead": false', '"Dead": true'))
    config.write_text(config.read_text().replace('"Running": true', '"Running": false'))
    assert orphan(small).role is Role.UNREFERENCED


def test_a_copy_without_buildkit_does_not_make_orphans_of_its_cache(small: SmallRoot) -> None:
    remove(small.path / "buildkit")
    layer = look(small).layers[small.cached.name]
    assert (layer.role, "buildkit" in layer.note) == (Role.UNKNOWN, True)


def test_a_directory_removed_by_hand_is_told_with_its_remedy(small: SmallRoot) -> None:
    remove(small.base.directory.path)
    remove(small.container.layer.path)
    store = look(small)
    told = [it.sentence for it in store.problems]
    assert any(small.base.directory.name in it and "pull or load" in it for it in told)
    assert any(small.container.layer.name in it and "`docker rm`" in it for it in told)
    assert any("2 links in l/" in it for it in told)
    assert set(store.dangling) == {small.base.directory.token, small.container.layer.token}
    (image,) = store.images
    assert image.layers == ("", small.top.directory.name)
    # The layers above lost what they stand on, and say so.
    assert "leads nowhere" in store.layers[small.top.directory.name].note


def test_a_dangling_link_alone_is_harmless(small: SmallRoot) -> None:
    token = link_token("gone")
    add_link(small.path, token, hex_id("gone"))
    store = look(small)
    assert store.dangling == {token: bytes(small.path) + b"/overlay2/%s/diff" % _name("gone")}
    assert orphan(small).role is Role.UNREFERENCED


def _name(seed: str) -> bytes:
    return hex_id(seed).encode()


def test_a_missing_link_file_is_unknown_with_its_owner(small: SmallRoot) -> None:
    remove(small.container.layer.path / "link")
    layer = look(small).layers[small.container.layer.name]
    assert (layer.role, layer.owners[0].name) == (Role.UNKNOWN, "web")
    assert "link" in layer.note


# --- in the making, and on the way out ------------------------------------------------------------


def test_a_pull_in_progress_looks_like_being_created(small: SmallRoot) -> None:
    new = add_directory(small.path, hex_id("new"), small.base.directory)
    slow = add_directory(small.path, hex_id("slow"), small.base.directory)
    set_age(slow.path, 5 * HOUR)
    store = look(small)
    assert store.layers[new.name].note.startswith("being created?")
    assert store.layers[slow.name].role is Role.UNREFERENCED
    growing = small.path / "image/overlay2/layerdb/tmp/write-set-1/tar-split.json.gz"
    put_text(growing, "")
    set_age(growing.parent, 5 * HOUR)
    assert look(small).layers[slow.name].role is Role.UNREFERENCED
    growing.touch()
    assert look(small).layers[slow.name].note.startswith("being created?")
    assert orphan(small).role is Role.UNREFERENCED


def test_what_vanishes_during_the_reading_is_no_orphan(
    small: SmallRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`docker rm` between the reading of the directories and that of their names."""

    def and_remove(root: bytes, driver: str) -> GraphdriverReading:
        for path in (small.container.layer.path, small.container.init.path):
            remove(path)
        remove(source(small, "a mount"))
        remove(small.container.directory)
        return read_graphdriver(root, driver)

    monkeypatch.setattr(disk_module, "read_graphdriver", and_remove)
    store = look(small)
    assert not {small.container.layer.name, small.container.init.name} & store.layers.keys()
    references = store.layers[small.top.directory.name].references
    assert not any(it.id.startswith(small.container.layer.name) for it in references)
    assert not any(it.hides_owners for it in store.problems)


def test_a_removal_that_was_killed_is_pending(small: SmallRoot) -> None:
    leaving = add_layer(small.path, "leaving", small.base)
    start_removal(small.path, leaving)
    for gone in ("link", "lower", "work"):
        remove(leaving.directory.path / gone)
    layer = look(small).layers[leaving.directory.name]
    assert layer.role is Role.PENDING_REMOVAL
    assert any("-removing" in it.source for it in layer.evidence)


def test_an_init_leftover_says_what_it_is(small: SmallRoot) -> None:
    left = add_directory(small.path, hex_id("failed") + "-init", small.top.directory)
    set_age(left.path, DAY)
    layer = look(small).layers[left.name]
    assert (layer.role, "failed start left it" in layer.note) == (Role.UNREFERENCED, True)


def test_an_init_layer_whose_pair_is_gone_is_no_failed_start(small: SmallRoot) -> None:
    """layerdb/mounts names both: only the writable one was removed by hand."""
    remove(small.container.layer.path)
    layer = look(small).layers[small.container.init.name]
    assert [it.name for it in layer.owners] == ["web"]
    assert "failed start" not in layer.note
    assert "by hand" in layer.note


def test_an_init_layer_alone_says_nothing_of_its_past_without_layerdb(small: SmallRoot) -> None:
    remove(small.container.layer.path)
    mounts = small.path / "image/overlay2/layerdb/mounts"
    remove(mounts)
    mounts.write_text("")
    layer = look(small).layers[small.container.init.name]
    assert "failed start" not in layer.note
    assert "without its container's layer" in " ".join(it.says for it in layer.evidence)


def test_an_exported_build_step_is_an_image_layer_and_cache(small: SmallRoot) -> None:
    built = add_directory(small.path, cache_id("built"), small.top.directory)
    layer = add_layer(small.path, "built", small.top, directory=built)
    image = add_image(small.path, layer, "2025-01-02T00:00:00Z", ["/built"])
    write_tags(small.path, {"app:1": small.image, "built:1": image})
    record = record_id("built")
    write_cache(
        small.path, [CacheSpec(record, "RUN make", committed=built.name, chain_id=layer.chain_id)]
    )
    found = look(small).layers[built.name]
    assert found.role is Role.IMAGE
    assert {it.id for it in found.owners} == {image.id, record}
    # Without its image it is the cache's alone.
    remove(small.path / "image/overlay2/imagedb/content/sha256" / image.id[7:])
    write_tags(small.path, {"app:1": small.image})
    assert look(small).layers[built.name].role is Role.BUILD_CACHE


def test_names_are_read_even_where_the_layers_were_not_copied(small: SmallRoot) -> None:
    remove(small.path / "overlay2")
    store = look(small)
    assert [it.owner.tags for it in store.images] == [("app:1", "app:latest")]
    assert any("overlay2" in it.source and it.hides_owners for it in store.problems)


def test_another_driver_is_named_with_a_word(small: SmallRoot) -> None:
    root = replace(small.data_root(), driver="btrfs")
    (problem,) = read_disk(root).problems
    assert "btrfs driver" in problem.sentence
    both = replace(root, driver="overlayfs", image_store=ImageStore.CONTAINERD)
    (problem,) = read_disk(both).problems
    assert "containerd image store" in problem.sentence


# --- states ---------------------------------------------------------------------------------------


def _proc(path: Path, pid: int, text: str) -> bytes:
    put_text(path / str(pid) / "cgroup", text)
    (path / "self/ns").mkdir(parents=True, exist_ok=True)
    (path / "self/ns/pid").symlink_to("pid:[4026531836]")
    return bytes(path)


@pytest.mark.parametrize("named", [False, True])
def test_a_container_whose_process_lives_is_running(
    small: SmallRoot, tmp_path: Path, named: bool
) -> None:
    root = replace(small.data_root(), named=named)
    containers, _ = read_containers(root.path)
    (record,) = containers.values()
    proc = _proc(tmp_path / "proc", record.pid, f"0::/system.slice/docker-{record.id}.scope\n")
    assert checked_states(containers, root, proc)[record.id].state == "running"


def test_a_remapped_root_in_a_copy_tells_states_as_they_were_saved(tmp_path: Path) -> None:
    copy = make_small_root(tmp_path / "docker")
    make_small_root(copy.path / "100000.100000")
    for root in discover([bytes(copy.path)], None).roots:
        (record,) = read_disk(root).containers.values()
        assert record.state == "running (as last saved)"


@pytest.mark.parametrize("cgroup", ["", "0::/user.slice/shell.scope\n"])
def test_a_process_that_is_gone_or_somebody_elses_is_not_running(
    small: SmallRoot, tmp_path: Path, cgroup: str
) -> None:
    root = small.data_root()
    containers, _ = read_containers(root.path)
    (record,) = containers.values()
    proc = _proc(tmp_path / "proc", record.pid if cgroup else 1, cgroup)
    assert checked_states(containers, root, proc)[record.id].state == "not running"
    # A root that the user named may be a copy: nobody knows what runs elsewhere.
    copied = replace(root, named=True)
    assert checked_states(containers, copied, proc)[record.id].state == "running (as last saved)"


def test_in_a_container_that_sees_no_other_process_a_missing_one_proves_nothing(
    small: SmallRoot, tmp_path: Path
) -> None:
    containers, _ = read_containers(bytes(small.path))
    (record,) = containers.values()
    proc = _proc(tmp_path / "proc", 1, "0::/\n")
    own = tmp_path / "proc/self/ns/pid"
    own.unlink()
    own.symlink_to("pid:[4026532999]")
    found = checked_states(containers, small.data_root(), proc)
    assert found[record.id].state == "running (as last saved)"


def test_one_living_container_proves_that_the_root_is_this_machines(
    small: SmallRoot, tmp_path: Path
) -> None:
    root = replace(small.data_root(), named=True)
    containers, _ = read_containers(root.path)
    (record,) = containers.values()
    paused = replace(record, id=hex_id("other"), state="paused", pid=record.pid + 1)
    exited = replace(record, id=hex_id("third"), state="exited", pid=0)
    restarting = replace(record, id=hex_id("fourth"), state="restarting", pid=0)
    four = {it.id: it for it in (record, paused, exited, restarting)}
    proc = _proc(tmp_path / "proc", record.pid, f"0::/docker/{record.id}\n")
    states = [it.state for it in checked_states(four, root, proc).values()]
    assert states == ["running", "not running", "exited", "restarting (as last saved)"]


@pytest.mark.usefixtures("on_the_machine")
def test_the_process_that_runs_this_very_test_is_no_container(small: SmallRoot) -> None:
    """A process id that was given out again."""
    containers, _ = read_containers(bytes(small.path))
    (record,) = containers.values()
    reused = {record.id: replace(record, pid=os.getpid())}
    assert checked_states(reused, small.data_root())[record.id].state == "not running"
