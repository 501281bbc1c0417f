"""A command on a real pseudo-terminal, with a clock on every byte that it writes."""

from __future__ import annotations

import fcntl
import os
import queue
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import pyte

REPOSITORY = Path(__file__).parents[2]
#: What the explorer draws before the row under the cursor.
CURSOR = "▶"
#: The tree takes at least so many columns of a screen of 120.
TREE_COLUMNS = 70


class NeverShownError(Exception):
    """The screen did not become what was waited for; the message holds the screen."""


class Terminal:
    """Starts a command in a PTY and keeps its screen. Times are seconds of ``time.monotonic``.

    A thread does nothing but read and look at the clock; parsing happens in :meth:`wait_for`, so
    that the parser's own time is not counted.
    """

    def __init__(self, command: Sequence[str], columns: int = 120, lines: int = 36) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self._chunks: queue.Queue[tuple[float, bytes]] = queue.Queue()
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=REPOSITORY,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._master)

    def press(self, keys: str) -> float:
        """Type ``keys``; returns the moment before they were sent."""
        now = time.monotonic()
        os.write(self._master, keys.encode())
        return now

    def wait_for(self, condition: Callable[[Terminal], bool], timeout: float = 10.0) -> float:
        """The moment at which the bytes arrived that made ``condition`` true.

        Raises NeverShownError after ``timeout`` seconds.
        """
        moment = time.monotonic()
        deadline = moment + timeout
        while not condition(self):
            try:
                moment, data = self._chunks.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise NeverShownError("\n".join(self.screen.display)) from None
            self._stream.feed(data)
        return moment

    def settle(self, quiet: float = 0.3, timeout: float = 10.0) -> None:
        """Read on until nothing has arrived for ``quiet`` seconds, at most ``timeout``."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                _, data = self._chunks.get(timeout=quiet)
            except queue.Empty:
                return
            self._stream.feed(data)

    def catch_up(self) -> None:
        """Parse what has arrived already."""
        while not self._chunks.empty():
            self._stream.feed(self._chunks.get()[1])

    @property
    def text(self) -> str:
        """The screen as plain text."""
        return "\n".join(self.screen.display)

    @property
    def cursor_line(self) -> int | None:
        """The line of the row under the cursor, which carries a sign in the first cells."""
        return next((n for n, line in enumerate(self.rows) if CURSOR in line[:3]), None)

    def line_of(self, text: str) -> int | None:
        """The first line that contains ``text``."""
        return next((n for n, line in enumerate(self.rows) if text in line), None)

    @property
    def rows(self) -> list[str]:
        """The screen's lines without the details beside them."""
        return [line[:TREE_COLUMNS] for line in self.screen.display]

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return
            self._chunks.put((time.monotonic(), data))
