"""A stand-in for /proc that leaves out what even root may not look at here.

Raw removal is refused while one process cannot be looked at. Some sandboxes and containers hide
their first process from everybody; the rest of what is to be shown needs the others alone.
"""

from __future__ import annotations

import os
from pathlib import Path


def visible_proc(at: Path) -> bytes:
    """Make ``at`` a directory of links to every process that can be looked at now; its path."""
    at.mkdir()
    (at / "self").symlink_to("/proc/self")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _may_be_read(entry):
            (at / entry.name).symlink_to(entry)
    return bytes(at)


def _may_be_read(process: Path) -> bool:
    try:
        (process / "maps").read_bytes()
        os.readlink(process / "cwd")
    except PermissionError:
        return False
    except OSError:
        return True
    return True
