"""Whatever is offered as removable has no live reference, in the truth of made-up hosts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cleanup.plan.model import Action, Plan, Subject, Wish
from app.cleanup.plan.planner import make_plan
from app.demo.ids import cache_id
from app.discovery.request import Survey
from app.model import Kind, Problem, Role, Usage
from app.stores.catalog import assemble
from tests.unit.hosts import NOW, ROOT, URL, Host
from tests.unit.proc_stub import bind, make_proc, overlay
from tests.unit.test_resolve import hosts

THROUGH_THE_ENGINE = {
    Action.REMOVE_CONTAINER,
    Action.REMOVE_IMAGE,
    Action.PRUNE_CACHE,
    Action.REMOVE_VOLUME,
}


@pytest.fixture(scope="module", autouse=True)
def _no_dockerd() -> object:
    """No engine of this machine has to do with the made-up root."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.cleanup.plan.context.serving", lambda _host, _root: [])
        yield


@dataclass(frozen=True)
class World:
    """A host with what is mounted and open on it, by directory name."""

    host: Host
    mounted: dict[str, str]
    opened: frozenset[str]
    asks: bool


@st.composite
def worlds(draw: st.DrawFn) -> World:
    host = draw(hosts())
    for number, pick in enumerate(draw(st.lists(st.integers(0, 9), max_size=3))):
        if host.records:
            below = host.records[pick % len(host.records)]
            own = below.directory or host.directory(below.chain_id)
            name = host.add_directory(cache_id(f"child directory {number}"), own)
            host.add_record(f"child {number}", directory=name, parent=below.id)
    names = sorted(host.directories)
    uses = st.sampled_from(("upper", "lower", "token", "relative", "bind", "inside"))
    mounted = draw(st.dictionaries(st.sampled_from(names), uses, max_size=2))
    opened = draw(st.frozensets(st.sampled_from(names), max_size=1))
    return World(host, mounted, opened, draw(st.booleans()))


def mount_line(host: Host, name: str, how: str) -> str:
    place = f"/data/overlay2/{name}"
    token = host.directories[name].token
    return {
        "upper": overlay("/a", upper=f"{place}/diff"),
        "lower": overlay("/b", lowers=f"/usr:{place}/diff"),
        "token": overlay("/c", lowers=f"/data/overlay2/l/{token}"),
        "relative": overlay("/d", lowers=f"l/{token}:/usr"),
        "bind": bind("/e", f"{place}/diff/etc"),
        "inside": bind(f"/somewhere/{name}/diff/etc", "/srv"),
    }[how]


def plans(world: World, *problems: Problem) -> dict[str, Plan]:
    """The plan for every directory, with the directories really there."""
    host = world.host
    engine = host.engine() if world.asks else None
    lines = [mount_line(host, name, how) for name, how in world.mounted.items()]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root")
        for name in host.directories:
            diff = root / "overlay2" / name / "diff"
            diff.mkdir(parents=True)
            for place in (diff, diff.parent):
                os.utime(place, (NOW - 9e6, NOW - 9e6))
        opened = [str(root / "overlay2" / name / "diff") for name in world.opened]
        proc = make_proc(Path(folder, "proc"), lines, opened)
        where = "disk and engine" if engine else "disk alone: it is down"
        # The survey is older than the mounts: the plan must look for itself.
        store = assemble(host.disk(*problems), engine, (), NOW, where)
        data_root = replace(ROOT, path=bytes(root), engine_url=URL if engine else "")
        layers = {
            name: replace(layer, path=bytes(root / "overlay2" / name))
            for name, layer in store.layers.items()
        }
        survey = Survey((replace(store, root=data_root, layers=layers),), (), final=True)
        wishes = {
            name: Wish(Subject.PATH, data_root.path, path=layer.path)
            for name, layer in layers.items()
        }
        return {
            name: make_plan(wish, survey, nothing, now=NOW, proc=proc)
            for name, wish in wishes.items()
        }


def nothing(paths: Sequence[bytes]) -> dict[bytes, Usage]:
    return dict.fromkeys(paths, Usage())


def stands_on(host: Host, name: str) -> set[str]:
    return {it.name for it in host.directories.values() if name in it.parents}


def check_raw(world: World, name: str) -> None:
    placed = world.host.truth[name]
    assert placed.base is Role.UNREFERENCED
    assert not placed.owners
    assert not placed.standing
    assert not stands_on(world.host, name)
    assert name not in world.mounted
    assert name not in world.opened


def check_cache(world: World, plan: Plan) -> None:
    """No container on it, nothing of it mounted, and no record left without what it is built on."""
    going = {it.id for it in plan.references if it.kind is Kind.BUILD_CACHE}
    assert set(plan.steps[0].ids) <= going
    for record in world.host.records:
        if record.parent in going:
            assert record.id in going
        if record.id in going:
            own = record.directory or world.host.directory(record.chain_id)
            assert own not in world.mounted


def check_images(world: World, name: str, plan: Plan) -> None:
    standing = world.host.truth[name].standing
    assert not world.host.truth[name].of(Kind.CONTAINER, standing)
    named = {id_ for step in plan.steps for id_ in step.ids}
    for id_, image in world.host.images.items():
        goes = bool(named & {id_, *image.tags})
        top = world.host.directory(image.chain_ids[-1])
        users = world.host.truth[top].of(Kind.CONTAINER, world.host.truth[top].standing)
        assert not (goes and users)
        if goes:
            assert set(image.tags) <= named
            assert (Kind.IMAGE, id_) in world.host.truth[name].owners


@settings(max_examples=350, deadline=None)
@given(worlds())
def test_what_is_offered_has_no_live_reference(world: World) -> None:
    for name, plan in plans(world).items():
        placed = world.host.truth[name]
        actions = {step.action for step in plan.steps}
        assert plan.allowed == bool(actions)
        assert plan.allowed or plan.refused_because
        assert world.asks or not actions & THROUGH_THE_ENGINE
        # The engine's own removal would go on into what is mounted there.
        assert not (plan.allowed and world.mounted.get(name) == "inside")
        if actions == {Action.ERASE_LAYER}:
            check_raw(world, name)
        elif actions == {Action.PRUNE_CACHE}:
            check_cache(world, plan)
        elif actions == {Action.REMOVE_IMAGE}:
            check_images(world, name, plan)
        elif actions == {Action.REMOVE_CONTAINER}:
            assert (Kind.CONTAINER, plan.steps[0].ids[0]) in placed.owners
            assert placed.base in (Role.WRITABLE, Role.INIT)
        else:
            assert not actions


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_what_nothing_refers_to_is_offered(world: World) -> None:
    for name, plan in plans(world).items():
        placed = world.host.truth[name]
        quiet = name not in {*world.mounted, *world.opened} and not stands_on(world.host, name)
        if quiet and (placed.base, placed.owners) == (Role.UNREFERENCED, set()):
            assert plan.allowed, plan.refused_because
            assert plan.word == name[:12]
        both = {world.mounted.get(it) for it in (name, f"{name}-init")}
        if world.asks and placed.base is Role.WRITABLE and "inside" not in both:
            assert plan.allowed, plan.refused_because


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_one_unreadable_source_and_nothing_is_erased(world: World) -> None:
    problem = Problem("/data/some/source", "It cannot be read.", hides_owners=True)
    for plan in plans(world, problem).values():
        assert Action.ERASE_LAYER not in {step.action for step in plan.steps}
