"""Putting something aside in one step, so that no mount and no path shows half of it.

It is renamed into a directory that the plan names, under a name that tells what it is
(:mod:`app.stores.remainders`), and looked at there: what is not the very thing that was planned is
put back.
"""

from __future__ import annotations

import errno
import os
from dataclasses import replace

from app.cleanup.plan.reopen_path import Gone, Reached, Unreachable
from app.host.renaming import rename
from app.stores.remainders import new_name

#: There is no room for the new name, or a quota forbids it (rename(2)).
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EXDEV, errno.EMLINK})


def put_aside(target: Reached, shelf: int, path: bytes) -> Reached:
    """Rename what was reached into the open directory ``shelf``, whose path is ``path``.

    Raises Gone, Unreachable with nothing touched, and OSError as rename(2).
    """
    name = new_name()
    try:
        rename(target.name, target.parent, name, shelf)
    except FileNotFoundError as error:
        raise Gone from error
    moved = replace(target, path=os.path.join(path, name), parent=shelf, name=name)
    if not is_it(moved):
        put_back(moved, target)
        raise _refused(target.path, "it was replaced just now")
    if not _lay_there(target):
        put_back(moved, target)
        raise _refused(target.path, "a directory above it was moved just now")
    return moved


def put_back(moved: Reached, target: Reached) -> None:
    """Undo it. Raises Unreachable where its name is taken: then it stays aside."""
    try:
        rename(moved.name, moved.parent, target.name, target.parent)
    except OSError as error:
        raise Unreachable(
            f"Nothing of {os.fsdecode(target.path)} was removed, but it lies at "
            f"{os.fsdecode(moved.path)} now and could not be put back "
            f"({os.strerror(error.errno or 0)}). Move it back by hand."
        ) from error


def is_it(moved: Reached) -> bool:
    """Whether what has the name is what was opened: an inode that is held open is not reused."""
    try:
        found = os.stat(moved.name, dir_fd=moved.parent, follow_symlinks=False)
    except OSError:
        return False
    return os.path.samestat(found, moved.status)


def path_now(descriptor: int) -> bytes:
    """Where an open directory lies now, as the kernel has it. Raises OSError (proc_pid_fd(5))."""
    return os.readlink(b"/proc/self/fd/%d" % descriptor)


def _lay_there(target: Reached) -> bool:
    """Whether its directory still lies where the plan reached it."""
    try:
        return path_now(target.parent) == os.path.dirname(target.path)
    except OSError:
        # Longer than a path can tell: then nobody leads there by one either.
        return True


def _refused(path: bytes, why: str) -> Unreachable:
    return Unreachable(f"{os.fsdecode(path)} was not touched: {why}. Look at it again.")
