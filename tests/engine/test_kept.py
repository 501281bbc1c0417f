"""What is kept of image layers still holds after all that an engine does with them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from app.scan.cache import Kept
from app.scan.cache_file import Entry
from app.scan.fence import read_fence
from app.scan.fingerprint import marks_of
from app.scan.job import run
from app.scan.tree import UnitResult
from app.scan.walk import Unit
from app.survey import Request, survey
from app.usage.units import unchanging
from tests.engine import archive
from tests.engine.dockerd import Engine

pytestmark = pytest.mark.engine

BASE = "acme/base:1"
STEPS = f"FROM {BASE}\nRUN seq 1 900 > /one\nRUN seq 1 50 > /two && rm /etc/motd\n"


def build(engine: Engine, tag: str, dockerfile: str, buildkit: str) -> None:
    engine.docker(
        *("build", "--network=none", f"--tag={tag}", "-"),
        stdin=dockerfile.encode(),
        env={"DOCKER_BUILDKIT": buildkit},
    )


def layers(engine: Engine) -> frozenset[bytes]:
    """The layers that cannot change, as both witnesses say."""
    found = survey(Request((bytes(engine.data),), engine.url, False, {}))
    return frozenset(path for store in found.stores for path in unchanging(store))


def measured(paths: frozenset[bytes]) -> dict[bytes, UnitResult]:
    return {it.key: it for it in run([Unit(path) for path in sorted(paths)], read_fence())}


def use(engine: Engine) -> None:
    """Run, write over, commit, build upon, save, compare, prune, and start the engine anew."""
    # What an image has is removed, replaced and renamed in its containers.
    script = (
        "set -e; rm /one; echo more >> /two; busybox mv /opt/legacy /moved; "
        "busybox chmod 700 /etc; mkdir /etc/new"
    )
    for tag in ("acme/classic:1", "acme/modern:1"):
        name = tag.partition(":")[0].replace("/", "-")
        engine.docker("run", "--network=none", f"--name={name}", tag, "sh", "-c", script)
        engine.docker("diff", name)
        engine.docker("commit", name, f"{name}:2")
        engine.docker("run", "--rm", "--network=none", f"{name}:2", "sh", "-c", "ls /moved/old-a")
        engine.docker("save", f"--output={engine.base / 'saved.tar'}", tag)
        engine.docker("rm", name)
    for buildkit in "01":
        build(engine, f"acme/upon:{buildkit}", "FROM acme/classic:1\nRUN rm /two\n", buildkit)
    engine.docker("builder", "prune", "--all", "--force")
    with engine.stopped():
        pass
    engine.docker("run", "--network=none", "--detach", "acme/modern:1", "sleep", "1000")


def test_kept_figures_are_those_of_a_new_walk(spare_engine: Engine, settled: None) -> None:
    engine = spare_engine
    engine.start()
    architecture = engine.get("/version")["Arch"]
    base = archive.busybox_layer(Path(engine.tools.busybox))
    engine.docker("load", stdin=archive.image(BASE, [base], architecture))
    build(engine, "acme/classic:1", STEPS, buildkit="0")
    build(engine, "acme/modern:1", STEPS, buildkit="1")
    # File systems allocate late: without this it would be the file system that is tested.
    subprocess.run(["sync", "-f", engine.data], check=True)
    closed = layers(engine)
    assert len(closed) >= 5
    marks = marks_of(closed, read_fence())
    kept = Kept()
    kept.keep([Entry(marks[key], it) for key, it in measured(closed).items()], read_fence())
    assert len(kept) == len(closed)
    use(engine)
    still = layers(engine)
    good = {it.key: it for it in kept.still_good(marks_of(still, read_fence()))}
    assert good == measured(frozenset(good))
    # The topmost layers have got their mark that something stands on them; no other has changed.
    assert len(good) >= len(closed) - 2
    assert closed < still, "containers that stand on layers do not change them"
