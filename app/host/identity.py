"""What tells a file or directory from another one that later has its name, or its inode number.

A name proves nothing, and an inode number little: ext4 gives that of a removed file to the next
one that is made. So the birth time is compared as well (statx(2) stx_btime, Linux 4.11), and the
file handle (name_to_handle_at(2)), in which the filesystems of Linux put the inode's generation
(fs/libfs.c generic_encode_ino32_fh and the encode_fh of each).
"""

from __future__ import annotations

import errno
import os
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

#: Of statx(2): the result is 256 bytes; here its mask, inode, btime, ctime and device are taken.
_STATX = struct.Struct("=I28xQ40xqI4xqI4x24xII")
_STATX_SIZE = 256
_STATX_WANTED = 0x7FF | 0x800  # STATX_BASIC_STATS, STATX_BTIME
_STATX_BTIME = 0x800
#: Of struct file_handle: the size and the type, then up to MAX_HANDLE_SZ bytes.
_HANDLE_HEAD = struct.Struct("=Ii")
_MOST_HANDLE = 128
#: include/linux/exportfs.h FILEID_INO64_GEN: what AT_HANDLE_FID gives where the filesystem has no
#: handles of its own, the inode number and a generation, which is mostly 0.
_GENERIC = 0x81
_GENERATION = 4  # bytes
_HANDLE_TYPE = 4  # where it stands in struct file_handle

_AT_EMPTY_PATH = 0x1000
_AT_SYMLINK_NOFOLLOW = 0x100
_AT_NO_AUTOMOUNT = 0x800
#: Linux 6.5: a handle to compare, not to open. An overlay gives no other one.
_AT_HANDLE_FID = 0x200
#: The kernel is too old, a filter (seccomp) forbids it, or the filesystem does not have it.
_WITHOUT = {errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP, errno.EINVAL, errno.EOVERFLOW}
_NANO = 1_000_000_000
_PACKED = struct.Struct("=QQqq")


@dataclass(frozen=True, slots=True)
class Identity:
    """A file, directory or link; two of them are equal only if it is the very same one.

    ``device`` and ``inode`` are st_dev and st_ino (stat(2)). ``born`` is the birth time,
    ``changed`` that of the last change (ctime), in nanoseconds since 1970. ``born`` is 0 where the
    filesystem keeps none, ``changed`` where one of the others says enough: it moves with every
    write. ``handle`` is the type and bytes of its file handle, empty where there is none.
    """

    device: int
    inode: int
    born: int = 0
    changed: int = 0
    handle: bytes = b""

    def packed(self) -> bytes:
        """The same in some 50 bytes, for lists of many."""
        return _PACKED.pack(self.device, self.inode, self.born, self.changed) + self.handle

    @classmethod
    def unpacked(cls, packed: bytes) -> Identity:
        """What :meth:`packed` made."""
        device, inode, born, changed = _PACKED.unpack_from(packed)
        return cls(device, inode, born, changed, packed[_PACKED.size :])


def identify(name: bytes, parent: int) -> Identity:
    """What lies at ``name`` in the open directory ``parent``. Raises OSError.

    A symbolic link is not followed, nothing is opened, no automount is set off. ``name`` is one
    name, or a whole path, in which links are followed but for the last.
    """
    if not name:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    return _identity(parent, name, 0)


def identity_of(descriptor: int) -> Identity:
    """What is open as ``descriptor``, which may be O_PATH. Raises OSError."""
    return _identity(descriptor, b"", _AT_EMPTY_PATH)


def _identity(parent: int, name: bytes, flags: int) -> Identity:
    calls = _calls()
    found = calls.statx(parent, name, flags) if calls else None
    if found is None:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False) if name else os.fstat(parent)
        found = status.st_dev, status.st_ino, 0, status.st_ctime_ns
    device, inode, born, changed = found
    handle = calls.handle(parent, name, flags) if calls else b""
    return Identity(device, inode, born, 0 if born or handle else changed, handle)


_Found = tuple[int, int, int, int]


class _Calls:
    """The two calls, which the os module does not have."""

    def __init__(self, statx: Callable[..., int], to_handle: Callable[..., int]) -> None:
        self._statx = statx
        self._to_handle = to_handle
        self._buffers = _Buffers()

    def statx(self, parent: int, name: bytes, flags: int) -> _Found | None:
        """Device, inode, birth time and ctime; None where there is no such call."""
        flags |= _AT_SYMLINK_NOFOLLOW | _AT_NO_AUTOMOUNT
        buffer = self._buffers.statx
        if self._statx(parent, name, flags, _STATX_WANTED, buffer):
            code = _last_error()
            if code in _WITHOUT:
                return None
            raise OSError(code, os.strerror(code), name)
        mask, inode, born, born_ns, changed, changed_ns, major, minor = _STATX.unpack_from(buffer)
        birth = born * _NANO + born_ns if mask & _STATX_BTIME else 0
        return os.makedev(major, minor), inode, birth, changed * _NANO + changed_ns

    def handle(self, parent: int, name: bytes, flags: int) -> bytes:
        """The type and bytes of the handle; empty where there is none that says anything."""
        for more in (0, _AT_HANDLE_FID):
            buffer, mount = self._buffers.handle, self._buffers.mount
            _HANDLE_HEAD.pack_into(buffer, 0, _MOST_HANDLE, 0)
            if self._to_handle(parent, name, buffer, mount, flags | more) == 0:
                size, kind = _HANDLE_HEAD.unpack_from(buffer)
                handle = buffer.raw[_HANDLE_TYPE : _HANDLE_HEAD.size + size]
                empty = more and kind == _GENERIC and not any(handle[-_GENERATION:])
                return b"" if empty else handle
            code = _last_error()
            if code not in _WITHOUT:
                raise OSError(code, os.strerror(code), name)
        return b""


class _Buffers(threading.local):
    """What the kernel writes into, for each thread."""

    def __init__(self) -> None:
        import ctypes  # noqa: PLC0415 - as below

        self.statx = ctypes.create_string_buffer(_STATX_SIZE)
        self.handle = ctypes.create_string_buffer(_HANDLE_HEAD.size + _MOST_HANDLE)
        self.mount = ctypes.create_string_buffer(8)


def _last_error() -> int:
    import ctypes  # noqa: PLC0415 - as below

    return ctypes.get_errno()


@cache
def _calls() -> _Calls | None:
    """The C library's two functions (glibc 2.28, musl 1.2.2); None where it has not both."""
    # Late: what only measures has no use for it, and not every Python has it.
    try:
        import ctypes  # noqa: PLC0415

        library = ctypes.CDLL(None, use_errno=True)
        statx, to_handle = library.statx, library.name_to_handle_at
    except (ImportError, OSError, AttributeError):
        return None
    number, name, buffer = ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p
    statx.argtypes = [number, name, number, ctypes.c_uint, buffer]
    to_handle.argtypes = [number, name, buffer, buffer, number]
    statx.restype = to_handle.restype = number
    return _Calls(statx, to_handle)
