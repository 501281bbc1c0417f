"""Who runs a process, and which program it is: what the kernel says of it, not its arguments.

Sources: proc_pid_status(5) for the user ids, which are numbers of our own user namespace whatever
the process's own calls them (Linux fs/proc/array.c task_state); proc_pid_exe(5);
proc_locks(5) and Linux fs/locks.c lock_get_status for who holds a lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from app.host import looks

_DELETED = b" (deleted)"
_MOST_STATUS = 64 * 1024
_LARGEST_LOCKS = 4 * 1024 * 1024


def is_trusted(uid: int) -> bool:
    """Whether this user may say anything about root's things: root, or who runs whodiff."""
    return uid in (0, os.geteuid())


def runner_of(process: bytes) -> int | None:
    """Whose process this is, by its directory in /proc; None where there is none (any more).

    Real, effective, saved and file-system user must all be root for it to be root's: a program
    that is set-user-ID root takes the arguments of whoever starts it.
    """
    users: list[int] = []
    try:
        directory = os.stat(process).st_uid
        with Path(os.fsdecode(process), "status").open("rb") as file:
            for line in file.read(_MOST_STATUS).split(b"\n"):
                if line.startswith(b"Uid:"):
                    users = [int(field) for field in line.split()[1:]]
    except FileNotFoundError:
        if not os.path.isdir(process):
            return None
    except (OSError, ValueError):
        return None
    return next((user for user in users if user), users[0] if users else directory)


def program_of(process: bytes) -> bytes:
    """The name of the file that it executes, b"" where that may not be looked at."""
    try:
        path = os.readlink(os.path.join(process, b"exe"))
    except OSError:
        return b""
    return os.path.basename(path.removesuffix(_DELETED))


def lock_holders(path: bytes, proc: bytes = b"/proc") -> Iterator[int]:
    """The processes that hold a lock on this file; none where nobody can tell.

    A process of which this pid namespace knows nothing is not among them.
    """
    try:
        about = looks.lstat(path)
        with Path(os.fsdecode(proc), "locks").open("rb") as file:
            lines = file.read(_LARGEST_LOCKS).splitlines()
    except OSError:
        return
    # The device there is the file system's, on btrfs not the one that stat(2) tells.
    wanted = b":%d" % about.st_ino
    for line in lines:
        fields = line.split()[1:]
        if len(fields) < 5 or not fields[3].isdigit() or not fields[4].endswith(wanted):
            continue
        if _has_open(os.path.join(proc, fields[3]), about):
            yield int(fields[3])


def _has_open(process: bytes, about: os.stat_result) -> bool:
    """Whether it has this file open; true as well where its descriptors may not be looked at."""
    try:
        names = os.listdir(os.path.join(process, b"fd"))
    except PermissionError:
        return True
    except OSError:
        return False
    for name in names:
        try:
            if os.path.samestat(looks.stat_of(os.path.join(process, b"fd", name)), about):
                return True
        except OSError:
            continue
    return False
