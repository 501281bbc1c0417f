"""Plans for volumes: the engine removes them, as a whole, when no container uses them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

from app.cleanup.plan.commands import is_sealed, only_while, quoted, typed
from app.cleanup.plan.container_settings import read_settings
from app.cleanup.plan.context import Doubt, World, listed, named, pinned, refused, silent
from app.cleanup.plan.expected import same_root, seen
from app.cleanup.plan.in_use import kernel_doubts, look_elsewhere
from app.cleanup.plan.makers import remove_first
from app.cleanup.plan.model import Action, Confirmation, Expected, Frees, Plan, Step, Wish
from app.host import looks
from app.host.mounts import Mount, read_own
from app.model import Kind, Owner, Reference, Volume

#: moby daemon/names/names.go RestrictedNamePattern.
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_UNKNOWN = "not known"
#: Where a local volume has its data (moby volume/local/local.go volumeDataPathName).
_DATA = b"_data"


def find_volume(world: World, name: str) -> Volume | None:
    """The volume with this name."""
    return next((it for it in world.store.volumes if it.owner.id == name), None)


def plan_volume(wish: Wish, world: World, name: str) -> Plan:
    """Remove the volume with this name through the engine."""
    volume = find_volume(world, name)
    if volume is None:
        gone = "there is no such volume (any more)", ""
        return refused(wish, f"volume {name}", *next(_outside(world, name), gone))
    references = tuple(_references(world, volume))
    if why := next(_against(world, volume, references), None):
        return refused(
            wish,
            _title(volume),
            *why,
            path=volume.path,
            references=references,
            evidence=volume.evidence,
        )
    step = Step(
        Action.REMOVE_VOLUME,
        _command(world, volume),
        (name,),
        expects=(expected_volume(volume),),
        goes=seen([volume.path]),
    )
    return Plan(
        wish,
        _title(volume),
        path=volume.path,
        steps=(step,),
        frees=Frees(least=True) if volume.backing else world.frees([volume.path]),
        confirmation=Confirmation.PLAIN if volume.anonymous else Confirmation.TYPED,
        word="" if volume.anonymous else name,
        consequences=tuple(_consequences(volume)),
        references=references,
        evidence=volume.evidence,
        filesystem=world.path("volumes"),
    )


def _command(world: World, volume: Volume) -> str:
    """By its name, only while its directory is the same by inode and birth time, in nanoseconds.

    Whoever restores a volume can give any name again, one that the daemon chose too.
    """
    found = next((it.identity for it in seen([volume.path])), None)
    if found is None or not found.born or not is_sealed(volume.path):
        return ""
    shown = typed("stat", "-c", "%i:%.9W", "--", volume.path)
    seconds, rest = divmod(found.born, 1_000_000_000)
    order = world.docker("volume", "rm", volume.owner.id)
    return only_while(shown, f"{found.inode}:{seconds}.{rest:09}", order)


def expected_volume(volume: Volume, *, in_use: bool = False) -> Expected:
    """The volume as it is now.

    Of one in use the creation time says nothing: it moves with what is written.
    """
    listed = volume.listed
    return Expected(
        Kind.VOLUME,
        volume.owner.id,
        created=listed.created if listed and not in_use else "",
        path=listed.mountpoint if listed else b"",
        places=seen([volume.path, os.path.join(volume.path, _DATA)]),
    )


def plan_inside(wish: Wish, world: World, name: str) -> Plan:
    """A file or folder in a volume is never removed from outside."""
    volume = find_volume(world, name)
    title = f"a part of {_title(volume)}" if volume else f"volumes/{name}"
    users = [named(it) for it in volume.users] if volume else []
    within = f"delete inside the container ({listed(users)})" if users else "mount it and delete"
    return refused(
        wish,
        title,
        "it is data of a volume, and only what uses the volume knows what it may lose",
        f"remove the whole volume, or {within}",
        references=_references(world, volume) if volume else (),
        evidence=volume.evidence if volume else (),
    )


def _title(volume: Volume) -> str:
    return f"{'anonymous ' if volume.anonymous else ''}volume {volume.owner.id}"


def _against(world: World, volume: Volume, references: tuple[Reference, ...]) -> Iterator[Doubt]:
    users = [it for it in references if it.kind is Kind.CONTAINER]
    if users:
        words = listed([f"container {it.name or it.id[:12]}" for it in users])
        owners = [Owner(it.kind, it.id, it.name) for it in users]
        yield f"in use by {words}", remove_first(world, owners)
    if mounts := [it for it in references if it.kind is Kind.MOUNT]:
        yield (
            f"it is mounted now at {mounts[0].id}",
            f"unmount it first: umount {quoted(mounts[0].id)}",
        )
    if world.silence:
        yield silent(world, "volumes"), "start the engine, then ask again"
    if world.unseen_mounts:
        yield f"it may be mounted: {world.unseen_mounts}", look_elsewhere()
    yield from kernel_doubts(world, volume.path)
    if unsure := unknown_users(world):
        yield f"nobody can tell who uses it: {unsure}", "solve that first, then ask again"
    yield from _outside(world, volume.owner.id)
    yield from world.passed_on
    yield from _unlisted(world, volume)
    yield from pinned([volume.path])
    if volume.backing.startswith(_UNKNOWN):
        yield f"where its data is, is {volume.backing}", "look at its opts.json"
    if not _NAME.fullmatch(volume.owner.id):
        yield "the engine takes no such name for a volume", "look who made this directory"


def _unlisted(world: World, volume: Volume) -> Iterator[Doubt]:
    """By this name the daemon would remove nothing, or something else."""
    listed, name = volume.listed, volume.owner.id
    if listed is None:
        yield (
            f"the daemon does not list a volume {name}: somebody made the directory by hand, or "
            "the daemon lost its notes",
            f"`{world.docker('volume', 'create', name)}` makes a volume of it with all its data, "
            "then ask again",
        )
        return
    if listed.driver != "local":
        yield (
            f"the daemon's volume {name} belongs to driver {listed.driver or 'unknown'} and is "
            "something else than this directory",
            "look with `docker volume inspect` where it is",
        )
    elif os.path.normpath(listed.mountpoint) != os.path.join(volume.path, _DATA) and not same_root(
        os.path.dirname(listed.mountpoint), volume.path
    ):
        where = os.fsdecode(listed.mountpoint)
        yield (
            f"the daemon's volume {name} is at {where}, not in this directory",
            "look with `docker volume inspect` at it",
        )


def _outside(world: World, name: str) -> Iterator[Doubt]:
    """A link on the way to its data: the daemon removes that from where it really is, if at all.

    moby volume/local/local.go Remove: "unable to remove a directory outside of the local volume
    root"; and through a link to another volume it would remove that one's data.
    """
    home = world.path("volumes")
    if looks.islink(home):
        shown, there = quoted(home), quoted(looks.realpath(home))
        yield (
            f"{os.fsdecode(home)} is a symbolic link, and Docker removes no volume through one",
            f"stop Docker and put a mount in its place: rm {shown} && mkdir -m 701 {shown} && "
            f"mount --bind {there} {shown}; then ask again",
        )
    for path in (world.path("volumes", name), world.path("volumes", name, "_data")):
        if looks.islink(path):
            yield (
                f"{os.fsdecode(path)} is a symbolic link, and Docker removes no volume through one",
                f"remove the link alone (rm {quoted(path)}): what it leads to stays, and then "
                "Docker can remove the volume",
            )


def unknown_users(world: World) -> str:
    """One sentence on a container whose volumes are not known, or ""."""
    place = os.fsdecode(world.path("containers"))
    for problem in world.store.problems:
        if problem.hides_owners and (problem.source + "/").startswith(place + "/"):
            return problem.sentence
    for container in world.store.containers:
        if container.owner.namespace:
            continue
        directory = world.path("containers", container.owner.id)
        engines = any(it.source.startswith("engine: ") for it in container.evidence)
        if container.directory:
            unread = not read_settings(container).known
        else:
            unread = engines or looks.lexists(directory)
        if unread:
            return f"the settings of {named(container.owner)} could not be read"
    return ""


def users_by_path(world: World, volume: Volume) -> Iterator[Owner]:
    """Containers, running or not, that mount a part of it by its path; the engine knows no such."""
    inside = volume.path + b"/"
    for container in world.store.containers:
        if any((it + b"/").startswith(inside) for it in read_settings(container).binds):
            yield container.owner


def _references(world: World, volume: Volume) -> Iterator[Reference]:
    """Containers that use it by name or by its path, running or not; then mounts of it."""
    seen = set()
    for user in volume.users:
        seen.add(user.id)
        why = f"uses the volume ({user.state or 'state unknown'})"
        yield Reference(user.kind, user.id, user.name, why)
    for owner in users_by_path(world, volume):
        if owner.id not in seen:
            yield Reference(owner.kind, owner.id, owner.name, "mounts a part of it by its path")
    for point in sorted(set(_mount_points(world, volume))):
        shown = os.fsdecode(point)
        yield Reference(Kind.MOUNT, shown, shown, "it is mounted there")


def _mount_points(world: World, volume: Volume) -> Iterator[bytes]:
    """Where a part of it is mounted, and what is mounted in it, in any namespace."""
    inside = volume.path + b"/"
    home = _home(volume.path, read_own(world.proc))
    for mount in world.mounts:
        root = mount.root.rstrip(b"/") + b"/"
        part = home is not None and mount.device == home[0] and root.startswith(home[1] + b"/")
        if part or (mount.point + b"/").startswith(inside):
            yield mount.point


def _home(path: bytes, mounts: Iterable[Mount]) -> tuple[str, bytes] | None:
    """The device of the file system that holds ``path``, and the path inside it."""
    found: Mount | None = None
    for mount in mounts:
        holds = path.startswith(mount.point.rstrip(b"/") + b"/")
        # The later one of equal length lies on top.
        if holds and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    if found is None:
        return None
    below = path[len(found.point.rstrip(b"/")) :]
    return found.device, found.root.rstrip(b"/") + below


def _consequences(volume: Volume) -> Iterator[str]:
    if volume.backing:
        yield (
            f"its data is elsewhere ({volume.backing}) and stays there; only the engine's entry "
            "goes, which frees next to nothing here"
        )
    else:
        yield "all data in it is lost for good"
    if not volume.anonymous:
        yield "a swarm service or a compose file that names it gets a new, empty one"
