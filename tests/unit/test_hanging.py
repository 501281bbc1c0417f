"""A filesystem that does not answer never holds a command up: a real FUSE mount, in every place."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.host import looks
from app.host.hanging import Far, far, may_hang
from app.scan.job import run
from app.scan.walk import Unit, read_fence
from tests.unit.commands import on
from tests.unit.dead_fuse import KINDS, DeadMount, Ended, dead_mount, side_by_side, timed
from tests.unit.small_root import SmallRoot, make_small_root

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/fuse"), reason="needs root and /dev/fuse"
)

#: Seconds that a command may take on a busy machine; what hangs would hold it for ever.
QUICK = 40.0


@pytest.fixture
def small(tmp_path: Path) -> SmallRoot:
    return make_small_root(tmp_path / "docker")


@pytest.fixture(params=KINDS)
def dead(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DeadMount]:
    with dead_mount(tmp_path / "mnt", str(request.param)) as mount:
        yield mount


def told(ended: Ended, mount: DeadMount) -> None:
    """It took no longer than it may, said so once, and met no error of its own."""
    assert ended.seconds < QUICK, ended
    assert ended.err.count(f"{mount.point} (fuse.dead) does not answer") == 1, ended
    assert "umount -l" in ended.err
    assert "error of its own" not in ended.err


def test_which_filesystems_may_hang() -> None:
    for fstype in ("fuse", "fuse.sshfs", "fuseblk", "nfs", "nfs4", "cifs", "smb3", "9p", "ceph"):
        assert may_hang(fstype)
    for fstype in ("ext4", "xfs", "btrfs", "overlay", "tmpfs", "fusectl", "nfsd", "proc", "zfs"):
        assert not may_hang(fstype)


def test_a_path_is_known_to_lead_there_without_a_look(tmp_path: Path, dead: DeadMount) -> None:
    place, point = bytes(tmp_path), bytes(dead.point)
    (tmp_path / "link").symlink_to("mnt")
    (tmp_path / "absolute").symlink_to(dead.point / "inside")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/up").symlink_to("../link/a/b")
    time.sleep(0.6)  # what is known of the mounts is good for half a second
    asked = dead.asked
    assert far(point) == far(point + b"/") == Far(point, "fuse.dead", point)
    assert far(place + b"/link/x/y") == Far(point, "fuse.dead", point + b"/x/y")
    assert far(place + b"/folder/../absolute/z") == Far(point, "fuse.dead", point + b"/inside/z")
    assert far(place + b"/folder/up") == Far(point, "fuse.dead", point + b"/a/b")
    assert far(place + b"/folder/up", follow=False) is None
    assert far(place + b"/folder") is None
    assert far(place) is None
    assert dead.asked == asked


@pytest.mark.parametrize("core", ["native", "portable"])
def test_a_path_that_hangs(small: SmallRoot, dead: DeadMount, core: str) -> None:
    path, good, root = str(dead.point / "some/where"), small.orphan.name, on(small.path)
    commands = {
        ("report", "--no-cache", *root, "--data-root", str(dead.point)): 0,
        ("which", path, good, *root): 2,
        ("plan", path, good, *root): 2,
        ("du", path, str(small.path / "overlay2")): 2,
    }
    ended = side_by_side(*commands, mounts=(dead,), environ={"WHODIFF_SCAN": core})
    for it, status in zip(ended, commands.values(), strict=True):
        told(it, dead)
        assert good[:12] in it.out or str(small.path / "overlay2") in it.out
        assert it.status == status


def test_the_only_data_root_hangs(tmp_path: Path, dead: DeadMount) -> None:
    (tmp_path / "link").symlink_to(dead.point)
    commands = [
        (*words, *on(root))
        for words in (("report",), ("which", "web"), ("plan", "web"))
        for root in (dead.point, tmp_path / "link", dead.point / "below")
    ]
    for ended in side_by_side(*commands, mounts=(dead,), environ={}):
        told(ended, dead)
        assert ended.status == 2


PLACES = {
    "a volume": "volumes/{volume}",
    "a volume's data": "volumes/{volume}/_data",
    "the layers": "overlay2",
    "the containers": "containers",
    "the volumes": "volumes",
    "the names": "image/overlay2",
    "the cache": "buildkit",
    "what is no store's": "plugins",
    "a layer": "overlay2/{orphan}",
    "inside a layer": "overlay2/{orphan}/diff/data",
    "merged": "overlay2/{layer}/merged",
    "below a nested root": "100000.100000",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_part_of_a_data_root_hangs(small: SmallRoot, place: str) -> None:
    volume = next(it.name for it in (small.path / "volumes").iterdir() if it.is_dir())
    names = {"volume": volume, "orphan": small.orphan.name, "layer": small.container.layer.name}
    point = small.path / PLACES[place].format(**names)
    with dead_mount(point, "swallowing") as mount:
        ended = side_by_side(
            ("report", "--json", "--no-cache", *on(small.path)),
            ("which", str(point), "web", *on(small.path)),
            ("plan", str(point), small.orphan.name, "web", *on(small.path)),
            mounts=(mount,),
            environ={},
        )
    for it in ended:
        assert it.seconds < QUICK, it
        assert "error of its own" not in it.err
        assert "is not there" not in it.out + it.err
        assert it.out
    assert "rm -rf" not in ended[2].out or place not in ("a layer", "inside a layer")


def test_the_rest_of_a_data_root_is_shown(small: SmallRoot) -> None:
    with dead_mount(small.path / "containers") as mount:
        ended = timed("report", "--json", "--no-cache", *on(small.path), mounts=(mount,))
        told(ended, mount)
        found = json.loads(ended.out)
    names = {layer["layer"]["id"] for layer in found["layers"]}
    assert small.owned | {small.orphan.name} <= names
    # Whose container is not told, nothing of a container is nobody's.
    roles = {layer["layer"]["id"]: layer["layer"]["role"] for layer in found["layers"]}
    assert roles[small.orphan.name] == "unknown"


def test_several_cost_two_seconds_each_and_one_only_once(tmp_path: Path) -> None:
    with dead_mount(tmp_path / "a") as one, dead_mount(tmp_path / "b", "swallowing") as other:
        paths = [str(it.point / name) for it in (one, other) for name in "xyz"]
        ended = timed("du", *paths, mounts=(one, other))
    assert ended.seconds < QUICK + 2
    assert "error of its own" not in ended.err


def test_a_filesystem_that_answers_is_read(tmp_path: Path) -> None:
    with dead_mount(tmp_path / "mnt", "alive") as mount:
        ended = timed("du", "--json", str(mount.point), mounts=(mount,))
    assert ended.status == 0
    assert json.loads(ended.out)[0]["inodes"] == 1
    assert "does not answer" not in ended.err


def test_a_working_directory_a_home_and_a_socket_that_hang(
    small: SmallRoot, dead: DeadMount
) -> None:
    home = str(dead.point)
    for words, environ in (
        (("which", small.orphan.name, *on(small.path)), {"HOME": home, "DOCKER_CONFIG": home}),
        (
            ("which", small.orphan.name, "--data-root", str(small.path)),
            {"DOCKER_HOST": f"unix://{home}/docker.sock", "HOME": home},
        ),
        (
            ("which", small.orphan.name, "--data-root", str(small.path)),
            {"XDG_RUNTIME_DIR": home, "HOME": home},
        ),
    ):
        ended = timed(*words, mounts=(dead,), environ=environ)
        assert ended.seconds < QUICK, ended
        assert small.orphan.name in ended.out
    assert ended.status == 1


def test_looks_go_on_when_a_filesystem_answers_again(tmp_path: Path) -> None:
    with dead_mount(tmp_path / "mnt", "swallowing") as mount:
        time.sleep(0.6)
        point = bytes(mount.point)
        began = time.monotonic()
        with pytest.raises(looks.Hangs):
            looks.lstat(point)
        assert 1.5 < time.monotonic() - began < 6
        began = time.monotonic()
        with pytest.raises(looks.Hangs):
            looks.lstat(point + b"/x")
        assert time.monotonic() - began < 1
        assert [it.mount for it in looks.given_up()] == [point]
        assert "umount -l" in looks.problems()[0].sentence
    time.sleep(0.6)
    assert looks.given_up() == ()


@pytest.mark.parametrize("core", ["native", "portable"])
def test_a_scan_gives_up_what_hangs_and_does_the_rest(
    tmp_path: Path, core: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its top answers, so that nobody knows before the walk."""
    monkeypatch.setenv("WHODIFF_SCAN", core)
    (tmp_path / "good").mkdir()
    (tmp_path / "good/file").write_bytes(b"x" * 9000)
    with dead_mount(tmp_path / "mnt", "shallow") as mount:
        time.sleep(0.6)
        units = [Unit(bytes(mount.point)), Unit(bytes(tmp_path / "good"))]
        results = {it.key: it for it in run(units, read_fence())}
        assert bytes(mount.point) in {it.mount for it in looks.given_up()}
    hung, good = (results[unit.path] for unit in units)
    assert hung.usage.partial
    assert (good.usage.inodes, good.usage.partial) == (2, False)


def test_a_working_directory_that_hangs(small: SmallRoot, tmp_path: Path) -> None:
    with dead_mount(tmp_path / "mnt", "shallow") as mount:
        words = ("which", "no-such-thing", "./here", small.orphan.name, *on(small.path))
        ended = timed(*words, mounts=(mount,), cwd=mount.point)
    told(ended, mount)
    assert small.orphan.name in ended.out
    assert ended.status == 2
