"""The scan behind the explorer: which units are wanted, which job is at work, what it said last.

No screen: the explorer polls it, and the figures go where the outline reads them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from app.outline.figures import Figures
from app.scan.job import ScanJob, ScanNews
from app.scan.walk import Fence, Unit, read_fence


class Measuring:
    """At most one job at a time; a new one takes over what the one before has not done."""

    def __init__(self, figures: Figures) -> None:
        self.fence: Fence = read_fence()
        self.news: ScanNews | None = None
        self._inodes_first = False
        self._figures = figures
        self._units: dict[bytes, Unit] = {}
        self._job: ScanJob | None = None
        self._ended_at = 0.0

    @property
    def active(self) -> bool:
        """Whether something is being measured now."""
        return self._job is not None and not (self.news and self.news.done)

    @property
    def seconds_ago(self) -> float:
        """How long ago the last job ended."""
        return time.monotonic() - self._ended_at

    @property
    def complete(self) -> bool:
        """Whether every unit has been measured to its end."""
        results = self._figures.results
        return all(path in results and not results[path].usage.partial for path in self._units)

    def want(self, units: Iterable[Unit]) -> None:
        """These are the units there are; the ones that were not there before are measured."""
        before, self._units = self._units, {unit.path: unit for unit in units}
        new = [unit for path, unit in self._units.items() if path not in before]
        if new:
            self._start(new, self._inodes_first)

    def ask_for(self, inodes: bool) -> None:
        """Whether the question is inodes: then new units are counted before they are measured.

        A job that has not measured anything yet but the files beside the things begins anew.
        """
        before, self._inodes_first = self._inodes_first, inodes
        measured = (self._units.get(path) for path in self._figures.results)
        if inodes and not before and self.active and all(it and it.shallow for it in measured):
            self._start((), inodes_first=True)

    def again(self, paths: Iterable[bytes]) -> bool:
        """Measure these units once more; whether any of them is there."""
        units = [self._units[path] for path in paths if path in self._units]
        if units:
            self._start(units)
        return bool(units)

    def forget(self) -> None:
        """Drop every figure, before the names are read again."""
        self.close()
        self.fence = read_fence()
        self._figures.drop(self._units)
        self._units = {}

    def poll(self) -> tuple[bytes, ...]:
        """Take what is new into the figures; returns the units that were finished."""
        if self._job is None:
            return ()
        news = self.news = self._job.poll()
        self._figures.finish(news.finished)
        self._figures.run(news.running)
        self._figures.count(news.counted, news.counting.running if news.counting else {})
        if news.done:
            self._ended_at = time.monotonic()
        return tuple(result.key for result in news.finished)

    def stop(self) -> bool:
        """Stop the job, what it has found stays; whether there was one to stop."""
        if self._job is None or not self.active:
            return False
        self._job.cancel()
        return True

    def close(self) -> None:
        """End the job, if there is one."""
        if self._job:
            self._job.close()
        self._job = self.news = None

    def _start(self, units: Iterable[Unit], inodes_first: bool = False) -> None:
        wanted = {unit.path: unit for unit in units}
        self._figures.drop(wanted)  # and no more: what was counted of the others stays
        if self.active:
            undone = (unit for path, unit in self._units.items() if path not in self._done())
            wanted = {**{unit.path: unit for unit in undone}, **wanted}
        self.close()
        self._job = ScanJob(tuple(wanted.values()), self.fence, inodes_first)
        self._job.start()

    def _done(self) -> set[bytes]:
        return set(self._figures.results)
