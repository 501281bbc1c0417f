"""Where walks must not go, read from what the kernel says about mounts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.scan import mountinfo
from app.scan.fence import Fence, is_foreign, read_fence

TEXT = rb"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:40 / /mnt/my\040disk rw - btrfs /dev/mapper/a\134b rw,subvolid=5
24 22 8:1 /x /var/lib/docker/overlay2/a/merged rw shared:2 master:3 - overlay overlay rw

not a mount
"""


def test_mounts_are_read_with_their_escapes() -> None:
    assert [(it.point, it.fstype, it.source) for it in mountinfo.parse(TEXT)] == [
        (b"/", "ext4", b"/dev/sda1"),
        (b"/mnt/my disk", "btrfs", rb"/dev/mapper/a\b"),
        (b"/var/lib/docker/overlay2/a/merged", "overlay", b"overlay"),
    ]


@given(st.binary(max_size=300))
def test_anything_may_stand_in_the_file(text: bytes) -> None:
    for mount in mountinfo.parse(text + b"\n1 2 3 4 \\777 6 - \xff x\n"):
        assert mount.point or text


def test_the_mount_of_a_path_is_the_deepest_and_the_latest() -> None:
    mounts = [
        mountinfo.MountLine(point, fstype, b"")
        for point, fstype in [(b"/", "a"), (b"/var", "b"), (b"/var/lib", "c"), (b"/var", "d")]
    ]
    found = {
        path: mount.fstype
        for path in (b"/var/lib/docker", b"/var/library", b"/etc", b"/")
        if (mount := mountinfo.mount_of(path, mounts))
    }
    assert found == {b"/var/lib/docker": "c", b"/var/library": "d", b"/etc": "a", b"/": "a"}
    assert mountinfo.mount_of(b"/x", []) is None


def test_points_are_grouped_by_name_below_a_path() -> None:
    fence = Fence(frozenset({b"/d/a/merged", b"/d/a/merged/deeper", b"/d", b"/dd", b"/d/b/c/x"}))
    assert fence.below(b"/d") == {b"a": {b"merged": {}}, b"b": {b"c": {b"x": {}}}}
    assert fence.below(b"/d/a/merged") == {b"deeper": {}}
    assert fence.below(b"/elsewhere") == {}
    assert set(fence.below(b"/")) == {b"d", b"dd"}


def test_subvolumes_are_entered_on_btrfs_only() -> None:
    fence = Fence(frozenset({b"/", b"/pool", b"/pool/ext4"}), frozenset({b"/pool"}))
    assert fence.has_subvolumes(b"/pool/docker")
    assert not fence.has_subvolumes(b"/pool/ext4/docker")
    assert not fence.has_subvolumes(b"/docker")
    subvolume = os.stat_result((0o040755, 256, 77, 1, 0, 0, 0, 0, 0, 0))
    other = os.stat_result((0o040755, 2, 77, 1, 0, 0, 0, 0, 0, 0))
    assert not is_foreign(subvolume, 76, subvolumes=True)
    assert is_foreign(subvolume, 76, subvolumes=False)
    assert is_foreign(other, 76, subvolumes=True)
    assert not is_foreign(other, 77, subvolumes=False)


def test_the_fence_of_this_moment_knows_the_mounts_of_this_machine() -> None:
    if not Path("/proc/self/mountinfo").exists():
        pytest.skip("no /proc here")
    assert b"/proc" in read_fence().points
