"""Where inodes are the question they are on the screen before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from app.model import Headroom
from app.scan.job import ScanJob, ScanNews
from app.scan.progress import Counting
from app.scan.walk import Fence, Unit
from app.screens.wish import Wish
from app.usage.order import Column
from tests.tui.explorer import NARROW, WIDE, exploring, wish

BOTH_SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
HELD: list[HeldJob] = []


class HeldJob:
    """A real job that hands out what was counted, and what was measured when it is let."""

    def __init__(self, units: Sequence[Unit], fence: Fence, inodes_first: bool) -> None:
        self.inodes_first = inodes_first
        self.measuring = self._ended = False
        self._units = len(units)
        self._job = ScanJob(units, fence, inodes_first)
        self._kept: list[ScanNews] = []
        HELD.append(self)

    def start(self) -> None:
        self._job.start()

    def poll(self) -> ScanNews:
        news = self._job.poll()
        if self._ended:
            return ScanNews(units_total=self._units, done=True, stopped=True)
        if not self.measuring:
            self._kept.append(news)
            counting = Counting(3, self._units, 20_000) if self.inodes_first else None
            return ScanNews(
                counted=news.counted, counting=counting, units_total=self._units, elapsed=0.1
            )
        finished = tuple(it for kept in self._kept for it in kept.finished) + news.finished
        self._kept.clear()
        return replace(news, finished=finished)

    def let_nothing_follow(self) -> None:
        """As if it were stopped before the first unit was measured."""
        self._ended = True

    def cancel(self) -> None:
        self._job.cancel()

    def close(self) -> None:
        self._job.close()


@pytest.fixture(autouse=True)
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    HELD.clear()
    monkeypatch.setattr("app.usage.session.ScanJob", HeldJob)


def by_inodes(root: Path) -> Wish:
    return replace(wish(root), column=Column.INODES)


@BOTH_SIZES
async def test_counts_come_first_and_bytes_follow(sample: Path, size: tuple[int, int]) -> None:
    async with exploring(by_inodes(sample), size, rested=False) as it:
        await it.until(lambda: any("20,041+" in row and "arroyo" in row for row in it.rows))
        await it.until(lambda: any("20,279+" in row for row in it.rows))
        row = next(row for row in it.rows if "arroyo" in row)
        assert row[:14].split() == ["…"], "bytes that nobody has measured are not 0"
        assert "counting inodes 3 of" in it.lines[-2]
        group = next(row for row in it.rows if "containers (7)" in row)
        assert "20,279+" in group
        assert it.rows.index(group) < it.rows.index(row), "the rows are sorted by what was counted"
        first = next(row for row in it.rows if "was running" in row)
        assert "arroyo" in first
        if size == WIDE:
            await it.until(lambda: "bytes are not measured yet" in it.text)
        HELD[-1].measuring = True
        await it.at_rest()
        row = next(row for row in it.rows if "arroyo" in row)
        assert "20,041 " in row
        assert "+" not in row[:40]
        assert " MiB " in row[:14]


async def test_counts_stay_when_the_scan_is_stopped(sample: Path) -> None:
    async with exploring(by_inodes(sample), rested=False) as it:
        await it.until(lambda: any("20,279+" in row for row in it.rows))
        HELD[-1].let_nothing_follow()
        await it.press("ctrl+c")
        await it.until(lambda: "figures with + are incomplete" in it.lines[-2])
        assert any("20,279+" in row for row in it.rows)


async def test_whoever_asks_for_bytes_gets_them_without_a_count(sample: Path) -> None:
    async with exploring(replace(wish(sample), column=Column.BYTES), rested=False) as it:
        await it.until(lambda: HELD)
        assert [job.inodes_first for job in HELD] == [False]
        HELD[-1].measuring = True
        await it.at_rest()


async def test_sorting_by_inodes_before_anything_is_measured_counts_first(sample: Path) -> None:
    async with exploring(replace(wish(sample), column=Column.BYTES), rested=False) as it:
        await it.until(lambda: HELD)
        await it.press("C")
        assert [job.inodes_first for job in HELD] == [False, True]
        await it.until(lambda: any("20,041+" in row for row in it.rows))
        await it.press("s", "C")
        HELD[-1].measuring = True
        await it.at_rest()
        jobs = len(HELD)
        await it.press("s", "C")
        assert len(HELD) == jobs, "what has been measured is not counted"


@pytest.mark.parametrize(("used", "first"), [(99, True), (1, False)])
async def test_a_file_system_short_of_inodes_is_reason_enough(
    sample: Path, monkeypatch: pytest.MonkeyPatch, used: int, first: bool
) -> None:
    here = Headroom(b"/", "ext4", "/dev/vda", 10, 90, used, 100 - used, 100)
    monkeypatch.setattr("app.screens.work.headrooms", lambda _stores: {bytes(sample): here})
    async with exploring(wish(sample), rested=False) as it:
        await it.until(lambda: HELD)
        assert HELD[0].inodes_first == first
        assert f"sort: {'INODES' if first else 'BYTES'} ↓" in it.lines[1]
        HELD[-1].measuring = True
        await it.at_rest()


async def test_measuring_a_row_again_does_not_count_it_first(sample: Path) -> None:
    async with exploring(by_inodes(sample), rested=False) as it:
        await it.until(lambda: HELD)
        HELD[-1].measuring = True
        await it.at_rest()
        await it.press("r")
        assert not HELD[-1].inodes_first
        HELD[-1].measuring = True
        await it.at_rest()
