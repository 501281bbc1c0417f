"""Removing an unreferenced layer directory: its link first, what tells about it last.

The daemon's order is the ``l/`` link, then the directory (moby daemon/graphdriver/overlay2/
overlay.go Remove): without the link nothing can be mounted on what is half gone. Then ``diff`` is
put aside in one step, within the layer's directory, where there is room for another name on a full
disk too: from then on no path that a mount could be made of shows any of it. Then all goes but
``lower``, ``committed`` and ``link``, then these, then the directory itself. So whatever kills this
in between leaves a directory that has its own name and a ``link`` file with a token that ``l/`` has
no more, or an empty one: :mod:`app.stores.drivers.overlay2.read` calls that interrupted, and the
same removal can be planned again.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from app.cleanup.execute.aside import is_it, put_aside, put_back
from app.cleanup.execute.counter import Erased, Tally, reason
from app.cleanup.execute.erase import (
    ALONE,
    Surroundings,
    remove_directory,
    remove_entry,
    remove_reached,
)
from app.cleanup.execute.outcome import Progress
from app.cleanup.execute.remove_tree import empty_directory
from app.cleanup.plan.model import Place
from app.cleanup.plan.reopen_path import Gone, Reached, Unreachable, path_of, reached
from app.host.safe_read import Damage, read_file
from app.scan.descent import open_fenced
from app.stores.drivers.overlay2.read import LINKS, NAME, TOKEN

_CONTENTS = b"diff"
#: What tells whose the rest is, in the order in which it goes.
_LAST = (b"lower", b"committed", b"link")
_MOST_LINK = 1024


def erase_layer(
    place: Place, link: Place | None, progress: Progress, around: Surroundings = ALONE
) -> Erased:
    """Remove the layer directory ``place`` and before it its ``l/`` link, None if it has none.

    Raises Unreachable, with nothing touched, where they are not the pair that moby makes, or where
    something uses it by now.
    """
    tally = Tally(progress)
    try:
        with ExitStack() as opened:
            target = opened.enter_context(reached(place))
            directory = opened.enter_context(_opened(target))
            progress.current = os.fsdecode(target.path)
            _check(target, directory, place, link)
            found = _linked(link, target.name, opened)
            if found and not remove_entry(found.name, found.parent, found.path, tally):
                return tally.result(complete=False)
            try:
                moved = _put_contents_aside(target, directory, around, opened)
            except Unreachable:
                _link_again(found, target.name)
                raise
            tally.hinders = partial(around.hinders, target)
            # The contents first: put aside they go without any more ado.
            if moved and not remove_reached(moved, tally, None):
                return tally.result(complete=False)
            return tally.result(_remove(target, directory, tally))
    except Gone:
        return Erased(gone=True)


def _put_contents_aside(
    target: Reached, directory: int, around: Surroundings, opened: ExitStack
) -> Reached | None:
    """Take ``diff`` out of every mount's way; None where there is none.

    Raises Unreachable, with nothing touched.
    """
    try:
        descriptor = open_fenced(_CONTENTS, directory, os.O_PATH)
    except FileNotFoundError:
        # A removal broke off before.
        return None
    except OSError as error:
        raise _refused(target.path, reason(error)) from error
    opened.callback(os.close, descriptor)
    path, status = os.path.join(target.path, _CONTENTS), os.fstat(descriptor)
    contents = Reached(path, directory, _CONTENTS, descriptor, status)
    try:
        moved = put_aside(contents, directory, target.path)
    except Gone:
        return None
    except OSError as error:
        raise _refused(path, os.strerror(error.errno or 0)) from error
    if why := around.in_use(target):
        put_back(moved, contents)
        raise Unreachable(why)
    return moved


def _linked(link: Place | None, name: bytes, opened: ExitStack) -> Reached | None:
    """The link that leads to the directory, None where it is gone. Raises Unreachable."""
    if link is None:
        return None
    try:
        found = opened.enter_context(reached(link))
    except Gone:
        return None
    target = b""
    if stat.S_ISLNK(found.status.st_mode):
        target = os.readlink(b"", dir_fd=found.descriptor)
    if target != _target(name):
        raise _refused(found.path, "it is no link to the directory that is to go")
    return found


def _link_again(found: Reached | None, name: bytes) -> None:
    """Put the link back that went first."""
    if found:
        with suppress(OSError):
            os.symlink(_target(name), found.name, dir_fd=found.parent)


def _target(name: bytes) -> bytes:
    return b"../" + name + b"/" + _CONTENTS


def _remove(target: Reached, directory: int, tally: Tally) -> bool:
    copy, keep = os.dup(directory), frozenset(_LAST)
    if not empty_directory(target.path, copy, keep, tally, partial(is_it, target)):
        return False
    for name in _LAST:
        if not remove_entry(name, directory, os.path.join(target.path, name), tally):
            return False
    return remove_directory(target, tally, target.status)


def _check(target: Reached, directory: int, place: Place, link: Place | None) -> None:
    """Raises Unreachable unless it is a layer directory, and the link the one that it names."""
    if not NAME.fullmatch(os.fsdecode(target.name)):
        raise _refused(target.path, "it is no layer directory of Docker's")
    token = _token(target.path, directory)
    if link is None:
        return
    beside = (*place.names[:-1], os.fsencode(LINKS))
    if (link.base, link.names[:-1]) != (place.base, beside):
        raise _refused(path_of(link), "it is no link beside the directory that is to go")
    named = link.names[-1]
    if not TOKEN.fullmatch(os.fsdecode(named)) or token not in (b"", named):
        raise _refused(target.path, f"its link file does not name l/{os.fsdecode(named)}")


def _token(path: bytes, directory: int) -> bytes:
    """What its ``link`` file says; empty where there is none. Raises Unreachable."""
    try:
        return read_file(b"link", _MOST_LINK, directory)
    except FileNotFoundError:
        return b""
    except Damage as damage:
        raise _refused(path, f"its link file {damage}") from damage


@contextmanager
def _opened(target: Reached) -> Iterator[int]:
    """The directory itself. Raises Unreachable."""
    try:
        descriptor = open_fenced(target.name, target.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _refused(target.path, os.strerror(error.errno or 0)) from error
    try:
        if not os.path.samestat(os.fstat(descriptor), target.status):
            raise _refused(target.path, "it was replaced just now")
        yield descriptor
    finally:
        os.close(descriptor)


def _refused(path: bytes, why: str) -> Unreachable:
    return Unreachable(f"{os.fsdecode(path)} was not touched: {why}. Look at it again.")
