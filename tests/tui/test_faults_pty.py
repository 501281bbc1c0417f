"""Errors of whodiff's own and disks that do not answer, on a real pseudo-terminal."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.tui.pty import Terminal

QUICKLY = 60.0  # seconds; on a busy machine a start and an end take many


def explorer(root: Path, fault: str, **environ: str) -> Terminal:
    options = ["--data-root", str(root), "--offline", "--no-mouse", "--no-cache"]
    return Terminal(["tests.tui.faults", fault, *options], (100, 30), **environ)


def afterwards(terminal: Terminal) -> str:
    """What stands on the terminal once the explorer has been left."""
    return terminal.sent.rpartition(b"\x1b[?1049l")[2].decode()


@pytest.mark.parametrize(
    ("fault", "key"), [("worker", "r"), ("handler", "v"), ("survey", ""), ("keys", "x")]
)
def test_an_error_of_its_own_is_one_sentence(sample: Path, fault: str, key: str) -> None:
    with explorer(sample, fault) as it:
        if key:
            it.until(lambda: "scanned" in it.text)
            it.press(key)
        assert it.end() == 2
    said = afterwards(it)
    assert r"met an error of its own (ValueError: made up\nhere \x1b[31m)" in said
    assert said.count("whodiff: ") == 1
    assert "PYTHONDEVMODE" in said
    assert "Traceback" not in said
    assert "local variable" not in said


def test_the_traceback_comes_when_it_is_asked_for(sample: Path) -> None:
    with explorer(sample, "worker", PYTHONDEVMODE="1", PYTHONWARNINGS="ignore") as it:
        it.until(lambda: "scanned" in it.text)
        it.press("r")
        assert it.end() == 1
    said = afterwards(it)
    assert "Traceback (most recent call last)" in said
    assert "tests/tui/faults.py" in said
    assert "ValueError: made up" in said


def test_a_pipe_that_breaks_is_no_reader_that_has_seen_enough(sample: Path) -> None:
    with explorer(sample, "pipe") as it:
        it.until(lambda: "scanned" in it.text)
        it.press("r")
        assert it.end() == 2
    assert "Broken pipe" in afterwards(it)


def test_who_quits_does_not_wait_for_names(sample: Path) -> None:
    with explorer(sample, "slow-survey") as it:
        it.until(lambda: "reading names; q quits" in it.text)
        begun = time.monotonic()
        it.press("q")
        assert it.end() == 0
    assert time.monotonic() - begun < QUICKLY
    assert "Traceback" not in afterwards(it)


def test_who_quits_does_not_wait_for_a_directory_that_is_being_listed(sample: Path) -> None:
    with explorer(sample, "slow-listing") as it:
        it.until(lambda: "scanned" in it.text)
        it.press("\r")
        it.until(lambda: "containers (" not in it.cursor)
        it.press("\r")
        it.until(lambda: "layer" in it.cursor)
        it.press("\r")
        it.until(lambda: "▾" in it.cursor)
        begun = time.monotonic()
        it.press("q")
        assert it.end() == 0
    assert time.monotonic() - begun < QUICKLY
    assert "Traceback" not in afterwards(it)
