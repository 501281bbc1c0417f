"""What an overlay shows of a path in one layer and in those beneath it, without mounting anything.

Linux Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories", "renaming
directories": a whiteout is a character device 0:0 or an empty file with the xattr
``overlay.whiteout``; an opaque directory hides the same one in every layer beneath; a directory
with ``overlay.redirect`` goes on elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from app.host import looks
from app.host.safe_open import open_file
from app.scan.descent import open_directory, open_path

_PREFIXES = ("trusted.overlay.", "user.overlay.")


class Seen(Enum):
    """What a layer has at a path."""

    NOTHING = "nothing"
    ENTRY = "an entry"
    WHITEOUT = "a whiteout"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Look:
    """What one layer has at a path.

    ``hidden`` is true where a directory above it in this layer hides what lies beneath, whatever
    is at the path itself. ``moved`` is true where such a directory was renamed: what lies beneath
    it is then to be looked for elsewhere.
    """

    seen: Seen
    hidden: bool = False
    moved: bool = False


def look(diff: bytes, names: Sequence[bytes]) -> Look:
    """What the layer with this ``diff`` directory has at ``names``. Never raises."""
    try:
        looks.require(diff, follow=False)
        descriptor = open_path(diff)
    except OSError:
        return Look(Seen.UNKNOWN)
    hidden = moved = False
    try:
        for name in names[:-1]:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                # A whiteout, a file or a link in its place: nothing beneath shows through.
                return Look(Seen.NOTHING, hidden=True)
            below = open_directory(name, descriptor)
            os.close(descriptor)
            descriptor = below
            hidden = hidden or _xattr(descriptor, "opaque") in (b"y", b"Y")
            moved = moved or _xattr(descriptor, "redirect") is not None
        status = os.stat(names[-1], dir_fd=descriptor, follow_symlinks=False)
        whiteout = _is_whiteout(names[-1], status, descriptor)
    except FileNotFoundError:
        return Look(Seen.NOTHING, hidden, moved)
    except OSError:
        return Look(Seen.UNKNOWN)
    finally:
        os.close(descriptor)
    return Look(Seen.WHITEOUT if whiteout else Seen.ENTRY, hidden, moved)


def shows_beneath(upper: Look, diffs: Iterable[bytes], names: Sequence[bytes]) -> bool | None:
    """Whether a layer beneath would show through at ``names`` if the upper one had nothing there.

    ``diffs`` are the ``diff`` directories beneath, the nearest first. None where nobody can tell.
    """
    if upper.hidden:
        return False
    if upper.moved or upper.seen is Seen.UNKNOWN:
        return None
    for diff in diffs:
        found = look(diff, names)
        if found.seen is Seen.ENTRY:
            return True
        if found.seen is Seen.UNKNOWN or found.moved:
            return None
        if found.hidden or found.seen is Seen.WHITEOUT:
            return False
    return False


def _is_whiteout(name: bytes, status: os.stat_result, directory: int) -> bool:
    if stat.S_ISCHR(status.st_mode):
        return status.st_rdev == 0
    if not stat.S_ISREG(status.st_mode) or status.st_size:
        return False
    try:
        descriptor = open_file(name, directory)
    except OSError:
        return False
    try:
        return _xattr(descriptor, "whiteout") is not None
    finally:
        os.close(descriptor)


def _xattr(descriptor: int, name: str) -> bytes | None:
    for prefix in _PREFIXES:
        try:
            return os.getxattr(descriptor, prefix + name)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM):
                raise
    return None
