"""What can scan a tree: our two cores, and the tools that are on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
OURS = "whodiff"


@dataclass(frozen=True, slots=True)
class Run:
    """One scan: seconds, seconds of all processors, peak KiB, bytes and inodes where it says."""

    wall: float
    cpu: float
    peak: int
    bytes: int | None = None
    inodes: int | None = None


@dataclass(frozen=True, slots=True)
class Engine:
    """Something that measures the tree at a path."""

    name: str
    scan: Callable[[Path], Run]


def engines() -> list[Engine]:
    """Ours first; those that are found."""
    found = [Engine(OURS, _in_python("native")), Engine("portable core", _in_python("portable"))]
    found.append(Engine("du -s", _command("du", "-s", "-x", "--block-size=1")))
    if shutil.which("ncdu"):
        version = subprocess.run(["ncdu", "-V"], capture_output=True, check=True, text=True)
        name = " ".join(version.stdout.split()[:2])
        quiet = ["-0", "-x", "-o", "/dev/null"]
        if name >= "ncdu 2.6":
            quiet += ["-t", str(os.cpu_count() or 1)]
        found.append(Engine(name, _command("ncdu", *quiet)))
    if shutil.which("gdu"):
        found.append(Engine("gdu", _command("gdu", "-n", "-p", "-s", "-x")))
    if shutil.which("dust"):
        found.append(Engine("dust", _command("dust", "-x", "-d", "0", "-P")))
    if shutil.which("dua"):
        found.append(Engine("dua", _command("dua", "-x", "aggregate")))
    with_diskuse = os.environ.get("DISKUSE_PYTHON", sys.executable)
    probe = [with_diskuse, "-c", "import diskuse"]
    if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        found.append(Engine("diskuse", _in_python("diskuse", with_diskuse)))
    return found


def du_totals(path: Path) -> tuple[int, int]:
    """Bytes and inodes as du has them."""
    return tuple(  # type: ignore[return-value]
        int(
            subprocess.run(
                ["du", "-s", "-x", it, path], capture_output=True, check=True
            ).stdout.split()[0]
        )
        for it in ("--block-size=1", "--inodes")
    )


def _in_python(core: str, python: str = sys.executable) -> Callable[[Path], Run]:
    def scan(path: Path) -> Run:
        done = subprocess.run(
            [python, "-m", "tests.bench.one", core, path],
            capture_output=True, check=True, cwd=REPOSITORY,
        )  # fmt: skip
        told = json.loads(done.stdout)
        return Run(told["wall"], told["cpu"], told["peak"], *told["totals"])

    return scan


def _command(*command: str) -> Callable[[Path], Run]:
    def scan(path: Path) -> Run:
        start = time.monotonic()
        process = subprocess.Popen(
            [*command, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        answer = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        size = int(answer.split()[0]) if command[0] == "du" else None
        return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, size)

    return scan
