"""The real command on a real pseudo-terminal, on a data root whose every name is hostile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.demo.containers import ContainerSpec, add_container
from app.demo.images import add_image, add_layer, write_tags
from app.demo.layout import make_root
from app.demo.volumes import add_volume, write_volume_records
from tests.tui.pty import Terminal, colours, foreign, visible

CONTAINERS = {
    "red\x1b[31m": r"red\x1b[31m",
    "osc\x1b]52;c;cHduZWQ=\x07": r"osc\x1b]52;c;cHduZWQ=\x07",
    "c1\x9b2J": r"c1\u009b2J",
    "bidi\u202egnp.sh": r"bidi\u202egnp.sh",
    "two\nlines\r": r"two\nlines\r",
    "[bold]b[/nope]": "[bold]b[/nope]",
}
FILES = {
    b"esc\x1b[2J": r"esc\x1b[2J",
    b"title\x1b]0;x\x07": r"title\x1b]0;x\x07",
    b"c1\x9b31m": r"c1\x9b31m",
    "iso\u2066\u200f".encode(): r"iso\u2066\u200f",
    b"[@click=app.bell]x[red]": "[@click=app.bell]x[red]",
    b"bad\xff\xfe": r"bad\xff\xfe",
    b"new\nline": r"new\nline",
    b"back\\slash": r"back\\slash",
    b"L" * 255: "L" * 20,
}
FOLDER = b"dir\x1b[31m\n\xff"


@pytest.fixture(scope="module")
def hostile_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root in a folder with a hostile name, made of containers, tags, volumes and files."""
    root = make_root(tmp_path_factory.mktemp("x") / "r\x1b[31m\n\u202e[/x]")
    layer = add_layer(root, "base")
    image = add_image(root, layer, "2025-01-01T00:00:00Z", ["true"])
    write_tags(root, {"ev\x1b[31mil\u202e:1": image, "[red]x[/nope]:2": image})
    made = [add_container(root, ContainerSpec(name, image, "i\x1b[5m")) for name in CONTAINERS]
    folder = os.fsencode(made[0].layer.diff) + b"/" + FOLDER
    os.mkdir(folder)
    for number, name in enumerate(FILES):
        with open(folder + b"/" + name, "wb") as file:  # noqa: PTH123 - a name that is no text
            file.write(b"x" * 5000 * (len(FILES) - number))
    add_volume(root, "vol\x1b[31m\u202e")
    write_volume_records(root, {"vol\x1b[31m\u202e": {"l\x1b": "v\x9b"}})
    return root


def explorer(root: Path, *options: str, size: tuple[int, int], **environ: str) -> Terminal:
    command = ["app.cli", "--data-root", str(root), "--offline", "--no-mouse", *options]
    return Terminal(command, size, **environ)


def strangers(terminal: Terminal) -> set[str]:
    """Characters that no screen needs. Textual ends lines with CR LF; no name here has both."""
    return foreign(terminal.sent.replace(b"\r\n", b""))


def leave(terminal: Terminal) -> None:
    """Quit, and see the command end well."""
    terminal.press("q")
    assert terminal.end() == 0


@pytest.mark.parametrize("size", [(120, 36), (80, 24)], ids=["wide", "narrow"])
def test_no_byte_of_a_name_reaches_the_terminal(hostile_root: Path, size: tuple[int, int]) -> None:
    with explorer(hostile_root, size=size) as it:
        it.until(lambda: "scanned" in it.text)
        for wanted in CONTAINERS.values():
            assert wanted[:20] in it.text
        it.press("/red\r")
        it.until(lambda: r"red\x1b[31m" in it.cursor)
        it.press("\x1b")
        it.until(lambda: "filter: -" in it.text and r"red\x1b[31m" in it.cursor)
        it.press("\r")
        it.until(lambda: "layer" in it.cursor)
        while "writable" not in it.cursor:
            it.step("j", lambda: it.cursor)
        it.press("\r")
        it.until(lambda: r"dir\x1b[31m\n\xff" in it.cursor)
        it.press("\r")
        it.until(lambda: r"esc\x1b[2J" in it.cursor)
        for wanted in FILES.values():
            assert wanted[:10] in it.text, it.text
            assert wanted[:10] in it.cursor, "a file of its own, in its place by size"
            it.step("j", lambda: it.cursor)
        for page in ("i", "E", "?"):
            it.step(page, lambda: it.text)
            it.press("\x1b")
            it.until(lambda: "r Rescan" in it.display[-1])
        it.press("v")
        it.until(lambda: "by directory" in it.display[1])
        it.press("G")
        it.until(lambda: it.cursor)
        leave(it)
    assert strangers(it) == set()


