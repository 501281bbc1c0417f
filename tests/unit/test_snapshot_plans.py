"""Removal with the containerd image store: the engine's call or a reason, never by hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.cleanup.execute.engine import EngineCalls
from app.cleanup.execute.executor import execute
from app.cleanup.execute.journal import Journal
from app.cleanup.execute.outcome import Outcome, Progress
from app.cleanup.plan.context import World
from app.cleanup.plan.estimate import measured
from app.cleanup.plan.model import Action, Confirmation, Plan, Subject, Wish
from app.cleanup.plan.orphans import plan_unreferenced
from app.cleanup.plan.planner import make_plan, wish_for
from app.model import Kind, Owner, Role, Store
from app.outline.nodes import What
from app.outline.outline import BY_OWNER, Outline
from app.scan.walk import read_fence
from app.screens.wanted import wish_for_row
from app.survey import Request, Survey, survey
from app.usage.order import Column, Order
from app.usage.units import units_of
from tests.unit import captured
from tests.unit.containerd_files import SNAPSHOTTER, ContainerdRoot
from tests.unit.proc_stub import bind, make_proc, overlay
from tests.unit.stub_engine import StubEngine, says
from tests.unit.test_discover import containerd_root as docker_root

pytestmark = pytest.mark.usefixtures("captured_machine")

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
APIS = ["1.44", "1.51", "1.56"]
RUNNING, STOPPED = "arroyo", "couchdb"
#: What changes something on this disk, and not through the engine.
RAW = {Action.ERASE, Action.ERASE_LAYER, Action.TRUNCATE}
UNKNOWN = "snapshots/990"


class Host:
    """A damaged copy of the captured host, its engine, and a made-up /proc."""

    def __init__(self, place: Path, url: str) -> None:
        self.place, self.url = place, url
        self.data = place / captured.ROOT
        self.containerd = captured.containerd_root(place)
        self.snapshots = self.containerd / SNAPSHOTTER / "snapshots"

    def survey(self, *, offline: bool = False) -> Survey:
        url = None if offline else self.url
        return survey(Request((os.fsencode(self.data),), url, offline, {}))

    def plan(
        self,
        asked: str | Path | Wish,
        mounts: tuple[str, ...] = (),
        found: Survey | None = None,
    ) -> Plan:
        found = found or self.survey()
        proc = self.place.parent / "proc"
        shutil.rmtree(proc, ignore_errors=True)
        make_proc(proc, mounts)
        (wish,) = [asked] if isinstance(asked, Wish) else wish_for(os.fsencode(asked), found)
        return make_plan(wish, found, now=time.time(), proc=bytes(proc))

    def layer(self, number: int | str) -> Path:
        return self.snapshots / str(number)


@pytest.fixture
def host(captures: Path, tmp_path: Path) -> Iterator[Host]:
    place = captured.copy(captures, "containerd", tmp_path)
    with StubEngine(captured.containerd_routes(place)) as engine:
        yield Host(place, engine.url)


def container_id(found: Survey, name: str) -> str:
    (id_,) = (it.owner.id for it in found.stores[0].containers if it.owner.name == name)
    return id_


def number_of(found: Survey, name: str) -> str:
    """The number of a container's writable snapshot."""
    (it,) = (it for it in found.stores[0].containers if it.owner.name == name)
    return it.layers[0].rpartition("/")[2]


def with_state(found: Survey, state: str) -> Survey:
    """Every container in another state."""
    (store,) = found.stores

    def owner(it: Owner) -> Owner:
        return replace(it, state=state) if it.kind is Kind.CONTAINER else it

    layers = {
        name: replace(it, owners=tuple(map(owner, it.owners))) for name, it in store.layers.items()
    }
    containers = tuple(replace(it, owner=owner(it.owner)) for it in store.containers)
    return Survey((replace(store, layers=layers, containers=containers),), (), final=True)


# --- through the engine ---------------------------------------------------------------------------


