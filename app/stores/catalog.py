"""From readings and verdicts to a Store: what the commands and the screens show."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from app.engine.inventory import EngineContainer, EngineImage, EngineReading, EngineVolume
from app.host.mounts import Mount
from app.model import (
    CacheEntry,
    Container,
    Evidence,
    ImageInfo,
    Kind,
    Layer,
    ListedVolume,
    Owner,
    Role,
    Store,
    Volume,
)
from app.stores.drivers.overlay2.mounts import seen_at
from app.stores.drivers.overlayfs.mounts import snapshots_seen_at
from app.stores.metadata.containerd.images import (
    blobs_of,
    containerd_images,
    engine_layers,
    other_containers,
)
from app.stores.metadata.containerd.resolve import resolve_snapshots
from app.stores.metadata.docker import claims as by_disk
from app.stores.metadata.docker import engine_claims as by_engine
from app.stores.metadata.docker.buildkit import CacheRecord
from app.stores.metadata.docker.containers import CONFIG, ContainerRecord
from app.stores.metadata.docker.engine_claims import known_owners
from app.stores.metadata.docker.read import DiskReading
from app.stores.metadata.docker.resolve import resolve
from app.stores.metadata.docker.volumes import VolumeRecord


def assemble(
    disk: DiskReading,
    engine: EngineReading | None,
    mounts: Sequence[Mount],
    now: float,
    witnesses: str,
) -> Store:
    """One data root, answered. ``now`` is unix time in seconds.

    ``mounts`` are those of every namespace; :func:`points_of` tells what whodiff itself sees.
    """
    resolved = resolve(disk, engine, mounts, now)
    snapshots = resolve_snapshots(disk, engine, mounts, now)
    layers = resolved.layers | snapshots.layers
    containers = (*_containers(disk, engine, layers), *other_containers(disk, layers))
    images = tuple(_images(disk, engine))
    return Store(
        root=disk.root,
        layers=layers,
        containers=containers,
        images=images,
        volumes=_volumes(disk, engine, containers),
        cache=tuple(_cache(disk, engine)),
        tokens=disk.graph.tokens,
        dangling=disk.graph.dangling,
        gone=resolved.gone | snapshots.gone,
        blobs=blobs_of(disk, images),
        problems=(*disk.all_problems, *(engine.problems if engine else ())),
        witnesses=witnesses,
        daemon=engine.info.daemon if engine else None,
    )


def points_of(disk: DiskReading, seen: Sequence[Mount]) -> dict[bytes, str]:
    """Which layer is mounted where, by the mounts that this very process sees.

    What other namespaces call ``/`` or ``/src`` is something else here.
    """
    points = seen_at(seen, disk.graph)
    if disk.containerd:
        points |= snapshots_seen_at(seen, disk.containerd)
    return {point: name for point, name in points.items() if point != b"/"}


# --- containers -----------------------------------------------------------------------------------


def _containers(
    disk: DiskReading, engine: EngineReading | None, layers: Mapping[str, Layer]
) -> tuple[Container, ...]:
    """Every container that either witness knows; the engine's word for name and state first."""
    owners = {id_: by_disk.container_owner(record) for id_, record in disk.containers.items()}
    for mount in disk.names.mounts.values():
        owner = by_disk.mount_owner(disk, mount)
        if owner.kind is Kind.CONTAINER:
            owners.setdefault(mount.container_id, owner)
    if engine:
        owners |= {
            id_: owner
            for (kind, id_), owner in known_owners(engine).items()
            if kind is Kind.CONTAINER
        }
    own = _own_layers(layers)
    theirs = engine.containers if engine else {}
    return tuple(
        _container(
            owner,
            disk.containers.get(id_),
            own.get(id_, ()),
            _who_says(disk, engine, id_),
            theirs.get(id_),
        )
        for id_, owner in owners.items()
    )


def _who_says(disk: DiskReading, engine: EngineReading | None, id_: str) -> Iterator[Evidence]:
    """The sources that know this container."""
    record, mount = disk.containers.get(id_), disk.names.mounts.get(id_)
    if record:
        yield Evidence(_config(record.path), f"names it {record.name}, of image {record.image}")
    elif mount:
        yield Evidence(os.fsdecode(mount.path), "names its directories")
    if engine and id_ in engine.containers:
        yield Evidence("engine: /containers/json", f"names it {engine.containers[id_].name}")


def _own_layers(layers: Mapping[str, Layer]) -> dict[str, tuple[str, ...]]:
    """The layers of each container, the writable one before its init layer; none it only keeps."""
    own: dict[str, list[str]] = {}
    for name, layer in layers.items():
        for owner in layer.owners:
            if owner.kind is not Kind.CONTAINER or owner.namespace:
                continue
            if layer.role not in (Role.IMAGE, Role.BUILD_CACHE):
                own.setdefault(owner.id, []).append(name)
    return {
        id_: tuple(sorted(names, key=lambda name: (_is_init(layers[name]), name)))
        for id_, names in own.items()
    }


def _is_init(layer: Layer) -> bool:
    """Also where the role says something else (an inactive store)."""
    return (layer.snapshot.key if layer.snapshot else layer.id).endswith("-init")


def _container(
    owner: Owner,
    record: ContainerRecord | None,
    layers: tuple[str, ...],
    evidence: Iterable[Evidence],
    heard: EngineContainer | None,
) -> Container:
    return Container(
        owner,
        directory=record.path if record else b"",
        layers=layers,
        volumes=tuple(dict.fromkeys(name for name, _ in record.volumes)) if record else (),
        evidence=tuple(evidence),
        image_id=(heard.image_id if heard else "") or (record.image_id if record else ""),
        created=heard.created if heard else "",
    )


