"""How far a data root is believed: who could have written it, and who else shows its parts."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.cleanup.plan.model import Subject, Wish
from app.cleanup.plan.planner import make_plan
from app.demo.content import DAY, set_age
from app.discovery.request import Request, Survey
from app.discovery.roots import discover
from app.discovery.standing import strangers_of
from app.host.authors import ANYBODY, authors_of
from app.lookup.query import lookup
from app.model import DataRoot, Hold, ImageStore, Kind, Role, Store
from app.survey import survey
from tests.unit.removals import unmounting
from tests.unit.small_root import SmallRoot, make_small_root

MALLORY = 4711
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for other users and mounts")
OVERLAYFS = "io.containerd.snapshotter.v1.overlayfs"


@pytest.fixture
def top() -> Iterator[Path]:
    with unmounting() as folder:
        yield Path(os.fsdecode(folder))


def found(*roots: Path) -> Survey:
    return survey(Request(tuple(map(bytes, roots)), offline=True, environ={}))


def roles(root: SmallRoot, at: Path | None = None) -> dict[str, Role]:
    store = found(at or root.path).stores[0]
    return {name: layer.role for name, layer in store.layers.items()}


def give(path: Path, uid: int) -> None:
    """The whole tree to this user."""
    subprocess.run(["chown", "-hR", f"{uid}:{uid}", path], check=True)


def mount(source: Path, point: Path) -> None:
    point.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", source, point], check=True)


# --- who could have written it --------------------------------------------------------------------


@AS_ROOT
def test_the_authors_of_a_directory_are_its_owner_and_whom_its_mode_lets_in(top: Path) -> None:
    os.chown(top, MALLORY, MALLORY)
    for mode, others in ((0o700, False), (0o775, False), (0o757, True), (0o1777, True)):
        top.chmod(mode)
        assert authors_of(bytes(top)) == ({MALLORY, ANYBODY} if others else {MALLORY}), oct(mode)
    os.chown(top, 0, 0)
    top.chmod(0o775)
    assert authors_of(bytes(top)) == {0}
    os.chown(top, 0, 50)
    assert authors_of(bytes(top)) == {0, ANYBODY}
    os.chown(top, 0, 0)
    top.chmod(0o700)
    # user::rwx user:4711:rwx group::--- mask::rwx other::---
    entries = ((1, 7, -1), (2, 7, MALLORY), (4, 0, -1), (16, 7, -1), (32, 0, -1))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *it) for it in entries)
    os.setxattr(top, "system.posix_acl_access", acl)
    assert authors_of(bytes(top)) == {0, ANYBODY}
    assert authors_of(bytes(top / "gone")) == frozenset()


def test_who_writes_where_nothing_answers_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(_path: bytes) -> os.stat_result:
        raise TimeoutError

    monkeypatch.setattr("app.host.looks.stat_of", hangs)
    assert authors_of(b"/somewhere") == {ANYBODY}


@AS_ROOT
@pytest.mark.parametrize(
    "part", ["", "image", "image/overlay2/layerdb/sha256", "containers", "buildkit", "overlay2"]
)
@pytest.mark.parametrize("how", ["owner", "mode", "group"])
def test_one_directory_that_others_may_write_is_enough(top: Path, part: str, how: str) -> None:
    root = make_small_root(top / "docker")
    assert roles(root)[root.orphan.name] is Role.UNREFERENCED
    place = root.path / part
    if how == "owner":
        os.chown(place, MALLORY, 0)
    elif how == "mode":
        place.chmod(0o777)
    else:
        os.chown(place, 0, 50)
        place.chmod(0o770)
    assert set(roles(root).values()) == {Role.UNKNOWN}
    store = found(root.path).stores[0]
    assert "others could have written this data root" in store.layers[root.orphan.name].note
    assert any("whose layers they are is not told from it" in it.sentence for it in store.problems)


@AS_ROOT
def test_a_users_root_is_believed_about_that_users_own_layers(top: Path) -> None:
    root = make_small_root(top / "docker")
    give(root.path, MALLORY)
    answer = roles(root)
    assert answer[root.orphan.name] is Role.UNREFERENCED
    assert answer[root.container.layer.name] is Role.WRITABLE
    # One layer that root has put there.
    os.chown(root.orphan.path, 0, 0)
    os.chown(root.container.layer.path, 0, 0)
    answer = roles(root)
    assert answer[root.orphan.name] is Role.UNKNOWN
    assert answer[root.container.layer.name] is Role.UNKNOWN
    assert answer[root.base.directory.name] is Role.IMAGE


@AS_ROOT
def test_roots_word_is_believed_about_everybodys(top: Path) -> None:
    root = make_small_root(top / "docker")
    give(root.orphan.path, MALLORY)
    set_age(root.orphan.path, 30 * DAY)
    assert roles(root)[root.orphan.name] is Role.UNREFERENCED


@AS_ROOT
def test_the_user_of_a_remapped_root_is_no_stranger_where_root_alone_can_have_made_it(
    top: Path,
) -> None:
    below = make_small_root(top / "docker/231072.231072")
    for name in ("", "image", "containers", "overlay2"):
        os.chown(below.path / name, 231072, 231072)
    assert strangers_of(bytes(below.path)) == frozenset()
    os.chown(below.path / "image", MALLORY, MALLORY)
    assert strangers_of(bytes(below.path)) == {MALLORY}
    os.chown(below.path / "image", 0, 0)
    os.chown(top / "docker", 231072, 231072)
    assert strangers_of(bytes(below.path)) == {231072}


def test_root_is_believed_about_all_and_others_about_their_own() -> None:
    root = DataRoot(b"/d", "overlay2", ImageStore.GRAPHDRIVER, "")
    assert root.speaks_for(0)
    assert root.speaks_for(MALLORY)
    mallorys = DataRoot(b"/d", "", ImageStore.UNDECIDED, "", strangers=frozenset({MALLORY}))
    assert mallorys.speaks_for(MALLORY)
    assert not mallorys.speaks_for(0)
    anybodys = DataRoot(b"/d", "", ImageStore.UNDECIDED, "", strangers=frozenset({ANYBODY}))
    assert not anybodys.speaks_for(0)
    assert not anybodys.speaks_for(MALLORY)


# --- what is mounted or linked in it --------------------------------------------------------------


@AS_ROOT
def test_a_layer_that_something_is_mounted_over_is_unknown(top: Path) -> None:
    root = make_small_root(top / "docker")
    shutil.copytree(root.orphan.path, top / "other")
    set_age(top / "other", 30 * DAY)
    mount(top / "other", root.orphan.path)
    assert roles(root)[root.orphan.name] is Role.UNKNOWN
    note = found(root.path).stores[0].layers[root.orphan.name].note
    assert note == "something else is mounted over this directory"


@AS_ROOT
@pytest.mark.parametrize(
    "name",
    [
        "image/overlay2",
        "image/overlay2/layerdb",
        "image/overlay2/layerdb/sha256",
        "image/overlay2/imagedb/content",
        "buildkit/snapshots.db",
    ],
)
@pytest.mark.parametrize("way", ["mount", "link"])
def test_another_roots_names_say_nothing_of_these_layers(top: Path, name: str, way: str) -> None:
    root = make_small_root(top / "docker")
    names = top / "names"
    subprocess.run(["cp", "-a", root.path / name, names], check=True)
    put(root.path / name, names, way)
    assert Role.UNREFERENCED not in roles(root).values()
    told = " ".join(it.sentence for it in found(root.path).stores[0].problems)
    assert f"{root.path / name} is " in told
    assert "may be somebody else's" in told


@AS_ROOT
def test_links_that_something_is_mounted_over_leave_everything_open(top: Path) -> None:
    root = make_small_root(top / "docker")
    other = make_small_root(top / "other")
    mount(other.path / "overlay2/l", root.path / "overlay2/l")
    assert roles(root)[root.orphan.name] is Role.UNKNOWN
    assert Role.UNREFERENCED not in roles(root).values()


@AS_ROOT
@pytest.mark.parametrize("name", ["image", "containers", "buildkit", "overlay2"])
@pytest.mark.parametrize("way", ["mount", "link"])
def test_what_two_roots_show_is_neithers_while_nobody_works_there(
    top: Path, name: str, way: str
) -> None:
    root = make_small_root(top / "docker")
    other = make_small_root(top / "other")
    put(root.path / name, other.path / name, way)
    for each in (root, other):
        stores = found(root.path, other.path).stores
        (store,) = [it for it in stores if it.root.path == bytes(each.path)]
        (part,) = [it for it in store.root.parts if it.path == bytes(each.path / name)]
        assert part.hold is Hold.SHARED
        assert Role.UNREFERENCED not in {it.role for it in store.layers.values()}
        note = store.layers[root.orphan.name].note
        assert note.startswith(f"no owner found, but {name} is the same directory as in {top}")
    # Alone too: where a link or a mount leads to is another data root, named or not.
    assert Role.UNREFERENCED not in roles(root).values()


@AS_ROOT
def test_one_inode_number_on_two_disks_is_not_one_directory(top: Path) -> None:
    for name in ("one", "other"):
        (top / name).mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", top / name], check=True)
    roots = [make_small_root(top / name / "docker") for name in ("one", "other")]
    one, other = (root.path / "overlay2" for root in roots)
    assert one.stat().st_ino == other.stat().st_ino
    for store in found(*(root.path for root in roots)).stores:
        assert store.root.parts == ()
        assert store.layers[roots[0].orphan.name].role is Role.UNREFERENCED


@AS_ROOT
@pytest.mark.parametrize("way", ["mount", "link"])
def test_a_link_means_something_else_to_a_daemon_in_a_container(top: Path, way: str) -> None:
    root = make_small_root(top / "docker")
    other = make_small_root(top / "other")
    put(other.path / "overlay2", root.path / "overlay2", way)
    with in_a_container(top, other.path / "volumes/metadata.db"):
        stores = {it.root.path: it for it in found(root.path, other.path).stores}
    (part,) = stores[bytes(other.path)].root.parts
    # A mount is there for it as well, a link leads to where it cannot go.
    assert part.hold is (Hold.OWN if way == "mount" else Hold.SHARED)
    (part,) = stores[bytes(root.path)].root.parts
    assert part.hold is (Hold.OTHERS if way == "mount" else Hold.SHARED)


@AS_ROOT
def test_layers_that_a_daemon_in_a_container_shows_in_its_own_mounts_are_in_doubt(
    top: Path,
) -> None:
    root = make_small_root(top / "docker")
    inner = top / "inner"
    other = make_small_root(inner / "var/lib/docker")
    needed = " ".join(it for it in ("/usr", "/lib", "/lib64") if Path(it).is_dir())
    script = (
        f"mount --bind {root.path}/overlay2 {other.path}/overlay2; "
        f"for it in {needed}; do mkdir {inner}$it; mount --bind $it {inner}$it; done; "
        f"cp $(command -v sleep) {inner}/dockerd; echo ready; "
        f"exec chroot {inner} /dockerd 1000"
    )
    assert roles(root)[root.orphan.name] is Role.UNREFERENCED
    process = subprocess.Popen(
        ["unshare", "--mount", "--propagation=private", "sh", "-ec", script], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout
        process.stdout.readline()
        while not Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(b"/dockerd"):
            assert process.poll() is None
            time.sleep(0.01)
        assert roles(root)[root.orphan.name] is Role.UNKNOWN
    finally:
        process.kill()
        process.wait()


@contextmanager
def in_a_container(top: Path, database: Path) -> Iterator[None]:
    """A process with a root directory of its own that has the lock of a daemon."""
    inner = top / "inner"
    inner.mkdir()
    database.touch()
    ready, writing = os.pipe()
    child = os.fork()
    if not child:
        with database.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            os.chroot(inner)
            os.write(writing, b".")
            signal.pause()
    try:
        os.read(ready, 1)
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for end in (ready, writing):
            os.close(end)


def put(path: Path, target: Path, way: str) -> None:
    if way == "mount":
        subprocess.run(["mount", "--bind", target, path], check=True)
    else:
        subprocess.run(["rm", "-r", path], check=True)
        path.symlink_to(target)


@AS_ROOT
@pytest.mark.parametrize("way", ["mount", "link"])
def test_a_disk_with_bare_layers_is_no_data_root_of_its_own(top: Path, way: str) -> None:
    root = make_small_root(top / "docker")
    (top / "disk").mkdir()
    (root.path / "overlay2").rename(top / "disk/overlay2")
    (root.path / "overlay2").mkdir()
    put(root.path / "overlay2", top / "disk/overlay2", way)
    answer = roles(root)
    assert answer[root.orphan.name] is Role.UNREFERENCED
    assert answer[root.container.layer.name] is Role.WRITABLE


@AS_ROOT
def test_a_users_root_is_no_rival_of_roots(top: Path) -> None:
    root = make_small_root(top / "docker")
    other = make_small_root(top / "other")
    give(other.path, MALLORY)
    mount(root.path / "overlay2", other.path / "overlay2")
    stores = {it.root.path: it for it in found(root.path, other.path).stores}
    real, theirs = stores[bytes(root.path)], stores[bytes(other.path)]
    assert real.layers[root.orphan.name].role is Role.UNREFERENCED
    assert real.root.parts == ()
    assert {it.role for it in theirs.layers.values()} == {Role.UNKNOWN}
    (part,) = theirs.root.parts
    assert (part.hold, part.rivals) == (Hold.FOREIGN, (bytes(root.path),))


def test_a_link_that_leads_nowhere_or_round_is_said(tmp_path: Path) -> None:
    root = make_small_root(tmp_path / "docker")
    for name, target in (("volumes", "gone"), ("buildkit", "buildkit")):
        shutil.rmtree(root.path / name, ignore_errors=True)
        (root.path / name).symlink_to(target)
    store = found(root.path).stores[0]
    told = " ".join(it.sentence for it in store.problems)
    assert f"{root.path}/volumes is a symbolic link" in told
    assert f"{root.path}/buildkit is a symbolic link" in told


@AS_ROOT
def test_who_asks_behind_a_link_is_sent_to_where_it_leads(top: Path) -> None:
    root = make_small_root(top / "docker")
    theirs = make_small_root(top / "home")
    give(theirs.path, MALLORY)
    put(theirs.path / "overlay2", root.path / "overlay2", "link")
    put(theirs.path / "tmp", root.path / "tmp", "link")
    seen = found(theirs.path)
    for name in (f"overlay2/{root.orphan.name}", "tmp/it"):
        (root.path / "tmp/it").touch()
        path = bytes(theirs.path / name)
        (answer,) = lookup(path, seen.stores)
        assert f"ask for {root.path / name} instead" in answer.note
        # Nobody's is what a script may remove.
        assert not answer.sure
        assert not answer.own
        plan = make_plan(Wish(Subject.PATH, bytes(theirs.path), path=path), seen)
        assert "symbolic link" in plan.refused_because
        assert os.path.dirname(root.path / name) in plan.refused_because
        assert plan.instead == f"ask for it there: --data-root {root.path}"


@AS_ROOT
def test_what_two_roots_show_goes_from_neither_and_the_next_step_works(top: Path) -> None:
    root = make_small_root(top / "docker")
    other = make_small_root(top / "other")
    mount(root.path / "overlay2", other.path / "overlay2")
    wish = Wish(Subject.PATH, bytes(root.path), path=bytes(root.orphan.path))
    plan = make_plan(wish, found(root.path, other.path))
    assert "the same directory as in" in plan.refused_because
    assert "take the mount or the link away" in plan.instead
    subprocess.run(["umount", other.path / "overlay2"], check=True)
    assert found(root.path, other.path).stores[0].root.parts == ()
    assert roles(root)[root.orphan.name] is Role.UNREFERENCED


# --- containerd -----------------------------------------------------------------------------------


def containerd_host(captures: Path, top: Path) -> tuple[Path, Path]:
    """A copy of the captured host as root's own: its data root and its containerd's."""
    for name in ("docker", "containerd"):
        source = captures / "containerd/var/lib" / name
        subprocess.run(["cp", "-a", source, top / name], check=True)
        give(top / name, 0)
    return top / "docker", top / "containerd"


def in_a_stopped_container(store: Store) -> bytes:
    """A file in the writable snapshot of a container of Docker's that does not run."""
    for layer in store.layers.values():
        kinds = [it.kind for it in layer.owners]
        if layer.is_snapshot and layer.role is Role.WRITABLE and kinds == [Kind.CONTAINER]:
            for path in Path(os.fsdecode(layer.path), "fs").rglob("*"):
                if path.is_file() and not path.is_symlink():
                    return bytes(path)
    raise AssertionError("no such file in the capture")


