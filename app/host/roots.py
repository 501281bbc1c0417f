"""Opening directories by a path that is meant below another root directory."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from functools import cache

_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_SYS_OPENAT2 = 437
#: linux/openat2.h: RESOLVE_NO_MAGICLINKS, RESOLVE_IN_ROOT
_RESOLVE = 0x02 | 0x10
_OLD = (errno.ENOSYS, errno.EPERM)


def open_in(root: int, path: bytes) -> int:
    """An O_PATH descriptor of the directory that ``path`` leads to for who has this root.

    Symbolic links are followed below that root, those of /proc/PID/fd and the like are not: they
    lead elsewhere for everybody. Raises OSError as open(2) does. Without openat2(2) (before Linux
    5.6) a whole path in a symbolic link is followed from this process's own root.
    """
    relative = path.lstrip(b"/") or b"."
    openat2 = _openat2()
    if openat2 is None:
        return os.open(relative, _FLAGS, dir_fd=root)
    how = struct.pack("QQQ", _FLAGS, 0, _RESOLVE)
    descriptor = int(openat2(_SYS_OPENAT2, root, relative, how, len(how)))
    if descriptor < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return descriptor


@cache
def _openat2() -> ctypes._NamedFuncPointer | None:
    """syscall(2), where openat2(2) is to be had."""
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    syscall.argtypes = [
        *(ctypes.c_long, ctypes.c_int),
        *(ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t),
    ]
    # Nothing is opened by this call: an empty path is ENOENT.
    syscall(_SYS_OPENAT2, -1, b"", struct.pack("QQQ", _FLAGS, 0, 0), 24)
    return None if ctypes.get_errno() in _OLD else syscall
