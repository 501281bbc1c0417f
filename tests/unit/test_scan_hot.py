"""The fullest directories are found wherever they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.model import Usage
from app.scan.hot import HotSpots, hot_spots
from app.scan.job import run
from app.scan.tree_builder import result_cut_short
from app.scan.walk import Fence, Unit


def fill(folder: Path, files: int, size: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        (folder / f"{number}").write_bytes(b"x" * size)


def test_a_flood_far_down_comes_first(tmp_path: Path) -> None:
    flood = tmp_path / "one/diff/tmp/arroyo/checkpoints"
    fill(flood, 300)
    fill(tmp_path / "two/diff/var", 40)
    fill(tmp_path / "two/diff/big", 2, size=200_000)
    results = list(run([Unit(bytes(tmp_path / name)) for name in ("one", "two")], Fence()))
    by_inodes = hot_spots(results, "inodes", 3)
    assert [it.path for it in by_inodes[:2]] == [bytes(flood), bytes(tmp_path / "two/diff/var")]
    assert by_inodes[0].own.inodes == 301
    assert by_inodes[0].unit == bytes(tmp_path / "one")
    assert hot_spots(results, "bytes", 1)[0].path == bytes(tmp_path / "two/diff/big")


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "a/b", "a/b/c", "d", "d/e"]), st.integers(0, 9)))
def test_own_figures_add_up_to_the_whole(
    tmp_path_factory: pytest.TempPathFactory, counts: dict[str, int]
) -> None:
    top = tmp_path_factory.mktemp("hot")
    for name, files in counts.items():
        fill(top / name, files)
    (result,) = run([Unit(bytes(top))], Fence())
    spots = hot_spots([result], "inodes", 100)
    assert sum(it.own.inodes for it in spots) == result.usage.inodes
    for name, files in counts.items():
        below = sum(other.startswith(name + "/") for other in counts)
        (spot,) = (it for it in spots if it.path == bytes(top / name))
        assert spot.own.inodes == files + 1, below


def test_results_that_come_in_one_by_one_give_the_same_list_in_the_end(tmp_path: Path) -> None:
    for number in range(12):
        for below in range(4):
            fill(tmp_path / f"{number}/d{below}", (number * 7 + below) % 5)
    results = list(run([Unit(bytes(tmp_path / str(number))) for number in range(12)], Fence()))
    spots = HotSpots(9)
    for column in ("inodes", "bytes", "inodes"):
        for end in range(len(results) + 1):
            assert spots.of(results[:end], column) == hot_spots(results[:end], column, 9)
    ordered = hot_spots(results, "inodes", 99)
    assert [it.own.inodes for it in ordered] == sorted(
        (it.own.inodes for it in ordered), reverse=True
    )
    again = list(run([Unit(results[0].key)], Fence()))
    fill(tmp_path / "0/d0", 30)
    anew = list(run([Unit(results[0].key)], Fence()))
    assert spots.of([*again, *results[1:]], "inodes") == ordered[:9]
    assert spots.of([*anew, *results[1:]], "inodes")[0].own.inodes == 31


def test_a_directory_that_the_walk_was_stopped_in_holds_at_least_so_much() -> None:
    (spot,) = hot_spots([result_cut_short(b"/x", Usage(8192, 0, 5), 5)], "inodes", 3)
    assert (spot.own.inodes, spot.own.partial) == (5, True)
