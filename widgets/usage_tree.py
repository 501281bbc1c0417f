"""The tree: one line-API widget that draws only what is on the screen.

It asks its source for the rows it shows and for nothing else, so a hundred thousand rows cost no
more than thirty. A cursor move repaints two lines, which counts over ssh.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from app import text
from app.rows import Row, RowList, RowSource
from widgets.columns import (
    ASCII,
    UNICODE,
    Columns,
    Headings,
    branch,
    column_at,
    header_parts,
    row_parts,
)
from widgets.painting import Part, strip_of

__all__ = ["Headings", "Row", "RowList", "RowSource", "UsageTree"]

HEADER = 1


class UsageTree(ScrollView, can_focus=True, inherit_bindings=False):
    """Rows with figures, a share bar, a state and a name; a cursor that follows its row."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "usage-tree--header",
        "usage-tree--header-sorted",
        "usage-tree--text",
        "usage-tree--group",
        "usage-tree--large",
        "usage-tree--dim",
        "usage-tree--state",
        "usage-tree--warn",
        "usage-tree--danger",
        "usage-tree--bar",
        "usage-tree--guide",
        "usage-tree--cursor-sign",
        "usage-tree--cursor",
    }

    DEFAULT_CSS = """
    UsageTree {
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-gutter: stable;
        scrollbar-size-vertical: 1;
        & > .usage-tree--header { color: $text-muted; text-style: underline; }
        & > .usage-tree--header-sorted { color: $text; text-style: bold underline; }
        & > .usage-tree--large { text-style: bold; }
        & > .usage-tree--dim { color: $text-muted; }
        & > .usage-tree--state { color: $text-muted; }
        & > .usage-tree--warn { color: $text-warning; }
        & > .usage-tree--danger { color: $text-error; text-style: bold; }
        & > .usage-tree--bar { color: $secondary; }
        & > .usage-tree--group { text-style: bold; }
        & > .usage-tree--guide { color: $text-muted; }
        & > .usage-tree--cursor-sign { color: $accent; text-style: bold; }
        & > .usage-tree--cursor {
            background: $block-cursor-blurred-background;
            color: $block-cursor-blurred-foreground;
        }
        &:focus > .usage-tree--cursor {
            background: $block-cursor-background;
            color: $block-cursor-foreground;
            text-style: $block-cursor-text-style;
        }
        &:nocolor:focus > .usage-tree--cursor { text-style: bold reverse; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "cursor(1)", "Down", show=False),
        Binding("k,up", "cursor(-1)", "Up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("home,g", "first", "First row", show=False),
        Binding("end,G", "last", "Last row", show=False),
        Binding("enter", "descend", "Open and go in", show=False),
        Binding("right,l", "open", "Open", show=False),
        Binding("left,h,backspace", "leave", "Close, or to the parent", show=False),
    ]

    @dataclass
    class Highlighted(Message):
        """The cursor is on another row now (or on none: ``key`` is None)."""

        tree: UsageTree
        key: int | None

        @property
        def control(self) -> UsageTree:
            return self.tree

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, UsageTree.Highlighted)

    @dataclass
    class Toggled(Message):
        """An openable row is to be opened, or closed if it is open.

        ``anchor`` is what the source knows the row by: rows may change before this is handled.
        """

        tree: UsageTree
        key: int
        anchor: object

        @property
        def control(self) -> UsageTree:
            return self.tree

    @dataclass
    class Left(Message):
        """Close this row, or go to its parent; ``anchor`` as in :class:`Toggled`."""

        tree: UsageTree
        key: int
        anchor: object

        @property
        def control(self) -> UsageTree:
            return self.tree

    @dataclass
    class HeadingClicked(Message):
        """A heading was clicked: ``column`` is "bytes", "inodes" or "name"."""

        tree: UsageTree
        column: str

        @property
        def control(self) -> UsageTree:
            return self.tree

    def __init__(
        self,
        *,
        ascii: bool = False,
        headings: Headings | None = None,
        empty: str = "Nothing to show.",
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._glyphs = ASCII if ascii else UNICODE
        self._headings = headings or Headings()
        self._empty = empty
        self._source: RowSource = RowList()
        self._cursor = 0
        self._key: int | None = None
        self._descending_into: int | None = None
        self._steps_ahead = 0
        self._moved = False
        self._strips: LRUCache[tuple[Row, bool], Strip] = LRUCache(512)
        self._painted: dict[int, tuple[int, Row | None]] = {}

    # -- what is shown ---------------------------------------------------------------------

    @property
    def cursor_key(self) -> int | None:
        """The key of the row under the cursor; None when there are no rows."""
        return self._key

    @property
    def cursor_index(self) -> int:
        """Where the cursor is, 0-based."""
        return self._cursor

    @property
    def top_index(self) -> int:
        """The first row on the screen, 0-based."""
        return self.scroll_offset.y

    def show(self, source: RowSource, keep: int | None = None) -> None:
        """Show these rows, or show again what has changed.

        The cursor stays on the row whose key is ``keep`` (default: the one it is on), and that
        row stays on its screen line where the list allows it. If the row is gone, the cursor
        stays where it was in the list. A view that was scrolled away from the cursor stays
        where it is. Until the user moves it, the cursor stays on the first row, whatever that is.
        Nothing is done per row, and only lines that have changed are painted again.
        """
        key = self._key if keep is None and self._moved else keep
        line = self._cursor - self.top_index
        self._source = source
        index = source.index_of(key) if key is not None else None
        stay = self._cursor if self._moved else 0
        index = self._clamped(stay if index is None else index)
        self.virtual_size = Size(self._width, len(source) + HEADER)
        child = self._into_child(index)
        if 0 <= line < self._room or child != index:
            self._scroll(index - line)
            self._set_cursor(child)
        else:
            self._put_cursor(index)
        self._repaint()
        if child != index and self._steps_ahead:
            self._steps_ahead -= 1
            self.action_descend()

    def _repaint(self) -> None:
        """Paint the lines whose rows are not what they were when they were painted."""
        for line in range(HEADER, self.size.height):
            index = self.top_index + line - HEADER
            if self._painted.get(line) != (index, self._row_at(index)):
                self.refresh_line(index + HEADER)

    def set_headings(self, headings: Headings) -> None:
        """Change the words above the columns, the sorted column, and which columns there are."""
        if headings.growth != self._headings.growth:
            self._strips.clear()
            self.refresh()
        self._headings = headings
        self.refresh_line(self.top_index)

    def set_empty(self, sentence: str) -> None:
        """What to say when there are no rows."""
        if sentence != self._empty:
            self._empty = sentence
            self.refresh()

    def move_to(self, key: int) -> None:
        """Put the cursor on the row with this key; nothing happens when it is not shown."""
        index = self._source.index_of(key)
        if index is not None:
            self._move(index)

    # -- the cursor ------------------------------------------------------------------------

    def action_cursor(self, lines: int) -> None:
        self._move(self._cursor + lines)

    def action_page(self, pages: int) -> None:
        self._move(self._cursor + pages * max(1, self._room - 1))

    def action_first(self) -> None:
        self._move(0)

    def action_last(self) -> None:
        self._move(len(self._source) - 1)

    def action_open(self) -> None:
        """Open the row; on an open one step in."""
        row = self._current()
        if row is None or not row.expandable:
            self._steps_ahead = 0
            return
        self._moved = True
        if row.expanded:
            self._step_in(row)
        else:
            self.post_message(self.Toggled(self, row.key, self._source.anchor(row.key)))

    def action_descend(self) -> None:
        """As open, and the cursor goes to the first child as soon as it is shown."""
        row = self._current()
        if row is not None and row.key == self._descending_into:
            # The children are still being listed: what is typed ahead is for the first of them.
            self._steps_ahead += 1
            return
        if row is not None and row.expandable and not row.expanded:
            self._descending_into = row.key
        self.action_open()

    def action_leave(self) -> None:
        self._stay()
        self._moved = True
        if self._key is not None:
            self.post_message(self.Left(self, self._key, self._source.anchor(self._key)))

    def _move(self, index: int) -> None:
        self._moved = True
        self._stay()
        self._set_cursor(index)

    def _stay(self) -> None:
        """Forget what was to be done when children are there."""
        self._descending_into = None
        self._steps_ahead = 0

    def _step_in(self, row: Row) -> None:
        child = self._cursor + 1
        if child < len(self._source) and self._source.row(child).depth > row.depth:
            self._move(child)

    def _into_child(self, index: int) -> int:
        """The first child of the row that Enter opened, once all of them are there."""
        waiting = self._descending_into
        if waiting is None or index + 1 >= len(self._source):
            return index
        row = self._source.row(index)
        if row.key != waiting:
            self._stay()
        elif row.expanded and not row.filling and self._source.row(index + 1).depth > row.depth:
            self._descending_into = None
            return index + 1
        return index

    def _set_cursor(self, index: int) -> None:
        self._put_cursor(index)
        self._into_view()

    def _put_cursor(self, index: int) -> None:
        before = self._cursor
        self._cursor = index = self._clamped(index)
        key = self._source.row(index).key if len(self._source) else None
        for row in {before, index}:
            self.refresh_line(row + HEADER)
        if key != self._key:
            self._key = key
            self.post_message(self.Highlighted(self, key))

    def _current(self) -> Row | None:
        return self._source.row(self._cursor) if len(self._source) else None

    def _row_at(self, index: int) -> Row | None:
        return self._source.row(index) if index < len(self._source) else None

    def _clamped(self, index: int) -> int:
        return max(0, min(index, len(self._source) - 1))

    # -- scrolling -------------------------------------------------------------------------

    @property
    def _width(self) -> int:
        """Cells of a row, without the scroll bar's."""
        return self.scrollable_content_region.width

    @property
    def _room(self) -> int:
        """Rows on one screen."""
        return max(1, self.size.height - HEADER)

    def _into_view(self) -> None:
        top = self.top_index
        if self._cursor < top:
            self._scroll(self._cursor)
        elif self._cursor >= top + self._room:
            self._scroll(self._cursor - self._room + 1)

    def _scroll(self, top: int) -> None:
        self.scroll_to(y=max(0, top), animate=False, force=True)

    def on_resize(self, _event: events.Resize) -> None:
        self._strips.clear()
        self.virtual_size = Size(self._width, len(self._source) + HEADER)
        self._into_view()

    # -- the mouse -------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        """A click chooses a row; on its sign, or a second click, it opens or closes the row."""
        event.stop()
        if event.y < HEADER:
            column = column_at(self._columns, event.x)
            if column:
                self.post_message(self.HeadingClicked(self, column))
            return
        index = self.top_index + event.y - HEADER
        if index >= len(self._source):
            return
        row = self._source.row(index)
        sign = self._columns.name_start + len(branch(row, self._columns, self._glyphs)) - 2
        on_sign = sign - 1 <= event.x <= sign + 1
        self._move(index)
        # A double click on the sign is one click too many, not one to open and one to close.
        if row.expandable and event.chain == (1 if on_sign else 2):
            self.post_message(self.Toggled(self, row.key, self._source.anchor(row.key)))

    # -- drawing ---------------------------------------------------------------------------

    @property
    def _columns(self) -> Columns:
        return Columns.for_width(self._width, self._headings.growth)

    def notify_style_update(self) -> None:
        self._strips.clear()
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        width = self._width
        if y < HEADER:
            return self._strip(header_parts(self._columns, self._headings, self._glyphs))
        index = self.top_index + y - HEADER
        row = self._row_at(index)
        self._painted[y] = index, row
        if row is None:
            first_line = not len(self._source) and y == HEADER
            note = text.pad(f"  {text.safe(self._empty)}" if first_line else "", width)
            return self._strip([(note, "dim")])
        selected = index == self._cursor
        at = (row, selected)
        strip = self._strips.get(at)
        if strip is None:
            parts = row_parts(row, self._columns, self._glyphs, selected)
            strip = self._strip(parts, "cursor" if selected else "")
            self._strips[at] = strip
        return strip

    def _strip(self, parts: list[Part], over: str = "") -> Strip:
        """Colour the parts; the one style ``over`` takes the whole line."""
        return strip_of(
            [(words, over or name) for words, name in parts],
            self._width,
            self._style,
            over or "text",
        )

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"usage-tree--{name}")

    def refresh_line(self, y: int) -> None:
        """Repaint line ``y`` of the list, where the heading is line 0."""
        self.refresh(Region(0, y - self.top_index, self._width, 1))
