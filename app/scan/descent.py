"""Opening directories: relative to one another, never through a symbolic link, without a trace."""

from __future__ import annotations

import errno
import os

#: Reading a directory would move its access time; the data root is not to be written to at all.
_NO_TRACE = getattr(os, "O_NOATIME", 0)
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STEP = 3_800  # below PATH_MAX (4096), which limits one call, not the depth of a tree


def open_directory(name: bytes, parent: int | None = None) -> int:
    """A descriptor of directory ``name`` in ``parent``. Raises OSError as open(2) does."""
    try:
        return os.open(name, _FLAGS | _NO_TRACE, dir_fd=parent)
    except PermissionError as error:
        # EPERM, not EACCES: only the owner may read without moving the access time.
        if error.errno != errno.EPERM:
            raise
        return os.open(name, _FLAGS, dir_fd=parent)


def open_path(path: bytes) -> int:
    """A descriptor of the directory ``path``, which may be longer than PATH_MAX. Raises OSError."""
    if len(path) <= _STEP:
        return open_directory(path)
    descriptor = open_directory(b"/" if path.startswith(b"/") else b".")
    for step in _steps(path):
        above = descriptor
        try:
            descriptor = open_directory(step, above)
        finally:
            os.close(above)
    return descriptor


def _steps(path: bytes) -> list[bytes]:
    steps = [b""]
    for name in filter(None, path.split(b"/")):
        if len(steps[-1]) + len(name) >= _STEP:
            steps.append(b"")
        steps[-1] = os.path.join(steps[-1], name)
    return steps
