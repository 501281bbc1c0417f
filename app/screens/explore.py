"""The explorer: headroom, trail, the tree, details beside it, status. It draws and routes.

What it draws is gathered by the other half, :mod:`app.screens.gathering`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.timer import Timer
from textual.widgets import Footer, Input

from app.inventory import HotRow
from app.outline.opened import Anchor
from app.outline.outline import BY_OWNER, Thing
from app.outline.reveal import Reveal
from app.screens import keys
from app.screens.describe import describe
from app.screens.dialogs import DetailsScreen, ErrorsScreen, HelpScreen
from app.screens.filter_line import FilterLine
from app.screens.gathering import GatheringScreen
from app.screens.hot import HotScreen
from app.screens.messages import Listed
from app.screens.plan_words import outcome_sentences
from app.screens.removal import Removal, remove
from app.screens.wanted import wish_for_row
from app.screens.wish import Wish
from app.screens.words import (
    filter_words,
    finished_words,
    lost_words,
    marked_words,
    scanning_words,
    sort_words,
    watching_words,
)
from app.text import safe
from app.usage.order import Column, Order
from widgets.details_pane import DetailsPane, Section
from widgets.headroom_bar import HeadroomBar
from widgets.status_line import StatusLine
from widgets.trail_line import TrailLine
from widgets.usage_tree import Headings, UsageTree

IDLE = 1.0  # seconds between two looks at the clock while nothing is measured
SETTLE = 0.08  # seconds the cursor rests before the details follow
NOTICE = 8.0  # seconds that a notice stays, unless the cursor moves


class ExploreScreen(GatheringScreen):
    """One data root or several as one tree."""

    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - declared without ClassVar by Screen
        (0, "-narrow"),
        (100, "-wide"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = list(keys.BINDINGS)

    def __init__(self, wish: Wish, removal: Removal) -> None:
        super().__init__(wish)
        self._removal = removal
        self._removing = False
        self._details_timer: Timer | None = None
        self._notice_timer: Timer | None = None
        self._before_filter: Anchor | None = None
        self._reveal: Reveal | None = None

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
        self.set_interval(IDLE, self._show_status)
        self._gather()

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
        self._reveal = None
        key = self._key_of(message.anchor)
        if key is None:
            return
        if self._outline.is_open(key):
            self._outline.close(key)
        else:
            place = self._outline.open(key)
            if place:
                self._list(place)
        self._show_rows()

    @on(UsageTree.Left)
    def _leave(self, message: UsageTree.Left) -> None:
        self._reveal = None
        key = self._key_of(message.anchor)
        if key is None:
            return
        if self._outline.is_open(key):
            self._outline.close(key)
            self._show_rows()
            return
        parent = self._outline.parent_of(key)
        if parent is not None:
            self._tree.move_to(parent)

    def _key_of(self, anchor: object) -> int | None:
        """Where a row is that was remembered: a new listing may have come since."""
        return self._outline.key_of(anchor) if isinstance(anchor, Anchor) else None

    @on(Listed)
    def _take_entries(self, message: Listed) -> None:
        if not message.level.so_far and self._listings.end(message.place):
            self._list(message.place)
        key = self._tree.cursor_key
        self._stay_or_reveal()
        anchor = self._outline.anchor(key) if key is not None else None
        self._outline.attach(message.level)
        if message.level.trouble and not message.level.so_far:
            self._warn(f"{safe(message.level.path)} {message.level.trouble}")
        keep = self._outline.key_of(anchor) if anchor else None
        if anchor and keep is None and len(self._outline):  # it is gone: stay where it was
            keep = self._outline.key_at(min(self._tree.cursor_index, len(self._outline) - 1))
        self._show_rows(keep)
        self._go_on()

    def _warn(self, sentence: str) -> None:
        self.notify(sentence, severity="warning", markup=False)

    def _tell(self, *sentences: str) -> None:
        """Answer a key in the status line."""
        self._hide_notice()
        self.query_one(StatusLine).update_notice(*sentences)
        self._notice_timer = self.set_timer(NOTICE, self._hide_notice)

    def _hide_notice(self) -> None:
        if self._notice_timer:
            self._notice_timer.stop()
        self._notice_timer = None
        self.query_one(StatusLine).update_notice()

    @on(UsageTree.Highlighted)
    def _highlighted(self) -> None:
        self._stay_or_reveal()
        self._hide_notice()
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
        outline = self._outline
        words = sort_words(outline.order, self._wish.ascii)
        marked = marked_words(len(outline.marks))
        self.query_one(TrailLine).update_trail(
            (outline.view, *steps), f"{words}  {filter_words(outline.filter)}{marked}"
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
        if thing is None:
            return []
        return describe(thing, self._outline.own_usage(thing), self._outline.growth(thing))

    def _show_headings(self) -> None:
        order = self._outline.order
        self._tree.set_headings(
            Headings(
                "APPARENT" if order.apparent else "BYTES",
                "OWNER" if self._outline.view == BY_OWNER else "DIRECTORY",
                order.column.value,
                order.descending,
                self._outline.watched,
            )
        )

    def _show_status(self) -> None:
        """What goes on, and how much is not as it should be."""
        status = self.query_one(StatusLine)
        measuring, findings = self._measuring, self._findings
        if self._reveal and self._reveal.ended and self._reveal.key == self._tree.cursor_key:
            status.update_progress(*lost_words(self._reveal.path), busy=False)
        elif measuring.news is None or measuring.renewing:
            status.update_progress("reading names; q quits")
        elif self._watch.on and (measuring.watching or not measuring.active):
            growth = self._outline.growths.of(measuring.paths)
            status.update_progress(
                *watching_words(self._watch.every, growth, measuring.tally.walked)
            )
        elif measuring.active:
            status.update_progress(*scanning_words(measuring.news, findings.asking))
        else:
            witnesses = "; ".join(findings.witnesses())
            ago, complete = measuring.seconds_ago, measuring.complete
            words = finished_words(measuring.news, ago, witnesses, complete, measuring.tally)
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
        self._measuring.ask_for(inodes=order.column is Column.INODES)
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
        line = self.query_one(FilterLine)
        return action != "filter" or not (line.is_open and self.focused is line)

    def action_filter(self) -> None:
        """Open the filter line."""
        key = self._tree.cursor_key
        self._before_filter = self._outline.anchor(key) if key is not None else None
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
        before = self._key_of(self._before_filter)
        self._show_all(self._tree.cursor_key if before is None else before)

    def action_clear_filter(self) -> None:
        """Show every row again, and where among them the cursor is; or else drop the marks."""
        if self._outline.filter:
            self._show_all(self._tree.cursor_key)
        elif len(self._outline.marks):
            self._outline.marks.clear()
            self._show_rows()

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

    def action_hot(self) -> None:
        """The directories that hold the most by themselves."""
        figures, order = self._outline.figures, self._outline.order
        screen = HotScreen(figures, self._findings, self._measuring, order, self._wish.ascii)
        self.app.push_screen(screen, self._go_to)

    def _go_to(self, spot: HotRow | None) -> None:
        """Open the tree down to a directory; its listings come one after the other."""
        if spot:
            self.action_clear_filter()
            self._reveal = Reveal(self._outline, spot.unit, spot.answer.path)
            self._go_on()

    def _stay_or_reveal(self) -> None:
        """Who moves the cursor while the tree opens wants to be where it is then."""
        if self._reveal and self._reveal.key != self._tree.cursor_key:
            self._reveal = None
            self._show_status()

    def _go_on(self) -> None:
        reveal = self._reveal
        if reveal is None or reveal.ended:
            return
        place = reveal.go_on()
        self._show_rows()
        if reveal.key is None:
            reveal.key = self._tree.cursor_key
        else:
            self._tree.move_to(reveal.key)
        if place:
            self._list(place)
        if reveal.arrived:
            self._reveal = None
        self._show_status()

    def action_errors(self) -> None:
        """What could not be read."""
        self.app.push_screen(ErrorsScreen("problems", self._findings.sections()))

    def action_help(self) -> None:
        """The keys, from the bindings."""
        self.app.push_screen(HelpScreen("keys", keys.help_sections()))

    def palette(self) -> list[Binding]:
        """The explorer's keys, for the command palette."""
        return list(keys.BINDINGS)

    # --- the keys: removal ----------------------------------------------------------------------

    def action_mark(self) -> None:
        """Mark the row for one deletion of several, or unmark it; the cursor goes on."""
        thing = self._thing()
        if thing is None:
            return
        wish = wish_for_row(thing)
        if isinstance(wish, tuple):
            self._tell(*wish)
            return
        self._outline.marks.toggle(thing)
        self._show_rows()
        self._tree.action_cursor(1)

    def action_remove(self) -> None:
        """Ask about the marked rows, or about this one where none is marked."""
        cursor = self._thing()
        things = tuple(self._outline.marks) or ((cursor,) if cursor else ())
        wishes = [wish_for_row(thing) for thing in things]
        refusal = next((wish for wish in wishes if isinstance(wish, tuple)), ())
        if refusal:
            self._tell(*refusal)
        elif things and not self._removing:
            self._removing = True
            self._remove(things)

    @work
    async def _remove(self, things: Sequence[Thing]) -> None:
        """Look, ask, do; then bring the tree up to date."""
        wishes = [wish for wish in map(wish_for_row, things) if not isinstance(wish, tuple)]
        try:
            begun = await remove(
                self.app,
                self._removal,
                wishes,
                read_only=self._wish.read_only,
                ascii=self._wish.ascii,
            )
        finally:
            self._removing = False
        if begun:
            self._outline.marks.clear()
            removed = tuple(path for thing in things for path in _places_of(thing))
            self._removed = (*self._removed, *removed)
            if all(outcome.done for outcome in begun):
                self._outline.close_removed(removed)
            self._show_rows()
            self._tell(*outcome_sentences(begun))
            self._look_at_headroom()
            self._start_survey()


def _places_of(thing: Thing) -> tuple[bytes, ...]:
    """The paths at which the removal of a row changes something."""
    return (thing.path,) if thing.name else thing.node.draft.units
