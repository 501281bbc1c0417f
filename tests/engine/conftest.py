"""One private Docker engine for the session, or one clear reason why there is none.

With ``WHODIFF_REQUIRE_ENGINE=1`` in the environment, leaving a test out is a failure.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import pytest

from tests import own_namespaces
from tests.conftest import LEFT_OUT
from tests.engine import dockerd, scenario


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out tests of the engine where there can be none."""
    if not item.get_closest_marker("engine"):
        return
    if missing := dockerd.missing_tools():
        leave_out(f"this machine lacks {missing}")
    if not own_namespaces.inside():
        leave_out("the tests may not have namespaces of their own here")


@pytest.fixture(scope="session")
def engine_scenario() -> Iterator[scenario.Scenario]:
    """The engine with everything on it; whoever stops the engine starts it again."""
    with ended_by_sigterm(), _engine() as engine:
        try:
            engine.start()
        except dockerd.DockerdError as failure:
            leave_out(str(failure))
        yield scenario.build(engine)


@pytest.fixture
def spare_engine() -> Iterator[dockerd.Engine]:
    """An empty engine, not started, for one test to break."""
    with ended_by_sigterm(), _engine() as engine:
        yield engine


@pytest.fixture(scope="module")
def module_engine() -> Iterator[dockerd.Engine]:
    """An empty engine, not started, for the tests of one file."""
    with ended_by_sigterm(), _engine() as engine:
        yield engine


def leave_out(reason: str) -> NoReturn:
    """Leave a test out for a reason that is said aloud, or fail where nothing may be left out."""
    if os.environ.get("WHODIFF_REQUIRE_ENGINE") == "1":
        pytest.fail(f"engine tests are required here, but {reason}", pytrace=False)
    pytest.skip(f"{LEFT_OUT}{reason}")


@contextmanager
def _engine() -> Iterator[dockerd.Engine]:
    engine = dockerd.Engine(dockerd.find_tools())
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the run as Ctrl-C does, so that the engine is taken away."""

    def interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
