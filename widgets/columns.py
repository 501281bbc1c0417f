"""Where the tree's columns stand, and what a row writes into them. Text in, parts out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app import text
from app.rows import Row
from widgets.painting import Part

GUTTER = 2
FIGURE = 11  # ten cells of figure and one for the "+" of a lower bound
STATE = 12
GROWTH = 12  # a sign, and "+1023.9 MiB"
INDENT = 2
#: A label keeps at least this many cells, however deep it is.
LABEL_ROOM = 14

LARGE_BYTES = 1 << 30
SMALL_BYTES = 1 << 20
LARGE_INODES = 100_000
SMALL_INODES = 100


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The signs that are no letters, in Unicode or in ASCII."""

    cursor: str
    marked: str
    opened: str
    closed: str
    descending: str
    ascending: str
    ellipsis: str
    unknown: str
    deeper: str
    fastest: str
    ascii: bool


UNICODE = Glyphs("▶", "•", "▾", "▸", "↓", "↑", "…", "…", "›", "▲", False)
ASCII = Glyphs("*", "+", "v", ">", "v", "^", "~", "...", ":", "^", True)


@dataclass(frozen=True, slots=True)
class Headings:
    """The words above the columns, and which column the rows are sorted by.

    With ``growth`` the rows show how much is added per minute instead of their shares.
    """

    size: str = "BYTES"
    name: str = "OWNER"
    sorted_by: str = "bytes"
    descending: bool = True
    growth: bool = False


@dataclass(frozen=True, slots=True)
class Columns:
    """Column widths in cells; a width of 0 leaves the column out.

    ``share`` is the column of the shares, or of the growth where ``growth`` is true.
    """

    share: int
    state: int
    name: int
    growth: bool = False

    @classmethod
    def for_width(cls, width: int, growth: bool = False) -> Columns:
        """What fits ``width`` cells: the share bar goes first, then the state; the growth last."""
        if growth:
            share = GROWTH if width >= 52 else 0
            state = STATE if width >= 66 else 0
        else:
            share = 10 if width >= 100 else 6 if width >= 70 else 5 if width >= 62 else 0
            state = STATE if width >= 52 else 0
        taken = GUTTER + 2 * FIGURE + 1 + sum(column + 1 for column in (share, state) if column)
        return cls(share, state, max(0, width - taken - 1), growth)

    @property
    def name_start(self) -> int:
        """The cell where the name column begins."""
        shown = sum(column + 1 for column in (self.share, self.state) if column)
        return GUTTER + 2 * FIGURE + 1 + shown + 1


def header_parts(columns: Columns, headings: Headings, glyphs: Glyphs) -> list[Part]:
    """The line above the rows; the sorted column carries an arrow and stands out."""
    arrow = glyphs.descending if headings.descending else glyphs.ascending

    def heading(column: str, word: str) -> Part:
        if column == headings.sorted_by:
            return f"{word} {arrow}", "header-sorted"
        return word, "header"

    size, size_style = heading("bytes", headings.size)
    inodes, inodes_style = heading("inodes", "INODES")
    name, name_style = heading("name", headings.name)
    # A figure's last cell belongs to the "+": the word ends where the figures end.
    parts: list[Part] = [
        (" " * GUTTER, "header"),
        (size.rjust(FIGURE - 1) + " ", size_style),
    ]
    if columns.share:
        word = "GROWTH/MIN".rjust(columns.share) if columns.growth else "SHARE"
        parts.append((" " + text.pad(word, columns.share), "header"))
    parts.append((" " + inodes.rjust(FIGURE - 1) + " ", inodes_style))
    if columns.state:
        parts.append((" " + "STATE".ljust(columns.state), "header"))
    parts.append((" " + text.pad(name, columns.name), name_style))
    return parts


def column_at(columns: Columns, x: int) -> str:
    """The sortable column under cell ``x``: "bytes", "inodes", "name", or "" for none."""
    if GUTTER <= x < GUTTER + FIGURE:
        return "bytes"
    inodes = GUTTER + FIGURE + (columns.share + 1 if columns.share else 0) + 1
    if inodes <= x < inodes + FIGURE:
        return "inodes"
    return "name" if x >= columns.name_start else ""


def row_parts(row: Row, columns: Columns, glyphs: Glyphs, selected: bool) -> list[Part]:
    """One row, exactly as wide as the columns, with every name made safe."""
    tone = row.tone if row.tone in ("warn", "danger", "dim") else "text"
    sign = glyphs.cursor if selected else " "
    parts: list[Part] = [
        (sign + (glyphs.marked if row.marked else " "), "cursor-sign"),
        (
            _figure(row.bytes, row, text.size, glyphs),
            _weight(row.bytes, SMALL_BYTES, LARGE_BYTES),
        ),
    ]
    if columns.growth and columns.share:
        parts.append((" " + _growth(row, columns.share, glyphs), "large" if row.fastest else tone))
    elif columns.share:
        drawn = text.bar(row.share or 0.0, columns.share, glyphs.ascii)
        parts.append((f" {drawn}", "bar"))
    parts.append((" ", "text"))
    parts.append(
        (
            _figure(row.inodes, row, text.count, glyphs),
            _weight(row.inodes, SMALL_INODES, LARGE_INODES),
        )
    )
    if columns.state:
        state = text.safe(row.state, columns.state, glyphs.ellipsis)
        parts.append((" " + text.pad(state, columns.state), tone if tone != "text" else "state"))
    lead = " " + branch(row, columns, glyphs)
    room = max(0, columns.name + 1 - len(lead))
    parts.append((lead, "guide"))
    parts.append((text.pad(_label(row, room, glyphs), room), _label_style(row, tone)))
    return parts


def _label(row: Row, room: int, glyphs: Glyphs) -> str:
    if row.path:
        return text.fit_end(text.safe(row.label), room, glyphs.ellipsis)
    return text.safe(row.label, room, glyphs.ellipsis)


def branch(row: Row, columns: Columns, glyphs: Glyphs) -> str:
    """Indentation and the sign of an openable row; a depth that would not fit is a number."""
    sign = (glyphs.opened if row.expanded else glyphs.closed) if row.expandable else " "
    room = max(0, columns.name - LABEL_ROOM)
    indent = INDENT * row.depth
    if indent <= room:
        return f"{' ' * indent}{sign} "
    depth = f"{row.depth}{glyphs.deeper}"
    return f"{depth.rjust(min(room, 12))}{sign} "


def _figure(n: int | None, row: Row, words: Callable[[int], str], glyphs: Glyphs) -> str:
    if n is None:
        return glyphs.unknown.rjust(FIGURE - 1) + " "
    figure = words(n)
    if len(figure) >= FIGURE:
        figure = text.short_count(n)
    return figure.rjust(FIGURE - 1) + ("+" if row.partial else " ")


def _growth(row: Row, width: int, glyphs: Glyphs) -> str:
    """The sign of the fastest stands before its figure."""
    words = text.safe(row.growth, width - 1, glyphs.ellipsis).rjust(width - 1)
    return (glyphs.fastest if row.fastest else " ") + words


def _label_style(row: Row, tone: str) -> str:
    return "group" if tone == "text" and row.depth == 0 else tone


def _weight(n: int | None, small: int, large: int) -> str:
    if n is None or n < small:
        return "dim"
    return "large" if n >= large else "text"
