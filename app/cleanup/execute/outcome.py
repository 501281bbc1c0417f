"""What came of a removal. Frozen dataclasses, and the one thing that a running removal shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event

from app.cleanup.plan.model import Frees, Plan


@dataclass(frozen=True, slots=True)
class Space:
    """Free bytes and inodes of a filesystem, and the totals (statvfs(3)).

    Free is what an ordinary process may take. ``inodes_total`` is 0 where there is no limit.
    """

    bytes_free: int
    bytes_total: int
    inodes_free: int
    inodes_total: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one plan ended.

    ``done`` is true when every step was carried out. Else ``why`` is one sentence with the next
    step: what changed since the confirmation (then nothing was touched), what the engine said, or
    that it was stopped. ``steps_done`` steps were carried out wholly. ``removed`` is what the
    removal itself counted (its own deletions only; an engine's are not counted). ``before`` and
    ``after`` are the filesystem's own word, None where it cannot be had. ``notes`` are sentences
    about what went on beside it (the journal could not be written, files that vanished).
    """

    plan: Plan
    done: bool
    why: str = ""
    steps_done: int = 0
    removed: Frees = field(default_factory=Frees)
    before: Space | None = None
    after: Space | None = None
    notes: tuple[str, ...] = ()


class Progress:
    """Shared by the removal and the screen: the one counts, the other looks, and may say stop.

    ``entries``, ``bytes`` and ``inodes`` are those removed so far, ``current`` the path or the call
    at work. Only the removal writes them; whoever reads sees numbers that only grow.
    """

    def __init__(self) -> None:
        self.entries = 0
        self.bytes = 0
        self.inodes = 0
        self.current = ""
        self._stop = Event()

    def stop(self) -> None:
        """Stop before the next entry or call; what is under way is finished."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether the user said stop."""
        return self._stop.is_set()
