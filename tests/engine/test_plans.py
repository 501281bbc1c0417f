"""What may be removed on a real engine, and by which call; and the mistakes of other tools.

Only plans: nothing here removes anything.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from app.cleanup.plan.model import Action, Confirmation, Plan, Subject, Wish, changes
from app.cleanup.plan.planner import make_plan, wish_for
from app.model import Kind, Role
from app.survey import Request, Survey, survey
from tests.engine import archive
from tests.engine.dockerd import Engine
from tests.engine.scenario import BASE, ELK_PATH, FLOOD_PATH, WEB_TAGS, Scenario
from tests.engine.truth import Truth, layer_names
from tests.unit.removals import identified

pytestmark = pytest.mark.engine

Planner = Callable[..., Plan]


def surveyed(engine: Engine, *, offline: bool = False) -> Survey:
    return survey(Request((bytes(engine.data),), engine.url, offline, {}))


def plan_on(engine: Engine, wish: Wish | Path, *, offline: bool = False) -> Plan:
    """The plan for a wish or a path, with everything read anew."""
    return plan_in(surveyed(engine, offline=offline), wish)


def plan_in(found: Survey, wish: Wish | Path) -> Plan:
    """The plan in the world as surveyed."""
    if isinstance(wish, Path):
        (wish,) = wish_for(bytes(wish), found)
    return make_plan(wish, found)


@pytest.fixture
def truth(engine_scenario: Scenario) -> Truth:
    return engine_scenario.truth


@pytest.fixture
def plan(engine_scenario: Scenario) -> Planner:
    def make(wish: Wish | Path, *, offline: bool = False) -> Plan:
        return plan_on(engine_scenario.engine, wish, offline=offline)

    return make


def of(truth: Truth, subject: Subject, id_: str) -> Wish:
    return Wish(subject, bytes(truth.root), id=id_)


def container(truth: Truth, name: str) -> Wish:
    return of(truth, Subject.CONTAINER, truth.containers[name].id)


def layer(truth: Truth, name: str) -> Path:
    return truth.root / "overlay2" / name


def du(*paths: Path) -> int:
    """Inodes at and below these paths, on their own file system."""
    command = ["du", "--summarize", "--inodes", "--one-file-system", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, check=True)
    return sum(int(line.split()[0]) for line in done.stdout.splitlines())


# --- containers -----------------------------------------------------------------------------------


def test_a_stopped_container_goes_through_the_engine(plan: Planner, truth: Truth) -> None:
    known = truth.containers["chatty"]
    found = plan(container(truth, "chatty"))
    assert found.allowed
    assert found.confirmation is Confirmation.PLAIN
    (step,) = found.steps
    assert (step.action, step.ids, step.force) == (Action.REMOVE_CONTAINER, (known.id,), False)
    own = [layer(truth, known.writable), layer(truth, known.init), known.log_path.parent]
    mount = truth.root / "image/overlay2/layerdb/mounts" / known.id
    assert found.frees.inodes == du(*own, mount) + 2  # two links in l/
    assert not found.frees.least


def test_a_running_container_needs_force_and_the_typed_id(plan: Planner, truth: Truth) -> None:
    known = truth.containers["arroyo-worker-1"]
    for asked in (container(truth, known.name), layer(truth, known.writable) / "diff"):
        found = plan(asked)
        assert found.allowed
        assert found.steps[0].force
        assert (found.confirmation, found.word) == (Confirmation.TYPED, known.id[:12])
        assert found.frees.inodes > 12_000
        assert any("kills it" in words for words in found.consequences)
        assert any(it.kind is Kind.MOUNT for it in found.references)


def test_anonymous_volumes_go_only_when_ticked(plan: Planner, truth: Truth) -> None:
    wish = container(truth, "scratchpad")
    kept, taken = plan(wish), plan(replace(wish, anonymous_volumes=True))
    ((name, _),) = truth.containers["scratchpad"].volumes
    assert kept.offers_volumes == taken.offers_volumes == (name,)
    assert (kept.steps[0].volumes, taken.steps[0].volumes) == (False, True)
    assert taken.frees.inodes - kept.frees.inodes == du(truth.root / "volumes" / name)


def test_the_last_user_of_a_removed_image_takes_its_layers_along(
    plan: Planner, truth: Truth
) -> None:
    known = truth.containers["survivor"]
    alone = [it for it in known.directories[2:] if not truth.image_owners(it)]
    found = plan(container(truth, "survivor"))
    own = [layer(truth, it) for it in (known.writable, known.init, *alone)]
    assert found.frees.inodes >= du(*own)
    assert "removed before" in " ".join(found.consequences)
    refused = plan(layer(truth, alone[0]))
    assert not refused.allowed
    assert "a container stands on it" in refused.refused_because


def test_without_the_engine_no_container_image_cache_or_volume_goes(
    plan: Planner, truth: Truth
) -> None:
    for wish in (
        container(truth, "chatty"),
        of(truth, Subject.IMAGE, truth.tagged("acme/sealed:1").id),
        of(truth, Subject.VOLUME, "forgotten"),
        layer(truth, min(truth.cache_only)),
    ):
        found = plan(wish, offline=True)
        assert not found.allowed
        assert "only the engine" in found.refused_because
        assert found.instead


# --- images and layers ----------------------------------------------------------------------------


def test_an_unused_image_goes_by_its_tags(plan: Planner, truth: Truth) -> None:
    image = truth.tagged("acme/sealed:1")
    found = plan(of(truth, Subject.IMAGE, image.id))
    assert found.allowed
    assert [step.ids for step in found.steps] == [("acme/sealed:1",)]
    assert found.frees.inodes > du(layer(truth, image.directories[0]))
    assert found.frees.least
    assert found.confirmation is Confirmation.PLAIN
    by_layer = plan(layer(truth, image.directories[0]))
    assert [step.ids for step in by_layer.steps] == [("acme/sealed:1",)]


def test_an_image_that_a_container_uses_stays(plan: Planner, truth: Truth) -> None:
    for tag, user in ((WEB_TAGS[0], "web-api-1"), ("acme/staged:1", "next-release")):
        image = truth.tagged(tag)
        for asked in (of(truth, Subject.IMAGE, image.id), layer(truth, image.directories[0])):
            found = plan(asked)
            assert not found.allowed
            assert user in found.refused_because
            assert found.references[0].id == truth.containers[user].id


def test_files_in_image_init_and_cache_layers_never_go(plan: Planner, truth: Truth) -> None:
    image = layer(truth, truth.tagged(BASE).directories[0]) / "diff/bin/busybox"
    init = layer(truth, truth.containers["chatty"].init) / "diff/etc/hosts"
    cached = layer(truth, min(truth.cache_only)) / "diff/anything"
    for path, word in ((image, "image layer"), (init, "init layer"), (cached, "build-cache")):
        found = plan(path)
        assert not found.allowed
        assert word in found.refused_because
        assert found.instead


def test_no_layer_that_anybody_owns_is_ever_erased(engine_scenario: Scenario, truth: Truth) -> None:
    """The wrong tool's mistake: everything but the orphan, engine or not."""
    for offline in (False, True):
        world = surveyed(engine_scenario.engine, offline=offline)
        for name in truth.directories - {truth.orphan}:
            found = plan_in(world, layer(truth, name))
            raw = {Action.ERASE, Action.ERASE_LAYER, Action.TRUNCATE}
            assert not raw & {step.action for step in found.steps}, name


