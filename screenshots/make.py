"""Draw the pictures in this folder anew: ``python -m screenshots.make``.

A scripted run on the demo's sample. What differs from machine to machine and from run to run (how
full the disk is, how long the scan took) is replaced before a picture is taken, so that the same
code gives the same pictures on the same kind of filesystem.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from textual.pilot import Pilot
from textual.widgets import Input

from app.demo.sample import build_sample
from app.model import Headroom
from app.screens.explore import ExploreScreen
from app.screens.wish import Wish
from app.survey import Request
from app.tui import WhodiffApp
from screenshots.plans import REMOVAL
from styles import themes
from widgets.headroom_bar import HeadroomBar
from widgets.status_line import StatusLine

FOLDER = Path(__file__).parent
SAMPLE = Path("/tmp/whodiff-pictures")
ROOT = SAMPLE / "docker"
WIDE, NARROW = (120, 36), (80, 24)
GIB = 1 << 30
#: The host of the story: room for bytes, next to none for files.
HEADROOM = Headroom(
    mount=b"/",
    fstype="ext4",
    device="/dev/vda1",
    bytes_used=325 * GIB,
    bytes_free=175 * GIB,
    inodes_used=32_700_000,
    inodes_free=68_000,
    inodes_total=32_768_000,
)


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: its name, the terminal's size and the keys that lead to it."""

    name: str
    size: tuple[int, int]
    keys: tuple[str, ...]
    ascii: bool = False


PICTURES = (
    Picture("by-owner", WIDE, ("C", "enter", "down")),
    Picture("drilled-down", WIDE, ("C", "enter", "enter", "enter", "enter")),
    Picture("by-directory", WIDE, ("C", "v")),
    Picture("details", WIDE, ("C", "enter", "enter", "i")),
    Picture("hot", NARROW, ("C", "H")),
    Picture("filter", WIDE, ("C", "slash", *"postgres")),
    Picture("help", WIDE, ("question_mark",)),
    Picture("problems", WIDE, ("E",)),
    Picture("delete", WIDE, ("C", "enter", "d")),
    Picture("refused", WIDE, ("slash", *"acme/web:2.4.1 +2", "enter", "d")),
    Picture("narrow-delete", NARROW, ("C", "enter", "d")),
    Picture("narrow", NARROW, ("C", "enter", "enter", "enter", "enter")),
    Picture("narrow-details", NARROW, ("C", "enter", "enter", "i")),
    Picture("ascii", NARROW, ("C", "enter", "enter"), ascii=True),
)


async def draw(picture: Picture) -> str:
    """The picture as SVG."""
    view = Wish(Request((bytes(ROOT),), offline=True), ascii=picture.ascii)
    app = WhodiffApp(view, REMOVAL)
    async with app.run_test(size=picture.size) as pilot:
        explorer = app.screen
        assert isinstance(explorer, ExploreScreen)
        app.theme = themes.CALM.name
        explorer.query_one(Input).cursor_blink = False
        await until(pilot, lambda: not explorer.busy)
        for key in picture.keys:
            await pilot.press(key)
            await pilot.pause(0.3)  # a directory is listed in a thread
        bar = explorer.query_one(HeadroomBar)
        bar.update_headroom(bytes(ROOT), HEADROOM)
        status = explorer.query_one(StatusLine)
        status.update_progress(
            "scanned 24,341 entries in 0.2 s, 12 s ago; names from disk alone: --offline",
            "scanned 24,341 entries, 12 s ago; names from disk alone",
            busy=False,
        )
        await pilot.pause()
        return app.export_screenshot(title="whodiff")


async def until(pilot: Pilot[int], condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds, at most half a minute."""
    for _ in range(600):
        if condition():
            return
        await pilot.pause(0.05)
    raise TimeoutError("the scan of the sample does not end")


def main() -> int:
    """Draw every picture; returns the exit status."""
    if SAMPLE.exists():
        print(f"{SAMPLE} is in the way: remove it, it is left over from another run.")
        return 1
    SAMPLE.mkdir()
    try:
        build_sample(ROOT)
        for picture in PICTURES:
            path = FOLDER / f"{picture.name}.svg"
            path.write_text(asyncio.run(draw(picture)), encoding="utf-8")
            print(path.relative_to(FOLDER.parent))
    finally:
        rmtree(SAMPLE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
