"""What the daemon would refuse, the plan refuses first; what it says yes to, the daemon does."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cleanup.plan.model import Plan, Subject, changes
from app.cleanup.plan.planner import make_plan
from tests.engine import archive
from tests.engine.dockerd import DockerdError, Engine
from tests.engine.planning import BASE, freed, load, of, planned, run, surveyed, typed

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def engine(module_engine: Engine) -> Engine:
    module_engine.start()
    load(module_engine)
    return module_engine


@pytest.fixture
def volume(engine: Engine) -> Iterator[str]:
    engine.docker("volume", "create", "linked")
    yield "linked"
    for name in ("linked", "other"):
        if name in engine.docker("volume", "ls", "--quiet").split():
            engine.docker("volume", "rm", name)


@pytest.mark.parametrize("part", ["", "_data"])
@pytest.mark.parametrize("relative", [False, True])
def test_a_volume_that_is_a_link_stays(
    engine: Engine, volume: str, part: str, relative: bool
) -> None:
    """To elsewhere the daemon refuses; to another volume it would remove that one's data."""
    home = engine.data / "volumes"
    target = Path(tempfile.mkdtemp(dir=engine.base))
    (target / "_data").mkdir()
    if relative:
        engine.docker("volume", "create", "other")
        target = Path("../other/_data") if part else Path("other")
        (home / "other/_data/payroll").touch()
    link = home / volume / part if part else home / volume
    shutil.rmtree(link)
    link.symlink_to(target)
    for asked in (of(engine, Subject.VOLUME, volume), link):
        found = planned(engine, asked)
        assert not found.allowed
        assert "symbolic link" in found.refused_because
        assert f"rm {link}" in found.instead
    if not relative:
        with pytest.raises(DockerdError, match="outside of the local volume root"):
            engine.docker("volume", "rm", volume)
    # What the refusal says to do leads on.
    link.unlink()
    engine.docker("volume", "rm", volume)
    assert not relative or (home / "other/_data/payroll").exists()


def test_volumes_behind_a_link_stay_and_the_way_out_is_one(
    spare_engine: Engine,
) -> None:
    data = spare_engine.data
    data.mkdir()
    # As where the system's root is shared: else the daemon covers it with a mount of its own.
    for words in (("--bind", data, data), ("--make-rshared", data)):
        subprocess.run(["mount", *words], check=True)
    disk = spare_engine.base / "disk"
    disk.mkdir()
    home = spare_engine.data / "volumes"
    home.symlink_to(disk)
    spare_engine.start()
    spare_engine.docker("volume", "create", "behind")
    found = planned(spare_engine, of(spare_engine, Subject.VOLUME, "behind"))
    assert not found.allowed
    assert f"{home} is a symbolic link" in found.refused_because
    with pytest.raises(DockerdError, match="outside of the local volume root"):
        spare_engine.docker("volume", "rm", "behind")
    spare_engine.stop()
    commands = found.instead.partition(": ")[2].partition(";")[0]
    subprocess.run(["sh", "-c", commands], check=True)
    try:
        spare_engine.start()
        again = planned(spare_engine, of(spare_engine, Subject.VOLUME, "behind"))
        assert again.allowed, again.refused_because
        spare_engine.docker("volume", "rm", "behind")
        assert not (disk / "behind").exists()
        spare_engine.stop()
    finally:
        subprocess.run(["umount", str(home)], check=True)


@pytest.mark.parametrize("state", ["created", "running", "paused", "restarting", "exited"])
def test_a_container_goes_in_every_state(engine: Engine, state: str) -> None:
    words = ("--network=none", "--stop-signal=KILL")
    script = {"restarting": "exit 1", "exited": "exit 0"}.get(state, "exec sleep 1000")
    policy = ("--restart=always",) if state == "restarting" else ()
    verb = ("create",) if state == "created" else ("run", "--detach")
    id_ = engine.docker(*verb, *words, *policy, BASE, "sh", "-c", script)
    if state == "paused":
        engine.docker("pause", id_)
    while engine.get(f"/containers/{id_}/json")["State"]["Status"] != state:
        pass
    found = planned(engine, of(engine, Subject.CONTAINER, id_))
    assert found.allowed, found.refused_because
    assert found.steps[0].force == (state not in ("created", "exited"))
    assert typed(engine, found.commands) == 0
    assert id_ not in engine.docker("ps", "--all", "--quiet", "--no-trunc")


def test_an_image_that_only_stopped_or_created_containers_use_stays(engine: Engine) -> None:
    image = load(engine, "acme/used:1", archive.layer({"used": b""}))
    engine.docker("tag", "acme/used:1", "acme/used:2")
    id_ = engine.docker("create", "--network=none", "acme/used:1", "sh")
    try:
        found = planned(engine, of(engine, Subject.IMAGE, image))
        assert "in use" in found.refused_because
        assert "docker rm" in found.instead
    finally:
        engine.docker("rm", id_)
        engine.docker("rmi", "acme/used:1", "acme/used:2")


def test_nothing_goes_from_a_filesystem_that_is_read_only(engine: Engine, tmp_path: Path) -> None:
    id_ = run(engine, "mkdir /made")
    try:
        wish = of(engine, Subject.CONTAINER, id_)
        assert planned(engine, wish).allowed
        subprocess.run(["mount", "--bind", engine.data, engine.data], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", engine.data], check=True)
        try:
            found = planned(engine, wish)
        finally:
            subprocess.run(["umount", engine.data], check=True)
        assert "read-only" in found.refused_because
    finally:
        engine.docker("rm", "--force", id_)


def test_one_that_ends_again_and_again_can_be_removed(engine: Engine) -> None:
    """Each look may find it in a run, or between two: that is no reason to decide anew."""
    script = "sleep 0.1; exit 1"
    words = ("run", "--detach", "--network=none", "--restart=always", BASE, "sh", "-c", script)
    id_ = engine.docker(*words)
    found = {state: _caught(engine, id_, state) for state in ("running", "restarting")}
    assert all(plan.allowed for plan in found.values())
    for shown in found.values():
        for now in found.values():
            assert changes(shown, now) == ()
    freed(engine, found["running"], lambda: found["restarting"])
    assert id_ not in engine.docker("ps", "--all", "--quiet", "--no-trunc")


def _caught(engine: Engine, id_: str, state: str) -> Plan:
    """The plan that was made while it was in this state."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        survey = surveyed(engine)
        (seen,) = (it.owner.state for it in survey.stores[0].containers if it.owner.id == id_)
        if seen == state:
            return make_plan(of(engine, Subject.CONTAINER, id_), survey)
    pytest.fail(f"it was never {state}")
