"""Plans on a small data root: what may go, what never does, and the reason with the next step."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from app.cleanup.execute.erase import erase
from app.cleanup.execute.outcome import Progress
from app.cleanup.plan.model import Action, Confirmation, Plan, Subject, Wish, changes
from app.cleanup.plan.planner import fresh_plan, make_plan, wish_for
from app.demo.containers import write_log
from app.demo.content import DAY, put_text, set_age
from app.demo.ids import hex_id, link_token
from app.demo.images import add_layer
from app.demo.layout import add_directory, add_link
from app.demo.volumes import add_volume
from app.discovery.candidates import Worker
from app.discovery.request import Request, Survey
from app.model import Kind, Layer, ListedVolume, Owner, Problem, Reference, Role, Store
from tests.unit.proc_stub import bind, make_proc, overlay
from tests.unit.removals import identified, place
from tests.unit.small_root import SmallRoot, make_small_root


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallRoot:
    """A data root that no engine of this machine serves."""
    monkeypatch.setattr("app.cleanup.plan.context.serving", lambda _host, _root: [])
    return make_small_root(tmp_path / "docker")


def survey_of(root: SmallRoot, **changes: object) -> Survey:
    store: Store = root.store(time.time())
    return Survey((replace(store, **changes),), (), final=True)  # type: ignore[arg-type]


def plan(
    root: SmallRoot,
    path: Path | Wish,
    *,
    mounts: tuple[str, ...] = (),
    opened: tuple[str, ...] = (),
    later: float = 0.0,
    survey: Survey | None = None,
) -> Plan:
    """The plan for a path, ``later`` seconds from now, with these mounts and open files."""
    proc = root.path.parent / "proc"
    if not proc.exists():
        make_proc(proc, mounts, opened)
    found = survey or survey_of(root)
    if isinstance(path, Path):
        (path,) = wish_for(bytes(path), found)
    return make_plan(path, found, now=time.time() + later, proc=bytes(proc))


def with_state(root: SmallRoot, state: str) -> Survey:
    """The same root, its container in another state, by the engine's word or nobody's."""
    found = survey_of(root)
    (store,) = found.stores

    def owner(it: Owner) -> Owner:
        return replace(it, state=state) if it.kind is Kind.CONTAINER else it

    containers = tuple(replace(it, owner=owner(it.owner)) for it in store.containers)
    layers = {
        name: replace(it, owners=tuple(map(owner, it.owners))) for name, it in store.layers.items()
    }
    return Survey((replace(store, containers=containers, layers=layers),), (), final=True)


# --- what is never removed ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "role", [Role.UNKNOWN, Role.INACTIVE, Role.PENDING_REMOVAL], ids=lambda it: it.value
)
def test_uncertain_layers_stay_with_the_reason(root: SmallRoot, role: Role) -> None:
    found = survey_of(root)
    (store,) = found.stores
    name = root.orphan.name
    doubted = replace(store.layers[name], role=role, note="nobody knows")
    found = Survey((replace(store, layers={**store.layers, name: doubted}),), (), final=True)
    for path in (root.orphan.path, root.orphan.diff):
        answer = plan(root, path, survey=found)
        assert not answer.allowed
        assert f"{role.value}: nobody knows" in answer.refused_because
        assert answer.instead


def test_a_layer_that_only_layerdb_keeps_stays(root: SmallRoot) -> None:
    kept = add_layer(root.path, "kept", root.base)
    set_age(kept.directory.path, 30 * DAY)
    answer = plan(root, kept.directory.path)
    assert "layerdb keeps this layer" in answer.refused_because
    assert answer.instead


def test_nothing_of_docker_s_own_goes(root: SmallRoot) -> None:
    for name in ("image", "swarm", "network/files", "buildkit/metadata_v2.db", "engine-id", "tmp"):
        answer = plan(root, root.path / name)
        assert not answer.allowed
        assert answer.refused_because
        assert answer.instead
    for inside in ("link", "work"):
        through = plan(root, root.container.layer.path / inside)
        assert through.title == "container web"
    broken = plan(root, root.container.layer.path / "work/work")
    assert "the layer itself" in broken.refused_because


@pytest.mark.parametrize("odd", [b"/..", b"/overlay2/../../etc", b"/overlay2/./l", b"//x", b""])
def test_a_wish_outside_of_the_root_is_refused(root: SmallRoot, odd: bytes) -> None:
    answer = plan(root, Wish(Subject.PATH, bytes(root.path), path=bytes(root.path) + odd))
    assert not answer.allowed
    assert "does not lie in the data root" in answer.refused_because


def test_odd_worlds_raise_nothing(root: SmallRoot, tmp_path: Path) -> None:
    gone = Wish(Subject.PATH, b"/nowhere", path=b"/nowhere/overlay2/a")
    assert "no data root" in plan(root, gone).refused_because
    for subject in (Subject.CONTAINER, Subject.IMAGE, Subject.VOLUME):
        answer = plan(root, Wish(subject, bytes(root.path), id="none"))
        assert "there is no such" in answer.refused_because
    request = Request((bytes(tmp_path / "none"),), None, True, {})
    assert "cannot be opened" in fresh_plan(gone, request).refused_because


def test_a_fresh_plan_surveys_anew(root: SmallRoot) -> None:
    put_text(root.container.log, "a line\n")
    request = Request((bytes(root.path),), None, True, {})
    wish = Wish(Subject.PATH, bytes(root.path), path=bytes(root.container.log))
    shown = fresh_plan(wish, request)
    assert shown.allowed
    assert changes(shown, fresh_plan(wish, request)) == ()
    write_log(root.container.log, 1000, rotated=1)
    assert changes(shown, fresh_plan(wish, request))


# --- what nothing refers to -----------------------------------------------------------------------


def test_the_orphan_goes_link_first(root: SmallRoot) -> None:
    answer = plan(root, root.orphan.path)
    assert answer.allowed, answer.refused_because
    (step,) = answer.steps
    assert step.link
    assert step.place
    assert step.link.names == (b"overlay2", b"l", root.orphan.token.encode())
    assert step.link.identity == identified(root.path / "overlay2/l" / root.orphan.token)
    assert answer.commands == ()
    assert (answer.confirmation, answer.word) == (Confirmation.TYPED, root.orphan.name[:12])
    assert answer.frees.inodes == sum(1 for _ in root.orphan.path.rglob("*")) + 2


def test_a_removal_that_broke_off_goes_on_at_once(root: SmallRoot) -> None:
    os.utime(root.orphan.path)
    assert not plan(root, root.orphan.path).allowed, "it may be in the making"
    (root.path / "overlay2/l" / root.orphan.token).unlink()
    os.utime(root.orphan.path)
    answer = plan(root, root.orphan.path)
    assert answer.allowed, answer.refused_because
    assert answer.steps[0].link is None
    (root.orphan.path / "link").unlink()
    assert not plan(root, root.orphan.path).allowed


def test_of_a_stack_of_orphans_the_upper_one_goes_first(root: SmallRoot) -> None:
    above = add_directory(root.path, hex_id("above"), root.orphan)
    set_age(above.path, 30 * DAY)
    # The parent's own mark was made now.
    set_age(root.orphan.path, 30 * DAY)
    below = plan(root, root.orphan.path)
    assert above.name in below.refused_because
    assert plan(root, above.path).allowed


@pytest.mark.parametrize("how", ["upper", "lower", "token", "relative", "bind", "inside"])
def test_the_orphan_stays_while_it_is_mounted(root: SmallRoot, how: str) -> None:
    place = str(root.orphan.path)
    line = {
        "upper": overlay("/a", upper=f"{place}/diff"),
        "lower": overlay("/b", lowers=f"/x:{place}/diff"),
        "token": overlay("/c", lowers=f"/x/l/{root.orphan.token}"),
        "relative": overlay("/d", lowers=f"l/{root.orphan.token}"),
        "bind": bind("/e", f"{place}/diff/etc"),
        "inside": bind(f"{place}/diff/etc", "/srv"),
    }[how]
    answer = plan(root, root.orphan.path, mounts=(line,))
    assert "mounted" in answer.refused_because


def test_the_orphan_stays_while_it_is_open_or_the_engine_works(
    root: SmallRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = root.orphan.diff / "a"
    put_text(file, "x")
    set_age(root.orphan.path, 30 * DAY)
    set_age(root.orphan.diff, 30 * DAY)
    held = plan(root, root.orphan.path, opened=(str(file),))
    assert "has open" in held.refused_because
    monkeypatch.setattr("app.cleanup.plan.context.serving", lambda _host, _root: [Worker(4711)])
    assert "process 4711" in plan(root, root.orphan.path).refused_because


@pytest.mark.parametrize("what", ["orphan", "file", "temporary", "link"])
def test_nothing_goes_raw_while_processes_and_mounts_cannot_be_seen(
    root: SmallRoot, what: str
) -> None:
    put_text(root.container.layer.diff / "own", "x")
    put_text(root.path / "tmp/GetImageBlob1", "x")
    token = "Q" * 26
    (root.path / "overlay2/l" / token).symlink_to(f"../{hex_id('gone')}/diff")
    path = {
        "orphan": root.orphan.path,
        "file": root.container.layer.diff / "own",
        "temporary": root.path / "tmp/GetImageBlob1",
        "link": root.path / "overlay2/l" / token,
    }[what]
    stopped = with_state(root, "exited")
    assert plan(root, path, survey=stopped, later=7200).allowed
    own = root.path.parent / "proc/self/ns/pid"
    own.unlink()
    own.symlink_to("pid:[4026539999]")
    answer = plan(root, path, survey=stopped, later=7200)
    assert "inside this container" in answer.refused_because


def test_the_orphan_stays_while_something_is_loaded(root: SmallRoot) -> None:
    writing = root.path / "image/overlay2/layerdb/tmp/write-set-7"
    writing.mkdir()
    assert "write-set-7" in plan(root, root.orphan.path).refused_because
    # What a crash left is nothing under way.
    assert plan(root, root.orphan.path, later=7200).allowed


@pytest.mark.parametrize(("user", "says"), [(0, "on the host itself"), (1000, "as root")])
def test_where_not_even_root_may_look_it_is_said_what_helps(
    root: SmallRoot, monkeypatch: pytest.MonkeyPatch, user: int, says: str
) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("app.host.open_files._Reading.process", forbidden)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    answer = plan(root, root.orphan.path)
    assert "could not be read" in answer.refused_because
    assert says in answer.instead
    assert ("as root" in answer.instead) == (user != 0)


def test_a_download_that_is_under_way_keeps_every_orphan(root: SmallRoot) -> None:
    pulled = root.path / "tmp/GetImageBlob1"
    put_text(pulled, "x")
    answer = plan(root, root.orphan.path, opened=(str(pulled),))
    assert "under way" in answer.refused_because


def test_an_engine_must_have_been_heard_wholly(root: SmallRoot) -> None:
    (store,) = survey_of(root).stores
    agreed = replace(
        store,
        root=replace(store.root, engine_url="unix:///x"),
        witnesses="disk and engine",
    )
    assert plan(root, root.orphan.path, survey=Survey((agreed,), (), True)).allowed
    odd = Problem("engine: /images/json", "The engine did not answer /images/json.")
    half = replace(agreed, problems=(odd,))
    answer = plan(root, root.orphan.path, survey=Survey((half,), (), True))
    assert "not heard wholly" in answer.refused_because


def test_a_part_of_the_orphan_is_not_removed_alone(root: SmallRoot) -> None:
    put_text(root.orphan.diff / "a", "x")
    set_age(root.orphan.path, 30 * DAY)
    assert "whole directory" in plan(root, root.orphan.diff / "a").instead
    assert plan(root, root.orphan.diff).steps[0].action is Action.ERASE_LAYER


# --- links to nothing -----------------------------------------------------------------------------


def test_a_dangling_link_goes_unless_a_layer_names_it(root: SmallRoot) -> None:
    token = link_token("gone")
    add_link(root.path, token, hex_id("gone"))
    link = root.path / "overlay2/l" / token
    answer = plan(root, link)
    assert [step.action for step in answer.steps] == [Action.ERASE]
    assert answer.confirmation is Confirmation.PLAIN
    lower = root.orphan.path / "lower"
    put_text(lower, f"l/{token}:{lower.read_text()}")
    named = plan(root, link)
    assert not named.allowed


def test_a_link_stays_whose_directory_metadata_still_names(root: SmallRoot) -> None:
    """Somebody moved a container's layer away: with the link gone it could not come back."""
    moved = root.container.layer
    moved.path.rename(root.path.parent / "moved")
    answer = plan(root, root.path / "overlay2/l" / moved.token)
    assert "still names" in answer.refused_because


