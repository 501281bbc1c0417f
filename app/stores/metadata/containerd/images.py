"""Containers and images of a containerd root, with the snapshots and blobs that belong to them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping

from app.engine.inventory import EngineImage
from app.model import Blob, Container, Evidence, ImageInfo, Layer, Owner
from app.stores.metadata.containerd.owners import container_owner, image_owners, names_by_digest
from app.stores.metadata.containerd.read import ContainerdReading
from app.stores.metadata.docker.container_state import RUNNING, idle_state
from app.stores.metadata.docker.layerdb import chain_ids
from app.stores.metadata.docker.read import DiskReading


def other_containers(disk: DiskReading, layers: Mapping[str, Layer]) -> Iterator[Container]:
    """The containers that are not Docker's: those of Kubernetes, nerdctl and ctr."""
    reading = disk.containerd
    for space in reading.namespaces.values() if reading else ():
        if reading is None or space.name == disk.root.namespace:
            continue
        for entry in space.containers.values():
            name = reading.container_snapshot(space.name, entry)
            layer = layers.get(name)
            state = RUNNING if layer and layer.mounts else idle_state(disk.root)
            owner = container_owner(space.name, entry, state)
            says = f"containers/{entry.id} of namespace {space.name}, image {entry.image or 'none'}"
            evidence = (Evidence(reading.meta.source, says),)
            yield Container(owner, b"", (name,) if layer else (), evidence=evidence)


def containerd_images(disk: DiskReading) -> Iterator[ImageInfo]:
    """Every image of every namespace with its layers, base first, and its blobs."""
    reading = disk.containerd
    for namespace, owner in image_owners(reading, disk.root.namespace) if reading else ():
        if reading is None:
            continue
        content = reading.content.images.get(owner.id)
        names: dict[str, None] = {}
        for manifest in content.manifests if content else ():
            for _, _, name in reading.layers_of(namespace, manifest):
                names[name if name in reading.graph.directories else ""] = None
        says = f"images/{owner.name or 'without a tag'} of namespace {namespace} is {owner.id}"
        evidence = (Evidence(reading.meta.source, says),)
        blobs = content.blobs if content else ()
        digests = names_by_digest(reading, namespace, owner.id)
        yield ImageInfo(owner, tuple(names), evidence, digests, blobs)


def engine_layers(disk: DiskReading, image: EngineImage) -> tuple[str, ...]:
    """The layers of an image by the engine's word alone, base first."""
    reading = disk.containerd
    if reading is None:
        return ()
    found = [
        reading.directory(disk.root.namespace, snapshotter.name, chain_id)
        for snapshotter in reading.snapshotters
        for chain_id in chain_ids(image.diff_ids)
    ]
    return tuple(name for name in found if name in reading.graph.directories)


def blobs_of(disk: DiskReading, images: Iterable[ImageInfo]) -> dict[str, Blob]:
    """Every file of the content store by digest, with the images that consist of it."""
    reading = disk.containerd
    if reading is None:
        return {}
    owners: dict[str, list[Owner]] = {}
    for image in images:
        for digest in image.blobs:
            owners.setdefault(digest, []).append(image.owner)
    return {
        digest: Blob(
            digest,
            reading.content.place(digest),
            usage,
            tuple(owners.get(digest, ())),
            tuple(_parts(reading, owners.get(digest, ()))),
        )
        for digest, usage in reading.content.blobs.items()
    }


def _parts(reading: ContainerdReading, owners: Iterable[Owner]) -> Iterator[Evidence]:
    for owner in owners:
        where = os.fsdecode(reading.content.place(owner.id))
        yield Evidence(where, f"leads to it from {owner.name or owner.id}")
