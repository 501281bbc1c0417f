"""The stories whodiff was made for, from the full disk to the free one, on a live engine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from app.cleanup.execute.engine import EngineCalls
from app.cleanup.execute.executor import execute
from app.cleanup.execute.journal import Journal
from app.cleanup.execute.outcome import Outcome, Progress
from app.cleanup.plan.model import Plan, Subject, Wish
from app.cleanup.plan.planner import fresh_plan
from app.discovery.request import Request
from tests.engine.dockerd import Engine
from tests.engine.small_disk import MIB, free, load_base, mount_small, run
from tests.tui.pty import Terminal

pytestmark = pytest.mark.engine

FOLDER = "tmp/arroyo/checkpoints/job_7/checkpoints"
FLOOD = f"""
mkdir -p /{FOLDER} && cd /{FOLDER}
i=0; while touch checkpoint-$i; do i=$((i+1)); done 2> /dev/null
while :; do sleep 1; done"""
HOARD = """
mkdir -p /var/lib/logstash/queue && cd /var/lib/logstash/queue
dd if=/dev/zero of=page.0 bs=65536 2> /dev/null; dd if=/dev/zero of=page.1 bs=1 2> /dev/null
while :; do sleep 1; done"""
MOST_LEFT = 4096


def wait(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Until it is so. Raises AssertionError."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.1)


@pytest.fixture
def full_place(spare_engine: Engine) -> Path:
    """A folder where nothing can be written; it goes with the engine."""
    place = spare_engine.base / "full"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", "nr_inodes=1,size=4k"]
    subprocess.run(["mount", *options, "none", str(place)], check=True)
    return place


def on_small_disk(engine: Engine, mebibytes: int) -> Engine:
    """The engine at work on a disk of that size and 3,000 inodes, with the one image it needs."""
    mount_small(engine, mebibytes=mebibytes, inodes=3000)
    engine.start()
    load_base(engine)
    return engine


def explorer(engine: Engine, full: Path, *options: str, size: tuple[int, int]) -> Terminal:
    """whodiff as its user starts it, where neither /tmp nor the home can take a byte."""
    command = ["app.cli", "--data-root", str(engine.data), "--host", engine.url, *options]
    place = str(full)
    return Terminal(command, size, TMPDIR=place, HOME=place, XDG_RUNTIME_DIR=place)


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_the_folder_that_ate_all_inodes_is_found_and_goes_through_the_mount(
    spare_engine: Engine, full_place: Path, size: tuple[int, int]
) -> None:
    engine = on_small_disk(spare_engine, mebibytes=128)
    container = run(engine, "arroyo", FLOOD, "--network=none")
    wait(lambda: free(engine)[1] == 0)
    with explorer(engine, full_place, "--sort", "inodes", size=size) as terminal:
        _down_to_folder(terminal, ["containers", "arroyo", "writable layer", "checkpoints"])
        _delete(terminal, word=container[:12])
        terminal.press("q")
        assert terminal.end() == 0
    assert free(engine)[1] > 2500
    _works_on(engine, "arroyo", FOLDER)


def test_the_queue_that_ate_all_bytes_goes_through_the_mount(
    spare_engine: Engine, full_place: Path
) -> None:
    engine = on_small_disk(spare_engine, mebibytes=96)
    container = run(engine, "elk", HOARD, "--network=none")
    wait(lambda: free(engine)[0] < MOST_LEFT)
    with explorer(engine, full_place, "--sort", "bytes", size=(80, 24)) as terminal:
        _down_to_folder(terminal, ["containers", "elk", "writable layer", "queue"])
        _delete(terminal, word=container[:12])
        terminal.press("q")
        assert terminal.end() == 0
    assert free(engine)[0] > 40 * MIB
    _works_on(engine, "elk", "var/lib/logstash/queue")


def _down_to_folder(terminal: Terminal, names: list[str]) -> None:
    """Enter on the guilty one, which is on top, and again on the first row of each level below.

    A directory with nothing in it but one directory is one row with both names.
    """
    terminal.until(lambda: names[0] in terminal.text and "scanned" in terminal.text)
    terminal.press("g")
    for _ in range(2 * len(names)):
        if re.search(rf"{names[-1]}\s", terminal.cursor):
            return
        key = "\r" if any(name in terminal.cursor for name in names) else "j"
        terminal.step(key, lambda: terminal.cursor)
    raise AssertionError(terminal.text)


def _delete(terminal: Terminal, word: str) -> None:
    """``d``, the word, Delete; until the removal says what came back."""
    terminal.press("d")
    terminal.until(lambda: "▶[ Cancel ]" in terminal.text)
    assert "merged" in terminal.text, "through the mount"
    assert f"type {word}" in terminal.text
    terminal.press("\t")
    terminal.until(lambda: "▶[ Cancel ]" not in terminal.text)
    terminal.press(word)
    terminal.until(lambda: "[ Delete ]" in terminal.text)
    terminal.press("\r")
    terminal.until(lambda: "▶[ Delete ]" in terminal.text)
    terminal.press("\r")
    terminal.until(lambda: "filesystem counts" in terminal.text)
    assert "removed" in terminal.text
    terminal.press("\r")
    terminal.until(lambda: "d Delete" in terminal.display[-1])
    terminal.until(lambda: "is gone" not in terminal.text)


def _works_on(engine: Engine, name: str, folder: str) -> None:
    """The container runs on, saw the folder go, and can write again; it starts anew as well."""
    assert engine.docker("inspect", "-f", "{{.State.Running}}", name) == "true"
    assert engine.docker("exec", name, "ls", os.path.dirname(f"/{folder}")) == ""
    engine.docker("exec", name, "sh", "-c", "echo again > /again && cat /again")


# --- the forgotten volumes ------------------------------------------------------------------------


def test_exited_containers_and_forgotten_volumes_go_and_used_ones_stay(
    spare_engine: Engine, tmp_path: Path
) -> None:
    engine = on_small_disk(spare_engine, mebibytes=128)
    fill = "dd if=/dev/zero of=/data/file bs=1M count=20 2> /dev/null"
    exited = run(engine, "import-old", fill, "--network=none", "-v", "/data")
    run(engine, "import-new", fill, "--network=none", "-v", "forgotten:/data")
    run(engine, "db", f"{fill}; while :; do sleep 1; done", "--network=none", "-v", "pgdata:/data")
    files = engine.data / "volumes"
    wait(lambda: sum(it.stat().st_size for it in files.glob("*/_data/file")) == 60 * MIB)
    wait(lambda: len(engine.docker("ps", "-q").split()) == 1)
    os.sync()
    before = free(engine)[0]
    log = tmp_path / "journal"

    def remove(subject: Subject, id_: str, volumes: bool = False) -> tuple[Plan, Outcome | None]:
        wish = Wish(subject, bytes(engine.data), id=id_, anonymous_volumes=volumes)
        return _carry_out(engine, wish, log)

    plan, outcome = remove(Subject.VOLUME, "forgotten")
    assert "import-new" in plan.refused_because + str(plan.references)
    assert outcome is None
    plan, outcome = remove(Subject.CONTAINER, exited)
    assert plan.offers_volumes
    assert outcome
    assert outcome.done
    anonymous = plan.offers_volumes[0]
    assert anonymous in engine.docker("volume", "ls", "-q").split()
    _, outcome = remove(Subject.VOLUME, anonymous)
    assert outcome
    assert outcome.done
    id_ = engine.docker("inspect", "-f", "{{.Id}}", "import-new")
    _, outcome = remove(Subject.CONTAINER, id_, volumes=True)
    assert outcome
    assert outcome.done
    assert "forgotten" in engine.docker("volume", "ls", "-q").split()
    plan, outcome = remove(Subject.VOLUME, "forgotten")
    assert outcome
    assert outcome.done
    plan, outcome = remove(Subject.VOLUME, "pgdata")
    assert outcome is None
    assert "db" in {it.name for it in plan.references}
    assert engine.docker("volume", "ls", "-q") == "pgdata"
    assert free(engine)[0] - before >= 40 * MIB
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) >= 4


def _carry_out(engine: Engine, wish: Wish, log: Path) -> tuple[Plan, Outcome | None]:
    request = Request((bytes(engine.data),), engine.url)
    plan = fresh_plan(wish, request)
    if not plan.allowed:
        return plan, None
    calls, renew = EngineCalls(engine.url), partial(fresh_plan, wish, request)
    return plan, execute(plan, renew, calls, Progress(), Journal(str(log)))
