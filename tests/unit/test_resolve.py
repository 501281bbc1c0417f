"""Whose a directory is: by evidence, by two witnesses, and never by silence that was not heard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.demo.ids import cache_id, hex_id, link_token
from app.engine.inventory import EngineCacheRecord, EngineContainer, EngineReading
from app.host.mounts import Mount
from app.model import DataRoot, ImageStore, Kind, Layer, Problem, Role
from app.stores.metadata.docker.containers import ContainerRecord
from app.stores.metadata.docker.layerdb import MountRecord
from app.stores.metadata.docker.read import DiskReading
from app.stores.metadata.docker.resolve import disagreements, resolve
from tests.unit.hosts import DAY, NOW, ROOT, Host, Who

Answers = dict[str, tuple[Role, frozenset[Who]]]
MINUTE = 60.0


def layers(
    disk: DiskReading, engine: EngineReading | None = None, mounts: Iterable[Mount] = ()
) -> dict[str, Layer]:
    return resolve(disk, engine, tuple(mounts), NOW).layers


def answers(found: Mapping[str, Layer]) -> Answers:
    return {
        name: (layer.role, frozenset((it.kind, it.id) for it in layer.owners))
        for name, layer in found.items()
    }


def truth(host: Host) -> Answers:
    return {name: placed.answer for name, placed in host.truth.items()}


def names(layer: Layer, kind: Kind) -> set[str]:
    return {it.id for it in layer.references if it.kind is kind}


# --- any host -------------------------------------------------------------------------------------

few = st.integers(0, 3)
picks = st.lists(st.integers(0, 9), max_size=4)


@st.composite
def hosts(draw: st.DrawFn) -> Host:
    """Layers that share layers; images, containers and records on any of them; and leftovers."""
    host = Host()
    chains: list[str] = []
    for number, pick in enumerate(draw(st.lists(st.integers(0, 9), min_size=1, max_size=7))):
        below = ["", *chains][pick % (len(chains) + 1)]
        built = cache_id(f"built {number}") if pick % 3 == 0 else ""
        chains.append(host.add_layer(f"layer {number}", below, built))
    for number, pick in enumerate(draw(picks)):
        host.add_image(chains[pick % len(chains)], *(f"app:{number}.{n}" for n in range(pick % 3)))
    for number, pick in enumerate(draw(picks)):
        host.add_container(f"container {number}", ["", *chains][pick % (len(chains) + 1)])
    for number, (kind, pick) in enumerate(draw(st.lists(st.tuples(few, few), max_size=4))):
        _add_cache(host, chains, f"cache {number}", kind, pick)
    for number, pick in enumerate(draw(picks)):
        below = ["", *host.directories][pick % (len(host.directories) + 1)]
        # What stands on the orphans of a stopped engine is an orphan itself.
        host.add_directory(hex_id(f"orphan {number}"), below)
    return host


def _add_cache(host: Host, chains: list[str], seed: str, kind: int, pick: int) -> None:
    chain = chains[pick % len(chains)]
    if kind == 0:  # a pulled layer
        host.add_record(seed, chain_id=chain)
    elif kind == 1:  # still mutable, or committed: in a directory of its own
        called = f"record {seed}" if pick == 1 else f"directory {seed}"
        name = host.add_directory(cache_id(called), host.directory(chain))
        host.add_record(seed, directory=name, parent=chain)
    elif kind == 2:  # exported, and the directory is the layer's
        host.add_record(seed, directory=host.directory(chain), chain_id=chain)
    else:  # built twice: a directory of its own beside that of layerdb
        name = host.add_directory(cache_id(f"twin {seed}"))
        id_ = host.add_record(seed, directory=name, chain_id=chain)
        host.truth[host.directory(chain)].standing.add((Kind.BUILD_CACHE, id_))


def owned(found: Answers) -> set[str]:
    return {name for name, (role, owners) in found.items() if owners or role is Role.IMAGE}


@settings(max_examples=700, deadline=None)
@given(hosts())
def test_the_disk_alone_finds_every_role_and_owner(host: Host) -> None:
    found = layers(host.disk())
    assert answers(found) == truth(host)
    for layer in found.values():
        told = " ".join(f"{it.source} {it.says}" for it in layer.evidence)
        assert told
        for kind in (Kind.CONTAINER, Kind.IMAGE, Kind.BUILD_CACHE):
            for id_ in names(layer, kind) | {it.id for it in layer.owners if it.kind is kind}:
                assert id_.removeprefix("sha256:") in told


@settings(max_examples=500, deadline=None)
@given(hosts())
def test_the_engine_agrees_and_changes_nothing(host: Host) -> None:
    both, alone = layers(host.disk(), host.engine()), layers(host.disk())
    assert answers(both) == truth(host)
    assert disagreements(both) == ()
    for name, layer in both.items():
        assert {(it.kind, it.id) for it in layer.references} == {
            (it.kind, it.id) for it in alone[name].references
        }


@settings(max_examples=500, deadline=None)
@given(hosts(), st.booleans())
def test_one_unreadable_source_makes_every_unowned_directory_unknown(
    host: Host, asks: bool
) -> None:
    problem = Problem("/data/some/source", "It cannot be read.", hides_owners=True)
    found = layers(host.disk(problem), host.engine() if asks else None)
    for name, (role, owners) in truth(host).items():
        if role is Role.UNREFERENCED or (role is Role.IMAGE and not owners):
            assert found[name].role is Role.UNKNOWN
            assert "/data/some/source" in found[name].note
            assert any("/data/some/source" in it.source for it in found[name].evidence)


def _without(reading: DiskReading, what: str) -> DiskReading:
    """A disk that lost one of its sources, and says so."""
    empty = {
        "layers": lambda: replace(reading, names=replace(reading.names, layers={})),
        "mounts": lambda: replace(reading, names=replace(reading.names, mounts={})),
        "images": lambda: replace(reading, names=replace(reading.names, images={})),
        "containers": lambda: replace(reading, containers={}),
        "buildkit": lambda: replace(reading, buildkit=replace(reading.buildkit, records=())),
    }[what]()
    return replace(empty, problems=(Problem(what, "It cannot be read.", hides_owners=True),))


LOSSES = ("layers", "mounts", "images", "containers", "buildkit")


@settings(max_examples=800, deadline=None)
@given(hosts(), st.sampled_from(LOSSES), st.booleans())
def test_nothing_that_is_owned_is_ever_unreferenced(host: Host, lost: str, asks: bool) -> None:
    found = layers(_without(host.disk(), lost), host.engine() if asks else None)
    for name, (_, owners) in truth(host).items():
        assert found[name].role is not Role.UNREFERENCED
        # Nor does an image lose a layer to the cache without a word.
        said = {(it.kind, it.id) for it in found[name].owners}
        if any(kind is Kind.IMAGE for kind, _ in owners - said):
            assert lost in found[name].note


@settings(max_examples=500, deadline=None)
@given(hosts(), st.sampled_from(LOSSES))
def test_the_engine_stands_in_for_what_the_disk_lost(host: Host, lost: str) -> None:
    found = layers(_without(host.disk(), lost), host.engine())
    for name, (role, owners) in truth(host).items():
        if role in (Role.WRITABLE, Role.INIT):
            assert found[name].role is role
            assert {(it.kind, it.id) for it in found[name].owners} == owners
        if any(kind is Kind.IMAGE for kind, _ in owners):
            assert found[name].role is Role.IMAGE
            assert {(it.kind, it.id) for it in found[name].owners} >= {
                who for who in owners if who[0] is Kind.IMAGE
            }


@settings(max_examples=600, deadline=None)
@given(hosts(), st.data())
def test_where_the_witnesses_differ_it_is_unknown_and_says_both(
    host: Host, data: st.DataObject
) -> None:
    engine = host.engine()
    lies = [
        *(("no such container", id_) for id_ in engine.containers),
        *(("no such image", id_) for id_ in engine.images),
        *(("one more container", name) for name in host.directories if not _told(engine, name)),
    ]
    assume(lies)
    lie, which = data.draw(st.sampled_from(lies))
    containers, images = dict(engine.containers), dict(engine.images)
    if lie == "no such container":
        touched = {*containers.pop(which).directories[:2]}
    elif lie == "no such image":
        touched = {*images.pop(which).directories}
    else:
        id_ = hex_id("stranger")
        containers[id_] = EngineContainer(id_, "stranger", directories=(which,))
        touched = {which}
    found = layers(host.disk(), replace(engine, containers=containers, images=images))
    assert set(disagreements(found)) == touched
    for name in touched:
        assert found[name].role is Role.UNKNOWN
        assert "disk" in found[name].note.removeprefix("disk and engine")
        assert "engine" in found[name].note.removeprefix("disk and engine")
    # What a disputed directory stands on may be wanted; all others are as they were.
    below = {parent for name in touched for parent in host.directories[name].parents}
    for name in found.keys() - touched:
        wanted = truth(host)[name][0]
        if wanted is Role.UNREFERENCED and name in below:
            wanted = Role.UNKNOWN
        assert found[name].role is wanted


def _told(engine: EngineReading, name: str) -> bool:
    told = [it.directories for it in engine.containers.values()]
    told += [it.directories for it in engine.images.values()]
    return any(name in directories for directories in told)


@settings(max_examples=300, deadline=None)
@given(hosts(), st.data())
def test_damage_is_unknown_with_its_owners_still_named(host: Host, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(host.directories)))
    host.change(name, sure=False, notes=("it has no link file",))
    found = layers(host.disk(), data.draw(st.sampled_from([None, host.engine()])))
    assert found[name].role is Role.UNKNOWN
    assert "link file" in found[name].note
    assert {(it.kind, it.id) for it in found[name].owners} == host.truth[name].owners
    for below in host.directories[name].parents:
        assert found[below].role is not Role.UNREFERENCED


# --- new, old and half gone -----------------------------------------------------------------------


@pytest.fixture
def host() -> Host:
    """An image of two layers with a container; nothing else."""
    made = Host()
    top = made.add_layer("top", made.add_layer("base"))
    made.add_image(top, "app:1", "app:latest")
    made.add_container("web", top)
    return made


def one(host: Host, name: str, **more: float) -> Layer:
    return layers(host.disk(**more))[name]


def test_a_young_directory_may_be_a_layer_being_created(host: Host) -> None:
    name = host.add_directory(hex_id("new"), age=5 * MINUTE)
    assert one(host, name).role is Role.UNKNOWN
    assert one(host, name).note.startswith("being created?")
    host.change(name, mtime=NOW - 11 * MINUTE)
    assert one(host, name).role is Role.UNREFERENCED


def test_an_open_transaction_keeps_a_long_download_from_looking_forgotten(host: Host) -> None:
    name = host.add_directory(hex_id("slow"), age=3 * 60 * MINUTE)
    old = host.add_directory(hex_id("old"))
    written = NOW - MINUTE
    assert one(host, name, last_write=written).note.startswith("being created?")
    assert one(host, old, last_write=written).role is Role.UNREFERENCED
    # A transaction that a crash left behind weeks ago says nothing.
    assert one(host, name, last_write=NOW - 20 * DAY).role is Role.UNREFERENCED


def test_a_layer_that_is_loaded_before_its_image_is_not_called_forgotten(host: Host) -> None:
    name = host.directory(host.add_layer("arriving"))
    host.change(name, mtime=NOW - MINUTE)
    assert (one(host, name).role, one(host, name).note[:14]) == (Role.IMAGE, "being created?")
    host.change(name, mtime=NOW - DAY)
    assert one(host, name).role is Role.IMAGE
    assert "no image, container or cache record uses it" in one(host, name).note
    assert one(host, name).owners == ()


def test_pending_removal_even_when_half_of_it_is_gone(host: Host) -> None:
    name = host.start_removal(host.add_layer("leaving"))
    host.change(name, sure=False, notes=("it has no link file",))
    assert one(host, name).role is Role.PENDING_REMOVAL
    assert any("began to remove" in it.says for it in one(host, name).evidence)


def test_a_removal_that_ended_early_leaves_what_is_still_nobodys(host: Host) -> None:
    name = host.add_directory(hex_id("half removed"))
    host.change(name, sure=False, notes=("l/X is missing",))
    assert one(host, name).role is Role.UNKNOWN
    host.change(name, interrupted=True)
    assert one(host, name).role is Role.UNREFERENCED
    host.change(name, mtime=NOW - MINUTE)
    assert one(host, name).role is Role.UNREFERENCED, "what is new is the removal"
    host.change(name, token="")
    assert one(host, name).role is Role.UNKNOWN, "an empty directory may be a layer's beginning"


def test_a_layer_with_an_owner_is_damaged_without_its_link(host: Host) -> None:
    name = host.directory(host.add_layer("used"))
    host.change(name, sure=False, interrupted=True, notes=("l/X is missing",))
    assert (one(host, name).role, one(host, name).note) == (Role.UNKNOWN, "l/X is missing")


def test_an_interrupted_removal_of_what_the_daemon_still_names_is_damage(host: Host) -> None:
    """Without the daemon's word it would be nobody's; with it, half of somebody's layer is gone."""
    id_ = host.add_container("web")
    name = host.mounts[id_].mount_id
    engine = host.engine()
    del host.mounts[id_], host.containers[id_]
    host.change(name, sure=False, interrupted=True, notes=("l/X is missing",))
    assert layers(host.disk())[name].role is Role.UNREFERENCED
    found = layers(host.disk(), engine)[name]
    assert (found.role, found.note) == (Role.UNKNOWN, "l/X is missing")


