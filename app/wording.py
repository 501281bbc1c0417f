"""The words on a row: who owns it and in what state, short enough for one line."""

from __future__ import annotations

import os

from app.model import AS_LAST_SAVED, Blob, Container, ImageInfo, Kind, Layer, Owner, Role, Volume
from app.text import short_id

#: Roles whose rows ask for a look; the word beside says the same.
TONES = {
    Role.UNREFERENCED: "warn",
    Role.PENDING_REMOVAL: "warn",
    Role.UNKNOWN: "warn",
    Role.INACTIVE: "dim",
    Role.INIT: "dim",
}


def owner_name(owner: Owner) -> str:
    """A container's name, an image's first tag, or a short id where there is none."""
    if owner.kind is Kind.IMAGE and not owner.tags:
        return f"untagged image {short_id(owner.id)}"
    if owner.kind is Kind.LEASE:
        return f"lease {short_id(owner.id)}"
    return owner.name or short_id(owner.id)


def unique(owner: Owner) -> str:
    """What tells it from all of its kind: another namespace may have the same id."""
    return f"{owner.namespace} {owner.id}" if owner.namespace else owner.id


def only_owner(part: Layer | Blob, image: ImageInfo) -> bool:
    """Whether it belongs to no other image; the same one in another namespace is another one."""
    mine = unique(image.owner)
    return all(it.kind is not Kind.IMAGE or unique(it) == mine for it in part.owners)


def image_label(owner: Owner) -> str:
    """``postgres:16 +2 tags``, ``pause:3.9 in k8s.io``."""
    more = len(owner.tags) - 1
    where = f" in {owner.namespace}" if owner.namespace else ""
    tags = f" +{more} tag{'s' if more > 1 else ''}" if more > 0 else ""
    return owner_name(owner) + tags + where


def owners_label(owners: tuple[Owner, ...]) -> str:
    """``shop-web-1``, or ``app:2 +3 more`` where several own one thing."""
    if not owners:
        return ""
    best = min(owners, key=lambda owner: not owner.name)  # the first that has a name
    first = image_label(best) if best.kind is Kind.IMAGE else owner_name(best)
    return first + (f", +{len(owners) - 1} more" if len(owners) > 1 else "")


def container_label(container: Container) -> str:
    """``shop-web-1``; the image comes in the details."""
    return owner_name(container.owner)


def container_state(container: Container) -> str:
    """As :func:`owner_state`, of the container itself."""
    return owner_state(container.owner)


def owner_state(owner: Owner) -> str:
    """The engine's word, ``was running`` for one that nobody can check now, or that none knows."""
    state = owner.state or "unknown"
    saved = state.removesuffix(AS_LAST_SAVED)
    return state if saved == state else f"was {saved}"


def image_state(image: ImageInfo, users: int) -> str:
    """Whether containers stand on it."""
    if users:
        return f"used by {users}"
    return "unused" if image.owner.tags else "dangling"


def volume_label(volume: Volume) -> str:
    """A named volume's name; an anonymous one says so and whose it is."""
    if not volume.anonymous:
        return volume.owner.name
    of = f" of {owners_label(volume.users)}" if volume.users else ""
    return f"anonymous {short_id(volume.owner.id)}{of}"


def volume_state(volume: Volume) -> str:
    """Whether containers use it, running or not."""
    return f"used by {len(volume.users)}" if volume.users else "unused"


def layer_state(layer: Layer) -> str:
    """The role, or the more telling word where there is one."""
    if layer.note.startswith("being created?"):
        return "created now?"
    if layer.role is Role.WRITABLE:
        return "mounted" if layer.mounts else "not mounted"
    if layer.role is Role.IMAGE:
        images = sum(owner.kind is Kind.IMAGE for owner in layer.owners)
        return f"shared by {images}" if images > 1 else "image"
    if layer.role is Role.PENDING_REMOVAL:
        return "removing"
    return str(layer.role.value)


def layer_label(layer: Layer) -> str:
    """What the layer is, whose it is, and the beginning of its directory's name."""
    name = short_id(layer.id)
    whose = owners_label(layer.owners)
    match layer.role:
        case Role.WRITABLE:
            return f"{whose} (writable layer {name})"
        case Role.INIT:
            return f"{whose} (init layer {name})"
        case Role.IMAGE | Role.BUILD_CACHE:
            return f"{name}  {whose or 'no image'}"
        case Role.UNREFERENCED:
            return f"{name}  no owner found"
        case _:
            return f"{name}  {whose}" if whose else name


def layer_words(layer: Layer) -> str:
    """What the filter looks into: ids, names, tags, path."""
    parts = [layer.id, os.fsdecode(layer.path), layer.role.value, layer_state(layer)]
    parts += [layer.snapshot.key, layer.snapshot.namespace] if layer.snapshot else []
    for owner in layer.owners:
        parts += [owner_words(owner)]
    return " ".join(parts)


def owner_words(owner: Owner) -> str:
    """Every name of an owner in one line, for the filter."""
    return " ".join(
        (
            owner.id,
            owner.name,
            owner.image,
            *owner.tags,
            owner.compose_project,
            owner.compose_service,
            owner.state,
            owner.namespace,
        )
    )
