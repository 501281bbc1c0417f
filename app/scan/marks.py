"""Marks: by what a directory is known again, and seen to be the one that was measured.

A mark shows that a directory was replaced, moved, mounted over, or had entries added, removed or
changed directly in it. It does not show what happens deeper: it is for directories whose owner
never writes to them again, not for any other.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice

from app.scan.descent import open_path
from app.scan.fence import Fence

#: Name, st_dev, st_ino, st_ctime_ns, st_size. Nobody can set a ctime (inode(7)), and a rename
#: changes it, so that two directories that changed places differ from what they were.
Stamp = tuple[bytes, int, int, int, int]
#: The stamp of the directory itself, under the empty name, then of its entries by name.
Mark = tuple[Stamp, ...]

#: A layer has six entries at most; what has more than this is no layer.
MOST_ENTRIES = 64


def mark(path: bytes) -> Mark | None:
    """The mark of the directory ``path`` now; None if it cannot be had. Follows no link."""
    try:
        descriptor = open_path(path)
        try:
            with os.scandir(descriptor) as entries:
                names = sorted(os.fsencode(it.name) for it in islice(entries, MOST_ENTRIES + 1))
            if len(names) > MOST_ENTRIES:
                return None
            return (
                _stamp(b"", os.fstat(descriptor)),
                *(_stamp(it, os.lstat(it, dir_fd=descriptor)) for it in names),
            )
        finally:
            os.close(descriptor)
    except OSError:
        return None


def marks_of(paths: Iterable[bytes], fence: Fence) -> dict[bytes, Mark]:
    """The marks of these directories, without those that have none.

    A directory with a mount in it has none either: what the mount hides is in no figure, and
    comes back when it is unmounted.
    """
    with_mounts = _at_or_above(fence)
    marks = {}
    for path in paths:
        found = None if os.path.realpath(path) in with_mounts else mark(path)
        if found:
            marks[path] = found
    return marks


def newest(marked: Mark) -> int:
    """The latest change that the mark shows, in nanoseconds since the epoch."""
    return max(stamp[3] for stamp in marked)


def _at_or_above(fence: Fence) -> set[bytes]:
    """Every mount point, and every directory above one."""
    found: set[bytes] = set()
    for point in fence.points:
        while point not in found:
            found.add(point)
            point = os.path.dirname(point)  # noqa: PLW2901 - one step up
    return found


def _stamp(name: bytes, status: os.stat_result) -> Stamp:
    return name, status.st_dev, status.st_ino, status.st_ctime_ns, status.st_size
