"""The filter's line and the rows beneath it, while the keys and the listings go their own ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.demo.layout import add_directory, make_root
from app.outline.levels import Level, Place
from app.screens.explore import ExploreScreen
from app.screens.filter_line import FilterLine
from app.screens.messages import Listed
from tests.tui.explorer import Explorer, exploring, wish


def is_open(it: Explorer) -> bool:
    return it.app.screen.query_one(FilterLine).is_open


def explorer_of(it: Explorer) -> ExploreScreen:
    explorer = it.app.screen_stack[0]
    assert isinstance(explorer, ExploreScreen)
    return explorer


# --- how it closes --------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["tab", "shift+tab"])
async def test_tab_keeps_the_words_like_enter(sample: Path, key: str) -> None:
    async with exploring(wish(sample)) as it:
        await it.press("slash", *"shop-w", key)
        assert not is_open(it)
        assert it.app.focused is it.tree
        assert "filter: shop-w " in it.lines[1] + " "
        await it.press("slash", "e")
        assert "filter: shop-we" in it.lines[1], "the line opens again, with its words"


async def test_a_click_on_the_rows_keeps_the_words_too(sample: Path) -> None:
    async with exploring(wish(sample)) as it:
        await it.press("slash", *"shop-w")
        await it.pilot.click(it.tree, offset=(60, 2))
        await it.until(lambda: not is_open(it))
        assert "filter: shop-w" in it.lines[1]
        assert it.lines[-1].startswith(" ? Help")
        await it.press("slash", "e")
        assert "filter: shop-we" in it.lines[1]


async def test_the_line_stays_open_while_another_window_has_the_keys(sample: Path) -> None:
    async with exploring(wish(sample)) as it:
        await it.press("slash", *"shop-w")
        it.app.app_focus = False
        await it.pilot.pause()
        assert is_open(it)
        it.app.app_focus = True
        await it.pilot.pause()
        await it.press("e")
        assert "filter: shop-we" in it.lines[1]


# --- rows that are listed anew --------------------------------------------------------------------


def listing(it: Explorer) -> Level:
    """The listing of the one layer that stands open."""
    levels = explorer_of(it)._outline._levels._by_number.values()
    return next(it.level for it in levels if it.level and len(it.level) > 2)


async def at_entry(it: Explorer, name: str) -> Level:
    """Put the cursor on an entry of the one layer there is; returns the layer's listing."""
    await it.press("n")
    await it.go_to("unknown (")
    await it.press("enter", "enter")
    await it.until(lambda: name in it.text)
    await it.go_to(name)
    return listing(it)


def listed_anew(level: Level, but: bytes = b"") -> Listed:
    """That the same directory is listed, in another order, so that each entry has another's number.

    The entry whose name ends with ``but`` is gone.
    """
    anew = Level(level.path)
    for at in (*range(1, len(level)), 0):
        if not (but and level.names[at].endswith(but)):
            identity = level.identities[at]
            anew.add(level.names[at], level.kinds[at], level.usage(at), level.mtimes[at], identity)
    return Listed(Place(level.path, level.path), anew)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One layer with five folders in it, which are not alike."""
    made = make_root(tmp_path / "docker")
    diff = add_directory(made, "a" * 64).diff
    for name in ("ant", "bee", "cat", "dog", "eel"):
        (diff / name).mkdir()
        for entry in ("left", "right"):
            (diff / name / f"{name}-{entry}").mkdir()
    return made


async def test_escape_goes_back_to_a_file_that_was_listed_anew_meanwhile(root: Path) -> None:
    async with exploring(wish(root)) as it:
        level = await at_entry(it, "bee")
        await it.press("slash", *"eel")
        assert "eel" in it.cursor
        explorer_of(it).post_message(listed_anew(level))
        await it.pilot.pause()
        await it.press("escape")
        assert "filter: -" in it.lines[1]
        assert "bee" in it.cursor


async def test_escape_stays_where_it_is_when_that_file_is_gone(root: Path) -> None:
    async with exploring(wish(root)) as it:
        level = await at_entry(it, "bee")
        await it.press("slash", *"eel")
        explorer_of(it).post_message(listed_anew(level, but=b"bee"))
        await it.pilot.pause()
        await it.press("escape")
        assert "ant" in it.text
        assert "bee" not in it.text
        assert "eel" in it.cursor


async def test_the_row_that_was_meant_opens_though_a_listing_came_first(root: Path) -> None:
    async with exploring(wish(root)) as it:
        level = await at_entry(it, "bee")
        explorer_of(it).post_message(listed_anew(level))
        it.tree.action_open()
        await it.until(lambda: "bee-left" in it.text)
        assert "dog-left" not in it.text
        explorer_of(it).post_message(listed_anew(listing(it)))
        it.tree.action_leave()
        await it.until(lambda: "bee-left" not in it.text)
        assert "bee" in it.cursor


async def test_a_row_that_is_gone_meanwhile_opens_nothing(root: Path) -> None:
    async with exploring(wish(root)) as it:
        level = await at_entry(it, "eel")
        before = len(explorer_of(it)._outline)
        explorer_of(it).post_message(listed_anew(level, but=b"eel"))
        it.tree.action_open()
        await it.pilot.pause(0.3)
        assert len(explorer_of(it)._outline) == before - 1