def test_an_init_leftover_is_nobodys_and_says_what_it_is(host: Host) -> None:
    name = host.add_directory(hex_id("failed") + "-init", next(iter(host.directories)))
    host.change(name, notes=("an init layer without its container's layer",))
    assert one(host, name).role is Role.UNREFERENCED
    assert "init layer without" in one(host, name).note


def test_a_foreign_directory_is_unknown(host: Host) -> None:
    name = host.add_directory("backup-of-old-layers")
    host.change(name, foreign="somebody else made it", sure=False)
    assert (one(host, name).role, one(host, name).note) == (Role.UNKNOWN, "somebody else made it")


# --- who keeps a layer ----------------------------------------------------------------------------


def test_an_image_removed_by_force_leaves_its_layers_to_the_container(host: Host) -> None:
    (id_,) = host.containers
    host.images.clear()
    for asked in (None, host.engine()):
        found = layers(host.disk(), asked)
        for layer in found.values():
            if layer.role is Role.IMAGE:
                assert [(it.kind, it.id, it.name) for it in layer.owners] == [
                    (Kind.CONTAINER, id_, "web")
                ]
                assert "no image holds this layer any more" in layer.note
        assert sum(layer.role is Role.IMAGE for layer in found.values()) == 2


def test_a_container_keeps_its_layers_from_being_called_cache(host: Host) -> None:
    top = next(iter(host.images.values())).chain_ids[-1]
    record = host.add_record("also cached", chain_id=top)
    host.images.clear()
    layer = one(host, host.directory(top))
    assert layer.role is Role.IMAGE
    assert {it.kind for it in layer.owners} == {Kind.CONTAINER, Kind.BUILD_CACHE}
    assert record in names(layer, Kind.BUILD_CACHE)


