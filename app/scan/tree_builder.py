"""A DirTree while it grows under a depth-first walk."""

from __future__ import annotations

from array import array
from bisect import insort
from dataclasses import replace

from app.model import Usage
from app.scan.links import LinkLog
from app.scan.tree import DirTree, UnitResult

_NAMED = 200  # paths of unreadable entries that are kept
_LONGEST_NAMED = 4096


class GrowingTree:
    """Takes directories as a walk enters, measures and leaves them, and makes the result."""

    def __init__(self, root: bytes) -> None:
        self.tree = DirTree(root)
        self.log = LinkLog()
        self._names = bytearray()
        self._unreadable: list[bytes] = []

    def enter(self, parent: int, name: bytes, allocated: int) -> int:
        """A new directory, its own bytes and inode counted; siblings come in the order of names."""
        tree = self.tree
        node = len(tree.parents)
        self._names += name
        tree.parents.append(parent)
        tree.ends.append(node + 1)
        tree.name_ends.append(len(self._names))
        tree.bytes.append(allocated)
        tree.apparent.append(0)
        tree.inodes.append(1)
        return node

    def add(self, node: int, allocated: int, apparent: int, inodes: int) -> None:
        """Count entries of directory ``node`` that have no other link."""
        self.tree.bytes[node] += allocated
        self.tree.apparent[node] += apparent
        self.tree.inodes[node] += inodes

    def leave(self, node: int) -> None:
        """Close a directory whose own directories are all closed, and add it to its parent."""
        tree = self.tree
        tree.ends[node] = len(tree.parents)
        if node:
            self.add(tree.parents[node], tree.bytes[node], tree.apparent[node], tree.inodes[node])

    def mark_unreadable(self, node: int, path: bytes) -> None:
        """Count an entry in directory ``node``, or the directory itself, as unreadable."""
        self.tree.unreadable.append(node)
        # In the order of names, so that the same ones are kept whatever the order of the walk.
        insort(self._unreadable, path[:_LONGEST_NAMED])
        del self._unreadable[_NAMED:]

    def mark_cut(self, node: int) -> None:
        """The walk was stopped in directory ``node``."""
        self.tree.cut.append(node)

    def result(self, entries: int, newest: int = 0) -> UnitResult:
        """The unit's result, when every directory has been left; see UnitResult for ``newest``."""
        tree = self.tree
        tree.names = bytes(self._names)
        tree.unreadable = array("i", sorted(tree.unreadable))
        tree.links = self.log.spread(tree.parents)
        return UnitResult(
            key=tree.root,
            tree=tree,
            usage=tree.usage(0),
            entries=entries,
            outside_links=self.log.outside(),
            unreadable=tuple(self._unreadable),
            newest=newest,
        )


def result_cut_short(root: bytes, so_far: Usage, entries: int) -> UnitResult:
    """The result of a unit of which only figures are known, not its directories."""
    growing = GrowingTree(root)
    growing.enter(0, b"", so_far.bytes)
    growing.add(0, 0, so_far.apparent, so_far.inodes - 1)
    growing.tree.unreadable.extend([0] * so_far.unreadable)
    growing.mark_cut(0)
    return replace(growing.result(entries), usage=replace(so_far, partial=True))
