"""What lies inside a layer: files with real blocks, floods of empty files, whiteouts, ages."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

KIB = 1024
MIB = 1024 * KIB
MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def put_text(path: Path, text: str) -> None:
    """Write a small file exactly (no newline is added), with its parent directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def put_bytes(path: Path, size: int) -> None:
    """Make a file of ``size`` bytes with allocated blocks, without writing them one by one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        if size:
            os.posix_fallocate(file.fileno(), 0, size)


def put_empty_files(directory: Path, count: int, stem: str) -> None:
    """Make ``count`` empty files ``<stem>0000000`` and so on in one directory."""
    directory.mkdir(parents=True, exist_ok=True)
    here = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for number in range(count):
            # One system call for each file where open and close would take two.
            os.mknod(f"{stem}{number:07}", stat.S_IFREG | 0o644, dir_fd=here)
    finally:
        os.close(here)


def put_flood(directory: Path, folders: int, files_each: int) -> None:
    """Make ``folders`` checkpoint folders of ``files_each`` empty files, as a stream job does."""
    for number in range(folders):
        put_empty_files(directory / f"checkpoint-{number:07}", files_each, "table-")


def put_whiteout(path: Path) -> bool:
    """Make a whiteout: a character device 0/0 (kernel, Documentation/filesystems/overlayfs.rst).

    An ordinary user may do so from Linux 5.8 on. Returns False where the kernel refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))
    except OSError:
        return False
    return True


def put_hostile_name(directory: Path, name: bytes) -> bool:
    """Make an empty file of any name. Returns False where the filesystem refuses it."""
    directory.mkdir(parents=True, exist_ok=True)
    try:
        os.close(os.open(os.fsencode(directory) + b"/" + name, os.O_CREAT | os.O_WRONLY, 0o644))
    except OSError:
        return False
    return True


def set_age(path: Path, seconds: float) -> None:
    """Make a tree look as if nothing in it had changed for ``seconds``."""
    when = time.time() - seconds
    for parent, _, files in os.walk(path, topdown=False):
        for name in files:
            os.utime(Path(parent) / name, (when, when), follow_symlinks=False)
        os.utime(parent, (when, when))


def apparent_size(path: Path) -> int:
    """Sum of the sizes of the regular files below ``path``, as layerdb's ``size`` counts."""
    total = 0
    for parent, _, files in os.walk(path):
        for name in files:
            about = (Path(parent) / name).lstat()
            if stat.S_ISREG(about.st_mode):
                total += about.st_size
    return total


def timestamp(seconds_ago: float) -> str:
    """A moment in the engine's own format, RFC 3339 with nanoseconds, in UTC."""
    when = time.time() - seconds_ago
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when)) + f".{int(when % 1 * 1e9):09}Z"
