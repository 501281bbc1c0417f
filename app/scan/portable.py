"""The portable core: a scan job in worker processes.

The walk runs in worker processes at the lowest priority, at most one per core and two in all. The
units are drawn from one pipe, so that no worker idles while another has a queue. Nothing here
blocks the caller but :meth:`PortableJob.wait` and :meth:`PortableJob.close`.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from time import monotonic

from app.host.looks import runs
from app.scan import wire
from app.scan.process import start_worker
from app.scan.progress import Ledger, ScanNews
from app.scan.walk import Fence, Unit

_MOST_WORKERS = 2
#: Seconds that a cancelled worker may take to answer: one that hangs in the kernel on a dead disk
#: is given up then. One that has answered gets longer to hand over what it found.
_TO_ANSWER = 0.05
_TO_HAND_OVER = 2.0
_TO_END = 0.5


class PortableJob:
    """See :class:`app.scan.job.ScanJob`."""

    def __init__(self, units: Sequence[Unit], fence: Fence, inodes_first: bool = False) -> None:
        self._task = wire.Task(tuple(units), fence, inodes_first)
        self._ledger = Ledger(self._task)
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._threads: list[threading.Thread] = []
        self._leash: int | None = None
        self._cancelled_at: float | None = None

    def start(self) -> None:
        """Start the workers. That none can be started is told by the news (``failed``)."""
        leash, self._leash = os.pipe()
        tickets, ticket_source = os.pipe()
        try:
            for _ in range(min(_MOST_WORKERS, os.cpu_count() or 1, len(self._task.units))):
                worker = start_worker(leash, tickets)
                self._workers[worker.pid] = worker
        except OSError as error:
            if not self._workers:
                self._ledger.fail(f"The scan cannot start: {error}; free some memory, try again.")
        finally:
            os.close(leash)
            os.close(tickets)
        self._ledger.begin(tuple(self._workers))
        self._in_thread(wire.put_tickets, ticket_source, self._task.tickets)
        for worker in self._workers.values():
            self._in_thread(self._listen, worker)

    def poll(self) -> ScanNews:
        """What is new. Never blocks, and costs next to nothing."""
        if self._cancelled_at is not None:
            self._give_up_late(monotonic() - self._cancelled_at)
        return self._ledger.news()

    def wait(self, seconds: float) -> ScanNews:
        """As ``poll``, but wait for something new first, at most so many seconds."""
        self._ledger.wait(seconds)
        return self.poll()

    def cancel(self) -> None:
        """Stop the walk, keep what was found; ``poll`` hands it out. Does not block."""
        if self._cancelled_at is None:
            self._cancelled_at = monotonic()
            self._ledger.cancel()
            self._let_go()

    def close(self) -> None:
        """End the workers, whatever they do; what was not polled is lost. Half a second at most."""
        self._let_go()
        for worker in self._workers.values():
            worker.kill()
        limit = monotonic() + _TO_END
        for thread in self._threads:
            thread.join(max(0.0, limit - monotonic()))
        for pid in self._workers:
            self._ledger.leave(pid)

    def is_working(self) -> bool:
        """Whether a worker is at work this moment, or waits for the processor only."""
        return any(runs(pid) for pid in self._workers)

    def give_up(self) -> None:
        """End the workers, whatever they do, without waiting for any; what they found is kept."""
        self._let_go()
        for pid, worker in self._workers.items():
            worker.kill()
            self._ledger.leave(pid)

    def _give_up_late(self, seconds: float) -> None:
        for pid, worker in self._workers.items():
            limit = _TO_ANSWER if self._ledger.is_walking(pid) else _TO_HAND_OVER
            if seconds > limit:
                worker.kill()
                self._ledger.leave(pid)

    def _let_go(self) -> None:
        leash, self._leash = self._leash, None
        if leash is not None:
            os.close(leash)

    def _in_thread(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="scan", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self, worker: subprocess.Popen[bytes]) -> None:
        """Give a worker its task, take its messages, and see it out."""
        assert worker.stdin is not None
        assert worker.stdout is not None
        with worker.stdout as messages:
            try:
                with worker.stdin as stream:
                    wire.send(stream, self._task)
            except BrokenPipeError:
                # It has ended already; its exit status says so below.
                pass
            while (message := wire.receive(messages)) is not None:
                self._ledger.take(worker.pid, message)
        status = worker.wait()
        if status != 0 and self._leash is not None:
            self._ledger.fail(_ended_badly(status))
        self._ledger.leave(worker.pid)


def _ended_badly(status: int) -> str:
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return (
        f"A scan worker {how}; what it was walking is incomplete: scan again, and look for memory "
        "shortage (dmesg) if it happens again."
    )
