"""Nothing but regular files and directories is ever opened, whatever is put in their place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.cleanup.execute import erase
from app.cleanup.execute.outcome import Progress
from app.cleanup.plan import lower_layers as beneath
from app.cleanup.plan.model import Place
from app.cleanup.plan.reopen_path import Reached, Unreachable, reached
from app.discovery.candidates import Host, configured, rootless
from app.discovery.containerd import containerd_of
from app.host import bolt, safe_open
from app.host.safe_open import NotAFile, open_file
from app.host.safe_read import Damage, Folder, read_file
from app.scan import cache_file as kept_file
from app.scan.cache_file import KeptFile
from app.scan.listing import list_directory
from app.scan.walk import Fence
from tests.unit.commands import Run, on, tool
from tests.unit.openings import BAITS, swapped, watched
from tests.unit.removals import place
from tests.unit.small_root import make_small_root
from tests.unit.stub_engine import StubEngine

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="device nodes need root")


def tries(path: Path, call: Callable[[], object]) -> None:
    """What comes of it does not matter here: that it comes back, and opens nothing."""
    try:
        call()
    except (OSError, Damage, bolt.BoltError):
        assert os.path.lexists(path)


def readers(path: Path) -> Iterator[Callable[[], object]]:
    """Every way in which the program reads one file, with ``path`` as that file."""
    raw, above, name = bytes(path), bytes(path.parent), path.name

    def in_folder() -> object:
        with Folder.open(above) as folder:
            return folder.read(name, 100)

    yield lambda: os.close(open_file(raw))
    yield lambda: os.close(open_file(raw, follow=True))
    yield lambda: read_file(raw, 100)
    yield lambda: read_file(os.path.realpath(raw), 100)
    yield in_folder
    yield lambda: bolt.read(raw)
    yield lambda: beneath.look(above, [os.fsencode(name)])
    yield lambda: list_directory(above, Fence())


@pytest.mark.parametrize("kind", BAITS)
def test_no_way_of_reading_a_file_opens_anything_else(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    with watched(BAITS[kind](path)) as openings:
        for read in readers(path):
            tries(path, read)
        assert openings.seen() == []


def test_the_watch_sees_an_opening(tmp_path: Path) -> None:
    path = BAITS["device"](tmp_path / "it")
    with watched(path) as openings:
        os.close(os.open(path, os.O_PATH))
        assert openings.seen() == []
        os.close(os.open(path, os.O_RDONLY))
        assert openings.seen() == [path]


@pytest.mark.parametrize("kind", BAITS)
@pytest.mark.parametrize(
    "place", ["etc/docker/daemon.json", "etc/passwd", "etc/containerd/config.toml"]
)
def test_a_hosts_own_files_are_not_opened_blindly_either(
    tmp_path: Path, kind: str, place: str
) -> None:
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    root = make_small_root(tmp_path / "docker").data_root()
    with watched(BAITS[kind](tmp_path / place)) as openings:
        host = Host(bytes(tmp_path))
        configured(host)
        rootless(host)
        containerd_of(root, None, host)
        assert openings.seen() == []


def test_a_link_to_a_regular_file_is_no_harm_in_etc(tmp_path: Path) -> None:
    """As /etc/docker/daemon.json is one where somebody keeps it with their other files."""
    (tmp_path / "etc/docker").mkdir(parents=True)
    (tmp_path / "srv").mkdir()
    (tmp_path / "srv/it.json").write_text('{"data-root": "/srv/docker"}')
    (tmp_path / "etc/docker/daemon.json").symlink_to("../../srv/it.json")
    hints, problems = configured(Host(bytes(tmp_path)))
    assert ([hint.path for hint in hints], problems) == ([bytes(tmp_path) + b"/srv/docker"], [])


def baited(root: Path, kind: str) -> list[Path]:
    """Put a bait in the place of every single file of the daemon's own; what to watch."""
    found = []
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink() and "diff" not in path.parts:
            path.unlink()
            found.append(BAITS[kind](path))
    for name in ("metadata_v2.db", "containerdmeta.db", "snapshots.db"):
        path = root / "buildkit" / name
        if not os.path.lexists(path):
            path.parent.mkdir(exist_ok=True)
            found.append(BAITS[kind](path))
    return found


