"""The command with a fault put in: ``python -m tests.tui.faults FAULT ARGUMENT...``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import NoReturn

from app import cli, survey
from app.screens import work
from app.screens.explore import ExploreScreen
from app.terminal.keyboard import Keyboard

WORDS = "made up\nhere \x1b[31m"
SLOW = 300.0  # seconds; longer than any test waits


def _raise(*_: object, **__: object) -> NoReturn:
    hidden = "no local variable is shown"  # noqa: F841 - it is looked for on the terminal
    raise ValueError(WORDS)


def _broken_pipe(*_: object) -> NoReturn:
    raise BrokenPipeError(32, "Broken pipe")


def _wait(*_: object) -> NoReturn:
    time.sleep(SLOW)
    raise AssertionError("nobody waits that long")


#: By name: what is put in the place of what. ``r`` meets the first two, ``v`` the third.
FAULTS: dict[str, tuple[object, str, Callable[..., NoReturn]]] = {
    "worker": (work, "mark", _raise),
    "pipe": (work, "mark", _broken_pipe),
    "handler": (ExploreScreen, "action_view", _raise),
    "survey": (work, "survey", _raise),
    "keys": (Keyboard, "feed", _raise),
    "slow-survey": (survey, "survey_in_steps", _wait),
    "slow-listing": (work, "list_place", _wait),
}


def main() -> int:
    """Put the fault in and run the command."""
    _, fault, *arguments = sys.argv
    place, name, wrong = FAULTS[fault]
    setattr(place, name, wrong)
    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
