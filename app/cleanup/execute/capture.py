"""Removing an entry only while its directory belongs to what is removed, without a gap in between.

Between a look at a directory and unlink(2) in it somebody may move that directory to safety, with
what is in it. No call removes a name only where its directory lies in a certain place. So entries
are first renamed, by descriptors, into the top of what is removed; then it is looked whether their
directory still lies below it; only then they go, and else they are put back where they were. So
what goes was taken from a directory that belonged to what is removed after it was taken.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field

from app.cleanup.execute.aside import NO_ROOM
from app.host.renaming import rename
from app.stores.remainders import new_name

#: Entries that are taken before it is looked where their directory lies.
MOST = 128


class TakeDirectly(Exception):
    """It cannot be renamed, for want of room or across what it does not go: remove it in place."""


@dataclass(frozen=True, slots=True)
class Taken:
    """An entry that was renamed: what it was called, and what it is called in the top."""

    name: bytes
    now: bytes


@dataclass(slots=True)
class Capture:
    """The entries taken from one directory. ``top`` is open, and what they are renamed into.

    ``pinned``: what is renamed into it, if anything can be, would not come out again.
    """

    top: int
    pinned: bool = False
    prefix: bytes = field(default_factory=lambda: new_name() + b"-")
    taken: list[Taken] = field(default_factory=list)
    _count: int = 0

    @property
    def full(self) -> bool:
        """Whether it is time to settle."""
        return len(self.taken) >= MOST

    def take(self, name: bytes, parent: int) -> Taken:
        """Take an entry out of its directory. Raises TakeDirectly, and OSError as rename(2)."""
        if self.pinned:
            raise TakeDirectly
        self._count += 1
        found = Taken(name, self.prefix + b"%d" % self._count)
        try:
            rename(name, parent, found.now, self.top)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise TakeDirectly from error
            raise
        self.taken.append(found)
        return found

    def look(self, found: Taken) -> os.stat_result:
        """What was taken (stat(2)). Raises OSError."""
        return os.stat(found.now, dir_fd=self.top, follow_symlinks=False)

    def remove(self, found: Taken, *, directory: bool = False) -> None:
        """Remove what was taken. Raises OSError; then it is still taken."""
        remove = os.rmdir if directory else os.unlink
        remove(found.now, dir_fd=self.top)
        self.taken.remove(found)

    def put_back(self, found: Taken, parent: int) -> bool:
        """Put it back into its directory; whether it is there again, or somebody else took it."""
        self.taken.remove(found)
        for name in (found.name, found.now):
            try:
                rename(found.now, self.top, name, parent)
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return True
                # Its name was given to something else meanwhile: it gets the other one there.
                continue
            return True
        return False
