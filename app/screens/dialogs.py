"""The small screens over the explorer: details, problems, help. Escape closes each of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer

from app.model import Problem
from styles import sheet
from widgets.details_pane import DetailsPane, Line, Section

_CLOSE: list[BindingType] = [
    Binding("escape,q,i,E,question_mark,left", "dismiss", "Close", key_display="esc"),
    # A dialog does not ask the app by itself.
    Binding("ctrl+c", "app.help_quit", "Stop the scan", show=False),
]

_RESULT_WIDEST = 90  # as in its sheet


class DetailsScreen(Screen[None]):
    """The details of one row on a screen of their own."""

    CSS = sheet("details")
    BINDINGS: ClassVar[list[BindingType]] = _CLOSE

    def __init__(self, sections: Sequence[Section]) -> None:
        super().__init__()
        self._sections = sections

    def compose(self) -> ComposeResult:
        yield DetailsPane()
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        pane = self.query_one(DetailsPane)
        pane.show(self._sections)
        pane.focus()


class _Dialog(ModalScreen[None]):
    """A page of sections in a frame over the explorer."""

    BINDINGS: ClassVar[list[BindingType]] = _CLOSE

    def __init__(self, title: str, sections: Sequence[Section]) -> None:
        super().__init__()
        self._title = title
        self._sections = sections

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as frame:
            frame.border_title = self._title
            frame.border_subtitle = "esc closes"
            yield DetailsPane()

    def on_mount(self) -> None:
        pane = self.query_one(DetailsPane)
        pane.show(self._sections)
        pane.focus()


class ErrorsScreen(_Dialog):
    """What could not be read, each with its next step."""

    CSS = sheet("errors")


class ResultScreen(_Dialog):
    """What came of a removal."""

    CSS = sheet("removal")
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "dismiss", "Close", show=False)]

    def on_resize(self) -> None:
        """As high as what it says, as far as there is room."""
        pane = self.query_one(DetailsPane)
        width = min(_RESULT_WIDEST, self.app.size.width) - 5  # frame, padding, scroll bar
        pane.styles.height = max(1, min(pane.lines_at(width), self.app.size.height - 2))


class HelpScreen(_Dialog):
    """The keys, made from the bindings themselves."""

    CSS = sheet("help")


def problem_sections(
    witnesses: Iterable[str], problems: Sequence[Problem], unreadable: Sequence[bytes], unnamed: int
) -> list[Section]:
    """Who answered, every problem, and the paths that are missing from the figures.

    ``unnamed`` counts unreadable entries beyond those whose paths are kept.
    """
    sections = [Section("who answered", [Line("", words) for words in dict.fromkeys(witnesses)])]
    sections += [
        Section(it.source, [Line("", it.sentence, "warn" if it.hides_owners else "")])
        for it in dict.fromkeys(problems)
    ]
    if unreadable or unnamed:
        lines = [Line("", path) for path in unreadable]
        lines += [Line("", f"and {unnamed} more")] if unnamed else []
        sections.append(Section("not in the figures: could not be read", lines))
    elif len(sections) == 1:
        sections.append(Section("no problems", [Line("", "Everything could be read.")]))
    return sections
