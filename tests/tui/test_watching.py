"""Watching and looking a second time, as the user sees it: on a tree that really grows."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from app.demo.containers import ContainerSpec, add_container
from app.demo.content import DAY, put_empty_files, set_age
from app.screens.explore import ExploreScreen
from app.usage.order import Column
from tests.tui.explorer import NARROW, WIDE, Explorer, exploring, wish
from tests.tui.test_explore import EndlessJob
from tests.unit.small_root import SmallRoot, make_small_root

BOTH_SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again soon, and keep what was made a moment ago."""
    monkeypatch.setattr("app.screens.watching.PAUSE", 0.2)
    monkeypatch.setattr("app.scan.cache.SETTLED", 0.0)


class Host:
    """A big container that does nothing, and a small one that fills the disk."""

    def __init__(self, path: Path) -> None:
        self.root: SmallRoot = make_small_root(path)
        self.big, self.filler = (
            add_container(path, ContainerSpec(name, self.root.image, "app:1"))
            for name in ("big-and-calm", "small-filler")
        )
        for layer in (self.big.layer, self.filler.layer):
            set_age(layer.path, 30 * DAY)
        put_empty_files(self.big.layer.diff / "old", 3000, "old-")
        self._flood = 0

    def fill(self) -> None:
        """A few more files, a few more bytes."""
        self._flood += 1
        put_empty_files(self.filler.layer.diff / f"flood-{self._flood}", 30, "new-")
        (self.filler.layer.diff / f"bytes-{self._flood}").write_bytes(b"x" * 1_000_000)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "docker")


def status(it: Explorer) -> str:
    return it.lines[-2]


async def kept(it: Explorer) -> None:
    """Wait until the figures of both image layers are kept."""
    explorer = it.app.screen
    assert isinstance(explorer, ExploreScreen)
    await it.until(lambda: len(explorer._measuring.kept) == 2)


def containers(it: Explorer) -> list[str]:
    """The containers' names from the top down."""
    return [name for name in it.names if name in ("big-and-calm", "small-filler", "web")]


async def while_filling(it: Explorer, host: Host, condition: Callable[[], object]) -> None:
    """Fill the disk until ``condition`` holds."""
    for _ in range(200):
        host.fill()
        await it.pilot.pause(0.1)
        if condition():
            return
    raise AssertionError(f"it did not come:\n{it.text}")


@BOTH_SIZES
async def test_the_one_that_fills_the_disk_stands_out(host: Host, size: tuple[int, int]) -> None:
    inodes = replace(wish(host.root.path), column=Column.INODES)
    async with exploring(inodes, size) as it:
        assert containers(it)[0] == "big-and-calm"
        await it.press("w")
        assert "GROWTH/MIN" in it.tree.render_line(0).text
        assert "SHARE" not in it.tree.render_line(0).text
        await it.until(lambda: re.search(r"watching, every \d+ s", status(it)))
        await while_filling(it, host, lambda: containers(it)[0] == "small-filler")
        await while_filling(
            it, host, lambda: any("▲" in r and "small-filler" in r for r in it.rows)
        )
        row = next(row for row in it.rows if "small-filler" in row)
        assert re.search(r"▲ *\+[\d,]+ ", row), it.text
        assert not any("▲" in row for row in it.rows if "big-and-calm" in row)
        assert any("▲" in row for row in it.rows if "containers (" in row)
        assert all(len(line) <= size[0] for line in it.lines)
        await it.press("w")
        assert "SHARE" in it.tree.render_line(0).text
        assert not any("▲" in row for row in it.rows)
        await it.at_rest()
        assert containers(it)[0] == "big-and-calm", "the usual order is back"


async def test_the_cursor_stays_with_its_row_while_the_rows_move(host: Host) -> None:
    async with exploring(replace(wish(host.root.path), column=Column.INODES)) as it:
        await it.go_to("big-and-calm")
        await it.press("w")
        await while_filling(it, host, lambda: containers(it)[0] == "small-filler")
        assert "big-and-calm" in it.cursor


