"""What things are called: containers, images, volumes and snapshots, as operators type them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.model import Container, ImageInfo, Layer, Store, Volume
from app.stores.drivers.overlayfs.snapshotter import USUAL, directory_id

TOKEN = re.compile(r"(?:l/)?([A-Z2-7]{26})")
#: What may be the beginning of an id: of a directory, a container, an image or a cache record.
ID = re.compile(r"(?:sha256:)?([0-9a-z]{6,64}(?:-init|-view)?)")
#: ``snapshots/47``, or anything inside it, or the number alone.
SNAPSHOT = re.compile(r"(?:([a-z0-9-]+)/)?snapshots/([^/]+)(?:/.*)?|([0-9]{1,12})", re.DOTALL)
#: A snapshot as its database calls it: namespace, a sequence number, key.
_IN_DATABASE = re.compile(r"([^/]+)/[0-9]+/(.+)", re.DOTALL)
#: What an anonymous volume is called; others have names, which nobody shortens.
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
_HUB = "docker.io"


def called(text: str, store: Store) -> Iterator[Container | ImageInfo | Volume]:
    """The containers, images and volumes of exactly this name.

    An image by any of its tags and digests. A container also with the slash that ``docker
    inspect`` prints before its name.
    """
    names = {text, text.removeprefix("/")} - {""}
    yield from (it for it in store.containers if it.owner.name in names)
    whole = image_name(text)
    for image in store.images:
        if any(image_name(name) == whole for name in (*image.owner.tags, *image.digests)):
            yield image
    yield from (it for it in store.volumes if it.owner.name == text)


def image_name(text: str) -> str:
    """An image's name with all that may be left out: ``docker.io/library/app:latest``.

    Of a name with both, the digest counts and the tag does not. Source: distribution/reference
    normalize.go (splitDockerDomain, TagNameOnly).
    """
    name, _, digest = text.partition("@")
    registry, slash, path = name.partition("/")
    if not slash or not (re.search("[.:A-Z]", registry) or registry == "localhost"):
        registry, path = _HUB, name
    registry = _HUB if registry == f"index.{_HUB}" else registry
    repository, _, tag = path.partition(":")
    if registry == _HUB and "/" not in repository:
        repository = f"library/{repository}"
    end = f"@{digest}" if digest else f":{tag or 'latest'}"
    return f"{registry}/{repository}{end}"


def directories_from(prefix: str, store: Store) -> list[str]:
    """The directories whose names begin so, there or gone."""
    found = [name for name in (*store.layers, *store.gone) if name.startswith(prefix)]
    # An init layer has the name of the writable one and a suffix, which nobody types by chance.
    inits = {f"{name}-init" for name in found} - {prefix}
    return [name for name in found if name not in inits]


def volumes_from(prefix: str, store: Store) -> Iterator[Volume]:
    """The anonymous volumes whose names begin so."""
    for volume in store.volumes:
        if volume.owner.name.startswith(prefix) and _ANONYMOUS.fullmatch(volume.owner.name):
            yield volume


def snapshot_id(text: str) -> str:
    """The id of the directory that ``47``, ``snapshots/47`` or a path in it means, "" for none."""
    found = SNAPSHOT.fullmatch(text)
    return directory_id(found[1] or USUAL, found[2] or found[3]) if found else ""


def snapshots_named(text: str, store: Store) -> tuple[Layer, ...]:
    """The snapshots of a number, of a whole key, or of a database's full name of one.

    Several namespaces may each have one of the same key.
    """
    name = snapshot_id(text)
    if name in store.layers:
        return (store.layers[name],)
    full = _IN_DATABASE.fullmatch(text)
    named = (full[1], full[2]) if full else None
    return tuple(
        layer
        for layer in store.layers.values()
        if (it := layer.snapshot) and (it.key == text or (it.namespace, it.key) == named)
    )
