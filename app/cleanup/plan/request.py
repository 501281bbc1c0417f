"""What an operator asks for, as wishes: from a path, a name, the beginning of an id, a token."""

from __future__ import annotations

import os
from collections.abc import Iterator

from app.cleanup.plan.model import Subject, Wish
from app.discovery.request import Survey
from app.host import looks
from app.lookup.names import (
    ID,
    SNAPSHOT,
    TOKEN,
    called,
    directories_from,
    snapshots_named,
    volumes_from,
)
from app.lookup.paths import locate
from app.lookup.query import lookup
from app.model import Container, ImageInfo, Kind, Layer, Store
from app.stores.drivers.overlayfs.snapshotter import SNAPSHOTS
from app.stores.metadata.docker.layerdb import SHA256 as _SHA256

_RECORDS = (Kind.BUILD_CACHE, Kind.LEASE)


def wish_for(asked: bytes, survey: Survey) -> tuple[Wish, ...]:
    """Every wish that ``asked`` can mean, of what ``which`` accepts; none where nothing matches.

    A word without a slash may be a name although the working directory has a file called so.
    """
    there, word = looks.lexists(asked), b"/" not in asked
    named = () if there and not word else _named(asked, survey)
    if not there and (named or word):
        return named
    place = locate(asked, survey.stores)
    if place is None:
        return named
    if not looks.lexists(place.path):
        # A path below merged is there only while it is mounted: its layer tells.
        answers = lookup(asked, survey.stores)
        if not any((it.layer or it.owners) and not it.gone for it in answers):
            return ()
    return (Wish(Subject.PATH, place.store.root.path, path=place.path),)


def _named(asked: bytes, survey: Survey) -> tuple[Wish, ...]:
    return tuple(dict.fromkeys(it for store in survey.stores for it in _by_name(asked, store)))


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
    elif (numbered := SNAPSHOT.fullmatch(text)) and (snapshots := snapshots_named(text, store)):
        inside = text.partition(f"{SNAPSHOTS}/{numbered[2]}/")[2] if numbered[2] else ""
        below = [os.fsencode(inside)] if inside else []
        for it in snapshots:
            yield Wish(Subject.PATH, root, path=os.path.join(it.path, *below))
    elif prefix:
        yield from _by_id(prefix[1], store)
    elif snapshots := snapshots_named(text, store):
        yield from (Wish(Subject.PATH, root, path=it.path) for it in snapshots)
    elif head in store.layers:
        yield Wish(Subject.PATH, root, path=os.path.join(driver, os.fsencode(text)))


def _by_id(prefix: str, store: Store) -> Iterator[Wish]:
    """Containers, images, anonymous volumes by their ids; else layers by name or record's id."""
    root = store.root.path
    named = [
        Wish(subject, root, id=it.owner.id, namespace=it.owner.namespace)
        for subject, things in (
            (Subject.CONTAINER, store.containers),
            (Subject.IMAGE, store.images),
            (Subject.VOLUME, volumes_from(prefix, store)),
        )
        for it in things
        if it.owner.id.removeprefix(_SHA256).startswith(prefix)
    ]
    yield from named
    found = [name for name in directories_from(prefix, store) if name in store.layers]
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
