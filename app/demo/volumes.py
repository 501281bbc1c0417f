"""Local volumes and their database (moby daemon/volume/local/local.go, service/db.go)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from app.demo.bolt_file import write_bolt

_HEX = re.compile(r"[0-9a-f]{64}")


def is_anonymous(name: str) -> bool:
    """Whether the engine made this name up, because nobody gave one."""
    return bool(_HEX.fullmatch(name))


def add_volume(root: Path, name: str) -> Path:
    """Make ``volumes/<name>/_data``, return that path. Anonymous volumes are named by 64 hex."""
    data = root / "volumes" / name / "_data"
    data.parent.mkdir(mode=0o701)
    data.mkdir(mode=0o755)
    return data


def write_volume_records(root: Path, labels: Mapping[str, Mapping[str, str]]) -> None:
    """Write volumes/metadata.db: the labels of each volume that the engine remembers."""
    records = {
        name.encode(): json.dumps(
            {"Name": name, "Driver": "local", "Labels": dict(given) or None, "Options": None}
        ).encode()
        for name, given in labels.items()
    }
    write_bolt(root / "volumes/metadata.db", {b"volumes": {**records}})
