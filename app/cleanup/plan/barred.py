"""What nothing is removed from without Docker, whatever a plan was made of: the last look at it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from app.cleanup.plan.context import Doubt, World, refused
from app.cleanup.plan.model import Plan
from app.cleanup.plan.resolve_path import path_of
from app.host.mounts import holding, is_served_elsewhere, read_own
from app.model import Hold, Part, within

_UNSHARE = (
    "start the Docker whose it is, or take the mount or the link away from where it is not; then "
    "ask again"
)


def unless_barred(plan: Plan, world: World) -> Plan:
    """The plan, refused where it removes on disk what is not plainly this data root's own."""
    places = (it for step in plan.steps for it in (step.place, step.link) if it)
    why = next((it for place in places for it in _against(path_of(place), world)), None)
    if plan.refused_because:
        why = _elsewhere(plan, world)
    if why is None:
        return plan
    return refused(
        plan.wish,
        plan.title,
        *why,
        path=plan.path,
        references=plan.references,
        evidence=plan.evidence,
    )


def _elsewhere(plan: Plan, world: World) -> Doubt | None:
    """Where to ask instead, for what is refused here and another data root shows as well."""
    part = world.store.root.part(plan.wish.path)
    if part is None or part.hold is Hold.OWN:
        return None
    shown = os.fsdecode(next(iter(part.rivals), part.target))
    why = plan.refused_because
    if not part.readable:
        link, target = os.fsdecode(part.path), os.fsdecode(part.target)
        why = (
            f"{link} is a symbolic link to {target}, which does not belong to who owns this data "
            "root"
        )
    if part.hold is Hold.SHARED:
        return why, _UNSHARE
    return (why, f"ask for it there: --data-root {shown}" if part.rivals else plan.instead)


def _next_step(part: Part, shown: str) -> str:
    if os.path.basename(part.path) == b"tmp":
        return f"look at it in {shown}: only who made the mount or the link knows what it is"
    return f"ask for it there: --data-root {shown}" if part.hold is Hold.OTHERS else _UNSHARE


def _against(path: bytes, world: World) -> Iterator[Doubt]:
    root = world.store.root
    part = root.part(path)
    if part and (part.target or part.hold is not Hold.OWN):
        shown = " and ".join(map(os.fsdecode, part.rivals)) or os.fsdecode(part.target)
        also = f", which {shown} shows as well" if shown else ""
        yield (
            f"it lies in {os.fsdecode(part.path)}{also}: whose it is cannot be told for sure, and "
            "nothing is removed there without Docker",
            _next_step(part, shown),
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
