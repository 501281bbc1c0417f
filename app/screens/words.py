"""Sentences of the explorer's lines: sorting, filter, progress. The longest way to say it first."""

from __future__ import annotations

from collections.abc import Callable

from app.scan.job import ScanNews
from app.text import age, count, safe, size
from app.usage.growth import Growth
from app.usage.order import Column, Order
from app.usage.session import Tally

ASKING = "asking the engine"

# Answers to `r`, the longest way to say it first.
READING = (
    "The names are still being read; what can have changed is measured right after that.",
    "The names are still being read.",
    "names first",
)
NO_ROW = ("There is no row here to measure.", "no row here")
NOT_MEASURED = (
    "These sizes are known without measuring: they come with the names. R reads both again.",
    "These sizes come with the names; R reads both again.",
    "R reads it",
)
_ALL_WALKED = Tally()


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
    found = f"{count(news.inodes)} inodes, {size(news.bytes)}"
    if counting := news.counting:
        start = f"counting inodes {counting.units_done} of {counting.units_total}"
        found = f"{count(counting.inodes)} inodes, bytes follow"
    if news.stopped:
        return f"{start}: stopping, what was found stays", f"{start}: stopping"
    stop = "ctrl+c stops and keeps results"
    ways = (
        f"{start}: {found}, {age(news.elapsed)}; {stop}",
        f"{start}: {found}; {stop}",
        f"{start}; {stop}",
    )
    return (*(f"{way}; {ASKING}" for way in ways[:2]), f"{start}; {ASKING}") if asking else ways


def hot_words(rows: int, news: ScanNews | None) -> tuple[str, ...]:
    """How many directories are listed, and of how much of the scan while it goes on."""
    listed = f"the {count(rows)} fullest directories" if rows != 1 else "one directory"
    if news is None:
        return f"{listed}, each without its subdirectories; Enter goes there", listed
    so_far = f"{news.units_done} of {news.units_total} scanned"
    return f"{listed} so far, each without its subdirectories; {so_far}", f"so far: {so_far}"


def lost_words(path: bytes) -> tuple[str, ...]:
    """A directory that was to be gone to is not there any more."""
    return (
        f"{safe(path)} is gone; this is the nearest row. R reads everything again",
        "it is gone; this is the nearest row. R reads all again",
    )


def failed_words(sentence: str) -> tuple[str, ...]:
    """The names could not be read again, and why; ``E`` lists it among the problems."""
    return (
        f"The names stay as they were: {sentence}",
        "The names could not be read again: E says why.",
        "old names: E",
    )


def finished_words(
    news: ScanNews, seconds: float, witnesses: str, complete: bool, tally: Tally = _ALL_WALKED
) -> tuple[str, ...]:
    """What the scan found and how long ago, and who named the owners.

    Unless ``complete``, that some units were not measured to their end is said instead. Where
    figures of an earlier look still hold, ``tally`` says of how many units.
    """
    if news.failed:
        return (f"{news.failed} Press R to measure again.", news.failed)
    verb = "stopped after" if news.stopped else "scanned"
    entries, ago = f"{verb} {count(news.entries)} entries", f"{age(seconds)} ago"
    if not complete:
        incomplete = f"{entries}, {ago}; figures with + are incomplete"
        return f"{incomplete}, R measures everything again", incomplete, f"{entries}, {ago}"
    if news.stopped:
        return f"{entries}, {ago}; the rest has its earlier figures", f"{entries}, {ago}"
    short = witnesses.split(":", maxsplit=1)[0]
    if tally.kept:
        measured = f"measured {tally.walked} of {tally.walked + tally.kept}"
        long = f"{measured} directories, {tally.kept} image layers kept"
        return (
            f"{long}, {ago}; names from {witnesses}",
            f"{long}, {ago}; names from {short}",
            f"{long}, {ago}",
            f"{measured}, {tally.kept} layers kept, {ago}",
            f"{measured}, {tally.kept} kept, {ago}",
        )
    return (
        f"{entries} in {news.elapsed:.1f} s, {ago}; names from {witnesses}",
        f"{entries} in {news.elapsed:.1f} s, {ago}; names from {short}",
        f"{entries}, {ago}; names from {short}",
        f"{entries}, {ago}; {short}",
        f"{entries}, {ago}",
    )


def watching_words(every: float, growth: Growth | None, watched: int) -> tuple[str, ...]:
    """How often it looks, at how many directories, and how much all of them grew together."""
    start = f"watching, every {round(every)} s"
    if growth is None:
        return (f"{start}: the first look goes on; w ends it", start)
    each = (
        f"{_signed(growth.per_minute(growth.bytes), size)}, "
        f"{_signed(growth.per_minute(growth.inodes), count)} inodes a minute"
    )
    return (
        f"{start}, {count(watched)} directories: {each} in all; w ends it",
        f"{start}: {each} in all; w ends it",
        f"{start}: {each}",
        start,
    )


def growth_words(growth: Growth) -> str:
    """``1.2 GiB, 3,400 inodes in 42 s; 1.7 GiB, 4,857 inodes a minute``: since the last look."""
    span = age(growth.seconds)
    if not growth:
        return f"nothing in {span}"
    bytes_, inodes = growth.per_minute(growth.bytes), growth.per_minute(growth.inodes)
    return (
        f"{size(growth.bytes)}, {count(growth.inodes)} inodes in {span}; "
        f"{size(bytes_)}, {count(inodes)} inodes a minute"
    )


def _signed(n: int, words: Callable[[int], str]) -> str:
    return ("+" if n >= 0 else "-") + words(abs(n))
