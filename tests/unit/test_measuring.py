"""What a rescan walks, and what it leaves alone: counted on a real tree."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.host.overlays import LOWER, UPPER
from app.model import Kind, Reference, Role, Store
from app.scan import cache as kept
from app.scan.cache import Kept
from app.scan.fence import read_fence
from app.scan.fingerprint import Mark, marks_of
from app.stores.drivers.overlay2.mounts import reason
from app.usage.figures import Figures
from app.usage.growth import Growths
from app.usage.session import Measuring, Tally
from app.usage.units import unchanging, units_of
from tests.unit.small_root import SmallRoot, make_small_root

PATIENCE = 120.0
MOUNTED = Reference(Kind.MOUNT, "/m", "/m", reason(UPPER))
READ = Reference(Kind.MOUNT, "/m", "/m", reason(LOWER))


class Host:
    """A data root, and the measuring of it without a screen."""

    def __init__(self, path: Path) -> None:
        self.root: SmallRoot = make_small_root(path)
        self.figures, self.growths = Figures(), Growths()
        self.measuring = Measuring(self.figures, self.growths, Kept())
        self.walked: list[int] = []

    @property
    def store(self) -> Store:
        return self.root.store(time.time())

    def marks(self) -> dict[bytes, Mark]:
        return marks_of(unchanging(self.store), read_fence())

    def want(self) -> None:
        self.measuring.want(units_of(self.store, ()), self.marks())
        self.finish()

    def finish(self) -> int:
        """Let the job end; returns the entries that it has walked."""
        end = time.monotonic() + PATIENCE
        while self.measuring.active and time.monotonic() < end:
            self.measuring.poll()
            time.sleep(0.005)
        assert not self.measuring.active
        self.measuring.kept.keep(self.measuring.hand_over(), read_fence())
        assert self.measuring.news
        return self.measuring.news.entries

    def rescan(self, *, all_anew: bool = False) -> int:
        """Everything once more; returns the entries walked."""
        self.measuring.renew(all_anew)
        self.want()
        assert self.measuring.news
        return self.measuring.news.entries


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(kept, "SETTLED", 0.0)
    host = Host(tmp_path / "docker")
    for layer in (host.root.base, host.root.top):
        for number in range(1000):
            (layer.directory.diff / f"file-{number}").touch()
    return host


def test_only_committed_layers_cannot_change(host: Host) -> None:
    layers = host.store.layers
    closed = {path.rpartition(b"/")[2].decode() for path in unchanging(host.store)}
    assert closed == {host.root.base.directory.name, host.root.top.directory.name}
    assert {layers[name].role for name in closed} == {Role.IMAGE}


@pytest.mark.parametrize(
    "change",
    [{"role": Role.UNKNOWN}, {"references": (MOUNTED,)}, {"note": "odd"}, {"active": False}],
)
def test_what_is_unusual_can_change(host: Host, change: dict[str, Any]) -> None:
    name = host.root.base.directory.name
    store = host.store
    odd = replace(store.layers[name], **change)
    changed = replace(store, layers={**store.layers, name: odd})
    assert len(unchanging(changed)) == len(unchanging(store)) - 1


def test_what_a_running_container_stands_on_cannot_change(host: Host) -> None:
    name, store = host.root.base.directory.name, host.store
    used = replace(store.layers[name], mounts=(b"/m",), references=(READ,))
    changed = replace(store, layers={**store.layers, name: used})
    assert unchanging(changed) == unchanging(store)


def test_a_rescan_walks_only_what_can_have_changed(host: Host) -> None:
    host.want()
    everything = host.measuring.news
    assert everything
    assert everything.entries > 2000
    assert host.measuring.tally == Tally(everything.units_total, 0)
    figures = {path: result.usage for path, result in host.figures.results.items()}
    assert host.rescan() < 1000
    assert host.measuring.tally == Tally(everything.units_total - 2, 2)
    assert {path: result.usage for path, result in host.figures.results.items()} == figures


def test_after_one_layer_changed_only_that_one_is_walked_too(host: Host) -> None:
    host.want()
    host.rescan()
    (host.root.base.directory.diff / "by-hand").touch()
    before = host.figures.results[bytes(host.root.base.directory.path)].usage.inodes
    assert 1000 <= host.rescan() < 2000
    assert host.measuring.tally.kept == 1
    after = host.figures.results[bytes(host.root.base.directory.path)].usage.inodes
    assert after == before + 1


def test_everything_anew_walks_everything(host: Host) -> None:
    host.want()
    assert host.rescan(all_anew=True) > 2000
    assert host.measuring.tally.kept == 0
    assert host.rescan() < 1000, "and that is kept again"


def test_what_is_no_image_layer_any_more_is_walked(host: Host) -> None:
    host.want()
    host.rescan()
    host.measuring.want(units_of(host.store, ()), {})
    assert host.finish() > 2000


def test_a_row_measured_again(host: Host) -> None:
    host.want()
    layer, mine = bytes(host.root.top.directory.path), bytes(host.root.container.layer.path)
    assert host.measuring.ask([layer, mine, b"/gone"]) == (layer,)
    assert host.measuring.active
    host.measuring.again(marks_of([layer], read_fence()))
    assert host.finish() < 1000
    assert host.measuring.tally == Tally(1, 1)


def test_what_was_asked_for_before_everything_is_forgotten(host: Host) -> None:
    host.want()
    layer = bytes(host.root.top.directory.path)
    host.measuring.ask([layer])
    host.measuring.renew(False)
    host.measuring.again(marks_of([layer], read_fence()))
    assert not host.measuring.active
    host.want()
    assert host.measuring.tally.kept == 2


def test_names_that_could_not_be_read_again_leave_everything_as_it_was(host: Host) -> None:
    host.want()
    tally, mine = host.measuring.tally, bytes(host.root.container.layer.path)
    host.measuring.renew(True)
    assert host.measuring.renewing
    host.measuring.not_renewed()
    assert not host.measuring.renewing
    assert host.measuring.tally == tally
    host.measuring.ask([mine])
    assert host.measuring.again({})
    assert 0 < host.finish() < 1000
    host.want()
    assert host.measuring.tally == Tally(1, 0), "no new unit, nothing is measured anew"


def test_what_was_asked_for_is_dropped_by_a_stop(host: Host) -> None:
    host.want()
    mine = bytes(host.root.container.layer.path)
    host.measuring.ask([mine])
    assert host.measuring.stop()
    assert not host.measuring.active
    assert not host.measuring.again({})
    assert not host.measuring.stop(), "there is nothing more to stop"
    host.measuring.renew(False)
    assert host.measuring.stop()
    assert not host.measuring.renewing


def test_a_watch_looks_at_what_can_change_alone(host: Host) -> None:
    host.want()
    mine = bytes(host.root.container.layer.path)
    for number in range(50):
        (host.root.container.layer.diff / f"flood-{number}").touch()
    host.measuring.look_again()
    assert host.measuring.watching
    assert host.finish() < 1000
    growth = host.growths.of((mine,))
    assert growth
    assert growth.inodes == 50
    assert host.growths.of((bytes(host.root.base.directory.path),)) is None


def test_old_figures_stay_until_there_are_new_ones(host: Host) -> None:
    host.want()
    figures = {path: result.usage for path, result in host.figures.results.items()}
    host.measuring.renew(True)
    assert {path: result.usage for path, result in host.figures.results.items()} == figures
    host.measuring.want(units_of(host.store, ()), host.marks())
    host.measuring.stop()
    host.finish()
    assert {path: result.usage for path, result in host.figures.results.items()} == figures
