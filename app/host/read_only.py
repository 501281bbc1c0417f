"""Whether a filesystem takes any change at all."""

from __future__ import annotations

import os

from app.host import looks


def is_read_only(path: bytes) -> bool:
    """Whether nothing can be removed there: its mount or its filesystem is read-only."""
    try:
        return bool(looks.statvfs(path).f_flag & os.ST_RDONLY)
    except (OSError, ValueError):
        return False
