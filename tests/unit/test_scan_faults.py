"""Walks on a file system that fails, or does not answer at all, in the middle of it."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import app
from app.scan.core import VARIABLE
from tests.unit.scan_trees import MEASURES, flood, require_native, scratch

HOME = Path(app.__file__).parent.parent
FAULTS = HOME / "tests/native/faults.c"


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library to preload: see faults.c."""
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), "")
    if not compiler:
        pytest.skip("no C compiler is here")
    if not hasattr(ctypes.CDLL(None), "fstat64"):
        pytest.skip("this C library has its functions by other names")
    files = (str(FAULTS), "-o", str(library))
    subprocess.run([*shlex.split(compiler), "-shared", "-fPIC", *files, "-ldl"], check=True)
    return library


@pytest.fixture
def place() -> Iterator[bytes]:
    with scratch() as path:
        yield path


def _answer(script: str, faults: Path, core: str, *arguments: bytes, **fault: str) -> bytes:
    """What a script prints that runs with this fault."""
    if core == "native":
        require_native()
    answer = subprocess.run(
        [sys.executable, "-c", script, HOME, *arguments],
        env={**os.environ, VARIABLE: core, "LD_PRELOAD": str(faults), **fault},
        capture_output=True,
        check=False,
    )
    assert answer.stderr == b""
    return answer.stdout


#: Measures a directory; prints what it found, and whether all descriptors are closed again.
MEASURE = """
import os, sys
sys.path.insert(0, sys.argv[1])
from app.scan.job import run
from app.scan.walk import Fence, Unit
list(run([Unit(b"/dev/null")], Fence()))
before = os.listdir("/proc/self/fd")
(it,) = run([Unit(os.fsencode(sys.argv[2]))], Fence())
print(it.usage.inodes, it.usage.unreadable, it.unreadable, len(it.tree),
      os.listdir("/proc/self/fd") == before)
"""


@pytest.mark.parametrize("core", MEASURES)
def test_a_directory_that_cannot_be_examined_once_it_is_open_is_unreadable(
    place: bytes, faults: Path, core: str
) -> None:
    flood(os.path.join(place, b"good"), 3)
    stale = os.path.join(place, b"stale")
    flood(stale, 5)
    inode = str(os.stat(stale).st_ino)
    whole = _answer(MEASURE, faults, core, place, FAULT_STALE=inode)
    assert whole == f"6 1 {(stale,)} 3 True\n".encode()
    alone = _answer(MEASURE, faults, core, stale, FAULT_STALE=inode)
    assert alone == f"1 1 {(stale,)} 1 True\n".encode()


#: Closes a walk while the way back up hangs; says whether that worked, and how many threads there
#: are once nothing hangs any more.
CLOSE = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from app.scan.native.job import NativeJob
from app.scan.native.library import load
from app.scan.walk import Fence, Unit
sign, end = os.environ["FAULT_HANG"], time.monotonic() + 60
job = NativeJob(load(), [Unit(os.fsencode(sys.argv[2]))], Fence())
job.start(threads=int(sys.argv[3]), most_open=1)
while not os.path.exists(sign) and time.monotonic() < end:
    job.poll()
    time.sleep(0.001)
began = time.monotonic()
job.cancel()
job.poll()
job.close()
print("closed" if time.monotonic() - began < 10 else "hung")
os.unlink(sign)
while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < end:
    time.sleep(0.001)
print(len(os.listdir("/proc/self/task")))
"""


@pytest.mark.parametrize("threads", [b"1", b"4"])
def test_a_walk_that_hangs_on_its_way_back_up_can_be_closed(
    place: bytes, faults: Path, tmp_path: Path, threads: bytes
) -> None:
    path = place
    for _ in range(50):
        for name in (b"a", b"m", b"z"):
            os.makedirs(os.path.join(path, name, b"below"))
        path = os.path.join(path, b"m")
    answer = _answer(CLOSE, faults, "native", place, threads, FAULT_HANG=str(tmp_path / "sign"))
    assert answer == b"closed\n1\n"
