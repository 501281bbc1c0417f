"""Plans carried out on a live engine: what it says afterwards is what the outcome says."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.cleanup.execute import journal as journal_module
from app.cleanup.execute.engine import EngineCalls
from app.cleanup.execute.executor import execute
from app.cleanup.execute.journal import Journal
from app.cleanup.execute.outcome import Outcome, Progress
from app.cleanup.plan.model import Action, Expected, Step
from app.engine.inventory import peek
from app.host.mounts import read_all
from app.model import Daemon, Kind, Role
from app.stores.drivers.overlay2.read import read_graph
from app.survey import Request, survey
from tests.engine import archive, scenario
from tests.engine.dockerd import DockerdError, Engine
from tests.unit.removals import mount_points, place, plan

pytestmark = pytest.mark.engine

BASE = scenario.BASE
FLOOD = "mkdir /flood; cd /flood; for n in $(seq {}); do : > f$n; done"
ERASE_A_LAYER = """
import os, sys
from app.cleanup.execute.remove_layer import erase_layer
from app.cleanup.execute.outcome import Progress
from tests.unit.removals import place
root, name, token = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
link = place(root, "overlay2", "l", token)
erase_layer(place(root, "overlay2", name), link, Progress())
"""


@pytest.fixture(autouse=True)
def no_syslog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "_SYSLOG_SOCKET", "/nowhere")


@pytest.fixture
def engine(spare_engine: Engine) -> Engine:
    """A running engine with the base image."""
    spare_engine.start()
    base = archive.busybox_layer(Path(spare_engine.tools.busybox))
    architecture = spare_engine.get("/version")["Arch"]
    spare_engine.docker("load", stdin=archive.image(BASE, [base], architecture))
    return spare_engine


def carry_out(
    engine: Engine, *steps: Step, progress: Progress | None = None, daemon: Daemon | None = None
) -> Outcome:
    made = plan(engine.data, *steps, daemon=daemon or peek(engine.url, 10).daemon)
    # As a real plan has it: what is mounted now is no news later.
    shown = replace(made, mounts=read_all()[0])
    calls = EngineCalls(engine.url, patience=60, timeout=5, recovery=5)
    return execute(shown, lambda: shown, calls, progress or Progress(), Journal(None))


def removing(id: str, **flags: Any) -> Step:
    return Step(Action.REMOVE_CONTAINER, f"docker rm {id[:12]}", ids=(id,), **flags)


def run(engine: Engine, script: str, *options: str) -> str:
    """A container that ran to its end; its id."""
    more = ("--detach", "--network=none", *options)
    id = engine.docker("run", *more, BASE, "sh", "-c", script)
    engine.docker("wait", id)
    return id


def start(engine: Engine, script: str, *options: str) -> str:
    """A container that ran its script and stays; its id."""
    more = ("--detach", "--network=none", "--stop-signal=KILL", *options)
    stay = f"set -e; {script}\necho ready; exec sleep 1000000"
    id = engine.docker("run", *more, BASE, "sh", "-c", stay)
    scenario._until(lambda: "ready" in engine.docker("logs", id))
    return id


def containers(engine: Engine) -> set[str]:
    return set(engine.docker("ps", "--all", "--quiet", "--no-trunc").split())


def directory(engine: Engine, container: str) -> Path:
    upper = engine.get(f"/containers/{container}/json")["GraphDriver"]["Data"]["UpperDir"]
    return Path(upper).parent


# --- through the engine ---------------------------------------------------------------------------


def test_containers(engine: Engine) -> None:
    other = run(engine, "exit 3")
    gone = run(engine, "seq 1 90000 > /file", "--volume=/anonymous", "--volume=named:/data")
    where = directory(engine, gone)
    done = carry_out(engine, removing(gone, volumes=True))
    assert (done.done, done.why) == (True, "")
    assert not where.exists()
    # How much came back is told on a disk of its own (test_story): others write to this one.
    assert done.before
    assert done.after
    assert containers(engine) == {other}
    assert engine.docker("volume", "ls", "--quiet").split() == ["named"]

    running = start(engine, ":")
    refused = carry_out(engine, removing(running))
    assert not refused.done
    assert "did not remove" in refused.why
    assert "running" in refused.why
    assert containers(engine) == {other, running}
    assert carry_out(engine, removing(running, force=True)).done
    assert containers(engine) == {other}
    assert "gone already" in carry_out(engine, removing(running)).notes[0]


def test_images_by_their_tags(engine: Engine) -> None:
    scenario._build(engine, "acme/two:1", f"FROM {BASE}\nRUN seq 1 900 > /x\n", buildkit="0")
    engine.docker("tag", "acme/two:1", "acme/two:latest")
    id = engine.get("/images/acme/two:1/json")["Id"]
    user = engine.docker("create", "--network=none", "acme/two:1")
    tags = ("acme/two:1", "acme/two:latest")
    steps = [
        Step(
            Action.REMOVE_IMAGE,
            f"docker rmi {tag}",
            ids=(tag,),
            expects=(Expected(Kind.IMAGE, tag, id),),
        )
        for tag in tags
    ]
    refused = carry_out(engine, *steps)
    assert (refused.done, refused.steps_done) == (False, 1)
    assert "acme/two:latest" in refused.why
    assert engine.get("/images/acme/two:latest/json")["Id"] == id
    engine.docker("rm", user)
    assert carry_out(engine, steps[1]).done
    with pytest.raises(DockerdError):
        engine.get(f"/images/{id}/json")
    assert engine.get(f"/images/{BASE}/json")


def test_volumes(engine: Engine) -> None:
    engine.docker("volume", "create", "unused")
    user = run(engine, "seq 1 5000 > /data/x", "--volume=used:/data")

    def step(name: str) -> Step:
        return Step(Action.REMOVE_VOLUME, f"docker volume rm {name}", ids=(name,))

    assert carry_out(engine, step("unused")).done
    refused = carry_out(engine, step("used"))
    assert not refused.done
    assert user in refused.why
    assert engine.docker("volume", "ls", "--quiet").split() == ["used"]


def records(engine: Engine) -> dict[str, dict[str, Any]]:
    return {it["ID"]: it for it in engine.get("/system/df")["BuildCache"]}


def test_exactly_the_named_build_cache_records(engine: Engine) -> None:
    for n in range(2):
        file = f"FROM {BASE}\nRUN seq 1 90{n} > /a\nRUN seq 1 8 > /b\n"
        scenario._build(engine, f"acme/built:{n}", file, buildkit="1")
        engine.docker("rmi", f"acme/built:{n}")
    before = records(engine)
    parents = {it["Parent"] for it in before.values()}
    leaf = next(id for id, it in before.items() if id not in parents and it["Parent"] in before)
    middle = next(
        id
        for id, it in before.items()
        if id in parents and it["Parent"] and id != before[leaf]["Parent"]
    )
    child = next(id for id, it in before.items() if it["Parent"] == middle)

    def prune(*ids: str) -> Outcome:
        return carry_out(engine, Step(Action.PRUNE_CACHE, "docker builder prune", ids=ids))

    assert prune(leaf).done
    assert records(engine).keys() == before.keys() - {leaf}
    kept = prune(middle)
    assert not kept.done
    assert "kept" in kept.why
    assert records(engine).keys() == before.keys() - {leaf}
    assert prune(middle, child).done
    assert records(engine).keys() == before.keys() - {leaf, middle, child}


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["merged", "proc"])
def test_files_of_a_running_container_go_through_its_mount(engine: Engine, base: str) -> None:
    fill = "mkdir -p /var/big/deep; dd if=/dev/zero of=/var/big/file bs=1048576 count=8"
    id = start(engine, f"{fill} 2> /dev/null; {FLOOD.format(500)}; seq 1 9 > /keep")
    pid = engine.get(f"/containers/{id}/json")["State"]["Pid"]
    top = directory(engine, id) / "merged" if base == "merged" else Path(f"/proc/{pid}/root")
    if base == "merged":
        assert os.fsencode(top) in mount_points()
    for names in (("var", "big"), ("flood",), ("etc", "motd")):
        where = place(top, *names)
        done = carry_out(engine, Step(Action.ERASE, "rm", place=where))
        assert (done.done, done.why) == (True, "")
        if names == ("var", "big"):
            assert done.removed.bytes >= 8 * 2**20
    seen = engine.docker("exec", id, "sh", "-c", "ls / /var /etc; cat /keep")
    assert not {"flood", "big", "motd"} & set(seen.split())
    assert "keep" in seen
    assert sum(1 for _ in (directory(engine, id) / "diff").rglob("*")) < 20
    # One of the image below is hidden from this container, and from no other.
    assert "motd" in engine.docker("run", "--rm", "--network=none", BASE, "ls", "/etc").split()


def test_a_plan_that_knows_nothing_of_a_mount_inside_touches_nothing(engine: Engine) -> None:
    id = start(engine, "mkdir -p /srv/x; seq 1 9 > /srv/file", "--volume=data:/srv/data")
    pid = engine.get(f"/containers/{id}/json")["State"]["Pid"]
    step = Step(Action.ERASE, "rm", place=place(Path(f"/proc/{pid}/root"), "srv"))
    shown = plan(engine.data, step, daemon=peek(engine.url, 10).daemon)
    done = execute(shown, lambda: shown, EngineCalls(engine.url), Progress(), Journal(None))
    assert "mounted" in done.why
    assert engine.docker("exec", id, "ls", "/srv").split() == ["data", "file", "x"]


def test_a_mounted_volume_of_a_running_container_stays(engine: Engine) -> None:
    id = start(engine, "mkdir -p /srv/x; seq 1 9 > /srv/file", "--volume=data:/srv/data")
    engine.docker("exec", id, "sh", "-c", "seq 1 900 > /srv/data/precious")
    pid = engine.get(f"/containers/{id}/json")["State"]["Pid"]
    for names in (("srv",), ("srv", "data"), ("srv", "data", "precious"), ("etc", "hosts")):
        where = place(Path(f"/proc/{pid}/root"), *names)
        done = carry_out(engine, Step(Action.ERASE, "rm", place=where))
        assert not done.done
        assert "mounted" in done.why
    assert engine.docker("exec", id, "ls", "/srv") == "data"
    assert engine.docker("exec", id, "cat", "/srv/data/precious").count("\n") == 899
    assert "localhost" in engine.docker("exec", id, "cat", "/etc/hosts")


def test_a_log_is_emptied_and_goes_on(engine: Engine) -> None:
    id = start(engine, "seq 1 20000")
    log = engine.data / "containers" / id / f"{id}-json.log"
    where = place(engine.data, *log.relative_to(engine.data).parts)
    done = carry_out(engine, Step(Action.TRUNCATE, "truncate -s 0", place=where))
    assert done.done
    assert done.removed.bytes > 1_000_000
    assert engine.docker("logs", id) == ""
    engine.docker("exec", id, "sh", "-c", "echo and-more > /proc/1/fd/1")
    scenario._until(lambda: engine.docker("logs", id) == "and-more")


def test_files_of_a_stopped_container(engine: Engine) -> None:
    id = run(engine, FLOOD.format(300))
    diff = directory(engine, id) / "diff"
    where = place(engine.data, *diff.relative_to(engine.data).parts, "flood")
    done = carry_out(engine, Step(Action.ERASE, "rm", place=where))
    assert (done.done, done.removed.inodes) == (True, 301)
    engine.docker("start", id)
    engine.docker("wait", id)
    assert (diff / "flood" / "f300").exists()


# --- an engine that ends in the middle ------------------------------------------------------------


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_the_engine_ends_in_mid_removal_and_the_truth_is_told(engine: Engine, end: str) -> None:
    doubts = 0
    for delay in (0.01, 0.05, 0.1, 0.2):
        id = run(engine, FLOOD.format(8000))
        timer, daemon = threading.Timer(delay, getattr(engine, end)), peek(engine.url).daemon
        timer.start()
        done = carry_out(engine, removing(id), daemon=daemon)
        timer.join()
        engine.start()
        left = id in containers(engine)
        if done.done:
            assert not left
        elif "nobody knows" in done.why or "does not answer" in done.why:
            doubts += 1
        else:
            assert left, done.why
        if left:
            again = carry_out(engine, removing(id))
            assert again.done, again.why
        assert id not in containers(engine)
    assert doubts


def test_who_says_stop_does_not_wait(engine: Engine) -> None:
    for delay in (0.0, 0.02, 0.05, 0.1):
        id = run(engine, FLOOD.format(8000))
        progress = Progress()
        asked = threading.Timer(delay, progress.stop)
        asked.start()
        done = carry_out(engine, removing(id), progress=progress)
        asked.join()
        if "goes on with it" in done.why or done.done:
            _gone(engine, id)
        else:
            assert "before" in done.why
            assert id in containers(engine)


def _gone(engine: Engine, id: str) -> None:
    scenario._until(lambda: id not in containers(engine))


def test_what_was_stopped_before_it_was_sent_is_not_sent_later(engine: Engine) -> None:
    id = run(engine, ":")
    progress, daemon = Progress(), peek(engine.url).daemon
    os.kill(engine.pid, signal.SIGSTOP)
    try:
        asked = threading.Timer(0.3, progress.stop)
        asked.start()
        done = carry_out(engine, removing(id), progress=progress, daemon=daemon)
        threads = [it for it in threading.enumerate() if it.name == "whodiff-engine-call"]
    finally:
        os.kill(engine.pid, signal.SIGCONT)
    assert "before the engine was told" in done.why
    for thread in threads:
        thread.join(30)
    assert id in containers(engine)


# --- killed in the middle of a layer --------------------------------------------------------------


def role_of(engine: Engine, name: str) -> Role:
    """What a survey says of a directory that has been left alone for days."""
    _age(engine.overlay2 / name)
    request = Request((bytes(engine.data),), engine.url, offline=False, environ={})
    (store,) = survey(request).stores
    return store.layers[name].role


def _age(top: Path) -> None:
    then = time.time() - 3 * 86_400
    os.utime(top, (then, then))
    if (top / "diff").exists():
        os.utime(top / "diff", (then, then))


def _killed(engine: Engine, name: str, token: str, delay: float) -> bool:
    """Begin to remove a layer and kill it with SIGKILL; whether it was at work still."""
    script = [sys.executable, "-c", ERASE_A_LAYER, str(engine.data), name, token]
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout
        try:
            assert child.stdout.readline() == b"ready\n"
            child.stdin.write(b"\n")
            child.stdin.flush()
            time.sleep(delay)
            return child.poll() is None
        finally:
            child.kill()


def test_killed_anywhere_the_engine_is_well_and_the_same_again_finishes(engine: Engine) -> None:
    base = archive.busybox_layer(Path(engine.tools.busybox))
    name = scenario._orphan(engine, base, engine.get("/version")["Arch"])
    home = engine.overlay2
    token = (home / name / "link").read_text()
    saved = engine.base / "saved"
    subprocess.run(["cp", "-a", str(home / name), str(saved)], check=True)
    others = {it.name for it in home.iterdir()} - {name}
    keeper = run(engine, "seq 1 9 > /kept")
    others |= {it.name for it in home.iterdir()} - {name}
    assert role_of(engine, name) is Role.UNREFERENCED
    whole = _time_to_remove(engine, name, token)
    dice, cut = random.Random(20), 0
    for _ in range(20):
        subprocess.run(["cp", "-a", str(saved), str(home / name)], check=True)
        (home / "l" / token).symlink_to(f"../{name}/diff")
        cut += _killed(engine, name, token, dice.random() * whole)
        assert {it.name for it in home.iterdir()} - {name} == others
        if (home / name).exists():
            assert role_of(engine, name) is Role.UNREFERENCED
            link = home / "l" / token
            again = Step(
                Action.ERASE_LAYER,
                "rm",
                place=place(engine.data, "overlay2", name),
                link=place(engine.data, "overlay2", "l", token) if link.is_symlink() else None,
            )
            done = carry_out(engine, again)
            assert (done.done, done.why) == (True, "")
        assert not os.path.lexists(home / name)
        assert not os.path.lexists(home / "l" / token)
        graph = read_graph(os.fsencode(home))
        assert not graph.problems
        assert not graph.dangling
        assert all(it.sure for it in graph.directories.values())
    assert cut > 5
    engine.stop()
    engine.start()
    assert engine.docker("run", "--rm", "--network=none", BASE, "echo", "well") == "well"
    engine.docker("start", keeper)


def _time_to_remove(engine: Engine, name: str, token: str) -> float:
    begun = time.monotonic()
    step = Step(
        Action.ERASE_LAYER,
        "rm",
        place=place(engine.data, "overlay2", name),
        link=place(engine.data, "overlay2", "l", token),
    )
    assert carry_out(engine, step).done
    return time.monotonic() - begun
