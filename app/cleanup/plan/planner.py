"""From a wish to a plan: what is selected decides what may be done, and by which call.

Nothing here changes anything, and nothing raises for an odd world: a plan that is refused says why.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace

from app.cleanup.plan.barred import unless_barred
from app.cleanup.plan.build_cache import plan_cache
from app.cleanup.plan.containerd import refused_blob, refused_snapshot
from app.cleanup.plan.containers import plan_container
from app.cleanup.plan.context import World, listed, named, refused
from app.cleanup.plan.estimate import Measure, measured, unmeasured
from app.cleanup.plan.files import plan_file
from app.cleanup.plan.images import plan_image, plan_image_layer
from app.cleanup.plan.in_use import mount_doubts
from app.cleanup.plan.logs import plan_log
from app.cleanup.plan.model import Plan, Subject, Wish
from app.cleanup.plan.orphans import plan_dangling, plan_temporary, plan_unreferenced
from app.cleanup.plan.remainders import NAME, plan_remainder, refused_part
from app.cleanup.plan.request import wish_for
from app.cleanup.plan.resolve_path import Unreachable, based, reach, seen_in_root
from app.cleanup.plan.simulate import after
from app.cleanup.plan.volumes import plan_inside, plan_volume
from app.discovery.classify import RootError
from app.engine.inventory import EngineError
from app.host import looks
from app.host.read_only import is_read_only
from app.model import Kind, Layer, Role
from app.stores.drivers.overlayfs.snapshotter import PREFIX, SNAPSHOTS, directory_id
from app.stores.metadata.containerd.content import CONTENT
from app.survey import Request, Survey, survey

__all__ = ["Measure", "fresh_plan", "make_plan", "measured", "unmeasured", "wish_for"]

#: What an overlay2 directory itself is made of; to choose one of these is to choose the layer.
_PARTS = (b"diff", b"merged", b"work", b"link", b"lower", b"committed")

#: Why the rest of a data root is never removed, by its first name.
_NEVER = {
    b"overlay2": "it holds the layers of all containers and images",
    b"image": "it holds the names of all layers and images",
    b"containers": "it holds the settings of all containers",
    b"volumes": "it holds the data of all volumes",
    b"buildkit": "it holds BuildKit's databases and running builds",
    b"swarm": "it holds the swarm's state, keys and certificates",
    b"network": "it holds the networks' state",
    b"plugins": "it holds the engine's plugins, which `docker plugin rm` removes",
    b"trust": "it holds signing keys",
    b"runtimes": "it holds the engine's runtimes",
    b"containerd": "it is the state of the engine's containerd",
    b"rootfs": "the engine mounts its containers there",
    b"engine-id": "it is the engine's identity",
    b"tmp": "the engine works in it; choose one entry in it",
}


def make_plan(
    wish: Wish,
    survey: Survey,
    measure: Measure = measured,
    *,
    now: float | None = None,
    proc: bytes = b"/proc",
) -> Plan:
    """The plan for a wish, in the world as surveyed; mounts and processes are read at this moment.

    ``now`` is unix time in seconds, ``proc`` where proc(5) is mounted.
    """
    store = next((it for it in survey.stores if it.root.path == wish.root), None)
    title = wish.id or os.fsdecode(wish.path)
    if store is None:
        return refused(wish, title, f"there is no data root {os.fsdecode(wish.root)} (any more)")
    world = World(store, measure, time.time() if now is None else now, proc)
    try:
        plan = _writable(unless_barred(_plan(wish, world), world))
        mounts = world.mounts if any(step.place for step in plan.steps) else ()
        return replace(plan, daemon=store.daemon, mounts=mounts)
    except Unreachable as unreachable:
        return refused(wish, title, f"it {unreachable}", unreachable.instead)
    except OSError as error:
        where = os.fsdecode(error.filename) if isinstance(error.filename, bytes | str) else ""
        return refused(wish, title, f"{where or 'it'} cannot be examined ({error.strerror})")


def fresh_plan(
    wish: Wish, request: Request, measure: Measure = measured, *, before: Sequence[Plan] = ()
) -> Plan:
    """The same in a world that is surveyed anew, once the plans in ``before`` are carried out."""
    try:
        found = survey(request)
    except (RootError, EngineError) as error:
        return refused(wish, wish.id or os.fsdecode(wish.path), str(error))
    return make_plan(wish, after(found, before), measure)


def _plan(wish: Wish, world: World) -> Plan:
    match wish.subject:
        case Subject.CONTAINER:
            return plan_container(wish, world, wish.id)
        case Subject.IMAGE:
            return plan_image(wish, world, wish.id)
        case Subject.VOLUME:
            return plan_volume(wish, world, wish.id)
    inside = _inside(wish, world)
    if inside is None:
        return refused(wish, os.fsdecode(wish.path), "it does not lie in the data root")
    base, names = inside
    theirs = base == world.store.root.containerd
    if theirs:
        plan = _plan_containerd(wish, world, names)
    else:
        plan = _plan_remainder(wish, world, names) or _plan_path(wish, world, names)
    if plan.allowed and not _is_as_seen(wish, base, names):
        words = "something else lies there now than when it was chosen"
        return refused(wish, plan.title, words, "look again", references=plan.references)
    return plan if plan.path else replace(plan, path=wish.path)


def _writable(plan: Plan) -> Plan:
    """The plan, refused where its filesystem is mounted read-only: then nobody removes a thing."""
    if not plan.allowed or not plan.filesystem or not is_read_only(plan.filesystem):
        return plan
    return refused(
        plan.wish,
        plan.title,
        f"the filesystem of {os.fsdecode(plan.filesystem)} is mounted read-only",
        "see in dmesg whether the kernel did that after an error; else mount it for writing",
        path=plan.path,
        references=plan.references,
        evidence=plan.evidence,
    )


def _inside(wish: Wish, world: World) -> tuple[bytes, tuple[bytes, ...]] | None:
    """The data root or its containerd's (which may lie in it), and the names from there on.

    None where the path does not lie there as it is written.
    """
    root = world.store.root
    for base in filter(None, (root.containerd, root.path)):
        top = base.rstrip(b"/") + b"/"
        names = tuple(wish.path[len(top) :].rstrip(b"/").split(b"/"))
        odd = any(name in (b"", b".", b"..") or b"\0" in name for name in names)
        if wish.path.startswith(top):
            return None if odd else (base, names)
    return None


def _is_as_seen(wish: Wish, base: bytes, names: tuple[bytes, ...]) -> bool:
    if wish.seen is None:
        return True
    mounted = names[0] == b"overlay2" and names[2:3] == (b"merged",)
    if (mounted or names[0] == b"rootfs") and len(names) > 3:
        # It was seen through the mount.
        top, below = based(base, names[:3])
        seen = reach(os.path.join(top, *below), names[3:])
    else:
        seen = seen_in_root(base, names)
    return seen.place.identity == wish.seen


def _plan_remainder(wish: Wish, world: World, names: tuple[bytes, ...]) -> Plan | None:
    """What a removal left in the data root that did not come to its end, None if it is no such."""
    match names:
        case (b"tmp", rest) if NAME.fullmatch(rest):
            return plan_remainder(wish, world, names)
        case (b"tmp", rest, *_) if NAME.fullmatch(rest):
            return refused_part(wish, world.path(*names[:2]))
        case (b"overlay2", name, rest) if NAME.fullmatch(rest):
            layer = world.store.layers.get(os.fsdecode(name))
            return plan_remainder(wish, world, names, layer) if layer else None
        case (b"overlay2", _, rest, *_) if NAME.fullmatch(rest):
            return refused_part(wish, world.path(*names[:3]))
    return None


def _plan_path(wish: Wish, world: World, names: tuple[bytes, ...]) -> Plan:
    match names:
        case (b"overlay2", _, *_):
            return _plan_overlay2(wish, world, names[1:])
        case (b"volumes", name) | (b"volumes", name, b"_data"):
            known = {it.owner.id for it in world.store.volumes}
            if os.fsdecode(name) in known or looks.islink(world.path("volumes", name)):
                return plan_volume(wish, world, os.fsdecode(name))
        case (b"volumes", name, *_):
            return plan_inside(wish, world, os.fsdecode(name))
        case (b"containers", _, *_):
            return plan_log(wish, world, names[1:])
        case (b"tmp", _, *_):
            return plan_temporary(wish, world, names[1:])
    return _plan_mounted(wish, world, names) or _never(wish, names)


def _plan_mounted(wish: Wish, world: World, names: tuple[bytes, ...]) -> Plan | None:
    """What a container sees of its snapshot, at ``rootfs/<snapshotter>/<id>``."""
    match names:
        case (b"rootfs", snapshotter, id_, *inside):
            layer = world.writable_snapshot(os.fsdecode(snapshotter), os.fsdecode(id_))
            if layer:
                return _plan_snapshot(wish, world, layer, (b"fs", *inside) if inside else ())
    return None


def _never(wish: Wish, names: Sequence[bytes]) -> Plan:
    why = _NEVER.get(names[0], "it is Docker's own, or nobody knows whose")
    return refused(wish, os.fsdecode(b"/".join(names)), why, "leave it to the engine")


def _plan_overlay2(wish: Wish, world: World, names: tuple[bytes, ...]) -> Plan:
    layers, tokens = world.store.layers, world.store.tokens
    match [os.fsdecode(name) for name in names]:
        case ["l", token] if token in world.store.dangling:
            return plan_dangling(wish, world, token)
        case ["l", token] if tokens.get(token) in layers:
            return _plan_layer(wish, world, layers[tokens[token]])
        case [name] if name in layers:
            return _plan_layer(wish, world, layers[name])
        case [name, _] if name in layers and names[1] in _PARTS:
            return _plan_layer(wish, world, layers[name])
        case [name, *_] if name in layers:
            return _plan_inside_layer(wish, world, layers[name], names[1:])
    return _never(wish, (b"overlay2", *names))


def _plan_inside_layer(wish: Wish, world: World, layer: Layer, names: tuple[bytes, ...]) -> Plan:
    if names[0] in (b"diff", b"merged"):
        return plan_file(wish, world, layer, names[1:])
    return _refused_part(wish, layer, names)


def _plan_containerd(wish: Wish, world: World, names: tuple[bytes, ...]) -> Plan:
    """``names`` are those below the containerd root. Only what is Docker's may go, by its owner."""
    match [os.fsdecode(name) for name in names]:
        case [home, folder, number, *_] if home.startswith(PREFIX) and folder == SNAPSHOTS:
            name = directory_id(home.removeprefix(PREFIX), number)
            if name in world.store.layers:
                return _plan_snapshot(wish, world, world.store.layers[name], names[3:])
        case [content, "blobs", _, _] if content == os.fsdecode(CONTENT):
            return refused_blob(wish, world)
    why = "it is containerd's own: without it containerd loses what it keeps"
    return refused(wish, os.fsdecode(b"/".join(names)), why, "leave it to containerd")


