"""Hand-made places, steps and plans, and progress that acts at a chosen moment."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from app.cleanup.execute.outcome import Progress
from app.cleanup.plan.model import Action, Expected, Place, Plan, Step, Subject, Wish
from app.host.identity import Identity, identify, identity_of
from app.model import Daemon, Kind
from tests.unit.scan_trees import scratch


def place(base: bytes | Path, *names: bytes | str) -> Place:
    """The place as it is now."""
    root = os.fsencode(base)
    parts = tuple(os.fsencode(name) for name in names)
    top = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        origin = identity_of(top)
    finally:
        os.close(top)
    return Place(root, origin, parts, identified(os.path.join(root, *parts)))


def identified(path: bytes | Path) -> Identity:
    """What lies at a path now; of a last name that is a link the link itself."""
    above = os.open(os.path.dirname(os.fsencode(path)) or b"/", os.O_PATH | os.O_DIRECTORY)
    try:
        return identify(os.path.basename(os.fsencode(path)) or b".", above)
    finally:
        os.close(above)


def erasing(root: bytes | Path, *names: bytes | str, action: Action = Action.ERASE) -> Plan:
    """A plan with one step on disk."""
    here = place(root, *names)
    return plan(root, Step(action, f"rm -r {names[-1]!r}", place=here))


def plan(root: bytes | Path, *steps: Step, daemon: Daemon | None = None) -> Plan:
    """An allowed plan of these steps; what the daemon removes is expected by its name alone."""
    wish = Wish(Subject.PATH, os.fsencode(root), path=os.fsencode(root) + b"/it")
    named = tuple(replace(it, expects=it.expects or tuple(_expected(it))) for it in steps)
    place = os.fsencode(root)
    return Plan(wish, "it", path=wish.path, steps=named, filesystem=place, daemon=daemon)


_KINDS = {
    Action.REMOVE_CONTAINER: Kind.CONTAINER,
    Action.REMOVE_IMAGE: Kind.IMAGE,
    Action.REMOVE_VOLUME: Kind.VOLUME,
    Action.PRUNE_CACHE: Kind.BUILD_CACHE,
}


def _expected(step: Step) -> Iterator[Expected]:
    for id_ in step.ids if step.action in _KINDS else ():
        yield Expected(_KINDS[step.action], id_, id_)


class Watched(Progress):
    """Calls ``act`` before the n-th look whether it shall stop; it is looked at for every entry."""

    def __init__(self, at: int, act: Callable[[], None] | None = None) -> None:
        super().__init__()
        self._left = at
        self._act = act or self.stop

    @property
    def stopped(self) -> bool:
        """As ever, after acting when it is time."""
        self._left -= 1
        if self._left == 0:
            self._act()
        return super().stopped


@contextmanager
def unmounting() -> Iterator[bytes]:
    """A scratch directory whose mounts go before it does, whatever happens."""
    with scratch() as root:
        try:
            yield root
        finally:
            for point in reversed(mount_points()):
                if point.startswith(root + b"/"):
                    subprocess.run(["umount", "-l", point], check=True)


def mount_points() -> list[bytes]:
    """Where something is mounted, in the order of mounting."""
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    return [line.split(b" ")[4].replace(b"\\040", b" ") for line in lines]


def entries(root: bytes) -> set[bytes]:
    """All paths below ``root``, relative to it."""
    found: set[bytes] = set()
    for where, directories, files in os.walk(root):
        found |= {os.path.relpath(os.path.join(where, name), root) for name in directories + files}
    return found


def freed_by(root: bytes) -> tuple[int, int]:
    """Allocated bytes and inodes that go with a tree: those with every hard link in it."""
    seen: dict[tuple[int, int], tuple[os.stat_result, int]] = {}
    paths = [root, *(os.path.join(root, name) for name in entries(root))]
    for path in paths:
        status = os.lstat(path)
        key = status.st_dev, status.st_ino
        seen[key] = status, seen.get(key, (status, 0))[1] + 1
    going = [status for status, names in seen.values() if _all(status, names)]
    return sum(it.st_blocks * 512 for it in going), len(going)


def _all(status: os.stat_result, names: int) -> bool:
    return (status.st_mode & 0o170000) == 0o040000 or status.st_nlink == names


@contextmanager
def immutable(path: bytes) -> Iterator[bool]:
    """A file that nobody can remove; false where the file system has no such thing."""
    made = subprocess.run(["chattr", "+i", path], capture_output=True, check=False).returncode == 0
    try:
        yield made
    finally:
        with suppress(OSError):
            subprocess.run(["chattr", "-i", path], capture_output=True, check=False)
