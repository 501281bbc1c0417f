"""Getting to a Place: name by name from its base, and only if it is what the plan looked at."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from app.cleanup.plan.model import Place
from app.host import looks
from app.host.identity import identity_of
from app.scan.descent import open_directory, open_fenced, open_straight

#: The one magic link that is followed: the root of a running container, as the kernel keeps it.
ROOT_OF_PROCESS = re.compile(rb"/proc/[0-9]+/root")


class Unreachable(Exception):
    """It is not what the plan looked at, or cannot be got to; one sentence with the next step."""


class Gone(Exception):
    """Nothing is there any more."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A Place that was found as it was planned: its directory, its name there, and stat(2).

    ``descriptor`` is of the entry itself and good for no reading or writing (O_PATH, open(2)).
    ``way`` are the open directories that lead to it, with their paths: the base, then one for each
    name but the last.
    """

    path: bytes
    parent: int
    name: bytes
    descriptor: int
    status: os.stat_result
    way: tuple[tuple[int, bytes], ...] = ()


def path_of(place: Place) -> bytes:
    """The path of a place, for people."""
    return os.path.join(place.base, *place.names)


def open_base(base: bytes) -> int:
    """A descriptor of the directory that a place begins at. Raises OSError, ValueError."""
    looks.require(base, follow=False)
    if ROOT_OF_PROCESS.fullmatch(base):
        return open_directory(base + b"/.")
    return open_straight(base)


@contextmanager
def reached(place: Place) -> Iterator[Reached]:
    """Open the way to a place and keep it open.

    Every name is opened in the directory before it, on one mount and one device, no symbolic link
    followed; base and end must be the very ones that were planned (:mod:`app.host.identity`).
    Raises Gone where a name is missing and Unreachable for everything else that is not as planned.
    """
    path = path_of(place)
    with ExitStack() as opened:
        parent, above = _base(place, opened), place.base
        way = [(parent, above)]
        for name in place.names[:-1]:
            parent = _below(parent, name, os.O_PATH | os.O_DIRECTORY, path, opened)
            above = os.path.join(above, name)
            way.append((parent, above))
            if os.fstat(parent).st_dev != place.origin.device:
                raise Unreachable(_sentence(path, "another file system lies on the way to it"))
        name = place.names[-1]
        descriptor = _below(parent, name, os.O_PATH, path, opened)
        if identity_of(descriptor) != place.identity:
            raise Unreachable(_sentence(path, "something else lies there now"))
        yield Reached(path, parent, name, descriptor, os.fstat(descriptor), tuple(way))


def _base(place: Place, opened: ExitStack) -> int:
    base = place.base
    if not place.names or not base.startswith(b"/") or os.path.normpath(base) != base:
        raise Unreachable(_sentence(base, "a plan must name something below a whole path"))
    try:
        descriptor = open_base(base)
    except (OSError, ValueError) as error:
        raise Unreachable(_sentence(base, _why(error))) from error
    opened.callback(os.close, descriptor)
    if identity_of(descriptor) != place.origin:
        raise Unreachable(_sentence(base, "something else is mounted or lies there now"))
    return descriptor


def _below(parent: int, name: bytes, flags: int, path: bytes, opened: ExitStack) -> int:
    if name == b"..":
        raise Unreachable(_sentence(path, "a way that leads up again is none"))
    try:
        descriptor = open_fenced(name, parent, flags)
    except FileNotFoundError as error:
        raise Gone from error
    except (OSError, ValueError) as error:
        raise Unreachable(_sentence(path, _why(error))) from error
    opened.callback(os.close, descriptor)
    return descriptor


def _why(error: OSError | ValueError) -> str:
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.EXDEV:
        return "something is mounted on the way to it or at it"
    if code in (errno.ELOOP, errno.ENOTDIR):
        return "the way to it is a symbolic link or no directory"
    return os.strerror(code) if code else "it has no path that the kernel takes"


def _sentence(path: bytes, why: str) -> str:
    return f"{os.fsdecode(path)} was not touched: {why}. Look at it again with a fresh plan."
