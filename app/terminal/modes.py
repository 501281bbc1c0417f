"""What the explorer changes in a terminal, and how each of it is changed back.

Sources: termios(3); XTerm Control Sequences (ctlseqs), DEC private modes; the keyboard protocol of
kitty, "progressive enhancement".
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import termios
from collections.abc import Callable, Iterator
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Attributes: TypeAlias = "list[int | list[bytes | int]]"

_MOUSE = ("1000", "1003", "1015", "1006")  # clicks, moves, and two ways to tell of them
_KITTY = 0b1 | 0b1000 | 0b10000  # tell keys apart, all of them, with their text
_NO_SIZE = (80, 24)


def entering(*, mouse: bool, kitty: bool) -> str:
    """To the alternate screen, with all keys, pastes, the mouse and the focus reported."""
    return (
        "\x1b[?1049h"
        + (_set(_MOUSE, "h") if mouse else "")
        + "\x1b[?25l\x1b[?1004h"
        + (f"\x1b[>{_KITTY}u" if kitty else "")
        + "\x1b[?2026$p"  # does it draw a frame in one go?
        + "\x1b[?2004h\x1b[?7l"
    )


def leaving(*, mouse: bool, kitty: bool) -> str:
    """All of that back. The keyboard's mode belongs to the alternate screen, so it goes first."""
    return (
        "\x1b[?2026l\x1b[0m\x1b[?2004l\x1b[?7h"
        + (_set(_MOUSE, "l") if mouse else "")
        + ("\x1b[<u" if kitty else "")
        + "\x1b[?1049l\x1b[?25h\x1b[?1004l"
    )


def _set(modes: tuple[str, ...], how: str) -> str:
    return "".join(f"\x1b[?{mode}{how}" for mode in modes)


def size_of(descriptor: int) -> tuple[int, int]:
    """Columns and lines: the kernel's word, else the environment's, else 80 and 24."""
    try:
        columns, lines = os.get_terminal_size(descriptor)
    except OSError:
        columns, lines = 0, 0
    return columns or _number("COLUMNS", _NO_SIZE[0]), lines or _number("LINES", _NO_SIZE[1])


def _number(name: str, otherwise: int) -> int:
    word = os.environ.get(name, "")
    return (int(word) if word.isascii() and word.isdigit() and len(word) < 5 else 0) or otherwise


def attributes(descriptor: int) -> Attributes:
    """How the terminal is set. Raises termios.error, of a terminal that is gone too."""
    return _again(lambda: termios.tcgetattr(descriptor))


def make_raw(descriptor: int, before: Attributes) -> None:
    """Every byte that is typed is read as it is, at once. Raises termios.error."""
    raw = list(before)
    input_flags, local_flags, characters = raw[0], raw[3], raw[6]
    assert isinstance(input_flags, int)
    assert isinstance(local_flags, int)
    assert isinstance(characters, list)
    raw[0] = input_flags & ~(
        termios.IXON | termios.IXOFF | termios.ICRNL | termios.INLCR | termios.IGNCR
    )
    raw[3] = local_flags & ~(termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG)
    characters = [*characters]
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    raw[6] = characters
    _again(lambda: termios.tcsetattr(descriptor, termios.TCSANOW, raw))


def put_back(descriptor: int, before: Attributes) -> None:
    """As it was, unless another process has the terminal now; a lost one is left alone."""
    with contextlib.suppress(termios.error, OSError), _not_stopped_for_output():
        if in_foreground(descriptor):
            _again(lambda: termios.tcflush(descriptor, termios.TCIFLUSH))
            _again(lambda: termios.tcsetattr(descriptor, termios.TCSANOW, before))


def in_foreground(descriptor: int) -> bool:
    """Whether it is ours to set: true too where nobody controls jobs on it (setsid(1))."""
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return True


def wait_in_background() -> None:
    """Be stopped, with the whole job, as the kernel stops who sets a terminal from there (SIGTTOU).

    Not by setting it: that would begin again by itself once continued, whatever came meanwhile.
    """
    os.kill(0, signal.SIGTTOU)


def can_be_continued(descriptor: int) -> bool:
    """False where the kernel stops nobody, as nobody could continue us: it refuses then (EIO)."""
    try:
        termios.tcflow(descriptor, termios.TCOON)  # output goes on: it changes nothing
    except termios.error as error:
        return bool(error.args[0] == errno.EINTR)
    return True


def _again(call: Callable[[], T]) -> T:
    """The call, again when a signal came between: Python repeats that only in os and others."""
    while True:
        try:
            return call()
        except termios.error as error:
            if error.args[0] != errno.EINTR:
                raise


@contextlib.contextmanager
def _not_stopped_for_output() -> Iterator[None]:
    """Blocked, SIGTTOU does not stop who sets a terminal (tcsetattr(3), "background")."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
