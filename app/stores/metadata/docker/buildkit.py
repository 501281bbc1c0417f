"""BuildKit's records inside a graphdriver engine, and the layer directories that hold their data.

A record's id is not its directory. ``buildkit/snapshots.db`` leads from one to the other (moby
daemon/internal/builder-next/adapters/snapshot/snapshot.go Prepare, Commit; layer.go EnsureLayer):

=====================================  =========================================================
``[R] parent, size``                   a mutable snapshot, in directory R
``[R] committed=D``                    a committed one, in directory D
``[R] chainid=sha256:.. committed=D``  the same, exported: layer ``chainid`` has D as well
``[R] chainid=sha256:..``              an image layer; layerdb knows its directory
``[D] parent, iscommitted``            D is a directory, no record (old engines: no mark)
``[sha256:..]``                        the engine holds that layer
=====================================  =========================================================

Which records live, and their names, is in ``metadata_v2.db`` (buildkit cache/metadata.go); leases
in ``containerdmeta.db`` keep snapshots as well (leasemanager.go). snapshots.db alone proves
nothing: it keeps buckets of records that were pruned.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from app.host import bolt, looks
from app.host.bolt import BoltError, Bucket
from app.model import Problem

_METADATA, _LEASES, _SNAPSHOTS = "metadata_v2.db", "containerdmeta.db", "snapshots.db"
_CACHE_MOUNT = b"cache-dir:"
_CHAIN = "sha256:"


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """One live build-cache record.

    ``directory`` names the layer directory with its data; it is empty when only ``chain_id``
    leads there, through layerdb. ``parent`` is a record's id, or the chain id (``sha256:..``) of
    an image layer. ``cache_mount_id`` is the id of a ``RUN --mount=type=cache``. ``alias_of`` is
    the mutable record whose directory this one shares. ``created`` and ``last_used`` are unix
    seconds. A snapshot that only a lease keeps is a record without a description, its snapshot
    key for an id. ``blob`` is the digest of its data, compressed, in the content store, "" where
    there is none.
    """

    id: str
    directory: str
    chain_id: str = ""
    parent: str = ""
    description: str = ""
    record_type: str = "regular"
    cache_mount_id: str = ""
    created: float | None = None
    last_used: float | None = None
    committed: bool = False
    alias_of: str = ""
    blob: str = ""


@dataclass(frozen=True, slots=True)
class BuildkitReading:
    """The live records of one data root.

    ``unclaimed`` are directory names that snapshots.db knows but no live record leads to.
    ``source`` is the database with the records.
    """

    records: tuple[CacheRecord, ...] = ()
    problems: tuple[Problem, ...] = ()
    unclaimed: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True)
class _Entry:
    """What metadata_v2.db says of a record; ``snapshot`` is its key in snapshots.db."""

    snapshot: str
    chain_id: str = ""
    parent: str = ""
    alias_of: str = ""
    description: str = ""
    record_type: str = ""
    cache_mount_id: str = ""
    created: float | None = None
    last_used: float | None = None
    committed: bool = False
    blob: str = ""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What snapshots.db says of a key."""

    parent: str = ""
    committed: str = ""
    chain_id: str = ""


def read_buildkit(root: bytes) -> BuildkitReading:
    """Every live record below the data root ``root``. Damage becomes problems, absence is none.

    The databases are read in the order that makes a running build harmless: a snapshot is written
    before its record and its lease, so what is too new to be seen whole ends up as ``unclaimed``.
    """
    folder = os.path.join(root, b"buildkit")
    databases = {name: _Database(folder, name) for name in (_METADATA, _LEASES, _SNAPSHOTS)}
    entries = _entries(databases[_METADATA])
    leased = _leased(databases[_LEASES])
    snapshots = _snapshots(databases[_SNAPSHOTS])
    problems = [problem for database in databases.values() for problem in database.problems()]
    problems += _missing(databases, {_METADATA: len(entries), _SNAPSHOTS: len(snapshots)})
    entries.update(_only_leased(leased, entries))
    records = tuple(_record(id_, entries, snapshots) for id_ in entries)
    claimed = {record.directory for record in records}
    known = {name for key, each in snapshots.items() for name in _directories(key, each)}
    return BuildkitReading(records, tuple(problems), tuple(sorted(known - claimed)))


