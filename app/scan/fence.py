"""Where a walk must not go: mount points, and other file systems."""

from __future__ import annotations

import os
from dataclasses import dataclass

from app.scan import mountinfo

#: The inode number of every btrfs subvolume's root (BTRFS_FIRST_FREE_OBJECTID, btrfs_tree.h).
_SUBVOLUME_ROOT = 256


class Points(dict[bytes, "Points"]):
    """The names in a directory that lead to mount points. An empty one is a mount point itself."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Mount points that no walk enters or counts, wherever they are, and those that are btrfs.

    ``st_dev`` alone does not do: a bind mount of the same file system has the same one, and on
    btrfs every subvolume has its own within one mount.
    """

    points: frozenset[bytes] = frozenset()
    btrfs: frozenset[bytes] = frozenset()

    def below(self, path: bytes) -> Points:
        """The mount points below ``path``, by name, however many symbolic links lead there."""
        real = os.path.realpath(path)
        found = Points()
        for point in sorted(self.points):
            if point != real and mountinfo.is_at_or_below(point, real):
                _plant(found, point[len(real) :].strip(b"/").split(b"/"))
        return found

    def has_subvolumes(self, path: bytes) -> bool:
        """Whether ``path`` lies on btrfs, where another ``st_dev`` need not be another mount."""
        place = os.path.realpath(path)
        while place not in self.points and place != os.path.dirname(place):
            place = os.path.dirname(place)
        return place in self.btrfs


def read_fence() -> Fence:
    """The fence of this moment: every mount that this process sees."""
    kinds = {mount.point: mount.fstype for mount in mountinfo.read()}
    return Fence(
        frozenset(kinds), frozenset(point for point, fstype in kinds.items() if fstype == "btrfs")
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
