"""containerd's own database: what there is in each namespace, and what holds what.

``ROOT/io.containerd.metadata.v1.bolt/meta.db`` (containerd core/metadata/buckets.go),
``v1/<namespace>/``:

- ``images/<name>/target/digest``: the index or manifest that a name stands for;
- ``containers/<id>/{image, snapshotter, snapshotKey, labels}``: Docker's are there only while they
  run, without a snapshot key;
- ``snapshots/<snapshotter>/<key>/{name, parent}``: ``name`` leads to the snapshotter's own entry;
- ``leases/<id>/snapshots/<snapshotter>/<key>``: what a lease keeps from being collected;
- ``content/blob/<digest>``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from app.host import bolt
from app.host.bolt import BoltError, Bucket
from app.model import Problem
from app.stores.drivers.overlayfs.snapshotter import LIMIT, labels_of

DATABASE = b"io.containerd.metadata.v1.bolt/meta.db"
#: A label that keeps a thing by itself (containerd core/metadata/gc.go).
GC_ROOT = "containerd.io/gc.root"

_DIGEST = re.compile(r"[a-z0-9]+:[0-9a-f]{32,128}")

Labels = tuple[tuple[str, str], ...]
#: A snapshotter and a key in it.
SnapshotKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ContainerEntry:
    """A container of containerd's; ``key`` names its snapshot, none for Docker's own."""

    id: str
    image: str
    key: SnapshotKey
    labels: dict[str, str]


@dataclass(frozen=True, slots=True)
class Lease:
    """What is kept under one id."""

    id: str
    snapshots: frozenset[SnapshotKey]
    labels: dict[str, str]


@dataclass(slots=True)
class Namespace:
    """One namespace. ``images`` maps names to digests, ``snapshots`` keys to labels.

    ``names`` maps the same keys to the names of the snapshotter's own entries.
    """

    name: str
    images: dict[str, str] = field(default_factory=dict)
    containers: dict[str, ContainerEntry] = field(default_factory=dict)
    snapshots: dict[SnapshotKey, dict[str, str]] = field(default_factory=dict)
    names: dict[SnapshotKey, str] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MetaReading:
    """The whole database. ``readable`` is false where some of it is not."""

    path: bytes
    namespaces: dict[str, Namespace] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    readable: bool = True

    @property
    def source(self) -> str:
        """The database's path, for evidence."""
        return os.fsdecode(self.path)


def read_meta(root: bytes) -> MetaReading:
    """Read meta.db of the containerd root, without a lock. Never raises."""
    path = os.path.join(root, DATABASE)
    where = os.fsdecode(path)
    try:
        database = bolt.read(path, LIMIT)
    except FileNotFoundError:
        words = f"{where} is missing: nobody knows whose the snapshots are; restore it."
        return MetaReading(path, problems=(Problem(where, words, True),), readable=False)
    except BoltError as error:
        return MetaReading(path, problems=(Problem(where, str(error), True),), readable=False)
    wrong: list[str] = []
    namespaces = {
        name: _namespace(name, bucket, wrong)
        for name, bucket in _inner(database.bucket(b"v1"), wrong, plain=("version",))
    }
    problems: tuple[Problem, ...] = ()
    if wrong:
        words = f"{where} holds something unknown at {wrong[0]}, {len(wrong)} times in all."
        problems = (Problem(where, words, True),)
    return MetaReading(path, namespaces, problems, readable=not wrong)


def _namespace(name: str, bucket: Bucket, wrong: list[str]) -> Namespace:
    found = Namespace(name)
    for image, entry in _inner(bucket.bucket(b"images"), wrong):
        target = entry.bucket(b"target")
        digest = _text(target, b"digest") if target else ""
        if _DIGEST.fullmatch(digest):
            found.images[image] = digest
        else:
            wrong.append(f"{name}/images/{image}")
    for id_, entry in _inner(bucket.bucket(b"containers"), wrong):
        place = _text(entry, b"snapshotter"), _text(entry, b"snapshotKey")
        labels = dict(labels_of(entry))
        found.containers[id_] = ContainerEntry(id_, _text(entry, b"image"), place, labels)
    for snapshotter, entries in _inner(bucket.bucket(b"snapshots"), wrong):
        for key, entry in _inner(entries, wrong):
            found.snapshots[snapshotter, key] = dict(labels_of(entry))
            found.names[snapshotter, key] = _text(entry, b"name")
    for id_, entry in _inner(bucket.bucket(b"leases"), wrong):
        found.leases[id_] = Lease(id_, frozenset(_leased(entry)), dict(labels_of(entry)))
    return found


def _leased(lease: Bucket) -> Iterator[SnapshotKey]:
    held = lease.bucket(b"snapshots")
    for snapshotter, keys in _inner(held, []):
        for key, _ in keys.items():
            yield snapshotter, os.fsdecode(key)


def _inner(
    bucket: Bucket | None, wrong: list[str], plain: tuple[str, ...] = ()
) -> Iterator[tuple[str, Bucket]]:
    """The buckets in a bucket that holds nothing else but the ``plain`` keys."""
    for key, value in bucket.items() if bucket else ():
        name = os.fsdecode(key)
        if isinstance(value, Bucket):
            yield name, value
        elif name not in plain:
            wrong.append(name)


def _text(bucket: Bucket, key: bytes) -> str:
    value = bucket.get(key)
    return os.fsdecode(value) if isinstance(value, bytes) else ""
