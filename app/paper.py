"""What the commands print on: a terminal of some width, or a pipe in which nothing is cut.

Names are made safe here, the last thing before they are printed. rich draws on terminals only, and
is imported for them only.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len as cells

from app.text import fit, fit_end, safe, wrapped

if TYPE_CHECKING:
    from rich.console import Console

_GAP = 2
_LABEL = 12
_NARROWEST = 12  # cells that the column which gives way keeps in any case
_MOST_ALIKE = 10  # facts under one label on a terminal; a pipe gets all of them
_ASCII_RULE = "    \n    \n -- \n    \n    \n    \n    \n    \n"
_LONG_ID = re.compile(r"(?<![0-9a-f])([0-9a-f]{12})[0-9a-f]{52}(?![0-9a-f])")


@dataclass(frozen=True, slots=True)
class Heading:
    """A column: figures stand at the right; on a terminal one column gives way to the others."""

    title: str
    figure: bool = False
    gives_way: bool = False


@dataclass(frozen=True, slots=True)
class Paper:
    """``console`` is None in a pipe: every line whole, ids and paths in full."""

    console: Console | None
    ascii: bool = False

    @classmethod
    def on_stdout(cls, ascii: bool) -> Paper:
        """The paper that standard output is; ASCII unasked where it can take no other letters."""
        ascii = ascii or not (sys.stdout.encoding or "").lower().startswith("utf")
        if not sys.stdout.isatty():
            return cls(None, ascii)
        from rich.console import Console  # noqa: PLC0415 - a pipe needs none

        return cls(Console(highlight=False), ascii)

    def line(self, words: str = "", style: str = "") -> None:
        """One line, never read as markup; a long one is folded by the terminal alone."""
        if self.console is None:
            print(safe(words))
            return
        from rich.text import Text  # noqa: PLC0415 - a pipe needs none

        self.console.print(Text(safe(words), style=style), soft_wrap=True)

    def id(self, full: str) -> str:
        """An id as it is shown: twelve digits on a terminal, which ``which`` takes again."""
        return full.removeprefix("sha256:")[:12] if self.console else full

    def ids_in(self, words: str) -> str:
        """Words with their 64-digit ids shortened on a terminal."""
        return _LONG_ID.sub(rf"\1{self._ellipsis}", words) if self.console else words

    @property
    def _ellipsis(self) -> str:
        return "..." if self.ascii else "…"

    def parts(self, words: Sequence[str]) -> None:
        """Parts of one line; on a terminal that is too narrow each on a line of its own."""
        whole = "   ".join(map(safe, words))
        if self.console and cells(whole) > self.console.width:
            whole = "\n  ".join(map(safe, words))
        print(whole)

    # --- facts ------------------------------------------------------------------------------------

    def facts(self, label: str, values: Sequence[str]) -> None:
        """Values under one label, each on a line of its own; nothing without values.

        On a terminal the label stands once, long values are folded beside it and many are cut
        short; in a pipe every line carries the label.
        """
        if self.console is None:
            for value in values:
                self.fact(label, value)
            return
        shown = list(values[:_MOST_ALIKE]) if len(values) > _MOST_ALIKE + 1 else list(values)
        if len(shown) < len(values):
            shown.append(f"and {len(values) - len(shown)} more: in a pipe and in --json all")
        head = label
        for value in shown:
            for row in wrapped(safe(value), self.console.width - _LABEL - 2):
                print(f"  {head:<{_LABEL}}{row}")
                head = ""

    def fact(self, label: str, value: str) -> None:
        """One value that is never folded, so that it can be copied."""
        print(f"  {label:<{_LABEL}}{safe(value)}")

    # --- tables -----------------------------------------------------------------------------------

    def table(self, headings: Sequence[Heading], rows: Iterable[Sequence[str]]) -> None:
        """Columns under their headings; rows hold one text for each heading.

        On a terminal with a rule, and as wide as that at most; in a pipe as :meth:`columns`.
        """
        if self.console is None:
            self.columns(headings, rows)
        else:
            self._ruled(self.console, headings, [[*map(safe, row)] for row in rows])

    def columns(self, headings: Sequence[Heading], rows: Iterable[Sequence[str]]) -> None:
        """The same without a rule, nothing cut: a terminal folds what is too long."""
        every = [[it.title for it in headings], *([*map(safe, row)] for row in rows)]
        widths = _widths(every)
        for row in every:
            parts = [
                _filled(cell, width, it.figure)
                for cell, width, it in zip(row, widths, headings, strict=True)
            ]
            print((" " * _GAP).join(parts).rstrip())

    def _ruled(
        self, console: Console, headings: Sequence[Heading], rows: Sequence[Sequence[str]]
    ) -> None:
        from rich.box import SIMPLE_HEAD, Box  # noqa: PLC0415 - a pipe needs none
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        widths = _fitted(
            _widths([[it.title for it in headings], *rows]),
            [it.gives_way for it in headings],
            console.width - _GAP * (len(headings) - 1),
        )
        table = Table(
            box=Box(_ASCII_RULE, ascii=True) if self.ascii else SIMPLE_HEAD,
            show_edge=False,
            padding=(0, _GAP - 1, 0, 0),
            pad_edge=False,
        )
        for it in headings:
            table.add_column(it.title, justify="right" if it.figure else "left", no_wrap=True)
        for row in rows:
            cut = (
                shortened(cell, width, self._ellipsis)
                for cell, width in zip(row, widths, strict=True)
            )
            table.add_row(*map(Text, cut))
        console.print(table)


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(cells, column)) for column in zip(*rows, strict=True)]


def _fitted(widths: list[int], give_way: Sequence[bool], room: int) -> list[int]:
    """Take from the widest of the columns that give way until all of them fit the room."""
    fitted = list(widths)
    while (surplus := sum(fitted) - room) > 0:
        candidates = [
            (width, index)
            for index, width in enumerate(fitted)
            if give_way[index] and width > _NARROWEST
        ]
        if not candidates:
            break
        width, index = max(candidates)
        below = max((it for it, other in candidates if other != index), default=_NARROWEST)
        fitted[index] = max(width - surplus, min(below, width - 1), _NARROWEST)
    return fitted


def _filled(text: str, width: int, at_right: bool) -> str:
    blank = " " * (width - cells(text))
    return blank + text if at_right else text + blank


def shortened(text: str, room: int, ellipsis: str) -> str:
    """Cut drawable ``text`` in the middle: both ends of a name say most."""
    if cells(text) <= room:
        return text
    head = fit(text, room // 3, "")
    return head + fit_end(text, room - cells(head), ellipsis)
