"""What a row sums up while some of its units are counted, some under way and some measured."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.model import Usage
from app.scan.tree import UnitResult
from app.scan.tree_builder import GrowingTree
from app.usage.figures import Figures
from app.usage.order import Column, Order

UNIT = b"/u%d"


def result(number: int, inodes: int, cut: bool = False) -> UnitResult:
    growing = GrowingTree(UNIT % number)
    node = growing.enter(0, b"", 4096)
    growing.add(node, 4096 * (inodes - 1), 0, inodes - 1)
    if cut:
        growing.mark_cut(node)
    return growing.result(inodes)


def test_a_count_stands_in_until_the_unit_is_measured() -> None:
    figures, units = Figures(), (UNIT % 1,)
    assert figures.of(units) is None
    figures.count({}, {UNIT % 1: 300})
    assert figures.of(units) == Usage(inodes=300, partial=True, sized=False)
    figures.count({UNIT % 1: 900}, {})
    assert figures.of(units) == Usage(inodes=900, partial=True, sized=False)
    figures.run({UNIT % 1: Usage(4096, 10, 7, partial=True)})
    assert figures.of(units) == Usage(4096, 10, 900, partial=True)
    figures.finish([result(1, 880)])
    found = figures.of(units)
    assert found
    assert (found.inodes, found.partial, found.sized) == (880, False, True)


def test_a_unit_that_was_cut_short_keeps_its_count() -> None:
    figures = Figures()
    figures.count({UNIT % 1: 900}, {})
    figures.finish([result(1, 20, cut=True)])
    found = figures.of((UNIT % 1,))
    assert found
    assert (found.bytes, found.inodes, found.partial) == (20 * 4096, 900, True)


def test_recorded_inodes_are_not_added_to_counted_ones() -> None:
    figures, one, two = Figures(), UNIT % 1, UNIT % 2
    recorded = Usage(8192, 5000, 10)
    figures.know({}, {one: recorded, two: recorded})
    assert figures.of((one,)) == Usage(8192, 5000, 10, partial=True)
    figures.count({}, {one: 4})
    assert figures.of((one,)) == Usage(8192, 5000, 10, partial=True)
    figures.count({one: 11}, {})
    assert figures.of((one,)) == Usage(8192, 5000, 11, partial=True)
    assert figures.of((one, two)) == Usage(16384, 10000, 21, partial=True)
    figures.finish([result(1, 12)])
    found = figures.of((one, two))
    assert found
    assert (found.bytes, found.inodes) == (12 * 4096 + 8192, 22)


def test_what_is_forgotten_is_forgotten_with_its_count() -> None:
    figures = Figures()
    figures.count({UNIT % 1: 5, UNIT % 2: 6}, {UNIT % 3: 7})
    figures.keep_only([UNIT % 2])
    assert [figures.of((UNIT % number,)) is None for number in (1, 2, 3)] == [True, False, True]


def test_bytes_that_nobody_has_measured_sort_below_those_that_are_nothing() -> None:
    counted, empty = Usage(inodes=9, partial=True, sized=False), Usage(inodes=1)
    assert Order(Column.BYTES).figure(counted) < Order(Column.BYTES).figure(empty)
    assert Order(Column.INODES).figure(counted) > Order(Column.INODES).figure(empty)


STEPS = ("nothing", "counted", "counted and running", "running", "measured")


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 50)), max_size=6))
def test_a_sum_is_exact_or_says_at_least(states: list[tuple[str, int]]) -> None:
    figures = Figures()
    units = tuple(UNIT % number for number in range(len(states)))
    running = {}
    for number, (step, inodes) in enumerate(states):
        if "counted" in step:
            figures.count({UNIT % number: inodes}, {})
        if "running" in step:
            running[UNIT % number] = Usage(4096, 0, 1, partial=True)
        if step == "measured":
            figures.finish([result(number, inodes)])
    figures.run(running)
    found = figures.of(units)
    steps = [step for step, _ in states]
    if found is None:
        assert set(steps) == {"nothing"}
        return
    assert found.partial == any(step != "measured" for step in steps)
    assert found.sized == (not steps or any("running" in it or it == "measured" for it in steps))
    known = [n for step, n in states if "counted" in step or step == "measured"]
    assert found.inodes == sum(known) + steps.count("running")
    if not found.sized:
        assert found.bytes == 0
