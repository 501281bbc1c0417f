"""Reads the terminal in a thread of its own, until it is told to stop or the terminal is gone."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable

from textual.message import Message

from app.terminal.keyboard import Keyboard

TICK = 0.1  # seconds without a byte after which an escape is a key
PATIENCE = 1.0  # seconds to wait for the thread: it can be held up in read(2) by another reader
_AT_ONCE = 4096


class Reader:
    """One thread that reads.

    ``take`` gets the messages, and ``lost`` is called once when the terminal is gone: end of file,
    an error such as EIO, or a hang-up (poll(2)); ``failed`` with an error of its own: who reads no
    keys cannot be left. All are called in the thread.
    """

    def __init__(
        self,
        descriptor: int,
        take: Callable[[Message], None],
        lost: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._descriptor = descriptor
        self._take = take
        self._lost = lost
        self._failed = failed
        self._stopped = threading.Event()
        self._woken, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="whodiff-keys", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Read no more; once. Safe to call in a signal handler of the main thread."""
        self._stopped.set()
        os.close(self._waker)
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        try:
            self._read_on()
        except Exception as error:
            self._failed(error)
        finally:
            os.close(self._woken)

    def _read_on(self) -> None:
        keyboard = Keyboard()
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while not self._stopped.is_set():
            ready = poll.poll(TICK * 1000)
            if self._stopped.is_set():
                return
            if not ready:
                messages = keyboard.idle()
            else:
                data = self._read()
                if data == b"":
                    self._lost()
                    return
                messages = keyboard.feed(data) if data else []
            for message in messages:
                self._take(message)

    def _read(self) -> bytes | None:
        """Some bytes; none when the terminal is gone; None when there was nothing after all."""
        try:
            return os.read(self._descriptor, _AT_ONCE)
        except BlockingIOError:  # somebody made it so, or took what there was
            return None
        except OSError:
            return b""
