"""How full a file system is, in bytes and in inodes, and the words for it."""

from __future__ import annotations

import os

from app.host import looks, mountinfo
from app.model import Headroom

#: From this percentage on a file system gets a word, the higher one first.
_WORDS = ((90, "LOW"), (80, "FILLING"))


def headroom(path: bytes) -> Headroom:
    """The headroom of the file system that ``path`` is on (statvfs(3)). Raises OSError.

    ``device`` is what the file system was mounted from, without a leading ``/dev/``. Without
    /proc the mount is ``path`` itself and its type and device are empty.
    """
    figures = looks.statvfs(path)
    mount = mountinfo.mount_of(looks.realpath(path), mountinfo.read())
    limited = figures.f_files > 0
    return Headroom(
        mount=mount.point if mount else path,
        fstype=mount.fstype if mount else "",
        device=os.fsdecode(mount.source.removeprefix(b"/dev/")) if mount else "",
        bytes_used=(figures.f_blocks - figures.f_bfree) * figures.f_frsize,
        bytes_free=figures.f_bavail * figures.f_frsize,
        inodes_used=figures.f_files - figures.f_ffree if limited else 0,
        inodes_free=figures.f_favail if limited else 0,
        inodes_total=figures.f_files,
    )


def percent(used: int, free: int) -> int:
    """Used of used + free, rounded up as df(1) does; 0 where there is nothing to use."""
    total = used + free
    return -(-used * 100 // total) if total > 0 else 0


def pressure(figures: Headroom) -> tuple[str, str]:
    """The words for bytes and for inodes: "LOW" from 90 %, "FILLING" from 80 %, else ""."""
    inodes = _word(figures.inodes_used, figures.inodes_free) if figures.inodes_total else ""
    return _word(figures.bytes_used, figures.bytes_free), inodes


def _word(used: int, free: int) -> str:
    reached = percent(used, free)
    return next((word for limit, word in _WORDS if reached >= limit), "")
