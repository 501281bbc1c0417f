"""From a path to a Place: down from a base by directory descriptors, through nothing foreign.

The same way that a removal goes later: no symbolic link, no mount point (openat(2) with O_PATH and
O_NOFOLLOW; ``mnt_id`` in proc_pid_fdinfo(5) also tells a bind mount of the same file system).
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.cleanup.plan import Place
from app.stores.mounts import read_own

#: The one link that is followed: the root of a running container, as the kernel keeps it.
_ROOT_OF_PROCESS = re.compile(rb"/proc/[0-9]+/root")
_ENTRY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = _ENTRY | os.O_DIRECTORY


class Unreachable(Exception):
    """A path cannot be reached safely; the text is what it does (``leads through ...``)."""


class Gone(Unreachable):
    """Nothing is there."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A place, and what lies there (stat(2))."""

    place: Place
    status: os.stat_result

    @property
    def is_directory(self) -> bool:
        """Whether a directory lies there."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def kind(self) -> str:
        """``directory``, ``file``, ``symbolic link`` or ``special file``."""
        mode = self.status.st_mode
        for test, word in _KINDS:
            if test(mode):
                return word
        return "special file"


_KINDS = ((stat.S_ISDIR, "directory"), (stat.S_ISREG, "file"), (stat.S_ISLNK, "symbolic link"))


def reach(base: bytes, names: Sequence[bytes]) -> Reached:
    """The place at ``names`` below ``base``. Raises Unreachable, Gone."""
    if not names or any(name in (b"", b".", b"..") or {0, 0x2F} & {*name} for name in names):
        raise Unreachable("is no path below its base")
    entered = base + b"/." if _ROOT_OF_PROCESS.fullmatch(base) else base
    descriptor = _opened(entered, _DIRECTORY, None, base)
    try:
        origin = os.fstat(descriptor)
        mount = _mount_id(descriptor)
        path = base
        for index, name in enumerate(names):
            path = os.path.join(path, name)
            last = index == len(names) - 1
            below = _opened(name, _ENTRY if last else _DIRECTORY, descriptor, path)
            os.close(descriptor)
            descriptor = below
            status = os.fstat(descriptor)
            # On an overlay files may have another st_dev than directories (overlayfs.rst, xino).
            moved = stat.S_ISDIR(status.st_mode) and status.st_dev != origin.st_dev
            if moved or _mount_id(descriptor) != mount:
                raise Unreachable(f"leads through a mount point, {os.fsdecode(path)}")
        return Reached(
            Place(base, origin.st_dev, origin.st_ino, tuple(names), status.st_dev, status.st_ino),
            status,
        )
    finally:
        os.close(descriptor)


def _opened(name: bytes, flags: int, parent: int | None, path: bytes) -> int:
    try:
        return os.open(name, flags, dir_fd=parent)
    except OSError as error:
        shown = os.fsdecode(path)
        if error.errno == errno.ENOENT:
            raise Gone("is not there (any more)") from error
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            words = f"leads through {shown}, which is no directory itself (a link, a file)"
            raise Unreachable(words) from error
        raise Unreachable(f"cannot be examined at {shown} ({error.strerror})") from error


def _mount_id(descriptor: int) -> bytes:
    for line in Path(f"/proc/self/fdinfo/{descriptor}").read_bytes().splitlines():
        if line.startswith(b"mnt_id:"):
            return line
    raise Unreachable("cannot be told from a mount point: /proc/self/fdinfo says no mnt_id")


def reach_in_root(root: bytes, names: Sequence[bytes]) -> Reached:
    """The place at ``names`` below the data root.

    The first name may be a link or a mount point that the administrator made (``overlay2`` on a
    disk of its own); then that is the base. Raises Unreachable, Gone.
    """
    first = os.path.join(root, names[0]) if names else root
    if len(names) > 1 and _set_apart(first):
        return reach(os.path.realpath(first), names[1:])
    return reach(root, names)


def _set_apart(directory: bytes) -> bool:
    return os.path.islink(directory) or any(it.point == directory for it in read_own())


def path_of(place: Place) -> bytes:
    """The path that leads to a place."""
    return os.path.join(place.base, *place.names)
