"""A scan job in threads of the native core, polled from Python and never calling back."""

from __future__ import annotations

import ctypes
import errno
import os
from array import array
from collections.abc import Iterator, Sequence
from time import monotonic

from app.model import Usage
from app.scan.links import LinkSums, OutsideLinks
from app.scan.native.library import (
    COLUMNS,
    MOST_THREADS,
    ColumnC,
    FiguresC,
    Library,
    NewsC,
    ResultC,
    TaskC,
    UnitC,
)
from app.scan.progress import Counting, ScanNews
from app.scan.tree import DirTree, UnitResult
from app.scan.tree_builder import result_cut_short
from app.scan.walk import Fence, Unit

#: Seconds after a cancel until it counts as done, and until threads that hang in the kernel, on a
#: dead disk, are given up with what is known of their units.
_TO_ANSWER = 0.05
_TO_HAND_OVER = 2.0
_TO_END = 0.5
#: Seconds that a wait takes at a time, so that Ctrl+C gets through.
_SLICE = 0.05


class NativeJob:
    """See :class:`app.scan.job.ScanJob`. Threads: as many as cores, more on a slow disk."""

    def __init__(
        self,
        library: Library,
        units: Sequence[Unit],
        fence: Fence,
        inodes_first: bool = False,
    ) -> None:
        self._library = library
        self._units = tuple(units)
        self._fence = fence
        # What the core has as units: those to be counted only, then those to be measured.
        self._counted_first = len(self._units) if inodes_first else 0
        self._job: int | None = None
        self._news = NewsC()
        self._began = monotonic()
        self._ended: float | None = None
        self._cancelled_at: float | None = None
        self._failed = ""
        self._current = b""
        self._done = self._entries = self._bytes = self._inodes = 0
        self._units_counted = self._inodes_counted = 0

    def start(self, threads: int = 0, most_threads: int = MOST_THREADS, most_open: int = 0) -> None:
        """Start the threads; 0 is as many as this process has cores, or what is reasonable."""
        self._began = monotonic()
        task = _task(self._units, self._fence, self._counted_first)
        task.threads = threads or len(os.sched_getaffinity(0))
        task.most_threads = most_threads
        task.most_open = most_open
        self._job = self._library.start(ctypes.byref(task))
        if self._job is None:
            why = os.strerror(ctypes.get_errno() or errno.EAGAIN)
            self._failed = f"The scan cannot start: {why}; free some memory, try again."
            self._ended = monotonic()

    def poll(self) -> ScanNews:
        """What is new."""
        finished: list[UnitResult] = []
        counted: dict[bytes, int] = {}
        if self._job is not None and self._ended is None:
            # Look first, then take: what was done at the look has been taken then.
            self._library.look(self._job, ctypes.byref(self._news))
            for result in self._take():
                self._enter(result, finished, counted)
            self._note_end(finished)
        return self._told(finished, counted)

    def wait(self, seconds: float) -> ScanNews:
        """As ``poll``, but wait for a result first, at most so many seconds."""
        end = monotonic() + seconds
        while self._job is not None and self._ended is None:
            left = max(0.0, min(end - monotonic(), _SLICE))
            if self._library.wait(self._job, int(left * 1000)) or left < _SLICE:
                break
        return self.poll()

    def cancel(self) -> None:
        """Stop the walk, keep what was found."""
        if self._cancelled_at is None:
            self._cancelled_at = monotonic()
            if self._job is not None:
                self._library.cancel(self._job)

    def close(self) -> None:
        """End the threads; one that hangs in the kernel ends when it comes back."""
        job, self._job = self._job, None
        if job is not None:
            self._library.close(job, int(_TO_END * 1000))
        self._ended = self._ended or monotonic()

    def _take(self) -> Iterator[ResultC]:
        taken = []
        result = self._library.take(self._job)
        while result:
            taken.append(result)
            result = result.contents.next
        for result in reversed(taken):  # the latest was first
            yield result.contents
            self._library.free_result(result)

    def _enter(
        self, result: ResultC, finished: list[UnitResult], counted: dict[bytes, int]
    ) -> None:
        if result.unit < self._counted_first:
            self._units_counted += 1
            if result.complete:
                counted[self._units[result.unit].path] = result.figures.inodes
                self._inodes_counted += result.figures.inodes
            return
        unit = self._units[result.unit - self._counted_first]
        self._finish(_result(unit, result), finished)

    def _finish(self, result: UnitResult, finished: list[UnitResult]) -> None:
        finished.append(result)
        self._done += 1
        self._entries += result.entries
        self._bytes += result.usage.bytes
        self._inodes += result.usage.inodes

    def _note_end(self, finished: list[UnitResult]) -> None:
        news = self._news
        self._current = news.current or self._current
        if news.error and not self._failed:
            self._failed = (
                f"The scan stopped: {os.strerror(news.error)}; what it was walking is incomplete: "
                "free some memory, scan again."
            )
        if news.done:
            self._ended = monotonic()
        elif self._since_cancel() > _TO_HAND_OVER:
            told = {result.key for result in finished}
            for unit, figures in self._running():
                if unit.path not in told:
                    self._finish(
                        result_cut_short(unit.path, _usage(figures), figures.entries), finished
                    )
            self._ended = monotonic()

    def _since_cancel(self) -> float:
        return 0.0 if self._cancelled_at is None else monotonic() - self._cancelled_at

    def _running(self) -> Iterator[tuple[Unit, FiguresC]]:
        for place in range(self._news.running_count):
            running = self._news.running[place]
            if running.unit >= self._counted_first:
                yield self._units[running.unit - self._counted_first], running.figures

    def _counting(self, counted: dict[bytes, int]) -> Counting | None:
        total = self._counted_first
        if self._units_counted >= total or self._ended is not None or self._job is None:
            return None
        shown = (self._news.running[place] for place in range(self._news.running_count))
        running = {
            path: it.figures.inodes
            for it in shown
            if it.unit < total and (path := self._units[it.unit].path) not in counted
        }
        inodes = self._inodes_counted + sum(running.values())
        return Counting(self._units_counted, total, inodes, running)

    def _told(self, finished: list[UnitResult], counted: dict[bytes, int]) -> ScanNews:
        told = {result.key for result in finished}
        running = {}
        if self._ended is None and self._job is not None:
            running = {it.path: figures for it, figures in self._running() if it.path not in told}
        stopped = self._cancelled_at is not None and (
            self._job is None
            or self._news.walking == 0
            or self._since_cancel() > _TO_ANSWER
            or self._ended is not None
        )
        return ScanNews(
            entries=self._entries + sum(it.entries for it in running.values()),
            bytes=self._bytes + sum(it.bytes for it in running.values()),
            inodes=self._inodes + sum(it.inodes for it in running.values()),
            elapsed=(self._ended or monotonic()) - self._began,
            units_done=self._done,
            units_total=len(self._units),
            current=self._current or next(iter(running), b""),
            finished=tuple(finished),
            running={path: _usage(figures) for path, figures in running.items()},
            counted=counted,
            counting=self._counting(counted),
            done=self._ended is not None,
            stopped=stopped,
            failed=self._failed,
        )


