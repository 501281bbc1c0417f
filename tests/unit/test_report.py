"""The text output: readable at a glance, whole in a pipe, no wider than the terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from app import report
from app.demo.sample import ORPHAN
from app.inventory import OtherRow
from app.lookup.query import Answer
from app.model import (
    Container,
    DataRoot,
    Headroom,
    ImageStore,
    Kind,
    Layer,
    Owner,
    Problem,
    Reference,
    Role,
    Store,
    Usage,
    Volume,
)
from app.paper import Heading, Paper, shortened
from app.usage.order import Order

REPOSITORY = Path(__file__).parents[2]
PIPE = Paper(None)
ID = "3f9c12ab04de" + "0" * 52
WEB = Owner(Kind.CONTAINER, ID, "shop-web-1", "running", "acme/web:2", (), "shop", "web")
STORE = Store(DataRoot(b"/d", "overlay2", ImageStore.GRAPHDRIVER, ""), witnesses="disk and engine")


def terminal(width: int, *, ascii: bool = False) -> Paper:
    """A terminal that pytest can read."""
    return Paper(Console(highlight=False, width=width, force_terminal=False), ascii)


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "line"),
    [
        (WEB, f"container shop-web-1, running, image acme/web:2, compose shop/web, id {ID}"),
        (
            Owner(Kind.IMAGE, f"sha256:{ID}", "a:1", tags=("a:1", "a:2")),
            f"image a:1, also a:2, id sha256:{ID}",
        ),
        (Owner(Kind.IMAGE, f"sha256:{ID}"), f"untagged image sha256:{ID}"),
        (Owner(Kind.VOLUME, "data", "data"), "volume data"),
        (Owner(Kind.CONTAINER, ID), f"container {ID}"),
        (
            Owner(Kind.LOG, ID, "shop-web-1", "running"),
            f"log of container shop-web-1, running, id {ID}",
        ),
    ],
)
def test_an_owner_is_one_line(owner: Owner, line: str) -> None:
    assert report.owner_line(PIPE, owner) == line
    assert report.owner_line(terminal(80), owner) == line.replace(f"sha256:{ID}", ID).replace(
        ID, ID[:12]
    )


def test_which_is_calm_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    layer = Layer(
        ID,
        b"/d/overlay2/" + ID.encode(),
        Role.IMAGE,
        owners=tuple(Owner(Kind.IMAGE, f"sha256:{n:064x}", f"app:{n}") for n in range(30)),
        references=tuple(
            Reference(Kind.LAYER, f"{n:064x}", f"{n:064x}", "its lower file names this layer")
            for n in range(3)
        ),
    )
    answer = Answer(layer.path, STORE, layer, layer.owners, layer.references)
    report.which(terminal(80), [answer])
    lines = capsys.readouterr().out.splitlines()
    owners = [line for line in lines if "image app:" in line]
    assert len(owners) == 10
    assert owners[0].startswith("  owner       image app:0")
    assert owners[1].startswith("              image app:1")
    assert any("and 20 more" in line for line in lines)
    assert "  references  layer 000000000000…: its lower file names this layer" in lines
    report.which(PIPE, [answer])
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("  owner       image app:") for line in lines) == 30
    assert sum(f"{2:064x}" in line for line in lines) == 2


def test_the_named_owner_comes_before_the_untagged(capsys: pytest.CaptureFixture[str]) -> None:
    layer = Layer(ID, b"/d/overlay2/x", Role.IMAGE)
    owners = (Owner(Kind.IMAGE, "1" * 64), Owner(Kind.IMAGE, "2" * 64, "app:1", tags=("app:1",)))
    report.which(PIPE, [Answer(b"/x", STORE, layer, owners)])
    out = capsys.readouterr().out
    assert out.index("image app:1") < out.index("untagged image")


@pytest.mark.parametrize(("used", "word"), [(79, ""), (80, " FILLING"), (90, " LOW")])
def test_a_full_filesystem_is_called_so(
    capsys: pytest.CaptureFixture[str], used: int, word: str
) -> None:
    report.filesystem(PIPE, Headroom(b"/", "ext4", "vda", used, 100 - used, 1, 99, 100))
    out = capsys.readouterr().out
    assert f"bytes {used} B of 100 B {used}%{word}   inodes 1 of 100 1%\n" in out


def test_no_inode_limit_is_no_zero(capsys: pytest.CaptureFixture[str]) -> None:
    report.filesystem(PIPE, Headroom(b"/", "btrfs", "vda", 1, 99, 0, 0, 0))
    out = capsys.readouterr().out
    assert "inodes: no limit" in out
    assert "0%" not in out


def test_a_reason_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(STORE.root, witnesses="disk alone: The engine sleeps.")
    report.root(PIPE, store, [Problem("engine", "The engine sleeps.")])
    report.root(PIPE, store, [])
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("(disk alone)")
    assert second.endswith("(disk alone: The engine sleeps.)")


def test_problems_that_hide_owners_come_first_and_few(
    capsys: pytest.CaptureFixture[str],
) -> None:
    problems = [Problem(str(n), f"Trouble {n}.") for n in range(40)]
    report.complaints([*problems, problems[0], Problem("x", "Worse.", hides_owners=True)])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "whodiff: Worse."
    assert len(lines) == 9
    assert "33 more" in lines[-1]


def test_many_unreadable_paths_become_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    report.complain_unreadable([f"/{n}" for n in range(50)], 1234)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "whodiff: could not read /0; it is not in the figures."
    assert "1,224 more" in lines[-1]
    assert len(lines) == 11


def test_others_say_who_uses_them(capsys: pytest.CaptureFixture[str]) -> None:
    named = Volume(Owner(Kind.VOLUME, "data", "data"), b"/v/data", users=(WEB,))
    anonymous = Volume(Owner(Kind.VOLUME, ID, ID), b"/v/x", anonymous=True, backing="nfs:/x")
    rows = [OtherRow(STORE, it, Usage()) for it in (named, anonymous, Container(WEB, b"/c"))]
    report.others(PIPE, rows, Order())
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1][3:] == ["volume", "in", "use", "data", "shop-web-1", "/v/data"]
    assert lines[2][3:7] == ["volume", "unused", "anonymous", ID[:12]]
    assert "nfs:/x" in lines[2]
    assert lines[3][3:6] == ["container", "running", "shop-web-1"]


def test_an_undercount_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    row = OtherRow(STORE, Container(WEB, b"/c"), Usage(bytes=2048, inodes=3, unreadable=1))
    report.others(PIPE, [row], Order())
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["2.0", "KiB+", "3+"]


# --- tables ---------------------------------------------------------------------------------------

HEADINGS = [Heading("BYTES", figure=True), Heading("ROLE"), Heading("OWNER", gives_way=True)]
_names = st.text(min_size=1, max_size=120)


@given(st.lists(st.tuples(_names, _names), min_size=1, max_size=5), st.integers(40, 130))
def test_a_terminals_table_keeps_to_its_width(rows: list[tuple[str, str]], width: int) -> None:
    paper = terminal(width)
    assert paper.console
    with paper.console.capture() as written:
        paper.table(HEADINGS, [("1.0 MiB", "writable", f"{a}/{b}") for a, b in rows])
    lines = written.get().splitlines()
    assert len(lines) == len(rows) + 2  # nothing folds
    assert all(cell_len(line) <= width for line in lines)
    assert all(line.startswith("1.0 MiB  writable  ") for line in lines[2:])


def test_columns_that_give_way_share_the_loss() -> None:
    paper = terminal(60)
    headings = [Heading("ID"), Heading("A", gives_way=True), Heading("B", gives_way=True)]
    assert paper.console
    with paper.console.capture() as written:
        paper.table(headings, [("0123456789ab", "a" * 20, "b" * 100)])
    assert "0123456789ab  " + "a" * 20 in written.get()


def test_nothing_is_cut_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    PIPE.table(HEADINGS, [("1", "writable", "x" * 500), ("22", "init", "y")])
    assert capsys.readouterr().out.splitlines() == [
        "BYTES  ROLE      OWNER",
        "    1  writable  " + "x" * 500,
        "   22  init      y",
    ]


@given(_names, st.integers(4, 60))
def test_shortened_keeps_both_ends_and_the_width(text: str, room: int) -> None:
    drawn = "".join(it for it in text if it.isascii() and it.isprintable()) or "x"
    cut = shortened(drawn, room, "…")
    assert cell_len(cut) <= room
    if cell_len(drawn) <= room:
        assert cut == drawn
    else:
        head, tail = cut.split("…")[0], cut.rpartition("…")[2]
        assert drawn.startswith(head)
        assert drawn.endswith(tail)
        assert tail


# --- on a real terminal ---------------------------------------------------------------------------


def on_terminal(width: int, *arguments: str | Path, **environ: str) -> str:
    """What a command draws on a terminal of that width, with colours off."""
    ours, theirs = os.openpty()
    settings = {key: value for key, value in os.environ.items() if key not in ("LINES", "COLUMNS")}
    settings |= {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": str(width), **environ}
    with subprocess.Popen(
        [sys.executable, "-m", "app.cli", *map(str, arguments)],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env=settings,
    ):
        os.close(theirs)
        drawn = b""
        while True:
            try:
                more = os.read(ours, 65536)
            except OSError:  # EIO: the other end is closed
                break
            if not more:
                break
            drawn += more
    os.close(ours)
    return drawn.decode().replace("\r\n", "\n").replace("\x1b[1m", "").replace("\x1b[0m", "")


@pytest.mark.parametrize("width", [80, 120])
def test_report_fits_the_terminal(demo_root: Path, width: int) -> None:
    out = on_terminal(width, "report", "--data-root", demo_root, "--offline")
    lines = out.splitlines()
    start = next(n for n, line in enumerate(lines) if line.lstrip().startswith("BYTES"))
    assert all(cell_len(line) <= width for line in lines[start:])
    owners = [line for line in lines[start:] if " writable " in line]
    assert len(owners) == 7
    assert all(len(line.split()[-1]) == 12 for line in owners)  # short ids, on one line each
    assert any(re.search("writable +was running +shop-web-1 ", line) for line in owners)
    assert "acme/web" in out


def test_report_in_ascii_draws_nothing_else(demo_root: Path) -> None:
    out = on_terminal(80, "report", "--ascii", "--data-root", demo_root, "--offline")
    assert out.isascii()
    assert "----" in out


def test_an_ascii_terminal_needs_no_option(demo_root: Path) -> None:
    out = on_terminal(80, "report", "--data-root", demo_root, "--offline", PYTHONIOENCODING="ascii")
    assert out.isascii()
    assert "----" in out
    assert r"\u" not in out


def test_which_shortens_ids_in_the_evidence_alone(demo_root: Path) -> None:
    out = on_terminal(100, "which", ORPHAN[:12], "--data-root", demo_root, "--offline")
    assert "  role        unreferenced\n  owner       none found\n" in out
    assert f"{demo_root}/overlay2/{ORPHAN}" in out.replace("\n", "")
