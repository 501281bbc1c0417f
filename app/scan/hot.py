"""The directories that hold the most by themselves, wherever they are: no drilling needed."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.model import Usage
from app.scan.tree import DirTree, UnitResult


@dataclass(frozen=True, slots=True)
class HotSpot:
    """A directory and what lies directly in it: itself and its entries, not its subdirectories.

    ``unit`` is the path of the scan unit it lies in, ``path`` its own.
    """

    unit: bytes
    path: bytes
    own: Usage


def hot_spots(results: Iterable[UnitResult], column: str, most: int) -> list[HotSpot]:
    """The ``most`` directories with the largest own figure, largest first.

    ``column`` is ``"bytes"``, ``"apparent"`` or ``"inodes"``. An inode with several links counts in
    each directory that links it, less what met in it from below: a hint, not a sum.
    """
    # Between equals the path decides, so that every core and every run gives the same list.
    found = heapq.nsmallest(
        most, _candidates(results, column), key=lambda it: (-it[0], it[1].root, it[2])
    )
    return [HotSpot(tree.root, tree.path(node), own_usage(tree, node)) for _, tree, node in found]


def _candidates(results: Iterable[UnitResult], column: str) -> Iterator[tuple[int, DirTree, int]]:
    for result in results:
        tree = result.tree
        for node, figure in enumerate(_own(tree, column)):
            if figure > 0:
                yield figure, tree, node


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
    )
