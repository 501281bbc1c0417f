"""Counting a removal: what went, what stays and why."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.cleanup.execute.outcome import Progress
from app.cleanup.plan.model import Frees

#: So many entries that cannot be removed end it: the whole tree is of that kind.
_MOST_LEFT = 10_000
_MOST_SENTENCES = 20
#: Levels that a path can have (PATH_MAX is 4096, linux/limits.h).
DEEPEST = 2048
BLOCK = 512  # the unit of st_blocks (stat(3type))


@dataclass(frozen=True, slots=True)
class Erased:
    """What came of one removal.

    ``removed`` counts what was removed and has no other hard link: allocated bytes and inodes; of
    an overlay what its writable layer had. Who holds a file open cannot be known.
    ``complete``: nothing is left of it. ``stopped``: the user said stop. ``left`` is the number of
    entries that could not be removed, ``sentences`` the first of them with the reason; ``gone``:
    it was not there any more. ``moved`` directories were moved out of it meanwhile, by somebody
    else, the first of them from the path ``moved_from``: they are as they were. ``rest`` is where
    what is left of it lies, put aside; ``hindered`` says what was mounted meanwhile and stopped it.
    """

    removed: Frees = field(default_factory=Frees)
    complete: bool = True
    stopped: bool = False
    gone: bool = False
    left: int = 0
    sentences: tuple[str, ...] = ()
    moved: int = 0
    moved_from: bytes = b""
    rest: bytes = b""
    hindered: str = ""


@dataclass(slots=True)
class Tally:
    """Counts one removal, here and for whoever looks at the progress.

    ``upper`` is where the writable layer of an overlay has what is removed through its mount.
    ``hinders`` says why it must stop for a mount that changed meanwhile, or "".
    """

    progress: Progress
    upper: bytes = b""
    freed_bytes: int = 0
    freed_inodes: int = 0
    left: int = 0
    sentences: list[str] = field(default_factory=list)
    given_up: bool = False
    moved: int = 0
    moved_from: bytes = b""
    hinders: Callable[[], str] = str
    hindered: str = ""

    @property
    def goes_on(self) -> bool:
        """Whether nobody said stop, no mount hinders it, and there is a point in going on."""
        self.hindered = self.hindered or self.hinders()
        return not (self.progress.stopped or self.given_up or self.hindered)

    def own(self, status: os.stat_result | None, names: Sequence[bytes]) -> os.stat_result | None:
        """Of an entry that will go, what gives something back: itself, unless it is an overlay's.

        Then what its writable layer has at ``names`` (from the top of the removal on): None where
        the entry lies in a lower layer alone, which keeps it, or too deep to be looked for.
        """
        if not self.upper:
            return status
        if len(names) > DEEPEST:
            return None
        try:
            return os.lstat(os.path.join(self.upper, *names))
        except OSError:
            return None

    def count(self, own: os.stat_result | None) -> None:
        """An entry went, of which this gives something back: a file's last link, a directory."""
        self.progress.entries += 1
        if own and (stat.S_ISDIR(own.st_mode) or own.st_nlink <= 1):
            self.add(own.st_blocks * BLOCK, 1)

    def add(self, size: int, inodes: int) -> None:
        """Count what was given back."""
        self.freed_bytes += size
        self.freed_inodes += inodes
        self.progress.bytes += size
        self.progress.inodes += inodes

    def fail(self, path: bytes, why: str) -> None:
        """An entry stays."""
        self.left += 1
        self.given_up |= self.left >= _MOST_LEFT
        if len(self.sentences) < _MOST_SENTENCES:
            self.sentences.append(f"{os.fsdecode(path)} stays: {why}.")

    def moved_away(self, path: bytes) -> None:
        """A directory was moved out of what is removed, by somebody else."""
        self.moved += 1
        self.moved_from = self.moved_from or path

    def result(self, complete: bool, rest: bytes = b"") -> Erased:
        """What came of it; ``rest`` is where the remainder was put, if there is any."""
        complete = complete and not self.moved
        stopped = self.progress.stopped and not complete
        return Erased(
            Frees(self.freed_bytes, self.freed_inodes),
            complete,
            stopped=stopped,
            left=self.left,
            sentences=tuple(self.sentences),
            moved=self.moved,
            moved_from=self.moved_from,
            rest=rest,
            hindered=self.hindered,
        )


_REASONS = {
    errno.EPERM: "not permitted; it may be immutable or append-only (see lsattr, chattr -i -a)",
    errno.EACCES: "permission denied; run whodiff as root",
    errno.EBUSY: "it is in use as a mount point; unmount what is mounted there first",
    errno.EXDEV: "something is mounted there, and what is mounted is never touched",
    errno.EROFS: "the file system is read-only; look into the kernel's log (dmesg)",
    errno.ENOTEMPTY: "it is being filled again; stop what writes there",
    errno.ENOSPC: "the overlay needs a free inode for its whiteout, and there is none",
    errno.EIO: "input/output error; look into the kernel's log (dmesg)",
}


def reason(error: OSError) -> str:
    code = error.errno or 0
    return _REASONS.get(code) or os.strerror(code)