@pytest.mark.parametrize("api", APIS)
def test_a_container_goes_by_its_id_with_its_snapshots(
    captures: Path, tmp_path: Path, api: str
) -> None:
    place = captured.copy(captures, "containerd", tmp_path)
    with StubEngine(captured.containerd_routes(place, api)) as engine:
        host = Host(place, engine.url)
        found = host.survey()
        id_, number = container_id(found, STOPPED), number_of(found, STOPPED)
        (wish,) = wish_for(id_[:12].encode(), found)
        assert wish.subject is Subject.CONTAINER
        answer = host.plan(wish, found=found)
        assert answer.allowed, answer.refused_because
        (step,) = answer.steps
        assert (step.action, step.ids, step.force) == (Action.REMOVE_CONTAINER, (id_,), False)
        assert answer.path == bytes(host.layer(number))
        # The writable snapshot, its init, the container's directory: all of it, and nothing else.
        paths = [host.layer(number), host.layer(int(number) - 1), host.data / "containers" / id_]
        assert answer.frees.inodes == sum(1 + len(list(it.rglob("*"))) for it in paths)
        assert any("next collection" in words for words in answer.consequences)
        # Any of its rows, and its mount point, lead to the same call.
        for asked in (
            host.layer(number),
            host.layer(number) / "fs",
            host.layer(int(number) - 1),
            f"snapshots/{number}",
            number,
            host.data / "rootfs/overlayfs" / id_,
        ):
            assert host.plan(asked, found=found).steps == answer.steps


def test_a_running_container_takes_its_name(host: Host) -> None:
    found = host.survey()
    id_ = container_id(found, RUNNING)
    answer = host.plan(Wish(Subject.CONTAINER, bytes(host.data), id=id_), found=found)
    assert answer.steps[0].force
    assert (answer.confirmation, answer.word) == (Confirmation.TYPED, RUNNING)


def test_without_the_engine_nothing_of_it_goes(host: Host) -> None:
    found = host.survey(offline=True)
    for asked in (container_id(found, STOPPED), "snapshots/1", "snapshots/4"):
        answer = host.plan(asked, found=found)
        assert not answer.allowed
        assert answer.instead


def test_an_image_goes_by_its_tags_and_says_what_its_blobs_take(host: Host) -> None:
    found = host.survey()
    (store,) = found.stores
    (old,) = (it for it in store.images if "old:1" in it.owner.tags)
    answer = host.plan(Wish(Subject.IMAGE, bytes(host.data), id=old.owner.id), found=found)
    assert answer.allowed, answer.refused_because
    assert [step.ids for step in answer.steps] == [("old:1",)]
    # 20 is its own; the rest it shares with others, and build records hold what they built.
    alone = [
        it
        for it in store.layers.values()
        if {(own.kind, own.id) for own in it.owners} == {(Kind.IMAGE, old.owner.id)}
    ]
    assert [it.id for it in alone] == ["snapshots/20"]
    assert any("compressed parts" in words for words in answer.consequences)
    through = host.plan("snapshots/20", found=found)
    assert through.steps == answer.steps


def test_an_image_in_use_names_its_containers(host: Host) -> None:
    answer = host.plan("snapshots/13")
    assert "container arroyo" in answer.refused_because
    assert "docker rm" in answer.instead


def test_a_build_record_goes_with_what_is_built_on_it(host: Host) -> None:
    found = host.survey()
    (store,) = found.stores
    entry = next(it for it in store.cache if it.owner.id == "zjf0k09prkp0a3lcsbg8nuf8e")
    assert (entry.layer, entry.listed) == ("snapshots/4", True)
    answer = host.plan("snapshots/4", found=found)
    assert answer.allowed, answer.refused_because
    (step,) = answer.steps
    assert step.action is Action.PRUNE_CACHE
    children = {it.owner.id for it in store.cache if entry.owner.id in it.parents}
    assert children
    assert {entry.owner.id} | children <= set(step.ids)
    # Its view is the record's too, and keeps it while somebody reads through it.
    assert host.plan("snapshots/6", found=found).steps == answer.steps
    view = overlay("/x", lowers=f"{host.layer(6)}/fs:{host.layer(4)}/fs")
    assert "mounted now" in host.plan("snapshots/4", (view,), found).refused_because


