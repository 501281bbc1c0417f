"""Files that the kernel itself holds, without a process: loop devices, swap areas, NFS exports.

Source: loop(4) LOOP_GET_STATUS64, sysfs-block-loop; proc_swaps(5); exports(5), Linux
fs/nfsd/export.c. A loop device tells device and inode of its file, the others a path only.
"""

from __future__ import annotations

import ctypes
import os
import re
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from app.host.namespaces import unescape
from app.host.statx import Spot, spot_of
from app.host.within import TooLarge, Where, Within

_LOOP_MAJOR = 7
_LOOP_GET_STATUS64 = 0x4C05
#: linux/loop.h struct loop_info64: lo_device and lo_inode come first.
_INFO = struct.Struct("=QQ")
_INFO_SIZE = 232
_LOOP = re.compile(r"loop[0-9]+")
_DELETED = b" (deleted)"


class Kernel(Enum):
    """What in the kernel holds a file."""

    LOOP = "loop device"
    SWAP = "swap area"
    EXPORT = "NFS export"


@dataclass(frozen=True, slots=True)
class KernelUse:
    """One of these on something in a directory: ``name`` of the device, ``path`` as it is told.

    Not ``sure`` where what it holds could not be found.
    """

    what: Kernel
    name: str
    path: bytes
    sure: bool = True


def kernel_uses(
    within: Within, proc: bytes = b"/proc", system: bytes = b"/sys", devices: bytes = b"/dev"
) -> Iterator[KernelUse]:
    """What the kernel holds at or below the directory in question."""
    yield from _loops(within, system, devices)
    yield from _swaps(within, proc)
    yield from _exports(within, proc)


# --- loop devices ---------------------------------------------------------------------------------


def _loops(within: Within, system: bytes, devices: bytes) -> Iterator[KernelUse]:
    blocks = os.path.join(system, b"block")
    for name in sorted(filter(_LOOP.fullmatch, map(os.fsdecode, _listed(blocks)))):
        try:
            path = _line(os.path.join(blocks, os.fsencode(name), b"loop", b"backing_file"))
        except OSError:
            continue  # Nothing is attached to it.
        where = _backing(within, os.path.join(devices, os.fsencode(name)), path)
        if where is not Where.OUTSIDE:
            yield KernelUse(Kernel.LOOP, name, path, where is Where.INSIDE)


def _backing(within: Within, device: bytes, path: bytes) -> Where:
    """By device and inode; where the device may not be asked, by its path."""
    try:
        held = _asked(device)
    except OSError:
        return within.of_path(path.removesuffix(_DELETED), 1)
    return within.of_file(held, path, 0)


def _asked(device: bytes) -> Spot:
    """Raises OSError where it is no loop device or says nothing."""
    looked = os.open(device, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        about = os.fstat(looked)
        if not stat.S_ISBLK(about.st_mode) or os.major(about.st_rdev) != _LOOP_MAJOR:
            raise OSError(0, "is no loop device", device)
        opened = os.open(b"/proc/self/fd/%d" % looked, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return _status(opened)
        finally:
            os.close(opened)
    finally:
        os.close(looked)


def _status(loop: int) -> Spot:
    info = ctypes.create_string_buffer(_INFO_SIZE)
    if ctypes.CDLL(None, use_errno=True).ioctl(loop, ctypes.c_ulong(_LOOP_GET_STATUS64), info):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    device, inode = _INFO.unpack_from(info)
    return Spot(device, inode, 0, stat.S_IFREG)


# --- swap -----------------------------------------------------------------------------------------


def _swaps(within: Within, proc: bytes) -> Iterator[KernelUse]:
    lines = [line.split() for line in _lines(os.path.join(proc, b"swaps"))[1:]]
    files = [
        (unescape(it[0]), int(it[2]) * 1024) for it in lines if len(it) > 2 and it[1] == b"file"
    ]
    for path, size in files:
        # The same path twice: at least one is another namespace's.
        alone = [it for it, _ in files].count(path) == 1
        where = _swap(within, path, size) if alone else Where.UNKNOWN
        if where is Where.UNKNOWN:
            where = _may_hold(within, path, size)
        if where is not Where.OUTSIDE:
            yield KernelUse(Kernel.SWAP, os.fsdecode(path), path, where is Where.INSIDE)


def _swap(within: Within, path: bytes, size: int) -> Where:
    """Where the file of this path lies, if it is one that can be this swap area."""
    try:
        looked = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return Where.UNKNOWN
    try:
        about = os.fstat(looked)
        held = spot_of(looked)
    finally:
        os.close(looked)
    if not stat.S_ISREG(about.st_mode) or about.st_size < size:
        return Where.UNKNOWN
    return within.of_file(held, path, 0)


def _may_hold(within: Within, path: bytes, size: int) -> Where:
    """Whether a file of this name and size is in the directory: the kernel tells its name now."""
    name = os.path.basename(path.removesuffix(_DELETED))
    try:
        found = any(it == name and its_size >= size for it, its_size in within.files())
    except (OSError, TooLarge):
        return Where.UNKNOWN
    return Where.UNKNOWN if found else Where.OUTSIDE


# --- exports --------------------------------------------------------------------------------------


def _exports(within: Within, proc: bytes) -> Iterator[KernelUse]:
    """Directories that the kernel's NFS server hands out; whose clients hold what, it tells not."""
    for line in _lines(os.path.join(proc, b"fs", b"nfsd", b"exports")):
        path = unescape(line.split(b"\t")[0])
        if path.startswith(b"/") and within.of_path(path + b"/.") is Where.INSIDE:
            yield KernelUse(Kernel.EXPORT, os.fsdecode(path), path)


def _lines(path: bytes) -> list[bytes]:
    try:
        return _read(path).splitlines()
    except OSError:
        return []


def _line(path: bytes) -> bytes:
    return _read(path).removesuffix(b"\n")


def _read(path: bytes) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _listed(directory: bytes) -> list[bytes]:
    with suppress(OSError):
        return os.listdir(directory)
    return []
