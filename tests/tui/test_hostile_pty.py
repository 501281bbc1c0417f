"""Hostile names on a real terminal: none of their bytes arrive, and nothing is out of line.

The app runs on a PTY. What it sends is checked twice: byte by byte against the few sequences that
a drawn screen needs, and as the screen that a terminal (pyte) makes of it.
"""

from __future__ import annotations

import os
import unicodedata
from functools import partial

import pyte
import pytest

from tests.tui.hostile_app import NAMES
from tests.tui.pty import Terminal, cells, colours, foreign, visible

Seen = tuple[bytes, pyte.Screen]


def drive(columns: int, lines: int, moves: int, **environ: str) -> Seen:
    """Run the app, move the cursor down, and return what was sent and the screen at the end."""
    with Terminal(["tests.tui.hostile_app"], (columns, lines), **environ) as terminal:
        terminal.until(lambda: "(press E)" in terminal.display[-1])
        for move in range(moves):
            terminal.press("j")
            # Below the headroom, the heading and the rows before.
            terminal.until(partial(_is_at, terminal, 3 + move))
        assert terminal.child.isalive(), "the app ended by itself"
        return terminal.sent, terminal.screen


def _is_at(terminal: Terminal, line: int) -> bool:
    return terminal.display[line].startswith("▶")


@pytest.fixture(scope="module")
def narrow() -> Seen:
    return drive(80, 36, 0)


@pytest.fixture(scope="module")
def wide() -> Seen:
    """120 columns, and the details of every name drawn once."""
    return drive(120, 36, len(NAMES) - 1)


@pytest.mark.parametrize("terminal", ["narrow", "wide"])
def test_no_control_of_a_name_reaches_the_terminal(
    terminal: str, request: pytest.FixtureRequest
) -> None:
    sent, _ = request.getfixturevalue(terminal)
    assert foreign(sent) == set()
    assert "\u0301\u0301\u0301".encode() not in sent, "three marks in a row"
    for name, wanted in NAMES:
        raw = os.fsencode(name)
        assert raw.startswith(wanted.encode()) or raw not in sent


@pytest.mark.parametrize("terminal", ["narrow", "wide"])
def test_the_screen_stays_in_line(terminal: str, request: pytest.FixtureRequest) -> None:
    _, screen = request.getfixturevalue(terminal)
    header = next(y for y, line in enumerate(screen.display) if "INODES" in line)
    columns = cells(screen, header)
    name_at = "".join(columns).index("OWNER")
    inodes_end = "".join(columns).index("INODES") + len("INODES")
    for n in range(len(NAMES)):
        line = cells(screen, header + 1 + n)
        figure = f"{1000 * n:,}"
        assert "".join(line[inodes_end - len(figure) : inodes_end]) == figure
        indent = 2 * (n % 3)
        sign = line[name_at + indent]
        assert sign == ("▸" if n % 2 == 0 else " ")
        shown = "".join(line[name_at + indent + 2 :])
        wanted = unicodedata.normalize("NFC", NAMES[n][1])[:12]  # pyte composes letters
        assert shown.startswith(wanted), f"{NAMES[n][0]!r} is drawn as {shown!r}"


def test_the_border_of_the_details_is_straight(wide: Seen) -> None:
    _, screen = wide
    header = next(y for y, line in enumerate(screen.display) if "INODES" in line)
    border = cells(screen, header).index("▏")
    for y in range(header, header + len(NAMES) + 1):
        assert cells(screen, y)[border] == "▏", f"line {y} is out of place"


def test_what_stands_around_the_names_is_whole(narrow: Seen) -> None:
    _, screen = narrow
    first, last = screen.display[0], screen.display[-1]
    assert r"\n\u202e" in first
    assert "80% FILLING" in first
    assert "95% LOW" in first
    assert r"scanning \x1b[2J\r\xff[red]x[/nope]" in last
    assert "3 unreadable (press E)" in last


def test_without_colour_no_colour_is_sent() -> None:
    sent, screen = drive(80, 36, 1, NO_COLOR="1")
    assert foreign(sent) == set()
    assert colours(sent) == set()
    marked = [line for line in screen.display if line.startswith("▶")]
    assert len(marked) == 1
    assert r"\x1b]52" in marked[0]


def test_sixteen_colours_leave_every_letter_visible() -> None:
    sent, screen = drive(80, 36, 1, TERM="linux")
    assert b"38;2;" not in sent
    assert b"38;5;" not in sent
    assert visible(screen)