@pytest.mark.parametrize("what", ["meta.db", "contents", "a config"])
def test_the_cache_is_not_pruned_for_a_layer_that_an_unreadable_image_may_hold(
    captures: Path, tmp_path: Path, what: str
) -> None:
    """Nor where the engine answers: of another platform's image it names no layer."""
    place = captured.copy(captures, "containerd", tmp_path)
    routes = captured.containerd_routes(place)
    for asked in [it for it in routes if it.startswith("/images/sha256:")]:
        routes[asked] = says({"message": "no such image"}, status=404)
    with StubEngine(routes) as engine:
        host = Host(place, engine.url)
        images = {
            name for name, it in host.survey().stores[0].layers.items() if it.role is Role.IMAGE
        }
        captured.spoil_images(host.containerd, what, "zeros")
        for name in images:
            answer = host.plan(name)
            assert Action.PRUNE_CACHE not in [step.action for step in answer.steps]
            assert answer.refused_because
        assert {
            it.role for name, it in host.survey().stores[0].layers.items() if name in images
        } != {Role.IMAGE}
        assert host.plan("snapshots/4").allowed


@pytest.mark.parametrize("offline", [True, False])
def test_every_cache_entry_leads_to_its_snapshot(host: Host, offline: bool) -> None:
    (store,) = host.survey(offline=offline).stores
    keys = {it.snapshot.key: name for name, it in store.layers.items() if it.snapshot}
    known = [entry for entry in store.cache if entry.owner.id in keys]
    assert len(known) == 8
    assert all(entry.layer == keys[entry.owner.id] for entry in known)


def test_the_space_that_counts_is_where_the_snapshots_lie(host: Host) -> None:
    found = host.survey()
    (store,) = found.stores
    (old,) = (it for it in store.images if "old:1" in it.owner.tags)
    for wish in (
        Wish(Subject.CONTAINER, bytes(host.data), id=container_id(found, STOPPED)),
        Wish(Subject.IMAGE, bytes(host.data), id=old.owner.id),
        "snapshots/4",
    ):
        answer = host.plan(wish, found=found)
        assert answer.allowed, answer.refused_because
        assert answer.filesystem == bytes(host.snapshots)


def test_volumes_and_logs_go_as_ever(host: Host) -> None:
    answer = host.plan(host.data / "volumes/forgotten")
    assert [step.action for step in answer.steps] == [Action.REMOVE_VOLUME]
    id_ = container_id(host.survey(), STOPPED)
    log = host.data / "containers" / id_ / f"{id_}-json.log"
    log.write_text("a line\n")
    assert [step.action for step in host.plan(log).steps] == [Action.TRUNCATE]


@pytest.mark.parametrize("inside", ["fs", "fs/deep", "work"])
def test_what_is_mounted_inside_a_snapshot_refuses_its_removal(host: Host, inside: str) -> None:
    found = host.survey()
    number = number_of(found, STOPPED)
    points = (
        f"{host.layer(number)}/{inside}",
        f"/seen/elsewhere/{SNAPSHOTTER}/snapshots/{number}/{inside}",
    )
    for point in points:
        answer = host.plan(f"snapshots/{number}", (bind(point, "/srv"),), found)
        assert "mounted in it" in answer.refused_because
    harmless = bind(f"/srv/{number}/fs", "/srv")
    assert host.plan(f"snapshots/{number}", (harmless,), found).allowed


# --- files inside snapshots -----------------------------------------------------------------------


def test_a_file_of_a_stopped_container_goes_in_its_own_snapshot(host: Host) -> None:
    found = host.survey()
    id_, number = container_id(found, STOPPED), number_of(found, STOPPED)
    file = host.layer(number) / "fs/var/own"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * 9000)
    answer = host.plan(file, found=found)
    assert answer.allowed, answer.refused_because
    (step,) = answer.steps
    assert step.action is Action.ERASE
    assert step.place
    assert step.place.base == bytes(host.containerd)
    assert os.path.join(step.place.base, *step.place.names) == bytes(file)
    assert (answer.confirmation, answer.frees.inodes) == (Confirmation.PLAIN, 1)
    assert answer.filesystem == bytes(host.layer(number) / "fs")
    # As the path is called while it runs.
    mounted = host.data / "rootfs/overlayfs" / id_ / "var/own"
    assert host.plan(mounted, found=found).steps == answer.steps
    # What a layer of the image holds as well is back then.
    image = host.layer(1) / "fs/var/own"
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_text("theirs")
    again = host.plan(file, found=found)
    assert any("sees that copy again" in words for words in again.consequences)


