"""The hot spots as their user meets them: the list, and the way to one of them in the tree."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import pytest
from textual.message import Message
from textual.widgets import Footer

from app.demo.content import put_empty_files
from app.demo.layout import add_directory, make_root
from app.outline.levels import Level, Place
from app.scan.progress import ScanNews
from app.screens import work
from app.screens.explore import ExploreScreen
from app.screens.hot import HotScreen
from app.screens.wish import Wish
from app.screens.words import hot_words, lost_words
from app.usage.order import Column
from tests.tui.explorer import NARROW, WIDE, Explorer, exploring, wish
from tests.tui.test_explore import NEWS, EndlessJob
from widgets.hot_list import HotList

BOTH_SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
HOSTILE = b"esc\x1b[31m/two\nlines/bad\xff/[red][/nope]/\xe2\x80\xaegnp/back\\slash"


def by_inodes(root: Path) -> Wish:
    return replace(wish(root), column=Column.INODES)


async def open_hot(it: Explorer) -> None:
    await it.press("H")
    await it.until(lambda: isinstance(it.app.screen, HotScreen))
    await it.until(lambda: it.app.screen.query_one(HotList).cursor_line)
    await it.pilot.pause()


def chosen(it: Explorer) -> str:
    """The line under the cursor of the list."""
    return next(line for line in it.lines if line[:1] in "▶*")


@BOTH_SIZES
async def test_the_fullest_directories_and_their_owners_are_listed(
    sample: Path, size: tuple[int, int]
) -> None:
    async with exploring(by_inodes(sample), size) as it:
        await open_hot(it)
        assert it.lines[0].startswith(" hot spots › the most inodes of their own")
        assert "sort: INODES ↓" in it.lines[0]
        assert re.match(r"▶   1 .* 1,201  pip .*diff/http-v2/a/b", it.lines[2])
        assert "acme/web:2.4.0, +3" in it.lines[3]
        assert it.lines[3].endswith("babel/locale-data"), "of a path that is long the end is shown"
        assert it.lines[-1].startswith(" enter Go there  s Sort  esc Back")
        assert it.app.screen.query_one(Footer).max_scroll_x == 0
        assert all(len(line) <= size[0] for line in it.lines)
        await it.press("s")
        await it.until(lambda: "48.0 MiB" in it.lines[2])
        assert "sort: BYTES ↓" in it.lines[0]
        assert "elk" in it.lines[2]
        await it.press("escape")
        assert "sort: INODES ↓" in it.lines[1], "the explorer keeps its own order"


@BOTH_SIZES
@pytest.mark.parametrize("views", [0, 1])
async def test_enter_opens_the_tree_down_to_the_directory(
    sample: Path, size: tuple[int, int], views: int
) -> None:
    async with exploring(by_inodes(sample), size) as it:
        await it.press(*["v"] * views)
        await open_hot(it)
        await it.press("down", "enter")
        await it.until(lambda: "locale-data" in it.cursor)
        assert "▸" in it.cursor, "it is there, and not opened itself"
        assert it.inodes("locale-data") >= 901
        assert it.tree.has_focus
        await it.press("enter")
        await it.until(lambda: "locale-data" not in it.cursor)


async def test_escape_leads_back_to_where_the_cursor_was(sample: Path) -> None:
    async with exploring(wish(sample)) as it:
        await it.go_to("images")
        rows = it.rows
        await open_hot(it)
        await it.press("down", "escape")
        assert "images" in it.cursor
        assert it.rows == rows


async def test_a_filter_does_not_hide_the_directory(sample: Path) -> None:
    async with exploring(by_inodes(sample)) as it:
        await it.press("slash", *"postgres", "enter")
        assert "filter: postgres" in it.lines[1]
        await open_hot(it)
        await it.press("enter")
        await it.until(lambda: "diff/http-v2" in it.cursor)
        assert "filter: -" in it.lines[1]


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A root with one flood, four levels down in a layer that nobody owns."""
    root = make_root(tmp_path / "docker")
    diff = add_directory(root, "a" * 64).diff
    put_empty_files(diff / "srv/queue/pending/jobs", 3_000, "job-")
    (diff / "srv/other").mkdir()
    (diff / "srv/queue/other").mkdir()
    return root


