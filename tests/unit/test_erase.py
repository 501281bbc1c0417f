"""Erasing: all of it, nothing else, and true figures; against whatever the tree does meanwhile."""

from __future__ import annotations

import os
import resource
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from app.cleanup.execute import counter as tally
from app.cleanup.execute import remove_tree as emptying
from app.cleanup.execute.counter import Erased
from app.cleanup.execute.erase import Surroundings, erase, truncate
from app.cleanup.execute.outcome import Progress
from app.cleanup.plan.model import Place
from app.cleanup.plan.reopen_path import Unreachable
from app.host import renaming
from app.scan import descent
from tests.unit.removals import (
    Watched,
    entries,
    freed_by,
    identified,
    immutable,
    mount_points,
    place,
    unmounting,
)
from tests.unit.scan_trees import Step, flood, make, mounted, names, scratch, steps

ROUNDS = 1500
HOSTILE = """
import os, shutil, sys
os.chdir(sys.argv[1])
outside = sys.argv[2]
print("ready", flush=True)
n = 0
while True:
    n += 1
    for junk in os.listdir(".") if n % 10 == 0 else ():
        if os.path.islink(junk):
            try:
                os.unlink(junk)
            except OSError:
                pass
        elif junk not in ("a", "b"):
            shutil.rmtree(junk, ignore_errors=True)
    for name in ("a", "b/c", "b"):
        aside = f"aside-{n % 3}"
        for act in (
            lambda: os.rename(name, aside),
            lambda: os.symlink(outside, name),
            lambda: os.rename(name, f"{name}.link"),
            lambda: os.rename(aside, name),
            lambda: os.makedirs(f"b/c/{n % 50}/deep", exist_ok=True),
            lambda: open(f"b/c/{n % 50}/deep/{n % 7}", "w").close(),
            lambda: os.makedirs(f"a/{n % 9}", exist_ok=True),
            lambda: os.symlink(outside, f"a/{n % 9}/link"),
            lambda: os.rename("b/c", "../moved"),
            lambda: os.rename("../moved", "b/c"),
        ):
            try:
                act()
            except OSError:
                pass
"""


@pytest.fixture
def root() -> Iterator[bytes]:
    with unmounting() as made:
        yield made


def put(path: bytes, content: bytes = b"canary") -> bytes:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(os.fsdecode(path)).write_bytes(content)
    return path


def erased(root: bytes, *names: bytes, progress: Progress | None = None) -> Erased:
    return erase(place(root, *names), progress or Progress())


# --- all of it, and true figures ------------------------------------------------------------------


@given(steps, names)
@settings(max_examples=150)
def test_any_tree_goes_and_what_it_gave_back_is_counted(plan: list[Step], name: bytes) -> None:
    with scratch() as root:
        name = b"target" if name in (b".", b"..") else name
        target = os.path.join(root, name)
        os.mkdir(target)
        make(target, plan)
        put(root + b"/other/canary") if name != b"other" else None
        kept = entries(root) - {name} - {os.path.join(name, it) for it in entries(target)}
        files = [it for it in entries(target) if os.path.isfile(os.path.join(target, it))]
        if files:
            os.link(os.path.join(target, min(files)), root + b"/linked", follow_symlinks=False)
            kept.add(b"linked")
        expected, progress = freed_by(target), Progress()
        count = len(entries(target)) + 1
        result = erased(root, name, progress=progress)
        assert (result.complete, result.sentences) == (True, ())
        assert (result.removed.bytes, result.removed.inodes) == expected
        assert (progress.bytes, progress.inodes, progress.entries) == (*expected, count)
        assert entries(root) == kept


@pytest.mark.parametrize("kind", ["file", "symlink", "fifo", "socket", "whiteout"])
def test_what_is_no_directory_goes_and_nothing_it_leads_to(root: bytes, kind: str) -> None:
    canary = put(root + b"/outside/canary")
    target = root + b"/it"
    if kind == "file":
        put(target, b"x" * 5000)
    elif kind == "symlink":
        os.symlink(os.path.dirname(canary), target)
    elif kind == "fifo":
        os.mkfifo(target)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(target)
    elif os.geteuid() == 0:
        os.mknod(target, stat.S_IFCHR, os.makedev(0, 0))
    else:
        pytest.skip("only root makes devices")
    size = os.lstat(target).st_blocks * 512
    result = erased(root, b"it")
    assert (result.complete, result.removed.bytes, result.removed.inodes) == (True, size, 1)
    assert entries(root) == {b"outside", b"outside/canary"}