def test_a_link_stays_while_a_mount_uses_it(root: SmallRoot) -> None:
    token = link_token("gone")
    add_link(root.path, token, hex_id("gone"))
    answer = plan(
        root, root.path / "overlay2/l" / token, mounts=(overlay("/a", lowers=f"l/{token}"),)
    )
    assert "live mount" in answer.refused_because


# --- temporary files ------------------------------------------------------------------------------


def test_old_temporary_files_go(root: SmallRoot) -> None:
    place = root.path / "tmp/docker-import-1"
    (place / "deep").mkdir(parents=True)
    put_text(place / "deep/file", "x")
    # Unpacked files have the times of their archive; when they came says ctime alone.
    set_age(place, 30 * DAY)
    assert "within the last hour" in plan(root, place).refused_because
    answer = plan(root, place, later=4000)
    assert answer.allowed, answer.refused_because
    assert answer.frees.inodes == 3
    assert "itself" in plan(root, place / "deep", later=4000).instead


def nested(top: Path, levels: int, name: str) -> None:
    """Directories in one another below ``top``, however long the path of the last one is."""
    descriptor = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)


def test_a_deep_temporary_directory_goes_or_is_refused(root: SmallRoot) -> None:
    deep, deeper = root.path / "tmp/deep", root.path / "tmp/deeper"
    deep.mkdir(parents=True)
    deeper.mkdir()
    nested(deep, 1300, "a")
    nested(deeper, 1300, "abcdef")
    assert "within the last hour" in plan(root, deep).refused_because
    answer = plan(root, deep, later=4000)
    assert answer.allowed, answer.refused_because
    assert answer.frees.inodes == 1301
    refused = plan(root, deeper, later=4000)
    assert "too deep" in refused.refused_because
    assert "restart the engine" in refused.instead
    for top in (deep, deeper):
        assert erase(place(root.path, "tmp", top.name), Progress()).complete


