"""How a data root is asked, and what it is told is mounted."""

from __future__ import annotations

import os
import time
from pathlib import Path

from app.host.mounts import Mount
from app.lookup.query import Answer, lookup
from app.model import DataRoot, ImageStore, Store
from app.stores.catalog import assemble
from app.stores.metadata.docker.read import read_disk
from tests.unit.containerd_files import ContainerdRoot

# --- paths ----------------------------------------------------------------------------------------


def ask(asked: str | Path | bytes, *stores: Store) -> Answer:
    (answer,) = lookup(os.fsencode(asked), stores)
    return answer


def owners(answer: Answer) -> list[tuple[str, str]]:
    return [(it.kind.value, it.name) for it in answer.owners]


WEB = [("container", "web")]


def overlay(point: bytes, upper: Path) -> Mount:
    return Mount(point, b"/", "overlay", "0:50", b"", (), bytes(upper), "m", 1)


def containerd_store(root: ContainerdRoot) -> Store:
    path = bytes(root.path)
    place = DataRoot(path, "overlayfs", ImageStore.CONTAINERD, "named", containerd=path)
    return assemble(read_disk(place), None, (), time.time(), "disk alone")
