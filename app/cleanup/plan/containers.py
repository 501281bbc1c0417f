"""Plans for containers: the engine removes them, with their layers, logs and settings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from app.cleanup.plan.attribute_blocks import maybe_shared
from app.cleanup.plan.container_settings import Settings, read_settings
from app.cleanup.plan.containerd_namespaces import not_dockers
from app.cleanup.plan.context import (
    Doubt,
    World,
    collected,
    contents,
    held_only_by,
    named,
    of_layers,
    pinned,
    refused,
    silent,
)
from app.cleanup.plan.expected import seen
from app.cleanup.plan.in_use import hindering, mounted_by_others
from app.cleanup.plan.makers import consequence
from app.cleanup.plan.model import Action, Confirmation, Expected, Frees, Plan, Step, Wish
from app.cleanup.plan.volumes import expected_volume, unknown_users, users_by_path
from app.host import looks
from app.model import Container, Kind, Layer, Owner, Reference, Role, Volume

#: States in which nothing of a container runs; any other word counts as alive.
STOPPED = ("exited", "created", "dead", "not running")
_START = (
    "start the engine, then ask again; single files inside a stopped container's layer can be "
    "removed without it"
)


def word_of_layer(layer: Layer) -> str:
    """The same for a layer; a snapshot has no digits but its number."""
    return layer.id if layer.is_snapshot else word_of(layer.id)


def is_stopped(owner: Owner) -> bool:
    """Whether it surely does not run. A state that nobody could check is not sure."""
    return owner.state in STOPPED


def word_of(id_: str) -> str:
    """What is typed for a typed confirmation: the first twelve digits."""
    return id_.removeprefix("sha256:")[:12]


def plan_container(wish: Wish, world: World, id_: str) -> Plan:
    """Remove the container with this id through the engine."""
    if wish.namespace:
        return not_dockers(wish, f"container {id_[:12]}", wish.namespace)
    container = world.container(id_)
    if container is None:
        return refused(wish, f"container {id_[:12]}", "there is no such container (any more)")
    path = _path(world, container)
    if why := next(_against(world, container), None):
        return refused(
            wish,
            named(container.owner),
            *why,
            path=path,
            references=_references(world, container, wish.anonymous_volumes),
            evidence=container.evidence,
        )
    return _allowed(wish, world, container, path)


def _against(world: World, container: Container) -> Iterator[Doubt]:
    if world.silence:
        yield silent(world, named(container.owner)), _START
    if not any(it.source.startswith("engine: ") for it in container.evidence):
        words = f"the engine does not know {named(container.owner)}"
        yield words, "restart the engine: it loads what it can, and says in its log what it cannot"
    layers = tuple(world.layers(container.layers))
    if container.owner.state == "removing":
        yield from _hindered(world, container, layers)
        yield (
            "Docker is removing it at this moment",
            "look again in a minute; if it is still so then, restart Docker, which ends a removal "
            "that hangs",
        )
    for layer in layers:
        if layer.role not in (Role.WRITABLE, Role.INIT) and not _half_gone(container, layer):
            words = f"its layer {layer.id} is {layer.role.value}"
            yield f"{words}: {layer.note}" if layer.note else words, "solve that first"
    yield from _hindered(world, container, layers)


def _half_gone(container: Container, layer: Layer) -> bool:
    """Whether a removal that failed left it, half removed: the daemon goes on with it.

    Its state is then "dead" (moby daemon/delete.go cleanupContainer), and the files that name its
    layer's token and parents can have gone already.
    """
    alone = {it.id for it in layer.owners} == {container.owner.id}
    return container.owner.state == "dead" and alone and layer.role is Role.UNKNOWN


def _hindered(world: World, container: Container, layers: Sequence[Layer]) -> Iterator[Doubt]:
    """At what the daemon's removal would stop in the middle, or has."""
    yield from hindering(world, layers, container.owner.id)
    places = [it.path for it in layers]
    yield from pinned([*places, *([container.directory] if container.directory else [])])


