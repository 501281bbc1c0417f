"""What is reached by somebody else's path is looked at with `app.host.looks`, which never hangs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

APP = Path(__file__).parents[2] / "app"
#: Calls that wait for the filesystem that a path leads to. With a descriptor (dir_fd) they go to
#: what is open already.
_WAITS = re.compile(
    r"os\.(?:stat|lstat|statvfs|scandir|listdir|readlink|walk)\((?!.*(?:dir_fd|descriptor|self\.))"
    r"|os\.path\.(?:exists|lexists|isdir|isfile|islink|ismount|realpath|samefile)\("
    r"|\.(?:read_bytes|read_text|iterdir|is_dir|is_file|is_symlink)\(\)"
)
#: Who may: what is read of /proc and of our own places, what runs after the yes, and who is asked.
ALLOWED = {
    "cleanup/plan/in_use.py": "the text of links in /proc",
    "cleanup/plan/held_space.py": "the text of links in /proc",
    "cleanup/plan/exec_command.py": "the text of links in /proc",
    "cleanup/execute/counter.py": "after the yes",
    "cleanup/execute/below.py": "after the yes",
    "host/hanging.py": "asks before each step",
    "host/holding.py": "the text of links in /proc",
    "host/kernel_users.py": "/proc and /sys",
    "host/looking.py": "in the process that may hang",
    "host/looks.py": "where nothing hangs",
    "host/mountinfo.py": "/proc",
    "host/mount_watch.py": "/proc",
    "host/namespaces.py": "/proc",
    "host/open_files.py": "the text of links in /proc",
    "host/own_file.py": "the journal's place, which the user names",
    "host/runs.py": "/proc",
    "host/statx.py": "without asking who serves it (AT_STATX_DONT_SYNC)",
    "host/within.py": "the text of links in /proc, and what is open",
    "scan/fence.py": "only what is believed is walked from here",
    "scan/cache_file.py": "/run",
    "scan/fingerprint.py": "asks before",
    "scan/walk.py": "in worker processes where it may hang",
    "scan/native/library.py": "our own files",
    "stores/metadata/docker/containers.py": "/proc",
    "engine/inventory.py": "/var/run",
    "discovery/candidates.py": "/proc",
    "host/pid_namespace.py": "/proc",
    "host/mounts.py": "/proc",
    "host/overlays.py": "what is open",
}


def waiting(file: Path) -> list[str]:
    lines = file.read_text().split("\n")
    return [
        f"{number}: {line.strip()}"
        for number, line in enumerate(lines, 1)
        if _WAITS.search(line) and not line.lstrip().startswith(("#", '"""', "``"))
    ]


FILES = [
    it
    for it in sorted(APP.rglob("*.py"))
    if "demo" not in it.parts and str(it.relative_to(APP)) not in ALLOWED
]


@pytest.mark.parametrize("file", FILES, ids=lambda it: str(it.relative_to(APP)))
def test_nobody_waits_for_a_filesystem_that_hangs(file: Path) -> None:
    assert waiting(file) == []
