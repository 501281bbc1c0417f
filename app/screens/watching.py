"""When the next look is due while the explorer watches. No screen and no clock of its own."""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds between two looks, at least.
PAUSE = 2.0
#: The looks take at most this part of the time: what is watched is busy enough.
PART = 0.25
#: Seconds between two readings of the names, at least, where containers come and go.
NAMES = 15.0


@dataclass(slots=True)
class Watch:
    """Off at first. Times are seconds of any steady clock."""

    on: bool = False
    _ended: float = 0.0
    _cost: float = 0.0
    _named: float = float("-inf")

    def toggle(self) -> bool:
        """On or off, as it was not; whether it is on now. The first look is due at once."""
        self.on = not self.on
        self._ended, self._cost = float("-inf"), 0.0
        return self.on

    def note(self, now: float, cost: float) -> None:
        """A look has ended that took ``cost`` seconds."""
        self._ended, self._cost = now, cost

    def may_read_names(self, now: float) -> bool:
        """Directories came or went: whether to read the names again now. Yes only now and then."""
        may = self.on and now - self._named >= NAMES
        if may:
            self._named = now
        return may

    @property
    def pause(self) -> float:
        """Seconds between the end of a look and the next one."""
        return max(PAUSE, self._cost * (1 / PART - 1))

    @property
    def every(self) -> float:
        """Seconds from one look to the next."""
        return self.pause + self._cost

    def due(self, now: float) -> bool:
        """Whether it is time for the next look."""
        return self.on and now - self._ended >= self.pause