def _allowed(wish: Wish, world: World, container: Container, path: bytes) -> Plan:
    owner, settings = container.owner, read_settings(container)
    offered = offered_volumes(world, container)
    takes = wish.anonymous_volumes and bool(offered)
    force = not is_stopped(owner)
    typed = force or any(layer.mounts for layer in world.layers(container.layers))
    flags = [*(["--force"] if force else []), *(["--volumes"] if takes else [])]
    command = world.docker("rm", *flags, owner.id)
    step = Step(
        Action.REMOVE_CONTAINER,
        command,
        (owner.id,),
        force=force,
        volumes=takes,
        expects=tuple(_expects(container, offered if takes else (), running=force)),
        goes=seen(_going(world, container, offered if takes else ())),
    )
    return Plan(
        wish,
        named(owner),
        path=path,
        steps=(step,),
        frees=_frees(world, container, offered if takes else (), force),
        confirmation=Confirmation.TYPED if typed else Confirmation.PLAIN,
        word=word_of(owner.id) if typed else "",
        consequences=tuple(_consequences(world, container, settings, offered, takes)),
        references=_references(world, container, takes),
        evidence=container.evidence,
        offers_volumes=tuple(volume.owner.id for volume in offered),
        filesystem=world.filesystem(world.layers(container.layers)),
        takes=_takes(world, container),
    )


def _expects(
    container: Container, volumes: Iterable[Volume], *, running: bool
) -> Iterator[Expected]:
    id_ = container.owner.id
    yield Expected(
        Kind.CONTAINER,
        id_,
        id_,
        created=container.created,
        places=seen([container.directory] if container.directory else []),
        volumes=tuple(sorted(container.volumes)) if container.directory else None,
    )
    for volume in volumes:
        yield expected_volume(volume, in_use=running)


def _going(world: World, container: Container, volumes: Iterable[Volume]) -> Iterator[bytes]:
    """What the daemon itself takes from the disk; snapshots go at containerd's next collection."""
    if container.directory:
        yield container.directory
    who = {(Kind.CONTAINER, container.owner.id)}
    for layer in (*world.layers(container.layers), *held_only_by(world.store, who)):
        if not layer.is_snapshot:
            yield layer.path
    for volume in volumes:
        yield volume.path


def _takes(world: World, container: Container) -> frozenset[tuple[Kind, str]]:
    me = (Kind.CONTAINER, container.owner.id)
    going = (*_own(world, container), *held_only_by(world.store, {me}))
    return frozenset({me, *((Kind.LAYER, layer.id) for layer in going)})


def _own(world: World, container: Container) -> Iterator[Layer]:
    """Its own layers that go with it: all but those that a layer of somebody else has as a parent.

    In containerd what is committed, or built without BuildKit, has the init snapshot of its
    container as its parent, which then outlives the container.
    """
    own = set(container.layers)
    others = (it for it in world.store.layers.values() if it.id not in own)
    kept = {name for it in others for name in it.parents if name in own}
    return (it for it in world.layers(container.layers) if it.id not in kept)


def _path(world: World, container: Container) -> bytes:
    writable = next(world.layers(container.layers), None)
    return writable.path if writable else container.directory


def offered_volumes(world: World, container: Container) -> tuple[Volume, ...]:
    """The anonymous volumes that go with it when asked for: those that nobody else uses.

    moby daemon/mounts.go removeMountPoints: one in use elsewhere stays, and one that was given to
    it by name, whatever that name looks like (compose does so with those of a predecessor).
    """
    if unknown_users(world):
        return ()
    unnamed = read_settings(container).unnamed
    offered = tuple(
        volume
        for volume in world.store.volumes
        if volume.anonymous
        and volume.owner.id in unnamed
        and all(user.id == container.owner.id for user in volume.users)
    )
    # The engine takes all or none, and does not see who mounts one by its path.
    users = {user.id for volume in offered for user in users_by_path(world, volume)}
    return () if users - {container.owner.id} else offered


