"""What somebody moves out of a tree while it is removed stays, to the last file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from app.cleanup.execute.counter import Erased
from app.cleanup.execute.erase import Surroundings, erase
from app.cleanup.execute.outcome import Progress
from tests.unit.loop_disks import disk
from tests.unit.removals import entries, place, unmounting

#: Moves what it finds in the tree to safety and says what it then had there, until there is
#: nothing left. A directory may be on its way out itself: then it has what it has.
_MOVER = """
import json, os, sys
tree, safe, depth = sys.argv[1], sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
had, number = {}, 0
def inside(path):
    return [os.path.relpath(os.path.join(at, name), path)
            for at, folders, files in os.walk(path) for name in folders + files
            if not name.startswith(".whodiff-removed-")]
sys.stdin.readline()
def there():
    try:
        return os.stat(tree).st_nlink
    except OSError:
        return 0
while there():
    for at, folders, files in os.walk(tree):
        level = len(os.path.relpath(at, tree).split("/")) if at != tree else 0
        if level >= depth:
            folders.clear()
        # What was taken to be looked at may be put back at this moment.
        folders[:] = [name for name in folders if not name.startswith(".whodiff-removed-")]
        for name in folders[:2] if level == depth - 1 else ():
            number += 1
            to = os.path.join(safe, str(number))
            try:
                os.rename(os.path.join(at, name), to)
            except OSError:
                continue
            had[str(number)] = inside(to)
print(json.dumps(had), flush=True)
"""


def moving(
    tree: bytes, safe: bytes, depth: int, run: Callable[[], Erased]
) -> tuple[Erased, dict[str, list[str]]]:
    """What came of a removal beside the mover, and what that had saved each time."""
    arguments: list[str | bytes] = [sys.executable, "-c", _MOVER, tree, safe, str(depth)]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as mover:
        assert mover.stdin
        assert mover.stdout
        try:
            assert mover.stdout.readline() == "ready\n"
            mover.stdin.write("go\n")
            mover.stdin.flush()
            result = run()
            had = json.loads(mover.stdout.readline())
        finally:
            mover.kill()
    return result, had


def planted(tree: bytes, folders: int, files: int) -> None:
    """A tree with directories in directories, each with files."""
    for first in range(folders):
        for second in range(4):
            inside = os.path.join(tree, b"%d" % first, b"in", b"%d" % second)
            os.makedirs(inside)
            for number in range(files):
                os.close(os.open(os.path.join(inside, b"%d" % number), os.O_CREAT))


def lost(safe: bytes, had: dict[str, list[str]]) -> list[str]:
    """What was saved and is not there any more."""
    there = entries(safe)
    return [
        f"{number}/{name}"
        for number, names in had.items()
        for name in names
        if os.fsencode(f"{number}/{name}") not in there
    ]


@pytest.fixture
def home() -> Iterator[bytes]:
    with unmounting() as scratch, disk("ext4", scratch, 64, "-N60000") as point:
        yield point


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("aside", [True, False])
def test_all_that_is_moved_to_safety_meanwhile_is_safe(
    home: bytes, depth: int, aside: bool
) -> None:
    """By path, or, once that leads nowhere, by whoever has it open."""
    seen = 0
    for turn in range(4):
        base = home + b"/%d" % turn
        tree, safe = base + b"/layer/diff/top", base + b"/safe"
        os.makedirs(safe)
        planted(tree, 12, 40)
        target = place(base, b"layer", b"diff", b"top")
        around = Surroundings(beside=1 if aside else None)
        entry = tree
        if aside:
            # Through a descriptor the way in stays open.
            entry = b"/proc/%d/fd/%d" % (os.getpid(), os.open(tree, os.O_PATH))
        result, had = moving(entry, safe, depth, partial(erase, target, Progress(), around))
        assert not lost(safe, had), turn
        assert result.complete is (result.moved == 0)
        seen += result.moved
        if aside:
            os.close(int(os.path.basename(entry)))
        assert not any(b"whodiff" in it for it in entries(base) if b"safe" not in it)
    assert seen, "it was never moved while it was looked at"