def test_an_open_temporary_file_stays(root: SmallRoot) -> None:
    place = root.path / "tmp/GetImageBlob1"
    put_text(place, "x")
    answer = plan(root, place, later=4000, opened=(str(place),))
    assert "in use" in answer.refused_because


# --- files of containers --------------------------------------------------------------------------


def test_files_of_a_stopped_container(root: SmallRoot) -> None:
    put_text(root.container.layer.diff / "var/log/big", "x" * 5000)
    put_text(root.top.directory.diff / "var/log/big", "old")
    put_text(root.container.layer.diff / "own", "x")
    stopped = with_state(root, "exited")
    place = root.container.layer.path
    both = plan(root, place / "diff/var/log/big", survey=stopped)
    assert both.allowed, both.refused_because
    assert any("sees that copy again" in words for words in both.consequences)
    own = plan(root, place / "diff/own", survey=stopped)
    assert own.confirmation is Confirmation.PLAIN
    assert not any("again" in words for words in own.consequences)
    # The path as it is called while the container runs.
    assert plan(root, place / "merged/own", survey=stopped).steps == own.steps


@pytest.mark.parametrize(
    ("state", "confirmation"),
    [("running (as last saved)", Confirmation.TYPED), ("not running", Confirmation.PLAIN)],
)
def test_a_state_that_nobody_checked_is_confirmed_by_typing(
    root: SmallRoot, state: str, confirmation: Confirmation
) -> None:
    put_text(root.container.layer.diff / "own", "x")
    answer = plan(root, root.container.layer.diff / "own", survey=with_state(root, state))
    assert (answer.allowed, answer.confirmation) == (True, confirmation)


