"""``whodiff plan`` as its users meet it: answers, exit statuses, JSON for scripts."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest

from app.demo.containers_story import HOSTILE_NAME
from app.demo.sample import DANGLING
from tests.unit.commands import Run, layer_of, on

KEYS = {
    "path",
    "allowed",
    "refused_because",
    "action",
    "command",
    "frees",
    "confirmation",
    "consequences",
    "references",
}


@pytest.fixture
def plan(run: Run) -> Run:
    """``plan`` with these arguments: status, stdout, stderr."""
    return partial(run, "plan")


def test_a_refusal_is_an_answer(demo_root: Path, plan: Run) -> None:
    layer = demo_root / "overlay2" / layer_of(demo_root, "arroyo")
    status, out, _ = plan(layer, *on(demo_root))
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == str(layer)
    assert lines[1].split() == ["remove", "container", "arroyo"]
    assert "no: only the engine can remove container arroyo" in lines[2]
    assert lines[3].startswith("  instead")


def test_names_do_as_well_as_ids(demo_root: Path, plan: Run) -> None:
    for name, title in (("arroyo", "container arroyo"), ("shop_pgdata", "volume shop_pgdata")):
        status, out, _ = plan(name, "--read-only", *on(demo_root))
        assert status == 0
        assert out.splitlines()[1].split() == ["remove", *title.split()]


def test_json_has_the_promised_keys(demo_root: Path, plan: Run) -> None:
    status, out, _ = plan("--json", demo_root / "overlay2/l" / DANGLING, *on(demo_root))
    assert status == 0
    (answer,) = json.loads(out)
    assert answer.keys() >= KEYS
    assert answer["allowed"] is True
    assert answer["action"] == "erase"
    assert answer["command"] == f"rm -f -- {demo_root}/overlay2/l/{DANGLING}"
    assert answer["frees"]["inodes"] == 1
    assert answer["confirmation"] == "plain"
    _, out, _ = plan("--json", demo_root / "image", *on(demo_root))
    (refused,) = json.loads(out)
    assert (refused["allowed"], refused["action"], refused["command"]) == (False, None, None)
    assert refused["refused_because"]
    assert refused["instead"]


def test_what_matches_nothing_is_status_one(demo_root: Path, plan: Run) -> None:
    status, out, error = plan("ffffffffffff", *on(demo_root))
    assert (status, out) == (1, "")
    assert "begins with" in error
    status, out, error = plan(demo_root / "image", "/etc/passwd", *on(demo_root))
    assert status == 1
    assert "lies outside" in error
    assert "remove" in out


def test_no_data_root_is_status_two(tmp_path: Path, plan: Run) -> None:
    status, _, error = plan("x", *on(tmp_path / "none"))
    assert status == 2
    assert error.startswith("whodiff: ")


def test_hostile_names_reach_the_terminal_only_as_letters(demo_root: Path, plan: Run) -> None:
    uploads = demo_root / "overlay2" / layer_of(demo_root, "shop-web-1") / "diff/srv/shop/uploads"
    hostile = os.path.join(bytes(uploads), HOSTILE_NAME)
    assert os.path.lexists(hostile)
    status, out, _ = plan(os.fsdecode(hostile), *on(demo_root))
    assert status == 0
    assert "command" in out
    assert all(line.isprintable() for line in out.splitlines())


def test_a_file_of_a_stopped_container(demo_root: Path, plan: Run) -> None:
    for name in ("nightly-report", "session-cache", "shop-worker-1"):
        diff = demo_root / "overlay2" / layer_of(demo_root, name) / "diff"
        entries = sorted(diff.iterdir())
        if entries:
            break
    status, out, _ = plan("--json", entries[0], *on(demo_root))
    (answer,) = json.loads(out)
    assert status == 0
    assert answer["allowed"], answer
    assert answer["action"] == "erase"
    assert answer["frees"]["inodes"] > 0
