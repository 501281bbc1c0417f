"""The explorer as its user meets it: keys in, the drawn screen out."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import pytest
from textual.notifications import SeverityLevel
from textual.widgets import Footer

from app.demo.content import put_empty_files
from app.demo.layout import add_directory, make_root
from app.model import Headroom, Usage
from app.scan.job import ScanNews
from app.scan.listing import Listing, list_directory
from app.scan.tree_builder import result_cut_short
from app.scan.walk import Fence, Unit
from app.screens.words import finished_words, scanning_words
from app.usage.order import Column
from tests.tui.explorer import NARROW, WIDE, Explorer, exploring, wish

FOOTER = " ? Help  q Quit  s Sort  / Filter  v View  H Hot  i Details  r Rescan  d Delete"
BOTH_SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])


# --- the first look -------------------------------------------------------------------------------


@BOTH_SIZES
async def test_the_first_look(sample: Path, size: tuple[int, int]) -> None:
    async with exploring(wish(sample), size) as it:
        assert it.lines[0].lstrip().startswith(("/", "…"))
        assert "bytes" in it.lines[0]
        assert it.lines[1].startswith(" by owner › containers (7)")
        assert re.search(r"sort: (BYTES|INODES) ↓  filter: -$", it.lines[1])
        assert it.lines[-1].startswith(FOOTER)
        assert "1 problem (press E)" in it.lines[-2]
        assert "names from disk alone" in it.lines[-2]
        assert {"containers (7)", "images (6)", "volumes (3)", "arroyo"} <= set(it.names)
        assert all(len(line) <= size[0] for line in it.lines)


async def test_names_come_before_figures(sample: Path) -> None:
    async with exploring(wish(sample), rested=False) as it:
        await it.until(lambda: "containers (7)" in it.names)
        assert "arroyo" in it.names
        await it.at_rest()
        assert all("…" not in row[:36] for row in it.rows), it.text
        width = it.tree.size.width
        painted = [line[:width].rstrip() for line in it.lines[3:]]
        assert painted[: len(it.names)] == [row.rstrip() for row in it.rows][: len(it.names)]


async def test_the_first_row_keeps_the_cursor_until_the_user_moves(sample: Path) -> None:
    async with exploring(wish(sample), rested=False) as it:
        await it.until(lambda: "containers (7)" in it.names)
        await it.at_rest()
        await it.press("n", "n")
        assert it.tree.cursor_index == 0
        await it.press("down")
        name = it.cursor.split()[-1]
        await it.press("n")
        assert it.cursor.split()[-1] == name


async def test_the_scarcer_of_bytes_and_inodes_is_sorted_by(
    sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Headroom(b"/", "ext4", "/dev/vda", 10, 90, 99, 1, 100)
    monkeypatch.setattr("app.screens.work.headrooms", lambda _stores: {bytes(sample): full})
    async with exploring(wish(sample)) as it:
        assert "sort: INODES ↓" in it.lines[1]
        assert "99% LOW" in it.lines[0]
    async with exploring(replace(wish(sample), column=Column.NAME)) as it:
        assert "sort: NAME ↑" in it.lines[1]


# --- moving and opening ---------------------------------------------------------------------------


@BOTH_SIZES
async def test_enter_leads_down_to_the_flood(sample: Path, size: tuple[int, int]) -> None:
    async with exploring(replace(wish(sample), column=Column.INODES), size) as it:
        await it.press("enter")
        assert "arroyo" in it.cursor
        await it.press("enter")
        assert "writable layer" in it.cursor
        await it.press("enter")
        await it.until(lambda: "checkpoints" in it.cursor)
        assert it.cursor.rstrip().endswith("job_ab12/checkpoints"), "the end of a path says most"
        assert it.lines[1].startswith(" by owner › …")
        assert "arroyo" in it.lines[1]
        await it.press("enter")
        await it.until(lambda: "checkpoint-0000000" in it.cursor)
        await it.press("h", "h", "h", "h", "h")
        assert "arroyo" in it.cursor


async def test_right_opens_and_left_closes(sample: Path) -> None:
    async with exploring(wish(sample)) as it:
        await it.go_to("images")
        await it.press("right")
        assert "▾ images" in it.cursor
        assert any("postgres:16" in name for name in it.names)
        await it.press("left")
        assert "▸ images" in it.cursor
        assert not any("postgres:16" in name for name in it.names)


async def test_the_mouse_chooses_opens_and_sorts(sample: Path) -> None:
    async with exploring(wish(sample)) as it:
        tree = it.tree
        line = next(y for y, row in enumerate(it.rows, 1) if "▸ images" in row)
        sign = it.rows[line - 1].index("▸")
        await it.pilot.click(tree, offset=(sign + 6, line))
        assert "images" in it.cursor
        assert "▸ images" in it.cursor, "one click only chooses"
        await it.pilot.click(tree, offset=(sign, line))
        await it.until(lambda: "▾ images" in it.cursor)
        await it.pilot.click(tree, offset=(sign + 6, line), times=2)
        await it.until(lambda: "▸ images" in it.cursor)
        heading = tree.render_line(0).text
        await it.pilot.click(tree, offset=(heading.index("INODES"), 0))
        assert "sort: INODES" in it.lines[1]


async def test_a_hundred_thousand_entries_are_a_list_like_any_other(tmp_path: Path) -> None:
    root = make_root(tmp_path / "docker")
    flat = add_directory(root, "a" * 64).diff / "flat"
    put_empty_files(flat, 100_000, "entry-")
    async with exploring(wish(root)) as it:
        await it.go_to("unknown (")  # so young that it may be a pull in progress
        await it.press("enter", "enter")
        await it.until(lambda: "flat" in it.cursor)
        await it.press("enter")
        await it.until(lambda: "entry-" in it.cursor)
        await it.press("G")
        below = it.tree.cursor_index
        assert below >= 100_000
        await it.press("g", "slash", *"entry-0077777")
        assert sum("entry-" in name for name in it.names) == 1
        assert "entry-0077777" in it.cursor


async def test_a_huge_directory_is_seen_while_it_is_listed_and_the_cursor_waits_for_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_root(tmp_path / "docker")
    flat = add_directory(root, "a" * 64).diff / "flat"
    put_empty_files(flat, 100, "entry-")
    (flat / "zz-largest").write_bytes(b"x" * 90_000)
    go_on = threading.Event()

    def slow(path: bytes, fence: Fence, look: Callable[[Listing], None]) -> Listing:
        if not path.endswith(b"/flat"):
            return list_directory(path, fence, look)
        part = list_directory(path, fence)
        at = part.names.index(b"zz-largest")
        for column in (part.names, part.bytes, part.apparent, part.kinds, part.mtimes):
            del column[at]
        look(part)
        go_on.wait(60)
        return list_directory(path, fence, look)

    monkeypatch.setattr("app.outline.levels.list_directory", slow)
    async with exploring(wish(root)) as it:
        await it.go_to("unknown (")
        await it.press("enter", "enter")
        await it.until(lambda: "flat" in it.cursor)
        if "BYTES ↓" not in it.lines[1]:
            await it.press("s")
        await it.press("enter")
        await it.until(lambda: "entry-" in it.text)
        assert "listing" in it.cursor
        assert "flat" in it.cursor, "which entry is the first is not known yet"
        go_on.set()
        await it.until(lambda: "zz-largest" in it.cursor)
        assert not any("listing" in row for row in it.rows)


# --- order and view -------------------------------------------------------------------------------


async def test_sort_keys_and_their_second_press(sample: Path) -> None:
    async with exploring(wish(sample)) as it:
        await it.press("s" if "INODES" in it.lines[1] else "C")
        for key, word in (("s", "BYTES"), ("C", "INODES"), ("n", "NAME")):
            await it.press(key)
            first = it.lines[1]
            await it.press(key)
            assert f"sort: {word}" in first
            assert f"sort: {word}" in it.lines[1]
            assert {"↑", "↓"} == {"↑" if "↑" in line else "↓" for line in (first, it.lines[1])}


async def test_apparent_sizes_have_their_own_heading(sample: Path) -> None:
    async with exploring(replace(wish(sample), column=Column.BYTES)) as it:
        await it.press("a")
        assert "APPARENT ↓" in it.tree.render_line(0).text
        assert "sort: APPARENT ↓" in it.lines[1]
        await it.press("a")
        assert "BYTES ↓" in it.tree.render_line(0).text


async def test_the_other_view_keeps_the_thing_under_the_cursor(sample: Path) -> None:
    async with exploring(replace(wish(sample), column=Column.INODES)) as it:
        await it.go_to("arroyo")
        await it.press("v")
        assert it.lines[1].startswith(" by directory › overlay2")
        assert "arroyo" in it.cursor
        await it.press("v")
        assert "writable layer" in it.cursor
        await it.press("home", "v")
        assert it.tree.cursor_index == 0


# --- filter ---------------------------------------------------------------------------------------


async def test_the_filter_narrows_as_one_types_and_enter_keeps_it(sample: Path) -> None:
    async with exploring(wish(sample)) as it:
        await it.press("slash", *"shop-w")
        assert "shop-web-1" in it.names
        assert "shop-worker-1" in it.names
        assert "arroyo" not in it.names
        assert it.lines[-1].startswith(" enter Keep  esc Drop")
        assert "Filter" not in it.lines[-1]
        await it.press("e")
        assert "shop-worker-1" not in it.names
        assert "shop-web-1" in it.cursor, "the cursor goes to what was found"
        await it.press("enter")
        assert "filter: shop-we" in it.lines[1]
        assert it.lines[-1].startswith(FOOTER)
        assert "arroyo" not in it.names


async def test_escape_while_typing_goes_back_to_where_one_was(sample: Path) -> None:
    async with exploring(wish(sample)) as it:
        await it.go_to("shop-db-1")
        before = it.names
        await it.press("slash", *"arr")
        assert "shop-db-1" not in it.names
        await it.press("escape")
        assert it.names == before
        assert "shop-db-1" in it.cursor
        assert "filter: -" in it.lines[1]


async def test_escape_afterwards_shows_the_row_among_all_others(sample: Path) -> None:
    async with exploring(wish(sample)) as it:
        await it.press("slash", *"shop_pgdata", "enter")
        assert "shop_pgdata" in it.cursor
        await it.press("escape")
        assert "shop_pgdata" in it.cursor
        assert "arroyo" in it.names


async def test_a_filter_without_a_match_says_so(sample: Path) -> None:
    async with exploring(wish(sample)) as it:
        await it.press("slash", *"zzz")
        assert "arroyo" not in it.names
        assert "No row has these words. Escape drops the filter." in it.text
        await it.press("enter", "i", "escape", "r", "escape")
        assert "arroyo" in it.names


async def test_keys_that_are_typed_do_nothing_else(sample: Path) -> None:
    async with exploring(replace(wish(sample), column=Column.BYTES)) as it:
        await it.press("slash", *"nvqCr/")
        assert it.app.is_running
        assert "filter: nvqcr/" in it.lines[1]
        assert "by owner" in it.lines[1]
        assert "sort: BYTES ↓" in it.lines[1]


# --- scans ----------------------------------------------------------------------------------------


def status(it: Explorer) -> str:
    return it.lines[-2]


async def test_a_row_measured_again_sees_what_has_changed(tmp_path: Path) -> None:
    root = make_root(tmp_path / "docker")
    diffs = [add_directory(root, name * 64).diff for name in "ab"]
    for diff in diffs:
        put_empty_files(diff / "files", 10, "f")
    async with exploring(wish(root)) as it:
        await it.go_to("unknown (")
        await it.press("enter")
        await it.go_to("a" * 12)
        for diff in diffs:
            put_empty_files(diff / "more", 100, "f")
        await it.press("r")
        await it.at_rest()
        assert it.inodes("a" * 12) > 100
        assert it.inodes("b" * 12) < 100, "the others keep their figures"
        await it.press("R")
        await it.until(lambda: not it.app.screen.busy)  # type: ignore[attr-defined]
        assert "reading names" not in status(it)
        assert it.inodes("b" * 12) > 100


async def test_everything_read_again_finds_new_names(tmp_path: Path) -> None:
    root = make_root(tmp_path / "docker")
    add_directory(root, "a" * 64)
    async with exploring(wish(root)) as it:
        await it.go_to("unknown (")
        await it.press("enter")
        add_directory(root, "c" * 64)
        rmtree(root / "overlay2" / ("a" * 64))
        await it.press("R")
        await it.until(lambda: any("c" * 12 in name for name in it.names))
        await it.at_rest()
        assert not any("a" * 12 in name for name in it.names)


class EndlessJob:
    """A scan that gets no further than its first unit, as on a disk of many hours."""

    def __init__(self, units: Sequence[Unit], _fence: Fence, _inodes_first: bool) -> None:
        self._unit = units[0].path
        self._cancelled = False

    def start(self) -> None:
        pass

    def poll(self) -> ScanNews:
        so_far = Usage(4096, 4096, 7)
        if not self._cancelled:
            return ScanNews(entries=12, units_total=9, running={self._unit: so_far})
        found = result_cut_short(self._unit, so_far, 12)
        return ScanNews(entries=12, units_total=9, finished=(found,), done=True, stopped=True)

    def cancel(self) -> None:
        self._cancelled = True

    def close(self) -> None:
        pass


async def test_a_stopped_scan_keeps_what_it_found_and_says_so(
    sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.usage.session.ScanJob", EndlessJob)
    async with exploring(wish(sample), rested=False) as it:
        await it.until(lambda: "scanning 0 of 9" in status(it))
        assert "ctrl+c stops and keeps results" in status(it)
        await it.press("ctrl+c")
        await it.until(lambda: "figures with + are incomplete" in status(it))
        assert status(it).startswith(" stopped after 12 entries")
        assert any(" 7+ " in row for row in it.rows), it.text
        await it.press("ctrl+c")
        await it.until(lambda: "Nothing is being measured" in it.text)


# --- trouble --------------------------------------------------------------------------------------


async def test_a_directory_that_vanished_is_a_sentence(tmp_path: Path) -> None:
    root = make_root(tmp_path / "docker")
    diff = add_directory(root, "a" * 64).diff
    (diff / "x" / "y").mkdir(parents=True)
    (diff / "x" / "z").mkdir()
    async with exploring(wish(root)) as it:
        await it.go_to("unknown (")
        await it.press("enter", "enter")
        await it.until(lambda: "diff/x" in it.text)
        await it.go_to("diff/x")
        rmtree(diff / "x")
        await it.press("enter")
        # Between the other columns its lines could break anywhere: the words themselves.
        await it.until(lambda: any("is gone: press R" in n.message for n in it.app._notifications))
        assert "Traceback" not in it.text


async def test_what_is_no_data_root_ends_with_a_sentence(tmp_path: Path) -> None:
    async with exploring(wish(tmp_path), rested=False) as it:
        await it.until(lambda: not it.app.is_running or it.app.return_code is not None)
        assert it.app.return_code == 2


# --- how it is drawn ------------------------------------------------------------------------------


async def test_ascii_draws_nothing_but_ascii(sample: Path) -> None:
    async with exploring(wish(sample, ascii=True), NARROW) as it:
        await it.press("enter", "enter", "enter")
        await it.until(lambda: "work/work" in it.text or "checkpoints" in it.text)
        for keys in ((), ("question_mark",), ("escape", "E"), ("escape", "i"), ("escape", "/")):
            await it.press(*keys)
            await it.pilot.pause(0.2)
            assert it.text.isascii(), it.text
        await it.press("escape", "ctrl+p")
        await it.pilot.pause(0.2)
        assert it.text.isascii(), it.text


@pytest.mark.parametrize("severity", ["information", "warning", "error"])
async def test_ascii_notices_are_ascii_too(sample: Path, severity: SeverityLevel) -> None:
    async with exploring(wish(sample, ascii=True), NARROW) as it:
        it.app.notify("It is told.", severity=severity)
        await it.until(lambda: "It is told." in it.text)
        assert it.text.isascii(), it.text


async def test_ascii_themes_are_searched_in_ascii(sample: Path) -> None:
    async with exploring(wish(sample, ascii=True), NARROW) as it:
        it.app.search_themes()
        await it.until(lambda: "ansi-dark" in it.text)
        assert "Search for themes" in it.text
        assert it.text.isascii(), it.text


async def test_a_row_in_a_warning_colour_has_a_word_for_it(sample: Path) -> None:
    async with exploring(wish(sample)) as it:
        await it.press("v", "slash", *"unreferenced", "enter")
        found = [row for row in it.rows if "▸" in row]
        assert found
        assert all("unreferenced" in row[:50] for row in found if "▸ " in row[50:])


async def test_nothing_is_clipped_at_eighty_columns(sample: Path) -> None:
    async with exploring(wish(sample), NARROW) as it:
        footer = it.app.screen.query_one(Footer)
        assert footer.max_scroll_x == 0
        assert "…" not in status(it)
        await it.pilot.resize_terminal(50, 12)
        await it.pilot.pause(0.2)
        assert "containers (7)" in it.text
        assert "? Help  q Quit" in it.lines[-1]


NEWS = ScanNews(
    entries=12_345_678,
    bytes=412 << 30,
    inodes=12_345_678,
    elapsed=712.5,
    units_done=1234,
    units_total=5678,
)


@pytest.mark.parametrize("asking", [False, True])
def test_some_way_to_tell_the_progress_fits_eighty_columns(asking: bool) -> None:
    ways = scanning_words(NEWS, asking)
    assert len(ways[-1]) <= 54
    assert all(way.startswith("scanning 1234 of 5678") for way in ways)
    assert list(map(len, ways)) == sorted(map(len, ways), reverse=True)


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize("stopped", [False, True])
def test_some_way_to_tell_the_end_fits_eighty_columns(complete: bool, stopped: bool) -> None:
    news = replace(NEWS, done=True, stopped=stopped)
    refused = "disk alone: the engine does not answer: start it, or give --offline to go on"
    ways = finished_words(news, 75.0, refused, complete)
    assert len(ways[-1]) <= 54
    assert all("1 min ago" in way for way in ways)
    assert list(map(len, ways)) == sorted(map(len, ways), reverse=True)


async def test_the_age_of_the_scan_goes_on_while_nothing_happens(
    sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with exploring(wish(sample)) as it:
        monkeypatch.setattr("app.usage.session.Measuring.seconds_ago", 75.0)
        await it.until(lambda: "1 min ago" in status(it))
