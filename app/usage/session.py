"""The scan behind the explorer: which units are wanted, which job is at work, what it said last.

No screen: the explorer polls it, and the figures go where the outline reads them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.scan.cache import Kept
from app.scan.cache_file import Entry
from app.scan.fingerprint import Mark
from app.scan.job import ScanJob, ScanNews
from app.scan.tree import UnitResult
from app.scan.walk import Fence, Unit, read_fence
from app.usage.figures import Figures
from app.usage.growth import Growths

_HAND_OVER = 10.0  # seconds after which what was measured so far is to be kept


@dataclass(frozen=True, slots=True)
class Tally:
    """Of the units last asked for: those that are walked, those whose old figures still hold."""

    walked: int = 0
    kept: int = 0


class Measuring:
    """At most one job at a time; a new one takes over what the one before has not done.

    Old figures stay until there are new ones. Units that are marked (see
    :mod:`app.scan.fingerprint`) cannot change: they are walked only if ``kept`` knows nothing of
    them.
    """

    def __init__(self, figures: Figures, growths: Growths, kept: Kept) -> None:
        self.fence: Fence = read_fence()
        self.news: ScanNews | None = None
        self._inodes_first = False
        self.tally = Tally()
        self.kept = kept
        self._figures, self._growths = figures, growths
        self._units: dict[bytes, Unit] = {}
        self._marks: dict[bytes, Mark] = {}
        self._asked: tuple[bytes, ...] | None = None
        self._all_anew = False
        self._renewal: bool | None = None  # with the next names, and whether all anew
        self._taken: set[bytes] = set()  # whose figures come from what was kept
        self._job: ScanJob | None = None
        self._undone: dict[bytes, Unit] = {}
        self._deep = 0  # of the job's units, those that are more than a directory's own files
        self._before: dict[bytes, Mark] = {}
        self._watching = False
        self._measured: list[Entry] = []
        self._handed_over_at = self._ended_at = time.monotonic()

    @property
    def active(self) -> bool:
        """Whether something is being measured now, or is about to be."""
        working = self._job is not None and not (self.news and self.news.done)
        return working or self._asked is not None

    @property
    def renewing(self) -> bool:
        """Whether the names are being read again, and then everything is measured again."""
        return self._renewal is not None

    @property
    def watching(self) -> bool:
        """Whether the job, at work or done, is a look at what can change and nothing else."""
        return self._watching

    @property
    def seconds_ago(self) -> float:
        """How long ago the last job ended."""
        return time.monotonic() - self._ended_at

    @property
    def complete(self) -> bool:
        """Whether every unit has been measured to its end."""
        results = self._figures.results
        return all(path in results and not results[path].usage.partial for path in self._units)

    @property
    def paths(self) -> tuple[bytes, ...]:
        """Every unit there is."""
        return tuple(self._units)

    def want(self, units: Iterable[Unit], marks: Mapping[bytes, Mark]) -> None:
        """These are the units there are; the ones that were not there before are measured.

        ``marks`` are of those that cannot change, taken just now.
        """
        if self._renewal is not None:
            self._begin_anew(self._renewal)
        before, self._units = self._units, {unit.path: unit for unit in units}
        self._marks = dict(marks)
        good = {} if self._all_anew else self._still_good(marks)
        new = {path for path in self._units if path not in before}
        doubted = (self._taken & self._units.keys()) - good.keys()
        self._figures.finish(result for path, result in good.items() if path in new)
        self._taken = (self._taken | new) & good.keys()
        walked = [
            unit for path, unit in self._units.items() if path in (new - good.keys()) | doubted
        ]
        if new or doubted:
            self.tally = Tally(len(self._units) - len(self._taken), len(self._taken))
        if walked:
            fresh = all(unit.path not in self._figures.results for unit in walked)
            self._start(walked, self._inodes_first and fresh)

    def ask_for(self, inodes: bool) -> None:
        """Whether the question is inodes: then new units are counted before they are measured.

        A job that has not measured anything yet but the files beside the things begins anew.
        """
        before, self._inodes_first = self._inodes_first, inodes
        if inodes and not before and self.active and _deep(self._undone.values()) == self._deep:
            self._start((), inodes_first=True)

    def ask(self, paths: Iterable[bytes]) -> tuple[bytes, ...]:
        """These units are to be measured once more; returns those whose marks are wanted first."""
        self._asked = (*(self._asked or ()), *(path for path in paths if path in self._units))
        return tuple(path for path in self._asked if path in self._marks)

    def knows(self, paths: Iterable[bytes]) -> bool:
        """Whether one of these is a unit, which can be measured."""
        return any(path in self._units for path in paths)

    def again(self, marks: Mapping[bytes, Mark]) -> bool:
        """Measure the units that were asked for: ``marks`` are of those that cannot change.

        False where they are not wanted any more.
        """
        if self._asked is None:
            return False  # it was stopped, or everything is measured anew since
        asked, self._asked = self._asked, None
        self._marks.update(marks)
        good = self._still_good(marks).keys() & self._figures.results.keys()
        walked = [self._units[path] for path in asked if path in self._units and path not in good]
        self.tally = Tally(len(walked), len(good))
        self._taken.difference_update(unit.path for unit in walked)
        if walked:
            self._start(walked)
        return True

    def look_again(self) -> None:
        """Measure everything that can change."""
        changing = [unit for path, unit in self._units.items() if path not in self._marks]
        self.tally = Tally(len(changing), len(self._units) - len(changing))
        self._start(changing)
        self._watching = True

    def renew(self, all_anew: bool) -> None:
        """The names are about to be read again; then everything that can change is measured.

        With ``all_anew`` also what cannot. Until then all goes on as it was: without names there
        would be nothing to go on with.
        """
        self._renewal = all_anew or bool(self._renewal)
        self._asked = None

    def not_renewed(self) -> None:
        """The names could not be read: everything stays as it is."""
        self._renewal = None

    def _begin_anew(self, all_anew: bool) -> None:
        self.close()
        self._units, self._marks, self._taken = {}, {}, set()
        self._measured, self._asked = [], None
        self._all_anew, self._renewal = all_anew, None

    def poll(self) -> tuple[bytes, ...]:
        """Take what is new into the figures; returns the units whose directories want listing."""
        if self._job is None:
            return ()
        news = self.news = self._job.poll()
        shown = self._take(news.finished)
        self._figures.run(news.running)
        for result in news.finished:
            self._undone.pop(result.key, None)
            if result.key in self._before:
                self._measured.append(Entry(self._before[result.key], result))
        self._figures.count(news.counted, news.counting.running if news.counting else {})
        if news.done:
            self._ended_at = time.monotonic()
        return shown

    def hand_over(self) -> tuple[Entry, ...]:
        """What was measured and is to be kept: at the end of a job, now and then before."""
        due = time.monotonic() - self._handed_over_at > _HAND_OVER
        if not self._measured or (self.active and not due):
            return ()
        measured, self._measured = tuple(self._measured), []
        self._handed_over_at = time.monotonic()
        return measured

    def stop(self) -> bool:
        """Stop the job, what it has found stays, and drop what was asked for.

        Whether there was anything to stop.
        """
        wanted = self.active or self.renewing
        self._asked = self._renewal = None
        if self._job and self.active:
            self._job.cancel()
        return wanted

    def close(self) -> None:
        """End the job, if there is one."""
        if self._job:
            self._job.close()
        self._job = self.news = None

    def _still_good(self, marks: Mapping[bytes, Mark]) -> dict[bytes, UnitResult]:
        found = {result.key: result for result in self.kept.still_good(marks)}
        return {path: result for path, result in found.items() if path in self._units}

    def _take(self, results: Iterable[UnitResult]) -> tuple[bytes, ...]:
        """Put results into the figures; a partial one does not replace a complete one."""
        now, shown = time.monotonic(), []
        for result in results:
            old = self._figures.results.get(result.key)
            if old and result.usage.partial and not old.usage.partial:
                continue
            self._figures.finish([result])
            self._growths.note(result.key, result.usage, now)
            # What is watched is looked at every few seconds: list only what has changed.
            if not (self._watching and old and old.usage == result.usage):
                shown.append(result.key)
        return tuple(shown)

    def _start(self, units: Iterable[Unit], inodes_first: bool = False) -> None:
        wanted = {unit.path: unit for unit in units}
        if self.active:
            undone = {path: unit for path, unit in self._undone.items() if path in self._units}
            wanted = {**undone, **wanted}
        self.close()
        self._undone, self._watching = dict(wanted), False
        self._deep = _deep(wanted.values())
        self._before = {path: mark for path, mark in self._marks.items() if path in wanted}
        self.fence = read_fence()
        self._job = ScanJob(tuple(wanted.values()), self.fence, inodes_first)
        self._job.start()
        self.news = ScanNews(units_total=len(wanted))


def _deep(units: Iterable[Unit]) -> int:
    return sum(not unit.shallow for unit in units)
