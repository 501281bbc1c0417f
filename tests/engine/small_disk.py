"""A private engine whose data root is a small filesystem of its own, to be filled to the brim."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.engine import archive
from tests.engine.dockerd import Engine

MIB = 1 << 20
IMAGE = "acme/base:1"


def mount_small(engine: Engine, mebibytes: int, inodes: int) -> None:
    """Make an ext4 of that size and mount it as the data root, before the engine is started.

    Nothing is reserved for root, so that full is full for everybody. Whoever closes the engine
    takes the mount away with it.
    """
    image = engine.base / "small.ext4"
    image.touch()
    os.truncate(image, mebibytes * MIB)
    make = ["mkfs.ext4", "-q", "-F", "-m", "0", "-N", str(inodes), str(image)]
    subprocess.run(make, check=True, capture_output=True)
    engine.data.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(engine.data)], check=True)


def load_base(engine: Engine) -> None:
    """One image: busybox."""
    layer = archive.busybox_layer(Path(engine.tools.busybox))
    engine.docker("load", stdin=archive.image(IMAGE, [layer], engine.get("/version")["Arch"]))


def free(engine: Engine) -> tuple[int, int]:
    """Free bytes and free inodes of the data root."""
    system = os.statvfs(engine.data)
    return system.f_bavail * system.f_frsize, system.f_favail


def run(engine: Engine, name: str, script: str, *options: str) -> str:
    """Start a container with a shell script; its id."""
    return engine.docker("run", "-d", "--name", name, *options, IMAGE, "sh", "-c", script)
