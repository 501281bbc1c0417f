"""The colours: a calm dark theme, one of high contrast, one in the terminal's own 16 colours.

No theme says anything that a word on the screen does not say too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textual.app import App
from textual.theme import Theme

CALM = Theme(
    name="whodiff",
    primary="#6a9fc4",
    secondary="#456a8a",
    accent="#e3b566",
    warning="#dba84a",
    error="#e5737d",
    success="#83b58c",
    foreground="#d3dae0",
    background="#14191e",
    surface="#14191e",
    panel="#1d242b",
    dark=True,
    variables={
        "text-muted": "#8b98a4",
        "text-warning": "#e0b264",
        "text-error": "#f08c95",
        "border": "#3a4753",
        "border-blurred": "#2a343d",
        "block-cursor-background": "#2c5578",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-text-style": "bold",
        "block-cursor-blurred-background": "#263440",
        "block-cursor-blurred-foreground": "#d3dae0",
        "footer-background": "#1d242b",
        "footer-key-foreground": "#e3b566",
        "scrollbar": "#33404b",
        "scrollbar-background": "#14191e",
    },
)

HIGH_CONTRAST = Theme(
    name="whodiff-high-contrast",
    primary="#66d9ff",
    secondary="#66d9ff",
    accent="#ffff00",
    warning="#ffd700",
    error="#ff8080",
    success="#66ff66",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#000000",
    boost="#000000",
    dark=True,
    text_alpha=1.0,
    variables={
        "text": "#ffffff",
        "text-muted": "#e6e6e6",
        "text-disabled": "#c0c0c0",
        "text-warning": "#ffd700",
        "text-error": "#ff8080",
        "text-primary": "#66d9ff",
        "text-accent": "#ffff00",
        "foreground-muted": "#e6e6e6",
        "border": "#ffffff",
        "border-blurred": "#c0c0c0",
        "block-cursor-background": "#ffff00",
        "block-cursor-foreground": "#000000",
        "block-cursor-text-style": "bold",
        "block-cursor-blurred-background": "#4d4d4d",
        "block-cursor-blurred-foreground": "#ffffff",
        "button-color-foreground": "#000000",
        "footer-background": "#000000",
        "footer-foreground": "#ffffff",
        "footer-key-foreground": "#ffff00",
        "footer-description-foreground": "#ffffff",
        "scrollbar": "#ffffff",
        "scrollbar-hover": "#ffff00",
        "scrollbar-active": "#ffff00",
        "scrollbar-background": "#000000",
    },
)

TERMINAL = Theme(
    name="whodiff-terminal",
    ansi=True,
    primary="ansi_cyan",
    secondary="ansi_cyan",
    accent="ansi_yellow",
    warning="ansi_yellow",
    error="ansi_bright_red",
    success="ansi_green",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    dark=True,
    variables={
        # Textual's own sheets ask every theme of this kind for these two.
        "ansi-background": "ansi_black",
        "ansi-foreground": "ansi_white",
        "text-muted": "ansi_default",
        "text-disabled": "ansi_default",
        "border": "ansi_default",
        "border-blurred": "ansi_default",
        "block-cursor-background": "ansi_blue",
        "block-cursor-foreground": "ansi_bright_white",
        "block-cursor-text-style": "bold",
        "block-cursor-blurred-background": "ansi_default",
        "block-cursor-blurred-foreground": "ansi_default",
        "footer-key-foreground": "ansi_yellow",
        "scrollbar": "ansi_cyan",
        "scrollbar-hover": "ansi_cyan",
        "scrollbar-active": "ansi_cyan",
        "scrollbar-background": "ansi_default",
        "input-cursor-text-style": "reverse",
        "input-selection-background": "ansi_cyan",
        "input-selection-foreground": "ansi_black",
        "screen-selection-background": "ansi_cyan",
        "screen-selection-foreground": "ansi_black",
    },
)


def register(app: App[Any]) -> None:
    """Make the three themes known to the app, and so to its command palette."""
    for theme in (CALM, HIGH_CONTRAST, TERMINAL):
        app.register_theme(theme)


def fitting(color_system: str | None, no_color: bool) -> str:
    """The name of the theme for a terminal: 16 colours or none take the terminal's own.

    ``color_system`` is what ``app.console.color_system`` says; with ``no_color`` the terminal's
    theme sends no colour at all, and bold and reverse do the work.
    """
    plain = no_color or color_system not in ("256", "truecolor")
    return TERMINAL.name if plain else CALM.name


def native_colors(environ: Mapping[str, str]) -> bool | None:
    """What ``App(ansi_color=...)`` needs, before any theme is set.

    With NO_COLOR Textual picks one of two filters when the app is made (``App.__init__``): the
    one for native colours sends none, the other one turns the terminal's own colours black.
    """
    return True if "NO_COLOR" in environ else None
