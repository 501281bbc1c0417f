"""The rows of a report: every layer, volume and container directory with its figures, and sums."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from app import wording
from app.lookup.query import Answer, lookup
from app.model import Blob, Container, ImageInfo, Layer, Owner, Store, Usage, Volume
from app.scan.hot import HotSpot, hot_spots
from app.text import short_id
from app.usage.figures import Figures, add
from app.usage.order import Column, Order
from app.usage.units import blobs_of, parts_of


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer directory and what it takes."""

    store: Store
    layer: Layer
    usage: Usage

    @property
    def label(self) -> str:
        """Its owner in a few words, "" without one."""
        return wording.owners_label(self.layer.owners)


@dataclass(frozen=True, slots=True)
class OtherRow:
    """A volume, or a container's own directory (logs, settings), and what it takes."""

    store: Store
    holder: Volume | Container
    usage: Usage

    @property
    def owner(self) -> Owner:
        """The volume or the container itself."""
        return self.holder.owner

    @property
    def path(self) -> bytes:
        """The directory that was measured."""
        return self.holder.path if isinstance(self.holder, Volume) else self.holder.directory

    @property
    def users(self) -> tuple[Owner, ...]:
        """The containers that mount the volume."""
        return self.holder.users if isinstance(self.holder, Volume) else ()

    @property
    def label(self) -> str:
        """The volume's or the container's name."""
        if isinstance(self.holder, Volume):
            name = short_id(self.owner.id)
            return f"anonymous {name}" if self.holder.anonymous else self.owner.name
        return wording.container_label(self.holder)


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An image: what its layers take, and its blobs in containerd's content store, compressed.

    The ``own`` parts are those that no other image has.
    """

    store: Store
    image: ImageInfo
    unpacked: Usage
    unpacked_own: Usage
    compressed: Usage
    compressed_own: Usage

    @property
    def label(self) -> str:
        """Its first tag, or its id."""
        return wording.image_label(self.image.owner)


@dataclass(frozen=True, slots=True)
class HotRow:
    """A directory that holds much by itself: ``own`` is without its subdirectories.

    ``unit`` is the path of the scan unit that it lies in.
    """

    answer: Answer
    own: Usage
    unit: bytes

    @property
    def label(self) -> str:
        """Its owner in a few words, "" without one."""
        return wording.owners_label(self.answer.owners)


@dataclass(frozen=True, slots=True)
class Sums:
    """What the rows of each sort take together, hard links once; ``rest`` is Docker's own.

    ``blobs`` is containerd's content store.
    """

    layers: Usage
    volumes: Usage
    containers: Usage
    blobs: Usage
    rest: Usage
    total: Usage


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything measured below the data roots, sorted."""

    layers: tuple[LayerRow, ...]
    others: tuple[OtherRow, ...]
    images: tuple[ImageRow, ...]
    sums: Sums


def take_inventory(stores: Sequence[Store], figures: Figures, order: Order) -> Inventory:
    """Bring the answers and the figures together."""
    layers = [
        LayerRow(store, layer, figures.of((layer.path,)) or Usage(partial=True))
        for store in stores
        for layer in store.layers.values()
    ]
    others = [
        OtherRow(store, holder, usage)
        for store in stores
        for holder in _holders(store)
        if (usage := figures.of((_place(holder),)))
    ]
    figures.know(parts_of(stores), {})
    images = [_image(store, image, figures) for store in stores for image in store.images]
    images.sort(key=lambda row: _key(order, _together(row), row.label, row.image.owner.id))
    sums = _sums(layers, others, {blobs_of(store) for store in stores}, figures)
    layers.sort(key=lambda row: _key(order, row.usage, row.label, row.layer.id))
    others.sort(key=lambda row: _key(order, row.usage, row.label, row.owner.id))
    return Inventory(tuple(layers), tuple(others), tuple(images), sums)


def _image(store: Store, image: ImageInfo, figures: Figures) -> ImageRow:
    layers = [store.layers[name] for name in dict.fromkeys(image.layers) if name in store.layers]
    blobs = [store.blobs[digest] for digest in image.blobs if digest in store.blobs]

    def usage(parts: Sequence[Layer | Blob]) -> Usage:
        return figures.of(tuple(part.path for part in parts)) or Usage(partial=True)

    return ImageRow(
        store,
        image,
        usage(layers),
        usage([layer for layer in layers if wording.only_owner(layer, image)]),
        usage(blobs),
        usage([blob for blob in blobs if wording.only_owner(blob, image)]),
    )


def _together(row: ImageRow) -> Usage:
    return add(row.unpacked, row.compressed)


def _holders(store: Store) -> Iterator[Volume | Container]:
    yield from store.volumes
    yield from store.containers


def _place(holder: Volume | Container) -> bytes:
    return holder.path if isinstance(holder, Volume) else holder.directory


def _key(order: Order, usage: Usage, label: str, id_: str) -> tuple[int, bool, str, str]:
    """Figures, the largest first, or names, the nameless last; the id decides between equals."""
    figure = 0 if order.column is Column.NAME else -order.figure(usage)
    return figure, not label, label.casefold(), id_


def _sums(
    layers: list[LayerRow], others: list[OtherRow], blobs: set[bytes], figures: Figures
) -> Sums:
    named = {row.layer.path for row in layers}
    volumes = {row.path for row in others if isinstance(row.holder, Volume)}
    containers = {row.path for row in others if isinstance(row.holder, Container)}

    def together(wanted: Callable[[bytes], bool]) -> Usage:
        return figures.of(tuple(filter(wanted, units))) or Usage()

    units = sorted(figures.results)
    return Sums(
        together(named.__contains__),
        together(volumes.__contains__),
        together(containers.__contains__),
        together(blobs.__contains__),
        together(lambda unit: unit not in named | volumes | containers | blobs),
        together(lambda _: True),
    )


def hot_rows(
    stores: Sequence[Store], figures: Figures, order: Order, most: int
) -> tuple[HotRow, ...]:
    """The fullest directories of all data roots with their owners, the fullest first."""
    spots = hot_spots(figures.results.values(), hot_column(order), most)
    return with_owners(spots, stores)


def hot_column(order: Order) -> str:
    """What fullness is: inodes where the order asks for them, else bytes; a name is no measure."""
    if order.column is Column.INODES:
        return "inodes"
    return "apparent" if order.apparent else "bytes"


def with_owners(spots: Iterable[HotSpot], stores: Sequence[Store]) -> tuple[HotRow, ...]:
    """Each directory with the answer to whose it is."""
    return tuple(HotRow(lookup(spot.path, stores)[0], spot.own, spot.unit) for spot in spots)


def unreadable_paths(figures: Figures) -> Iterator[str]:
    """The paths that could not be read, as far as they were kept."""
    for result in figures.results.values():
        yield from map(os.fsdecode, result.unreadable)
