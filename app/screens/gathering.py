"""What goes on behind the explorer: names are read, figures measured, growth watched.

Names come from the survey, figures from the scan, both in the background; this half of the screen
is told of the one and polls the other, and puts both into the outline. How it looks is the other
half's (:mod:`app.screens.explore`).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from rich.text import Text
from textual import on, work
from textual.screen import Screen
from textual.worker import Worker, get_current_worker

from app.outline.levels import Place, read_level
from app.outline.outline import Outline, Thing
from app.scan.cache import Kept
from app.scan.cache_file import Entry
from app.screens import work as background
from app.screens.findings import Findings
from app.screens.listings import Listings
from app.screens.messages import CameOrWent, Failed, HeadroomRead, Marked, Surveyed
from app.screens.threads import in_thread
from app.screens.watching import Watch
from app.screens.wish import Wish
from app.screens.words import NO_ROW, NOT_MEASURED, READING, failed_words
from app.text import safe
from app.usage.filesystems import scarcer
from app.usage.order import Column, Order
from app.usage.session import Measuring
from app.usage.units import units_changed

POLL = 0.1  # seconds between two looks at the scan
HEADROOM = 5.0  # seconds between two looks at the filesystems


class GatheringScreen(Screen[None]):
    """One data root or several as an outline, which is kept true. Somebody else draws it."""

    def __init__(self, wish: Wish) -> None:
        super().__init__()
        self._wish = wish
        self._removed: tuple[bytes, ...] = ()
        self._outline = Outline(
            Order(wish.column or Column.BYTES, wish.column is not Column.NAME, wish.apparent)
        )
        self._order_chosen = wish.column is not None
        self._measuring = Measuring(self._outline.figures, self._outline.growths, Kept(wish.cache))
        self._listings = Listings()
        self._watch = Watch()
        self._findings = Findings(self._outline.figures)

    def _gather(self) -> None:
        """Begin. The first frame comes before the first import of the engine's SDK."""
        self.set_interval(POLL, self._poll)
        self.set_interval(HEADROOM, self._look_at_headroom)
        self.call_after_refresh(self._start_survey)

    def on_unmount(self) -> None:
        self._measuring.close()

    # --- what the other half does ---------------------------------------------------------------

    def _thing(self) -> Thing | None:
        """What the cursor is on."""
        raise NotImplementedError

    def _show_rows(self, keep: int | None = None) -> None:
        """The outline has other rows, or other figures."""
        raise NotImplementedError

    def _show_status(self) -> None:
        """What goes on has changed."""
        raise NotImplementedError

    def _tell(self, *sentences: str) -> None:
        """Answer in the status line; the longest way to say it comes first."""
        raise NotImplementedError

    def _show_headings(self) -> None:
        """The columns or their order have changed."""
        raise NotImplementedError

    def _show_headroom(self) -> None:
        """The filesystems' figures have changed."""
        raise NotImplementedError

    def _set_order(self, order: Order) -> None:
        """Sort in another way."""
        raise NotImplementedError

    @property
    def busy(self) -> bool:
        """Whether names or figures are still on their way."""
        return self._reading or self._measuring.active or self._findings.asking

    @property
    def _reading(self) -> bool:
        """Whether names are read that decide what is measured."""
        return self._measuring.news is None or self._measuring.renewing

    # --- names ----------------------------------------------------------------------------------

    def _look(self, look: Callable[[], object], group: str, *, exclusive: bool = False) -> None:
        """Look at something in a thread. Nothing is changed there, so who leaves does not wait."""

        async def work() -> None:
            await in_thread(look, abandoned=True)

        _: Worker[None] = self.run_worker(work, group=group, exclusive=exclusive)

    @work(exclusive=True, group="survey")
    async def _start_survey(self, at_once: bool = True, all_anew: bool = False) -> None:
        worker, kept = get_current_worker(), self._measuring.kept

        def survey() -> None:
            if all_anew:
                kept.forget()
            background.survey(
                self._wish.request, kept, self.post_message, lambda: worker.is_cancelled, at_once
            )

        await in_thread(survey, abandoned=True)

    @on(Surveyed)
    def _take_names(self, message: Surveyed) -> None:
        self._findings.survey, self._findings.failure = message.survey, ""
        self._measuring.ask_for(inodes=self._outline.order.column is Column.INODES)
        self._measuring.want(message.units, message.marks)
        self._outline.show(message.survey.stores, tuple(unit.path for unit in message.units))
        self._measure_changed(message)
        self._show_rows()
        self._show_status()
        self.call_after_refresh(_collect_garbage_again)

    def _measure_changed(self, message: Surveyed) -> None:
        """After a removal: what lay beside the removed things, and nothing else."""
        if not self._removed:
            return
        units = units_changed(message.units, self._removed)
        for place in self._outline.places(units):
            self._list(place)
        self._measure(units)
        self._removed = ()

    @on(Failed)
    def _give_up(self, message: Failed) -> None:
        """Leave when there is nothing to show; else go on with the names and figures there are."""
        if self._findings.survey is None:
            self.app.exit(return_code=2, message=Text(f"whodiff: {safe(message.sentence)}"))
            return
        self._findings.failure = message.sentence
        self._measuring.not_renewed()
        self._tell(*failed_words(message.sentence))
        self._show_status()

    # --- figures --------------------------------------------------------------------------------

    def _poll(self) -> None:
        if not self._measuring.active:
            self._watch_on()
            return
        finished = self._measuring.poll()
        if self._measuring.watching and not self._measuring.active and self._measuring.news:
            self._watch.note(time.monotonic(), self._measuring.news.elapsed)
            self._look_for_others()
        measured = self._measuring.hand_over()
        if measured:
            self._keep(measured)
        for place in self._outline.places(finished):
            self._list(place)
        self._outline.refresh()
        self._show_rows()
        self._show_status()

    def _watch_on(self) -> None:
        """Look again once it is time."""
        if self._measuring.paths and self._watch.due(time.monotonic()):
            self._measuring.look_again()

    def _look_for_others(self) -> None:
        stores, known = self._findings.stores, self._measuring.paths
        look = partial(background.look_for_others, stores, known, self.post_message)
        self._look(look, "others", exclusive=True)

    @on(CameOrWent)
    def _name_the_others(self) -> None:
        """Containers came or went while we watch: their names, without going back to fewer."""
        if not self.busy and self._watch.may_read_names(time.monotonic()):
            self._start_survey(at_once=False)

    def _keep(self, measured: tuple[Entry, ...]) -> None:
        """Keep what was measured, in a thread that is waited for: it writes."""
        work = partial(background.keep, self._measuring.kept, measured, self._measuring.paths)
        self.run_worker(work, thread=True, group="keep")

    def _look_at_headroom(self) -> None:
        if self._findings.stores:
            look = partial(background.read_headroom, self._findings.stores, self.post_message)
            self._look(look, "headroom", exclusive=True)

    @on(HeadroomRead)
    def _take_headroom(self, message: HeadroomRead) -> None:
        self._findings.headrooms = message.by_path
        if not self._order_chosen and message.by_path:
            self._order_chosen = True
            self._set_order(replace(self._outline.order, column=scarcer(message.by_path.values())))
        self._show_headroom()

    def _list(self, place: Place) -> None:
        """List a directory in a thread, unless that is under way; Listed tells of it."""
        if not self._listings.begin(place):
            return
        result = self._outline.figures.results.get(place.unit)
        read = partial(read_level, place, result, self._measuring.fence, self._outline.order)
        self._look(partial(background.list_place, place, read, self.post_message), "list")

    # --- the keys -------------------------------------------------------------------------------

    def action_rescan(self) -> None:
        """Measure the row's units again, but for image layers that are the same."""
        thing = self._thing()
        if self._reading:
            self._tell(*READING)
        elif thing is None:
            self._tell(*NO_ROW)
        elif not self._measuring.knows(thing.node.draft.units):
            self._tell(*NOT_MEASURED)
        else:
            self._measure(thing.node.draft.units)

    def _measure(self, units: Sequence[bytes]) -> None:
        """Measure again, as soon as it is known which of these units are the same."""
        marked = self._measuring.ask(units)
        self._look(partial(background.mark, marked, self.post_message), "mark")

    @on(Marked)
    def _measure_again(self, message: Marked) -> None:
        if not self._measuring.again(message.marks):
            return
        tally = self._measuring.tally
        if tally.kept and not tally.walked:
            self.notify(
                "Image layers do not change, and these are the same. "
                "Ctrl+R measures everything again.",
                markup=False,
            )
        self._show_rows()
        self._show_status()

    def action_rescan_all(self, all_anew: bool = False) -> None:
        """Read the names again, and measure all that can have changed, or everything."""
        self._measuring.renew(all_anew)
        self._show_rows()
        self._show_status()
        self._start_survey(all_anew=all_anew)

    def action_watch(self) -> None:
        """Look again every few seconds, what grows first; or no longer."""
        self._outline.watch(self._watch.toggle())
        self._show_headings()
        self._show_rows()
        self._show_status()

    def action_stop_scan(self) -> None:
        """Stop measuring; what was found stays, marked as a lower bound."""
        if not self.stop():
            self.notify("Nothing is being measured. q quits.", markup=False)

    def stop(self) -> bool:
        """End the scan and the watch; whether there was anything to end."""
        watched = self._watch.on
        if watched:
            self.action_watch()
        stopped = self._measuring.stop()
        self._show_status()
        return stopped or watched


def _collect_garbage_again() -> None:
    """The names are there, the start is over (see app.cli); most of what was made so far stays."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
