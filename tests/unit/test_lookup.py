"""From anything that an operator pastes to its owner, or to an honest sentence."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.demo.ids import cache_id, hex_id, link_token
from app.demo.layout import add_directory, add_link, mark_mounted
from app.model import ImageStore, Kind, Store
from app.stores.lookup import Answer, lookup
from app.stores.mounts import Mount
from tests.unit.small_root import SmallRoot, make_small_root
from tests.unit.store_files import remove


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallRoot:
    made = make_small_root(tmp_path_factory.mktemp("lookup") / "docker")
    mark_mounted(made.container.layer)
    add_link(made.path, link_token("gone"), hex_id("gone"))
    return made


@pytest.fixture(scope="module")
def store(small: SmallRoot) -> Store:
    return small.store(time.time())


def ask(asked: str | Path | bytes, *stores: Store) -> Answer:
    (answer,) = lookup(os.fsencode(asked), stores)
    return answer


def owners(answer: Answer) -> list[tuple[str, str]]:
    return [(it.kind.value, it.name) for it in answer.owners]


WEB = [("container", "web")]


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
    store = small.store(time.time(), (live, base))
    for path in (rootfs, rootfs / "usr/lib"):
        answer = ask(path, store)
        assert answer.layer is not None
        assert answer.layer.id == small.cached.name
        assert [it.id for it in answer.owners] == [small.record]
    bound = ask(small.path / "buildkit/executor/def/rootfs/bin", store)
    assert bound.layer is not None
    assert bound.layer.id == small.base.directory.name
    assert ask(small.path / "buildkit/executor/abc/rootfs-not", store).layer is None


def test_a_mount_of_the_containerd_store_is_its_containers(small: SmallRoot, store: Store) -> None:
    other = replace(store, root=replace(store.root, image_store=ImageStore.CONTAINERD))
    path = small.path / "rootfs/overlayfs" / small.container.id / "etc"
    assert owners(ask(path, other)) == WEB


# --- names ----------------------------------------------------------------------------------------


def test_the_beginning_of_a_directorys_name(small: SmallRoot, store: Store) -> None:
    name = small.container.layer.name
    for asked in (name[:12], name[:6], name[:12].upper()):
        answers = lookup(asked.encode(), (store,))
        assert [it.layer.id for it in answers if it.layer] == [name]
    init = ask(f"{name}-init", store)
    assert init.layer
    assert (init.layer.id, owners(init)) == (f"{name}-init", WEB)
    assert ask(small.cached.name, store).layer is not None


def test_the_beginning_of_a_containers_id(small: SmallRoot, store: Store) -> None:
    answers = lookup(small.container.id[:12].encode(), (store,))
    found = [it.layer.id for it in answers if it.layer]
    assert found == [small.container.layer.name, small.container.init.name]


def test_the_beginning_of_an_images_or_a_records_id(small: SmallRoot, store: Store) -> None:
    for asked in (small.image.id, small.image.id[7:19], small.image.id[:19]):
        answer = ask(asked, store)
        assert owners(answer) == [("image", "app:1")]
        assert small.top.directory.name in answer.note
        assert answer.evidence
    answer = ask(small.record, store)
    assert answer.layer is not None
    assert answer.layer.id == small.cached.name


def test_a_token_bare_and_as_mount_options_have_it(small: SmallRoot, store: Store) -> None:
    layer = small.container.layer
    for asked in (layer.token, f"l/{layer.token}", small.path / "overlay2/l" / layer.token):
        assert owners(ask(asked, store)) == WEB
    # And the upper directory as a mount with relative options shows it.
    assert owners(ask(f"{layer.name}/diff", store)) == WEB


def test_a_dangling_token_says_where_it_led(small: SmallRoot, store: Store) -> None:
    for asked in (link_token("gone"), small.path / "overlay2/l" / link_token("gone")):
        answer = ask(asked, store)
        assert not answer.found
        assert hex_id("gone") in answer.note
        assert "gone" in answer.note


@pytest.mark.parametrize(
    "asked", [link_token("never"), cache_id("never"), "ab12", "webb", "sha256:", "no such thing"]
)
def test_what_nothing_begins_with_says_what_to_give(store: Store, asked: str) -> None:
    answer = ask(asked, store)
    assert not answer.found
    assert "give a path" in answer.note


def test_a_container_without_layers_is_found_by_id(small: SmallRoot, store: Store) -> None:
    bare = replace(
        store, layers={}, containers=tuple(replace(it, layers=()) for it in store.containers)
    )
    assert owners(ask(small.container.id[:12], bare)) == WEB


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
