"""Emptying a directory that is open, by descriptors from one directory to the next.

What is removed may be written to by a hostile container at the same time. So nothing is reached
by a path: every entry is opened fenced (:func:`app.scan.descent.open_fenced`) in the directory
that is open already, and removed there by its name. A name that became a symbolic link is removed
as a link; a mount point and all that leads to it stays; a directory on the way up is entered again
only if it is the very one that was left. What can happen at worst between the look at an entry and
its removal is that another entry of the same directory goes, which was to go as well.

Memory and open files stay bounded, however deep or wide the tree is.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Set
from dataclasses import dataclass, field

from app.cleanup.tally import DEEPEST, Tally, reason
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


def empty_directory(path: bytes, descriptor: int, keep: Set[bytes], tally: Tally) -> bool:
    """Remove all that is in the open directory but the names in ``keep``; whether that is done.

    The descriptor is closed. What cannot be removed stays, with the directories above it, and the
    rest goes on. ``path`` is for people.
    """
    top = _Open(b"", descriptor, os.fstat(descriptor), keep=set(keep))
    return _Walk(path, top, tally).run() and top.keep == keep


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
    ``own`` is what gives something back when it goes.
    """

    name: bytes
    descriptor: int
    status: os.stat_result
    keep: set[bytes] = field(default_factory=set)
    pending: list[bytes] = field(default_factory=list)
    entries: Iterator[os.DirEntry[str]] | None = None
    removed: bool = False
    rounds: int = 0
    own: os.stat_result | None = None

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

    def close(self) -> None:
        """Let go of the descriptors; what is pending is remembered."""
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

    def __init__(self, path: bytes, top: _Open, tally: Tally) -> None:
        self._path = path
        self._tally = tally
        self._trail = [top]

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
        """Remove files until there are directories to enter; False at the end."""
        try:
            for entry in here.read():
                name = os.fsencode(entry.name)
                if name in here.keep:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    here.pending.append(name)
                else:
                    self._remove(here, name)
                if len(here.pending) >= _PENDING or not self._tally.goes_on:
                    return True
        except OSError as error:
            self._tally.fail(self._path_of(here), reason(error))
            # Nobody knows what is in it.
            here.keep.add(b"")
            here.rounds = _ROUNDS
        return bool(here.pending)

    def _remove(self, here: _Open, name: bytes) -> None:
        try:
            status = status_of(name, here.descriptor)
            if stat.S_ISDIR(status.st_mode):
                here.pending.append(name)
                return
            own = self._own(status, name)
            os.unlink(name, dir_fd=here.descriptor)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            here.pending.append(name)
            return
        except OSError as error:
            self._stay(here, name, error)
            return
        here.removed = True
        self._tally.count(own)

    def _go_down(self, here: _Open, name: bytes) -> None:
        try:
            descriptor = open_fenced(name, here.descriptor, DIRECTORY)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                self._remove(here, name)
            else:
                self._stay(here, name, error)
            return
        below = _Open(name, descriptor, os.fstat(descriptor))
        if below.status.st_dev != here.status.st_dev:
            below.close()
            self._stay(here, name, OSError(errno.EXDEV, ""))
            return
        # Emptied through an overlay it is copied to the upper layer, where it was not before.
        below.own = self._own(below.status, name)
        self._trail.append(below)
        if len(self._trail) > _OPEN:
            self._trail[-1 - _OPEN].close()
        self._tally.progress.current = os.fsdecode(self._path_of(below))

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
            if not self._is_there(here, above):
                # It was moved elsewhere; what has its name now is met in the next round.
                above.removed = True
                self._forget(here)
                return
            os.rmdir(here.name, dir_fd=above.descriptor)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and self._once_more(here):
                return
            above.keep.add(here.name)
            if not here.keep:
                self._tally.fail(self._path_of(here), reason(error))
        else:
            above.removed = True
            self._tally.count(here.own)
        self._forget(here)

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

    def _is_there(self, here: _Open, above: _Open) -> bool:
        found = os.stat(here.name, dir_fd=above.descriptor, follow_symlinks=False)
        return os.path.samestat(found, here.status)

    def _reopen(self, above: _Open, here: _Open) -> bool:
        """Open the directory above again, if it is the one that was left; else give all up."""
        try:
            above.descriptor = open_fenced(b"..", here.descriptor, DIRECTORY)
            if os.path.samestat(os.fstat(above.descriptor), above.status):
                return True
            why = "it was moved elsewhere while it was removed; look again"
        except OSError as error:
            why = reason(error)
        self._tally.fail(self._path_of(here), why)
        self._tally.given_up = True
        return False

    def _own(self, status: os.stat_result, name: bytes) -> os.stat_result | None:
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
