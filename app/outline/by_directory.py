"""The view by directory: what ``du`` shows in the data root, with names beside the ids."""

from __future__ import annotations

import os
from collections.abc import Sequence

from app.model import Store
from app.outline import wording
from app.outline.by_owner import layer_draft, volume_draft
from app.outline.nodes import Draft, What
from app.outline.units import OPENED
from app.text import short_id


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
    root = store.root.path
    drafts = []
    for unit in units:
        if unit == root:
            drafts.append(_files(unit))
        elif os.path.dirname(unit) == root:
            opened = os.path.basename(unit) in OPENED
            drafts.append(_opened(store, unit, units) if opened else _folder(unit))
    return tuple(drafts)


def _opened(store: Store, path: bytes, units: Sequence[bytes]) -> Draft:
    below = [unit for unit in units if os.path.dirname(unit) == path]
    children = [_thing(store, unit) for unit in below]
    name = os.path.basename(path)
    return Draft(
        What.FOLDER,
        os.fsdecode(name),
        name,
        units=(path, *below),
        words=os.fsdecode(path),
        children=(*children, _files(path)),
        open_at_start=name == b"overlay2",
    )


def _thing(store: Store, unit: bytes) -> Draft:
    """One layer, container or volume directory under its name on disk, with its owner beside."""
    name = os.fsdecode(os.path.basename(unit))
    layer = store.layers.get(name)
    if layer and layer.path == unit:
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
