"""The running figures of a walk, handed on while it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from app.model import Usage

#: Seconds between two reports, and so the longest time until a walk notices that it shall stop.
TICK = 0.02
_NOTHING_YET = Usage(partial=True)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the walk of one unit is: entries seen, its usage so far, the directory it is in.

    ``ended`` says that the walk is over, stopped or not, and its result is being put together.
    """

    entries: int = 0
    usage: Usage = _NOTHING_YET
    current: bytes = b""
    ended: bool = False


#: Called about every TICK seconds; False stops the walk. A walk shorter than that reports nothing.
Report = Callable[[Progress], bool]


class Meter:
    """Counts what a walk sees, each inode once, and reports it every TICK."""

    def __init__(self, report: Report, current: Callable[[], bytes]) -> None:
        self.entries = 0
        self.stopped = self._reported = False
        self._report = report
        self._current = current
        self._due = monotonic() + TICK
        self._bytes = self._apparent = self._inodes = 0
        self._linked_bytes = self._linked_inodes = 0
        self._unreadable = 0

    def count(self, entries: int, allocated: int, apparent: int, inodes: int) -> None:
        """Count inodes that have one link, and how many directory entries were looked at."""
        self.entries += entries
        self._bytes += allocated
        self._apparent += apparent
        self._inodes += inodes

    def count_linked(self, allocated: int, apparent: int) -> None:
        """Count an inode that has several links, seen for the first time."""
        self.count(0, allocated, apparent, 1)
        self._linked_bytes += allocated
        self._linked_inodes += 1

    def count_unreadable(self) -> None:
        """Count an entry that could not be read."""
        self._unreadable += 1

    def goes_on(self) -> bool:
        """Report if it is time to; false once the walk shall stop."""
        if not self.stopped and monotonic() >= self._due:
            self.stopped = not self._report(Progress(self.entries, self.usage(), self._current()))
            self._due = monotonic() + TICK
            self._reported = True
        return not self.stopped

    def end(self) -> None:
        """Report once more that the walk is over, if it has been reported at all."""
        if self._reported:
            self._report(Progress(self.entries, self.usage(), self._current(), ended=True))

    def usage(self) -> Usage:
        """The figures so far; of linked inodes it is not known yet whether they are exclusive."""
        return Usage(
            bytes=self._bytes,
            apparent=self._apparent,
            inodes=self._inodes,
            exclusive_bytes=self._bytes - self._linked_bytes,
            exclusive_inodes=self._inodes - self._linked_inodes,
            unreadable=self._unreadable,
            partial=True,
        )
