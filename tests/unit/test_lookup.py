"""From anything that an operator pastes to its owner, or to an honest sentence."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.demo.ids import hex_id
from app.demo.layout import add_directory
from app.host.mounts import Mount
from app.lookup.paths import locate
from app.lookup.query import lookup
from app.model import ImageStore, Kind, Store
from tests.unit.containerd_files import SNAPSHOTTER, ContainerdRoot
from tests.unit.lookups import WEB, ask, containerd_store, overlay, owners
from tests.unit.small_root import SmallRoot, make_small_root
from tests.unit.store_files import remove

# --- paths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "inside",
    [
        "",
        "/",
        "//",
        "/diff",
        "/diff/tmp/flood/",
        "/merged/tmp/x",
        "/work",
        "/diff/../diff/x",
        "/./",
    ],
)
def test_a_layer_directory_and_any_path_in_it(small: SmallRoot, store: Store, inside: str) -> None:
    answer = ask(f"{small.container.layer.path}{inside}", store)
    assert owners(answer) == WEB
    assert answer.layer is not None
    assert answer.layer.id == small.container.layer.name
    assert answer.evidence
    assert answer.found


def test_names_lead_to_what_is_called_so(small: SmallRoot, store: Store) -> None:
    found = lookup(b"web", (store,))
    assert {it.kind for answer in found for it in answer.owners} == {Kind.CONTAINER}
    assert small.container.layer.name in {it.layer.id for it in found if it.layer}
    tag = next(tag for image in store.images for tag in image.owner.tags)
    assert owners(ask(tag, store))[0][0] == "image"
    volume = store.volumes[0].owner.name
    assert owners(ask(volume, store)) == [("volume", volume)]


def test_a_relative_path(small: SmallRoot, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small.path / "overlay2")
    name = small.container.layer.name
    for asked in (name, f"{name}/", f"./{name}/diff", f"l/{small.container.layer.token}"):
        assert owners(ask(asked, store)) == WEB
    monkeypatch.chdir(small.container.layer.diff)
    assert owners(ask(".", store)) == WEB
    assert owners(ask("..", store)) == WEB


def test_a_data_root_behind_a_symbolic_link(small: SmallRoot, store: Store, tmp_path: Path) -> None:
    link = tmp_path / "var-lib-docker"
    link.symlink_to(small.path)
    name = small.container.layer.name
    assert owners(ask(link / "overlay2" / name / "diff/none", store)) == WEB
    behind = replace(store, root=replace(store.root, path=os.fsencode(link)))
    assert owners(ask(small.container.layer.path, behind)) == WEB


def test_a_link_in_a_layer_is_not_followed(small: SmallRoot, store: Store, tmp_path: Path) -> None:
    """The container chose where it points to."""
    trap = small.container.layer.diff / "trap"
    trap.symlink_to(small.base.directory.path)
    assert owners(ask(trap, store)) == WEB
    assert owners(ask(trap / "diff", store)) == WEB
    outside = tmp_path / "shortcut"
    outside.symlink_to(small.container.layer.diff)
    assert owners(ask(outside, store)) == WEB


@pytest.mark.parametrize("way", ["{link}", "{link}/.", "{hop}", "{root}", "{link}/overlay2/.."])
def test_a_containers_links_lead_nowhere_however_the_root_is_reached(
    small: SmallRoot, store: Store, tmp_path: Path, way: str
) -> None:
    """Where the root is a symbolic link itself, what lies in it is still not followed."""
    link, hop = tmp_path / "var-lib-docker", tmp_path / "hop"
    link.symlink_to(small.path)
    hop.symlink_to("var-lib-docker")
    traps = small.container.layer.diff
    for name, target in (
        ("evil", small.path / "volumes/pgdata/_data"),
        ("run", "/run"),
        ("home", small.path),
        ("round", "round"),
    ):
        if not (traps / name).is_symlink():
            (traps / name).symlink_to(target)
    top = way.format(link=link, hop=hop, root=small.path)
    stores = store, replace(store, root=replace(store.root, path=os.fsencode(link)))
    for seen in stores:
        for inside in ("evil", "evil/base", "run/x", "home/volumes/pgdata", "round/x", "../diff"):
            asked = f"{top}/overlay2/{small.container.layer.name}/diff/{inside}"
            assert owners(ask(asked, seen)) == WEB
            place = locate(asked.encode(), (seen,))
            assert place is not None
            assert place.inside[1] == small.container.layer.name.encode()


def test_an_own_link_into_a_layer_ends_at_the_containers_links(
    small: SmallRoot, store: Store, tmp_path: Path
) -> None:
    trap = small.container.layer.diff / "leads-out"
    trap.symlink_to(small.path / "volumes/pgdata/_data")
    shortcut = tmp_path / "shortcut"
    shortcut.symlink_to(trap)
    assert owners(ask(shortcut, store)) == WEB
    assert owners(ask(shortcut / "base", store)) == WEB
    volume = tmp_path / "data"
    volume.symlink_to(small.path / "overlay2/../volumes/pgdata/_data")
    assert owners(ask(volume / "base", store)) == [("volume", "pgdata")]


def test_links_that_go_round_are_outside(store: Store, tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to("round/round")
    assert "outside" in ask(tmp_path / "round", store).note


def test_an_image_layer_names_tags_and_containers(small: SmallRoot, store: Store) -> None:
    answer = ask(small.base.directory.diff / "usr/bin", store)
    assert [it.tags for it in answer.owners] == [("app:1", "app:latest")]
    assert {(it.kind, it.name) for it in answer.references} >= {
        (Kind.IMAGE, "app:1"),
        (Kind.CONTAINER, "web"),
    }


def test_an_orphan_is_answered_and_nobodys(small: SmallRoot, store: Store) -> None:
    answer = ask(small.orphan.path, store)
    assert (answer.layer is not None, answer.found) == (True, False)
    assert answer.note == "no owner found in any metadata"
    assert answer.evidence


def test_a_log_is_its_containers(small: SmallRoot, store: Store) -> None:
    both = [("log", "web"), ("container", "web")]
    assert owners(ask(small.container.log, store)) == both
    assert owners(ask(f"{small.container.log}.1.gz", store)) == both
    assert owners(ask(small.container.directory / "local-logs/container.log", store)) == both
    answer = ask(small.container.directory / "hostconfig.json", store)
    assert owners(answer) == WEB
    assert owners(ask(small.container.directory, store)) == WEB
    assert answer.evidence


def test_a_volume_names_its_users(small: SmallRoot, store: Store) -> None:
    answer = ask(small.path / "volumes/pgdata/_data/base/1", store)
    assert owners(answer) == [("volume", "pgdata")]
    assert [(it.kind, it.name) for it in answer.references] == [(Kind.CONTAINER, "web")]


@pytest.mark.parametrize("inside", ["", "image/overlay2/layerdb", "buildkit/snapshots.db", "tmp"])
def test_what_is_dockers_own_says_so(small: SmallRoot, store: Store, inside: str) -> None:
    answer = ask(small.path / inside, store)
    assert not answer.found
    assert "is Docker's own" in answer.note


@pytest.mark.parametrize("inside", ["overlay2/" + hex_id("gone"), "volumes/none", "containers/x"])
def test_what_is_not_there_is_not_called_dockers_own(
    small: SmallRoot, store: Store, inside: str
) -> None:
    answer = ask(small.path / inside, store)
    assert not answer.found
    assert "is not there" in answer.note


def test_outside_of_every_root(store: Store, tmp_path: Path) -> None:
    answer = ask(tmp_path, store)
    assert not answer.found
    assert "outside the data root" in answer.note
    assert "--data-root" in answer.note
    # A neighbour whose name begins in the same way is outside as well.
    assert "outside" in ask(f"{os.fsdecode(store.root.path)}-old/overlay2", store).note


def test_a_container_that_only_its_directory_tells_of(tmp_path: Path) -> None:
    small = make_small_root(tmp_path / "docker")
    remove(small.container.directory / "config.v2.json")
    remove(small.path / f"image/overlay2/layerdb/mounts/{small.container.id}")
    answer = ask(small.container.log, small.store(time.time()))
    assert [(it.kind, it.id) for it in answer.owners] == [(Kind.CONTAINER, small.container.id)]
    assert "config.v2.json cannot be read" in answer.note
    assert answer.evidence


def test_the_innermost_of_nested_roots_answers(tmp_path: Path) -> None:
    """With userns-remap a whole second tree lies below the first one."""
    outer = make_small_root(tmp_path / "docker")
    inner = make_small_root(tmp_path / "docker/200000.200000")
    only = add_directory(inner.path, hex_id("only inside"))
    stores = [outer.store(time.time()), inner.store(time.time())]
    for order in (stores, stores[::-1]):
        answer = ask(only.path, *order)
        assert answer.store is stores[1]
        assert answer.layer is not None
        assert ask(outer.top.directory.path, *order).store is stores[0]


# --- mounts ---------------------------------------------------------------------------------------


def test_a_path_below_a_live_mount_is_its_upper_layers(small: SmallRoot) -> None:
    rootfs = small.path / "buildkit/executor/abc/rootfs"
    upper = bytes(small.cached.diff)
    live = Mount(
        bytes(rootfs),
        b"/",
        "overlay",
        "0:50",
        b"",
        (bytes(small.top.directory.diff),),
        upper,
        "m",
        1,
    )
    base = replace(
        live,
        point=bytes(small.path / "buildkit/executor/def/rootfs"),
        fstype="ext4",
        root=bytes(small.base.directory.diff),
        lowers=(),
        upper=b"",
    )
    store = small.store(time.time(), seen=(live, base))
    for path in (rootfs, rootfs / "usr/lib"):
        answer = ask(path, store)
        assert answer.layer is not None
        assert answer.layer.id == small.cached.name
        assert [it.id for it in answer.owners] == [small.record]
    bound = ask(small.path / "buildkit/executor/def/rootfs/bin", store)
    assert bound.layer is not None
    assert bound.layer.id == small.base.directory.name
    assert ask(small.path / "buildkit/executor/abc/rootfs-not", store).layer is None


def test_a_link_below_a_mount_is_the_containers_too(small: SmallRoot, tmp_path: Path) -> None:
    rootfs = tmp_path / "task/rootfs"
    rootfs.mkdir(parents=True)
    (rootfs / "evil").symlink_to(small.path / "volumes/pgdata/_data")
    (tmp_path / "run").symlink_to("task")
    store = small.store(time.time(), seen=(overlay(bytes(rootfs), small.cached.diff),))
    for asked in (rootfs / "evil/base", rootfs / "evil", tmp_path / "run/rootfs/evil/base"):
        answer = ask(asked, store)
        assert answer.layer is not None
        assert answer.layer.id == small.cached.name


def test_another_namespaces_mount_points_are_no_places_here(small: SmallRoot) -> None:
    """A container calls its own root ``/``, and what is bound into it ``/usr``."""
    own = overlay(b"/", small.container.layer.diff)
    bound = replace(own, point=b"/usr", fstype="ext4", root=bytes(small.base.directory.diff))
    there = small.store(time.time(), (own, replace(bound, upper=b"")))
    assert there.layers[small.container.layer.name].mounts == (b"/",)
    for asked in ("/etc/passwd", "/usr/bin/env"):
        assert "outside" in ask(asked, there).note
    # Not even where whodiff itself runs in such a container: everything would be the container's.
    assert "outside" in ask("/etc/passwd", small.store(time.time(), seen=(own,))).note


def test_a_mount_of_the_containerd_store_is_its_containers(small: SmallRoot, store: Store) -> None:
    other = replace(store, root=replace(store.root, image_store=ImageStore.CONTAINERD))
    path = small.path / "rootfs/overlayfs" / small.container.id / "etc"
    assert owners(ask(path, other)) == WEB


# --- gone -----------------------------------------------------------------------------------------


@pytest.fixture
def stripped(tmp_path: Path) -> SmallRoot:
    """Somebody removed the directories of a container, an image and a record by hand."""
    small = make_small_root(tmp_path / "docker")
    for layer in (small.container.layer, small.top.directory, small.cached):
        remove(layer.path)
    return small


def test_a_directory_removed_by_hand_is_still_its_owners(stripped: SmallRoot) -> None:
    store = stripped.store(time.time())
    for name, owner in (
        (stripped.container.layer.name, ("container", "web")),
        (stripped.top.directory.name, ("image", "app:1")),
        (stripped.cached.name, ("build-cache", "exec make")),
    ):
        for asked in (stripped.path / "overlay2" / name, f"{name}/diff", name[:12], name):
            answer = ask(asked, store)
            assert owners(answer) == [owner]
            assert "its directory is gone" in answer.note
            assert (answer.layer, answer.gone, bool(answer.evidence)) == (None, True, True)


def test_a_token_of_a_directory_removed_by_hand_leads_to_its_owner(stripped: SmallRoot) -> None:
    answer = ask(stripped.container.layer.token, stripped.store(time.time()))
    assert owners(answer) == WEB
    assert stripped.container.layer.name in answer.note


def test_a_directory_that_came_back_is_not_called_gone(stripped: SmallRoot) -> None:
    store = stripped.store(time.time())
    stripped.container.layer.path.mkdir()
    answer = ask(stripped.container.layer.path, store)
    assert owners(answer) == WEB
    assert (answer.gone, answer.sure) == (False, True)
    assert "ask again" in answer.note


def test_gone_without_an_owner_says_only_that(stripped: SmallRoot) -> None:
    image = stripped.image.id.removeprefix("sha256:")
    remove(stripped.path / "image/overlay2/imagedb/content/sha256" / image)
    remove(stripped.path / "image/overlay2/layerdb/mounts" / stripped.container.id)
    remove(stripped.path / "buildkit")
    answer = ask(stripped.top.directory.name, stripped.store(time.time()))
    assert owners(answer) == []
    assert answer.note.endswith("metadata still names it")


def test_a_volume_removed_by_hand_names_those_who_use_it(tmp_path: Path) -> None:
    small = make_small_root(tmp_path / "docker")
    remove(small.path / "volumes/pgdata")
    answer = ask(small.path / "volumes/pgdata/_data", small.store(time.time()))
    assert owners(answer) == [("volume", "pgdata")]
    assert [it.name for it in answer.references] == ["web"]
    assert "no such directory" in answer.note


def test_a_snapshot_removed_by_hand_is_still_its_owners(tmp_path: Path) -> None:
    root = ContainerdRoot(tmp_path / "containerd")
    (name,) = root.layers(["sha256:" + "1" * 64])
    root.image("docker.io/library/app:1", ["sha256:" + "1" * 64])
    root.write()
    remove(root.path / SNAPSHOTTER / name)
    store = containerd_store(root)
    for asked in (name, name.partition("/")[2], root.path / SNAPSHOTTER / name / "fs"):
        answer = ask(asked, store)
        assert [it.kind for it in answer.owners] == [Kind.IMAGE]
        assert "its directory is gone" in answer.note


# --- hostile names --------------------------------------------------------------------------------


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.binary(min_size=1, max_size=300).filter(lambda it: b"\0" not in it), max_size=4))
@example([b"\x1b[31m\xff\n[bold]", b"x" * 255])
@example([b"..", b"..", b"..", b".."])
@example([b"l", b"\xff" * 26])
def test_any_bytes_are_answered_in_every_place(
    small: SmallRoot, store: Store, parts: list[bytes]
) -> None:
    tail = b"/".join(parts)
    root = store.root.path
    for asked in (
        tail or b"x",
        root + b"/" + tail,
        bytes(small.container.layer.diff) + b"/" + tail.replace(b"..", b""),
        root + b"/overlay2/" + tail,
        root + b"/containers/" + tail,
        root + b"/volumes/" + tail,
        root + b"/overlay2/l/" + tail,
    ):
        answers = lookup(asked, (store,))
        assert answers
        assert all(it.path == asked and (it.found or it.note or it.layer) for it in answers)
    inside = lookup(bytes(small.container.layer.diff) + b"/" + tail.replace(b"..", b""), (store,))
    assert [owners(it) for it in inside] == [WEB]


def test_no_working_directory_is_survived(
    small: SmallRoot, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert owners(ask(small.container.layer.path, store)) == WEB
    assert not ask("some/where", store).found
