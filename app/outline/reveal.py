"""The way down to one directory, opened level by level as the listings arrive."""

from __future__ import annotations

from app.outline.levels import Place
from app.outline.outline import Outline


class Reveal:
    """Opens an outline down to the directory ``path`` in the scan unit ``unit``.

    ``key`` is the row reached so far, None when not even the unit has a row. Once ``ended`` it is
    the directory's own row if it ``arrived``, else the nearest one that is there. Every step goes
    from the top again: rows may have been listed anew, joined or removed meanwhile.
    """

    def __init__(self, outline: Outline, unit: bytes, path: bytes) -> None:
        self.path = path
        self.key: int | None = None
        self.ended = self.arrived = False
        self._outline = outline
        self._unit = unit
        self._awaited: Place | None = None

    def go_on(self) -> Place | None:
        """Go as far as listings are there; returns the directory that wants listing next, once."""
        key = self._outline.home_of(self._unit)
        if key is not None:
            self._outline.reveal(key)
        while key is not None:
            self.key = key
            if self._is_there(key):
                self.ended = self.arrived = True
                return None
            place = self._outline.open(key)
            if place:
                asked, self._awaited = self._awaited, place
                return None if place == asked else place
            below = self._outline.towards(key, self.path)
            self.arrived = below == key
            key = None if self.arrived else below
        self.ended = True
        return None

    def _is_there(self, key: int) -> bool:
        thing = self._outline.thing(key)
        # A row of joined directories stands for each of them.
        return thing is not None and _within(thing.path, self.path)


def _within(path: bytes, directory: bytes) -> bool:
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")
