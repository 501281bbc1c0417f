"""How the user wants the explorer."""

from __future__ import annotations

from dataclasses import dataclass

from app.discovery.request import Request
from app.usage.order import Column


@dataclass(frozen=True, slots=True)
class Wish:
    """What to look at, and how to draw it.

    ``column`` is None when no ``--sort`` was given: the scarcer of bytes and inodes is sorted by.
    ``cache`` keeps the figures of what cannot change for the next run, and uses those of the last.
    ``journal`` is the file that removals are also written down in.
    """

    request: Request
    column: Column | None = None
    apparent: bool = False
    ascii: bool = False
    cache: bool = False
    read_only: bool = False
    journal: str | None = None
