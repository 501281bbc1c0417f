"""The explorer on the demo's data root, driven by keys and read from the screen."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from textual.pilot import Pilot

from app.screens.explore import ExploreScreen
from app.screens.wish import Wish
from app.survey import Request
from app.tui import WhodiffApp
from widgets.usage_tree import UsageTree

WIDE, NARROW = (120, 36), (80, 24)
#: Turns of 50 ms that something may take on a busy machine.
PATIENCE = 2400
_SIGN = re.compile(r"^ *(?:[▾▸>v] )?")


@dataclass
class Explorer:
    """What a test sees and does: the screen as lines of text, keys, and waiting."""

    app: WhodiffApp
    pilot: Pilot[int]

    @property
    def lines(self) -> list[str]:
        """The screen, top to bottom, as it is drawn."""
        strips = self.app.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip).rstrip() for strip in strips]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def tree(self) -> UsageTree:
        return self.app.screen_stack[0].query_one(UsageTree)

    @property
    def rows(self) -> list[str]:
        """The tree's lines without its heading."""
        return [self.tree.render_line(y).text for y in range(1, self.tree.size.height)]

    @property
    def names(self) -> list[str]:
        """The rows' names, without the signs of opened and closed rows."""
        at = self.tree.render_line(0).text.index(self.heading)
        names = (_SIGN.sub("", row[at:]).rstrip() for row in self.rows)
        return [name for name in names if name]

    def inodes(self, words: str) -> int:
        """The inodes on the first row with these words."""
        heading = self.tree.render_line(0).text
        end = heading.index("INODES") + len("INODES") + (2 if "INODES " in heading else 0)
        row = next(row for row in self.rows if words in row)
        return int(re.sub(r"\D", "", row[end - 11 : end + 2]))

    @property
    def heading(self) -> str:
        return "OWNER" if "OWNER" in self.tree.render_line(0).text else "DIRECTORY"

    @property
    def cursor(self) -> str:
        """The line under the cursor."""
        return next((row for row in self.rows if row[:1] in "▶*"), "")

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until ``condition`` holds; fails with the screen."""
        for _ in range(PATIENCE):
            if condition():
                return
            await self.pilot.pause(0.05)
        raise AssertionError(f"it did not come:\n{self.text}")

    async def step(self, *keys: str) -> None:
        """Press, and wait until another page is there."""
        before = self.app.screen
        await self.press(*keys)
        await self.until(lambda: self.app.screen is not before)

    async def at_rest(self) -> None:
        """Wait until names and figures are there."""
        explorer = self.app.screen_stack[0]
        assert isinstance(explorer, ExploreScreen)
        await self.until(lambda: not explorer.busy)
        await self.pilot.pause()

    async def go_to(self, words: str) -> None:
        """Move down to the next row with these words."""
        for _ in range(200):
            if words in self.cursor:
                return
            await self.press("down")
        raise AssertionError(f"no row {words}:\n{self.text}")


def wish(root: Path, *, ascii: bool = False) -> Wish:
    """Look at this root from the disk alone."""
    return Wish(Request((bytes(root),), offline=True), ascii=ascii)


@asynccontextmanager
async def exploring(
    wanted: Wish, size: tuple[int, int] = WIDE, *, rested: bool = True
) -> AsyncIterator[Explorer]:
    """Run the explorer; with its names and figures there, unless told otherwise."""
    app = WhodiffApp(wanted)
    async with app.run_test(size=size, notifications=True) as pilot:
        explorer = Explorer(app, pilot)
        if rested:
            await explorer.at_rest()
        yield explorer
