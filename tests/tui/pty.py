"""A command on a pseudo-terminal: what it sends byte by byte, and the screen that this makes."""

from __future__ import annotations

import os
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import pexpect
import pyte
from wcwidth import wcswidth

from tests.tui.tty import signals_of_a_shell

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0

#: All that Textual sends on its own.
ALLOWED = re.compile(
    rb"\x1b\[0m\r\n(?=\x1b\[)"  # from one drawn line to the next: never inside a text
    rb"|\x1b\[[0-9;]*[Hm]"  # move, colour
    rb"|\x1b\[\?[0-9]+[hl]|\x1b\[\?[0-9]+\$p"  # modes, and questions about them
    rb"|\x1b\[[<>=][0-9;]*[um]|\x1b\[\?u|\x1b\[c|\x1b\[6n"  # keyboard, questions
    rb"|\x1b\]22;default\x07"  # the pointer's shape
    rb"|\x1bP=[12]s\x1b\\"  # synchronised output, old form
)


class Terminal:
    """A Python module on a pseudo-terminal of its own; use it as a context."""

    def __init__(
        self, command: Sequence[str], size: tuple[int, int] = (120, 36), **environ: str
    ) -> None:
        columns, lines = size
        dropped = ("NO_COLOR", "COLORTERM", "TERM", "LINES", "COLUMNS")
        env = {name: value for name, value in os.environ.items() if name not in dropped}
        env |= {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", **environ}
        self.sent = b""
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.child = pexpect.spawn(
            sys.executable,
            ["-m", *command],
            cwd=str(ROOT),
            env=env,
            dimensions=(lines, columns),
            preexec_fn=signals_of_a_shell,
        )
        self.child.delaybeforesend = None

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.close(force=True)

    @property
    def display(self) -> list[str]:
        """The screen's lines."""
        return list(self.screen.display)

    @property
    def text(self) -> str:
        return "\n".join(self.display)

    @property
    def cursor(self) -> str:
        """The line of the row under the cursor."""
        return next((line for line in self.display if line[:1] in "▶*"), "")

    def press(self, keys: str) -> None:
        """Type."""
        self.child.send(keys)

    def step(self, keys: str, look: Callable[[], object]) -> None:
        """Type, and wait until what ``look`` sees is another than before."""
        before = look()
        self.press(keys)
        self.until(lambda: look() != before)

    def until(self, done: Callable[[], object]) -> None:
        """Read until the screen is as wanted and the terminal has been quiet for a moment."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                chunk = self.child.read_nonblocking(65536, 0.2)
            except pexpect.TIMEOUT:
                if done():
                    return
                continue
            self.sent += chunk
            self._stream.feed(chunk)
            if b"\x1b[?1049l" in chunk:
                return
        raise AssertionError("the screen did not come:\n" + self.text)

    def end(self) -> int:
        """Read to the end; returns the exit status."""
        try:
            while True:
                self.sent += self.child.read_nonblocking(65536, PATIENCE)
        except pexpect.EOF:
            self.child.wait()
        return int(self.child.exitstatus or 0)


def foreign(sent: bytes) -> set[str]:
    """Characters in the output that are neither allowed nor drawable."""
    drawn = ALLOWED.sub(b"", sent).decode("utf-8", "surrogateescape")
    return {c for c in drawn if unicodedata.category(c)[0] in "CZ" and c != " "}


def colours(sent: bytes) -> set[bytes]:
    """The colour codes in the output."""
    return {
        code
        for codes in re.findall(rb"\x1b\[([0-9;]*)m", sent)
        for code in codes.split(b";")
        if code and (30 <= int(code) <= 38 or 40 <= int(code) <= 48 or int(code) >= 90)
    }


def cells(screen: pyte.Screen, y: int) -> list[str]:
    """One text per cell of a line; a wide letter leaves an empty one behind itself."""
    line = [screen.buffer[y][x].data for x in range(screen.columns)]
    assert sum(max(0, wcswidth(cell)) for cell in line) <= screen.columns
    return line


def visible(screen: pyte.Screen) -> bool:
    """Whether every letter has another colour than its ground."""
    drawn = [screen.buffer[y][x] for y in range(screen.lines) for x in range(screen.columns)]
    return all(it.fg == "default" or it.fg != it.bg for it in drawn if it.data.strip())
