"""Debian's own containerd, read while it works: every namespace, every owner, no mistake."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.model import Kind, Role, Store
from app.scan.job import ScanJob
from app.scan.walk import Unit, read_fence
from app.stores.metadata.containerd.read import read_containerd
from app.survey import Request, survey
from app.usage.units import units_of
from tests.engine import archive
from tests.engine.conftest import ended_by_sigterm, leave_out
from tests.engine.containerd import Containerd, ContainerdError, missing_tools

pytestmark = pytest.mark.engine

DEMO, OTHER = "docker.io/library/demo:1", "registry.example.com/team/other:2"
CID, GONE = "c0" * 32, "d0" * 32
POD = {
    "io.kubernetes.pod.namespace": "default",
    "io.kubernetes.pod.name": "web-0",
    "io.kubernetes.container.name": "app",
}
READS = 2000


@pytest.fixture(scope="module")
def containerd() -> Iterator[Containerd]:
    """A containerd with images and containers in the namespaces moby, k8s.io and default."""
    if missing := missing_tools():
        leave_out(f"this machine lacks {missing}")
    it = Containerd()
    with ended_by_sigterm():
        try:
            it.start()
            _fill(it)
            yield it
        except ContainerdError as failure:
            leave_out(str(failure))
        finally:
            it.close()


def _fill(it: Containerd) -> None:
    busybox = archive.busybox_layer(Path(str(shutil.which("busybox"))))
    top = archive.layer({f"opt/file-{n}": bytes(n) for n in range(40)})
    for name, layers in ((DEMO, [busybox, top]), (OTHER, [busybox])):
        file = it.base / "image.tar"
        file.write_bytes(archive.image(name, layers, _architecture()))
        for namespace in ("moby", "k8s.io"):
            it.ctr(namespace, "images", "import", str(file))
    labels = [word for key, value in POD.items() for word in ("--label", f"{key}={value}")]
    it.ctr("k8s.io", "containers", "create", *labels, DEMO, "e0" * 32, "/bin/sleep", "1")
    it.ctr("k8s.io", "containers", "create", "--label", "nerdctl/name=web", DEMO, "f0" * 32)
    it.run("k8s.io", DEMO, "live")
    # As dockerd makes them for a container, with one that is gone beside it.
    top_key = max(
        (line.split()[0] for line in it.ctr("moby", "snapshots", "ls").splitlines()[1:]),
        key=lambda key: len(it.ctr("moby", "snapshots", "info", key)),
    )
    for id_ in (CID, GONE):
        it.ctr("moby", "snapshots", "prepare", f"{id_}-key", top_key)
        it.ctr("moby", "snapshots", "commit", f"{id_}-init", f"{id_}-key")
        it.ctr("moby", "snapshots", "prepare", id_, f"{id_}-init")
    folder = it.docker / "containers" / CID
    folder.mkdir(parents=True)
    (it.docker / "rootfs/overlayfs").mkdir(parents=True)
    config = {"ID": CID, "Name": "/shop", "Driver": "overlayfs", "Config": {"Image": "demo:1"}}
    (folder / "config.v2.json").write_text(json.dumps(config))


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


def _store(root: Path) -> Store:
    (store,) = survey(Request((os.fsencode(root),), None, True, {})).stores
    return store


@pytest.fixture
def store(containerd: Containerd) -> Store:
    return _store(containerd.docker)


def test_every_snapshot_is_named_in_its_namespace(containerd: Containerd, store: Store) -> None:
    for namespace in ("moby", "k8s.io"):
        told = containerd.ctr(namespace, "snapshots", "ls").splitlines()[1:]
        known = {
            it.snapshot.key: (it.snapshot.kind, it.parents, it)
            for it in store.layers.values()
            if it.snapshot and it.snapshot.namespace == namespace
        }
        assert known.keys() == {line.split()[0] for line in told}
        for line in told:
            key, *parent, kind = line.split()
            found_kind, parents, _ = known[key]
            assert found_kind == kind.lower()
            above = store.layers[parents[0]].snapshot if parents else None
            assert (above.key if above else "") == "".join(parent)
    assert store.problems == ()


def test_images_own_their_layers_in_every_namespace(store: Store) -> None:
    for namespace, tags in (("", "demo:1"), ("k8s.io", DEMO)):
        (image,) = [
            it for it in store.images if tags in it.owner.tags and it.owner.namespace == namespace
        ]
        assert len(image.layers) == 2
        for name in image.layers:
            layer = store.layers[name]
            assert layer.role is Role.IMAGE
            assert image.owner in layer.owners
        assert image.blobs
        assert all(image.owner in store.blobs[digest].owners for digest in image.blobs)


def test_containers_go_by_the_names_that_people_gave_them(store: Store) -> None:
    names = {it.owner.name: it for it in store.containers}
    assert names.keys() == {"shop", "default/web-0/app", "web", "live"}
    assert names["default/web-0/app"].owner.namespace == "k8s.io"
    for container in names.values():
        layer = store.layers[container.layers[0]]
        assert layer.role is Role.WRITABLE
        assert [owner.id for owner in layer.owners] == [container.owner.id]
    assert len(names["shop"].layers) == 2
    assert store.layers[names["shop"].layers[1]].role is Role.INIT


def test_a_live_mount_says_that_a_container_runs(containerd: Containerd, store: Store) -> None:
    (live,) = [it for it in store.containers if it.owner.name == "live"]
    layer = store.layers[live.layers[0]]
    point = containerd.state / "io.containerd.runtime.v2.task/k8s.io/live/rootfs"
    assert os.fsencode(point) in layer.mounts
    assert (live.owner.state, layer.owners[0].state) == ("running", "running")


def test_snapshots_of_a_container_that_is_gone_belong_to_nobody_else(store: Store) -> None:
    left = [it for it in store.layers.values() if it.snapshot and it.snapshot.key.startswith(GONE)]
    assert len(left) == 2
    for layer in left:
        assert layer.role is Role.UNKNOWN
        assert not any(owner.kind is Kind.CONTAINER for owner in layer.owners)


def test_the_recorded_figures_are_the_measured_ones(store: Store) -> None:
    committed = [it for it in store.layers.values() if it.snapshot and it.snapshot.recorded]
    assert len(committed) >= 4
    units = tuple(Unit(layer.path + b"/fs") for layer in committed)
    with ScanJob(units, read_fence()) as job:
        news = job.wait(30)
        results = {result.key: result.usage for result in news.finished}
        while not news.done:
            news = job.wait(30)
            results.update({result.key: result.usage for result in news.finished})
    for layer in committed:
        measured = results[layer.path + b"/fs"]
        assert layer.snapshot
        recorded = layer.snapshot.recorded
        assert recorded
        assert (recorded.bytes, recorded.inodes) == (measured.bytes, measured.inodes)


def test_the_units_are_the_whole_of_both_roots(store: Store) -> None:
    paths = [unit.path for unit in units_of(store, read_fence().points)]
    assert len(paths) == len(set(paths))
    assert {layer.path for layer in store.layers.values()} <= set(paths)


def test_reading_while_a_writer_commits_is_never_wrong(containerd: Containerd) -> None:
    """containerd holds its lock all the time and commits; thousands of reads see whole states."""
    over = threading.Event()
    script = (
        "snapshots prepare churn-{n}; snapshots commit done-{n} churn-{n}; snapshots rm done-{n}"
    )
    made = []

    def write() -> None:
        number = 0
        while not over.is_set():
            number += 1
            for words in script.format(n=number).split("; "):
                command = containerd.command("default", *words.split())
                subprocess.run(command, capture_output=True, timeout=60, check=True)
            made.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    try:
        for _ in range(READS):
            found = read_containerd(os.fsencode(containerd.root))
            assert found.problems == ()
            kept = {it.key for it in found.snapshots.values() if it.namespace != "default"}
            assert {CID, f"{CID}-init", GONE, "live", "e0" * 32} <= kept
            assert len(found.namespaces["k8s.io"].containers) == 3
            seen.add(frozenset(found.snapshots))
    finally:
        over.set()
        writer.join(60)
    assert made
    assert len(seen) > 3


def test_it_reads_the_same_with_containerd_down(containerd: Containerd) -> None:
    """Last: the daemon is stopped for it."""
    containerd.collect()
    before = _store(containerd.docker)
    containerd.stop()
    try:
        after = _store(containerd.docker)
    finally:
        containerd.start()
    assert {name: it.role for name, it in after.layers.items()} == {
        name: it.role for name, it in before.layers.items()
    }
    assert after.problems == ()
