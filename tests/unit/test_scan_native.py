"""The native core gives the portable one's answers, alone, in a crowd, and under every attack."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import app
from app.scan.core import VARIABLE
from app.scan.counting import count_unit
from app.scan.job import ScanJob
from app.scan.native.library import FILE
from app.scan.tree import UnitResult, combined
from app.scan.walk import Fence, Unit, read_fence
from tests.unit.scan_trees import (
    NOBODY,
    Step,
    du,
    fast_scratch,
    flood,
    flood_of_links,
    follow,
    make,
    measure_native,
    measure_portable,
    mounted,
    native_job,
    never_stop,
    plain_count,
    require_native,
    scratch,
    steps,
    without_privileges,
)

HOME = Path(app.__file__).parent.parent

generated = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    require_native()
    monkeypatch.setenv(VARIABLE, "native")


@pytest.fixture
def place() -> Iterator[bytes]:
    with scratch() as path:
        yield path


@pytest.fixture
def memory() -> Iterator[bytes]:
    with fast_scratch() as path:
        yield path


def _both(unit: Unit, fence: Fence | None = None) -> UnitResult:
    """The result, if it is the same from both cores, in every array."""
    fence = read_fence() if fence is None else fence
    result = measure_native(unit, fence)
    assert result == measure_portable(unit, fence)
    return result


# --- the same answers -----------------------------------------------------------------------------


@generated
@given(plan=steps, threads=st.integers(1, 6), most_open=st.integers(0, 3))
def test_any_tree_gives_the_same_result_from_both_cores_and_du(
    plan: list[Step], threads: int, most_open: int
) -> None:
    with scratch() as root:
        make(root, plan)
        result = measure_native(Unit(root), Fence(), threads, most_open)
        assert result == measure_portable(Unit(root), Fence())
        assert (result.usage.bytes, result.usage.inodes) == du(root)
        assert result.usage == plain_count(root)


@generated
@given(plan=steps)
def test_units_of_one_job_give_the_same_results_from_both_cores(plan: list[Step]) -> None:
    with scratch() as root:
        directories = make(root, plan)
        units = [Unit(root, shallow=True), *(Unit(path) for path in directories[1:])]
        with ScanJob(units, Fence()) as job:
            _, results = follow(job, lambda news: news.done)
        assert {result.key: result for result in results} == {
            unit.path: measure_portable(unit, Fence()) for unit in units
        }


@generated
@given(plan=steps)
def test_what_nobody_may_not_read_is_the_same_from_both_cores(plan: list[Step]) -> None:
    with scratch() as root:
        for number, path in enumerate(make(root, plan)[1:]):
            os.chmod(path, (0o755, 0, 0o744, 0o711, 0o700)[number % 5])
        with without_privileges():
            result = _both(Unit(root), Fence())
            counted = _counted(Unit(root))
        owner = NOBODY if os.geteuid() == 0 else None
        assert (result.usage.bytes, result.usage.inodes) == du(root, as_user=owner)
        assert counted == result.usage.inodes
        assert list(result.unreadable) == sorted(result.unreadable)


@pytest.mark.parametrize("path", [b"/usr/share", b"/etc", b"/dev", b"/sys/kernel/security"])
def test_real_trees_give_the_same_result_from_both_cores(path: bytes) -> None:
    result = _both(Unit(path))
    if path.startswith(b"/usr"):
        assert (result.usage.bytes, result.usage.inodes) == du(path)


def test_the_number_of_threads_does_not_matter(place: bytes) -> None:
    for number in range(30):
        flood(os.path.join(place, b"%d" % number), 40)
        os.makedirs(os.path.join(place, b"%d" % number, b"a", b"b", b"c"))
        for target in range(number):
            name = os.path.join(place, b"%d" % target, b"checkpoint-%08d" % number)
            os.link(name, os.path.join(place, b"%d" % number, b"a", b"link-%d" % target))
    first = measure_native(Unit(place), Fence(), threads=1)
    for threads in range(2, 17):
        assert measure_native(Unit(place), Fence(), threads) == first
    assert first == measure_portable(Unit(place), Fence())


@pytest.fixture(scope="module")
def abyss() -> Iterator[bytes]:
    """A tree of five thousand levels, with something aside at every one of them."""
    with fast_scratch() as path:
        descriptor = os.open(path, os.O_RDONLY)
        for _ in range(5_000):
            for name in (b"a", b"deeper", b"z"):
                os.mkdir(name, dir_fd=descriptor)
            below = os.open(b"deeper", os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        os.close(descriptor)
        yield path


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_tree_of_five_thousand_levels(abyss: bytes, threads: int) -> None:
    result = measure_native(Unit(abyss), Fence(), threads, most_open=8)
    assert (result.usage.inodes, result.usage.unreadable) == (15_001, 0)
    assert result == measure_portable(Unit(abyss), Fence())


def test_a_directory_of_two_hundred_thousand_entries(memory: bytes) -> None:
    place = memory
    flood(os.path.join(place, b"flat"), 200_000)
    for number in range(200):
        os.link(
            os.path.join(place, b"flat", b"checkpoint-%08d" % number),
            os.path.join(place, b"flat", b"link-%d" % number),
        )
        os.mkdir(os.path.join(place, b"flat", b"directory-%d" % number))
    results = [measure_native(Unit(place), Fence(), threads) for threads in (1, 2, 8)]
    assert results[0] == results[1] == results[2]
    usage = results[0].usage
    assert (usage.bytes, usage.inodes) == du(place)
    assert results[0].entries == usage.inodes + 200
    assert _counted(Unit(place)) == usage.inodes


def test_a_directory_that_vanished_or_is_something_else(place: bytes) -> None:
    (Path(os.fsdecode(place)) / "file").write_bytes(b"123")
    os.symlink(b"file", os.path.join(place, b"link"))
    for name in (b"file", b"link", b"gone", b"file/below", b"link/../file", b"", b"x" * 300):
        _both(Unit(os.path.join(place, name) if name else b""))
    os.mkdir(os.path.join(place, b"d"))
    assert _both(Unit(os.path.join(place, b"d/"))).usage.inodes == 1


# --- mounts ---------------------------------------------------------------------------------------


@contextmanager
def _something_mounted(place: bytes, kind: str) -> Iterator[bytes]:
    """A tree with something mounted in it that holds a thousand inodes."""
    point, crowd = os.path.join(place, b"tree", b"layer", b"merged"), os.path.join(place, b"crowd")
    os.makedirs(point)
    os.makedirs(os.path.join(place, b"upper"))
    os.makedirs(os.path.join(place, b"work"))
    flood(crowd, 1_000)
    arguments: dict[str, tuple[str | bytes, ...]] = {
        "tmpfs": ("-t", "tmpfs", "none"),
        "bind": ("--bind", crowd),
        "overlay": (
            *("-t", "overlay", "none", "-o"),
            b"lowerdir=%b,upperdir=%b/upper,workdir=%b/work" % (crowd, place, place),
        ),
    }
    with mounted(*arguments[kind], point) as possible:
        if not possible:
            pytest.skip(f"mounting ({kind}) is not allowed here")
        if kind == "tmpfs":
            flood(os.path.join(point, b"crowd"), 1_000)
        yield point


@pytest.mark.parametrize("kind", ["tmpfs", "bind", "overlay"])
def test_nothing_mounted_is_entered_whether_the_fence_knows_or_not(place: bytes, kind: str) -> None:
    with _something_mounted(place, kind):
        tree = Unit(os.path.join(place, b"tree"))
        assert _both(tree).usage.inodes == 2
        # The kernel itself says what is mounted, also on a bind mount of the same file system.
        assert measure_native(tree, Fence()).usage.inodes == 2
        assert _counted(tree) == 2


@pytest.mark.parametrize("kind", ["tmpfs", "bind", "overlay"])
def test_what_is_mounted_is_measured_when_it_is_the_unit(place: bytes, kind: str) -> None:
    with _something_mounted(place, kind) as point:
        result = _both(Unit(point))
        assert (result.usage.bytes, result.usage.inodes) == du(point)
        assert 1_001 <= result.usage.inodes <= 1_002
        assert _counted(Unit(point)) == result.usage.inodes


def test_a_fence_leaves_out_what_it_names_and_nothing_that_only_begins_so(place: bytes) -> None:
    for name in (b"m", b"m-2", b"m0", b"n/m/deep", b"n/m.x", b"n/o"):
        os.makedirs(os.path.join(place, name))
    fence = Fence(frozenset(os.path.join(place, it) for it in (b"m", b"n/m/deep", b"n/o", b"no/x")))
    tree = _both(Unit(place), fence).tree
    assert {tree.path(node)[len(place) + 1 :] for node in range(len(tree))} == {
        b"", b"m-2", b"m0", b"n", b"n/m", b"n/m.x",
    }  # fmt: skip


#: Calls itself again under a filter that lets openat2(2) fail, as container runtimes do, and
#: measures. struct sock_filter: linux/filter.h; 437 is openat2 on every architecture.
FILTERED = """
import ctypes, os, struct, sys
sys.path.insert(0, sys.argv[1])
from app.scan import core_name
from app.scan.job import run
from app.scan.walk import Unit, read_fence
program = b"".join(struct.pack("HBBI", *step) for step in (
    (0x20, 0, 0, 0), (0x15, 0, 1, 437), (0x06, 0, 0, 0x50000 | int(sys.argv[2])),
    (0x06, 0, 0, 0x7FFF0000)))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_char_p)]
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)
if libc.prctl(22, 2, ctypes.byref(Program(4, program)), 0, 0):
    print("not allowed")
    sys.exit()
