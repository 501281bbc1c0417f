"""How far data roots are believed, beside a real engine: links, mounts and other users' roots.

Users' homes are made up: in this mount namespace /etc/passwd is a file of the test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.cleanup.plan.model import Plan, Subject, Wish
from app.cleanup.plan.planner import make_plan, wish_for
from app.discovery.request import Request, Survey
from app.model import Hold, Role, Store
from app.survey import survey
from tests.engine import archive, scenario
from tests.engine.conftest import _engine, ended_by_sigterm
from tests.engine.dockerd import Engine

pytestmark = pytest.mark.engine

MALLORY = 4711
OLD = time.time() - 30 * 86400
ID = "f" * 64


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """An engine with an image and a stopped container, everything in it a month old."""
    with ended_by_sigterm(), _engine() as engine:
        engine.start()
        layers = [archive.busybox_layer(Path(engine.tools.busybox))]
        image = archive.image(scenario.BASE, layers, engine.get("/version")["Arch"])
        engine.docker("load", stdin=image)
        script = "echo wages > /payroll"
        engine.docker("run", "--network=none", "--name=pay", scenario.BASE, "sh", "-c", script)
        age(engine.overlay2)
        yield engine


@pytest.fixture(autouse=True)
def _as_on_the_machine_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is refused merely for the PID namespace that the tests run in."""
    monkeypatch.setattr("app.cleanup.plan.context.sees_machine", lambda _proc: True)
    monkeypatch.setattr("app.cleanup.plan.orphan_checks.YOUNG", 0.0)


@pytest.fixture
def home(engine: Engine) -> Iterator[Path]:
    """Mallory's home in a passwd(5) of our own; what is mounted below goes first."""
    with tempfile.TemporaryDirectory(dir=engine.base) as folder:
        top = Path(folder)
        top.chmod(0o755)
        engine.base.chmod(0o755)
        os.chown(top, MALLORY, MALLORY)
        passwd = engine.base / "passwd"
        passwd.write_text(
            f"root:x:0:0::/root:/bin/sh\nmallory:x:{MALLORY}:{MALLORY}::{top}:/bin/sh\n"
        )
        with bound(passwd, Path("/etc/passwd")):
            try:
                yield top
            finally:
                unmount_below(top)


