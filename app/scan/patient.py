"""Measuring what lies on a filesystem that may hang, without waiting for it for ever.

In worker processes, whichever core does the rest: a thread that waits for such a filesystem cannot
be ended, and this process could not end either. Where nothing comes from them for two seconds they
are given up, with what they have found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import monotonic

from app.host import looks
from app.host.hanging import Far
from app.model import Usage
from app.scan.portable import PortableJob
from app.scan.progress import ScanNews
from app.scan.tree import UnitResult
from app.scan.tree_builder import result_cut_short
from app.scan.walk import Fence, Unit

#: Seconds that workers may take to begin: starting one takes a fraction of one.
_TO_BEGIN = 10.0


class PatientJob:
    """See :class:`app.scan.job.ScanJob`; all units lie on the filesystem ``where``."""

    def __init__(self, where: Far, units: Sequence[Unit], fence: Fence, inodes_first: bool) -> None:
        self._where = where
        self._missing = {unit.path: unit for unit in units}
        self._job = PortableJob(units, fence, inodes_first)
        self._total = len(units)
        self._lost: ScanNews | None = None  # all that there will be
        self._heard = self._moved_at = 0.0
        self._last: tuple[object, ...] = ()

    def start(self) -> None:
        """Start the workers, unless it is known by now that the filesystem does not answer."""
        self._moved_at = monotonic()
        if self._where.mount in {it.mount for it in looks.given_up()}:
            self._lost = ScanNews(units_total=self._total)
        else:
            self._job.start()

    def poll(self) -> ScanNews:
        """What is new."""
        return self._judged(ScanNews() if self._lost else self._job.poll())

    def wait(self, seconds: float) -> ScanNews:
        """As ``poll``, but wait for something new first, at most so many seconds."""
        return self._judged(ScanNews() if self._lost else self._job.wait(seconds))

    def cancel(self) -> None:
        """Stop the walk, keep what was found."""
        if not self._lost:
            self._job.cancel()

    def close(self) -> None:
        """End the workers; those that hang end when they can."""
        if not self._lost:
            self._job.close()

    def _judged(self, news: ScanNews) -> ScanNews:
        """The news, or the last ones there will be where nothing has come for too long."""
        if self._lost is None:
            for result in news.finished:
                self._missing.pop(result.key, None)
            if news.done or not self._hangs(news):
                return news
            self._job.give_up()
            looks.give_up(self._where)
            late = self._job.poll()
            for result in late.finished:
                self._missing.pop(result.key, None)
            self._lost = replace(late, finished=(*news.finished, *late.finished), running={})
        lost, self._lost = self._lost, replace(self._lost, finished=())
        finished = (*lost.finished, *(_unread(path) for path in self._missing))
        self._missing.clear()
        return replace(
            lost, finished=finished, units_done=self._total, counting=None, done=True, stopped=True
        )

    def _hangs(self, news: ScanNews) -> bool:
        now = (news.entries, news.inodes, news.units_done, news.current, *news.running)
        if now != self._last or self._job.is_working():
            self._last, self._moved_at = now, monotonic()
        begun = news.running or news.units_done or news.counting is not None
        limit = looks.LIMIT if begun else _TO_BEGIN
        return monotonic() - self._moved_at > limit


def _unread(path: bytes) -> UnitResult:
    """The result of a unit of which nothing is known."""
    nothing = result_cut_short(path, Usage(unreadable=1, partial=True), 0)
    return replace(nothing, unreadable=(path,))


def together(news: Sequence[ScanNews]) -> ScanNews:
    """The news of jobs that go on side by side."""
    first, *others = news
    for other in others:
        counting = first.counting or other.counting
        if first.counting and other.counting:
            counting = replace(
                first.counting,
                units_done=first.counting.units_done + other.counting.units_done,
                units_total=first.counting.units_total + other.counting.units_total,
                inodes=first.counting.inodes + other.counting.inodes,
                running={**first.counting.running, **other.counting.running},
            )
        first = ScanNews(
            entries=first.entries + other.entries,
            bytes=first.bytes + other.bytes,
            inodes=first.inodes + other.inodes,
            elapsed=max(first.elapsed, other.elapsed),
            units_done=first.units_done + other.units_done,
            units_total=first.units_total + other.units_total,
            current=first.current or other.current,
            finished=(*first.finished, *other.finished),
            running={**first.running, **other.running},
            counted={**first.counted, **other.counted},
            counting=counting,
            done=first.done and other.done,
            stopped=first.stopped and other.stopped,
            failed=first.failed or other.failed,
        )
    return first