def test_a_pulled_base_has_one_record_and_keeps_all_its_layers() -> None:
    host = Host()
    base = host.add_layer("base")
    top = host.add_layer("top", base)
    record = host.add_record("pulled", chain_id=top)
    for chain in (base, top):
        layer = one(host, host.directory(chain))
        assert layer.role is Role.BUILD_CACHE
        assert [it.id for it in layer.owners] == [record]


def test_the_same_layer_built_twice_has_two_directories(host: Host) -> None:
    top = next(iter(host.images.values())).chain_ids[-1]
    name = host.add_directory(cache_id("twin"))
    record = host.add_record("twin", directory=name, chain_id=top)
    twin, layer = one(host, name), one(host, host.directory(top))
    assert (twin.role, [it.id for it in twin.owners]) == (Role.BUILD_CACHE, [record])
    assert layer.role is Role.IMAGE
    assert all(it.kind is Kind.IMAGE for it in layer.owners)
    assert record in names(layer, Kind.BUILD_CACHE)


def test_an_alias_names_the_same_directory(host: Host) -> None:
    name = host.add_directory(cache_id("mutable"))
    first = host.add_record("mutable", directory=name, description="local source")
    alias = host.add_record("alias", directory=name, alias_of=first)
    assert [it.id for it in one(host, name).owners] == [first, alias]


