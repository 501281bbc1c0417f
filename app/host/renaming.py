"""Renaming without replacing anything: renameat2(2) with RENAME_NOREPLACE (Linux 3.15)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache

_NOREPLACE = 1
#: The filesystem does not have the flag (renameat2(2)).
_WITHOUT = {errno.EINVAL, errno.EOPNOTSUPP}
_Rename = Callable[[int, bytes, int, bytes, int], int]


def rename(name: bytes, parent: int, to: bytes, to_parent: int) -> None:
    """Rename the entry ``name`` of an open directory to ``to`` in another one, on the same mount.

    In one step, whatever it is; a symbolic link is renamed itself. Raises OSError as rename(2),
    EEXIST where ``to`` exists: nothing is ever replaced.
    """
    call = _renameat2()
    if call:
        if call(parent, name, to_parent, to, _NOREPLACE) == 0:
            return
        code = _last_error()
        if code not in _WITHOUT:
            raise OSError(code, os.strerror(code), name)
    _without_the_flag(name, parent, to, to_parent)


def _without_the_flag(name: bytes, parent: int, to: bytes, to_parent: int) -> None:
    """What is there is looked at first. Then only an empty directory could be replaced, by another.

    A file gets a second name first, for link(2) replaces nothing.
    """
    with suppress(FileNotFoundError):
        os.stat(to, dir_fd=to_parent, follow_symlinks=False)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), to)
    try:
        os.link(name, to, src_dir_fd=parent, dst_dir_fd=to_parent, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOENT):
            raise
        # A directory has one name only, and some filesystems have no second names at all.
        os.rename(name, to, src_dir_fd=parent, dst_dir_fd=to_parent)
    else:
        try:
            os.unlink(name, dir_fd=parent)
        except OSError:
            # Append-only, perhaps: then it stays, under its own name alone.
            os.unlink(to, dir_fd=to_parent)
            raise


def _last_error() -> int:
    import ctypes  # noqa: PLC0415 - as below

    return ctypes.get_errno()


@cache
def _renameat2() -> _Rename | None:
    """The C library's (glibc 2.28); None where it or the kernel has none, or a filter forbids it.

    That is asked with a call that can do nothing: an EPERM of a real one is that of an entry which
    may not be renamed, and such a one must not get a second name instead.
    """
    # Late: what only measures has no use for it, and not every Python has it.
    try:
        import ctypes  # noqa: PLC0415

        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (ImportError, OSError, AttributeError):
        return None
    number, name = ctypes.c_int, ctypes.c_char_p
    call.argtypes = [number, name, number, name, ctypes.c_uint]
    call.restype = number
    call(-1, b"whodiff", -1, b"whodiff", _NOREPLACE)
    return call if _last_error() == errno.EBADF else None
