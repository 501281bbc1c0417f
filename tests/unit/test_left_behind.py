"""What must be gone from the disk after an order."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from app.cleanup.plan import expected
from app.cleanup.plan.expected import left_behind, seen


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look once."""
    monkeypatch.setattr(expected, "_PATIENCE", 0.0)


def test_what_is_gone_or_another_is_not_left(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("stays", "gone", "again", "below/it")]
    for place in places:
        place.mkdir(parents=True)
    things = seen(map(bytes, places))
    for place in places[1:]:
        place.rmdir()
    places[2].touch()
    (tmp_path / "below").rmdir()
    (tmp_path / "below").touch()
    assert [it.path for it in left_behind(things)] == [bytes(places[0])]


def test_what_nobody_can_look_at_is_not_called_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    things = seen([bytes(tmp_path)])

    def broken(_path: bytes, _parent: int) -> None:
        raise OSError(errno.EIO, "a broken disk")

    monkeypatch.setattr(expected, "identify", broken)
    assert left_behind(things) == things
