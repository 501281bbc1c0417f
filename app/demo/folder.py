"""A temporary folder that goes away with this process, however the process ends."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Waits for a line, or for the end of the pipe, which the kernel brings even for a killed process.
_KEEPER = 'read -r _; exec rm -rf -- "$1"'


@contextmanager
def vanishing_folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """A new folder below ``parent`` (by default the system's temporary folder), removed at the end.

    A shell in a session of its own holds the other end of a pipe. It removes the folder when it
    is told to, and also when this process dies without a word: killed, or its terminal closed.
    """
    with (
        tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as name,
        subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "sh", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        ) as keeper,
    ):
        try:
            yield Path(name)
        finally:
            # A line, not only the end of the pipe: a child process may have inherited our end.
            keeper.communicate(b"\n")
