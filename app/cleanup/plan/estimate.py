"""What a removal would give back, measured by the scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from app.cleanup.plan.model import Frees
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
    try:
        for result in run([Unit(path) for path in dict.fromkeys(paths)], read_fence()):
            found[result.key] = combined([result])
    except ScanError:
        # What was not measured counts as unknown: frees() says "at least".
        return found
    return found


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