def _plan_snapshot(wish: Wish, world: World, layer: Layer, names: tuple[bytes, ...]) -> Plan:
    """``names`` are those below the snapshot's directory."""
    never = refused_snapshot(wish, world, layer)
    if never:
        return never
    if names in ((), (b"fs",), (b"work",)):
        return _plan_layer(wish, world, layer)
    if names[0] == b"fs":
        return plan_file(wish, world, layer, names[1:])
    if len(names) == 1 and NAME.fullmatch(names[0]):
        above = os.path.relpath(layer.path, world.store.root.containerd).split(b"/")
        return plan_remainder(wish, world, (*above, *names), layer)
    return _refused_part(wish, layer, names)


def _refused_part(wish: Wish, layer: Layer, names: Sequence[bytes]) -> Plan:
    """What lies beside the contents of a layer or snapshot."""
    what = "snapshot" if layer.is_snapshot else "layer"
    where = layer.id if layer.is_snapshot else f"layer {layer.id}"
    owners = listed([named(it) for it in layer.owners])
    return refused(
        wish,
        f"{os.fsdecode(b'/'.join(names))} in {where}",
        f"it belongs to the {what} itself, which breaks without it",
        f"remove {owners or f'the {what}'} as a whole",
        evidence=layer.evidence,
    )