def test_a_view_that_buildkit_mounts_is_no_containers(host: Host) -> None:
    """mounts/<25 characters> are BuildKit's own; no config.v2.json goes with them."""
    view, name = cache_id("view"), host.add_directory(hex_id("view"))
    host.mounts[view] = MountRecord(view, name, "", "", b"/data/mounts/view")
    layer = layers(host.disk())[name]
    assert (layer.role, layer.owners[0].kind) == (Role.BUILD_CACHE, Kind.BUILD_CACHE)


def test_a_container_without_a_readable_config_is_unknown_but_not_nobodys(host: Host) -> None:
    ((id_, _),) = host.containers.items()
    mount = host.mounts[id_].mount_id
    disk = replace(host.disk(), containers={})
    layer = layers(disk)[mount]
    assert (layer.role, layer.owners[0].id) == (Role.UNKNOWN, id_)
    assert "no readable config.v2.json" in layer.note
    named = layers(disk, host.engine())[mount]
    assert (named.role, named.owners[0].name) == (Role.WRITABLE, "web")


def test_what_buildkit_knows_and_no_record_claims_is_unknown(host: Host) -> None:
    name = host.add_directory(cache_id("unclaimed"))
    host.unclaimed.append(name)
    assert (one(host, name).role, "no cache record" in one(host, name).note) == (Role.UNKNOWN, True)


