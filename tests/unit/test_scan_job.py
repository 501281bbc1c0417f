"""A scan beside the screen: same answers from both cores, growing figures, stopped at once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from app.scan import ScanError, core_name, portable
from app.scan.core import VARIABLE
from app.scan.job import ScanJob, ScanNews, run
from app.scan.native import job as native_job_module
from app.scan.tree import UnitResult, combined
from app.scan.walk import Fence, Unit, read_fence, walk_unit
from tests.unit.scan_trees import (
    PATIENCE,
    flood,
    flood_of_links,
    follow,
    never_stop,
    require_native,
    scratch,
)


@pytest.fixture(params=["portable", "native"], autouse=True)
def core(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test here holds for both cores."""
    if request.param == "native":
        require_native()
    monkeypatch.setenv(VARIABLE, request.param)
    return str(request.param)


@pytest.fixture
def place() -> Iterator[bytes]:
    with scratch() as path:
        yield path


@pytest.fixture(scope="module")
def big() -> Iterator[bytes]:
    """A directory whose walk takes many reports."""
    with scratch() as path:
        flood_of_links(path)
        yield path


def _layers(place: bytes, count: int) -> list[Unit]:
    for number in range(count):
        flood(os.path.join(place, b"layer-%03d" % number), number % 7)
        if number:
            name = b"checkpoint-00000000"
            with_link = os.path.join(place, b"layer-001", name)
            os.link(with_link, os.path.join(place, b"layer-%03d" % number, b"link"))
    return [Unit(place, shallow=True)] + [
        Unit(os.path.join(place, b"layer-%03d" % number)) for number in range(count)
    ]


def test_results_are_those_of_the_walk_whoever_walked(place: bytes) -> None:
    units = _layers(place, 40)
    expected = {unit.path: walk_unit(unit, read_fence(), never_stop) for unit in units}
    with ScanJob(units, read_fence()) as job:
        news, results = follow(job, lambda news: news.done)
    assert {result.key: result for result in results} == expected
    assert len(results) == news.units_done == news.units_total == 41
    assert combined(results) == walk_unit(Unit(place), Fence(), never_stop).usage
    assert news.entries == sum(result.entries for result in results)
    assert not news.failed
    assert not news.stopped
    assert news.running == {}


def test_more_units_than_a_pipe_can_hold(place: bytes) -> None:
    units = [Unit(os.path.join(place, b"%d" % number)) for number in range(17_000)]
    os.mkdir(units[-1].path)
    with ScanJob(units, Fence()) as job:
        news, results = follow(job, lambda news: news.done)
    assert news.units_done == 17_000
    assert sum(result.usage.inodes for result in results) == 1


def test_blocking_results_come_in_the_order_of_the_units(place: bytes) -> None:
    units = _layers(place, 30)
    assert [result.key for result in run(units, Fence())] == [unit.path for unit in units]
    assert list(run([], Fence())) == []


def test_a_layer_is_seen_growing(big: bytes) -> None:
    with ScanJob([Unit(big)], Fence()) as job:
        first, _ = follow(job, lambda news: big in news.running and news.entries > 0)
        later, _ = follow(job, lambda news: news.entries > first.entries)
        last, results = follow(job, lambda news: news.done)
    assert first.running[big].partial
    assert first.current.startswith(big)
    assert 0 < first.entries < later.entries <= last.entries == results[0].entries
    assert not results[0].usage.partial


def test_inodes_are_counted_first_and_are_those_measured_later(place: bytes, core: str) -> None:
    units = _layers(place, 20)
    expected = {unit.path: walk_unit(unit, read_fence(), never_stop) for unit in units}
    counted: dict[bytes, int] = {}
    early: list[bytes] = []
    results: list[UnitResult] = []
    with ScanJob(units, read_fence(), inodes_first=True) as job:
        news = ScanNews()
        while not news.done:
            news = job.wait(0.1)
            counted.update(news.counted)
            results += news.finished
            if news.counting:
                assert news.counting.units_done == len(counted)
                assert news.counting.units_total == len(units)
                assert news.counting.inodes >= sum(counted.values())
                early += [result.key for result in news.finished]
    assert counted == {path: result.usage.inodes for path, result in expected.items()}
    assert {result.key: result for result in results} == expected
    assert news.units_done == news.units_total == len(units)
    assert news.counting is None
    # A worker of the portable core with nothing left to count begins to measure.
    assert not early or core == "portable"


def test_a_layer_is_seen_growing_while_it_is_counted(big: bytes) -> None:
    with ScanJob([Unit(big)], Fence(), inodes_first=True) as job:
        follow(job, lambda news: bool(news.counting and news.counting.running.get(big)))
        last, _ = follow(job, lambda news: bool(news.counted) or news.done)
    assert last.counted == {big: 41}


def test_a_scan_that_is_cancelled_while_it_counts_ends(big: bytes) -> None:
    units = [Unit(big), Unit(big + b"/0")]
    with ScanJob(units, Fence(), inodes_first=True) as job:
        follow(job, lambda news: bool(news.counting and news.counting.running))
        job.cancel()
        news, results = follow(job, lambda news: news.done)
    assert news.stopped
    assert not news.failed
    assert all(result.usage.partial for result in results)


def test_a_cancelled_scan_keeps_what_it_found_marked_partial(
    big: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine the walk may need longer to answer; here its own answer is looked at.
    for module in (portable, native_job_module):
        monkeypatch.setattr(module, "_TO_ANSWER", PATIENCE)
        monkeypatch.setattr(module, "_TO_HAND_OVER", PATIENCE)
    units = [Unit(big), Unit(big + b"/0"), Unit(big + b"/1")]
    with ScanJob(units, Fence()) as job:
        before, _ = follow(job, lambda news: big in news.running and news.running[big].inodes > 1)
        job.cancel()
        job.cancel()
        news, results = follow(job, lambda news: news.done)
    found = {result.key: result for result in results}
    assert news.stopped
    assert found[big].usage.partial
    assert found[big].usage.inodes >= before.running[big].inodes
    assert len(found[big].tree) > 1
    assert not news.failed


def test_the_core_is_the_one_asked_for(core: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert core_name() == core
    monkeypatch.setenv(VARIABLE, "fast")
    with pytest.raises(ScanError, match="fast"):
        core_name()
    with pytest.raises(ScanError, match="native or portable"):
        ScanJob([], Fence())
