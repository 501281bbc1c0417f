"""From what an operator pastes to its owner: a path, a name, a short id or an ``l/`` token."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.model import (
    Blob,
    Container,
    Evidence,
    ImageInfo,
    Kind,
    Layer,
    Owner,
    Reference,
    Store,
    Volume,
    within,
)
from app.stores.content import BLOBS
from app.stores.graphdriver import SHA256
from app.stores.live import BIND, UPPER, reason
from app.stores.snapshotter import PREFIX, SNAPSHOTS, USUAL, directory_id

TOKEN = re.compile(r"(?:l/)?([A-Z2-7]{26})")
#: What may be the beginning of an id: of a directory, a container, an image or a cache record.
ID = re.compile(r"(?:sha256:)?([0-9a-z]{6,64}(?:-init|-view)?)")
#: ``snapshots/47``, or anything inside it, or the number alone.
SNAPSHOT = re.compile(r"(?:([a-z0-9-]+)/)?snapshots/([^/]+)(?:/.*)?|([0-9]{1,12})")
_RECORDS = (Kind.BUILD_CACHE, Kind.LEASE)
FULL_ID = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Answer:
    """Whose a path is. ``layer`` is None where it lies in no layer (a volume, a log)."""

    path: bytes
    store: Store | None = None
    layer: Layer | None = None
    owners: tuple[Owner, ...] = ()
    references: tuple[Reference, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    note: str = ""

    @property
    def found(self) -> bool:
        """Whether there is an owner, or at least a layer that is known by name."""
        return bool(self.owners)


def lookup(asked: bytes, stores: Sequence[Store]) -> tuple[Answer, ...]:
    """Every answer to one argument: one for a path, several where a short id fits several."""
    text = os.fsdecode(asked)
    if not os.path.lexists(asked):
        found = tuple(answer for store in stores for answer in _by_name(asked, store))
        if found:
            return found
        if b"/" not in asked:
            return (Answer(asked, note=_nothing_named(text)),)
    for path in _spellings(asked):
        place = _place(path, stores)
        if place:
            return (_in_root(asked, path, place),)
    # Mount points of containers outside Docker lie in containerd's state directory.
    for path in _spellings(asked):
        for store in stores:
            mounted = _mounted(asked, path, store)
            if mounted:
                return (mounted,)
    return (Answer(asked, note=_outside(text, stores)),)


def locate(asked: bytes, stores: Sequence[Store]) -> Inside | None:
    """Where in which data root a path lies, whatever is there; None for one outside of all."""
    places = (_place(path, stores) for path in _spellings(asked))
    return next((place for place in places if place and place.inside != (b"",)), None)


def _nothing_named(text: str) -> str:
    return (
        f"nothing is called {text!r}, and no directory, container, image, cache record or l/ token "
        f"begins with {text!r}: give a path, a name, or at least 6 digits of an id."
    )


def _outside(text: str, stores: Sequence[Store]) -> str:
    roots = ", ".join(os.fsdecode(place) for store in stores for place in store.root.places)
    return f"{text} lies outside the data root ({roots}); name another one with --data-root."


# --- names ----------------------------------------------------------------------------------------


def _by_name(asked: bytes, store: Store) -> Iterator[Answer]:
    """What is no path here: a name, a token, the beginning of an id, ``<directory>/diff``."""
    text = os.fsdecode(asked).rstrip("/")
    for thing in called(text, store):
        if isinstance(thing, Container):
            yield from _by_id(asked, thing.owner.id, store)
        elif isinstance(thing, ImageInfo):
            yield _image(asked, thing, store)
        else:
            yield _volume(asked, thing, store)
    token, prefix = TOKEN.fullmatch(text), ID.fullmatch(text.lower())
    head = text.partition("/")[0]
    if token and token[1] in store.tokens.keys() | store.dangling.keys():
        yield _token(asked, token[1], store)
    elif snapshot := snapshot_named(text, store):
        yield _layer(asked, snapshot, store)
    elif prefix:
        yield from _by_id(asked, prefix[1], store)
    elif head in store.layers:
        yield _layer(asked, store.layers[head], store)


def called(text: str, store: Store) -> Iterator[Container | ImageInfo | Volume]:
    """The containers, images and volumes of exactly this name; an image by any of its tags."""
    yield from (it for it in store.containers if it.owner.name == text)
    yield from (it for it in store.images if {text, f"{text}:latest"} & {*it.owner.tags})
    yield from (it for it in store.volumes if it.owner.name == text)


def snapshot_named(text: str, store: Store) -> Layer | None:
    """The snapshot of a number, of a whole key, or of a database's full name of it."""
    found = SNAPSHOT.fullmatch(text)
    name = directory_id(found[1] or USUAL, found[2] or found[3]) if found else ""
    if name in store.layers:
        return store.layers[name]
    keyed = (it for it in store.layers.values() if it.snapshot)
    full = re.fullmatch(r"([^/]+)/[0-9]+/(.+)", text)
    for layer in keyed:
        it = layer.snapshot
        if it and (it.key == text or (full and (it.namespace, it.key) == (full[1], full[2]))):
            return layer
    return None