def test_what_something_unknown_stands_on_is_not_unreferenced(host: Host) -> None:
    orphan = host.add_directory(hex_id("orphan"))
    above = host.add_directory(hex_id("above"), orphan)
    assert one(host, orphan).role is Role.UNREFERENCED
    host.change(above, mtime=NOW)
    assert one(host, orphan).role is Role.UNKNOWN
    assert above in one(host, orphan).note


# --- the engine's word ----------------------------------------------------------------------------


def test_the_engines_word_for_name_and_state_is_the_fresher(host: Host) -> None:
    engine = host.engine()
    ((id_, container),) = engine.containers.items()
    fresh = replace(container, name="renamed", state="running", compose_project="shop")
    for said in (fresh, replace(fresh, directories=(), error="it is stuck")):
        found = layers(host.disk(), replace(engine, containers={id_: said}))
        (owner,) = found[host.mounts[id_].mount_id].owners
        assert (owner.name, owner.state, owner.compose_project) == ("renamed", "running", "shop")


def test_a_failed_inspect_or_a_failed_list_contradicts_nothing(host: Host) -> None:
    engine = host.engine()
    broken = {
        id_: replace(it, directories=(), error="no such file")
        for id_, it in engine.containers.items()
    }
    for said in (
        replace(engine, containers=broken),
        replace(engine, containers={}, complete=engine.complete - {Kind.CONTAINER}),
        replace(engine, images={}, complete=engine.complete - {Kind.IMAGE}),
    ):
        assert answers(layers(host.disk(), said)) == truth(host)


def test_no_image_is_only_said_when_every_image_was_heard(host: Host) -> None:
    host.images.clear()
    problem = Problem("/data/imagedb", "It cannot be read.", hides_owners=True)
    name = host.directory(next(iter(host.layers)))
    blind = layers(host.disk(problem))[name]
    assert blind.role is Role.IMAGE
    assert "/data/imagedb could not be read" in blind.note
    heard = layers(host.disk(problem), host.engine())[name]
    assert "no image holds this layer any more" in heard.note
    deaf = replace(host.engine(), complete=frozenset())
    assert "could not be read" in layers(host.disk(problem), deaf)[name].note


def test_the_disks_word_for_a_cache_mount_is_the_better_one(host: Host) -> None:
    id_ = cache_id("record mount")
    name = host.add_directory(id_)
    host.add_record("mount", directory=name, cache_mount_id="compiler", description="RUN")
    for asked in (None, host.engine()):
        assert [it.name for it in layers(host.disk(), asked)[name].owners] == ["compiler"]


def test_a_mutable_record_is_known_to_the_engine_alone(host: Host) -> None:
    name = host.add_directory(cache_id("mutable"))
    problem = Problem("/data/buildkit/metadata_v2.db", "Torn.", hides_owners=True)
    record = EngineCacheRecord(name, "source.local", "local source for context")
    engine = replace(host.engine(), cache={name: record})
    layer = layers(host.disk(problem), engine)[name]
    assert (layer.role, layer.owners[0].name) == (Role.BUILD_CACHE, "local source for context")
    # Where the disk could be read in full and knows nothing of it, they differ.
    assert disagreements(layers(host.disk(), engine)) == (name,)


