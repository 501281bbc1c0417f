"""Who makes some containers anew, or removes them with more than Docker would: swarm and buildx.

Labels of a swarm's tasks: swarmkit and moby daemon/cluster/executor/container/container.go labels.
Names of builders: docker/buildx driver/manager.go, ``buildx_buildkit_`` and the node's name, which
is the builder's with a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from app.cleanup.plan.commands import typed
from app.cleanup.plan.container_settings import read_settings
from app.cleanup.plan.context import World, listed, named
from app.model import Container, Owner

_BUILDER = re.compile(r"buildx_buildkit_(.+?)\d?")


class Maker(Enum):
    """What made a container."""

    SWARM = "swarm"
    BUILDX = "buildx"


@dataclass(frozen=True, slots=True)
class Made:
    """``name`` is that of the swarm's service, or of the builder."""

    maker: Maker
    name: str


def made_by(container: Container) -> Made | None:
    """What made this container, if that would notice its removal."""
    if service := read_settings(container).service:
        return Made(Maker.SWARM, service)
    builder = _BUILDER.fullmatch(container.owner.name)
    return Made(Maker.BUILDX, builder[1]) if builder else None


def consequence(container: Container) -> str:
    """What to know before such a container is removed, or ""."""
    made = made_by(container)
    if made is None:
        return ""
    way = _way(made)
    if made.maker is Maker.SWARM:
        how = f"`{way}`, or scale it down" if way else "remove or scale the service"
        return f"it is a task of swarm service {made.name}, which makes it anew: {how} first"
    how = f": `{way}` removes both" if way else ""
    return f"it is a builder of buildx; its cache stays in its volume{how}"


def remove_first(world: World, owners: Iterable[Owner]) -> str:
    """What to do about containers that are in the way."""
    ways: dict[str, list[str]] = {}
    for owner in owners:
        container = world.container(owner.id)
        made = made_by(container) if container else None
        way = (_way(made) if made else "") or "docker rm"
        ways.setdefault(way, []).append(named(owner))
    parts = (f"with `{way}`: {listed(names)}" for way, names in sorted(ways.items()))
    return f"remove first, {'; '.join(parts)}"


def _way(made: Made) -> str:
    words = ("service", "rm") if made.maker is Maker.SWARM else ("buildx", "rm")
    return typed("docker", *words, made.name)
