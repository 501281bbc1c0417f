"""Where a walk must not go: mount points, and other file systems."""

from __future__ import annotations

import os
from dataclasses import dataclass

from app.host import looks, mountinfo

#: The inode number of every btrfs subvolume's root (BTRFS_FIRST_FREE_OBJECTID, btrfs_tree.h).
_SUBVOLUME_ROOT = 256
#: File systems whose directory entries have the inode numbers that stat(2) gives. The native core
#: asks the kernel by number (has_inode_numbers in walk.c); these are the same by name.
_NUMBERED = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "f2fs"})


class Points(dict[bytes, "Points"]):
    """The names in a directory that lead to mount points. An empty one is a mount point itself."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Mount points that no walk enters or counts, wherever they are, and those that are btrfs.

    ``numbered`` are those where a directory's entries have exact inode numbers.

    ``st_dev`` alone does not do: a bind mount of the same file system has the same one, and on
    btrfs every subvolume has its own within one mount.
    """

    points: frozenset[bytes] = frozenset()
    btrfs: frozenset[bytes] = frozenset()
    numbered: frozenset[bytes] = frozenset()

    def below(self, path: bytes) -> Points:
        """The mount points below ``path``, by name, however many symbolic links lead there."""
        real = looks.realpath(path)
        found = Points()
        for point in sorted(self.points):
            if point != real and mountinfo.is_at_or_below(point, real):
                _plant(found, point[len(real) :].strip(b"/").split(b"/"))
        return found

    def has_subvolumes(self, path: bytes) -> bool:
        """Whether ``path`` lies on btrfs, where another ``st_dev`` need not be another mount."""
        return self._mount_of(path) in self.btrfs

    def has_numbers(self, path: bytes) -> bool:
        """Whether inodes below ``path`` can be told apart without a stat of each."""
        return self._mount_of(path) in self.numbered

    def _mount_of(self, path: bytes) -> bytes:
        place = looks.realpath(path)
        while place not in self.points and place != os.path.dirname(place):
            place = os.path.dirname(place)
        return place


def read_fence() -> Fence:
    """The fence of this moment: every mount that a path of this process leads to."""
    kinds = {mount.point: mount.fstype for mount in mountinfo.read()}
    return Fence(
        frozenset(kinds),
        frozenset(point for point, fstype in kinds.items() if fstype == "btrfs"),
        frozenset(point for point, fstype in kinds.items() if fstype in _NUMBERED),
    )


def is_foreign(directory: os.stat_result, parent_device: int, subvolumes: bool) -> bool:
    """Whether a directory is on another file system than the directory that it was found in."""
    if directory.st_dev == parent_device:
        return False
    return not (subvolumes and directory.st_ino == _SUBVOLUME_ROOT)


def _plant(points: Points, names: list[bytes]) -> None:
    for name in names:
        below = points.get(name)
        if below is None:
            below = points[name] = Points()
        elif not below:
            # What is mounted below a mount point is out of reach anyway.
            return
        points = below
