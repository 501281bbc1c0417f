"""The one way of reading a file that somebody hostile may have put there."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from app.host import safe_open
from app.host.safe_read import Damage, Folder, parse_object, read_file


def refusal(path: Path, limit: int = 100) -> str:
    with pytest.raises(Damage) as caught:
        read_file(os.fsencode(path), limit)
    return str(caught.value)


def test_what_is_no_regular_file_is_not_even_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/etc/passwd")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "socket"))

    def no_opening(*_: object) -> int:
        raise AssertionError("opened")

    monkeypatch.setattr(safe_open, "reopened", no_opening)
    assert "named pipe" in refusal(tmp_path / "pipe")
    assert "directory" in refusal(tmp_path / "folder")
    assert "symbolic link" in refusal(tmp_path / "link")
    assert "socket" in refusal(tmp_path / "socket")
    assert "device" in refusal(Path("/dev/zero"))


def test_a_file_is_read_whole_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert read_file(os.fsencode(path), 100) == b"x" * 100
    path.write_bytes(b"x" * 101)
    assert "larger" in refusal(path)


def test_a_file_without_a_size_is_read_and_bounded_too() -> None:
    """As everything in /proc."""
    status = Path("/proc/self/status")
    assert read_file(os.fsencode(status), 1 << 20).startswith(b"Name:")
    assert "larger" in refusal(status, 10)


def test_what_is_not_there_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_file(os.fsencode(tmp_path / "absent"), 10)
    with Folder.open(os.fsencode(tmp_path)) as folder, pytest.raises(FileNotFoundError):
        folder.folder("absent")


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    (tmp_path / "file").write_text("x")
    with Folder.open(os.fsencode(tmp_path)) as folder:
        folder.read("file", 10)
        next(folder.entries())
        with pytest.raises(Damage):
            list(folder.entries(most=0))
        with pytest.raises(Damage):
            folder.folder("file")
    assert len(os.listdir("/proc/self/fd")) == before


def test_entries_can_be_listed_again_and_again(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
    with Folder.open(os.fsencode(tmp_path)) as folder:
        next(folder.entries())
        assert folder.directories() == ["a", "b", "c"]
        assert folder.directories() == ["a", "b", "c"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0\0", b"[]", b"7", b"null", b"{", b"\xff", b"[" * 100_000, b"9" * 10_000],
)
def test_what_is_no_json_object_is_damage(content: bytes) -> None:
    with pytest.raises(Damage):
        parse_object(content)


def test_fields_of_the_wrong_type_are_empty_and_remembered() -> None:
    document = parse_object(
        b'{"text": 1, "number": true, "flag": 1, "object": [], "list": ["a", 1], "none": null,'
        b' "inner": {"text": []}}'
    )
    assert document.text("text") == ""
    assert document.number("number") == 0
    assert document.flag("flag") is False
    assert document.fields("object").values == {}
    assert document.texts("list") == ("a",)
    assert document.text("none") == ""
    assert document.number("absent") == 0
    assert document.fields("inner").text("text") == ""
    assert document.wrong == ["text", "number", "flag", "object", "list", "inner.text"]
