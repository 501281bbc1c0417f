"""The pages over the explorer: details, problems, help, and the command palette."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.command import CommandPalette

from app.model import Problem
from app.screens import keys
from app.screens.dialogs import problem_sections
from app.screens.explore import ExploreScreen
from tests.tui.explorer import NARROW, WIDE, Explorer, exploring, wish
from tests.tui.test_explore import EndlessJob
from widgets.details_pane import DetailsPane

BOTH_SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])


async def whole_page(it: Explorer) -> str:
    """Everything on the page that is open, read by paging down."""
    pane = it.app.screen.query_one(DetailsPane)
    seen: list[str] = []
    await it.press("home")
    while True:
        seen += [pane.render_line(y).text.rstrip() for y in range(pane.size.height)]
        before = pane.scroll_offset.y
        await it.press("pagedown")
        if pane.scroll_offset.y == before:
            return "\n".join(seen)


# --- help -----------------------------------------------------------------------------------------


@BOTH_SIZES
async def test_help_names_every_key_of_the_explorer(sample: Path, size: tuple[int, int]) -> None:
    async with exploring(wish(sample), size) as it:
        await it.press("question_mark")
        page = await whole_page(it)
        for title in ("move", "sort", "look", "measure", "delete", "mouse"):
            assert f"\n {title}" in page
        for words in ("this page", "by inodes", "by owner, or by directory", "Ctrl+C", "Ctrl+P"):
            assert words in page
        assert "…" not in page, "a key or a sentence is cut"
        for key in ("q", "escape", "question_mark"):
            await it.press(key)
            assert isinstance(it.app.screen, ExploreScreen), f"{key} does not close"
            await it.press("question_mark")
        assert it.app.is_running


def test_every_key_of_the_explorer_has_words_and_a_place() -> None:
    actions = [binding.action for binding in keys.BINDINGS]
    assert len(actions) == len(set(actions))
    pages = "\n".join(
        f"{line.label} {line.value!r}" for section in keys.help_sections() for line in section.lines
    )
    for binding in keys.BINDINGS:
        assert binding.tooltip
        assert binding.tooltip in pages


def test_the_footer_comes_in_its_order() -> None:
    shown = [binding.description for binding in keys.BINDINGS if binding.show]
    assert shown == [
        *("Help", "Quit", "Sort", "Filter", "View", "Hot", "Details", "Rescan", "Delete")
    ]


# --- Ctrl+C ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["H", "question_mark", "i", "E"])
async def test_ctrl_c_on_a_page_stops_the_scan_behind_it(
    sample: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr("app.usage.session.ScanJob", EndlessJob)
    async with exploring(wish(sample), rested=False) as it:
        await it.until(lambda: "scanning 0 of 9" in it.lines[-2])
        await it.press(key, "ctrl+c")
        assert not isinstance(it.app.screen, ExploreScreen), "the page stays"
        await it.at_rest()
        assert not it.app._notifications
        await it.press("ctrl+c")
        (note,) = it.app._notifications
        assert note.message == "Nothing is being measured. Ctrl+Q quits."
        assert not note.title
        await it.press("escape")
        await it.until(lambda: "figures with + are incomplete" in it.lines[-2])


# --- palette --------------------------------------------------------------------------------------


async def test_the_palette_has_every_action_and_does_it(sample: Path) -> None:
    async with exploring(wish(sample)) as it:
        commands = [it.title for it in it.app.get_system_commands(it.app.screen)]
        assert {binding.description for binding in keys.BINDINGS} <= set(commands)
        assert "Screenshot" not in commands, "it would write a file"
        await it.press("ctrl+p")
        assert isinstance(it.app.screen, CommandPalette)
        await it.press(*"by name")
        await it.until(lambda: "Sort by name" in it.text)
        await it.press("enter")
        await it.until(lambda: "sort: NAME" in it.lines[1])


# --- details --------------------------------------------------------------------------------------


@BOTH_SIZES
async def test_details_of_a_layer_say_who_and_why(sample: Path, size: tuple[int, int]) -> None:
    async with exploring(wish(sample), size) as it:
        await it.press("C")
        await it.go_to("arroyo")
        await it.press("enter", "i")
        page = await whole_page(it)
        for words in ("writable layer", "path", "allocated", "inodes", "container", "evidence"):
            assert words in page
        joined = "".join(page.split())
        assert "ghcr.io/arroyosystems/arroyo:0.15" in joined
        assert "mount-id" in joined, "the file that says so"
        assert it.lines[-1].strip() == "esc Close"
        await it.press("escape")
        assert isinstance(it.app.screen, ExploreScreen)


async def test_details_follow_the_cursor_where_there_is_room(sample: Path) -> None:
    async with exploring(wish(sample)) as it:
        await it.go_to("elk")
        pane = it.app.screen.query_one(DetailsPane)
        await it.until(lambda: pane.render_line(0).text.strip() == "elk")
        await it.press("home")
        await it.until(lambda: pane.render_line(0).text.strip() == "containers (7)")


async def test_details_of_an_image_say_what_is_its_own(sample: Path) -> None:
    async with exploring(wish(sample)) as it:
        await it.press("slash", *"postgres:16", "enter")
        await it.go_to("postgres:16  own")
        await it.press("i")
        page = await whole_page(it)
        assert "in parts of no other image" in page
        assert "in parts that other images hold too" in page


# --- problems -------------------------------------------------------------------------------------


@BOTH_SIZES
async def test_problems_come_with_their_source(sample: Path, size: tuple[int, int]) -> None:
    async with exploring(wish(sample), size) as it:
        await it.press("E")
        page = await whole_page(it)
        assert "disk alone: --offline" in page
        assert "overlay2/l" in page
        await it.press("escape")
        assert isinstance(it.app.screen, ExploreScreen)


def test_unreadable_paths_are_listed_and_the_rest_is_counted() -> None:
    problems = [Problem("imagedb", "It is damaged.", hides_owners=True)] * 2
    sections = problem_sections(["disk alone"], problems, [b"/a\x1b", b"/b"], 7)
    assert [section.title for section in sections] == [
        "who answered",
        "imagedb",
        "not in the figures: could not be read",
    ]
    assert sections[1].lines[0].tone == "warn"
    assert [line.value for line in sections[2].lines] == [b"/a\x1b", b"/b", "and 7 more"]


def test_no_problem_is_said_to_be_none() -> None:
    assert problem_sections(["disk and engine"], [], [], 0)[-1].title == "no problems"