@pytest.mark.parametrize("state", ["running", "paused", "restarting", "removing", "", "odd"])
def test_a_running_container_without_a_mount_is_a_contradiction(
    root: SmallRoot, state: str
) -> None:
    put_text(root.container.layer.diff / "own", "x")
    answer = plan(root, root.container.layer.diff / "own", survey=with_state(root, state))
    assert not answer.allowed


def test_a_layer_is_not_touched_while_some_mount_has_it(root: SmallRoot) -> None:
    put_text(root.container.layer.diff / "own", "x")
    line = overlay("/elsewhere", upper=f"{root.container.layer.path}/diff")
    stopped = with_state(root, "exited")
    answer = plan(root, root.container.layer.diff / "own", survey=stopped, mounts=(line,))
    assert "mounted" in answer.refused_because


def test_what_is_mounted_inside_a_stopped_layer_is_never_reached(root: SmallRoot) -> None:
    put_text(root.container.layer.diff / "own/x", "x")
    line = bind(f"{root.container.layer.path}/diff/own/deep", "/srv")
    stopped = with_state(root, "exited")
    answer = plan(root, root.container.layer.diff / "own", survey=stopped, mounts=(line,))
    assert "something is mounted in it" in answer.refused_because


def test_what_was_swapped_since_it_was_seen_stays(root: SmallRoot) -> None:
    place = root.container.layer.diff / "own"
    put_text(place, "x")
    about = identified(place)
    found = with_state(root, "exited")
    wish = Wish(
        Subject.PATH,
        bytes(root.path),
        path=bytes(place),
        seen=about,
    )
    assert plan(root, wish, survey=found).allowed
    swapped = plan(root, replace(wish, seen=replace(about, born=about.born + 1)), survey=found)
    assert "something else lies there" in swapped.refused_because


