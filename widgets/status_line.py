"""The line above the footer: what is going on, and how much could not be read."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from textual.strip import Strip
from textual.widget import Widget

from app import text
from widgets.painting import Part, parts_width, strip_of


class StatusLine(Widget):
    """Progress on the left; on the right the problems, which are never cut."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "status-line--text",
        "status-line--busy",
        "status-line--problems",
    }

    DEFAULT_CSS = """
    StatusLine {
        height: 1;
        & > .status-line--text { color: $text-muted; }
        & > .status-line--busy { color: $text; }
        & > .status-line--problems { color: $text-warning; text-style: bold; }
    }
    """

    def __init__(
        self, *, ascii: bool = False, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._ellipsis = "~" if ascii else "…"
        self._progress: tuple[str, ...] = ()
        self._busy = False
        self._problems = ""
        self._notice: tuple[str, ...] = ()

    def update_notice(self, *sentences: str | bytes) -> None:
        """What stands in the place of the progress, the longest way to say it first; or nothing."""
        notice = tuple(text.safe(sentence, 512, self._ellipsis) for sentence in sentences)
        if notice != self._notice:
            self._notice = notice
            self.refresh()

    def update_progress(self, *sentences: str | bytes, busy: bool = True) -> None:
        """What is being done (``busy``) or what was done; "" for nothing.

        Of several ways to say it, the longest first, the first that fits is shown.
        """
        progress = tuple(text.safe(sentence, 512, self._ellipsis) for sentence in sentences)
        if (progress, busy) != (self._progress, self._busy):
            self._progress, self._busy = progress, busy
            self.refresh()

    def update_problems(self, count: int, key: str = "E", what: str = "unreadable") -> None:
        """How many things could not be read, and the key that lists them; 0 shows nothing."""
        problems = f"{text.count(count)} {what} (press {key})" if count else ""
        if problems != self._problems:
            self._problems = problems
            self.refresh()

    def render_line(self, y: int) -> Strip:
        return strip_of(
            self._parts(self.size.width) if y == 0 else [],
            self.size.width,
            lambda name: self.get_component_rich_style(f"status-line--{name}"),
        )

    def _parts(self, width: int) -> list[Part]:
        right: list[Part] = [(f"  {self._problems} ", "problems")] if self._problems else []
        room = max(0, width - 1 - parts_width(right))
        ways = self._notice or self._progress
        fitting = (words for words in ways if cell_len(words) <= room)
        words = next(fitting, ways[-1] if ways else "")
        progress = text.pad(text.fit(words, room, self._ellipsis), room)
        busy = self._busy or bool(self._notice)
        return [(" ", "text"), (progress, "busy" if busy else "text"), *right]
