"""The view by owner: containers, images, build cache, volumes, and what nobody owns.

The groups are disjoint and complete: together they are the whole data root. Within the images,
a layer that several images share stands below each of them and counts once in the group.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from app import wording
from app.model import Blob, Container, ImageInfo, Kind, Layer, Role, Store, Volume, within
from app.outline.nodes import Draft, What
from app.text import short_id
from app.usage.units import blobs_of, opened_of

#: What a container sees of its layer: ``diff`` with overlay2, ``fs`` in a snapshot.
_INLINE = (b"diff", b"fs")

#: Groups of layers by role, in their order of interest: title and roles.
_LAYER_GROUPS = (
    ("build cache", (Role.BUILD_CACHE,)),
    ("unreferenced", (Role.UNREFERENCED,)),
    ("being removed", (Role.PENDING_REMOVAL,)),
    ("unknown", (Role.UNKNOWN,)),
    ("inactive store", (Role.INACTIVE,)),
)


def by_owner(stores: Sequence[Store], units: Sequence[bytes]) -> tuple[Draft, ...]:
    """The topmost rows: the groups of the one data root, or every root with its groups."""
    if len(stores) == 1:
        return _groups(stores[0], units)
    return tuple(
        Draft(
            What.ROOT,
            os.fsdecode(store.root.path),
            store.root.path,
            units=tuple(unit for unit in units if _below(unit, store)),
            state=store.root.driver,
            subject=store,
            children=_groups(store, units),
            open_at_start=True,
        )
        for store in stores
    )


def _below(unit: bytes, store: Store) -> bool:
    inside = any(within(unit, place) for place in store.root.places)
    return inside and not any(within(unit, nested) for nested in store.root.nested)


def _groups(store: Store, units: Sequence[bytes]) -> tuple[Draft, ...]:
    mine = [unit for unit in units if _below(unit, store)]
    held = set(mine)
    groups = [
        _containers(store, held),
        _images(store, held),
        *_layer_groups(store),
        _volumes(store),
    ]
    taken = {unit for group in groups for unit in group.units}
    rest = tuple(unit for unit in mine if unit not in taken)
    groups.append(_rest(store, rest))
    return tuple(group for group in groups if group.units)


def _group(title: str, children: Iterable[Draft], *, opened: bool = False, tone: str = "") -> Draft:
    children = tuple(children)
    units = dict.fromkeys(unit for child in children for unit in child.units)
    return Draft(
        What.GROUP,
        title,
        f"{title} ({len(children)})",
        units=tuple(units),
        tone=tone,
        words=title,
        children=children,
        open_at_start=opened,
    )


# --- containers -----------------------------------------------------------------------------------


def _containers(store: Store, units: set[bytes]) -> Draft:
    held = {
        wording.unique(container.owner): [
            store.layers[name]
            for name in container.layers
            if store.layers[name].role in (Role.WRITABLE, Role.INIT)
        ]
        for container in store.containers
    }
    return _group(
        "containers",
        (_container(it, held[wording.unique(it.owner)], units) for it in store.containers),
        opened=True,
    )


def _container(container: Container, layers: list[Layer], units: set[bytes]) -> Draft:
    children = [layer_draft(layer, _part_label(layer)) for layer in layers]
    if container.directory and container.directory in units:
        children.append(
            Draft(
                What.FOLDER,
                "directory",
                "logs and settings",
                units=(container.directory,),
                path=container.directory,
                subject=container,
                words="logs settings " + os.fsdecode(container.directory),
            )
        )
    return Draft(
        What.CONTAINER,
        wording.unique(container.owner),
        wording.container_label(container),
        units=tuple(unit for child in children for unit in child.units),
        state=wording.container_state(container),
        subject=container,
        words=wording.owner_words(container.owner),
        children=tuple(children),
    )


def _part_label(layer: Layer) -> str:
    word = "writable layer" if layer.role is Role.WRITABLE else "init layer"
    return f"{word} {short_id(layer.id)}"


def layer_draft(layer: Layer, label: str) -> Draft:
    """A layer's row, opened down to its files."""
    return Draft(
        What.LAYER,
        layer.id,
        label,
        units=(layer.path,),
        path=layer.path,
        inline=_INLINE,
        state=wording.layer_state(layer),
        tone=wording.TONES.get(layer.role, ""),
        subject=layer,
        words=wording.layer_words(layer),
    )


# --- images ---------------------------------------------------------------------------------------


