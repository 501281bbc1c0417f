"""Text for people: safe names, sizes, counts, bars. Knows no screen.

Containers choose file names, image tags and labels, so all of them are hostile until
:func:`safe` has seen them. What it returns holds nothing that moves a cursor, changes a colour,
reorders letters or takes another width in one terminal than in the next.
"""

from __future__ import annotations

import math
import re
import unicodedata
from functools import lru_cache

from humanize import intcomma, naturalsize
from rich.cells import cell_len, chop_cells, set_cell_size

#: Letters, numbers, punctuation and symbols are drawn. Controls, formats (the bidi marks are
#: among them), surrogates, private and unassigned code points, and all spaces but the plain one
#: are written out.
_DRAWN_CATEGORIES = frozenset("LNPS")

#: Drawn as nothing, as a blank, or with a width on which terminals disagree, although their
#: category is harmless: fillers, variation selectors, emoji modifiers, regional indicators
#: (Unicode DerivedCoreProperties.txt, Default_Ignorable_Code_Point; Unicode emoji-data.txt).
_NEVER_DRAWN = (
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0),
    (0x1F1E6, 0x1F1FF),
    (0x1F3FB, 0x1F3FF),
    (0xE0000, 0xE0FFF),
)

_SHORT_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\\": r"\\"}
_MARKS_IN_A_ROW = 2
_FULL_ID = re.compile(r"(?:sha256:)?([0-9a-f]{64})(-init|-removing)?")
_EIGHTHS = " ▏▎▍▌▋▊▉"


def safe(value: bytes | str, width: int | None = None, ellipsis: str = "…") -> str:
    r"""Make a name drawable, at most ``width`` cells of it (then it ends with the ellipsis).

    Everything that is not a plain letter, number, mark, sign or space is written out: ``\x1b``
    for a control or a byte that is no UTF-8, ``\u202e`` or ``\U000e0001`` for a code point,
    ``\n``, ``\r``, ``\t``, and ``\\`` for a backslash. So two names that differ still differ
    when drawn, and the result is one line. At most two combining marks follow one letter. A
    ``str`` made by :func:`os.fsdecode` gives the same text as its bytes. Never raises.
    """
    if width is not None:
        # Two marks and a letter share one cell, and a letter is at most four bytes.
        value = value[: (4 * width + 8) * (4 if isinstance(value, bytes) else 1)]
    text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
    if not (text.isascii() and text.isprintable() and "\\" not in text):
        text = _drawable(text)
    return text if width is None else fit(text, width, ellipsis)


def command(value: str) -> str:
    """A shell command as it is to be typed: as :func:`safe`, but a backslash stays one.

    Where anything else would have to be written out, backslashes are written out too, so that a
    name cannot pass for another one.
    """
    return value if safe(plain := value.replace("\\", "")) == plain else safe(value)


def _drawable(text: str) -> str:
    parts: list[str] = []
    # A mark needs a letter before it: at the start, or after an escape, it is written out.
    marks = _MARKS_IN_A_ROW
    for character in text:
        if _is_mark(character) and marks < _MARKS_IN_A_ROW:
            marks += 1
            parts.append(character)
        elif _is_drawn(character):
            marks = 0
            parts.append(character)
        else:
            marks = _MARKS_IN_A_ROW
            parts.append(_written_out(character))
    return "".join(parts)


@lru_cache(8192)
def _is_drawn(character: str) -> bool:
    if character == " ":
        return True
    return (
        unicodedata.category(character)[0] in _DRAWN_CATEGORIES
        and character != "\\"
        and not _is_excluded(character)
        and cell_len(character) > 0
    )


@lru_cache(2048)
def _is_mark(character: str) -> bool:
    # Spacing (Mc) and enclosing (Me) marks take no cell in one terminal and one in the next.
    return (
        unicodedata.category(character) == "Mn"
        and not _is_excluded(character)
        and cell_len(character) == 0
    )


def _is_excluded(character: str) -> bool:
    code = ord(character)
    return any(first <= code <= last for first, last in _NEVER_DRAWN)