async def test_watched_by_bytes_and_drawn_in_ascii(host: Host) -> None:
    wanted = replace(wish(host.root.path, ascii=True), column=Column.BYTES)
    async with exploring(wanted) as it:
        await it.press("w")
        await while_filling(
            it, host, lambda: any(re.search(r"\^ *\+.*iB .*small-filler", r) for r in it.rows)
        )
        assert it.text.isascii(), it.text


async def test_sorted_by_name_rows_stay_where_they_are(host: Host) -> None:
    async with exploring(replace(wish(host.root.path), column=Column.NAME)) as it:
        before = containers(it)
        await it.press("w")
        await while_filling(
            it, host, lambda: any("▲" in r and "small-filler" in r for r in it.rows)
        )
        assert containers(it) == before


async def test_the_details_say_how_much_it_grew(host: Host) -> None:
    async with exploring(wish(host.root.path)) as it:
        await it.go_to("small-filler")
        host.fill()
        await it.press("r")
        await it.at_rest()
        await it.press("i")
        await it.until(lambda: re.search(r"grew +.*, 32 inodes in \d+ s", it.text))


async def test_stopping_the_scan_ends_the_watch(host: Host) -> None:
    async with exploring(wish(host.root.path)) as it:
        await it.press("w")
        await it.until(lambda: "watching" in status(it))
        await it.press("ctrl+c")
        assert "SHARE" in it.tree.render_line(0).text
        await it.at_rest()
        assert "watching" not in status(it)
        assert not any("+ " in row[:14] for row in it.rows), "no figure became a lower bound"


async def test_a_second_look_keeps_the_image_layers_and_says_so(host: Host) -> None:
    async with exploring(wish(host.root.path)) as it:
        await kept(it)
        await it.press("R")
        await it.until(lambda: re.search(r"measured \d+ of \d+.*, 2 image layers", status(it)))
        await it.at_rest()
        await it.press("ctrl+r")
        await it.until(lambda: "scanned" in status(it))


async def test_figures_stay_on_the_screen_while_they_are_measured_anew(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with exploring(wish(host.root.path)) as it:
        before = it.rows
        monkeypatch.setattr("app.usage.session.ScanJob", EndlessJob)
        await it.press("R")
        await it.until(lambda: "scanning 0 of" in status(it))
        await it.pilot.pause(0.3)
        assert it.rows == before
        await it.press("ctrl+c")
        await it.until(lambda: "the rest has its earlier figures" in status(it))
        assert it.rows == before


async def test_an_image_layer_measured_again_says_why_it_is_not(host: Host) -> None:
    async with exploring(wish(host.root.path)) as it:
        await kept(it)
        await it.press("slash", *host.root.top.directory.name[:12], "enter")
        await it.go_to(f"{host.root.top.directory.name[:12]}  ")
        await it.press("r")
        await it.until(lambda: "Ctrl+R measures everything" in " ".join(it.text.split()))


async def test_a_container_that_comes_while_one_watches_is_watched_too(host: Host) -> None:
    async with exploring(wish(host.root.path)) as it:
        await it.press("w")
        await it.until(lambda: "watching" in status(it))
        late = add_container(host.root.path, ContainerSpec("latecomer", host.root.image, "app:1"))
        await it.until(lambda: "latecomer" in it.names)
        for number in range(200):
            put_empty_files(late.layer.diff / f"flood-{number}", 30, "new-")
            await it.pilot.pause(0.1)
            if any("▲" in row and "latecomer" in row for row in it.rows):
                break
        else:
            raise AssertionError(it.text)


async def test_the_next_run_shows_what_the_last_one_kept(host: Host, base: Path) -> None:
    wanted = replace(wish(host.root.path), cache=True)
    async with exploring(wanted) as it:
        await it.until(lambda: list(base.glob("whodiff/[0-9a-f]*")))
        inodes = it.inodes("images (")
    async with exploring(wanted) as it:
        assert "2 image layers kept" in status(it)
        assert it.inodes("images (") == inodes
