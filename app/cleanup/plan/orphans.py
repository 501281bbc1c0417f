"""Plans for what the engine has forgotten: the only things that are removed without it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from itertools import chain

from app.cleanup.plan.commands import quoted, unlink
from app.cleanup.plan.containers import word_of
from app.cleanup.plan.context import Doubt, World, listed, of_layers, refused
from app.cleanup.plan.in_use import look_elsewhere, mounts_of, open_doubts
from app.cleanup.plan.model import Action, Confirmation, Place, Plan, Step, Wish
from app.cleanup.plan.orphan_checks import YOUNG, doubts, evidence, newest_below
from app.cleanup.plan.resolve_path import Gone, Unreachable, path_of, reach_in_root
from app.model import Evidence, Kind, Layer, Role
from app.stores.drivers.overlay2.read import TOKEN
from app.stores.metadata.docker.claims import disk_claims
from app.stores.metadata.docker.read import DiskReading, read_disk

_DRIVER, _LINKS = b"overlay2", b"l"


# --- a directory that nothing refers to -----------------------------------------------------------


def plan_unreferenced(wish: Wish, world: World, layer: Layer) -> Plan:
    """Remove an unreferenced layer directory: its ``l/`` link, then the directory."""
    title = f"unreferenced directory {layer.id}"
    kinds = (Kind.CONTAINER, Kind.IMAGE, Kind.BUILD_CACHE, Kind.LAYER, Kind.MOUNT)
    references = of_layers([layer], kinds)
    reason = next(_against(world, layer), None)
    if reason:
        return refused(
            wish,
            title,
            *reason,
            path=layer.path,
            references=references,
            evidence=layer.evidence,
        )
    place = reach_in_root(world.path(), (_DRIVER, os.fsencode(layer.id))).place
    links = list(world.links([layer.id]))
    link = _link(world, os.path.basename(links[0])) if links else None
    return Plan(
        wish,
        title,
        path=layer.path,
        steps=(
            Step(
                Action.ERASE_LAYER,
                place=place,
                link=link,
                known_as=tuple(world.known_as(layer)),
            ),
        ),
        frees=world.frees([layer.path, *links]),
        confirmation=Confirmation.TYPED,
        word=word_of(layer.id),
        consequences=(
            "it is removed without the engine, which has forgotten it",
            "it is gone for good: nothing keeps a copy",
        ),
        references=references,
        evidence=(*layer.evidence, *evidence(layer)),
        filesystem=world.path(_DRIVER),
        takes=frozenset({(Kind.LAYER, layer.id)}),
    )


def _against(world: World, layer: Layer) -> Iterator[Doubt]:
    if layer.is_snapshot:
        yield "it is a snapshot, and those containerd alone removes", "leave it to containerd"
    if layer.role is not Role.UNREFERENCED or layer.owners or not layer.active:
        yield f"it is {layer.role.value}", "see what `whodiff which` says of it"
    if layer.mounts:
        point = os.fsdecode(layer.mounts[0])
        yield f"it is mounted now at {point}", f"unmount it first: umount {quoted(point)}"
    if above := of_layers([layer], tuple(Kind)):
        words = listed([it.id for it in above])
        yield f"it is not the last one: {words} stands on it or uses it", f"remove {words} first"
    if len([name for name in world.store.tokens.values() if name == layer.id]) > 1:
        yield "several l/ links lead to it", "look who made them"
    if hiding := [it for it in world.store.problems if it.hides_owners]:
        yield f"something may hide an owner: {hiding[0].sentence}", "solve that first"
    yield from doubts(world, layer)


def _link(world: World, token: bytes) -> Place:
    """The ``l/`` link itself. Raises Unreachable."""
    found = reach_in_root(world.path(), (_DRIVER, _LINKS, token))
    if not stat.S_ISLNK(found.status.st_mode):
        raise Unreachable("has no link in l/ as Docker makes them")
    return found.place


# --- a link to nothing ----------------------------------------------------------------------------


def plan_dangling(wish: Wish, world: World, token: str) -> Plan:
    """Remove a link in ``l/`` whose directory is gone."""
    title = f"dangling link l/{token}"
    target = world.store.dangling[token]
    found = Evidence(os.fsdecode(world.path(_DRIVER, _LINKS, token)), "leads to nothing")
    if reason := next(_against_link(world, token, target), None):
        return refused(wish, title, *reason, evidence=(found,))
    place = _link(world, token.encode())
    return Plan(
        wish,
        title,
        path=path_of(place),
        steps=(Step(Action.ERASE, unlink(path_of(place)), place=place),),
        frees=world.frees([path_of(place)]),
        consequences=("none: the directory that it leads to is gone already",),
        evidence=(found, Evidence("overlay2/*/lower", "no layer stands on it")),
        filesystem=world.path(_DRIVER),
    )


def _against_link(world: World, token: str, target: bytes) -> Iterator[Doubt]:
    """Who names the token, or the directory that is gone: then somebody may bring it back."""
    disk = read_disk(world.store.root)
    name = os.fsdecode(os.path.basename(os.path.dirname(target)))
    if not TOKEN.fullmatch(token) or disk.graph.dangling.get(token) != target:
        yield "it does not lead to nothing any more", "look again"
    if disk.hiding:
        yield f"something may hide who needs it: {disk.hiding[0].sentence}", "solve that first"
    if not disk.active:
        yield "it belongs to a store that the engine does not use now", "leave it"
    for layer in disk.graph.directories.values():
        if token in layer.lost_tokens or any(token in note for note in layer.notes):
            yield f"layer {layer.name} names it", f"remove what owns {layer.name} first"
    claim = disk_claims(disk).get(name)
    if claim.roles or claim.owners or _container_of(disk, name):
        yield (
            f"metadata still names {name}, the directory that it leads to",
            "remove the container, image or record that needs it first",
        )
    for mount in world.mounts:
        if any(token.encode() in lower.split(b"/") for lower in mount.lowers):
            yield f"a live mount uses it, at {os.fsdecode(mount.point)}", "stop that container"
    if world.unseen_mounts:
        yield f"a mount may use it: {world.unseen_mounts}", look_elsewhere()
    yield from world.blind()


def _container_of(disk: DiskReading, name: str) -> bool:
    return any(name in (it.mount_id, it.init_id) for it in disk.names.mounts.values())


# --- temporary files ------------------------------------------------------------------------------


def plan_temporary(wish: Wish, world: World, names: Sequence[bytes]) -> Plan:
    """Remove one entry of the data root's ``tmp``; ``names`` are those below it."""
    shown = os.fsdecode(b"/".join(names))
    title = f"temporary file tmp/{shown}"
    if len(names) != 1:
        return refused(
            wish,
            title,
            "whether it is still used can be told of whole entries of tmp only",
            f"choose tmp/{os.fsdecode(names[0])} itself",
        )
    place = (b"tmp", names[0])
    try:
        found = reach_in_root(world.path(), place)
        age = world.now - newest_below(path_of(found.place))
    except (Gone, OSError) as error:
        return refused(wish, title, *_unseen(error))
    if age < YOUNG:
        why = "it changed within the last hour: a download, load or build may be writing it"
        return refused(wish, title, why, "wait an hour, then ask again")
    path = path_of(found.place)
    seen = chain(world.blind(), open_doubts(world, path), mounts_of(world, path))
    if reason := next(seen, None):
        return refused(wish, title, *reason)
    points = (it.point for it in world.every_mount)
    inside = path_of(found.place) + b"/"
    if any((it + b"/").startswith(inside) for it in points):
        return refused(wish, title, "something is mounted in it", "unmount it first")
    return Plan(
        wish,
        title,
        path=path_of(found.place),
        steps=(Step(Action.ERASE, place=found.place, beside=_above(found.place)),),
        frees=world.frees([path_of(found.place)]),
        consequences=("none: the engine empties tmp by itself when it starts",),
        evidence=(
            Evidence("/proc/*/fd, cwd, root, exe, maps", "no process has it open"),
            Evidence(os.fsdecode(path_of(found.place)), f"last changed {int(age // 60)} min ago"),
        ),
        filesystem=world.path("tmp"),
    )


def _above(place: Place) -> int:
    """Put aside in its own directory."""
    return len(place.names) - 1


def _unseen(error: Gone | OSError) -> Doubt:
    """Why nobody can tell how old it is. Raises what is odd."""
    if isinstance(error, Gone | FileNotFoundError):
        return "it is not there (any more)", ""
    if error.errno == errno.ENAMETOOLONG:
        why = "its directories are too deep to be looked through"
        return why, "restart the engine: it empties tmp by itself"
    raise error