assert core_name() == "native"
print(*[result.usage.inodes for result in run([Unit(os.fsencode(sys.argv[3]))], read_fence())])
"""


@pytest.mark.parametrize("error", [1, 38])  # EPERM, ENOSYS
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_mounts_are_left_out_where_openat2_cannot_be_had(
    place: bytes, kind: str, error: int
) -> None:
    with _something_mounted(place, kind):
        answer = subprocess.run(
            [sys.executable, "-c", FILTERED, HOME, str(error), os.path.join(place, b"tree")],
            capture_output=True,
            check=True,
        )
    if answer.stdout == b"not allowed\n":
        pytest.skip("system calls cannot be filtered here")
    assert answer.stdout == b"2\n"


# --- inodes first ---------------------------------------------------------------------------------


def _counted(*units: Unit) -> int:
    """The sum of what the first pass counts, before anything is measured; both cores agree."""
    job = native_job(*units, fence=read_fence(), inodes_first=True)
    counted: dict[bytes, int] = {}
    job.start()
    try:
        news = job.wait(0)
        counted.update(news.counted)
        while not news.done:
            news = job.wait(0.1)
            counted.update(news.counted)
    finally:
        job.close()
    stat_each = replace(read_fence(), numbered=frozenset())
    for fence in (read_fence(), stat_each):
        assert counted == {unit.path: count_unit(unit, fence, never_stop) for unit in units}
    return sum(counted.values())


@generated
@given(plan=steps)
def test_inodes_counted_first_are_those_measured_later(plan: list[Step]) -> None:
    with scratch() as root:
        directories = make(root, plan)
        assert _counted(Unit(root)) == plain_count(root).inodes
        units = [Unit(root, shallow=True), *(Unit(path) for path in directories[1:])]
        measured = [measure_portable(unit, Fence()) for unit in units]
        assert _counted(*units) == sum(it.usage.inodes for it in measured)


# --- trees that change ----------------------------------------------------------------------------

#: Changes a tree of names 0 to 3, as fast as it can: makes, renames, exchanges, removes; and links
#: symbolically to the canary beside it.
VANDAL = """
import os, random, sys
place, seed = os.fsencode(sys.argv[1]), int(sys.argv[2])
choice = random.Random(seed)
canary = os.path.join(os.path.dirname(place), b"canary")
def path(depth):
    return os.path.join(place, *(b"%d" % choice.randrange(4) for _ in range(depth)))
