"""The Textual app: composition only."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from functools import partial

from textual.app import App, SystemCommand
from textual.command import CommandPalette
from textual.screen import Screen

from app import __version__
from app.outline.order import Column
from app.screens.explore import ExploreScreen
from app.screens.wish import Wish
from app.stores.request import Request
from styles import sheet, themes
from widgets.scrollbar import use_ascii_scrollbars


class WhodiffApp(App[int]):
    """One explorer screen and the dialogs above it."""

    CSS = sheet("explore") + sheet("filter")
    TITLE = f"whodiff {__version__}"
    ENABLE_COMMAND_PALETTE = True

    def __init__(self, wish: Wish) -> None:
        super().__init__(ansi_color=themes.native_colors(os.environ))
        self._wish = wish
        if wish.ascii:
            self.add_class("-ascii")
            use_ascii_scrollbars()

    def on_mount(self) -> None:
        themes.register(self)
        self.theme = themes.fitting(self.console.color_system, self.no_color)

    def get_default_screen(self) -> Screen[None]:
        return ExploreScreen(self._wish)

    def action_command_palette(self) -> None:
        """Search all commands; the toolkit's own invitation to do so is no ASCII."""
        self.push_screen(CommandPalette(placeholder="Search for commands"))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every key of the explorer by its words, and the colours.

        The toolkit's own commands are left out: one of them writes a file.
        """
        if isinstance(screen, ExploreScreen):
            for binding in screen.palette():
                action = partial(screen.run_action, binding.action)
                yield SystemCommand(binding.description, binding.tooltip, action)
        yield SystemCommand("Theme", "other colours; one of high contrast", self.search_themes)


def explore(options: argparse.Namespace) -> int:
    """Draw the explorer until it is left; returns the exit status."""
    wish = Wish(
        Request.of(options),
        Column(options.sort) if options.sort else None,
        options.apparent,
        options.ascii,
        not options.no_cache,
    )
    app = WhodiffApp(wish)
    app.run(mouse=not options.no_mouse)
    return app.return_code or 0
