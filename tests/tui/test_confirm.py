"""The dialog of a removal: what it shows, what has the keys, and what it takes to say yes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Input

from app.cleanup.execute.outcome import Outcome, Progress
from app.cleanup.plan.model import Plan, Subject, Wish
from app.model import Kind, Reference
from app.screens.confirm import ConfirmScreen
from app.screens.explore import ExploreScreen
from app.screens.waiting import LookingScreen
from tests.tui.explorer import NARROW
from tests.tui.removals import (
    Room,
    again,
    container_plan,
    volume_plan,
)
from tests.tui.removing import (
    BOTH_SIZES,
    HOSTILE,
    SAFE,
    WORD,
    ask,
    back,
    button,
    focus,
    focused,
    in_dialog,
    removing,
    whole,
)
from widgets.reference_list import ReferenceList

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
        assert f"Type {WORD} to confirm" in it.text
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
        assert f"Type {WORD} to confirm" in it.text
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
            await it.step("enter")
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
        assert "made anew" not in it.text
        await focus(it, "word")
        await it.press(*WORD)
        for ticked in (True, False, True):
            await focus(it, "volumes")
            await it.step("space")
            await in_dialog(it)
            assert ("[x] remove the 2" in it.text) is ticked
            assert "This plan was made anew" in it.text, "another plan than the one that was read"
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


@BOTH_SIZES
async def test_keys_that_scroll_never_lead_to_a_button(sample: Path, size: tuple[int, int]) -> None:
    """Where nothing has to be typed, Up meant for the text would be one Enter from a removal."""
    many = tuple(f"Consequence {number}." for number in range(60))
    room = Room(lambda asked: replace(volume_plan(asked), consequences=many))
    async with removing(sample, room, size) as it:
        await it.go_to("arroyo")
        await ask(it)
        assert not button(it, "delete").disabled
        pane = it.app.screen.query_one("#plan")
        for key, there in (("down", 1), ("down", 2), ("up", 1), ("up", 0), ("up", 0)):
            await it.press(key)
            assert (focused(it), pane.scroll_offset.y) == ("no", there)
        for key in ("pagedown", "pageup", "pageup"):
            await it.press(key)
            assert focused(it) == "no"
        assert pane.scroll_offset.y == 0
        await it.press("left")
        assert focused(it) == "delete", "who wants the button goes to it"


@pytest.mark.parametrize("key", ["up", "down", "pageup", "pagedown"])
async def test_where_all_is_to_be_seen_scrolling_keys_do_nothing(sample: Path, key: str) -> None:
    room = Room(volume_plan)
    async with removing(sample, room) as it:
        await it.go_to("arroyo")
        await ask(it)
        await it.press(key, "enter")
        await back(it)
    assert room.ran == []
