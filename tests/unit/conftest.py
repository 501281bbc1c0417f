"""Fixtures that the tests of the commands and of the lookup share."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from app import cli
from app.demo import containers_story
from app.demo.ids import hex_id, link_token
from app.demo.layout import add_link, mark_mounted
from app.demo.sample import build_sample
from app.discovery.roots import Discovery, discover
from app.engine.inventory import EngineInfo
from app.model import Store
from tests.unit import captured
from tests.unit.commands import Run
from tests.unit.small_root import SmallRoot, make_small_root


@pytest.fixture(scope="session")
def demo_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's data root with a smaller flood. Shared: nobody changes anything in it."""
    root = tmp_path_factory.mktemp("demo") / "docker"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(containers_story, "CHECKPOINT_FOLDERS", 40)
        build_sample(root)
    return root


@pytest.fixture
def captured_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A captured host is a machine of its own: its containerd is not one of who runs the tests."""
    inside = os.fsencode(captured.ROOT)

    def on_it(roots: Sequence[bytes], engine: EngineInfo | None) -> Discovery:
        tops = [root.removesuffix(inside) for root in roots if root.endswith(inside)]
        return discover(roots, engine, *tops[:1])

    monkeypatch.setattr("app.survey.discover", on_it)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command in this process: status, stdout, stderr."""

    def run_it(*arguments: str | Path) -> tuple[int, str, str]:
        status: object
        try:
            status = cli.main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
        assert isinstance(status, int)
        return (status, *capsys.readouterr())

    return run_it


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallRoot:
    """A small root whose container runs, with a link in ``l/`` that leads to nothing."""
    made = make_small_root(tmp_path_factory.mktemp("lookup") / "docker")
    mark_mounted(made.container.layer)
    add_link(made.path, link_token("gone"), hex_id("gone"))
    return made


@pytest.fixture(scope="module")
def store(small: SmallRoot) -> Store:
    """What the disk alone says of it."""
    return small.store(time.time())
