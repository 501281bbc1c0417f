"""A small app that draws hostile names in every widget; run on a PTY by test_hostile_pty."""

from __future__ import annotations

import os

from textual.app import App, ComposeResult
from textual.containers import Horizontal

from app.model import Headroom
from styles import sheet, themes
from widgets.details_pane import DetailsPane, Line, Section
from widgets.headroom_bar import HeadroomBar
from widgets.status_line import StatusLine
from widgets.usage_tree import Row, RowList, UsageTree

#: Every name, and what an operator must read of it (its beginning, where it is long).
NAMES: list[tuple[bytes | str, str]] = [
    (b"\x1b[31mRED\x1b[0m", r"\x1b[31mRED\x1b[0m"),
    (b"\x1b]52;c;cHduZWQ=\x07", r"\x1b]52;c;cHduZWQ=\x07"),
    (b"\x1b]0;title\x1b\\", r"\x1b]0;title\x1b\\"),
    (b"\x1b[?1049l\x1b[2J", r"\x1b[?1049l\x1b[2J"),
    (b"\x1bP$q q\x1b\\", r"\x1bP$q q\x1b\\"),
    (b"\x9b35mC1", r"\x9b35mC1"),
    ("\x9d52;c;eA==\x9c", r"\u009d52;c;eA==\u009c"),
    (b"\x07\x08\x0e\x0f\x7f\x00", r"\x07\x08\x0e\x0f\x7f\x00"),
    ("[red]red[/red]", "[red]red[/red]"),
    ("a[/nope]", "a[/nope]"),
    ("[@click=app.bell]x[/]", "[@click=app.bell]x[/]"),
    ("photo\u202egpj.exe", r"photo\u202egpj.exe"),
    ("\u2066iso\u2069\u200f\u061c", r"\u2066iso\u2069\u200f\u061c"),
    (b"inv\xff\xfe\xc3(", r"inv\xff\xfe\xc3("),
    (os.fsdecode(b"sur\xed\xa0\x80"), r"sur\xed\xa0\x80"),
    (b"two\nlines\r\tx\x0bv\x0c", r"two\nlines\r\tx\x0bv\x0c"),
    ("para\u2028\u2029\x85sep", r"para\u2028\u2029\u0085sep"),
    (b"L" * 255, "LLLLLLLLLL"),
    ("zero\u200bwidth\u200d\ufeff", r"zero\u200bwidth\u200d\ufeff"),
    ("z" + "\u0301" * 40, "z\u0301\u0301" + r"\u0301"),
    ("日本語のとても長い名前ですよ", "日本語"),
    ("emoji 😀 👍🏽 👨‍👩‍👧 🇩🇪 ❤️", "emoji 😀 👍\\U0001f3fd"),
    ("🇩🇪🇫🇷 flags", r"\U0001f1e9\U0001f1ea"),
    ("\U000e0041\ue000\U0010fffd", r"\U000e0041\ue000\U0010fffd"),
    (b"", ""),
]


class Hostile(App[None]):
    """Draws NAMES; ``q`` quits."""

    CSS = sheet("explore")
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012
    BINDINGS = [("q", "quit", "Quit")]  # noqa: RUF012
    ENABLE_COMMAND_PALETTE = False

    def __init__(self) -> None:
        super().__init__(ansi_color=themes.native_colors(os.environ))

    def compose(self) -> ComposeResult:
        yield HeadroomBar()
        with Horizontal(id="explore"):
            yield UsageTree()
            yield DetailsPane()
        yield StatusLine()

    def on_mount(self) -> None:
        themes.register(self)
        self.theme = themes.fitting(self.console.color_system, self.no_color)
        gib = 1 << 30
        evil = b"/srv\x1b[5m\n\xe2\x80\xae"
        self.query_one(HeadroomBar).update_headroom(
            evil, Headroom(evil, "ext4\x1b]2;x\x07", "/dev/\x9bvda", 4 * gib, gib, 95, 5, 100)
        )
        tree = self.query_one(UsageTree)
        tree.show(
            RowList(
                [
                    Row(n, n % 3, name, gib * (n + 1), 1000 * n, 0.5, str(name)[:9], n % 2 == 0)
                    for n, (name, _) in enumerate(NAMES)
                ]
            )
        )
        tree.focus()
        self.query_one(StatusLine).update_progress(b"scanning \x1b[2J\r\xff[red]x[/nope]")
        self.query_one(StatusLine).update_problems(3)

    def on_usage_tree_highlighted(self, message: UsageTree.Highlighted) -> None:
        name, _ = NAMES[message.key or 0]
        evil = name if isinstance(name, str) else os.fsdecode(name)
        self.query_one(DetailsPane).show(
            [Section(name, [Line(evil, name, "warn"), Line("", name)]), Section(name, [])]
        )


if __name__ == "__main__":
    Hostile().run(mouse=False)
