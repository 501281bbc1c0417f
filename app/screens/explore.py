"""The explorer: headroom, trail, the tree, details beside it, status. It draws and routes.

Names come from the survey, figures from the scan, both in the background; this screen is told of
the one and polls the other, and puts both into the outline that the tree shows.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Footer, Input
from textual.worker import get_current_worker

from app.outline.filesystems import scarcer
from app.outline.levels import Place, read_level
from app.outline.order import Column, Order
from app.outline.outline import BY_OWNER, Outline, Thing
from app.screens import keys
from app.screens import work as background
from app.screens.describe import describe
from app.screens.dialogs import DetailsScreen, ErrorsScreen, HelpScreen
from app.screens.filter_line import FilterLine
from app.screens.findings import Findings
from app.screens.measuring import Measuring
from app.screens.messages import Failed, HeadroomRead, Listed, Surveyed
from app.screens.wish import Wish
from app.screens.words import filter_words, finished_words, scanning_words, sort_words
from app.text import safe
from widgets.details_pane import DetailsPane, Section
from widgets.headroom_bar import HeadroomBar
from widgets.status_line import StatusLine
from widgets.trail_line import TrailLine
from widgets.usage_tree import Headings, UsageTree

POLL = 0.1  # seconds between two looks at the scan
IDLE = 1.0  # seconds between two looks at the clock while nothing is measured
HEADROOM = 5.0  # seconds between two looks at the filesystems
SETTLE = 0.08  # seconds the cursor rests before the details follow


class ExploreScreen(Screen[None]):
    """One data root or several as one tree."""

    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - declared without ClassVar by Screen
        (0, "-narrow"),
        (100, "-wide"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = list(keys.BINDINGS)

    def __init__(self, wish: Wish) -> None:
        super().__init__()
        self._wish = wish
        self._outline = Outline(
            Order(wish.column or Column.BYTES, wish.column is not Column.NAME, wish.apparent)
        )
        self._order_chosen = wish.column is not None
        self._measuring = Measuring(self._outline.figures)
        self._findings = Findings(self._outline.figures)
        self._details_timer: Timer | None = None
        self._row_before_filter: int | None = None

    def compose(self) -> ComposeResult:
        ascii = self._wish.ascii
        yield HeadroomBar(ascii=ascii)
        yield TrailLine(ascii=ascii, id="trail")
        with Horizontal(id="explore"):
            yield UsageTree(ascii=ascii, empty="Looking for the data root...")
            yield DetailsPane()
        yield FilterLine()
        yield StatusLine(ascii=ascii)
        yield Footer()

    def on_mount(self) -> None:
        self._tree.focus()
        self.query_one(DetailsPane).can_focus = False
        self._show_headings()
        self._show_status()
        self.set_interval(POLL, self._poll)
        self.set_interval(IDLE, self._show_status)
        self.set_interval(HEADROOM, self._look_at_headroom)
        # The first frame comes before the first import of the engine's SDK.
        self.call_after_refresh(self._start_survey)

    def on_unmount(self) -> None:
        self._measuring.close()

    @property
    def busy(self) -> bool:
        """Whether names or figures are still on their way."""
        return self._measuring.news is None or self._measuring.active or self._findings.asking

    # --- names ----------------------------------------------------------------------------------

    @work(thread=True, exclusive=True, group="survey")
    def _start_survey(self) -> None:
        worker = get_current_worker()
        background.survey(self._wish.request, self.post_message, lambda: worker.is_cancelled)

    @on(Surveyed)
    def _take_names(self, message: Surveyed) -> None:
        self._findings.survey = message.survey
        self._measuring.want(message.units)
        self._outline.show(message.survey.stores, tuple(unit.path for unit in message.units))
        self._show_rows()
        self._show_status()

    @on(Failed)
    def _give_up(self, message: Failed) -> None:
        self.app.exit(return_code=2, message=Text(f"whodiff: {safe(message.sentence)}"))

    # --- figures --------------------------------------------------------------------------------

    def _poll(self) -> None:
        if not self._measuring.active:
            return
        finished = self._measuring.poll()
        for place in self._outline.places(finished):
            self._list(place)
        self._outline.refresh()
        self._show_rows()
        self._show_status()

    @work(thread=True, exclusive=True, group="headroom")
    def _look_at_headroom(self) -> None:
        if self._findings.stores:
            background.read_headroom(self._findings.stores, self.post_message)

    @on(HeadroomRead)
    def _take_headroom(self, message: HeadroomRead) -> None:
        self._findings.headrooms = message.by_path
        if not self._order_chosen and message.by_path:
            self._order_chosen = True
            self._set_order(replace(self._outline.order, column=scarcer(message.by_path.values())))
        self._show_headroom()

    # --- the rows -------------------------------------------------------------------------------

    @property
    def _tree(self) -> UsageTree:
        return self.query_one(UsageTree)

    def _thing(self) -> Thing | None:
        """What the cursor is on."""
        key = self._tree.cursor_key
        return self._outline.thing(key) if key is not None else None

    def _show_rows(self, keep: int | None = None) -> None:
        if self._findings.survey:
            self._tree.set_empty(self._empty_words())
        self._tree.show(self._outline, keep)
        self._show_trail()
        self._settle_details()

    def _empty_words(self) -> str:
        if self._outline.filter:
            return "No row has these words. Escape drops the filter."
        return "Nothing lies in this data root."

    @on(UsageTree.Toggled)
    def _toggle(self, message: UsageTree.Toggled) -> None:
        if self._outline.is_open(message.key):
            self._outline.close(message.key)
        else:
            place = self._outline.open(message.key)
            if place:
                self._list(place)
        self._show_rows()

    @on(UsageTree.Left)
    def _leave(self, message: UsageTree.Left) -> None:
        if self._outline.is_open(message.key):
            self._outline.close(message.key)
            self._show_rows()
            return
        parent = self._outline.parent_of(message.key)
        if parent is not None:
            self._tree.move_to(parent)

    def _list(self, place: Place) -> None:
        """List a directory in a thread; :meth:`_take_entries` hears of it."""
        result = self._outline.figures.results.get(place.unit)
        read = partial(read_level, place, result, self._measuring.fence, self._outline.order)
        work = partial(background.list_place, read, self.post_message)
        self.run_worker(work, thread=True, group="list")

    @on(Listed)
    def _take_entries(self, message: Listed) -> None:
        key = self._tree.cursor_key
        anchor = self._outline.anchor(key) if key is not None else None
        self._outline.attach(message.level)
        if message.level.trouble:
            self._warn(f"{safe(message.level.path)} {message.level.trouble}")
        self._show_rows(self._outline.key_of(anchor) if anchor else None)

    def _warn(self, sentence: str) -> None:
        self.notify(sentence, severity="warning", markup=False)

    @on(UsageTree.Highlighted)
    def _highlighted(self) -> None:
        self._show_trail()
        self._show_headroom()
        self._settle_details()

    @on(UsageTree.HeadingClicked)
    def _heading(self, message: UsageTree.HeadingClicked) -> None:
        self.action_sort(message.column)

    # --- the lines around -----------------------------------------------------------------------

    def _show_trail(self) -> None:
        key = self._tree.cursor_key
        steps = self._outline.trail(key) if key is not None else ()
        words = sort_words(self._outline.order, self._wish.ascii)
        self.query_one(TrailLine).update_trail(
            (self._outline.view, *steps), f"{words}  {filter_words(self._outline.filter)}"
        )

    def _show_headroom(self) -> None:
        thing = self._thing()
        store = self._findings.store_at(thing.path if thing else b"")
        if store:
            place = self._findings.place_at(store, thing.node.draft.units[:1] if thing else ())
            here = self._findings.headrooms.get(place)
            self.query_one(HeadroomBar).update_headroom(place, here)

    def _settle_details(self) -> None:
        """The details follow the cursor once it rests."""
        if self._details_timer:
            self._details_timer.stop()
        self._details_timer = self.set_timer(SETTLE, self._show_details)

    def _show_details(self) -> None:
        self.query_one(DetailsPane).show(self._sections())

    def _sections(self) -> list[Section]:
        thing = self._thing()
        return describe(thing, self._outline.own_usage(thing)) if thing else []

    def _show_headings(self) -> None:
        order = self._outline.order
        self._tree.set_headings(
            Headings(
                "APPARENT" if order.apparent else "BYTES",
                "OWNER" if self._outline.view == BY_OWNER else "DIRECTORY",
                order.column.value,
                order.descending,
            )
        )

    def _show_status(self) -> None:
        """What goes on, and how much is not as it should be."""
        status = self.query_one(StatusLine)
        measuring, findings = self._measuring, self._findings
        if measuring.news is None:
            status.update_progress("reading names; q quits")
        elif measuring.active:
            status.update_progress(*scanning_words(measuring.news, findings.asking))
        else:
            witnesses = "; ".join(findings.witnesses())
            ago, complete = measuring.seconds_ago, measuring.complete
            words = finished_words(measuring.news, ago, witnesses, complete)
            status.update_progress(*words, busy=False)
        count = len(findings.problems()) + findings.unreadable()
        status.update_problems(count, what="problem" if count == 1 else "problems")

    # --- the keys: order and view ---------------------------------------------------------------

    def action_sort(self, column: str) -> None:
        """Sort by this column; again turns the order round."""
        self._order_chosen = True
        self._set_order(self._outline.order.by(Column(column)))

    def action_apparent(self) -> None:
        """Apparent sizes instead of allocated ones, and back."""
        order = self._outline.order
        self._set_order(replace(order, apparent=not order.apparent))

    def _set_order(self, order: Order) -> None:
        self._outline.sort(order)
        self._show_headings()
        self._show_rows()

    def action_view(self) -> None:
        """The other view of the same data; the cursor stays with the thing it was on."""
        twin = self._outline.switch_view(self._tree.cursor_key)
        self._show_headings()
        self._show_rows(twin)
        if twin is None:
            self._tree.action_first()

    # --- the keys: filter -----------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's
        """A slash among the filter's words is one of them."""
        return action != "filter" or not self.query_one(FilterLine).is_open

    def action_filter(self) -> None:
        """Open the filter line."""
        self._row_before_filter = self._tree.cursor_key
        self.query_one(FilterLine).open()

    @on(Input.Changed)
    def _narrow(self, message: Input.Changed) -> None:
        key, outline = self._tree.cursor_key, self._outline
        outline.narrow(message.value)
        stays = key is not None and outline.index_of(key) is not None and outline.matches(key)
        self._show_rows(key if stays else outline.first_match())

    @on(FilterLine.Dropped)
    def _drop_filter(self) -> None:
        """Back to where the cursor was before."""
        self._show_all(self._row_before_filter)

    def action_clear_filter(self) -> None:
        """Show every row again, and where among them the cursor is."""
        if self._outline.filter:
            self._show_all(self._tree.cursor_key)

    def _show_all(self, key: int | None) -> None:
        line = self.query_one(FilterLine)
        with line.prevent(Input.Changed):
            line.value = ""
        self._outline.narrow("")
        if key is not None:
            self._outline.reveal(key)
        self._show_rows(key)

    # --- the keys: pages ------------------------------------------------------------------------

    def action_details(self) -> None:
        """The details on a screen of their own."""
        self.app.push_screen(DetailsScreen(self._sections()))

    def action_errors(self) -> None:
        """What could not be read."""
        self.app.push_screen(ErrorsScreen("problems", self._findings.sections()))

    def action_help(self) -> None:
        """The keys, from the bindings."""
        self.app.push_screen(HelpScreen("keys", keys.help_sections()))

    def palette(self) -> list[Binding]:
        """The explorer's keys, for the command palette."""
        return list(keys.BINDINGS)

    # --- the keys: scan -------------------------------------------------------------------------

    def action_rescan(self) -> None:
        """Measure the row's units again."""
        thing = self._thing()
        if thing and self._measuring.again(thing.node.draft.units):
            self._outline.refresh()
            self._show_rows()
            self._show_status()

    def action_rescan_all(self) -> None:
        """Read the names and measure everything again."""
        self._measuring.forget()
        self._outline.refresh()
        self._show_rows()
        self._show_status()
        self._start_survey()

    def action_stop_scan(self) -> None:
        """Stop measuring; what was found stays, marked as a lower bound."""
        if not self._measuring.stop():
            self.notify("Nothing is being measured. q quits.", markup=False)
