"""What one place promises and another one does not have: names without directories, and so on.

A directory can lose its name without being nobody's: an image in imagedb whose layer is missing in
layerdb is skipped by the engine (moby daemon/internal/image/store.go restore), yet its directory is
still there. Whoever looks for owners must know of such gaps.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping

from app.host import looks
from app.host.safe_read import bounded
from app.model import DataRoot, Problem
from app.stores.drivers.overlay2.read import LayerGraph
from app.stores.metadata.containerd.read import ContainerdReading
from app.stores.metadata.docker.containers import ContainerRecord
from app.stores.metadata.docker.layerdb import SHA256, GraphdriverReading

_LAYERDB = b"image/overlay2/layerdb"
_MADE_BY_BUILDKIT = re.compile(r"[0-9a-z]{25}")
#: What a container's config names as its driver when its layers are here (old ones name none).
_DRIVERS = ("overlay2", "")
_LEAVING = ("dead", "removing")


def is_gone(path: bytes) -> bool:
    """Whether nothing is at ``path`` any more; what cannot be examined is not gone."""
    try:
        looks.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _is_directory(path: bytes) -> bool:
    try:
        return stat.S_ISDIR(looks.lstat(path).st_mode)
    except OSError:
        return False


def find_gaps(
    root: bytes,
    graph: LayerGraph,
    names: GraphdriverReading,
    containers: Mapping[str, ContainerRecord],
) -> tuple[Problem, ...]:
    """Everything that is promised and missing at this moment, below the data root ``root``."""
    return (
        *bounded(tuple(_lost_chains(root, names))),
        *bounded(tuple(_lost_mounts(root, names, containers))),
        *_lost_cache(root, graph, names),
        *bounded(tuple(_missing_directories(root, graph, names))),
        *_dangling(graph),
    )


def find_snapshot_gaps(
    root: DataRoot, reading: ContainerdReading, containers: Mapping[str, ContainerRecord]
) -> tuple[Problem, ...]:
    """Docker's containers in a snapshotter that has nothing of them: they cannot start."""
    used = {it.name for it in reading.snapshotters if it.readable}
    lost = [
        record
        for id_, record in containers.items()
        if record.driver in used
        and record.state not in _LEAVING
        and not reading.directory(root.namespace, record.driver, id_)
        and not is_gone(record.path)
    ]
    return bounded(
        tuple(
            Problem(
                os.fsdecode(record.path),
                f"Container {record.name} has no snapshot in {record.driver}, so it cannot start: "
                "`docker rm` clears what is left of it.",
            )
            for record in lost
        )
    )


def _lost_chains(root: bytes, names: GraphdriverReading) -> Iterator[Problem]:
    """Layers that layerdb lacks, though an image, a container or another layer needs them."""
    known = names.layers.keys() | {layer.chain_id for layer in names.removing} | {""}
    needs = [
        *(("image", image.path, image.chain_ids) for image in names.images.values()),
        *(("container", mount.path, (mount.parent,)) for mount in names.mounts.values()),
        *(("layer", layer.path, (layer.parent,)) for layer in names.layers.values()),
    ]
    for what, path, chain_ids in needs:
        lost = next((chain for chain in chain_ids if chain not in known), "")
        entry = os.path.join(root, _LAYERDB, b"sha256", os.fsencode(lost.removeprefix(SHA256)))
        # An entry that is there is damaged, which is told already, or was made this moment.
        if lost and is_gone(entry) and not is_gone(path):
            where = os.fsdecode(entry)
            yield Problem(
                where,
                f"{where} is missing, but {what} {os.path.basename(os.fsdecode(path))} needs that "
                "layer, so one of the directories without an owner may be it; pull, load or build "
                "the image again.",
                hides_owners=True,
            )


def _lost_mounts(
    root: bytes, names: GraphdriverReading, containers: Mapping[str, ContainerRecord]
) -> Iterator[Problem]:
    """Containers without layers; a removal takes the layers first, and marks the container."""
    for id_, record in containers.items():
        if id_ in names.mounts or record.state in _LEAVING or record.driver not in _DRIVERS:
            continue
        entry = os.path.join(root, _LAYERDB, b"mounts", os.fsencode(id_))
        # A directory that is there is damaged, which is told already, or was made this moment.
        if not _is_directory(entry) and not is_gone(record.path):
            where = os.fsdecode(entry)
            yield Problem(
                where,
                f"{where} is missing, so nobody knows the layers of container {record.name}, and "
                "one of the directories without an owner may be its own; remove the container and "
                "make it again.",
                hides_owners=True,
            )


def _lost_cache(root: bytes, graph: LayerGraph, names: GraphdriverReading) -> Iterator[Problem]:
    """Directories that BuildKit made, without BuildKit's databases, as an incomplete copy has."""
    folder = os.path.join(root, b"buildkit")
    named = {layer.cache_id for layer in names.layers.values()}
    made = [name for name in graph.directories if _MADE_BY_BUILDKIT.fullmatch(name)]
    nameless = sum(name not in named for name in made)
    if nameless and is_gone(folder):
        where = os.fsdecode(folder)
        yield Problem(
            where,
            f"{where} is missing, though BuildKit made {nameless} of the layer directories: their "
            "owners are not known; restore or copy it as well.",
            hides_owners=True,
        )


def _missing_directories(
    root: bytes, graph: LayerGraph, names: GraphdriverReading
) -> Iterator[Problem]:
    """Directories that somebody removed by hand: their names are still there."""
    driver = os.path.join(root, b"overlay2")
    if not looks.isdir(driver):
        return
    image = (
        "images above it are broken; remove their containers and images, then pull or load them "
        "again"
    )
    container = "the container cannot start; `docker rm` clears what is left of it"
    promised = [
        *((layer.cache_id, layer.path, image) for layer in names.layers.values()),
        *((mount.mount_id, mount.path, container) for mount in names.mounts.values()),
        *((mount.init_id, mount.path, container) for mount in names.mounts.values()),
    ]
    for name, path, remedy in promised:
        absent = name and name not in graph.directories
        if absent and is_gone(os.path.join(driver, os.fsencode(name))) and not is_gone(path):
            where = os.fsdecode(path)
            yield Problem(
                where, f"{where} names directory {name}, but there is no such directory: {remedy}."
            )


def _dangling(graph: LayerGraph) -> Iterator[Problem]:
    count = len(graph.dangling)
    if count:
        links = "1 link in l/ leads" if count == 1 else f"{count} links in l/ lead"
        yield Problem(
            "overlay2/l",
            f"{links} to a directory that is gone (somebody removed it by hand); harmless, about "
            "one inode each.",
        )
