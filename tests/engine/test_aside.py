"""What goes without the daemon leaves every mount in one step, on a full disk too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from app.cleanup.execute import aside
from app.cleanup.execute import erase as erase_module
from app.cleanup.execute import journal as journal_module
from app.cleanup.execute.engine import EngineCalls
from app.cleanup.execute.executor import execute
from app.cleanup.execute.journal import Journal
from app.cleanup.execute.outcome import Outcome, Progress
from app.cleanup.plan.model import Plan
from app.cleanup.plan.planner import fresh_plan, wish_for
from app.cleanup.plan.reopen_path import Reached
from app.lookup.query import lookup
from app.model import Role
from app.stores.remainders import NAME
from app.survey import Request, survey
from tests.engine import archive, scenario
from tests.engine.dockerd import Engine
from tests.engine.small_disk import free, load_base, mount_small, run
from tests.unit.removals import Watched

pytestmark = pytest.mark.engine

FLOOD = 20_000
#: Makes the flood the first time, and says each time what it sees of it.
SCRIPT = f"""
if [ ! -e /made ]; then
  mkdir -p /job/flood; cd /job/flood
  for n in $(seq {FLOOD}); do : > f$n; done
  seq 1 90000 > /job/kept; touch /made
fi
ls /job/flood 2>/dev/null | wc -l; md5sum /job/kept
[ ! -e /stay ] || exec sleep 1000000
"""
#: A tree, and what moves directories out of it, and writes down what each had then.
RESCUE = """
rm -rf /doomed /safe /had; mkdir -p /doomed /safe /had
for d in $(seq 40); do mkdir -p /doomed/a$((d % 4))/$d/in
  for n in $(seq 60); do : > /doomed/a$((d % 4))/$d/f$n; : > /doomed/a$((d % 4))/$d/in/f$n; done
