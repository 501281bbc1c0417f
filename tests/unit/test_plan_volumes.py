"""Who uses a volume, and which ones go with their container."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from app.cleanup.plan.model import Plan, Subject, Wish
from app.demo.content import put_text
from app.demo.ids import hex_id
from app.demo.volumes import add_volume
from app.discovery.request import Survey
from app.host.holding import holds_below
from app.model import Daemon, Kind, ListedVolume, Owner
from tests.unit.small_root import SmallRoot, make_small_root
from tests.unit.store_files import DAMAGES
from tests.unit.test_planner import heard, plan

ANONYMOUS = hex_id("anonymous")


@pytest.fixture
def root(tmp_path: Path) -> SmallRoot:
    return make_small_root(tmp_path / "docker")


def of_volume(root: SmallRoot, name: str) -> Plan:
    return plan(root, Wish(Subject.VOLUME, bytes(root.path), id=name), survey=heard(root))


def of_container(root: SmallRoot, *, with_volumes: bool) -> Plan:
    id_ = root.container.directory.name
    wish = Wish(Subject.CONTAINER, bytes(root.path), id=id_, anonymous_volumes=with_volumes)
    return plan(root, wish, survey=heard(root))


def mount(root: SmallRoot, inside: str, point: Mapping[str, object]) -> None:
    """Note a mount in the container's config.v2.json, as the engine made it."""
    path = root.container.directory / "config.v2.json"
    config = json.loads(path.read_text())
    config["MountPoints"][inside] = {"Destination": inside, "RW": True, **point}
    path.write_text(json.dumps(config))


def mount_volume(root: SmallRoot, name: str, source: str) -> None:
    """Mount a volume that was asked for by the name ``source``, or by none."""
    spec = {"Type": "volume", "Source": source, "Target": f"/{name}"} if source else {}
    point = {"Type": "volume", "Name": name, "Driver": "local", "Source": "", "Spec": spec}
    mount(root, f"/{name}", point)


# --- users ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["asked", "made"])
def test_a_volume_that_a_container_mounts_by_its_path_stays(root: SmallRoot, place: str) -> None:
    source = f"{add_volume(root.path, 'free')}"
    assert of_volume(root, "free").allowed
    bind: dict[str, object] = {"Type": "bind", "Source": source}
    if place == "asked":
        host = {"Binds": None, "Mounts": [{**bind, "Target": "/x"}]}
        put_text(root.container.directory / "hostconfig.json", json.dumps(host))
    else:
        mount(root, "/x", {**bind, "Name": "", "Spec": {**bind, "Target": "/x"}})
    answer = of_volume(root, "free")
    assert "in use by container web" in answer.refused_because
    (user,) = answer.references
    assert (user.kind, user.name) == (Kind.CONTAINER, "web")


@pytest.mark.parametrize("kind", sorted(DAMAGES))
def test_a_container_whose_settings_cannot_be_read_may_mount_any_volume(
    root: SmallRoot, kind: str
) -> None:
    add_volume(root.path, "free")
    DAMAGES[kind](root.container.directory / "hostconfig.json")
    answer = of_volume(root, "free")
    assert "nobody can tell who uses it" in answer.refused_because
    assert "container web" in answer.refused_because


# --- what goes with a container -------------------------------------------------------------------


def test_a_volume_that_was_made_for_a_container_can_go_with_it(root: SmallRoot) -> None:
    data = add_volume(root.path, ANONYMOUS)
    put_text(data / "dump", "x" * 100_000)
    mount_volume(root, ANONYMOUS, "")
    kept, taken = (of_container(root, with_volumes=ticked) for ticked in (False, True))
    assert kept.offers_volumes == taken.offers_volumes == (ANONYMOUS,)
    assert taken.steps[0].volumes
    assert taken.frees.bytes > kept.frees.bytes + 100_000


def test_a_volume_that_was_given_by_its_name_is_not_promised(root: SmallRoot) -> None:
    add_volume(root.path, ANONYMOUS)
    mount_volume(root, ANONYMOUS, ANONYMOUS)
    answer = of_container(root, with_volumes=True)
    assert answer.allowed
    assert not answer.offers_volumes
    assert not answer.steps[0].volumes
    assert not any(ANONYMOUS in words for words in answer.consequences)
    assert {it.name: it.why for it in answer.references}[ANONYMOUS] == "it stays"