def test_a_link_in_a_container_never_leads_out_of_it(root: SmallRoot) -> None:
    outside = root.path.parent / "outside"
    outside.mkdir()
    (outside / "file").touch()
    (root.container.layer.diff / "etc").symlink_to(outside)
    stopped = with_state(root, "exited")
    through = root.container.layer.diff / "etc/file"
    wish = Wish(Subject.PATH, bytes(root.path), path=bytes(through))
    assert not plan(root, wish, survey=stopped).allowed
    link = plan(root, root.container.layer.diff / "etc", survey=stopped)
    assert link.title.startswith("symbolic link")


# --- logs -----------------------------------------------------------------------------------------


def test_the_logs_of_a_container(root: SmallRoot) -> None:
    log = root.container.log
    write_log(log, 100_000, rotated=2)
    running, stopped = with_state(root, "running"), with_state(root, "exited")
    live = plan(root, log, survey=running)
    assert [step.action for step in live.steps] == [Action.TRUNCATE]
    assert live.confirmation is Confirmation.TYPED
    assert any("zeros" in words for words in live.consequences)
    assert any("max-size" in words for words in live.consequences)
    quiet = plan(root, log, survey=stopped)
    assert quiet.confirmation is Confirmation.PLAIN
    assert not any("zeros" in words for words in quiet.consequences)
    everything = plan(root, log.parent, survey=stopped)
    assert [step.action for step in everything.steps] == [Action.TRUNCATE, *[Action.ERASE] * 2]
    assert everything.frees.inodes == 2
    rotated = plan(root, Path(f"{log}.2.gz"), survey=running)
    assert [step.action for step in rotated.steps] == [Action.ERASE]
    assert rotated.confirmation is Confirmation.PLAIN


def test_local_logs_are_cut_nowhere(root: SmallRoot) -> None:
    local = root.container.directory / "local-logs"
    assert "format of its own" in plan(root, local / "container.log").refused_because
    put_text(local / "container.log.1.gz", "x")
    assert [it.action for it in plan(root, local).steps] == [Action.ERASE]
    for name in ("config.v2.json", "hostconfig.json", "checkpoints"):
        assert "Docker's own" in plan(root, root.container.directory / name).refused_because


def test_a_log_that_is_something_else_stays(root: SmallRoot) -> None:
    log = root.container.log
    log.unlink()
    log.symlink_to("/etc/passwd")
    assert "no plain file" in plan(root, log).refused_because
    log.unlink()
    put_text(log, "x")
    os.link(log, root.path / "other")
    assert "no plain file" in plan(root, log).refused_because


# --- volumes, images and the engine ---------------------------------------------------------------


def listed_volume(path: bytes) -> ListedVolume:
    """As an engine lists it."""
    return ListedVolume("local", os.path.join(path, b"_data"), "2026-01-01T00:00:00Z")


def heard(root: SmallRoot) -> Survey:
    """The same root as if an engine had agreed to all of it."""
    (store,) = survey_of(root).stores
    says = store.containers[0].evidence[:1]
    from_engine = tuple(replace(it, source="engine: /containers/json") for it in says)
    containers = tuple(
        replace(it, owner=replace(it.owner, state="exited"), evidence=(*it.evidence, *from_engine))
        for it in store.containers
    )
    images = tuple(replace(it, evidence=(*it.evidence, *from_engine)) for it in store.images)
    return Survey(
        (
            replace(
                store,
                root=replace(store.root, engine_url="unix:///x"),
                witnesses="disk and engine",
                containers=containers,
                images=images,
                cache=tuple(replace(it, listed=True) for it in store.cache),
                volumes=tuple(replace(it, listed=listed_volume(it.path)) for it in store.volumes),
            ),
        ),
        (),
        final=True,
    )


