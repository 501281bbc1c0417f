"""Textual's driver for the explorer: it leaves the terminal as it was, however it ends.

Textual's own (8.2.8, ``LinuxDriver``) draws on stderr, ends with a traceback on a byte that is no
UTF-8, has no handler for signals that end a program, and spins on a terminal that is gone. This one
is built on its public base class. What must not be shared by two threads is done in the main one.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import signal
import termios
from collections.abc import Callable
from functools import partial

from rich.console import RenderableType
from textual import constants
from textual.app import App
from textual.driver import Driver
from textual.events import Resize
from textual.geometry import Size

from app.terminal import modes
from app.terminal.output import Output
from app.terminal.reader import Reader
from app.terminal.signals import ENDING, Signals

PATIENCE = 0.5  # seconds to wait for a slow terminal to take the last bytes
_IN, _OUT = 0, 1
_LOST = 128 + signal.SIGHUP  # the status of who was ended by a terminal that went


class _Stage(enum.Enum):
    OFF = enum.auto()  # not yet, or stopped: the terminal is as it was
    ON = enum.auto()
    ENDED = enum.auto()  # it is as it was, and stays so


class TerminalApp(App[int]):
    """An app that knows that it is being left, and is ended from outside too.

    Pages that are still being opened then meet errors, which are nobody's concern.
    """

    leaving = False
    ended: int = 0  # the status that it ends with, where a signal or a lost terminal ended it

    def exit(
        self,
        result: int | None = None,
        return_code: int = 0,
        message: RenderableType | None = None,
    ) -> None:
        self.leaving = True
        super().exit(result, return_code, message)

    def end(self, status: int) -> None:
        """Leave with this status."""
        self.ended = self.ended or status
        self.exit(return_code=status)


class TerminalDriver(Driver):
    """Draws on stdout and reads stdin, which are terminals (app.cli)."""

    _app: TerminalApp

    def __init__(
        self,
        app: TerminalApp,
        *,
        debug: bool = False,
        mouse: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size or modes.size_of(_OUT))
        self._main_loop = asyncio.get_running_loop()
        self._stage = _Stage.OFF
        self._before: modes.Attributes | None = None
        self._reader: Reader | None = None
        self._signals = Signals(self._answer)
        self._output = Output(_OUT, self._lost, self._draw_anew)
        shape = {"mouse": mouse, "kitty": not constants.DISABLE_KITTY_KEY}
        self._entering, self._leaving = modes.entering(**shape), modes.leaving(**shape)

    # --- what Textual asks for ------------------------------------------------------------------

    @property
    def can_suspend(self) -> bool:
        return True

    def write(self, data: str) -> None:
        if self._stage is _Stage.ON:
            self._output.write(data)

    def start_application_mode(self) -> None:
        with self._signals.later():
            self._signals.listen()
            self._enter()

    def disable_input(self) -> None:
        with self._signals.later():
            self._read_no_more()

    def stop_application_mode(self) -> None:
        with self._signals.later():
            self._leave(_Stage.ENDED)

    def close(self) -> None:
        self._output.close()

    def suspend_application_mode(self) -> None:
        with self._signals.later():
            self._leave(_Stage.OFF)

    def resume_application_mode(self) -> None:
        with self._signals.later():
            self._enter()

    # --- to the alternate screen and back -------------------------------------------------------

    def _enter(self) -> None:
        """Take the terminal, once it is ours; nothing where the program ends or it is gone."""
        if self._stage is _Stage.ENDED or not self._claim():
            return
        try:
            if self._stage is _Stage.ON:  # stopped by SIGSTOP, without a chance to leave
                self._output.write(self._leaving, needed=True)
                self._read_no_more()
            else:
                self._before = modes.attributes(_IN)
            modes.make_raw(_IN, self._before or modes.attributes(_IN))
        except termios.error:
            self._end(_LOST)
            return
        self._stage = _Stage.ON
        self._output.write(self._entering, needed=True)
        self._reader = Reader(_IN, self.process_message, self._lost, self._failed)
        self._tell_size()
        self._draw_anew()

    def _claim(self) -> bool:
        """Wait, stopped, until the terminal is ours; false where the program is to end instead."""
        while not modes.in_foreground(_IN) and not self._signals.ending:
            modes.wait_in_background()
            if not self._signals.forget(signal.SIGCONT) and not modes.can_be_continued(_IN):
                self._end(_LOST)
                return False
        self._signals.forget(signal.SIGCONT)
        return not self._signals.ending

    def _leave(self, stage: _Stage) -> None:
        """Give it back as it was; what is still to be drawn is drawn first, within reason."""
        if self._stage is _Stage.ON:
            self._output.write(self._leaving, needed=True)
            self._output.drain(PATIENCE)
            self._read_no_more()
            if self._before is not None:
                modes.put_back(_IN, self._before)
        if self._stage is not _Stage.ENDED:
            self._stage = stage

    def _read_no_more(self) -> None:
        reader, self._reader = self._reader, None
        if reader:
            reader.stop()

    # --- what comes from outside ----------------------------------------------------------------

    def _answer(self, number: int) -> None:
        """A signal, in the main thread, wherever that is; see signals."""
        if self._stage is _Stage.ENDED:
            return
        if number in ENDING:
            self._end(128 + number)
        elif number == signal.SIGTSTP:
            self._leave(_Stage.OFF)
            self._signals.stop_here()
            self._enter()
        elif number == signal.SIGCONT:
            self._enter()
        elif number == signal.SIGWINCH:
            self._tell_size()

    def _end(self, status: int) -> None:
        """Leave the terminal at once, and the program as soon as its loop goes on."""
        self._leave(_Stage.ENDED)
        self._in_main(partial(self._app.end, status))

    def _tell_size(self) -> None:
        size = Size(*modes.size_of(_OUT))
        self.send_message(Resize(size, size))

    # --- what comes from the two threads --------------------------------------------------------

    def _lost(self) -> None:
        self._in_main(self._end_as_lost)

    def _end_as_lost(self) -> None:
        with self._signals.later():
            if self._stage is not _Stage.ENDED:
                self._end(_LOST)

    def _draw_anew(self) -> None:
        self._in_main(partial(self._app.refresh, layout=True))

    def _failed(self, error: Exception) -> None:
        self._app.call_later(_raise, error)

    def _in_main(self, call: Callable[[], object]) -> None:
        """Call it in the loop, soon; in a program that is over, never."""
        with contextlib.suppress(RuntimeError):
            self._main_loop.call_soon_threadsafe(call)


def _raise(error: Exception) -> None:
    raise error
