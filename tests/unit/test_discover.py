"""Which data roots there are, and what is said where there is none."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.discovery.candidates import Hint, Host, configured, running
from app.discovery.roots import (
    Discovery,
    NoDataRoot,
    NoPermission,
    NotADataRoot,
    RootError,
    classify,
    discover,
)
from app.engine.inventory import EngineInfo
from app.model import ImageStore

LAYER = "0a" * 32
CONTAINER = "0b" * 32


def overlay2_root(path: Path) -> Path:
    """A small data root of the overlay2 store."""
    (path / "overlay2" / "l").mkdir(parents=True)
    (path / "overlay2" / LAYER / "diff").mkdir(parents=True)
    (path / "image" / "overlay2" / "layerdb" / "sha256" / LAYER).mkdir(parents=True)
    (path / "containers" / CONTAINER).mkdir(parents=True)
    return path


def containerd_root(path: Path) -> Path:
    """A small data root of the containerd store."""
    (path / "image").mkdir(parents=True)
    (path / "image" / "identity-cache.db").touch()
    (path / "rootfs" / "overlayfs" / CONTAINER).mkdir(parents=True)
    (path / "containers" / CONTAINER).mkdir(parents=True)
    return path


def engine(root: Path, **changes: object) -> EngineInfo:
    """An engine that answers with this data root."""
    return EngineInfo(
        **{  # type: ignore[arg-type]
            "url": "unix:///s",
            "id": "i",
            "version": "29",
            "api_version": "1.51",
            "driver": "overlay2",
            "root": os.fsencode(root),
            "image_store": ImageStore.GRAPHDRIVER,
            **changes,
        }
    )


def find(fs_root: Path, *data_roots: Path, info: EngineInfo | None = None) -> Discovery:
    return discover([os.fsencode(root) for root in data_roots], info, os.fsencode(fs_root))


def paths(found: Discovery) -> list[Path]:
    return [Path(os.fsdecode(root.path)) for root in found.roots]


def daemon_json(host: Path, content: object) -> None:
    (host / "etc/docker").mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (host / "etc/docker/daemon.json").write_text(text)


def dockerd(
    host: Path, *arguments: str, pid: int = 77, environ: str = "", root: Path | None = None
) -> None:
    """A process that looks like dockerd; its root directory is the host's, or another."""
    home = host / "proc" / str(pid)
    home.mkdir(parents=True)
    (home / "cmdline").write_bytes(
        b"".join(os.fsencode(it) + b"\0" for it in ("/usr/bin/dockerd", *arguments))
    )
    (home / "environ").write_bytes(os.fsencode(environ))
    (home / "root").symlink_to(root or host)
    (home / "cwd").symlink_to("/srv")


# --- what a directory is --------------------------------------------------------------------------


def test_the_captured_hosts_are_told_apart(captures: Path) -> None:
    overlay2 = classify(os.fsencode(captures / "overlay2/var/lib/docker"))
    assert (overlay2.driver, overlay2.image_store) == ("overlay2", ImageStore.GRAPHDRIVER)
    containerd = classify(os.fsencode(captures / "containerd/var/lib/docker"))
    assert (containerd.driver, containerd.image_store) == ("overlayfs", ImageStore.CONTAINERD)


def test_a_fresh_engine_without_a_single_layer(tmp_path: Path) -> None:
    (tmp_path / "overlay2" / "l").mkdir(parents=True)
    (tmp_path / "image/overlay2/layerdb").mkdir(parents=True)
    found = classify(os.fsencode(tmp_path))
    assert (found.driver, found.image_store) == ("overlay2", ImageStore.GRAPHDRIVER)


def test_both_stores_with_data_are_undecided(tmp_path: Path) -> None:
    overlay2_root(tmp_path)
    (tmp_path / "buildkit" / "containerd-overlayfs").mkdir(parents=True)
    found = classify(os.fsencode(tmp_path))
    assert (found.driver, found.image_store) == ("overlay2", ImageStore.UNDECIDED)


def test_an_empty_overlay2_beside_a_containerd_store_decides_nothing(tmp_path: Path) -> None:
    containerd_root(tmp_path)
    (tmp_path / "overlay2" / "l").mkdir(parents=True)
    assert classify(os.fsencode(tmp_path)).image_store is ImageStore.CONTAINERD