@pytest.mark.parametrize(
    "how", ["upper", "lower", "relative", "foreign", "bind", "part", "other-home"]
)
def test_a_mount_that_may_be_the_snapshot_s_keeps_its_files(host: Host, how: str) -> None:
    """The number alone is no proof that it is another one: what could be ours, is."""
    found = host.survey()
    number = number_of(found, STOPPED)
    (host.layer(number) / "fs/own").write_text("x")
    line = {
        "upper": overlay("/a", upper=f"{host.layer(number)}/fs"),
        "lower": overlay("/a", lowers=f"/x:{host.layer(number)}/fs"),
        "relative": overlay("/a", lowers=f"{number}/fs:1/fs"),
        "foreign": overlay("/a", upper=f"/node/{SNAPSHOTTER}/snapshots/{number}/fs"),
        "bind": bind("/a", f"/{number}/fs"),
        "part": bind("/a", f"/x/snapshots/{number}"),
        "other-home": overlay("/a", upper=f"/mnt/snapshots/{number}/fs"),
    }[how]
    answer = host.plan(host.layer(number) / "fs/own", (line,), found)
    assert not answer.allowed
    assert answer.steps == ()
    assert answer.instead


@pytest.mark.parametrize("state", ["running", "paused", "restarting", "removing", "", "odd"])
def test_files_stay_while_the_container_may_run(host: Host, state: str) -> None:
    found = with_state(host.survey(), state)
    number = number_of(found, STOPPED)
    (host.layer(number) / "fs/own").write_text("x")
    assert not host.plan(host.layer(number) / "fs/own", found=found).allowed


@pytest.mark.parametrize("change", ["kind", "key", "namespace", "snapshotter", "unknown"])
def test_only_a_container_s_own_active_snapshot_loses_files(host: Host, change: str) -> None:
    found = host.survey()
    (store,) = found.stores
    name = f"snapshots/{number_of(found, STOPPED)}"
    layer = store.layers[name]
    assert layer.snapshot
    changed = {
        "kind": replace(layer.snapshot, kind="committed"),
        "key": replace(layer.snapshot, key="f" * 64),
        "namespace": replace(layer.snapshot, namespace="k8s.io"),
        "snapshotter": replace(layer.snapshot, snapshotter="stargz"),
        "unknown": None,
    }[change]
    (host.snapshots / name.rpartition("/")[2] / "fs/own").write_text("x")
    layers = {**store.layers, name: replace(layer, snapshot=changed)}
    odd = Survey((replace(store, layers=layers),), (), final=True)
    answer = host.plan(Path(os.fsdecode(layer.path)) / "fs/own", found=odd)
    assert answer.refused_because
    assert answer.instead
    assert not answer.steps


def test_nothing_in_an_image_init_or_cache_snapshot_goes(host: Host) -> None:
    found = host.survey()
    for layer in found.stores[0].layers.values():
        if layer.role is not Role.WRITABLE:
            file = Path(os.fsdecode(layer.path)) / "fs/own"
            file.write_text("x")
            answer = host.plan(file, found=found)
            assert answer.steps == ()
            assert answer.refused_because
            assert answer.instead
    odd = host.layer(number_of(found, STOPPED)) / "work/work/x"
    assert (
        "snapshot itself"
        in host.plan(
            Wish(Subject.PATH, bytes(host.data), path=bytes(odd)), found=found
        ).refused_because
    )


