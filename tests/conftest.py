"""Fixtures that every kind of test shares."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from app.host import mountinfo
from app.host import pid_namespace as machine
from app.scan import cache as kept
from app.scan import cache_file as kept_file
from tests import own_namespaces

# Speed is measured in `make bench`, never in a test. In CI the same examples run every time.
SLOW_IS_FINE = [HealthCheck.too_slow]
settings.register_profile("here", deadline=None, suppress_health_check=SLOW_IS_FINE)
settings.register_profile("ci", deadline=None, suppress_health_check=SLOW_IS_FINE, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

_MEMORY = "/dev/shm"
#: How the reason of a test begins that was left out for want of an engine.
LEFT_OUT = "no engine: "
ARCHIVES = Path(__file__).parent / "captures"


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main() -> int | None:
    """Root's tests, and the workers that they start, run in namespaces of their own."""
    return own_namespaces.enter()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say aloud which tests of the engine were left out, and why."""
    reasons = {
        str(report.longrepr[2]).removeprefix(f"Skipped: {LEFT_OUT}")
        for report in terminalreporter.stats.get("skipped", ())
        if isinstance(report.longrepr, tuple) and LEFT_OUT in report.longrepr[2]
    }
    for reason in sorted(reasons):
        terminalreporter.write_line(f"engine tests left out: {reason}", yellow=True)


def _unpack(archive: Path, target: Path) -> None:
    """Unpack with modes and symbolic links; device nodes (whiteouts) only where root may."""
    with tarfile.open(archive) as tar:
        for member in tar:
            if (member.ischr() or member.isblk()) and os.geteuid() != 0:
                continue
            tar.extract(member, target, set_attrs=True, filter="fully_trusted")


@pytest.fixture(scope="session")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two real hosts' data roots, unpacked once: ``overlay2/`` and ``containerd/``."""
    base = tmp_path_factory.mktemp("captures")
    for name in ("overlay2", "containerd"):
        _unpack(ARCHIVES / f"engine29-{name}.tar.xz", base / name)
    return base


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place in memory for kept figures, as /run is one on most hosts."""
    found = mountinfo.mount_of(os.fsencode(_MEMORY), mountinfo.read())
    if found is None or found.fstype != "tmpfs":
        pytest.skip(f"needs a tmpfs at {_MEMORY}")
    path = Path(tempfile.mkdtemp(prefix="whodiff-run-", dir=_MEMORY))
    monkeypatch.setattr(kept_file, "base_directory", lambda: bytes(path))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The PID namespace of the tests counts as the machine's: what is not seen is not there."""
    monkeypatch.setattr(machine, "_MACHINE", os.fsencode(os.readlink("/proc/self/ns/pid")))


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made a moment ago is old enough to be kept."""
    monkeypatch.setattr(kept, "SETTLED", 0.0)
