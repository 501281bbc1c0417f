"""Image archives for ``docker load``, written layer by layer without a build."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

APPLETS = ("cat", "dd", "echo", "ln", "ls", "mkdir", "mkfifo", "rm", "seq", "sh", "sleep", "touch")


def layer(files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    """A layer: a tar with these executable files, and symbolic links name -> target."""
    return _tar(
        [(_entry(name, len(content), 0o755), content) for name, content in files.items()]
        + [(_link(name, target), b"") for name, target in (links or {}).items()]
    )


def busybox_layer(busybox: Path) -> bytes:
    """The base of every image here: busybox, its applets, and something to delete above it."""
    files = {
        "bin/busybox": busybox.read_bytes(),
        "etc/motd": b"welcome\n",
        "opt/legacy/old-a": b"a" * 5000,
        "opt/legacy/old-b": b"b" * 5000,
    }
    return layer(files, {f"bin/{applet}": "busybox" for applet in APPLETS})


def image(tag: str, layers: list[bytes], architecture: str) -> bytes:
    """An archive with one image (moby image/spec v1.2: manifest.json, config, layer tars)."""
    config = _config(layers, architecture)
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    names = [f"{number:03}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": config_name, "RepoTags": [tag], "Layers": names}]
    members = {config_name: config, **dict(zip(names, layers, strict=True))}
    members["manifest.json"] = json.dumps(manifest).encode()
    return _tar([(_entry(name, len(data), 0o644), data) for name, data in members.items()])


def _config(layers: list[bytes], architecture: str) -> bytes:
    document = {
        "architecture": architecture,
        "os": "linux",
        "created": "2024-05-01T12:00:00Z",
        "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]},
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in layers],
        },
        "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
    }
    return json.dumps(document).encode()


def _entry(name: str, size: int, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, mode
    return entry


def _link(name: str, target: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    return entry


def _tar(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for entry, content in members:
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()
