"""The directories of an overlay2 engine, written as moby writes them, without an engine or root.

Every function takes the data root as its first argument. Sources: moby
daemon/graphdriver/overlay2/overlay.go (create, Get), daemon/internal/layer/filestore.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.demo.content import put_text
from app.demo.ids import link_token

DRIVER = "overlay2"

_FOLDERS = (
    ("buildkit/content/ingest", 0o755),
    ("buildkit/executor", 0o711),
    ("containers", 0o710),
    ("image/overlay2/distribution", 0o700),
    ("image/overlay2/imagedb/content/sha256", 0o700),
    ("image/overlay2/imagedb/metadata/sha256", 0o700),
    ("image/overlay2/layerdb/mounts", 0o755),
    ("image/overlay2/layerdb/sha256", 0o755),
    ("image/overlay2/layerdb/tmp", 0o755),
    ("network/files", 0o750),
    ("overlay2/l", 0o700),
    ("plugins/tmp", 0o700),
    ("runtimes", 0o711),
    ("swarm", 0o700),
    ("tmp", 0o700),
    ("volumes", 0o701),
)


@dataclass(frozen=True, slots=True)
class Directory:
    """One directory below overlay2: its name, its ``l/`` token and its parents' tokens."""

    name: str
    path: Path
    token: str
    lower: tuple[str, ...] = ()

    @property
    def diff(self) -> Path:
        """Where the layer's own files are."""
        return self.path / "diff"


def make_root(path: Path) -> Path:
    """Make the empty skeleton of a data root at ``path``, and give ``path`` back."""
    for name, mode in _FOLDERS:
        folder = path / name
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(mode)
    (path / "overlay2").chmod(0o710)
    put_text(path / "image/overlay2/repositories.json", '{"Repositories":{}}')
    put_text(path / "engine-id", "7d3c2a54-19f0-4b60-9f5c-2d8a6f1e0b77")
    return path


def add_directory(root: Path, name: str, parent: Directory | None = None) -> Directory:
    """Make ``overlay2/<name>`` with ``diff``, ``link`` and its ``l/`` entry.

    With a parent also ``lower`` (the parent's token first, then what the parent stands on) and
    ``work``; the parent gets its ``committed`` mark.
    """
    path = root / DRIVER / name
    path.mkdir(mode=0o710)
    (path / "diff").mkdir(mode=0o755)
    token = link_token(name)
    put_text(path / "link", token)
    add_link(root, token, name)
    if parent is None:
        return Directory(name, path, token)
    lower = (parent.token, *parent.lower)
    put_text(path / "lower", ":".join(f"l/{each}" for each in lower))
    (path / "work").mkdir(mode=0o700)
    (parent.path / "committed").touch(mode=0o600)
    return Directory(name, path, token, lower)


def add_link(root: Path, token: str, name: str) -> None:
    """Make ``l/<token>`` -> ``../<name>/diff``, whether that directory exists or not."""
    (root / DRIVER / "l" / token).symlink_to(f"../{name}/diff")


def mark_used(directory: Directory) -> None:
    """Leave what a first mount leaves behind: ``work/work``.

    The kernel gives it mode 000. Here its owner may read it, or every scan by an ordinary user
    would report unreadable directories that no real host (where the tool is root) has.
    """
    (directory.path / "work" / "work").mkdir(mode=0o700, exist_ok=True)


def mark_mounted(directory: Directory) -> None:
    """Make the mount point ``merged``, which is there while a container runs."""
    mark_used(directory)
    (directory.path / "merged").mkdir(mode=0o700, exist_ok=True)
