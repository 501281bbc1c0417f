"""What the disk says of each layer directory.

The mapping is moby's own (daemon/internal/layer/filestore.go): ``layerdb/sha256/<chain>/cache-id``
names an image layer's directory, ``layerdb/mounts/<container>/mount-id`` and ``init-id`` name a
container's two directories. BuildKit's records lead to directories through snapshots.db.
"""

from __future__ import annotations

import os
import re

from app.model import Kind, Owner, Role
from app.stores.claims import Claims
from app.stores.metadata.docker.buildkit import CacheRecord
from app.stores.metadata.docker.containers import ContainerRecord
from app.stores.metadata.docker.layerdb import ImageRecord, LayerRecord, MountRecord
from app.stores.metadata.docker.read import DiskReading

CONTAINER_ID = re.compile(r"[0-9a-f]{64}")


def container_owner(record: ContainerRecord) -> Owner:
    """A container as its config.v2.json describes it."""
    return Owner(
        Kind.CONTAINER,
        record.id,
        name=record.name,
        state=record.state,
        image=record.image,
        compose_project=record.compose_project,
        compose_service=record.compose_service,
    )


def image_owner(record: ImageRecord) -> Owner:
    """An image with its tags; the first tag is its name, an untagged one has none."""
    return Owner(Kind.IMAGE, record.id, name=next(iter(record.tags), ""), tags=record.tags)


def cache_owner(record: CacheRecord) -> Owner:
    """A build-cache record, named by its cache mount id or its description."""
    return Owner(Kind.BUILD_CACHE, record.id, name=record.cache_mount_id or record.description)


def mount_owner(disk: DiskReading, mount: MountRecord) -> Owner:
    """The container of a layerdb mount; without a readable config only its id is known.

    BuildKit mounts views of layers under ids of its own, which are no container's
    (moby daemon/internal/builder-next/adapters/snapshot/snapshot.go Mounts).
    """
    record = disk.containers.get(mount.container_id)
    if record:
        return container_owner(record)
    is_container = CONTAINER_ID.fullmatch(mount.container_id)
    return Owner(Kind.CONTAINER if is_container else Kind.BUILD_CACHE, mount.container_id)


def lineage(layers: dict[str, LayerRecord], chain_id: str) -> tuple[str, ...]:
    """``chain_id`` and its ancestors, nearest first; stops at a gap or a loop."""
    seen: dict[str, None] = {}
    while chain_id and chain_id in layers and chain_id not in seen:
        seen[chain_id] = None
        chain_id = layers[chain_id].parent
    return tuple(seen)


def disk_claims(disk: DiskReading) -> Claims:
    """Every directory that layerdb, imagedb, the mounts or BuildKit's databases name."""
    claims = Claims()
    _claim_layers(disk, claims)
    _claim_images(disk, claims)
    _claim_containers(disk, claims)
    _claim_cache(disk, claims)
    return claims


def _source(path: bytes, *more: str) -> str:
    return os.path.join(os.fsdecode(path), *more)


def _claim_layers(disk: DiskReading, claims: Claims) -> None:
    for layer in disk.names.layers.values():
        claim = claims.of(layer.cache_id)
        claim.roles.add(Role.IMAGE)
        claim.say(_source(layer.path, "cache-id"), f"is the directory of layer {layer.chain_id}")
    for layer in disk.names.removing:
        claim = claims.of(layer.cache_id)
        claim.roles.add(Role.PENDING_REMOVAL)
        claim.say(
            _source(layer.path, "cache-id"),
            "the engine began to remove this layer; it finishes when it next stops in good order",
        )


def _claim_images(disk: DiskReading, claims: Claims) -> None:
    layers = disk.names.layers
    for image in disk.names.images.values():
        owner = image_owner(image)
        top = len(image.chain_ids)
        for index, chain_id in enumerate(image.chain_ids, 1):
            if chain_id not in layers:
                continue
            claim = claims.of(layers[chain_id].cache_id)
            claim.own(owner, f"this is its layer {index} of {top}")
            claim.say(
                _source(image.path), f"rootfs.diff_ids {index} of {top} gives chain {chain_id}"
            )


def _claim_containers(disk: DiskReading, claims: Claims) -> None:
    for mount in disk.names.mounts.values():
        owner = mount_owner(disk, mount)
        for name, file, role, why in (
            (mount.mount_id, "mount-id", Role.WRITABLE, "this is its writable layer"),
            (mount.init_id, "init-id", Role.INIT, "this is its init layer"),
        ):
            if not name:
                continue
            claim = claims.of(name)
            claim.roles.add(role if owner.kind is Kind.CONTAINER else Role.BUILD_CACHE)
            claim.own(owner, why)
            claim.say(_source(mount.path, file), f"is the {role.value} directory of {owner.id}")
            record = disk.containers.get(owner.id)
            if record:
                claim.say(_source(record.path, "config.v2.json"), f"names it {record.name}")
        _refer_below(disk, claims, mount.parent, owner, _source(mount.path, "parent"))


def _refer_below(
    disk: DiskReading, claims: Claims, chain_id: str, owner: Owner, source: str
) -> None:
    """``owner`` keeps the layer of ``chain_id`` and every one below it."""
    layers = disk.names.layers
    for chain in lineage(layers, chain_id):
        claim = claims.of(layers[chain].cache_id)
        claim.refer(owner, "it stands on this layer")
        claim.say(source, f"{owner.id} stands on {chain_id}")


def _claim_cache(disk: DiskReading, claims: Claims) -> None:
    layers = disk.names.layers
    database = _source(disk.root.path, "buildkit", "snapshots.db")
    directories = {record.id: cache_directory(record, layers) for record in disk.buildkit.records}
    # An alias names the same snapshot as the record it stands for, which goes first.
    for record in sorted(disk.buildkit.records, key=lambda record: bool(record.alias_of)):
        owner = cache_owner(record)
        name = directories[record.id]
        if name:
            claim = claims.of(name)
            claim.own(owner, "this is its snapshot")
            claim.say(database, f"is the snapshot of build-cache record {record.id}")
            if not claim.roles:
                claim.roles.add(Role.BUILD_CACHE)
        twin = _chain_directory(layers, record.chain_id)
        if twin and twin != name:
            # The same layer built twice: the record has a snapshot of its own beside layerdb's.
            claims.of(twin).refer(owner, "it was exported as this layer")
            claims.of(twin).say(database, f"{record.id} was exported as {record.chain_id}")
        below = directories.get(record.parent, "")
        if below and below != name:
            claims.of(below).refer(owner, "it is built on this snapshot")
            claims.of(below).say(database, f"{record.id} is built on {record.parent}")
        # A pulled image has one record, for its top layer: it keeps those below as well.
        base = record.parent if record.directory else record.chain_id
        _refer_below(disk, claims, base, owner, database)


def _chain_directory(layers: dict[str, LayerRecord], chain_id: str) -> str:
    return layers[chain_id].cache_id if chain_id in layers else ""


def cache_directory(record: CacheRecord, layers: dict[str, LayerRecord]) -> str:
    """The name of the directory with a record's data, "" where nobody knows it."""
    return record.directory or _chain_directory(layers, record.chain_id)
