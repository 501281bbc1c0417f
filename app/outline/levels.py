"""One opened directory: its entries with their figures, as arrays, whatever their number.

A level is made off the screen's thread: listing 100,000 entries takes a while. Directories get
their totals from the scan's tree, files from the listing itself. A directory that holds nothing
but one other directory is joined with it (``tmp/arroyo/checkpoints``), and the entries of an
``inline`` directory stand beside those of its parent: three steps lead to the flood, not seven.
"""

from __future__ import annotations

import contextlib
import os
from array import array
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from app.host import looks
from app.host.identity import Identity, identity_of
from app.model import Usage
from app.outline.visible import Ordering
from app.scan.descent import open_path
from app.scan.listing import Listing, list_directory
from app.scan.tree import UnitResult
from app.scan.walk import Fence
from app.text import safe
from app.usage.order import Column, Order

_UNKNOWN = -1
_LONGEST_JOIN = 64


@dataclass(slots=True)
class Level:
    """The entries of one directory.

    ``names`` are relative to ``path``; a figure is -1 while it is not known, and a lower bound
    where ``bounds`` is 1. ``identities`` (packed) tell whether a name still leads to what was
    listed; empty where that could not be read. ``trouble`` says why there are less entries than the
    directory has; ``so_far`` that it is still being listed.
    """

    path: bytes
    names: list[bytes] = field(default_factory=list)
    bytes: array[int] = field(default_factory=lambda: array("q"))
    apparent: array[int] = field(default_factory=lambda: array("q"))
    inodes: array[int] = field(default_factory=lambda: array("q"))
    bounds: bytearray = field(default_factory=bytearray)
    kinds: list[str] = field(default_factory=list)
    mtimes: array[int] = field(default_factory=lambda: array("q"))
    identities: list[_Name] = field(default_factory=list)
    trouble: str = ""
    so_far: bool = False
    _by_name: list[int] = field(default_factory=list)
    _orderings: dict[Order, Ordering] = field(default_factory=dict)
    _search: list[str] = field(default_factory=list)
    _matched: tuple[tuple[Order, str, frozenset[int]], Ordering] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def is_directory(self, index: int) -> bool:
        """Whether the entry can be opened."""
        return self.kinds[index] == "directory"

    def usage(self, index: int) -> Usage | None:
        """The entry's figures, None while its directory is not measured."""
        if self.inodes[index] == _UNKNOWN:
            return None
        partial = bool(self.bounds[index])
        return Usage(self.bytes[index], self.apparent[index], self.inodes[index], partial=partial)

    def identity(self, index: int) -> Identity | None:
        """What the entry was when it was listed; None where that could not be read."""
        packed = self.identities[index]
        return Identity.unpacked(packed) if packed else None

    def index_of(self, name: _Name) -> int | None:
        """The index of the entry with this name."""
        try:
            return self.names.index(name)
        except ValueError:
            return None

    def towards(self, relative: _Name) -> int | None:
        """The directory among the entries that is ``relative``, holds it, or was joined into it."""
        steps = relative.split(b"/")
        for length in range(len(steps), 0, -1):
            index = self.index_of(b"/".join(steps[:length]))
            if index is not None:
                return index if self.is_directory(index) else None
        joined = relative + b"/"
        return next((at for at, name in enumerate(self.names) if name.startswith(joined)), None)

    def ordering(self, order: Order) -> Ordering:
        """All entries in this order; kept, so that asking again costs nothing."""
        if order not in self._orderings:
            self._orderings[order] = Ordering(self._sorted(order), len(self))
        return self._orderings[order]

    def _sorted(self, order: Order) -> list[int]:
        if len(self._by_name) != len(self):
            self._by_name = sorted(range(len(self)), key=self.names.__getitem__)
        if order.column is Column.NAME:
            return self._by_name[::-1] if order.descending else self._by_name
        figures = {Column.INODES: self.inodes}.get(
            order.column, self.apparent if order.apparent else self.bytes
        )
        return sorted(self._by_name, key=figures.__getitem__, reverse=order.descending)

    def matching(self, order: Order, words: str, also: Collection[int]) -> Ordering:
        """The entries whose names hold ``words`` (case-folded), and ``also``, in this order."""
        question = (order, words, frozenset(also))
        if self._matched is None or self._matched[0] != question:
            self._matched = question, Ordering(self._found(*question), len(self))
        return self._matched[1]

    def _found(self, order: Order, words: str, also: frozenset[int]) -> list[int]:
        if len(self._search) != len(self):
            self._search = _searchable(self.names)
        search, indexes = self._search, self.ordering(order).indexes
        if also:
            return [at for at in indexes if words in search[at] or at in also]
        return [at for at in indexes if words in search[at]]

    def add(
        self,
        name: _Name,
        kind: str,
        usage: Usage | None,
        mtime: int,
        identity: _Name = b"",
    ) -> None:
        """Append one entry; ``identity`` is packed."""
        self.names.append(name)
        self.kinds.append(kind)
        self.bytes.append(usage.bytes if usage else _UNKNOWN)
        self.apparent.append(usage.apparent if usage else _UNKNOWN)
        self.inodes.append(usage.inodes if usage else _UNKNOWN)
        self.bounds.append(usage is not None and (usage.partial or usage.unreadable > 0))
        self.mtimes.append(mtime)
        self.identities.append(identity)


