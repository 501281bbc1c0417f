"""The live witness: what the Docker engine says of its containers, images, cache and volumes.

It only reads. One broken inspect is an entry with an ``error``, one failed list a Problem, never
the loss of the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from app.engine.client import (
    DISK_ALONE,
    CallError,
    EngineError,
    OtherDaemon,
    RemoteEngine,
    Talk,
    open_talk,
    shortened,
)
from app.engine.parse import (
    PATH_DRIVERS,
    EngineCacheRecord,
    EngineContainer,
    EngineImage,
    EngineInfo,
    EngineReading,
    EngineVolume,
    ShapeError,
    cache_from,
    container_from,
    diff_ids,
    directories,
    image_from,
    listed,
    mapping,
    volumes_from,
    word,
    words,
)
from app.host import looks
from app.model import ImageStore, Kind, Problem

__all__ = [
    "EngineCacheRecord",
    "EngineContainer",
    "EngineError",
    "EngineImage",
    "EngineInfo",
    "EngineReading",
    "EngineVolume",
    "RemoteEngine",
    "ask",
    "engine_url",
    "peek",
]

DEFAULT_SOCKET = "/var/run/docker.sock"
#: The whole conversation may take so many times the timeout of one call ...
OVERALL = 3.0
#: ... and one inspect this part of it: a container whose lock is stuck must not eat the rest.
INSPECT = 0.2

_Entry = TypeVar("_Entry", EngineContainer, EngineImage)


# --- where ----------------------------------------------------------------------------------------


def engine_url(host: str | None, environ: Mapping[str, str]) -> str:
    """The engine to ask: ``--host``, else DOCKER_HOST, else the socket that exists.

    That is ``/var/run/docker.sock``, or a rootless engine's ``$XDG_RUNTIME_DIR/docker.sock`` where
    only that one is there. A bare path is taken as a socket.
    """
    url = host or environ.get("DOCKER_HOST", "")
    if url:
        return f"unix://{url}" if url.startswith("/") else url
    rootless = os.path.join(environ.get("XDG_RUNTIME_DIR", ""), "docker.sock")
    only_rootless = (
        os.path.isabs(rootless)
        and not os.path.exists(DEFAULT_SOCKET)
        and looks.exists(os.fsencode(rootless))
    )
    return f"unix://{rootless if only_rootless else DEFAULT_SOCKET}"


# --- asking ---------------------------------------------------------------------------------------


def peek(url: str, timeout: float = 2.0) -> EngineInfo:
    """Who answers at ``url``; takes at most ``timeout`` seconds.

    Raises EngineError, RemoteEngine.
    """
    with open_talk(url, timeout, overall=timeout) as talk:
        return talk.info


def ask(url: str, timeout: float = 10.0) -> EngineReading:
    """Everything the engine knows of its directories.

    ``timeout`` (seconds) bounds each call; the whole takes at most three times as long, and what
    was not heard by then is in ``problems`` or in an entry's ``error``. Raises EngineError when no
    usable answer comes at all, RemoteEngine when the engine's disk is not on this machine.
    """
    with open_talk(url, timeout, overall=OVERALL * timeout) as talk:
        try:
            return _reading(talk)
        except OtherDaemon as other:
            raise EngineError(
                f"In the middle of its answer {other}: see what listens there, and name the "
                f"daemon's own socket with --host; {DISK_ALONE}"
            ) from other


def _reading(talk: Talk) -> EngineReading:
    """Raises OtherDaemon: what two daemons say is one answer of neither."""
    notes = _Notes()
    return EngineReading(
        talk.info,
        # In the order of their worth: the slow one last, should time run out.
        containers=_containers(talk, notes),
        images=_images(talk, notes),
        volumes=_volumes(talk, notes),
        cache=_cache(talk, notes),
        problems=tuple(notes.problems),
        complete=frozenset(notes.complete),
    )


@dataclass
class _Notes:
    """What went wrong so far, and which lists were heard wholly."""

    problems: list[Problem] = field(default_factory=list)
    complete: set[Kind] = field(default_factory=set)

    @contextmanager
    def hearing(self, call: str) -> Iterator[None]:
        """One list: its failure is noted, and the next list is asked all the same."""
        try:
            yield
        except OtherDaemon:
            raise
        except CallError as refused:
            self.say(call, f"The engine did not answer {call} ({refused}): the disk stands in.")
        except ShapeError as odd:
            self.say(call, f"The engine answered {call} with {odd}: the disk stands in.")

    def heard(self, kind: Kind, call: str, odd: int) -> None:
        """A list was heard; ``odd`` of its entries made no sense."""
        if odd:
            entries = "1 entry" if odd == 1 else f"{odd} entries"
            self.say(
                call,
                f"The engine's answer to {call} has {entries} without sense: the disk stands in.",
            )
        else:
            self.complete.add(kind)

    def uninspected(self, call: str, entries: Mapping[str, _Entry]) -> None:
        """One sentence for all failed inspects of a list; each entry has its own as well."""
        failed = [entry for entry in entries.values() if entry.error]
        if failed:
            self.say(
                call,
                f"The engine failed to inspect {len(failed)} of {len(entries)} in {call} "
                f"(first {failed[0].id}: {failed[0].error}): the disk stands in.",
            )

    def say(self, call: str, sentence: str) -> None:
        """Note a problem. It hides no owner: the disk names them without the engine."""
        self.problems.append(Problem(f"engine: {call}", sentence))


def _containers(talk: Talk, notes: _Notes) -> dict[str, EngineContainer]:
    call = "/containers/json"
    with notes.hearing(call):
        # Not client.containers.list(): that one raises when a single inspect fails.
        found = listed(talk.call(lambda: talk.client.containers(all=True)), "containers")
        bare = [container_from(entry) for entry in found.entries.values()]
        containers = _inspected(talk, bare, talk.client.inspect_container)
        notes.heard(Kind.CONTAINER, call, found.odd)
        notes.uninspected(call, containers)
        return containers
    return {}


def _images(talk: Talk, notes: _Notes) -> dict[str, EngineImage]:
    call = "/images/json"
    with notes.hearing(call):
        found = listed(talk.call(lambda: talk.client.images(all=True)), "images")
        bare = [image_from(entry) for entry in found.entries.values()]
        if talk.info.image_store is ImageStore.CONTAINERD:
            images = _with_diff_ids(talk, bare)
        else:
            images = _inspected(talk, bare, talk.client.inspect_image)
        notes.heard(Kind.IMAGE, call, found.odd)
        notes.uninspected(call, images)
        return images
    return {}


def _volumes(talk: Talk, notes: _Notes) -> dict[str, EngineVolume]:
    call = "/volumes"
    with notes.hearing(call):
        answer = talk.call(talk.client.volumes)
        volumes, odd = volumes_from(answer)
        if warnings := words(mapping(answer).get("Warnings")):
            # A volume plugin that is down: its volumes are missing from the list.
            notes.say(call, f"The engine lists its volumes in part ({shortened(warnings[0])}).")
        else:
            notes.heard(Kind.VOLUME, call, odd)
        return volumes
    return {}


def _cache(talk: Talk, notes: _Notes) -> dict[str, EngineCacheRecord]:
    call = "/system/df"
    with notes.hearing(call):
        records, odd = cache_from(talk.call(talk.disk_usage))
        notes.heard(Kind.BUILD_CACHE, call, odd)
        return records
    return {}


def _with_diff_ids(talk: Talk, bare: list[EngineImage]) -> dict[str, EngineImage]:
    """Each image with its layers, or with an error.

    One without a platform for this machine has no inspect answer, though it is there.
    """
    found: dict[str, EngineImage] = {}
    for entry in bare:
        try:
            inspect = partial(talk.client.inspect_image, entry.id)
            answer = talk.call(inspect, INSPECT * talk.timeout)
            found[entry.id] = replace(entry, diff_ids=diff_ids(answer))
        except OtherDaemon:
            raise
        except CallError as refused:
            found[entry.id] = replace(entry, error="" if refused.gone else str(refused))
    return found


def _inspected(
    talk: Talk, bare: list[_Entry], inspect: Callable[[str], object]
) -> dict[str, _Entry]:
    """Each entry with what inspect adds, or with an error. What is gone meanwhile is left out."""
    found: dict[str, _Entry] = {}
    for entry in bare:
        if talk.info.driver not in PATH_DRIVERS and not _is_stuck(entry):
            found[entry.id] = entry  # no answer would name a directory
            continue
        try:
            answer = talk.call(partial(inspect, entry.id), INSPECT * talk.timeout)
            found[entry.id] = _with_inspect(entry, answer, talk.info)
        except OtherDaemon:
            raise
        except CallError as refused:
            if not refused.gone:
                found[entry.id] = replace(entry, error=str(refused))
    return found


def _is_stuck(entry: EngineContainer | EngineImage) -> bool:
    """Whether a removal of it was begun; the list can go on saying so after it has failed."""
    return isinstance(entry, EngineContainer) and entry.state in ("removing", "dead")


def _with_inspect(entry: _Entry, answer: object, info: EngineInfo) -> _Entry:
    if isinstance(entry, EngineContainer):
        state = word(mapping(mapping(answer).get("State")).get("Status")) or entry.state
        entry = replace(entry, state=state, created=word(mapping(answer).get("Created")))
    if info.driver not in PATH_DRIVERS:
        return entry
    try:
        return replace(entry, directories=directories(answer, info))
    except ShapeError as odd:
        return replace(entry, error=f"it gave {odd}")
