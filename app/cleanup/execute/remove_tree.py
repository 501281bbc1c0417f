"""Emptying a directory that is open, by descriptors from one directory to the next.

What is removed may be written to by a hostile container at the same time. So nothing is reached
by a path: every entry is opened fenced (:func:`app.scan.descent.open_fenced`) in the directory
that is open already. A name that became a symbolic link is removed as a link; a mount point and
all that leads to it stays; a directory on the way up is entered again only if it is the very one
that was left. What goes is taken by :mod:`app.cleanup.execute.capture`: what is moved out of the
tree meanwhile, with what is in it, stays whole, and is told.

Memory and open files stay bounded, however deep or wide the tree is.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field

from app.cleanup.execute.below import Below, is_deleted
from app.cleanup.execute.capture import Capture, TakeDirectly, Taken
from app.cleanup.execute.counter import DEEPEST, Tally, reason
from app.host.identity import Identity, identity_of
from app.host.pinned import is_pinned
from app.scan.descent import open_fenced

#: Directories held open on the way down, two descriptors each.
_OPEN = 64
#: Names of directories kept for later, for one directory.
_PENDING = 4096
#: A directory that is filled as quickly as it is emptied is left after so many rounds.
_ROUNDS = 100
_SHOWN = 40  # levels that a path for people names
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_CLOSED = -1
#: Bytes of a path below the top; what lies deeper is taken to the top, with all that is in it.
_LONGEST = 3000
#: Tells whether the top still lies where the plan has it.
Holds = Callable[[], bool]


def empty_directory(
    path: bytes, descriptor: int, keep: Set[bytes], tally: Tally, holds: Holds | None
) -> bool:
    """Remove all that is in the open directory but the names in ``keep``; whether that is done.

    The descriptor is closed. What cannot be removed stays, with the directories above it, and the
    rest goes on. ``path`` is for people. ``holds`` is None where nobody can move the directory
    itself, for it was put aside.
    """
    top = _Open(b"", descriptor, os.fstat(descriptor), keep=set(keep))
    return _Walk(path, top, tally, holds).run() and top.keep == keep


def status_of(name: bytes, parent: int) -> os.stat_result:
    """stat(2) of the entry itself, which lies on its directory's mount. Raises OSError."""
    descriptor = open_fenced(name, parent, os.O_PATH)
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


@dataclass(slots=True)
class _Open:
    """A directory on the way down.

    ``keep`` are names that stay; ``pending`` names of directories still to be entered, read from
    ``entries``; ``removed``: something went since the directory was read from its beginning.
    ``own`` is what gives something back when it goes. ``path`` leads to it from the top, empty
    where it is too long. ``identity`` is known of one that was let go of.
    """

    name: bytes
    descriptor: int
    status: os.stat_result
    path: bytes = b""
    keep: set[bytes] = field(default_factory=set)
    pending: list[bytes] = field(default_factory=list)
    entries: Iterator[os.DirEntry[str]] | None = None
    removed: bool = False
    rounds: int = 0
    own: os.stat_result | None = None
    identity: Identity | None = None

    def read(self) -> Iterator[os.DirEntry[str]]:
        """The entries, from where the last look ended."""
        if self.entries is None:
            self.entries = os.scandir(self.descriptor)
        return self.entries

    def read_anew(self) -> None:
        """Read from the beginning the next time."""
        self.removed = False
        self.rounds += 1
        self._end_reading()

    def let_go(self) -> None:
        """Close it until the walk comes back; what is pending is remembered."""
        self.identity = identity_of(self.descriptor)
        self.close()

    def close(self) -> None:
        """Close the descriptors."""
        self._end_reading()
        if self.descriptor != _CLOSED:
            os.close(self.descriptor)
            self.descriptor = _CLOSED

    def _end_reading(self) -> None:
        if self.entries is not None:
            self.entries.close()  # type: ignore[attr-defined]  # os.scandir's has it
            self.entries = None


