"""The view by directory: what ``du`` shows in the data root, with names beside the ids."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app import wording
from app.model import Layer, Store, within
from app.outline.by_owner import layer_draft, volume_draft
from app.outline.nodes import Draft, What
from app.text import short_id
from app.usage.units import opened_of


def by_directory(stores: Sequence[Store], units: Sequence[bytes]) -> tuple[Draft, ...]:
    """The directories of the one data root, or every root with its directories."""
    if len(stores) == 1:
        return _entries(stores[0], units)
    return tuple(
        Draft(
            What.ROOT,
            os.fsdecode(store.root.path),
            store.root.path,
            units=tuple(unit for draft in entries for unit in draft.units),
            state=store.root.driver,
            subject=store,
            children=entries,
            open_at_start=True,
        )
        for store in stores
        for entries in (_entries(store, units),)
    )


def _entries(store: Store, units: Sequence[bytes]) -> tuple[Draft, ...]:
    """The directories of the data root; beside a containerd elsewhere, each place is a row."""
    below: dict[bytes, list[bytes]] = {}
    for unit in units:
        below.setdefault(os.path.dirname(unit), []).append(unit)
    layers = {layer.path: layer for layer in store.layers.values()}
    tree = _Tree(store, opened_of(store), frozenset(units), below, layers)
    places = store.root.places
    if len(places) == 1:
        return tree.inside(places[0])
    return tuple(tree.opened(place, place) for place in places if place in tree.units)


@dataclass(frozen=True, slots=True)
class _Tree:
    """The units by the directory that they lie in."""

    store: Store
    cut: frozenset[bytes]
    units: frozenset[bytes]
    below: Mapping[bytes, Sequence[bytes]]
    layers: Mapping[bytes, Layer]

    def inside(self, path: bytes) -> tuple[Draft, ...]:
        """What lies in a directory that is cut open."""
        drafts = [
            self.opened(unit, os.path.basename(unit)) if unit in self.cut else self._leaf(unit)
            for unit in self.below.get(path, ())
            if unit not in self.store.root.places
        ]
        return (*drafts, _files(path)) if path in self.units else tuple(drafts)

    def opened(self, path: bytes, label: bytes) -> Draft:
        """A directory that is cut open, with its things as rows."""
        children = self.inside(path)
        below = (unit for child in children for unit in child.units)
        units = dict.fromkeys((*filter(self.units.__contains__, (path,)), *below))
        return Draft(
            What.FOLDER,
            os.fsdecode(label),
            label,
            units=tuple(units),
            words=os.fsdecode(path),
            children=children,
            open_at_start=self._holds_layers(path),
        )

    def _holds_layers(self, path: bytes) -> bool:
        """Whether the layers are in it, or what holds them."""
        root = self.store.root
        if root.containerd and within(path, root.containerd):
            return any(within(it.path, path) for it in self.store.layers.values())
        return os.path.basename(path) == b"overlay2" or path in root.places

    def _leaf(self, unit: bytes) -> Draft:
        above = os.path.dirname(unit)
        if above not in self.cut:
            return _folder(unit)
        return _thing(self.store, unit, self.layers.get(unit))


def _thing(store: Store, unit: bytes, layer: Layer | None) -> Draft:
    """One layer, container or volume directory under its name on disk, with its owner beside."""
    name = os.fsdecode(os.path.basename(unit))
    if layer:
        if not layer.owners:
            return layer_draft(layer, wording.layer_label(layer))
        whose = wording.owners_label(layer.owners)
        return layer_draft(layer, f"{short_id(name)}  {whose} ({layer.role.value})")
    for volume in store.volumes:
        if volume.path == unit:
            return volume_draft(volume)
    for container in store.containers:
        if container.directory == unit:
            return Draft(
                What.FOLDER,
                name,
                f"{short_id(name)}  {wording.container_label(container)}",
                units=(unit,),
                path=unit,
                state=wording.container_state(container),
                subject=container,
                words=wording.owner_words(container.owner),
            )
    return _folder(unit)


def _folder(unit: bytes) -> Draft:
    name = os.path.basename(unit)
    return Draft(
        What.FOLDER, os.fsdecode(name), name, units=(unit,), path=unit, words=os.fsdecode(unit)
    )


def _files(unit: bytes) -> Draft:
    return Draft(
        What.FILES, ".", b"files directly here", units=(unit,), path=unit, tone="dim", words="files"
    )
