"""Image layers and images: layerdb, imagedb and repositories.json, with true chain and image ids.

A layer's diff id is made up (it would be the digest of a tar archive that nobody has here);
everything that follows from diff ids is computed as the engine does. Sources: moby
daemon/internal/layer/filestore.go, daemon/internal/image/fs.go, image-spec ChainID.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.demo.content import apparent_size, put_text
from app.demo.ids import chain_id, digest, hex_id
from app.demo.layout import DRIVER, Directory, add_directory

_LAYERDB = f"image/{DRIVER}/layerdb/sha256"
_IMAGEDB = f"image/{DRIVER}/imagedb"


@dataclass(frozen=True, slots=True)
class ImageLayer:
    """One layer of an image: its ids, its directory and the layer below."""

    diff_id: str
    chain_id: str
    directory: Directory
    parent: ImageLayer | None = None

    @property
    def stack(self) -> tuple[ImageLayer, ...]:
        """This layer and all below it, base first."""
        return (*(self.parent.stack if self.parent else ()), self)


@dataclass(frozen=True, slots=True)
class Image:
    """An image: its id (``sha256:`` and the digest of its config) and its top layer."""

    id: str
    top: ImageLayer


def add_layer(
    root: Path,
    seed: str,
    parent: ImageLayer | None = None,
    fill: Callable[[Path], None] | None = None,
    directory: Directory | None = None,
) -> ImageLayer:
    """Make an image layer: its directory (unless one is given), its files, its layerdb entry.

    ``fill`` is called with the ``diff`` directory. Give ``directory`` for a layer that a build
    made, whose directory has a 25-character name.
    """
    if directory is None:
        below = parent.directory if parent else None
        directory = add_directory(root, hex_id(f"cache-id {seed}"), below)
    if fill:
        fill(directory.diff)
    diff_id = digest(f"diff-id {seed}")
    chain = chain_id(parent.chain_id if parent else "", diff_id)
    layer = ImageLayer(diff_id, chain, directory, parent)
    _write_layerdb(root / _LAYERDB / chain.removeprefix("sha256:"), layer)
    return layer


def add_image(root: Path, top: ImageLayer, created: str, command: list[str]) -> Image:
    """Write an image's config; its id is the digest of that file. ``created`` is RFC 3339."""
    stack = top.stack
    config = {
        "architecture": "amd64",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": command,
        },
        "created": created,
        "history": [{"created": created, "created_by": f"layer {n}"} for n in range(len(stack))],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in stack]},
    }
    text = json.dumps(config, separators=(",", ":"))
    name = hashlib.sha256(text.encode()).hexdigest()
    put_text(root / _IMAGEDB / "content/sha256" / name, text)
    put_text(root / _IMAGEDB / "metadata/sha256" / name / "lastUpdated", created)
    return Image(f"sha256:{name}", top)


def write_tags(root: Path, tags: Mapping[str, Image]) -> None:
    """Write repositories.json: familiar names such as ``acme/web:2.4.1`` to images."""
    repositories: dict[str, dict[str, str]] = {}
    for tag, image in sorted(tags.items()):
        repositories.setdefault(tag.rpartition(":")[0], {})[tag] = image.id
    path = root / f"image/{DRIVER}/repositories.json"
    put_text(path, json.dumps({"Repositories": repositories}, separators=(",", ":")))
    path.chmod(0o600)


def start_removal(root: Path, layer: ImageLayer) -> Path:
    """Rename a layer's layerdb entry as the engine does before it removes the directory.

    A daemon killed at that moment leaves ``<chain>-<random>-removing`` (layer_store.go,
    deleteLayer). Returns the new path.
    """
    entry = root / _LAYERDB / layer.chain_id.removeprefix("sha256:")
    return entry.rename(entry.with_name(f"{entry.name}-{hex_id(layer.chain_id)}-removing"))


def _write_layerdb(entry: Path, layer: ImageLayer) -> None:
    entry.mkdir(mode=0o700)
    put_text(entry / "cache-id", layer.directory.name)
    put_text(entry / "diff", layer.diff_id)
    put_text(entry / "size", str(apparent_size(layer.directory.diff)))
    if layer.parent:
        put_text(entry / "parent", layer.parent.chain_id)
    (entry / "tar-split.json.gz").write_bytes(gzip.compress(b"", mtime=0))