@pytest.mark.parametrize("core", ["native", "portable"])
@pytest.mark.parametrize("kind", BAITS)
def test_no_command_opens_what_stands_in_a_files_place(
    tmp_path: Path, kind: str, core: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = make_small_root(tmp_path / "docker")
    baits = baited(small.path, kind)
    baits.append(BAITS[kind](tmp_path / "docker/overlay2" / small.orphan.name / "diff/bait"))
    monkeypatch.setenv("WHODIFF_SCAN", core)
    with watched(*baits) as openings:
        for words in (
            ["report", "--no-cache", *on(small.path)],
            ["which", small.orphan.name, small.container.layer.name, *on(small.path)],
            ["plan", small.orphan.name, small.container.layer.name, *on(small.path)],
            ["du", small.path],
        ):
            assert "error of its own" not in run(*words)[2]
        assert openings.seen() == []


@pytest.mark.parametrize("kind", BAITS)
def test_kept_figures_are_not_opened_blindly(base: Path, kind: str) -> None:
    file = KeptFile((b"/data",))
    folder = base / os.fsdecode(kept_file._FOLDER)
    folder.mkdir(mode=0o700)
    with watched(BAITS[kind](folder / file.name)) as openings:
        assert file.load() == {}
        assert openings.seen() == []


@pytest.mark.parametrize("read", range(7))
def test_nothing_else_is_opened_in_a_race(tmp_path: Path, read: int) -> None:
    """Its name is a file's at one moment, and a device's or a pipe's at the next."""
    victim = tmp_path / "it"
    victim.write_bytes(b"")
    kinds = ("fifo", "device", "link to a device", "link to a fifo")
    others = [tmp_path / kind for kind in kinds]
    baits = [BAITS[kind](path) for kind, path in zip(kinds, others, strict=True)]
    call = list(readers(victim))[read]
    with watched(*baits) as openings, swapped(victim, *others):
        for _ in range(1000):
            tries(victim, call)
        assert openings.seen() == []


def test_a_log_is_emptied_by_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name is a device's as soon as it was looked at: neither is touched."""
    victim = tmp_path / "it"
    victim.write_bytes(b"content")
    aside = tmp_path / "aside"
    real = reached

    @contextmanager
    def late(where: Place) -> Iterator[Reached]:
        with real(where) as target:
            victim.rename(aside)
            device.rename(victim)
            yield target

    monkeypatch.setattr(erase, "reached", late)
    where = place(bytes(tmp_path), b"it")
    device = BAITS["device"](tmp_path / "device")
    with watched(device) as openings:
        with pytest.raises(Unreachable):
            erase.truncate(where, Progress())
        assert openings.seen() == []
    assert aside.read_bytes() == b"content"


def test_without_proc_a_file_is_opened_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"content")
    monkeypatch.setattr(safe_open, "_PROC", str(tmp_path / "absent"))
    descriptor = open_file(bytes(path))
    try:
        assert os.read(descriptor, 100) == b"content"
    finally:
        os.close(descriptor)
    with pytest.raises(NotAFile):
        open_file(bytes(BAITS["fifo"](tmp_path / "pipe")))


def test_reading_moves_no_access_time(tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"content")
    os.utime(path, (1, 2))
    before = path.stat().st_atime_ns
    read_file(bytes(path), 100)
    assert path.stat().st_atime_ns == before


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_the_clients_own_settings_are_not_opened(
    demo_root: Path, tmp_path: Path, kind: str
) -> None:
    """The SDK of Docker would read them: a named pipe there would never let it go on."""
    (tmp_path / ".docker").mkdir()
    with StubEngine({}) as engine, watched(BAITS[kind](tmp_path / ".docker/config.json")) as seen:
        tool(
            *("which", "0123456789ab", "--host", engine.url, "--data-root", demo_root),
            env={**os.environ, "HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path / ".docker")},
        )
        assert seen.seen() == []
