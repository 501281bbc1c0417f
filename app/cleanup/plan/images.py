"""Plans for images: the engine removes them by their tags; their layers go when nobody holds them.

Source: moby daemon/images/image_delete.go (ImageDelete, imageDeleteHelper,
checkImageDeleteConflict): the last name of an image takes the image with it, and the untagged
images that it was built from; an id is refused while other images were built from it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from app.cleanup.plan.commands import only_while, quoted
from app.cleanup.plan.container_settings import read_settings
from app.cleanup.plan.containerd_namespaces import not_dockers
from app.cleanup.plan.containers import word_for, word_of, word_of_layer
from app.cleanup.plan.context import (
    Doubt,
    World,
    collected,
    held_only_by,
    listed,
    named,
    of_layers,
    pinned,
    refused,
    silent,
)
from app.cleanup.plan.expected import seen
from app.cleanup.plan.in_use import hindering
from app.cleanup.plan.makers import remove_first
from app.cleanup.plan.model import Action, Confirmation, Expected, Frees, Plan, Step, Wish
from app.host import looks
from app.host.safe_read import Damage, Folder
from app.model import Container, ImageInfo, Kind, Layer, Owner, Reference, Role
from app.text import size

_SHA256 = "sha256:"
_START = "start the engine, then ask again"
_KEPT = (
    "layerdb keeps this layer, but no image, container or cache record uses it, and the engine has "
    "no call that removes it; taking its directory away breaks the next pull of the same layer"
)


def plan_image(wish: Wish, world: World, id_: str) -> Plan:
    """Remove one image, by all its names."""
    if wish.namespace:
        return not_dockers(wish, f"image {word_of(id_)}", wish.namespace)
    image = _images(world).get(id_)
    if image is None:
        return refused(wish, f"image {word_of(id_)}", "there is no such image (any more)")
    more = len(image.owner.tags) - 1
    title = named(image.owner) + (f" (+{more} tag{'s' * (more > 1)})" if more > 0 else "")
    return _plan(wish, world, (image,), title)


def plan_image_layer(wish: Wish, world: World, layer: Layer) -> Plan:
    """Remove every image above a layer: the layer itself cannot go alone."""
    title = f"image layer {layer.id}"
    images = _images(world)
    above = tuple(images[it.id] for it in layer.owners if it.kind is Kind.IMAGE and it.id in images)
    users = [it for it in layer.references if it.kind is Kind.CONTAINER]
    if not above:
        why, instead = _KEPT, "pull or load an image that has it, then remove that image"
        if layer.is_snapshot:
            why = "no image holds this layer any more, and something else keeps it"
            instead = "see what refers to it: when that is gone, containerd removes it by itself"
        if users:
            why = "no image holds this layer any more; a container stands on it"
            instead = f"remove {_names(users)} first: the engine then removes the layer by itself"
        return refused(
            wish,
            title,
            why,
            instead,
            path=layer.path,
            references=_of_layers(layer),
            evidence=layer.evidence,
        )
    return _plan(wish, world, above, title, layer)


def _plan(
    wish: Wish, world: World, images: tuple[ImageInfo, ...], title: str, layer: Layer | None = None
) -> Plan:
    family = _Family(world, images, layer)
    top = next(world.layers(reversed(images[0].layers)), None)
    place = layer or top
    path = place.path if place else b""
    going = held_only_by(world.store, {(Kind.IMAGE, id_) for id_ in family.gone})
    references = family.references(layer, going)
    evidence = (
        *(layer.evidence if layer else ()),
        *(it for image in images for it in image.evidence if not layer),
    )
    if why := next(_against(world, family, going), None):
        return refused(wish, title, *why, path=path, references=references, evidence=evidence)
    total = world.frees([*_paths(world, going), *family.notes()])
    blocked = [it for it in references if it.kind is Kind.LAYER]
    typed = len(images) > 1 or bool(blocked)
    return Plan(
        wish,
        title,
        path=path,
        steps=tuple(family.steps(going)),
        # The daemon's lists of names and the like may get smaller as well.
        frees=Frees(total.bytes, total.inodes, least=True),
        confirmation=Confirmation.TYPED if typed else Confirmation.PLAIN,
        word=_word(images, layer) if typed else "",
        consequences=tuple(family.consequences(going, layer)),
        references=references,
        evidence=evidence,
        filesystem=world.filesystem((place,) if place else ()),
        kept=world.frees(_paths(world, family.cached(going))),
        takes=frozenset(
            {
                *((Kind.IMAGE, id_) for id_ in family.gone),
                *((Kind.LAYER, it.id) for it in going),
            }
        ),
    )


def _paths(world: World, layers: Sequence[Layer]) -> list[bytes]:
    """What lies on the disk of these layers."""
    links = world.links(it.id for it in layers)
    return [*(it.path for it in layers), *links, *world.notes_on(layers)]


def _word(images: Sequence[ImageInfo], layer: Layer | None) -> str:
    return word_of_layer(layer) if layer else word_for(images[0].owner)


def _against(world: World, family: _Family, going: Sequence[Layer]) -> Iterator[Doubt]:
    if users := family.users:
        words = listed([named(it.owner) for it in users])
        yield f"in use: {words}", remove_first(world, [it.owner for it in users])
    if world.silence:
        yield silent(world, "images"), _START
    if any(map(_references, family.images)):
        # By its id an image is the same anywhere.
        yield from world.passed_on
    for image in family.images:
        if not any(it.source.startswith("engine: ") for it in image.evidence):
            yield f"the engine does not know {named(image.owner)}", "restart the engine"
        for layer in world.layers(image.layers):
            if layer.role not in (Role.IMAGE, Role.BUILD_CACHE):
                note = f": {layer.note}" if layer.note else ""
                yield f"its layer {layer.id} is {layer.role.value}{note}", "solve that first"
    if family.built:
        words = f"{listed([named(it.owner) for it in family.built])} were built from it"
        yield words, "remove those first; the engine then removes it by itself"
    for image in family.images:
        yield from hindering(world, world.layers(image.layers))
    yield from pinned(it.path for it in going)


class _Family:
    """Images that are to go, who stands on them, and what goes or stays with them."""

    def __init__(self, world: World, images: Iterable[ImageInfo], layer: Layer | None) -> None:
        self.world = world
        self.known = _images(world)
        self.parents = _parents(world, self.known)
        wanted = {image.owner.id for image in images}
        # Children first: an untagged parent goes by itself with the last of them.
        self.images = sorted(
            (self.known[id_] for id_ in wanted),
            key=lambda it: (-len(self._ancestors(it.owner.id)), it.owner.id),
        )
        self.wanted = wanted
        self.users = tuple(_users(world, self.images, layer))
        self.gone = self._gone()

    def _ancestors(self, id_: str) -> list[str]:
        found: list[str] = []
        while (id_ := self.parents.get(id_, "")) and id_ not in found:
            found.append(id_)
        return found

    def _children(self, id_: str) -> set[str]:
        return {child for child, parent in self.parents.items() if parent == id_}

    @property
    def built(self) -> tuple[ImageInfo, ...]:
        """Images that stay, and were built from an untagged one that is to go."""
        return tuple(
            self.known[child]
            for image in self.images
            if not _references(image)
            for child in sorted(self._children(image.owner.id) - self.wanted)
        )

    def _gone(self) -> set[str]:
        """The images that will be gone, with those untagged ones that the engine prunes."""
        gone = {it for it in self.wanted if not self._children(it) - self.wanted}
        for id_ in sorted(gone):
            for parent in self._ancestors(id_):
                image = self.known[parent]
                if parent in gone:
                    continue
                if _references(image) or self._children(parent) - gone or any(self._used(image)):
                    break
                gone.add(parent)
        return gone

    def _used(self, image: ImageInfo) -> Iterable[Container]:
        return _users(self.world, [image])

    def steps(self, going: Sequence[Layer]) -> Iterator[Step]:
        """A call for each name; after the last one the layers that are ``going`` are gone."""
        calls = list(self._calls())
        for at, (image, name) in enumerate(calls):
            # What containerd has it collects some seconds later.
            paths = [it.path for it in going if not it.is_snapshot and at == len(calls) - 1]
            yield Step(
                Action.REMOVE_IMAGE,
                self._command(image, name),
                (name,),
                expects=(Expected(Kind.IMAGE, name, image.owner.id),),
                goes=seen(paths),
            )

    def _calls(self) -> Iterator[tuple[ImageInfo, str]]:
        """Images and their names; an id where there is none and it does not go by itself."""
        for image in self.images:
            names = _references(image)
            if not names and self._children(image.owner.id):
                continue
            for name in names or (image.owner.id,):
                yield image, name

    def _command(self, image: ImageInfo, name: str) -> str:
        """By its id, which no other image ever has, where that takes exactly this one name.

        An id of several names is refused, and one of which images were built keeps its name (moby
        daemon/images/image_delete.go ImageDelete, isSingleReference). A name can move to another
        image before somebody types it.
        """
        world, id_ = self.world, image.owner.id
        if id_ in self.gone and len(_references(image)) <= 1:
            return world.docker("rmi", id_)
        shown = world.docker("image", "inspect", "--format", "{{.Id}}", name)
        return only_while(shown, id_, world.docker("rmi", name))

    def notes(self) -> Iterator[bytes]:
        """The daemon's own files on these images (moby image/fs.go Delete)."""
        driver = self.world.store.root.driver or "overlay2"
        for id_ in sorted(self.gone):
            kind, _, digest = id_.partition(":")
            for part in ("content", "metadata"):
                path = self.world.path("image", driver, "imagedb", part, kind, digest)
                if looks.lexists(path):
                    yield path

    def records(self, going: Sequence[Layer]) -> tuple[Owner, ...]:
        """The build-cache records that keep layers which would go otherwise."""
        gone = {it.id for it in going}
        layers = {it.id: it for image in self.images for it in self.world.layers(image.layers)}
        staying = [it for id_, it in layers.items() if id_ not in gone]
        ids = {it.id for layer in staying for it in layer.owners if it.kind is Kind.BUILD_CACHE}
        ids |= {it.id for it in of_layers(staying, (Kind.BUILD_CACHE,))}
        return tuple(it.owner for it in self.world.store.cache if it.owner.id in ids)

    def cached(self, going: Sequence[Layer]) -> tuple[Layer, ...]:
        """The layers that the build cache alone keeps."""
        keys = {(Kind.IMAGE, id_) for id_ in self.gone}
        keys |= {(Kind.BUILD_CACHE, it.id) for it in self.records(going)}
        gone = {it.id for it in going}
        layers = {name for image in self.images for name in image.layers}
        return tuple(
            it
            for it in held_only_by(self.world.store, keys)
            if it.id in layers and it.id not in gone
        )

    def references(self, layer: Layer | None, going: Sequence[Layer]) -> tuple[Reference, ...]:
        """Containers first, for they would have to go; then what keeps layers of theirs."""
        containers = [
            Reference(Kind.CONTAINER, it.owner.id, it.owner.name, "it stands on it")
            for it in self.users
        ]
        images = [
            Reference(
                Kind.IMAGE,
                it.owner.id,
                it.owner.name,
                "the layer is part of it: it goes as a whole",
            )
            for it in self.images
            if layer
        ]
        layers = [it for image in self.images for it in self.world.layers(image.layers)]
        kept = of_layers([layer] if layer else layers, (Kind.BUILD_CACHE,))
        # Whatever stands on a layer that stays does not notice.
        above = of_layers(going, (Kind.LAYER,))
        return (*containers, *images, *kept, *above)

    def consequences(self, going: tuple[Layer, ...], layer: Layer | None) -> Iterable[str]:
        """The worst first."""
        if layer:
            yield "a layer cannot go alone: every image above it is removed, with all its tags"
        pruned = self.gone - self.wanted
        if pruned:
            yield f"{len(pruned)} untagged images that only it was built from go with it"
        if self.wanted - self.gone:
            yield "other images were built from it: it only loses its tags, and frees nothing"
        total = {it.id for image in self.images for it in self.world.layers(image.layers)}
        stays = len(total - {it.id for it in going})
        if stays:
            yield f"{stays} of {len(total)} layers stay, for something else holds them too"
        yield from self._of_cache(going)
        yield from self._of_blobs()
        yield from collected(going)
        yield "it must be pulled, loaded or built again to be used again"

    def _of_cache(self, going: Sequence[Layer]) -> Iterator[str]:
        """Which records would have to go too, and by which plan."""
        cached = self.cached(going)
        if not cached:
            return
        records = listed([it.name or it.id for it in self.records(going)])
        lowest = min(cached, key=lambda it: len(it.parents))
        path = quoted(lowest.path)
        yield (
            f"the build cache alone keeps {len(cached)} layers then: to have their space as well, "
            f"`whodiff plan {path}` afterwards, which prunes {records}"
        )

    def _of_blobs(self) -> Iterator[str]:
        """What only these images have in the content store; a build or a lease may keep it."""
        cached = {it.blob for it in self.world.store.cache}
        blobs = [
            blob.usage.bytes
            for blob in self.world.store.blobs.values()
            if blob.owners
            and blob.digest not in cached
            and all(not it.namespace and it.id in self.gone for it in blob.owners)
        ]
        if blobs:
            yield (
                f"its compressed parts in the content store, {size(sum(blobs))}, go too, where "
                "nothing else keeps them; they are not in what it frees"
            )


