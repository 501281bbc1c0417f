"""Erasing a place, and making a file empty, if it is still what the plan looked at."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from app.cleanup.execute.aside import NO_ROOM, is_it, put_aside, put_back
from app.cleanup.execute.counter import BLOCK, Erased, Tally, reason
from app.cleanup.execute.outcome import Progress
from app.cleanup.execute.remove_tree import DIRECTORY, Holds, empty_directory, status_of
from app.cleanup.plan.model import Place
from app.cleanup.plan.reopen_path import Gone, Reached, Unreachable, reached
from app.host.safe_open import reopened
from app.scan.descent import open_fenced


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a removal on disk must know beside its place.

    ``upper`` is where the writable layer has it, for what is removed through an overlay's mount:
    only that counts. ``beside`` is how many names of the place lead to the directory that it is put
    aside into before it is emptied, None where it must stay where it is. ``in_use`` says why a
    mount that is new keeps it from going at all, ``hinders`` why it must stop, with the path that
    it was put aside to; both "" where nothing does.
    """

    upper: bytes = b""
    beside: int | None = None
    in_use: Callable[[Reached], str] = lambda _: ""
    hinders: Callable[[Reached], str] = lambda _: ""


#: Nothing is known of what is around it.
ALONE = Surroundings()


def erase(place: Place, progress: Progress, around: Surroundings = ALONE) -> Erased:
    """Remove a file, or a directory with all that is in it. Raises Unreachable.

    What vanishes meanwhile is fine; what cannot be removed stays, with the directories above it,
    and the rest goes on.
    """
    tally = Tally(progress, around.upper)
    try:
        with reached(place) as target:
            progress.current = os.fsdecode(target.path)
            if around.beside is None:
                tally.hinders = partial(around.hinders, target)
                return tally.result(remove_reached(target, tally, partial(is_it, target)))
            return _erase_aside(target, around, tally)
    except Gone:
        return Erased(gone=True)


def _erase_aside(target: Reached, around: Surroundings, tally: Tally) -> Erased:
    """Put it aside in one step, then remove it there. Raises Gone, Unreachable."""
    shelf, above = target.way[around.beside or 0]
    try:
        moved = put_aside(target, shelf, above)
    except OSError as error:
        if error.errno in NO_ROOM and not stat.S_ISDIR(target.status.st_mode):
            # One name goes in one step anyway.
            return tally.result(remove_reached(target, tally, partial(is_it, target)))
        raise Unreachable(_no_room(target, error)) from error
    if why := around.in_use(target):
        put_back(moved, target)
        raise Unreachable(why)
    tally.hinders = partial(around.hinders, moved)
    complete = remove_reached(moved, tally, None)
    return tally.result(complete, b"" if complete else moved.path)


def _no_room(target: Reached, error: OSError) -> str:
    shown = os.fsdecode(target.path)
    if error.errno == errno.EXDEV:
        # A project quota ends there (ext4, xfs), or it lies in the lower layer of an overlay.
        return (
            f"{shown} was not touched: it cannot be moved out of its directory "
            f"({os.strerror(errno.EXDEV)}), and it is not emptied where a container could see half "
            "of it. Start the container and ask again: then it goes through the container's mount."
        )
    if error.errno in NO_ROOM:
        why = os.strerror(error.errno or 0)
        return (
            f"{shown} was not touched: it could not be put aside ({why}), and it is not emptied "
            "where a container could see half of it. Free a little space first, with a log or "
            "build cache."
        )
    return f"{shown} was not touched: {reason(error)}."


def truncate(place: Place, progress: Progress) -> Erased:
    """Make a regular file empty, in place: whoever writes to it goes on. Raises Unreachable."""
    try:
        with reached(place) as target:
            progress.current = os.fsdecode(target.path)
            return _truncate(target, Tally(progress))
    except Gone:
        return Erased(gone=True)


def _truncate(target: Reached, tally: Tally) -> Erased:
    shown = os.fsdecode(target.path)
    if not stat.S_ISREG(target.status.st_mode):
        raise Unreachable(f"{shown} was not touched: it is no regular file. Look who made it.")
    if target.status.st_nlink != 1:
        raise Unreachable(f"{shown} was not touched: it has another name, whose content would go.")
    try:
        # By the descriptor: whatever has its name by now is not even opened.
        descriptor = reopened(target.descriptor, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        tally.fail(target.path, reason(error))
        return tally.result(complete=False)
    try:
        before = os.fstat(descriptor)
        now = os.stat(target.name, dir_fd=target.parent, follow_symlinks=False)
        if not os.path.samestat(now, target.status):
            raise Unreachable(f"{shown} was not touched: it was replaced just now. Look again.")
        os.ftruncate(descriptor, 0)
        after = os.fstat(descriptor)
    except OSError as error:
        tally.fail(target.path, reason(error))
        return tally.result(complete=False)
    finally:
        os.close(descriptor)
    # A writer may have written again at once.
    tally.add(max(0, before.st_blocks - after.st_blocks) * BLOCK, 0)
    tally.progress.entries += 1
    return tally.result(complete=True)


# --- one entry ------------------------------------------------------------------------------------


def remove_reached(target: Reached, tally: Tally, holds: Holds | None) -> bool:
    """Remove what was reached; whether nothing is left of it. Raises Unreachable.

    ``holds`` tells whether it still lies there, None where nobody can move it.
    """
    if not stat.S_ISDIR(target.status.st_mode):
        return _unlink(target.name, target.parent, target.status, target.path, tally)
    # Emptied through an overlay it is copied to the upper layer, where it was not before.
    own = tally.own(target.status, ())
    return _empty(target, tally, holds) and remove_directory(target, tally, own)


def _empty(target: Reached, tally: Tally, holds: Holds | None) -> bool:
    """Remove all that is in a directory; whether that is done.

    Raises Unreachable where the directory cannot be opened.
    """
    try:
        descriptor = open_fenced(target.name, target.parent, DIRECTORY)
    except OSError as error:
        raise Unreachable(
            f"{os.fsdecode(target.path)} was not touched: {reason(error)}. Look at it again."
        ) from error
    if not os.path.samestat(os.fstat(descriptor), target.status):
        os.close(descriptor)
        raise Unreachable(
            f"{os.fsdecode(target.path)} was not touched: it was replaced just now. Look again."
        )
    return empty_directory(target.path, descriptor, frozenset(), tally, holds)


def remove_directory(target: Reached, tally: Tally, own: os.stat_result | None) -> bool:
    """Remove a directory that was reached and is empty; whether it is gone.

    ``own`` is what of it gives something back.
    """
    try:
        os.rmdir(target.name, dir_fd=target.parent)
    except FileNotFoundError:
        return True
    except OSError as error:
        tally.fail(target.path, reason(error))
        return False
    tally.count(own)
    return True


def _unlink(name: bytes, parent: int, status: os.stat_result, path: bytes, tally: Tally) -> bool:
    try:
        own = tally.own(status, ())
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except OSError as error:
        tally.fail(path, reason(error))
        return False
    tally.count(own)
    return True


def remove_entry(name: bytes, parent: int, path: bytes, tally: Tally) -> bool:
    """Remove the file ``name`` of an open directory; whether it is gone. ``path`` is for people."""
    try:
        status = status_of(name, parent)
    except FileNotFoundError:
        return True
    except OSError as error:
        tally.fail(path, reason(error))
        return False
    return _unlink(name, parent, status, path, tally)
