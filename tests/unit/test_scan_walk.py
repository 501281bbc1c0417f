"""Both cores count what du counts, on trees of every kind; the portable one also when disturbed."""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.model import Usage
from app.scan import counters as meter
from app.scan import walk
from app.scan.counters import Progress
from app.scan.tree import combined
from app.scan.walk import Fence, Unit, read_fence, walk_unit
from tests.unit.scan_trees import (
    MEASURES,
    NOBODY,
    Measure,
    Step,
    du,
    flood,
    make,
    mounted,
    never_stop,
    plain_count,
    scratch,
    steps,
    usage_of,
    without_privileges,
)

generated = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def place() -> Iterator[bytes]:
    with scratch() as path:
        yield path


@pytest.fixture(params=MEASURES)
def measure(request: pytest.FixtureRequest) -> Measure:
    """Both cores."""
    return MEASURES[request.param]


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports come at every opportunity."""
    monkeypatch.setattr(meter, "TICK", 0.0)


@generated
@given(plan=steps, held_open=st.integers(1, 4))
def test_equals_du_on_any_tree(
    plan: list[Step], held_open: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "_OPEN", held_open)
    with scratch() as root:
        make(root, plan)
        usage = usage_of(root)
        assert (usage.bytes, usage.inodes) == du(root)
        assert usage == plain_count(root)


@generated
@given(plan=steps)
def test_every_directory_of_the_tree_has_the_figures_it_would_have_alone(
    plan: list[Step], measure: Measure
) -> None:
    with scratch() as root:
        directories = make(root, plan)
        tree = measure(Unit(root), Fence()).tree
        assert sorted(tree.path(node) for node in range(len(tree))) == sorted(directories)
        for node in range(len(tree)):
            assert tree.usage(node) == plain_count(tree.path(node))


@generated
@given(plan=steps)
def test_units_together_count_each_inode_once(plan: list[Step], measure: Measure) -> None:
    with scratch() as root:
        make(root, plan)
        below = [it.path for it in os.scandir(root) if it.is_dir(follow_symlinks=False)]
        units = [Unit(root, shallow=True), *map(Unit, below)]
        results = [measure(unit, Fence()) for unit in units]
        assert combined(results) == plain_count(root)
        if below:
            layers = combined(results[1:])
            assert (layers.bytes, layers.inodes) == du(*below)
            assert layers == plain_count(*below)


@generated
@given(plan=steps, seed=st.integers(0, 2**16))
def test_the_tree_does_not_depend_on_the_order_of_the_entries(
    plan: list[Step], seed: int, measure: Measure
) -> None:
    with scratch() as root:
        directories = make(root, plan)
        first = measure(Unit(root), Fence()).tree
        assert [first.name(child) for child in first.children(0)] == sorted(
            os.path.basename(path) for path in directories[1:] if os.path.dirname(path) == root
        )
        shuffled = random.Random(seed).sample(directories, len(directories))
        for path in shuffled:
            node = first.find(os.path.relpath(path, root))
            assert node is not None
            assert first.path(node) == (path if node else root)
        assert first.find(b"not/there") is None


def test_a_tree_of_thousands_of_levels_needs_few_descriptors(
    place: bytes, measure: Measure
) -> None:
    levels = 2_000
    descriptor = os.open(place, os.O_RDONLY)
    for level in range(levels):
        os.mkdir(b"deeper", dir_fd=descriptor)
        if level % 10 == 0:
            os.mkdir(b"aside", dir_fd=descriptor)
        below = os.open(b"deeper", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(250, hard), hard))
    try:
        result = measure(Unit(place), Fence())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert result.usage.inodes == levels + levels // 10 + 1
    assert (result.usage.bytes, result.usage.inodes) == du(place)
    assert result.usage.unreadable == 0
    assert (
        len(result.tree.path(result.tree.find(b"/".join([b"deeper"] * levels)) or 0)) > 7 * levels
    )


def test_where_few_descriptors_may_be_open_a_walk_makes_do_with_them(
    place: bytes, measure: Measure
) -> None:
    os.makedirs(os.path.join(place, *[b"d"] * 200))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 40, hard))
    try:
        usage = usage_of(place, measure=measure)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (usage.inodes, usage.unreadable) == (201, 0)


def test_a_walk_leaves_no_descriptor_open(place: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "_OPEN", 2)
    os.makedirs(os.path.join(place, *[b"d"] * 9))
    before = os.listdir("/proc/self/fd")
    usage_of(place)
    walk_unit(Unit(place), Fence(), lambda _progress: False)
    assert os.listdir("/proc/self/fd") == before


def test_access_times_are_not_moved(place: bytes, measure: Measure) -> None:
    directory = os.path.join(place, b"layer")
    flood(directory, 3)
    os.utime(directory, (1_000_000_000, 1_000_000_000))
    usage_of(place, measure=measure)
    assert os.stat(directory).st_atime == 1_000_000_000


def test_a_shallow_unit_is_the_directory_without_those_in_it(
    place: bytes, measure: Measure
) -> None:
    flood(os.path.join(place, b"below"), 5)
    Path(os.fsdecode(place), "file").write_bytes(b"12345")
    result = measure(Unit(place, shallow=True), Fence())
    assert result.usage.inodes == 2
    assert result.usage.apparent == 5
    assert len(result.tree) == 1
    assert not result.usage.partial


def test_symbolic_links_are_counted_and_never_followed(place: bytes, measure: Measure) -> None:
    flood(os.path.join(place, b"target"), 5)
    unit = os.path.join(place, b"unit")
    os.mkdir(unit)
    os.symlink(os.path.join(place, b"target"), os.path.join(unit, b"to-a-directory"))
    assert usage_of(unit, measure=measure).inodes == 2
    assert usage_of(os.path.join(unit, b"to-a-directory"), measure=measure).inodes == 1


def test_a_unit_that_is_a_file_is_that_inode(place: bytes, measure: Measure) -> None:
    path = os.path.join(place, b"log")
    Path(os.fsdecode(path)).write_bytes(b"x" * 10_000)
    usage = usage_of(path, measure=measure)
    assert (usage.bytes, usage.inodes) == du(path)
    assert usage.apparent == 10_000
    os.link(path, path + b"2")
    assert usage_of(path, measure=measure) == Usage(usage.bytes, 10_000, 1, 0, 0)


def test_sums_of_links_are_kept_only_where_there_is_something_to_add(
    place: bytes, measure: Measure
) -> None:
    unit = os.path.join(place, b"unit")
    os.mkdir(unit)
    flood(os.path.join(unit, b"below"), 1)
    first = os.path.join(unit, b"below", b"checkpoint-00000000")
    os.link(first, os.path.join(unit, b"link"))
    tree = measure(Unit(unit), Fence()).tree
    assert list(tree.links.nodes) == [0, 1], "from the unit upwards nothing is shared"
    os.link(first, os.path.join(place, b"elsewhere"))
    tree = measure(Unit(unit), Fence()).tree
    assert list(tree.links.nodes) == [1], "the unit has it from below already"
    assert tree.usage(0) == plain_count(unit)


def test_the_latest_change_is_found_however_deep_but_not_beside(
    place: bytes, measure: Measure
) -> None:
    deep = os.path.join(place, b"diff", b"usr", b"lib")
    os.makedirs(deep)
    flood(os.path.join(place, b"empty"), 0)
    files = [os.path.join(it, b"file") for it in (deep, place)]
    for path in files:
        Path(os.fsdecode(path)).touch()
    assert measure(Unit(os.path.join(place, b"empty")), Fence()).newest == 0
    for changed, counts in ((files[0], True), (deep, True), (files[1], False), (place, False)):
        before = measure(Unit(place), Fence()).newest
        while int(os.lstat(changed).st_ctime) <= before:
            time.sleep(0.1)
            os.utime(changed, (0, 0))
        newest = measure(Unit(place), Fence()).newest
        assert newest == (int(os.lstat(changed).st_ctime) if counts else before)
    os.link(files[0], os.path.join(place, b"link"))
    linked = int(os.lstat(files[0]).st_ctime)
    assert measure(Unit(place), Fence()).newest == linked


def test_a_unit_that_is_gone_is_empty_and_no_error(place: bytes, measure: Measure) -> None:
    result = measure(Unit(os.path.join(place, b"gone")), Fence())
    assert result.usage == Usage()
    assert result.unreadable == ()


def test_what_may_not_be_read_is_counted_and_named(place: bytes, measure: Measure) -> None:
    flood(os.path.join(place, b"closed"), 3)
    flood(os.path.join(place, b"names-only"), 4)
    os.makedirs(os.path.join(place, b"names-only", b"directory"))
    flood(os.path.join(place, b"open"), 5)
    os.chmod(os.path.join(place, b"closed"), 0)
    os.chmod(os.path.join(place, b"names-only"), 0o744)
    with without_privileges():
        result = measure(Unit(place), Fence())
        alone = usage_of(os.path.join(place, b"closed"), measure=measure)
    assert (result.usage.bytes, result.usage.inodes) == du(
        place, as_user=NOBODY if os.geteuid() == 0 else None
    )
    assert result.usage.unreadable == 6
    assert os.path.join(place, b"closed") in result.unreadable
    assert os.path.join(place, b"names-only", b"directory") in result.unreadable
    assert (alone.inodes, alone.unreadable) == (1, 1)
    tree = result.tree
    counts = {tree.name(child): tree.usage(child).unreadable for child in tree.children(0)}
    assert counts == {b"closed": 1, b"names-only": 5, b"open": 0}


def test_thousands_of_unreadable_entries_are_all_counted_and_some_named(
    place: bytes, measure: Measure
) -> None:
    flood(os.path.join(place, b"names-only"), 1_000)
    os.chmod(os.path.join(place, b"names-only"), 0o744)
    with without_privileges():
        result = measure(Unit(place), Fence())
    assert result.usage.unreadable == 1_000
    assert 0 < len(result.unreadable) <= 200


def test_another_file_system_is_left_out_as_du_does(place: bytes, measure: Measure) -> None:
    point, file_point = os.path.join(place, b"merged"), os.path.join(place, b"resolv.conf")
    os.mkdir(point)
    Path(os.fsdecode(file_point)).write_bytes(b"")
    with mounted("-t", "tmpfs", "tmpfs", point) as possible:
        if not possible:
            pytest.skip("mounting is not allowed here")
        flood(os.path.join(point, b"inside"), 3)
        with mounted("--bind", "/proc/self/status", file_point):
            usage = usage_of(place, read_fence(), measure=measure)
            assert (usage.bytes, usage.inodes) == du(place)
            assert usage.inodes == 1
            assert usage_of(point, read_fence(), measure=measure).inodes == 5


def test_a_mount_that_came_after_the_fence_was_read_is_not_entered(
    place: bytes, measure: Measure
) -> None:
    point = os.path.join(place, b"merged")
    os.mkdir(point)
    with mounted("-t", "tmpfs", "tmpfs", point) as possible:
        if not possible:
            pytest.skip("mounting is not allowed here")
        assert usage_of(place, Fence(), measure=measure).inodes == 1


def test_a_bind_mount_of_the_same_file_system_is_not_entered(
    place: bytes, measure: Measure
) -> None:
    flood(os.path.join(place, b"volume"), 7)
    point = os.path.join(place, b"layer", b"deep", b"mnt")
    os.makedirs(point)
    with mounted("--bind", os.path.join(place, b"volume"), point) as possible:
        if not possible:
            pytest.skip("mounting is not allowed here")
        assert usage_of(place, read_fence(), measure=measure).inodes == 1 + 8 + 2
        link = os.path.join(place, b"link")
        os.symlink(os.path.join(place, b"layer"), link)
        # A fence knows real paths; the unit may have been reached through a symbolic link.
        assert usage_of(os.path.join(link, b"deep"), read_fence(), measure=measure).inodes == 1


def test_btrfs_subvolumes_are_walked_and_mounts_in_them_are_not(place: bytes) -> None:
    if not (shutil.which("mkfs.btrfs") and shutil.which("btrfs")):
        pytest.skip("btrfs-progs is not installed")
    image, point = os.path.join(place, b"image"), os.path.join(place, b"pool")
    Path(os.fsdecode(image)).touch()
    os.truncate(image, 200 * 2**20)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True, capture_output=True)
    os.mkdir(point)
    with mounted("-o", "loop", image, point) as possible:
        if not possible:
            pytest.skip("mounting btrfs is not allowed here")
        layer = os.path.join(point, b"layer")
        subprocess.run(["btrfs", "subvolume", "create", layer], check=True, capture_output=True)
        flood(os.path.join(layer, b"files"), 3)
        os.mkdir(os.path.join(layer, b"merged"))
        with mounted("-t", "tmpfs", "tmpfs", os.path.join(layer, b"merged")):
            flood(os.path.join(layer, b"merged", b"inside"), 5)
            assert usage_of(layer, read_fence()).inodes == 5
            assert usage_of(point, read_fence()).inodes == 6


def test_a_stopped_walk_keeps_what_it_found_and_says_where_it_is_incomplete(
    place: bytes, every_step: None
) -> None:
    for name in (b"a", b"b", b"c"):
        flood(os.path.join(place, name), 300)

    def stop_in_b(progress: Progress) -> bool:
        return not progress.current.endswith(b"/b")

    result = walk_unit(Unit(place), Fence(), stop_in_b)
    tree = result.tree
    states = {tree.name(child): tree.usage(child) for child in tree.children(0)}
    assert result.usage.partial
    assert states[b"a"] == plain_count(os.path.join(place, b"a"))
    assert states[b"b"].partial
    assert 1 < states[b"b"].inodes < 301
    assert b"c" not in states


def test_reports_grow_and_end_at_the_result(place: bytes, every_step: None) -> None:
    flood(os.path.join(place, b"a"), 1_000)
    os.link(os.path.join(place, b"a", b"checkpoint-00000000"), os.path.join(place, b"a", b"again"))
    reports: list[Progress] = []

    def note(progress: Progress) -> bool:
        reports.append(progress)
        return True

    result = walk_unit(Unit(place), Fence(), note)
    counts = [progress.usage.inodes for progress in reports]
    assert counts == sorted(counts)
    assert len(set(counts)) > 1
    assert [progress.ended for progress in reports] == [False] * (len(reports) - 1) + [True]
    assert counts[-1] == result.usage.inodes
    assert reports[-1].entries == result.entries == result.usage.inodes + 1
    assert all(progress.usage.partial for progress in reports)


def test_a_directory_moved_away_under_the_walk_is_not_lost_in_silence(
    place: bytes, every_step: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "_OPEN", 1)
    unit, elsewhere = os.path.join(place, b"unit"), os.path.join(place, b"elsewhere")
    os.makedirs(os.path.join(unit, b"a", b"b", b"c", b"d"))
    os.makedirs(os.path.join(unit, b"a", b"later"))
    os.mkdir(elsewhere)

    def move(progress: Progress) -> bool:
        if progress.current.endswith(b"/c") and not os.listdir(elsewhere):
            os.rename(os.path.join(unit, b"a", b"b"), os.path.join(elsewhere, b"b"))
            os.rename(os.path.join(unit, b"a"), os.path.join(elsewhere, b"a"))
        return True

    result = walk_unit(Unit(unit), Fence(), move)
    assert os.listdir(elsewhere)
    assert result.usage.unreadable == 1
    assert result.unreadable[0].endswith(b"/a/later")


def test_files_and_directories_may_vanish_and_change_under_the_walk(
    place: bytes, every_step: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "_OPEN", 2)
    end = threading.Event()
    disturber = threading.Thread(target=_disturb, args=(place, end))
    disturber.start()
    try:
        results = [walk_unit(Unit(place), Fence(), never_stop) for _ in range(150)]
    finally:
        end.set()
        disturber.join()
    assert all(0 < result.usage.inodes < 1_000 for result in results)
    assert usage_of(place) == plain_count(place)


def _disturb(place: bytes, end: threading.Event) -> None:
    choice = random.Random(7)
    while not end.is_set():
        path = os.path.join(place, *(b"%d" % choice.randrange(3) for _ in range(4)))
        part = path[: choice.randrange(len(place) + 2, len(path) + 1)].rstrip(b"/")
        with suppress(OSError):
            match choice.randrange(6):
                case 0:
                    os.makedirs(path)
                case 1:
                    os.rename(part, path)
                case 2:
                    os.rmdir(part)
                case 3:
                    os.unlink(part)
                case 4:
                    # One that leads out would let the others act there.
                    os.symlink(b".", part)
                case _:
                    os.close(os.open(part, os.O_CREAT | os.O_EXCL))
