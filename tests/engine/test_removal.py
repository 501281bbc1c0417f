"""Every kind of removal, from the plan to the deed, and the engine's health after each one."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from app.cleanup.execute.engine import EngineCalls
from app.cleanup.execute.executor import execute
from app.cleanup.execute.journal import Journal
from app.cleanup.execute.outcome import Outcome, Progress
from app.cleanup.plan.batch import one_after_another, together
from app.cleanup.plan.model import Action, Plan, Subject, Wish
from app.cleanup.plan.planner import make_plan, wish_for
from app.cleanup.plan.simulate import after
from app.model import Kind, Role, Store
from app.survey import Request, survey
from tests.engine import archive, scenario
from tests.engine.dockerd import Engine

pytestmark = pytest.mark.engine

BASE = scenario.BASE
CACHED = f"""
FROM {BASE}
RUN seq 1 3000 > /cached
RUN seq 1 4000 > /cached-too
"""
BUILT = f"""
FROM {BASE}
RUN seq 1 2000 > /built
"""


class Host:
    """A running engine with one of everything, and whodiff beside it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        engine.start()
        base = archive.busybox_layer(Path(engine.tools.busybox))
        engine.docker("load", stdin=archive.image(BASE, [base], engine.get("/version")["Arch"]))
        self.keeper = self.run("keeper", "echo kept > /kept; exec sleep 1000000")
        self.keep_image("acme/keep:1")

    def run(self, name: str, script: str, *options: str) -> str:
        """A container on its way; its id."""
        more = ["-d", "--network=none", "--stop-signal=KILL", f"--name={name}", *options]
        return self.engine.docker("run", *more, BASE, "sh", "-c", script)

    def finished(self, name: str, script: str, *options: str) -> str:
        """A container that has ended; its id."""
        id_ = self.run(name, script, *options)
        self.engine.docker("wait", id_)
        return id_

    def keep_image(self, tag: str, buildkit: str = "0", dockerfile: str = BUILT) -> None:
        scenario._build(self.engine, tag, dockerfile, buildkit)

    def store(self) -> Store:
        """What whodiff sees now."""
        return survey(self._request()).stores[0]

    def upper(self, container: str) -> Path:
        """A container's own layer directory."""
        data = self.engine.get(f"/containers/{container}/json")["GraphDriver"]["Data"]
        return Path(data["UpperDir"]).parent

    def wish(self, subject: Subject, id_: str, anonymous_volumes: bool = False) -> Wish:
        """To remove a container, image or volume."""
        root = bytes(self.engine.data)
        return Wish(subject, root, id=id_, anonymous_volumes=anonymous_volumes)

    def plan(self, wish: Wish | Path, before: Sequence[Plan] = ()) -> Plan:
        """A fresh plan, for when these others have been carried out."""
        found = after(survey(self._request()), before)
        if isinstance(wish, Path):
            (wish,) = wish_for(bytes(wish), found)
        return make_plan(wish, found)

    def carry_out(self, wish: Wish | Path) -> Outcome:
        """Plan it, confirm it, do it; it must be allowed, and it must succeed."""
        return self.do(self.plan(wish))

    def do(self, shown: Plan) -> Outcome:
        """Carry out a plan that was confirmed; it must be allowed, and it must succeed."""
        assert shown.allowed, shown.refused_because
        calls = EngineCalls(self.engine.url, patience=60, timeout=5, recovery=5)
        done = execute(shown, partial(self.plan, shown.wish), calls, Progress(), Journal(None))
        assert (done.done, done.why) == (True, "")
        self.check()
        return done

    def refused(self, wish: Wish | Path) -> str:
        """Why it is refused; nothing has changed by the asking."""
        before = self.listing()
        plan = self.plan(wish)
        assert not plan.allowed
        assert plan.instead or plan.references
        assert self.listing() == before
        return plan.refused_because

    def listing(self) -> list[str]:
        """The directories of the driver."""
        return sorted(it.name for it in self.engine.overlay2.iterdir())

    def check(self) -> None:
        """The engine's own view is whole: it lists, measures, runs, starts, builds and saves."""
        docker = self.engine.docker
        assert "keeper" in docker("ps", "-a", "--format", "{{.Names}}").split()
        assert "acme/keep:1" in docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
        assert "-1B" not in docker("system", "df", "-v")
        assert docker("exec", "keeper", "cat", "/kept") == "kept"
        docker("restart", "-t", "0", "keeper")
        assert docker("run", "--rm", "--network=none", "acme/keep:1", "cat", "/etc/motd")
        scenario._build(
            self.engine, "acme/again:1", f"FROM {BASE}\nRUN echo {time.time_ns()} > /now", "0"
        )
        docker("rmi", "acme/again:1")
        saved = subprocess.run(
            self.engine.command("save", "acme/keep:1"),
            env=self.engine.client_environment(),
            stdout=subprocess.DEVNULL,
            check=False,
        )
        assert saved.returncode == 0

    def _request(self) -> Request:
        return Request((bytes(self.engine.data),), self.engine.url, environ={})


