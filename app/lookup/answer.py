"""An answer: whose a thing is, who refers to it, what says so; made from what a store knows."""

from __future__ import annotations

import os
from collections.abc import Sequence
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
)
from app.stores.metadata.docker.consistency import is_gone


@dataclass(frozen=True, slots=True)
class Answer:
    """Whose a path is. ``layer`` is None where it lies in no layer (a volume, a log).

    ``own``: it is the daemon's own, which no container, image or volume owns. ``gone``: metadata
    names it, and there is no such directory any more. ``sure`` is false where an owner may be there
    that could not be seen.
    """

    path: bytes
    store: Store | None = None
    layer: Layer | None = None
    owners: tuple[Owner, ...] = ()
    references: tuple[Reference, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    note: str = ""
    own: bool = False
    gone: bool = False
    sure: bool = True

    @property
    def found(self) -> bool:
        """Whether there is an owner, or at least a layer that is known by name."""
        return bool(self.owners)


def of_layer(asked: bytes, layer: Layer, store: Store) -> Answer:
    """A layer's own answer."""
    note = layer.note
    if not layer.owners and not note:
        note = "no owner found in any metadata"
    return Answer(asked, store, layer, layer.owners, layer.references, layer.evidence, note)


def of_missing(asked: bytes, layer: Layer, store: Store, before: str = "") -> Answer:
    """What metadata names although its directory is not there; ``before`` begins the note."""
    gone = is_gone(layer.path)
    note = "its directory was not there a moment ago: ask again"
    if gone:
        note = f"{before}its directory is gone, though metadata still names it"
        if layer.owners:
            note += ": remove its owner with docker, then make or pull it again"
    return Answer(
        asked,
        store,
        owners=layer.owners,
        references=layer.references,
        evidence=layer.evidence,
        note=note,
        gone=gone,
        sure=gone or bool(layer.owners),
    )


def of_token(asked: bytes, token: str, store: Store) -> Answer:
    """What a token of ``l/`` leads to."""
    name = store.tokens.get(token, "")
    if name in store.layers:
        return of_layer(asked, store.layers[name], store)
    target = store.dangling.get(token, b"")
    if not target:
        return Answer(asked, store, note=f"there is no token {token} in l/.")
    leads = f"l/{token} leads to {os.fsdecode(target)}, which is gone"
    # The link leads to the directory's diff.
    missing = store.gone.get(os.fsdecode(os.path.basename(os.path.dirname(target))))
    if missing:
        return of_missing(asked, missing, store, f"{leads}: ")
    return Answer(asked, store, note=f"{leads}: its directory was removed by hand.")


def of_image(asked: bytes, image: ImageInfo, store: Store) -> Answer:
    """An image; its layers are many, so none of them is the answer."""
    top = image.layers[-1] if image.layers else ""
    top = top if "/" in top or not top else f"overlay2/{top}"
    where = f", the top one {top}" if top else ""
    note = f"an image of {len(image.layers)} layers{where}"
    return Answer(asked, store, owners=(image.owner,), evidence=image.evidence, note=note)


def of_blob(asked: bytes, blob: Blob, store: Store) -> Answer:
    """A part of images as it was pulled: compressed, or a manifest."""
    users = tuple(
        Reference(it.kind, it.id, it.name, "this blob is a part of it") for it in blob.owners
    )
    note = "a blob of the content store: a compressed layer, a manifest or a config"
    if not blob.owners:
        note = "a blob of no image: build history, or a pull that goes on or was given up"
    return Answer(asked, store, None, blob.owners, users, blob.evidence, note)


def of_container(asked: bytes, container: Container, rest: Sequence[bytes], store: Store) -> Answer:
    """A container's own directory, or the names ``rest`` in it."""
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


def of_nameless(asked: bytes, id_: str, store: Store) -> Answer:
    """A container's directory that nothing else tells of."""
    where = os.path.join(os.fsdecode(store.root.path), "containers", id_)
    return Answer(
        asked,
        store,
        owners=(Owner(Kind.CONTAINER, id_),),
        evidence=(Evidence(where, f"is the directory of container {id_}"),),
        note="its config.v2.json cannot be read, so its name and state are not known",
    )


def of_volume(asked: bytes, volume: Volume, store: Store) -> Answer:
    """A volume with all containers that use it, as far as their settings can be read."""
    note, sure = "", True
    if not volume.users:
        unread = _unread_settings(store)
        sure = not unread
        note = "no container uses this volume"
        if unread:
            note += f", as far as can be read: {unread} cannot"
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
        note=note,
        sure=sure,
    )


def of_missing_volume(asked: bytes, name: str, store: Store) -> Answer | None:
    """A volume that containers use and that has no directory here; None where none does."""
    users = tuple(it.owner for it in store.containers if name in it.volumes)
    if not users:
        return None
    note = "there is no such directory, though containers use a volume of this name"
    return Answer(
        asked,
        store,
        owners=(Owner(Kind.VOLUME, name, name=name),),
        references=tuple(Reference(it.kind, it.id, it.name, "uses the volume") for it in users),
        note=note,
        gone=True,
    )


def _unread_settings(store: Store) -> str:
    """The first of the containers' settings that could not be read, or ""."""
    folder = os.path.join(os.fsdecode(store.root.path), "containers")
    return next(
        (
            problem.source
            for problem in store.problems
            if problem.hides_owners and f"{problem.source}/".startswith(f"{folder}/")
        ),
        "",
    )
