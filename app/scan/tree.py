"""What a scan found: the directories of one unit as arrays, and the figures of units together."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from app.model import Usage
from app.scan.links import LinkSums, OutsideLink, OutsideLinks, indexes, longs


@dataclass(slots=True, repr=False)
class DirTree:
    """The directories of one unit, numbered depth first, siblings in the order of their names.

    Number 0 is the unit itself. The directories in directory ``i``, at any depth, are exactly
    those from ``i + 1`` up to, not including, ``ends[i]``; so the arrays need no list of children,
    and what is rare (hard links, unreadable entries) is kept aside and summed over that range.

    ``bytes``, ``apparent`` and ``inodes`` are totals of everything in the directory, itself
    included, without inodes that have several links: ``links`` adds these. ``unreadable`` has the
    directory's number once per unreadable entry, ``cut`` the numbers of the directories in which
    the walk was stopped, both ascending.
    """

    root: bytes
    parents: array[int] = field(default_factory=indexes)
    ends: array[int] = field(default_factory=indexes)
    names: bytes = b""
    name_ends: array[int] = field(default_factory=longs)
    bytes: array[int] = field(default_factory=longs)
    apparent: array[int] = field(default_factory=longs)
    inodes: array[int] = field(default_factory=longs)
    links: LinkSums = field(default_factory=LinkSums)
    unreadable: array[int] = field(default_factory=indexes)
    cut: array[int] = field(default_factory=indexes)

    def __len__(self) -> int:
        return len(self.parents)

    def name(self, node: int) -> _Name:
        """The name of a directory, without its path; of the unit, the last part of its path."""
        if node == 0:
            return os.path.basename(self.root.rstrip(b"/"))
        return self.names[self.name_ends[node - 1] : self.name_ends[node]]

    def path(self, node: int) -> _Name:
        """The path of a directory, beginning with the unit's as the scan was given it."""
        names: list[_Name] = []
        while node:
            names.append(self.name(node))
            node = self.parents[node]
        return os.path.join(self.root, *reversed(names))

    def children(self, node: int) -> list[int]:
        """The directories directly in directory ``node``, by name."""
        return list(self._children(node))

    def _children(self, node: int) -> Iterator[int]:
        child, end = node + 1, self.ends[node]
        while child < end:
            yield child
            child = self.ends[child]

    def find(self, relative: _Name) -> int | None:
        """The directory at this path below the unit (``b""`` is the unit), or None."""
        node: int | None = 0 if len(self) else None
        for name in relative.split(b"/"):
            if node is not None and name not in (b"", b"."):
                node = next((at for at in self._children(node) if self.name(at) == name), None)
        return node

    def usage(self, node: int) -> Usage:
        """What directory ``node`` takes, as ``du`` asked about it alone would say."""
        end = self.ends[node]
        linked = self.links.within(node, end)
        total = self.bytes[node] + linked.bytes
        inodes = self.inodes[node] + linked.inodes
        return Usage(
            bytes=total,
            apparent=self.apparent[node] + linked.apparent,
            inodes=inodes,
            exclusive_bytes=total - linked.shared_bytes,
            exclusive_inodes=inodes - linked.shared_inodes,
            unreadable=_within(self.unreadable, node, end),
            partial=_within(self.cut, node, end) > 0,
        )


#: ``DirTree.bytes`` is an array; inside the class the type needs another name.
_Name = bytes


@dataclass(slots=True)
class UnitResult:
    """One measured unit. ``key`` is its path.

    A unit that was not there any more has an empty usage and a tree of one directory. ``entries``
    counts directory entries, each hard link for itself. ``unreadable`` are the paths of unreadable
    entries, the first 200 in the order of names; ``usage.unreadable`` counts all of them.
    ``newest`` is the latest change (st_ctime, in whole seconds since 1970) of a directory in the
    unit, or of anything in such a directory; 0 without any. What else lies directly in the unit
    does not count: see :mod:`app.scan.fingerprint`.
    """

    key: bytes
    tree: DirTree
    usage: Usage
    entries: int = 0
    outside_links: OutsideLinks = field(default_factory=OutsideLinks)
    unreadable: tuple[bytes, ...] = ()
    newest: int = 0


def combined(results: Iterable[UnitResult]) -> Usage:
    """A set of units together: each inode once, exclusive where all its links are in the set."""
    units = list({result.key: result for result in results}.values())
    if len(units) == 1:
        return units[0].usage
    total = _added(result.usage for result in units)
    seen: dict[tuple[int, int], list[OutsideLink]] = {}
    for result in units:
        for link in result.outside_links:
            seen.setdefault((link.device, link.inode), []).append(link)
    for links in seen.values():
        if len(links) > 1:
            total = _met(total, links)
    return total


def _added(usages: Iterable[Usage]) -> Usage:
    every = tuple(usages)
    return Usage(
        bytes=sum(it.bytes for it in every),
        apparent=sum(it.apparent for it in every),
        inodes=sum(it.inodes for it in every),
        exclusive_bytes=sum(it.exclusive_bytes for it in every),
        exclusive_inodes=sum(it.exclusive_inodes for it in every),
        unreadable=sum(it.unreadable for it in every),
        partial=any(it.partial for it in every),
    )


def _met(total: Usage, links: list[OutsideLink]) -> Usage:
    """``total`` with an inode that several of the units hold counted once, as the first has it."""
    again = links[1:]
    first = links[0]
    complete = sum(link.seen for link in links) >= max(link.nlink for link in links)
    return replace(
        total,
        bytes=total.bytes - sum(link.bytes for link in again),
        apparent=total.apparent - sum(link.apparent for link in again),
        inodes=total.inodes - len(again),
        exclusive_bytes=total.exclusive_bytes + (first.bytes if complete else 0),
        exclusive_inodes=total.exclusive_inodes + complete,
    )


def _within(numbers: array[int], first: int, end: int) -> int:
    return bisect_left(numbers, end) - bisect_left(numbers, first)
