"""What processes hold open of what is to go: its space comes back when they close it, not before.

proc_pid_fd(5), proc_pid_cwd(5), proc_pid_map_files(5); unlink(2). A directory that was removed
stays as long as anything in it is held. A path is as seen from here, or for what runs in the
container from the top of its mount.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from app.cleanup.plan.model import Frees
from app.host import looks

_BLOCK = 512
#: The topmost directory stays with what is held in it, and grows while entries are renamed into it
#: before they go (cleanup/execute/capture.py): so many names of at most 64 bytes each, in bytes.
_GROWTH = 16 * 1024
_Key = tuple[int, int]


def held_open(proc: bytes, base: bytes, names: Sequence[bytes]) -> Frees:
    """Bytes and inodes at ``names`` below the mount ``base`` that processes hold.

    Only what would go with it: a file with another link stays anyway. What cannot be looked at
    holds nothing.
    """
    found: dict[_Key, int] = {}
    try:
        device = looks.stat_of(base).st_dev
        pids = [it for it in os.listdir(proc) if it.isdigit()]
    except OSError:
        return Frees()
    for pid in pids:
        process = os.path.join(proc, pid)
        tops = [base.rstrip(b"/"), *([b""] if _has_its_root_on(process, device) else [])]
        for link in _links(process):
            for about in _held(link, base, tops, names):
                only = about.st_nlink == 1 or stat.S_ISDIR(about.st_mode)
                if about.st_dev == device and only:
                    found[about.st_dev, about.st_ino] = about.st_blocks * _BLOCK
    if not found:
        return Frees()
    return Frees(sum(found.values()) + _GROWTH, len(found), least=True)


def _links(process: bytes) -> Iterator[bytes]:
    yield from (os.path.join(process, name) for name in (b"cwd", b"root"))
    for folder in (b"fd", b"map_files"):
        place = os.path.join(process, folder)
        try:
            names = os.listdir(place)
        except OSError:
            continue
        yield from (os.path.join(place, name) for name in names)


def _has_its_root_on(process: bytes, device: int) -> bool:
    try:
        return looks.stat_of(os.path.join(process, b"root")).st_dev == device
    except OSError:
        return False


def _held(
    link: bytes, base: bytes, tops: Sequence[bytes], names: Sequence[bytes]
) -> Iterator[os.stat_result]:
    """What the link leads to, if that is at or below ``names``, and the directories above it."""
    try:
        path = os.readlink(link)
        for top in tops:
            tail = os.path.join(top + b"/", *names)
            if (path + b"/").startswith(tail + b"/"):
                yield looks.stat_of(link)
                while path != tail:
                    path = os.path.dirname(path)
                    yield looks.lstat(base + path[len(top) :])
                return
    except OSError:
        return