@AS_ROOT
@pytest.mark.parametrize("way", ["mount", "link"])
@pytest.mark.parametrize("owner", [MALLORY, 0])
def test_no_file_goes_from_a_snapshot_that_another_containerd_shows(
    captures: Path, top: Path, way: str, owner: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cleanup.plan.context.sees_machine", lambda _proc: True)
    monkeypatch.setattr(
        "app.stores.metadata.docker.container_state.sees_machine", lambda _proc: True
    )
    docker, containerd = containerd_host(captures, top)
    theirs = top / "home"
    theirs.mkdir()
    subprocess.run(["cp", "-a", docker, containerd, theirs], check=True)
    give(theirs, owner)
    file = in_a_stopped_container(found(docker, containerd).stores[0])
    real = found(docker, containerd)
    wish = Wish(Subject.PATH, bytes(docker), path=file)
    assert make_plan(wish, real, now=time.time()).steps, make_plan(wish, real)
    put(theirs / "containerd" / OVERLAYFS, containerd / OVERLAYFS, way)
    seen = found(theirs / "docker", theirs / "containerd")
    inside = Path(os.fsdecode(file)).relative_to(containerd)
    wish = Wish(Subject.PATH, bytes(theirs / "docker"), path=bytes(theirs / "containerd" / inside))
    plan = make_plan(wish, seen, now=time.time())
    assert not plan.steps
    shown = seen.stores[0].layers.values()
    assert owner == 0 or {it.role for it in shown if it.is_snapshot} <= {Role.UNKNOWN}


# --- roots that are one ---------------------------------------------------------------------------


@AS_ROOT
def test_one_root_under_two_names_is_shown_once(top: Path) -> None:
    root = make_small_root(top / "docker")
    mount(root.path, top / "again")
    answer = discover([bytes(root.path), bytes(top / "again")], None)
    assert [it.path for it in answer.roots] == [bytes(root.path)]
    assert f"{top}/again is the same directory as {root.path}" in answer.problems[0].sentence
    assert answer.roots[0].parts == ()
