"""Sentences of the explorer's lines: sorting, filter, progress. The longest way to say it first."""

from __future__ import annotations

from app.outline.order import Column, Order
from app.scan.job import ScanNews
from app.text import age, count, safe, size

ASKING = "asking the engine"


def sort_words(order: Order, ascii: bool) -> str:
    """``sort: INODES ↓``."""
    down, up = ("v", "^") if ascii else ("↓", "↑")
    column = "apparent" if order.apparent and order.column is Column.BYTES else order.column.value
    return f"sort: {column.upper()} {down if order.descending else up}"


def filter_words(words: str) -> str:
    """``filter: web``, or a dash."""
    return f"filter: {safe(words, 16) if words else '-'}"


def marked_words(number: int) -> str:
    """``  3 marked``, or nothing."""
    return f"  {number} marked" if number else ""


def scanning_words(news: ScanNews, asking: bool) -> tuple[str, ...]:
    """What the scan has found so far; the first word says what still goes on."""
    start = f"scanning {news.units_done} of {news.units_total}"
    if news.stopped:
        return f"{start}: stopping, what was found stays", f"{start}: stopping"
    found = f"{count(news.inodes)} inodes, {size(news.bytes)}"
    stop = "ctrl+c stops and keeps results"
    ways = (
        f"{start}: {found}, {age(news.elapsed)}; {stop}",
        f"{start}: {found}; {stop}",
        f"{start}; {stop}",
    )
    return (*(f"{way}; {ASKING}" for way in ways[:2]), f"{start}; {ASKING}") if asking else ways


def finished_words(
    news: ScanNews, seconds: float, witnesses: str, complete: bool
) -> tuple[str, ...]:
    """What the scan found and how long ago, and who named the owners.

    Unless ``complete``, that some units were not measured to their end is said instead.
    """
    if news.failed:
        return (f"{news.failed} Press R to measure again.", news.failed)
    verb = "stopped after" if news.stopped else "scanned"
    entries, ago = f"{verb} {count(news.entries)} entries", f"{age(seconds)} ago"
    if not complete:
        incomplete = f"{entries}, {ago}; figures with + are incomplete"
        return f"{incomplete}, R measures everything again", incomplete, f"{entries}, {ago}"
    short = witnesses.split(":", maxsplit=1)[0]
    return (
        f"{entries} in {news.elapsed:.1f} s, {ago}; names from {witnesses}",
        f"{entries} in {news.elapsed:.1f} s, {ago}; names from {short}",
        f"{entries}, {ago}; names from {short}",
        f"{entries}, {ago}; {short}",
        f"{entries}, {ago}",
    )