def test_a_folder_that_is_gone_is_named_safely(hostile_root: Path, tmp_path: Path) -> None:
    root = make_root(tmp_path / "r\x1b[31m\n[/x]")
    with explorer(root, size=(120, 36)) as it:
        it.until(lambda: "scanned" in it.text)
        (root / "tmp").rmdir()
        it.press("\r")
        it.until(lambda: "own files" not in it.cursor)
        for _ in range(20):
            if it.cursor.rstrip().split("▏")[0].rstrip().endswith(" tmp"):
                break
            it.step("j", lambda: it.cursor)
        it.press("l")
        it.until(lambda: "is gone" in it.text)
        assert r"\x1b[31m\n[/x]" in it.text
        leave(it)
    assert strangers(it) == set()


def test_a_hostile_path_that_is_no_data_root_is_named_safely(tmp_path: Path) -> None:
    root = tmp_path / "no\x1b[31m[/x]"
    root.mkdir(parents=True)
    with explorer(root, size=(80, 24)) as it:
        it.press(" ")
        status = it.end()
    assert status == 2
    after = it.sent.rpartition(b"\x1b[?1049l")[2]
    assert rb"no\x1b[31m[/x]" in b"".join(after.split()), "the sentence breaks where it must"
    assert b"Traceback" not in after


def test_without_colour_no_colour_is_sent(hostile_root: Path) -> None:
    with explorer(hostile_root, size=(80, 24), NO_COLOR="1") as it:
        it.until(lambda: "scanned" in it.text)
        it.press("j?")
        it.until(lambda: "esc closes" in it.text)
        it.press("\x1b")
        it.until(lambda: "r Rescan" in it.display[-1])
        assert it.cursor
        leave(it)
    assert colours(it.sent) == set()


@pytest.mark.parametrize("term", ["linux", "vt100"])
def test_sixteen_colours_leave_every_letter_visible(hostile_root: Path, term: str) -> None:
    with explorer(hostile_root, size=(80, 24), TERM=term) as it:
        it.until(lambda: "scanned" in it.text)
        it.press("j")
        it.until(lambda: it.cursor)
        assert visible(it.screen)
        it.press("?")
        it.until(lambda: "esc closes" in it.text)
        assert visible(it.screen)
        it.press("\x1b")
        it.until(lambda: "r Rescan" in it.display[-1])
        leave(it)
    assert b"38;2;" not in it.sent
    assert b"38;5;" not in it.sent


def test_without_the_mouse_the_terminal_keeps_it(hostile_root: Path) -> None:
    with explorer(hostile_root, size=(80, 24)) as it:
        it.until(lambda: "scanned" in it.text)
        leave(it)
    assert b"\x1b[?1000h" not in it.sent
    assert b"\x1b[?1003h" not in it.sent


def test_ascii_sends_ascii(hostile_root: Path) -> None:
    with explorer(hostile_root, "--ascii", size=(80, 24)) as it:
        it.until(lambda: "scanned" in it.text)
        it.press("\r\r?")
        it.until(lambda: "esc closes" in it.text)
        it.press("\x1b")
        it.until(lambda: "r Rescan" in it.display[-1])
        leave(it)
    assert it.sent.isascii()
