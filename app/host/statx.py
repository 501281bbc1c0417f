"""Where something lies: device, inode and mount, without a word to the filesystem's server.

Source: statx(2). AT_STATX_DONT_SYNC and an empty mask ask for nothing that FUSE or NFS would have
to fetch, and are answered for a FUSE mount of another user too (Linux fs/fuse/dir.c fuse_getattr).
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import threading
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

_AT_EMPTY_PATH, _AT_NO_AUTOMOUNT, _AT_SYMLINK_NOFOLLOW = 0x1000, 0x800, 0x100
_AT_STATX_DONT_SYNC = 0x4000
_STATX_MNT_ID = 0x1000
# linux/stat.h struct statx: mask, mode, inode, device, mount id.
_STATX = struct.Struct("=I24xH2xQ96xIIQ")


class Spot(NamedTuple):
    """Where an object lies: st_dev, st_ino, the id of the mount it was reached by, and its type.

    ``mount`` is the first field of mountinfo; 0 where the kernel does not tell (before Linux 5.8).
    ``kind`` are the type bits of st_mode.
    """

    device: int
    inode: int
    mount: int
    kind: int

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return self.kind == stat.S_IFDIR


def spot(name: bytes, parent: int | None = None, *, follow: bool = True) -> Spot:
    """Where ``name`` (of the open directory ``parent``) lies. Raises OSError."""
    flags = 0 if follow else _AT_SYMLINK_NOFOLLOW
    return _statx(_AT_FDCWD if parent is None else parent, name, flags)


def spot_of(descriptor: int) -> Spot:
    """The same of what is open, also by O_PATH. Raises OSError."""
    return _statx(descriptor, b"", _AT_EMPTY_PATH)


#: Inode, major and minor number of the device, mount and mode: a Spot as the kernel tells it.
Raw = tuple[int, int, int, int, int]


def raw_spots(names: Iterable[bytes], parent: int) -> Iterator[tuple[bytes, Raw | None]]:
    """Where each of these names of an open directory lies, links followed; None for an error.

    The same as :func:`spot`, for hundreds of thousands.
    """
    call = _call()
    if call is None:
        yield from ((name, None) for name in names)
        return
    buffer, unpack = _buffers.statx, _STATX.unpack_from
    flags = _AT_NO_AUTOMOUNT | _AT_STATX_DONT_SYNC
    for name in names:
        if call(parent, name, flags, 0, buffer):
            yield name, None
        else:
            mask, mode, inode, major, minor, mount = unpack(buffer)
            yield name, (inode, major, minor, mount if mask & _STATX_MNT_ID else 0, mode)


_AT_FDCWD = -100


def _statx(parent: int, name: bytes, flags: int) -> Spot:
    call = _call()
    if call is None:
        return _stat(parent, name, follow=not flags)
    buffer = _buffers.statx
    if call(parent, name, flags | _AT_NO_AUTOMOUNT | _AT_STATX_DONT_SYNC, 0, buffer):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), name)
    mask, mode, inode, major, minor, mount = _STATX.unpack_from(buffer)
    known = mount if mask & _STATX_MNT_ID else 0
    return Spot(os.makedev(major, minor), inode, known, mode & 0o170000)


def _stat(parent: int, name: bytes, *, follow: bool) -> Spot:
    if not name:
        found = os.fstat(parent)
    elif parent == _AT_FDCWD:
        found = os.stat(name, follow_symlinks=follow)
    else:
        found = os.stat(name, dir_fd=parent, follow_symlinks=follow)
    return Spot(found.st_dev, found.st_ino, 0, stat.S_IFMT(found.st_mode))


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.statx = ctypes.create_string_buffer(256)


_buffers = _Buffers()


@cache
def _call() -> ctypes._NamedFuncPointer | None:
    """statx(2) of the C library; None where there is none, or a filter forbids it."""
    try:
        statx = ctypes.CDLL(None, use_errno=True).statx
    except (OSError, AttributeError):
        return None
    statx.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p]
    works = statx(_AT_FDCWD, b"/", _AT_STATX_DONT_SYNC, 0, ctypes.create_string_buffer(256)) == 0
    return statx if works else None
