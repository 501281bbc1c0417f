"""What the tree shows: one row, and where rows come from. Plain data, no screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the tree.

    ``key`` stays with the thing through sorting and filtering. ``label`` is raw (bytes, or any
    str): the painter makes it safe; of a ``path`` that is too long the end is shown, which says
    most. ``bytes`` and ``inodes`` are None until they are known and lower bounds while
    ``partial``. ``share`` (0..1) is the part of the parent by the sorted column. ``tone`` is "",
    "warn", "danger" or "dim", and ``state`` always says the same in words. ``growth`` says how
    much was added lately; ``fastest`` marks what grows fastest, and the rows above it. ``filling``
    says that more rows are to come below it.
    """

    key: int
    depth: int
    label: str | bytes
    bytes: int | None = None
    inodes: int | None = None
    share: float | None = None
    state: str = ""
    expandable: bool = False
    expanded: bool = False
    partial: bool = False
    marked: bool = False
    tone: str = ""
    path: bool = False
    growth: str = ""
    fastest: bool = False
    filling: bool = False


class RowSource(Protocol):
    """The visible rows in their order; asked for only the few that are on the screen."""

    def __len__(self) -> int: ...

    def row(self, index: int) -> Row:
        """The row at ``index`` (0-based)."""
        ...

    def index_of(self, key: int) -> int | None:
        """Where the row with this key is now, or None when it is not shown."""
        ...

    def anchor(self, key: int) -> object:
        """What the source knows this row by even when keys have been given anew."""
        ...


class RowList:
    """A RowSource of rows at hand."""

    def __init__(self, rows: Sequence[Row] = ()) -> None:
        self._rows = rows
        self._index = {row.key: index for index, row in enumerate(rows)}

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, index: int) -> Row:
        return self._rows[index]

    def index_of(self, key: int) -> int | None:
        return self._index.get(key)

    def anchor(self, key: int) -> object:
        return key