def _written_out(character: str) -> str:
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8 (PEP 383)
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def fit(text: str, width: int, ellipsis: str = "…") -> str:
    """Cut drawable ``text`` to at most ``width`` cells; what was cut ends with the ellipsis."""
    if cell_len(text) <= width:
        return text
    room = width - cell_len(ellipsis)
    if room < 0:
        return ""
    # A wide letter that would be halved leaves a blank.
    return set_cell_size(text, room) + ellipsis


def fit_end(text: str, width: int, ellipsis: str = "…") -> str:
    """Cut drawable ``text`` to at most ``width`` cells from the left: the end of a path counts."""
    surplus = cell_len(text) - width
    if surplus <= 0:
        return text
    surplus += cell_len(ellipsis)
    if surplus > cell_len(text):
        return ""
    dropped = 0
    for start, character in enumerate(text):
        # Marks go with the letter that was dropped before them.
        if dropped >= surplus and cell_len(character):
            return ellipsis + text[start:]
        dropped += cell_len(character)
    return ellipsis


def pad(text: str, width: int) -> str:
    """Make drawable ``text`` exactly ``width`` cells, cut with an ellipsis or filled at the end."""
    return set_cell_size(fit(text, width), width)


def wrapped(text: str, width: int) -> list[str]:
    """Fold drawable ``text`` into lines of at most ``width`` cells (2 at least); never empty.

    A line ends at a space or after a slash where that wastes less than half of it, else at any
    letter: ids and paths are shown whole. Only the space at a fold is dropped.
    """
    width = max(2, width)
    lines: list[str] = []
    while cell_len(text) > width:
        line = chop_cells(text, width)[0]
        fold = len(line) if text[len(line)] == " " else max(line.rfind(" "), line.rfind("/") + 1)
        if fold <= len(line) // 2:
            fold = len(line)
        lines.append(text[:fold])
        text = text[fold:].removeprefix(" ")
    return [*lines, text]


def size(n: int) -> str:
    """``n`` bytes for a column of 10 cells: ``18.2 GiB``, ``512 B``."""
    return f"{n} B" if abs(n) < 1024 else str(naturalsize(n, binary=True))


def count(n: int) -> str:
    """``n`` with thousands apart: ``2,600,000``."""
    return intcomma(n)


def short_count(n: int) -> str:
    """``n`` in at most five cells (below 10**15): ``950``, ``412k``, ``30.1M``, ``1.2G``."""
    if n < 1000:
        return str(n)
    value = float(n)
    for unit in ("k", "M", "G", "T"):
        value /= 1000
        if value < 999.5 or unit == "T":
            break
    return f"{value:.1f}{unit}" if value < 99.95 else f"{value:.0f}{unit}"


def bar(share: float, width: int, ascii: bool = False) -> str:
    """A bar of exactly ``width`` cells, ``share`` (0..1) of it full; any share above 0 shows."""
    eighths = math.ceil(min(1.0, max(0.0, share)) * width * 8)
    if ascii:
        return ("#" * round(eighths / 8)).ljust(width)
    whole, part = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[part] if part else "")).ljust(width)


def gauge(share: float, width: int, ascii: bool = False) -> str:
    """A bar in brackets with its empty part drawn, ``width`` cells with the brackets."""
    inner = max(0, width - 2)
    full = round(min(1.0, max(0.0, share)) * inner)
    filled, empty = ("#", "-") if ascii else ("█", "░")
    return f"[{filled * full}{empty * (inner - full)}]"


def percent(used: int, free: int) -> int:
    """Percent used, rounded up as df(1) does; 0 where there is nothing."""
    total = used + free
    return -(-100 * used // total) if total > 0 else 0


def short_id(id: str) -> str:
    """The first 12 digits of a 64-digit id (``-init`` kept, ``sha256:`` dropped), others whole.

    An id that does not look like one comes back unchanged, so it is not yet safe to draw.
    """
    match = _FULL_ID.fullmatch(id)
    return match[1][:12] + (match[2] or "") if match else id


def age(seconds: float) -> str:
    """A span of time in its largest unit: ``12 s``, ``4 min``, ``3 h``, ``5 d``, ``2 y``."""
    seconds = max(0.0, seconds)
    for limit, unit, word in ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds // unit)} {word}"
    days = int(seconds // 86400)
    return f"{days} d" if days < 730 else f"{days // 365} y"
