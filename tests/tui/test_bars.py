"""What stands around the tree: headroom, status, details; and the sheets they are drawn by."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from app.model import Headroom
from styles import sheet, themes
from tests.tui.stage import FULL, GIB, Stage, screen_of
from widgets.details_pane import DetailsPane, Line, Section
from widgets.headroom_bar import HeadroomBar
from widgets.status_line import StatusLine
from widgets.usage_tree import RowList


async def headroom_line(width: int, headroom: Headroom, path: bytes = b"/var/lib/docker") -> str:
    app = Stage(RowList())
    async with app.run_test(size=(width, 24)) as pilot:
        app.query_one(HeadroomBar).update_headroom(path, headroom)
        await pilot.pause()
        (line,) = screen_of(app.query_one(HeadroomBar))
        assert cell_len(line) == width
        return line


async def test_headroom_says_how_full_in_words() -> None:
    line = await headroom_line(120, FULL)
    assert "/var/lib/docker  ext4 vda1" in line
    assert "412/500 GiB [████████░░] 83% FILLING" in line
    assert "30.1/32.8M [█████████░] 92% LOW" in line


@pytest.mark.parametrize("width", [60, 80, 100])
async def test_headroom_keeps_the_warning_where_it_is_narrow(width: int) -> None:
    line = await headroom_line(width, FULL, b"/srv/some/rather/long/place/for/docker")
    assert "83% FILLING" in line
    assert "92% LOW" in line
    assert "docker" in line, "the end of the path says most"


async def test_headroom_of_a_filesystem_without_inode_limit() -> None:
    line = await headroom_line(120, Headroom(b"/", "btrfs", "/dev/sda2", GIB, 9 * GIB, 0, 0, 0))
    assert "no inode limit" in line
    assert "0%" not in line.replace("10%", "")


async def test_the_status_line_never_cuts_the_problems() -> None:
    app = Stage(RowList())
    async with app.run_test(size=(60, 24)) as pilot:
        status = app.query_one(StatusLine)
        status.update_progress("scanning " + "x" * 200)
        status.update_problems(2)
        await pilot.pause()
        (line,) = screen_of(status)
        assert line.startswith(" scanning xxx")
        assert line.endswith("…  2 unreadable (press E) ")
        status.update_problems(0)
        status.update_progress("")
        await pilot.pause()
        assert not screen_of(status)[0].strip()


DETAILS = [
    Section("web-api-1", [Line("container", "3f9c12ab04de" * 6), Line("state", "running")]),
    Section("references", [Line("", "mounted"), Line("", "[/nope][@click=app.bell]x[/]", "warn")]),
]


async def test_details_show_whole_ids_and_no_markup() -> None:
    app = Stage(RowList())
    async with app.run_test(size=(120, 36)) as pilot:
        pane = app.query_one(DetailsPane)
        pane.show(DETAILS)
        await pilot.pause()
        lines = screen_of(pane)
        assert {cell_len(line) for line in lines} == {pane.scrollable_content_region.width}
        assert "3f9c12ab04de" * 6 in "".join(line[12:].strip() for line in lines[1:4])
        assert "[/nope][@click=app.bell]x[/]" in "".join(lines)
        value = lines[1].index("3f9c")
        assert lines[2][:value].strip() == ""


async def test_details_scroll_by_key_and_start_anew_for_another_row() -> None:
    long = [Section("one", [Line("", f"line {n}") for n in range(100)])]
    app = Stage(RowList())
    async with app.run_test(size=(120, 36)) as pilot:
        pane = app.query_one(DetailsPane)
        pane.show(long)
        pane.focus()
        await pilot.press("j", "j", "k")
        assert pane.scroll_offset.y == 1
        await pilot.press("G")
        assert "line 99" in screen_of(pane)[-1]
        pane.show(long)
        await pilot.pause()
        assert pane.scroll_offset.y > 0, "fresh figures for the same row keep the place"
        pane.show(DETAILS)
        await pilot.pause()
        assert pane.scroll_offset.y == 0


@pytest.mark.parametrize("name", ["explore", "details", "help", "errors", "filter"])
def test_every_sheet_can_be_read(name: str) -> None:
    assert "{" in sheet(name)


@pytest.mark.parametrize(
    ("colors", "no_color", "theme"),
    [
        ("truecolor", False, themes.CALM.name),
        ("256", False, themes.CALM.name),
        ("standard", False, themes.TERMINAL.name),
        (None, False, themes.TERMINAL.name),
        ("truecolor", True, themes.TERMINAL.name),
    ],
)
def test_the_theme_fits_the_terminal(colors: str | None, no_color: bool, theme: str) -> None:
    assert themes.fitting(colors, no_color) == theme
