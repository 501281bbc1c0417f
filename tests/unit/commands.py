"""The commands run as their users run them: in this process, or in one of their own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]

Run = Callable[..., tuple[int, str, str]]


def tool(*arguments: str | Path, **changes: Any) -> subprocess.CompletedProcess[bytes]:
    """Run one command in a process of its own."""
    settings: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **changes}
    command = [sys.executable, "-m", "app.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, check=False, timeout=120, **settings)


def on(root: Path) -> tuple[str, ...]:
    return "--data-root", str(root), "--offline"


def layer_of(root: Path, container: str) -> str:
    """The directory name of a container's writable layer, straight from layerdb."""
    for config in root.glob("containers/*/config.v2.json"):
        if json.loads(config.read_bytes())["Name"] == f"/{container}":
            return (
                root / "image/overlay2/layerdb/mounts" / config.parent.name / "mount-id"
            ).read_text()
    raise AssertionError(container)


def one_sentence(text: str) -> bool:
    """Whether this is one line that begins with the tool's name and is no traceback."""
    return bool(re.fullmatch(r"whodiff: .+[.]\n", text)) and "Traceback" not in text
