"""The hot spots: the directories that hold the most by themselves, wherever they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.widgets import Footer

from app.inventory import HotRow
from app.lookup.query import Answer
from app.scan.hot import HotSpots
from app.scan.tree import UnitResult
from app.screens import keys
from app.screens import work as background
from app.screens.findings import Findings
from app.screens.messages import HotFound
from app.screens.threads import in_thread
from app.screens.words import hot_words, sort_words
from app.usage.figures import Figures
from app.usage.order import Column, Order
from app.usage.session import Measuring
from styles import sheet
from widgets.hot_list import HotLine, HotList
from widgets.status_line import StatusLine
from widgets.trail_line import TrailLine

MOST = 100  # directories that are listed
LOOK = 0.4  # seconds between two looks at what has been measured since


class HotScreen(Screen[HotRow | None]):
    """Dismissed with the directory to go to, or with None.

    While a scan goes on its results are looked through in a thread, each once: what is on the
    screen is of the units that have been measured so far.
    """

    CSS = sheet("hot")
    BINDINGS: ClassVar[list[BindingType]] = list(keys.HOT.bindings)

    def __init__(
        self, figures: Figures, findings: Findings, measuring: Measuring, order: Order, ascii: bool
    ) -> None:
        super().__init__()
        self._figures = figures
        self._findings = findings
        self._measuring = measuring
        # A name is no measure of fullness.
        column = Column.INODES if order.column is Column.INODES else Column.BYTES
        self._order = replace(order, column=column, descending=True)
        self._ascii = ascii
        self._spots = HotSpots(MOST)
        self._rows: dict[bytes, HotRow] = {}
        self._looked_at: tuple[Order, Mapping[bytes, UnitResult]] | None = None
        self._looking = False

    def compose(self) -> ComposeResult:
        yield TrailLine(ascii=self._ascii)
        yield HotList(ascii=self._ascii)
        yield StatusLine(ascii=self._ascii)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._list.focus()
        self._show_lines(())
        self._look()
        self.set_interval(LOOK, self._look)

    @property
    def _list(self) -> HotList:
        return self.query_one(HotList)

    def _look(self) -> None:
        """Look through what has been measured, unless it is what was looked through last."""
        self._show_status()
        results = dict(self._figures.results)
        if self._looking or self._knows(results):
            return
        self._looking = True
        self._looked_at = self._order, results
        find = partial(
            background.find_hot_spots, self._spots, results, self._findings.stores, self._order
        )
        self._find(partial(find, self.post_message))

    @work(group="hot")
    async def _find(self, find: Callable[[], None]) -> None:
        await in_thread(find, abandoned=True)

    def _knows(self, results: Mapping[bytes, UnitResult]) -> bool:
        if self._looked_at is None or self._looked_at[0] != self._order:
            return False
        seen = self._looked_at[1]
        # By identity: comparing what is in them would take as long as looking.
        return seen.keys() == results.keys() and all(seen[it] is results[it] for it in results)

    @on(HotFound)
    def _take(self, message: HotFound) -> None:
        self._looking = False
        if message.order == self._order:
            self._show_lines(message.rows)
        self._look()

    def _show_lines(self, rows: Sequence[HotRow]) -> None:
        self._rows = {row.answer.path: row for row in rows}
        order = self._order
        empty = "Looking..." if self._looked_at is None or self._measuring.active else "Nothing."
        self._list.show(
            [_line(row, order) for row in rows],
            by_inodes=order.column is Column.INODES,
            size_word="APPARENT" if order.apparent else "BYTES",
            empty=empty,
        )
        what = "inodes" if order.column is Column.INODES else "bytes"
        self.query_one(TrailLine).update_trail(
            ("hot spots", f"the most {what} of their own"), sort_words(order, self._ascii)
        )
        self._show_status()

    def _show_status(self) -> None:
        going_on = self._measuring.active
        words = hot_words(len(self._rows), self._measuring.news if going_on else None)
        self.query_one(StatusLine).update_progress(*words, busy=going_on)

    # --- the keys -------------------------------------------------------------------------------

    def action_sort(self) -> None:
        """By the other figure."""
        inodes = self._order.column is Column.INODES
        self._order = replace(self._order, column=Column.BYTES if inodes else Column.INODES)
        self._show_lines(())
        self._look()

    @on(HotList.Chosen)
    def action_go(self) -> None:
        """Back to the tree, and to this directory."""
        line = self._list.cursor_line
        if line:
            self.dismiss(self._rows[line.place])

    def action_back(self) -> None:
        """Back to the tree as it was."""
        self.dismiss(None)


def _line(row: HotRow, order: Order) -> HotLine:
    return HotLine(
        order.bytes_of(row.own),
        row.own.inodes,
        row.label or _nobody(row.answer),
        _shown(row),
        row.answer.path,
        bool(row.own.partial or row.own.unreadable),
    )


def _nobody(answer: Answer) -> str:
    """A word where there is no owner."""
    if answer.layer:
        return answer.layer.role.value
    return "Docker's own" if answer.store else "-"


def _shown(row: HotRow) -> bytes:
    """The path inside its layer or volume; inside the data root where that says nothing."""
    answer = row.answer
    named = bool(answer.owners or answer.layer) and answer.path != row.unit
    base = answer.store.root.path if answer.store and not named else row.unit
    return os.path.relpath(answer.path, base)
