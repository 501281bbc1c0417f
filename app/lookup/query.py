"""From what an operator pastes to its owner: a path, a name, a short id or an ``l/`` token."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from app.host import looks
from app.lookup.answer import (
    Answer,
    of_blob,
    of_container,
    of_image,
    of_layer,
    of_missing,
    of_missing_volume,
    of_nameless,
    of_token,
    of_volume,
)
from app.lookup.names import (
    ID,
    TOKEN,
    called,
    directories_from,
    snapshot_id,
    snapshots_named,
    volumes_from,
)
from app.lookup.paths import Inside, place_of, seen_below
from app.model import Container, ImageInfo, Kind, Owner, Store
from app.stores.drivers.overlayfs.snapshotter import PREFIX, SNAPSHOTS, directory_id
from app.stores.metadata.containerd.content import BLOBS
from app.stores.metadata.docker.consistency import is_gone
from app.stores.metadata.docker.layerdb import SHA256

__all__ = ["Answer", "lookup"]

_RECORDS = (Kind.BUILD_CACHE, Kind.LEASE)
_FULL_ID = re.compile(rb"[0-9a-f]{64}")
#: Directories in which every entry may be somebody's, but for these.
_HOLDERS = {
    b"overlay2": (b"l",),
    b"volumes": (b"metadata.db", b"backingFsBlockDev"),
    b"containers": (),
}


def lookup(asked: bytes, stores: Sequence[Store]) -> tuple[Answer, ...]:
    """Every answer to one argument: one for a path, several where a short id fits several.

    A word without a slash may be a name although the working directory has a file called so.
    """
    there, word = looks.lexists(asked), b"/" not in asked
    named = () if there and not word else _named(asked, stores)
    if not there and (named or word):
        return named or (Answer(asked, note=_nothing_named(os.fsdecode(asked))),)
    place = place_of(asked, stores)
    if place:
        return (_in_root(asked, place, stores),)
    # Mount points of containers outside Docker lie in containerd's state directory.
    mounted = (_mounted(asked, store, stores) for store in stores)
    found = (*(it for it in mounted if it), *named)
    return found or (_not_here(asked, stores),)


def _nothing_named(text: str) -> str:
    return (
        f"nothing is called '{text}', and no directory, container, image, volume, cache record or "
        "l/ token begins with it: give a path, a name, or at least 6 digits of an id."
    )


def _not_here(asked: bytes, stores: Sequence[Store]) -> Answer:
    """No data root has it; where it lies on what does not answer, nobody can tell."""
    hidden = _hidden(asked, asked)
    return hidden or Answer(asked, note=_outside(os.fsdecode(asked), stores))


def _hidden(asked: bytes, path: bytes, store: Store | None = None) -> Answer | None:
    """The answer where nobody can look: the filesystem there does not answer."""
    where = looks.hanging(path)
    if where is None:
        return None
    text, mount = os.fsdecode(asked), os.fsdecode(where.mount)
    words = f"whose {text} is cannot be told: it lies on {mount}, which hangs; see to that first."
    return Answer(asked, store, note=words, sure=False)


def _outside(text: str, stores: Sequence[Store]) -> str:
    roots = ", ".join(os.fsdecode(place) for store in stores for place in store.root.places)
    return f"{text} lies outside the data root ({roots}); name another one with --data-root."


# --- names ----------------------------------------------------------------------------------------


def _named(asked: bytes, stores: Sequence[Store]) -> tuple[Answer, ...]:
    """What is called so in any store, each thing once: an id may be a name as well."""
    found: dict[tuple[int, str, tuple[Owner, ...], str], Answer] = {}
    for index, store in enumerate(stores):
        for answer in _by_name(asked, store):
            layer = answer.layer.id if answer.layer else ""
            found.setdefault((index, layer, answer.owners, answer.note), answer)
    return tuple(found.values())


def _by_name(asked: bytes, store: Store) -> Iterator[Answer]:
    """What is no path here: a name, a token, the beginning of an id, ``<directory>/diff``."""
    text = os.fsdecode(asked).rstrip("/")
    for thing in called(text, store):
        if isinstance(thing, Container):
            yield from _by_id(asked, thing.owner.id, store)
        elif isinstance(thing, ImageInfo):
            yield of_image(asked, thing, store)
        else:
            yield of_volume(asked, thing, store)
    token, prefix = TOKEN.fullmatch(text), ID.fullmatch(text.lower())
    head = text.partition("/")[0]
    if token and token[1] in store.tokens.keys() | store.dangling.keys():
        yield of_token(asked, token[1], store)
    elif snapshots := snapshots_named(text, store):
        yield from (of_layer(asked, it, store) for it in snapshots)
    elif missing := store.gone.get(snapshot_id(text)):
        yield of_missing(asked, missing, store)
    elif prefix:
        yield from _by_id(asked, prefix[1], store)
    elif answer := _directory(asked, head, store):
        yield answer


def _directory(asked: bytes, name: str, store: Store) -> Answer | None:
    """A directory of a store by its whole name, there or gone."""
    if name in store.layers:
        return of_layer(asked, store.layers[name], store)
    return of_missing(asked, store.gone[name], store) if name in store.gone else None


def _by_id(asked: bytes, prefix: str, store: Store) -> Iterator[Answer]:
    names = directories_from(prefix, store)
    for container in store.containers:
        if container.owner.id.startswith(prefix):
            names += container.layers
            if not container.layers:
                yield of_container(asked, container, (), store)
    names += [
        name
        for name, layer in store.layers.items()
        if any(it.kind in _RECORDS and it.id.startswith(prefix) for it in layer.owners)
        or (layer.snapshot and layer.snapshot.key.removeprefix(SHA256).startswith(prefix))
    ]
    answers = (_directory(asked, name, store) for name in dict.fromkeys(names))
    yield from (it for it in answers if it)
    for image in store.images:
        if image.owner.id.removeprefix(SHA256).startswith(prefix):
            yield of_image(asked, image, store)
    for volume in volumes_from(prefix, store):
        yield of_volume(asked, volume, store)
    for digest, blob in store.blobs.items():
        if digest.removeprefix(SHA256).startswith(prefix) and not _is_image(digest, store):
            yield of_blob(asked, blob, store)


def _is_image(digest: str, store: Store) -> bool:
    return any(image.owner.id == digest for image in store.images)


# --- paths ----------------------------------------------------------------------------------------


def _in_root(asked: bytes, place: Inside, stores: Sequence[Store]) -> Answer:
    theirs = place.base == place.store.root.containerd
    found = _in_containerd(asked, place) if theirs else _in_docker(asked, place)
    return found or _mounted(asked, place.store, stores) or _nobodys(asked, place)


def _in_docker(asked: bytes, place: Inside) -> Answer | None:
    store = place.store
    match place.inside:
        case (b"overlay2", b"l", token, *_):
            return of_token(asked, os.fsdecode(token), store)
        case (b"overlay2", name, *_):
            return _directory(asked, os.fsdecode(name), store)
        case (b"containers", id_, *rest):
            return _of_container(asked, id_, rest, store) or _nameless(asked, place, id_)
        case (b"rootfs", _, id_, *_):
            # Where the containerd image store mounts it (moby daemon/snapshotter/mount.go).
            return _merged(asked, id_, store)
        case (b"volumes", name, *_):
            return _in_volume(asked, name, store)
    return None


def _in_volume(asked: bytes, name: bytes, store: Store) -> Answer | None:
    for volume in store.volumes:
        if volume.owner.id == os.fsdecode(name):
            return of_volume(asked, volume, store)
    if is_gone(os.path.join(store.root.path, b"volumes", name)):
        return of_missing_volume(asked, os.fsdecode(name), store)
    return None


def _in_containerd(asked: bytes, place: Inside) -> Answer | None:
    store = place.store
    match place.inside:
        case (home, folder, name, *_) if home.startswith(PREFIX.encode()) and (
            folder == SNAPSHOTS.encode()
        ):
            snapshotter = os.fsdecode(home).removeprefix(PREFIX)
            return _directory(asked, directory_id(snapshotter, os.fsdecode(name)), store)
    inside = b"/".join(place.inside)
    if os.path.dirname(inside) == BLOBS:
        blob = store.blobs.get(SHA256 + os.fsdecode(os.path.basename(inside)))
        return of_blob(asked, blob, store) if blob else None
    return None


def _merged(asked: bytes, id_: bytes, store: Store) -> Answer | None:
    """The root of a Docker container as it sees it: what it writes there is in its layer."""
    found = _of_container(asked, id_, (), store)
    for container in store.containers:
        if container.owner.id == os.fsdecode(id_) and container.layers:
            return of_layer(asked, store.layers[container.layers[0]], store)
    return found


def _of_container(asked: bytes, id_: bytes, rest: Sequence[bytes], store: Store) -> Answer | None:
    for container in store.containers:
        if container.owner.id == os.fsdecode(id_):
            return of_container(asked, container, rest, store)
    return None


def _nameless(asked: bytes, place: Inside, id_: bytes) -> Answer | None:
    """A container's directory that nothing else tells of."""
    if not _FULL_ID.fullmatch(id_) or not looks.lexists(place.path):
        return None
    return of_nameless(asked, os.fsdecode(id_), place.store)