# --- build cache ----------------------------------------------------------------------------------


def test_cache_records_go_with_what_is_built_on_them(plan: Planner, truth: Truth) -> None:
    for name in truth.cache_only:
        found = plan(layer(truth, name))
        assert found.allowed, found.refused_because
        (step,) = found.steps
        assert step.action is Action.PRUNE_CACHE
        assert step.ids
        assert set(step.ids) <= truth.cache.keys()
        assert found.frees.inodes >= du(layer(truth, name))
        for id_ in step.ids:
            assert f"^{id_}$" in step.command


@contextmanager
def elsewhere(command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A shell in a mount namespace of its own, through with ``command``, ended at the end."""
    script = f"{command} && echo ready && exec sleep 1000"
    process = subprocess.Popen(
        ["unshare", "--mount", "--propagation=private", "sh", "-c", script], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_cache_layer_that_is_mounted_elsewhere_stays(plan: Planner, truth: Truth) -> None:
    name = min(truth.cache_only)
    with elsewhere(f"mount --bind {layer(truth, name)}/diff /mnt"):
        found = plan(layer(truth, name))
    assert "mounted now at /mnt" in found.refused_because
    assert plan(layer(truth, name)).allowed


def test_a_layer_in_mid_build_stays_also_after_the_engine_was_killed(
    spare_engine: Engine,
) -> None:
    """The engine forgets that it is in use; the mount of the build, which goes on, does not."""
    spare_engine.start()
    base = archive.busybox_layer(Path(spare_engine.tools.busybox))
    architecture = spare_engine.get("/version")["Arch"]
    spare_engine.docker("load", stdin=archive.image(BASE, [base], architecture))
    before = layer_names(spare_engine.overlay2)
    build = subprocess.Popen(
        spare_engine.command("build", "--network=none", "-"),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=spare_engine.client_environment({"DOCKER_BUILDKIT": "1"}),
    )
    try:
        assert build.stdin
        build.stdin.write(f"FROM {BASE}\nRUN echo a > /begun; sleep 1000\n".encode())
        build.stdin.close()
        deadline = time.monotonic() + 60
        while not (begun := list(spare_engine.overlay2.glob("*/diff/begun"))):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        name = begun[0].relative_to(spare_engine.overlay2).parts[0]
        assert name not in before
        for path in (layer_of(spare_engine, name), layer_of(spare_engine, name) / "diff/begun"):
            assert not plan_on(spare_engine, path).allowed
        spare_engine.kill()
    finally:
        build.kill()
        build.wait()
    found = plan_on(spare_engine, layer_of(spare_engine, name))
    assert not found.allowed
    assert "mounted now" in found.refused_because


def layer_of(engine: Engine, name: str) -> Path:
    return engine.overlay2 / name


# --- files in containers --------------------------------------------------------------------------


def test_a_file_of_a_running_container_goes_through_its_mount(plan: Planner, truth: Truth) -> None:
    known = truth.containers["arroyo-worker-1"]
    place = layer(truth, known.writable)
    about = identified(place / "diff" / FLOOD_PATH)
    seen = Wish(
        Subject.PATH,
        bytes(truth.root),
        path=bytes(place / "diff" / FLOOD_PATH),
        seen=about,
    )
    for asked in (seen, place / "merged" / FLOOD_PATH):
        found = plan(asked)
        assert found.allowed, found.refused_because
        (step,) = found.steps
        assert step.place
        assert step.place.base == bytes(place / "merged")
        assert b"/".join(step.place.names) == FLOOD_PATH.encode()
        assert step.place.identity == identified(place / "merged" / FLOOD_PATH)
        assert (found.confirmation, found.word) == (Confirmation.TYPED, known.id[:12])
        # The folder itself is where the container's process works: it stays until that ends.
        assert found.frees.least
        assert found.frees.inodes == du(place / "diff" / FLOOD_PATH) - 1
    assert changes(plan(seen), plan(seen)) == ()
    other = plan(replace(seen, seen=replace(about, born=about.born + 1)))
    assert "something else lies there" in other.refused_because


def test_the_root_of_a_process_is_the_way_in_where_the_mount_is_not_seen(
    plan: Planner, truth: Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cleanup.plan.live_mount.read_own", lambda _proc: ())
    known = truth.containers["elk-logstash-1"]
    found = plan(layer(truth, known.writable) / "diff" / ELK_PATH)
    assert found.allowed, found.refused_because
    place = found.steps[0].place
    assert place
    assert place.base.startswith(b"/proc/")
    assert place.origin.device == os.stat(os.path.join(place.base, b".")).st_dev


def test_a_file_of_the_image_alone_is_asked_for_twice(plan: Planner, truth: Truth) -> None:
    """Also where the mount has relative options (90 layers)."""
    for name, inside in (("arroyo-worker-1", "etc/motd"), ("deep-1", "steps/051")):
        path = layer(truth, truth.containers[name].writable) / "merged" / inside
        first = plan(path)
        assert not first.allowed
        assert not first.refused_because
        assert "frees nothing" in first.ask_again
        again = plan(replace(first.wish, insisted=True))
        assert again.allowed
        assert not again.ask_again
        assert again.frees.inodes == again.frees.bytes == 0
    gone = plan(layer(truth, truth.containers["deep-1"].writable) / "merged/steps/050")
    assert "not there" in gone.refused_because


def test_what_holds_a_volume_inside_a_container_stays(plan: Planner, truth: Truth) -> None:
    place = layer(truth, truth.containers["elk-logstash-1"].writable) / "diff"
    for inside in ("usr", "usr/share", "usr/share/data", "usr/share/data/index"):
        found = plan(place / inside)
        assert not found.allowed, inside
        assert "/usr/share/data" in found.refused_because


def test_files_of_a_stopped_container_go_in_its_layer(plan: Planner, truth: Truth) -> None:
    place = layer(truth, truth.containers["awkward"].writable) / "diff"
    found = plan(place / "names")
    assert found.allowed, found.refused_because
    assert found.confirmation is Confirmation.PLAIN
    assert found.frees.inodes == du(place / "names")
    assert not any("again" in words for words in found.consequences)
    linked = plan(place / "names/numbers")
    assert linked.allowed
    assert linked.frees.inodes == 0  # the other name keeps it
    assert "whiteout" in plan(place / "etc/motd").refused_because
    opaque = plan(place / "opt/legacy")
    assert opaque.allowed
    assert any("sees that copy again" in words for words in opaque.consequences)
    new = plan(place / "opt/legacy/new")
    assert new.allowed
    assert not any("again" in words for words in new.consequences)
    assert "image" in plan(place / "bin/busybox").refused_because


def test_files_of_a_stopped_container_stay_while_its_layer_is_mounted_anywhere(
    plan: Planner, truth: Truth
) -> None:
    place = layer(truth, truth.containers["awkward"].writable)
    with elsewhere(f"mount --bind {place}/diff /mnt"):
        found = plan(place / "diff/names")
    assert not found.allowed
    assert "mounted" in found.refused_because


def test_a_copy_of_the_data_root_never_leads_to_the_original(
    engine_scenario: Scenario, truth: Truth, tmp_path: Path
) -> None:
    """The names of the layers are the same, and the original's mounts are live."""
    copy = tmp_path / "copy"
    tar = f"tar -C {truth.root} -c --one-file-system --exclude=./overlay2/*/diff/bin . "
    subprocess.run(f"mkdir {copy} && {tar} | tar -C {copy} -x", shell=True, check=True)
    found = survey(Request((bytes(copy),), engine_scenario.engine.url, True, {}))
    path = copy / "overlay2" / truth.containers["arroyo-worker-1"].writable / "diff" / FLOOD_PATH
    (wish,) = wish_for(bytes(path), found)
    answer = make_plan(wish, found)
    assert not answer.allowed
    assert "no mount of it can be reached" in answer.refused_because


# --- volumes --------------------------------------------------------------------------------------


def test_volumes(plan: Planner, truth: Truth) -> None:
    forgotten = plan(of(truth, Subject.VOLUME, "forgotten"))
    assert forgotten.allowed
    assert (forgotten.confirmation, forgotten.word) == (Confirmation.TYPED, "forgotten")
    assert forgotten.frees.inodes == du(truth.root / "volumes/forgotten")
    assert forgotten.steps[0].ids == ("forgotten",)
    used = plan(truth.root / "volumes/elk-data/_data")
    assert "elk-logstash-1" in used.refused_because
    ((anonymous, _),) = truth.containers["scratchpad"].volumes
    stopped = plan(of(truth, Subject.VOLUME, anonymous))
    assert "scratchpad" in stopped.refused_because
    inside = plan(truth.root / "volumes/forgotten/_data/dump")
    assert "remove the whole volume" in inside.instead


def test_a_volume_that_is_mounted_by_hand_stays(plan: Planner, truth: Truth) -> None:
    with elsewhere(f"mount --bind {truth.root}/volumes/forgotten/_data /mnt"):
        found = plan(of(truth, Subject.VOLUME, "forgotten"))
    assert "mounted now at /mnt" in found.refused_because


# --- logs -----------------------------------------------------------------------------------------


def test_logs_are_emptied_never_unlinked(plan: Planner, truth: Truth) -> None:
    log = truth.containers["chatty"].log_path
    for asked in (log, log.parent):
        found = plan(asked)
        assert found.allowed
        assert [step.action for step in found.steps] == [Action.TRUNCATE]
        assert found.confirmation is Confirmation.PLAIN
        assert found.frees.bytes == log.stat().st_blocks * 512
        assert found.frees.inodes == 0
    running = truth.containers["web-api-1"]
    typed = plan(running.log_path)
    assert (typed.confirmation, typed.word) == (Confirmation.TYPED, running.id[:12])
    for name in ("config.v2.json", "hostname", "checkpoints"):
        assert not plan(log.parent / name).allowed


# --- leftovers ------------------------------------------------------------------------------------


def test_the_orphan_goes_with_the_engine_and_without(
    plan: Planner, truth: Truth, engine_scenario: Scenario, request: pytest.FixtureRequest
) -> None:
    def check(found: Plan) -> None:
        assert found.allowed, found.refused_because
        (step,) = found.steps
        assert step.action is Action.ERASE_LAYER
        assert step.place
        assert step.link
        assert step.place.names == (b"overlay2", truth.orphan.encode())
        link = truth.root / "overlay2" / os.fsdecode(b"/".join(step.link.names[1:]))
        assert os.readlink(link) == f"../{truth.orphan}/diff"
        assert (found.confirmation, found.word) == (Confirmation.TYPED, truth.orphan[:12])
        assert found.frees.inodes == du(layer(truth, truth.orphan)) + 1
        assert not found.references

    check(plan(layer(truth, truth.orphan)))
    with engine_scenario.engine.stopped():
        # Here nobody can tell whether a process outside uses it; on the machine itself one can.
        assert "inside this container" in plan(layer(truth, truth.orphan)).refused_because
        request.getfixturevalue("on_the_machine")
        check(plan(layer(truth, truth.orphan)))
    unasked = plan(layer(truth, truth.orphan), offline=True)
    assert "dockerd" in unasked.refused_because


def test_the_orphan_stays_while_the_engine_hangs(
    plan: Planner, truth: Truth, engine_scenario: Scenario
) -> None:
    pid = engine_scenario.engine.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        found = plan(layer(truth, truth.orphan))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert f"process {pid}" in found.refused_because


def test_the_orphan_stays_while_anything_uses_it(plan: Planner, truth: Truth) -> None:
    place = layer(truth, truth.orphan)
    token = (place / "link").read_text()
    lower = f"{truth.root}/overlay2/l/{token}"
    for command, word in (
        (f"mount --bind {place}/diff /mnt", "it is mounted"),
        (f"mount -t overlay overlay -o lowerdir={lower}:/etc /mnt", "it is mounted"),
        (f"cd {truth.root} && mount -t tmpfs none {place}/diff", "is mounted in it"),
        (f"cd {place}/diff", "works in"),
        (f"exec 9< {place}/link", "has open"),
    ):
        with elsewhere(command):
            found = plan(place)
        assert not found.allowed, command
        assert word in found.refused_because, command
    assert plan(place).allowed


def test_the_orphan_stays_while_it_may_be_in_the_making(plan: Planner, truth: Truth) -> None:
    place = layer(truth, truth.orphan)
    before = place.stat()
    os.utime(place)
    try:
        assert not plan(place).allowed
        # Older than what the survey takes for new, but not old enough for a raw removal.
        os.utime(place, (time.time() - 1800, time.time() - 1800))
        assert "within the last hour" in plan(place).refused_because
    finally:
        os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    writing = truth.root / "image/overlay2/layerdb/tmp/write-set-1"
    writing.mkdir()
    try:
        assert "write-set-1" in plan(place).refused_because
    finally:
        writing.rmdir()


def test_the_dangling_link(plan: Planner, truth: Truth) -> None:
    found = plan(truth.root / "overlay2/l" / truth.dangling_token)
    assert found.allowed, found.refused_because
    (step,) = found.steps
    assert step.place
    assert step.place.names[-1] == truth.dangling_token.encode()
    assert found.frees.inodes == 1
    living = (layer(truth, truth.containers["chatty"].writable) / "link").read_text()
    assert plan(truth.root / "overlay2/l" / living).steps[0].action is Action.REMOVE_CONTAINER


def test_the_engine_s_own_files_never_go(plan: Planner, truth: Truth) -> None:
    for name in ("overlay2", "overlay2/l", "image", "containers", "volumes", "buildkit", "tmp"):
        found = plan(truth.root / name)
        assert not found.allowed
        assert found.refused_because
    for inside in ("image/overlay2/repositories.json", "volumes/metadata.db", "network/files"):
        assert not plan(truth.root / inside).allowed


def test_plans_change_nothing(truth: Truth, engine_scenario: Scenario) -> None:
    world = surveyed(engine_scenario.engine)
    (before,) = world.stores
    for name in sorted(truth.directories):
        plan_in(world, layer(truth, name))
    (after,) = surveyed(engine_scenario.engine).stores
    assert before.layers.keys() == after.layers.keys()
    assert {it.role for it in after.layers.values()} >= {Role.UNREFERENCED, Role.WRITABLE}
