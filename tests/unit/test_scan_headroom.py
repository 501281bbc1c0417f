"""How full a file system is, as df says, and the words for it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from app.model import Headroom
from app.scan.headroom import headroom, percent, pressure
from tests.unit.scan_trees import flood, mounted, scratch

FIGURES = Headroom(b"/", "ext4", "vda1", 50, 50, 50, 50, 100)


def _df(path: bytes, columns: str) -> list[bytes]:
    answer = subprocess.run(
        ["df", "-B1", f"--output={columns}", path], capture_output=True, check=True
    )
    return answer.stdout.splitlines()[-1].split()


def test_figures_are_those_of_df() -> None:
    with scratch() as place:
        point = os.path.join(place, b"full")
        os.mkdir(point)
        with mounted("-t", "tmpfs", "-o", "size=1m,nr_inodes=50", "whose", point) as possible:
            if not possible:
                pytest.skip("mounting is not allowed here")
            Path(os.fsdecode(point), "file").write_bytes(b"x" * 850_000)
            flood(os.path.join(point, b"checkpoints"), 44)
            figures = headroom(os.path.join(point, b"checkpoints"))
            assert _df(point, "used,avail,iused,iavail,itotal") == [
                b"%d" % number
                for number in (
                    figures.bytes_used,
                    figures.bytes_free,
                    figures.inodes_used,
                    figures.inodes_free,
                    figures.inodes_total,
                )
            ]
            assert _df(point, "pcent,ipcent") == [
                b"%d%%" % percent(figures.bytes_used, figures.bytes_free),
                b"%d%%" % percent(figures.inodes_used, figures.inodes_free),
            ]
            assert (figures.mount, figures.fstype, figures.device) == (point, "tmpfs", "whose")
            assert pressure(figures) == ("FILLING", "LOW")


@pytest.mark.parametrize(
    ("used", "word"),
    [(0, ""), (79, ""), (80, "FILLING"), (89, "FILLING"), (90, "LOW"), (100, "LOW")],
)
def test_words_begin_at_80_and_90_percent(used: int, word: str) -> None:
    assert pressure(replace(FIGURES, bytes_used=used, bytes_free=100 - used)) == (word, "")
    assert pressure(replace(FIGURES, inodes_used=used, inodes_free=100 - used)) == ("", word)


def test_a_file_system_without_an_inode_limit_never_runs_low_on_them() -> None:
    unlimited = replace(FIGURES, inodes_used=0, inodes_free=0, inodes_total=0)
    assert pressure(unlimited) == ("", "")
    assert percent(0, 0) == 0


def test_a_path_that_is_gone_raises() -> None:
    with pytest.raises(FileNotFoundError):
        headroom(b"/nowhere/at/all")
