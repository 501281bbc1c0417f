"""The explorer's tree over a containerd image store: complete, disjoint, and with names at once."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from app.model import Store, Usage
from app.outline.by_directory import by_directory
from app.outline.by_owner import by_owner
from app.outline.nodes import Draft, What
from app.outline.outline import Outline
from app.scan.job import ScanJob
from app.scan.walk import Unit, read_fence
from app.survey import Request, survey
from app.usage.figures import Figures
from app.usage.order import Column, Order
from app.usage.units import parts_of, recorded_of, units_of
from tests.unit import captured

BY_BYTES = Order(Column.BYTES, True, False)


def _store(root: Path) -> Store:
    (store,) = survey(Request((os.fsencode(root),), None, True, {})).stores
    return store


@pytest.fixture(scope="module")
def store(captures: Path) -> Store:
    return _store(captures / "containerd" / captured.ROOT)


def _units(store: Store) -> tuple[Unit, ...]:
    return units_of(store, read_fence().points)


def _paths(store: Store) -> tuple[bytes, ...]:
    return tuple(unit.path for unit in _units(store))


def _measure(figures: Figures, units: Sequence[Unit]) -> None:
    with ScanJob(tuple(units), read_fence()) as job:
        done = False
        while not done:
            news = job.wait(10)
            figures.finish(news.finished)
            done = news.done


@pytest.fixture(scope="module")
def figures(store: Store) -> Figures:
    found = Figures()
    found.know(parts_of([store]), recorded_of([store]))
    _measure(found, _units(store))
    return found


def _du(*paths: bytes) -> tuple[int, int]:
    totals = [
        subprocess.run(["du", "-scx", *options, *paths], check=True, capture_output=True)
        for options in (["-B1"], ["--inodes"])
    ]
    size, inodes = (int(it.stdout.splitlines()[-1].split()[0]) for it in totals)
    return size, inodes


def _total(drafts: Sequence[Draft], figures: Figures) -> tuple[int, int]:
    usages = [figures.of(draft.units) or Usage() for draft in drafts]
    return sum(it.bytes for it in usages), sum(it.inodes for it in usages)


def _below(drafts: Sequence[Draft], what: What, label: str = "") -> list[Draft]:
    found = [it for it in drafts if it.what is what and label in str(it.label)]
    return found + [it for draft in drafts for it in _below(draft.children, what, label)]


@pytest.mark.parametrize("view", [by_owner, by_directory])
def test_the_rows_of_each_view_are_du_of_both_roots(
    store: Store, figures: Figures, view: type
) -> None:
    drafts = view([store], _paths(store))
    assert _total(drafts, figures) == _du(*store.root.places)


def test_own_containerd_below_the_data_root_counts_once(captures: Path, tmp_path: Path) -> None:
    """dockerd that runs a containerd of its own keeps it in DATA/containerd/daemon."""
    capture = captured.copy(captures, "containerd", tmp_path)
    root = capture / captured.ROOT
    (root / "containerd").mkdir()
    captured.containerd_root(capture).rename(root / "containerd/daemon")
    store, figures = _store(root), Figures()
    assert store.root.places == (os.fsencode(root),)
    assert len(store.layers) == 28
    figures.know(parts_of([store]), {})
    _measure(figures, _units(store))
    for view in (by_owner, by_directory):
        assert _total(view([store], _paths(store)), figures) == _du(os.fsencode(root))


def test_a_container_stands_with_its_snapshots_and_its_directory(store: Store) -> None:
    (web,) = _below(by_owner([store], _paths(store)), What.CONTAINER, "shop-web-1")
    labels = [str(child.label) for child in web.children]
    assert labels == [
        "writable layer snapshots/25",
        "init layer snapshots/24",
        "logs and settings",
    ]


def test_an_image_costs_its_layers_and_its_blobs(store: Store, figures: Figures) -> None:
    (image,) = _below(by_owner([store], _paths(store)), What.IMAGE, "app:2")
    (blobs,) = _below([image], What.BLOBS)
    files = [store.blobs[digest].path for digest in image.subject.blobs]  # type: ignore[union-attr]
    layers = [child.path for child in image.children if child.what is What.LAYER]
    assert len(layers) == 3
    cost, compressed = figures.of(image.units), figures.of(blobs.units)
    assert cost
    assert compressed
    assert (compressed.bytes, compressed.inodes) == _du(*files)
    assert (cost.bytes, cost.inodes) == _du(*layers, *files)
    own = figures.of(image.own_units or ())
    assert own
    # snapshots/13 is of this image alone; base and the step above are shared.
    assert (own.bytes, own.inodes) == _du(layers[0], *files)


def test_what_containerd_recorded_is_shown_until_it_is_measured(store: Store) -> None:
    outline = Outline(BY_BYTES)
    outline.show([store], _paths(store))
    outline.narrow("snapshots/10")
    (index,) = [i for i in range(len(outline)) if "snapshots/10 " in str(outline.row(i).label)][:1]
    row = outline.row(index)
    recorded = store.layers["snapshots/10"].snapshot
    assert recorded
    assert recorded.recorded
    assert (row.bytes, row.inodes) == (recorded.recorded.bytes, recorded.recorded.inodes)
    assert (row.state, row.partial) == ("recorded", True)
    layer = store.layers["snapshots/10"]
    _measure(outline.figures, [Unit(layer.path)])
    outline.refresh()
    rows = [outline.row(i) for i in range(len(outline))]
    (row,) = [it for it in rows if "snapshots/10 " in str(it.label)][:1]
    assert (row.bytes, row.inodes) == _du(layer.path)
    assert (row.state, row.partial) == ("shared by 2", False)


def test_an_active_snapshot_has_no_figure_before_it_is_measured(store: Store) -> None:
    figures = Figures()
    figures.know(parts_of([store]), recorded_of([store]))
    assert figures.of((store.layers["snapshots/25"].path,)) is None


def test_a_blob_counts_once_beside_the_unit_that_holds_it() -> None:
    figures = Figures()
    figures.know({b"/c/blobs/x": Usage(10, 10, 1)}, {})
    _measure_nothing = figures.of((b"/c/blobs/x",))
    assert _measure_nothing == Usage(10, 10, 1)
    assert figures.of((b"/c/blobs", b"/c/blobs/x")) is None
    figures.run({b"/c/blobs": Usage(30, 30, 3)})
    both = figures.of((b"/c/blobs", b"/c/blobs/x"))
    assert both == replace(Usage(30, 30, 3), partial=True)


def test_equal_things_of_two_namespaces_are_two_rows(store: Store) -> None:
    image = store.images[0]
    twin = replace(image, owner=replace(image.owner, namespace="k8s.io"))
    both = replace(store, images=(*store.images, twin))
    outline = Outline(BY_BYTES)
    outline.show([both], _paths(both))
    drafts = by_owner([both], _paths(both))
    names = [it.name for it in _below(drafts, What.IMAGE)]
    assert len(names) == len(set(names)) == len(store.images) + 1