@pytest.fixture
def host(spare_engine: Engine) -> Host:
    return Host(spare_engine)


@contextmanager
def mounted_elsewhere(lower: Path, place: Path) -> Iterator[None]:
    """An overlay over a layer directory in a mount namespace that nobody else sees."""
    script = (
        f"mount -t tmpfs none {place} && mkdir {place}/u {place}/w {place}/m && "
        f"mount -t overlay none -o lowerdir={lower}/diff,upperdir={place}/u,workdir={place}/w "
        f"{place}/m && echo ready && exec sleep 1000"
    )
    command = ["unshare", "--mount", "--propagation=private", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout
            assert child.stdout.readline() == b"ready\n"
            yield
        finally:
            child.kill()


def test_containers_and_their_files_and_logs(host: Host) -> None:
    running = host.run("web", "mkdir /data; seq 1 9000 > /data/all; seq 1 500; exec sleep 1000000")
    scenario._until((host.upper(running) / "diff/data/all").exists)
    upper = host.upper(running)
    # A folder of the running one, through its mount.
    host.carry_out(upper / "diff" / "data")
    assert "data" not in host.engine.docker("exec", "web", "ls", "/").split()
    # A file of the image alone: only when asked for twice.
    shown = host.plan(upper / "merged" / "etc" / "motd")
    assert not shown.allowed
    assert shown.ask_again
    # Its log, emptied; the next lines are there.
    log = Path(host.engine.get(f"/containers/{running}/json")["LogPath"])
    assert log.stat().st_size > 0
    host.carry_out(log)
    assert log.stat().st_size == 0
    # Itself, by force.
    assert "init" in host.refused(upper.with_name(f"{upper.name}-init") / "diff" / "etc")
    host.carry_out(host.wish(Subject.CONTAINER, running))
    assert not upper.exists()
    # A stopped one's file, in its own layer, and what mounts it in between.
    stopped = host.finished("batch", "mkdir /out; seq 1 9000 > /out/all")
    file = host.upper(stopped) / "diff" / "out" / "all"
    with tempfile.TemporaryDirectory() as folder:
        with mounted_elsewhere(host.upper(stopped), Path(folder)):
            assert host.refused(file)
        subprocess.run(["umount", "-l", folder], capture_output=True, check=False)
    host.carry_out(file)
    assert host.engine.docker("start", "-a", "batch") == ""
    host.carry_out(host.wish(Subject.CONTAINER, stopped))


def test_images_and_their_layers(host: Host) -> None:
    host.keep_image("acme/gone:1", dockerfile=f"FROM {BASE}\nRUN seq 1 5000 > /gone")
    host.engine.docker("tag", "acme/gone:1", "acme/gone:also")
    image = host.engine.docker("inspect", "-f", "{{.Id}}", "acme/gone:1")
    user = host.engine.docker("create", "--name", "user", "acme/gone:1")
    wish = host.wish(Subject.IMAGE, image)
    assert "user" in {it.name for it in host.plan(wish).references}
    host.refused(wish)
    top = next(it.layers[-1] for it in host.store().images if it.owner.id == image)
    assert host.refused(host.engine.overlay2 / top / "diff" / "gone")
    host.carry_out(host.wish(Subject.CONTAINER, user))
    # The layer's own directory leads to the image, and both its tags go.
    done = host.carry_out(host.engine.overlay2 / top)
    assert [step.action for step in done.plan.steps] == [Action.REMOVE_IMAGE] * 2
    assert not (host.engine.overlay2 / top).exists()
    # The layer below stays: an image that has containers stands on it.
    base = next(it.layers[0] for it in host.store().images if BASE in it.owner.tags)
    assert host.refused(host.engine.overlay2 / base)


def test_marked_things_that_share_something_go_in_one_go(host: Host) -> None:
    common = f"FROM {BASE}\nRUN seq 1 90000 > /common\n"
    names = ("acme/one:1", "acme/other:1")
    for name in names:
        host.keep_image(name, dockerfile=f"{common}RUN echo {name} > /own")
    ids = [host.engine.docker("inspect", "-f", "{{.Id}}", name) for name in names]
    first = host.run("first", "exec sleep 1000000")
    create = ("create", "--network=container:first", BASE, "true")
    second = host.engine.docker(*create)
    before = set(host.listing())
    wishes = [host.wish(Subject.IMAGE, id_) for id_ in ids]
    wishes += [host.wish(Subject.CONTAINER, id_) for id_ in (second, first)]
    alone = [host.plan(wish) for wish in wishes]
    question = together(one_after_another(alone, host.plan))
    assert len(question.plans) == 4
    # The image that both were built from has lost its last child then, and its layer goes.
    more = question.frees.bytes - together(alone).frees.bytes
    assert 500_000 < more < 1_000_000
    promised = {it for plan in question.plans for it in plan.takes if it[0] is Kind.LAYER}
    for plan in question.plans:
        host.do(plan)
    gone = {(Kind.LAYER, name) for name in before - set(host.listing())}
    assert gone >= promised
    assert len([it for it in gone if it in promised]) == 7


def test_build_cache_records(host: Host) -> None:
    host.keep_image("acme/cached:1", "1", CACHED)
    host.engine.docker("rmi", "acme/cached:1")
    records = {
        layer.id: layer for layer in host.store().layers.values() if layer.role is Role.BUILD_CACHE
    }
    assert len(records) > 1
    below = next(
        it for it in records.values() if any(it.id in up.parents for up in records.values())
    )
    with tempfile.TemporaryDirectory() as folder:
        with mounted_elsewhere(Path(os.fsdecode(below.path)), Path(folder)):
            assert "mount" in host.refused(Path(os.fsdecode(below.path)))
        subprocess.run(["umount", "-l", folder], capture_output=True, check=False)
    others = {layer.id for layer in host.store().layers.values()} - records.keys()
    host.carry_out(Path(os.fsdecode(below.path)))
    left = host.store().layers
    assert below.id not in left
    assert others <= left.keys()


def test_volumes(host: Host) -> None:
    host.finished("old", "seq 1 9000 > /data/all", "-v", "forgotten:/data", "-v", "/anonymous")
    host.run("db", "seq 1 9000 > /data/all; exec sleep 1000000", "-v", "pgdata:/data")
    assert host.refused(host.wish(Subject.VOLUME, "pgdata"))
    assert host.refused(host.engine.data / "volumes" / "pgdata" / "_data" / "all")
    assert host.refused(host.wish(Subject.VOLUME, "forgotten"))
    old = host.engine.docker("inspect", "-f", "{{.Id}}", "old")
    done = host.carry_out(host.wish(Subject.CONTAINER, old, anonymous_volumes=True))
    assert set(host.engine.docker("volume", "ls", "-q").split()) == {"pgdata", "forgotten"}
    assert done.plan.offers_volumes
    source = host.engine.data / "volumes" / "forgotten" / "_data"
    host.finished("by-path", "true", "--mount", f"type=bind,src={source},dst=/x")
    assert "by-path" in host.refused(host.wish(Subject.VOLUME, "forgotten"))
    host.engine.docker("rm", "by-path")
    host.carry_out(host.wish(Subject.VOLUME, "forgotten"))
    assert host.engine.docker("volume", "ls", "-q") == "pgdata"


def test_a_volume_without_a_name_that_was_handed_on_by_its_id(host: Host) -> None:
    host.finished("first", "seq 1 9000 > /data/all", "-v", "/data")
    (name,) = host.engine.docker("volume", "ls", "-q").split()
    heir = host.finished("heir", "true", "-v", f"{name}:/data", "--mount", "type=volume,dst=/more")
    host.engine.docker("rm", "first")
    done = host.carry_out(host.wish(Subject.CONTAINER, heir, anonymous_volumes=True))
    assert done.plan.offers_volumes
    assert name not in done.plan.offers_volumes
    assert not any("kept" in note for note in done.notes)
    assert host.engine.docker("volume", "ls", "-q") == name


def test_orphans_of_loads_that_were_killed_and_a_dangling_link(host: Host) -> None:
    base = archive.busybox_layer(Path(host.engine.tools.busybox))
    architecture = host.engine.get("/version")["Arch"]
    orphans = [scenario._orphan(host.engine, base, architecture) for _ in range(2)]
    assert len(set(orphans)) == 2
    others = [name for name in host.listing() if name not in orphans]
    for name in orphans:
        path = host.engine.overlay2 / name
        roles = host.store().layers
        assert roles[name].role is Role.UNREFERENCED
        assert not any(it.kind is not Kind.MOUNT for it in roles[name].references)
        token = (path / "link").read_text()
        host.carry_out(path)
        assert not path.exists()
        assert not os.path.lexists(host.engine.overlay2 / "l" / token)
    assert host.listing() == others
    token = scenario._dangling_token(host.engine)
    host.carry_out(host.engine.overlay2 / "l" / token)
    assert not os.path.lexists(host.engine.overlay2 / "l" / token)
    with host.engine.stopped():
        assert host.refused(host.wish(Subject.CONTAINER, host.keeper))
