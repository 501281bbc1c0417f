"""Counting a unit's inodes without a stat per file: what a directory lists is enough.

The same walk as :mod:`app.scan.walk`, and the same number in the end.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import replace

from app.scan.counters import Progress, Report
from app.scan.fence import Fence
from app.scan.walk import Open, Unit, Walk

_BLOCK = 9  # inode numbers are kept in blocks of 512 bits: neighbours, as they tend to be


class InodeSet:
    """Inodes by device and number, each once; ``len`` of them."""

    def __init__(self) -> None:
        self._blocks: defaultdict[int, defaultdict[int, int]] = defaultdict(
            lambda: defaultdict(int)
        )
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, device: int, numbers: list[int]) -> None:
        """Take these inodes of one device."""
        blocks = self._blocks[device]
        for number in numbers:
            bit = 1 << (number & 511)
            block = blocks[number >> _BLOCK]
            if not block & bit:
                blocks[number >> _BLOCK] = block | bit
                self._count += 1


def count_unit(unit: Unit, fence: Fence, report: Report) -> int | None:
    """The number of inodes in a unit, hard links once; None when ``report`` stopped the walk.

    Exactly what measuring the unit would find, for less than half of the time on file systems with
    :meth:`~app.scan.fence.Fence.has_numbers`; elsewhere every file is looked at.
    """
    return _Count(unit, fence, report).inodes()


class _Count(Walk):
    """A walk that puts every file into one set. Its tree has the directories alone."""

    def __init__(self, unit: Unit, fence: Fence, report: Report) -> None:
        super().__init__(unit, fence, lambda progress: report(self._with_files(progress)))
        self._files = InodeSet()
        self._numbered = fence.has_numbers(unit.path)

    def inodes(self) -> int | None:
        result = self.result()
        return None if result.usage.partial else result.usage.inodes + len(self._files)

    def _with_files(self, progress: Progress) -> Progress:
        usage = replace(progress.usage, inodes=progress.usage.inodes + len(self._files))
        return replace(progress, usage=usage)

    def _count_batch(
        self, batch: list[os.DirEntry[str]], here: Open, directories: list[str]
    ) -> None:
        if not (self._numbered and _may_be_examined(here)):
            self._examine_batch(batch, here, directories)
            return
        numbers = []
        for entry in batch:
            try:
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.name)
                else:
                    numbers.append(entry.inode())
            except OSError:
                self._mark_unreadable(here.node, os.fsencode(entry.name))
        self._files.add(here.status.st_dev, numbers)
        self._meter.count(len(numbers), 0, 0, 0)

    def _examine_batch(
        self, batch: list[os.DirEntry[str]], here: Open, directories: list[str]
    ) -> None:
        for entry in batch:
            try:
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.name)
                else:
                    self._count_file(here.node, entry.stat(follow_symlinks=False))
            except FileNotFoundError:
                continue
            except OSError:
                self._mark_unreadable(here.node, os.fsencode(entry.name))

    def _count_file(self, node: int, status: os.stat_result) -> None:  # noqa: ARG002 - as Walk's
        self._files.add(status.st_dev, [status.st_ino])
        self._meter.count(1, 0, 0, 0)


def _may_be_examined(here: Open) -> bool:
    """Whether a stat of the entries would be allowed; those of which it is not do not count."""
    if here.status.st_mode & 0o111 == 0o111:
        return True
    try:
        os.stat(".", dir_fd=here.descriptor)
    except OSError:
        return False
    return True
