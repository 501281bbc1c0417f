"""The directories that stand open, each with its listing once it is there."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from app.outline.levels import Level, Place
from app.outline.visible import entry_key, split_key


@dataclass(frozen=True, slots=True)
class Anchor:
    """A row in words that survive a new listing: the level and the entry's name, or the node."""

    key: int
    level: int = 0
    name: bytes = b""


@dataclass(slots=True)
class Opened:
    """An opened directory: where it is, below which node, how deep, and its listing.

    ``above`` is the key of the row that it hangs below, as of the last look at the rows.
    """

    place: Place
    node: int
    depth: int
    level: Level | None = None
    above: int = 0

    @property
    def is_listed(self) -> bool:
        """Whether all its entries are there."""
        return self.level is not None and not self.level.so_far


class OpenedLevels:
    """Opened directories by number. The number of a directory never changes, its entries may."""

    def __init__(self) -> None:
        self._by_number: dict[int, Opened] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._by_number

    def get(self, number: int) -> Opened | None:
        """The directory with this number, None when it is closed."""
        return self._by_number.get(number)

    def open(self, number: int, opened: Opened) -> Opened:
        """Open a directory; one that is open stays as it is."""
        return self._by_number.setdefault(number, opened)

    def close(self, number: int) -> None:
        """Close a directory and those that were opened in it."""
        outer = self._by_number.pop(number, None)
        if outer is None:
            return
        inside = outer.place.path.rstrip(b"/") + b"/"
        for key, opened in list(self._by_number.items()):
            if opened.node == outer.node and opened.place.path.startswith(inside):
                del self._by_number[key]

    def close_at(self, path: bytes) -> None:
        """Close the directory at ``path`` and all in it, below whatever node it stands open."""
        for number, opened in list(self._by_number.items()):
            if (opened.place.path + b"/").startswith(path.rstrip(b"/") + b"/"):
                del self._by_number[number]

    def attach(self, level: Level) -> None:
        """Take a listing, wherever its directory stands open; a whole one stays until the next is.

        What is listed so far is shown where there was nothing, or less of it.
        """
        for opened in self._by_number.values():
            if opened.place.path == level.path and not (level.so_far and opened.is_listed):
                opened.level = level

    def keep_only(self, units: Collection[bytes]) -> None:
        """Close what lies in units that are gone."""
        for number, opened in list(self._by_number.items()):
            if opened.place.unit not in units:
                del self._by_number[number]

    def places(self, units: Iterable[bytes]) -> tuple[Place, ...]:
        """The opened directories in ``units``, each once."""
        wanted = set(units)
        found = (it.place for it in self._by_number.values() if it.place.unit in wanted)
        return tuple(dict.fromkeys(found))

    def entry(self, key: int) -> tuple[Opened, Level, int] | None:
        """The opened directory of an entry's row, its listing and the index in it."""
        number, index = split_key(key)
        opened = self._by_number.get(number)
        if opened is None or opened.level is None or index >= len(opened.level):
            return None
        return opened, opened.level, index

    def inside(self, outer: Opened) -> list[tuple[int, int]]:
        """Directories that stand open in ``outer``: the entry's index and their number."""
        if outer.level is None:
            return []
        start = outer.place.path.rstrip(b"/") + b"/"
        found = []
        for number, opened in self._by_number.items():
            path = opened.place.path
            below = opened.node == outer.node and opened.depth == outer.depth + 1
            index = outer.level.index_of(path[len(start) :]) if below else None
            if index is not None and path.startswith(start):
                found.append((index, number))
        return found

    def anchor(self, key: int) -> Anchor:
        """Remember a row across a new listing of its directory."""
        found = self.entry(key)
        if found is None:
            return Anchor(key)
        _, level, index = found
        return Anchor(key, split_key(key)[0], level.names[index])

    def key_of(self, anchor: Anchor) -> int | None:
        """Where an anchored row is now: the entry of that name, or one it was joined into.

        None when it is gone: the number that it had may be another entry's by now.
        """
        opened = self._by_number.get(anchor.level)
        if opened is None or opened.level is None:
            return anchor.key
        index = opened.level.index_of(anchor.name)
        if index is None:
            joined = anchor.name + b"/"
            names = enumerate(opened.level.names)
            index = next((at for at, name in names if name.startswith(joined)), None)
        return None if index is None else entry_key(anchor.level, index)
