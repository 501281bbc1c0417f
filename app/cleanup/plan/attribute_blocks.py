"""Blocks of extended attributes, which ext4 shares between files that have the same.

The overlay marks a directory that was copied up (``overlay.origin``, ``overlay.impure``). What does
not fit into the inode is in a block of its own, counted in the st_blocks of each and given back
with the last (Linux fs/ext4/xattr.c ext4_xattr_block_set, fs/overlayfs/overlayfs.h).
"""

from __future__ import annotations

import os
import stat

from app.host import looks
from app.scan.descent import open_directory, open_path

_MARKS = ("origin", "impure", "opaque", "redirect")
_PREFIXES = ("trusted.overlay.", "user.overlay.")
_BLOCK = 512


def maybe_shared(path: bytes) -> int:
    """Allocated bytes at and below ``path`` that others may share; what cannot be read has none.

    Only directories that were copied up have such marks, and only they lie in one another.
    """
    try:
        looks.require(path, follow=False)
        descriptor = open_path(path)
    except OSError:
        return 0
    return _below(descriptor)


def _below(descriptor: int) -> int:
    """Closes the descriptor."""
    try:
        if not _is_marked(descriptor):
            return 0
        about = os.fstat(descriptor)
        # A size that is no number of blocks is that of a directory within its inode.
        listed = about.st_size // about.st_blksize * about.st_blksize
        total = max(about.st_blocks * _BLOCK - listed, 0)
        for name in _directories(descriptor):
            try:
                below = open_directory(name, descriptor)
            except OSError:
                continue
            if os.fstat(below).st_dev == about.st_dev:
                total += _below(below)
            else:
                os.close(below)
        return total
    except OSError:
        return 0
    finally:
        os.close(descriptor)


def _directories(descriptor: int) -> list[bytes]:
    with os.scandir(descriptor) as entries:
        return [os.fsencode(it.name) for it in entries if it.is_dir(follow_symlinks=False)]


def _is_marked(descriptor: int) -> bool:
    names = {f"{prefix}{mark}" for prefix in _PREFIXES for mark in _MARKS}
    return stat.S_ISDIR(os.fstat(descriptor).st_mode) and not names.isdisjoint(
        os.listxattr(descriptor)
    )
