"""Whether a process holds a file open, and what it is called: facts from its /proc directory.

Source: proc(5), /proc/PID/fd (a link per descriptor, whose text is the path as seen from
here) and /proc/PID/comm.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from app.host import looks


def holds_below(pid: int, directory: bytes, proc: bytes = b"/proc") -> bool | None:
    """Whether a process has some regular file below ``directory`` open.

    None where its descriptors cannot be seen.
    """
    place = os.path.join(proc, b"%d" % pid, b"fd")
    inside = looks.realpath(directory).rstrip(b"/") + b"/"
    try:
        names = os.listdir(place)
    except OSError:
        return None
    for name in names:
        link = os.path.join(place, name)
        with suppress(OSError):
            if os.readlink(link).startswith(inside):
                return True
    return False


def called(pid: int, proc: bytes = b"/proc") -> str:
    """What the process calls itself, "" where that cannot be read; not safe to draw."""
    try:
        return Path(os.fsdecode(proc), str(pid), "comm").read_text(errors="replace").rstrip("\n")
    except OSError:
        return ""
