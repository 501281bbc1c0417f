"""What nothing is removed from without Docker, whatever a plan was made of: the last look at it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from app.cleanup.places import path_of
from app.cleanup.plan import Plan
from app.cleanup.world import Doubt, World, refused
from app.model import Hold, within
from app.stores.mounts import holding, is_served_elsewhere, read_own


def unless_barred(plan: Plan, world: World) -> Plan:
    """The plan, refused where it removes on disk what is not plainly this data root's own."""
    for place in (it for step in plan.steps for it in (step.place, step.link) if it):
        why = next(_against(path_of(place), world), None)
        if why:
            return refused(
                plan.wish,
                plan.title,
                *why,
                path=plan.path,
                references=plan.references,
                evidence=plan.evidence,
            )
    return plan


def _against(path: bytes, world: World) -> Iterator[Doubt]:
    root = world.store.root
    part = root.part(path)
    if part and (part.target or part.hold is not Hold.OWN):
        shown = " and ".join(map(os.fsdecode, part.rivals)) or os.fsdecode(part.target)
        also = f", which {shown} shows as well" if shown else ""
        yield (
            f"it lies in {os.fsdecode(part.path)}{also}: whose it is cannot be told for sure, and "
            "nothing is removed there without Docker",
            "remove what owns it with docker, at the data root that Docker uses",
        )
    inside = any(within(path, it) for it in root.places)
    mount = holding(path, read_own(world.proc)) if inside else None
    if mount and is_served_elsewhere(mount):
        point = os.fsdecode(mount.point)
        yield (
            f"it lies on a {mount.fstype} filesystem, mounted at {point}, which others may use "
            "unseen",
            "remove it on the machine, or at the path, that this filesystem comes from",
        )
