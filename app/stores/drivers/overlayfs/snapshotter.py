"""containerd's snapshotters: directories ``snapshots/<N>`` and the database that explains them.

``ROOT/io.containerd.snapshotter.v1.<name>/metadata.db`` (containerd core/snapshots/storage/
bolt.go):

- ``v1/snapshots/<namespace>/<sequence>/<key>``, one bucket each: ``id`` (uvarint) is N, ``kind``
  one byte, ``parent`` another bucket's name; ``size`` and ``inodes`` (signed varints) are there
  once it is committed.
- ``v1/parents/<uvarint parent id, 0, uvarint child id>`` = the child's name.

A directory is made before its entry is committed and removed after it (plugins/snapshots/overlay/
overlay.go createSnapshot, Remove). So directories are read first and looked for again at last.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from app.host import bolt, looks
from app.host.bolt import BoltError, Bucket
from app.host.safe_read import Damage, Folder, bounded
from app.model import Problem, Snapshot, Usage
from app.stores.drivers.overlay2.read import LayerDir, LayerGraph

PREFIX = "io.containerd.snapshotter.v1."
METADATA = "metadata.db"
SNAPSHOTS = "snapshots"
#: Whose directories go by ``snapshots/<N>`` alone; those of the others have the name before it.
USUAL = "overlayfs"
#: A database of a snapshotter, or of containerd itself, has a few megabytes; more are not read.
LIMIT = 256 << 20

_KINDS = {1: "view", 2: "active", 3: "committed"}
_NUMBER = re.compile(r"0|[1-9][0-9]{0,19}")
_SNAPSHOT_NAME = re.compile(r"([^/]+)/([0-9]+)/(.+)", re.DOTALL)
_MOST_PARENTS = 1024


@dataclass(frozen=True, slots=True)
class SnapshotterReading:
    """One snapshotter: its directories by id (``snapshots/47``), and what the database says.

    ``names`` maps an entry's full name (``moby/39/<key>``) to the id of its directory, whether that
    is there or not. ``readable`` is false where the database is not: then an id without a snapshot
    may have one. ``home`` is the directory that holds the snapshots.
    """

    name: str
    home: bytes
    graph: LayerGraph = field(default_factory=LayerGraph)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    labels: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    readable: bool = True


#: By name: when it last changed (unix seconds), and whose directory it is.
_Found = dict[str, tuple[float, "int | None"]]


@dataclass(frozen=True, slots=True)
class _Entry:
    """One bucket of v1/snapshots."""

    number: int
    kind: str
    parent: str
    recorded: Usage | None
    labels: tuple[tuple[str, str], ...]


def snapshotters(root: bytes) -> tuple[str, ...]:
    """The snapshotters of a containerd root that keep directories by number; none without any."""
    try:
        with Folder.open(root) as folder:
            names = [name for name in folder.directories() if name.startswith(PREFIX)]
    except (FileNotFoundError, Damage):
        return ()
    return tuple(
        name.removeprefix(PREFIX)
        for name in names
        if looks.isdir(os.path.join(root, os.fsencode(name), SNAPSHOTS.encode()))
    )


def home_of(root: bytes, snapshotter: str) -> bytes:
    """The directory that holds the numbered ones."""
    return os.path.join(root, os.fsencode(PREFIX + snapshotter), SNAPSHOTS.encode())


def directory_id(snapshotter: str, name: str) -> str:
    """``snapshots/47``, with the snapshotter's name before it where that is not the usual one."""
    inside = f"{SNAPSHOTS}/{name}"
    return inside if snapshotter == USUAL else f"{snapshotter}/{inside}"


def read_snapshotter(root: bytes, name: str) -> SnapshotterReading:
    """Read one snapshotter below the containerd root, without a lock. Never raises."""
    home = home_of(root, name)
    problems: list[Problem] = []
    found = _directories(home, problems)
    database = os.path.join(os.path.dirname(home), METADATA.encode())
    entries, readable = _entries(database, found, problems)
    ids = {full: directory_id(name, str(entry.number)) for full, entry in entries.items()}
    parents = {full: _ancestors(full, entries) for full in entries}
    directories = {}
    named = {str(entry.number): full for full, entry in entries.items()}
    for number, (mtime, uid) in found.items():
        path = os.path.join(home, os.fsencode(number))
        if not looks.lexists(path):
            continue  # it went meanwhile, after its entry
        full = named.get(number, "")
        above, whole = parents.get(full, ((), True))
        id_ = directory_id(name, number)
        directories[id_] = LayerDir(
            id_,
            path,
            parents=tuple(ids[each] for each in above),
            mtime=mtime,
            notes=() if whole else ("metadata.db does not have all of its parents",),
            sure=whole,
            uid=uid,
        )
    users = _users(directories)
    problems += _lost(home, named, entries, found)
    snapshots = {
        ids[full]: _snapshot(full, name, entry)
        for full, entry in entries.items()
        if _SNAPSHOT_NAME.fullmatch(full)
    }
    return SnapshotterReading(
        name,
        home,
        LayerGraph(directories, users=users),
        snapshots,
        ids,
        {ids[full]: entry.labels for full, entry in entries.items() if entry.labels},
        bounded(problems),
        readable,
    )


def _snapshot(full: str, snapshotter: str, entry: _Entry) -> Snapshot:
    namespace, _, key = full.split("/", 2)
    return Snapshot(key, namespace, snapshotter, entry.kind, entry.recorded)


