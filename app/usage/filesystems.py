"""The filesystems below the data roots, and which of bytes and inodes is the scarcer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

from app.model import Headroom, Store
from app.scan.headroom import headroom
from app.usage.order import Column
from app.usage.units import opened_of


def headrooms(stores: Sequence[Store]) -> dict[bytes, Headroom]:
    """Headroom by path: every data root, and the directories in it that may be mounts."""
    found: dict[bytes, Headroom] = {}
    for store in stores:
        for path in (*store.root.places, *sorted(opened_of(store))):
            # Not every root has every directory; the root itself has been read.
            with contextlib.suppress(OSError):
                found[path] = headroom(path)
    return found


def scarcer(filesystems: Iterable[Headroom]) -> Column:
    """Inodes where a larger part of them is used than of the bytes, on any of the filesystems."""
    for here in filesystems:
        inodes = here.inodes_used / max(1, here.inodes_total)
        if inodes > here.bytes_used / max(1, here.bytes_used + here.bytes_free):
            return Column.INODES
    return Column.BYTES