def _plan_layer(wish: Wish, world: World, layer: Layer) -> Plan:
    """What owns a layer goes, never the directory by itself, unless nothing owns it."""
    match layer.role:
        case Role.WRITABLE | Role.INIT:
            owners = [it.id for it in layer.owners if it.kind is Kind.CONTAINER]
            if len(owners) == 1:
                return plan_container(wish, world, owners[0])
        case Role.IMAGE:
            return plan_image_layer(wish, world, layer)
        case Role.BUILD_CACHE:
            return plan_cache(wish, world, layer)
        case Role.UNREFERENCED if not layer.is_snapshot:
            return plan_unreferenced(wish, world, layer)
    note = f": {layer.note}" if layer.note else ""
    instead = _INSTEAD.get(layer.role, "see what `whodiff which` says of it")
    if layer.role is Role.UNKNOWN and (mounted := next(mount_doubts(world, layer), None)):
        note, instead = f"{note}; {mounted[0]}", mounted[1]
    return refused(
        wish,
        f"layer {layer.id}",
        f"it is {layer.role.value}{note}",
        instead,
        path=layer.path,
        references=layer.references,
        evidence=layer.evidence,
    )


_INSTEAD = {
    Role.PENDING_REMOVAL: "stop and start the engine in good order: it finishes the removal then",
    Role.INACTIVE: "switch the engine back to that store and remove it there",
    Role.UNKNOWN: "solve what the reason names, then ask again; it can be removed when it is known",
}
