"""What a file system tells of the data that files share."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from app.cleanup.plan import shared_extents
from app.cleanup.plan.shared_extents import own_bytes

_HEAD, _EXTENT = struct.Struct("=QQLLLL"), struct.Struct("=QQQQQLLLL")


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system of a kind that may share data."""
    monkeypatch.setattr(shared_extents, "_fstype", lambda _: "xfs")


def tree(top: Path, files: int) -> int:
    for at in range(files):
        (top / f"{at}").write_bytes(b"x" * 4096)
    os.sync()
    return sum(it.stat().st_blocks * 512 for it in top.iterdir())


def says(monkeypatch: pytest.MonkeyPatch, flags: int) -> None:
    """The kernel says of every file that it is one extent with these flags."""

    def ioctl(_descriptor: int, _number: int, asked: bytearray) -> int:
        _HEAD.pack_into(asked, 0, 0, 0, 0, 1, 128, 0)
        _EXTENT.pack_into(asked, _HEAD.size, 0, 0, 4096, 0, 0, flags | 1, 0, 0, 0)
        return 0

    monkeypatch.setattr("fcntl.ioctl", ioctl)


@pytest.mark.usefixtures("unknown")
@pytest.mark.parametrize(("flags", "own"), [(0, 1.0), (0x2000, 0.0), (0x8, 0.0), (0x200, 0.0)])
def test_only_what_is_its_own_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: int, own: float
) -> None:
    counted = tree(tmp_path, 3)
    says(monkeypatch, flags)
    assert own_bytes(bytes(tmp_path), counted) == (own * counted, False)


@pytest.mark.usefixtures("unknown")
def test_what_was_not_looked_at_in_time_is_not_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = tree(tmp_path, 3)
    says(monkeypatch, 0)
    assert own_bytes(bytes(tmp_path), counted, -1.0) == (4096, False)


@pytest.mark.usefixtures("unknown")
def test_what_is_too_deep_is_not_promised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, 0)
    monkeypatch.setattr(shared_extents, "_DEEPEST", 3)
    place = tmp_path / "/".join("d" * 6)
    place.mkdir(parents=True)
    counted = tree(place, 2)
    assert own_bytes(bytes(tmp_path), counted) == (0, False)


@pytest.mark.usefixtures("unknown")
def test_links_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, 0x2000)
    (tmp_path / "there").mkdir()
    tree(tmp_path / "there", 2)
    (tmp_path / "link").symlink_to("there")
    os.mkfifo(tmp_path / "pipe")
    assert own_bytes(bytes(tmp_path / "link"), 4096) == (4096, False)
    assert own_bytes(bytes(tmp_path / "pipe"), 4096) == (4096, False)


def test_where_nothing_is_shared_nothing_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_extents, "_fstype", lambda _: "ext4")
    monkeypatch.setattr("fcntl.ioctl", lambda *_: pytest.fail("it was asked"))
    assert own_bytes(bytes(tmp_path), tree(tmp_path, 1)) == (4096, True)
