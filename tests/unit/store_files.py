"""Ways in which a crash, a bad copy or a bad person leaves one file of a store."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path


def remove(path: Path) -> None:
    """Leave nothing there, whatever it is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def put(path: Path, content: bytes) -> None:
    """Write a file in the place of whatever is there: it may be a pipe, or lead elsewhere."""
    remove(path)
    path.write_bytes(content)


def _content(path: Path) -> bytes:
    """What is in a file of ordinary size; nothing where something else is."""
    status = path.lstat()
    small = stat.S_ISREG(status.st_mode) and status.st_size < 1 << 20
    return path.read_bytes() if small else b""


def _shorten(path: Path) -> None:
    content = _content(path)
    put(path, content[: len(content) // 2])


def _fifo(path: Path) -> None:
    remove(path)
    os.mkfifo(path)


def _directory(path: Path) -> None:
    remove(path)
    path.mkdir()


def _huge(path: Path) -> None:
    """Sparse, but as large as any bomb."""
    remove(path)
    with path.open("wb") as file:
        file.truncate(1 << 40)


def _link_to_copy(path: Path) -> None:
    """The right content behind a symbolic link is still not a file of the engine's."""
    elsewhere = path.with_name(f".elsewhere-{path.name}")
    path.rename(elsewhere)
    path.symlink_to(elsewhere.name)


def _loop(path: Path) -> None:
    remove(path)
    path.symlink_to(path.name)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "missing": remove,
    "empty": lambda path: put(path, b""),
    "short": _shorten,
    "zeros": lambda path: put(path, bytes(len(_content(path)))),
    "binary": lambda path: put(path, bytes(range(256))),
    "huge": _huge,
    "pipe": _fifo,
    "directory": _directory,
    "symlink": _link_to_copy,
    "looping symlink": _loop,
}
