"""A process on a pseudo-terminal that a test may set, take away and look at afterwards."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyte

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
#: Modes whose ordinary state is on.
USUALLY_ON = {7, 25}


def signals_of_a_shell() -> None:
    """What a job in the foreground begins with, however the tests were started (nohup, ``&``)."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


class Tty:
    """Starts a command on a terminal of its own; use it as a context.

    ``ignored`` signals are ignored in it as nohup(1) does; without ``controlling`` the terminal is
    nobody's, as after setsid(1). ``streams`` are Popen's, in place of the terminal.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        size: tuple[int, int] = (100, 30),
        controlling: bool = True,
        ignored: Sequence[int] = (),
        streams: dict[str, Any] | None = None,
        prepare: Callable[[], None] = lambda: None,
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        self.size = size
        self.resize(*size)
        self.before = termios.tcgetattr(self.slave)
        self.sent = b""
        self._since, self._fed = -1, 0
        dropped = ("NO_COLOR", "COLORTERM", "TERM", "LINES", "COLUMNS")
        env = {name: value for name, value in os.environ.items() if name not in dropped}
        env |= {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", **environ}

        def before() -> None:
            if controlling:
                fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
            signals_of_a_shell()
            for number in ignored:
                signal.signal(number, signal.SIG_IGN)
            prepare()

        places = {"stdin": self.slave, "stdout": self.slave, "stderr": self.slave}
        self.process = subprocess.Popen(
            command,
            **{**places, **(streams or {})},
            cwd=ROOT,
            env={name: value for name, value in env.items() if value != "-"},
            start_new_session=True,
            preexec_fn=before,  # noqa: PLW1509 - no thread here holds a lock that it takes
        )

    def __enter__(self) -> Tty:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        for descriptor in (self.master, self.slave):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: str | bytes) -> None:
        """Type; no longer than somebody reads what is typed."""
        left = keys.encode() if isinstance(keys, str) else keys
        deadline = time.monotonic() + PATIENCE
        while left and self.process.poll() is None and time.monotonic() < deadline:
            try:
                left = left[os.write(self.master, left) :]
            except BlockingIOError:
                self.read(0.02)

    def read(self, seconds: float = 0.1) -> bytes:
        """What comes within this time, at most one piece."""
        if self.master < 0:
            time.sleep(seconds)
            return b""
        if not select.select([self.master], [], [], seconds)[0]:
            return b""
        try:
            chunk = os.read(self.master, 65536)
        except OSError:
            return b""
        self.sent += chunk
        return chunk

    def screen(self, since: int = 0) -> str:
        """The screen that was sent since then makes, on an empty one."""
        if since != self._since:
            self._since, self._fed = since, since
            self._screen = pyte.Screen(*self.size)
            self._stream = pyte.ByteStream(self._screen)
        piece, self._fed = self.sent[self._fed :], len(self.sent)
        self._stream.feed(re.sub(rb"\x1b\[[<>=][0-9;]*u", b"", piece))
        return "\n".join(self._screen.display)

    def until(self, done: Callable[[], object], *, seconds: float = PATIENCE) -> None:
        """Read until this holds and the terminal is quiet for a moment."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.read(0.15) and done():
                return
        raise AssertionError("it did not come:\n" + self.screen())

    def see(self, words: str, *, since: int = 0, seconds: float = PATIENCE) -> None:
        """Wait until the screen has these words."""
        self.until(lambda: words in self.screen(since), seconds=seconds)

    def end(self, seconds: float = PATIENCE) -> int:
        """Read until the process has ended; its status, negative by a signal."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "it did not end:\n" + self.screen()
            self.read(0.02)
        while self.read(0.05):
            pass
        return self.process.returncode

    def close_master(self) -> None:
        """Take the terminal away, as a closing window or a dropped line does."""
        os.close(self.slave)
        os.close(self.master)
        self.slave = self.master = -1

    @property
    def attributes(self) -> list[Any]:
        return termios.tcgetattr(self.slave)

    def cpu(self) -> float:
        """CPU seconds of the process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def state(self) -> str:
        """One letter, see proc(5); "" when it is gone."""
        try:
            return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return ""

    def changed(self) -> list[str]:
        """What is not as it was before: modes, the keyboard, the attributes of the terminal."""
        left = left_on(self.sent)
        return [*left, *(["termios"] if self.attributes != self.before else [])]


def left_on(sent: bytes) -> list[str]:
    """What these bytes leave changed in a terminal that was in its ordinary state."""
    modes: dict[int, bool] = {}
    keyboards = 0
    for sequence in re.finditer(rb"\x1b\[(?:\?([0-9;]+)([hl])|([<>])[0-9;]*u)", sent):
        numbers, how, keyboard = sequence.groups()
        if keyboard:
            keyboards = max(0, keyboards + (1 if keyboard == b">" else -1))
        for number in (numbers or b"").split(b";"):
            if number:
                modes[int(number)] = how == b"h"
    odd = [f"mode {n}" for n, on in sorted(modes.items()) if on != (n in USUALLY_ON)]
    return [*odd, *([f"{keyboards} keyboards"] if keyboards else [])]


def explorer(root: Path, *options: str) -> list[str]:
    """The command on a data root, without Docker."""
    return [
        *(sys.executable, "-m", "app.cli", "--data-root", str(root)),
        *("--offline", "--no-cache", *options),
    ]
