"""The stories whodiff was made for, from the full disk to the free one, on a live engine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.cleanup.engine_calls import EngineCalls
from app.cleanup.execute import execute
from app.cleanup.journal import Journal
from app.cleanup.outcome import Outcome, Progress
from app.cleanup.plan import Plan, Subject, Wish
from app.cleanup.planner import fresh_plan
from app.stores.request import Request
from tests.engine.dockerd import Engine
from tests.engine.small_disk import free, load_base, mount_small, run
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
def full_place(spare_engine: Engine) -> Iterator[Path]:
    """A folder on a filesystem where nothing can be written, for whoever wants one to write."""
    place = spare_engine.base / "full"
    place.mkdir()
    os.system(f"mount -t tmpfs -o nr_inodes=1,size=4k none {place}")
    yield place


def explorer(engine: Engine, full: Path, *options: str, size: tuple[int, int]) -> Terminal:
    """whodiff as its user starts it, where neither /tmp nor the home can take a byte."""
    command = ["app.cli", "--data-root", str(engine.data), "--host", engine.url, *options]
    place = str(full)
    return Terminal(command, size, TMPDIR=place, HOME=place, XDG_RUNTIME_DIR=place)


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_the_folder_that_ate_all_inodes_is_found_and_goes_through_the_mount(
    spare_engine: Engine, full_place: Path, size: tuple[int, int]
) -> None:
    engine = spare_engine
    mount_small(engine, mebibytes=128, inodes=3000)
    engine.start()
    load_base(engine)
    container = run(engine, "arroyo", FLOOD, "--network=none")
    wait(lambda: free(engine)[1] == 0)
    with explorer(engine, full_place, "--sort", "inodes", size=size) as terminal:
        _down_to_folder(terminal, ["arroyo", "writable layer", "tmp", "arroyo", "checkpoints",
                                   "job_7", "checkpoints"])  # fmt: skip
        _delete(terminal, word=container[:12])
        terminal.press("q")
        assert terminal.end() == 0
    assert free(engine)[1] > 2500
    _works_on(engine, FOLDER)


def test_the_queue_that_ate_all_bytes_goes_through_the_mount(
    spare_engine: Engine, full_place: Path
) -> None:
    engine = spare_engine
    mount_small(engine, mebibytes=96, inodes=3000)
    engine.start()
    load_base(engine)
    container = run(engine, "elk", HOARD, "--network=none")
    wait(lambda: free(engine)[0] < MOST_LEFT)
    with explorer(engine, full_place, "--sort", "bytes", size=(80, 24)) as terminal:
        _down_to_folder(terminal, ["elk", "writable layer", "var", "lib", "logstash", "queue"])
        _delete(terminal, word=container[:12])
        terminal.press("q")
        assert terminal.end() == 0
    assert free(engine)[0] > 40 << 20
    _works_on(engine, "var/lib/logstash/queue")


def _down_to_folder(terminal: Terminal, names: list[str]) -> None:
    """Open row after row; each one must be the largest of its level, right below the last."""
    terminal.until(lambda: "arroyo" in terminal.text or "elk" in terminal.text)
    terminal.until(lambda: "scanning" not in terminal.text)
    terminal.press("g")
    for _ in range(4):
        if names[0] in terminal.cursor:
            break
        terminal.press("j")
        terminal.until(lambda: True)
    for name in names:
        terminal.until(lambda name=name: name in terminal.cursor)  # type: ignore[misc]
        if name != names[-1] or terminal.cursor.count(name) > 1:
            terminal.press("\r")
            terminal.press("j")


def _delete(terminal: Terminal, word: str) -> None:
    """``d``, the word, Delete; until the removal says that it is done."""
    terminal.press("d")
    terminal.until(lambda: "frees" in terminal.text.lower())
    raise NotImplementedError(word)


def _works_on(engine: Engine, folder: str) -> None:
    """The container saw the folder go, and can write again."""
    assert engine.docker("inspect", "-f", "{{.State.Running}}", "arroyo") == "true"
    assert engine.docker("exec", "arroyo", "ls", os.path.dirname(f"/{folder}")) == ""
    engine.docker("exec", "arroyo", "sh", "-c", "echo again > /again && cat /again")
    engine.docker("restart", "-t", "0", "arroyo")


# --- the forgotten volumes ------------------------------------------------------------------------


def test_exited_containers_and_forgotten_volumes_go_and_used_ones_stay(
    spare_engine: Engine, tmp_path: Path
) -> None:
    engine = spare_engine
    mount_small(engine, mebibytes=128, inodes=3000)
    engine.start()
    load_base(engine)
    fill = "dd if=/dev/zero of=/data/file bs=1M count=20 2> /dev/null"
    exited = run(engine, "import-old", fill, "--network=none", "-v", "/data")
    run(engine, "import-new", fill, "--network=none", "-v", "forgotten:/data")
    run(engine, "db", f"{fill}; while :; do sleep 1; done", "--network=none", "-v", "pgdata:/data")
    wait(lambda: len(engine.docker("ps", "-q").split()) == 1 and free(engine)[0] < 75 << 20)
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
    assert outcome and outcome.done
    anonymous = plan.offers_volumes[0]
    assert anonymous in engine.docker("volume", "ls", "-q").split()
    _, outcome = remove(Subject.VOLUME, anonymous)
    assert outcome and outcome.done
    id_ = engine.docker("inspect", "-f", "{{.Id}}", "import-new")
    _, outcome = remove(Subject.CONTAINER, id_, volumes=True)
    assert outcome and outcome.done
    assert "forgotten" in engine.docker("volume", "ls", "-q").split()
    plan, outcome = remove(Subject.VOLUME, "forgotten")
    assert outcome and outcome.done
    plan, outcome = remove(Subject.VOLUME, "pgdata")
    assert outcome is None
    assert "db" in {it.name for it in plan.references}
    assert engine.docker("volume", "ls", "-q") == "pgdata"
    assert free(engine)[0] - before > 40 << 20
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) >= 4


def _carry_out(engine: Engine, wish: Wish, log: Path) -> tuple[Plan, Outcome | None]:
    request = Request((bytes(engine.data),), engine.url)
    plan = fresh_plan(wish, request)
    if not plan.allowed:
        return plan, None
    calls = EngineCalls(engine.url)
    renewed = lambda: fresh_plan(wish, request)  # noqa: E731
    return plan, execute(plan, renewed, calls, Progress(), Journal(str(log)))
