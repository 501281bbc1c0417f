"""Removal on a real pseudo-terminal: hostile names in the dialogs, and every byte that is sent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.tui.pty import Terminal, colours, foreign, visible

SAFE = r"dir\x1b[31m\n\xff"


def explorer(root: Path, *options: str, size: tuple[int, int], **environ: str) -> Terminal:
    return Terminal(["tests.tui.removals", str(root), *options], size, **environ)


def to_the_folder(it: Terminal) -> None:
    it.until(lambda: "scanned" in it.text)
    it.press("n/unknown\r")
    it.until(lambda: "unknown (1)" in it.cursor)
    it.press("\r")
    it.until(lambda: "aaaaaaaaaaaa" in it.cursor)
    it.press("\r")
    it.until(lambda: SAFE in it.text)
    it.press("\x1b")
    it.until(lambda: "filter: -" in it.text)
    for _ in range(20):
        if SAFE in it.cursor:
            return
        it.step("j", lambda: it.cursor)
    raise AssertionError(it.text)


def leave(it: Terminal) -> None:
    it.press("q")
    assert it.end() == 0


@pytest.mark.parametrize("size", [(120, 36), (80, 24)], ids=["wide", "narrow"])
def test_a_whole_removal(root: Path, size: tuple[int, int]) -> None:
    with explorer(root, size=size) as it:
        to_the_folder(it)
        it.press("d")
        it.until(lambda: "▶[ Cancel ]" in it.text)
        assert f"folder {SAFE}" in it.text
        assert "at least 1.0 GiB, 20,000 inodes" in it.text
        it.press("\r")  # the default
        it.until(lambda: "d Delete" in it.display[-1] and "▶[ Cancel ]" not in it.text)
        it.press(" ")
        it.until(lambda: "1 marked" in it.text)
        it.press("d")
        it.until(lambda: "▶[ Cancel ]" in it.text)
        it.press("\x1b[Z")  # shift+tab: to the left of Cancel
        it.until(lambda: "▶[ Delete ]" in it.text)
        it.press("\r")
        it.until(lambda: "promised" in it.text)
        it.press("\x1b")
        it.until(lambda: "scanned" in it.text and "marked" not in it.text)
        leave(it)
    assert foreign(it.sent.replace(b"\r\n", b"")) == set()
    assert Path(os.fsdecode(bytes(root))).exists()


def test_a_removal_is_stopped_by_ctrl_c(root: Path) -> None:
    with explorer(root, "--run", "until-stopped", size=(80, 24)) as it:
        to_the_folder(it)
        it.press("d")
        it.until(lambda: "▶[ Cancel ]" in it.text)
        it.press("\x1b[Z\r")
        it.until(lambda: "/var/lib/docker/x/file-" in it.text)
        it.press("\x03")
        it.until(lambda: "It was stopped: the rest stays." in it.text)
        it.press("\r")
        it.until(lambda: "d Delete" in it.display[-1])
        leave(it)


def test_leaving_in_the_middle_ends_the_process(root: Path) -> None:
    with explorer(root, "--run", "until-stopped", size=(80, 24)) as it:
        to_the_folder(it)
        it.press("d")
        it.until(lambda: "▶[ Cancel ]" in it.text)
        it.press("\x1b[Z\r")
        it.until(lambda: "/var/lib/docker/x/file-" in it.text)
        it.press("\x11")  # ctrl+q
        assert it.end() == 0


def test_read_only_has_no_delete(root: Path) -> None:
    with explorer(root, "--read-only", size=(80, 24)) as it:
        to_the_folder(it)
        it.press("d")
        it.until(lambda: "▶[ Close ]" in it.text)
        assert "--read-only" in it.text
        assert "Delete ]" not in it.text
        it.press("\x1b")
        it.until(lambda: "d Delete" in it.display[-1])
        leave(it)


def test_without_colour_the_choice_is_seen(root: Path) -> None:
    with explorer(root, size=(80, 24), NO_COLOR="1") as it:
        to_the_folder(it)
        it.press("d")
        it.until(lambda: "▶[ Cancel ]" in it.text and "[ Delete ]" in it.text)
        it.press("\x1b")
        it.until(lambda: "d Delete" in it.display[-1])
        leave(it)
    assert colours(it.sent) == set()


def test_sixteen_colours_leave_every_letter_visible(root: Path) -> None:
    with explorer(root, size=(80, 24), TERM="linux") as it:
        to_the_folder(it)
        it.press("d")
        it.until(lambda: "▶[ Cancel ]" in it.text)
        assert visible(it.screen)
        it.press("\x1b")
        it.until(lambda: "d Delete" in it.display[-1])
        leave(it)


def test_ascii_sends_ascii(root: Path) -> None:
    with explorer(root, "--ascii", size=(80, 24)) as it:
        to_the_folder(it)
        it.press("d")
        it.until(lambda: "*[ Cancel ]" in it.text)
        it.press("\x1b[Z\r")
        it.until(lambda: "promised" in it.text)
        it.press("\r")
        it.until(lambda: "d Delete" in it.display[-1])
        leave(it)
    assert it.sent.isascii()
