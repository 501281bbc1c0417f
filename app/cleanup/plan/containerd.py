"""What is special about snapshots: they go by numbers, and containerd alone removes them.

Every containerd of a machine may have a ``snapshots/47``, and Kubernetes in containers brings its
own containerd. So a number alone proves nothing: a mount that could be another one's counts as ours
where that refuses, and never where that allows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise

from app.cleanup.plan.containerd_namespaces import not_dockers
from app.cleanup.plan.context import Doubt, World, listed, named, refused
from app.cleanup.plan.model import Plan, Wish
from app.host.mounts import Mount
from app.model import Kind, Layer, Reference, Role
from app.stores.drivers.overlayfs.snapshotter import USUAL
from app.stores.metadata.containerd.roles import COLLECTED

_LEAVE = "leave it to containerd"


def refused_snapshot(wish: Wish, world: World, layer: Layer) -> Plan | None:
    """Why nothing can be done about a snapshot; None where the engine may be asked."""
    it, title = layer.snapshot, f"snapshot {layer.id}"
    if it and it.namespace != world.store.root.namespace:
        return not_dockers(wish, title, it.namespace, layer)
    leases = [owner.id for owner in layer.owners if owner.kind is Kind.LEASE]
    only_leased = bool(leases) and len(leases) == len(layer.owners)
    collected = layer.role is Role.UNKNOWN and COLLECTED in layer.note
    # Pruned as a cache record's, it could turn out to be an image's.
    doubtful = layer.role is Role.BUILD_CACHE and bool(layer.note)
    if it and not only_leased and not collected and not doubtful:
        return None
    why = f"it is {layer.role.value}: {layer.note or 'metadata.db does not know it'}"
    instead = _LEAVE
    if it and only_leased:
        why = layer.note or f"lease {leases[0]} alone holds it"
        instead = (
            "it goes when who made the lease ends it; "
            f"`ctr --namespace {it.namespace} leases ls` lists them"
        )
    elif not collected:
        instead = "solve what the reason names, then ask again; never remove the directory itself"
    return refused(
        wish,
        title,
        why,
        instead,
        path=layer.path,
        references=layer.references,
        evidence=layer.evidence,
    )


def refused_blob(wish: Wish, world: World) -> Plan:
    """A blob of the content store goes with its images, by containerd's own collection."""
    blob = next((it for it in world.store.blobs.values() if it.path == wish.path), None)
    owners = blob.owners if blob else ()
    images = listed([named(it) for it in owners])
    return refused(
        wish,
        f"blob {os.fsdecode(os.path.basename(wish.path))[:12]}",
        "it is a part of images in containerd's content store, which breaks without it"
        if owners
        else "no image names it: it is of a build or a pull, and only containerd knows of which",
        f"remove {images}: containerd then removes it by itself" if owners else _LEAVE,
        references=(
            Reference(it.kind, it.id, it.name, "this blob is a part of it") for it in owners
        ),
        evidence=blob.evidence if blob else (),
    )


# --- files ----------------------------------------------------------------------------------------


def files_doubt(world: World, layer: Layer) -> Doubt | None:
    """Why no single file may go from a container's snapshot, or None."""
    it = layer.snapshot
    if it is None or it.namespace != world.store.root.namespace or not layer.active:
        return "metadata.db does not know its snapshot as the engine's own", _LEAVE
    instead = "remove the file from inside the running container, with `docker exec`"
    if it.snapshotter != USUAL:
        return f"its snapshotter is {it.snapshotter}, whose layers whodiff does not change", instead
    if it.kind != "active" or [owner.id for owner in layer.owners] != [it.key]:
        return "its snapshot is not the writable one of this container", instead
    return None


def maybe_mounted(world: World, layer: Layer) -> Iterator[Doubt]:
    """Mounts in any namespace that could be of this snapshot, whatever path they name it by."""
    number = os.path.basename(layer.path)
    for mount in world.mounts:
        if any(_names(path, number) for path in _paths(mount)):
            yield (
                f"a mount at {os.fsdecode(mount.point)} uses a snapshot of this number, perhaps "
                "this one, perhaps another containerd's",
                "start the container and remove it from inside, or remove the container",
            )


def _paths(mount: Mount) -> tuple[bytes, ...]:
    own = () if mount.fstype == "overlay" else (mount.root,)
    return (mount.upper, *mount.lowers, *own)


def _names(path: bytes, number: bytes) -> bool:
    pairs = ((number, b"fs"), (b"snapshots", number))
    return any(pair in pairs for pair in pairwise(path.split(b"/")))
