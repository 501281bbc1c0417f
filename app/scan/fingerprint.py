"""Marks: by what a directory is known again, and seen to be the one that was measured.

What can be seen whole (the directory itself, and what in it is no directory) is marked by all that
its figures are made of. Its subdirectories are marked by their identity and their ctime: they were
not replaced, moved, or changed directly. What happens deeper does not show, so marks are for
directories whose owner never writes to them again, not for any other; that it has been quiet there
for a while is told by the walk (``UnitResult.newest``).

The ctime of what is seen whole is left out on purpose: the engine writes the empty file
``committed`` anew for every container that it creates (moby daemon/graphdriver/overlay2/overlay.go,
create), and makes and removes ``merged`` whenever it reads a layer (Get, Put).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from itertools import islice

from app.host.hanging import far
from app.scan.descent import open_path
from app.scan.fence import Fence

#: Name, st_mode, st_dev, st_ino, st_nlink, st_size, st_blocks, and st_ctime_ns of a subdirectory, 0
#: of all else. Nobody can set a ctime (inode(7)), and a rename changes it.
Stamp = tuple[bytes, int, int, int, int, int, int, int]
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
        # What may hang is always walked, by a process that can be given up.
        found = None if far(path) or os.path.realpath(path) in with_mounts else mark(path)
        if found:
            marks[path] = found
    return marks


def device(marked: Mark) -> int:
    """The st_dev of the directory itself."""
    return marked[0][2]


def _at_or_above(fence: Fence) -> set[bytes]:
    """Every mount point, and every directory above one."""
    found: set[bytes] = set()
    for point in fence.points:
        while point not in found:
            found.add(point)
            point = os.path.dirname(point)  # noqa: PLW2901 - one step up
    return found


def _stamp(name: bytes, status: os.stat_result) -> Stamp:
    below = bool(name) and stat.S_ISDIR(status.st_mode)
    return (
        name,
        status.st_mode,
        status.st_dev,
        status.st_ino,
        status.st_nlink,
        status.st_size,
        status.st_blocks,
        status.st_ctime_ns if below else 0,
    )
