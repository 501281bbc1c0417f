"""The command that removes something from inside a running container, where there is one.

Typed by hand it is as safe as the plan: whatever links the container makes meanwhile lead nowhere
but to its own files. So there is none where anything else is mounted in it, as volumes are: ``rm``
would go on through a link into that. It does what the plan does only where the container lets its
root do that, and where it has an ``rm``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from app.cleanup.plan.container_settings import Inside, read_inside
from app.cleanup.plan.context import World
from app.cleanup.plan.live_mount import Entrance, mounted_at
from app.cleanup.plan.reopen_path import open_base
from app.model import Layer
from app.scan.descent import open_inside

_RM = b"rm"
_RUNNING = "running"


def docker_exec(
    world: World, layer: Layer, way: Entrance, names: Sequence[bytes], *, directory: bool
) -> str:
    """``docker exec ID rm -rf -- PATH`` for what lies at ``names`` in the container; "" for none.

    None for a container that is paused, or whose daemon is not heard; for one that does not run as
    root, or may not write where root may; for one in which a link can lead to what is not its own;
    and where no rm is found, or something hides it.
    """
    container = world.container(layer.owners[0].id)
    if world.silence or container is None or container.owner.state != _RUNNING:
        return ""
    settings = read_inside(container)
    if (
        settings is None
        or not settings.lets_root_remove
        or not settings.is_alone
        or not _has_rm(world, layer, way, settings)
    ):
        return ""
    try:
        path = b"/".join((b"", *names)).decode("utf-8")
    except UnicodeDecodeError:
        # The client's JSON would name something else.
        return ""
    option = "-rf" if directory else "-f"
    return world.docker("exec", container.owner.id, "rm", option, "--", path)


def _has_rm(world: World, layer: Layer, way: Entrance, settings: Inside) -> bool:
    try:
        root = open_base(way.base)
    except (OSError, ValueError):
        return False
    try:
        return any(
            _is_seen(world, layer, (place, found))
            for place in settings.path
            for found in _programs(root, os.path.join(place, _RM))
        )
    finally:
        os.close(root)


def _programs(root: int, path: bytes) -> Iterator[bytes]:
    """Where ``path`` leads to inside the directory ``root``, if that is a program."""
    try:
        descriptor = open_inside(path, root)
    except OSError:
        return
    try:
        mode = os.fstat(descriptor).st_mode
        top = os.readlink(b"/proc/self/fd/%d" % root).rstrip(b"/")
        found = os.readlink(b"/proc/self/fd/%d" % descriptor)
    except OSError:
        return
    finally:
        os.close(descriptor)
    if stat.S_ISREG(mode) and mode & 0o111:
        yield found.removeprefix(top)


def _is_seen(world: World, layer: Layer, paths: Sequence[bytes]) -> bool:
    """Whether nothing that is mounted in the container hides any of these paths in it."""
    for path in paths:
        names = tuple(filter(None, path.split(b"/")))
        if any(path.startswith(point) for point in mounted_at(world, layer, names)):
            return False
    return True
