"""The fullest directories as a list: rank, figures, owner, and the end of a long path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from app import text
from widgets.columns import ASCII, FIGURE, GUTTER, UNICODE, Glyphs
from widgets.painting import Part, strip_of

HEADER = 1
RANK = 3
#: From this width on both figures are shown, and below it the one that is sorted by.
BOTH = 96


@dataclass(frozen=True, slots=True)
class HotLine:
    """One directory and what lies directly in it; names are raw, the list makes them safe.

    ``size`` is in bytes. ``place`` is the whole path, ``path`` the part of it that is shown.
    """

    size: int
    inodes: int
    owner: str | bytes
    path: bytes
    place: bytes
    partial: bool = False


class HotList(ScrollView, can_focus=True, inherit_bindings=False):
    """Lines with a cursor that stays with its directory (``HotLine.place``, the whole path)."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "hot-list--header",
        "hot-list--header-sorted",
        "hot-list--text",
        "hot-list--dim",
        "hot-list--figure",
        "hot-list--cursor",
        "hot-list--cursor-sign",
    }

    DEFAULT_CSS = """
    HotList {
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-gutter: stable;
        scrollbar-size-vertical: 1;
        & > .hot-list--header { color: $text-muted; text-style: underline; }
        & > .hot-list--header-sorted { color: $text; text-style: bold underline; }
        & > .hot-list--dim { color: $text-muted; }
        & > .hot-list--figure { text-style: bold; }
        & > .hot-list--cursor-sign { color: $accent; text-style: bold; }
        & > .hot-list--cursor {
            background: $block-cursor-background;
            color: $block-cursor-foreground;
            text-style: $block-cursor-text-style;
        }
        &:nocolor > .hot-list--cursor { text-style: bold reverse; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "cursor(1)", "Down", show=False),
        Binding("k,up", "cursor(-1)", "Up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("home,g", "cursor(-1000000000)", "First row", show=False),
        Binding("end,G", "cursor(1000000000)", "Last row", show=False),
    ]

    @dataclass
    class Chosen(Message):
        """A line was clicked twice."""

        hot_list: HotList

        @property
        def control(self) -> HotList:
            return self.hot_list

    def __init__(self, *, ascii: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._glyphs: Glyphs = ASCII if ascii else UNICODE
        self._lines: tuple[HotLine, ...] = ()
        self._by_inodes = False
        self._size_word = "BYTES"
        self._empty = ""
        self._cursor = 0
        #: Where the user has put the cursor; it comes back there when the directory does.
        self._place: bytes | None = None

    @property
    def cursor_line(self) -> HotLine | None:
        """The line under the cursor; None when there is none."""
        return self._lines[self._cursor] if self._lines else None

    def show(
        self,
        lines: Sequence[HotLine],
        *,
        by_inodes: bool,
        size_word: str = "BYTES",
        empty: str = "",
    ) -> None:
        """Show these lines. A cursor that the user has moved stays with its directory.

        ``size_word`` is the heading of the bytes, ``empty`` the sentence when there are no lines.
        """
        shown = (tuple(lines), by_inodes, size_word, empty)
        if shown == (self._lines, self._by_inodes, self._size_word, self._empty):
            return
        self._lines, self._by_inodes, self._size_word, self._empty = shown
        places = [line.place for line in self._lines]
        if self._place in places:
            self._cursor = places.index(self._place)
        elif self._place is None:
            self._cursor = 0
        self._cursor = max(0, min(self._cursor, len(self._lines) - 1))
        self._lay_out()
        self.refresh()

    def action_cursor(self, lines: int) -> None:
        self._move(self._cursor + lines)

    def action_page(self, pages: int) -> None:
        self._move(self._cursor + pages * max(1, self._room - 1))

    def _move(self, index: int) -> None:
        before = self._cursor
        self._cursor = max(0, min(index, len(self._lines) - 1))
        line = self.cursor_line
        self._place = line.place if line else None
        for row in {before, self._cursor}:
            self.refresh(Region(0, row + HEADER - self.scroll_offset.y, self._width, 1))
        self._into_view()

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor, a double click chooses."""
        event.stop()
        index = self.scroll_offset.y + event.y - HEADER
        if event.y >= HEADER and index < len(self._lines):
            self._move(index)
            if event.chain == 2:
                self.post_message(self.Chosen(self))

    def on_resize(self, _event: events.Resize) -> None:
        self._lay_out()

    def _lay_out(self) -> None:
        self.virtual_size = Size(self._width, len(self._lines) + HEADER)
        self._into_view()

    def _into_view(self) -> None:
        top = self.scroll_offset.y
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False, force=True)
        elif self._cursor >= top + self._room:
            self.scroll_to(y=self._cursor - self._room + 1, animate=False, force=True)

    @property
    def _width(self) -> int:
        return self.scrollable_content_region.width

    @property
    def _room(self) -> int:
        return max(1, self.size.height - HEADER)

    # -- drawing ---------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        if y < HEADER:
            return self._strip(self._heading())
        index = self.scroll_offset.y + y - HEADER
        if index >= len(self._lines):
            note = f"  {text.safe(self._empty)}" if not self._lines and y == HEADER else ""
            return self._strip([(note, "dim")])
        parts = self._parts(index)
        if index == self._cursor:
            return self._strip([(words, "cursor") for words, _ in parts], "cursor")
        return self._strip(parts)

    def _strip(self, parts: Sequence[Part], ground: str = "text") -> Strip:
        return strip_of(parts, self._width, self._style, ground)

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"hot-list--{name}")

    def _heading(self) -> list[Part]:
        columns = [
            (f"{word} {self._glyphs.descending}" if inodes == self._by_inodes else word, inodes)
            for word, inodes in ((self._size_word, False), ("INODES", True))
        ]
        parts: list[Part] = [(" " * (GUTTER + RANK), "header")]
        for word, inodes in columns:
            if self._both or inodes == self._by_inodes:
                style = "header-sorted" if inodes == self._by_inodes else "header"
                parts.append((" " + word.rjust(FIGURE - 1) + " ", style))
        words = " " + text.pad("OWNER", self._owner_room) + " DIRECTORY"
        rest = self._width - sum(len(part) for part, _ in parts)
        return [*parts, (text.pad(words, max(0, rest)), "header")]

    def _parts(self, index: int) -> list[Part]:
        line = self._lines[index]
        sign = self._glyphs.cursor if index == self._cursor else " "
        parts: list[Part] = [(f"{sign} {index + 1:>{RANK}}", "dim")]
        for words, inodes in ((text.size(line.size), False), (text.count(line.inodes), True)):
            if self._both or inodes == self._by_inodes:
                style = "figure" if inodes == self._by_inodes else "text"
                figure = words if len(words) < FIGURE else text.short_count(line.inodes)
                more = "+" if line.partial else " "
                parts.append((" " + figure.rjust(FIGURE - 1) + more, style))
        owner = text.safe(line.owner, self._owner_room, self._glyphs.ellipsis)
        parts.append((" " + text.pad(owner, self._owner_room) + " ", "text"))
        room = max(0, self._width - sum(cell_len(words) for words, _ in parts))
        path = text.fit_end(text.safe(line.path), room, self._glyphs.ellipsis)
        return [*parts, (path, "text")]

    @property
    def _both(self) -> bool:
        return self._width >= BOTH

    @property
    def _owner_room(self) -> int:
        """A quarter of the line, so that the path has the most."""
        return max(8, min(32, self._width // 4))
