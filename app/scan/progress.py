"""The account of a scan job: what is done, what is under way, and what is still to be told."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

from app.model import Usage
from app.scan import wire
from app.scan.counters import Progress
from app.scan.tree import UnitResult
from app.scan.tree_builder import result_cut_short

#: ``ScanNews.bytes`` is a number; inside the class the type needs another name.
_Path = bytes


@dataclass(frozen=True, slots=True)
class Counting:
    """How far the counting is that comes before the measuring.

    ``inodes`` is the sum over all units so far. ``running`` has what was counted so far of the
    units under way, by unit path.
    """

    units_done: int = 0
    units_total: int = 0
    inodes: int = 0
    running: dict[bytes, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScanNews:
    """How far a scan is, and what has been finished since the last news.

    ``entries``, ``bytes`` and ``inodes`` are sums over the units, for a progress line; an inode
    that two units link counts in both. ``elapsed`` is in seconds and stands still at the end.
    ``running`` has the partial figures of the units under way, by unit path. ``done`` means that
    nothing will follow. ``stopped`` means that the scan was cancelled and nobody walks any more;
    the last, partial results may still follow until ``done``. ``failed`` is a sentence for people
    when workers were lost: what they were walking is partial, units that they never reached are
    missing.

    Of a job that was asked to count inodes first, ``counted`` has the exact numbers of inodes of
    the units counted since the last news, by unit path, and ``counting`` how far that is; it is
    None once all units have been counted.
    """

    entries: int = 0
    bytes: int = 0
    inodes: int = 0
    elapsed: float = 0.0
    units_done: int = 0
    units_total: int = 0
    current: _Path = b""
    finished: tuple[UnitResult, ...] = ()
    running: dict[_Path, Usage] = field(default_factory=dict)
    counted: dict[_Path, int] = field(default_factory=dict)
    counting: Counting | None = None
    done: bool = False
    stopped: bool = False
    failed: str = ""


@dataclass(slots=True)
class _Desk:
    """One worker's place in the account, from its start to its end; ticket -1 is none."""

    ticket: int = -1
    progress: Progress = field(default_factory=Progress)


class Ledger:
    """Written by the threads that listen to the workers, read by the one that polls."""

    def __init__(self, task: wire.Task) -> None:
        self._task = task
        self._changed = threading.Condition(threading.RLock())
        self._desks: dict[int, _Desk] = {}
        self._finished: list[UnitResult] = []
        self._counted: dict[bytes, int] = {}
        self._tickets_counted = self._inodes_counted = 0
        self._entries = self._bytes = self._inodes = self._done = 0
        self._began = monotonic()
        self._ended: float | None = None
        self._cancelled = False
        self._failed = ""

    def begin(self, workers: Sequence[int]) -> None:
        """These workers have been started."""
        with self._changed:
            self._began = monotonic()
            self._desks = {worker: _Desk() for worker in workers}
            self._note_end()

    def take(self, worker: int, message: wire.Message) -> None:
        """Enter a worker's message; one from a worker that was given up is too late."""
        with self._changed:
            desk = self._desks.get(worker)
            if desk is None:
                return
            if isinstance(message, wire.Running):
                desk.ticket, desk.progress = message.ticket, message.progress
            elif isinstance(message, wire.Finished):
                desk.ticket, desk.progress = -1, Progress()
                self._enter(message.result)
            elif isinstance(message, wire.Counted):
                desk.ticket, desk.progress = -1, Progress()
                self._enter_count(self._task.unit(message.ticket).path, message.inodes)
            else:
                self.fail(
                    f"The scan met an error of its own: {message.sentence}; please report it."
                )
            self._changed.notify_all()

    def fail(self, sentence: str) -> None:
        """Something went wrong that people must know; the first such sentence stays."""
        with self._changed:
            self._failed = self._failed or sentence

    def leave(self, worker: int) -> None:
        """A worker has ended or is given up; what it was walking stays as far as it is known."""
        with self._changed:
            desk = self._desks.pop(worker, None)
            if desk is not None and desk.ticket >= self._task.counted_first:
                path, progress = self._path_at(desk), desk.progress
                self._enter(result_cut_short(path, progress.usage, progress.entries))
            elif desk is not None and desk.ticket >= 0:
                self._enter_count(self._path_at(desk), None)
            self._note_end()
            self._changed.notify_all()

    def cancel(self) -> None:
        """From now on the scan counts as cancelled."""
        with self._changed:
            self._cancelled = True

    def is_walking(self, worker: int) -> bool:
        """Whether this worker has neither ended nor said that its walk has."""
        with self._changed:
            return worker in self._desks and not self._desks[worker].progress.ended

    def wait(self, seconds: float) -> None:
        """Wait until a message was taken or a worker has ended, at most so long."""
        with self._changed:
            if self._ended is None and not self._finished and not self._counted:
                self._changed.wait(seconds)

    def news(self) -> ScanNews:
        """The account of this moment; finished results are handed out once."""
        with self._changed:
            under_way = self._under_way(self._task.counted_first, self._task.tickets)
            usages = [desk.progress.usage for desk in under_way]
            finished, self._finished = tuple(self._finished), []
            counted, self._counted = self._counted, {}
            return ScanNews(
                entries=self._entries + sum(desk.progress.entries for desk in under_way),
                bytes=self._bytes + sum(usage.bytes for usage in usages),
                inodes=self._inodes + sum(usage.inodes for usage in usages),
                elapsed=(self._ended or monotonic()) - self._began,
                units_done=self._done,
                units_total=len(self._task.units),
                current=under_way[0].progress.current if under_way else b"",
                finished=finished,
                running={self._path_at(it): it.progress.usage for it in under_way},
                counted=counted,
                counting=self._counting(),
                done=self._ended is not None,
                stopped=self._cancelled and all(it.progress.ended for it in self._desks.values()),
                failed=self._failed,
            )

    def _counting(self) -> Counting | None:
        total = self._task.counted_first
        if self._tickets_counted >= total or self._ended is not None:
            return None
        under_way = self._under_way(0, total)
        running = {self._path_at(it): it.progress.usage.inodes for it in under_way}
        inodes = self._inodes_counted + sum(running.values())
        return Counting(self._tickets_counted, total, inodes, running)

    def _under_way(self, first: int, end: int) -> list[_Desk]:
        return [desk for desk in self._desks.values() if first <= desk.ticket < end]

    def _path_at(self, desk: _Desk) -> bytes:
        return self._task.unit(desk.ticket).path

    def _enter_count(self, path: bytes, inodes: int | None) -> None:
        self._tickets_counted += 1
        if inodes is not None:
            self._counted[path] = inodes
            self._inodes_counted += inodes

    def _enter(self, result: UnitResult) -> None:
        self._finished.append(result)
        self._done += 1
        self._entries += result.entries
        self._bytes += result.usage.bytes
        self._inodes += result.usage.inodes

    def _note_end(self) -> None:
        if not self._desks and self._ended is None:
            self._ended = monotonic()
