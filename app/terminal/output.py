"""Writes to the terminal in a thread of its own: nobody waits for a slow one, or for a lost one."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import threading
from collections.abc import Callable

MOST = 500  # pieces that may wait; a frame has three
_AT_ONCE = 4096


class Output:
    """One thread that writes.

    ``lost`` is called once when nothing can be written any more. A terminal that takes nothing for
    long (a line that hangs) misses frames; ``behind`` is called when it takes something again.
    Both are called in the thread.
    """

    def __init__(
        self, descriptor: int, lost: Callable[[], None], behind: Callable[[], None]
    ) -> None:
        self._descriptor = descriptor
        self._lost = lost
        self._behind = behind
        self._missed = False
        # A SimpleQueue may be filled in a signal handler that interrupts whoever fills it.
        self._queue: queue.SimpleQueue[str | threading.Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="whodiff-screen", daemon=True)
        self._thread.start()

    def write(self, text: str, *, needed: bool = False) -> None:
        """Write this after what waits: where too much waits only if it is ``needed``."""
        if needed or self._queue.qsize() < MOST:
            self._queue.put(text)
        else:
            self._missed = True

    def drain(self, seconds: float) -> bool:
        """Wait until all is written, or so long; whether it is."""
        reached = threading.Event()
        self._queue.put(reached)
        return reached.wait(seconds)

    def close(self) -> None:
        """Write no more once what waits is written. Nobody waits for that."""
        self._queue.put(None)

    def _run(self) -> None:
        lost = False
        while (piece := self._queue.get()) is not None:
            if isinstance(piece, threading.Event):
                piece.set()
            elif not lost and not self._put(piece.encode("utf-8", "replace")):
                lost = True
                self._lost()
            if self._missed and not lost and self._queue.empty():
                self._missed = False
                self._behind()

    def _put(self, data: bytes) -> bool:
        """Write all of this; false when that is impossible."""
        while data:
            try:
                written = os.write(self._descriptor, data[:_AT_ONCE])
            except BlockingIOError:  # somebody made it so
                with contextlib.suppress(OSError):
                    select.select([], [self._descriptor], [], 1.0)
                continue
            except OSError:
                return False
            data = data[written:]
        return True
