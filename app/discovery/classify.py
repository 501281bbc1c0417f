"""What a directory is: a Docker data root, which store it holds, or what else it looks like.

By what lies in it, never by its name. Sources: moby daemon/graphdriver/driver.go scanPriorDrivers,
daemon/image_store_choice.go, daemon/containerd/service.go; containerd docs/ops.md;
containers/storage docs/containers-storage.conf.5.md.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from app.host import looks
from app.model import ImageStore
from app.stores.drivers.overlayfs.snapshotter import USUAL, snapshotters

#: In the order in which moby prefers one when several have left data (driver_linux.go priority).
GRAPH_DRIVERS = (
    "overlay2",
    "fuse-overlayfs",
    "btrfs",
    "zfs",
    "vfs",
    "aufs",
    "overlay",
    "devicemapper",
)
#: So many entries of a directory are looked at to tell what it is.
ENOUGH = 2000

_FULL_ID = re.compile(rb"[0-9a-f]{64}")
_LAYER = re.compile(rb"[0-9a-f]{64}(-init)?|[0-9a-z]{25}")
_REMAPPED = re.compile(rb"[0-9]{1,10}\.[0-9]{1,10}")
#: Where a driver keeps one entry per layer, if not in its own directory.
_LAYERS_IN = {
    "btrfs": "btrfs/subvolumes",
    "zfs": "zfs/graph",
    "vfs": "vfs/dir",
    "aufs": "aufs/diff",
    "devicemapper": "devicemapper/metadata",
}
_MADE_AT_START = frozenset(
    (b"containers", b"image", b"volumes", b"plugins", b"network", b"swarm", b"runtimes")
)
_ENOUGH_OF_THEM = 3
_PODMANS = frozenset({b"overlay-layers", b"overlay-images", b"overlay-containers"})
#: containerd's snapshotters, each with a directory of that name below rootfs.
_SNAPSHOTTERS = (
    "overlayfs",
    "native",
    "fuse-overlayfs",
    "stargz",
    "nydus",
    "erofs",
    "btrfs",
    "zfs",
)


class RootError(Exception):
    """No data root can be shown; the text is one sentence with the next step."""


class NoDataRoot(RootError):
    """There is nothing at all to look at."""


class NotADataRoot(RootError):
    """A directory that is no Docker data root; the text says what it is instead, if known."""


class Unanswered(RootError):
    """The filesystem that the directory is on does not answer."""


class NoPermission(RootError):
    """The directory is there, but this user may not look into it."""


@dataclass(frozen=True, slots=True)
class Classification:
    """``driver`` is "" where only containers or volumes are there to see."""

    driver: str
    image_store: ImageStore


def classify(path: bytes) -> Classification:
    """What store the data root, or the containerd root, at ``path`` holds, from the disk alone.

    Where both image stores left data, nobody can tell from the disk which one is in use:
    ``UNDECIDED``. Raises NoDataRoot when the directory is not there, NoPermission, NotADataRoot.
    """
    require_directory(path)
    found = _shape(path)
    if found:
        return found
    own = snapshotters(path)
    if own:
        return Classification(USUAL if USUAL in own else own[0], ImageStore.CONTAINERD)
    raise NotADataRoot(_what_else(path))


def may_be_live(path: bytes) -> bool:
    """Whether a daemon may have begun to work in this directory: a data root, or a new one.

    Each dockerd makes most of its directories when it starts (moby daemon/daemon.go NewDaemon).
    """
    return is_data_root(path) or len(_MADE_AT_START.intersection(_names(path))) >= _ENOUGH_OF_THEM


def is_data_root(path: bytes) -> bool:
    """Whether :func:`classify` would accept it."""
    return _shape(path) is not None


def _shape(path: bytes) -> Classification | None:
    if _is_podmans(path):
        return None
    used = [driver for driver in GRAPH_DRIVERS if _has_layers(path, driver)]
    snapshotter = _snapshotter(path)
    if used and snapshotter:
        return Classification(used[0], ImageStore.UNDECIDED)
    if snapshotter:
        return Classification(snapshotter, ImageStore.CONTAINERD)
    if known := used or [driver for driver in GRAPH_DRIVERS if _is_prepared(path, driver)]:
        return Classification(known[0], ImageStore.GRAPHDRIVER)
    if _has_containers(path) or _has_volumes(path):
        return Classification("", ImageStore.UNDECIDED)
    return None


def nested_roots(path: bytes) -> tuple[bytes, ...]:
    """The userns-remapped roots below ``path``: ``<uid>.<gid>`` directories that are data roots.

    moby daemon/daemon_unix.go setupDaemonRoot. Empty where ``path`` cannot be read. Docker makes
    directories; a symbolic link leads to somebody else's.
    """
    return tuple(
        nested
        for name in _names(path)
        if _REMAPPED.fullmatch(name) and _is_own_root(nested := os.path.join(path, name))
    )


def _is_own_root(path: bytes) -> bool:
    """Whether it is a data root itself, and no link to one that lies elsewhere."""
    return not looks.islink(path) and is_data_root(path)


def is_remapped(path: bytes) -> bool:
    """Whether the last part of ``path`` has the shape ``<uid>.<gid>``."""
    return bool(_REMAPPED.fullmatch(os.path.basename(path)))


def require_directory(path: bytes) -> None:
    """Raise a RootError unless this directory can be listed."""
    shown = os.fsdecode(path)
    try:
        looks.names(path, 1)
    except looks.Hangs as error:
        raise Unanswered(looks.sentence(error.where)) from error
    except PermissionError as error:
        raise NoPermission(f"No permission to read {shown}: run whodiff with sudo.") from error
    except NotADirectoryError as error:
        raise NotADataRoot(
            f"{shown} is no directory: give the one that `docker info` calls Docker Root Dir."
        ) from error
    except OSError as error:
        raise NoDataRoot(
            f"{shown} cannot be opened ({error.strerror}): give a directory that exists, the one "
            "that `docker info` calls Docker Root Dir."
        ) from error


def _has_layers(root: bytes, driver: str) -> bool:
    """Whether this driver holds layers, or layerdb knows of some."""
    home = _names(root, _LAYERS_IN.get(driver, driver))
    return any(_LAYER.fullmatch(name) for name in home) or any(
        _FULL_ID.fullmatch(name) for name in _names(root, f"image/{driver}/layerdb/sha256")
    )


def _is_prepared(root: bytes, driver: str) -> bool:
    """Whether an engine has run with this driver, though it may hold no layer."""
    return not {b"layerdb", b"imagedb"}.isdisjoint(_names(root, f"image/{driver}"))


def _snapshotter(root: bytes) -> str:
    """The snapshotter of the containerd image store, "" where that store left no trace.

    Traces: ``rootfs/<snapshotter>`` (mounts of containers), ``buildkit/containerd-<snapshotter>``,
    ``image/identity-cache.db``.
    """
    mounted = _names(root, "rootfs")
    for name in _SNAPSHOTTERS:
        if name.encode() in mounted:
            return name
    for entry in _names(root, "buildkit"):
        if entry.startswith(b"containerd-"):
            return os.fsdecode(entry.removeprefix(b"containerd-"))
    return "overlayfs" if b"identity-cache.db" in _names(root, "image") else ""


def _has_containers(root: bytes) -> bool:
    return any(_FULL_ID.fullmatch(name) for name in _names(root, "containers"))


def _has_volumes(root: bytes) -> bool:
    names = _names(root, "volumes")
    volumes = os.path.join(root, b"volumes")
    return b"metadata.db" in names or any(
        looks.isdir(os.path.join(volumes, name, b"_data")) for name in names
    )


def _is_podmans(root: bytes) -> bool:
    names = _names(root)
    return b"image" not in names and not _PODMANS.isdisjoint(names)


def _names(root: bytes, inside: str = "") -> list[bytes]:
    """Some names in a directory, sorted; none where it cannot be read."""
    try:
        return sorted(name for name, _ in looks.names(os.path.join(root, inside.encode()), ENOUGH))
    except OSError:
        return []


# --- what it is instead ---------------------------------------------------------------------------

_GIVE = "give the directory that `docker info` calls Docker Root Dir, usually /var/lib/docker"


def _what_else(path: bytes) -> str:
    """One sentence on a directory that is no data root, with what to give instead."""
    shown = os.fsdecode(path)
    if better := _root_near(path):
        return f"{shown} is no data root itself: give {os.fsdecode(better)}."
    return f"{shown} {_nature(path)}: {_GIVE}."


def _root_near(path: bytes) -> bytes:
    """The data root meant: a remapped one below, one of a mounted machine, the one around."""
    inner = os.path.join(path, b"var", b"lib", b"docker")
    below = [*nested_roots(path), *(each for each in (inner,) if is_data_root(each))]
    return next(iter(below), b"") or _root_above(path)


def _root_above(path: bytes) -> bytes:
    above = os.path.abspath(path)
    while above not in (b"/", b"//"):
        above = os.path.dirname(above)
        if is_data_root(above):
            return above
    return b""


def _nature(path: bytes) -> str:
    names = _names(path)
    if any(name.startswith((b"io.containerd.snap", b"io.containerd.meta")) for name in names):
        return "belongs to containerd"
    if _is_podmans(path):
        return "belongs to podman, whose storage whodiff does not read"
    if b"diff" in names and not {b"link", b"lower", b"work"}.isdisjoint(names):
        return "looks like a single layer directory"
    return (
        "is no Docker data root, for there is nothing of Docker's in image, overlay2, containers "
        "and volumes"
    )
