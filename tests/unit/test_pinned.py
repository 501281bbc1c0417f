"""What nobody can remove is found, named, and looked for within limits."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from app.host import pinned
from app.host.pinned import first_pinned
from tests.unit.removals import immutable

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@AS_ROOT
def test_immutable_and_append_only_things_are_found_at_any_depth(tmp_path: Path) -> None:
    top = tmp_path / "top"
    deep = top.joinpath(*["d"] * 60)
    deep.mkdir(parents=True)
    (deep / "file").touch()
    (top / "link").symlink_to(deep / "file")
    assert first_pinned(bytes(top)) == (b"", "")
    for target in (deep / "file", deep, top):
        with immutable(bytes(target)) as made:
            if not made:
                pytest.skip("this filesystem has no such attribute")
            assert first_pinned(bytes(top)) == (bytes(target), "i")
    subprocess.run(["chattr", "+a", deep / "file"], check=True)
    try:
        assert first_pinned(bytes(top)) == (bytes(deep / "file"), "a")
        # A link to it can go.
        (tmp_path / "links").mkdir()
        (top / "link").rename(tmp_path / "links/link")
        assert first_pinned(bytes(tmp_path / "links")) == (b"", "")
        assert first_pinned(bytes(top), seconds=0.0) == (b"", "")
        assert first_pinned(bytes(top), entries=5) == (b"", "")
    finally:
        subprocess.run(["chattr", "-a", deep / "file"], check=True)


def test_what_cannot_be_looked_at_is_no_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert first_pinned(bytes(tmp_path / "none")) == (b"", "")
    monkeypatch.setattr(pinned, "_statx", lambda: None)
    assert first_pinned(bytes(tmp_path)) == (b"", "")
