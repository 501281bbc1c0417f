"""Removal as its user meets it: d, the dialog, what is typed, what comes of it. Nothing real goes.

The cleanup room is a made-up one (:mod:`tests.tui.removals`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from textual.command import CommandPalette
from textual.widgets import Input

from app.cleanup.outcome import Outcome, Progress
from app.cleanup.plan import Frees, Plan, Subject, Wish
from app.demo.layout import add_directory, make_root
from app.model import Kind, Reference
from app.screens.confirm import ConfirmScreen
from app.screens.explore import ExploreScreen
from app.screens.waiting import LookingScreen, RunningScreen
from app.tui import WhodiffApp
from tests.tui.explorer import NARROW, WIDE, Explorer, wish
from tests.tui.removals import (
    ID,
    Room,
    again,
    container_plan,
    done,
    erase_for_real,
    made_up,
    until_stopped,
    volume_plan,
)
from widgets.choice import Choice
from widgets.details_pane import DetailsPane
from widgets.reference_list import ReferenceList

BOTH_SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
WORD = "3f9c12ab04de"
HOSTILE = "ev\x1b[31mil\u202e\n[red]x[/nope]"
SAFE = r"ev\x1b[31mil\u202e\n[red]x[/nope]"


@asynccontextmanager
async def removing(
    root: Path,
    room: Room,
    size: tuple[int, int] = WIDE,
    *,
    read_only: bool = False,
    ascii: bool = False,
) -> AsyncIterator[Explorer]:
    """The explorer with names and figures there, and ``room`` behind it."""
    wanted = replace(wish(root, ascii=ascii), read_only=read_only)
    app = WhodiffApp(wanted, room.removal)
    async with app.run_test(size=size, notifications=True) as pilot:
        explorer = Explorer(app, pilot)
        await explorer.at_rest()
        yield explorer


async def ask(it: Explorer, *keys: str) -> None:
    """Press ``d`` behind ``keys`` and wait for the dialog."""
    await it.press(*keys, "d")
    await in_dialog(it)


async def in_dialog(it: Explorer) -> None:
    await it.until(lambda: isinstance(it.app.screen, ConfirmScreen))
    await it.pilot.pause(0.05)


async def back(it: Explorer) -> None:
    """Wait until the explorer has the keys again."""
    await it.until(lambda: isinstance(it.app.screen, ExploreScreen))


def focused(it: Explorer) -> str:
    return (it.app.focused and it.app.focused.id) or ""


def button(it: Explorer, id: str) -> Choice:
    return it.app.screen.query_one(f"#{id}", Choice)


async def focus(it: Explorer, id: str) -> None:
    """Tab until the widget has the keys."""
    for _ in range(12):
        if focused(it) == id:
            return
        await it.press("tab")
    raise AssertionError(f"tab does not lead to {id}:\n{it.text}")


async def whole(it: Explorer) -> str:
    """Plan and references, all lines of both, as they are drawn."""
    page = []
    for pane in it.app.screen.query(DetailsPane):
        pane.scroll_to(y=0, animate=False, force=True)
        await it.pilot.pause()
        seen: dict[int, str] = {}
        at = -1
        while pane.scroll_offset.y != at:
            at = pane.scroll_offset.y
            seen |= {at + y: pane.render_line(y).text.rstrip() for y in range(pane.size.height)}
            pane.action_scroll_page(1)
            await it.pilot.pause()
        page += [seen[line] for line in sorted(seen)]
    return "\n".join(page)


# --- the dialog -----------------------------------------------------------------------------------


@BOTH_SIZES
async def test_the_dialog_says_all_and_cancel_has_the_keys(
    sample: Path, size: tuple[int, int]
) -> None:
    room = Room()
    async with removing(sample, room, size) as it:
        await it.go_to("arroyo")
        await ask(it)
        assert focused(it) == "no"
        assert "▶[ Cancel ]" in it.text
        page = await whole(it)
        for words in (
            "container web-api-1",
            "12.0 GiB, 201,993 inodes",
            "It is running: it is killed",
            "docker rm --force",
            "/mnt/0: its layer is mounted there",
            "anonymous ones that stay: aaaaaaaaaaaa, bbbbbbbbbbbb",
        ):
            assert words in page
        assert "referred to by (2)" in it.text
        assert f"type {WORD} here" in it.text
        assert room.wishes[0].subject is Subject.CONTAINER
        assert room.wishes[0].root == bytes(sample)
        assert len(room.wishes[0].id) == 64
    assert room.ran == []


@pytest.mark.parametrize("key", ["enter", "escape", "space"])
async def test_the_default_is_no(sample: Path, key: str) -> None:
    room = Room(volume_plan)
    async with removing(sample, room) as it:
        await it.go_to("arroyo")
        await ask(it)
        await it.press(key)
        await back(it)
        await it.pilot.pause(0.2)
    assert room.ran == []


async def test_a_burst_of_enters_deletes_nothing(sample: Path) -> None:
    room = Room(volume_plan)
    async with removing(sample, room) as it:
        await it.go_to("arroyo")
        await it.press("d", *["enter"] * 8)
        await it.press("escape")
        await it.until(lambda: not isinstance(it.app.screen, LookingScreen))
        await it.press("escape")
        await back(it)
    assert room.ran == []


@pytest.mark.parametrize(
    "typed", ["", WORD[:-1], WORD + "0", WORD.upper(), " " + WORD, WORD + " ", "y", "yes"]
)
async def test_delete_waits_for_the_exact_word(sample: Path, typed: str) -> None:
    room = Room(container_plan)
    async with removing(sample, room) as it:
        await it.go_to("arroyo")
        await ask(it)
        assert button(it, "delete").disabled
        assert "[ Delete ]" not in it.text, "brackets are for what can be pressed"
        it.app.screen.query_one(Input).value = typed
        await it.pilot.pause()
        assert button(it, "delete").disabled
        await focus(it, "word")
        await it.press("enter")
        assert focused(it) == "word"
        button(it, "delete").action_press()
        await it.pilot.pause(0.1)
        assert isinstance(it.app.screen, ConfirmScreen)
    assert room.ran == []


@BOTH_SIZES
async def test_the_word_and_a_second_enter_delete(sample: Path, size: tuple[int, int]) -> None:
    room = Room()
    async with removing(sample, room, size) as it:
        await it.go_to("arroyo")
        await ask(it)
        await focus(it, "word")
        await it.press(*WORD)
        assert not button(it, "delete").disabled
        await it.press("enter")
        assert isinstance(it.app.screen, ConfirmScreen), "the first Enter only leads on"
        assert focused(it) == "delete"
        await it.press("backspace")
        await it.press("enter")
        await it.until(lambda: "promised" in it.text)
        assert "freed     12.0 GiB, 201,000 inodes, as the filesystem counts" in it.text
        assert "promised  12.0 GiB, 201,993 inodes" in it.text
        await it.press("enter")
        await back(it)
        assert "freed 12.0 GiB, 201,000 inodes" in it.lines[-2]
        await it.at_rest()
    assert [plan.wish for plan in room.ran] == room.wishes[:1]


async def test_the_word_taken_back_takes_delete_back(sample: Path) -> None:
    async with removing(sample, Room()) as it:
        await it.go_to("arroyo")
        await ask(it)
        await focus(it, "word")
        await it.press(*WORD)
        assert not button(it, "delete").disabled
        await it.press("backspace")
        assert button(it, "delete").disabled


@BOTH_SIZES
async def test_five_hundred_references_leave_the_buttons(
    sample: Path, size: tuple[int, int]
) -> None:
    def plan(asked: Wish) -> Plan:
        many = tuple(f"Consequence {number}." for number in range(60))
        return replace(container_plan(asked, references=500), consequences=many)

    async with removing(sample, Room(plan), size) as it:
        await it.go_to("arroyo")
        await ask(it)
        assert "▶[ Cancel ]" in it.text
        assert "Delete" in it.text
        assert "referred to by (500)" in it.text
        assert f"type {WORD} here" in it.text
        assert "PgDn: there is more" in it.text
        page = await whole(it)
        assert "Consequence 59." in page
        assert "/mnt/499: " in page
        pane, references = it.app.screen.query_one("#plan"), it.app.screen.query_one(ReferenceList)
        pane.scroll_to(y=0, animate=False, force=True)
        references.scroll_to(y=0, animate=False, force=True)
        for _ in range(400):
            await it.press("pagedown")
            if "/mnt/499" in it.text:
                break
        assert "/mnt/499" in it.text, "PgDn alone leads through all of it"
        assert focused(it) == "no"


async def test_a_tiny_terminal_keeps_the_buttons(sample: Path) -> None:
    async with removing(sample, Room(), (50, 12)) as it:
        await it.go_to("arroyo")
        await ask(it)
        assert "▶[ Cancel ]" in it.text
        assert "Delete" in it.text
        await it.pilot.resize_terminal(120, 36)
        await it.pilot.pause(0.2)
        assert "docker rm --force" in it.text


@BOTH_SIZES
async def test_a_long_command_is_shown_to_its_last_letter(
    sample: Path, size: tuple[int, int]
) -> None:
    command = "rm -rf -- $'/x/\\x1b[31m" + "/folder" * 900 + "/end'"

    def plan(asked: Wish) -> Plan:
        made = volume_plan(asked)
        return replace(made, steps=(replace(made.steps[0], command=command),))

    async with removing(sample, Room(plan), size) as it:
        await it.go_to("arroyo")
        await ask(it)
        drawn = "".join((await whole(it)).split())
        assert "".join(command.split()) in drawn


@BOTH_SIZES
async def test_hostile_names_are_written_out(sample: Path, size: tuple[int, int]) -> None:
    def plan(asked: Wish) -> Plan:
        made = container_plan(asked)
        return replace(
            made,
            title=HOSTILE,
            path=HOSTILE.encode(),
            word=HOSTILE,
            consequences=(HOSTILE,),
            references=(Reference(Kind.CONTAINER, HOSTILE, HOSTILE, HOSTILE),),
            steps=(replace(made.steps[0], command=HOSTILE),),
        )

    def run(plan: Plan, progress: Progress) -> Outcome:
        return Outcome(plan, done=False, why=HOSTILE, notes=(HOSTILE,))

    room = Room(plan, run)
    async with removing(sample, room, size) as it:
        await it.go_to("arroyo")
        await ask(it)
        for _ in range(2):
            text = it.text
            assert "\x1b" not in text
            assert "\u202e" not in text
            assert SAFE in await whole(it)
            if room.ran:
                break
            it.app.screen.query_one(Input).value = HOSTILE
            await it.pilot.pause()
            if button(it, "delete").disabled:  # an input line takes no line break
                break
            await focus(it, "delete")
            await it.press("enter")
            await it.until(lambda: bool(room.ran) and "not done" in it.text)


async def test_ascii_draws_nothing_but_ascii(sample: Path) -> None:
    async with removing(sample, Room(), NARROW, ascii=True) as it:
        await it.go_to("arroyo")
        await it.press("space", "up")
        await ask(it)
        assert it.text.isascii(), it.text
        assert "*[ Cancel ]" in it.text
        await focus(it, "word")
        await it.press(*WORD, "enter", "enter")
        await it.until(lambda: "promised" in it.text)
        assert it.text.isascii(), it.text


# --- refused, read-only ---------------------------------------------------------------------------


@BOTH_SIZES
async def test_a_refusal_comes_first_and_can_only_be_closed(
    sample: Path, size: tuple[int, int]
) -> None:
    room = Room()
    async with removing(sample, room, size) as it:
        await it.go_to("images (")
        await it.press("enter")
        await ask(it)
        lines = [line.strip("│ ") for line in it.lines]
        at = next(y for y, line in enumerate(lines) if line.startswith("image postgres:16"))
        assert lines[at + 1] == "refused  A container stands on this image."
        assert lines[at + 2] == "instead  Remove container shop-db-1 first."
        assert "shop-db-1 3f9c12ab04de: was made from this image" in it.text
        assert "▶[ Close ]" in it.text
        assert "Delete ]" not in it.text
        assert not it.app.screen.query("#delete, #word, #volumes")
        assert not it.app.screen.query("#delete")
        await it.press("enter")
        await back(it)
    assert room.ran == []


@BOTH_SIZES
async def test_read_only_shows_the_plan_and_no_delete(sample: Path, size: tuple[int, int]) -> None:
    room = Room()
    async with removing(sample, room, size, read_only=True) as it:
        await it.go_to("arroyo")
        await ask(it)
        page = await whole(it)
        assert "whodiff runs with --read-only" in " ".join(page.split())
        assert "docker rm --force" in page
        assert "▶[ Close ]" in it.text
        assert not it.app.screen.query("#delete, #word, #volumes")
        await it.press("enter")
        await back(it)
    assert room.ran == []


async def test_a_planner_that_fails_is_a_refusal(sample: Path) -> None:
    def plan(_: Wish) -> Plan:
        raise RuntimeError(HOSTILE)

    async with removing(sample, Room(plan)) as it:
        await it.go_to("arroyo")
        await ask(it)
        assert "could not be found out" in it.text
        assert SAFE in "".join((await whole(it)).split())
        assert "▶[ Close ]" in it.text


async def test_a_plan_without_steps_cannot_be_confirmed(sample: Path) -> None:
    async with removing(sample, Room(lambda asked: replace(volume_plan(asked), steps=()))) as it:
        await it.go_to("arroyo")
        await ask(it)
        assert "There is nothing to do." in it.text
        assert not it.app.screen.query("#delete")


async def test_groups_and_dockers_own_rows_are_answered_in_the_status_line(sample: Path) -> None:
    room = Room()
    async with removing(sample, room, NARROW) as it:
        for key in ("d", "space"):
            await it.press("home", key)
            assert "containers (7) is a group: open it" in it.lines[-2]
        await it.press("down")
        assert "is a group" not in it.lines[-2]
        await it.go_to("Docker's own files")
        await it.press("enter", "d")
        await it.until(lambda: "stay" in it.lines[-2] or "single files" in it.lines[-2])
        assert isinstance(it.app.screen, ExploreScreen)
        assert "marked" not in it.lines[1]
    assert room.wishes == []


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
        seen = Path(asked.path.decode()).stat()
        assert asked.subject is Subject.PATH
        assert (asked.device, asked.inode) == (seen.st_dev, seen.st_ino)
        assert asked.root == bytes(sample)


# --- twice, volumes -------------------------------------------------------------------------------


async def test_what_frees_nothing_is_asked_twice(sample: Path) -> None:
    room = Room(again(volume_plan))
    async with removing(sample, room) as it:
        await it.go_to("arroyo")
        await ask(it)
        await focus(it, "delete")
        first = it.app.screen
        await it.press("enter")
        await it.until(lambda: it.app.screen is not first)
        await in_dialog(it)
        assert "It lies in the image below: nothing will be freed." in it.text
        assert focused(it) == "no"
        assert [asked.insisted for asked in room.wishes] == [False, True]
        assert room.ran == []
        await it.press("enter")
        await back(it)
        assert room.ran == []
        await ask(it)
        for _ in range(2):
            await focus(it, "delete")
            before = it.app.screen
            await it.press("enter")
            await it.until(lambda before=before: it.app.screen is not before)  # type: ignore[misc]
            await it.until(lambda: not isinstance(it.app.screen, LookingScreen))
        await it.until(lambda: "promised" in it.text)
    assert [plan.wish.insisted for plan in room.ran] == [True]


@BOTH_SIZES
async def test_the_box_plans_again_with_the_volumes(sample: Path, size: tuple[int, int]) -> None:
    room = Room()
    async with removing(sample, room, size) as it:
        await it.go_to("arroyo")
        await ask(it)
        assert "[ ] remove the 2 anonymous volumes too" in it.text
        await focus(it, "word")
        await it.press(*WORD)
        for ticked in (True, False, True):
            await focus(it, "volumes")
            before = it.app.screen
            await it.press("space")
            await it.until(lambda before=before: it.app.screen is not before)  # type: ignore[misc]
            await in_dialog(it)
            assert ("[x] remove the 2" in it.text) is ticked
            page = await whole(it)
            assert ("--volumes" in page) is ticked
            assert ("that go too" in page) is ticked
            assert focused(it) == "no"
            assert button(it, "delete").disabled, "what was typed was for another plan"
        await focus(it, "word")
        await it.press(*WORD, "enter", "enter")
        await it.until(lambda: "promised" in it.text)
    assert [plan.wish.anonymous_volumes for plan in room.ran] == [True]
    assert room.ran[0].steps[0].volumes


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
        assert "nothing: 12.0 GiB less are free" in it.text


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
