"""The directories that hold the most by themselves, wherever they are: no drilling needed."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

from app.model import Usage
from app.scan.tree import DirTree, UnitResult

#: A directory's own figure, the tree that it is in and its number there.
_Candidate = tuple[int, DirTree, int]


@dataclass(frozen=True, slots=True)
class HotSpot:
    """A directory and what lies directly in it: itself and its entries, not its subdirectories.

    ``unit`` is the path of the scan unit it lies in, ``path`` its own.
    """

    unit: bytes
    path: bytes
    own: Usage


class HotSpots:
    """The fullest directories of results that come in one after the other.

    Each result is looked through once per column and what it has to offer is kept, so that asking
    again while a scan goes on costs next to nothing. Not for several threads at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: dict[tuple[str, bytes], tuple[UnitResult, list[_Candidate]]] = {}

    def of(self, results: Iterable[UnitResult], column: str) -> list[HotSpot]:
        """The ``most`` directories with the largest own figure, largest first.

        ``column`` is ``"bytes"``, ``"apparent"`` or ``"inodes"``. An inode with several links
        counts in each directory that links it, less what met in it from below: a hint, not a sum.
        """
        offered = [it for result in results for it in self._offer(result, column)]
        # Between equals the path decides, so that every core and every run gives the same list.
        best = heapq.nsmallest(self._most, offered, key=lambda it: (-it[0], it[1].root, it[2]))
        return [
            HotSpot(tree.root, tree.path(node), own_usage(tree, node)) for _, tree, node in best
        ]

    def _offer(self, result: UnitResult, column: str) -> list[_Candidate]:
        seen = self._seen.get((column, result.key))
        if seen is None or seen[0] is not result:
            own = _own(result.tree, column)
            # Between equals the first stays, in the order of numbers.
            nodes = heapq.nlargest(self._most, range(len(own)), key=own.__getitem__)
            seen = result, [(own[node], result.tree, node) for node in nodes if own[node] > 0]
            self._seen[column, result.key] = seen
        return seen[1]


def hot_spots(results: Iterable[UnitResult], column: str, most: int) -> list[HotSpot]:
    """As :meth:`HotSpots.of`, once."""
    return HotSpots(most).of(results, column)


def _own(tree: DirTree, column: str) -> array[int]:
    """Each directory's total without the totals of the directories in it."""
    totals: array[int] = getattr(tree, column)
    own = totals[:]
    for node in range(1, len(totals)):
        own[tree.parents[node]] -= totals[node]
    at = {"bytes": 0, "apparent": 1, "inodes": 2}[column]
    for node in tree.links.nodes:
        own[node] += max(0, tree.links.within(node, node + 1)[at])
    return own


def own_usage(tree: DirTree, node: int) -> Usage:
    """What lies directly in one directory, the directory itself included."""
    children = tree.children(node)
    linked = tree.links.within(node, node + 1)
    return Usage(
        bytes=tree.bytes[node] - sum(tree.bytes[it] for it in children) + max(0, linked.bytes),
        apparent=tree.apparent[node]
        - sum(tree.apparent[it] for it in children)
        + max(0, linked.apparent),
        inodes=tree.inodes[node] - sum(tree.inodes[it] for it in children) + max(0, linked.inodes),
        unreadable=tree.unreadable.count(node),
        partial=node in tree.cut,
    )
