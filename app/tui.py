"""The Textual app: composition only."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import ClassVar, NoReturn

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.screen import Screen
from textual.theme import ThemeProvider
from textual.worker import WorkerFailed

from app import __version__
from app.cleanup.execute.outcome import Outcome, Progress
from app.cleanup.plan.model import Plan
from app.cleanup.plan.model import Wish as Asked
from app.discovery.request import Request
from app.host.own_file import check_own
from app.screens.explore import ExploreScreen
from app.screens.removal import Removal
from app.screens.wish import Wish
from app.terminal.driver import TerminalApp, TerminalDriver
from app.usage.order import Column
from styles import sheet, themes
from widgets.scrollbar import use_ascii_scrollbars


class WhodiffApp(TerminalApp):
    """One explorer screen and the dialogs above it."""

    CSS = sheet("explore") + sheet("filter")
    TITLE = f"whodiff {__version__}"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        # Above all pages: who is asked something may have to look elsewhere first.
        Binding("ctrl+z", "suspend_process", "Suspend", show=False, priority=True)
    ]

    def __init__(self, wish: Wish, removal: Removal | None = None) -> None:
        """``removal`` is what the cleanup room does for this wish, unless it is given."""
        super().__init__(driver_class=TerminalDriver, ansi_color=themes.native_colors(os.environ))
        self.failure: Exception | None = None  # an error of its own that ended it
        self._wish = wish
        self._removal = removal or removal_for(wish)
        if wish.ascii:
            self.add_class("-ascii")
            use_ascii_scrollbars()

    def on_mount(self) -> None:
        themes.register(self)
        self.theme = themes.fitting(self.console.color_system, self.no_color)

    def get_default_screen(self) -> Screen[None]:
        return ExploreScreen(self._wish, self._removal)

    def action_command_palette(self) -> None:
        """Search all commands; the toolkit's own invitation to do so is no ASCII."""
        self.push_screen(CommandPalette(placeholder="Search for commands"))

    def search_themes(self) -> None:
        """Search the themes, by an invitation that is ASCII too."""
        self.push_screen(CommandPalette([ThemeProvider], placeholder="Search for themes"))

    def action_suspend_process(self) -> None:
        """Stop as any program at Ctrl+Z, with all of this job (sudo, a script), until continued."""
        if not self.is_headless:
            os.kill(0, signal.SIGTSTP)

    def action_help_quit(self) -> None:
        """Ctrl+C on the pages that have no meaning of their own for it: what it means below them.

        The toolkit would say with which key to quit.
        """
        explorer = self.screen_stack[0]
        if isinstance(explorer, ExploreScreen) and not explorer.stop():
            self.notify("Nothing is being measured. Ctrl+Q quits.", markup=False)

    def _handle_exception(self, error: Exception) -> None:
        """Leave; who started the explorer says why, as of any other command (app.cli).

        Textual (8.2.8) calls this with whatever a handler or a worker raised. Its own, which is
        private, prints a traceback with every local variable.
        """
        if self.leaving:
            self._close_messages_no_wait()
            return
        if isinstance(error, WorkerFailed) and isinstance(error.error, Exception):
            error = error.error
        self.failure = self.failure or error
        if self._exception is None:  # for its pilot, which raises it in the tests
            self._exception = error
            self._exception_event.set()
        self._return_code = 2
        self._close_messages_no_wait()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every key of the explorer by its words, and the colours.

        The toolkit's own commands are left out: one of them writes a file.
        """
        if isinstance(screen, ExploreScreen):
            for binding in screen.palette():
                action = partial(screen.run_action, binding.action)
                yield SystemCommand(binding.description, binding.tooltip, action)
        yield SystemCommand("Theme", "other colours; one of high contrast", self.search_themes)


def removal_for(wish: Wish) -> Removal:
    """The cleanup room for the explorer: each call looks at the world as it is then.

    It is imported when the first plan is asked for: the first frame does not wait for it.
    """

    def plan(asked: Asked, before: Sequence[Plan] = ()) -> Plan:
        from app.cleanup.plan.planner import fresh_plan  # noqa: PLC0415 - as said above

        return fresh_plan(asked, wish.request, before=before)

    def run(shown: Plan, progress: Progress) -> Outcome:
        from app.cleanup.execute.engine import EngineCalls  # noqa: PLC0415
        from app.cleanup.execute.executor import execute  # noqa: PLC0415
        from app.cleanup.execute.journal import Journal  # noqa: PLC0415
        from app.cleanup.plan.planner import fresh_plan, unmeasured  # noqa: PLC0415
        from app.engine.inventory import engine_url  # noqa: PLC0415

        calls = EngineCalls(engine_url(wish.request.host, wish.request.environ))
        renew = partial(fresh_plan, shown.wish, wish.request, unmeasured)
        return execute(shown, renew, calls, progress, Journal(wish.journal))

    return Removal(plan, run)


def explore(options: argparse.Namespace) -> int:
    """Draw the explorer until it is left; returns the exit status, or raises what ended it."""
    if options.journal:
        with suppress(FileNotFoundError):
            check_own(options.journal)
    wish = Wish(
        Request.of(options),
        Column(options.sort) if options.sort else None,
        options.apparent,
        options.ascii,
        not options.no_cache,
        read_only=options.read_only,
        journal=options.journal,
    )
    app = WhodiffApp(wish)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Of Python's own handler asyncio makes a cancellation, which Textual (8.2.8) takes for an
        # ordinary end. From the first frame on the driver has its own.
        signal.signal(signal.SIGINT, _interrupt)
    app.run(mouse=not options.no_mouse)
    if app.ended:
        return app.ended
    if isinstance(app.failure, BrokenPipeError):  # of a command it means that nobody reads on
        raise RuntimeError(str(app.failure)) from app.failure
    if app.failure:
        raise app.failure
    return app.return_code or 0


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
