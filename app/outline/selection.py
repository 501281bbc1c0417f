"""The rows that the user has marked, by what they are and not by where they stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.outline.outline import Thing


class Marks:
    """Marked things in the order in which they were marked, each as it was then.

    They are kept by identity: sorting, filtering, listing anew and the other view leave them
    alone. A name that has become another file since carries no mark.
    """

    def __init__(self) -> None:
        self._things: dict[tuple[object, ...], Thing] = {}

    def __len__(self) -> int:
        return len(self._things)

    def __iter__(self) -> Iterator[Thing]:
        return iter(tuple(self._things.values()))

    def __contains__(self, thing: Thing) -> bool:
        return thing.identity in self._things

    def toggle(self, thing: Thing) -> None:
        """Mark what is not marked, unmark what is."""
        if self._things.pop(thing.identity, None) is None:
            self._things[thing.identity] = thing

    def clear(self) -> None:
        """Unmark everything."""
        self._things.clear()
