"""Where walks must not go, read from what the kernel says about mounts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import app
from app.host import mountinfo
from app.scan.core import VARIABLE
from app.scan.fence import Fence, is_foreign, read_fence
from tests.unit.scan_trees import require_native, scratch

TEXT = rb"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:40 / /mnt/my\040disk rw - btrfs /dev/mapper/a\134b rw,subvolid=5
24 22 8:1 /x /var/lib/docker/overlay2/a/merged rw shared:2 master:3 - overlay overlay rw

not a mount
"""


def test_mounts_are_read_with_their_escapes() -> None:
    assert [(it.point, it.fstype, it.source) for it in mountinfo.parse(TEXT)] == [
        (b"/", "ext4", b"/dev/sda1"),
        (b"/mnt/my disk", "btrfs", rb"/dev/mapper/a\b"),
        (b"/var/lib/docker/overlay2/a/merged", "overlay", b"overlay"),
    ]


@given(st.binary(max_size=300))
def test_anything_may_stand_in_the_file(text: bytes) -> None:
    for mount in mountinfo.parse(text + b"\n1 2 3 4 \\777 6 - \xff x\n"):
        assert mount.point or text


def test_a_carriage_return_in_a_path_ends_no_line() -> None:
    text = b"23 22 8:1 / /a\rb rw - ext4 /dev/sdb rw\n"
    assert [it.point for it in mountinfo.parse(text)] == [b"/a\rb"]


def lines(*mounts: tuple[int, int, bytes]) -> list[mountinfo.MountLine]:
    """Mounts by id, parent and point; the type is the id."""
    return [mountinfo.MountLine(*mount, str(mount[0]), b"") for mount in mounts]


def reached(*mounts: tuple[int, int, bytes]) -> set[int]:
    """The ids of those that a path leads to, which do not depend on the order of the file."""
    found = {it.id for it in mountinfo.reachable(lines(*mounts))}
    assert found == {it.id for it in mountinfo.reachable(lines(*reversed(mounts)))}
    return found


def test_the_mount_of_a_path_is_the_deepest() -> None:
    mounts = lines((1, 0, b"/"), (2, 1, b"/var"), (3, 2, b"/var/lib"))
    found = {
        path: mount.id
        for path in (b"/var/lib/docker", b"/var/library", b"/etc", b"/")
        if (mount := mountinfo.mount_of(path, mounts))
    }
    assert found == {b"/var/lib/docker": 3, b"/var/library": 2, b"/etc": 1, b"/": 1}
    assert mountinfo.mount_of(b"/x", []) is None


def test_what_is_covered_by_a_mount_above_is_out_of_reach() -> None:
    root, deep, covering = (1, 0, b"/"), (2, 1, b"/data/a/m"), (3, 1, b"/data")
    assert reached(root, deep) == {1, 2}
    assert reached(root, deep, covering) == {1, 3}
    assert reached(root, deep, (4, 2, b"/data/a/m/n"), covering) == {1, 3}, "with all that is in it"
    assert reached(root, covering, (5, 3, b"/data/a/m")) == {1, 3, 5}, "this one is in the upper"
    assert reached(root, deep, (6, 1, b"/data/a"), (7, 1, b"/data/a/mm")) == {1, 6}
    assert reached(root, deep, (8, 1, b"/data/a/m2"), (9, 1, b"/dat")) == {1, 2, 8, 9}


def test_of_mounts_on_top_of_each_other_the_uppermost_counts() -> None:
    root, lower, upper = (1, 0, b"/"), (2, 1, b"/m"), (3, 2, b"/m")
    assert reached(root, lower, upper, (4, 2, b"/m/covered"), (5, 3, b"/m/in")) == {1, 3, 5}


def test_what_is_mounted_on_the_root_itself_covers_nothing() -> None:
    assert reached((1, 0, b"/"), (2, 1, b"/proc"), (3, 1, b"/"), (4, 3, b"/x")) == {1, 2}
    assert reached((1, 1, b"/"), (2, 1, b"/proc")) == {1, 2}, "its parent may be itself"


def test_the_root_may_be_no_mount_of_its_own() -> None:
    assert reached((5, 4, b"/proc"), (6, 4, b"/a/b"), (7, 4, b"/a")) == {5, 7}


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.binary(max_size=4))))
def test_no_mounts_however_senseless_are_too_much(mounts: list[tuple[int, int, bytes]]) -> None:
    found = mountinfo.reachable(lines(*mounts))
    assert len({it.point for it in found}) <= len(mounts)


