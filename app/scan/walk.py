"""The portable engine: walks one unit with os.scandir, from one directory descriptor to the next.

Counted is what du(1) counts with ``-x``: every inode once, directories and whiteouts included,
nothing of a file system that is mounted below. Whatever vanishes or turns into something else
under the walk is taken as it is when it is looked at.
"""

from __future__ import annotations

import os
import resource
import stat
from dataclasses import dataclass, field
from itertools import islice

from app.scan.counters import Meter, Progress, Report
from app.scan.descent import open_directory, open_path
from app.scan.fence import Fence, Points, is_foreign, read_fence
from app.scan.tree import UnitResult
from app.scan.tree_builder import GrowingTree

__all__ = ["Fence", "Open", "Progress", "Report", "Unit", "Walk", "read_fence", "walk_unit"]

#: Entries between two looks at the clock: a few hundred microseconds on a warm disk.
_BATCH = 128
#: Directories held open on the way down; those further up are opened again on the way back. At
#: most so many, and no more than a part of what this process may have open (see _may_hold).
_OPEN = 128
_BLOCK = 512  # the unit of st_blocks, whatever the file system's block size (stat(3type))
_CLOSED = -1
_SHOWN = 40  # levels that the path of a report names


@dataclass(frozen=True, slots=True)
class Unit:
    """What is measured as one: a directory tree, or (``shallow``) a directory without those in it.

    A shallow unit is the directory itself and its entries that are no directories. A path that
    leads to something else than a directory is measured as that one inode.
    """

    path: bytes
    shallow: bool = False


def walk_unit(unit: Unit, fence: Fence, report: Report) -> UnitResult:
    """Measure one unit. ``report`` is called about every 20 ms; returning False stops the walk.

    A stopped walk has what it found until then, marked partial. Nothing raises OSError: what
    cannot be read is counted as unreadable, what is gone is left out.
    """
    return Walk(unit, fence, report).result()


def apparent_size(status: os.stat_result) -> int:
    """st_size of regular files and symbolic links; of anything else it means nothing: 0."""
    # Of all file types only S_IFREG and S_IFLNK match this mask (inode(7)).
    return status.st_size if status.st_mode & 0o150000 == 0o100000 else 0


@dataclass(slots=True)
class Open:
    """A directory on the way down: what of it is still to be walked, last first."""

    descriptor: int
    node: int
    name: bytes
    status: os.stat_result
    points: Points | None
    pending: list[bytes] = field(default_factory=list)

    def close(self) -> None:
        if self.descriptor != _CLOSED:
            os.close(self.descriptor)
            self.descriptor = _CLOSED

    def is_at(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self.status)
        except OSError:
            return False


