"""A scan as a job beside the screen: started, polled for news, cancelled, closed.

The walk runs at the lowest priority: in threads of the native core, or in worker processes (see
:mod:`app.scan.core`). Nothing here blocks the caller but ``wait``, ``close`` and :func:`run`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import monotonic
from types import TracebackType
from typing import Protocol

from app.host.hanging import Far, far
from app.scan.core import ScanError, native_library
from app.scan.patient import PatientJob, together
from app.scan.portable import PortableJob
from app.scan.progress import ScanNews
from app.scan.tree import UnitResult
from app.scan.walk import Fence, Unit

__all__ = ["ScanError", "ScanJob", "ScanNews", "run"]


_TURN = 0.05  # seconds that each of several jobs is waited for


class _Job(Protocol):
    def start(self) -> None: ...
    def poll(self) -> ScanNews: ...
    def wait(self, seconds: float) -> ScanNews: ...
    def cancel(self) -> None: ...
    def close(self) -> None: ...


class ScanJob:
    """Measures units, in the order given. Results come in the order in which they are finished.

    ``start`` once, ``poll`` as often as wanted, ``close`` in any case (or use it as a context).
    Call all of them from one thread. With ``inodes_first``, all units' inodes are counted before
    anything is measured: see ``ScanNews.counted``.

    Raises ScanError when a core is forced that cannot be had.
    """

    def __init__(self, units: Sequence[Unit], fence: Fence, inodes_first: bool = False) -> None:
        self._jobs = _jobs(units, fence, inodes_first)

    def start(self) -> None:
        """Start the walk. That it cannot be started is told by the news (``failed``)."""
        for job in self._jobs:
            job.start()

    def poll(self) -> ScanNews:
        """What is new. Never blocks, and costs next to nothing."""
        return together([job.poll() for job in self._jobs])

    def wait(self, seconds: float) -> ScanNews:
        """As ``poll``, but wait for something new first, at most so many seconds."""
        first, *others = self._jobs
        if not others:
            return first.wait(seconds)
        # In turns, until one of them has something.
        end, share = monotonic() + seconds, min(seconds, _TURN)
        while True:
            news = together([first.wait(share), *(job.wait(share) for job in others)])
            if news.done or news.finished or news.counted or monotonic() >= end:
                return news

    def cancel(self) -> None:
        """Stop the walk, keep what was found; ``poll`` hands it out. Does not block."""
        for job in self._jobs:
            job.cancel()

    def close(self) -> None:
        """End the walk, whatever it does; what was not polled is lost. Half a second at most."""
        for job in self._jobs:
            job.close()

    def __enter__(self) -> ScanJob:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def run(units: Sequence[Unit], fence: Fence) -> Iterator[UnitResult]:
    """Measure units and wait for it; results in the order of the units, as soon as they can be.

    Raises ScanError after the results that there are, if a worker was lost.
    """
    waiting: dict[bytes, UnitResult] = {}
    order = iter(units)
    following = next(order, None)
    with ScanJob(units, fence) as job:
        news = ScanNews()
        while not news.done:
            news = job.wait(1.0)
            waiting.update((result.key, result) for result in news.finished)
            while following is not None and following.path in waiting:
                yield waiting.pop(following.path)
                following = next(order, None)
    yield from waiting.values()
    if news.failed:
        raise ScanError(news.failed)


def _jobs(units: Sequence[Unit], fence: Fence, inodes_first: bool) -> list[_Job]:
    """One job for all that is believed to answer, one for each filesystem that may hang."""
    apart: dict[bytes, tuple[Far, list[Unit]]] = {}
    believed = []
    for unit in units:
        where = far(unit.path, follow=False)
        if where is None:
            believed.append(unit)
        else:
            apart.setdefault(where.mount, (where, []))[1].append(unit)
    patient = [PatientJob(where, some, fence, inodes_first) for where, some in apart.values()]
    return [*([_job(believed, fence, inodes_first)] if believed or not patient else []), *patient]


def _job(units: Sequence[Unit], fence: Fence, inodes_first: bool) -> _Job:
    library = native_library()
    if library is None:
        return PortableJob(units, fence, inodes_first)
    from app.scan.native.job import NativeJob  # noqa: PLC0415 - needs ctypes

    return NativeJob(library, units, fence, inodes_first)
