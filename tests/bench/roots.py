"""The host that is measured: 500 layers and 300,000 inodes, a third of them in one folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.demo.containers import ContainerSpec, add_container
from app.demo.content import put_empty_files, put_flood, put_text
from app.demo.images import Image, add_image, add_layer, write_tags
from app.demo.layout import make_root

LAYERS = 500
INODES = 300_000
FLAT = 100_000
#: Every container and image of this host has a name that begins so.
NAME = "bench-"
#: The container, and the directory inside it, that holds FLAT entries.
FLAT_CONTAINER = f"{NAME}a-flat"
FLAT_FOLDER = "huge"
_IMAGES = 100
_LAYERS_OF_AN_IMAGE = 3
_FILES_OF_A_LAYER = 20
_CHECKPOINT_FILES = 500


@dataclass(frozen=True, slots=True)
class BenchRoot:
    """The data root, its overlay2 directory and the directory with FLAT entries."""

    path: Path
    overlay2: Path
    flat: Path


def build(path: Path, layers: int = LAYERS, inodes: int = INODES, flat: int = FLAT) -> BenchRoot:
    """Make the host: images of three layers, containers of two, a flood and a flat folder."""
    root = make_root(path)
    images = [_add_image(root, number) for number in range(min(_IMAGES, layers // 5))]
    write_tags(root, {f"{NAME}image-{n:03}:1": image for n, image in enumerate(images)})
    rest = layers - len(images) * _LAYERS_OF_AN_IMAGE
    names = [FLAT_CONTAINER, *(f"{NAME}container-{n:03}" for n in range(1, rest // 2))]
    made = [
        add_container(root, ContainerSpec(name, images[n % len(images)], f"{NAME}image"))
        for n, name in enumerate(names)
    ]
    put_empty_files(made[0].layer.diff / FLAT_FOLDER, flat, "entry-")
    flood = inodes - flat - layers * _FILES_OF_A_LAYER
    folders = max(1, flood // (_CHECKPOINT_FILES + 1))
    put_flood(made[1].layer.diff / "tmp/checkpoints", folders, _CHECKPOINT_FILES)
    return BenchRoot(root, root / "overlay2", made[0].layer.diff / FLAT_FOLDER)


def _add_image(root: Path, number: int) -> Image:
    top = None
    for depth in range(_LAYERS_OF_AN_IMAGE):
        top = add_layer(root, f"bench {number} {depth}", top, _fill)
    assert top
    return add_image(root, top, "2025-01-01T00:00:00Z", ["true", str(number)])


def _fill(diff: Path) -> None:
    put_text(diff / "etc/release", "bench\n" * 1000)
    put_empty_files(diff / "usr/lib", _FILES_OF_A_LAYER, "lib")
