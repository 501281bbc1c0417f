"""Opening one entry: never through a symbolic link, never across a mount, with either means."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.scan import descent
from app.scan.descent import mount_id, open_fenced
from tests.unit.removals import unmounting
from tests.unit.scan_trees import mounted


@pytest.fixture(params=["openat2", "compared"], autouse=True)
def means(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With openat2(2), and as where there is none."""
    name = str(request.param)
    if name == "compared":
        monkeypatch.setattr(descent, "_openat2", lambda: None)
    elif descent._openat2() is None:
        pytest.skip("this kernel, or its filter, has no openat2")
    return name


@pytest.fixture
def folder() -> Iterator[tuple[bytes, int]]:
    with unmounting() as root:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield root, descriptor
        finally:
            os.close(descriptor)


def refusal(name: bytes, parent: int, flags: int = os.O_PATH) -> int | None:
    """The errno with which it is refused."""
    try:
        os.close(open_fenced(name, parent, flags))
    except OSError as error:
        return error.errno
    return None


def test_it_opens_what_is_in_the_directory(folder: tuple[bytes, int]) -> None:
    root, parent = folder
    os.mkdir(root + b"/\xff two\n")
    descriptor = open_fenced(b"\xff two\n", parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert os.path.samestat(os.fstat(descriptor), os.stat(root + b"/\xff two\n"))
        assert not os.get_inheritable(descriptor)
        above = open_fenced(b"..", descriptor, os.O_PATH)
        assert os.path.samestat(os.fstat(above), os.stat(root))
        os.close(above)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("name", [b"", b".", b"a/b", b"/etc", b"a\0b", b"../x"])
def test_what_is_no_name_of_one_entry_is_refused(folder: tuple[bytes, int], name: bytes) -> None:
    os.makedirs(folder[0] + b"/a/b")
    with pytest.raises(ValueError, match="no name"):
        open_fenced(name, folder[1], os.O_PATH)


def test_a_symbolic_link_is_never_followed(folder: tuple[bytes, int], tmp_path: Path) -> None:
    root, parent = folder
    os.symlink(os.fsencode(tmp_path), root + b"/link")
    assert refusal(b"link", parent, os.O_RDONLY | os.O_DIRECTORY) in (errno.ELOOP, errno.ENOTDIR)
    assert refusal(b"link", parent, os.O_RDONLY) == errno.ELOOP
    descriptor = open_fenced(b"link", parent, os.O_PATH)
    assert os.readlink(b"", dir_fd=descriptor) == os.fsencode(tmp_path)
    os.close(descriptor)


def test_what_is_not_there_is_said_so(folder: tuple[bytes, int]) -> None:
    assert refusal(b"nothing", folder[1]) == errno.ENOENT


def test_a_mount_of_the_same_file_system_is_not_entered(folder: tuple[bytes, int]) -> None:
    root, parent = folder
    for name in (b"/point", b"/elsewhere"):
        os.mkdir(root + name)
    (Path(os.fsdecode(root)) / "file").touch()
    (Path(os.fsdecode(root)) / "other").touch()
    with (
        mounted("--bind", root + b"/elsewhere", root + b"/point") as one,
        mounted("--bind", root + b"/other", root + b"/file") as two,
    ):
        if not (one and two):
            pytest.skip("mounting is not allowed here")
        assert os.stat(root + b"/point").st_dev == os.stat(root).st_dev
        assert refusal(b"point", parent, os.O_RDONLY | os.O_DIRECTORY) == errno.EXDEV
        assert refusal(b"file", parent) == errno.EXDEV
        inside = os.open(root + b"/point", os.O_PATH)
        assert mount_id(inside) != mount_id(parent)
        # Nor is the mount left on the way up.
        assert refusal(b"..", inside) == errno.EXDEV
        os.close(inside)


def test_no_descriptor_is_left_open(folder: tuple[bytes, int]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        refusal(b"nothing", folder[1])
    assert len(os.listdir("/proc/self/fd")) == before
