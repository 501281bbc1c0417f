"""The pages while something goes on: looking at what refers to it, and the removal itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from app.cleanup.execute.outcome import Outcome, Progress
from app.cleanup.plan.batch import Replan, one_after_another
from app.cleanup.plan.model import Plan, Wish
from app.screens.modal import Modal
from app.screens.plan_words import progress_sections
from app.screens.threads import in_thread
from styles import sheet
from widgets.details_pane import DetailsPane, Line, Section

POLL = 0.1  # seconds between two looks


class LookingScreen(Modal[tuple[Plan, ...] | None]):
    """Makes the plans in a thread; answers with them, or None after Escape."""

    CSS = sheet("removal")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "cancel", "Cancel", show=False, priority=True)
    ]

    def __init__(self, plan: Replan, wishes: Sequence[Wish]) -> None:
        super().__init__()
        self._plan = plan
        self._wishes = tuple(wishes)
        self._plans: list[Plan] = []
        self._found: tuple[Plan, ...] | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as frame:
            frame.border_subtitle = "esc cancels"
            yield DetailsPane()

    def on_mount(self) -> None:
        self._show()
        self.set_interval(POLL, self._show)
        self._look()

    @work
    async def _look(self) -> None:
        # Looking changes nothing, so that one who will not wait need not.
        for wish in self._wishes:
            self._plans.append(await in_thread(partial(self._plan, wish, ()), abandoned=True))
        ordered = partial(one_after_another, self._plans, self._plan)
        self._found = await in_thread(ordered, abandoned=True)
        self._show()

    def _show(self) -> None:
        done, total = len(self._plans), len(self._wishes)
        if self._found is not None:
            self.answer(self._found)
            return
        words = f"{done + 1} of {total}" if total > 1 else "names, mounts, sizes"
        if done == total > 1:
            words = "what they share"
        self.query_one(DetailsPane).show(
            [Section("looking at what refers to it...", [Line("", words)])]
        )

    def action_cancel(self) -> None:
        """Nothing has been changed."""
        self.answer(None)


class RunningScreen(Modal[tuple[Outcome, ...]]):
    """Carries plans out in a thread; answers with their outcomes, up to the first failed one."""

    CSS = sheet("removal")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "stop", "Stop", show=False, priority=True)
    ]

    def __init__(
        self, run: Callable[[Plan, Progress], Outcome], plans: Sequence[Plan], progress: Progress
    ) -> None:
        super().__init__()
        self._run_one = run
        self._plans = tuple(plans)
        self._progress = progress
        self._at = 0
        self._outcomes: tuple[Outcome, ...] | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as frame:
            frame.border_title = "deleting"
            yield DetailsPane()

    def on_mount(self) -> None:
        self._show()
        self.set_interval(POLL, self._show)
        self._begin()

    def on_unmount(self) -> None:
        # The program is left in the middle: no further entry goes.
        self._progress.stop()

    @work
    async def _begin(self) -> None:
        self._outcomes = await in_thread(self._carry_out, abandoned=False)
        self._show()

    def _carry_out(self) -> tuple[Outcome, ...]:
        outcomes: list[Outcome] = []
        for at, plan in enumerate(self._plans):
            if self._progress.stopped or not all(outcome.done for outcome in outcomes):
                break
            self._at = at
            outcomes.append(self._run_one(plan, self._progress))
        return tuple(outcomes)

    def _show(self) -> None:
        if self._outcomes is not None:
            self.answer(self._outcomes)
            return
        self.query_one(DetailsPane).show(progress_sections(self._plans, self._at, self._progress))

    def action_stop(self) -> None:
        """Stop between two entries."""
        self._progress.stop()
        self._show()
