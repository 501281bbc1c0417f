"""BuildKit's records inside a graphdriver engine: snapshots.db, metadata_v2.db, containerdmeta.db.

Sources: moby daemon/internal/builder-next/adapters/snapshot/snapshot.go and layer.go for
snapshots.db, buildkit cache/metadata.go for metadata_v2.db, containerd core/metadata/buckets.go
for the leases in containerdmeta.db.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from app.demo.bolt_file import write_bolt
from app.demo.content import DAY, HOUR
from app.demo.ids import cache_id

Tree = dict[bytes, "bytes | Tree"]

_EMPTY: Tree = {}
# buildkit solver/bboltcachestorage/storage.go
_SOLVER_BUCKETS = (b"_result", b"_links", b"_byresult", b"_backlinks")


@dataclass(frozen=True, slots=True)
class CacheSpec:
    """One build-cache record.

    ``committed`` is the directory of a finished snapshot; without it (and without ``chain_id``)
    the record is mutable and its directory has the record's own id. ``chain_id`` says that the
    data is an image layer: with ``committed`` one that this record became, without it one that
    was there before. ``mount_id`` is the id of a ``RUN --mount=type=cache``. ``alias_of`` is the
    mutable record whose data this one shares (cache.equalMutable). ``parent`` is another record's
    id.
    """

    id: str
    description: str
    record_type: str = ""
    committed: str = ""
    chain_id: str = ""
    parent: str = ""
    mount_id: str = ""
    alias_of: str = ""
    created: float = 3 * DAY
    last_used: float = 5 * HOUR

    @property
    def stands_for(self) -> str:
        """The chain id of the image layer that this record merely stands for, else ""."""
        return "" if self.committed else self.chain_id

    @property
    def key(self) -> str:
        """The snapshot's key: what leases and children call it."""
        return self.stands_for or self.id


def record_id(seed: str) -> str:
    """A record's 25-character id."""
    return cache_id(f"record {seed}")


def directory_id(seed: str) -> str:
    """A 25-character directory name; it differs from the record's id once committed."""
    return cache_id(f"snapshot {seed}")


def write_cache(root: Path, records: Iterable[CacheSpec], stale_chains: Iterable[str] = ()) -> None:
    """Write BuildKit's databases.

    ``stale_chains`` are chain ids that a prune left behind in snapshots.db.
    """
    held = {record.id: record for record in records}
    folder = root / "buildkit"
    snapshots: Tree = {}
    for record in held.values():
        parent = held[record.parent].key if record.parent else ""
        snapshots.update(_snapshot_buckets(record, parent.encode()))
    for chain in stale_chains:
        snapshots[record_id(f"stale {chain}").encode()] = {b"chainid": chain.encode()}
    write_bolt(folder / "snapshots.db", snapshots)
    write_bolt(
        folder / "metadata_v2.db",
        {
            b"_main": {each.id.encode(): _metadata(each) for each in held.values()},
            b"_index": _index(held.values()),
            b"_external": {},
        },
    )
    leases: Tree = {each.id.encode(): _lease(each) for each in held.values() if not each.alias_of}
    write_bolt(folder / "containerdmeta.db", {b"v1": {b"buildkit": {b"leases": leases}}})
    write_bolt(folder / "cache.db", dict.fromkeys(_SOLVER_BUCKETS, _EMPTY))


def _snapshot_buckets(record: CacheSpec, parent: bytes) -> Tree:
    """What snapshots.db holds for one record; an alias has nothing of its own there."""
    if record.alias_of:
        return {}
    name = record.id.encode()
    if record.stands_for:
        return {name: {b"chainid": record.chain_id.encode()}, record.chain_id.encode(): {}}
    if not record.committed:
        return {name: {b"parent": parent}}
    own: Tree = {b"committed": record.committed.encode()}
    if record.chain_id:
        own[b"chainid"] = record.chain_id.encode()
    return {name: own, record.committed.encode(): {b"parent": parent, b"iscommitted": b""}}


def _metadata(record: CacheSpec) -> Tree:
    now = time.time_ns()
    values: dict[str, object] = {
        "cache.createdAt": now - int(record.created * 1e9),
        "cache.lastUsedAt": now - int(record.last_used * 1e9),
        "cache.usageCount": 3,
        "cache.description": record.description,
        "cache.snapshot": record.key,
        "snapshot.size": -1,
    }
    optional: dict[str, object] = {
        "cache.recordType": record.record_type,
        "cache.parent": record.parent,
        "cache.equalMutable": record.alias_of,
        "cache.blobonly": bool(record.stands_for),
        "snapshot.committed": bool(record.committed or record.chain_id or record.alias_of),
    }
    values.update({key: value for key, value in optional.items() if value})
    tree: Tree = {key.encode(): _json({"value": value}) for key, value in values.items()}
    for key, index in _indexed(record).items():
        tree[key.encode()] = _json({"value": index.partition(":")[2], "index": index})
    return tree


def _indexed(record: CacheSpec) -> dict[str, str]:
    """The values that buildkit can look up: metadata key to the name of its index."""
    found = {}
    if record.mount_id:
        found[f"cache-dir:{record.mount_id}"] = f"cache-dir:{record.mount_id}"
    if record.stands_for:
        found["cache.chainID"] = f"chainid:{record.chain_id}"
    return found


def _index(records: Iterable[CacheSpec]) -> Tree:
    return {
        f"{index}::{record.id}".encode(): b""
        for record in records
        for index in _indexed(record).values()
    }


def _lease(record: CacheSpec) -> Tree:
    return {b"snapshots": {b"default": {record.key.encode(): b""}}}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
