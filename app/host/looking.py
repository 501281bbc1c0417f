"""The looks that there are, each one or two system calls, made here or by a process that may hang.

:mod:`app.host.looks` decides where. Run as a program (:func:`main`) it is that process: it makes
the looks that it is asked for and holds what it opened; descriptors are numbers of its own then.
It imports nothing but the standard library and its neighbour, so that it starts quickly.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable

from app.host.safe_open import NotAFile, open_file

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
#: Entries told of one directory at a time.
_SOME = 4096


def status(path: bytes | str, parent: int | None = None) -> os.stat_result:
    """lstat(2), in the open directory ``parent`` if one is given."""
    return os.lstat(path, dir_fd=parent)


def followed(path: bytes) -> os.stat_result:
    """stat(2)."""
    return os.stat(path)


def fstatus(descriptor: int) -> os.stat_result:
    """fstat(2)."""
    return os.fstat(descriptor)


def link(path: bytes | str, parent: int | None = None) -> bytes:
    """readlink(2)."""
    return os.readlink(os.fsencode(path), dir_fd=parent)


def realpath(path: bytes) -> bytes:
    """realpath(3), of what is not there too."""
    return os.path.realpath(path)


def space(path: bytes) -> os.statvfs_result:
    """statvfs(3)."""
    return os.statvfs(path)


def open_directory(path: bytes | str, parent: int | None = None, *, follow: bool = False) -> int:
    """A descriptor of a directory."""
    return os.open(path, _DIRECTORY | (0 if follow else os.O_NOFOLLOW), dir_fd=parent)


def open_regular(path: bytes | str, parent: int | None = None, *, follow: bool = False) -> int:
    """A descriptor of a regular file. Raises NotAFile."""
    return open_file(path, parent, follow=follow)


def entries(descriptor: int, most: int) -> list[tuple[str, str]]:
    """The names in an open directory, at most so many, each with ``d``, ``l`` or ``-``."""
    found: list[tuple[str, str]] = []
    with os.scandir(descriptor) as listed:
        for entry in listed:
            if len(found) == most:
                break
            directory = entry.is_dir(follow_symlinks=False)
            found.append((entry.name, "d" if directory else "l" if entry.is_symlink() else "-"))
    return found


def read(descriptor: int, size: int, offset: int) -> bytes:
    """pread(2)."""
    return os.pread(descriptor, size, offset)


def close(descriptor: int) -> None:
    """close(2)."""
    os.close(descriptor)


_LOOKS: dict[str, Callable[..., object]] = {
    it.__name__: it
    for it in (
        *(status, followed, fstatus, link, realpath, space),
        *(open_directory, open_regular, entries, read, close),
    )
}


def main() -> None:
    """Answer on standard output what is asked on standard input, until that ends."""
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    pickle.dump("ready", answers)
    answers.flush()
    while True:
        try:
            name, arguments, options = pickle.load(asked)
        except (EOFError, OSError):
            return
        pickle.dump(_answer(name, arguments, options), answers)
        answers.flush()


def _answer(name: str, arguments: tuple[object, ...], options: dict[str, object]) -> object:
    """What a look gives, after a word on how it ended."""
    try:
        return "seen", _LOOKS[name](*arguments, **options)
    except NotAFile as error:
        return "mode", (error.mode, error.filename)
    except OSError as error:
        return "errno", (error.errno, error.filename)
    except ValueError as error:  # a name that no call takes
        return "value", str(error)
