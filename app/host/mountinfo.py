"""The mounts that this process sees, as far as measuring needs them (proc_pid_mountinfo(5))."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_ESCAPED = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class MountLine:
    """One mount: where it is, what it is and what it was made from; its id and its parent's.

    ``options`` are those of its superblock, as they stand in the file.
    """

    id: int
    parent: int
    point: bytes
    fstype: str
    source: bytes
    options: bytes = b""


def parse(text: bytes) -> Iterator[MountLine]:
    """The mounts of a mountinfo file, in its order; lines that are none are left out."""
    # Not splitlines(): a carriage return may stand in a path as it is.
    for line in text.split(b"\n"):
        head, separator, tail = line.partition(b" - ")
        fields, kind = head.split(b" "), tail.split(b" ")
        ids = fields[:2]
        if separator and len(fields) >= 6 and len(kind) >= 2 and all(it.isdigit() for it in ids):
            id_, parent = map(int, ids)
            point, source, options = _plain(fields[4]), _plain(kind[1]), b"".join(kind[2:3])
            yield MountLine(id_, parent, point, os.fsdecode(kind[0]), source, options)


def read(process: str = "self") -> tuple[MountLine, ...]:
    """A process's mounts, those that a path leads to; none where there is no /proc, or no process.

    Reading them touches no mounted filesystem.
    """
    try:
        return reachable(parse(Path("/proc", process, "mountinfo").read_bytes()))
    except OSError:
        return ()


def reachable(mounts: Iterable[MountLine]) -> tuple[MountLine, ...]:
    """Of a whole mountinfo file the mounts that a path leads to, each at a point of its own.

    The file also has those that are covered: by a mount on top of them, or by one at a directory
    above, which was mounted later. Its order does not tell (Linux 6.8 sorts by id, and a mount can
    be moved), but parents do: where two mounts have the same one, a way to the lower point ends at
    the upper one. So what is below that is out of reach, with all that is mounted in it.
    """
    mounts = tuple(mounts)
    ids = {it.id for it in mounts}
    top: list[MountLine] = []
    within: defaultdict[int, list[MountLine]] = defaultdict(list)
    for mount in mounts:
        # The parent of what this process has as its root is itself, or is not listed.
        is_top = mount.parent == mount.id or mount.parent not in ids
        (top if is_top else within[mount.parent]).append(mount)
    pending, found = _uncovered(top), []
    while pending:
        mount = pending.pop()
        # No path leads to what is mounted on the root itself: it begins below that.
        inside = _uncovered(it for it in within.pop(mount.id, ()) if it.point != b"/")
        if all(it.point != mount.point for it in inside):
            found.append(mount)
        pending += inside
    return tuple(found)


def _uncovered(siblings: Iterable[MountLine]) -> list[MountLine]:
    """Of the mounts in one mount those that are not below another's point."""
    by_point = {it.point: it for it in siblings}
    return [it for it in by_point.values() if by_point.keys().isdisjoint(_above(it.point))]


def _above(path: bytes) -> Iterator[bytes]:
    while (path := os.path.dirname(path)).strip(b"/"):
        yield path


def mount_of(path: bytes, mounts: Iterable[MountLine]) -> MountLine | None:
    """The one of the :func:`reachable` mounts that ``path`` (absolute, no links) lies on."""
    above = [it for it in mounts if is_at_or_below(path, it.point)]
    return max(above, key=lambda it: len(it.point), default=None)


def is_at_or_below(path: bytes, directory: bytes) -> bool:
    """Whether ``path`` is ``directory`` or lies in it, by name alone."""
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")


def _plain(field: bytes) -> bytes:
    # Space, tab, newline and backslash stand as three octal digits (mangle_path, fs/seq_file.c).
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), field)