def read_worker(root: bytes, snapshotter: str, keys: Collection[str]) -> BuildkitReading:
    """The records of a BuildKit that keeps its snapshots in containerd (moby 23.0 and later).

    ``keys`` are those that the snapshotter has in Docker's namespace; a record's ``directory`` is
    one of them. Leases are containerd's. Damage becomes problems, absence is none.
    """
    folder = os.path.join(root, b"buildkit", os.fsencode(f"containerd-{snapshotter}"))
    database = _Database(folder, _METADATA)
    entries = _entries(database)
    snapshots = {key: _Snapshot() for key in keys}
    records = tuple(_record(id_, entries, snapshots) for id_ in entries)
    problems = list(database.problems())
    if database.absent and looks.isdir(folder):
        words = f"{database.path} is missing: build-cache records have no names; restore it."
        problems.append(Problem(database.path, words, hides_owners=True))
    return BuildkitReading(records, tuple(problems), source=database.path)


class _Database:
    """One database file: its root bucket where there is one, and what is wrong with it."""

    def __init__(self, folder: bytes, name: str) -> None:
        path = os.path.join(folder, name.encode())
        self.path = os.fsdecode(path)
        self.root: Bucket | None = None
        self.absent = False
        self.faults: list[str] = []
        self._unreadable = ""
        try:
            self.root = bolt.read(path)
        except FileNotFoundError:
            self.absent = True
        except BoltError as error:
            self._unreadable = str(error)

    def buckets(self, bucket: Bucket | None, where: str) -> Iterator[tuple[str, Bucket]]:
        """The buckets inside ``bucket``, which holds nothing else; other things are faults."""
        for key, value in bucket.items() if bucket else ():
            name = os.fsdecode(key)
            if isinstance(value, Bucket):
                yield name, value
            else:
                self.faults.append(f"{where}{name}")

    def problems(self) -> Iterator[Problem]:
        """What may have hidden an owner: the whole file, or some keys in it."""
        if self._unreadable:
            yield Problem(self.path, self._unreadable, hides_owners=True)
        if self.faults:
            more = f" and at {len(self.faults) - 1} more keys" if len(self.faults) > 1 else ""
            yield Problem(
                self.path,
                f"{self.path} holds something unknown at {self.faults[0]}{more}; "
                "ask the engine itself with `docker builder du`.",
                hides_owners=True,
            )


def _missing(databases: Mapping[str, _Database], counts: Mapping[str, int]) -> Iterator[Problem]:
    """One database without the other, as an engine from before metadata_v2.db leaves it."""
    for name, other in ((_METADATA, _SNAPSHOTS), (_SNAPSHOTS, _METADATA)):
        if databases[name].absent and counts[other]:
            path = databases[name].path
            yield Problem(
                path,
                f"{path} is missing although {other} has {counts[other]} entries; "
                "ask the engine itself with `docker builder du`, or restore the file.",
                hides_owners=True,
            )


# --- metadata_v2.db -------------------------------------------------------------------------------


def _entries(database: _Database) -> dict[str, _Entry]:
    """``_main/<record>/<key>`` = JSON; the bucket is missing until the first record is made."""
    if database.root is None:
        return {}
    main = database.root.get(b"_main")
    if isinstance(main, bytes):
        database.faults.append("_main")
        return {}
    return {
        id_: _entry(id_, bucket, database.faults)
        for id_, bucket in database.buckets(main, "_main/")
    }


def _entry(id_: str, bucket: Bucket, faults: list[str]) -> _Entry:
    def leads(key: str) -> str:
        """A text that leads to a directory: when it is damaged, an owner may be hidden."""
        value = _value(bucket, key)
        if value is None or isinstance(value, str):
            return value or ""
        faults.append(f"_main/{id_}/{key}")
        return ""

    return _Entry(
        snapshot=leads("cache.snapshot") or id_,
        chain_id=leads("cache.chainID"),
        parent=leads("cache.parent"),
        alias_of=leads("cache.equalMutable"),
        description=_text(bucket, "cache.description"),
        record_type=_text(bucket, "cache.recordType"),
        cache_mount_id=_cache_mount_id(bucket),
        created=_seconds(bucket, "cache.createdAt"),
        last_used=_seconds(bucket, "cache.lastUsedAt"),
        committed=_value(bucket, "snapshot.committed") is True,
        blob=_text(bucket, "cache.blob"),
    )


def _value(bucket: Bucket, key: str) -> object:
    """The ``value`` of a key; None when it is not there or was cleared, ``...`` when damaged.

    A cleared key is an empty byte string (buildkit cache/metadata/metadata.go).
    """
    raw = bucket.get(key.encode())
    if not raw:
        return None
    try:
        parsed = json.loads(raw) if isinstance(raw, bytes) else ...
    except (ValueError, RecursionError):
        return ...
    return parsed.get("value") if isinstance(parsed, dict) else ...


