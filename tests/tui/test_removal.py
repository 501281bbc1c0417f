"""Removal as its user meets it: d, marks, the work, and what comes of it. Nothing real goes.

The cleanup room is a made-up one (:mod:`tests.tui.removals`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from textual.command import CommandPalette
from textual.widgets import Input

from app.cleanup.execute.outcome import Outcome, Progress
from app.cleanup.plan.model import Frees, Plan, Subject, Wish
from app.demo.layout import add_directory, make_root
from app.model import Kind
from app.screens.explore import ExploreScreen
from app.screens.waiting import RunningScreen
from tests.tui.explorer import NARROW, Explorer
from tests.tui.removals import (
    ID,
    Room,
    container_plan,
    done,
    erase_for_real,
    made_up,
    until_stopped,
    volume_plan,
)
from tests.tui.removing import (
    BOTH_SIZES,
    ask,
    back,
    button,
    focus,
    removing,
    whole,
)
from tests.unit.removals import identified

# --- from the row to the wish ---------------------------------------------------------------------


async def test_a_file_is_asked_for_with_what_was_listed(sample: Path) -> None:
    room = Room()
    async with removing(sample, room) as it:
        await it.press("C")
        await it.go_to("arroyo")
        await it.press("enter", "enter")
        await it.until(lambda: "checkpoints" in it.cursor)
        await ask(it)
        joined = room.wishes[-1]
        assert joined.path.endswith(b"/checkpoints")
        await it.press("escape", "enter")
        await it.until(lambda: "checkpoint-0000" in it.cursor)
        await ask(it)
        single = room.wishes[-1]
    for asked in (joined, single):
        assert asked.subject is Subject.PATH
        assert asked.seen == identified(asked.path)
        assert asked.root == bytes(sample)


# --- marks ----------------------------------------------------------------------------------------


def marked(it: Explorer) -> list[str]:
    return [row.split()[-1] for row in it.rows if row[1:2] in "•+"]


@BOTH_SIZES
async def test_marks_stay_with_their_rows(sample: Path, size: tuple[int, int]) -> None:
    async with removing(sample, Room(), size) as it:
        await it.press("n")
        await it.go_to("elk")
        await it.press("space")
        await it.go_to("session-cache")
        await it.press("space")
        assert marked(it) == ["elk", "session-cache"]
        assert it.lines[1].endswith("2 marked")
        await it.press("C")
        assert sorted(marked(it)) == ["elk", "session-cache"]
        await it.press("R")
        await it.at_rest()
        assert sorted(marked(it)) == ["elk", "session-cache"]
        await it.press("v", "v")
        assert sorted(marked(it)) == ["elk", "session-cache"]
        await it.press("slash", *"elk", "enter")
        await it.press("escape")
        assert "filter: -  2 marked" in it.lines[1], "Escape drops the filter first"
        await it.press("home")
        await it.go_to("elk")
        await it.press("space")
        assert marked(it) == ["session-cache"]
        await it.press("escape")
        assert marked(it) == []
        assert "marked" not in it.lines[1]


async def test_a_mark_stays_with_a_file_that_is_listed_anew(sample: Path) -> None:
    async with removing(sample, Room()) as it:
        await it.press("n")
        await it.go_to("elk")
        await it.press("enter")
        await it.go_to("writable layer")
        await it.press("enter")
        await it.until(lambda: "layer" not in it.cursor)
        name = it.cursor.split()[-1]
        await it.press("space")
        assert marked(it) == [name]
        for keys in (("r",), ("C",), ("n",), ("v", "v")):
            await it.press(*keys)
            await it.at_rest()
            await it.pilot.pause(0.2)
            assert marked(it) == [name], keys


@BOTH_SIZES
async def test_several_marked_rows_are_one_question(sample: Path, size: tuple[int, int]) -> None:
    def plan(asked: Wish) -> Plan:
        return made_up(asked) if asked.subject is Subject.IMAGE else volume_plan(asked)

    room = Room(plan)
    async with removing(sample, room, size) as it:
        for name in ("elk", "arroyo"):
            await it.press("home")
            await it.go_to(name)
            await it.press("space")
        await it.go_to("images (")
        await it.press("enter", "space", "home")
        assert "3 marked" in it.lines[1]
        await ask(it)
        page = await whole(it)
        assert "2 of 3 marked things are removed" in page
        assert "6.0 GiB, 2,468 inodes, the sum of these" in page
        assert page.index("A container stands on this image.") < page.index("2 of 3 marked")
        assert page.count("docker volume rm") == 2
        await focus(it, "delete")
        await it.press("enter")
        await it.until(lambda: "promised" in it.text)
        await it.press("escape")
        await back(it)
        assert "marked" not in it.lines[1]
        await it.at_rest()
    assert len(room.wishes) == 3
    assert [plan.wish.id for plan in room.ran] == [asked.id for asked in room.wishes[:2]]


async def test_several_words_are_typed_one_after_the_other(sample: Path) -> None:
    def plan(asked: Wish) -> Plan:
        return replace(container_plan(asked), word=asked.id[:12])

    room = Room(plan)
    async with removing(sample, room) as it:
        await it.go_to("elk")
        await it.press("space", "space")
        await ask(it)
        first, second = (asked.id[:12] for asked in room.wishes)
        assert f"type {first} {second} here" in it.text
        it.app.screen.query_one(Input).value = first
        await it.pilot.pause()
        assert button(it, "delete").disabled
        it.app.screen.query_one(Input).value = f"{first} {second}"
        await it.pilot.pause()
        assert not button(it, "delete").disabled


async def test_the_next_one_is_planned_as_it_is_once_the_first_is_gone(sample: Path) -> None:
    def plan(asked: Wish) -> Plan:
        return replace(volume_plan(asked), takes=frozenset({(Kind.LAYER, asked.id)}))

    def later(asked: Wish, before: Sequence[Plan]) -> Plan:
        assert [it.wish for it in before] == room.wishes[:1]
        return replace(plan(asked), frees=Frees(5 << 30, 1_000))

    room = Room(plan, later=later)
    async with removing(sample, room) as it:
        await it.go_to("elk")
        await it.press("space", "space")
        await ask(it)
        assert "8.0 GiB, 2,234 inodes, the sum of these" in await whole(it)
        await focus(it, "delete")
        await it.press("enter")
        await it.until(lambda: "promised" in it.text)
        await it.press("escape")
        await back(it)
    assert [it.frees.bytes >> 30 for it in room.ran] == [3, 5]


async def test_the_first_failure_leaves_the_rest_untouched(sample: Path) -> None:
    def run(plan: Plan, progress: Progress) -> Outcome:
        return Outcome(plan, done=False, why="new reference: container web-2, uses it")

    room = Room(volume_plan, run)
    async with removing(sample, room, NARROW) as it:
        await it.go_to("elk")
        await it.press("space", "space")
        await ask(it)
        await focus(it, "delete")
        await it.press("enter")
        await it.until(lambda: "not all was deleted" in it.text)
        assert "not done" in it.text
        assert "new reference: container web-2, uses it" in it.text
        assert "it was not begun" in it.text
        assert "freed" not in it.text
        await it.press("escape")
        await back(it)
        assert "not deleted: new reference: container web-2" in it.lines[-2]
    assert len(room.ran) == 1


# --- looking, running -----------------------------------------------------------------------------


async def test_escape_ends_the_look(sample: Path) -> None:
    gate = threading.Event()

    def slow(asked: Wish) -> Plan:
        gate.wait(60)
        return volume_plan(asked)

    room = Room(slow)
    try:
        async with removing(sample, room) as it:
            await it.go_to("arroyo")
            await it.press("d")
            await it.until(lambda: "looking at what refers to it..." in it.text)
            await it.press("d", "enter")
            await it.press("escape")
            await back(it)
            gate.set()
            await it.pilot.pause(0.3)
            assert isinstance(it.app.screen, ExploreScreen), "a late plan opens nothing"
            await ask(it)
    finally:
        gate.set()
    assert len(room.wishes) == 2
    assert room.ran == []


@pytest.mark.parametrize("key", ["escape", "ctrl+c"])
@BOTH_SIZES
async def test_a_removal_shows_how_far_it_is_and_stops(
    sample: Path, size: tuple[int, int], key: str
) -> None:
    room = Room(volume_plan, until_stopped)
    async with removing(sample, room, size) as it:
        await it.go_to("arroyo")
        await ask(it)
        await focus(it, "delete")
        await it.press("enter")
        await it.until(lambda: isinstance(it.app.screen, RunningScreen))
        await it.until(lambda: "/var/lib/docker/x/file-" in it.text)
        assert "promised: 3.0 GiB, 1,234 inodes" in it.text
        assert "Escape or Ctrl+C stops" in it.text
        await it.press("q", "enter", "tab")
        assert isinstance(it.app.screen, RunningScreen)
        await it.press(key)
        await it.until(lambda: "It was stopped: the rest stays." in it.text)
        await it.press("escape")
        await back(it)
        await it.at_rest()


async def test_leaving_in_the_middle_stops_the_removal(sample: Path) -> None:
    ended = threading.Event()
    under_way: list[Progress] = []

    def run(plan: Plan, progress: Progress) -> Outcome:
        under_way.append(progress)
        outcome = until_stopped(plan, progress)
        ended.set()
        return outcome

    try:
        async with removing(sample, Room(volume_plan, run)) as it:
            await it.go_to("arroyo")
            await ask(it)
            await focus(it, "delete")
            await it.press("enter")
            await it.until(lambda: under_way)
            it.app.exit(0)
        assert ended.wait(30)
    finally:
        for progress in under_way:
            progress.stop()


async def test_a_page_above_the_removal_is_not_taken_for_it(sample: Path) -> None:
    gate = threading.Event()

    def run(plan: Plan, progress: Progress) -> Outcome:
        gate.wait(60)
        return done(plan, progress)

    try:
        async with removing(sample, Room(volume_plan, run)) as it:
            await it.go_to("arroyo")
            await ask(it)
            await focus(it, "delete")
            await it.press("enter")
            await it.until(lambda: isinstance(it.app.screen, RunningScreen))
            await it.press("ctrl+p")
            await it.until(lambda: isinstance(it.app.screen, CommandPalette))
            gate.set()
            await it.pilot.pause(0.5)
            assert isinstance(it.app.screen, CommandPalette)
            await it.press("escape")
            await it.until(lambda: "promised" in it.text)
            await it.press("escape")
            await back(it)
    finally:
        gate.set()


async def test_an_error_of_the_removal_is_told(sample: Path) -> None:
    def run(plan: Plan, progress: Progress) -> Outcome:
        raise OSError(5, "Input/output error")

    async with removing(sample, Room(volume_plan, run)) as it:
        await it.go_to("arroyo")
        await ask(it)
        await focus(it, "delete")
        await it.press("enter")
        await it.until(lambda: "not done" in it.text)
        assert "Input/output error" in " ".join((await whole(it)).split()).replace("/ ", "/")
        assert "Look at what is left of it." in " ".join(it.text.split())


async def test_a_filesystem_that_lost_space_meanwhile_says_so(sample: Path) -> None:
    def run(plan: Plan, progress: Progress) -> Outcome:
        came = done(plan, progress)
        return replace(came, before=came.after, after=came.before)

    async with removing(sample, Room(volume_plan, run)) as it:
        await it.go_to("arroyo")
        await ask(it)
        await focus(it, "delete")
        await it.press("enter")
        await it.until(lambda: "promised" in it.text)
        assert "12.0 GiB fewer free" in it.text


# --- afterwards -----------------------------------------------------------------------------------


def _out_of_order(folder: Path) -> tuple[str, str]:
    """A name, and the next one by name, which is not the next one in the directory.

    The number of an entry in a listing is no place for a cursor: another has it afterwards.
    """
    listed, by_name = os.listdir(folder), sorted(os.listdir(folder))
    following = dict(pairwise(listed))
    return next(pair for pair in pairwise(by_name) if following.get(pair[0]) not in (None, pair[1]))


async def test_the_row_goes_and_the_cursor_stays_near(tmp_path: Path) -> None:
    root = make_root(tmp_path / "docker")
    diff = add_directory(root, "a" * 64).diff
    for number in range(12):
        (diff / f"file-{number:02}").write_bytes(b"x" * 5000)
    victim, after = _out_of_order(diff)
    other = add_directory(root, "b" * 64).diff / "y"
    other.write_bytes(b"y" * 9000)
    room = Room(run=erase_for_real)
    async with removing(root, room) as it:
        await it.press("n")
        await it.go_to("unknown (")
        await it.press("enter")
        await it.go_to("aaaaaaaaaaaa")
        await it.press("enter")
        await it.until(lambda: "file-00" in it.text)
        await it.go_to(victim)
        line = it.tree.cursor_index
        measured: list[bytes] = []
        explorer = it.app.screen
        assert isinstance(explorer, ExploreScreen)
        question = explorer._measuring.ask

        def noted(paths: Iterable[bytes]) -> tuple[bytes, ...]:
            measured.extend(wanted := tuple(paths))
            return question(wanted)

        explorer._measuring.ask = noted  # type: ignore[method-assign]  # to look over its shoulder
        await ask(it)
        await focus(it, "delete")
        await it.press("enter")
        await it.until(lambda: "promised" in it.text)
        await it.press("enter")
        await back(it)
        await it.until(lambda: victim not in it.text)
        await it.at_rest()
        assert it.tree.cursor_index == line
        assert after in it.cursor
        assert not (diff / victim).exists()
        assert bytes(diff.parent) in measured
        assert bytes(other.parent.parent) not in measured, "nothing changed there"


async def test_after_no_nothing_is_measured_again(sample: Path) -> None:
    async with removing(sample, Room(volume_plan)) as it:
        await it.go_to("arroyo")
        before = it.lines[-2].split(",")[0]
        await ask(it)
        await it.press("escape")
        await back(it)
        explorer = it.app.screen
        assert isinstance(explorer, ExploreScreen)
        assert not explorer.busy
        assert it.lines[-2].split(",")[0] == before


async def test_frees_nothing_is_said_in_figures(sample: Path) -> None:
    plan = replace(volume_plan(Wish(Subject.VOLUME, b"/", id="x")), frees=Frees())
    async with removing(sample, Room(lambda asked: replace(plan, wish=asked))) as it:
        await it.go_to("arroyo")
        await ask(it)
        assert "frees    0 B, 0 inodes" in it.text or "0 B, 0 inodes" in it.text
        assert ID not in it.text
