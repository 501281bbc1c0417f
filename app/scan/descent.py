"""Opening directories: relative to one another, never through a symbolic link, without a trace."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from functools import cache

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


def open_straight(path: bytes) -> int:
    """A descriptor (O_PATH) of the directory at a whole path, through no symbolic link at all.

    Name by name, across mounts, however long it is: whoever owns a directory on the way cannot
    lead elsewhere by swapping a name for a link. Raises OSError, ENOTDIR where one is a link.
    """
    if not path.startswith(b"/"):
        raise ValueError(f"no whole path: {path!r}")
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(b"/", flags)
    for name in filter(None, path.split(b"/")):
        above = descriptor
        try:
            descriptor = os.open(name, flags, dir_fd=above)
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


# --- fenced: one entry at a time, never across a mount --------------------------------------------

_SYS_OPENAT2 = 437
# linux/openat2.h: RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS
_FENCES = 0x01 | 0x02 | 0x04
# RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_IN_ROOT
_INSIDE = 0x01 | 0x02 | 0x10
_Openat2 = Callable[[int, bytes, int, int], int]


def open_fenced(name: bytes, parent: int, flags: int) -> int:
    """A descriptor of the entry ``name`` (or of ``..``) of the open directory ``parent``.

    Never one on another mount, be it of the same file system, and never what a symbolic link
    leads to: with O_PATH in ``flags`` the link itself is opened, else that is ELOOP. Raises
    OSError as open(2) does, EXDEV where something is mounted at the entry, and ValueError for
    what is no name of one entry.
    """
    if name in (b"", b".") or b"/" in name or b"\0" in name:
        raise ValueError(f"no name of one entry: {name!r}")
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC
    openat2 = _openat2()
    if openat2:
        return openat2(parent, name, flags, _FENCES)
    return _open_and_compare(parent, name, flags)


def open_inside(path: bytes, root: int) -> int:
    """A descriptor (O_PATH) of ``path`` as who has the directory ``root`` as its root sees it.

    Links are followed, and never lead out of it; no mount is crossed. Raises OSError as open(2)
    does, ENOSYS where the kernel has no openat2(2).
    """
    openat2 = _openat2()
    if not openat2:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), path)
    return openat2(root, path, os.O_PATH | os.O_CLOEXEC, _INSIDE)


def _open_and_compare(parent: int, name: bytes, flags: int) -> int:
    """Without openat2(2): open, then see whether it lies on the mount of its parent."""
    descriptor = os.open(name, flags, dir_fd=parent)
    try:
        if mount_id(descriptor) != mount_id(parent):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def mount_id(descriptor: int) -> int:
    """The id of the mount that an open file was reached by (proc_pid_fdinfo(5), Linux 3.15).

    Raises OSError where /proc does not tell.
    """
    for line in _lines(f"/proc/self/fdinfo/{descriptor}"):
        key, _, value = line.partition(b":")
        if key == b"mnt_id":
            return int(value)
    raise OSError(errno.ENODATA, "the kernel does not tell the mount of an open file")


def _lines(path: str) -> list[bytes]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096).splitlines()
    finally:
        os.close(descriptor)


@cache
def _openat2() -> _Openat2 | None:
    """openat2(2); None before Linux 5.6, or where a filter forbids it."""
    # Late: what only measures, portably, has no use for it.
    try:
        import ctypes  # noqa: PLC0415

        syscall = ctypes.CDLL(None, use_errno=True).syscall
    except (ImportError, OSError, AttributeError):
        return None
    syscall.restype = ctypes.c_long
    syscall.argtypes = [
        *(ctypes.c_long, ctypes.c_int),
        *(ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t),
    ]

    def openat2(parent: int, name: bytes, flags: int, resolve: int) -> int:
        how = struct.pack("QQQ", flags, 0, resolve)
        descriptor = int(syscall(_SYS_OPENAT2, parent, name, how, len(how)))
        if descriptor < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), name)
        return descriptor

    here = os.open(b"/", os.O_PATH | os.O_CLOEXEC)
    try:
        os.close(openat2(here, b".", os.O_PATH | os.O_CLOEXEC, _FENCES))
    except OSError:
        return None
    finally:
        os.close(here)
    return openat2
