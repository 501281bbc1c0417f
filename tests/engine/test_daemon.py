"""What a live daemon is told, and of what: nothing by a name that means something else by then."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from app.cleanup.execute import journal as journal_module
from app.cleanup.execute.engine import CallFailed, EngineCalls
from app.cleanup.execute.executor import execute
from app.cleanup.execute.journal import Journal
from app.cleanup.execute.outcome import Outcome, Progress
from app.cleanup.plan.expected import seen
from app.cleanup.plan.model import Expected, Plan, Subject, Wish
from app.cleanup.plan.planner import make_plan
from app.engine.inventory import peek
from app.model import Kind
from app.survey import Request, survey
from tests.engine import dockerd
from tests.engine.conftest import ended_by_sigterm
from tests.engine.test_removal import BASE, Host

pytestmark = pytest.mark.engine


@pytest.fixture(autouse=True)
def no_syslog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "_SYSLOG_SOCKET", "/nowhere")


@pytest.fixture
def host(spare_engine: dockerd.Engine) -> Host:
    return Host(spare_engine)


def carry_out(host: Host, shown: Plan, renew: Callable[[], Plan] | None = None) -> Outcome:
    """``renew``: what the fresh look finds, else what is there."""
    assert shown.allowed, shown.refused_because
    calls = EngineCalls(host.engine.url, patience=60, timeout=10, recovery=5)
    again = renew or partial(host.plan, shown.wish)
    return execute(shown, again, calls, Progress(), Journal(None))


def test_a_volume_that_was_made_anew_under_the_same_name_stays(host: Host) -> None:
    docker = host.engine.docker
    docker("volume", "create", "data")
    source = host.engine.data / "volumes" / "data" / "_data"
    (source / "old").write_text("old")
    wish = host.wish(Subject.VOLUME, "data")
    shown = host.plan(wish)
    docker("volume", "rm", "data")
    docker("volume", "create", "data")
    (source / "new").write_text("new")
    # By the fresh look, and, where it came after that, in the conversation of the order.
    seen_twice = carry_out(host, shown)
    assert "volume data was removed and created again" in seen_twice.why
    told = carry_out(host, shown, lambda: shown)
    assert "Nothing was sent" in told.why
    assert (source / "new").read_text() == "new"
    # The directory alone was exchanged: the daemon notices nothing.
    shown = host.plan(wish)
    created = host.engine.get("/volumes/data")["CreatedAt"]
    source.rename(source.with_name("aside"))
    source.mkdir()
    blind = [replace(it, created="") for it in shown.steps[0].expects]
    step = replace(shown.steps[0], expects=tuple(blind))
    other = replace(shown, steps=(step,))
    assert "not the same directory" in carry_out(host, other, lambda: other).why, created
    source.rmdir()
    source.with_name("aside").rename(source)
    assert carry_out(host, host.plan(wish)).done
    assert not source.parent.exists()


def test_a_tag_that_was_moved_is_not_removed(host: Host) -> None:
    docker, tag = host.engine.docker, "acme/moved:1"
    host.keep_image(tag, dockerfile=f"FROM {BASE}\nRUN seq 1 5000 > /one")
    image = docker("inspect", "-f", "{{.Id}}", tag)
    shown = host.plan(host.wish(Subject.IMAGE, image))
    host.keep_image("acme/other:1", dockerfile=f"FROM {BASE}\nRUN seq 1 5000 > /two")
    other = docker("inspect", "-f", "{{.Id}}", "acme/other:1")
    docker("tag", "acme/other:1", tag)
    assert "Nothing was removed" in carry_out(host, shown).why
    told = carry_out(host, shown, lambda: shown)
    assert f"{tag} now points to {other.removeprefix('sha256:')[:12]}" in told.why
    assert docker("inspect", "-f", "{{.Id}}", tag) == other
    docker("tag", image, tag)
    assert carry_out(host, shown).done


def test_a_directory_that_is_no_volume_is_refused_until_it_is_one(host: Host) -> None:
    docker, volumes = host.engine.docker, host.engine.data / "volumes"
    (volumes / "handmade/_data").mkdir(parents=True)
    (volumes / "handmade/_data/file").write_text("kept")
    wish = host.wish(Subject.VOLUME, "handmade")
    for one in (wish, volumes / "handmade", volumes / "handmade/_data"):
        plan = host.plan(one)
        assert "does not list a volume handmade" in plan.refused_because
    assert "volume create handmade" in plan.instead
    # What is promised there leads on.
    docker("volume", "create", "handmade")
    assert (volumes / "handmade/_data/file").read_text() == "kept"
    assert carry_out(host, host.plan(wish)).done
    assert not (volumes / "handmade").exists()


def test_a_stuck_removal_is_told_and_ends_when_nothing_hinders_it(host: Host) -> None:
    id_ = host.finished("stuck", "mkdir -p /d; seq 1 9 > /d/pinned; seq 1 9 > /other")
    upper = host.upper(id_)
    pinned = upper / "diff/d/pinned"
    wish = host.wish(Subject.CONTAINER, id_)
    _chattr("+i", pinned)
    try:
        # Foreseen: the daemon would remove the rest of it and fail.
        assert f"{pinned} is immutable" in host.refused(wish)
        with pytest.raises(dockerd.DockerdError, match="operation not permitted"):
            host.engine.docker("rm", "-f", id_)
        assert not (upper / "link").exists()
        assert host.engine.get("/containers/json?all=1")[0]["State"] == "removing"
        plan = host.plan(wish)
        assert f"{pinned} is immutable" in plan.refused_because
        assert f"chattr -i -- {pinned}" in plan.instead
    finally:
        _chattr("-i", pinned)
    plan = host.plan(wish)
    assert any("did not come to the end" in it for it in plan.consequences)
    assert carry_out(host, plan).done
    assert not upper.exists()
    assert "stuck" not in host.engine.docker("ps", "-a", "--format", "{{.Names}}").split()
    host.check()


def test_a_volume_with_something_immutable_keeps_all_of_its_data(host: Host) -> None:
    host.engine.docker("volume", "create", "half")
    source = host.engine.data / "volumes/half/_data"
    (source / "a").write_text("kept")
    (source / "z").mkdir()
    _chattr("+a", source / "z")
    try:
        assert f"{source}/z is append-only" in host.refused(host.wish(Subject.VOLUME, "half"))
        assert (source / "a").read_text() == "kept"
    finally:
        _chattr("-a", source / "z")
    host.carry_out(host.wish(Subject.VOLUME, "half"))


def _chattr(change: str, path: Path) -> None:
    subprocess.run(["chattr", change, path], check=True)


# --- another daemon behind the socket -------------------------------------------------------------


@contextmanager
def proxy(first: Path, second: Path, swaps: str, at: int) -> Iterator[str]:
    """A process that passes on to one daemon, and from some moment on to the other; its URL."""
    with tempfile.TemporaryDirectory(prefix="proxy-") as folder:
        arguments = [f"{folder}/s", str(first), str(second), swaps, str(at)]
        command = [sys.executable, "-m", "tests.unit.swapping_proxy", *arguments]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            try:
                assert child.stdout
                assert child.stdout.readline() == b"ready\n"
                yield f"unix://{folder}/s"
            finally:
                child.kill()


def test_no_order_reaches_another_daemon(spare_engine: dockerd.Engine) -> None:
    other = dockerd.Engine(dockerd.find_tools())
    with ended_by_sigterm():
        try:
            for engine in (spare_engine, other):
                engine.start()
                engine.docker("volume", "create", "data")
            for swaps, most in (("connection", 4), ("request", 5)):
                for at in range(1, most):
                    _swapped(spare_engine, other, swaps, at)
            _planned_through_a_proxy(spare_engine, other)
        finally:
            other.close()


def _swapped(engine: dockerd.Engine, other: dockerd.Engine, swaps: str, at: int) -> None:
    volumes = engine.data / "volumes"
    daemon = peek(engine.url).daemon
    listed = engine.get("/volumes/data")
    things = (
        Expected(
            Kind.VOLUME,
            "data",
            created=listed["CreatedAt"],
            path=listed["Mountpoint"].encode(),
            places=seen([bytes(volumes / "data"), bytes(volumes / "data/_data")]),
        ),
    )
    with proxy(engine.socket, other.socket, swaps, at) as url:
        # It was seen through the same proxy.
        pid = peek(url).daemon.pid
        calls = EngineCalls(
            *(url, 20, 5, 0.5),
            daemon=replace(daemon, pid=pid),
            root=bytes(engine.data),
            expects=things,
        )
        with suppress(CallFailed):
            calls.remove_volume("data")
    assert other.docker("volume", "ls", "-q") == "data", (swaps, at)
    if not (volumes / "data").exists():
        engine.docker("volume", "create", "data")


def _planned_through_a_proxy(engine: dockerd.Engine, other: dockerd.Engine) -> None:
    """It could swap at the order itself, which nobody can see: what goes by a name is refused."""
    with proxy(engine.socket, other.socket, "request", 1000) as url:
        found = survey(Request((bytes(engine.data),), url, environ={}))
        wish = Wish(Subject.VOLUME, bytes(engine.data), id="data")
        plan = make_plan(wish, found)
        assert "not the daemon's own socket" in plan.refused_because
        assert "--host" in plan.instead
    plan = make_plan(wish, survey(Request((bytes(engine.data),), engine.url, environ={})))
    assert plan.allowed, plan.refused_because