print("ready", flush=True)
while True:
    one, other = path(choice.randrange(1, 6)), path(choice.randrange(1, 4))
    try:
        match choice.randrange(8):
            case 0 | 1: os.makedirs(one)
            case 2: os.rename(one, other)
            case 3: os.rmdir(one)
            case 4: os.unlink(one)
            case 5: os.symlink(canary, one)
            case 6: os.link(one, other, follow_symlinks=False)
            case 7: os.close(os.open(one, os.O_CREAT | os.O_EXCL))
    except OSError:
        pass
"""


@pytest.mark.parametrize("most_open", [0, 1])
def test_a_tree_that_changes_under_the_walk_never_leads_out_of_itself(
    place: bytes, most_open: int
) -> None:
    tree, canary = os.path.join(place, b"tree"), os.path.join(place, b"canary")
    os.mkdir(tree)
    os.mkdir(canary)
    # Whoever leaves the tree meets this file, and its size shows in the sum.
    Path(os.fsdecode(canary), "huge").touch()
    os.truncate(os.path.join(canary, b"huge"), 1 << 42)
    vandals = [
        subprocess.Popen([sys.executable, "-c", VANDAL, tree, str(seed)], stdout=subprocess.PIPE)
        for seed in range(2)
    ]
    try:
        for vandal in vandals:
            assert vandal.stdout is not None
            vandal.stdout.readline()
        for threads in (1, 2, 4) * 20:
            result = measure_native(Unit(tree), Fence(), threads, most_open)
            assert result.usage.apparent < 1 << 42
            assert len(result.tree) <= result.usage.inodes
            assert not result.usage.partial
    finally:
        for vandal in vandals:
            vandal.kill()
            vandal.communicate()
    assert _both(Unit(tree), Fence()).usage == plain_count(tree)


# --- stopping -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def big() -> Iterator[bytes]:
    with scratch() as path:
        flood_of_links(path)
        yield path


def test_a_cancelled_walk_keeps_its_directories_and_says_where_it_stopped(big: bytes) -> None:
    whole = measure_portable(Unit(big), Fence())
    for entries in (0, 5_000, 20_000, 60_000):
        job = native_job(Unit(big), Unit(big + b"/0"), fence=Fence())
        job.start()
        try:
            while not job.poll().done and job.poll().entries < entries:
                time.sleep(0.001)
            job.cancel()
            news, results = follow(job, lambda news: news.done)
        finally:
            job.close()
        assert news.stopped
        assert not news.failed
        for result in results:
            usage, tree = result.usage, result.tree
            assert usage == tree.usage(0)
            assert usage.partial or usage.inodes in {41, 2}
            assert usage.inodes <= whole.usage.inodes
            assert {tree.path(node) for node in range(len(tree))} <= {
                whole.tree.path(node) for node in range(len(whole.tree))
            }


def test_after_a_cancel_nobody_walks_on(big: bytes) -> None:
    job = native_job(*[Unit(big)] * 100, fence=Fence())
    job.start()
    follow(job, lambda news: news.units_done > 0)
    job.cancel()
    news, _ = follow(job, lambda news: news.done)
    assert 0 < news.units_done < 100
    time.sleep(0.05)
    assert job.poll().entries == news.entries
    job.close()
    assert job.poll().done


def test_a_job_can_be_closed_at_any_moment_and_its_threads_end(big: bytes) -> None:
    before = _threads()
    for moment in range(30):
        job = native_job(*[Unit(big)] * 3, fence=Fence())
        job.start(threads=1 + moment % 6)
        time.sleep(moment / 1_000)
        job.close()
        job.close()
    end = time.monotonic() + 5
    while _threads() != before and time.monotonic() < end:
        time.sleep(0.01)
    assert _threads() == before


def test_no_descriptor_stays_open(place: bytes) -> None:
    os.makedirs(os.path.join(place, *[b"d"] * 200))
    before = os.listdir("/proc/self/fd")
    for threads, most_open in ((1, 1), (2, 4), (4, 0)):
        measure_native(Unit(place), Fence(), threads, most_open)
        job = native_job(Unit(place), Unit(b"/usr"), fence=Fence())
        job.start(threads)
        job.cancel()
        follow(job, lambda news: news.done)
        job.close()
    assert os.listdir("/proc/self/fd") == before


# --- manners --------------------------------------------------------------------------------------


def _threads() -> set[str]:
    return set(os.listdir("/proc/self/task"))


def test_its_threads_have_the_lowest_priority_and_take_no_signals(big: bytes) -> None:
    before = _threads()
    job = native_job(*[Unit(big)] * 50, fence=Fence())
    job.start(threads=3)
    try:
        follow(job, lambda news: news.units_done > 1)
        new = _threads() - before
        assert {os.getpriority(os.PRIO_PROCESS, int(thread)) for thread in new} == {19}
        assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) < 19
        for thread in new:
            status = Path(f"/proc/self/task/{thread}/status").read_text()
            blocked = next(line for line in status.splitlines() if line.startswith("SigBlk:"))
            assert int(blocked.split()[1], 16) & (1 << 1)  # SIGINT
    finally:
        job.close()


#: Prints by how many KiB the walk of a directory, the second of two, makes the process larger.
MEMORY = """
import os, resource, sys
sys.path.insert(0, sys.argv[1])
from app.scan.job import run
from app.scan.walk import Fence, Unit
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[2:]:
    before = peak()
    usage = next(run([Unit(os.fsencode(path))], Fence())).usage
