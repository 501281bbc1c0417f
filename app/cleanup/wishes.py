"""What an operator asks for, as wishes: from a path, a name, the beginning of an id, a token."""

from __future__ import annotations

import os
from collections.abc import Iterator

from app.cleanup.plan import Subject, Wish
from app.model import Container, ImageInfo, Kind, Layer, Store
from app.stores.graphdriver import SHA256 as _SHA256
from app.stores.lookup import ID, SNAPSHOT, TOKEN, called, locate, lookup, snapshot_named
from app.stores.request import Survey
from app.stores.snapshotter import SNAPSHOTS

_RECORDS = (Kind.BUILD_CACHE, Kind.LEASE)


def wish_for(asked: bytes, survey: Survey) -> tuple[Wish, ...]:
    """Every wish that ``asked`` can mean, of what ``which`` accepts; none where nothing matches."""
    if not os.path.lexists(asked):
        wishes = dict.fromkeys(it for store in survey.stores for it in _by_name(asked, store))
        if wishes or b"/" not in asked:
            return tuple(wishes)
    place = locate(asked, survey.stores)
    if place is None:
        return ()
    root = place.store.root.path
    path = os.path.join(place.base, *place.inside)
    if not os.path.lexists(path):
        # A path below merged is there only while it is mounted: its layer tells.
        answers = lookup(asked, survey.stores)
        if not any(answer.layer or answer.owners for answer in answers):
            return ()
    return (Wish(Subject.PATH, root, path=path),)


def _by_name(asked: bytes, store: Store) -> Iterator[Wish]:
    text, root = os.fsdecode(asked).rstrip("/"), store.root.path
    driver = os.path.join(root, b"overlay2")
    token, prefix = TOKEN.fullmatch(text), ID.fullmatch(text.lower())
    head = text.partition("/")[0]
    for thing in called(text, store):
        kinds = {Container: Subject.CONTAINER, ImageInfo: Subject.IMAGE}
        subject = kinds.get(type(thing), Subject.VOLUME)
        yield Wish(subject, root, id=thing.owner.id, namespace=thing.owner.namespace)
    if token and token[1] in store.tokens.keys() | store.dangling.keys():
        yield Wish(Subject.PATH, root, path=os.path.join(driver, b"l", token[1].encode()))
    elif (numbered := SNAPSHOT.fullmatch(text)) and (snapshot := snapshot_named(text, store)):
        inside = text.partition(f"{SNAPSHOTS}/{numbered[2]}/")[2] if numbered[2] else ""
        below = [os.fsencode(inside)] if inside else []
        yield Wish(Subject.PATH, root, path=os.path.join(snapshot.path, *below))
    elif prefix:
        yield from _by_id(prefix[1], store)
    elif snapshot := snapshot_named(text, store):
        yield Wish(Subject.PATH, root, path=snapshot.path)
    elif head in store.layers:
        yield Wish(Subject.PATH, root, path=os.path.join(driver, os.fsencode(text)))


def _by_id(prefix: str, store: Store) -> Iterator[Wish]:
    """Containers and images by their ids; else layers by their names, or their records' ids."""
    root = store.root.path
    named = [
        Wish(subject, root, id=it.owner.id, namespace=it.owner.namespace)
        for subject, things in (
            (Subject.CONTAINER, store.containers),
            (Subject.IMAGE, store.images),
        )
        for it in things
        if it.owner.id.removeprefix(_SHA256).startswith(prefix)
    ]
    yield from named
    found = [name for name in store.layers if name.startswith(prefix)]
    # An init layer has the name of the writable one and a suffix, which nobody types by chance.
    found = [it for it in found if it == prefix or it.removesuffix("-init") not in {*found} - {it}]
    found += [
        name
        for name, layer in store.layers.items()
        if any(it.kind in _RECORDS and it.id.startswith(prefix) for it in layer.owners)
        or (not named and _has_key(layer, prefix))
    ]
    for name in dict.fromkeys(found):
        yield Wish(Subject.PATH, root, path=store.layers[name].path)
    for digest, blob in store.blobs.items():
        if not named and digest.removeprefix(_SHA256).startswith(prefix):
            yield Wish(Subject.PATH, root, path=blob.path)


def _has_key(layer: Layer, prefix: str) -> bool:
    key = layer.snapshot.key if layer.snapshot else ""
    return key.removeprefix(_SHA256).startswith(prefix)
