"""What is asked and what comes back; light to import, for the first frame waits for it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.model import Problem, Store


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for: explicit data roots, an engine's URL, or the disk alone."""

    data_roots: tuple[bytes, ...] = ()
    host: str | None = None
    offline: bool = False
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @classmethod
    def of(cls, options: argparse.Namespace) -> Request:
        """What the command line asks for; ``ROOT`` is one more ``--data-root``."""
        roots = list(options.data_root)
        if getattr(options, "root", None):
            roots.append(options.root)
        return cls(tuple(map(os.fsencode, roots)), options.host, options.offline)

    @property
    def wants_engine(self) -> bool:
        """Whether the user named an engine and no data root: then its data root is the one."""
        return not self.data_roots and bool(self.host or self.environ.get("DOCKER_HOST"))


@dataclass(frozen=True, slots=True)
class Survey:
    """Every data root with its answer. ``final`` is false while the engine is still being asked."""

    stores: tuple[Store, ...]
    problems: tuple[Problem, ...]
    final: bool
