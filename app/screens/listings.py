"""Which directories are being listed, so that none is listed twice at a time."""

from __future__ import annotations

from app.outline.levels import Place


class Listings:
    """One listing at a time of each place: who asks meanwhile gets another one after it.

    While something grows it is asked for every few seconds, and one of a million entries takes
    longer than that.
    """

    def __init__(self) -> None:
        self._under_way: dict[Place, bool] = {}

    def begin(self, place: Place) -> bool:
        """Whether to list it now; if not, :meth:`end` says that it was asked for."""
        again = place in self._under_way
        self._under_way[place] = again
        return not again

    def end(self, place: Place) -> bool:
        """It is listed: whether it was asked for again meanwhile."""
        return self._under_way.pop(place, False)
