"""The mounts that this process sees, as far as measuring needs them (proc_pid_mountinfo(5))."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_MOUNTINFO = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class MountLine:
    """One mount: where it is, what it is and what it was made from."""

    point: bytes
    fstype: str
    source: bytes


def parse(text: bytes) -> Iterator[MountLine]:
    """The mounts of a mountinfo file, in its order; lines that are none are left out."""
    for line in text.splitlines():
        head, separator, tail = line.partition(b" - ")
        fields, kind = head.split(b" "), tail.split(b" ")
        if separator and len(fields) >= 6 and len(kind) >= 2:
            yield MountLine(_plain(fields[4]), os.fsdecode(kind[0]), _plain(kind[1]))


def read() -> tuple[MountLine, ...]:
    """This process's mounts; none where there is no /proc."""
    try:
        return tuple(parse(_MOUNTINFO.read_bytes()))
    except OSError:
        return ()


def mount_of(path: bytes, mounts: Iterable[MountLine]) -> MountLine | None:
    """The mount that ``path`` lies on: absolute, no symbolic links. A later mount covers others."""
    found: MountLine | None = None
    for mount in mounts:
        if is_at_or_below(path, mount.point) and (
            found is None or len(mount.point) >= len(found.point)
        ):
            found = mount
    return found


def is_at_or_below(path: bytes, directory: bytes) -> bool:
    """Whether ``path`` is ``directory`` or lies in it, by name alone."""
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")


def _plain(field: bytes) -> bytes:
    # Space, tab, newline and backslash stand as three octal digits (mangle_path, fs/seq_file.c).
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), field)
