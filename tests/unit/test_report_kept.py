"""The report with figures of an earlier run: the same words, and less to walk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from app import cli, commands
from app.scan.job import ScanJob
from app.scan.walk import Fence, Unit
from tests.unit.small_root import SmallRoot, make_small_root

FORMS = pytest.mark.parametrize(
    "form", [("report",), ("report", "--json"), ("report", "--hot"), ("report", "--hot", "--json")]
)


class Host:
    """A data root, and how often which units were walked."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root: SmallRoot = make_small_root(path)
        self.images = {bytes(it.directory.path) for it in (self.root.base, self.root.top)}
        self.walked: set[bytes] = set()
        self._capsys = capsys

    def scan(self, units: Sequence[Unit], fence: Fence) -> ScanJob:
        self.walked = {unit.path for unit in units}
        return ScanJob(units, fence)

    def run(self, *arguments: str) -> str:
        """Run a command; its stdout."""
        status = cli.main([*arguments, "--offline", "--data-root", str(self.root.path)])
        out, err = self._capsys.readouterr()
        assert (status, err) == (0, ""), "a script is told nothing but the answer"
        return out


@pytest.fixture
def host(
    tmp_path: Path,
    base: Path,
    settled: None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Host:
    host = Host(tmp_path / "docker", capsys)
    monkeypatch.setattr(commands, "ScanJob", host.scan)
    # Others fill this machine's disk while the test runs.
    monkeypatch.setattr(commands, "headrooms", lambda _stores: {})
    return host


@FORMS
def test_the_report_is_the_same_with_kept_figures(host: Host, form: tuple[str, ...]) -> None:
    first = host.run(*form)
    assert host.images < host.walked
    assert host.run(*form) == first
    assert host.walked
    assert not host.images & host.walked
    assert host.run(*form, "--no-cache") == first
    assert host.images < host.walked


def test_a_layer_that_is_another_one_now_is_walked(host: Host) -> None:
    before = host.run("report")
    (host.root.base.directory.diff / "by-hand").write_bytes(b"x" * 100_000)
    assert host.run("report") != before
    assert host.images & host.walked == {bytes(host.root.base.directory.path)}


def test_without_the_cache_nothing_is_written(host: Host, base: Path) -> None:
    host.run("report", "--no-cache")
    assert not list(base.iterdir())
    host.run("report")
    assert list(base.iterdir())


def test_which_and_du_keep_nothing(host: Host, base: Path) -> None:
    host.run("which", host.root.base.directory.name)
    cli.main(["du", str(host.root.path)])
    assert not list(base.iterdir())
