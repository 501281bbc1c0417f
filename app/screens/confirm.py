"""The dialog before a removal: what, how much, by which call, what refers to it, and Cancel.

Cancel has the keys, Escape is no, and the buttons stay on the screen whatever the length of what
stands above them. What is typed counts exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Input, Static

from app.cleanup.plan.batch import Together
from app.screens.modal import Modal
from app.screens.plan_words import question_sections, reference_groups
from app.text import safe, wrapped
from styles import sheet
from widgets.choice import Choice
from widgets.details_pane import DetailsPane
from widgets.reference_list import ReferenceList

WIDEST = 104
_FRAME = 4  # cells that the frame and its padding take from the width
_BAR = 1  # the scroll bar's
_LEAST = 4  # lines that the references keep where room is short


class Answer(Enum):
    """What the user chose. ``VOLUMES``: plan again, with the anonymous volumes or without."""

    NO = "no"
    DELETE = "delete"
    VOLUMES = "volumes"


class ConfirmScreen(Modal[Answer]):
    """One question. Where nothing may be deleted there is nothing but Close."""

    CSS = sheet("confirm")
    AUTO_FOCUS = "#no"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "no", "Cancel", show=False),
        Binding("pagedown", "turn(1)", "Page down", show=False),
        Binding("pageup", "turn(-1)", "Page up", show=False),
        Binding("down", "line(1)", "Scroll down", show=False),
        Binding("up", "line(-1)", "Scroll up", show=False),
        Binding("left", "app.focus_previous", "Previous", show=False),
        Binding("right", "app.focus_next", "Next", show=False),
    ]

    def __init__(
        self,
        question: Together,
        *,
        asked: Sequence[str] = (),
        anew: bool = False,
        read_only: bool = False,
        ascii: bool = False,
    ) -> None:
        """``asked`` are the sentences that the first yes was answered with.

        ``anew`` where ticking the box made this plan: it takes the place of one that was read.
        """
        super().__init__()
        self._question = question
        self._asked = asked
        self._anew = anew
        self._read_only = read_only
        self._ascii = ascii

    @property
    def _may_delete(self) -> bool:
        return bool(self._question.plans) and not self._read_only

    @property
    def _word(self) -> str:
        """What must be typed; "" for nothing."""
        return self._question.word if self._may_delete else ""

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as frame:
            frame.border_title = self._heading()
            yield DetailsPane(id="plan")
            yield ReferenceList(id="references")
            yield from self._conditions()
            with Horizontal(id="answers"):
                if self._may_delete:
                    delete = "Delete" if not self._asked else "Delete all the same"
                    yield Choice(delete, ascii=self._ascii, id="delete", disabled=bool(self._word))
                    yield Choice("Cancel", ascii=self._ascii, id="no")
                else:
                    yield Choice("Close", ascii=self._ascii, id="no")

    def _heading(self) -> str:
        if self._read_only:
            return "plan only"
        if not self._question.plans:
            return "not possible"
        return "really delete?" if self._asked else "delete?"

    def _conditions(self) -> ComposeResult:
        if not self._may_delete:
            return
        question = self._question
        if question.offered_volumes or question.with_volumes:
            number = len(question.offered_volumes)
            which = f"the {number} anonymous volumes" if number > 1 else "the anonymous volume"
            words = f"remove {which} too"
            yield Choice(words, ticked=question.with_volumes, ascii=self._ascii, id="volumes")
        if self._word:
            yield Static(Text(self._request()), id="request")
            yield Input(compact=True, select_on_focus=False, id="word")

    def _request(self) -> str:
        return f"Type {safe(self._word)} to confirm (Tab leads here):"

    def on_mount(self) -> None:
        question = self._question
        self.query_one("#plan", DetailsPane).show(
            question_sections(question, self._asked, self._read_only, anew=self._anew)
        )
        self.query_one(ReferenceList).show_references(reference_groups(question))
        self._fit()

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        """Share the lines: each part takes what it needs, or both scroll."""
        inner = min(WIDEST, self.app.size.width) - _FRAME
        plan, references = self._panes()
        below = sum(self._lines(it, inner) for it in self.query("#volumes, #request, #word"))
        room = max(2, self.app.size.height - 2 - below - 2)  # the frame; the buttons, a blank above
        need, listed = plan.lines_at(inner - _BAR), references.lines_at(inner - _BAR) + 1
        if need + listed > room:
            listed = min(listed, max(min(listed, _LEAST), room // 3, room - need))
            need = max(1, min(need, room - listed))
        plan.styles.height, references.styles.height = need, max(1, min(listed, room - need))
        self.call_after_refresh(self._show_hint)

    def _lines(self, widget: Widget, width: int) -> int:
        return len(wrapped(self._request(), width)) if widget.id == "request" else 1

    def _panes(self) -> tuple[DetailsPane, ReferenceList]:
        return self.query_one("#plan", DetailsPane), self.query_one(ReferenceList)

    def _show_hint(self) -> None:
        """Say in words that there is more than is to be seen."""
        for pane in self._panes():
            pane.can_focus = bool(pane.max_scroll_y)
        more = any(pane.can_focus for pane in self._panes())
        hint = "PgDn: there is more; esc: no" if more else "esc: no"
        self.query_one(".dialog").border_subtitle = hint

    def action_turn(self, pages: int) -> None:
        """Scroll the plan, and once it is at its end the references; back the other way round."""
        if pane := self._next_pane(pages):
            pane.action_scroll_page(pages)

    def action_line(self, lines: int) -> None:
        """The same by lines. These keys never lead to a button: who scrolls is still reading."""
        if pane := self._next_pane(lines):
            pane.action_scroll_by(lines)

    def _next_pane(self, direction: int) -> DetailsPane | None:
        """What is to scroll; None at the end."""
        for pane in self._panes() if direction > 0 else self._panes()[::-1]:
            end = pane.max_scroll_y if direction > 0 else 0
            if pane.scroll_offset.y != end:
                return pane
        return None

    @on(Input.Changed)
    def _compare(self, message: Input.Changed) -> None:
        self.query_one("#delete", Choice).disabled = message.value != self._word

    @on(Input.Submitted)
    def _go_on(self) -> None:
        """Enter behind the word leads to the button; it presses nothing."""
        delete = self.query_one("#delete", Choice)
        if not delete.disabled:
            delete.focus()

    @on(Choice.Pressed, "#no")
    def action_no(self) -> None:
        """Nothing is removed."""
        self.answer(Answer.NO)

    @on(Choice.Pressed, "#volumes")
    def _toggle_volumes(self) -> None:
        self.answer(Answer.VOLUMES)

    @on(Choice.Pressed, "#delete")
    def _delete(self) -> None:
        typed = self.query_one(Input).value if self._word else ""
        if self._may_delete and typed == self._word:
            self.answer(Answer.DELETE)