@pytest.mark.parametrize(
    "part", [f"containers/{CONTAINER}", "volumes/data/_data", f"vfs/dir/{LAYER}"]
)
def test_a_part_of_a_data_root_is_one(tmp_path: Path, part: str) -> None:
    (tmp_path / part).mkdir(parents=True)
    classify(os.fsencode(tmp_path))


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ("overlay2", "give {root}."),
        (f"overlay2/{LAYER}", "give {root}."),
        ("image/overlay2", "give {root}."),
        ("..", "no Docker data root"),
    ],
)
def test_a_directory_inside_or_around_a_data_root_is_corrected(
    tmp_path: Path, inside: str, words: str
) -> None:
    root = overlay2_root(tmp_path / "docker")
    with pytest.raises(NotADataRoot) as caught:
        find(tmp_path, (root / inside).resolve())
    assert words.format(root=root) in str(caught.value)


def test_what_else_it_can_be(tmp_path: Path) -> None:
    containerd = tmp_path / "containerd"
    (containerd / "io.containerd.snapshotter.v1.overlayfs").mkdir(parents=True)
    podman = tmp_path / "storage"
    (podman / "overlay-layers").mkdir(parents=True)
    (podman / "overlay" / LAYER / "diff").mkdir(parents=True)
    layer = tmp_path / "alone"
    (layer / "diff").mkdir(parents=True)
    (layer / "link").write_text("X")
    machine = tmp_path / "mnt"
    overlay2_root(machine / "var/lib/docker")
    for path, words in (
        (containerd, "belongs to containerd"),
        (podman, "belongs to podman"),
        (layer, "a single layer directory"),
        (machine, f"give {machine}/var/lib/docker."),
        (tmp_path, "no Docker data root"),
    ):
        with pytest.raises(NotADataRoot) as caught:
            find(tmp_path, path)
        assert words in str(caught.value)
        assert str(path) in str(caught.value)


def test_a_path_that_is_no_directory_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(NotADataRoot, match="no directory"):
        find(tmp_path, tmp_path / "file")
    for name in ("missing", "loop", "x" * 300):
        with pytest.raises(NoDataRoot):
            find(tmp_path, tmp_path / name)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_directory_that_may_not_be_read() -> None:
    # Not pytest's own temporary directory: nobody else may enter that one.
    with tempfile.TemporaryDirectory() as folder:
        host = Path(folder)
        host.chmod(0o755)
        root = overlay2_root(host / "var/lib/docker")
        root.chmod(0o710)
        os.seteuid(65534)
        try:
            with pytest.raises(NoPermission, match="run whodiff with sudo") as named:
                find(host, root)
            with pytest.raises(NoPermission, match="run whodiff with sudo"):
                find(host)
        finally:
            os.seteuid(0)
    assert str(root) in str(named.value)


# --- explicit roots -------------------------------------------------------------------------------


def test_named_roots_are_all_there_is(tmp_path: Path) -> None:
    overlay2_root(tmp_path / "var/lib/docker")
    first, second = overlay2_root(tmp_path / "b"), containerd_root(tmp_path / "a")
    link = tmp_path / "link"
    link.symlink_to(first)
    found = find(tmp_path, first, second, link, info=engine(tmp_path / "var/lib/docker"))
    assert paths(found) == [first, second]
    assert [root.engine_url for root in found.roots] == ["", ""]
    assert found.roots[0].found_by == "named by --data-root"


def test_the_engine_serves_the_same_directory_whatever_its_name(tmp_path: Path) -> None:
    root = overlay2_root(tmp_path / "data")
    link = tmp_path / "docker"
    link.symlink_to(root)
    info = engine(link, driver="overlayfs", image_store=ImageStore.CONTAINERD)
    (served,) = find(tmp_path, root, info=info).roots
    assert served.engine_url == "unix:///s"
    assert (served.driver, served.image_store) == ("overlayfs", ImageStore.CONTAINERD)


