"""Names and figures asked for again: when that fails, is stopped, or comes too soon."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from textual.message import Message

from app.demo.content import put_empty_files
from app.demo.layout import add_directory, make_root
from app.discovery.request import Request
from app.scan.cache import Kept
from app.screens import work
from app.screens.explore import ExploreScreen
from app.screens.messages import Failed, Surveyed
from app.screens.waiting import RunningScreen
from tests.tui.explorer import NARROW, Explorer, exploring, wish
from tests.tui.removals import Room, erase_for_real, until_stopped
from tests.tui.removing import BOTH_SIZES, ask, back, focus, removing


def status(it: Explorer) -> str:
    return it.lines[-2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two layers with two files in each, one of them big."""
    made = make_root(tmp_path / "docker")
    for letter in "ab":
        diff = add_directory(made, letter * 64).diff
        (diff / f"small-{letter}").write_bytes(b"x" * 5000)
        (diff / f"victim-{letter}").write_bytes(b"x" * 500_000)
    return made


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opened at the end in any case: no thread is left behind."""
    gate = threading.Event()
    yield gate
    gate.set()


# --- names that cannot be read again --------------------------------------------------------------


@BOTH_SIZES
@pytest.mark.parametrize("key", ["R", "ctrl+r"])
async def test_names_that_cannot_be_read_again_leave_all_as_it_was(
    root: Path, size: tuple[int, int], key: str
) -> None:
    async with exploring(wish(root), size) as it:
        await it.go_to("unknown (")
        await it.press("enter")
        await it.go_to("a" * 12)
        before = it.rows
        elsewhere = root.rename(root.with_name("elsewhere"))
        await it.press(key)
        await it.until(lambda: "names" in status(it) and "reading" not in status(it))
        assert it.app.is_running
        assert it.rows == before
        assert "problem" in status(it)
        await it.press("E")
        await it.until(lambda: "reading the names again" in it.text)
        await it.press("escape")
        elsewhere.rename(root)
        put_empty_files(root / "overlay2" / ("a" * 64) / "diff" / "more", 100, "f")
        await it.press("r")
        await it.at_rest()
        assert it.inodes("a" * 12) > 100, "figures can still be measured"
        put_empty_files(root / "overlay2" / ("b" * 64) / "diff" / "more", 100, "f")
        await it.press("R")
        await it.at_rest()
        assert it.inodes("b" * 12) > 100
        await it.press("E")
        await it.until(lambda: "who answered" in it.text)
        assert "reading the names again" not in it.text


async def test_an_engine_that_fails_after_the_disk_has_answered_leaves_the_disk_s_word(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    survey = work.survey

    def half(request: Request, kept: Kept, post: work.Post, *rest: object) -> None:
        def post_first(message: Message) -> None:
            if isinstance(message, Surveyed):
                message.survey = replace(message.survey, final=False)
            post(message)

        survey(request, kept, post_first, *rest)  # type: ignore[arg-type]
        post(Failed("It is gone."))

    monkeypatch.setattr(work, "survey", half)
    async with exploring(wish(root)) as it:
        await it.press("down")
        await it.until(lambda: "scanned" in status(it))
        assert "asking the engine" not in it.text
        await it.press("E")
        await it.until(lambda: "reading the names again" in it.text)
        assert "It is gone." in it.text


async def test_a_watch_goes_on_when_names_cannot_be_read(root: Path) -> None:
    async with exploring(wish(root)) as it:
        await it.press("w")
        await it.until(lambda: "watching" in status(it))
        it.app.screen.post_message(Failed("It is gone."))
        await it.until(lambda: "The names stay as they were: It is gone." in status(it))
        await it.press("down")
        await it.until(lambda: "watching" in status(it))
        assert it.app.is_running


async def test_a_removal_goes_on_when_names_cannot_be_read(sample: Path) -> None:
    room = Room(run=until_stopped)
    async with removing(sample, room) as it:
        await it.go_to("volumes (")
        await it.press("enter")
        await ask(it)
        await focus(it, "delete")
        await it.press("enter")
        await it.until(lambda: isinstance(it.app.screen, RunningScreen))
        it.app.screen_stack[0].post_message(Failed("It is gone."))
        await it.pilot.pause(0.3)
        assert it.app.is_running
        assert isinstance(it.app.screen, RunningScreen)
        await it.press("escape")
        await it.until(lambda: "It was stopped" in it.text)
        await it.press("escape")
        await back(it)


# --- removals that follow each other --------------------------------------------------------------


async def test_two_removals_before_the_next_names_are_both_measured(
    root: Path, monkeypatch: pytest.MonkeyPatch, gate: threading.Event
) -> None:
    async def remove(it: Explorer, letter: str) -> None:
        await it.press("home")
        await it.go_to(letter * 12)
        await it.press("enter")
        await it.until(lambda: f"victim-{letter}" in it.text)
        await it.go_to(f"victim-{letter}")
        await ask(it)
        await focus(it, "delete")
        await it.press("enter")
        await it.until(lambda: "promised" in it.text)
        await it.press("enter")
        await back(it)

    survey = work.survey

    def late(*arguments: object) -> None:
        gate.wait(60)
        survey(*arguments)  # type: ignore[arg-type]

    async with removing(root, Room(run=erase_for_real)) as it:
        await it.press("n")
        await it.go_to("unknown (")
        await it.press("enter")
        before = {letter: it.inodes(letter * 12) for letter in "ab"}
        monkeypatch.setattr(work, "survey", late)
        await remove(it, "a")
        await remove(it, "b")
        gate.set()
        for letter in "ab":
            await it.until(lambda letter=letter: f"victim-{letter}" not in it.text)  # type: ignore[misc]
            await it.until(
                lambda letter=letter: it.inodes(letter * 12) == before[letter] - 1  # type: ignore[misc]
            )
        await it.at_rest()


# --- one row ------------------------------------------------------------------------------------


async def test_a_row_without_anything_to_measure_says_so(captures: Path) -> None:
    root = captures / "containerd/var/lib/docker"
    async with exploring(wish(root), (160, 40)) as it:
        await it.press("/", *"old:1", "enter")
        await it.go_to("old:1  own")
        await it.press("right")
        await it.go_to("compressed (")
        await it.press("r")
        assert "they come with the names" in status(it)


@pytest.mark.parametrize("rows", [False, True])
async def test_a_row_is_not_measured_while_names_are_read(
    root: Path, monkeypatch: pytest.MonkeyPatch, gate: threading.Event, rows: bool
) -> None:
    survey = work.survey

    def late(*arguments: object) -> None:
        gate.wait(60)
        survey(*arguments)  # type: ignore[arg-type]

    if not rows:
        monkeypatch.setattr(work, "survey", late)
    async with exploring(wish(root), rested=rows) as it:
        monkeypatch.setattr(work, "survey", late)
        if rows:
            await it.press("R")
        await it.until(lambda: "reading names" in status(it))
        await it.press("r")
        assert "The names are still being read" in status(it)
        gate.set()
        await it.at_rest()


async def test_there_may_be_no_row_to_measure(root: Path) -> None:
    async with exploring(wish(root)) as it:
        await it.press("slash", *"zzz", "enter", "r")
        assert "There is no row here to measure." in status(it)


# --- stopping -------------------------------------------------------------------------------------


async def test_what_was_asked_for_is_dropped_while_its_marks_are_read(
    root: Path, monkeypatch: pytest.MonkeyPatch, gate: threading.Event
) -> None:
    mark = work.mark
    looked = threading.Event()

    def late(*arguments: object) -> None:
        gate.wait(60)
        mark(*arguments)  # type: ignore[arg-type]
        looked.set()

    monkeypatch.setattr(work, "mark", late)
    async with exploring(wish(root)) as it:
        explorer = it.app.screen
        assert isinstance(explorer, ExploreScreen)
        await it.go_to("unknown (")
        await it.press("r")
        assert explorer.busy
        await it.press("ctrl+c")
        assert not explorer.busy
        assert "Nothing is being measured" not in it.text
        put_empty_files(root / "overlay2" / ("a" * 64) / "diff" / "more", 100, "f")
        gate.set()
        await it.until(looked.is_set)
        await it.pilot.pause(0.3)
        assert it.inodes("unknown (") < 100, "it was not measured after all"


async def test_ctrl_c_while_names_are_read_again_measures_nothing_anew(
    root: Path, monkeypatch: pytest.MonkeyPatch, gate: threading.Event
) -> None:
    survey = work.survey

    def late(*arguments: object) -> None:
        gate.wait(60)
        survey(*arguments)  # type: ignore[arg-type]

    async with exploring(wish(root)) as it:
        monkeypatch.setattr(work, "survey", late)
        put_empty_files(root / "overlay2" / ("a" * 64) / "diff" / "more", 100, "f")
        await it.press("R")
        await it.until(lambda: "reading names" in status(it))
        await it.press("ctrl+c")
        await it.until(lambda: "scanned" in status(it))
        gate.set()
        await it.pilot.pause(0.3)
        await it.at_rest()
        assert it.inodes("unknown (") < 100


# --- what a narrow screen says --------------------------------------------------------------------


async def test_answers_are_whole_sentences_at_forty_columns(sample: Path) -> None:
    async with exploring(wish(sample), (40, 24)) as it:
        await it.press("home")
        for key in ("d", "space"):
            await it.press(key)
            assert status(it).startswith(" group: open it  ")
            assert "1 problem (press E)" in status(it)
        await it.pilot.resize_terminal(*NARROW)
        await it.pilot.pause(0.2)
        assert "containers (7) is a group: open it, and choose. " in status(it)