def _frees(world: World, container: Container, volumes: tuple[Volume, ...], running: bool) -> Frees:
    who = {(Kind.CONTAINER, container.owner.id)}
    layers = [*_own(world, container), *held_only_by(world.store, who)]
    paths = [layer.path for layer in layers]
    paths += [*world.links(layer.id for layer in layers), *world.notes_on(layers)]
    paths += [container.directory] if container.directory else []
    mount = world.path("image", world.store.root.driver or "overlay2", "layerdb", "mounts")
    entry = os.path.join(mount, container.owner.id.encode())
    paths += [entry] if looks.isdir(entry) else []
    paths += [volume.path for volume in volumes]
    shared = sum(maybe_shared(contents(layer)) for layer in _own(world, container))
    total = world.frees(paths).without(Frees(shared))
    # What it deleted and still holds open comes back as well, and is in no directory.
    # containerd collects later, and may find more that only it kept: mounts of images.
    unknown = running or not container.layers or any(it.is_snapshot for it in layers)
    return Frees(total.bytes, total.inodes, total.least or unknown)


def _consequences(
    world: World, container: Container, settings: Settings, offered: tuple[Volume, ...], takes: bool
) -> Iterator[str]:
    owner = container.owner
    names = ", ".join(volume.owner.id for volume in offered)
    if takes:
        yield f"its anonymous volumes go with it, with all data in them: {names}"
    if _comes_and_goes(owner, settings):
        yield "it runs, and Docker starts it again whenever it ends: the engine kills it at once"
    elif not is_stopped(owner):
        yield f"it is {owner.state or 'perhaps running'}: the engine kills it at once"
    if owner.state == "dead":
        yield "Docker began to remove it before and did not come to the end: the rest of it goes"
    yield "everything that it wrote outside of its volumes is lost, its logs too"
    if settings.auto_remove:
        yield "it was started with --rm: the engine may take its anonymous volumes away with it"
    if offered and not takes:
        yield f"its anonymous volumes stay, and no container leads to them any more: {names}"
    if held_only_by(world.store, {(Kind.CONTAINER, owner.id)}):
        yield "its image was removed before: the layers that only it still keeps go with it"
    if stays := len(list(world.layers(container.layers))) - len(list(_own(world, container))):
        shown = "its init snapshot stays" if stays == 1 else f"{stays} of its snapshots stay"
        yield f"{shown}: a layer of an image was made on it"
    if words := consequence(container):
        yield words
    if owner.compose_project:
        yield f"it belongs to compose project {owner.compose_project}, which may make it anew"
    yield from collected(world.layers(container.layers))


def _references(world: World, container: Container, takes: bool) -> tuple[Reference, ...]:
    """Who joined its namespaces, where it is mounted, which volumes it uses."""
    owner = container.owner
    offered = {volume.owner.id for volume in offered_volumes(world, container)}
    joined = [
        Reference(Kind.CONTAINER, other.owner.id, other.owner.name, "shares its namespaces")
        for other in world.store.containers
        if other.owner.id != owner.id and _joins(read_settings(other), owner)
    ]
    volumes = [
        Reference(
            Kind.VOLUME, name, name, "goes with it" if takes and name in offered else "it stays"
        )
        for name in container.volumes
    ]
    mounts = of_layers(world.layers(container.layers), (Kind.MOUNT, Kind.LAYER))
    # Its own init layer below its writable one is no news.
    mounts = tuple(it for it in mounts if it.id not in container.layers)
    if _comes_and_goes(owner, read_settings(container)):
        mounts = tuple(it for it in mounts if not _is_own_mount(world, container, it))
    others = mounted_by_others(world, world.layers(container.layers), owner.id)
    return (*joined, *volumes, *mounts, *others)


def _comes_and_goes(owner: Owner, settings: Settings) -> bool:
    """Whether it may be between two runs at one look, and in one at the next.

    One that ends again and again does so all the time: that is no change that anybody decides anew
    for.
    """
    return settings.restarts and owner.state in ("running", "restarting")


def _is_own_mount(world: World, container: Container, reference: Reference) -> bool:
    """Whether it is the mount that the daemon makes for each of its runs."""
    if reference.kind is not Kind.MOUNT:
        return False
    own = {os.path.join(it.path, b"merged") for it in world.layers(container.layers)}
    point = os.fsencode(reference.id)
    return point in own or os.path.basename(point) == os.fsencode(container.owner.id)


def _joins(settings: Settings, owner: Owner) -> bool:
    return any(it in (owner.id, owner.name) for it in settings.shares)
