"""containerd's content store: from an image's digest to its layers, and what its blobs take.

``ROOT/io.containerd.content.v1.content/blobs/sha256/<hex>``: indexes, manifests, configs (JSON,
image-spec image-index.md, manifest.md, config.md) and compressed layers, each under the checksum of
its content. What is not pulled, such as other platforms of an index, is not there: no damage.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from app.host.safe_read import Damage, Entry, Fields, Folder, bounded, parse_object
from app.model import Problem, Usage
from app.stores.metadata.docker.layerdb import SHA256, chain_ids

CONTENT = b"io.containerd.content.v1.content"
BLOBS = os.path.join(CONTENT, b"blobs", b"sha256")

_HEX = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
#: containerd itself reads no larger index or manifest (core/images/image.go, 8 MiB and less).
_MOST_JSON = 16 * 1024 * 1024
_MOST_DOCUMENTS = 4096
_DEPTH = 4


@dataclass(frozen=True, slots=True)
class Manifest:
    """One platform of an image: the chain ids of its layers, base first, and who says so."""

    digest: str
    config: str
    chain_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImageContent:
    """What a digest leads to. ``blobs`` are the digests of all parts that are here.

    ``problem`` is one sentence where layers may be missing from ``manifests``, else empty.
    """

    digest: str
    manifests: tuple[Manifest, ...] = ()
    blobs: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ContentReading:
    """The images asked for by digest, and every blob with what it takes, by digest."""

    path: bytes
    images: dict[str, ImageContent] = field(default_factory=dict)
    blobs: dict[str, Usage] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def place(self, digest: str) -> bytes:
        """Where a blob lies."""
        return os.path.join(self.path, os.fsencode(digest.removeprefix(SHA256)))


def read_content(root: bytes, digests: Iterator[str] | set[str]) -> ContentReading:
    """Follow each image's digest through the content store below ``root``. Never raises."""
    path = os.path.join(root, BLOBS)
    problems: list[Problem] = []
    images: dict[str, ImageContent] = {}
    blobs: dict[str, Usage] = {}
    try:
        with Folder.open(path) as folder:
            blobs = _usages(folder)
            for digest in sorted(set(digests)):
                images[digest] = _Image(folder, blobs).follow(digest)
    except FileNotFoundError:
        images = {digest: _not_here(digest) for digest in digests}
    except Damage as damage:
        where = os.fsdecode(path)
        words = f"{where} {damage}; which layers an image has is not known."
        problems.append(Problem(where, words, hides_owners=True))
    for image in images.values():
        if image.problem:
            where = os.fsdecode(os.path.join(path, os.fsencode(image.digest.removeprefix(SHA256))))
            problems.append(Problem(where, image.problem, hides_owners=True))
    return ContentReading(path, images, blobs, bounded(problems))


def _not_here(digest: str) -> ImageContent:
    words = f"Image {digest} is not in the content store, so its layers are not known; pull it."
    return ImageContent(digest, problem=words)


def _usages(folder: Folder) -> dict[str, Usage]:
    """What each blob takes: one inode, and its blocks."""
    found = {}
    for name, kind in folder.entries():
        if kind is not Entry.OTHER or not _HEX.fullmatch(name):
            continue
        try:
            status = folder.status(name)
        except OSError:
            continue  # collected meanwhile
        if stat.S_ISREG(status.st_mode):
            size = status.st_blocks * 512
            own = status.st_nlink == 1
            found[SHA256 + name] = Usage(
                size, status.st_size, 1, size if own else 0, 1 if own else 0
            )
    return found


class _Image:
    """The way from one digest down to the configs; every document is read once."""

    def __init__(self, folder: Folder, blobs: dict[str, Usage]) -> None:
        self._folder = folder
        self._present = blobs
        self._blobs: dict[str, None] = {}
        self._manifests: list[Manifest] = []
        self._faults: list[str] = []

    def follow(self, digest: str) -> ImageContent:
        if digest not in self._present:
            return _not_here(digest)
        self._document(digest, _DEPTH)
        problem = ""
        if self._faults:
            problem = f"{self._faults[0]}, so the layers of image {digest} are not all known."
        return ImageContent(digest, tuple(self._manifests), tuple(self._blobs), problem)

    def _read(self, digest: str) -> Fields | None:
        """A JSON document of the store; None where it is not here or was read already."""
        if not _DIGEST.fullmatch(digest) or digest not in self._present or digest in self._blobs:
            return None
        if len(self._blobs) > _MOST_DOCUMENTS:
            self._faults.append("Its index names thousands of manifests")
            return None
        self._blobs[digest] = None
        try:
            name = digest.removeprefix(SHA256)
            content = self._folder.read(name, _MOST_JSON)
            if hashlib.sha256(content).hexdigest() != name:
                raise Damage("does not have the checksum that is its name")
            return parse_object(content)
        except FileNotFoundError:
            return None
        except Damage as damage:
            self._faults.append(f"Blob {digest} {damage}")
            return None

    def _document(self, digest: str, depth: int) -> None:
        document = self._read(digest)
        if document is None:
            return
        for below in _descriptors(document, "manifests"):
            if depth:
                self._document(below, depth - 1)
        config = document.fields("config").text("digest")
        if config:
            self._manifest(digest, config)
        for layer in _descriptors(document, "layers"):
            if layer in self._present:
                self._blobs.setdefault(layer)
        if document.wrong:
            self._faults.append(f"Blob {digest} has a {document.wrong[0]} of the wrong type")

    def _manifest(self, digest: str, config: str) -> None:
        if config not in self._present:
            self._faults.append(f"Its config {config} is missing")
            return
        document = self._read(config)
        if document is None:
            return
        diff_ids = document.fields("rootfs").texts("diff_ids")
        if document.wrong or not all(map(_DIGEST.fullmatch, diff_ids)):
            self._faults.append(f"Config {config} has layers that are no digests")
        else:
            self._manifests.append(Manifest(digest, config, chain_ids(diff_ids)))


def _descriptors(document: Fields, name: str) -> Iterator[str]:
    """The digests in a list of descriptors; what is none of them is remembered as wrong."""
    value = document.values.get(name)
    if value is None:
        return
    for each in value if isinstance(value, list) else [None]:
        digest = each.get("digest") if isinstance(each, dict) else None
        if isinstance(digest, str):
            yield digest
        else:
            document.wrong.append(name)
