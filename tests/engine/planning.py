"""An engine of one module, plans on it, and their commands typed into a real shell."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from app.cleanup.execute.engine import EngineCalls
from app.cleanup.execute.executor import execute
from app.cleanup.execute.journal import Journal
from app.cleanup.execute.outcome import Progress
from app.cleanup.plan.model import Plan, Subject, Wish
from app.cleanup.plan.planner import make_plan, wish_for
from app.survey import Request, Survey, survey
from tests.engine import archive
from tests.engine.dockerd import Engine

BASE = "acme/base:1"


def surveyed(engine: Engine, *, offline: bool = False) -> Survey:
    """The engine's data root as it is now."""
    return survey(Request((bytes(engine.data),), engine.url, offline, {}))


def planned(
    engine: Engine, wish: Wish | Path | bytes, *, offline: bool = False, later: float = 0.0
) -> Plan:
    """The plan for a wish or a path, ``later`` seconds from now, with everything read anew."""
    found = surveyed(engine, offline=offline)
    if not isinstance(wish, Wish):
        (wish,) = wish_for(os.fsencode(wish), found)
    return make_plan(wish, found, now=time.time() + later)


def of(engine: Engine, subject: Subject, id_: str) -> Wish:
    """The wish to remove a container, an image or a volume."""
    return Wish(subject, bytes(engine.data), id=id_)


def with_volumes(wish: Wish) -> Wish:
    """The same, with its anonymous volumes."""
    return replace(wish, anonymous_volumes=True)


def load(engine: Engine, tag: str = BASE, *layers: bytes) -> str:
    """Load an image of busybox and these layers; its id."""
    base = archive.busybox_layer(Path(engine.tools.busybox))
    data = archive.image(tag, [base, *layers], engine.get("/version")["Arch"])
    engine.docker("load", stdin=data)
    return image_id(engine, tag)


def image_id(engine: Engine, name: str) -> str:
    """What a name points to."""
    return engine.docker("image", "inspect", "--format={{.Id}}", name)


def images(engine: Engine) -> set[str]:
    """The ids of all images."""
    return set(engine.docker("images", "--all", "--quiet", "--no-trunc").split())


def run(engine: Engine, script: str, *options: str, image: str = BASE) -> str:
    """A container that has run this script and goes on; its id."""
    words = ("run", "--detach", "--network=none", "--stop-signal=KILL", *options)
    id_ = engine.docker(*words, image, "sh", "-c", f"set -e; {script}\nexec sleep 100000")
    wait_for(engine, id_)
    return id_


def wait_for(engine: Engine, id_: str) -> None:
    """Wait until the script is through: then the shell has become sleep."""
    deadline = time.monotonic() + 30
    pid = engine.get(f"/containers/{id_}/json")["State"]["Pid"]
    while b"sleep" not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]:
        assert time.monotonic() < deadline, engine.docker("logs", id_)
        time.sleep(0.02)


def upper(engine: Engine, id_: str) -> Path:
    """The directory of a container's writable layer."""
    return Path(engine.get(f"/containers/{id_}/json")["GraphDriver"]["Data"]["UpperDir"])


def typed(engine: Engine, commands: Iterable[str], shell: str = "sh") -> int:
    """Type these commands, one after the other; the status of the first that fails."""
    for command in commands:
        done = subprocess.run(
            [*shell.split(), "-c", command],
            env=engine.client_environment(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            return done.returncode
    return 0


def space(engine: Engine) -> tuple[int, int]:
    """Free bytes and inodes of the data root's filesystem, with everything written out.

    What the daemon's databases take counts as free: they grow when something is forgotten.
    """
    subprocess.run(["sync", "--file-system", engine.data], check=True)
    found = os.statvfs(engine.data)
    databases = sum(it.stat().st_blocks * 512 for it in engine.data.glob("*/*.db"))
    return found.f_bfree * found.f_frsize + databases, found.f_ffree


def freed(engine: Engine, plan: Plan, renew: Callable[[], Plan] | None = None) -> tuple[int, int]:
    """Carry the plan out as the explorer does; the bytes and inodes that this really gave back."""
    before = space(engine)
    calls = EngineCalls(engine.url, patience=60, timeout=5, recovery=5)
    wish = plan.wish
    outcome = execute(
        plan, renew or (lambda: planned(engine, wish)), calls, Progress(), Journal(None)
    )
    assert outcome.done, outcome.why
    after = space(engine)
    return after[0] - before[0], after[1] - before[1]
