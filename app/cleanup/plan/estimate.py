"""What a removal would give back, measured by the scan."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from app.cleanup.plan.model import Frees
from app.cleanup.plan.shared_extents import PATIENCE, own_bytes
from app.model import Usage
from app.scan import ScanError
from app.scan.job import run
from app.scan.tree import combined
from app.scan.walk import Unit, read_fence

#: The usage of each directory or file; a path that was not measured may be missing.
Measure = Callable[[Sequence[bytes]], Mapping[bytes, Usage]]


def measured(paths: Sequence[bytes]) -> Mapping[bytes, Usage]:
    """Scan these directories and files. A scan that breaks off leaves paths out."""
    found: dict[bytes, Usage] = {}
    left = PATIENCE
    try:
        for result in run([Unit(path) for path in dict.fromkeys(paths)], read_fence()):
            began = time.monotonic()
            found[result.key] = _without_shared(result.key, combined([result]), left)
            left -= time.monotonic() - began
    except ScanError:
        # What was not measured counts as unknown: frees() says "at least".
        return found
    return found


def _without_shared(path: bytes, usage: Usage, seconds: float) -> Usage:
    """Data that another file may have too stays with that: then it is a lower bound."""
    own, exact = own_bytes(path, usage.exclusive_bytes, seconds)
    return replace(usage, exclusive_bytes=own, partial=usage.partial or not exact)


def unmeasured(_paths: Sequence[bytes]) -> Mapping[bytes, Usage]:
    """Measure nothing: for a second look, which must not take its time."""
    return {}


def frees(measure: Measure, paths: Sequence[bytes]) -> Frees:
    """What goes with all of these; inodes that have a hard link elsewhere stay."""
    usages = measure(paths) if paths else {}
    total = Frees()
    for path in dict.fromkeys(paths):
        usage = usages.get(path, Usage(partial=True))
        total += Frees(
            usage.exclusive_bytes,
            usage.exclusive_inodes,
            least=usage.partial or bool(usage.unreadable),
        )
    return total
