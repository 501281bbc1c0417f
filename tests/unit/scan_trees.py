"""Generated directory trees for the scan tests, and what du and a plain count say about them."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import strategies as st

from app.model import Usage
from app.scan.counters import Progress
from app.scan.job import ScanJob, ScanNews
from app.scan.native.job import NativeJob
from app.scan.native.library import LibraryError, load
from app.scan.tree import UnitResult
from app.scan.walk import Fence, Unit, walk_unit

NOBODY = 65534
#: Seconds that a walk may take, which gives way to everything else on the machine.
PATIENCE = 120.0
#: Measures one unit with some core.
Measure = Callable[[Unit, Fence], UnitResult]
MAKERS = ("directory", "file", "sparse", "symlink", "fifo", "whiteout", "socket", "link")

names = st.one_of(st.binary(min_size=1, max_size=12), st.binary(min_size=255, max_size=255)).map(
    lambda raw: raw.replace(b"/", b"%").replace(b"\0", b"0")
)


@dataclass(frozen=True)
class Step:
    """Make one entry of this kind, in some directory made before, linked to some earlier file."""

    kind: str
    where: int
    target: int
    name: bytes
    size: int


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from((*MAKERS, "directory", "file", "link", "link")),
        st.integers(0, 60),
        st.integers(0, 60),
        names,
        st.integers(0, 9_000),
    ),
    max_size=40,
)


@contextmanager
def scratch(where: str | None = None) -> Iterator[bytes]:
    """A directory that any user may enter, removed whatever depth has been made in it."""
    path = tempfile.mkdtemp(prefix="whodiff-scan-", dir=where)
    Path(path).chmod(0o755)
    try:
        yield os.fsencode(path)
    finally:
        subprocess.run(["rm", "-rf", "--", path], check=True)


def fast_scratch() -> AbstractContextManager[bytes]:
    """The same where many inodes are made quickly: in memory, if there is such a place."""
    return scratch("/dev/shm" if os.access("/dev/shm", os.W_OK) else None)


def make(root: bytes, plan: list[Step]) -> list[bytes]:
    """Carry out ``plan`` in ``root``; the directories that there are then, ``root`` first."""
    directories, files = [root], [b""]
    for step in plan:
        path = os.path.join(directories[step.where % len(directories)], step.name)
        try:
            _make_one(step, path, directories, files)
        except OSError:
            # A name that is taken or too long, or a socket, whose path must be short.
            continue
    return directories


def _make_one(step: Step, path: bytes, directories: list[bytes], files: list[bytes]) -> None:
    if os.path.basename(path) in (b".", b".."):
        return
    if step.kind == "directory":
        os.mkdir(path)
        directories.append(path)
        return
    if step.kind == "link":
        target = files[step.target % len(files)]
        if target:
            os.link(target, path, follow_symlinks=False)
        return
    _make_leaf(step, path)
    files.append(path)


def _make_leaf(step: Step, path: bytes) -> None:
    if step.kind == "symlink":
        os.symlink(step.name, path)
    elif step.kind == "fifo":
        os.mkfifo(path)
    elif step.kind == "whiteout":
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(0, 0))
    elif step.kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
    else:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        if step.kind == "sparse":
            os.truncate(descriptor, 1_000_000 + step.size)
        else:
            os.write(descriptor, b"x" * step.size)
        os.close(descriptor)


def du(*paths: bytes, as_user: int | None = None) -> tuple[int, int]:
    """Bytes and inodes of the paths together, as GNU du -x counts them."""
    return (
        _du_total("--block-size=1", paths, as_user),
        _du_total("--inodes", paths, as_user),
    )


def _du_total(option: str, paths: tuple[bytes, ...], as_user: int | None) -> int:
    answer = subprocess.run(
        ["du", "-s", "-x", "-c", option, "--", *paths],
        capture_output=True,
        check=False,
        user=as_user,
    )
    return int(answer.stdout.splitlines()[-1].split(b"\t")[0])


def plain_count(*roots: bytes) -> Usage:
    """The usage of directory trees together, counted in the most naive way there is."""
    seen: dict[tuple[int, int], os.stat_result] = {}
    links: dict[tuple[int, int], int] = {}
    for path in _all_below(roots):
        status = os.lstat(path)
        key = (status.st_dev, status.st_ino)
        seen[key] = status
        links[key] = links.get(key, 0) + 1
    own = [
        status
        for key, status in seen.items()
        if stat.S_ISDIR(status.st_mode) or links[key] == status.st_nlink
    ]
    sized = [it for it in seen.values() if stat.S_ISREG(it.st_mode) or stat.S_ISLNK(it.st_mode)]
    return Usage(
        bytes=sum(status.st_blocks * 512 for status in seen.values()),
        apparent=sum(status.st_size for status in sized),
        inodes=len(seen),
        exclusive_bytes=sum(status.st_blocks * 512 for status in own),
        exclusive_inodes=len(own),
    )


def _all_below(roots: tuple[bytes, ...]) -> Iterator[bytes]:
    for root in roots:
        yield root
        for place, directories, files in os.walk(root):
            yield from (os.path.join(place, name) for name in directories + files)


def never_stop(_progress: Progress) -> bool:
    return True


def measure_portable(unit: Unit, fence: Fence) -> UnitResult:
    """The result of the portable core."""
    return walk_unit(unit, fence, never_stop)


def measure_native(unit: Unit, fence: Fence, threads: int = 2, most_open: int = 0) -> UnitResult:
    """The result of the native core, with so many threads."""
    job = native_job(unit, fence=fence)
    job.start(threads, most_open=most_open)
    try:
        _, (result,) = follow(job, lambda news: news.done)
    finally:
        job.close()
    return result


def native_job(*units: Unit, fence: Fence, inodes_first: bool = False) -> NativeJob:
    """A job of the native core; the test is left out on machines that cannot have it."""
    require_native()
    return NativeJob(load(), units, fence, inodes_first)


def require_native() -> None:
    """Leave the test out where no compiler is; where one is, the core must be there too."""
    try:
        load()
    except LibraryError as error:
        if not any(map(shutil.which, ("cc", "gcc", "clang"))):
            pytest.skip(str(error))
        raise


MEASURES: dict[str, Measure] = {"portable": measure_portable, "native": measure_native}


def follow(
    job: ScanJob | NativeJob, until: Callable[[ScanNews], bool]
) -> tuple[ScanNews, list[UnitResult]]:
    """Poll until something is so; the last news and all results up to then."""
    results: list[UnitResult] = []
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        news = job.poll()
        results += news.finished
        if until(news):
            return news, results
        time.sleep(0.002)
    raise AssertionError("nothing came")


def usage_of(path: bytes, fence: Fence | None = None, measure: Measure | None = None) -> Usage:
    """The usage of one directory tree; as the portable core has it, if none is given."""
    return (measure or measure_portable)(Unit(path), fence or Fence()).usage


@contextmanager
def without_privileges() -> Iterator[None]:
    """Within, this process may read what nobody may read. Nothing changes for an ordinary user."""
    privileged = os.geteuid() == 0
    if privileged:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if privileged:
            os.seteuid(0)


@contextmanager
def mounted(*arguments: str | bytes) -> Iterator[bool]:
    """``mount ARGUMENTS``, the last of which is the mount point; false where that is forbidden."""
    command = shutil.which("mount")
    done = command is not None and (
        subprocess.run([command, *arguments], capture_output=True, check=False).returncode == 0
    )
    try:
        yield done
    finally:
        if done:
            subprocess.run(["umount", "-l", arguments[-1]], check=True)


def flood(path: bytes, count: int) -> None:
    """Make a directory of so many empty files."""
    os.mkdir(path)
    for number in range(count):
        os.close(os.open(os.path.join(path, b"checkpoint-%08d" % number), os.O_CREAT))


def flood_of_links(path: bytes) -> None:
    """Fill a directory with 100,000 entries without making as many inodes."""
    for number in range(20):
        folder = os.path.join(path, b"%d" % number)
        flood(folder, 1)
        first = os.path.join(folder, b"checkpoint-00000000")
        for link in range(5_000):
            os.link(first, os.path.join(folder, b"%d" % link))


def status_of(inode: int, nlink: int) -> os.stat_result:
    """What lstat(2) says of a file with this inode number and so many links."""
    return os.stat_result((stat.S_IFREG, inode, 1, nlink, 0, 0, 0, 0, 0, 0))