done
touch /planted
while [ ! -e /go ]; do :; done; rm /go
while [ -d /doomed ]; do
  for d in /doomed/a*/*; do
    case $d in *whodiff*) continue;; esac
    [ -d $d ] && mv $d /safe/ 2>/dev/null && (cd /safe; find ${d##*/} -type f) > /had/${d##*/}
  done
done
rm /planted; touch /over
"""
#: Carries a plan out, and says when it is in the middle of it; then it waits to be killed.
KILLED = """
import sys, time
from tests.engine import test_aside as it
root, url, path = sys.argv[1:]
def act():
    print("in the middle", flush=True)
    time.sleep(600)
it.carry_out(it.planned(root, url, path), url, it.Watched(3000, act))
"""


@pytest.fixture(autouse=True)
def no_syslog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "_SYSLOG_SOCKET", "/nowhere")


@pytest.fixture
def engine(spare_engine: Engine) -> Engine:
    mount_small(spare_engine, mebibytes=160, inodes=40_000)
    spare_engine.start()
    load_base(spare_engine)
    return spare_engine


def planned(root: str | Path, url: str, path: str | Path) -> Plan:
    """The plan for a path as it is now."""
    request = Request((os.fsencode(root),), url, offline=False, environ={})
    (wish,) = wish_for(os.fsencode(path), survey(request))
    return fresh_plan(wish, request)


def carry_out(shown: Plan, url: str, progress: Progress | None = None) -> Outcome:
    """Carry out a plan that is allowed, looking at it once more as the explorer does."""
    assert shown.allowed, shown.refused_because
    request = Request((shown.wish.root,), url, offline=False, environ={})
    calls = EngineCalls(url, patience=60, timeout=5, recovery=5)
    renew = partial(fresh_plan, shown.wish, request)
    return execute(shown, renew, calls, progress or Progress(), Journal(None))


class Flooded:
    """A container that has ended, with a flood of files in its own layer."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.id = run(engine, "flooded", SCRIPT, "--network=none")
        engine.docker("wait", self.id)
        data = engine.get(f"/containers/{self.id}/json")["GraphDriver"]["Data"]
        self.layer = Path(data["UpperDir"]).parent
        self.flood = self.layer / "diff/job/flood"
        self.whole = engine.docker("logs", self.id)
        assert self.whole.split()[0] == str(FLOOD)

    def plan(self, path: Path) -> Plan:
        return planned(self.engine.data, self.engine.url, path)

    def sees(self) -> int:
        """How many files it sees of the flood when it is started now; the rest of it is whole."""
        seen, _, rest = self.engine.docker("start", "--attach", self.id).partition("\n")
        assert rest == self.whole.partition("\n")[2]
        return int(seen)

    def left(self) -> list[Path]:
        """What removals left in its layer."""
        return [it for it in self.layer.iterdir() if NAME.fullmatch(os.fsencode(it.name))]


def fill(engine: Engine) -> None:
    """Leave neither a byte nor an inode."""
    folder = engine.data / "filler"
    folder.mkdir()
    with suppress(OSError):
        for number in range(100_000):
            os.close(os.open(folder / f"{number}", os.O_CREAT))
    for size in (1 << 16, 1):
        with suppress(OSError), (folder / "0").open("ab", buffering=0) as file:
            while True:
                file.write(bytes(size))
    assert free(engine) == (0, 0)


@pytest.mark.parametrize("full", [False, True])
def test_a_start_in_mid_removal_sees_all_of_it_or_nothing(engine: Engine, full: bool) -> None:
    flooded = Flooded(engine)
    seen: list[int] = []
    if full:
        fill(engine)
        done = carry_out(flooded.plan(flooded.flood), engine.url)
    else:
        watched = Watched(FLOOD // 2, lambda: seen.append(flooded.sees()))
        done = carry_out(flooded.plan(flooded.flood), engine.url, watched)
        assert seen == [0]
    assert (done.done, done.why) == (True, "")
    assert done.removed.inodes == FLOOD + 1
    assert not flooded.left()
    assert flooded.sees() == 0


def test_what_was_started_since_the_last_look_keeps_all_of_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    flooded = Flooded(engine)
    put_aside = aside.put_aside

    def started(target: Reached, shelf: int, path: bytes) -> Reached:
        engine.docker("start", flooded.id)
        os.stat(flooded.layer / "merged")
        return put_aside(target, shelf, path)

    (flooded.layer / "diff/stay").touch()
    shown = flooded.plan(flooded.flood)
    monkeypatch.setattr(erase_module, "put_aside", started)
    done = carry_out(shown, engine.url)
    assert not done.done
    assert "mounted just now" in done.why
    assert not flooded.left()
    assert engine.docker("exec", flooded.id, "ls", "/job/flood").count("f") == FLOOD
    engine.docker("kill", flooded.id)


@pytest.mark.parametrize("again", [True, False])
def test_a_live_removal_ends_when_its_mount_does(engine: Engine, again: bool) -> None:
    flooded = Flooded(engine)
    (flooded.layer / "diff/stay").touch()
    engine.docker("start", flooded.id)

    def act() -> None:
        engine.docker("kill", flooded.id)
        engine.docker("wait", flooded.id)
        if again:
            engine.docker("start", flooded.id)

    shown = flooded.plan(flooded.layer / "merged/job/flood")
    done = carry_out(shown, engine.url, Watched(FLOOD // 4, act))
    assert not done.done
    assert "unmounted or mounted anew" in done.why
    gone = done.removed.inodes
    assert 100 < gone < FLOOD // 2
    left = sum(1 for it in (flooded.layer / "diff/job/flood").iterdir())
    assert left == FLOOD - gone
    if again:
        engine.docker("kill", flooded.id)


def test_what_a_container_moves_to_safety_meanwhile_is_safe(engine: Engine) -> None:
    """In the mount of the running container, by the very names that are removed."""
    flooded = Flooded(engine)
    (flooded.layer / "diff/stay").touch()
    engine.docker("start", flooded.id)
    diff, caught = flooded.layer / "diff", 0
    for _ in range(4):
        engine.docker("exec", "--detach", flooded.id, "sh", "-c", RESCUE)
        scenario._until((diff / "planted").exists)
        shown = flooded.plan(flooded.layer / "merged/doomed")
        go = flooded.layer / "merged/go"
        done = carry_out(shown, engine.url, Watched(100, go.touch))
        scenario._until((diff / "over").exists)
        (flooded.layer / "merged/over").unlink()
        saved = 0
        for had in (diff / "had").iterdir():
            for name in had.read_text().split():
                saved += 1
                assert (diff / "safe" / name).exists(), name
        assert saved
        assert done.done is ("moved out of it" not in done.why), done.why
        caught += not done.done
        assert not (diff / "doomed").exists()
    assert caught, "nothing was moved in the very moment"
    engine.docker("kill", flooded.id)


def test_killed_in_mid_removal_the_rest_is_named_and_the_next_run_finishes(engine: Engine) -> None:
    flooded = Flooded(engine)
    for _ in range(2):
        _kill_in_mid_removal(engine, flooded.flood)
        (rest,) = flooded.left()
        assert 0 < sum(1 for _ in rest.iterdir()) < FLOOD
        assert flooded.sees() == 0
        request = Request((bytes(engine.data),), engine.url, offline=False, environ={})
        found = survey(request)
        (problem,) = (it for it in found.stores[0].problems if it.source == str(rest))
        assert "rest of a removal by whodiff" in problem.sentence
        (answer,) = lookup(bytes(rest), found.stores)
        assert answer.layer
        assert (answer.layer.role, answer.layer.owners[0].id) == (Role.WRITABLE, flooded.id)
        assert any("whodiff plan" in it.says for it in answer.layer.evidence)
        shown = flooded.plan(rest)
        assert "rest of a removal in container flooded" in shown.title
        done = carry_out(shown, engine.url)
        assert (done.done, done.why) == (True, "")
        assert not flooded.left()
        # Its own script makes it once more.
        (flooded.layer / "diff/made").unlink()
        assert flooded.sees() == FLOOD


def test_the_daemon_takes_a_rest_along(engine: Engine) -> None:
    flooded = Flooded(engine)
    _kill_in_mid_removal(engine, flooded.flood)
    assert flooded.left()
    engine.stop()
    engine.start()
    assert flooded.sees() == 0
    engine.docker("rm", flooded.id)
    assert not flooded.layer.exists()


def _kill_in_mid_removal(engine: Engine, path: Path) -> None:
    script = [sys.executable, "-c", KILLED, str(engine.data), engine.url, str(path)]
    with subprocess.Popen(script, stdout=subprocess.PIPE) as child:
        assert child.stdout
        try:
            assert child.stdout.readline() == b"in the middle\n"
        finally:
            child.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("full", [False, True])
def test_an_unreferenced_layer_goes_in_one_step_from_every_mount(
    engine: Engine, full: bool
) -> None:
    base = archive.busybox_layer(Path(engine.tools.busybox))
    name = scenario._orphan(engine, base, engine.get("/version")["Arch"])
    layer = engine.overlay2 / name
    for number in range(3000):
        (layer / "diff" / f"f{number}").touch()
    scenario_age(layer)
    token = (layer / "link").read_text()
    looked: list[int] = []

    def look() -> None:
        looked.append((engine.overlay2 / "l" / token).is_symlink())
        looked.append((layer / "diff").exists())

    shown = planned(engine.data, engine.url, layer)
    if full:
        fill(engine)
    done = carry_out(shown, engine.url, Watched(2000, look))
    assert (done.done, done.why) == (True, "")
    assert looked == [False, False]
    assert not layer.exists()


def scenario_age(layer: Path) -> None:
    """As if nobody had touched it for days."""
    for it in (layer / "diff", layer):
        os.utime(it, (0, 0))
