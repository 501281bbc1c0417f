"""Growth between two looks, and when the next look is due."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.model import Usage
from app.outline.drawing import growth_words as cell
from app.screens.watching import NAMES, PART, PAUSE, Watch
from app.screens.words import growth_words, watching_words
from app.usage.growth import Growth, Growths
from app.usage.order import Column, Order

BYTES, INODES = Order(Column.BYTES), Order(Column.INODES)
NAME, APPARENT = Order(Column.NAME), Order(Column.BYTES, apparent=True)
GIB = 1 << 30


def looked(*looks: tuple[bytes, Usage, float]) -> Growths:
    growths = Growths()
    for look in looks:
        growths.note(*look)
    return growths


def test_one_look_is_no_growth() -> None:
    growths = looked((b"a", Usage(100, 100, 1), 5.0))
    assert growths.of((b"a",)) is None
    assert growths.fastest(BYTES) == b""


def test_growth_is_from_one_look_to_the_next() -> None:
    growths = looked(
        (b"a", Usage(100, 90, 1), 5.0), (b"a", Usage(700, 80, 3), 15.0), (b"b", Usage(1, 1, 1), 5.0)
    )
    assert growths.of((b"a", b"b")) == Growth(600, -10, 2, 10.0)
    growths.note(b"b", Usage(1001, 1, 9), 45.0)
    assert growths.of((b"a", b"b")) == Growth(1600, -10, 10, 40.0)
    growths.note(b"a", Usage(700, 80, 3), 20.0)
    assert growths.of((b"a",)) == Growth(0, 0, 0, 5.0)
    growths.keep_only([b"b"])
    assert growths.of((b"a",)) is None


def test_a_look_that_was_stopped_says_nothing() -> None:
    growths = looked(
        (b"a", Usage(100, 90, 1), 5.0),
        (b"a", Usage(10, 9, 1, partial=True), 7.0),
        (b"a", Usage(130, 90, 1), 8.0),
    )
    assert growths.of((b"a",)) == Growth(30, 0, 0, 3.0)


def test_the_fastest_is_that_of_the_sorted_column() -> None:
    growths = looked(
        *((unit, Usage(), 0.0) for unit in (b"large", b"many", b"shrunk")),
        (b"large", Usage(bytes=900, inodes=1), 10.0),
        (b"many", Usage(bytes=10, inodes=90), 10.0),
        (b"shrunk", Usage(bytes=-5000, inodes=-5), 10.0),
    )
    assert growths.fastest(BYTES) == growths.fastest(NAME) == b"large"
    assert growths.fastest(INODES) == b"many"
    assert growths.fastest(APPARENT) == b"", "nothing grows in apparent size"


@given(st.lists(st.tuples(st.sampled_from((b"a", b"b", b"c")), st.integers(0, 1 << 50))))
def test_growth_adds_up_over_all_looks(looks: list[tuple[bytes, int]]) -> None:
    growths, total = Growths(), dict.fromkeys((b"a", b"b", b"c"), 0)
    first: dict[bytes, int] = {}
    for moment, (unit, figure) in enumerate(looks):
        growths.note(unit, Usage(bytes=figure), float(moment))
        if unit in first:
            growth = growths.of((unit,))
            assert growth is not None
            total[unit] += growth.bytes
        first.setdefault(unit, figure)
    last = dict(looks)
    assert all(total[unit] == last[unit] - first[unit] for unit in last)


def test_words_of_the_cell() -> None:
    growth = Growth(GIB, 0, -1700, 30.0)
    assert cell(growth, BYTES) == cell(growth, NAME) == "+2.0 GiB"
    assert cell(growth, INODES) == "-3,400"
    assert cell(growth, APPARENT) == cell(None, BYTES) == ""
    assert len(cell(Growth((1 << 40) - 1, 0, 0, 60.0), BYTES)) <= 11


def test_words_of_the_details() -> None:
    words = growth_words(Growth(12 * GIB, 0, 3400, 42.0))
    assert words == "12.0 GiB, 3,400 inodes in 42 s; 17.1 GiB, 4,857 inodes a minute"
    assert growth_words(Growth(0, 0, 0, 42.0)) == "nothing in 42 s"


@pytest.mark.parametrize("growth", [None, Growth(0, 0, 0, 5.0), Growth(-GIB, 0, 900_000, 5.0)])
def test_words_of_the_watch_fit_eighty_columns(growth: Growth | None) -> None:
    ways = watching_words(4.7, growth, 1234)
    assert all(way.startswith("watching, every 5 s") for way in ways)
    assert list(map(len, ways)) == sorted(map(len, ways), reverse=True)
    assert len(ways[-1]) <= 54


@given(st.lists(st.floats(0.0, 1000.0), min_size=1, max_size=20))
def test_a_watch_leaves_the_disk_alone_most_of_the_time(costs: list[float]) -> None:
    watch, now, busy = Watch(), 1000.0, 0.0
    assert not watch.due(now), "it is off"
    watch.toggle()
    assert watch.due(now), "the first look is at once"
    for cost in costs:
        watch.note(now + cost, cost)
        now += cost
        busy += cost
        assert not watch.due(now + PAUSE * 0.99)
        now += watch.pause * 1.0001
        assert watch.due(now)
        assert busy <= (now - 1000.0) * PART
    assert not watch.toggle()
    assert not watch.due(now + 1e6)


def test_names_are_read_again_only_now_and_then() -> None:
    watch = Watch()
    assert not watch.may_read_names(0.0), "it is off"
    watch.toggle()
    assert watch.may_read_names(100.0)
    assert not watch.may_read_names(100.0 + NAMES * 0.9)
    assert watch.may_read_names(100.0 + NAMES)
