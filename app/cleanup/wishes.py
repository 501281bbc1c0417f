"""What an operator asks for, as wishes: from a path, the beginning of an id, or an ``l/`` token."""

from __future__ import annotations

import os
from collections.abc import Iterator

from app.cleanup.plan import Subject, Wish
from app.model import Kind, Store
from app.stores.lookup import ID, TOKEN, locate, lookup
from app.stores.request import Survey


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
    if token and token[1] in store.tokens.keys() | store.dangling.keys():
        yield Wish(Subject.PATH, root, path=os.path.join(driver, b"l", token[1].encode()))
    elif prefix:
        yield from _by_id(prefix[1], store)
    elif head in store.layers:
        yield Wish(Subject.PATH, root, path=os.path.join(driver, os.fsencode(text)))


def _by_id(prefix: str, store: Store) -> Iterator[Wish]:
    """Containers and images by their ids; else layers by their names, or their records' ids."""
    root = store.root.path
    for container in store.containers:
        if container.owner.id.startswith(prefix):
            yield Wish(Subject.CONTAINER, root, id=container.owner.id)
    for image in store.images:
        if image.owner.id.removeprefix("sha256:").startswith(prefix):
            yield Wish(Subject.IMAGE, root, id=image.owner.id)
    found = [name for name in store.layers if name.startswith(prefix)]
    # An init layer has the name of the writable one and a suffix, which nobody types by chance.
    found = [it for it in found if it == prefix or it.removesuffix("-init") not in {*found} - {it}]
    found += [
        name
        for name, layer in store.layers.items()
        if any(it.kind is Kind.BUILD_CACHE and it.id.startswith(prefix) for it in layer.owners)
    ]
    for name in dict.fromkeys(found):
        yield Wish(Subject.PATH, root, path=store.layers[name].path)
