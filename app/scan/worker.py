"""The worker process of a scan: walks units until there are none, or until its leash is let go.

The leash is a pipe that only the parent holds open for writing. When the parent closes it, or dies
in whatever way, the worker notices within a tick, ends its walk and itself.
"""

from __future__ import annotations

import os
import select
import sys
from time import monotonic
from typing import IO

from app.host import looks
from app.scan import wire
from app.scan.counters import Progress
from app.scan.counting import count_unit
from app.scan.walk import walk_unit

#: Seconds between two reports to the parent.
_INTERVAL = 0.1
_NICEST = 19


def main(leash: int, tickets: int) -> None:
    """Read the task from standard input, write messages to standard output. Ends the process."""
    os.nice(_NICEST)
    looks.directly()
    out = sys.stdout.buffer
    try:
        task = wire.receive(sys.stdin.buffer)
        if task is not None:
            _walk_all(task, out, leash, tickets)
    except BrokenPipeError:
        _leave(1)
    except Exception as error:  # the parent says it to people; a traceback would meet the screen
        wire.send(out, wire.Failed(f"{type(error).__name__}: {error}"))
        _leave(1)
    _leave(0)


def _walk_all(task: wire.Task, out: IO[bytes], leash: int, tickets: int) -> None:
    held = select.poll()
    held.register(leash, select.POLLIN)
    while not held.poll(0):
        ticket = wire.draw_ticket(tickets)
        if ticket is None:
            return
        unit, report = task.unit(ticket), _Reporter(ticket, out, held).report
        # What comes next may hang at its first step: the parent is to know where.
        wire.send(out, wire.Running(ticket, Progress(current=unit.path)))
        if ticket < task.counted_first:
            wire.send(out, wire.Counted(ticket, count_unit(unit, task.fence, report)))
        else:
            wire.send(out, wire.Finished(ticket, walk_unit(unit, task.fence, report)))


class _Reporter:
    """Reports the walk of one unit to the parent, seldom, and looks at the leash, often."""

    def __init__(self, ticket: int, out: IO[bytes], held: select.poll) -> None:
        self._ticket = ticket
        self._out = out
        self._held = held
        self._due = 0.0

    def report(self, progress: Progress) -> bool:
        if progress.ended or monotonic() >= self._due:
            self._due = monotonic() + _INTERVAL
            wire.send(self._out, wire.Running(self._ticket, progress))
        return not self._held.poll(0)


def _leave(status: int) -> None:
    # Nothing is buffered, and tearing a large heap down object by object only takes time.
    os._exit(status)
