"""From a path to a Place: down from a base by directory descriptors, through nothing foreign.

The same way that a removal goes later (:mod:`app.cleanup.plan.reopen_path`): no
symbolic link, no mount point.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from app.cleanup.plan.model import Place
from app.cleanup.plan.reopen_path import open_base, path_of
from app.discovery.standing import root_around
from app.host import looks
from app.host.identity import identity_of
from app.host.mounts import read_own
from app.scan.descent import open_fenced

__all__ = [
    "Gone",
    "Linked",
    "Reached",
    "Unreachable",
    "path_of",
    "reach",
    "reach_in_root",
    "seen_in_root",
]

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Unreachable(Exception):
    """A path cannot be reached safely; the text is what it does (``leads through ...``).

    ``instead`` is the next step.
    """

    instead = "look again"


class Linked(Unreachable):
    """A symbolic link leads out of the data root: nothing is removed through one."""

    def __init__(self, link: bytes) -> None:
        self.link = os.fsdecode(link)
        self.target = os.fsdecode(looks.realpath(link))
        super().__init__(
            f"lies behind a symbolic link, {self.link}, which leads to {self.target}: nothing is "
            "removed there without Docker"
        )
        self.instead = self._next_step(link)

    def _next_step(self, link: bytes) -> str:
        """What leads on: a mount is no link, but only where nobody else shows the directory."""
        if root := root_around(os.fsencode(self.target)):
            return f"ask for it there: --data-root {os.fsdecode(root)}"
        if os.path.basename(link) == b"tmp":
            return f"look at it in {self.target}: only who made the link knows what it is"
        return (
            "remove what owns it with docker; or, if that directory is this Docker's alone, stop "
            f"Docker, put a mount in the place of the link (mount --bind {self.target} "
            f"{self.link}), and ask again"
        )


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
    descriptor = _opened_base(base)
    try:
        origin = identity_of(descriptor)
        path = base
        for index, name in enumerate(names):
            path = os.path.join(path, name)
            last = index == len(names) - 1
            below = _opened(name, os.O_PATH if last else _DIRECTORY, descriptor, path)
            os.close(descriptor)
            descriptor = below
            status = os.fstat(descriptor)
            # On an overlay files may have another st_dev than directories (overlayfs.rst, xino).
            if stat.S_ISDIR(status.st_mode) and status.st_dev != origin.device:
                raise _crossing(path)
        return Reached(Place(base, origin, tuple(names), identity_of(descriptor)), status)
    finally:
        os.close(descriptor)


def _opened_base(base: bytes) -> int:
    try:
        return open_base(base)
    except OSError as error:
        raise _unreachable(error, base) from error


def _opened(name: bytes, flags: int, parent: int, path: bytes) -> int:
    try:
        return open_fenced(name, parent, flags)
    except OSError as error:
        raise _unreachable(error, path) from error


def _unreachable(error: OSError, path: bytes) -> Unreachable:
    shown = os.fsdecode(path)
    if error.errno == errno.ENOENT:
        return Gone("is not there (any more)")
    if error.errno == errno.EXDEV:
        return _crossing(path)
    if error.errno in (errno.ENOTDIR, errno.ELOOP):
        return Unreachable(f"leads through {shown}, which is no directory itself (a link, a file)")
    return Unreachable(f"cannot be examined at {shown} ({error.strerror})")


def _crossing(path: bytes) -> Unreachable:
    return Unreachable(f"leads through a mount point, {os.fsdecode(path)}")


def reach_in_root(root: bytes, names: Sequence[bytes]) -> Reached:
    """The place at ``names`` below the data root, as a removal may get to it.

    Raises Unreachable, Gone, and Linked where a symbolic link leads there.
    """
    first = os.path.join(root, names[0]) if names else root
    if len(names) > 1 and looks.islink(first):
        raise Linked(first)
    # A link that comes now is no way: nothing below is opened through one.
    return reach(first, names[1:]) if len(names) > 1 and _is_mounted(first) else reach(root, names)


def seen_in_root(root: bytes, names: Sequence[bytes]) -> Reached:
    """The same for looking only: where the first name is a link, it is followed.

    Raises Unreachable, Gone.
    """
    return reach(*based(root, names))


def based(root: bytes, names: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
    """The base of what lies at ``names`` below the data root, and the names from there on.

    The first name may be a link or a mount point that the administrator made (``overlay2`` on a
    disk of its own); then that is the base. Good for looking only: see :func:`reach_in_root`.
    """
    first = os.path.join(root, names[0]) if names else root
    if len(names) > 1 and (looks.islink(first) or _is_mounted(first)):
        return looks.realpath(first), names[1:]
    return root, names


def _is_mounted(directory: bytes) -> bool:
    return any(it.point == directory for it in read_own())
