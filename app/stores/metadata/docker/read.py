"""The first witness: everything that one data root says about itself, read in one go."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from app.host import looks
from app.host.mounts import read_own
from app.model import DataRoot, ImageStore, Problem
from app.stores.drivers.overlay2.read import LINKS, LayerDir, LayerGraph, read_graph
from app.stores.metadata.containerd.read import ContainerdReading, read_containerd
from app.stores.metadata.docker.buildkit import BuildkitReading, read_buildkit, read_worker
from app.stores.metadata.docker.consistency import find_gaps, find_snapshot_gaps, is_gone
from app.stores.metadata.docker.container_state import checked_states
from app.stores.metadata.docker.containers import ContainerRecord, read_containers
from app.stores.metadata.docker.layerdb import GraphdriverReading, read_graphdriver
from app.stores.metadata.docker.volumes import VolumeRecord, read_volumes
from app.stores.remainders import left_in
from app.stores.root_parts import problems_of

#: The graph driver whose directories are read; the others are recognised and named only.
OVERLAY2 = "overlay2"


@dataclass(frozen=True)
class DiskReading:
    """What the disk says: layer directories, names for them, containers, volumes, cache records.

    ``problems`` are all problems met on the way; one with ``hides_owners`` means that an owner of
    some directory may have been missed. ``last_write`` is when an open transaction of layerdb was
    last written to (unix seconds; 0 where none is open). ``containerd`` is set where the root has
    one, ``workers`` are then BuildKit's records in it by snapshotter. What hides the owners of
    snapshots hides none of overlay2's: ``hidden_containers`` and ``worker_problems`` tell the
    problems apart, and ``all_problems`` has every one.
    """

    root: DataRoot
    graph: LayerGraph
    names: GraphdriverReading
    containers: dict[str, ContainerRecord]
    volumes: tuple[VolumeRecord, ...]
    buildkit: BuildkitReading
    problems: tuple[Problem, ...]
    last_write: float = 0.0
    containerd: ContainerdReading | None = None
    workers: Mapping[str, BuildkitReading] = field(default_factory=dict)
    hidden_containers: tuple[Problem, ...] = ()

    @property
    def worker_problems(self) -> tuple[Problem, ...]:
        """What is wrong with BuildKit's records of snapshots."""
        return tuple(problem for worker in self.workers.values() for problem in worker.problems)

    @property
    def all_problems(self) -> tuple[Problem, ...]:
        """The problems of both stores."""
        theirs = self.containerd.problems if self.containerd else ()
        return (*self.problems, *theirs, *self.worker_problems)

    @cached_property
    def hiding(self) -> tuple[Problem, ...]:
        """The problems behind which an owner may be hidden."""
        return tuple(problem for problem in self.problems if problem.hides_owners)

    @property
    def active(self) -> bool:
        """Whether the overlay2 layers are those in use; also where nobody can tell."""
        return uses_overlay2(self.root)


def uses_overlay2(root: DataRoot) -> bool:
    """Whether the engine of this root keeps its layers in overlay2, or may do so."""
    if root.image_store is ImageStore.UNDECIDED:
        return True
    return root.image_store is ImageStore.GRAPHDRIVER and root.driver == OVERLAY2


def driver_directory(root: bytes) -> bytes:
    """The directory that holds one directory per layer."""
    return os.path.join(root, OVERLAY2.encode())


def has_overlay2(root: bytes) -> bool:
    """Whether this data root holds overlay2 layers, active or left behind."""
    return looks.isdir(driver_directory(root))


def read_disk(root: DataRoot) -> DiskReading:
    """Read one data root without a lock and without a write; damage becomes problems.

    The engine removes a layer's directory before its names and makes it before them. So the
    directories are read first and looked for again at last: what has no name then has lost none
    meanwhile, it can only be new.
    """
    driver = driver_directory(root.path)
    graph, names = LayerGraph(), GraphdriverReading()
    if has_overlay2(root.path) or root.driver == OVERLAY2:
        if _is_read(root, OVERLAY2):
            graph = read_graph(driver)
        if _is_read(root, "image"):
            names = read_graphdriver(root.path, OVERLAY2)
    containers, container_problems = (
        read_containers(root.path) if _is_read(root, "containers") else ({}, ())
    )
    volumes, volume_problems = read_volumes(root.path) if _is_read(root, "volumes") else ((), ())
    buildkit = read_buildkit(root.path) if _is_read(root, "buildkit") else BuildkitReading()
    containerd = read_containerd(root.containerd) if root.containerd else None
    graph, covered = _uncovered(_explained(_without_vanished(graph), names), driver)
    problems = (
        *problems_of(root),
        *covered,
        *_disowned(root, graph),
        *graph.problems,
        *_remainders(root.path, graph, containerd),
        *names.problems,
        *container_problems,
        *volume_problems,
        *buildkit.problems,
        *(find_gaps(root.path, graph, names, containers) if _is_whole(root) else ()),
        *(find_snapshot_gaps(root, containerd, containers) if containerd else ()),
        *_unread_store(root),
    )
    return DiskReading(
        root,
        graph,
        names,
        checked_states(containers, root),
        volumes,
        buildkit,
        problems,
        last_write=_newest(names.writing),
        containerd=containerd,
        workers=_workers(root, containerd),
        hidden_containers=container_problems,
    )