class Walk:
    """One walk. ``_trail`` holds the directories from the unit down to where the walk is.

    What an entry that is no directory adds is up to ``_count_batch`` and ``_count_file``.
    """

    def __init__(self, unit: Unit, fence: Fence, report: Report) -> None:
        self._unit = unit
        self._meter = Meter(report, self._current)
        self._growing = GrowingTree(unit.path)
        self._trail: list[Open] = []
        self._points = fence.below(unit.path)
        self._subvolumes = fence.has_subvolumes(unit.path)
        self._most_open = _may_hold()
        self._newest = 0.0  # see UnitResult

    def result(self) -> UnitResult:
        """Walk, and give what was found."""
        try:
            descriptor, status = _examined(open_path(self._unit.path))
        except OSError:
            self._measure_alone()
        else:
            self._enter(descriptor, status, b"", self._points)
            while self._trail and self._meter.goes_on():
                self._step()
            self._wind_up()
        return self._growing.result(self._meter.entries, int(self._newest))

    def _step(self) -> None:
        here = self._trail[-1]
        if here.pending and here.descriptor != _CLOSED:
            self._go_down(here, here.pending.pop())
        else:
            self._go_up()

    def _go_down(self, here: Open, name: bytes) -> None:
        try:
            descriptor, status = _examined(open_directory(name, here.descriptor))
        except OSError:
            self._count_unopened(here, name)
            return
        if is_foreign(status, here.status.st_dev, self._subvolumes):
            os.close(descriptor)
        else:
            self._enter(descriptor, status, name, here.points and here.points.get(name))

    def _enter(
        self, descriptor: int, status: os.stat_result, name: bytes, points: Points | None
    ) -> None:
        """List a directory; keep it on the trail while there are directories in it to walk."""
        node = self._count_directory(name, status)
        here = Open(descriptor, node, name, status, points)
        self._trail.append(here)
        directories = self._list(here)
        if not self._unit.shallow:
            here.pending = sorted(map(os.fsencode, directories), reverse=True)
        if len(self._trail) > self._most_open:
            self._trail[-1 - self._most_open].close()

    def _go_up(self) -> None:
        for name in self._trail[-1].pending:
            # The way back to this directory was lost: it was moved elsewhere meanwhile.
            self._mark_unreadable(self._trail[-1].node, name)
        done = self._trail.pop()
        self._growing.leave(done.node)
        if self._trail and self._trail[-1].descriptor == _CLOSED:
            self._reopen(self._trail[-1], done)
        done.close()

    def _reopen(self, above: Open, below: Open) -> None:
        """Open the last directory on the trail again, if it is still where it was."""
        for way in (self._up, self._down_again):
            try:
                descriptor = way(below)
            except OSError:
                continue
            if above.is_at(descriptor):
                above.descriptor = descriptor
                return
            os.close(descriptor)

    def _up(self, below: Open) -> int:
        if below.descriptor == _CLOSED:
            raise FileNotFoundError
        return open_directory(b"..", below.descriptor)

    def _down_again(self, _below: Open) -> int:
        descriptor = open_path(self._unit.path)
        for step in self._trail[1:]:
            above = descriptor
            try:
                descriptor = open_directory(step.name, above)
            finally:
                os.close(above)
        return descriptor

    def _wind_up(self) -> None:
        """End the walk: one that was stopped left directories open."""
        if self._trail:
            self._growing.mark_cut(self._trail[-1].node)
        for here in reversed(self._trail):
            self._growing.leave(here.node)
            here.close()
        self._meter.end()

    def _list(self, here: Open) -> list[str]:
        """Count the entries that are no directories; the names of those that are."""
        directories: list[str] = []
        try:
            with os.scandir(here.descriptor) as entries:
                while batch := list(islice(entries, _BATCH)):
                    if here.points:
                        batch = [it for it in batch if not _is_mount(it, here.points)]
                    self._count_batch(batch, here, directories)
                    if not self._meter.goes_on():
                        break
        except OSError:
            self._mark_unreadable(here.node)
        return directories

    def _count_batch(
        self, batch: list[os.DirEntry[str]], here: Open, directories: list[str]
    ) -> None:
        node = here.node
        blocks = apparent = others = 0
        newest = 0.0
        for entry in batch:
            try:
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.name)
                    others += 1
                    continue
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                others += 1
                continue
            except OSError:
                others += 1
                self._mark_unreadable(node, os.fsencode(entry.name))
                continue
            if status[stat.ST_CTIME] > newest:  # noqa: PLR1730 - max() would be a call
                newest = status[stat.ST_CTIME]
            if status.st_nlink > 1:
                others += 1
                self._count_linked(node, status)
                continue
            blocks += status.st_blocks
            # As apparent_size(), without the call: this is the line that a million files run.
            if status.st_mode & 0o150000 == 0o100000:
                apparent += status.st_size
        if node:
            self._newest = max(self._newest, newest)
        inodes = len(batch) - others
        self._growing.add(node, blocks * _BLOCK, apparent, inodes)
        self._meter.count(inodes, blocks * _BLOCK, apparent, inodes)

    def _count_directory(self, name: bytes, status: os.stat_result) -> int:
        allocated = status.st_blocks * _BLOCK
        self._meter.count(1, allocated, 0, 1)
        if self._trail:
            self._newest = max(self._newest, status[stat.ST_CTIME])
        return self._growing.enter(self._trail[-1].node if self._trail else 0, name, allocated)

    def _count_linked(self, node: int, status: os.stat_result) -> None:
        allocated, apparent = status.st_blocks * _BLOCK, apparent_size(status)
        if self._growing.log.see(status, node, allocated, apparent):
            self._meter.count_linked(allocated, apparent)
        self._meter.entries += 1

    def _count_file(self, node: int, status: os.stat_result) -> None:
        if node:
            self._newest = max(self._newest, status[stat.ST_CTIME])
        if status.st_nlink > 1:
            self._count_linked(node, status)
            return
        allocated, apparent = status.st_blocks * _BLOCK, apparent_size(status)
        self._growing.add(node, allocated, apparent, 1)
        self._meter.count(1, allocated, apparent, 1)

    def _count_unopened(self, here: Open, name: bytes) -> None:
        """Something that was listed as a directory and cannot be opened or examined (any more)."""
        try:
            status = os.stat(name, dir_fd=here.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return
        except OSError:
            self._mark_unreadable(here.node, name)
            return
        if not stat.S_ISDIR(status.st_mode):
            self._count_file(here.node, status)
        elif not is_foreign(status, here.status.st_dev, self._subvolumes):
            node = self._count_directory(name, status)
            self._mark_unreadable(node, name)
            self._growing.leave(node)

    def _measure_alone(self) -> None:
        """The unit cannot be opened as a directory: something else, unreadable, or not there."""
        try:
            status = os.lstat(self._unit.path)
        except (FileNotFoundError, NotADirectoryError):
            self._enter_nothing()
        except OSError:
            self._mark_unreadable(self._enter_nothing())
        else:
            if stat.S_ISDIR(status.st_mode):
                self._mark_unreadable(self._count_directory(b"", status))
            else:
                self._count_file(self._enter_nothing(), status)

    def _enter_nothing(self) -> int:
        node = self._growing.enter(0, b"", 0)
        self._growing.add(node, 0, 0, -1)
        return node

    def _mark_unreadable(self, node: int, name: bytes = b"") -> None:
        self._growing.mark_unreadable(node, os.path.join(self._current(), name).rstrip(b"/"))
        self._meter.count_unreadable()

    def _current(self) -> bytes:
        """The directory that the walk is in, as long as one can show it."""
        return os.path.join(self._unit.path, *(it.name for it in self._trail[1:_SHOWN]))


def _may_hold() -> int:
    """How many directories may be held open, as in the native core (reasonably_held in calls.c)."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _OPEN if limit == resource.RLIM_INFINITY else min(_OPEN, max(4, limit // 8))


def _examined(descriptor: int) -> tuple[int, os.stat_result]:
    """An open directory and what fstat(2) says of it; closed where that raises OSError."""
    try:
        return descriptor, os.fstat(descriptor)
    except OSError:  # ESTALE, EIO
        os.close(descriptor)
        raise


def _is_mount(entry: os.DirEntry[str], points: Points) -> bool:
    below = points.get(os.fsencode(entry.name))
    return below is not None and not below
