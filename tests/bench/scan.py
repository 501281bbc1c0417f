"""The scan against du(1), in pairs that take turns, so that both meet the same machine."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable

from app.scan.fingerprint import marks_of
from app.scan.job import run
from app.scan.tree import combined
from app.scan.walk import Fence, Unit
from tests.bench.figures import Result
from tests.bench.roots import BenchRoot

PAIRS = 5


def measure_scan(root: BenchRoot) -> list[Result]:
    """Scan every layer through the interface that the screen uses; check the figures with du."""
    expected = _du(root, "--block-size=1"), _du(root, "--inodes")
    found = _scan(root)
    if found != expected:
        raise AssertionError(f"du found {expected} bytes and inodes, the scan {found}")
    pairs = [
        (_seconds(lambda: _du(root, "--block-size=1")), _seconds(lambda: _scan(root)))
        for _ in range(PAIRS)
    ]
    scans = [scan for _, scan in pairs]
    dus = [du for du, _ in pairs]
    ratio = statistics.median(scan / du for du, scan in pairs)
    return [
        Result(
            f"scan of {expected[1]:,} inodes",
            f"{statistics.median(scans):.2f} s; du {statistics.median(dus):.2f} s; "
            f"ratio {ratio:.2f} (medians of {PAIRS} pairs)",
            "as fast as du",
        )
    ]


def measure_rescan(root: BenchRoot) -> list[Result]:
    """One changed layer measured again, the marks of all others compared, against a first scan."""
    units, fence = _units(root), Fence()
    deep = [unit for unit in units if not unit.shallow]
    others = [unit.path for unit in deep[1:]]
    before = marks_of(others, fence)

    def rescan() -> None:
        if marks_of(others, fence) != before:
            raise AssertionError("the layers change under the bench")
        list(run(deep[:1], fence))

    pairs = [(_seconds(lambda: _scan(root)), _seconds(rescan)) for _ in range(PAIRS)]
    ratio = statistics.median(again / first for first, again in pairs)
    return [
        Result(
            f"rescan, one of {len(deep)} layers changed",
            f"{statistics.median(again for _, again in pairs) * 1000:.0f} ms; "
            f"{ratio:.2f} of the first scan (medians of {PAIRS} pairs)",
            "under a tenth",
        )
    ]


def _scan(root: BenchRoot) -> tuple[int, int]:
    units = _units(root)
    usage = combined(run(units, Fence()))
    return usage.bytes, usage.inodes


def _units(root: BenchRoot) -> list[Unit]:
    """The overlay2 directory itself, and each directory in it."""
    overlay2 = bytes(root.overlay2)
    below = [Unit(entry.path, False) for entry in os.scandir(overlay2)]
    return [Unit(overlay2, True), *below]


def _du(root: BenchRoot, unit: str) -> int:
    done = subprocess.run(
        ["du", "-s", "-x", unit, root.overlay2], capture_output=True, check=True, text=True
    )
    return int(done.stdout.split()[0])


def _seconds(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start
