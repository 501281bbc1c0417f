"""Data that files share with others (reflinks), which goes only with the last of them.

On XFS and btrfs the overlay copies a file up by sharing its data with the layer beneath (Linux
fs/overlayfs/copy_up.c ovl_copy_up_file), and ``cp`` does the same by itself; ``st_blocks`` counts
such data in each file. FIEMAP tells (Documentation/filesystems/fiemap.rst): extents that are
shared, and those whose size on disk is another one, as they are compressed or within metadata.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import time
from collections.abc import Iterator

from app.host import looks, mountinfo
from app.host.hanging import may_hang
from app.host.safe_open import NotAFile, open_file
from app.scan.descent import open_directory, open_path

#: File systems of which no two files have data in common, and whose inodes have a place of their
#: own; XFS frees whole chunks of them, btrfs counts none.
_EXACT = {"ext2", "ext3", "ext4", "f2fs", "tmpfs"}
#: Seconds for all of a plan; what was not looked at by then may all be shared.
PATIENCE = 5.0
_BLOCK = 512
# linux/fs.h, linux/fiemap.h
_FS_IOC_FIEMAP = 0xC020660B
_SHARED, _ENCODED, _INLINE, _LAST = 0x2000, 0x8, 0x200, 0x1
_HEAD, _EXTENT = struct.Struct("=QQLLLL"), struct.Struct("=QQQQQLLLL")
_AT_ONCE = 128
_ALL = 1 << 62
#: Directories within one another; deeper ones are not looked at.
_DEEPEST = 200


class _Unknown(Exception):
    """The file system does not tell."""


class _Unfinished(Exception):
    """Not everything was looked at."""


def own_bytes(path: bytes, counted: int, seconds: float = PATIENCE) -> tuple[int, bool]:
    """Of ``counted`` allocated bytes at and below ``path`` those that come back; whether exactly.

    Else it is a lower bound, or all of them where the file system does not tell. It is looked for
    so many seconds.
    """
    above, name = os.path.split(path)
    place = os.path.join(looks.realpath(above), name)
    fstype = _fstype(place)
    if fstype in _EXACT and not _has_parts_of_blocks(place, counted):
        return counted, True
    if not counted or may_hang(fstype):
        return counted, False
    end = time.monotonic() + seconds
    own = shared = 0
    try:
        for alone, common in _files(place):
            own += alone
            shared += common
            if time.monotonic() > end:
                raise _Unfinished
    except _Unfinished:
        return min(own, counted), False
    except _Unknown:
        return counted, False
    return max(counted - shared, 0), False


def _has_parts_of_blocks(path: bytes, counted: int) -> bool:
    """Whether ext4 counts data that lies within inodes (fs/ext4/inode.c ext4_file_getattr)."""
    try:
        return counted % looks.statvfs(os.path.dirname(path)).f_frsize != 0
    except OSError:
        return True


def _fstype(path: bytes) -> str:
    """What ``path`` lies on, by the mount points on its way; "" where nobody knows."""
    holding = (it for it in mountinfo.read() if _holds(it.point, path))
    return max(((len(it.point), it.fstype) for it in holding), default=(0, ""))[1]


def _holds(point: bytes, path: bytes) -> bool:
    return path == point or path.startswith(point.rstrip(b"/") + b"/")


def _files(path: bytes) -> Iterator[tuple[int, int]]:
    """Allocated bytes of each file at and below ``path``: that are its own, and shared ones.

    Raises _Unknown, _Unfinished.
    """
    try:
        if not stat.S_ISDIR(looks.lstat(path).st_mode):
            yield from _file(path, None)
            return
        descriptor = open_path(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _Unfinished from error
    yield from _below(descriptor, os.fstat(descriptor).st_dev)


def _below(descriptor: int, device: int, depth: int = 0) -> Iterator[tuple[int, int]]:
    """Closes the descriptor."""
    try:
        if depth > _DEEPEST:
            raise _Unfinished
        with os.scandir(descriptor) as entries:
            found = [(os.fsencode(it.name), it.is_dir(follow_symlinks=False)) for it in entries]
        for name, is_directory in found:
            if not is_directory:
                yield from _file(name, descriptor)
                continue
            below = open_directory(name, descriptor)
            if os.fstat(below).st_dev == device:
                yield from _below(below, device, depth + 1)
            else:
                os.close(below)
    except OSError as error:
        raise _Unfinished from error
    finally:
        os.close(descriptor)


def _file(name: bytes, parent: int | None) -> Iterator[tuple[int, int]]:
    try:
        descriptor = open_file(name, parent)
    except NotAFile:
        # Links, sockets and the like have no data of this kind.
        return
    try:
        about = os.fstat(descriptor)
        if blocks := about.st_blocks * _BLOCK:
            common = min(_common(descriptor), blocks)
            # Another link may be elsewhere: then nothing of it is surely its own.
            yield blocks - common if about.st_nlink == 1 else 0, common
    finally:
        os.close(descriptor)


def _common(descriptor: int) -> int:
    """The bytes of a file's extents that others may have as well. Raises _Unknown."""
    start = total = 0
    while True:
        asked = bytearray(_HEAD.size + _AT_ONCE * _EXTENT.size)
        _HEAD.pack_into(asked, 0, start, (1 << 64) - 1 - start, 0, 0, _AT_ONCE, 0)
        try:
            fcntl.ioctl(descriptor, _FS_IOC_FIEMAP, asked)
        except OSError as error:
            raise _Unknown from error
        count, flags = _HEAD.unpack_from(asked)[3], 0
        for at in range(count):
            logical, _, length, _, _, flags, *_ = _EXTENT.unpack_from(
                asked, _HEAD.size + at * _EXTENT.size
            )
            # What is within metadata is said in bytes, and counted in blocks.
            total += _ALL if flags & _INLINE else length if flags & (_SHARED | _ENCODED) else 0
            start = logical + length
        if not count or flags & _LAST:
            return total
