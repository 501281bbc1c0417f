"""The disk first, then the engine: silent, hanging, remote, dying or changing its mind."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from app import survey as survey_module
from app.demo.ids import hex_id
from app.demo.layout import add_directory
from app.discovery.classify import NoDataRoot, RootError
from app.discovery.roots import Discovery, discover
from app.engine.inventory import EngineInfo, RemoteEngine
from app.model import Role, Store
from app.survey import ASKING, BOTH, Request, Survey, survey, survey_in_steps
from tests.unit import captured
from tests.unit.small_root import make_small_root
from tests.unit.stub_engine import Behaviour, StubEngine, says, sends

WEB = "4c1a66de80a06a806d4b7768b81be2f7cd8588c574ae811d3ebe95de8981c4db"
#: Hang up without a word.
HANGS_UP = sends(b"")


@pytest.fixture
def capture(captures: Path) -> Path:
    return captures / "overlay2"


@pytest.fixture
def root(capture: Path) -> bytes:
    return bytes(capture / captured.ROOT)


@pytest.fixture
def stub(capture: Path) -> Iterator[StubEngine]:
    with StubEngine(captured.engine_routes(capture)) as running:
        yield running


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """One behaviour after the other; the last one from then on."""
    waiting = list(behaviours)

    def behave(connection: socket.socket) -> None:
        (waiting.pop(0) if len(waiting) > 1 else waiting[0])(connection)

    return behave


def roles(store: Store) -> dict[str, str]:
    return {name: layer.role.value for name, layer in store.layers.items()}


def truth(capture: Path) -> dict[str, str]:
    return {name: it["role"] for name, it in captured.expected(capture).items()}


def by_disk_alone(last: Survey, capture: Path) -> str:
    """Check that the disk answered in full; what the store says of the engine."""
    assert last.final
    (store,) = last.stores
    assert roles(store) == truth(capture)
    assert store.witnesses.startswith("disk alone: ")
    assert store.root.engine_url == ""
    assert [it.sentence for it in last.problems] == [store.witnesses.removeprefix("disk alone: ")]
    return store.witnesses


# --- an engine that answers -----------------------------------------------------------------------


def test_names_come_from_the_disk_before_the_engine_is_asked(
    stub: StubEngine, root: bytes, capture: Path
) -> None:
    steps = survey_in_steps(Request((root,), stub.url, environ={}))
    first = next(steps)
    assert stub.asked == []
    assert (first.final, first.stores[0].witnesses) == (False, ASKING)
    assert roles(first.stores[0]) == truth(capture)
    (last,) = steps
    assert (last.final, last.stores[0].witnesses) == (True, BOTH)
    assert roles(last.stores[0]) == truth(capture)
    assert last.stores[0].root.engine_url == stub.url


def test_a_named_engine_says_where_its_data_root_is(
    stub: StubEngine, root: bytes, capture: Path
) -> None:
    for request in (
        Request(host=stub.url, environ={}),
        Request(environ={"DOCKER_HOST": stub.url}),
    ):
        for step in survey_in_steps(request):
            assert step.stores[0].root.path == root
            assert roles(step.stores[0]) == truth(capture)


def test_offline_asks_nobody(stub: StubEngine, root: bytes, capture: Path) -> None:
    (only,) = survey_in_steps(Request((root,), stub.url, offline=True, environ={}))
    assert stub.asked == []
    assert only.problems == ()
    assert only.stores[0].witnesses == "disk alone: --offline"


def test_an_engine_of_another_root_is_no_witness_here(stub: StubEngine, tmp_path: Path) -> None:
    small = make_small_root(tmp_path / "docker")
    (store,) = survey(Request((bytes(small.path),), stub.url, environ={})).stores
    assert store.witnesses == "disk alone: the engine that answers serves another data root"
    assert store.layers[small.orphan.name].role is Role.UNREFERENCED
    assert {it.owner.name for it in store.containers} == {"web"}


def test_the_engine_may_know_a_root_that_the_disk_does_not_hint_at(
    stub: StubEngine, root: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(data_roots: Sequence[bytes], engine: EngineInfo | None) -> Discovery:
        if engine is None:
            raise NoDataRoot("No Docker data root found on this host.")
        return discover([engine.root], engine)

    monkeypatch.setattr(survey_module, "discover", find)
    monkeypatch.setattr(survey_module, "engine_url", lambda *_: stub.url)
    (last,) = survey_in_steps(Request(environ={}))
    assert (last.final, last.stores[0].root.path) == (True, root)
    with StubEngine({}) as silent:
        monkeypatch.setattr(survey_module, "engine_url", lambda *_: silent.url)
        with pytest.raises(NoDataRoot):
            survey(Request(environ={}))


# --- one that does not ----------------------------------------------------------------------------


def test_no_engine_at_all(root: bytes, capture: Path, tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/none.sock"
    first, last = survey_in_steps(Request((root,), url, environ={}))
    assert not first.final
    assert url in by_disk_alone(last, capture)


def test_a_hanging_engine_is_found_out(stub: StubEngine, root: bytes, capture: Path) -> None:
    stub.routes.update({"/version": stub.hangs, "/info": stub.hangs})
    first, last = survey_in_steps(Request((root,), stub.url, environ={}))
    assert not first.final
    by_disk_alone(last, capture)


@pytest.mark.parametrize("call", ["/info", "/version"])
def test_an_engine_that_dies_between_two_questions(
    stub: StubEngine, root: bytes, capture: Path, call: str
) -> None:
    """A named engine told its root, and then died: the root is still the one to show."""
    healthy = stub.routes[call]
    for answers in range(1, 4):
        stub.routes[call] = in_turn(*[healthy] * answers, HANGS_UP)
        last = survey(Request(host=stub.url, environ={}))
        if last.stores[0].witnesses == BOTH:
            break
        assert last.stores[0].root.path == root
        by_disk_alone(last, capture)
    else:
        pytest.fail("the engine is never heard")


def test_a_list_that_fails_leaves_the_rest(stub: StubEngine, root: bytes, capture: Path) -> None:
    stub.routes["/containers/json"] = says({"message": "out of memory"}, 500)
    (store,) = survey(Request((root,), stub.url, environ={})).stores
    assert roles(store) == truth(capture)
    assert any("out of memory" in it.sentence for it in store.problems)


# --- one on another machine -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["tcp://10.0.0.1:2375", "ssh://admin@db-1", "https://docker.example"]
)
def test_a_remote_engine_is_refused_before_anything_is_shown(url: str) -> None:
    for request in (Request(host=url, environ={}), Request(environ={"DOCKER_HOST": url})):
        with pytest.raises(RemoteEngine) as caught:
            next(survey_in_steps(request))
        assert "\n" not in str(caught.value)


def test_a_named_root_is_shown_without_the_remote_engine(root: bytes, capture: Path) -> None:
    url = "tcp://10.0.0.1:2375"
    assert "10.0.0.1" in by_disk_alone(
        survey(Request((root,), environ={"DOCKER_HOST": url})), capture
    )


def test_an_engine_whose_root_is_not_here_is_remote(
    stub: StubEngine, root: bytes, capture: Path
) -> None:
    info = json.loads((capture / "api/info.json").read_text())
    stub.routes["/info"] = says({**info, "DockerRootDir": "/nowhere/docker"})
    with pytest.raises(RemoteEngine):
        survey(Request(host=stub.url, environ={}))
    by_disk_alone(survey(Request((root,), stub.url, environ={})), capture)


def test_no_root_and_no_engine_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RootError) as caught:
        survey(Request((bytes(tmp_path),), environ={}))
    assert "\n" not in str(caught.value)


# --- where they differ ----------------------------------------------------------------------------


def without_web(capture: Path) -> Behaviour:
    listed = json.loads((capture / "api/containers.json").read_text())
    return says([it for it in listed if it["Id"] != WEB])


def lists(stub: StubEngine) -> int:
    return stub.asked.count("/containers/json")


def test_a_difference_heals_when_both_are_heard_again(
    stub: StubEngine, root: bytes, capture: Path
) -> None:
    """The container was made between the two readings."""
    stub.routes["/containers/json"] = in_turn(without_web(capture), stub.routes["/containers/json"])
    (store,) = survey(Request((root,), stub.url, environ={})).stores
    assert lists(stub) == 2
    assert roles(store) == truth(capture)
    assert store.witnesses == BOTH


def test_a_difference_that_stays_is_unknown_and_says_both(
    stub: StubEngine, root: bytes, capture: Path
) -> None:
    stub.routes["/containers/json"] = without_web(capture)
    (store,) = survey(Request((root,), stub.url, environ={})).stores
    assert lists(stub) == 2
    found = roles(store)
    differing = {name for name, role in truth(capture).items() if found[name] != role}
    assert len(differing) == 2
    for name in differing:
        assert found[name] == "unknown"
        assert f"the disk says container {WEB}, which the engine does not know" in (
            store.layers[name].note
        )


def test_an_engine_that_dies_before_the_second_hearing(
    stub: StubEngine, root: bytes, capture: Path
) -> None:
    stub.routes["/containers/json"] = without_web(capture)
    # peek and ask, and then nothing any more.
    stub.routes["/info"] = in_turn(stub.routes["/info"], stub.routes["/info"], HANGS_UP)
    (store,) = survey(Request((root,), stub.url, environ={})).stores
    assert store.witnesses.startswith("disk and engine, which differ; ")
    assert "unknown" in roles(store).values()


def test_without_a_difference_the_engine_is_heard_once(stub: StubEngine, root: bytes) -> None:
    survey(Request((root,), stub.url, environ={}))
    assert lists(stub) == 1


# --- nested roots ---------------------------------------------------------------------------------


def test_remapped_roots_are_stores_of_their_own(tmp_path: Path) -> None:
    outer = make_small_root(tmp_path / "docker")
    inner = make_small_root(tmp_path / "docker/200000.200000")
    only = add_directory(inner.path, hex_id("only inside"))
    stores = survey(Request((bytes(outer.path),), offline=True)).stores
    assert [store.root.path for store in stores] == [bytes(outer.path), bytes(inner.path)]
    assert [only.name in store.layers for store in stores] == [False, True]
    assert stores[0].root.nested == (bytes(inner.path),)
