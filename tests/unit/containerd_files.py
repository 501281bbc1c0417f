"""A small containerd root, written file by file as containerd leaves it on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.demo.bolt_file import Tree, write_bolt
from app.stores.metadata.docker.layerdb import chain_ids

SNAPSHOTTER = "io.containerd.snapshotter.v1.overlayfs"
META = "io.containerd.metadata.v1.bolt/meta.db"
BLOBS = "io.containerd.content.v1.content/blobs/sha256"
KINDS = {"view": 1, "active": 2, "committed": 3}


def uvarint(value: int) -> bytes:
    """As Go's encoding/binary PutUvarint writes it."""
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def varint(value: int) -> bytes:
    """As PutVarint writes it."""
    return uvarint(value << 1 if value >= 0 else (-value << 1) - 1)


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass
class ContainerdRoot:
    """Add things, then ``write()``. Snapshot numbers go up from 1 in the order of adding."""

    path: Path
    snapshots: dict[str, Tree] = field(default_factory=dict)
    spaces: dict[str, dict[str, Tree]] = field(default_factory=dict)
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)

    def _space(self, namespace: str) -> dict[str, Tree]:
        names = ("images", "containers", "snapshots", "leases")
        return self.spaces.setdefault(namespace, {name: {} for name in names})

    def snapshot(
        self,
        key: str,
        kind: str = "committed",
        parent: str = "",
        namespace: str = "moby",
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """A snapshot with its directory; the id of that."""
        number = len(self.numbers) + 1
        self.numbers[namespace, key] = number
        full = f"{namespace}/{number + 100}/{key}"
        entry: dict[bytes, bytes | Tree] = {
            b"id": uvarint(number),
            b"kind": bytes([KINDS[kind]]),
            b"createdat": bytes(15),
        }
        if parent:
            above = self.numbers[namespace, parent]
            entry[b"parent"] = f"{namespace}/{above + 100}/{parent}".encode()
        if kind == "committed":
            entry |= {b"size": varint(number * 4096), b"inodes": varint(number)}
        self.snapshots[full] = entry
        named: dict[bytes, bytes | Tree] = {b"name": full.encode()}
        if labels:
            named[b"labels"] = {name.encode(): text.encode() for name, text in labels.items()}
        self._put(namespace, "snapshots", "overlayfs", {key: named})
        (self.path / SNAPSHOTTER / "snapshots" / str(number) / "fs").mkdir(parents=True)
        return f"snapshots/{number}"

    def _put(self, namespace: str, what: str, name: str, entries: Mapping[str, Tree]) -> None:
        place = self._space(namespace)[what]
        found = dict(place.get(name.encode(), {}))  # type: ignore[arg-type]
        found.update({key.encode(): value for key, value in entries.items()})
        self._space(namespace)[what] = {**place, name.encode(): found}

    def image(self, name: str, diff_ids: Sequence[str], namespace: str = "moby") -> str:
        """An image with manifest and config in the content store; its digest."""
        config = self.blob({"rootfs": {"type": "layers", "diff_ids": list(diff_ids)}})
        layers = [{"digest": self.blob({"layer": it}), "size": 1} for it in diff_ids]
        manifest = self.blob({"config": {"digest": config}, "layers": layers})
        return self.tag(name, manifest, namespace)

    def tag(self, name: str, target: str, namespace: str = "moby") -> str:
        """A name for any digest."""
        entry: Tree = {b"target": {b"digest": target.encode(), b"size": varint(1)}}
        self._space(namespace)["images"] = {
            **self._space(namespace)["images"],
            name.encode(): entry,
        }
        return target

    def layers(self, diff_ids: Sequence[str], namespace: str = "moby") -> tuple[str, ...]:
        """Unpacked snapshots of these layers, base first."""
        ids, parent = [], ""
        for chain_id in chain_ids(diff_ids):
            ids.append(self.snapshot(chain_id, parent=parent, namespace=namespace))
            parent = chain_id
        return tuple(ids)

    def container(
        self, id_: str, key: str, namespace: str = "k8s.io", labels: Mapping[str, str] | None = None
    ) -> None:
        """A container entry as others than Docker make it."""
        entry: dict[bytes, bytes | Tree] = {
            b"image": b"docker.io/library/x:1",
            b"snapshotter": b"overlayfs",
            b"snapshotKey": key.encode(),
        }
        if labels:
            entry[b"labels"] = {name.encode(): text.encode() for name, text in labels.items()}
        place = self._space(namespace)["containers"]
        self._space(namespace)["containers"] = {**place, id_.encode(): entry}

    def lease(self, id_: str, keys: Sequence[str], namespace: str = "moby") -> None:
        """A lease of snapshots."""
        held: Tree = {b"overlayfs": {key.encode(): b"" for key in keys}}
        place = self._space(namespace)["leases"]
        self._space(namespace)["leases"] = {**place, id_.encode(): {b"snapshots": held}}

    def blob(self, document: object) -> str:
        """A JSON document in the content store; its digest."""
        content = json.dumps(document).encode()
        folder = self.path / BLOBS
        folder.mkdir(parents=True, exist_ok=True)
        name = digest(content)
        (folder / name.partition(":")[2]).write_bytes(content)
        return name

    def write(self) -> Path:
        """Write both databases; the root."""
        metadata = self.path / SNAPSHOTTER / "metadata.db"
        metadata.parent.mkdir(parents=True, exist_ok=True)
        (metadata.parent / "snapshots").mkdir(exist_ok=True)
        entries: Tree = {full.encode(): entry for full, entry in self.snapshots.items()}
        write_bolt(metadata, {b"v1": {b"snapshots": entries}})
        meta = self.path / META
        meta.parent.mkdir(parents=True, exist_ok=True)
        spaces: Tree = {
            name.encode(): {what.encode(): tree for what, tree in space.items() if tree}
            for name, space in self.spaces.items()
        }
        write_bolt(meta, {b"v1": {**spaces, b"version": b"\x08"}})
        return self.path
