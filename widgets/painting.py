"""From parts (a text and the name of its style) to the strips that Textual draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

Part = tuple[str, str]


def strip_of(
    parts: Iterable[Part], width: int, style: Callable[[str], Style], ground: str = "text"
) -> Strip:
    """One line of exactly ``width`` cells; every text in ``parts`` is drawable already."""
    segments = [Segment(words, style(name)) for words, name in parts if words]
    return Strip(segments).adjust_cell_length(width, style(ground)).simplify()


def parts_width(parts: Iterable[Part]) -> int:
    """Cells that the parts take together."""
    return Strip([Segment(words) for words, _ in parts]).cell_length
