"""``python -m tests.bench.one CORE PATH``: one scan in a fresh process; its figures as JSON.

CORE is native, portable, or diskuse (where that is installed). The time is that of the scan alone,
without the start of Python.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from app.scan.core import VARIABLE
from app.scan.job import run
from app.scan.tree import combined
from app.scan.walk import Unit, read_fence

Totals = tuple[int, int | None]


def _whodiff(core: str, path: bytes) -> Callable[[], Totals]:
    os.environ[VARIABLE] = core
    with os.scandir(path) as entries:
        below = [Unit(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    units = [Unit(path, shallow=True), *below]
    fence = read_fence()

    def scan() -> Totals:
        usage = combined(run(units, fence))
        return usage.bytes, usage.inodes

    return scan


def _diskuse(path: bytes) -> Callable[[], Totals]:
    import diskuse  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    def scan() -> Totals:
        return diskuse.scan(os.fsdecode(path)).size(0), None

    return scan


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    return 0


def main() -> None:
    """Scan once and print."""
    core, path = sys.argv[1], os.fsencode(sys.argv[2])
    scan = _diskuse(path) if core == "diskuse" else _whodiff(core, path)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here: proc_pid_clear_refs(5)
    before, cpu, start = _status("VmRSS"), os.times(), time.monotonic()
    found = scan()
    wall, after = time.monotonic() - start, os.times()
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(
        json.dumps(
            {
                "totals": found,
                "wall": wall,
                "cpu": sum(after[:4]) - sum(cpu[:4]),
                "peak": _status("VmHWM") - before + 2 * workers,
            }
        )
    )


if __name__ == "__main__":
    main()
