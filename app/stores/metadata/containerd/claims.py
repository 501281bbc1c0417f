"""What each witness says of each snapshot directory.

Docker's own snapshots go by keys that tell what they are (moby daemon/containerd/image_snapshot.go,
daemon/snapshotter): a container's id is its writable layer, the same with ``-init`` its init layer,
a chain id an image layer, a build-cache record's id its data.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from app.engine.inventory import EngineReading
from app.model import Kind, Owner, Role
from app.stores.claims import Claims
from app.stores.drivers.overlayfs.mounts import Holder
from app.stores.metadata.containerd.meta import Lease
from app.stores.metadata.containerd.owners import (
    RECORD_ID,
    VIEW,
    container_owner,
    image_owners,
    lease_owner,
)
from app.stores.metadata.containerd.read import ContainerdReading
from app.stores.metadata.docker import claims as disk_claims
from app.stores.metadata.docker import engine_claims
from app.stores.metadata.docker.buildkit import BuildkitReading
from app.stores.metadata.docker.containers import ContainerRecord
from app.stores.metadata.docker.layerdb import chain_ids

_CONTAINERS = re.compile(r"([0-9a-f]{64})(-init|-init-key)?")
_BELOW = "it stands on this layer"


def snapshot_claims(
    reading: ContainerdReading,
    own: str,
    containers: Mapping[str, ContainerRecord],
    workers: Mapping[str, BuildkitReading],
    holders: Mapping[str, Holder],
) -> Claims:
    """Every snapshot that an image, a container, a cache record, a lease or a mount names.

    ``own`` is Docker's namespace, "" without Docker; ``containers`` are Docker's by id, ``workers``
    BuildKit's records by snapshotter, ``holders`` the containers whose mounts are live.
    """
    disk = _Disk(reading, own, containers, workers)
    disk.claim_images()
    disk.claim_docker_containers()
    disk.claim_other_containers()
    disk.claim_cache()
    disk.claim_mounted(holders)
    disk.claim_leases()
    return disk.claims


class _Disk:
    """Gathers what the disk says, source by source."""

    def __init__(
        self,
        reading: ContainerdReading,
        own: str,
        containers: Mapping[str, ContainerRecord],
        workers: Mapping[str, BuildkitReading],
    ) -> None:
        self.claims = Claims()
        self.reading = reading
        self.own = own
        self.containers = containers
        self.workers = workers

    def claim_images(self) -> None:
        reading = self.reading
        for namespace, owner in image_owners(reading, self.own):
            content = reading.content.images.get(owner.id)
            for manifest in content.manifests if content else ():
                top = len(manifest.chain_ids)
                for _, chain_id, name in reading.layers_of(namespace, manifest):
                    if not name:
                        continue
                    index = manifest.chain_ids.index(chain_id) + 1
                    claim = self.claims.of(name)
                    claim.roles.add(Role.IMAGE)
                    claim.own(owner, f"this is its layer {index} of {top}")
                    claim.say(
                        os.fsdecode(reading.content.place(manifest.config)),
                        f"rootfs.diff_ids {index} of {top} gives chain {chain_id}",
                    )

    def claim_docker_containers(self) -> None:
        for name, snapshot in self.reading.snapshots.items():
            found = _CONTAINERS.fullmatch(snapshot.key)
            record = self.containers.get(found[1]) if found else None
            if found is None or record is None or snapshot.namespace != self.own:
                continue
            owner = disk_claims.container_owner(record)
            role, why = (
                (Role.INIT, "this is its init layer")
                if found[2]
                else (Role.WRITABLE, "this is its writable layer")
            )
            self._own(name, role, owner, why)
            config = os.path.join(os.fsdecode(record.path), "config.v2.json")
            self.claims.of(name).say(config, f"names it {record.name}")
            if role is Role.WRITABLE:
                self._refer_below(name, owner, self._source(snapshot.snapshotter))

    def claim_other_containers(self) -> None:
        reading = self.reading
        for namespace in reading.namespaces.values():
            for entry in namespace.containers.values():
                name = reading.container_snapshot(namespace.name, entry)
                if not name or (namespace.name == self.own and entry.id in self.containers):
                    continue
                space = "" if namespace.name == self.own else namespace.name
                owner = container_owner(space, entry)
                self._own(name, Role.WRITABLE, owner, "this is its writable layer")
                says = f"containers/{entry.id} of namespace {namespace.name} has key {entry.key[1]}"
                self.claims.of(name).say(reading.meta.source, says)
                self._refer_below(name, owner, self._source(entry.key[0]))

    def claim_cache(self) -> None:
        for snapshotter, worker in self.workers.items():
            directories = {
                record.id: self._key(snapshotter, record.directory or record.chain_id)
                for record in worker.records
            }
            for record in sorted(worker.records, key=lambda record: bool(record.alias_of)):
                owner = disk_claims.cache_owner(record)
                key = record.directory or record.chain_id
                name = directories[record.id]
                source = worker.source
                if name:
                    claim = self.claims.of(name)
                    claim.own(owner, "this is its snapshot")
                    claim.say(source, f"record {record.id} has snapshot {key}")
                    if not claim.roles:
                        claim.roles.add(Role.BUILD_CACHE)
                    self._refer_below(name, owner, source)
                view = self._key(snapshotter, key + VIEW)
                if view:
                    self._own(view, Role.BUILD_CACHE, owner, "this is a view that it is read by")
                    self.claims.of(view).say(source, f"record {record.id} has snapshot {key}")
                twin = self._key(snapshotter, record.chain_id)
                if twin and twin != name:
                    self.claims.of(twin).refer(owner, "it was exported as this layer")
                    says = f"{record.id} was exported as {record.chain_id}"
                    self.claims.of(twin).say(source, says)

    def claim_mounted(self, holders: Mapping[str, Holder]) -> None:
        """A live mount names its container even where the databases do not."""
        for name, holder in holders.items():
            claim = self.claims.of(name)
            if claim.roles or holder.id not in self.containers or holder.namespace:
                continue
            owner = disk_claims.container_owner(self.containers[holder.id])
            self._own(name, Role.WRITABLE, owner, "this is its writable layer")
            claim.say(holder.source, f"{os.fsdecode(holder.point)} has it as its upper layer")

    def claim_leases(self) -> None:
        """What only a lease explains. BuildKit's leases have a record's id, Docker's a container's.

        Last, for a lease of something that is known is no more than evidence.
        """
        reading = self.reading
        for namespace in reading.namespaces.values():
            for lease in namespace.leases.values():
                for snapshotter, key in sorted(lease.snapshots):
                    name = reading.directory(namespace.name, snapshotter, key)
                    if name:
                        self._leased(name, lease, namespace.name, key)

    def _leased(self, name: str, lease: Lease, namespace: str, key: str) -> None:
        claim = self.claims.of(name)
        says = f"lease {lease.id} of namespace {namespace} holds it"
        claim.say(self.reading.meta.source, says)
        record = lease.id.removesuffix(VIEW)
        if namespace == self.own and not claim.owners and RECORD_ID.fullmatch(record):
            owner = Owner(Kind.BUILD_CACHE, record)
            role = Role.IMAGE if key.startswith("sha256:") and VIEW not in key else None
            self._own(name, role or Role.BUILD_CACHE, owner, "its lease holds this snapshot")
        elif not any(lease.id.startswith(id_) for _, id_ in claim.users):
            owner = lease_owner(lease, namespace, self.own)
            claim.refer(owner, "the lease keeps it from being collected")
            for below in self.reading.below(name):
                self.claims.of(below).refer(owner, "a snapshot of the lease stands on it")

    def _own(self, name: str, role: Role, owner: Owner, why: str) -> None:
        claim = self.claims.of(name)
        claim.roles.add(role)
        claim.own(owner, why)

    def _refer_below(self, name: str, owner: Owner, source: str) -> None:
        """``owner`` keeps every layer below."""
        for below in self.reading.below(name):
            claim = self.claims.of(below)
            if (owner.kind, owner.id) not in claim.users:
                claim.refer(owner, _BELOW)
                claim.say(source, f"{owner.id} stands on it")

    def _key(self, snapshotter: str, key: str) -> str:
        return self.reading.directory(self.own, snapshotter, key)

    def _source(self, snapshotter: str) -> str:
        home = next((it.home for it in self.reading.snapshotters if it.name == snapshotter), b"")
        return os.path.join(os.path.dirname(os.fsdecode(home)), "metadata.db")


# --- the engine -----------------------------------------------------------------------------------


def engine_snapshot_claims(engine: EngineReading, reading: ContainerdReading, own: str) -> Claims:
    """What the engine says, by ids: it names no directory (moby daemon/inspect.go, API 1.44 on).

    A container's id is the key of its snapshot, and the diff ids of an image give its layers' keys.
    Which directory a key is, the snapshotter's database alone tells.
    """
    claims = Claims()
    used = engine.info.driver
    for container in engine.containers.values():
        owner = engine_claims.container_owner(container)
        source = "engine: /containers/json"
        for suffix, role, why in (
            ("", Role.WRITABLE, "this is its writable layer"),
            ("-init", Role.INIT, "this is its init layer"),
        ):
            name = reading.directory(own, used, container.id + suffix)
            if not name:
                continue
            claim = claims.of(name)
            claim.roles.add(role)
            claim.own(owner, why)
            claim.say(source, f"lists {container.name}, whose id is the key of the snapshot")
            for below in reading.below(name) if role is Role.WRITABLE else ():
                claims.of(below).refer(owner, _BELOW)
    for image in engine.images.values():
        chain = chain_ids(image.diff_ids)
        for name, chain_id in _layers(reading, own, used, chain):
            claim = claims.of(name)
            claim.roles.add(Role.IMAGE)
            claim.own(engine_claims.image_owner(image), "this is one of its layers")
            claim.say(f"engine: image inspect {image.id}", f"RootFS.Layers gives chain {chain_id}")
    for record in engine.cache.values():
        name = reading.directory(own, used, record.id)
        if name:
            claim = claims.of(name)
            claim.own(engine_claims.cache_owner(record), "this is its snapshot")
            claim.say("engine: /system/df", f"lists build-cache record {record.id}")
            if not claim.roles:
                claim.roles.add(Role.BUILD_CACHE)
    return claims


def _layers(
    reading: ContainerdReading, own: str, snapshotter: str, chain: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    for chain_id in chain:
        name = reading.directory(own, snapshotter, chain_id)
        if name:
            yield name, chain_id
