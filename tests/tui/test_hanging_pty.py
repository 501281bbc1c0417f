"""An explorer in whose data root something hangs: drawn, usable, and left when it is to be left."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pexpect
import pytest

from tests.tui.pty import Terminal
from tests.unit.dead_fuse import DeadMount, dead_mount
from tests.unit.small_root import make_small_root

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/fuse"), reason="needs root and /dev/fuse"
)


def ends(terminal: Terminal, mount: DeadMount, seconds: float) -> bool:
    """Whether it ends within so many seconds; else the mount ends, or nobody could end it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            terminal.sent += terminal.child.read_nonblocking(65536, 0.2)
        except pexpect.TIMEOUT:
            continue
        except pexpect.EOF:
            while terminal.child.isalive() and time.monotonic() < end:
                time.sleep(0.02)
            break
    ended = not terminal.child.isalive()
    if not ended:
        mount.end()
    return ended


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("volumes/{volume}/_data", "swallowing"),
        ("containers", "silent"),
        ("containers", "shallow"),
        ("overlay2/{orphan}/diff/x", "swallowing"),
    ],
)
def test_the_explorer_goes_on_and_ends(tmp_path: Path, place: str, kind: str) -> None:
    small = make_small_root(tmp_path / "docker")
    volume = next(it.name for it in (small.path / "volumes").iterdir() if it.is_dir())
    point = small.path / place.format(volume=volume, orphan=small.orphan.name)
    command = ["app.cli", "--data-root", str(small.path), "--offline", "--no-cache"]
    with dead_mount(point, kind) as mount, Terminal(command) as terminal:
        try:
            terminal.until(lambda: "scanned" in terminal.text)
            terminal.step("j", lambda: terminal.cursor)
            terminal.press("R")
            terminal.until(lambda: "scanned" in terminal.text)
            terminal.step("v", lambda: terminal.text)
        finally:
            terminal.press("q")
            ended = ends(terminal, mount, 10)
        assert ended


@pytest.mark.parametrize("kind", ["silent", "swallowing"])
def test_an_explorer_whose_root_hangs_says_so_and_ends(tmp_path: Path, kind: str) -> None:
    with dead_mount(tmp_path / "mnt", kind) as mount:
        command = ["app.cli", "--data-root", str(mount.point), "--offline"]
        with Terminal(command) as terminal:
            assert ends(terminal, mount, 20)
        assert b"does not answer" in terminal.sent
