"""The line above the tree: the way down to the row under the cursor, and how rows are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual.strip import Strip
from textual.widget import Widget

from app import text
from widgets.painting import Part, strip_of

MARGIN = 1
GAP = 2
LONGEST_STEP = 28


class TrailLine(Widget):
    """Steps on the left, the last ones kept where room is short; words on the right."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "trail-line--text",
        "trail-line--last",
        "trail-line--words",
    }

    DEFAULT_CSS = """
    TrailLine {
        height: 1;
        & > .trail-line--text { color: $text-muted; }
        & > .trail-line--last { color: $text; }
        & > .trail-line--words { color: $text-muted; }
    }
    """

    def __init__(
        self, *, ascii: bool = False, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._arrow = " > " if ascii else " › "
        self._ellipsis = "~" if ascii else "…"
        self._steps: tuple[str, ...] = ()
        self._words = ""

    def update_trail(self, steps: Sequence[str | bytes], words: str) -> None:
        """The steps from the top down, raw, and what stands on the right, which is never cut."""
        shown = tuple(text.safe(step) for step in steps), text.safe(words)
        if shown != (self._steps, self._words):
            self._steps, self._words = shown
            self.refresh()

    def render_line(self, y: int) -> Strip:
        return strip_of(
            self._parts(self.size.width) if y == 0 else [],
            self.size.width,
            lambda name: self.get_component_rich_style(f"trail-line--{name}"),
        )

    def _parts(self, width: int) -> list[Part]:
        room = max(0, width - 2 * MARGIN - GAP - cell_len(self._words))
        way = shortened(self._steps, room, self._arrow, self._ellipsis)
        *before, last = way.rsplit(self._arrow, 1)
        lead = before[0] + self._arrow if before else ""
        gap = " " * (room + GAP - cell_len(way))
        return [
            (" " * MARGIN, "text"),
            (lead, "text"),
            (last, "last"),
            (gap + self._words, "words"),
        ]


def shortened(steps: Sequence[str], room: int, arrow: str, ellipsis: str) -> str:
    """The steps in at most ``room`` cells, and what is left out as an ellipsis.

    Long steps are cut first. Of the rest the last one stays longest, then the first (which view it
    is) and the third (whose it is).
    """
    whole = arrow.join(steps)
    if cell_len(whole) <= room or not steps:
        return whole
    last = len(steps) - 1
    steps = [
        text.fit_end(step, room * 2 // 5 if at == last else LONGEST_STEP, ellipsis)
        for at, step in enumerate(steps)
    ]
    dropped: set[int] = set()
    for sacrifice in (None, *dict.fromkeys((1, *range(3, last), 2, 0))):
        if sacrifice is not None and sacrifice < last:
            dropped.add(sacrifice)
        way = arrow.join(_kept(steps, dropped, ellipsis))
        if cell_len(way) <= room:
            return way
    return text.fit_end(steps[-1], room, ellipsis)


def _kept(steps: Sequence[str], dropped: set[int], ellipsis: str) -> list[str]:
    """The steps with one ellipsis for every run of dropped ones."""
    return [
        ellipsis if at in dropped else step
        for at, step in enumerate(steps)
        if not (at in dropped and at - 1 in dropped)
    ]