def _mounted(asked: bytes, store: Store, stores: Sequence[Store]) -> Answer | None:
    """A path below a live mount, such as ``buildkit/executor/<id>/rootfs``: its upper layer's."""
    layer = seen_below(asked, store, stores)
    return of_layer(asked, layer, store) if layer else None


def _nobodys(asked: bytes, place: Inside) -> Answer:
    """What no metadata names: not there, the daemon's own, or not known."""
    text, store = os.fsdecode(asked), place.store
    if hidden := _hidden(asked, place.path, store):
        return hidden
    if not looks.lexists(place.path):
        limits = ", as far as can be read" * any(it.hides_owners for it in store.problems)
        words = f"{text} is not there (any more), and no metadata names it{limits}."
        return Answer(asked, store, note=words)
    part = store.root.part(place.path)
    if part and part.target and place.path != part.path:
        real = os.path.join(part.target, os.path.relpath(place.path, part.path))
        words = (
            f"{os.fsdecode(part.path)} is a symbolic link to {os.fsdecode(part.target)}: ask for "
            f"{os.fsdecode(real)} instead, whose it is there."
        )
        return Answer(asked, store, note=words, sure=False)
    theirs = place.base == store.root.containerd
    if not (_containerds_own(place.inside) if theirs else _dockers_own(place.inside, store)):
        words = f"no owner of {text} is known, which does not prove that there is none: ask again."
        return Answer(asked, store, note=words, sure=False)
    whose = "containerd's" if theirs else "Docker's"
    words = f"{text} is {whose} own; no container, image or volume owns it."
    return Answer(asked, store, note=words, own=True)


def _dockers_own(inside: Sequence[bytes], store: Store) -> bool:
    """Whether no container, image or volume can own such a path."""
    first, *rest = inside
    if first == b"rootfs":
        return len(rest) < 2
    holds = first in _HOLDERS or first == os.fsencode(store.root.driver)
    return not rest or not holds or rest[0] in _HOLDERS.get(first, ())


def _containerds_own(inside: Sequence[bytes]) -> bool:
    if inside[0].startswith(PREFIX.encode()):
        return len(inside) < 3
    return os.path.dirname(b"/".join(inside)) != BLOBS