def _references(image: ImageInfo) -> tuple[str, ...]:
    """Its tags, then its digests in repositories where it has no tag: those go with the last tag.

    moby image_delete.go: a tag takes the digests of its repository with it.
    """
    tagged = {tag.rpartition(":")[0] for tag in image.owner.tags}
    alone = (it for it in image.digests if it.partition("@")[0] not in tagged)
    return (*image.owner.tags, *alone)


def _images(world: World) -> Mapping[str, ImageInfo]:
    """The engine's; the same image in another namespace of containerd is another one."""
    return {image.owner.id: image for image in world.store.images if not image.owner.namespace}


def _users(
    world: World, images: Sequence[ImageInfo], layer: Layer | None = None
) -> Iterator[Container]:
    """Containers, running or not, of these images, that mount one of them, or stand on a layer.

    That is the top layer of any of the images, or ``layer``.
    """
    ids = {image.owner.id for image in images}
    tops = {image.layers[-1] for image in images if image.layers} - {""}
    standing = {
        it.id
        for top in (*world.layers(tops), *((layer,) if layer else ()))
        for it in top.references
        if it.kind is Kind.CONTAINER
    }
    for container in world.store.containers:
        if container.owner.namespace:
            continue
        uses = {container.image_id, *read_settings(container).images}
        if uses & ids or container.owner.id in standing:
            yield container


def _parents(world: World, known: Mapping[str, ImageInfo]) -> dict[str, str]:
    """From an image to the one that it was built from, as the classic builder noted it.

    ``imagedb/metadata/sha256/<id>/parent`` (moby daemon/internal/image/fs.go SetMetadata).
    """
    place = world.path("image", world.store.root.driver or "overlay2", "imagedb/metadata/sha256")
    found: dict[str, str] = {}
    for id_ in known:
        try:
            with Folder.open(os.path.join(place, id_.removeprefix(_SHA256).encode())) as folder:
                parent = folder.read_text("parent", 4096)
        except (FileNotFoundError, Damage):
            continue
        if parent in known and parent != id_:
            found[id_] = parent
    return found


def _of_layers(layer: Layer) -> tuple[Reference, ...]:
    return of_layers([layer], (Kind.CONTAINER, Kind.IMAGE, Kind.BUILD_CACHE, Kind.LAYER))


def _names(references: Iterable[Reference]) -> str:
    return listed([f"container {it.name or it.id[:12]}" for it in references])
