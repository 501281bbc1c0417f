"""Plans for the build cache: exactly the records of one layer, and what is built on them.

The engine's prune takes a regular expression without anchors and skips in silence what is in use
or has children (moby daemon/internal/builder-next/builder.go toBuildkitPruneInfo; buildkit
cache/manager.go pruneOnce): hence whole ids, and the descendants with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from app.cleanup.plan.commands import prune
from app.cleanup.plan.context import (
    Doubt,
    World,
    collected,
    held_only_by,
    listed,
    of_layers,
    refused,
    silent,
)
from app.cleanup.plan.expected import seen
from app.cleanup.plan.in_use import hindering, look_elsewhere
from app.cleanup.plan.model import Action, Expected, Frees, Plan, Step, Wish
from app.model import CacheEntry, Kind, Layer, Reference

_ID = re.compile(r"[0-9a-z]{25}")


def plan_cache(wish: Wish, world: World, layer: Layer) -> Plan:
    """Prune the records that hold this layer."""
    owners = {it.id for it in layer.owners if it.kind is Kind.BUILD_CACHE}
    entries = {it.owner.id: it for it in world.store.cache}
    going = _with_descendants(owners, entries)
    title = f"build cache {_title(owners, entries)}"
    references = tuple(_references(world, layer, going, owners, entries))
    if why := next(_against(world, layer, going, entries), None):
        return refused(
            wish,
            title,
            *why,
            path=layer.path,
            references=references,
            evidence=layer.evidence,
        )
    ids = tuple(sorted(it for it in going if entries[it].listed))
    keys = {(Kind.BUILD_CACHE, it) for it in going}
    freed = held_only_by(world.store, keys)
    command = prune(world.store.root.engine_url, ids)
    return Plan(
        wish,
        title,
        path=layer.path,
        steps=(
            Step(
                Action.PRUNE_CACHE,
                command,
                ids,
                expects=tuple(
                    Expected(Kind.BUILD_CACHE, it, it, entries[it].created) for it in ids
                ),
                goes=seen(it.path for it in freed if not it.is_snapshot),
            ),
        ),
        frees=_frees(world, going, freed, entries),
        consequences=tuple(_consequences(going - owners, layer, freed, entries)),
        references=references,
        evidence=layer.evidence,
        filesystem=world.filesystem((layer,)),
        takes=frozenset({*keys, *((Kind.LAYER, it.id) for it in freed)}),
    )


def _frees(
    world: World, going: set[str], freed: tuple[Layer, ...], entries: dict[str, CacheEntry]
) -> Frees:
    """The layers, and the same data compressed in the content store where nobody else has it.

    containerd collects later, and may find more that only they kept; the graph drivers' BuildKit
    has a content store of its own (moby daemon/internal/builder-next/controller.go).
    """
    digests = {entries[it].blob for it in going if it in entries} - {""}
    others = {it.blob for id_, it in entries.items() if id_ not in going}
    blobs = (world.store.blobs[it] for it in sorted(digests - others) if it in world.store.blobs)
    total = world.frees(
        [
            *(it.path for it in freed),
            *world.links(it.id for it in freed),
            *world.notes_on(freed),
            *(it.path for it in blobs if not it.owners),
        ]
    )
    unsure = bool(digests) or any(it.is_snapshot for it in freed)
    return Frees(total.bytes, total.inodes, total.least or unsure)


def _title(owners: set[str], entries: dict[str, CacheEntry]) -> str:
    """A name, for an id says nothing: that of the record, or of what it runs."""
    names = (entries[it].owner.name for it in sorted(owners) if it in entries)
    return next((name for name in names if name), "") or listed(sorted(owners), 1)


def _with_descendants(owners: Iterable[str], entries: dict[str, CacheEntry]) -> set[str]:
    """The records, those that stand for them, and whatever is built on any of them."""
    going, todo = set(owners), list(owners)
    children: dict[str, set[str]] = {}
    for id_, entry in entries.items():
        for parent in entry.parents:
            children.setdefault(parent, set()).add(id_)
        if entry.alias_of:
            # One snapshot under two names: they go together.
            children.setdefault(entry.alias_of, set()).add(id_)
            children.setdefault(id_, set()).add(entry.alias_of)
    while todo:
        for id_ in children.get(todo.pop(), ()):
            if id_ not in going:
                going.add(id_)
                todo.append(id_)
    return going


def _against(
    world: World, layer: Layer, going: set[str], entries: dict[str, CacheEntry]
) -> Iterator[Doubt]:
    if words := _mounted(world, layer, going, entries):
        yield words, "wait until the build has ended; one that was killed ends with its process"
    names = _directories(world, layer, going, entries)
    yield from hindering(world, world.layers(sorted(names)))
    if world.silence:
        yield silent(world, "build-cache records"), "start the engine, then ask again"
    if world.unseen_mounts:
        yield f"it may be mounted: {world.unseen_mounts}", look_elsewhere()
    if not going:
        yield "no record of it is known", "see what `whodiff which` says of it"
    known = sorted(going & entries.keys())
    if unlisted := [*sorted(going - entries.keys()), *_unlisted(known, entries)]:
        words = f"the engine does not list record {listed(unlisted)}"
        yield words, "restart the engine, then ask again; `docker builder du` shows what it knows"
    if used := [it for it in known if entries[it].in_use]:
        yield f"in use now: record {listed(used)}", "wait until the build has ended"
    if odd := [it for it in known if entries[it].listed and not _ID.fullmatch(it)]:
        yield f"{listed(odd)} is no id that can be pruned alone", "use `docker builder prune`"


def _unlisted(going: Iterable[str], entries: dict[str, CacheEntry]) -> Iterator[str]:
    """Records that the engine neither lists nor hides behind one that it lists.

    It hides those that only stand for another one (buildkit cache/manager.go DiskUsage).
    """
    for id_ in going:
        entry = entries[id_]
        alias = entries.get(entry.alias_of)
        if not entry.listed and not (alias and alias.listed):
            yield id_


def _directories(
    world: World, layer: Layer, going: set[str], entries: dict[str, CacheEntry]
) -> set[str]:
    """The layers of these records: their data, and the views through which it is read."""
    owned = {
        it.id
        for it in world.store.layers.values()
        if any(owner.kind is Kind.BUILD_CACHE and owner.id in going for owner in it.owners)
    }
    known = {entries[it].layer for it in going if it in entries}
    return ({layer.id} | owned | known) - {""}


def _mounted(world: World, layer: Layer, going: set[str], entries: dict[str, CacheEntry]) -> str:
    """A live mount of any directory that would go, whatever the engine says of its use."""
    names = _directories(world, layer, going, entries)
    for name in sorted(names):
        for use in world.uses(name):
            return f"{name} is mounted now at {use.point.decode(errors='surrogateescape')}"
    return ""


def _references(
    world: World, layer: Layer, going: set[str], owners: set[str], entries: dict[str, CacheEntry]
) -> Iterator[Reference]:
    for id_ in sorted(going):
        name = entries[id_].owner.name if id_ in entries else ""
        why = "it goes: this is its snapshot" if id_ in owners else "it goes: it is built on it"
        yield Reference(Kind.BUILD_CACHE, id_, name, why)
    names = _directories(world, layer, going, entries)
    touched = list(world.layers(sorted(names)))
    kinds = (Kind.CONTAINER, Kind.IMAGE, Kind.MOUNT, Kind.LAYER)
    yield from (it for it in of_layers(touched, kinds) if it.id not in names)


def _consequences(
    others: set[str], layer: Layer, freed: tuple[Layer, ...], entries: dict[str, CacheEntry]
) -> Iterator[str]:
    if others:
        shown = listed([entries[it].owner.name or it for it in sorted(others)])
        yield f"{len(others)} records that are built on it go first: {shown}"
    if layer.id not in {it.id for it in freed}:
        yield "the layer stays, for something else holds it too: this frees nothing of it"
    yield "the next build runs these steps again"
    yield from collected(freed)