def _text(bucket: Bucket, key: str) -> str:
    value = _value(bucket, key)
    return value if isinstance(value, str) else ""


def _seconds(bucket: Bucket, key: str) -> float | None:
    """Unix seconds of a time that is stored in nanoseconds."""
    value = _value(bucket, key)
    if not isinstance(value, int) or not 0 < value < 1 << 63:
        return None
    return value / 1e9


def _cache_mount_id(bucket: Bucket) -> str:
    keys = (key for key, _value in bucket.items() if key.startswith(_CACHE_MOUNT))
    return os.fsdecode(next(keys, _CACHE_MOUNT)[len(_CACHE_MOUNT) :])


# --- containerdmeta.db ----------------------------------------------------------------------------


def _leased(database: _Database) -> frozenset[str]:
    """The keys of all snapshots that a lease keeps.

    ``v1/<namespace>/leases/<lease>/snapshots/<snapshotter>/<key>`` (containerd
    core/metadata/buckets.go); a lease has its record's id, or one of its own while it works.
    """
    if database.root is None:
        return frozenset()
    version = database.root.bucket(b"v1")
    leases = (
        lease for namespace in _inner(version) for lease in _inner(namespace.bucket(b"leases"))
    )
    return frozenset(
        os.fsdecode(key)
        for lease in leases
        for snapshotter in _inner(lease.bucket(b"snapshots"))
        for key, _value in snapshotter.items()
    )


def _inner(bucket: Bucket | None) -> Iterator[Bucket]:
    for _key, value in bucket.items() if bucket else ():
        if isinstance(value, Bucket):
            yield value


def _only_leased(leased: frozenset[str], entries: Mapping[str, _Entry]) -> dict[str, _Entry]:
    """Records for leased snapshots that no record in metadata_v2.db is about."""
    held = {entry.snapshot for entry in entries.values()} | set(entries)
    return {key: _Entry(snapshot=key) for key in sorted(leased - held)}


# --- snapshots.db ---------------------------------------------------------------------------------


def _snapshots(database: _Database) -> dict[str, _Snapshot]:
    """Every top-level bucket that makes sense; keys inside a bucket are plain values."""
    found = {}
    for key, bucket in database.buckets(database.root, ""):
        values = [bucket.get(name) or b"" for name in (b"parent", b"committed", b"chainid")]
        texts = [os.fsdecode(value) for value in values if isinstance(value, bytes)]
        snapshot = _Snapshot(*texts)
        if len(texts) == len(values) and all(map(_is_name, _directories(key, snapshot))):
            found[key] = snapshot
        else:
            database.faults.append(key)
    return found


def _is_name(name: str) -> bool:
    return name not in (".", "..") and not {"/", "\0"} & set(name)


def _directories(key: str, snapshot: _Snapshot) -> tuple[str, ...]:
    """The directory that a bucket stands for; none for an image layer, which is layerdb's."""
    if snapshot.committed:
        return (snapshot.committed,)
    return () if snapshot.chain_id or key.startswith(_CHAIN) else (key,)


# --- together -------------------------------------------------------------------------------------


def _record(
    id_: str, entries: Mapping[str, _Entry], snapshots: Mapping[str, _Snapshot]
) -> CacheRecord:
    entry = entries[id_]
    key = _snapshot_key(id_, entries, snapshots)
    snapshot = snapshots.get(key, _Snapshot())
    chain_id = snapshot.chain_id or (key if key.startswith(_CHAIN) else "")
    if key not in snapshots:
        chain_id = chain_id or entry.chain_id
    directory = snapshot.committed or ("" if chain_id else key)
    return CacheRecord(
        id=id_,
        directory=directory,
        chain_id=chain_id or entry.chain_id,
        parent=entry.parent or snapshot.parent or snapshots.get(directory, _Snapshot()).parent,
        description=entry.description,
        record_type=entry.record_type or "regular",
        cache_mount_id=entry.cache_mount_id,
        created=entry.created,
        last_used=entry.last_used,
        committed=entry.committed or bool(snapshot.committed or chain_id),
        alias_of=entry.alias_of,
        blob=entry.blob,
    )


def _snapshot_key(
    id_: str, entries: Mapping[str, _Entry], snapshots: Mapping[str, _Snapshot]
) -> str:
    """The key of a record's snapshot; an alias without one of its own has the mutable record's."""
    key = entries[id_].snapshot
    passed = {id_}
    while key not in snapshots and id_ in entries and entries[id_].alias_of not in ("", *passed):
        id_ = entries[id_].alias_of
        passed.add(id_)
        key = entries[id_].snapshot if id_ in entries else id_
    return key