print(peak() - before, usage.inodes)
"""


def test_a_huge_directory_needs_no_memory_in_proportion(memory: bytes) -> None:
    small, large = os.path.join(memory, b"small"), os.path.join(memory, b"large")
    flood(small, 3_000)
    flood(large, 150_000)
    answer = subprocess.run(
        [sys.executable, "-c", MEMORY, HOME, small, large], capture_output=True, check=True
    )
    grown, inodes = map(int, answer.stdout.split())
    assert inodes == 150_001
    assert grown < 2_000  # 150,000 names alone would be more than twice that


FROM_ZIP = """
import os, sys
from app.scan import core_name
from app.scan.job import run
from app.scan.walk import Fence, Unit
print(core_name(), *[it.usage.inodes for it in run([Unit(os.fsencode(sys.argv[1]))], Fence())])
"""


@pytest.mark.parametrize(
    ("machine", "expected"), [("this", b"native 6\n"), ("another", b"portable 6\n")]
)
def test_the_library_is_loaded_from_inside_a_zip_archive(
    place: bytes, machine: str, expected: bytes
) -> None:
    flood(os.path.join(place, b"layer"), 5)
    archive = Path(os.fsdecode(place), "whodiff.pyz")
    with zipfile.ZipFile(archive, "w") as packed:
        for file in (HOME / "app").rglob("*.py"):
            packed.write(file, file.relative_to(HOME))
        data = bytearray((HOME / "app/scan/native" / FILE).read_bytes())
        if machine == "another":
            data[18] ^= 0xFF  # e_machine, elf(5)
        packed.writestr(f"app/scan/native/{FILE}", bytes(data))
        packed.writestr("__main__.py", FROM_ZIP)
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    answer = subprocess.run(
        [sys.executable, "-S", archive.name, os.path.join(place, b"layer")],
        cwd=os.fsdecode(place),
        env=environment,
        capture_output=True,
        check=False,
    )
    assert (answer.stdout, answer.stderr) == (expected, b"")


def test_units_that_share_inodes_add_up(place: bytes) -> None:
    for name in (b"a", b"b"):
        flood(os.path.join(place, name), 50)
    for number in range(50):
        name = b"checkpoint-%08d" % number
        os.link(os.path.join(place, b"a", name), os.path.join(place, b"b", b"link-%d" % number))
    units = [Unit(os.path.join(place, name)) for name in (b"a", b"b")]
    with ScanJob(units, Fence()) as job:
        _, results = follow(job, lambda news: news.done)
    assert combined(results) == plain_count(*(unit.path for unit in units))
