"""Which snapshots are mounted right now, and whose mounts they are.

containerd hands ``lowerdir=.../snapshots/N/fs:...,upperdir=...`` to the kernel; where that would
exceed a page it goes into ``snapshots`` and leaves the lower ones relative (core/mount/
mount_linux.go compactLowerdirOption). A snapshot without a parent, and a view of one layer, is a
bind mount. Docker mounts its containers at ``DATA/rootfs/<snapshotter>/<id>`` (moby daemon/
snapshotter/mount.go), all others at ``.../io.containerd.runtime.v2.task/<namespace>/<id>/rootfs``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.host import looks
from app.host.mounts import Mount
from app.host.overlays import LOWER, UPPER
from app.stores.drivers.overlay2.mounts import BIND, Live, Use
from app.stores.drivers.overlayfs.snapshotter import directory_id
from app.stores.metadata.containerd.read import ContainerdReading

_IN_STORE = re.compile(
    rb"(?P<root>.*)/io\.containerd\.snapshotter\.v1\.(?P<name>[^/]+)/snapshots/(?P<n>[^/]+)(/.*)?",
    re.DOTALL,
)
_RELATIVE = re.compile(rb"(?:snapshots/)?([0-9]+)/fs")
_DOCKERS = re.compile(rb".*/rootfs/[^/]+/(?P<id>[0-9a-f]{64})", re.DOTALL)
_TASK = re.compile(
    rb".*/io\.containerd\.runtime\.v[0-9]+\.[^/]+/(?P<ns>[^/]+)/(?P<id>[^/]+)/rootfs", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Holder:
    """A container that a mount point names. ``namespace`` is "" for Docker's own."""

    id: str
    namespace: str
    point: bytes
    source: str


@dataclass(frozen=True, slots=True)
class LiveSnapshots:
    """The live uses of each snapshot directory, and the container that writes into it."""

    live: Live
    holders: dict[str, Holder]


def find_live_snapshots(mounts: Sequence[Mount], reading: ContainerdReading) -> LiveSnapshots:
    """Match every mount against the snapshots of one containerd root."""
    homes = {it.name: it.home for it in reading.snapshotters}
    return match_snapshots(mounts, reading.root, homes, reading.graph.directories)


def snapshots_seen_at(mounts: Sequence[Mount], reading: ContainerdReading) -> dict[bytes, str]:
    """The snapshot that is seen at each mount point, as overlay2's ``seen_at`` has it."""
    homes = {it.name: it.home for it in reading.snapshotters}
    matcher = _Matcher(reading.root, homes, reading.graph.directories)
    return {
        mount.point: name
        for mount in mounts
        for name, as_what in matcher.matches(mount)
        if as_what is not LOWER
    }


def match_snapshots(
    mounts: Sequence[Mount], root: bytes, homes: Mapping[str, bytes], known: Collection[str]
) -> LiveSnapshots:
    """The same, of the snapshots with these ids; ``homes`` are their directories by snapshotter."""
    matcher = _Matcher(root, homes, known)
    uses: dict[str, dict[tuple[str, str], Use]] = {}
    holders: dict[str, Holder] = {}
    for mount in mounts:
        for name, as_what in matcher.matches(mount):
            source = mount.source_file
            use = Use(mount.point, as_what, source, mount)
            # One overlay seen from several namespaces is one use; "/" is the container's own view.
            key = (os.fsdecode(mount.point) if as_what is BIND else mount.device, as_what)
            earlier = uses.setdefault(name, {}).get(key)
            if earlier is None or (earlier.point == b"/" and mount.point != b"/"):
                uses[name][key] = use
            holder = _holder(mount, source)
            if holder and as_what is not LOWER:
                holders[name] = holder
    return LiveSnapshots(Live({name: tuple(it.values()) for name, it in uses.items()}), holders)


def _holder(mount: Mount, source: str) -> Holder | None:
    if docker := _DOCKERS.fullmatch(mount.point):
        return Holder(os.fsdecode(docker["id"]), "", mount.point, source)
    if task := _TASK.fullmatch(mount.point):
        return Holder(os.fsdecode(task["id"]), os.fsdecode(task["ns"]), mount.point, source)
    return None


class _Matcher:
    """Tells which snapshots of one containerd root a mount uses."""

    def __init__(self, root: bytes, homes: Mapping[str, bytes], known: Collection[str]) -> None:
        self._known = known
        self._root = looks.realpath(root)
        self._names = list(homes)
        self._devices = {name: _device(home) for name, home in homes.items()}
        self._roots: dict[bytes, bool] = {}

    def matches(self, mount: Mount) -> Iterator[tuple[str, str]]:
        """The ids of the snapshots, each with what it is to the mount."""
        upper = self._absolute(mount.upper)
        if upper:
            yield upper, UPPER
        ours = bool(upper) or not mount.upper
        for lower in mount.lowers:
            below = self._absolute(lower) or (self._relative(lower, upper) if ours else "")
            if below:
                yield below, LOWER
        if mount.fstype != "overlay" and (bound := self._bound(mount)):
            yield bound, BIND

    def _absolute(self, path: bytes) -> str:
        found = _IN_STORE.fullmatch(path)
        if not found or not self._is_root(found["root"]):
            return ""
        return self._id(os.fsdecode(found["name"]), found["n"])

    def _is_root(self, prefix: bytes) -> bool:
        """Whether a path as somebody mounted it is this root, seen through symbolic links."""
        if prefix not in self._roots:
            self._roots[prefix] = looks.realpath(prefix) == self._root
        return self._roots[prefix]

    def _relative(self, path: bytes, upper: str) -> str:
        """A lower directory relative to its upper one's ``snapshots``, or to any of them."""
        found = _RELATIVE.fullmatch(path)
        if not found:
            return ""
        if upper:
            name = upper.rpartition("/")[0] + "/" + os.fsdecode(found[1])
            return name if name in self._known else ""
        return next(filter(None, (self._id(name, found[1]) for name in self._names)), "")

    def _bound(self, mount: Mount) -> str:
        """The snapshot whose ``fs`` is bound there; ``root`` is a path within its file system."""
        found = _IN_STORE.fullmatch(mount.root)
        if not found or not self._root.endswith(found["root"]):
            return ""
        name = os.fsdecode(found["name"])
        same = mount.device == self._devices.get(name) or mount.fstype == "btrfs"
        return self._id(name, found["n"]) if same else ""

    def _id(self, snapshotter: str, number: bytes) -> str:
        id_ = directory_id(snapshotter, os.fsdecode(number))
        return id_ if id_ in self._known else ""


def _device(path: bytes) -> str:
    try:
        device = looks.stat_of(path).st_dev
    except OSError:
        return ""
    return f"{os.major(device)}:{os.minor(device)}"