class _Walk:
    """Empties one directory. ``_trail`` are the directories from there down to where it is."""

    def __init__(self, path: bytes, top: _Open, tally: Tally, holds: Holds | None) -> None:
        self._path = path
        self._tally = tally
        self._trail = [top]
        self._holds = holds
        self._below = Below(top.descriptor, top.status)
        self._capture = Capture(top.descriptor, is_pinned(top.descriptor))

    def run(self) -> bool:
        """Go through all of it; whether it came to its end (what had to stay is in ``keep``)."""
        try:
            while self._trail and self._tally.goes_on:
                self._step(self._trail[-1])
            return not self._trail
        finally:
            for here in self._trail:
                here.close()

    def _step(self, here: _Open) -> None:
        if here.pending:
            self._go_down(here, here.pending.pop())
        elif not self._read_on(here):
            self._leave(here)

    def _read_on(self, here: _Open) -> bool:
        """Remove files until there are directories to enter, or many were taken; False at the end.

        True as well where the directory does not belong to what is removed any more.
        """
        try:
            for entry in here.read():
                name = os.fsencode(entry.name)
                if name in here.keep or name.startswith(self._capture.prefix):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    here.pending.append(name)
                else:
                    self._remove(here, name)
                full = len(here.pending) >= _PENDING or self._capture.full
                if full or not self._tally.goes_on:
                    self._settle(here)
                    return True
        except OSError as error:
            self._tally.fail(self._path_of(here), reason(error))
            # Nobody knows what is in it.
            here.keep.add(b"")
            here.rounds = _ROUNDS
        return not self._settle(here) or bool(here.pending)

    def _remove(self, here: _Open, name: bytes) -> None:
        """Remove a file, or take it, for it goes when that is settled."""
        try:
            if not self._takes(here):
                self._unlink(here, name)
                return
            if self._tally.upper and self._own(None, name) is None:
                # An overlay would copy it up whole to rename it. What lies in a lower layer alone
                # is in a directory that cannot be moved either (EXDEV).
                self._take_directly(here, name)
                return
            self._capture.take(name, here.descriptor)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            here.pending.append(name)
        except TakeDirectly:
            self._take_directly(here, name)
        except OSError as error:
            self._stay(here, name, error)

    def _takes(self, here: _Open) -> bool:
        """Whether what is in a directory may be moved away with it: not with a top put aside."""
        return here is not self._trail[0] or self._holds is not None

    def _take_directly(self, here: _Open, name: bytes) -> None:
        try:
            if self._stands(here):
                self._unlink(here, name)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            here.pending.append(name)
        except OSError as error:
            self._stay(here, name, error)

    def _unlink(self, here: _Open, name: bytes) -> None:
        """Remove a file where it is. Raises OSError."""
        status = status_of(name, here.descriptor)
        if stat.S_ISDIR(status.st_mode):
            here.pending.append(name)
            return
        own = self._own(status, name)
        os.unlink(name, dir_fd=here.descriptor)
        here.removed = True
        self._tally.count(own)

    def _settle(self, here: _Open) -> bool:
        """Remove what was taken from a directory, if that belongs to what is removed.

        Else all of it is put back; false then, and the walk has left that directory.
        """
        if not self._capture.taken:
            return True
        stands = self._stands(here)
        for taken in tuple(self._capture.taken):
            if stands and not self._tally.given_up:
                self._remove_taken(here, taken)
            elif not self._capture.put_back(taken, here.descriptor):
                where = os.path.join(self._path, taken.now)
                self._tally.fail(where, "it could not be put back where it was moved from")
        if not stands:
            self._abandon()
        return stands

    def _remove_taken(self, here: _Open, taken: Taken) -> None:
        try:
            # Now, for what went before may have been another name of it.
            status = self._capture.look(taken)
            if stat.S_ISDIR(status.st_mode):
                # It has the name of a file that was there before.
                self._capture.put_back(taken, here.descriptor)
                here.pending.append(taken.name)
                return
            own = self._tally.own(status, (taken.now,))
            self._capture.remove(taken)
        except FileNotFoundError:
            self._capture.taken.remove(taken)
        except OSError as error:
            self._capture.put_back(taken, here.descriptor)
            self._stay(here, taken.name, error)
        else:
            here.removed = True
            self._tally.count(own)

    def _stands(self, here: _Open) -> bool:
        """Whether a directory belongs to what is removed: the top, where it was, or below it."""
        if here is not self._trail[0] and not self._below.has(here.descriptor, here.path):
            return False
        return self._holds is None or self._holds()

    def _abandon(self) -> None:
        """Leave the directories that were moved away, and tell of the topmost one.

        Of those that somebody else removed nothing is told.
        """
        where, lost = b"", False
        while self._trail and (self._is_closed() or not self._stands(self._trail[-1])):
            here = self._trail[-1]
            if self._is_closed() or not is_deleted(here.descriptor):
                where = self._path_of(here)
            self._forget(here)
            lost = True
        if not lost:
            return
        if where:
            self._tally.moved_away(where)
        if self._trail:
            # Something else may have its name.
            self._trail[-1].removed = True
        else:
            self._tally.given_up = True

    def _is_closed(self) -> bool:
        """Whether it was let go of on the way down: then it counts as moved, with what is in it."""
        return self._trail[-1].descriptor == _CLOSED

    def _go_down(self, here: _Open, name: bytes) -> None:
        try:
            descriptor = open_fenced(name, here.descriptor, DIRECTORY)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                self._remove(here, name)
                self._settle(here)
            else:
                self._stay(here, name, error)
            return
        path = self._path_below(here, name)
        if not path and self._lift(here, name):
            os.close(descriptor)
            return
        below = _Open(name, descriptor, os.fstat(descriptor), path)
        if below.status.st_dev != here.status.st_dev:
            below.close()
            self._stay(here, name, OSError(errno.EXDEV, ""))
            return
        # Emptied through an overlay it is copied to the upper layer, where it was not before.
        below.own = self._own(below.status, name)
        self._trail.append(below)
        if len(self._trail) > _OPEN + 1:
            self._trail[-1 - _OPEN].let_go()
        self._tally.progress.current = os.fsdecode(self._path_of(below))

    def _path_below(self, here: _Open, name: bytes) -> bytes:
        if here is not self._trail[0] and not here.path:
            return b""
        path = os.path.join(here.path, name)
        return path if len(path) < _LONGEST else b""

    def _lift(self, here: _Open, name: bytes) -> bool:
        """Take a directory that lies too deep to the top; false where it must be entered here."""
        try:
            taken = self._capture.take(name, here.descriptor)
        except (TakeDirectly, OSError):
            return False
        if self._stands(here):
            self._capture.taken.remove(taken)
            self._trail[0].pending.append(taken.now)
            here.removed = True
        else:
            self._capture.put_back(taken, here.descriptor)
            self._abandon()
        return True

    def _stay(self, here: _Open, name: bytes, error: OSError) -> None:
        here.keep.add(name)
        self._tally.fail(os.path.join(self._path_of(here), name), reason(error))

    # The way up.

    def _leave(self, here: _Open) -> None:
        """A directory was read to its end: it goes, or is read once more, or stays."""
        if len(self._trail) == 1:
            self._leave_top(here)
            return
        above = self._trail[-2]
        if above.descriptor == _CLOSED and not self._reopen(above, here):
            return
        try:
            left = self._remove_directory(here, above)
        except FileNotFoundError:
            left = False
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and self._once_more(here):
                return
            above.keep.add(here.name)
            if not here.keep:
                self._tally.fail(self._path_of(here), reason(error))
            self._forget(here)
            return
        if not self._trail or self._trail[-1] is not here:
            return
        above.removed = True
        if left:
            self._tally.count(here.own)
        elif not self._stands(here) and not is_deleted(here.descriptor):
            self._tally.moved_away(self._path_of(here))
        self._forget(here)

    def _remove_directory(self, here: _Open, above: _Open) -> bool:
        """Remove a directory that is empty; false where it is there no more. Raises OSError.

        What has its name now is met in the next round. Where ``above`` does not belong to what is
        removed any more, both are left.
        """
        if not self._takes(above):
            return self._rmdir(here, above)
        try:
            taken = self._capture.take(here.name, above.descriptor)
        except TakeDirectly:
            if not self._stands(above):
                self._abandon()
                return False
            return self._rmdir(here, above)
        if not os.path.samestat(self._capture.look(taken), here.status):
            self._capture.put_back(taken, above.descriptor)
            return False
        if not self._stands(above):
            self._capture.put_back(taken, above.descriptor)
            self._abandon()
            return False
        try:
            self._capture.remove(taken, directory=True)
        except OSError:
            self._capture.put_back(taken, above.descriptor)
            raise
        return True

    def _rmdir(self, here: _Open, above: _Open) -> bool:
        found = os.stat(here.name, dir_fd=above.descriptor, follow_symlinks=False)
        if not os.path.samestat(found, here.status):
            return False
        os.rmdir(here.name, dir_fd=above.descriptor)
        return True

    def _leave_top(self, top: _Open) -> None:
        # The last look must find nothing, for a directory may change its order while it is read.
        if not (top.removed and self._once_more(top)):
            self._forget(top)

    def _once_more(self, here: _Open) -> bool:
        """Whether another round makes sense; then it begins."""
        if here.rounds >= _ROUNDS or not (here.removed or not here.keep):
            return False
        here.read_anew()
        return True

    def _forget(self, here: _Open) -> None:
        here.close()
        self._trail.pop()

    def _reopen(self, above: _Open, here: _Open) -> bool:
        """Open the directory above again, if it is the one that was left; else leave both."""
        try:
            above.descriptor = open_fenced(b"..", here.descriptor, DIRECTORY)
            if identity_of(above.descriptor) == above.identity:
                return True
            above.close()
        except OSError as error:
            self._tally.fail(self._path_of(here), reason(error))
            self._tally.given_up = True
            return False
        self._abandon()
        return False

    def _own(self, status: os.stat_result | None, name: bytes) -> os.stat_result | None:
        """What gives something back of the entry ``name`` of where the walk is."""
        if not self._tally.upper:
            return status
        # Deeper down there is nothing to be looked for, and a trail may be very long.
        above = (it.name for it in self._trail[1 : DEEPEST + 2])
        return self._tally.own(status, (*above, name))

    def _path_of(self, here: _Open) -> bytes:
        """Where it is, for people: of a deep one the first levels."""
        names = [it.name for it in self._trail[1:_SHOWN]]
        if here is not self._trail[-1] and here in self._trail:
            names = names[: self._trail.index(here)]
        return os.path.join(self._path, *names)
