"""The one way in which a file is opened that somebody else may have put there.

Opening does things by itself: a named pipe waits for its other end, a tape rewinds, a watchdog
begins to count, a terminal becomes ours. So a name is looked at first by a descriptor that opens
nothing (open(2), O_PATH), and what is a regular file is opened by that very descriptor: whatever
the name leads to by then plays no part. Directories need no such care: open(2) with O_DIRECTORY
refuses everything else before it is opened (Linux fs/namei.c do_open).

Nothing here waits for a limited time only: what may lie on a filesystem that hangs (FUSE, NFS) is
looked at through :mod:`app.host.looks`. Descriptors got in another way (the magic links of
/proc/PID/fd, cwd, root) obey the same two rules: O_PATH first, and fstat(2) of one is a look, too.
"""

from __future__ import annotations

import errno
import os
import stat
from functools import cache

#: Reading moves the time of the last access: a data root is not to be written to at all.
NO_TRACE = getattr(os, "O_NOATIME", 0)
_READING = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LOOK = os.O_PATH | os.O_CLOEXEC
_PROC = "/proc"

# linux/mount.h; the numbers are the same on every architecture but alpha (unistd.h).
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_FSCONFIG_CMD_CREATE, _CLOEXEC = 6, 1


class NotAFile(OSError):
    """Something else than a regular file is there: it was not opened. ``mode`` is its st_mode."""

    def __init__(self, mode: int, name: bytes | str) -> None:
        super().__init__(errno.EINVAL, "is no regular file", name)
        self.mode = mode


def open_file(name: bytes | str, parent: int | None = None, *, follow: bool = False) -> int:
    """A descriptor for reading the regular file ``name`` (in the open directory ``parent``).

    ``follow``: also what a symbolic link leads to. Raises NotAFile for everything that is none,
    which is not opened then, and OSError as open(2) does.
    """
    looked = os.open(name, _LOOK if follow else _LOOK | os.O_NOFOLLOW, dir_fd=parent)
    try:
        mode = os.fstat(looked).st_mode
        if not stat.S_ISREG(mode):
            raise NotAFile(mode, name)
        return _without_trace(looked)
    finally:
        os.close(looked)


def reopened(looked: int, flags: int) -> int:
    """What an O_PATH descriptor is of, opened with these flags. Raises OSError as open(2) does.

    The caller has seen by fstat(2) that it is a regular file. Source: proc_pid_fd(5).
    """
    try:
        return os.open(f"{_PROC}/self/fd/{looked}", flags | os.O_CLOEXEC)
    except FileNotFoundError:
        # The link leads even to what has no name any more: it is /proc that is not there.
        return os.open(f"self/fd/{looked}", flags | os.O_CLOEXEC, dir_fd=_own_proc())


def _without_trace(looked: int) -> int:
    try:
        return reopened(looked, _READING | NO_TRACE)
    except PermissionError as error:
        # EPERM, not EACCES: only the owner may read without moving the access time.
        if error.errno != errno.EPERM:
            raise
        return reopened(looked, _READING)


@cache
def _own_proc() -> int:
    """A proc filesystem that is mounted nowhere (fsmount(2), Linux 5.2). Raises OSError."""
    # Late: hardly anybody comes by here, and the workers of a scan need no ctypes.
    import ctypes  # noqa: PLC0415

    syscall = ctypes.CDLL(None, use_errno=True).syscall

    def call(*arguments: object) -> int:
        result = int(syscall(*arguments))
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, f"/proc is not mounted ({os.strerror(code)})")
        return result

    context = call(_FSOPEN, b"proc", _CLOEXEC)
    try:
        call(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return call(_FSMOUNT, context, _CLOEXEC, 0)
    finally:
        os.close(context)
