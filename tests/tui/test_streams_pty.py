"""The explorer where its standard streams are not all of them the terminal."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.tui.tty import Tty, explorer


def leave(it: Tty) -> None:
    it.press("q")
    assert it.end() == 0
    assert it.changed() == []


@pytest.mark.parametrize("stderr", ["file", "closed", "full"])
def test_it_draws_on_the_terminal_wherever_stderr_goes(
    sample: Path, tmp_path: Path, stderr: str
) -> None:
    def prepare() -> None:
        if stderr == "closed":
            os.close(2)

    with (tmp_path / "err").open("wb") as file, Path("/dev/full").open("wb") as full:
        place = full if stderr == "full" else file
        with Tty(explorer(sample), streams={"stderr": place}, prepare=prepare) as it:
            it.see("scanned")
            it.press("?")
            it.see("esc closes")
            it.press("\x1b")
            it.see("r Rescan")
            leave(it)
    assert (tmp_path / "err").read_bytes() == b""


@pytest.mark.parametrize("stderr", ["full", "file"])
def test_what_ends_it_is_told_on_stderr_and_in_the_status(tmp_path: Path, stderr: str) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with (tmp_path / "err").open("wb") as file, Path("/dev/full").open("wb") as full:
        place = full if stderr == "full" else file
        with Tty(explorer(empty), streams={"stderr": place}) as it:
            assert it.end() == 2
            assert it.changed() == []
            assert b"Traceback" not in it.sent
    if stderr == "file":
        assert (tmp_path / "err").read_text().startswith("whodiff: ")


@pytest.mark.parametrize("stdin", ["null", "closed", "pipe"])
def test_without_a_terminal_to_read_it_prints_the_report(sample: Path, stdin: str) -> None:
    def prepare() -> None:
        if stdin == "closed":
            os.close(0)

    place = subprocess.PIPE if stdin == "pipe" else subprocess.DEVNULL
    with Tty(explorer(sample), streams={"stdin": place}, prepare=prepare, size=(150, 50)) as it:
        assert it.end() == 0
        assert b"\x1b[?1049h" not in it.sent
        assert b"inodes" in it.sent
        assert b"Traceback" not in it.sent


def test_without_a_terminal_to_draw_on_it_prints_the_report(sample: Path) -> None:
    with Tty(explorer(sample, "--json"), streams={"stdout": subprocess.PIPE}) as it:
        stdout = it.process.stdout
        assert stdout is not None
        assert json.loads(stdout.read())
        assert it.end() == 0
        assert b"\x1b" not in it.sent


@pytest.mark.parametrize(
    "environ",
    [{"TERM": "dumb"}, {"TERM": ""}, {"TERM": "-"}],
    ids=["dumb", "empty", "unset"],
)
def test_a_terminal_that_cannot_place_a_cursor_gets_the_report(
    sample: Path, environ: dict[str, str]
) -> None:
    with Tty(explorer(sample), environ=environ) as it:
        assert it.end() == 0
        assert b"\x1b[?1049h" not in it.sent
        assert b"cannot place a cursor" in it.sent


@pytest.mark.parametrize("environ", [{"LC_ALL": "C"}, {"LC_ALL": "de_DE.ISO-8859-1"}], ids=str)
def test_the_locale_does_not_matter(sample: Path, environ: dict[str, str]) -> None:
    with Tty(explorer(sample, "--ascii"), environ=environ) as it:
        it.see("scanned")
        leave(it)
        assert it.sent.isascii()


@pytest.mark.parametrize("size", [(0, 0), (1, 1), (400, 1)], ids=str)
def test_every_size_can_be_left(sample: Path, size: tuple[int, int]) -> None:
    with Tty(explorer(sample), size=(max(1, size[0]), max(1, size[1]))) as it:
        it.resize(*size)
        it.until(lambda: b"\x1b[?1049h" in it.sent)
        for columns, lines in [(80, 24), size, (500, 200), (1, 1), (0, 0), (3, 3), size]:
            it.resize(columns, lines)
            os.kill(it.process.pid, 28)
            it.press("?j\x1b")
            it.read(0.05)
        it.until(lambda: True)
        leave(it)
        assert b"Traceback" not in it.sent


def test_the_size_is_the_terminals_own(sample: Path) -> None:
    """A shell that exports COLUMNS and LINES exports those of another moment."""
    with Tty(explorer(sample), size=(90, 20), environ={"COLUMNS": "300", "LINES": "99"}) as it:
        it.see("scanned")
        assert "Rescan" in it.screen().splitlines()[19]
        leave(it)
