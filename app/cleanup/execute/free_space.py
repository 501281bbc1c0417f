"""What a filesystem itself says of its free space: the measure of every promise."""

from __future__ import annotations

from app.cleanup.execute.outcome import Space
from app.host import looks


def space_of(path: bytes) -> Space | None:
    """Free bytes and inodes of the filesystem that ``path`` is on; None where nobody can tell.

    Source: statvfs(3). Free is what an ordinary process may take (``f_bavail``, ``f_favail``).
    """
    try:
        found = looks.statvfs(path)
    except (OSError, ValueError):
        return None
    return Space(
        bytes_free=found.f_bavail * found.f_frsize,
        bytes_total=found.f_blocks * found.f_frsize,
        inodes_free=found.f_favail,
        inodes_total=found.f_files,
    )
