"""A live container's overlay mount: where it can be reached, and what is mounted inside it.

Only a mount that is proven to be this very layer's counts: a copied data root has layers of the
same names, and a removal through the wrong mount would hit the original.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from app.cleanup.plan.context import World, contents
from app.host import looks
from app.host.mounts import Mount, read_own
from app.model import Layer

#: Where the driver mounts a layer, in the layer's directory (moby daemon/graphdriver/overlay2).
_MERGED = b"merged"


@dataclass(frozen=True, slots=True)
class Entrance:
    """A path that leads into the mount, and the mountinfo file that says so."""

    base: bytes
    source: str


def entrance(world: World, layer: Layer) -> Entrance | None:
    """A way in: a mount point that we see ourselves, else the root of a process inside."""
    proven = _is_upper(layer, world)
    for mount in read_own(world.proc):
        if layer.is_snapshot and mount.point != _engines_point(world, layer):
            continue
        if proven(mount) and mount.root == b"/" and _leads_to(mount.point, mount):
            return Entrance(mount.point, "/proc/self/mountinfo")
    if layer.is_snapshot:
        # In another namespace the same path may be another containerd's.
        return None
    for mount in filter(proven, world.mounts):
        base = b"/proc/%d/root" % mount.pid
        if mount.point == b"/" and mount.root == b"/" and _leads_to(base, mount):
            return Entrance(base, f"/proc/{mount.pid}/mountinfo")
    return None


def mounted_at(world: World, layer: Layer, names: Sequence[bytes]) -> Iterator[bytes]:
    """Mount points at, below or above ``names`` inside the container, as paths inside it."""
    inside = b"/".join(names) + b"/"
    for overlay in (mount for mount in world.mounts if _may_be_upper(mount, layer)):
        top = overlay.point.rstrip(b"/") + b"/"
        for mount in world.mounts:
            if mount.namespace != overlay.namespace or not mount.point.startswith(top):
                continue
            point = mount.point[len(top) :] + b"/"
            if point != b"/" and (point.startswith(inside) or inside.startswith(point)):
                yield b"/" + point.rstrip(b"/")


def _is_upper(layer: Layer, world: World) -> Callable[[Mount], bool]:
    """Tells the overlays that have this very layer as their upper directory.

    By the directory itself. A relative option names it only from the driver's directory, and which
    one that was nobody keeps: such an overlay counts where we see it, by its device number, mounted
    in the layer's own directory.
    """
    devices = {mount.device for mount in read_own(world.proc) if _is_mounted_in(mount, layer)}

    def proven(mount: Mount) -> bool:
        if not _may_be_upper(mount, layer):
            return False
        if not mount.upper.startswith(b"/"):
            return not layer.is_snapshot and mount.device in devices
        return _is_same(mount.upper, contents(layer))

    return proven


def _is_mounted_in(mount: Mount, layer: Layer) -> bool:
    above, name = os.path.split(mount.point)
    return mount.fstype == "overlay" and name == _MERGED and _is_same(above, layer.path)


def _is_same(path: bytes, other: bytes) -> bool:
    try:
        return looks.samefile(path, other)
    except OSError:
        return False


def _may_be_upper(mount: Mount, layer: Layer) -> bool:
    """By the last names alone: a copied root has the same, and every containerd the same numbers.

    Whatever is mounted inside such an overlay counts as if it were inside this layer's.
    """
    parts = mount.upper.rstrip(b"/").split(b"/")
    return mount.fstype == "overlay" and parts[-2:] == contents(layer).split(b"/")[-2:]


def _engines_point(world: World, layer: Layer) -> bytes:
    """Where the engine mounts a container's snapshot (moby daemon/snapshotter/mount.go)."""
    it = layer.snapshot
    return looks.realpath(world.path("rootfs", it.snapshotter, it.key)) if it else b""


def _leads_to(path: bytes, mount: Mount) -> bool:
    """Whether this path is the top of that overlay: each has a device number of its own."""
    try:
        device = looks.stat_of(path).st_dev
    except OSError:
        return False
    return f"{os.major(device)}:{os.minor(device)}" == mount.device
