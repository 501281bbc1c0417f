"""A file system without one free byte and one free inode: the very case whodiff is for."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from app.cleanup.execute import journal as journal_module
from app.cleanup.execute.engine import EngineCalls
from app.cleanup.execute.executor import execute
from app.cleanup.execute.free_space import space_of
from app.cleanup.execute.journal import Journal
from app.cleanup.execute.outcome import Outcome, Progress
from app.cleanup.plan.model import Action, Plan, Step
from tests.unit.removals import entries, erasing, place, plan, unmounting
from tests.unit.scan_trees import mounted

ORPHAN, TOKEN = "0123456789abcdef" * 4, "ABCDEFGHIJKLMNOPQRSTUVWX27"


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[bytes]:
    """A small ext4 with a layer, a log and a folder on it, and a file on a lower one."""
    monkeypatch.setattr(journal_module, "_SYSLOG_SOCKET", "/nowhere")
    if not shutil.which("mkfs.ext4", path="/usr/sbin:/sbin:/usr/bin:/bin"):
        pytest.skip("no mkfs.ext4 here")
    with unmounting() as root:
        image, point = root + b"/image", root + b"/disk"
        with Path(os.fsdecode(image)).open("wb") as file:
            file.truncate(16 * 2**20)
        # Nothing is reserved for root, who could still write then.
        make = [b"/usr/sbin/mkfs.ext4", b"-q", b"-m0", b"-N256", image]
        subprocess.run(make, check=True, capture_output=True)
        os.mkdir(point)
        with mounted("-o", "loop", image, point) as done:
            if not done:
                pytest.skip("mounting is not allowed here")
            _furnish(Path(os.fsdecode(point)))
            yield point


def _furnish(home: Path) -> None:
    for folder in (f"overlay2/{ORPHAN}/diff/deep/er", "overlay2/l", "logs", "folder/in"):
        (home / folder).mkdir(parents=True)
    for folder in ("lower/sub", "upper", "work", "merged"):
        (home / folder).mkdir(parents=True)
    for file in (f"overlay2/{ORPHAN}/diff/deep/file", "folder/in/file", "lower/sub/file"):
        (home / file).write_bytes(b"x" * 50_000)
    (home / "overlay2" / ORPHAN / "link").write_text(TOKEN)
    (home / "overlay2" / "l" / TOKEN).symlink_to(f"../{ORPHAN}/diff")
    (home / "logs" / "it.log").write_bytes(b"x" * 1_000_000)


def fill(disk: bytes) -> None:
    """Take every byte and every inode."""
    with Path(os.fsdecode(disk), "filler").open("wb", buffering=0) as file:
        with suppress(OSError):
            for number in range(1000):
                os.close(os.open(disk + b"/logs/%d" % number, os.O_CREAT | os.O_EXCL))
        for size in (2**20, 2**12, 2**10):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)
    os.sync()
    space = space_of(disk)
    assert space
    assert (space.bytes_free, space.inodes_free) == (0, 0)


def carry_out(shown: Plan, journal: str | None = None) -> Outcome:
    return execute(shown, lambda: shown, EngineCalls(""), Progress(), Journal(journal))


def test_folders_layers_and_logs_go_and_the_space_is_there(disk: bytes) -> None:
    fill(disk)
    layer = Step(
        Action.ERASE_LAYER,
        "rm",
        place=place(disk, "overlay2", ORPHAN),
        link=place(disk, "overlay2", "l", TOKEN),
    )
    for shown in (
        erasing(disk, b"folder"),
        plan(disk, layer),
        erasing(disk, b"logs", b"it.log", action=Action.TRUNCATE),
    ):
        done = carry_out(shown, os.fsdecode(disk) + "/journal")
        assert done.done, done.why
        assert done.before
        assert done.after
        assert done.after.bytes_free - done.before.bytes_free >= done.removed.bytes - 2**15
        assert done.after.inodes_free - done.before.inodes_free >= done.removed.inodes - 1
    left = entries(disk)
    assert not [it for it in left if b"overlay2/" in it and it != b"overlay2/l"]
    assert b"folder" not in left
    assert os.stat(disk + b"/logs/it.log").st_size == 0


def test_a_journal_on_the_full_disk_stops_nothing(disk: bytes) -> None:
    fill(disk)
    done = carry_out(erasing(disk, b"folder", b"in", b"file"), os.fsdecode(disk) + "/journal")
    assert done.done
    assert any("No space left" in note for note in done.notes)


def test_an_overlay_that_finds_no_inode_for_its_whiteout_is_told(disk: bytes) -> None:
    options = b"lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work" % (disk, disk, disk)
    with mounted("-t", "overlay", "-o", options, "overlay", disk + b"/merged") as done:
        if not done:
            pytest.skip("no overlay can be mounted here")
        fill(disk)
        outcome = carry_out(erasing(disk + b"/merged", b"sub"))
        if outcome.done:
            pytest.skip("this kernel had a whiteout at hand")
        assert "free inode" in outcome.why
    assert b"lower/sub/file" in entries(disk)