def test_remapped_roots_below_a_named_one_come_along(tmp_path: Path) -> None:
    root = overlay2_root(tmp_path / "docker")
    below = overlay2_root(root / "200000.200000")
    (root / "1.2").mkdir()
    found = find(tmp_path, root)
    assert paths(found) == [root, below]
    assert found.roots[0].nested == (os.fsencode(below),)
    assert "userns" in found.roots[1].found_by


def test_what_lies_below_a_named_root_is_as_little_this_machines_as_that(tmp_path: Path) -> None:
    root = overlay2_root(tmp_path / "var/lib/docker")
    overlay2_root(root / "200000.200000")
    assert [it.named for it in find(tmp_path, root).roots] == [True, True]
    assert [it.named for it in find(tmp_path).roots] == [False, False]


def test_a_root_with_nothing_but_a_remapped_one(tmp_path: Path) -> None:
    below = overlay2_root(tmp_path / "docker" / "200000.200000")
    assert paths(find(tmp_path, tmp_path / "docker")) == [below]


def test_a_deep_nest_of_remapped_names_is_no_trap(tmp_path: Path) -> None:
    path = tmp_path
    for _ in range(300):
        path = path / "1.1"
        path.mkdir()
    with pytest.raises(NotADataRoot):
        find(tmp_path, tmp_path)


# --- the engine's word ----------------------------------------------------------------------------


def test_the_engines_root_comes_before_every_hint(tmp_path: Path) -> None:
    root = overlay2_root(tmp_path / "elsewhere")
    overlay2_root(tmp_path / "var/lib/docker")
    daemon_json(tmp_path, {"data-root": "/var/lib/docker"})
    (only,) = find(tmp_path, info=engine(root)).roots
    assert Path(os.fsdecode(only.path)) == root
    assert only.engine_url == "unix:///s"
    assert only.found_by == "the engine at unix:///s"


def test_an_engine_that_has_nothing_yet_is_believed(tmp_path: Path) -> None:
    for name in ("containers", "image", "volumes", "plugins", "tmp"):
        (tmp_path / "d" / name).mkdir(parents=True)
    (only,) = find(tmp_path, info=engine(tmp_path / "d")).roots
    assert only.driver == "overlay2"


@pytest.mark.parametrize(
    "claim", ["/", "/proc", "/etc/passwd", "..", "", "{tmp}/empty", "{tmp}/gone"]
)
def test_a_directory_that_an_engine_names_must_look_like_a_data_root(
    tmp_path: Path, claim: str
) -> None:
    (tmp_path / "empty").mkdir()
    root = overlay2_root(tmp_path / "var/lib/docker")
    named = claim.format(tmp=tmp_path).encode()
    info = replace(engine(tmp_path), root=named)
    found = find(tmp_path, info=info)
    assert paths(found) == [root]
    assert found.roots[0].engine_url == ""
    if named == b"/":
        told = "the daemon at unix:///s calls / its data root, but Docker has nothing there"
        assert told in found.problems[0].sentence
    if os.path.isdir(named) and named.startswith(b"/"):
        with pytest.raises(NotADataRoot):
            find(tmp_path, Path(os.fsdecode(named)), info=info)


def test_what_an_engine_names_is_the_reason_where_there_is_nothing_else(tmp_path: Path) -> None:
    with pytest.raises(NoDataRoot, match="calls / its data root, but Docker has nothing there"):
        find(tmp_path, info=replace(engine(tmp_path), root=b"/"))


def test_a_remapped_root_that_is_a_link_is_somebody_elses(tmp_path: Path) -> None:
    root = overlay2_root(tmp_path / "docker")
    other = overlay2_root(tmp_path / "other")
    (root / "200000.200000").symlink_to(other)
    assert paths(find(tmp_path, root)) == [root]
    (root / "300000.300000").mkdir()
    assert paths(find(tmp_path, info=engine(root))) == [root]


def test_beside_a_remapped_engine_root_the_older_tree_is_shown(tmp_path: Path) -> None:
    above = overlay2_root(tmp_path / "docker")
    remapped = overlay2_root(above / "200000.200000")
    other = overlay2_root(above / "300000.300000")
    found = find(tmp_path, info=engine(remapped))
    assert paths(found) == [remapped, above, other]
    assert [root.engine_url for root in found.roots] == ["unix:///s", "", ""]


