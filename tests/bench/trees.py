"""Trees to be scanned: like a data root full of layers, with the folders that fill disks."""

from __future__ import annotations

import os
from pathlib import Path

#: Of the inodes of a tree: in one folder of folders, in each of two flat folders, hard links.
_CHECKPOINTS = 0.30
_FLAT = 0.10
_FILES_OF_A_CHECKPOINT = 500
_FILES_OF_A_DIRECTORY = 7
_DIRECTORIES_OF_A_LAYER = 300
_LINKED_EVERY = 20


def make_layers(path: Path, inodes: int) -> None:
    """About so many inodes: layers of small directories, a checkpoint folder, two flat folders."""
    path.mkdir()
    flat, checkpoints = int(inodes * _FLAT), int(inodes * _CHECKPOINTS)
    make_flat(path / "flat-one", flat)
    make_flat(path / "flat-two", flat)
    (path / "checkpoints").mkdir()
    for number in range(checkpoints // (_FILES_OF_A_CHECKPOINT + 1)):
        make_flat(path / "checkpoints" / f"step-{number:06}", _FILES_OF_A_CHECKPOINT)
    rest = inodes - 2 * flat - checkpoints
    for layer in range(rest // (_DIRECTORIES_OF_A_LAYER * (_FILES_OF_A_DIRECTORY + 1))):
        _make_layer(path / f"layer-{layer:05}")


def make_flat(path: Path, files: int) -> None:
    """A directory of so many empty files."""
    path.mkdir()
    directory = os.open(path, os.O_RDONLY)
    for number in range(files):
        os.close(os.open(f"checkpoint-{number:08}", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    os.close(directory)


def _make_layer(layer: Path) -> None:
    """Directories three deep, some content, some hard links and symbolic links."""
    layer.mkdir()
    for number in range(_DIRECTORIES_OF_A_LAYER):
        directory = layer / f"usr-{number // 30}" / f"package-{number:03}"
        directory.mkdir(parents=True)
        for file in range(_FILES_OF_A_DIRECTORY - 1):
            name = directory / f"file-{file}.py"
            if file == 1 and number % _LINKED_EVERY == 1:
                os.link(directory / "file-0.py", name)
            else:
                name.write_bytes(b"content" if file == 0 else b"")
        os.symlink("file-0.py", directory / "current")
