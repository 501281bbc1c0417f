"""The whole answer for this host: find the data roots, hear both witnesses, name every layer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from app.discovery.classify import RootError
from app.discovery.request import Request, Survey
from app.discovery.roots import discover
from app.engine.inventory import (
    EngineError,
    EngineInfo,
    EngineReading,
    RemoteEngine,
    ask,
    engine_url,
    peek,
)
from app.host import looks
from app.host.mounts import Mount, read_all, read_own
from app.model import DataRoot, Problem, Store
from app.stores.catalog import assemble, points_of
from app.stores.metadata.docker.read import read_disk
from app.stores.metadata.docker.resolve import disagreements

__all__ = ["Request", "Survey", "survey", "survey_in_steps"]

ASKING = "disk so far, asking the engine"
BOTH = "disk and engine"


def survey(request: Request) -> Survey:
    """Both witnesses, waiting for the engine as long as its timeouts allow.

    Raises :class:`app.discovery.classify.RootError` where there is nothing to look at, and
    :class:`app.engine.inventory.RemoteEngine` where the engine that the user named is on another
    machine.
    """
    if request.offline:
        return _offline(request)
    return _whole(request, _line_to(request))


def survey_in_steps(request: Request) -> Iterator[Survey]:
    """First what the disk says, at once; then the same with the engine's answer.

    Raises as :func:`survey` does, which reads the disk once.
    """
    if request.offline:
        yield _offline(request)
        return
    line = _line_to(request)
    first = None if line.refused else _first_look(request, line)
    if first:
        yield first
    yield _whole(request, line)


def _offline(request: Request) -> Survey:
    return _disk_alone(request, None, "disk alone: --offline")


def _line_to(request: Request) -> _Line:
    line = _Line(engine_url(request.host, request.environ), request.wants_engine)
    if request.wants_engine:
        line.peek()
    return line


def _whole(request: Request, line: _Line) -> Survey:
    """Both witnesses, or the disk alone with the reason why nobody answers."""
    engine = None if line.refused else line.ask()
    if engine:
        return _with_engine(request, engine, line)
    last = _disk_alone(request, line.info, f"disk alone: {line.refused}")
    problem = Problem(line.url, line.refused)
    return replace(last, problems=(*last.problems, problem))


@dataclass
class _Line:
    """The line to one engine: who answered, or the sentence why nobody does.

    An engine that is ``wanted`` and turns out to be on another machine is an error. Otherwise
    the disk is shown without it.
    """

    url: str
    wanted: bool
    info: EngineInfo | None = None
    refused: str = ""

    def peek(self) -> None:
        """Learn who answers."""
        with self._refusals():
            self.info = peek(self.url)

    def ask(self) -> EngineReading | None:
        """The whole answer; an engine that hangs is found out by the short question first."""
        with self._refusals():
            self.info = peek(self.url)
            return ask(self.url)
        return None

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except EngineError as error:
            if self.wanted and isinstance(error, RemoteEngine):
                raise
            self.refused = str(error)


def _first_look(request: Request, line: _Line) -> Survey | None:
    """The disk without the engine's answer; None where only the engine knows where to look."""
    try:
        return replace(_disk_alone(request, line.info, ASKING), final=False)
    except RootError:
        line.peek()
        if line.refused:
            raise
        return None


def _disk_alone(request: Request, info: EngineInfo | None, witnesses: str) -> Survey:
    """What the disk says; an engine that gave no more than ``info`` serves no root."""
    found = discover(request.data_roots, info)
    mounts, mount_problems = read_all()
    roots = [replace(root, engine_url="") for root in found.roots]
    stores = tuple(_looked_at(root, None, mounts, witnesses) for root in roots)
    return Survey(stores, (*found.problems, *mount_problems, *looks.problems()), final=True)


def _with_engine(request: Request, engine: EngineReading, line: _Line) -> Survey:
    found = discover(request.data_roots, engine.info)
    mounts, mount_problems = read_all()
    stores = tuple(_served(root, engine, mounts, line) for root in found.roots)
    return Survey(stores, (*found.problems, *mount_problems, *looks.problems()), final=True)


def _served(root: DataRoot, engine: EngineReading, mounts: tuple[Mount, ...], line: _Line) -> Store:
    if not root.engine_url:
        words = "disk alone: the engine that answers serves another data root"
        return _looked_at(root, None, mounts, words)
    store = _looked_at(root, engine, mounts, BOTH)
    if not disagreements(store.layers):
        return store
    # Containers come and go between the two readings: hear both once more before saying so.
    again = line.ask()
    if again is None:
        return replace(store, witnesses=f"{BOTH}, which differ; {line.refused}")
    mounts, _ = read_all()
    return _looked_at(root, again, mounts, BOTH)


def _looked_at(
    root: DataRoot, engine: EngineReading | None, mounts: tuple[Mount, ...], witnesses: str
) -> Store:
    """One data root at this moment; ``mounts`` are those of every namespace."""
    disk = read_disk(root)
    store = assemble(disk, engine, mounts, time.time(), witnesses)
    return replace(store, points=points_of(disk, read_own()))