def _by_id(asked: bytes, prefix: str, store: Store) -> Iterator[Answer]:
    found = [name for name in store.layers if name.startswith(prefix)]
    # An init layer has the name of the writable one and a suffix, which nobody types by chance.
    names = [it for it in found if it == prefix or it.removesuffix("-init") not in {*found} - {it}]
    for container in store.containers:
        if container.owner.id.startswith(prefix):
            names += container.layers
            if not container.layers:
                yield _container(asked, container, [], store)
    names += [
        name
        for name, layer in store.layers.items()
        if any(it.kind in _RECORDS and it.id.startswith(prefix) for it in layer.owners)
        or (layer.snapshot and layer.snapshot.key.removeprefix(SHA256).startswith(prefix))
    ]
    for name in dict.fromkeys(names):
        yield _layer(asked, store.layers[name], store)
    for image in store.images:
        if image.owner.id.removeprefix("sha256:").startswith(prefix):
            yield _image(asked, image, store)
    for digest, blob in store.blobs.items():
        if digest.removeprefix(SHA256).startswith(prefix) and not _is_image(digest, store):
            yield _blob(asked, blob, store)


def _is_image(digest: str, store: Store) -> bool:
    return any(image.owner.id == digest for image in store.images)


# --- paths ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Inside:
    """Where in which data root a path lies; ``inside`` are the names from ``base`` on.

    ``base`` is the data root, or the root of its containerd.
    """

    store: Store
    base: bytes
    inside: tuple[bytes, ...]


def _spellings(asked: bytes) -> Iterator[bytes]:
    """The path as typed, and as the kernel sees it; symbolic links in a layer are not followed."""
    try:
        path = os.path.abspath(asked)
    except OSError:
        # The working directory was removed: what is relative to it is nowhere.
        return
    yield path
    yield os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    yield os.path.realpath(path)


def _place(path: bytes, stores: Sequence[Store]) -> Inside | None:
    """The innermost data root around ``path``: a userns-remapped one lies in another one."""
    found = [
        Inside(store, place, tuple(path[len(base) :].strip(b"/").split(b"/")))
        for store in stores
        for place in filter(None, (store.root.path, store.root.containerd))
        for base in {place, os.path.realpath(place)}
        if within(path, base)
    ]
    return min(found, key=lambda place: len(place.inside), default=None)


def _in_root(asked: bytes, path: bytes, place: Inside) -> Answer:
    store, found = place.store, None
    if place.base == store.root.containerd:
        return _in_containerd(asked, path, place)
    match place.inside:
        case (b"overlay2", b"l", token, *_):
            return _token(asked, os.fsdecode(token), store)
        case (b"overlay2", name, *_) if os.fsdecode(name) in store.layers:
            return _layer(asked, store.layers[os.fsdecode(name)], store)
        case (b"containers", id_, *rest):
            found = _of_container(asked, id_, rest, store) or _nameless(asked, path, id_, store)
        case (b"rootfs", _, id_, *_):
            # Where the containerd image store mounts it (moby daemon/snapshotter/mount.go).
            found = _merged(asked, id_, store)
        case (b"volumes", name, *_):
            known = {os.fsencode(volume.owner.id): volume for volume in store.volumes}
            found = _volume(asked, known[name], store) if name in known else None
    nobodys = Answer(asked, store, note=_nobodys(asked, path))
    return found or _mounted(asked, path, store) or nobodys


def _in_containerd(asked: bytes, path: bytes, place: Inside) -> Answer:
    store = place.store
    match place.inside:
        case (home, folder, name, *_) if home.startswith(PREFIX.encode()) and (
            folder == SNAPSHOTS.encode()
        ):
            snapshotter = os.fsdecode(home).removeprefix(PREFIX)
            layer = store.layers.get(directory_id(snapshotter, os.fsdecode(name)))
            if layer:
                return _layer(asked, layer, store)
    inside = b"/".join(place.inside)
    if os.path.dirname(inside) == BLOBS:
        blob = store.blobs.get(SHA256 + os.fsdecode(os.path.basename(inside)))
        if blob:
            return _blob(asked, blob, store)
    nobodys = Answer(asked, store, note=_nobodys(asked, path, "containerd's"))
    return _mounted(asked, path, store) or nobodys


