"""The explorer with a made-up cleanup room behind it, and how a test gets about in its dialogs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from app.screens.confirm import ConfirmScreen
from app.screens.explore import ExploreScreen
from app.tui import WhodiffApp
from tests.tui.explorer import NARROW, WIDE, Explorer, wish
from tests.tui.removals import Room
from widgets.choice import Choice
from widgets.details_pane import DetailsPane

BOTH_SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
WORD = "3f9c12ab04de"
HOSTILE = "ev\x1b[31mil\u202e\n[red]x[/nope]"
SAFE = r"ev\x1b[31mil\u202e\n[red]x[/nope]"


@asynccontextmanager
async def removing(
    root: Path,
    room: Room,
    size: tuple[int, int] = WIDE,
    *,
    read_only: bool = False,
    ascii: bool = False,
) -> AsyncIterator[Explorer]:
    """The explorer with names and figures there, and ``room`` behind it."""
    wanted = replace(wish(root, ascii=ascii), read_only=read_only)
    app = WhodiffApp(wanted, room.removal)
    async with app.run_test(size=size, notifications=True) as pilot:
        explorer = Explorer(app, pilot)
        await explorer.at_rest()
        yield explorer


async def ask(it: Explorer, *keys: str) -> None:
    """Press ``d`` behind ``keys`` and wait for the dialog."""
    await it.press(*keys, "d")
    await in_dialog(it)


async def in_dialog(it: Explorer) -> None:
    await it.until(lambda: isinstance(it.app.screen, ConfirmScreen))
    await it.pilot.pause(0.05)


async def back(it: Explorer) -> None:
    """Wait until the explorer has the keys again."""
    await it.until(lambda: isinstance(it.app.screen, ExploreScreen))


def focused(it: Explorer) -> str:
    return (it.app.focused and it.app.focused.id) or ""


def button(it: Explorer, id: str) -> Choice:
    return it.app.screen.query_one(f"#{id}", Choice)


async def focus(it: Explorer, id: str) -> None:
    """Tab until the widget has the keys."""
    for _ in range(12):
        if focused(it) == id:
            return
        await it.press("tab")
    raise AssertionError(f"tab does not lead to {id}:\n{it.text}")


async def whole(it: Explorer) -> str:
    """Plan and references, all lines of both, as they are drawn."""
    page = []
    for pane in it.app.screen.query(DetailsPane):
        pane.scroll_to(y=0, animate=False, force=True)
        await it.pilot.pause()
        seen: dict[int, str] = {}
        at = -1
        while pane.scroll_offset.y != at:
            at = pane.scroll_offset.y
            seen |= {at + y: pane.render_line(y).text.rstrip() for y in range(pane.size.height)}
            pane.action_scroll_page(1)
            await it.pilot.pause()
        page += [seen[line] for line in sorted(seen)]
    return "\n".join(page)
