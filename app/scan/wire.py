"""What a scan worker and its parent say to each other: pickled messages with their length before.

Only a process and the workers that it started itself speak this, over pipes that nobody else has.
"""

from __future__ import annotations

import os
import pickle
import struct
from dataclasses import dataclass
from typing import IO, Any

from app.scan.fence import Fence
from app.scan.meter import Progress
from app.scan.tree import UnitResult
from app.scan.walk import Unit

_LENGTH = struct.Struct("=Q")
#: One unit's number in the pipe from which all workers draw their next unit. A pipe keeps writes
#: of this size whole, so that each number goes to exactly one worker.
_TICKET = struct.Struct("=I")


@dataclass(frozen=True, slots=True)
class Task:
    """The first and only message to a worker."""

    units: tuple[Unit, ...]
    fence: Fence


@dataclass(frozen=True, slots=True)
class Running:
    """A worker is in the walk of this unit."""

    unit: int
    progress: Progress


@dataclass(frozen=True, slots=True)
class Finished:
    """A worker has walked this unit, or as much of it as it was let."""

    unit: int
    result: UnitResult


@dataclass(frozen=True, slots=True)
class Failed:
    """A worker met an error of the program's own; it ends."""

    sentence: str


Message = Running | Finished | Failed


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
    """Write the numbers of all units and close the pipe: there are no more."""
    try:
        for number in range(count):
            os.write(pipe, _TICKET.pack(number))
    except BrokenPipeError:
        # Nobody is left to draw them.
        return
    finally:
        os.close(pipe)


def draw_ticket(pipe: int) -> int | None:
    """The number of the next unit that nobody has walked yet, None when there is none left."""
    ticket = os.read(pipe, _TICKET.size)
    return _TICKET.unpack(ticket)[0] if len(ticket) == _TICKET.size else None
