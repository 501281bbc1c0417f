"""Hard links: each inode once in every directory's figure, and who has all the links.

While a directory is walked its linked inodes are only logged. At the end each inode is spread over
the tree as signed amounts at single directories, such that the sum over any subtree is exactly one
copy where the subtree holds a link, and nothing where it holds none.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace
from itertools import accumulate
from typing import NamedTuple

_NONE = -1


def longs() -> array[int]:
    """An empty array of signed 64-bit numbers."""
    return array("q")


def indexes() -> array[int]:
    """An empty array of directory or row numbers."""
    return array("i")


class OutsideLink(NamedTuple):
    """An inode that also has links outside the unit: ``seen`` of its ``nlink`` are in it."""

    device: int
    inode: int
    bytes: int
    apparent: int
    seen: int
    nlink: int


@dataclass(slots=True)
class OutsideLinks:
    """The inodes of one unit that also have links elsewhere, six numbers each."""

    numbers: array[int] = field(default_factory=lambda: array("Q"))

    def __len__(self) -> int:
        return len(self.numbers) // 6

    def __iter__(self) -> Iterator[OutsideLink]:
        for start in range(0, len(self.numbers), 6):
            yield OutsideLink(*self.numbers[start : start + 6])

    def add(self, link: OutsideLink) -> None:
        """Append one inode."""
        self.numbers.extend(link)


class Amounts(NamedTuple):
    """What linked inodes add to a subtree; ``shared`` are those with a link outside of it."""

    bytes: int = 0
    apparent: int = 0
    inodes: int = 0
    shared_bytes: int = 0
    shared_inodes: int = 0


@dataclass(slots=True)
class LinkSums:
    """Signed amounts at single directories, summed over a range of directory numbers on demand."""

    nodes: array[int] = field(default_factory=indexes)
    sums: tuple[array[int], ...] = ()

    def within(self, first: int, end: int) -> Amounts:
        """The amounts of all directories from ``first`` up to, not including, ``end``."""
        if not self.nodes:
            return Amounts()
        low, high = bisect_left(self.nodes, first), bisect_left(self.nodes, end)
        return Amounts(*(column[high] - column[low] for column in self.sums))


class LinkLog:
    """The inodes with several links that a walk has seen, and the directories it saw them in.

    A directory is logged once per inode, however many of the links it holds: the log of a layer
    with 60,000 whiteouts that are all one inode stays small.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[int, int], int] = {}
        self._bytes, self._apparent, self._nlink, self._seen = longs(), longs(), longs(), longs()
        # Each row's directories are a chain through _before, from _latest backwards.
        self._latest, self._node, self._before = indexes(), indexes(), indexes()

    def see(self, status: os.stat_result, node: int, allocated: int, apparent: int) -> bool:
        """Log one link found in directory ``node``; true when its inode is new to the log."""
        row = self._rows.setdefault((status.st_dev, status.st_ino), len(self._rows))
        new = row == len(self._seen)
        if new:
            self._bytes.append(allocated)
            self._apparent.append(apparent)
            self._nlink.append(status.st_nlink)
            self._seen.append(1)
            self._latest.append(_NONE)
        else:
            self._seen[row] += 1
            self._nlink[row] = status.st_nlink
        if new or self._node[self._latest[row]] != node:
            self._before.append(self._latest[row])
            self._latest[row] = len(self._node)
            self._node.append(node)
        return new

    def outside(self) -> OutsideLinks:
        """The inodes that have more links than were seen, by their numbers."""
        found = OutsideLinks()
        for (device, inode), row in sorted(self._rows.items()):
            seen, nlink = self._seen[row], self._nlink[row]
            if seen < nlink:
                found.add(
                    OutsideLink(device, inode, self._bytes[row], self._apparent[row], seen, nlink)
                )
        return found

    def spread(self, parents: Sequence[int]) -> LinkSums:
        """The amounts at each directory. ``parents[i] < i`` must hold for every directory but 0."""
        table: dict[int, list[int]] = {}
        for row in range(len(self._seen)):
            amount = (self._bytes[row], self._apparent[row], 1)
            nodes = list(self._nodes(row))
            merges, meeting = _merge(nodes, parents)
            for node in nodes:
                _add(table, node, amount, 1)
            for node in merges:
                _add(table, node, amount, -1)
            if self._seen[row] >= self._nlink[row]:
                # From where all links meet upwards nothing is shared with the outside.
                shared = table[meeting]
                shared[3] -= amount[0]
                shared[4] -= 1
        return _summed(table)

    def _nodes(self, row: int) -> Iterator[int]:
        entry = self._latest[row]
        while entry != _NONE:
            yield self._node[entry]
            entry = self._before[entry]


def _merge(nodes: Iterable[int], parents: Sequence[int]) -> tuple[list[int], int]:
    """The directories where the ways up from ``nodes`` meet, and the one where all have met.

    The largest number is always moved up first. As a parent's number is smaller than its
    children's, all ways through a directory have met there before one of them leaves it.
    """
    heap = [-node for node in nodes]
    heapify(heap)
    merges: list[int] = []
    while len(heap) > 1:
        highest = -heap[0]
        if -min(heap[1:3]) == highest:
            heappop(heap)
            merges.append(highest)
        else:
            heapreplace(heap, -parents[highest])
    return merges, -heap[0]


def _add(table: dict[int, list[int]], node: int, amount: tuple[int, int, int], sign: int) -> None:
    sums = table.setdefault(node, [0, 0, 0, 0, 0])
    sums[0] += sign * amount[0]
    sums[1] += sign * amount[1]
    sums[2] += sign
    sums[3] += sign * amount[0]
    sums[4] += sign


def _summed(table: dict[int, list[int]]) -> LinkSums:
    """The running sums over the directories at which there is something to add."""
    nodes = array("i", sorted(node for node, sums in table.items() if any(sums)))
    if not nodes:
        return LinkSums()
    columns = zip(*(table[node] for node in nodes), strict=True)
    return LinkSums(nodes, tuple(array("q", accumulate(column, initial=0)) for column in columns))
