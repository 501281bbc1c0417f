"""Live mounts of snapshots, in every way in which containerd makes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.host.mounts import Mount, read_mountinfo
from app.host.overlays import LOWER, UPPER
from app.stores.drivers.overlay2.mounts import BIND
from app.stores.drivers.overlayfs.mounts import LiveSnapshots, find_live_snapshots
from app.stores.metadata.containerd.read import ContainerdReading, read_containerd
from tests.unit.containerd_files import SNAPSHOTTER, ContainerdRoot

CID = "ab" * 32
POINT = f"/var/lib/docker/rootfs/overlayfs/{CID}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = ContainerdRoot(tmp_path / "containerd")
    made.snapshot("base")
    made.snapshot("middle", parent="base")
    made.snapshot("top", "active", parent="middle")
    return made.write()


def reading(root: Path) -> ContainerdReading:
    return read_containerd(os.fsencode(root))


def overlay(
    lowers: str, upper: str = "", point: str = POINT, device: str = "0:50"
) -> tuple[Mount, ...]:
    above = f",upperdir={upper},workdir=/w" if upper else ""
    line = f"10 1 {device} / {point} rw - overlay overlay rw,lowerdir={lowers}{above}"
    return read_mountinfo(line.encode(), "mnt:[1]", 7)


def uses(found: LiveSnapshots) -> dict[str, list[tuple[str, str]]]:
    return {
        name: [(os.fsdecode(use.point), use.as_what) for use in each]
        for name, each in found.live.uses.items()
    }


WHOLE = {
    "snapshots/3": [(POINT, UPPER)],
    "snapshots/2": [(POINT, LOWER)],
    "snapshots/1": [(POINT, LOWER)],
}


def test_absolute_directories_are_these(root: Path) -> None:
    home = f"{root}/{SNAPSHOTTER}/snapshots"
    mounts = overlay(f"{home}/2/fs:{home}/1/fs", f"{home}/3/fs")
    found = find_live_snapshots(mounts, reading(root))
    assert uses(found) == WHOLE
    assert found.holders["snapshots/3"].id == CID
    assert found.holders["snapshots/3"].namespace == ""


@pytest.mark.parametrize("lowers", ["2/fs:1/fs", "snapshots/2/fs:snapshots/1/fs"])
def test_relative_ones_are_those_of_the_upper_one(root: Path, lowers: str) -> None:
    """Options longer than a page: containerd goes into ``snapshots`` before it mounts."""
    mounts = overlay(lowers, f"{root}/{SNAPSHOTTER}/snapshots/3/fs")
    assert uses(find_live_snapshots(mounts, reading(root))) == WHOLE


def test_relative_ones_of_another_containerd_are_not_ours(root: Path) -> None:
    mounts = overlay("2/fs:1/fs", f"/elsewhere/{SNAPSHOTTER}/snapshots/3/fs")
    assert uses(find_live_snapshots(mounts, reading(root))) == {}


def test_the_root_may_be_mounted_through_a_symbolic_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    home = f"{tmp_path}/link/{SNAPSHOTTER}/snapshots"
    mounts = overlay(f"{home}/2/fs:{home}/1/fs", f"{home}/3/fs")
    assert uses(find_live_snapshots(mounts, reading(root))) == WHOLE


def test_a_view_of_one_layer_is_a_bind_mount(root: Path) -> None:
    """``root`` is a path in the filesystem: of the whole one here, or of one mounted above it."""
    status = root.stat()
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    for prefix in (str(root), "/containerd", ""):
        line = f"10 1 {device} {prefix}/{SNAPSHOTTER}/snapshots/1/fs /mnt ro - ext4 /dev/x rw"
        mounts = read_mountinfo(line.encode(), "mnt:[1]", 7)
        assert uses(find_live_snapshots(mounts, reading(root))) == {"snapshots/1": [("/mnt", BIND)]}
    other = read_mountinfo(line.replace(device, "7:7").encode(), "mnt:[1]", 7)
    assert uses(find_live_snapshots(other, reading(root))) == {}


def test_one_overlay_in_two_namespaces_is_one_use(root: Path) -> None:
    home = f"{root}/{SNAPSHOTTER}/snapshots"
    inside = overlay(f"{home}/2/fs:{home}/1/fs", f"{home}/3/fs", point="/")
    outside = overlay(f"{home}/2/fs:{home}/1/fs", f"{home}/3/fs")
    for mounts in ((*inside, *outside), (*outside, *inside)):
        assert uses(find_live_snapshots(mounts, reading(root))) == WHOLE


def test_a_task_of_another_namespace_is_its_containers(root: Path) -> None:
    point = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/pod-1/rootfs"
    home = f"{root}/{SNAPSHOTTER}/snapshots"
    found = find_live_snapshots(overlay(f"{home}/1/fs", f"{home}/3/fs", point), reading(root))
    holder = found.holders["snapshots/3"]
    assert (holder.id, holder.namespace) == ("pod-1", "k8s.io")
    assert "snapshots/1" not in found.holders


def test_numbers_that_are_not_there_are_nothing(root: Path) -> None:
    home = f"{root}/{SNAPSHOTTER}/snapshots"
    mounts = overlay(f"{home}/77/fs:8/fs:{home}/../1/fs", f"{home}/99/fs")
    assert uses(find_live_snapshots(mounts, reading(root))) == {}
