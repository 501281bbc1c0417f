"""Containers as the disk has them: ``DATA/containers/<id>/config.v2.json``.

The same for both image stores. Source: moby daemon/container/container.go (FromDisk, toDisk),
daemon/container/state.go (StateString), daemon/daemon.go (loadContainers).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from app.host.safe_read import Damage, Fields, Folder, Refused, bounded, parse_object, read_file
from app.model import Problem

CONFIG = "config.v2.json"

_MOST_CONFIG = 16 * 1024 * 1024
_MOST_PROC = 1024 * 1024
_NEVER = "0001-01-01T00:00:00Z"
#: States in which the config claims a live process.
ALIVE = ("running", "paused", "restarting")


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """One container as last saved by the engine.

    ``name`` has no leading slash. ``state`` is running, paused, restarting, removing, dead, created
    or exited; it can be stale after a crash, see :func:`still_running`. ``image`` is the user's
    text, ``image_id`` a digest. ``driver`` is the store that holds its layers. ``volumes`` are
    pairs of volume name and destination. ``log_path`` is the engine's own path, empty where
    there is none. ``path`` is the container's directory.
    """

    id: str
    name: str
    state: str
    pid: int
    image: str
    image_id: str
    driver: str
    created: str
    compose_project: str
    compose_service: str
    volumes: tuple[tuple[str, str], ...]
    log_path: bytes
    path: bytes


def read_containers(root: bytes) -> tuple[dict[str, ContainerRecord], tuple[Problem, ...]]:
    """Every container below this data root by id, and what could not be read. Never raises."""
    path = os.path.join(root, b"containers")
    records: dict[str, ContainerRecord] = {}
    problems: list[Problem] = []
    try:
        with Folder.open(path) as folder:
            for name in folder.directories():
                record, problem = _read_container(folder, name)
                if record:
                    records[name] = record
                if problem:
                    problems.append(problem)
    except FileNotFoundError:
        # The first container makes it.
        pass
    except Damage as damage:
        problems.append(_problem(path, f"{damage}; containers and their volumes are missing here"))
    return records, bounded(problems)


def still_running(record: ContainerRecord, proc: bytes = b"/proc") -> bool | None:
    """Whether the process that the config names runs on this machine and is this container's.

    The config still says running after the engine was killed. None where the config claims no
    process, or where /proc does not let itself be read. Only for a data root that this machine's
    engine uses: process ids of another machine mean nothing.
    """
    if record.state not in ALIVE or record.pid <= 0:
        return None
    process = os.path.join(proc, str(record.pid).encode())
    for name in (b"cgroup", b"mountinfo"):
        # The control group carries the id, or else the mounts of hosts and resolv.conf do.
        try:
            text = read_file(os.path.join(process, name), _MOST_PROC)
        except FileNotFoundError:
            return False if os.path.isdir(proc) else None
        except Damage:
            return None if os.path.isdir(process) else False
        if record.id.encode() in text:
            return True
    return False


def _read_container(folder: Folder, name: str) -> tuple[ContainerRecord | None, Problem | None]:
    """A record, a problem, both where some field is damaged, or neither where it just vanished."""
    path = os.path.join(folder.path, os.fsencode(name))
    try:
        with folder.folder(name) as place:
            document = parse_object(place.read(CONFIG, _MOST_CONFIG))
            return _container(document, name, path)
    except FileNotFoundError:
        words = (
            f"has no {CONFIG}: the engine does not know such a container; it is being made or "
            "removed, or a crash left it"
        )
        problem = _problem(path, words, hides_owners=False)
    except Damage as damage:
        where = os.path.join(path, CONFIG.encode())
        remedy = "" if isinstance(damage, Refused) else "; the engine does not load it: restore it"
        problem = _problem(where, f"{damage}{remedy}")
    return None, problem if folder.has(name) else None


def _container(
    document: Fields, name: str, path: bytes
) -> tuple[ContainerRecord | None, Problem | None]:
    where = os.path.join(path, CONFIG.encode())
    if document.text("ID") != name:
        words = "is not this container's: its ID is not the directory's name; restore it"
        return None, _problem(where, words)
    state, config = document.fields("State"), document.fields("Config")
    labels = config.fields("Labels")
    record = ContainerRecord(
        id=name,
        name=document.text("Name").removeprefix("/"),
        state=_state(state),
        pid=state.number("Pid"),
        image=config.text("Image"),
        image_id=document.text("Image"),
        driver=document.text("Driver"),
        created=document.text("Created"),
        compose_project=labels.text("com.docker.compose.project"),
        compose_service=labels.text("com.docker.compose.service"),
        volumes=_volumes(document.fields("MountPoints")),
        log_path=_path(document.text("LogPath")),
        path=path,
    )
    if not document.wrong:
        return record, None
    words = f"is damaged: {document.wrong[0]} has the wrong type; some of it is not shown"
    return record, _problem(where, words)


def _state(state: Fields) -> str:
    """The engine's own order of words (state.go StateString)."""
    if state.flag("Running"):
        if state.flag("Paused"):
            return "paused"
        return "restarting" if state.flag("Restarting") else "running"
    if state.flag("RemovalInProgress"):
        return "removing"
    if state.flag("Dead"):
        return "dead"
    return "exited" if state.text("StartedAt") not in ("", _NEVER) else "created"


def _volumes(mounts: Fields) -> tuple[tuple[str, str], ...]:
    """Old engines wrote no type; only a volume has a name."""
    found = []
    for destination in mounts.values:
        mount = mounts.fields(destination)
        name = mount.text("Name")
        if name and mount.text("Type") in ("volume", ""):
            found.append((name, mount.text("Destination") or destination))
    return tuple(found)


def _path(text: str) -> bytes:
    return b"" if "\0" in text else text.encode()


def _problem(path: bytes, words: str, *, hides_owners: bool = True) -> Problem:
    where = os.fsdecode(path)
    return Problem(where, f"{where} {words}.", hides_owners)
