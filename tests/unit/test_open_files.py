"""What processes hold at or below a directory, whatever they call it, however deep it lies."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.host import open_files
from app.host.namespaces import listed_mounts, read_tables
from app.host.open_files import How, read_open_files
from app.host.within import Found, Where, Within, contents
from tests.unit.proc_stub import PID, make_proc

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@contextmanager
def process(program: str, at: Path, *before: str) -> Iterator[int]:
    """A process that does this, in this directory, and waits."""
    lines = f"import mmap, os, sys, threading\n{program}\nprint(flush=True)\nsys.stdin.read()"
    child = subprocess.Popen(
        [*before, sys.executable, "-c", lines],
        cwd=at,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout
        assert child.stdout.readline() == b"\n"
        yield child.pid
    finally:
        child.communicate()


def inside(top: Path, pid: int = 0) -> list[Found]:
    """Who holds something of it; only this process, if one is named."""
    descriptor = os.open(top, os.O_PATH)
    try:
        within = Within(descriptor, os.fsencode(top.name), listed_mounts(read_tables().tables))
        return [it for it in within.holders(read_open_files()) if pid in (0, it.holder.pid)]
    finally:
        os.close(descriptor)


def hows(found: list[Found]) -> set[How]:
    assert all(it.sure for it in found)
    return {it.holder.how for it in found}


def test_everything_that_a_process_holds_is_seen(tmp_path: Path) -> None:
    (tmp_path / "top/sub").mkdir(parents=True)
    (tmp_path / "top/f").write_bytes(b"x" * 4096)
    program = (
        "import ctypes; f = open('f', 'rb'); libc = ctypes.CDLL(None)\n"
        "libc.mmap(None, ctypes.c_size_t(4096), 1, 2, f.fileno(), ctypes.c_long(0)); f.close()\n"
        "d = os.open('sub', 0)"
    )
    with process(program, tmp_path / "top") as pid:
        assert hows(inside(tmp_path / "top", pid)) == {How.WORKS, How.MAPPED, How.OPEN}
        assert hows(inside(tmp_path / "top/sub", pid)) == {How.OPEN}
    assert inside(tmp_path / "top") == []


def test_a_working_directory_may_be_deeper_than_any_path(tmp_path: Path) -> None:
    deep = "for _ in range(40): os.mkdir('d' * 250); os.chdir('d' * 250)"
    (tmp_path / "top").mkdir()
    (tmp_path / "other").mkdir()
    with process(deep, tmp_path / "top") as pid:
        with pytest.raises(OSError, match="File name too long"):
            os.readlink(f"/proc/{pid}/cwd")
        (found,) = inside(tmp_path / "top", pid)
        assert (found.sure, found.holder.how) == (True, How.WORKS)
        assert "works in a directory in it" in str(found.holder)
        # It is in nobody else's way, and everybody could be looked at.
        assert inside(tmp_path / "other") == []
        assert pid not in read_open_files().unread
    subprocess.run(["rm", "-rf", str(tmp_path / "top")], check=True)


def test_a_file_deeper_than_any_path_is_found_among_all(tmp_path: Path) -> None:
    deep = "for _ in range(40): os.mkdir('d' * 250); os.chdir('d' * 250)\n"
    (tmp_path / "top").mkdir()
    (tmp_path / "other").mkdir()
    with process(f"{deep}f = open('f', 'w'); os.chdir('/')", tmp_path / "top") as pid:
        assert hows(inside(tmp_path / "top", pid)) == {How.OPEN}
        assert inside(tmp_path / "other", pid) == []
    subprocess.run(["rm", "-rf", str(tmp_path / "top")], check=True)


def test_what_is_renamed_meanwhile_is_told_by_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    (tmp_path / "top/f").write_text("x")
    with process("f = open('f')", tmp_path / "top") as pid:
        (tmp_path / "top").rename(tmp_path / "moved")
        (tmp_path / "top").mkdir()
        (tmp_path / "top/f").write_text("another one")
        assert inside(tmp_path / "top", pid) == []
        assert hows(inside(tmp_path / "moved", pid)) == {How.OPEN, How.WORKS}


@AS_ROOT
def test_a_thread_with_its_own_directory_and_descriptors(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    (tmp_path / "top/f").write_text("x")
    program = (
        "import ctypes; ready = threading.Event()\n"
        "def run():\n"
        "    assert ctypes.CDLL(None).unshare(0x200 | 0x400) == 0\n"  # CLONE_FS, CLONE_FILES
        f"    os.chdir({str(tmp_path / 'top')!r}); open_ = os.open('f', 0); ready.set()\n"
        "    threading.Event().wait()\n"
        "threading.Thread(target=run, daemon=True).start(); ready.wait()"
    )
    with process(program, tmp_path) as pid:
        assert hows(inside(tmp_path / "top", pid)) == {How.OPEN, How.WORKS}


@AS_ROOT
def test_another_namespaces_spelling_plays_no_part(tmp_path: Path) -> None:
    (tmp_path / "top/sub").mkdir(parents=True)
    (tmp_path / "top/f").write_text("x")
    (tmp_path / "seen").mkdir()
    enter = (
        f"mount --bind {tmp_path / 'top'} {tmp_path / 'seen'} && cd {tmp_path / 'seen'} && "
        'exec "$0" "$@"'
    )
    command = ("unshare", "--mount", "--propagation=private", "sh", "-c", enter)
    with process("f = open('f'); os.chdir('sub')", tmp_path, *command) as pid:
        assert hows(inside(tmp_path / "top", pid)) == {How.OPEN, How.WORKS}
        assert hows(inside(tmp_path / "top/sub", pid)) == {How.WORKS}


@AS_ROOT
def test_a_mount_that_was_taken_away_while_in_use(tmp_path: Path) -> None:
    (tmp_path / "top/sub").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "seen").mkdir()
    leave = (
        f"mount --bind {tmp_path / 'top/sub'} {tmp_path / 'seen'} && cd {tmp_path / 'seen'} && "
        f'umount -l {tmp_path / "seen"} && exec "$0" "$@"'
    )
    command = ("unshare", "--mount", "--propagation=private", "sh", "-c", leave)
    with process("", tmp_path, *command) as pid:
        assert hows(inside(tmp_path / "top", pid)) == {How.WORKS}
        assert inside(tmp_path / "other", pid) == []


def test_a_deleted_file_counts_where_its_directory_lies(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    (tmp_path / "top/f").write_text("x")
    with process("f = open('f'); os.remove('f'); os.chdir('/')", tmp_path / "top") as pid:
        assert hows(inside(tmp_path / "top", pid)) == {How.OPEN}


def test_all_in_a_directory_however_deep(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/f").write_text("x")
    (tmp_path / "a/l").symlink_to("b")
    descriptor = os.open(tmp_path, os.O_PATH)
    found = set(contents(descriptor))
    os.close(descriptor)
    paths = [tmp_path, tmp_path / "a", tmp_path / "a/b", tmp_path / "a/b/f", tmp_path / "a/l"]
    assert found == {(it.lstat().st_dev, it.lstat().st_ino) for it in paths}


def test_a_file_may_be_asked_for_itself(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with process("f = open('f')", tmp_path) as pid:
        assert hows(inside(tmp_path / "f", pid)) == {How.OPEN}


def test_where_a_path_leads(tmp_path: Path) -> None:
    (tmp_path / "top/sub").mkdir(parents=True)
    descriptor = os.open(tmp_path / "top", os.O_PATH)
    within = Within(descriptor, b"top", {})
    assert within.of_path(bytes(tmp_path / "top/sub")) is Where.INSIDE
    assert within.of_path(bytes(tmp_path / "top")) is Where.OUTSIDE
    assert within.of_path(bytes(tmp_path / "nowhere")) is Where.UNKNOWN
    os.close(descriptor)


def test_a_process_that_cannot_be_looked_at_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc = make_proc(tmp_path / "proc", opened=["/"])
    assert read_open_files(proc).unread == ()

    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(open_files, "spot", forbidden)
    monkeypatch.setattr(open_files, "_anonymous", lambda: -1)
    monkeypatch.setattr(open_files, "_device", lambda _: -1)
    assert read_open_files(proc).unread == (PID,)
    assert read_open_files(bytes(tmp_path / "nowhere")).unread
