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
from app.demo.volumes import add_volume
from app.model import DataRoot, ImageStore, Kind, Store
from app.stores.assemble import assemble
from app.stores.disk import read_disk
from app.stores.lookup import Answer, lookup
from app.stores.mounts import Mount
from app.stores.names import image_name
from app.stores.paths import locate
from tests.unit.containerd_files import SNAPSHOTTER, ContainerdRoot
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


def _overlay(point: bytes, upper: Path) -> Mount:
    return Mount(point, b"/", "overlay", "0:50", b"", (), bytes(upper), "m", 1)


def test_a_link_below_a_mount_is_the_containers_too(small: SmallRoot, tmp_path: Path) -> None:
    rootfs = tmp_path / "task/rootfs"
    rootfs.mkdir(parents=True)
    (rootfs / "evil").symlink_to(small.path / "volumes/pgdata/_data")
    (tmp_path / "run").symlink_to("task")
    store = small.store(time.time(), seen=(_overlay(bytes(rootfs), small.cached.diff),))
    for asked in (rootfs / "evil/base", rootfs / "evil", tmp_path / "run/rootfs/evil/base"):
        answer = ask(asked, store)
        assert answer.layer is not None
        assert answer.layer.id == small.cached.name


def test_another_namespaces_mount_points_are_no_places_here(small: SmallRoot) -> None:
    """A container calls its own root ``/``, and what is bound into it ``/usr``."""
    own = _overlay(b"/", small.container.layer.diff)
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
    store = _containerd_store(root)
    for asked in (name, name.partition("/")[2], root.path / SNAPSHOTTER / name / "fs"):
        answer = ask(asked, store)
        assert [it.kind for it in answer.owners] == [Kind.IMAGE]
        assert "its directory is gone" in answer.note


def _containerd_store(root: ContainerdRoot) -> Store:
    path = bytes(root.path)
    place = DataRoot(path, "overlayfs", ImageStore.CONTAINERD, "named", containerd=path)
    return assemble(read_disk(place), None, (), time.time(), "disk alone")


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


def test_a_file_in_the_working_directory_hides_no_name(
    small: SmallRoot, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("web", "app:1", "pgdata", small.container.layer.name[:12], "nobody"):
        (tmp_path / name).touch()
    assert owners(ask(small.container.layer.name[:12], store)) == WEB
    assert WEB in [owners(it) for it in lookup(b"web", (store,))]
    assert owners(ask("app:1", store))[0] == ("image", "app:1")
    assert owners(ask("pgdata", store)) == [("volume", "pgdata")]
    # A path is meant where there is a slash, and where nothing has the name.
    for asked in ("./web", tmp_path / "web", "nobody"):
        assert "outside" in ask(asked, store).note


def test_a_word_that_is_a_mount_point_and_a_name_is_answered_as_both(
    small: SmallRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    point = tmp_path / "pgdata"
    point.mkdir()
    store = small.store(time.time(), seen=(_overlay(bytes(point), small.cached.diff),))
    found = lookup(b"pgdata", (store,))
    assert [it.layer.id if it.layer else "" for it in found] == [small.cached.name, ""]
    assert owners(found[1]) == [("volume", "pgdata")]


def test_a_container_goes_by_the_name_that_docker_inspect_prints(store: Store) -> None:
    assert lookup(b"/web", (store,))
    assert all(owners(it) == WEB for it in lookup(b"/web", (store,)))
    assert "outside" in ask("//web", store).note
    assert "outside" in ask("/pgdata", store).note


def test_the_beginning_of_an_anonymous_volumes_name(tmp_path: Path) -> None:
    small = make_small_root(tmp_path / "docker")
    name = hex_id("anonymous")
    add_volume(small.path, name)
    store = small.store(time.time())
    for asked in (name[:12], name):
        assert owners(ask(asked, store)) == [("volume", name)]
    # A name that somebody gave is not shortened anywhere.
    assert "nothing is called" in ask("pgdat0", store).note
    assert "nothing is called" in ask("pgdat", store).note


@pytest.mark.parametrize(
    ("typed", "known"),
    [
        ("docker.io/library/app:1", "app:1"),
        ("index.docker.io/library/app:1", "app:1"),
        ("app:1", "docker.io/library/app:1"),
        ("app", "docker.io/library/app:latest"),
        ("docker.io/acme/app", "acme/app:latest"),
        ("localhost/app:1", "localhost/app:1"),
        ("host:5000/app", "host:5000/app:latest"),
        (f"docker.io/library/app:1@sha256:{'a' * 64}", f"app@sha256:{'a' * 64}"),
    ],
)
def test_an_image_is_found_however_much_of_its_name_is_typed(
    store: Store, typed: str, known: str
) -> None:
    digests = (known,) if "@" in known else ()
    tags = () if digests else (known,)
    image = replace(store.images[0], digests=digests)
    named = replace(image, owner=replace(image.owner, name="".join(tags), tags=tags))
    assert owners(ask(typed, replace(store, images=(named,)))) == [("image", "".join(tags))]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("app:1", "app:2"),
        ("app", "acme/app"),
        ("app:1", "host:5000/library/app:1"),
        ("localhost/app", "app"),
        ("app@sha256:1", "app:1"),
    ],
)
def test_names_of_different_images_stay_different(one: str, other: str) -> None:
    assert image_name(one) != image_name(other)


def test_a_key_that_several_namespaces_have_is_answered_for_each(tmp_path: Path) -> None:
    root = ContainerdRoot(tmp_path / "containerd")
    diff = "sha256:" + "1" * 64
    ids = [root.layers([diff], namespace)[0] for namespace in ("moby", "k8s.io", "default")]
    root.write()
    store = _containerd_store(root)
    assert [it.layer.id for it in lookup(diff.encode(), (store,)) if it.layer] == ids
    assert [it.layer.id for it in lookup(diff[7:19].encode(), (store,)) if it.layer] == ids
    (only,) = lookup(f"k8s.io/102/{diff}".encode(), (store,))
    assert only.layer == store.layers[ids[1]]


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
