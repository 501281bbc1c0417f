"""A file of our own that is only added to, which nobody else can put another one in place of."""

from __future__ import annotations

import errno
import os
import stat

from app.host.safe_open import reopened

_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_ADD = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MAKE = _ADD | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


class NotOurs(OSError):
    """What is there may be somebody else's; ``strerror`` says why. It was not opened."""

    def __init__(self, why: str, path: str) -> None:
        super().__init__(errno.EPERM, why, path)


def open_own(path: str) -> int:
    """A descriptor that adds to the file, which is made (mode 0600) where there is none.

    It must be a regular file that belongs to who runs this and has no other name, and no symbolic
    link may lead to it. Raises NotOurs where it is not, and OSError, ValueError as open(2) does.
    """
    parent, name = _directory_of(path)
    try:
        looked = _looked_at(path, parent, name)
        if looked is None:
            return os.open(name, _MAKE, 0o600, dir_fd=parent)
        try:
            descriptor = reopened(looked, _ADD)
        finally:
            os.close(looked)
    finally:
        os.close(parent)
    try:
        _check(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_own(path: str) -> None:
    """Whether :func:`open_own` would take it, without making or opening it. Raises as that does."""
    parent, name = _directory_of(path)
    try:
        looked = _looked_at(path, parent, name)
        if looked is not None:
            os.close(looked)
    finally:
        os.close(parent)


def _looked_at(path: str, parent: int, name: str) -> int | None:
    """The file, looked at and not opened; None where there is none."""
    try:
        looked = os.open(name, _LOOK, dir_fd=parent)
    except FileNotFoundError:
        return None
    try:
        _check(path, os.fstat(looked))
    except BaseException:
        os.close(looked)
        raise
    return looked


def _check(path: str, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise NotOurs("it is a symbolic link; name the file itself", path)
    if not stat.S_ISREG(status.st_mode):
        raise NotOurs("it is no regular file; name another one", path)
    if status.st_uid != os.geteuid():
        raise NotOurs(f"it belongs to user {status.st_uid}; name one of your own", path)
    if status.st_nlink != 1:
        raise NotOurs("it has other names (hard links); name another file", path)


def _directory_of(path: str) -> tuple[int, str]:
    """Its directory, open, and its name there. Every directory on the way is looked at."""
    whole = os.path.abspath(path)
    above, name = os.path.split(whole)
    descriptor = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        way = "/"
        for step in filter(None, above.split("/")):
            way = os.path.join(way, step)
            below = os.open(step, _LOOK, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
            _check_directory(path, way, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, name


def _check_directory(path: str, way: str, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        real = os.path.realpath(way)
        raise NotOurs(f"{way} on the way to it is a symbolic link; name it below {real}", path)
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        raise NotOurs(f"everybody may replace what is in {way}; name a file elsewhere", path)
