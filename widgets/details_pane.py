"""Sections of labels and values about one row: whole ids, whole paths, nothing shortened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from app import text
from widgets.painting import Part, strip_of

LABEL_ROOM = 12
MARGIN = 1
#: Cells that one value may take before it is cut; a label of a megabyte is no detail.
VALUE_ROOM = 4096


@dataclass(frozen=True, slots=True)
class Line:
    """A label and a raw value (the pane makes both safe); ``tone`` as in a Row.

    Without a label the value takes the whole width. A ``command`` is what one would type: it is
    never cut, and a backslash in it stays one.
    """

    label: str
    value: bytes | str
    tone: str = ""
    command: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its lines."""

    title: str | bytes
    lines: Sequence[Line] = ()


class DetailsPane(ScrollView, can_focus=True):
    """A scrollable page of sections. Text is text: no markup is ever read."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "details-pane--text",
        "details-pane--title",
        "details-pane--heading",
        "details-pane--label",
        "details-pane--dim",
        "details-pane--warn",
        "details-pane--danger",
    }

    DEFAULT_CSS = """
    DetailsPane {
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-gutter: stable;
        scrollbar-size-vertical: 1;
        & > .details-pane--title { text-style: bold; }
        & > .details-pane--heading { color: $text-muted; text-style: bold; }
        & > .details-pane--label { color: $text-muted; }
        & > .details-pane--dim { color: $text-muted; }
        & > .details-pane--warn { color: $text-warning; }
        & > .details-pane--danger { color: $text-error; text-style: bold; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll_by(1)", "Scroll down", show=False),
        Binding("k,up", "scroll_by(-1)", "Scroll up", show=False),
        Binding("pagedown,space", "scroll_page(1)", "Page down", show=False),
        Binding("pageup", "scroll_page(-1)", "Page up", show=False),
        Binding("home,g", "scroll_line(0)", "Top", show=False),
        Binding("end,G", "scroll_line(1000000000)", "Bottom", show=False),
    ]

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._sections: tuple[Section, ...] = ()
        self._lines: list[list[Part]] = []

    def show(self, sections: Sequence[Section]) -> None:
        """Show these sections from the top; the same sections again keep the place."""
        if tuple(sections) == self._sections:
            return
        same = [s.title for s in sections[:1]] == [s.title for s in self._sections[:1]]
        self._sections = tuple(sections)
        self._lay_out()
        if not same:
            self.scroll_to(y=0, animate=False, force=True)

    def action_scroll_by(self, lines: int) -> None:
        self.action_scroll_line(self.scroll_offset.y + lines)

    def action_scroll_page(self, pages: int) -> None:
        self.action_scroll_by(pages * max(1, self.size.height - 1))

    def action_scroll_line(self, line: int) -> None:
        self.scroll_to(y=line, animate=False, force=True)

    def on_resize(self, _event: events.Resize) -> None:
        self._lay_out()

    def _lay_out(self) -> None:
        width = self._width
        self._lines = _laid_out(self._sections, width)
        self.virtual_size = Size(width, len(self._lines))
        self.refresh()

    def lines_at(self, width: int) -> int:
        """How many lines the sections take in ``width`` cells, the scroll bar's not among them."""
        return len(_laid_out(self._sections, width))

    def render_line(self, y: int) -> Strip:
        index = self.scroll_offset.y + y
        parts = self._lines[index] if index < len(self._lines) else []
        return strip_of([(" " * MARGIN, "text"), *parts], self._width, self._style)

    @property
    def _width(self) -> int:
        """Cells of a line, without the scroll bar's."""
        return self.scrollable_content_region.width

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"details-pane--{name}")


def _laid_out(sections: Sequence[Section], width: int) -> list[list[Part]]:
    column = _label_column(sections)
    lines: list[list[Part]] = []
    for section in sections:
        style = "heading" if lines else "title"
        lines += [[]] if lines else []
        lines += _section_lines(section, style, width - 2 * MARGIN, column)
    return lines


def _label_column(sections: Sequence[Section]) -> int:
    """Cells for the labels, the same in every section so that the values stand in one line."""
    labels = [text.safe(line.label, LABEL_ROOM) for section in sections for line in section.lines]
    widest = max(map(cell_len, labels), default=0)
    return widest + 2 if widest else 0


def _section_lines(section: Section, style: str, width: int, column: int) -> list[list[Part]]:
    """Lay one section out in lines of at most ``width`` cells."""
    if width <= 0:
        return []
    title = text.safe(section.title, VALUE_ROOM)
    lines: list[list[Part]] = (
        [[(part, style)] for part in text.wrapped(title, width)] if title else []
    )
    for line in section.lines:
        lines += _value_lines(line, width, column)
    return lines


def _value_lines(line: Line, width: int, column: int) -> list[list[Part]]:
    tone = line.tone if line.tone in ("warn", "danger", "dim") else "text"
    label = text.safe(line.label, LABEL_ROOM)
    if not label:
        column = 2
    # Too narrow for two columns: the value goes below its label.
    if width - column < 16:
        below = [[("  " + part, tone)] for part in text.wrapped(_value(line), width - 2)]
        return [[(label, "label")], *below] if label else below
    values = text.wrapped(_value(line), width - column)
    heads = [text.pad(label, column)] + [" " * column] * (len(values) - 1)
    return [[(head, "label"), (part, tone)] for head, part in zip(heads, values, strict=True)]


def _value(line: Line) -> str:
    if line.command:
        return text.command(os.fsdecode(line.value))
    return text.safe(line.value, VALUE_ROOM)
