"""mountinfo: what the kernel writes comes back as it was mounted."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.host import namespaces
from app.host.mounts import Mount, mount_points_below, read_all, read_mountinfo, read_own
from app.host.namespaces import in_namespace, read_tables

names = st.binary(min_size=1, max_size=20).map(lambda raw: raw.replace(b"\0", b"0"))
paths = st.lists(names, min_size=1, max_size=4).map(lambda parts: b"/" + b"/".join(parts))
relatives = st.lists(names, min_size=1, max_size=3).map(b"/".join)
lowers = st.lists(st.one_of(paths, relatives), max_size=5).map(tuple)


def escaped(text: bytes, special: bytes = b" \t\n\\") -> bytes:
    """As seq_escape of the kernel does."""
    return b"".join(b"\\%03o" % byte if byte in special else bytes([byte]) for byte in text)


def joined(layers: tuple[bytes, ...]) -> bytes:
    """As a program that mounts an overlay writes lowerdir=."""
    return b":".join(layer.replace(b"\\", b"\\\\").replace(b":", b"\\:") for layer in layers)


def line(mount: Mount, *, one_by_one: bool, tags: bytes) -> bytes:
    """As show_mountinfo and ovl_show_options write it."""
    options = [b"rw"]
    if one_by_one:
        options += [b"lowerdir+=" + escaped(layer, b", \t\n\\") for layer in mount.lowers]
    elif mount.lowers:
        options.append(b"lowerdir=" + escaped(joined(mount.lowers), b", \t\n\\"))
    if mount.upper:
        options.append(b"upperdir=" + escaped(mount.upper, b", \t\n\\"))
        options.append(b"workdir=" + escaped(mount.upper, b", \t\n\\") + b"/work")
    return b"36 35 %s %s %s rw,relatime %s- %s %s %s\n" % (
        mount.device.encode(),
        escaped(mount.root),
        escaped(mount.point),
        tags,
        mount.fstype.encode(),
        escaped(mount.source, b" \t\n\\#"),
        b",".join(options),
    )


overlays = st.builds(
    Mount,
    point=paths,
    root=paths,
    fstype=st.just("overlay"),
    device=st.just("0:50"),
    source=names,
    lowers=lowers,
    upper=st.one_of(st.just(b""), paths, relatives),
    namespace=st.just("mnt:[1]"),
    pid=st.just(7),
).map(lambda it: replace(it, work=it.upper + b"/work" if it.upper else b""))


@given(
    st.lists(
        st.tuples(
            overlays, st.booleans(), st.sampled_from([b"", b"shared:2 ", b"shared:2 master:1 "])
        )
    )
)
def test_any_mount_comes_back_as_it_was_made(mounted: list[tuple[Mount, bool, bytes]]) -> None:
    text = b"".join(line(mount, one_by_one=way, tags=tags) for mount, way, tags in mounted)
    found = [replace(it, shows_otherwise=False) for it in read_mountinfo(text, "mnt:[1]", 7)]
    assert found == [mount for mount, _, _ in mounted]


@given(st.binary(max_size=300))
def test_rubbish_never_raises(text: bytes) -> None:
    read_mountinfo(text, "mnt:[1]", 1)
    read_mountinfo(b"1 2 0:1 / / rw - overlay overlay " + text, "mnt:[1]", 1)


def test_relative_lowers_of_a_deep_image_stay_relative() -> None:
    (mount,) = read_mountinfo(
        b"40 30 0:50 / /var/lib/docker/overlay2/aa/merged rw shared:1 - overlay overlay "
        b"rw,lowerdir=l/AAA:l/BBB,upperdir=aa/diff,workdir=aa/work\n",
        "mnt:[1]",
        1,
    )
    assert mount.lowers == (b"l/AAA", b"l/BBB")
    assert mount.upper == b"aa/diff"
    assert mount.point == b"/var/lib/docker/overlay2/aa/merged"


def test_data_only_lowers_count_as_lowers() -> None:
    (mount,) = read_mountinfo(
        b"40 30 0:50 / /m rw - overlay none ro,lowerdir=/a:/b::/data\n", "mnt:[1]", 1
    )
    assert mount.lowers == (b"/a", b"/b", b"/data")


def test_a_real_hosts_mounts(captures: Path) -> None:
    text = (captures / "overlay2" / "api" / "mountinfo.txt").read_bytes()
    overlays = [mount for mount in read_mountinfo(text, "", 1) if mount.fstype == "overlay"]
    assert overlays
    for mount in overlays:
        assert mount.upper == os.path.dirname(mount.point) + b"/diff"
        assert len(mount.lowers) >= 2
        assert all(lower.startswith(b"/var/lib/docker/overlay2/l/") for lower in mount.lowers)


def process(proc: Path, pid: int, namespace: str, text: str, root: str = "/") -> Path:
    home = proc / str(pid)
    (home / "ns").mkdir(parents=True)
    (home / "ns" / "mnt").symlink_to(namespace)
    (home / "root").symlink_to(root)
    (home / "mountinfo").write_text(text)
    return home


def test_each_namespace_is_read_once_and_the_dead_are_no_problem(tmp_path: Path) -> None:
    process(tmp_path, 1, "mnt:[1]", "1 0 8:1 / / rw - ext4 /dev/vda1 rw\n")
    process(tmp_path, 2, "mnt:[1]", "1 0 8:1 / / rw - ext4 /dev/vda1 rw\n")
    process(tmp_path, 3, "mnt:[2]", "9 8 0:50 / / rw - overlay overlay rw,upperdir=/o/a/diff\n")
    (process(tmp_path, 4, "mnt:[3]", "") / "mountinfo").unlink()
    (tmp_path / "5").mkdir()
    (tmp_path / "meminfo").write_text("")
    mounts, problems = read_all(os.fsencode(tmp_path))
    assert [(mount.namespace, mount.fstype) for mount in mounts] == [
        ("mnt:[1]", "ext4"),
        ("mnt:[2]", "overlay"),
    ]
    assert problems == ()


def test_a_chrooted_process_does_not_hide_its_namespaces_mounts(tmp_path: Path) -> None:
    process(tmp_path, 1, "mnt:[1]", "5 1 0:7 / / rw - tmpfs none rw\n", root="/var/empty")
    process(
        tmp_path, 9, "mnt:[1]", "1 0 8:1 / / rw - ext4 a rw\n5 1 0:7 / /var/empty rw - tmpfs b rw\n"
    )
    mounts, _ = read_all(os.fsencode(tmp_path))
    assert [mount.point for mount in mounts] == [b"/", b"/var/empty"]


def test_a_namespace_is_read_through_another_process_when_the_first_one_ended(
    tmp_path: Path,
) -> None:
    (process(tmp_path, 1, "mnt:[1]", "") / "mountinfo").unlink()
    process(tmp_path, 2, "mnt:[1]", "1 0 8:1 / / rw - ext4 a rw\n")
    mounts, problems = read_all(os.fsencode(tmp_path))
    assert [mount.pid for mount in mounts] == [2]
    assert problems == ()


def test_mounts_are_read_where_the_namespace_may_not_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process(tmp_path, 1, "mnt:[1]", "1 0 8:1 / / rw - ext4 a rw\n")
    process(tmp_path, 2, "mnt:[2]", "1 0 8:1 / /other rw - ext4 a rw\n")
    process(tmp_path, 3, "mnt:[1]", "1 0 8:1 / / rw - ext4 a rw\n")

    def refuse(path: bytes) -> bytes:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "readlink", refuse)
    mounts, problems = read_all(os.fsencode(tmp_path))
    assert sorted(mount.point for mount in mounts) == [b"/", b"/other"]
    assert problems == ()


def test_refused_processes_are_counted_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process(tmp_path, 1, "mnt:[1]", "1 0 8:1 / / rw - ext4 a rw\n")
    process(tmp_path, 2, "mnt:[2]", "")
    process(tmp_path, 3, "mnt:[3]", "")
    real = namespaces._text

    def guarded(path: bytes, parent: int | None = None) -> bytes:
        if path.split(b"/")[-2] in (b"2", b"3"):
            raise PermissionError(13, "Permission denied")
        return real(path, parent)

    monkeypatch.setattr(namespaces, "_text", guarded)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    mounts, problems = read_all(os.fsencode(tmp_path))
    assert [mount.pid for mount in mounts] == [1]
    assert len(problems) == 1
    assert "2 processes" in problems[0].sentence
    assert "sudo" in problems[0].sentence
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    _, (problem,) = read_all(os.fsencode(tmp_path))
    assert "sudo" not in problem.sentence
    assert "on the host itself" in problem.sentence


def test_this_process_sees_its_own_root() -> None:
    assert b"/" in {mount.point for mount in read_own()}
    mounts, _ = read_all()
    own = os.readlink("/proc/self/ns/mnt")
    assert {mount.point for mount in read_own()} <= {
        mount.point for mount in mounts if mount.namespace == own
    }


def at(point: bytes) -> Mount:
    return Mount(point, b"/", "ext4", "8:1", b"x", (), b"", "mnt:[1]", 1)


def test_mount_points_strictly_below() -> None:
    mounts = [at(b"/"), at(b"/d"), at(b"/d/a/merged"), at(b"/dx"), at(b"/d/b")]
    assert mount_points_below(b"/d", mounts) == {b"/d/a/merged", b"/d/b"}
    assert mount_points_below(b"/d/", mounts) == {b"/d/a/merged", b"/d/b"}
    assert mount_points_below(b"/", mounts) == {b"/d", b"/d/a/merged", b"/dx", b"/d/b"}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a namespace of its own")
def test_a_thread_of_ours_in_a_namespace_is_nobody_there() -> None:
    """It only looks at it, and has ended before anybody goes in by its number."""
    command = ["unshare", "--mount", "sleep", "1000"]
    process = subprocess.Popen(command)
    try:
        ours = os.readlink("/proc/self/ns/mnt")
        while (name := os.readlink(f"/proc/{process.pid}/ns/mnt")) == ours:
            time.sleep(0.01)
        with Path(f"/proc/{process.pid}/ns/mnt").open("rb") as file:
            process.kill()
            process.wait()
            seen = in_namespace(file.fileno(), lambda: read_tables().tables)
    finally:
        process.kill()
        process.wait()
    assert name not in [it.namespace for it in seen if it.pid]
