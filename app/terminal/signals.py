"""Signals, one after the other, and never in the middle of setting the terminal."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

#: Those that end a program: a closed terminal, Ctrl+C and Ctrl+\ from outside, kill(1).
ENDING = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})

_HEARD = (*sorted(ENDING), signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)


class Signals:
    """Hands signals on, in the main thread: at once, or after what must not be disturbed."""

    def __init__(self, answer: Callable[[int], None]) -> None:
        self._answer = answer
        self._waiting: deque[int] = deque()
        self._busy = False

    def listen(self) -> None:
        """From now on, until the program ends: what one ignores stays ignored (nohup(1)).

        Who is in the background is stopped when it reads or sets the terminal, whoever started it.
        """
        for number in _HEARD:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._hear)
        for number in (signal.SIGTTIN, signal.SIGTTOU):
            signal.signal(number, signal.SIG_DFL)

    @property
    def ending(self) -> bool:
        """Whether one waits that ends the program."""
        return any(number in ENDING for number in self._waiting)

    def forget(self, number: int) -> bool:
        """Answer none of these that wait; whether one did."""
        found = number in self._waiting
        while number in self._waiting:
            self._waiting.remove(number)
        return found

    @contextmanager
    def later(self) -> Iterator[None]:
        """What comes meanwhile is answered afterwards."""
        if self._busy:
            yield
            return
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
            self._answer_all()

    def stop_here(self) -> None:
        """Stop as Ctrl+Z does, and return once continued: at once where nobody could do that.

        The kernel stops nobody whose process group has no parent to continue it (setpgid(2),
        "orphaned"), but for SIGSTOP.
        """
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, handler)

    def _hear(self, number: int, _: FrameType | None) -> None:
        self._waiting.append(number)
        self._answer_all()

    def _answer_all(self) -> None:
        while self._waiting and not self._busy:
            self._busy = True
            try:
                self._answer(self._waiting.popleft())
            finally:
                self._busy = False