@contextmanager
def bound(source: Path, point: Path) -> Iterator[None]:
    subprocess.run(["mount", "--bind", source, point], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", point], check=True)


def unmount_below(top: Path) -> None:
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        if line.split()[4].startswith(f"{top}/"):
            subprocess.run(["umount", line.split()[4]], check=True)


def age(overlay2: Path) -> None:
    """Make every layer so old that it cannot be in the making."""
    for layer in overlay2.iterdir():
        for path in (layer, layer / "diff"):
            if path.is_dir():
                os.utime(path, (OLD, OLD))


def names_of_nothing(root: Path) -> None:
    """The databases of a Docker that has nothing."""
    for name in ("imagedb/content/sha256", "layerdb/sha256", "layerdb/mounts", "layerdb/tmp"):
        (root / "image/overlay2" / name).mkdir(parents=True)
    (root / "image/overlay2/repositories.json").write_text('{"Repositories":{}}')
    for name in ("containers", "volumes", "tmp"):
        (root / name).mkdir()


def give_away(top: Path) -> None:
    for path in (top, *top.rglob("*")):
        os.chown(path, MALLORY, MALLORY, follow_symlinks=False)


def mallorys(home: Path) -> Path:
    root = home / ".local/share/docker"
    root.mkdir(parents=True)
    names_of_nothing(root)
    give_away(home / ".local")
    return root


def ask(engine: Engine, *roots: Path, offline: bool = False) -> Survey:
    return survey(Request(tuple(map(bytes, roots)), engine.url, offline=offline, environ={}))


def store_at(found: Survey, root: Path) -> Store:
    return next(it for it in found.stores if it.root.path == bytes(root))


def sentences(found: Survey) -> str:
    problems = [*found.problems, *(it for store in found.stores for it in store.problems)]
    return "\n".join(it.sentence for it in problems)


def assert_harmless(engine: Engine, found: Survey, root: Path) -> None:
    """No layer of the engine's is unreferenced or may go, under whatever path it is asked for."""
    real = {it.name for it in engine.overlay2.iterdir()} - {"l"}
    assert len(real) >= 3
    for store in found.stores:
        for layer in store.layers.values():
            assert layer.id not in real or layer.role is not Role.UNREFERENCED, layer
        if store.root.path == bytes(root):
            assert {it.role for it in store.layers.values() if it.id in real} <= {Role.UNKNOWN}
        for top in (root, engine.data):
            for name in sorted(real):
                path = bytes(top / "overlay2" / name)
                plan = make_plan(Wish(Subject.PATH, store.root.path, path=path), found)
                raw = [step for step in plan.steps if step.place]
                assert not raw, plan
                for wish in wish_for(path, found):
                    assert not [it for it in make_plan(wish, found).steps if it.place]
        for token in os.listdir(engine.overlay2 / "l"):
            path = bytes(root / "overlay2/l" / token)
            assert not make_plan(Wish(Subject.PATH, store.root.path, path=path), found).steps


# --- a user's root that shows root's layers -------------------------------------------------------


def put_link(engine: Engine, root: Path) -> None:
    (root / "overlay2").symlink_to(engine.overlay2)


def put_mount(engine: Engine, root: Path) -> None:
    (root / "overlay2").mkdir()
    subprocess.run(["mount", "--bind", engine.overlay2, root / "overlay2"], check=True)


def put_some_layers(engine: Engine, root: Path) -> None:
    (root / "overlay2/l").mkdir(parents=True)
    for layer in engine.overlay2.iterdir():
        if layer.name != "l":
            (root / "overlay2" / layer.name).mkdir()
            point = root / "overlay2" / layer.name
            subprocess.run(["mount", "--bind", layer, point], check=True)
    for link in (engine.overlay2 / "l").iterdir():
        (root / "overlay2/l" / link.name).symlink_to(os.readlink(link))
    os.chown(root / "overlay2", MALLORY, MALLORY)


def put_layer_links(engine: Engine, root: Path) -> None:
    (root / "overlay2/l").mkdir(parents=True)
    for layer in engine.overlay2.iterdir():
        if layer.name != "l":
            (root / "overlay2" / layer.name).symlink_to(layer)


def put_links_to_links(engine: Engine, root: Path) -> None:
    (root / "overlay2").mkdir()
    (root / "overlay2/l").symlink_to(engine.overlay2 / "l")


def put_mounted_links(engine: Engine, root: Path) -> None:
    (root / "overlay2/l").mkdir(parents=True)
    subprocess.run(["mount", "--bind", engine.overlay2 / "l", root / "overlay2/l"], check=True)


def put_everything_as_links(engine: Engine, root: Path) -> None:
    for name in ("image", "containers", "volumes", "tmp"):
        shutil.rmtree(root / name)
    for name in ("image", "containers", "volumes", "tmp", "buildkit", "overlay2"):
        (root / name).symlink_to(engine.data / name)


WAYS = [
    put_link,
    put_mount,
    put_some_layers,
    put_layer_links,
    put_links_to_links,
    put_mounted_links,
    put_everything_as_links,
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("offline", [False, True])
def test_a_users_root_says_nothing_of_roots_layers(
    engine: Engine, home: Path, way: object, offline: bool
) -> None:
    root = mallorys(home)
    assert callable(way)
    way(engine, root)
    found = ask(engine, offline=offline)
    # It was found unaided.
    assert store_at(found, root)
    assert_harmless(engine, found, root)
    both = ask(engine, root, engine.data, offline=offline)
    assert_harmless(engine, both, root)
    alone = ask(engine, root, offline=offline)
    assert_harmless(engine, alone, root)
    real = store_at(both, engine.data)
    assert Role.WRITABLE in {it.role for it in real.layers.values()}
    assert all(part.hold is Hold.OWN for part in real.root.parts), real.root.parts


@pytest.mark.parametrize("way", ["link", "mount"])
def test_a_home_that_shows_the_whole_root_of_somebody_else_is_passed_over(
    engine: Engine, home: Path, way: str
) -> None:
    (home / ".local/share").mkdir(parents=True)
    root = home / ".local/share/docker"
    if way == "link":
        root.symlink_to(engine.data)
    else:
        root.mkdir()
        subprocess.run(["mount", "--bind", engine.data, root], check=True)
    found = ask(engine)
    assert [it.root.path for it in found.stores] == [bytes(engine.data)]
    assert f"Passed over {root}" in sentences(found)
    both = ask(engine, engine.data, root)
    assert [it.root.path for it in both.stores] == [bytes(engine.data)]
    if way == "mount":
        assert f"{root} is the same directory as {engine.data}" in sentences(both)


# --- another root of root's -----------------------------------------------------------------------


@pytest.mark.parametrize("way", [put_link, put_mount])
def test_one_directory_of_layers_is_the_store_of_whose_daemon_works_there(
    engine: Engine, home: Path, way: object
) -> None:
    root = engine.base / "second"
    root.mkdir()
    try:
        names_of_nothing(root)
        assert callable(way)
        way(engine, root)
        for found in (ask(engine, root), ask(engine, root, engine.data)):
            (part,) = [
                it for it in store_at(found, root).root.parts if it.path.endswith(b"overlay2")
            ]
            assert (part.hold, part.rivals) == (Hold.OTHERS, (bytes(engine.data),))
            assert f"shows the same directory as {engine.data}, where Docker works" in sentences(
                found
            )
            assert_harmless(engine, found, root)
        with engine.stopped():
            for found in (
                ask(engine, root, offline=True),
                ask(engine, root, engine.data, offline=True),
            ):
                (part,) = [
                    it for it in store_at(found, root).root.parts if it.path.endswith(b"overlay2")
                ]
                assert part.hold is Hold.SHARED
                assert "nobody can tell which of them is in use" in sentences(found)
                assert_harmless(engine, found, root)
    finally:
        unmount_below(root)
        shutil.rmtree(root)


# --- a symlink as the first name ------------------------------------------------------------------


def plan_for(found: Survey, root: Path, path: Path) -> Plan:
    return make_plan(Wish(Subject.PATH, bytes(root), path=bytes(path)), found)


@contextmanager
def replaced(path: Path, target: Path) -> Iterator[None]:
    """A link in the place of this directory."""
    aside = path.with_name(f"{path.name}.aside")
    path.rename(aside)
    path.symlink_to(target)
    try:
        yield
    finally:
        path.unlink()
        aside.rename(path)


@pytest.mark.parametrize("way", ["link", "mount"])
@pytest.mark.parametrize("offline", [False, True])
def test_what_lies_behind_tmp_is_not_temporary(
    engine: Engine, home: Path, way: str, offline: bool
) -> None:
    somewhere = home / "somewhere"
    (somewhere / "payroll").mkdir(parents=True)
    (somewhere / "payroll/wages").write_text("4711")
    for path in (somewhere / "payroll/wages", somewhere / "payroll"):
        os.utime(path, (OLD, OLD))
    tmp = engine.data / "tmp"
    made = replaced(tmp, somewhere) if way == "link" else bound(somewhere, tmp)
    with made:
        found = ask(engine, engine.data, offline=offline)
        # Two hours later, for what was made a moment ago is not old enough anyway.
        wish = Wish(Subject.PATH, bytes(engine.data), path=bytes(tmp / "payroll"))
        plan = make_plan(wish, found, now=time.time() + 7200)
        assert not plan.steps
        assert ("symbolic link" in plan.refused_because) == (way == "link")
        assert str(somewhere) in plan.refused_because
        assert f"look at it in {somewhere}" in plan.instead
        assert str(somewhere) in sentences(found)
    assert (somewhere / "payroll/wages").read_text() == "4711"


@pytest.mark.parametrize("way", ["link", "mount"])
def test_the_logs_of_another_daemons_containers_stay(engine: Engine, home: Path, way: str) -> None:
    root = engine.base / "second"
    root.mkdir()
    try:
        names_of_nothing(root)
        (root / "overlay2/l").mkdir(parents=True)
        if way == "link":
            (root / "containers").rmdir()
            (root / "containers").symlink_to(engine.data / "containers")
        else:
            subprocess.run(
                ["mount", "--bind", engine.data / "containers", root / "containers"], check=True
            )
        (id_,) = engine.docker("ps", "-aq", "--no-trunc").split()
        log = engine.data / "containers" / id_ / f"{id_}-json.log"
        log.write_text("a line\n")
        found = ask(engine, root)
        for path in (root / "containers" / id_, root / "containers" / id_ / log.name):
            assert not plan_for(found, root, path).steps
        assert log.read_text() == "a line\n"
        # At the root of the daemon itself it may be emptied.
        assert plan_for(ask(engine, engine.data), engine.data, log).steps
    finally:
        unmount_below(root)
        shutil.rmtree(root)


def test_a_linked_directory_of_layers_is_shown_and_docker_removes_from_it(
    engine: Engine, home: Path
) -> None:
    """As somebody does whose disk is full: cases of the kind of docker/for-linux#1211."""
    disk = home / "disk"
    disk.mkdir()
    os.chown(home, 0, 0)
    with engine.stopped():
        shutil.move(engine.overlay2, disk / "overlay2")
        engine.overlay2.symlink_to(disk / "overlay2")
    try:
        orphan = engine.overlay2 / ID
        (orphan / "diff").mkdir(parents=True)
        (orphan / "link").write_text("A" * 26)
        (engine.overlay2 / "l" / ("A" * 26)).symlink_to(f"../{ID}/diff")
        age(engine.overlay2)
        found = ask(engine, engine.data)
        store = store_at(found, engine.data)
        roles = {it.role for it in store.layers.values()}
        assert {Role.WRITABLE, Role.INIT, Role.IMAGE} <= roles
        assert f"{engine.overlay2} is a symbolic link to {disk}/overlay2" in sentences(found)
        assert store.layers[ID].role is Role.UNREFERENCED
        plan = plan_for(found, engine.data, orphan)
        assert not plan.steps
        assert "symbolic link" in plan.refused_because
        assert f"mount --bind {disk}/overlay2 {engine.overlay2}" in plan.instead
        # A file in a stopped container, too.
        (layer,) = [it for it in store.layers.values() if it.role is Role.WRITABLE]
        path = Path(os.fsdecode(layer.path), "diff/payroll")
        assert path.exists()
        assert not plan_for(found, engine.data, path).steps
        # Docker's own removals go on: the container, by its id or by its directory.
        container = layer.owners[0].id
        wish = Wish(Subject.CONTAINER, bytes(engine.data), id=container)
        assert make_plan(wish, found).allowed
        assert plan_for(found, engine.data, path.parent.parent).allowed
    finally:
        with engine.stopped():
            engine.overlay2.unlink()
            shutil.rmtree(disk / "overlay2" / ID, ignore_errors=True)
            (disk / "overlay2/l" / ("A" * 26)).unlink(missing_ok=True)
            shutil.move(disk / "overlay2", engine.overlay2)


@contextmanager
def orphan_in(overlay2: Path) -> Iterator[Path]:
    """A layer that no metadata names, a month old."""
    orphan, link = overlay2 / ID, overlay2 / "l" / ("A" * 26)
    (orphan / "diff").mkdir(parents=True)
    (orphan / "link").write_text(link.name)
    link.symlink_to(f"../{ID}/diff")
    age(overlay2)
    try:
        yield orphan
    finally:
        shutil.rmtree(orphan)
        link.unlink()


@contextmanager
def called_dockerd(uid: int, *arguments: str | Path) -> Iterator[int]:
    """A process of this user that calls itself dockerd and has these arguments."""
    with subprocess.Popen(
        ["dockerd", "-c", "read line", *map(str, arguments)],
        executable="/bin/sh",
        user=uid,
        stdin=subprocess.PIPE,
    ) as process:
        try:
            yield process.pid
        finally:
            process.kill()


@pytest.mark.parametrize(
    "arguments", [("--data-root", "ROOT"), ("--config-file", "/etc/passwd"), ()]
)
def test_a_users_fake_holds_nothing_up_and_the_real_daemon_does(
    engine: Engine, home: Path, arguments: tuple[str, ...]
) -> None:
    named = [str(engine.data) if it == "ROOT" else it for it in arguments]
    with orphan_in(engine.overlay2) as orphan, called_dockerd(MALLORY, *named):
        plan = plan_for(ask(engine, engine.data, offline=True), engine.data, orphan)
        assert f"dockerd, process {engine.pid}, works on this data root" in plan.refused_because
        with engine.stopped():
            plan = plan_for(ask(engine, engine.data, offline=True), engine.data, orphan)
            assert plan.allowed, plan.refused_because
            with called_dockerd(0, "--config-file", "/etc/passwd") as pid:
                plan = plan_for(ask(engine, engine.data, offline=True), engine.data, orphan)
                told = f"dockerd, process {pid}, may work on this data root, for its settings"
                assert told in plan.refused_because


def test_the_next_step_after_a_link_works(engine: Engine, home: Path) -> None:
    """With a mount in the place of the link the same removal is allowed."""
    disk = home / "disk"
    disk.mkdir()
    os.chown(home, 0, 0)
    shutil.copytree(engine.overlay2, disk / "overlay2", symlinks=True)
    root = engine.base / "second"
    root.mkdir()
    try:
        names_of_nothing(root)
        orphan = disk / "overlay2" / ID
        (orphan / "diff").mkdir(parents=True)
        (orphan / "link").write_text("A" * 26)
        (disk / "overlay2/l" / ("A" * 26)).symlink_to(f"../{ID}/diff")
        (root / "overlay2").mkdir()
        subprocess.run(["mount", "--bind", disk / "overlay2", root / "overlay2"], check=True)
        age(disk / "overlay2")
        found = ask(engine, root, offline=True)
        plan = plan_for(found, root, root / "overlay2" / ID)
        assert plan.allowed, plan.refused_because
    finally:
        unmount_below(root)
        shutil.rmtree(root)


# --- who is believed to be the daemon -------------------------------------------------------------


def test_a_real_daemon_holds_up_raw_removal_whatever_it_calls_itself(
    engine: Engine, home: Path
) -> None:
    found = ask(engine, engine.data, offline=True)
    from app.discovery.candidates import Host, Worker, serving  # noqa: PLC0415

    assert serving(Host(), bytes(engine.data)) == [Worker(engine.pid)]
    assert found.stores[0].root.path == bytes(engine.data)
    with engine.stopped():
        assert serving(Host(), bytes(engine.data)) == []
        other = subprocess.Popen(
            ["innocent", *engine._options(), "--data-root-is-none-of-your-business"][:-1],
            executable=engine.tools.dockerd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            end = time.monotonic() + 30
            while not engine._answers():
                assert time.monotonic() < end
                time.sleep(0.05)
            assert serving(Host(), bytes(engine.data)) == [Worker(other.pid)]
        finally:
            other.terminate()
            other.wait(30)
