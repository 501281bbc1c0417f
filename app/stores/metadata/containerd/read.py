"""A containerd root, read in one go: its snapshots, what holds them, and its content store.

Works with containerd up or down, and on a copied tree; no lock is taken and nothing written. Each
reader is in a module of its own: ``snapshotter``, ``containerd_meta``, ``content``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from app.model import Problem, Snapshot
from app.stores.drivers.overlay2.read import LayerDir, LayerGraph
from app.stores.drivers.overlayfs.snapshotter import (
    SnapshotterReading,
    read_snapshotter,
    snapshotters,
)
from app.stores.metadata.containerd.content import ContentReading, Manifest, read_content
from app.stores.metadata.containerd.meta import ContainerEntry, MetaReading, Namespace, read_meta


@dataclass(frozen=True)
class ContainerdReading:
    """What one containerd root says.

    ``graph`` has every directory of every snapshotter by id (``snapshots/47``), ``snapshots`` those
    that a snapshotter's database knows. ``keys`` maps namespace, snapshotter and key to an id.
    """

    root: bytes
    snapshotters: tuple[SnapshotterReading, ...]
    meta: MetaReading
    content: ContentReading
    graph: LayerGraph = field(default_factory=LayerGraph)
    snapshots: Mapping[str, Snapshot] = field(default_factory=dict)
    keys: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @property
    def namespaces(self) -> Mapping[str, Namespace]:
        """The namespaces by name."""
        return self.meta.namespaces

    def directory(self, namespace: str, snapshotter: str, key: str) -> str:
        """The id of the directory with this snapshot, "" where no database has it."""
        return self.keys.get((namespace, snapshotter, key), "")

    def below(self, name: str) -> tuple[str, ...]:
        """The directories that one stands on, nearest first."""
        found = self.graph.directories.get(name)
        return found.parents if found else ()

    def snapshotter_of(self, directory: LayerDir) -> SnapshotterReading | None:
        """The snapshotter that a directory belongs to."""
        homes = (it for it in self.snapshotters if directory.path.startswith(it.home + b"/"))
        return next(homes, None)

    def lists(self, snapshot: Snapshot, name: str) -> bool:
        """Whether containerd's own database has this snapshot, under the same number."""
        space = self.namespaces.get(snapshot.namespace)
        full = space.names.get((snapshot.snapshotter, snapshot.key)) if space else None
        return any(full is not None and it.names.get(full) == name for it in self.snapshotters)

    def layers_of(self, namespace: str, manifest: Manifest) -> Iterator[tuple[str, str, str]]:
        """Snapshotter, chain id and directory id of each layer, once per snapshotter used."""
        for reading in self.snapshotters:
            found = [
                (reading.name, chain_id, self.directory(namespace, reading.name, chain_id))
                for chain_id in manifest.chain_ids
            ]
            # What was never unpacked (another platform, an attestation) is not missing.
            if any(id_ for _, _, id_ in found):
                yield from found

    def container_snapshot(self, namespace: str, entry: ContainerEntry) -> str:
        """The directory of a container's writable snapshot, "" where it names none."""
        return self.directory(namespace, *entry.key) if all(entry.key) else ""


def read_containerd(root: bytes) -> ContainerdReading:
    """Read the containerd root at this path. Never raises: damage becomes problems.

    The snapshotters' databases are read before containerd's own: a snapshot is made there first and
    removed there last (core/metadata/snapshot.go createSnapshot, garbageCollect).
    """
    read = tuple(read_snapshotter(root, name) for name in snapshotters(root))
    meta = read_meta(root)
    wanted = {digest for space in meta.namespaces.values() for digest in space.images.values()}
    content = read_content(root, wanted)
    snapshots = {id_: it for reading in read for id_, it in reading.snapshots.items()}
    return ContainerdReading(
        root,
        read,
        meta,
        content,
        LayerGraph(
            {name: it for reading in read for name, it in reading.graph.directories.items()},
            users={name: it for reading in read for name, it in reading.graph.users.items()},
        ),
        snapshots,
        {(it.namespace, it.snapshotter, it.key): id_ for id_, it in snapshots.items()},
        (
            *(problem for reading in read for problem in reading.problems),
            *meta.problems,
            *content.problems,
        ),
    )