def test_thousands_of_levels_with_few_descriptors(root: bytes) -> None:
    levels = 3000
    here = os.open(root, os.O_RDONLY)
    for level in range(levels):
        name = b"d" if level else b"top"
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
        if level % 100 == 0:
            os.close(os.open(b"file", os.O_CREAT, dir_fd=here))
    os.close(here)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 160, hard))
    try:
        result = erased(root, b"top")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (result.complete, result.removed.inodes) == (True, levels + levels // 100)
    assert not entries(root)


def test_wide_ones_deeper_than_what_is_held_open(
    root: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emptying, "_OPEN", 2)
    monkeypatch.setattr(emptying, "_PENDING", 3)
    for first in range(10):
        for second in range(10):
            os.makedirs(root + b"/top/%d/%d/x/y/z" % (first, second))
            put(root + b"/top/%d/%d/x/file" % (first, second))
    result = erased(root, b"top")
    assert (result.complete, result.removed.inodes) == (True, 1 + 10 + 100 * 5)
    assert not entries(root)


def test_a_flood_of_files_in_one_directory(root: bytes) -> None:
    flood(root + b"/flood", 20_000)
    result = erased(root, b"flood")
    assert (result.complete, result.removed.inodes) == (True, 20_001)


def test_it_is_the_same_without_openat2(root: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descent, "_openat2", lambda: None)
    put(root + b"/top/a/b/c/file")
    os.symlink(b"/etc", root + b"/top/a/link")
    assert erased(root, b"top").complete
    assert not entries(root)


# --- only what was planned ------------------------------------------------------------------------


def refusal(where: Place) -> str:
    with pytest.raises(Unreachable) as caught:
        erase(where, Progress())
    return str(caught.value)


def test_another_thing_in_its_place_stays(root: bytes) -> None:
    put(root + b"/top/file")
    where = place(root, b"top")
    os.rename(root + b"/top", root + b"/aside")
    put(root + b"/top/canary")
    assert "something else lies there now" in refusal(where)
    assert entries(root) == {b"top", b"top/canary", b"aside", b"aside/file"}


def test_a_link_in_its_place_or_on_the_way_is_not_followed(root: bytes) -> None:
    canary = put(root + b"/canaries/file")
    put(root + b"/way/top/file")
    where = place(root, b"way", b"top", b"file")
    os.rename(root + b"/way/top", root + b"/aside")
    os.symlink(root + b"/aside", root + b"/way/top")
    assert "symbolic link" in refusal(where)
    other = replace(place(root, b"way", b"top"), identity=identified(canary))
    assert "something else" in refusal(other)
    assert os.path.exists(root + b"/aside/file")


def test_another_base_and_a_linked_base_are_refused(root: bytes) -> None:
    put(root + b"/base/file")
    where = place(root + b"/base", b"file")
    os.rename(root + b"/base", root + b"/old")
    put(root + b"/base/file")
    assert "something else is mounted or lies there" in refusal(where)
    os.rename(root + b"/base", root + b"/new")
    os.symlink(b"old", root + b"/base")
    assert "symbolic link" in refusal(where)
    assert {b"old/file", b"new/file"} <= entries(root)


@pytest.mark.parametrize(
    ("base", "names_"),
    [
        (b"", ()),
        (b"", (b"..", b"canary")),
        (b"", (b"top", b"..")),
        (b"", (b"top/file",)),
        (b"", (b"top", b"")),
        (b"", (b"top", b".")),
        (b"/../", (b"top",)),
        (b"/.", (b"top",)),
    ],
)
def test_a_place_that_is_none_is_refused(
    root: bytes, base: bytes, names_: tuple[bytes, ...]
) -> None:
    put(root + b"/top/file")
    put(root + b"/canary")
    before = entries(root)
    good = place(root, b"top")
    odd = Place(root + base, good.origin, names_, good.identity)
    assert "not touched" in refusal(odd)
    assert "not touched" in refusal(replace(good, base=b"tmp"))
    assert entries(root) == before


def test_what_is_gone_already_is_no_failure(root: bytes) -> None:
    put(root + b"/way/file")
    where = place(root, b"way", b"file")
    os.unlink(root + b"/way/file")
    assert erase(where, Progress()).gone
    os.rmdir(root + b"/way")
    assert erase(where, Progress()).gone


# --- what stays -----------------------------------------------------------------------------------


def test_an_immutable_file_stays_and_the_rest_goes_on(root: bytes) -> None:
    stuck = put(root + b"/top/a/stuck")
    put(root + b"/top/a/file")
    put(root + b"/top/b/file")
    with immutable(stuck) as made:
        if not made:
            pytest.skip("no immutable files here")
        result = erased(root, b"top")
        assert entries(root) == {b"top", b"top/a", b"top/a/stuck"}
    assert (result.complete, result.left, result.stopped) == (False, 1, False)
    (sentence,) = result.sentences
    assert os.fsdecode(stuck) in sentence
    assert "immutable" in sentence
    assert erased(root, b"top").complete


@pytest.mark.parametrize("without", [False, True])
@pytest.mark.parametrize("flag", ["+a", "+i"])
@pytest.mark.parametrize("pinned", [b"top", b"top/sub"])
def test_a_directory_that_lets_nothing_go_stays_as_it_is(
    root: bytes, monkeypatch: pytest.MonkeyPatch, flag: str, pinned: bytes, without: bool
) -> None:
    """Nothing is moved into it, or given a second name elsewhere; ``without`` renameat2(2) too."""
    if without:
        monkeypatch.setattr(renaming, "_renameat2", lambda: None)
    for number in range(3):
        put(root + b"/top/sub/%d" % number)
        put(root + b"/top/other/%d" % number)
    subprocess.run([b"chattr", flag, root + b"/" + pinned], check=True)
    try:
        result = erased(root, b"top")
        left = entries(root)
    finally:
        subprocess.run([b"chattr", b"-i", b"-a", root + b"/" + pinned], check=True)
    kept = {b"top", b"top/sub"}
    if pinned == b"top":
        # What is in other directories goes, these themselves do not.
        kept |= {b"top/other"}
    else:
        kept |= {b"top/sub/%d" % number for number in range(3)}
    assert left == kept
    assert not result.complete


def test_where_nothing_can_be_removed_it_gives_up(
    root: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "_MOST_LEFT", 50)
    flood(root + b"/top", 200)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        result = erased(root, b"top")
    assert (result.left, len(result.sentences)) == (50, 20)
    assert "read-only" in result.sentences[0]


def test_stop_is_heeded_between_entries_and_the_same_again_finishes(root: bytes) -> None:
    for name in range(10):
        flood(root + b"/%d" % name, 0)
    flood(root + b"/top", 100)
    result = erased(root, b"top", progress=Watched(40))
    assert (result.complete, result.stopped, result.sentences) == (False, True, ())
    left = len(os.listdir(root + b"/top"))
    assert 0 < left < 100
    assert result.removed.inodes == 100 - left
    assert erased(root, b"top").complete


def test_what_vanishes_meanwhile_is_fine(root: bytes) -> None:
    for number in range(50):
        put(root + b"/top/%02d/file" % number)

    def vanish() -> None:
        subprocess.run(["rm", "-rf", root + b"/top"], check=True)

    for moment in (1, 5, 33, 70):
        assert erased(root, b"top", progress=Watched(moment, vanish)).complete
        assert not os.path.exists(root + b"/top")
        for number in range(50):
            put(root + b"/top/%02d/file" % number)


@pytest.mark.parametrize("moment", range(3, 15, 2))
def test_what_somebody_else_removes_first_was_not_moved_away(root: bytes, moment: int) -> None:
    for number in range(10):
        put(root + b"/top/sub/%d" % number)

    def vanish() -> None:
        subprocess.run(["rm", "-rf", root + b"/top"], check=True)

    result = erased(root, b"top", progress=Watched(moment, vanish))
    assert (result.complete, result.moved, result.sentences) == (True, 0, ())


def test_what_cannot_be_renamed_at_all_stays_and_the_way_out_is_told(root: bytes) -> None:
    """As across a project quota: here it lies in the lower layer of an overlay (EXDEV)."""
    put(root + b"/lower/diff/top/file")
    for name in (b"upper", b"work", b"all"):
        os.mkdir(root + b"/" + name)
    parts = b"lowerdir=%b/lower,upperdir=%b/upper,workdir=%b/work" % (root, root, root)
    around = Surroundings(beside=0)
    with mounted("-t", "overlay", "overlay", "-o", parts, root + b"/all") as done:
        if not done:
            pytest.skip("no overlay here")
        target = place(root + b"/all", b"diff", b"top")
        with pytest.raises(Unreachable, match="Start the container and ask again"):
            erase(target, Progress(), around)
        assert os.path.exists(root + b"/all/diff/top/file")
    assert not entries(root + b"/upper")


@pytest.mark.parametrize("held", [1, 2, 64])
@pytest.mark.parametrize("moved", [b"b", b"b/c", b"b/c/d"])
def test_a_directory_that_is_moved_away_is_not_followed_up(
    moved: bytes, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its new neighbours are none of ours, though the way up leads to them now."""
    monkeypatch.setattr(emptying, "_OPEN", held)
    for moment in range(1, 30):
        with scratch() as root:
            os.makedirs(root + b"/top/a/b/c/d/e/f")
            kept = {put(root + b"/elsewhere/" + name) for name in (b"canary", b"c2/canary")}

            def move(root: bytes = root) -> None:
                way = root + b"/top/a/" + moved
                if os.path.exists(way):
                    os.rename(way, root + b"/elsewhere/" + os.path.basename(way))

            where = place(root, b"top")
            erase(where, Watched(moment, move))
            assert all(os.path.exists(it) for it in kept), moment
            if os.path.exists(root + b"/top"):
                assert erase(where, Progress()).complete


def test_what_is_put_into_a_directory_that_was_emptied_and_moved_away_stays(
    root: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(root + b"/top/a/file")
    inode, scandir = os.stat(root + b"/top/a").st_ino, os.scandir
    canary = root + b"/elsewhere/canary"

    class Listing:
        """Moves the directory away when it was read to its end."""

        def __init__(self, descriptor: int) -> None:
            self._is_it = os.fstat(descriptor).st_ino == inode
            self._inner = scandir(descriptor)
            self.close = self._inner.close

        def __iter__(self) -> Iterator[os.DirEntry[str]]:
            yield from self._inner
            if self._is_it and not os.path.exists(canary):
                os.rename(root + b"/top/a", root + b"/elsewhere")
                put(canary)
                put(root + b"/top/a/another")

    monkeypatch.setattr(os, "scandir", Listing)
    result = erased(root, b"top")
    assert (result.complete, result.moved, result.moved_from) == (False, 1, root + b"/top/a")
    monkeypatch.undo()
    assert entries(root) == {b"elsewhere", b"elsewhere/canary", b"elsewhere/file"}


# --- mounts ---------------------------------------------------------------------------------------


def test_mounts_below_stay_with_the_way_to_them(root: bytes) -> None:
    canary = put(root + b"/outside/canary")
    single = put(root + b"/single", b"mounted file")
    put(root + b"/top/a/point/covered")
    put(root + b"/top/a/file")
    put(root + b"/top/b/covered file")
    put(root + b"/top/c/file")
    with (
        mounted("--bind", root + b"/outside", root + b"/top/a/point") as one,
        mounted("--bind", single, root + b"/top/b/covered file") as two,
        mounted("-t", "tmpfs", "none", root + b"/top/c") as three,
    ):
        if not (one and two and three):
            pytest.skip("mounting is not allowed here")
        put(root + b"/top/c/in-memory")
        result = erased(root, b"top")
        assert (result.complete, result.left) == (False, 3)
        assert all("mounted" in it for it in result.sentences)
        assert os.path.exists(root + b"/top/c/in-memory")
        left = {b"top/a", b"top/a/point", b"top/a/point/canary", b"top/b", b"top/b/covered file"}
        assert left <= entries(root)
        assert not os.path.exists(root + b"/top/a/file")
        for point in (b"/top/a/point", b"/top/b/covered file", b"/top/c"):
            assert root + point in mount_points()
    assert Path(os.fsdecode(canary)).read_bytes() == b"canary"
    assert Path(os.fsdecode(single)).read_bytes() == b"mounted file"


@pytest.mark.parametrize("moment", [2, 4, 7, 12, 20, 45])
@pytest.mark.parametrize("openat2", [True, False])
def test_what_is_mounted_in_mid_walk_stays(
    root: bytes, moment: int, openat2: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not openat2:
        monkeypatch.setattr(descent, "_openat2", lambda: None)
    canary = put(root + b"/outside/deep/canary")
    for number in range(20):
        put(root + b"/top/%02d/in/file" % number)
    made: list[bytes] = []

    def mount() -> None:
        for name in sorted(os.listdir(root + b"/top")):
            point = root + b"/top/" + name + b"/in"
            bind = [b"mount", b"--bind", root + b"/outside", point]
            if subprocess.run(bind, capture_output=True, check=False).returncode == 0:
                made.append(point)

    result = erased(root, b"top", progress=Watched(moment, mount))
    if not made:
        pytest.skip("mounting is not allowed here")
    assert not result.complete
    assert Path(os.fsdecode(canary)).read_bytes() == b"canary"
    assert set(made) <= set(mount_points())


def test_the_place_itself_or_the_way_to_it_may_be_no_mount(root: bytes) -> None:
    put(root + b"/outside/canary")
    put(root + b"/way/top/file")
    with mounted("--bind", root + b"/outside", root + b"/way/top") as done:
        if not done:
            pytest.skip("mounting is not allowed here")
        assert "mounted" in refusal(place(root, b"way", b"top"))
        assert "mounted" in refusal(place(root, b"way", b"top", b"canary"))
    assert b"outside/canary" in entries(root)


@contextmanager
def overlay(at: bytes) -> Iterator[bytes]:
    """``at/lower`` and ``at/upper`` as one at ``at/merged``; left out where it may not."""
    for name in (b"work", b"merged"):
        os.mkdir(at + b"/" + name)
    options = b"lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work" % (at, at, at)
    with mounted("-t", "overlay", "-o", options, "overlay", at + b"/merged") as done:
        if not done:
            pytest.skip("no overlay can be mounted here")
        yield at + b"/merged"


def test_through_a_live_overlay_files_go_from_the_upper_and_the_lower_stays(root: bytes) -> None:
    """On a filesystem of its own: nobody else's files come and go while its free blocks count."""
    disk = root + b"/disk"
    os.mkdir(disk)
    with mounted("-t", "tmpfs", "none", disk) as memory:
        if not memory:
            pytest.skip("mounting is not allowed here")
        for name in (
            *(b"lower/dir/from-below", b"lower/both"),
            *(b"upper/dir/from-above", b"upper/alone"),
        ):
            put(disk + b"/" + name, b"x" * 9000)
        with overlay(disk) as merged:
            before = os.statvfs(disk)
            assert erased(merged, b"alone").complete
            assert erased(merged, b"dir").complete
            assert erased(merged, b"both").complete
            assert not os.listdir(merged)
            assert os.statvfs(disk).f_bfree > before.f_bfree
            # Above a lower one a whiteout stays in its place.
            assert sorted(os.listdir(disk + b"/upper")) == [b"both", b"dir"]
        assert {b"lower/dir/from-below", b"lower/both"} <= entries(disk)


def test_through_a_live_overlay_only_what_its_upper_layer_has_counts(root: bytes) -> None:
    deep = b"/".join([b"d"] * 100)
    for name in (
        *(b"lower/only", b"lower/dir/from-below", b"lower/both", b"lower/tree/a/b"),
        *(b"upper/dir/from-above", b"upper/both", b"upper/new/" + deep + b"/file"),
    ):
        put(root + b"/" + name, b"x" * 9000)
    with overlay(root) as merged:
        for name, least in ((b"only", 0), (b"tree", 0), (b"dir", 1), (b"both", 1), (b"new", 101)):
            upper, progress = root + b"/upper/" + name, Progress()
            expected = freed_by(upper) if least else (0, 0)
            assert expected[1] >= least
            gone = erase(place(merged, name), progress, Surroundings(upper))
            assert gone.complete
            assert (gone.removed.bytes, gone.removed.inodes) == expected
            assert (progress.bytes, progress.inodes) == expected
            assert progress.entries > 0
    assert {b"lower/only", b"lower/tree/a/b", b"lower/dir/from-below"} <= entries(root)


def test_an_overlay_without_one_inode_space_works_too(root: bytes) -> None:
    """Its files are on other devices than its directories: xino off, layers on two file systems."""
    for name in (b"lower", b"over"):
        os.mkdir(root + b"/" + name)
    with mounted("-t", "tmpfs", "none", root + b"/lower") as memory:
        if not memory:
            pytest.skip("mounting is not allowed here")
        put(root + b"/lower/dir/below")
        put(root + b"/lower/dir/sub/below")
        for name in (b"upper", b"work", b"merged"):
            os.mkdir(root + b"/over/" + name)
        options = b"lowerdir=%s/lower,upperdir=%s/over/upper,workdir=%s/over/work,xino=off"
        with mounted(
            *("-t", "overlay", "-o", options % (root, root, root), "overlay"),
            root + b"/over/merged",
        ) as done:
            if not done:
                pytest.skip("no overlay can be mounted here")
            merged = root + b"/over/merged"
            put(merged + b"/dir/above")
            devices = {os.lstat(merged + b"/dir/" + it).st_dev for it in (b"above", b"below")}
            assert devices != {os.stat(merged).st_dev}
            result = erased(merged, b"dir")
            assert (result.complete, result.sentences) == (True, ())
            assert not os.listdir(merged)
        assert os.path.exists(root + b"/lower/dir/sub/below")


# --- against a hostile neighbour ------------------------------------------------------------------


def test_nothing_outside_goes_while_folders_and_links_are_swapped(root: bytes) -> None:
    outside = root + b"/outside"
    canaries = {put(outside + b"/%02d/deep/canary" % n) for n in range(20)}
    put(outside + b"/deep/0")
    kept = entries(outside)
    home = root + b"/home/top"
    os.makedirs(home)
    rounds = 0
    script = [sys.executable, "-c", HOSTILE, os.fsdecode(home), os.fsdecode(outside)]
    with subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as hostile:
        try:
            assert hostile.stdout
            assert hostile.stdout.readline() == b"ready\n"
            for _ in range(ROUNDS):
                for name in (b"a", b"b"):
                    # There must be something to remove, however quick the other one is.
                    with suppress(OSError):
                        os.makedirs(os.path.join(home, name, b"c/of/its/own"))
                    with suppress(Unreachable, FileNotFoundError):
                        rounds += not erased(home, name).gone
            assert hostile.poll() is None
        finally:
            hostile.kill()
    assert rounds > ROUNDS // 2
    # Neither gone nor emptied: what the hostile one makes by way of its links is its own.
    assert kept <= entries(outside)
    assert all(Path(os.fsdecode(it)).read_bytes() == b"canary" for it in canaries)


# --- truncating -----------------------------------------------------------------------------------


def test_a_log_is_emptied_in_place_and_its_writer_goes_on(root: bytes) -> None:
    log = put(root + b"/logs/it.log", b"x" * 100_000)
    inode = os.stat(log).st_ino
    with Path(os.fsdecode(log)).open("ab", buffering=0) as writer:
        progress = Progress()
        result = truncate(place(root, b"logs", b"it.log"), progress)
        writer.write(b"more")
    assert (result.complete, result.removed.inodes) == (True, 0)
    assert result.removed.bytes == progress.bytes >= 100_000
    assert Path(os.fsdecode(log)).read_bytes() == b"more"
    assert os.stat(log).st_ino == inode


@pytest.mark.parametrize("kind", ["directory", "symlink", "fifo", "replaced", "linked"])
def test_only_the_regular_file_of_the_plan_is_emptied(root: bytes, kind: str) -> None:
    canary = put(root + b"/canary", b"x" * 5000)
    target = root + b"/it"
    if kind == "directory":
        os.mkdir(target)
    elif kind == "symlink":
        os.symlink(canary, target)
    elif kind == "fifo":
        os.mkfifo(target)
    elif kind == "linked":
        os.link(canary, target)
    else:
        put(target)
    where = place(root, b"it")
    if kind == "replaced":
        os.rename(target, root + b"/aside")
        os.rename(canary, target)
        os.link(target, canary)
        os.unlink(root + b"/aside")
    with pytest.raises(Unreachable, match="not touched"):
        truncate(where, Progress())
    assert os.stat(canary).st_size == 5000


def test_an_append_only_log_is_told(root: bytes) -> None:
    log = put(root + b"/log", b"x" * 5000)
    if subprocess.run(["chattr", "+a", log], capture_output=True, check=False).returncode:
        pytest.skip("no append-only files here")
    try:
        result = truncate(place(root, b"log"), Progress())
    finally:
        subprocess.run(["chattr", "-a", log], check=True)
    assert not result.complete
    assert "append-only" in result.sentences[0]
    assert os.stat(log).st_size == 5000
