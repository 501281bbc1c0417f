"""What processes hold: open files, working directories, roots, programs, mapped files.

Source: proc_pid_fd(5), proc_pid_cwd(5), proc_pid_root(5), proc_pid_exe(5), proc_pid_maps(5). A
path there is as its process sees it; so a layer is looked for by its name, which is random and
long, and not by its place.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")
_DELETED = b" (deleted)"
_LINKS = ((b"cwd", "works in"), (b"root", "has its root in"), (b"exe", "runs"))


@dataclass(frozen=True, slots=True)
class Held:
    """One process, what it does (``has open``), and the path as it sees it."""

    pid: int
    how: str
    path: bytes

    def __str__(self) -> str:
        return f"process {self.pid} {self.how} {os.fsdecode(self.path)}"


@dataclass(frozen=True, slots=True)
class OpenFiles:
    """Everything held that has a path, and the processes that could not be looked at."""

    held: tuple[Held, ...]
    unread: tuple[int, ...] = ()

    def naming(self, component: bytes) -> Iterator[Held]:
        """What is held at or below any directory or file of this name, wherever it is seen."""
        return (it for it in self.held if component in it.path.split(b"/"))

    def below(self, path: bytes) -> Iterator[Held]:
        """What is held at or below this path."""
        return (it for it in self.held if (it.path + b"/").startswith(path.rstrip(b"/") + b"/"))


def read_open_files(proc: bytes = b"/proc") -> OpenFiles:
    """Look at every process once. One that ends meanwhile holds nothing any more."""
    held: set[Held] = set()
    unread: list[int] = []
    try:
        names = [name for name in os.listdir(proc) if name.isdigit()]
    except OSError:
        return OpenFiles((), (0,))
    for name in sorted(names, key=int):
        pid = int(name)
        try:
            for how, path in _process(os.path.join(proc, name), own=pid == os.getpid()):
                if path.startswith(b"/"):
                    held.add(Held(pid, how, path.removesuffix(_DELETED)))
        except OSError as error:
            if not _ended(error):
                unread.append(pid)
    return OpenFiles(tuple(sorted(held, key=lambda it: (it.pid, it.how, it.path))), tuple(unread))


def _process(place: bytes, own: bool) -> Iterator[tuple[str, bytes]]:
    if not own:
        # Our own descriptors come and go with the reading.
        for number in os.listdir(os.path.join(place, b"fd")):
            yield from _link(os.path.join(place, b"fd", number), "has open")
    yield from _link(os.path.join(place, b"exe"), "runs")
    # A thread may have a root and a working directory of its own (clone(2), CLONE_FS): dockerd's
    # have while they unpack.
    for thread in os.listdir(os.path.join(place, b"task")):
        for link, how in _LINKS[:2]:
            yield from _link(os.path.join(place, b"task", thread, link), how)
    yield from (("has mapped", path) for path in set(_mapped(os.path.join(place, b"maps"))))


def _link(path: bytes, how: str) -> Iterator[tuple[str, bytes]]:
    try:
        yield how, os.readlink(path)
    except OSError as error:
        if not _ended(error):
            raise


def _mapped(path: bytes) -> Iterator[bytes]:
    with open(path, "rb") as file:  # noqa: PTH123 - a path of bytes
        for line in file:
            fields = line.rstrip(b"\n").split(None, 5)
            if len(fields) == 6:
                yield _OCTAL.sub(lambda found: bytes([int(found[1], 8)]), fields[5])


def _ended(error: OSError) -> bool:
    """A process or a descriptor that is gone, or a kernel thread or zombie, which has none."""
    return error.errno in (errno.ENOENT, errno.ESRCH, errno.EINVAL)
