"""The world that some plans leave behind: in it the next one of several marked things is planned.

So its plan says what will be true when its turn comes: the layers that only those before it shared
with it go with it, and nothing of them refers to it any more. The second look, right before its
removal, is into the real world: where that came out otherwise, the two differ, and it is stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from app.cleanup.plan.model import Action, Plan
from app.discovery.request import Survey
from app.model import ImageInfo, Kind, Layer, Owner, Reference, Store


def after(survey: Survey, plans: Sequence[Plan]) -> Survey:
    """What was surveyed, as it will be once these plans have been carried out.

    Only what they take is gone, with each word of it; images that they leave without a name have
    none. What another namespace of containerd keeps is never theirs.
    """
    return replace(survey, stores=tuple(_after(store, plans) for store in survey.stores))


def _after(store: Store, plans: Sequence[Plan]) -> Store:
    mine = [plan for plan in plans if plan.wish.root == store.root.path]
    steps = [step for plan in mine for step in plan.steps if step.action is Action.REMOVE_IMAGE]
    names = frozenset(name for step in steps for name in step.ids)
    gone = frozenset(key for plan in mine for key in plan.takes)
    return _After(gone, _untagged(store, names)).store(store) if gone or names else store


def _untagged(store: Store, names: frozenset[str]) -> frozenset[str]:
    """The ids of images that have one of these names: a plan takes all names of an image."""
    return frozenset(
        image.owner.id
        for image in store.images
        if not image.owner.namespace and names & {*image.owner.tags, *image.digests}
    )


@dataclass(frozen=True, slots=True)
class _After:
    """``gone`` are kinds and ids of what goes, ``untagged`` the images that lose their names."""

    gone: frozenset[tuple[Kind, str]]
    untagged: frozenset[str]

    def store(self, store: Store) -> Store:
        """The store without them."""
        layers = {
            id_: layer if _is_foreign(layer, store) else self._layer(layer)
            for id_, layer in store.layers.items()
            if (Kind.LAYER, id_) not in self.gone
        }
        images = (it for it in store.images if self._stays(it.owner))
        volumes = (replace(it, users=self._owners(it.users)) for it in store.volumes)
        blobs = {
            digest: replace(blob, owners=self._owners(blob.owners))
            for digest, blob in store.blobs.items()
        }
        return replace(
            store,
            layers=layers,
            containers=tuple(it for it in store.containers if self._stays(it.owner)),
            images=tuple(self._image(it) for it in images),
            volumes=tuple(volumes),
            cache=tuple(it for it in store.cache if self._stays(it.owner)),
            blobs=blobs,
        )

    def _layer(self, layer: Layer) -> Layer:
        references = (it for it in layer.references if (it.kind, it.id) not in self.gone)
        return replace(
            layer,
            owners=self._owners(layer.owners),
            references=tuple(self._named(it) for it in references),
        )

    def _stays(self, owner: Owner) -> bool:
        return bool(owner.namespace) or (owner.kind, owner.id) not in self.gone

    def _owners(self, owners: Iterable[Owner]) -> tuple[Owner, ...]:
        return tuple(self._owner(it) for it in owners if self._stays(it))

    def _owner(self, owner: Owner) -> Owner:
        if owner.namespace or owner.kind is not Kind.IMAGE or owner.id not in self.untagged:
            return owner
        return replace(owner, name="", tags=())

    def _named(self, reference: Reference) -> Reference:
        untagged = reference.kind is Kind.IMAGE and reference.id in self.untagged
        return replace(reference, name="") if untagged else reference

    def _image(self, image: ImageInfo) -> ImageInfo:
        owner = self._owner(image.owner)
        return image if owner is image.owner else replace(image, owner=owner, digests=())


def _is_foreign(layer: Layer, store: Store) -> bool:
    """Whether it is of another namespace of containerd, where the same ids are other things."""
    snapshot = layer.snapshot
    return snapshot is not None and snapshot.namespace != store.root.namespace
