"""The line that the filter's words are typed into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input


class FilterLine(Input):
    """Closed until it is asked for. Enter keeps the words, Escape drops them; both close it.

    Tab and a click elsewhere keep them too: a line that stood open without the keys would be in
    the way of the next one.

    It takes and gives back the keys at once, not some turns later as Textual does by itself: what
    is typed ahead of a slow line must neither reach the tree as commands nor be added to the words.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,down", "keep", "Keep", key_display="enter"),
        Binding("escape", "drop", "Drop", key_display="esc"),
    ]

    @dataclass
    class Dropped(Message):
        """There shall be no filter."""

    def __init__(self) -> None:
        super().__init__(
            placeholder="name, tag, id, path or role", select_on_focus=False, id="filter"
        )
        self._before: Widget | None = None

    @property
    def is_open(self) -> bool:
        """Whether words are being typed."""
        return self.has_class("-open")

    def open(self) -> None:
        """Show the line and take the keys."""
        self._before = self.screen.focused
        self.add_class("-open")
        self.cursor_position = len(self.value)
        self.screen.set_focus(self)

    def action_keep(self) -> None:
        """Hide the line and give the keys back; the words stay in it."""
        self.remove_class("-open")
        self.screen.set_focus(self._before)

    def action_drop(self) -> None:
        """As keep, and say that the words are to be dropped."""
        self.action_keep()
        self.post_message(self.Dropped())

    def on_blur(self) -> None:
        """Close when something else has the keys; not when the whole terminal has lost them."""
        if self.app.app_focus and self.screen.focused is not self:
            self.remove_class("-open")

    async def _on_key(self, event: events.Key) -> None:
        """Handle the two ends here, in their turn: bindings would come after what follows them."""
        keeping = dict.fromkeys(("enter", "down", "tab", "shift+tab"), self.action_keep)
        actions = {**keeping, "escape": self.action_drop}
        if self.is_open and event.key not in actions:
            await super()._on_key(event)
            return
        event.stop()
        event.prevent_default()
        if self.is_open:
            actions[event.key]()
