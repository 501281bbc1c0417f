"""A copied data root beside the one that it was copied from, whose container runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.cleanup.plan.model import Plan
from app.cleanup.plan.planner import make_plan, wish_for
from app.survey import Request, survey
from tests.unit.small_root import SmallRoot, make_small_root


@pytest.fixture
def root(tmp_path: Path) -> SmallRoot:
    made = make_small_root(tmp_path / "docker")
    (made.container.layer.diff / "precious").write_bytes(b"x" * 9000)
    return made


@contextmanager
def running(root: SmallRoot) -> Iterator[None]:
    """The container's overlay, mounted as dockerd mounts one with too many layers for a page."""
    layer = root.container.layer
    merged = layer.path / "merged"
    merged.mkdir(exist_ok=True)
    lower = (layer.path / "lower").read_text()
    options = f"lowerdir={lower},upperdir={layer.name}/diff,workdir={layer.name}/work"
    command = ["mount", "-t", "overlay", "overlay", "-o", options, str(merged)]
    if subprocess.run(command, cwd=root.path / "overlay2", check=False).returncode != 0:
        pytest.skip("no overlay can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(merged)], check=True)


def plan(root: Path, path: Path) -> Plan:
    found = survey(Request((bytes(root),), None, True, {}))
    (wish,) = wish_for(bytes(path), found)
    return make_plan(wish, found)


def test_a_copy_is_never_emptied_through_the_mount_of_the_original(
    root: SmallRoot, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(root.path, copy, symlinks=True)
    inside = f"overlay2/{root.container.layer.name}/diff/precious"
    with running(root):
        own = plan(root.path, root.path / inside)
        assert own.allowed
        assert own.path == os.fsencode(root.container.layer.path / "merged/precious")
        answer = plan(copy, copy / inside)
    assert "no mount of it can be reached" in answer.refused_because
    # `docker exec` would lead to the original as well.
    assert answer.instead == "unmount it, then ask again"
