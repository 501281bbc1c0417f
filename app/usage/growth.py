"""How much units grew between two looks, and which of them grows fastest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.model import Usage
from app.usage.order import Column, Order


@dataclass(frozen=True, slots=True)
class Growth:
    """What was added between two looks ``seconds`` apart; less than 0 where something went.

    ``bytes`` are allocated ones, ``apparent`` apparent sizes, ``inodes`` a count.
    """

    bytes: int
    apparent: int
    inodes: int
    seconds: float

    def __bool__(self) -> bool:
        """Whether anything is different."""
        return bool(self.bytes or self.apparent or self.inodes)

    def per_minute(self, figure: int) -> int:
        """One of the figures as a rate."""
        return round(figure * 60 / self.seconds) if self.seconds > 0 else 0

    def rate(self, order: Order) -> int:
        """Inodes per minute where rows are sorted by them, else bytes per minute, as shown."""
        if order.column is Column.INODES:
            return self.per_minute(self.inodes)
        return self.per_minute(self.apparent if order.apparent else self.bytes)


class Growths:
    """The growth of every unit that was measured to its end at least twice."""

    def __init__(self) -> None:
        self._looks: dict[bytes, tuple[float, Usage]] = {}
        self._growths: dict[bytes, Growth] = {}

    def note(self, unit: bytes, usage: Usage, now: float) -> None:
        """Take the figures of a look that ended at ``now``, in seconds of any steady clock.

        A partial one says nothing about growth.
        """
        if usage.partial:
            return
        earlier = self._looks.get(unit)
        self._looks[unit] = now, usage
        if earlier:
            then, before = earlier
            self._growths[unit] = Growth(
                usage.bytes - before.bytes,
                usage.apparent - before.apparent,
                usage.inodes - before.inodes,
                now - then,
            )

    def of(self, units: Iterable[bytes]) -> Growth | None:
        """The growth of these units together; None if none was measured twice.

        ``seconds`` is the longest of their spans.
        """
        found = list(self._known(units))
        if len(found) < 2:
            return found[0] if found else None
        return Growth(
            sum(it.bytes for it in found),
            sum(it.apparent for it in found),
            sum(it.inodes for it in found),
            max(it.seconds for it in found),
        )

    def fastest(self, order: Order) -> bytes:
        """The unit that grows fastest by what the rows are sorted by; empty if none grows."""
        best = max(self._growths, key=lambda unit: self._growths[unit].rate(order), default=b"")
        return best if best and self._growths[best].rate(order) > 0 else b""

    def keep_only(self, units: Iterable[bytes]) -> None:
        """Forget every unit that is not in ``units``: its directory is gone."""
        for unit in set(self._looks).difference(units):
            del self._looks[unit]
            self._growths.pop(unit, None)

    def _known(self, units: Iterable[bytes]) -> Iterator[Growth]:
        if self._growths:
            yield from (self._growths[unit] for unit in units if unit in self._growths)