def _users(directories: dict[str, LayerDir]) -> dict[str, tuple[str, ...]]:
    """Who stands on each directory."""
    users: dict[str, list[str]] = {}
    for layer in directories.values():
        for parent in layer.parents:
            users.setdefault(parent, []).append(layer.name)
    return {name: tuple(above) for name, above in users.items()}


# --- directories ----------------------------------------------------------------------------------


def _directories(home: bytes, problems: list[Problem]) -> _Found:
    """Every directory in ``snapshots``: the newest time of it and its ``fs``, and whose it is."""
    found: _Found = {}
    try:
        with Folder.open(home) as folder:
            for name in folder.directories():
                path = os.path.join(home, os.fsencode(name))
                (own, uid), (inner, _) = _about(path), _about(os.path.join(path, b"fs"))
                found[name] = max(own, inner), uid
    except FileNotFoundError:
        words = "is not there any more; start again"
        problems.append(_problem(home, words))
    except Damage as damage:
        problems.append(_problem(home, f"{damage}; without it nobody can tell its layers"))
    return found


def _about(path: bytes) -> tuple[float, int | None]:
    try:
        about = looks.lstat(path)
    except OSError:
        return 0.0, None
    return about.st_mtime, about.st_uid


# --- metadata.db ----------------------------------------------------------------------------------


def _entries(
    database: bytes, found: _Found, problems: list[Problem]
) -> tuple[dict[str, _Entry], bool]:
    """Every entry that makes sense by its full name, and whether that is all of them."""
    try:
        root = bolt.read(database, LIMIT)
    except FileNotFoundError:
        if found:
            words = "is missing, and with it the names of all snapshots; restore or copy it as well"
            problems.append(_problem(database, words))
        return {}, not found
    except BoltError as error:
        problems.append(Problem(os.fsdecode(database), str(error), hides_owners=True))
        return {}, False
    entries: dict[str, _Entry] = {}
    wrong: list[str] = []
    bucket = root.bucket(b"v1", b"snapshots")
    for key, value in bucket.items() if bucket else ():
        full = os.fsdecode(key)
        entry = _entry(value) if isinstance(value, Bucket) else None
        if entry is None or not _SNAPSHOT_NAME.fullmatch(full):
            wrong.append(full)
        else:
            entries[full] = entry
    numbers = [entry.number for entry in entries.values()]
    if len(set(numbers)) < len(numbers):
        wrong.append("one number twice")
        entries = {}
    if wrong:
        words = f"holds {len(wrong)} entries without sense (first: {wrong[0]})"
        problems.append(_problem(database, words))
    return entries, not wrong


def _entry(bucket: Bucket) -> _Entry | None:
    number, kind = _plain(bucket, b"id"), _plain(bucket, b"kind")
    decoded = uvarint(number)
    if decoded is None or len(kind) != 1 or kind[0] not in _KINDS:
        return None
    size, inodes = varint(_plain(bucket, b"size")), varint(_plain(bucket, b"inodes"))
    recorded = None
    if _KINDS[kind[0]] == "committed" and size is not None and inodes is not None:
        if size < 0 or inodes < 0:
            return None
        recorded = Usage(bytes=size, inodes=inodes, partial=True)
    return _Entry(
        decoded,
        _KINDS[kind[0]],
        os.fsdecode(_plain(bucket, b"parent")),
        recorded,
        labels_of(bucket),
    )


def _plain(bucket: Bucket, key: bytes) -> bytes:
    value = bucket.get(key)
    return value if isinstance(value, bytes) else b""


def labels_of(bucket: Bucket) -> tuple[tuple[str, str], ...]:
    """The labels of any thing of containerd's (core/metadata/boltutil/helpers.go)."""
    found = bucket.bucket(b"labels")
    return tuple(
        (os.fsdecode(key), os.fsdecode(value))
        for key, value in (found.items() if found else ())
        if isinstance(value, bytes)
    )


def uvarint(raw: bytes) -> int | None:
    """Go's encoding/binary Uvarint of a whole value; None where it is none."""
    value = 0
    for index, byte in enumerate(raw[:10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value if index + 1 == len(raw) and value < 1 << 64 else None
    return None


def varint(raw: bytes) -> int | None:
    """The signed one: zig-zag."""
    value = uvarint(raw)
    return None if value is None else (value >> 1) ^ -(value & 1)


def _ancestors(full: str, entries: dict[str, _Entry]) -> tuple[tuple[str, ...], bool]:
    """The parents, nearest first; false where one is missing or they go round in a circle."""
    passed: dict[str, None] = {}
    parent = entries[full].parent
    while parent:
        if parent not in entries or parent in passed or parent == full:
            return tuple(passed), False
        passed[parent] = None
        if len(passed) > _MOST_PARENTS:
            return tuple(passed), False
        parent = entries[parent].parent
    return tuple(passed), True


def _lost(
    home: bytes, named: dict[str, str], entries: dict[str, _Entry], found: _Found
) -> Iterator[Problem]:
    """Snapshots whose directories somebody removed by hand."""
    for number, full in named.items():
        path = os.path.join(home, number.encode())
        if number in found or looks.lexists(path) or not looks.isdir(home):
            continue
        above = sum(entry.parent == full for entry in entries.values())
        what = f"{above} snapshots stand on it and are broken" if above else "nothing stands on it"
        yield Problem(
            os.fsdecode(path),
            f"{os.fsdecode(path)} is gone though metadata.db has it as {full}; {what}: remove the "
            "containers and images that use it, then pull or make them again.",
        )


def _problem(path: bytes, words: str) -> Problem:
    where = os.fsdecode(path)
    return Problem(where, f"{where} {words}.", hides_owners=True)