# --- hints ----------------------------------------------------------------------------------------


def test_the_default_place(tmp_path: Path) -> None:
    root = overlay2_root(tmp_path / "var/lib/docker")
    (only,) = find(tmp_path).roots
    assert Path(os.fsdecode(only.path)) == root
    assert only.found_by == "the default place"


@pytest.mark.parametrize("key", ["data-root", "graph"])
def test_daemon_json_comes_before_the_default(tmp_path: Path, key: str) -> None:
    overlay2_root(tmp_path / "var/lib/docker")
    root = overlay2_root(tmp_path / "srv/docker")
    daemon_json(tmp_path, {key: "/srv/docker", "log-driver": "local"})
    found = find(tmp_path)
    assert paths(found) == [root]
    assert found.problems == ()
    assert "/etc/docker/daemon.json" in found.roots[0].found_by


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "3",
        '{"data-root": 3}',
        '{"data-root": ["/srv"]}',
        '{"data-root": "/gone"}',
        "[" * 100_000,
    ],
)
def test_a_bad_daemon_json_is_said_and_the_search_goes_on(tmp_path: Path, content: str) -> None:
    root = overlay2_root(tmp_path / "var/lib/docker")
    daemon_json(tmp_path, content)
    found = find(tmp_path)
    assert paths(found) == [root]
    (problem,) = found.problems
    assert problem.sentence.endswith(".")
    assert "\n" not in problem.sentence


def test_a_daemon_json_that_is_a_pipe_does_not_hang(tmp_path: Path) -> None:
    root = overlay2_root(tmp_path / "var/lib/docker")
    (tmp_path / "etc/docker").mkdir(parents=True)
    os.mkfifo(tmp_path / "etc/docker/daemon.json")
    assert paths(find(tmp_path)) == [root]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--data-root", "/srv/docker"),
        ("--data-root=/srv/docker", "-H", "fd://"),
        ("--debug", "-g", "/srv/docker"),
        ("-g=/srv/docker",),
        ("-g/srv/docker",),
        ("--graph=/srv/docker",),
        ("--data-root", "/first", "--data-root", "/srv/docker"),
        ("--data-root", "docker"),
        ("--config-file", "/srv/daemon.json"),
    ],
)
def test_a_running_engines_command_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    overlay2_root(tmp_path / "var/lib/docker")
    root = overlay2_root(tmp_path / "srv/docker")
    (tmp_path / "srv/daemon.json").write_text('{"data-root": "/srv/docker"}')
    dockerd(tmp_path, *arguments)
    found = find(tmp_path)
    assert paths(found) == [root]
    assert found.problems == ()


def test_two_running_engines_are_both_shown(tmp_path: Path) -> None:
    first, second = overlay2_root(tmp_path / "one"), containerd_root(tmp_path / "two")
    dockerd(tmp_path, "--data-root=/one", pid=5)
    dockerd(tmp_path, "--data-root=/two", pid=6)
    assert paths(find(tmp_path)) == [first, second]


@pytest.mark.parametrize("its_own", ["inside/srv/docker", "inside/elsewhere"])
def test_an_engine_inside_a_container_means_another_directory(tmp_path: Path, its_own: str) -> None:
    root = overlay2_root(tmp_path / "var/lib/docker")
    overlay2_root(tmp_path / "srv/docker")
    overlay2_root(tmp_path / its_own)
    dockerd(tmp_path, "--data-root=/srv/docker", root=tmp_path / "inside")
    assert paths(find(tmp_path)) == [root]


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give directories away")


