"""What somebody at the keyboard waits for, measured on a pseudo-terminal."""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.figures import Result, milliseconds, spread
from tests.bench.roots import FLAT_CONTAINER, FLAT_FOLDER, NAME, BenchRoot
from tests.bench.terminal import NeverShownError, Terminal

STARTS = 7
KEYS = 200
#: A pause between keys, so that each one meets the screen in another state.
BETWEEN_KEYS = 0.013
# A name from this host, or a group of the view by owner with the number of its members.
_NAMES = re.compile(rf"{NAME}\w+|containers \(\d+\)")
_SCANNING = "scanning"


def command(root: BenchRoot, *options: str) -> list[str]:
    """The explorer on this root, without any engine."""
    return [
        sys.executable, "-m", "app.cli", "--data-root", str(root.path), "--offline", *options
    ]  # fmt: skip


def measure_start(root: BenchRoot) -> list[Result]:
    """From the start of the process to the first frame, and to the names of the layers' owners."""
    frames, names = [], []
    for _ in range(STARTS):
        with Terminal(command(root)) as terminal:
            frame = terminal.wait_for(lambda t: bool(t.text.strip()))
            named = terminal.wait_for(lambda t: bool(_NAMES.search(t.text)))
            frames.append(frame - terminal.started)
            names.append(named - terminal.started)
    return [
        Result("first frame", _of_starts(frames), "under 300 ms"),
        Result("names of 500 layers on screen", _of_starts(names), "under 500 ms"),
    ]


def measure_keys_during_scan(root: BenchRoot) -> list[Result]:
    """j and k while the sizes of the whole root are being measured."""
    with _explorer(root) as terminal:
        delays = [_press(terminal, key) for key in _keys_while_scanning(terminal)]
        return [Result("key, during a scan of 300,000 inodes", spread(delays), "p99 under 50 ms")]


def measure_keys_in_flat_directory(root: BenchRoot) -> list[Result]:
    """Open a directory of 100,000 entries, then j and k and whole pages in it."""
    with _explorer(root) as terminal:
        _wait_for_end_of_scan(terminal)
        for row in (FLAT_CONTAINER, "writable layer"):
            _go_down_to(terminal, row)
            terminal.press("l")
            terminal.settle()
        _go_down_to(terminal, FLAT_FOLDER)
        pressed = terminal.press("l")
        opened = terminal.wait_for(lambda t: t.line_of("entry-") is not None) - pressed
        terminal.settle()
        delays = [_press(terminal, key) for key in _alternating()]
        return [
            Result("open a directory of 100,000 entries", milliseconds(opened), "no pause"),
            Result("key, with 100,000 rows open", spread(delays), "p99 under 50 ms"),
            Result(
                "to the last of 100,000 rows", milliseconds(_press(terminal, "G")), "under 50 ms"
            ),
        ]


@contextmanager
def _explorer(root: BenchRoot) -> Iterator[Terminal]:
    # Sorted by name no row moves by itself, so the cursor moves for keys only.
    with Terminal(command(root, "--sort", "name")) as terminal:
        terminal.wait_for(lambda t: bool(_NAMES.search(t.text)) and t.cursor_line is not None)
        yield terminal


def _of_starts(seconds: list[float]) -> str:
    return (
        f"median {milliseconds(statistics.median(seconds))}, worst {milliseconds(max(seconds))} "
        f"of {len(seconds)}"
    )


def _press(terminal: Terminal, key: str) -> float:
    """Seconds until the cursor is on another line because of ``key``."""
    time.sleep(BETWEEN_KEYS)
    terminal.catch_up()
    before = terminal.cursor_line
    pressed = terminal.press(key)
    return terminal.wait_for(lambda t: t.cursor_line not in {before, None}) - pressed


def _alternating() -> Iterator[str]:
    """j, k, j, k ..."""
    for number in range(KEYS):
        yield "jk"[number % 2]


def _keys_while_scanning(terminal: Terminal) -> Iterator[str]:
    """Keys, with a new scan of everything whenever the last one has ended."""
    for key in _alternating():
        if _SCANNING not in terminal.text:
            terminal.press("R")
            terminal.wait_for(lambda t: _SCANNING in t.text)
        yield key


def _wait_for_end_of_scan(terminal: Terminal) -> None:
    terminal.wait_for(lambda t: _SCANNING in t.text)
    terminal.wait_for(lambda t: _SCANNING not in t.text, timeout=120)
    terminal.settle()


def _line_at_cursor(terminal: Terminal) -> str:
    line = terminal.cursor_line
    return "" if line is None else terminal.rows[line]


def _go_down_to(terminal: Terminal, name: str) -> None:
    """Move the cursor down to the next row with ``name`` in it."""
    for _ in range(terminal.screen.lines):
        if name in _line_at_cursor(terminal):
            return
        _press(terminal, "j")
    raise NeverShownError(f"No row {name} to be found on\n{terminal.text}")