def test_no_volume_goes_along_that_another_container_mounts_by_its_path(root: SmallRoot) -> None:
    names = (ANONYMOUS, hex_id("another"))
    sources = [f"{add_volume(root.path, name)}" for name in names]
    for name in names:
        mount_volume(root, name, "")
    assert of_container(root, with_volumes=True).offers_volumes == tuple(sorted(names))
    found = heard(root)
    (store,) = found.stores
    (web,) = store.containers
    other = root.path / "containers" / hex_id("side")
    other.mkdir()
    put_text(other / "hostconfig.json", json.dumps({"Binds": [f"{sources[0]}:/x"]}))
    put_text(other / "config.v2.json", "{}")
    owner = Owner(Kind.CONTAINER, hex_id("side"), "side", "exited")
    side = replace(web, owner=owner, directory=bytes(other), layers=())
    found = Survey((replace(store, containers=(web, side)),), (), final=True)
    wish = Wish(Subject.CONTAINER, bytes(root.path), id=web.owner.id, anonymous_volumes=True)
    answer = plan(root, wish, survey=found)
    assert answer.allowed
    assert not answer.offers_volumes
    assert not answer.steps[0].volumes


def test_no_volume_is_promised_while_somebody_may_mount_it_by_its_path(root: SmallRoot) -> None:
    add_volume(root.path, ANONYMOUS)
    mount_volume(root, ANONYMOUS, "")
    (root.container.directory / "hostconfig.json").write_text("{")
    assert not of_container(root, with_volumes=True).offers_volumes


# --- what the daemon says of it -------------------------------------------------------------------

OTHERS = {
    "not listed": (None, "does not list a volume free"),
    "of another driver": (ListedVolume("nfs", b"/mnt/free"), "belongs to driver nfs"),
    "elsewhere": (ListedVolume("local", b"/other/volumes/free/_data"), "not in this directory"),
}


@pytest.mark.parametrize("case", list(OTHERS))
def test_a_volume_that_the_daemon_means_otherwise_is_refused(root: SmallRoot, case: str) -> None:
    add_volume(root.path, "free")
    listed, words = OTHERS[case]
    found = heard(root)
    (store,) = found.stores
    volumes = tuple(
        replace(it, listed=listed) if it.owner.id == "free" else it for it in store.volumes
    )
    found = replace(found, stores=(replace(store, volumes=volumes),))
    wish = Wish(Subject.VOLUME, bytes(root.path), id="free")
    answer = plan(root, wish, survey=found)
    assert words in answer.refused_because
    assert answer.instead
    assert of_volume(root, "free").allowed


def test_an_order_by_a_name_is_refused_where_another_process_listens(
    root: SmallRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = add_volume(root.path, "free")
    found = heard(root)
    (store,) = found.stores

    def asked(subject: Subject, id_: str, pid: int) -> Plan:
        daemon = Daemon("ID", bytes(root.path), 0, pid)
        spoken = replace(found, stores=(replace(store, daemon=daemon),))
        return plan(root, Wish(subject, bytes(root.path), id=id_), survey=spoken)

    monkeypatch.setattr("app.cleanup.plan.context.holds_below", holds_below_here)
    with (place.parent / "opts.json").open("w") as held:
        assert asked(Subject.VOLUME, "free", os.getpid()).allowed
        held.write("{}")
    for pid in (0, 1, 2**22 + 1):
        # Out of sight, made by systemd, or not to be looked into.
        assert asked(Subject.VOLUME, "free", pid).allowed
    answer = asked(Subject.VOLUME, "free", os.getpid())
    assert "not the daemon's own socket" in answer.refused_because
    image = store.images[0].owner.id
    assert "own socket" in asked(Subject.IMAGE, image, os.getpid()).refused_because or (
        "in use" in asked(Subject.IMAGE, image, os.getpid()).refused_because
    )
    # A container's id is nobody else's.
    container = root.container.directory.name
    assert asked(Subject.CONTAINER, container, os.getpid()).allowed


def holds_below_here(pid: int, directory: bytes, _proc: bytes) -> bool | None:
    """In the machine's own /proc, not the made one."""
    return holds_below(pid, directory)
