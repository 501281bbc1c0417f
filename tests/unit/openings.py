"""Seeing whether anybody opens something: a watch of inotify(7), which O_PATH does not set off."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: A node of /dev/full's numbers: harmless to open, and no driver of this machine's disks.
FULL = os.makedev(1, 7)
_IN_OPEN = 0x20
_EVENT = struct.Struct("iIII")

_LIBC = ctypes.CDLL(None, use_errno=True)


class Openings:
    """How often each of some things (FIFOs, nodes, files) was opened, by whomever."""

    def __init__(self, descriptor: int, names: dict[int, Path]) -> None:
        self._descriptor = descriptor
        self._names = names

    def seen(self) -> list[Path]:
        """What was opened since the last call."""
        found: list[Path] = []
        try:
            data = os.read(self._descriptor, 1 << 20)
        except BlockingIOError:
            return found
        at = 0
        while at < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size + length
            if mask & _IN_OPEN:
                found.append(self._names[watch])
        return found


@contextmanager
def watched(*paths: Path) -> Iterator[Openings]:
    """Watch these very things (not what a link leads to)."""
    descriptor = _LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert descriptor >= 0
    try:
        names = {}
        for path in paths:
            watch = _LIBC.inotify_add_watch(descriptor, bytes(path), _IN_OPEN | 0x02000000)
            assert watch >= 0, os.strerror(ctypes.get_errno())
            names[watch] = path
        yield Openings(descriptor, names)
    finally:
        os.close(descriptor)


def _fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _device(path: Path) -> Path:
    os.mknod(path, 0o666 | stat.S_IFCHR, FULL)
    return path


def _block_device(path: Path) -> Path:
    os.mknod(path, 0o666 | stat.S_IFBLK, os.makedev(7, 213))  # a loop device that nobody has
    return path


def _link_to_device(path: Path) -> Path:
    node = _device(path.with_name(f".{path.name}-node"))
    path.symlink_to(node)
    return node


def _link_to_fifo(path: Path) -> Path:
    pipe = _fifo(path.with_name(f".{path.name}-pipe"))
    path.symlink_to(pipe.name)
    return pipe


#: What nobody may open: each is put at a path, and what to watch is returned.
BAITS: dict[str, Callable[[Path], Path]] = {
    "fifo": _fifo,
    "device": _device,
    "block device": _block_device,
    "link to a device": _link_to_device,
    "link to a fifo": _link_to_fifo,
}

_SWAPPER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
victim, *others = map(os.fsencode, sys.argv[1:])
print("ready", flush=True)
while True:
    for other in others:
        for _ in range(2):  # there and back: RENAME_EXCHANGE
            if libc.renameat2(-100, victim, -100, other, 2):
                sys.exit(os.strerror(ctypes.get_errno()))
"""


@contextmanager
def swapped(victim: Path, *others: Path) -> Iterator[None]:
    """A hostile process that puts each of ``others`` in the place of ``victim`` and back, fast."""
    command = [sys.executable, "-c", _SWAPPER, str(victim), *map(str, others)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as hostile:
        assert hostile.stdout is not None
        assert hostile.stdout.readline() == b"ready\n"
        try:
            yield
            assert hostile.poll() is None, "the hostile process ended by itself"
        finally:
            hostile.kill()