def _task(units: Sequence[Unit], fence: Fence, counted_first: int) -> TaskC:
    """The task for the core, which copies all of it."""
    points = sorted(fence.points)
    given = (UnitC * (counted_first + len(units)))()
    for place, unit in enumerate([*units[:counted_first], *units]):
        subvolumes = bool(fence.btrfs) and fence.has_subvolumes(unit.path)
        given[place] = UnitC(unit.path, unit.shallow, subvolumes, place < counted_first)
    return TaskC(
        units=given,
        unit_count=len(given),
        points=(ctypes.c_char_p * len(points))(*points),
        point_count=len(points),
    )


def _usage(figures: FiguresC) -> Usage:
    """Of linked inodes nothing is counted yet: what is, is exclusive."""
    return Usage(
        bytes=figures.bytes,
        apparent=figures.apparent,
        inodes=figures.inodes,
        exclusive_bytes=figures.bytes,
        exclusive_inodes=figures.inodes,
        unreadable=figures.unreadable,
        partial=True,
    )


def _result(unit: Unit, result: ResultC) -> UnitResult:
    if not result.complete:
        return result_cut_short(unit.path, _usage(result.figures), result.figures.entries)
    columns = {
        name: _copied(code, result.columns[place]) for place, (name, code) in enumerate(COLUMNS)
    }
    links = LinkSums()
    if columns["link_nodes"]:
        height, sums = len(columns["link_nodes"]) + 1, columns["link_sums"]
        parts = tuple(sums[height * part : height * (part + 1)] for part in range(5))
        links = LinkSums(columns["link_nodes"], parts)
    tree = DirTree(
        root=unit.path,
        parents=columns["parents"],
        ends=columns["ends"],
        names=columns["names"].tobytes(),
        name_ends=columns["name_ends"],
        bytes=columns["bytes"],
        apparent=columns["apparent"],
        inodes=columns["inodes"],
        links=links,
        unreadable=columns["unreadable"],
        cut=columns["cut"],
    )
    return UnitResult(
        key=unit.path,
        tree=tree,
        usage=tree.usage(0),
        entries=result.figures.entries,
        outside_links=OutsideLinks(columns["outside"]),
        unreadable=tuple(columns["paths"].tobytes().split(b"\0")[:-1]),
        newest=result.newest,
    )


def _copied(code: str, column: ColumnC) -> array[int]:
    copy: array[int] = array(code)
    if column.size and column.data:
        copy.frombytes((ctypes.c_char * column.size).from_address(column.data))
    return copy