def _searchable(names: list[bytes]) -> list[str]:
    """The names as they are drawn, case-folded; all at once where all of them are plain."""
    try:
        joined = b"\n".join(names).decode("ascii")
    except UnicodeDecodeError:
        joined = "\\"
    lines = joined.casefold().split("\n")
    if len(lines) == len(names) and "\\" not in joined and "".join(lines).isprintable():
        return lines
    return [safe(name).casefold() for name in names]


#: ``Level.bytes`` is an array; inside the class the type needs another name.
_Name = bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a level is: its directory, what stands inline, and the scan unit it lies in."""

    path: bytes
    unit: bytes
    inline: tuple[bytes, ...] = ()
    files_only: bool = False


def read_level(
    place: Place,
    result: UnitResult | None,
    fence: Fence,
    order: Order,
    show: Callable[[Level], object] | None = None,
) -> Level:
    """List ``place`` now, with the figures of the scan as far as there are any, sorted.

    ``show`` gets what there is of a large directory so far, now and then. A directory that cannot
    be listed gives a level whose ``trouble`` says why.
    """

    def look(listings: Mapping[bytes, Listing]) -> None:
        if show:
            show(_level(place, listings, result, order, so_far=True))

    try:
        listings = _listings(place, fence, look)
    except OSError as error:
        return Level(place.path, trouble=_trouble(error))
    return _level(place, listings, result, order)


def _level(
    place: Place,
    listings: Mapping[bytes, Listing],
    result: UnitResult | None,
    order: Order,
    *,
    so_far: bool = False,
) -> Level:
    level = Level(place.path, so_far=so_far)
    base = os.path.relpath(place.path, place.unit) if place.path != place.unit else b""
    if not so_far:
        place = replace(place, inline=tuple(listings)[1:])
    for prefix, listing in listings.items():
        _take(level, prefix, listing, _Finder(result, os.path.join(base, prefix)), place)
    lost = sum(listing.unreadable for listing in listings.values())
    if lost:
        level.trouble = f"{lost} of its entries could not be read"
    if len(level):
        # Both ways of the ordering are made here, off the screen's thread.
        level.ordering(order).position(0)
    return level


def _trouble(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "may not be listed by this user: run whodiff as root"
    if isinstance(error, FileNotFoundError):
        return "is gone: press R to read everything again"
    return f"cannot be listed: {error.strerror}"


def _listings(
    place: Place, fence: Fence, look: Callable[[Mapping[bytes, Listing]], None]
) -> dict[bytes, Listing]:
    """The directory's listing under the empty name, those that stand inline under theirs."""
    listings: dict[bytes, Listing] = {}

    def listed(name: bytes) -> Listing:
        path = os.path.join(place.path, name) if name else place.path
        return list_directory(path, fence, lambda so_far: look({**listings, name: so_far}))

    listings[b""] = listed(b"")
    for name in place.inline:
        # One that cannot be listed stays an entry of its own, which says so when it is opened.
        with contextlib.suppress(OSError):
            listings[name] = listed(name)
    return listings


class _Finder:
    """Finds the scan's figures for the subdirectories of one directory."""

    def __init__(self, result: UnitResult | None, base: bytes) -> None:
        tree = result.tree if result else None
        node = tree.find(base) if tree else None
        self._tree = tree
        self._partial = result is not None and result.usage.partial
        self._nodes: dict[bytes, int] = {}
        if tree is not None and node is not None:
            self._nodes = {tree.name(child): child for child in tree.children(node)}

    def usage(self, name: bytes) -> Usage | None:
        if self._tree is None or name not in self._nodes:
            return None
        usage = self._tree.usage(self._nodes[name])
        return replace(usage, partial=True) if self._partial else usage

    def joined(self, name: bytes) -> bytes:
        """``name`` with the only directory in it, and the only one in that, and so on."""
        tree, node = self._tree, self._nodes.get(name)
        if tree is None or node is None:
            return name
        for _ in range(_LONGEST_JOIN):
            children = tree.children(node)
            if len(children) != 1 or tree.usage(node).inodes != tree.usage(children[0]).inodes + 1:
                break
            node = children[0]
            name = os.path.join(name, tree.name(node))
        return name


def _take(level: Level, prefix: bytes, listing: Listing, finder: _Finder, place: Place) -> None:
    for index, name in enumerate(listing.names):
        kind = listing.kind(index)
        identity = listing.identities[index]
        path, mtime = os.path.join(prefix, name), listing.mtimes[index]
        if kind != "directory":
            usage = Usage(listing.bytes[index], listing.apparent[index], 1)
            level.add(path, kind, usage, mtime, identity)
        elif not place.files_only and (prefix or name not in place.inline):
            joined = os.path.join(prefix, finder.joined(name))
            if joined != path:
                identity = _identity(os.path.join(place.path, joined))
            level.add(joined, kind, finder.usage(name), mtime, identity)


def _identity(path: bytes) -> bytes:
    """What a directory is now, packed; empty where it cannot be opened."""
    try:
        looks.require(path, follow=False)
        descriptor = open_path(path)
    except OSError:
        return b""
    try:
        return identity_of(descriptor).packed()
    finally:
        os.close(descriptor)