def _images(store: Store, units: set[bytes]) -> Draft:
    drafts = [_image(store, image) for image in store.images]
    owned = {name for image in store.images for name in image.layers}
    loose = [
        layer
        for layer in store.layers.values()
        if layer.role is Role.IMAGE and layer.id not in owned
    ]
    if loose:
        children = [layer_draft(layer, wording.layer_label(layer)) for layer in loose]
        drafts.append(_group("layers without an image", children))
    found = _group("images", drafts)
    content = blobs_of(store)
    if content not in units:
        return found
    # Every blob once, those of no image (build history) among them.
    folder = Draft(
        What.FOLDER,
        "content store",
        f"content store ({len(store.blobs)} compressed blobs)",
        units=(content,),
        path=content,
        tone="dim",
        words="blobs " + os.fsdecode(content),
    )
    parts = {blob.path for blob in store.blobs.values()}
    whole = tuple(unit for unit in found.units if unit not in parts)
    return replace(found, units=(*whole, content), children=(*found.children, folder))


def _image(store: Store, image: ImageInfo) -> Draft:
    """An image with its layers, and its blobs where containerd keeps it."""
    layers = [
        store.layers[name]
        for name in reversed(image.layers)
        if name in store.layers and store.layers[name].role is Role.IMAGE
    ]
    containers = {
        reference.id
        for layer in layers[:1]
        for reference in layer.references
        if reference.kind is Kind.CONTAINER
    }
    blobs = [store.blobs[digest] for digest in image.blobs if digest in store.blobs]
    parts: list[Layer | Blob] = [*layers, *blobs]
    children = [layer_draft(layer, wording.layer_label(layer)) for layer in layers]
    return Draft(
        What.IMAGE,
        wording.unique(image.owner),
        wording.image_label(image.owner),
        units=tuple(dict.fromkeys(it.path for it in parts)),
        own_units=tuple(it.path for it in parts if wording.only_owner(it, image)),
        state=wording.image_state(image, len(containers)),
        subject=image,
        words=wording.owner_words(image.owner),
        children=(*children, *_blobs(blobs, image)),
    )


def _blobs(blobs: Sequence[Blob], image: ImageInfo) -> Iterator[Draft]:
    """What an image takes compressed, as it was pulled: one row for all of it."""
    if blobs:
        yield Draft(
            What.BLOBS,
            "blobs",
            f"compressed ({len(blobs)} blobs)",
            units=tuple(blob.path for blob in blobs),
            own_units=tuple(blob.path for blob in blobs if wording.only_owner(blob, image)),
            subject=image,
            words=" ".join((wording.owner_words(image.owner), *(blob.digest for blob in blobs))),
        )


# --- the rest -------------------------------------------------------------------------------------


def _layer_groups(store: Store) -> list[Draft]:
    groups = []
    for title, roles in _LAYER_GROUPS:
        layers = [layer for layer in store.layers.values() if layer.role in roles]
        children = [layer_draft(layer, wording.layer_label(layer)) for layer in layers]
        groups.append(_group(title, children, tone=wording.TONES.get(roles[0], "")))
    return groups


def _volumes(store: Store) -> Draft:
    return _group("volumes", (volume_draft(volume) for volume in store.volumes))


def volume_draft(volume: Volume) -> Draft:
    """A volume's row, opened down to its files."""
    return Draft(
        What.VOLUME,
        volume.owner.id,
        wording.volume_label(volume),
        units=(volume.path,),
        path=volume.path,
        inline=(b"_data",),
        state=wording.volume_state(volume),
        tone="" if volume.users else "warn",
        subject=volume,
        words=f"{volume.owner.name} " + " ".join(map(wording.owner_words, volume.users)),
    )


def _rest(store: Store, units: tuple[bytes, ...]) -> Draft:
    """Docker's own files, and what nobody explains: the units that no other group holds."""
    title = "Docker's own files"
    if store.root.containerd:
        alone = store.root.places == (store.root.containerd,)
        title = "containerd's own files" if alone else "daemons' own files"
    opened = opened_of(store)
    return _group(title, (_own(store, unit, opened) for unit in units))


def _own(store: Store, unit: bytes, opened: frozenset[bytes]) -> Draft:
    shown = unit
    if unit not in store.root.places:
        place = next(place for place in store.root.places if within(unit, place))
        above = place if place == store.root.path else os.path.dirname(place)
        shown = os.path.relpath(unit, above)
    shallow = unit in store.root.places or unit in opened
    label = b"files directly in " + shown if shallow else shown
    return Draft(
        What.FILES if shallow else What.FOLDER,
        os.fsdecode(unit),
        label,
        units=(unit,),
        path=unit,
        tone="dim",
        words=os.fsdecode(unit),
    )
