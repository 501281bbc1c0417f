"""A data root cut into scan units, so that the units together are the whole of it.

Directories that hold one directory per thing (layers, containers, volumes) are cut open: each
thing is a unit, and what lies beside the things is a shallow unit. Everything else below the root
is one unit per entry.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from app.model import Kind, Layer, Role, Store
from app.scan.walk import Unit
from app.stores.live import LOWER, reason

#: Directories of a data root that hold one directory per layer, container or volume.
OPENED = (b"overlay2", b"containers", b"volumes")

#: Who is most often the culprit is measured first.
_FIRST = (Role.WRITABLE, Role.UNREFERENCED, Role.UNKNOWN, Role.PENDING_REMOVAL)
_LAST = (Role.IMAGE, Role.INIT, Role.INACTIVE)


def units_of(store: Store, fence_points: Iterable[bytes]) -> tuple[Unit, ...]:
    """The units of one data root, the likely culprits first.

    Nested roots (a data root of their own) and mount points are left out, as ``du -x`` does; an
    opened directory that is a file system of its own is measured all the same.
    """
    root = store.root.path
    left_out = {*store.root.nested, *fence_points}
    units = [Unit(root, shallow=True)]
    for path in _directories(root):
        if os.path.basename(path) in OPENED:
            units.append(Unit(path, shallow=True))
            units += [
                Unit(below, shallow=False) for below in _directories(path) if below not in left_out
            ]
        elif path not in left_out:
            units.append(Unit(path, shallow=False))
    layers = {layer.path: layer for layer in store.layers.values()}
    return tuple(sorted(units, key=lambda unit: (_turn(unit, layers), unit.path)))


def unchanging(store: Store) -> frozenset[bytes]:
    """The units of a data root whose contents the engine never changes: committed layers.

    A layer is in layerdb only once all of it is there (moby daemon/internal/layer/layer_store.go,
    registerWithDescriptor), and is never mounted to be written to again. Cache records are left
    out, as a mutable one is written to; and whatever has a note, as something is unusual there.
    Running containers mount their image's layers as lower ones, which overlayfs only reads.
    """
    return frozenset(
        layer.path
        for layer in store.layers.values()
        if layer.role is Role.IMAGE and layer.active and not layer.note and _only_read(layer)
    )


def _only_read(layer: Layer) -> bool:
    """Whether no mount uses the layer as anything but a lower one."""
    mounts = (it for it in layer.references if it.kind is Kind.MOUNT)
    return all(it.why == reason(LOWER) for it in mounts)


def units_changed(units: Iterable[Unit], paths: Iterable[bytes]) -> tuple[bytes, ...]:
    """The units to measure again after something was removed at ``paths``.

    They are those that hold one of the paths, and Docker's own files, which the engine writes to
    when it removes something. Layers, containers and volumes elsewhere are as they were.
    """
    touched = [path.rstrip(b"/") + b"/" for path in paths]
    return tuple(
        unit.path
        for unit in units
        if unit.shallow
        or os.path.basename(os.path.dirname(unit.path)) not in OPENED
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
        with os.scandir(path) as entries:
            yield from sorted(it.path for it in entries if it.is_dir(follow_symlinks=False))
    except OSError:
        # The shallow unit of the same directory counts and names what cannot be read.
        return
