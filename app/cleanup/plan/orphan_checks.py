"""That nothing at all uses a directory which no metadata names: the last word before raw removal.

The survey has heard layerdb, imagedb, BuildKit and every ``lower`` file. Here come the sources that
no database knows: mounts in every namespace, open files, transactions under way, age, and whether
an engine works here that was not heard. One that cannot be read is a reason to refuse.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from app.cleanup.plan.context import Doubt, World
from app.cleanup.plan.in_use import held_in, mount_doubts, open_doubts
from app.host import looks
from app.host.hanging import far_points
from app.host.safe_read import Damage, Folder
from app.model import Evidence, Layer
from app.scan.descent import open_directory

#: What is younger than this may be in the making (seconds).
YOUNG = 3600.0


def doubts(world: World, layer: Layer) -> Iterator[Doubt]:
    """Every reason not to remove this unreferenced layer's directory, each with the next step."""
    yield from _of_engine(world)
    yield from mount_doubts(world, layer)
    yield from _of_age(world, layer)
    yield from _of_transactions(world)
    yield from open_doubts(world, layer.path)


def evidence(layer: Layer) -> tuple[Evidence, ...]:
    """What was looked at beside the databases, for a layer without doubts."""
    return (
        Evidence("/proc/*/mountinfo", "no mount of any namespace uses it"),
        Evidence("/proc/*/fd, cwd, root, exe, maps", "no process has anything of it open"),
        Evidence("/sys/block/loop*, /proc/swaps", "no loop device and no swap area is in it"),
        Evidence("image/overlay2/layerdb/tmp and tmp", "no download, load or build is under way"),
        Evidence(os.fsdecode(layer.path), f"nothing in it changed within {YOUNG / 3600:.0f} h"),
    )


# --- the engine -----------------------------------------------------------------------------------


def _of_engine(world: World) -> Iterator[Doubt]:
    """An engine must agree where one answers; where one works and is not heard, nobody knows."""
    if not world.silence and world.unheard:
        yield f"the engine was not heard wholly: {world.unheard}", "solve that, or stop it"
    if world.silence and world.engines:
        pid, sure, inside = world.engines[0]
        who = f"dockerd, process {pid}" + ", in a container" * inside
        works = "works on this data root" if sure else "may work on this data root"
        unread = "" if sure else ", for its settings could not be read"
        yield (
            f"{who}, {works}{unread}, and was not heard "
            f"({world.silence}): its memory may know more than the disk",
            "let it answer, or stop it",
        )
    yield from world.blind()


# --- age ------------------------------------------------------------------------------------------


def _of_age(world: World, layer: Layer) -> Iterator[Doubt]:
    if _removal_began(world, layer):
        return
    for path in (layer.path, os.path.join(layer.path, b"diff")):
        try:
            changed = looks.lstat(path).st_mtime
        except FileNotFoundError:
            # A removal of it was interrupted; its directory has the newest time then.
            continue
        except OSError as error:
            yield f"{os.fsdecode(path)} cannot be examined ({error.strerror})", "look again"
            continue
        if world.now - changed < YOUNG:
            yield "it changed within the last hour, so it may be in the making", "wait an hour"


def _removal_began(world: World, layer: Layer) -> bool:
    """Whether it was whole once: then what changed in it lately is that a removal broke off.

    The ``link`` file is written after the link in ``l/`` is made, and a removal begins with that
    link (moby daemon/graphdriver/overlay2/overlay.go create, Remove).
    """
    return looks.lexists(os.path.join(layer.path, b"link")) and not any(world.links([layer.id]))


def _of_transactions(world: World) -> Iterator[Doubt]:
    """Downloads, loads and builds under way: a layer has no name until it is unpacked."""
    wait = "wait until it has ended; what a crash left counts as ended after an hour"
    place = world.path("image", "overlay2", "layerdb", "tmp")
    try:
        with Folder.open(place) as folder:
            for name in folder.directories():
                written = _newest(os.path.join(place, os.fsencode(name)))
                if world.now - written < YOUNG:
                    yield f"a download, load or build is writing to layerdb/tmp/{name}", wait
    except FileNotFoundError:
        # The first download makes it.
        pass
    except Damage as damage:
        yield f"{os.fsdecode(place)} {damage}: nobody can tell what is under way", "see why"
    for held in held_in(world, world.path("tmp")):
        yield f"a download, load or build is under way: {held}", wait


def _newest(directory: bytes) -> float:
    newest = 0.0
    try:
        newest = looks.lstat(directory).st_mtime
        for name, _ in looks.names(directory):
            newest = max(newest, looks.lstat(os.path.join(directory, name)).st_mtime)
    except FileNotFoundError:
        # It ended this moment: what it wrote has its name by the next survey, not in this one.
        return float("inf")
    return newest


def newest_below(path: bytes) -> float:
    """When anything at or below ``path`` was last written or made (unix seconds).

    By ctime as well: what is unpacked carries the times of its archive. Raises OSError, of these
    ENAMETOOLONG where directories lie deeper than a path can tell.
    """
    status = looks.lstat(path)
    newest = max(status.st_mtime, status.st_ctime)
    pending = [path] if stat.S_ISDIR(status.st_mode) else []
    while pending:
        newest = max(newest, _newest_in(pending.pop(), pending))
    return newest


def _newest_in(directory: bytes, pending: list[bytes]) -> float:
    """The same of what is in one directory; the directories in it come to ``pending``."""
    newest = 0.0
    looks.require(directory, follow=False)
    descriptor = open_directory(directory)
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                path = os.path.join(directory, os.fsencode(entry.name))
                apart = path in far_points()
                about = looks.lstat(path) if apart else entry.stat(follow_symlinks=False)
                newest = max(newest, about.st_mtime, about.st_ctime)
                if stat.S_ISDIR(about.st_mode):
                    pending.append(os.path.join(directory, os.fsencode(entry.name)))
    finally:
        os.close(descriptor)
    return newest
