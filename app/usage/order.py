"""How rows are sorted: by which column, in which direction."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from app.model import Usage


class Column(str, Enum):
    """A column that rows can be sorted by."""

    BYTES = "bytes"
    INODES = "inodes"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Order:
    """The sorted column, its direction, and whether bytes are apparent sizes."""

    column: Column = Column.BYTES
    descending: bool = True
    apparent: bool = False

    def by(self, column: Column) -> Order:
        """Sort by ``column``, its natural direction first; again flips the direction."""
        if column is self.column:
            return Order(column, not self.descending, self.apparent)
        return Order(column, column is not Column.NAME, self.apparent)

    def bytes_of(self, usage: Usage) -> int:
        """The bytes that are shown: allocated, or apparent."""
        return usage.apparent if self.apparent else usage.bytes

    def figure(self, usage: Usage | None) -> int:
        """What shares and sorting by a figure look at; -1 while unknown."""
        if usage is None:
            return -1
        if self.column is Column.INODES:
            return usage.inodes
        return self.bytes_of(usage) if usage.sized else -1