@AS_ROOT
def test_rootless_engines_of_users_with_a_home(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(
        "root:x:0:0::/root:/bin/sh\nann:x:1000:1000:Ann:/home/ann:/bin/sh\nbad line\n"
        "bob:x:1001:1001::/home/bob:/bin/sh\nx:x:1:1::relative:/bin/sh\nfar:x:2:2::/net/far:/bin/sh\n"
    )
    main = overlay2_root(tmp_path / "var/lib/docker")
    anns = overlay2_root(tmp_path / "home/ann/.local/share/docker")
    os.chown(anns, 1000, 1000)
    os.chown(overlay2_root(tmp_path / "net/far/.local/share/docker"), 2, 2)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(
        "1 0 8:1 / / rw - ext4 a rw\n2 1 0:9 / /net rw - autofs b rw\n"
    )
    found = find(tmp_path)
    assert paths(found) == [main, anns]
    assert "ann" in found.roots[1].found_by
    assert paths(find(tmp_path, info=engine(anns))) == [anns]


@AS_ROOT
def test_a_running_rootless_engine_with_its_own_data_home(tmp_path: Path) -> None:
    root = overlay2_root(tmp_path / "data/ann/docker")
    os.chown(root, 1000, 1000)
    dockerd(tmp_path, environ="HOME=/home/ann\0XDG_DATA_HOME=/data/ann\0")
    os.chown(tmp_path / "proc/77", 1000, 1000)
    assert paths(find(tmp_path)) == [root]


@AS_ROOT
def test_a_users_engine_stands_beside_this_machines_root_and_never_in_for_it(
    tmp_path: Path,
) -> None:
    main = overlay2_root(tmp_path / "var/lib/docker")
    theirs = overlay2_root(tmp_path / "srv/mallory")
    roots = overlay2_root(tmp_path / "srv/roots")
    os.chown(theirs, 4711, 4711)
    for pid, path in ((5, "/srv/mallory"), (6, "/srv/roots")):
        dockerd(tmp_path, f"--data-root={path}", pid=pid)
        os.chown(tmp_path / "proc" / str(pid), 4711, 4711)
    assert paths(find(tmp_path)) == [main, theirs]
    os.chown(tmp_path / "proc/6", 0, 0)
    assert paths(find(tmp_path)) == [roots, theirs]


def test_nothing_at_all(tmp_path: Path) -> None:
    with pytest.raises(NoDataRoot, match="--data-root DIR, or try whodiff --demo"):
        find(tmp_path)


@AS_ROOT
def test_a_default_place_that_is_not_dockers_is_said(tmp_path: Path) -> None:
    (tmp_path / "var/lib/docker").mkdir(parents=True)
    other = overlay2_root(tmp_path / "home/ann/.local/share/docker")
    os.chown(other, 1000, 1000)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("ann:x:1000:1000::/home/ann:/bin/sh\n")
    found = find(tmp_path)
    assert paths(found) == [other]
    assert "Passed over the default place" in found.problems[0].sentence


# --- fuzz -----------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=12).map(lambda raw: raw.replace(b"\0", b"")), max_size=6))
def test_any_command_line_gives_absolute_paths_or_nothing(
    tmp_path_factory: pytest.TempPathFactory, arguments: list[bytes]
) -> None:
    host = tmp_path_factory.mktemp("host")
    home = host / "proc/9"
    home.mkdir(parents=True)
    flags = [b"-g", b"--data-root", *arguments]
    (home / "cmdline").write_bytes(b"\0".join([b"dockerd", *flags]) + b"\0")
    (home / "root").symlink_to(host)
    hints, _ = running(Host(os.fsencode(host)))
    assert all(hint.path.startswith(os.fsencode(host)) for hint in hints)


@given(st.binary(max_size=60))
def test_any_daemon_json_is_hints_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    host = tmp_path_factory.mktemp("host")
    (host / "etc/docker").mkdir(parents=True)
    (host / "etc/docker/daemon.json").write_bytes(content)
    hints, problems = configured(Host(os.fsencode(host)))
    assert all(isinstance(hint, Hint) for hint in hints)
    assert all(problem.sentence.endswith(".") for problem in problems)


@given(
    st.lists(
        st.sampled_from(
            ["overlay2", "image", "rootfs", "1.1", "l", LAYER, "volumes", "_data", "buildkit"]
        ),
        max_size=6,
    )
)
def test_any_tree_is_classified_or_refused_with_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    top = tmp_path_factory.mktemp("top")
    (top / "/".join(names)).mkdir(parents=True, exist_ok=True)
    with suppress(RootError):
        assert discover([os.fsencode(top)], None).roots
