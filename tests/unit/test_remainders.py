"""What is left of a removal that did not come to its end is named, and finished."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.cleanup.execute.engine import EngineCalls
from app.cleanup.execute.executor import execute
from app.cleanup.execute.journal import Journal
from app.cleanup.execute.outcome import Progress
from app.cleanup.plan.model import Action
from app.demo.content import put_text
from app.model import Role
from app.stores.remainders import NAME, new_name
from tests.unit.proc_stub import bind
from tests.unit.small_root import SmallRoot, make_small_root
from tests.unit.test_planner import plan, survey_of


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallRoot:
    """A data root that no daemon of this machine serves."""
    monkeypatch.setattr("app.cleanup.plan.context.serving", lambda _host, _root: [])
    return make_small_root(tmp_path / "docker")


def left(directory: Path) -> Path:
    rest = directory / os.fsdecode(new_name())
    put_text(rest / "deep/file", "x")
    return rest


def test_a_name_is_nobody_elses() -> None:
    names = {new_name() for _ in range(1000)}
    assert len(names) == 1000
    assert all(NAME.fullmatch(it) for it in names)
    assert max(map(len, names)) < 32


@pytest.mark.parametrize("where", ["container", "orphan", "tmp"])
def test_it_is_named_and_finished(root: SmallRoot, where: str) -> None:
    home = {
        "container": root.container.layer.path,
        "orphan": root.orphan.path,
        "tmp": root.path / "tmp",
    }[where]
    home.mkdir(exist_ok=True)
    rest = left(home)
    found = survey_of(root)
    (problem,) = (it for it in found.stores[0].problems if it.source == str(rest))
    assert "rest of a removal by whodiff" in problem.sentence
    assert not problem.hides_owners
    answer = plan(root, rest, survey=found)
    assert answer.allowed, answer.refused_because
    assert "rest of a removal in" in answer.title
    (step,) = answer.steps
    assert step.action is Action.ERASE
    assert step.place
    before = sorted(it.name for it in home.iterdir() if it != rest)
    done = execute(
        answer, lambda: answer, EngineCalls("unix:///nowhere"), Progress(), Journal(None)
    )
    assert (done.done, done.why) == (True, "")
    assert sorted(it.name for it in home.iterdir()) == before


def test_the_role_and_the_owner_of_its_layer_stay(root: SmallRoot) -> None:
    name = root.container.layer.name
    bare = survey_of(root).stores[0].layers[name]
    rest = left(root.container.layer.path)
    layer = survey_of(root).stores[0].layers[name]
    assert (layer.role, layer.owners) == (bare.role, bare.owners)
    assert layer.role is Role.WRITABLE
    assert rest.name in layer.note


@pytest.mark.parametrize("where", ["container", "tmp"])
def test_a_part_of_it_is_refused(root: SmallRoot, where: str) -> None:
    home = root.container.layer.path if where == "container" else root.path / "tmp"
    home.mkdir(exist_ok=True)
    rest = left(home)
    answer = plan(root, rest / "deep")
    assert "rest of a removal" in answer.refused_because
    assert str(rest) in answer.instead


def test_it_stays_where_something_is_mounted_in_it(root: SmallRoot) -> None:
    rest = left(root.container.layer.path)
    answer = plan(root, rest, mounts=(bind(f"{rest}/deep", "/srv"),))
    assert "mounted" in answer.refused_because


def test_a_name_that_only_begins_so_is_none(root: SmallRoot) -> None:
    rest = left(root.container.layer.path)
    other = rest.rename(f"{rest}-1")
    assert not any(it.source == str(other) for it in survey_of(root).stores[0].problems)
    assert not plan(root, other).allowed
