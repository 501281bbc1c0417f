"""What goes and what stays of a container's logs, by its logger."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.cleanup.plan.model import Action
from app.demo.containers import write_log
from app.demo.content import put_text
from app.discovery.request import Survey
from app.model import ImageStore
from tests.unit.small_root import SmallRoot, make_small_root
from tests.unit.test_planner import plan, with_state


@pytest.fixture
def root(tmp_path: Path) -> SmallRoot:
    """Its container has the ``local`` logger, and has no other log."""
    made = make_small_root(tmp_path / "docker")
    made.container.log.unlink(missing_ok=True)
    return made


def local(root: SmallRoot) -> Path:
    return root.container.directory / "local-logs"


@pytest.mark.parametrize("of", ["container", "local-logs"])
def test_the_current_local_log_stays_and_is_named(root: SmallRoot, of: str) -> None:
    put_text(local(root) / "container.log.1.gz", "x")
    chosen = root.container.directory if of == "container" else local(root)
    answer = plan(root, chosen, survey=with_state(root, "running"))
    assert [step.action for step in answer.steps] == [Action.ERASE]
    (words,) = (it for it in answer.consequences if "stays" in it)
    assert "local-logs/container.log stays" in words
    assert "format of its own" in words


def test_only_what_was_chosen_is_said_to_stay(root: SmallRoot) -> None:
    rotated = local(root) / "container.log.1.gz"
    put_text(rotated, "x")
    put_text(root.container.directory / "container-cached.log", "x")
    assert not any("stays" in it for it in plan(root, rotated).consequences)
    below, whole = plan(root, local(root)), plan(root, root.container.directory)
    assert [sum("stays" in it for it in each.consequences) for each in (below, whole)] == [1, 2]


def test_a_local_log_that_was_never_rotated_is_refused_with_its_name(root: SmallRoot) -> None:
    answer = plan(root, root.container.directory)
    assert "local-logs/container.log" in answer.refused_because
    assert "format of its own" in answer.refused_because
    assert "container web" in answer.instead
    (local(root) / "container.log").unlink()
    assert "no log" in plan(root, root.container.directory).refused_because


def test_only_a_json_log_is_said_to_grow_without_a_limit(root: SmallRoot) -> None:
    put_text(local(root) / "container.log.1.gz", "x")
    assert not any("max-size" in it for it in plan(root, local(root)).consequences)
    log = root.container.log
    write_log(log, 100_000, rotated=1)
    for asked in (log, Path(f"{log}.1"), root.container.directory):
        assert any("max-size" in it for it in plan(root, asked).consequences)


@pytest.mark.parametrize(
    ("version", "store", "hangs"),
    [
        ("20.10.24+dfsg1", ImageStore.GRAPHDRIVER, False),
        ("28.5.1", ImageStore.CONTAINERD, False),
        ("29.0.0-rc.1", ImageStore.GRAPHDRIVER, True),
        ("v29.9.0-e29", ImageStore.CONTAINERD, True),
        ("100.0.0", ImageStore.GRAPHDRIVER, True),
        ("", ImageStore.GRAPHDRIVER, False),
        ("", ImageStore.CONTAINERD, True),
        ("dev", ImageStore.CONTAINERD, True),
        ("library-import", ImageStore.GRAPHDRIVER, False),
    ],
)
@pytest.mark.parametrize("state", ["running", "exited"])
def test_docker_29_is_said_to_hang_on_an_emptied_log(
    root: SmallRoot, version: str, store: ImageStore, hangs: bool, state: str
) -> None:
    put_text(root.container.log, "a line\n")
    found = with_state(root, state)
    (before,) = found.stores
    changed = replace(before.root, engine_version=version, image_store=store)
    answer = plan(
        root, root.container.log, survey=Survey((replace(before, root=changed),), (), final=True)
    )
    assert answer.allowed, answer.refused_because
    said = [words for words in answer.consequences if "--tail" in words]
    assert bool(said) == (hangs and state == "running")
    assert all("restart" in words and "max-size" in words for words in said)


def test_a_rotated_log_hangs_nobody(root: SmallRoot) -> None:
    rotated = Path(f"{root.container.log}.1")
    put_text(rotated, "a line\n")
    (before,) = with_state(root, "running").stores
    changed = replace(before.root, engine_version="29.0.0")
    answer = plan(root, rotated, survey=Survey((replace(before, root=changed),), (), final=True))
    assert answer.allowed, answer.refused_because
    assert not any("--tail" in words for words in answer.consequences)


def test_a_file_that_is_no_log_is_not_called_one(root: SmallRoot) -> None:
    answer = plan(root, root.container.directory / "config.v2.json")
    assert "Docker's own" in answer.refused_because
    assert [it.why for it in answer.references] == ["this is one of its files"]
    (log,) = plan(root, local(root) / "container.log").references
    assert log.why == "this is its log"
