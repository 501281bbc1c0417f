"""What a scan worker and its parent say to each other: pickled messages with their length before.

Only a process and the workers that it started itself speak this, over pipes that nobody else has.
"""

from __future__ import annotations

import os
import pickle
import struct
from dataclasses import dataclass
from typing import IO, Any

from app.scan.counters import Progress
from app.scan.fence import Fence
from app.scan.tree import UnitResult
from app.scan.walk import Unit

_LENGTH = struct.Struct("=Q")
#: One number in the pipe from which all workers draw what to do next: see :class:`Task`. A pipe
#: keeps writes of this size whole, so that each number goes to exactly one worker.
_TICKET = struct.Struct("=I")


@dataclass(frozen=True, slots=True)
class Task:
    """The first and only message to a worker."""

    units: tuple[Unit, ...]
    fence: Fence
    inodes_first: bool = False

    @property
    def counted_first(self) -> int:
        """How many tickets are for counting a unit only; those for measuring follow."""
        return len(self.units) if self.inodes_first else 0

    @property
    def tickets(self) -> int:
        """How many tickets there are."""
        return self.counted_first + len(self.units)

    def unit(self, ticket: int) -> Unit:
        """What a ticket is about."""
        return self.units[ticket % len(self.units)]


@dataclass(frozen=True, slots=True)
class Running:
    """A worker is in the walk that this ticket asked for."""

    ticket: int
    progress: Progress


@dataclass(frozen=True, slots=True)
class Finished:
    """A worker has walked a unit, or as much of it as it was let."""

    ticket: int
    result: UnitResult


@dataclass(frozen=True, slots=True)
class Counted:
    """A worker has counted a unit's inodes; None when it was not let count all of them."""

    ticket: int
    inodes: int | None


@dataclass(frozen=True, slots=True)
class Failed:
    """A worker met an error of the program's own; it ends."""

    sentence: str


Message = Running | Finished | Counted | Failed


def send(stream: IO[bytes], message: Message | Task) -> None:
    """Write one message. Raises BrokenPipeError when the other side is gone."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """The next message, None when the other side is gone, even if in the middle of one."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    data = stream.read(length)
    return pickle.loads(data) if len(data) == length else None


def put_tickets(pipe: int, count: int) -> None:
    """Write so many tickets, from 0, and close the pipe: there are no more."""
    try:
        for number in range(count):
            os.write(pipe, _TICKET.pack(number))
    except BrokenPipeError:
        # Nobody is left to draw them.
        return
    finally:
        os.close(pipe)


def draw_ticket(pipe: int) -> int | None:
    """The next ticket that nobody has drawn yet, None when there is none left."""
    ticket = os.read(pipe, _TICKET.size)
    return _TICKET.unpack(ticket)[0] if len(ticket) == _TICKET.size else None