async def test_a_directory_that_vanished_ends_at_the_nearest_row_with_a_sentence(
    deep: Path,
) -> None:
    async with exploring(by_inodes(deep), NARROW) as it:
        await open_hot(it)
        assert "pending/jobs" in chosen(it)
        rmtree(deep / "overlay2" / ("a" * 64) / "diff/srv/queue")
        await it.press("enter")
        await it.until(lambda: "is gone; this is the nearest row" in it.lines[-2])
        assert "diff/srv" in it.cursor
        await it.press("up")
        await it.until(lambda: "is gone" not in it.lines[-2])


async def test_who_moves_the_cursor_meanwhile_is_left_alone(
    deep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Place, Callable[..., Level], Callable[[Message], object]]] = []
    async with exploring(by_inodes(deep)) as it:
        monkeypatch.setattr(
            "app.screens.work.list_place", lambda *all_of_it: asked.append(all_of_it)
        )
        await open_hot(it)
        await it.press("enter")
        await it.until(lambda: asked)
        await it.press("home")
        first = it.cursor
        monkeypatch.undo()
        work.list_place(*asked[0])  # the listing that a slow disk kept back
        await it.pilot.pause(0.3)
        assert it.cursor == first


async def test_the_list_follows_the_scan(deep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.screens.hot.LOOK", 0.05)
    async with exploring(by_inodes(deep)) as it:
        await open_hot(it)
        await it.press("down")
        second = chosen(it)[8:]
        put_empty_files(deep / "overlay2" / ("a" * 64) / "diff/srv/other", 5_000, "new-")
        explorer = it.app.screen_stack[0]
        assert isinstance(explorer, ExploreScreen)
        explorer.action_rescan_all()
        await it.until(lambda: " 5,001 " in it.lines[2])
        assert "srv/other" in it.lines[2]
        assert chosen(it)[8:] == second, "the cursor stays with its directory"
        assert " 3 " in chosen(it)[:7]


async def test_hostile_names_are_drawn_safe_and_found(tmp_path: Path) -> None:
    root = make_root(tmp_path / "docker")
    diff = bytes(add_directory(root, "b" * 64).diff)
    place = Path(os.fsdecode(os.path.join(diff, HOSTILE)))
    put_empty_files(place, 300, "x")
    put_empty_files(place.parent / "company", 1, "x")
    for size in (WIDE, NARROW):
        async with exploring(by_inodes(root), size) as it:
            await open_hot(it)
            assert r"\u202egnp/back\\slash" in it.lines[2]
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\udc80-\udcff]", it.text)
            await it.press("enter")
            await it.until(lambda: r"back\\slash" in it.cursor)


async def test_nothing_but_ascii_is_drawn_where_that_was_asked_for(sample: Path) -> None:
    async with exploring(wish(sample, ascii=True), NARROW) as it:
        await open_hot(it)
        assert it.text.isascii(), it.text


async def test_before_anything_is_measured_the_list_says_so(
    sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.usage.session.ScanJob", EndlessJob)
    async with exploring(wish(sample), rested=False) as it:
        await it.until(lambda: "scanning 0 of 9" in it.lines[-2])
        await it.press("H")
        await it.until(lambda: "Looking..." in it.text)
        assert "0 of 9 scanned" in it.lines[-2]
        await it.press("enter")
        assert isinstance(it.app.screen, HotScreen), "there is nothing to go to"
        await it.press("H")
        await it.press("ctrl+c")


async def test_the_mouse_chooses_and_goes(sample: Path) -> None:
    async with exploring(by_inodes(sample)) as it:
        await open_hot(it)
        await it.pilot.click(HotList, offset=(20, 3))
        assert chosen(it).startswith("▶   3 ")
        await it.pilot.click(HotList, offset=(20, 1), times=2)
        await it.until(lambda: "diff/http-v2" in it.cursor)


@pytest.mark.parametrize("news", [None, NEWS])
def test_some_way_to_say_it_fits_eighty_columns(news: ScanNews | None) -> None:
    assert len(hot_words(100, news)[-1]) <= 78
    assert len(lost_words(b"/var/lib/docker/" * 20)[-1]) <= 56