def _merged(asked: bytes, id_: bytes, store: Store) -> Answer | None:
    """The root of a Docker container as it sees it: what it writes there is in its layer."""
    found = _of_container(asked, id_, (), store)
    for container in store.containers:
        if container.owner.id == os.fsdecode(id_) and container.layers:
            return _layer(asked, store.layers[container.layers[0]], store)
    return found


def _nobodys(asked: bytes, path: bytes, whose: str = "Docker's") -> str:
    text = os.fsdecode(asked)
    if not os.path.lexists(path):
        return f"{text} is not there (any more), and no metadata names it."
    return f"{text} is {whose} own; no container, image or volume owns it."


def _mounted(asked: bytes, path: bytes, store: Store) -> Answer | None:
    """A path below a live mount, such as ``buildkit/executor/<id>/rootfs``: its upper layer's."""
    reasons = [reason(BIND), reason(UPPER)]
    found = [
        (len(reference.id), reasons.index(reference.why), layer.id)
        for layer in store.layers.values()
        for reference in layer.references
        if reference.kind is Kind.MOUNT
        and reference.why in reasons
        and f"{os.fsdecode(path)}/".startswith(f"{reference.id.rstrip('/')}/")
    ]
    # The innermost mount hides the others.
    return _layer(asked, store.layers[max(found)[2]], store) if found else None


# --- answers --------------------------------------------------------------------------------------


def _layer(asked: bytes, layer: Layer, store: Store) -> Answer:
    note = layer.note
    if not layer.owners and not note:
        note = "no owner found in any metadata"
    return Answer(asked, store, layer, layer.owners, layer.references, layer.evidence, note)


def _token(asked: bytes, token: str, store: Store) -> Answer:
    name = store.tokens.get(token, "")
    if name in store.layers:
        return _layer(asked, store.layers[name], store)
    target = os.fsdecode(store.dangling.get(token, b""))
    return Answer(
        asked,
        store,
        note=f"l/{token} leads to {target}, which is gone: its directory was removed by hand."
        if target
        else f"there is no token {token} in l/.",
    )


def _image(asked: bytes, image: ImageInfo, store: Store) -> Answer:
    top = image.layers[-1] if image.layers else ""
    top = top if "/" in top or not top else f"overlay2/{top}"
    where = f", the top one {top}" if top else ""
    note = f"an image of {len(image.layers)} layers{where}"
    return Answer(asked, store, owners=(image.owner,), evidence=image.evidence, note=note)


def _blob(asked: bytes, blob: Blob, store: Store) -> Answer:
    """A part of images as it was pulled: compressed, or a manifest."""
    users = tuple(
        Reference(it.kind, it.id, it.name, "this blob is a part of it") for it in blob.owners
    )
    note = "a blob of the content store: a compressed layer, a manifest or a config"
    if not blob.owners:
        note = "a blob of no image: build history, or a pull that goes on or was given up"
    return Answer(asked, store, None, blob.owners, users, blob.evidence, note)


def _nameless(asked: bytes, path: bytes, id_: bytes, store: Store) -> Answer | None:
    """A container's directory that nothing else tells of."""
    if not FULL_ID.fullmatch(id_) or not os.path.lexists(path):
        return None
    id_text = os.fsdecode(id_)
    where = os.path.join(os.fsdecode(store.root.path), "containers", id_text)
    return Answer(
        asked,
        store,
        owners=(Owner(Kind.CONTAINER, id_text),),
        evidence=(Evidence(where, f"is the directory of container {id_text}"),),
        note="its config.v2.json cannot be read, so its name and state are not known",
    )


def _of_container(asked: bytes, id_: bytes, rest: Sequence[bytes], store: Store) -> Answer | None:
    for container in store.containers:
        if container.owner.id == os.fsdecode(id_):
            return _container(asked, container, rest, store)
    return None


def _container(asked: bytes, container: Container, rest: Sequence[bytes], store: Store) -> Answer:
    owner = container.owner
    owners: tuple[Owner, ...] = (owner,)
    why = "its directory: settings, state and logs"
    if rest and (rest[0] == b"local-logs" or b".log" in rest[0]):
        owners = (Owner(Kind.LOG, owner.id, name=owner.name, state=owner.state), owner)
        why = "its log"
    return Answer(
        asked,
        store,
        owners=owners,
        references=(Reference(owner.kind, owner.id, owner.name, why),),
        evidence=container.evidence,
    )


def _volume(asked: bytes, volume: Volume, store: Store) -> Answer:
    return Answer(
        asked,
        store,
        owners=(volume.owner,),
        references=tuple(
            Reference(
                user.kind, user.id, user.name, f"uses the volume ({user.state or 'state unknown'})"
            )
            for user in volume.users
        ),
        evidence=volume.evidence,
        note="" if volume.users else "no container uses this volume",
    )