#: In a mount namespace of its own, which takes its mounts away when it ends: mounts at random in a
#: tree, and says where what is read differs from what the kernel and a plain look say.
AT_RANDOM = r"""
import os, random, subprocess, sys
home, place, seed = sys.argv[1:]
sys.path.insert(0, home)
from app.host import mountinfo
from app.scan.descent import mount_id
from app.scan.fence import read_fence
from app.scan.job import run
from app.scan.walk import Unit
choice, place = random.Random(int(seed)), os.fsencode(place)
def mount(*arguments):
    return subprocess.run(["mount", *arguments], stderr=subprocess.DEVNULL).returncode == 0
def tree(path, depth=3):
    for name in (b"a", b"b\r") if depth else ():
        os.mkdir(os.path.join(path, name))
        tree(os.path.join(path, name), depth - 1)
    with open(os.path.join(path, b"file"), "wb") as file:
        file.write(b"x" * 9000)
top, aside = os.path.join(place, b"top"), os.path.join(place, b"aside")
for path in (top, aside):
    os.mkdir(path)
    tree(path)
possible = mount("--make-rprivate", "/")
def pick():
    below = (choice.choice((b"a", b"b\r")) for _ in range(choice.randrange(1, 4)))
    return os.path.join(top, *below)
for _ in range(9 if possible else 0):
    to = pick()
    match choice.randrange(4):
        case 0: mount("-t", "tmpfs", "none", to) and tree(to)
        case 1: mount("--bind", aside, to)
        case 2: mount("--rbind", os.path.join(top, b"a"), to)
        case 3: mount("--move", pick(), to)
def mounted_at(path):
    descriptor = os.open(path, os.O_PATH)
    try:
        return mount_id(descriptor)
    finally:
        os.close(descriptor)
def plainly(path, mount):
    # Not du -x: it enters bind mounts of the same file system.
    if mounted_at(path) != mount:
        return 0
    below = [os.path.join(path, it) for it in os.listdir(path)] if os.path.isdir(path) else ()
    return os.lstat(path).st_blocks * 512 + sum(plainly(it, mount) for it in below)
paths = [path for path, _, _ in os.walk(top)] if possible else []
mounts = mountinfo.read()
for path in paths:
    if mountinfo.mount_of(path, mounts).id != mounted_at(path):
        print("not the mount of", path)
for result in run([Unit(path) for path in paths], read_fence()):
    if result.usage.bytes != plainly(result.key, mounted_at(result.key)):
        print("not what is there:", result.key)
print("tried" if possible else "not allowed")
"""


@pytest.mark.parametrize("core", ["native", "portable"])
@pytest.mark.parametrize("seed", range(4))
def test_covered_mounts_hide_nothing_that_is_there(core: str, seed: int) -> None:
    if core == "native":
        require_native()
    command = [sys.executable, "-c", AT_RANDOM, str(Path(app.__file__).parent.parent)]
    with scratch() as place:
        answer = subprocess.run(
            ["unshare", "--mount", *command, place, str(seed)],
            env={**os.environ, VARIABLE: core},
            capture_output=True,
            check=False,
        )
    forbidden = answer.returncode != 0 and b"unshare" in answer.stderr
    if forbidden or answer.stdout == b"not allowed\n":
        pytest.skip("mounting is not allowed here")
    assert (answer.stdout, answer.stderr) == (b"tried\n", b"")


def test_points_are_grouped_by_name_below_a_path() -> None:
    fence = Fence(frozenset({b"/d/a/merged", b"/d/a/merged/deeper", b"/d", b"/dd", b"/d/b/c/x"}))
    assert fence.below(b"/d") == {b"a": {b"merged": {}}, b"b": {b"c": {b"x": {}}}}
    assert fence.below(b"/d/a/merged") == {b"deeper": {}}
    assert fence.below(b"/elsewhere") == {}
    assert set(fence.below(b"/")) == {b"d", b"dd"}


def test_subvolumes_are_entered_on_btrfs_only() -> None:
    fence = Fence(frozenset({b"/", b"/pool", b"/pool/ext4"}), frozenset({b"/pool"}))
    assert fence.has_subvolumes(b"/pool/docker")
    assert not fence.has_subvolumes(b"/pool/ext4/docker")
    assert not fence.has_subvolumes(b"/docker")
    subvolume = os.stat_result((0o040755, 256, 77, 1, 0, 0, 0, 0, 0, 0))
    other = os.stat_result((0o040755, 2, 77, 1, 0, 0, 0, 0, 0, 0))
    assert not is_foreign(subvolume, 76, subvolumes=True)
    assert is_foreign(subvolume, 76, subvolumes=False)
    assert is_foreign(other, 76, subvolumes=True)
    assert not is_foreign(other, 77, subvolumes=False)


def test_the_fence_of_this_moment_knows_the_mounts_of_this_machine() -> None:
    if not Path("/proc/self/mountinfo").exists():
        pytest.skip("no /proc here")
    assert b"/proc" in read_fence().points
