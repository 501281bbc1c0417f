"""The three standard streams of a command, as they may be: closed, full, or a pipe nobody reads."""

from __future__ import annotations

import contextlib
import io
import os
import sys

_STDERR = 2


def prepare() -> None:
    """Something behind the three descriptors, and no letter or complaint that cannot be written."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # Closed by the caller: the next file to be opened would take its number.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - lives on
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(_Complaints()), encoding, "backslashreplace", line_buffering=True
        )


def silence_stdout() -> None:
    """What is still buffered goes nowhere, without a complaint when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


class _Complaints(io.RawIOBase):
    """Stderr. Where it cannot be written, answers and their status stay the same."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return _STDERR

    def isatty(self) -> bool:
        return os.isatty(_STDERR)

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        left = bytes(data)
        with contextlib.suppress(OSError):
            while left:
                left = left[os.write(_STDERR, left) :]
        return len(data)