# --- which store ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("root", "word"),
    [
        (DataRoot(b"/d", "overlayfs", ImageStore.CONTAINERD, ""), "containerd image store"),
        (DataRoot(b"/d", "btrfs", ImageStore.GRAPHDRIVER, ""), "btrfs driver"),
    ],
)
def test_layers_of_a_store_that_is_not_in_use_are_inactive_never_orphans(
    root: DataRoot, word: str
) -> None:
    host = Host(root)
    top = host.add_layer("top")
    host.add_image(top, "app:1")
    host.add_directory(hex_id("orphan"))
    host.change(host.add_directory(hex_id("damaged")), sure=False)
    for layer in layers(host.disk()).values():
        assert (layer.role, layer.active) == (Role.INACTIVE, False)
        assert word in layer.note
    assert layers(host.disk())[host.directory(top)].owners[0].tags == ("app:1",)


def test_where_nobody_can_tell_the_store_nothing_is_unreferenced() -> None:
    host = Host(replace(ROOT, image_store=ImageStore.UNDECIDED))
    top = host.add_layer("top")
    host.add_image(top, "app:1")
    orphan = host.add_directory(hex_id("orphan"))
    assert one(host, host.directory(top)).role is Role.IMAGE
    assert (one(host, orphan).role, one(host, orphan).active) == (Role.UNKNOWN, True)


# --- live mounts ----------------------------------------------------------------------------------


def overlay(point: bytes, upper: bytes, lowers: tuple[bytes, ...], **more: object) -> Mount:
    made = Mount(point, b"/", "overlay", "0:50", b"overlay", lowers, upper, "mnt:[1]", 7)
    return replace(made, **more)  # type: ignore[arg-type]


def test_a_deep_images_relative_options_lead_to_its_layers(host: Host) -> None:
    (id_,) = host.containers
    mount = host.mounts[id_].mount_id
    below = host.directories[mount].parents
    point = b"/data/overlay2/%s/merged" % mount.encode()
    live = overlay(
        point, mount.encode() + b"/diff", tuple(b"l/" + link_token(it).encode() for it in below)
    )
    found = layers(host.disk(), None, [live])
    for name in (mount, *below):
        assert found[name].mounts == (point,)
        assert names(found[name], Kind.MOUNT) == {point.decode()}
        assert any(it.source == "/proc/7/mountinfo" for it in found[name].evidence)


def test_the_same_mount_in_several_namespaces_is_one_reference(host: Host) -> None:
    (id_,) = host.containers
    mount = host.mounts[id_].mount_id
    upper = b"/somewhere/else/overlay2/%s/diff" % mount.encode()
    inside = overlay(b"/", upper, (), namespace="mnt:[2]", pid=9)
    outside = overlay(b"/data/overlay2/%s/merged" % mount.encode(), upper, ())
    for seen in ([inside, outside], [outside, inside]):
        assert layers(host.disk(), None, seen)[mount].mounts == (outside.point,)


def test_two_bind_mounts_of_a_base_layer_are_two_references(host: Host) -> None:
    base = next(iter(host.directories))
    binds = [
        Mount(point, f"/data/overlay2/{base}/diff".encode(), "ext4", "8:1", b"", (), b"", "m", 1)
        for point in (b"/data/buildkit/executor/a/rootfs", b"/mnt/look")
    ]
    assert len(names(layers(host.disk(), None, binds)[base], Kind.MOUNT)) == 2


def test_what_is_mounted_without_a_name_is_unknown(host: Host) -> None:
    name = host.add_directory(hex_id("build that survived its engine"))
    live = overlay(b"/data/buildkit/executor/x/rootfs", f"/data/overlay2/{name}/diff".encode(), ())
    layer = layers(host.disk(), None, [live])[name]
    assert (layer.role, "it is mounted" in layer.note) == (Role.UNKNOWN, True)


def test_a_damaged_disk_witness_never_outvotes_a_readable_one(host: Host) -> None:
    """One directory that layerdb gives to a container and to an image belongs to nobody we know."""
    (id_,) = host.containers
    mount = host.mounts[id_].mount_id
    host.add_layer("stolen", name=mount)
    layer = one(host, mount)
    assert (layer.role, "at once" in layer.note) == (Role.UNKNOWN, True)


def test_the_record_of_a_container_is_what_the_disk_saved(host: Host) -> None:
    (id_,) = host.containers
    record: ContainerRecord = replace(
        host.containers[id_], compose_project="shop", compose_service="web", image="app:1"
    )
    host.containers[id_] = record
    (owner,) = one(host, host.mounts[id_].mount_id).owners
    assert (owner.name, owner.image, owner.compose_project, owner.compose_service) == (
        "web",
        "app:1",
        "shop",
        "web",
    )
