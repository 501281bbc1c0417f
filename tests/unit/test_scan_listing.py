"""One directory's entries, as the screen gets them when a row is opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.host.identity import Identity
from app.scan.listing import list_directory
from app.scan.walk import Fence, read_fence
from tests.unit.removals import identified
from tests.unit.scan_trees import flood, mounted, scratch, without_privileges


@pytest.fixture
def place() -> Iterator[bytes]:
    with scratch() as path:
        yield path


def test_every_kind_of_entry_is_told_with_its_own_figures(place: bytes) -> None:
    flood(os.path.join(place, b"directory"), 3)
    file = Path(os.fsdecode(place), "file")
    file.write_bytes(b"x" * 5_000)
    os.utime(file, (0, 1_700_000_000))
    os.link(file, os.path.join(place, b"again"))
    os.symlink(b"12345", os.path.join(place, b"bad\xff\n\x1b[31m"))
    os.mkfifo(os.path.join(place, b"fifo"))
    listing = list_directory(place, Fence())
    rows = {name: row for row, name in enumerate(listing.names)}
    assert {name: listing.kind(row) for name, row in rows.items()} == {
        b"directory": "directory",
        b"file": "file",
        b"again": "file",
        b"bad\xff\n\x1b[31m": "symlink",
        b"fifo": "fifo",
    }
    row = rows[b"file"]
    assert listing.bytes[row] == file.stat().st_blocks * 512
    assert listing.apparent[row] == 5_000
    assert listing.mtimes[row] == 1_700_000_000
    assert listing.nlinks[row] == 2
    assert Identity.unpacked(listing.identities[row]) == identified(file)
    assert listing.identities[row] == listing.identities[rows[b"again"]]
    assert listing.apparent[rows[b"directory"]] == 0
    assert listing.apparent[rows[b"bad\xff\n\x1b[31m"]] == 5
    assert len(listing) == 5


def test_whiteouts_are_told_from_devices(place: bytes) -> None:
    try:
        os.mknod(os.path.join(place, b"gone"), stat.S_IFCHR, os.makedev(0, 0))
        os.mknod(os.path.join(place, b"null"), stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("device nodes need root")
    listing = list_directory(place, Fence())
    assert {name: listing.kind(row) for row, name in enumerate(listing.names)} == {
        b"gone": "whiteout",
        b"null": "device",
    }


def test_a_large_directory_is_shown_while_it_is_listed(
    place: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.scan.listing.FIRST_LOOK", 10)
    flood(os.path.join(place, b"many"), 170)
    seen: list[int] = []
    listing = list_directory(
        os.path.join(place, b"many"), Fence(), lambda so_far: seen.append(len(so_far))
    )
    assert seen == [10, 80]
    assert len(listing) == 170


def test_mount_points_are_left_out_by_name(place: bytes) -> None:
    for name in (b"merged", b"diff"):
        os.mkdir(os.path.join(place, name))
    with mounted("-t", "tmpfs", "tmpfs", os.path.join(place, b"merged")) as possible:
        if not possible:
            pytest.skip("mounting is not allowed here")
        for fence in (read_fence(), Fence()):
            listing = list_directory(place, fence)
            assert listing.names == [b"diff"]
            assert listing.mounts == [b"merged"]


def test_entries_that_may_not_be_examined_are_counted(place: bytes) -> None:
    flood(os.path.join(place, b"names-only"), 4)
    os.chmod(os.path.join(place, b"names-only"), 0o744)
    with without_privileges():
        listing = list_directory(os.path.join(place, b"names-only"), Fence())
    assert len(listing) == 0
    assert listing.unreadable == 4


def test_what_cannot_be_opened_as_a_directory_raises(place: bytes) -> None:
    with pytest.raises(FileNotFoundError):
        list_directory(os.path.join(place, b"gone"), Fence())
    os.symlink(b"/", os.path.join(place, b"link"))
    with pytest.raises(OSError, match=r"directory|symbolic"):
        list_directory(os.path.join(place, b"link"), Fence())


def test_directories_deeper_than_a_path_can_be_long_are_listed(place: bytes) -> None:
    descriptor = os.open(place, os.O_RDONLY)
    name = b"d" * 200
    for _ in range(60):
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.mkdir(b"bottom", dir_fd=descriptor)
    os.close(descriptor)
    path = os.path.join(place, *[name] * 60)
    assert len(path) > 10_000
    assert list_directory(path, read_fence()).names == [b"bottom"]


def test_what_was_replaced_while_it_was_listed_has_no_identity(
    place: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (Path(os.fsdecode(place)) / "it").write_bytes(b"")
    monkeypatch.setattr("app.scan.listing.identify", lambda *_: Identity(1, 2))
    assert list_directory(place, Fence()).identities == [b""]
