"""What uses a directory that is to go: mounts, processes, the kernel itself, each with a way out.

The facts come typed from ``app.host`` and ``app.stores``; here they become a reason and a next
step.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from app.cleanup.plan.commands import quoted
from app.cleanup.plan.context import Doubt, World, named
from app.host.detached import Detached, detached_overlays
from app.host.kernel_users import Kernel, KernelUse, kernel_uses
from app.host.mounts import Mount, holding, read_own
from app.host.open_files import Holder
from app.host.overlays import Contents, Shown
from app.host.within import Found, TooLarge, Within
from app.model import Kind, Layer, Reference, within
from app.stores.drivers.overlay2.mounts import Use, find_live
from app.stores.drivers.overlay2.read import LayerDir, LayerGraph

_DIRECTORY = os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW
_END = "end that process, or let it go on and ask again"


# --- mounts ---------------------------------------------------------------------------------------


def mount_doubts(world: World, layer: Layer) -> Iterator[Doubt]:
    """Mounts of a layer directory, or inside it, under whatever path, in whatever namespace."""
    if world.unseen_mounts:
        yield f"it may be mounted: {world.unseen_mounts}", look_elsewhere()
    yield from (_mounted(world, use) for use in world.uses(layer.id))
    yield from unnamed_doubts(world, layer)
    yield from mounted_inside(world, [layer])


def unnamed_doubts(world: World, layer: Layer) -> Iterator[Doubt]:
    """Mounts of it that only a closer look shows: kept by a descriptor, or with lost options."""
    yield from (_mounted(world, use) for use in world.kept_uses(layer.id))
    if not world.unseen_mounts and world.every_unseen_mount:
        yield f"it may be mounted: {world.every_unseen_mount}", look_elsewhere()
    for overlay, shown in world.perhaps(layer):
        yield (
            f"{overlay.may_use_words(shown)}{whose(world, overlay.mounts[0])}",
            way_out(world, overlay.mounts[0]),
        )


def mounts_of(world: World, path: bytes) -> Iterator[Doubt]:
    """Mounts that use a file or directory which is no layer, wherever they are."""
    name = os.path.basename(path)
    graph = LayerGraph({os.fsdecode(name): LayerDir(os.fsdecode(name), path)}, {})
    live = find_live(world.every_mount, graph, world.proc)
    yield from (_mounted(world, use) for use in live.uses.get(os.fsdecode(name), ()))
    if os.path.isdir(path):
        for overlay, shown in live.perhaps(path):
            words = f"{overlay.may_use_words(shown)}{whose(world, overlay.mounts[0])}"
            yield words, way_out(world, overlay.mounts[0])
    for mount in binds_of(path, world):
        point = os.fsdecode(mount.point)
        yield f"it is mounted now at {point}{whose(world, mount)}", way_out(world, mount)
    if world.every_unseen_mount:
        yield f"it may be mounted: {world.every_unseen_mount}", look_elsewhere()


def binds_of(path: bytes, world: World) -> Iterator[Mount]:
    """The mounts that show what lies at or below our path, by its place in its file system."""
    home = holding(path, read_own(world.proc))
    if home is None:
        return
    inside = home.root.rstrip(b"/") + path[len(home.point.rstrip(b"/")) :]
    for mount in world.every_mount:
        if mount.device == home.device and within(mount.root, inside):
            yield mount


def _mounted(world: World, use: Use) -> Doubt:
    point = os.fsdecode(use.point)
    return (
        f"it is mounted now at {point} as {use.as_what}{whose(world, use.mount)}",
        way_out(world, use.mount) if use.mount else f"unmount it first: umount {quoted(point)}",
    )


def mounted_inside(world: World, layers: Iterable[Layer]) -> Iterator[Doubt]:
    """What is mounted inside these layers' directories, but for their own ``merged``.

    Whoever removes the directory would go on into what is mounted there in its own namespace, and
    takes it from everybody else.
    """
    for mount in world.mounted_in(layers, world.every_mount):
        yield _inside(world, mount)


def hindering(world: World, layers: Iterable[Layer], going: str = "") -> Iterator[Doubt]:
    """The same for what the daemon removes: only what is mounted in its namespace, or in ours.

    A mount point in another one does not hinder it since Linux 3.19 (fs/namespace.c
    __detach_mounts). The mounts of the container that is ``going`` go with it.
    """
    for mount in world.mounted_in(layers):
        owner = world.container_in(mount)
        if world.hinders(mount) and not (owner and owner.id == going):
            yield _inside(world, mount)


def mounted_by_others(world: World, layers: Iterable[Layer], going: str) -> Iterator[Reference]:
    """Mounts inside these layers in the namespaces of others, which lose them."""
    for mount in world.mounted_in(layers):
        owner = world.container_in(mount)
        if not world.hinders(mount) and not (owner and owner.id == going):
            point = os.fsdecode(mount.point)
            why = f"something is mounted in it there{whose(world, mount)}"
            yield Reference(Kind.MOUNT, point, point, why)


def _inside(world: World, mount: Mount) -> Doubt:
    point = os.fsdecode(mount.point)
    return f"something is mounted in it, at {point}{whose(world, mount)}", way_out(world, mount)


def whose(world: World, mount: Mount | None) -> str:
    """`` in container web (process 12)``: who has this mount, unless we see it ourselves."""
    if mount is None or world.is_own(mount):
        return ""
    if not mount.pid:
        kept = os.fsdecode(mount.kept_by) or mount.namespace
        return f", in a mount namespace without a process, which {kept} keeps"
    owner = world.container_in(mount)
    who = named(owner) if owner else "the mount namespace"
    return f", in {who} (process {mount.pid})" if owner else f", in {who} of process {mount.pid}"


def way_out(world: World, mount: Mount) -> str:
    """What takes this mount away."""
    point = quoted(os.fsdecode(mount.point))
    if world.is_own(mount):
        return f"unmount it first: umount {point}"
    if owner := world.container_in(mount):
        return f"stop {named(owner)} first: {world.docker('stop', owner.name or owner.id)}"
    if mount.pid:
        return f"unmount it there: nsenter --target {mount.pid} --mount umount {point}"
    if mount.kept_by:
        kept = quoted(os.fsdecode(mount.kept_by))
        return f"unmount it there: nsenter --mount={kept} umount {point}"
    return "end what keeps that namespace, or restart the host"


def look_elsewhere() -> str:
    """What to do where this process may not look at all others."""
    if os.geteuid():
        return "run whodiff as root"
    return (
        "even root may not look here: run whodiff on the host itself, or in a container with "
        "--privileged --pid=host"
    )


# --- what is held ---------------------------------------------------------------------------------


def open_doubts(world: World, path: bytes) -> Iterator[Doubt]:
    """What processes or the kernel hold of it, and processes that could not be looked at."""
    files = world.open_files
    try:
        top = os.open(path, _DIRECTORY)
    except OSError as error:
        yield f"{os.fsdecode(path)} cannot be examined ({error.strerror})", "look again"
        return
    try:
        within = Within(top, os.path.basename(path), world.listed, world.proc)
        for found in within.holders(files):
            yield _held(found)
        for use in kernel_uses(within, world.proc):
            yield _kernel(use)
        yield from _detached(world, top)
    finally:
        os.close(top)
    if files.unread:
        yield f"what process {files.unread[0]} holds open could not be read", look_elsewhere()


def kernel_doubts(world: World, path: bytes) -> Iterator[Doubt]:
    """What the kernel holds of it; nothing where it is not there."""
    try:
        top = os.open(path, _DIRECTORY)
    except OSError:
        return
    try:
        within = Within(top, os.path.basename(path), world.listed, world.proc)
        yield from (_kernel(use) for use in kernel_uses(within, world.proc))
    finally:
        os.close(top)


def held_in(world: World, path: bytes) -> Iterator[Holder]:
    """The processes that hold something at or below a directory; none where it is not there."""
    try:
        top = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return
    try:
        within = Within(top, os.path.basename(path), world.listed, world.proc)
        yield from (it.holder for it in within.holders(world.open_files))
    finally:
        os.close(top)


def _held(found: Found) -> Doubt:
    if found.sure:
        return f"in use: {found.holder}", _END
    return f"it may be in use: {found.holder}, and nobody can tell where that lies", _END


def _kernel(use: KernelUse) -> Doubt:
    path = os.fsdecode(use.path)
    word = "in use" if use.sure else "it may be in use"
    if use.what is Kernel.LOOP:
        return f"{word}: loop device {use.name} is on {path}", f"losetup -d /dev/{use.name}"
    if use.what is Kernel.SWAP:
        return f"{word}: swap area {path}", f"swapoff {quoted(path)}"
    return f"{word}: the NFS server hands out {path}", f"take it out of /etc/exports: {path}"


def _detached(world: World, top: int) -> Iterator[Doubt]:
    overlays = list(detached_overlays(world.open_files, world.listed))
    if not overlays:
        return
    try:
        contents = Contents.of(top)
    except (OSError, TooLarge):
        contents = None
    for it in overlays:
        shown = _shown(it, contents) if contents else Shown.UNKNOWN
        if shown is Shown.NOTHING:
            continue
        words = "shows what is in it" if shown is Shown.SOMETHING else "may use it"
        yield f"an overlay that was unmounted while in use {words}: {it.holder}", _END


def _shown(it: Detached, contents: Contents) -> Shown:
    try:
        descriptor = os.open(it.holder.link, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        # It has ended.
        return Shown.NOTHING
    try:
        if not it.held.is_directory:
            name = os.path.basename(os.readlink(it.holder.link))
            seen = contents.has(os.fsdecode(name), os.fstat(descriptor))
            return Shown.SOMETHING if seen else Shown.NOTHING
        return _from_its_root(descriptor, contents)
    except (OSError, TooLarge):
        return Shown.UNKNOWN
    finally:
        os.close(descriptor)


def _from_its_root(directory: int, contents: Contents) -> Shown:
    """From the root of the mount, which is its own parent there."""
    above = os.open(b".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        at_root = False
        while not at_root:
            below, above = above, _above(above)
            at_root = os.path.samestat(os.fstat(below), os.fstat(above))
            os.close(below)
        return contents.seen_below(above)
    finally:
        os.close(above)


def _above(directory: int) -> int:
    return os.open(b"..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