def _config(directory: bytes) -> str:
    return os.path.join(os.fsdecode(directory), CONFIG)


# --- images ---------------------------------------------------------------------------------------


def _images(disk: DiskReading, engine: EngineReading | None) -> Iterator[ImageInfo]:
    """Every image that either witness knows; the engine's word for its tags first."""
    theirs = dict(engine.images) if engine else {}
    for info in (*_graphdriver_images(disk), *containerd_images(disk)):
        image = None if info.owner.namespace else theirs.pop(info.owner.id, None)
        yield _with_engine(disk, info, image) if image else info
    for image in theirs.values():
        bare = ImageInfo(by_engine.image_owner(image))
        yield _with_engine(disk, bare, image)


def _graphdriver_images(disk: DiskReading) -> Iterator[ImageInfo]:
    for record in disk.names.images.values():
        names = _directories(disk, record.chain_ids)
        says = f"lists {len(names)} layers by diff id"
        evidence = (Evidence(os.fsdecode(record.path), says),)
        yield ImageInfo(by_disk.image_owner(record), names, evidence, digests=record.digests)


def _with_engine(disk: DiskReading, info: ImageInfo, image: EngineImage) -> ImageInfo:
    """The same image with the engine's tags, and its layers where the disk lacks them."""
    owner = by_engine.image_owner(image)
    says = f"tags {', '.join(owner.tags) or 'none'}"
    names = info.layers
    if not names or ("" in names and len(names) == len(image.directories)):
        names = _present(disk, reversed(image.directories)) or engine_layers(disk, image)
    evidence = (*info.evidence, Evidence(f"engine: image inspect {image.id}", says))
    digests = tuple(dict.fromkeys((*info.digests, *image.digests)))
    return replace(info, owner=owner, layers=names, evidence=evidence, digests=digests)


def _directories(disk: DiskReading, chain_ids: Iterable[str]) -> tuple[str, ...]:
    layers = (disk.names.layers.get(chain_id) for chain_id in chain_ids)
    return _present(disk, (layer.cache_id if layer else "" for layer in layers))


def _present(disk: DiskReading, names: Iterable[str]) -> tuple[str, ...]:
    """The directories that are there, "" for one that is not."""
    return tuple(name if name in disk.graph.directories else "" for name in names)


# --- build cache ----------------------------------------------------------------------------------


def _cache(disk: DiskReading, engine: EngineReading | None) -> Iterator[CacheEntry]:
    """Every cache record that either witness knows, and what it is built on by either's word."""
    found = {record.id: (record, name) for record, name in _records(disk)}
    records = {id_: record for id_, (record, _) in found.items()}
    theirs = engine.cache if engine else {}
    by_chain: dict[str, list[str]] = {}
    for record in records.values():
        by_chain.setdefault(record.chain_id, []).append(record.id)
    for id_ in dict.fromkeys((*records, *theirs)):
        known, listed = records.get(id_), theirs.get(id_)
        parents = (known.parent if known else "", *(listed.parents if listed else ()))
        # A parent that is an image layer stands for the records of that layer.
        parents = (
            *parents,
            *(it for parent in parents if parent for it in by_chain.get(parent, ())),
        )
        layer = found[id_][1] if known else _named_alike(disk, id_)
        owner = by_disk.cache_owner(known) if known else None
        if owner is None and listed:
            owner = by_engine.cache_owner(listed)
        if owner:
            yield CacheEntry(
                owner,
                layer=layer,
                parents=tuple(it for it in dict.fromkeys(parents) if it not in ("", id_)),
                alias_of=known.alias_of if known else "",
                listed=listed is not None,
                in_use=bool(listed and listed.in_use),
                created=listed.created if listed else "",
                blob=known.blob if known else "",
            )


def _records(disk: DiskReading) -> Iterator[tuple[CacheRecord, str]]:
    """BuildKit's records in either store, each with its layer, "" where that is not there."""
    for record in disk.buildkit.records:
        name = by_disk.cache_directory(record, disk.names.layers)
        yield record, name if name in disk.graph.directories else ""
    for snapshotter, worker in disk.workers.items():
        for record in worker.records:
            key = record.directory or record.chain_id
            yield record, _snapshot(disk, snapshotter, key)


def _named_alike(disk: DiskReading, id_: str) -> str:
    """The layer of a record that the engine alone knows: its directory or key is its id, if any."""
    if id_ in disk.graph.directories:
        return id_
    names = (_snapshot(disk, snapshotter, id_) for snapshotter in disk.workers)
    return next(filter(None, names), "")


def _snapshot(disk: DiskReading, snapshotter: str, key: str) -> str:
    reading = disk.containerd
    return reading.directory(disk.root.namespace, snapshotter, key) if reading else ""


# --- volumes --------------------------------------------------------------------------------------


def _volumes(
    disk: DiskReading, engine: EngineReading | None, containers: Iterable[Container]
) -> tuple[Volume, ...]:
    users: dict[str, list[Container]] = {}
    for container in containers:
        for name in container.volumes:
            users.setdefault(name, []).append(container)
    heard = engine.volumes if engine else {}
    return tuple(
        _volume(record, users.get(record.name, []), heard.get(record.name))
        for record in disk.volumes
    )


def _volume(record: VolumeRecord, users: Sequence[Container], heard: EngineVolume | None) -> Volume:
    return Volume(
        Owner(Kind.VOLUME, record.name, name=record.name),
        record.path,
        anonymous=record.anonymous,
        users=tuple(container.owner for container in users),
        backing=record.backing,
        evidence=tuple(
            Evidence(_config(container.directory), "mounts the volume") for container in users
        ),
        listed=ListedVolume(heard.driver, heard.mountpoint, heard.created) if heard else None,
    )
