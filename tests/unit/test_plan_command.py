"""``whodiff plan`` as its users meet it: answers, exit statuses, JSON for scripts."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest

from app.demo.containers_story import HOSTILE_NAME
from app.demo.ids import hex_id
from app.demo.sample import DANGLING
from app.demo.volumes import add_volume
from tests.unit.commands import Run, layer_of, on
from tests.unit.small_root import make_small_root
from tests.unit.store_files import remove

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
def plan(run: Run, on_the_machine: None) -> Run:
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


def test_a_file_in_the_working_directory_hides_no_name(
    demo_root: Path, plan: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop_pgdata").mkdir()
    status, out, _ = plan("shop_pgdata", *on(demo_root))
    assert (status, out.splitlines()[1].split()) == (0, ["remove", "volume", "shop_pgdata"])
    status, out, error = plan("./shop_pgdata", *on(demo_root))
    assert (status, out) == (1, "")
    assert "lies outside" in error


def test_what_the_report_and_docker_print_can_be_typed(tmp_path: Path, plan: Run) -> None:
    small = make_small_root(tmp_path / "docker")
    name = hex_id("anonymous")
    add_volume(small.path, name)
    for asked, title in (
        (name[:12], f"anonymous volume {name}"),
        ("/web", "container web"),
        ("docker.io/library/app:1", "image app:1 (+1 tag)"),
    ):
        status, out, _ = plan(asked, *on(small.path))
        assert (status, out.splitlines()[1].split(None, 1)[1]) == (0, title)


def test_a_path_behind_a_containers_link_is_planned_in_its_layer(tmp_path: Path, plan: Run) -> None:
    small = make_small_root(tmp_path / "docker")
    (small.container.layer.diff / "evil").symlink_to(small.path / "volumes/pgdata/_data")
    link = tmp_path / "var-lib-docker"
    link.symlink_to(small.path)
    asked = link / "overlay2" / small.container.layer.name / "diff/evil"
    _, out, _ = plan(asked, *on(small.path))
    assert "in container web" in out
    assert "volume" not in out.splitlines()[1]


def test_what_is_gone_is_told_and_not_planned(tmp_path: Path, plan: Run) -> None:
    small = make_small_root(tmp_path / "docker")
    remove(small.container.layer.path)
    for asked in (small.container.layer.path, small.container.layer.name[:12]):
        status, out, error = plan(asked, *on(small.path))
        assert (status, out) == (1, "")
        assert "its directory is gone" in error


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
