"""Plans for what a removal by whodiff left that did not come to its end (app/stores/remainders)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from app.cleanup.plan.context import Doubt, World, listed, named, of_layers, refused
from app.cleanup.plan.in_use import look_elsewhere, way_out, whose
from app.cleanup.plan.model import Action, Plan, Step, Wish
from app.cleanup.plan.resolve_path import path_of, reach_in_root
from app.model import Evidence, Kind, Layer
from app.stores.remainders import NAME, SAYS

__all__ = ["NAME", "plan_remainder", "refused_part"]


def plan_remainder(
    wish: Wish, world: World, names: Sequence[bytes], layer: Layer | None = None
) -> Plan:
    """Finish it. ``names`` lead to it from the data root or containerd's, ``layer`` holds it.

    It was confirmed when it was taken out of its place, where nothing shows it any more: a
    container that was started since does not see it. Raises Unreachable.
    """
    is_snapshot = layer is not None and layer.is_snapshot
    base = world.store.root.containerd if is_snapshot else world.path()
    owners = listed([named(it) for it in layer.owners]) if layer else ""
    title = f"rest of a removal in {owners or 'the data root'}"
    found = reach_in_root(base, names)
    path = path_of(found.place)
    evidence = (Evidence(os.fsdecode(path), SAYS), *(layer.evidence if layer else ()))
    if reason := next(_against(world, names[-1]), None):
        return refused(wish, title, *reason, path=path, evidence=evidence)
    step = Step(
        Action.ERASE,
        place=found.place,
        beside=len(found.place.names) - 1,
        known_as=(b"/" + names[-1] + b"/",),
    )
    return Plan(
        wish,
        title,
        path=path,
        steps=(step,),
        frees=world.frees([path]),
        consequences=("none: it was confirmed and taken out of its place before",),
        references=of_layers([layer], (Kind.CONTAINER,)) if layer else (),
        evidence=evidence,
        filesystem=os.path.dirname(path),
    )


def refused_part(wish: Wish, rest: bytes) -> Plan:
    """Of what is left of a removal the whole goes, or nothing."""
    shown = os.fsdecode(rest)
    why = f"it is a part of {shown}, which {SAYS.partition(';')[0]}"
    return refused(wish, os.fsdecode(wish.path), why, f"choose {shown} itself")


def _against(world: World, name: bytes) -> Iterator[Doubt]:
    if world.every_unseen_mount:
        yield f"it may be mounted: {world.every_unseen_mount}", look_elsewhere()
    for mount in world.every_mount:
        paths = (mount.point, mount.root, mount.upper, *mount.lowers)
        if any(name in it.split(b"/") for it in paths):
            point = os.fsdecode(mount.point)
            yield (
                f"it is mounted, or something in it, at {point}{whose(world, mount)}",
                way_out(world, mount),
            )
    yield from world.blind()
