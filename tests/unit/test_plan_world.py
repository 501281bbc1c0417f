"""The ground under every plan: places, open files, quoting, what an overlay shows beneath."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cleanup.execute.erase import erase
from app.cleanup.execute.outcome import Progress
from app.cleanup.plan.commands import docker, quoted
from app.cleanup.plan.estimate import frees, measured
from app.cleanup.plan.lower_layers import Look, Seen, look, shows_beneath
from app.cleanup.plan.reopen_path import Unreachable as NotReached
from app.cleanup.plan.reopen_path import reached
from app.cleanup.plan.resolve_path import (
    Gone,
    Linked,
    Unreachable,
    path_of,
    reach,
    reach_in_root,
    seen_in_root,
)
from app.discovery.candidates import Host, Worker, serving
from app.scan.descent import open_straight
from tests.unit.removals import identified, place

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# --- quoting --------------------------------------------------------------------------------------

names = st.binary(min_size=1, max_size=30).filter(lambda it: b"\0" not in it)


@settings(max_examples=60, deadline=None)
@given(st.lists(names, min_size=1, max_size=30))
def test_a_shell_gets_the_very_bytes_back_and_nothing_moves_the_cursor(words: list[bytes]) -> None:
    drawn = [quoted(word) for word in words]
    assert all(word.isascii() and word.isprintable() for word in drawn)
    script = f"printf '%s\\0' {' '.join(drawn)}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    assert done.stdout == b"".join(word + b"\0" for word in words)


def test_the_usual_engine_needs_no_host() -> None:
    assert docker("unix:///var/run/docker.sock", "rm", "a") == "docker rm a"
    assert docker("unix:///x y", "rm", "a") == "docker --host 'unix:///x y' rm a"


# --- places ---------------------------------------------------------------------------------------


def test_a_place_is_what_lies_there(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").write_text("x")
    found = reach(bytes(tmp_path), (b"a", b"b", b"c"))
    assert found.place.identity == identified(tmp_path / "a/b/c")
    assert found.place.origin == identified(tmp_path)
    assert (found.kind, path_of(found.place)) == ("file", bytes(tmp_path / "a/b/c"))


def test_a_link_is_a_place_but_never_a_way(tmp_path: Path) -> None:
    (tmp_path / "real/inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    assert reach(bytes(tmp_path), (b"link",)).kind == "symbolic link"
    with pytest.raises(Unreachable, match="leads through"):
        reach(bytes(tmp_path), (b"link", b"inner"))
    with pytest.raises(Gone):
        reach(bytes(tmp_path), (b"real", b"nothing"))


def test_no_link_leads_to_the_base_either(tmp_path: Path) -> None:
    for name in ("home/share/docker/overlay2", "elsewhere/docker/overlay2"):
        (tmp_path / name / "abc").mkdir(parents=True)
    base, names = bytes(tmp_path / "home/share/docker"), (b"overlay2", b"abc")
    found = reach(base, names).place
    # Whoever owns a directory above the data root may swap it at any moment.
    (tmp_path / "home/share").rename(tmp_path / "home/old")
    (tmp_path / "home/share").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unreachable, match="leads through"):
        reach(base, names)
    (tmp_path / "elsewhere/docker").rename(tmp_path / "elsewhere/other")
    (tmp_path / "home/old/docker").rename(tmp_path / "elsewhere/docker")
    # Even where what lies behind the link is the very same directory.
    with pytest.raises(NotReached, match="not touched"), reached(found):
        pass


@pytest.mark.parametrize("levels", [3, 3000])
def test_a_base_is_opened_however_long_its_path_is(tmp_path: Path, levels: int) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("a", dir_fd=descriptor)
        below = os.open("a", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    opened = open_straight(bytes(tmp_path) + b"/a" * levels)
    assert os.path.samestat(os.fstat(opened), os.fstat(descriptor))
    os.close(opened)
    os.close(descriptor)
    assert erase(place(tmp_path, "a"), Progress()).complete


def test_the_root_of_a_process_is_a_base() -> None:
    found = reach(b"/proc/%d/root" % os.getpid(), (b"etc", b"passwd")).place
    with reached(found) as target:
        assert os.path.samestat(target.status, os.stat("/etc/passwd"))


@pytest.mark.parametrize("odd", [(), (b"..",), (b"a", b"."), (b"",), (b"a/b",), (b"a\0",)])
def test_no_way_leads_out_of_the_base(tmp_path: Path, odd: tuple[bytes, ...]) -> None:
    with pytest.raises(Unreachable):
        reach(bytes(tmp_path), odd)


def test_a_link_out_of_the_root_is_looked_through_and_never_a_way(tmp_path: Path) -> None:
    (tmp_path / "disk/abc").mkdir(parents=True)
    (tmp_path / "root").mkdir()
    (tmp_path / "root/overlay2").symlink_to(tmp_path / "disk")
    found = seen_in_root(bytes(tmp_path / "root"), (b"overlay2", b"abc"))
    assert found.place.base == bytes(tmp_path / "disk")
    assert found.place.names == (b"abc",)
    with pytest.raises(Linked, match="symbolic link") as refused:
        reach_in_root(bytes(tmp_path / "root"), (b"overlay2", b"abc"))
    assert f"mount --bind {tmp_path}/disk {tmp_path}/root/overlay2" in refused.value.instead
    # The link itself, were it a place of a removal, is one.
    assert reach_in_root(bytes(tmp_path / "root"), (b"overlay2",)).kind == "symbolic link"


def test_a_link_that_comes_while_a_place_is_looked_for_is_no_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk/abc").mkdir(parents=True)
    (tmp_path / "root").mkdir()
    (tmp_path / "root/overlay2").symlink_to(tmp_path / "disk")
    answers = iter([False])
    monkeypatch.setattr("app.host.looks.islink", lambda _path: next(answers, True))
    with pytest.raises(Unreachable, match="leads through"):
        reach_in_root(bytes(tmp_path / "root"), (b"overlay2", b"abc"))


@pytest.fixture
def bound(tmp_path: Path) -> Iterator[Path]:
    """A directory with a bind mount of its own file system in it, and one of a file."""
    for name in ("root/in/point", "other/deep"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("root/in/file", "other/file"):
        (tmp_path / name).touch()
    pairs = ((tmp_path / "other", "root/in/point"), (tmp_path / "other/file", "root/in/file"))
    done: list[Path] = []
    try:
        for source, point in pairs:
            subprocess.run(["mount", "--bind", source, tmp_path / point], check=True)
            done.append(tmp_path / point)
        yield tmp_path / "root"
    finally:
        for path in done:
            subprocess.run(["umount", path], check=True)


@AS_ROOT
def test_no_way_leads_through_a_mount_of_the_same_device(bound: Path) -> None:
    for way in ((b"in", b"point", b"deep"), (b"in", b"point"), (b"in", b"file")):
        with pytest.raises(Unreachable, match="mount point"):
            reach(bytes(bound), way)
    assert reach_in_root(bytes(bound / "in"), (b"point", b"deep")).place.base == bytes(
        bound / "in/point"
    )


# --- measuring ------------------------------------------------------------------------------------


def test_what_has_another_name_elsewhere_frees_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one").write_bytes(b"x" * 9000)
    (tmp_path / "a/two").write_bytes(b"x" * 9000)
    os.link(tmp_path / "a/two", tmp_path / "elsewhere")
    path = bytes(tmp_path / "a")
    found = frees(measured, [path, path])
    kept = (tmp_path / "a/two").stat().st_blocks * 512
    everything = sum(it.stat().st_blocks * 512 for it in (tmp_path / "a", *tmp_path.glob("a/*")))
    assert (found.bytes, found.inodes, found.least) == (everything - kept, 2, False)
    assert frees(lambda _paths: {}, [path]).least


# --- engines --------------------------------------------------------------------------------------


def machine(at: Path, arguments: list[str]) -> tuple[Host, Path]:
    """A machine with one dockerd, and the data root in the default place."""
    process = at / "proc/77"
    process.mkdir(parents=True)
    (process / "root").symlink_to(at)
    (process / "cmdline").write_bytes(b"".join(it.encode() + b"\0" for it in arguments))
    (process / "environ").write_bytes(b"")
    root = at / "var/lib/docker"
    (root / "1000.1000").mkdir(parents=True)
    (at / "srv/docker").mkdir(parents=True)
    return Host(bytes(at)), root


def test_an_engine_serves_what_it_was_told_to(tmp_path: Path) -> None:
    host, root = machine(tmp_path, ["/usr/bin/dockerd"])
    assert serving(host, bytes(root)) == [Worker(77)]
    assert serving(host, bytes(root / "1000.1000")) == [Worker(77)]
    assert serving(host, bytes(tmp_path / "srv/docker")) == []


def test_an_engine_of_another_root_does_not_count(tmp_path: Path) -> None:
    host, root = machine(tmp_path, ["dockerd", "--data-root=/srv/docker"])
    assert serving(host, bytes(root)) == []
    assert serving(host, bytes(tmp_path / "srv/docker")) == [Worker(77)]


# --- what an overlay shows ------------------------------------------------------------------------


@pytest.fixture
def layers(tmp_path: Path) -> tuple[Path, Path, Path]:
    """An upper layer and two beneath."""
    made = tuple(tmp_path / name for name in ("upper", "middle", "base"))
    for layer in made:
        (layer / "dir/sub").mkdir(parents=True)
    (made[2] / "dir/sub/file").touch()
    return made[0], made[1], made[2]


def shown(layers: tuple[Path, Path, Path], path: str = "dir/sub/file") -> bool | None:
    upper, *beneath = layers
    parts = path.encode().split(b"/")
    return shows_beneath(look(bytes(upper), parts), map(bytes, beneath), parts)


def test_an_entry_beneath_shows(layers: tuple[Path, Path, Path]) -> None:
    assert shown(layers) is True
    assert shown(layers, "dir/sub") is True
    assert shown(layers, "dir/nothing") is False
    assert look(bytes(layers[0]), (b"dir", b"sub")) == Look(Seen.ENTRY)


@pytest.mark.parametrize("which", [0, 1])
def test_an_opaque_directory_hides_what_is_beneath(
    layers: tuple[Path, Path, Path], which: int
) -> None:
    os.setxattr(layers[which] / "dir", "user.overlay.opaque", b"y")
    assert shown(layers) is False
    # The directory itself is no child of its own.
    assert shown(layers, "dir") is True


@pytest.mark.parametrize("which", [0, 1])
def test_a_file_in_the_way_hides_what_is_beneath(
    layers: tuple[Path, Path, Path], which: int
) -> None:
    (layers[which] / "dir/sub").rmdir()
    (layers[which] / "dir/sub").touch()
    assert shown(layers) is False


def test_whiteouts(layers: tuple[Path, Path, Path]) -> None:
    white = layers[1] / "dir/sub/file"
    white.touch()
    os.setxattr(white, "user.overlay.whiteout", b"")
    assert shown(layers) is False
    # In the upper layer it is what goes: then the one beneath shows.
    mine = layers[0] / "dir/sub/file"
    mine.touch()
    os.setxattr(mine, "user.overlay.whiteout", b"")
    white.unlink()
    assert look(bytes(layers[0]), (b"dir", b"sub", b"file")).seen is Seen.WHITEOUT
    assert shown(layers) is True


@AS_ROOT
def test_whiteout_devices(layers: tuple[Path, Path, Path]) -> None:
    os.mknod(layers[1] / "dir/sub/file", 0o20000, os.makedev(0, 0))
    assert shown(layers) is False


def test_a_renamed_directory_leaves_it_open(layers: tuple[Path, Path, Path]) -> None:
    os.setxattr(layers[0] / "dir", "user.overlay.redirect", b"/old")
    assert shown(layers) is None
    assert shows_beneath(Look(Seen.UNKNOWN), (), (b"a",)) is None
