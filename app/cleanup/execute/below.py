"""Whether an open directory still lies below another one, whoever moves what meanwhile."""

from __future__ import annotations

import os

from app.cleanup.execute.aside import path_now
from app.scan.descent import open_fenced

_UP = os.O_PATH | os.O_DIRECTORY


def is_deleted(directory: int) -> bool:
    """Whether an open directory was removed meanwhile: then it is empty, and lies nowhere."""
    try:
        # A name may end so as well: then there is something in it, or nothing to be told of.
        return path_now(directory).endswith(b" (deleted)") and not os.listdir(directory)
    except OSError:
        return False


class Below:
    """What lies below one open directory, the top."""

    def __init__(self, top: int, status: os.stat_result) -> None:
        self._status = status
        try:
            self._path = path_now(top)
        except OSError:
            # Too long for one call, or no /proc: then the way up tells.
            self._path = b""

    def has(self, descriptor: int, path: bytes) -> bool:
        """Whether a directory that was found at ``path`` below the top still lies below it.

        Where the kernel has it at that very path it does (one call, which sees one moment); else
        it is looked for on the way up, ``..`` by ``..``, by device and inode.
        """
        if path and self._path:
            try:
                if path_now(descriptor) == os.path.join(self._path, path):
                    return True
            except OSError:
                pass
        return self._is_above(descriptor)

    def _is_above(self, descriptor: int) -> bool:
        here = os.dup(descriptor)
        try:
            status = os.fstat(here)
            while True:
                above = open_fenced(b"..", here, _UP)
                os.close(here)
                here, last, status = above, status, os.fstat(above)
                if os.path.samestat(status, self._status):
                    return True
                if os.path.samestat(status, last):
                    return False
        except OSError:
            # The top of the mount, or what nobody can get to any more.
            return False
        finally:
            os.close(here)
