"""Removing an unreferenced layer directory: its link first, what tells about it last.

The engine's order is the ``l/`` link, then the directory (moby daemon/graphdriver/overlay2/
overlay.go Remove): without the link nothing can be mounted on what is half gone. Then goes what
is in ``diff``, ``work`` and ``merged``, then ``lower``, ``committed`` and ``link``, then the
directory itself. So whatever kills this in between leaves a directory whose ``link`` file names a
token that ``l/`` has no more, or an empty one: :mod:`app.stores.overlay2` calls that interrupted,
and the same removal can be planned again.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from app.cleanup.emptying import empty_directory
from app.cleanup.erase import remove_directory, remove_entry
from app.cleanup.outcome import Progress
from app.cleanup.plan import Place
from app.cleanup.reach import Gone, Reached, Unreachable, path_of, reached
from app.cleanup.tally import Erased, Tally
from app.scan.descent import open_fenced
from app.stores.files import Damage, read_file
from app.stores.overlay2 import LINKS, NAME, TOKEN

#: What tells whose the rest is, in the order in which it goes.
_LAST = (b"lower", b"committed", b"link")
_MOST_LINK = 1024


def erase_layer(place: Place, link: Place | None, progress: Progress) -> Erased:
    """Remove the layer directory ``place`` and before it its ``l/`` link, None if it has none.

    Raises Unreachable, with nothing touched, where they are not the pair that moby makes.
    """
    tally = Tally(progress)
    try:
        with reached(place) as target, _opened(target) as directory:
            progress.current = os.fsdecode(target.path)
            _check(target, directory, place, link)
            if link and not _unlink(link, target.name, tally):
                return tally.result(complete=False)
            return tally.result(_remove(target, directory, tally))
    except Gone:
        return Erased(gone=True)


def _remove(target: Reached, directory: int, tally: Tally) -> bool:
    if not empty_directory(target.path, os.dup(directory), frozenset(_LAST), tally):
        return False
    for name in _LAST:
        if not remove_entry(name, directory, os.path.join(target.path, name), tally):
            return False
    return remove_directory(target, tally, target.status)


def _unlink(link: Place, name: bytes, tally: Tally) -> bool:
    """Remove the link if it leads to the directory; whether it is gone. Raises Unreachable."""
    try:
        with reached(link) as found:
            target = b""
            if stat.S_ISLNK(found.status.st_mode):
                target = os.readlink(b"", dir_fd=found.descriptor)
            if target != b"../" + name + b"/diff":
                raise _refused(found.path, "it is no link to the directory that is to go")
            return remove_entry(found.name, found.parent, found.path, tally)
    except Gone:
        return True


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
