"""Scroll bars for terminals that draw nothing but ASCII."""

from __future__ import annotations

from typing import ClassVar

from textual.scrollbar import ScrollBar, ScrollBarRender


class AsciiScrollBarRender(ScrollBarRender):
    """Whole cells of background colour only; the ends are not drawn in eighths."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "] * 8
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "] * 8


def use_ascii_scrollbars() -> None:
    """Make every scroll bar of the process ASCII (Textual keeps the renderer on the class)."""
    ScrollBar.renderer = AsciiScrollBarRender
