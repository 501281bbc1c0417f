"""Files and directories that not even root can remove: immutable or append-only ones.

Source: statx(2) stx_attributes (Linux 4.11; ext4, xfs, btrfs and others fill it in), which says
what chattr(1) sets without opening anything. FS_IOC_GETFLAGS would have to open each file.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from functools import cache

#: struct statx: stx_attributes (linux/stat.h).
_ATTRIBUTES = struct.Struct("=8xQ")
_STATX_SIZE = 256
_IMMUTABLE, _APPEND = 0x10, 0x20  # STATX_ATTR_IMMUTABLE, STATX_ATTR_APPEND
_FLAGS = 0x100 | 0x800  # AT_SYMLINK_NOFOLLOW, AT_NO_AUTOMOUNT
_AT_FDCWD = -100


def first_pinned(top: bytes, seconds: float = 2.0, entries: int = 200_000) -> tuple[bytes, str]:
    """The path of the first such thing at or below ``top``, and its chattr letter: i or a.

    Empty texts where there is none, where it cannot be looked at, or none was found within so many
    seconds and entries: that a search found nothing proves nothing.
    """
    end, left = time.monotonic() + seconds, entries
    if letter := _letter(_AT_FDCWD, top):
        return top, letter
    try:
        for path, directories, files, descriptor in os.fwalk(top, follow_symlinks=False):
            for name in (*directories, *files):
                if letter := _letter(descriptor, name):
                    return os.path.join(path, name), letter
                left -= 1
                if not left or (not left % 1000 and time.monotonic() > end):
                    return b"", ""
            if time.monotonic() > end:
                break
    except (OSError, RecursionError):
        # What cannot be walked is no proof either.
        return b"", ""
    return b"", ""


def is_pinned(directory: int) -> bool:
    """Whether an open directory is one: then nothing goes out of it, and perhaps nothing into it.

    False where nobody can tell.
    """
    return bool(_letter(directory, b"."))


def _letter(parent: int, name: bytes) -> str:
    statx = _statx()
    if statx is None:
        return ""
    attributes = statx(parent, name)
    return "i" if attributes & _IMMUTABLE else "a" if attributes & _APPEND else ""


@cache
def _statx() -> Callable[[int, bytes], int] | None:
    """The attributes of a name in an open directory, 0 where nobody can tell; None without it."""
    # Late: what only measures has no use for it, and not every Python has it.
    try:
        import ctypes  # noqa: PLC0415

        call = ctypes.CDLL(None).statx
    except (ImportError, OSError, AttributeError):
        return None
    number = ctypes.c_int
    call.argtypes = [number, ctypes.c_char_p, number, ctypes.c_uint, ctypes.c_char_p]
    call.restype = number

    def attributes(parent: int, name: bytes) -> int:
        buffer = ctypes.create_string_buffer(_STATX_SIZE)
        if call(parent, name, _FLAGS, 0, buffer):
            return 0
        found: int = _ATTRIBUTES.unpack_from(buffer)[0]
        return found

    return attributes