def test_volumes_and_who_uses_them(root: SmallRoot) -> None:
    add_volume(root.path, "free")
    add_volume(root.path, hex_id("anonymous"))
    nfs = add_volume(root.path, "far").parent
    put_text(nfs / "opts.json", json.dumps({"MountType": "nfs", "MountDevice": ":/export"}))
    found = heard(root)

    def of(name: str) -> Plan:
        return plan(root, Wish(Subject.VOLUME, bytes(root.path), id=name), survey=found)

    assert "container web" in of("pgdata").refused_because
    assert (of("free").word, of("free").confirmation) == ("free", Confirmation.TYPED)
    assert of(hex_id("anonymous")).confirmation is Confirmation.PLAIN
    assert of("far").frees.inodes == 0
    assert "nfs :/export" in of("far").consequences[0]
    binds = {"Binds": [f"{root.path}/volumes/free/_data/in:/x"]}
    put_text(root.container.directory / "hostconfig.json", json.dumps(binds))
    assert "container web" in of("free").refused_because


def test_a_container_that_cannot_be_read_may_use_any_volume(root: SmallRoot) -> None:
    add_volume(root.path, "free")
    put_text(root.container.directory / "config.v2.json", "{")
    wish = Wish(Subject.VOLUME, bytes(root.path), id="free")
    assert "nobody can tell who uses it" in plan(root, wish, survey=heard(root)).refused_because


def test_containers_that_joined_its_namespaces_are_named(root: SmallRoot) -> None:
    found = heard(root)
    (store,) = found.stores
    (web,) = store.containers
    other = root.path / "containers" / hex_id("side")
    other.mkdir()
    put_text(other / "hostconfig.json", json.dumps({"NetworkMode": f"container:{web.owner.id}"}))
    side = replace(
        web,
        owner=Owner(Kind.CONTAINER, hex_id("side"), "side", "running"),
        directory=bytes(other),
        layers=(),
    )
    found = Survey((replace(store, containers=(web, side)),), (), final=True)
    answer = plan(root, Wish(Subject.CONTAINER, bytes(root.path), id=web.owner.id), survey=found)
    assert Reference(Kind.CONTAINER, hex_id("side"), "side", "shares its namespaces") in (
        answer.references
    )


def test_an_image_goes_by_every_name(root: SmallRoot) -> None:
    found = heard(root)
    (store,) = found.stores

    def alone(layer: Layer) -> Layer:
        kept = tuple(it for it in layer.references if it.kind is not Kind.CONTAINER)
        return replace(layer, references=kept)

    (image,) = store.images
    image = replace(image, digests=("app@sha256:1", "elsewhere/app@sha256:2"))
    free = replace(
        store,
        containers=(),
        images=(image,),
        layers={name: alone(layer) for name, layer in store.layers.items()},
    )
    wish = Wish(Subject.IMAGE, bytes(root.path), id=image.owner.id)
    answer = plan(root, wish, survey=Survey((free,), (), True))
    assert answer.allowed, answer.refused_because
    named = [step.ids[0] for step in answer.steps]
    # Its digest in a repository where it has a tag goes with the last tag there.
    assert named == ["app:1", "app:latest", "elsewhere/app@sha256:2"]
    used = plan(root, wish, survey=found)
    assert "container web" in used.refused_because


def test_a_cache_record_in_use_or_not_listed_stays(root: SmallRoot) -> None:
    found = heard(root)
    (store,) = found.stores
    free = plan(root, root.cached.path, survey=found)
    assert [step.ids for step in free.steps] == [(root.record,)]
    for change, word in (({"in_use": True}, "in use now"), ({"listed": False}, "does not list")):
        cache = tuple(replace(it, **change) for it in store.cache)  # type: ignore[arg-type]
        changed = Survey((replace(store, cache=cache),), (), final=True)
        assert word in plan(root, root.cached.path, survey=changed).refused_because


# --- wishes ---------------------------------------------------------------------------------------


def test_everything_that_which_takes_is_a_wish(root: SmallRoot) -> None:
    found = survey_of(root)
    layer = root.container.layer
    for asked in (layer.name[:12], layer.token, f"l/{layer.token}", str(layer.path)):
        (wish,) = wish_for(asked.encode(), found)
        assert make_plan(wish, found).title == "container web"
    for asked, subject in (
        (root.container.id[:12], Subject.CONTAINER),
        (root.image.id[:20], Subject.IMAGE),
    ):
        (wish,) = wish_for(asked.encode(), found)
        assert wish.subject is subject
    (cached,) = wish_for(root.record.encode(), found)
    assert cached.path == bytes(root.cached.path)
    for nothing in (b"nothing", b"/etc/passwd", bytes(root.path / "none"), bytes(root.path)):
        assert wish_for(nothing, found) == ()
