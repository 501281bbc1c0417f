"""What tells a file from the next one of its name and inode number, on real filesystems."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from app.cleanup.execute.erase import erase
from app.cleanup.execute.outcome import Progress
from app.cleanup.plan.reopen_path import Unreachable
from app.host import identity
from app.host.identity import Identity, identify, identity_of
from tests.unit.loop_disks import KINDS, disk
from tests.unit.removals import place, unmounting

_TRIES = 200


@pytest.fixture(params=KINDS)
def home(request: pytest.FixtureRequest) -> Iterator[bytes]:
    """A directory on a filesystem of its own, of each kind."""
    with unmounting() as scratch, disk(request.param, scratch) as point:
        yield point


@pytest.fixture
def opened(home: bytes) -> Iterator[int]:
    """The same, open."""
    descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def test_it_stays_the_same_whatever_is_written(home: bytes, opened: int) -> None:
    for name, make in ((b"file", os.mknod), (b"folder", os.mkdir)):
        path = os.path.join(home, name)
        make(path)
        first = identify(name, opened)
        os.chmod(path, 0o700)
        os.utime(path, (1, 1))
        if name == b"file":
            Path(os.fsdecode(path)).write_text("content")
        else:
            os.mkdir(os.path.join(path, b"in it"))
        os.rename(path, path + b"2")
        assert identify(name + b"2", opened) == first
        descriptor = os.open(name + b"2", os.O_PATH | os.O_NOFOLLOW, dir_fd=opened)
        try:
            assert identity_of(descriptor) == first
        finally:
            os.close(descriptor)
        status = os.lstat(path + b"2")
        assert (first.device, first.inode) == (status.st_dev, status.st_ino)
        assert first.changed == 0
        assert first.born or first.handle


@pytest.mark.parametrize("make", [os.mkdir, os.mknod])
def test_what_is_made_anew_is_another_one(
    home: bytes, opened: int, make: Callable[[bytes], None]
) -> None:
    path = os.path.join(home, b"it")
    again = 0
    seen: set[Identity] = set()
    for _ in range(_TRIES):
        make(path)
        found = identify(b"it", opened)
        assert found not in seen
        again += (found.device, found.inode) in {(one.device, one.inode) for one in seen}
        seen.add(found)
        (os.rmdir if make is os.mkdir else os.unlink)(path)
    if b"ext4" in _kind(home):
        assert again, "ext4 gives the inode number at once to the next one"


def _kind(home: bytes) -> bytes:
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        if line.split(b" ")[4] == home:
            return line.partition(b" - ")[2].split(b" ")[0]
    return b""


def test_links_are_not_followed(home: bytes, opened: int) -> None:
    os.mkdir(os.path.join(home, b"target"))
    os.symlink(b"target", os.path.join(home, b"link"))
    assert identify(b"link", opened).inode == os.lstat(os.path.join(home, b"link")).st_ino
    assert identify(b"link", opened) != identify(b"target", opened)
    os.symlink(b"nowhere", os.path.join(home, b"broken"))
    assert identify(b"broken", opened).inode


def test_what_is_not_there_is_said(opened: int) -> None:
    for name in (b"nothing", b""):
        with pytest.raises(FileNotFoundError):
            identify(name, opened)
    with pytest.raises(OSError, match="Bad file") as raised:
        identity_of(999_999)
    assert raised.value.errno == errno.EBADF


def test_it_is_packed_without_loss(home: bytes, opened: int) -> None:
    os.mkdir(os.path.join(home, b"it"))
    found = identify(b"it", opened)
    assert Identity.unpacked(found.packed()) == found
    odd = Identity(2**64 - 1, 2**64 - 1, -1, 2**62, b"\0\xff")
    assert Identity.unpacked(odd.packed()) == odd


def test_without_the_calls_the_time_of_change_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "_calls", lambda: None)
    (tmp_path / "it").mkdir()
    with _opened(tmp_path) as parent:
        first = identify(b"it", parent)
        assert (first.born, first.handle) == (0, b"")
        assert first.changed == (tmp_path / "it").stat().st_ctime_ns
        os.utime(tmp_path / "it", (1, 1))
        assert identify(b"it", parent) != first
        assert identity_of(parent).inode == tmp_path.stat().st_ino


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
def test_a_call_that_is_not_allowed_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> int:
        return -1

    monkeypatch.setattr(identity, "_last_error", lambda: code)
    monkeypatch.setattr(identity, "_calls", lambda: identity._Calls(refuse, refuse))
    with _opened(tmp_path) as parent:
        found = identity_of(parent)
    status = tmp_path.stat()
    assert found == Identity(status.st_dev, status.st_ino, 0, status.st_ctime_ns, b"")


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def test_a_place_is_not_reached_once_another_one_has_its_inode_number(home: bytes) -> None:
    """What was planned is gone; a new directory got its name, and on ext4 its inode number."""
    path = os.path.join(home, b"it")
    os.mkdir(path)
    planned = place(home, b"it")
    os.rmdir(path)
    os.mkdir(path)
    Path(os.fsdecode(path), "new").write_bytes(b"x")
    if b"ext4" in _kind(home):
        assert os.lstat(path).st_ino == planned.identity.inode
    with pytest.raises(Unreachable, match="something else lies there now"):
        erase(planned, Progress())
    with pytest.raises(Unreachable, match="something else"):
        erase(replace(place(home, b"it"), origin=planned.identity), Progress())
    assert os.listdir(path) == [b"new"]
