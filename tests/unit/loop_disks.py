"""Small filesystems of every kind, on loop devices, for tests that need the real thing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.unit.scan_trees import mounted

_MIB = 2**20
_SEARCH = "/usr/sbin:/sbin:/usr/bin:/bin"
#: How each is made, and the smallest size that it takes, in MiB.
_MADE = {
    "ext4": (("mkfs.ext4", "-q", "-F", "-m0"), 16),
    "ext4-128": (("mkfs.ext4", "-q", "-F", "-m0", "-I128"), 16),
    "xfs": (("mkfs.xfs", "-q"), 304),
    "btrfs": (("mkfs.btrfs", "-q"), 128),
}
#: ``ext4-128`` has inodes of 128 bytes, in which there is no room for a birth time.
KINDS = (*_MADE, "tmpfs", "overlay")


@contextmanager
def disk(kind: str, home: bytes, mebibytes: int = 0, *options: str) -> Iterator[bytes]:
    """A new filesystem of this kind, mounted in ``home``: its mount point.

    ``options`` are those of its mkfs. Skips the test where it cannot be made here.
    """
    point = os.path.join(home, b"disk")
    os.mkdir(point)
    with mounted(*_arguments(kind, home, point, mebibytes, options)) as done:
        if not done:
            pytest.skip(f"mounting {kind} is not possible here")
        yield point


def _arguments(
    kind: str, home: bytes, point: bytes, mebibytes: int, options: tuple[str, ...]
) -> tuple[str | bytes, ...]:
    if kind == "tmpfs":
        return "-t", "tmpfs", "tmpfs", point
    if kind == "overlay":
        for name in (b"lower", b"upper", b"work"):
            os.mkdir(os.path.join(home, name))
        parts = b"lowerdir=%b/lower,upperdir=%b/upper,workdir=%b/work" % (home, home, home)
        return "-t", "overlay", "overlay", "-o", parts, point
    (make, *flags), least = _MADE[kind]
    tool = shutil.which(make, path=_SEARCH)
    if not tool:
        pytest.skip(f"no {make} here")
    image = os.path.join(home, b"image")
    with open(image, "wb") as file:  # noqa: PTH123 - the path is bytes
        file.truncate((mebibytes or least) * _MIB)
    subprocess.run([tool, *flags, *options, image], check=True, capture_output=True)
    return "-o", "loop", image, point
