"""The fullest directories are found wherever they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.scan.hot import hot_spots
from app.scan.job import run
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
