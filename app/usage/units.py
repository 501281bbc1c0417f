"""A data root cut into scan units, so that the units together are the whole of it.

Directories that hold one directory per thing (layers, containers, volumes) are cut open: each
thing is a unit, and what lies beside the things is a shallow unit. Everything else below the root
is one unit per entry. A containerd that works for the root is cut in the same way.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from app.host import looks
from app.host.overlays import LOWER
from app.model import Kind, Layer, Role, Store, Usage, within
from app.scan.walk import Unit
from app.stores.drivers.overlay2.mounts import reason
from app.stores.drivers.overlayfs.snapshotter import SNAPSHOTS
from app.stores.metadata.containerd.content import BLOBS, CONTENT

#: Directories of a data root that hold one directory per layer, container or volume.
OPENED = (b"overlay2", b"containers", b"volumes")

_SNAPSHOTS = SNAPSHOTS.encode()

#: Who is most often the culprit is measured first.
_FIRST = (Role.WRITABLE, Role.UNREFERENCED, Role.UNKNOWN, Role.PENDING_REMOVAL)
_LAST = (Role.IMAGE, Role.INIT, Role.INACTIVE)


def opened_of(store: Store) -> frozenset[bytes]:
    """The directories of a data root that are cut open, without the root itself."""
    root = store.root
    opened = {os.path.join(root.path, name) for name in OPENED}
    if root.containerd:
        homes = {
            os.path.dirname(it.path) for it in store.layers.values() if _is_snapshot(store, it)
        }
        opened |= homes | {os.path.dirname(home) for home in homes}
        content = os.path.join(root.containerd, CONTENT)
        opened |= {content, os.path.join(content, b"blobs")}
        above = root.containerd
        while above != root.path and above.startswith(root.path.rstrip(b"/") + b"/"):
            opened.add(above)
            above = os.path.dirname(above)
    return frozenset(opened)


def _is_snapshot(store: Store, layer: Layer) -> bool:
    return within(layer.path, store.root.containerd)


def blobs_of(store: Store) -> bytes:
    """The unit that holds all blobs of containerd's content store, b"" without one."""
    root = store.root.containerd
    return os.path.join(root, BLOBS) if root else b""


def units_of(store: Store, fence_points: Iterable[bytes]) -> tuple[Unit, ...]:
    """The units of one data root, the likely culprits first.

    Nested roots (a data root of their own) and mount points are left out, as ``du -x`` does; an
    opened directory that is a file system of its own is measured all the same.
    """
    left_out = {*store.root.nested, *fence_points}
    opened = opened_of(store)
    units = [unit for place in store.root.places for unit in _cut(place, opened, left_out)]
    layers = {layer.path: layer for layer in store.layers.values()}
    return tuple(sorted(units, key=lambda unit: (_turn(unit, layers), unit.path)))


def _cut(path: bytes, opened: frozenset[bytes], left_out: set[bytes]) -> Iterator[Unit]:
    yield Unit(path, shallow=True)
    for below in _directories(path):
        if below in opened:
            yield from _cut(below, opened, left_out)
        elif below not in left_out:
            yield Unit(below, shallow=False)


def parts_of(stores: Iterable[Store]) -> dict[bytes, Usage]:
    """What each blob takes, by path: they are parts of :func:`blobs_of`."""
    return {blob.path: blob.usage for store in stores for blob in store.blobs.values()}


def recorded_of(stores: Iterable[Store]) -> dict[bytes, Usage]:
    """What containerd recorded of committed snapshots, by unit."""
    return {
        layer.path: layer.snapshot.recorded
        for store in stores
        for layer in store.layers.values()
        if layer.snapshot and layer.snapshot.recorded
    }


def unchanging(store: Store) -> frozenset[bytes]:
    """The units of a data root whose contents the engine never changes: committed layers.

    A layer is in layerdb only once all of it is there (moby daemon/internal/layer/layer_store.go,
    registerWithDescriptor), and is never mounted to be written to again. Cache records are left
    out, as a mutable one is written to; so are containerd's snapshots, which layerdb knows nothing
    of; and whatever has a note, as something is unusual there.
    Running containers mount their image's layers as lower ones, which overlayfs only reads.
    """
    return frozenset(
        layer.path
        for layer in store.layers.values()
        if layer.role is Role.IMAGE and not layer.is_snapshot
        if layer.active and not layer.note and _only_read(layer)
    )


def _only_read(layer: Layer) -> bool:
    """Whether no mount uses the layer as anything but a lower one."""
    mounts = (it for it in layer.references if it.kind is Kind.MOUNT)
    return all(it.why == reason(LOWER) for it in mounts)


def units_changed(units: Iterable[Unit], paths: Iterable[bytes]) -> tuple[bytes, ...]:
    """The units to measure again after something was removed at ``paths``.

    They are those that hold one of the paths, and Docker's and containerd's own files, which they
    write to when they remove something. Layers, containers and volumes elsewhere are as they were.
    """
    touched = [path.rstrip(b"/") + b"/" for path in paths]
    return tuple(
        unit.path
        for unit in units
        if unit.shallow
        or os.path.basename(os.path.dirname(unit.path)) not in (*OPENED, _SNAPSHOTS)
        or any(path.startswith(unit.path + b"/") for path in touched)
    )


def _turn(unit: Unit, layers: dict[bytes, Layer]) -> int:
    if unit.shallow:
        return 0
    layer = layers.get(unit.path)
    if layer is None:
        return 2
    if layer.role in _FIRST:
        return 1 if layer.mounts else 2
    return 4 if layer.role in _LAST else 3


def _directories(path: bytes) -> Iterator[bytes]:
    try:
        for name, kind in sorted(looks.names(path)):
            if kind == "d":
                yield os.path.join(path, name)
    except OSError:
        # The shallow unit of the same directory counts and names what cannot be read.
        return
