"""Mounts that come and go are noticed, in every namespace, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.host import mount_watch
from app.host.mount_watch import MountWatch
from tests.unit.removals import unmounting
from tests.unit.scan_trees import mounted

#: Makes a mount in a namespace of its own when it is told to, and lives until its input ends.
_ELSEWHERE = "echo ready; read go; mount -t tmpfs elsewhere {0}; echo done; read go"


@pytest.fixture
def root() -> Iterator[bytes]:
    with unmounting() as path:
        yield path


@pytest.fixture
def watch() -> Iterator[MountWatch]:
    found = MountWatch()
    yield found
    found.close()


def quiet(watch: MountWatch) -> None:
    """Others on this machine mount as well: wait until they do not."""
    until = time.monotonic() + 20
    while watch.changed():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_mount_that_comes_or_goes_is_told_once(root: bytes, watch: MountWatch) -> None:
    quiet(watch)
    with mounted("-t", "tmpfs", "none", root) as done:
        assert done
        assert watch.changed()
        quiet(watch)
    assert watch.changed()
    quiet(watch)


def test_one_of_another_namespace_is_told(root: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    point = root + b"/at"
    os.mkdir(point)
    script = _ELSEWHERE.format(os.fsdecode(point))
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == "ready\n"
        watch = MountWatch()
        try:
            quiet(watch)
            other.stdin.write("go\n")
            other.stdin.flush()
            assert other.stdout.readline() == "done\n"
            assert not os.path.ismount(point)
            assert watch.changed()
        finally:
            watch.close()
            other.stdin.close()


def test_a_new_namespace_counts_as_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mount_watch, "_AGAIN", 0.0)
    watch = MountWatch()
    try:
        quiet(watch)
        with subprocess.Popen(
            ["unshare", "-m", "sh", "-c", "echo ready; read go"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as other:
            assert other.stdout
            other.stdout.readline()
            assert watch.changed()
            quiet(watch)
    finally:
        watch.close()


def test_what_cannot_be_polled_is_looked_at_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mount_watch, "_MOST", 0)
    monkeypatch.setattr(mount_watch, "_BLIND", 0.0)
    watch = MountWatch()
    assert watch.changed()
    watch.close()


def test_no_descriptor_stays(watch: MountWatch) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        MountWatch().close()
    assert len(os.listdir("/proc/self/fd")) == before