def _remainders(
    root: bytes, graph: LayerGraph, containerd: ContainerdReading | None
) -> tuple[Problem, ...]:
    """What removals left that did not come to their end."""
    snapshotters = containerd.snapshotters if containerd else ()
    graphs = (graph, *(it.graph for it in snapshotters))
    homes = [layer.path for it in graphs for layer in it.directories.values()]
    return left_in((os.path.join(root, b"tmp"), *homes))


def _is_read(root: DataRoot, name: str) -> bool:
    part = root.part(os.path.join(root.path, name.encode()))
    return part is None or part.readable


def _is_whole(root: DataRoot) -> bool:
    """Whether the directories were read that metadata may miss."""
    return uses_overlay2(root) and _is_read(root, OVERLAY2)


def _uncovered(graph: LayerGraph, driver: bytes) -> tuple[LayerGraph, tuple[Problem, ...]]:
    """The same, where it is marked what another directory is mounted over.

    Docker mounts a layer at ``merged`` in it, and nothing at the directory itself or at ``l``.
    """
    real = looks.realpath(driver)
    points = {it.point for it in read_own() if os.path.dirname(it.point) == real}
    if not points:
        return graph, ()
    marked = {
        name: replace(layer, covered=True)
        for name, layer in graph.directories.items()
        if os.path.join(real, os.fsencode(name)) in points
    }
    problems: tuple[Problem, ...] = ()
    if os.path.join(real, LINKS.encode()) in points:
        where = os.path.join(os.fsdecode(driver), LINKS)
        words = f"Something is mounted at {where}: nobody can tell who stands on whom; unmount it."
        problems = (Problem(where, words, hides_owners=True),)
    return replace(graph, directories=graph.directories | marked), problems


def _disowned(root: DataRoot, graph: LayerGraph) -> tuple[Problem, ...]:
    """One sentence where the root says nothing of directories, for they are not its writers'."""
    found = [it for it in graph.directories.values() if is_foreign(root, it)]
    if not found:
        return ()
    where = os.fsdecode(os.path.dirname(found[0].path))
    words = (
        f"{len(found)} of {len(graph.directories)} directories in {where} belong to somebody else "
        f"than who could have written {os.fsdecode(root.path)}: whose layers they are is not told "
        "from it."
    )
    return (Problem(where, words),)


def is_foreign(root: DataRoot, layer: LayerDir) -> bool:
    """Whether what this root says of a directory counts for nothing."""
    return layer.covered or (layer.uid is not None and not root.speaks_for(layer.uid))


def _workers(root: DataRoot, containerd: ContainerdReading | None) -> dict[str, BuildkitReading]:
    """BuildKit's records in each snapshotter of the containerd that this root uses."""
    if containerd is None or not root.namespace:
        return {}
    return {
        it.name: read_worker(
            root.path,
            it.name,
            {
                snapshot.key
                for snapshot in it.snapshots.values()
                if snapshot.namespace == root.namespace
            },
        )
        for it in containerd.snapshotters
    }


def _without_vanished(graph: LayerGraph) -> LayerGraph:
    gone = {name for name, layer in graph.directories.items() if is_gone(layer.path)}
    if not gone:
        return graph
    return replace(
        graph,
        directories={n: it for n, it in graph.directories.items() if n not in gone},
        tokens={token: name for token, name in graph.tokens.items() if name not in gone},
        users={
            name: tuple(user for user in users if user not in gone)
            for name, users in graph.users.items()
        },
    )


def _explained(graph: LayerGraph, names: GraphdriverReading) -> LayerGraph:
    """The same, where init layers without their container's layer say how that came about."""
    named = {name for it in names.mounts.values() for name in (it.init_id, f"{it.mount_id}-init")}
    unread = any(problem.hides_owners for problem in names.problems)
    told = {}
    for name, layer in graph.directories.items():
        if layer.alone:
            why = "" if unread else ": a failed start left it"
            if name in named:
                why = ", which layerdb/mounts names as well: somebody removed that one by hand"
            words = f"an init layer without its container's layer{why}"
            told[name] = replace(layer, notes=(*layer.notes, words))
    return replace(graph, directories=graph.directories | told) if told else graph


def _newest(transactions: Iterable[bytes]) -> float:
    """When one of these was last written to: ``tar-split.json.gz`` in it grows with the layer."""
    newest = 0.0
    for transaction in transactions:
        try:
            newest = max(newest, looks.lstat(transaction).st_mtime)
            for name, _ in looks.names(transaction):
                newest = max(newest, looks.lstat(os.path.join(transaction, name)).st_mtime)
        except OSError:
            # It ended this moment, and what it wrote has its names by now.
            continue
    return newest


def _unread_store(root: DataRoot) -> tuple[Problem, ...]:
    where = os.fsdecode(root.path)
    if root.image_store is ImageStore.CONTAINERD:
        if root.containerd:
            return ()
        return (
            Problem(
                where,
                "This engine keeps images and layers in the containerd image store (snapshotter "
                f"{root.driver}), not below {where}, and the root of that containerd was not found "
                "(usually /var/lib/containerd): name both with --data-root.",
            ),
        )
    if root.driver not in ("", OVERLAY2):
        return (
            Problem(
                where,
                f"Layers of the {root.driver} driver are measured but not named yet; "
                "`docker inspect` names them while the engine answers.",
            ),
        )
    return ()
