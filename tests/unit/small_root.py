"""A small data root on disk with one of each thing, for tests that damage or ask about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from app.demo.cache import CacheSpec, directory_id, record_id, write_cache
from app.demo.containers import Container, ContainerSpec, add_container, compose_labels
from app.demo.content import DAY, put_text, set_age
from app.demo.ids import hex_id
from app.demo.images import Image, ImageLayer, add_image, add_layer, write_tags
from app.demo.layout import Directory, add_directory, make_root
from app.demo.volumes import add_volume
from app.host.mounts import Mount
from app.model import DataRoot, ImageStore, Store
from app.stores.catalog import assemble, points_of
from app.stores.metadata.docker.read import read_disk


@dataclass(frozen=True)
class SmallRoot:
    """The root's path and what was put there."""

    path: Path
    base: ImageLayer
    top: ImageLayer
    image: Image
    container: Container
    cached: Directory
    record: str
    orphan: Directory

    @property
    def owned(self) -> set[str]:
        """Every directory that somebody owns."""
        layers = {self.base.directory.name, self.top.directory.name, self.cached.name}
        return layers | {self.container.layer.name, self.container.init.name}

    def data_root(self) -> DataRoot:
        path = bytes(self.path)
        return DataRoot(path, "overlay2", ImageStore.GRAPHDRIVER, "the default place")

    def store(
        self, now: float, mounts: tuple[Mount, ...] = (), seen: tuple[Mount, ...] = ()
    ) -> Store:
        """What the disk alone says of it; ``seen`` are the mounts of whodiff's own namespace."""
        disk = read_disk(self.data_root())
        store = assemble(disk, None, (*mounts, *seen), now, "disk alone")
        return replace(store, points=points_of(disk, seen))


def make_small_root(path: Path) -> SmallRoot:
    """An image of two layers, a container on it, a cache record with a directory, an orphan."""
    root = make_root(path)
    base = add_layer(root, "base")
    top = add_layer(root, "top", base)
    image = add_image(root, top, "2025-01-01T00:00:00Z", ["/app"])
    write_tags(root, {"app:1": image, "app:latest": image})
    labels = compose_labels("shop", "web")
    add_volume(root, "pgdata")
    container = add_container(
        root,
        ContainerSpec("web", image, "app:1", labels=labels, volumes={"/data": "pgdata"}),
    )
    put_text(container.directory / "local-logs/container.log", "a line")
    cached = add_directory(root, directory_id("cached"), top.directory)
    record = record_id("cached")
    write_cache(root, [CacheSpec(record, "exec make", committed=cached.name)])
    orphan = add_directory(root, hex_id("orphan"), base.directory)
    made = SmallRoot(root, base, top, image, container, cached, record, orphan)
    for name in (*made.owned, orphan.name):
        set_age(root / "overlay2" / name, 30 * DAY)
    return made
