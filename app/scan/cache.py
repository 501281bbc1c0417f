"""Figures of units that cannot change, kept so that the next look need not walk them.

Who calls says which units these are: directories that their owner never writes to again. For them
a mark that is the same before and after the walk, and still the same now, stands for the contents.
Everything else is walked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence

from app.scan.cache_file import Entry, KeptFile
from app.scan.fence import Fence
from app.scan.fingerprint import Mark, marks_of
from app.scan.tree import UnitResult

#: A layer in which anything changed less than this many seconds ago is not kept: file systems
#: allocate late and give back what they took too much, so that st_blocks of new files still moves.
#: Nobody can set what tells (st_ctime); the walk itself looks at all of it, as the directories on
#: top have the time of their making, and unpacking may go on for long below them.
SETTLED = 600.0


class Kept:
    """Results by unit path, with the mark of the directory that each was measured of.

    For the session; between runs in a file, if ``between_runs``. Any thread may call.
    """

    def __init__(self, between_runs: bool = False) -> None:
        self._between_runs = between_runs
        # The one for what is in memory, held for moments; the other for the file.
        self._lock, self._file_lock = threading.Lock(), threading.Lock()
        self._entries: dict[bytes, Entry] = {}
        self._file: KeptFile | None = None
        self._unsaved = False

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def open(self, roots: Sequence[bytes]) -> None:
        """Take what an earlier run kept of these data roots; the second time nothing happens."""
        file = KeptFile(tuple(roots))
        with self._file_lock:
            if self._between_runs and file != self._file:
                self._file = file
                found = file.load()
                with self._lock:
                    self._entries = {**found, **self._entries}

    def still_good(self, marks: Mapping[bytes, Mark]) -> list[UnitResult]:
        """The results of those of the marked units that are what they were when measured."""
        with self._lock:
            found = ((self._entries.get(path), marked) for path, marked in marks.items())
            return [entry.result for entry, marked in found if entry and entry.mark == marked]

    def keep(self, measured: Iterable[Entry], fence: Fence) -> None:
        """Keep what was measured: whole results of settled units that have not changed meanwhile.

        The marks of ``measured`` are from before the walk; they are taken once more here, with a
        ``fence`` of now.
        """
        wanted = {entry.result.key: entry for entry in measured if _is_whole(entry.result)}
        settled = time.time() - SETTLED
        after = marks_of(wanted, fence)
        fresh = {
            path: entry
            for path, entry in wanted.items()
            if after.get(path) == entry.mark and entry.result.newest <= settled
        }
        with self._lock:
            self._entries.update(fresh)
            self._unsaved = self._unsaved or bool(fresh)

    def save(self, paths: Iterable[bytes]) -> None:
        """Write what is kept of these units for the next run, if there is anything new."""
        wanted = set(paths)
        with self._file_lock:
            with self._lock:
                unsaved, self._unsaved = self._unsaved, False
                entries = [it for path, it in self._entries.items() if path in wanted]
            if self._file and unsaved:
                self._file.save(entries)

    def forget(self) -> None:
        """Keep nothing of what was measured until now, here and in the file."""
        with self._lock:
            self._entries.clear()
        with self._file_lock:
            if self._file:
                self._file.remove()


def _is_whole(result: UnitResult) -> bool:
    """Whether nothing is missing, and nothing depends on what is elsewhere.

    An inode with links outside the unit may lose or gain some without a trace in its directory.
    """
    usage = result.usage
    return not (usage.partial or usage.unreadable or len(result.outside_links))
