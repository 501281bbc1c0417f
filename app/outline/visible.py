"""The rows that are shown, in order, as runs: what was opened is never copied entry by entry.

A node's key is a small number. An entry of an opened directory has its level's number in the upper
bits and its index in the level in the lower ones.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_ENTRY_BITS = 32
_ENTRY_MASK = (1 << _ENTRY_BITS) - 1


def entry_key(number: int, index: int) -> int:
    """The key of entry ``index`` of level ``number``."""
    return number << _ENTRY_BITS | index


def split_key(key: int) -> tuple[int, int]:
    """Level number and index of an entry's key; the number is 0 for a node's key."""
    return key >> _ENTRY_BITS, key & _ENTRY_MASK


class Ordering:
    """All entries of a level in some order, or only those that a filter leaves."""

    def __init__(self, indexes: Sequence[int], size: int) -> None:
        """``indexes`` into a level of ``size`` entries."""
        self.indexes = indexes
        self._size = size
        self._positions: array[int] | None = None

    def __len__(self) -> int:
        return len(self.indexes)

    def position(self, index: int) -> int:
        """Where the entry ``index`` stands, -1 when it is not among these."""
        if self._positions is None:
            self._positions = array("q", (-1,)) * self._size
            for position, entry in enumerate(self.indexes):
                self._positions[entry] = position
        return self._positions[index] if index < self._size else -1


@dataclass(frozen=True, slots=True)
class Span:
    """Entries of level ``number`` that stand together: from ``start`` to before ``stop``."""

    number: int
    ordering: Ordering
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def key(self, offset: int) -> int:
        """The key of the row ``offset`` rows below the first one of the span."""
        return entry_key(self.number, self.ordering.indexes[self.start + offset])

    def offset_of(self, index: int) -> int | None:
        """How far below the first one the entry ``index`` stands, None if elsewhere."""
        position = self.ordering.position(index)
        return position - self.start if self.start <= position < self.stop else None


Run = int | Span


@dataclass(slots=True)
class Visible:
    """Keys by position and positions by key; a run costs the same whatever its length."""

    _runs: list[Run] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)
    _nodes: dict[int, int] = field(default_factory=dict)
    _levels: dict[int, list[int]] = field(default_factory=dict)
    _length: int = 0

    @classmethod
    def of(cls, runs: Iterable[Run]) -> Visible:
        """Line up node keys and spans."""
        visible = cls()
        for run in runs:
            visible._append(run)
        return visible

    def _append(self, run: Run) -> None:
        if isinstance(run, int):
            self._nodes[run] = self._length
        else:
            self._levels.setdefault(run.number, []).append(len(self._runs))
        self._runs.append(run)
        self._starts.append(self._length)
        self._length += 1 if isinstance(run, int) else len(run)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, position: int) -> int:
        """The key at ``position``."""
        if not 0 <= position < self._length:
            raise IndexError(position)
        at = bisect_right(self._starts, position) - 1
        run = self._runs[at]
        return run if isinstance(run, int) else run.key(position - self._starts[at])

    def index_of(self, key: int) -> int | None:
        """Where ``key`` is, None when it is not shown."""
        number, index = split_key(key)
        if not number:
            return self._nodes.get(key)
        for at in self._levels.get(number, ()):
            run = self._runs[at]
            offset = run.offset_of(index) if isinstance(run, Span) else None
            if offset is not None:
                return self._starts[at] + offset
        return None
