"""One thing to choose by Enter or a click: a button, or a box to tick. One line, no markup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from app import text
from widgets.painting import strip_of


class Choice(Widget, can_focus=True):
    """``▶[ Cancel ]`` with the keys on it, `` [ Delete ]`` without; ``▶[x] words`` for a box.

    One that is not to be had (``disabled``) has no brackets: no colour is needed to tell.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "choice--text",
        "choice--focused",
        "choice--disabled",
    }

    DEFAULT_CSS = """
    Choice {
        height: 1;
        width: auto;
        & > .choice--text { color: $text; }
        & > .choice--focused { text-style: bold reverse; }
        & > .choice--disabled { color: $text-muted; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "press", "Press", show=False)]

    @dataclass
    class Pressed(Message):
        """It was chosen."""

        choice: Choice

        @property
        def control(self) -> Choice:
            return self.choice

    def __init__(
        self,
        words: str,
        *,
        ticked: bool | None = None,
        ascii: bool = False,
        id: str | None = None,
        disabled: bool = False,
    ) -> None:
        """``words`` are raw; ``ticked`` makes it a box."""
        super().__init__(id=id, disabled=disabled)
        self._words = text.safe(words)
        self._ticked = ticked
        self._sign = "*" if ascii else "▶"
        self._ellipsis = "~" if ascii else "…"

    def action_press(self) -> None:
        self.post_message(self.Pressed(self))

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.action_press()

    def get_content_width(self, container: Size, viewport: Size) -> int:  # noqa: ARG002 - Textual's
        return cell_len(self._drawn())

    def _drawn(self) -> str:
        sign = self._sign if self.has_focus else " "
        if self._ticked is not None:
            return f"{sign}[{'x' if self._ticked else ' '}] {self._words} "
        return f"{sign}  {self._words}   " if self.disabled else f"{sign}[ {self._words} ] "

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        style = "disabled" if self.disabled else "focused" if self.has_focus else "text"
        words = text.fit(self._drawn(), width, self._ellipsis) if y == 0 else ""
        return strip_of(
            [(words, style)],
            width,
            lambda name: self.get_component_rich_style(f"choice--{name}"),
        )
