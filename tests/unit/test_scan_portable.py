"""The portable core's worker processes: they end, whatever happens, and never hold anybody up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import app
from app.scan import portable
from app.scan.core import VARIABLE
from app.scan.job import ScanError, ScanJob, run
from app.scan.walk import Fence, Unit
from tests.unit.scan_trees import PATIENCE, flood, flood_of_links, follow, scratch

HOME = Path(app.__file__).parent.parent


@pytest.fixture(autouse=True)
def core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "portable")


@pytest.fixture
def place() -> Iterator[bytes]:
    with scratch() as path:
        yield path


@pytest.fixture(scope="module")
def big() -> Iterator[bytes]:
    """A directory whose walk takes many reports."""
    with scratch() as path:
        flood_of_links(path)
        yield path


def _until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def _workers_of(parent: int) -> list[int]:
    """The scan workers whose parent this is: the fourth field of proc_pid_stat(5).

    Its other children are left alone: an engine of other tests may be among them.
    """
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            is_child = int(stat.read_text().rpartition(") ")[2].split()[1]) == parent
            if is_child and b"app.scan.worker" in stat.with_name("cmdline").read_bytes():
                found.append(int(stat.parent.name))
    return found


def _is_alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_worker_that_hangs_does_not_hold_up_a_cancel(big: bytes) -> None:
    job = ScanJob([Unit(big)], Fence())
    job.start()
    workers = _workers_of(os.getpid())
    before, _ = follow(job, lambda news: big in news.running)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    job.cancel()
    news, results = follow(job, lambda news: news.done)
    assert news.stopped
    assert results[0].usage.partial
    assert results[0].usage.inodes >= before.running[big].inodes
    job.close()
    assert _until(lambda: not any(map(_is_alive, workers)))


def test_close_ends_the_workers_in_mid_scan_and_may_come_twice(big: bytes) -> None:
    job = ScanJob([Unit(big), Unit(big + b"/0")], Fence())
    job.start()
    workers = _workers_of(os.getpid())
    assert workers
    job.close()
    job.close()
    assert job.poll().done
    assert _until(lambda: not any(map(_is_alive, workers)))


def test_the_workers_end_by_themselves_after_the_last_unit(place: bytes) -> None:
    job = ScanJob([Unit(place)], Fence())
    job.start()
    workers = _workers_of(os.getpid())
    follow(job, lambda news: news.done)
    assert _until(lambda: not any(map(_is_alive, workers)))
    job.close()


def test_a_killed_worker_is_told_and_its_unit_is_partial(big: bytes) -> None:
    with ScanJob([Unit(big)], Fence()) as job:
        workers = _workers_of(os.getpid())
        follow(job, lambda news: big in news.running)
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        news, results = follow(job, lambda news: news.done)
    assert "signal 9" in news.failed
    assert not news.stopped
    assert [result.usage.partial for result in results] == [True]


def test_commands_get_an_error_when_no_worker_can_be_started(
    place: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_leash: int, _tickets: int) -> subprocess.Popen[bytes]:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(portable, "start_worker", refuse)
    with pytest.raises(ScanError, match="cannot start"):
        list(run([Unit(place)], Fence()))


def test_workers_run_at_the_lowest_priority_and_ignore_the_terminals_interrupt(big: bytes) -> None:
    with ScanJob([Unit(big)], Fence()) as job:
        workers = _workers_of(os.getpid())
        follow(job, lambda news: big in news.running)
        assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in workers} == {19}
        for pid in workers:
            os.kill(pid, signal.SIGINT)
        news, _ = follow(job, lambda news: news.done)
    assert not news.failed


ORPHAN = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from app.scan.job import ScanJob
from app.scan.walk import Fence, Unit
job = ScanJob([Unit(os.fsencode(sys.argv[2]))] * 50, Fence())
job.start()
while not job.poll().running:
    time.sleep(0.005)
print("walking", flush=True)
time.sleep(600)
"""


def test_workers_end_when_the_parent_is_killed(big: bytes) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, str(HOME), big], stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"walking\n"
        workers = _workers_of(parent.pid)
        assert workers
        parent.kill()
    assert _until(lambda: not any(map(_is_alive, workers)))


# No guard around the script's body: starting a worker must not run it again.
FROM_ZIP = """
import os, sys
from app.scan.job import run
from app.scan.walk import Fence, Unit
os.chdir("/")
for result in run([Unit(os.fsencode(path)) for path in sys.argv[1:]], Fence()):
    print(result.usage.inodes)
heavy = {"textual", "rich", "docker", "humanize", "multiprocessing"} & set(sys.modules)
assert not heavy, heavy
"""


def test_a_scan_runs_from_a_zip_archive_and_imports_nothing_heavy(place: bytes) -> None:
    flood(os.path.join(place, b"layer"), 5)
    archive = Path(os.fsdecode(place), "whodiff.pyz")
    with zipfile.ZipFile(archive, "w") as packed:
        for file in (HOME / "app").rglob("*.py"):
            packed.write(file, file.relative_to(HOME))
        packed.writestr("__main__.py", FROM_ZIP)
    answer = subprocess.run(
        [sys.executable, "-S", archive.name, os.path.join(place, b"layer")],
        cwd=os.fsdecode(place),
        capture_output=True,
        check=False,
    )
    assert (answer.stdout, answer.stderr) == (b"6\n", b"")