@pytest.fixture
def live(host: Host) -> Iterator[tuple[Host, Path]]:
    """The running container's overlay, mounted where the engine mounts it."""
    found = host.survey()
    id_, number = container_id(found, RUNNING), number_of(found, RUNNING)
    point = host.data / "rootfs/overlayfs" / id_
    point.mkdir(parents=True)
    layer = host.layer(number)
    (layer / "fs/own").write_bytes(b"x" * 5000)
    (host.layer(1) / "fs/theirs").write_text("x")
    lowers = found.stores[0].layers[f"snapshots/{number}"].parents
    shown = ":".join(f"{host.layer(it.rpartition('/')[2])}/fs" for it in lowers)
    options = f"lowerdir={shown},upperdir={layer}/fs,workdir={layer}/work"
    command = ["mount", "-t", "overlay", "overlay", "-o", options, str(point)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no overlay can be mounted here: {done.stderr}")
    try:
        yield host, point
    finally:
        subprocess.run(["umount", str(point)], check=True)


@AS_ROOT
def test_a_file_of_a_running_container_goes_through_its_mount(live: tuple[Host, Path]) -> None:
    host, point = live
    found = host.survey()
    number = number_of(found, RUNNING)
    file = host.layer(number) / "fs/own"

    def plan(path: Path, **more: bool) -> Plan:
        (wish,) = wish_for(bytes(path), found)
        return make_plan(replace(wish, **more), found)  # type: ignore[arg-type]

    for asked in (file, point / "own"):
        answer = plan(asked)
        assert answer.allowed, answer.refused_because
        (step,) = answer.steps
        assert step.place
        assert (step.place.base, step.place.names) == (bytes(point), (b"own",))
        assert answer.confirmation is Confirmation.TYPED
    beneath = plan(point / "theirs")
    assert beneath.ask_again
    assert beneath.steps == ()
    hidden = plan(point / "theirs", insisted=True)
    assert hidden.steps[0].place
    assert hidden.steps[0].place.base == bytes(point)
    # Only what the snapshot itself has there gives something back.
    assert hidden.steps[0].upper.endswith(b"/fs/" + hidden.steps[0].place.names[-1])


@AS_ROOT
def test_an_overlay_elsewhere_is_no_way_in(live: tuple[Host, Path], tmp_path: Path) -> None:
    """Of the right directory, but nobody's mount of the engine: it is refused, not used."""
    host, point = live
    other = tmp_path / "other"
    other.mkdir()
    subprocess.run(["mount", "--move", str(point), str(other)], check=False, capture_output=True)
    moved = not os.path.ismount(point)
    if not moved:
        subprocess.run(["mount", "--bind", str(point), str(other)], check=True)
        subprocess.run(["umount", str(point)], check=True)
    try:
        found = host.survey()
        file = host.layer(number_of(found, RUNNING)) / "fs/own"
        (wish,) = wish_for(bytes(file), found)
        answer = make_plan(wish, found)
        assert "no mount of it can be reached" in answer.refused_because
        assert "docker exec" in answer.instead
    finally:
        subprocess.run(["mount", "--bind", str(other), str(point)], check=True)
        subprocess.run(["umount", str(other)], check=True)


def carried_out(answer: Plan) -> Outcome:
    """Nobody listens there: what needs the engine fails."""
    calls = EngineCalls("unix:///nobody")
    return execute(answer, lambda: answer, calls, Progress(), Journal(None))


def test_a_removal_in_a_stopped_snapshot_takes_that_file_alone(host: Host) -> None:
    found = host.survey()
    layer = host.layer(number_of(found, STOPPED))
    for name in ("own", "stays"):
        (layer / "fs" / name).write_bytes(b"x" * 5000)
    before = sorted(it for it in host.containerd.rglob("*"))
    outcome = carried_out(host.plan(layer / "fs/own", found=found))
    assert outcome.done, outcome.why
    after = sorted(it for it in host.containerd.rglob("*"))
    assert [it for it in before if it not in after] == [layer / "fs/own"]


@AS_ROOT
def test_a_removal_in_a_running_container_is_seen_by_it_at_once(live: tuple[Host, Path]) -> None:
    host, point = live
    found = host.survey()
    file = host.layer(number_of(found, RUNNING)) / "fs/own"
    (wish,) = wish_for(bytes(file), found)
    outcome = carried_out(make_plan(wish, found))
    assert outcome.done, outcome.why
    assert not (point / "own").exists()
    assert not file.exists()
    assert (point / "theirs").exists()


# --- what is not Docker's, or nobody's ------------------------------------------------------------


def test_a_snapshot_that_metadata_does_not_know_is_containerd_s(host: Host) -> None:
    place = host.snapshots / "990/fs/etc"
    place.mkdir(parents=True)
    (place / "x").write_text("x")
    for path in (place / "x", place, host.snapshots / "990/fs", host.snapshots / "990"):
        os.utime(path, (0, 0))
    for asked in (host.snapshots / "990", host.snapshots / "990/fs", place / "x", UNKNOWN, "990"):
        answer = host.plan(asked)
        assert answer.steps == ()
        assert "next collection" in answer.refused_because
        assert "leave it to containerd" in answer.instead


def test_even_a_verdict_of_unreferenced_erases_no_snapshot(host: Host) -> None:
    """The last fence: whatever a survey might say one day."""
    found = host.survey()
    (store,) = found.stores
    layers = {
        name: replace(it, role=Role.UNREFERENCED, owners=(), references=(), mounts=())
        for name, it in store.layers.items()
    }
    odd = replace(store, layers=layers)
    survey_ = Survey((odd,), (), final=True)
    for layer in layers.values():
        for path in (layer.path, layer.path + b"/fs", layer.path + b"/fs/etc"):
            wish = Wish(Subject.PATH, bytes(host.data), path=path)
            assert host.plan(wish, found=survey_).steps == ()
        wish = Wish(Subject.PATH, bytes(host.data), path=layer.path)
        answer = plan_unreferenced(wish, World(odd, measured, time.time()), layer)
        assert "containerd alone" in answer.refused_because


def test_blobs_and_containerd_s_own_stay(host: Host) -> None:
    found = host.survey()
    (store,) = found.stores
    for digest, blob in store.blobs.items():
        for asked in (Path(os.fsdecode(blob.path)), digest.partition(":")[2]):
            for wish in wish_for(os.fsencode(asked), found):
                if wish.subject is Subject.PATH:
                    answer = host.plan(wish, found=found)
                    assert answer.steps == ()
                    assert answer.instead
    for name in (
        SNAPSHOTTER,
        f"{SNAPSHOTTER}/snapshots",
        f"{SNAPSHOTTER}/metadata.db",
        "io.containerd.metadata.v1.bolt/meta.db",
        "io.containerd.content.v1.content",
    ):
        answer = host.plan(host.containerd / name, found=found)
        assert "containerd's own" in answer.refused_because


@pytest.fixture
def shared(tmp_path: Path) -> Host:
    """A containerd with the same image in two namespaces, a pod's container and a lease."""
    root = ContainerdRoot(tmp_path / "var/lib/containerd")
    diff = ["sha256:" + "ab" * 32]
    for namespace in ("moby", "k8s.io"):
        root.layers(diff, namespace)
        root.image("docker.io/library/app:1", diff, namespace)
    chain = "sha256:" + "ab" * 32
    other = ["sha256:" + "cd" * 32]
    for namespace in ("moby", "k8s.io"):
        root.layers(other, namespace)
        root.image("docker.io/library/other:1", other, namespace)
    root.snapshot("c1" * 32, "active", chain, "k8s.io")
    root.container("c1" * 32, "c1" * 32)
    root.snapshot("d1" * 32, "active", chain)
    root.lease("d1" * 32, ["d1" * 32])
    root.write()
    docker_root(tmp_path / "var/lib/docker")
    host = Host(tmp_path, "")
    for path in sorted(host.snapshots.rglob("*"), reverse=True):
        os.utime(path, (0, 0))
    return host


def test_what_others_keep_in_containerd_is_theirs_to_remove(shared: Host) -> None:
    found = shared.survey(offline=True)
    (store,) = found.stores
    foreign = [
        it for it in store.layers.values() if it.snapshot and it.snapshot.namespace != "moby"
    ]
    assert len(foreign) == 3
    for layer in foreign:
        for path in (layer.path, layer.path + b"/fs", layer.path + b"/fs/etc/x"):
            answer = shared.plan(Wish(Subject.PATH, store.root.path, path=path), found=found)
            assert "namespace k8s.io" in answer.refused_because
            assert "crictl" in answer.instead
    (pod,) = wish_for(("c1" * 32).encode(), found)
    assert (pod.subject, pod.namespace) == (Subject.CONTAINER, "k8s.io")
    assert "crictl" in shared.plan(pod, found=found).instead


def test_the_same_image_in_another_namespace_is_another_one(shared: Host) -> None:
    """One digest, two images: a wish for the one never removes the other."""
    (store,) = shared.survey(offline=True).stores
    heard = tuple(
        replace(it, evidence=(replace(it.evidence[0], source="engine: image inspect x"),))
        for it in store.images
    )
    root = replace(store.root, engine_url="unix:///x")
    store = replace(store, root=root, witnesses="disk and engine", images=heard)
    found = Survey((store,), (), final=True)
    freed = {"app:1": [], "other:1": [store.layers["snapshots/3"]]}
    for tag, layers in freed.items():
        (docker,) = (it for it in store.images if it.owner.tags == (tag,))
        wishes = wish_for(docker.owner.id.encode(), found)
        assert sorted(it.namespace for it in wishes) == ["", "k8s.io"]
        for wish in wishes:
            answer = shared.plan(wish, found=found)
            assert bool(answer.steps) == (not wish.namespace), answer.refused_because
            if answer.steps:
                # Only Docker's own copy, though the owner has the same id; of the one of them
                # nothing, for a lease's snapshot stands on it.
                assert [step.ids for step in answer.steps] == [(tag,)]
                assert answer.frees.inodes == 2 * len(layers)


def test_what_only_a_lease_holds_waits_for_its_maker(shared: Host) -> None:
    found = shared.survey(offline=True)
    (store,) = found.stores
    (leased,) = (it for it in store.layers.values() if it.snapshot and it.snapshot.key == "d1" * 32)
    for path in (leased.path, leased.path + b"/fs/x"):
        answer = shared.plan(Wish(Subject.PATH, store.root.path, path=path), found=found)
        assert "lease" in answer.refused_because
        assert "leases ls" in answer.instead


def test_a_row_s_wish_names_the_namespace(shared: Host) -> None:
    found = shared.survey(offline=True)
    outline = Outline(Order(Column.BYTES, True, False))
    assert outline.view == BY_OWNER
    outline.show(found.stores, [it.path for it in units_of(found.stores[0], read_fence().points)])
    wishes = [
        wish_for_row(thing)
        for key in map(outline.key_at, range(len(outline)))
        if (thing := outline.thing(key)) and thing.node.draft.what in (What.IMAGE, What.CONTAINER)
    ]
    for wish in wishes:
        assert isinstance(wish, Wish)
        assert " " not in wish.id
    assert any(isinstance(it, Wish) and it.namespace == "k8s.io" for it in wishes)


# --- whatever is asked ----------------------------------------------------------------------------


def paths(store: Store) -> st.SearchStrategy[bytes]:
    layers = st.sampled_from(sorted(it.path for it in store.layers.values()))
    parts = st.lists(
        st.sampled_from([b"fs", b"work", b"etc", b"..", b".", b"", b"snapshots", b"1", b"990"]),
        max_size=4,
    )
    homes = st.sampled_from([store.root.containerd, store.root.path])
    return st.builds(lambda base, names: b"/".join((base, *names)), st.one_of(layers, homes), parts)


@pytest.fixture(scope="module")
def still(captures: Path) -> Survey:
    place = captures / "containerd" / captured.ROOT
    return survey(Request((os.fsencode(place),), None, True, {}))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_no_path_ever_gives_a_raw_removal_of_a_snapshot(
    still: Survey, tmp_path: Path, data: st.DataObject
) -> None:
    (store,) = still.stores
    path = data.draw(paths(store))
    proc = tmp_path / "proc"
    if not proc.exists():
        make_proc(proc)
    wish = Wish(Subject.PATH, store.root.path, path=path)
    answer = make_plan(wish, still, now=time.time(), proc=bytes(proc))
    own = [it.path + b"/fs/" for it in store.layers.values() if it.role is Role.WRITABLE]
    for step in answer.steps:
        if step.action in RAW and step.place:
            reached = os.path.join(step.place.base, *step.place.names)
            inside = reached.startswith(store.root.containerd + b"/")
            assert not inside or any(reached.startswith(it) for it in own)
