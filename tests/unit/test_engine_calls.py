"""The engine's removals: exactly what was asked for, and the truth about what came of it."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from app.cleanup.execute.engine import CallFailed, EngineCalls
from app.cleanup.plan.expected import same_root, seen
from app.cleanup.plan.model import Expected
from app.model import Daemon, Kind
from tests.unit.stub_engine import Behaviour, StubEngine, capture_routes, raw, says, sends

CONTAINER = "4c1a66de80a06a806d4b7768b81be2f7cd8588c574ae811d3ebe95de8981c4db"
IMAGE = "sha256:" + "ab" * 32
TAG = "acme/web:2.4.1"
VOLUME = "data"
RECORDS = ("a" * 25, "b" * 25)
QUICK: dict[str, Any] = {"patience": 0.6, "timeout": 1.5, "recovery": 0.2}

#: For each kind: the request, where the engine is asked, its word for what is not there, the call.
KINDS: dict[str, tuple[str, str, str, Callable[[EngineCalls], str]]] = {
    "container": (
        f"DELETE /containers/{CONTAINER}",
        f"/containers/{CONTAINER}/json",
        f"No such container: {CONTAINER}",
        lambda calls: calls.remove_container(CONTAINER, force=False, volumes=False),
    ),
    "image": (
        f"DELETE /images/{TAG}",
        f"/images/{TAG}/json",
        f"No such image: {TAG}",
        lambda calls: calls.remove_image(TAG),
    ),
    "volume": (
        f"DELETE /volumes/{VOLUME}",
        f"/volumes/{VOLUME}",
        f"get {VOLUME}: no such volume",
        lambda calls: calls.remove_volume(VOLUME),
    ),
}


#: What the stub says of each kind, and what a plan saw of it.
SAYS: dict[str, dict[str, Any]] = {
    "container": {"Id": CONTAINER, "Created": "2026-01-01T00:00:00.5Z", "Mounts": []},
    "image": {"Id": IMAGE},
    "volume": {
        "Name": VOLUME,
        "Driver": "local",
        "CreatedAt": "2026-01-02T00:00:00Z",
        "Mountpoint": "/docker/volumes/data/_data",
    },
}
EXPECTED = {
    "container": Expected(Kind.CONTAINER, CONTAINER, CONTAINER, SAYS["container"]["Created"]),
    "image": Expected(Kind.IMAGE, TAG, IMAGE),
    "volume": Expected(
        Kind.VOLUME,
        VOLUME,
        created=SAYS["volume"]["CreatedAt"],
        path=SAYS["volume"]["Mountpoint"].encode(),
    ),
}


@pytest.fixture
def stub(captures: Path) -> Iterator[StubEngine]:
    known = capture_routes(captures / "overlay2")
    routes = {path: known[path] for path in ("/version", "/info")}
    for kind, (_, question, _, _) in KINDS.items():
        routes[question] = says(SAYS[kind])
    routes["/images/json"] = says([])
    info = json.loads((captures / "overlay2/api/info.json").read_text())
    root = bytes(captures / "overlay2/var/lib/docker")
    with StubEngine(routes) as running:
        running.daemon = Daemon(info["ID"], root, os.getuid(), os.getpid())
        yield running


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def calls_to(stub: StubEngine, kind: str = "", **more: Any) -> EngineCalls:
    """As for a plan that was made with this stub, and that saw one thing of this kind."""
    expects = (EXPECTED[kind],) if kind else ()
    return EngineCalls(stub.url, **{**QUICK, "daemon": stub.daemon, "expects": expects, **more})


def forgets(stub: StubEngine, kind: str) -> None:
    """From now on the engine does not know it."""
    _, question, words, _ = KINDS[kind]
    stub.routes[question] = says({"message": words}, 404)


def removes(stub: StubEngine, kind: str, then: Behaviour | None = None) -> Behaviour:
    """Do as told; answer as engines do, or otherwise."""

    def behave(connection: socket.socket) -> None:
        forgets(stub, kind)
        (then or says([{"Deleted": "it"}]))(connection)

    return behave


def failure(question: Callable[[], object]) -> str:
    with pytest.raises(CallFailed) as caught:
        question()
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def ask(stub: StubEngine, kind: str) -> str:
    return KINDS[kind][3](calls_to(stub, kind))


# --- done, and not done ---------------------------------------------------------------------------


def test_what_the_engine_removes_is_gone(stub: StubEngine, kind: str) -> None:
    stub.routes[KINDS[kind][0]] = removes(stub, kind)
    assert ask(stub, kind) == ""


def test_the_flags_of_a_container_and_of_an_image(stub: StubEngine) -> None:
    request = KINDS["container"][0]
    stub.routes[request] = removes(stub, "container")
    calls_to(stub).remove_container(CONTAINER, force=True, volumes=False)
    assert parse_qs(stub.queries[request]) == {"force": ["True"], "v": ["False"], "link": ["False"]}
    calls_to(stub).remove_container(CONTAINER, force=False, volumes=True)
    assert parse_qs(stub.queries[request]) == {"force": ["False"], "v": ["True"], "link": ["False"]}
    request = KINDS["image"][0]
    stub.routes[request] = removes(stub, "image")
    calls_to(stub).remove_image(TAG)
    assert parse_qs(stub.queries[request]) == {"force": ["False"], "noprune": ["False"]}


def test_a_promised_volume_that_is_still_there_is_told(stub: StubEngine) -> None:
    calls, gone = calls_to(stub), "0" * 64
    stub.routes[f"/volumes/{gone}"] = says({"message": f"get {gone}: no such volume"}, 404)
    assert calls.volumes_left([]) == calls.volumes_left([gone]) == ""
    said = calls.volumes_left([gone, VOLUME])
    assert f"kept anonymous volume {VOLUME}" in said
    assert gone not in said
    assert "docker volume rm" in said
    stub.routes[f"/volumes/{gone}"] = stub.routes[f"/volumes/{VOLUME}"]
    assert f"volumes {gone}, {VOLUME}" in calls.volumes_left([gone, VOLUME])


def test_an_engine_that_falls_silent_leaves_the_volumes_open(stub: StubEngine) -> None:
    stub.routes["/version"] = stub.routes["/info"] = sends(b"")
    assert calls_to(stub).volumes_left([]) == ""
    assert "nobody knows" in calls_to(stub).volumes_left([VOLUME])


def test_what_the_engine_refuses_stays_and_its_words_are_given(stub: StubEngine, kind: str) -> None:
    stub.routes[KINDS[kind][0]] = says({"message": "it is in use by somebody"}, 409)
    said = failure(lambda: ask(stub, kind))
    assert f"did not remove {kind}" in said
    assert "status 409: it is in use by somebody" in said
    assert "docker" in said


def test_what_was_gone_already_is_no_failure(stub: StubEngine, kind: str) -> None:
    stub.routes[KINDS[kind][0]] = says({"message": KINDS[kind][2]}, 404)
    forgets(stub, kind)
    assert "was gone already" in ask(stub, kind)


def test_a_yes_without_a_deed_is_no_success(stub: StubEngine, kind: str) -> None:
    stub.routes[KINDS[kind][0]] = sends(raw(204, b""))
    assert "did not remove" in failure(lambda: ask(stub, kind))


# --- engines that stop, hang and talk nonsense ----------------------------------------------------

BREAKS: dict[str, Callable[[StubEngine], Behaviour]] = {
    "hangs": lambda stub: stub.hangs,
    "hangs up": lambda _: sends(b""),
    "breaks off": lambda _: sends(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{"),
    "dribbles": lambda stub: stub.dribbles(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n"),
    "talks nonsense": lambda _: sends(b"\x00\xff nonsense\r\n\r\n"),
    "fails": lambda _: says({"message": "device or resource busy"}, 500),
}


@pytest.mark.parametrize("breaks", list(BREAKS))
def test_it_is_asked_again_whether_it_was_done(stub: StubEngine, kind: str, breaks: str) -> None:
    way = BREAKS[breaks](stub)
    stub.routes[KINDS[kind][0]] = removes(stub, kind, then=way)
    assert "is gone, though" in ask(stub, kind)
    stub.routes[KINDS[kind][1]] = says(SAYS[kind])
    stub.routes[KINDS[kind][0]] = way
    assert "did not remove" in failure(lambda: ask(stub, kind))


def test_an_engine_that_falls_silent_leaves_it_open(stub: StubEngine, kind: str) -> None:
    def dies(connection: socket.socket) -> None:
        stub.routes["/version"] = stub.routes["/info"] = sends(b"")
        sends(b"")(connection)

    stub.routes[KINDS[kind][0]] = dies
    said = failure(lambda: ask(stub, kind))
    assert "nobody knows whether it is gone" in said
    assert "when it answers again" in said


def test_an_engine_that_restarts_is_waited_for(stub: StubEngine) -> None:
    version = stub.routes["/version"]

    def dies(connection: socket.socket) -> None:
        forgets(stub, "container")
        stub.routes["/version"] = sends(b"")
        threading.Timer(0.5, lambda: stub.routes.update({"/version": version})).start()
        sends(b"")(connection)

    stub.routes[KINDS["container"][0]] = dies
    calls = calls_to(stub, patience=1, timeout=1, recovery=10)
    assert "is gone, though" in calls.remove_container(CONTAINER, force=False, volumes=False)


def test_a_removal_may_take_longer_than_a_question(stub: StubEngine) -> None:
    def slowly(connection: socket.socket) -> None:
        time.sleep(1.0)
        removes(stub, "container")(connection)

    stub.routes[KINDS["container"][0]] = slowly
    calls = calls_to(stub, patience=20, timeout=0.8, recovery=0.2)
    assert calls.remove_container(CONTAINER, force=False, volumes=False) == ""


# --- nothing is sent ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "id",
    ["", CONTAINER[:12], CONTAINER.upper(), f"{CONTAINER}\n", f"../{CONTAINER}", "prune", "a" * 65],
)
def test_only_a_whole_container_id_is_sent(stub: StubEngine, id: str) -> None:
    calls = calls_to(stub)
    assert "sent" in failure(lambda: calls.remove_container(id, force=True, volumes=True))
    assert not stub.asked


@pytest.mark.parametrize(
    "ref",
    [
        *("", "web", "acme/web", "prune", "-f:1", "a b:1", "a:1\n", "x/../../volumes/data:1"),
        *("a//b:1", "..:1", "a?force=1:2", "a%2e:1", "sha256:abcd/..", "abcdef123456"),
        *(IMAGE[:-1] + "/x", "a:b/c"),
    ],
)
def test_only_an_image_with_its_tag_or_an_id_is_sent(stub: StubEngine, ref: str) -> None:
    assert "sent" in failure(lambda: calls_to(stub).remove_image(ref))
    assert not stub.asked


@pytest.mark.parametrize(
    "ref",
    [
        *(TAG, IMAGE, "registry.example:5000/a/b:v1", f"acme/web@{IMAGE}", "a__b--c.d:latest"),
        "acme/web:2.4.1-alpine_3.18",
    ],
)
def test_every_kind_of_image_name_goes_through(stub: StubEngine, ref: str) -> None:
    quoted = ref.replace("@", "%40")
    question = f"/images/{quoted}/json"

    def gone(connection: socket.socket) -> None:
        stub.routes[question] = says({"message": f"No such image: {ref}"}, 404)
        says([{"Untagged": ref}])(connection)

    stub.routes[question] = says({"Id": "it"})
    stub.routes[f"DELETE /images/{quoted}"] = gone
    assert calls_to(stub).remove_image(ref) == ""


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a b", "-x", "prune?", "a\n", "x" * 1 + "/"]
)
def test_only_a_volume_name_is_sent(stub: StubEngine, name: str) -> None:
    assert "sent" in failure(lambda: calls_to(stub).remove_volume(name))
    assert not stub.asked


def test_no_engine_no_call(stub: StubEngine, tmp_path: Path) -> None:
    nobody = EngineCalls(f"unix://{tmp_path}/none", **QUICK)
    for _, _, _, call in KINDS.values():
        assert "Nothing was sent" in failure(partial(call, nobody))
        assert "Only the engine" in failure(partial(call, EngineCalls("")))
        said = failure(partial(call, EngineCalls("tcp://far:2375")))
        assert "Nothing was sent" in said
        assert "disk alone" not in said


def test_another_engine_is_told_nothing(stub: StubEngine, kind: str) -> None:
    stub.routes["/version"] = says(
        {"Components": [{"Name": "Podman Engine"}], "Version": "5", "ApiVersion": "1.41"}
    )
    said = failure(lambda: ask(stub, kind))
    assert "podman" in said
    assert "disk alone" not in said
    assert not any(it.startswith("DELETE") for it in stub.asked)


def test_what_must_not_be_sent_any_more_is_not(stub: StubEngine, kind: str) -> None:
    calls = calls_to(stub, may_send=lambda: False)
    assert "nothing was sent" in failure(lambda: KINDS[kind][3](calls))
    assert stub.asked
    assert "nothing was sent" in failure(lambda: calls.prune_cache(RECORDS))
    assert not any(it.startswith(("DELETE", "POST")) for it in stub.asked)


def test_one_root_by_two_paths(captures: Path, tmp_path: Path) -> None:
    served = os.fsencode(captures / "overlay2/var/lib/docker")
    (tmp_path / "linked").symlink_to(os.fsdecode(served))
    assert same_root(os.fsencode(tmp_path / "linked"), served)
    assert not same_root(os.fsencode(tmp_path), served)
    assert not same_root(b"/nowhere/at/all", served)


# --- another thing by the same name ---------------------------------------------------------------

OTHER = "sha256:" + "cd" * 32
#: For each case: the kind, what the engine says now, and a word of the refusal.
CHANGED: dict[str, tuple[str, dict[str, Any], str]] = {
    "tag moved": ("image", {"Id": OTHER}, "now points to cdcdcdcdcdcd"),
    "no id": ("image", {"Id": None}, "now points to"),
    "volume made anew": ("volume", {"CreatedAt": "2026-01-02T00:00:01Z"}, "2026-01-02T00:00:01Z"),
    "time unknown": ("volume", {"CreatedAt": None}, "nobody knows"),
    "elsewhere": ("volume", {"Mountpoint": "/other/volumes/data/_data"}, "not at /docker/volumes"),
    "layers elsewhere": (
        "container",
        {"GraphDriver": {"Data": {"UpperDir": "/other/overlay2/x/diff"}}},
        "another data root",
    ),
    "image elsewhere": (
        "image",
        {"GraphDriver": {"Data": {"MergedDir": "/other/overlay2/x/merged"}}},
        "another data root",
    ),
    "other driver": ("volume", {"Driver": "nfs"}, "another volume driver"),
    "container made anew": ("container", {"Created": "2026-01-01T00:00:00.6Z"}, "another one"),
    "other container": ("container", {"Id": "0" * 64}, "another one"),
    "nonsense": ("container", {"Id": ["x"], "Created": 7}, "another one"),
}


@pytest.mark.parametrize("case", list(CHANGED))
def test_what_is_something_else_by_now_is_not_removed(stub: StubEngine, case: str) -> None:
    kind, says_now, words = CHANGED[case]
    stub.routes[KINDS[kind][1]] = says({**SAYS[kind], **says_now})
    said = failure(lambda: ask(stub, kind))
    assert "Nothing was sent" in said
    assert words in said
    assert not any(it.startswith("DELETE") for it in stub.asked)


def test_what_the_engine_does_not_say_is_not_removed(stub: StubEngine, kind: str) -> None:
    for way in (says({"message": "server error"}, 500), stub.hangs, sends(b"")):
        stub.routes[KINDS[kind][1]] = way
        assert "Nothing was sent" in failure(lambda: ask(stub, kind))
    assert not any(it.startswith("DELETE") for it in stub.asked)


def test_a_container_that_uses_other_volumes_by_now_stays(stub: StubEngine) -> None:
    point = {"Type": "volume", "Name": "one"}
    thing = replace(EXPECTED["container"], volumes=("one",))
    calls = calls_to(stub, expects=(thing,))
    request, question, _, call = KINDS["container"]
    for mounts in ([], [point, {"Type": "volume", "Name": "two"}], None):
        stub.routes[question] = says({**SAYS["container"], "Mounts": mounts})
        assert "same volumes" in failure(partial(call, calls))
    assert request not in stub.asked
    stub.routes[question] = says({**SAYS["container"], "Mounts": [point, {"Type": "bind"}]})
    stub.routes[request] = removes(stub, "container")
    assert call(calls) == ""


def test_an_anonymous_volume_that_is_another_one_keeps_its_container(stub: StubEngine) -> None:
    things = (EXPECTED["container"], replace(EXPECTED["volume"], created="2020-01-01T00:00:00Z"))
    assert "volume data" in failure(partial(KINDS["container"][3], calls_to(stub, expects=things)))
    things = (EXPECTED["container"], replace(EXPECTED["volume"], name="gone"))
    stub.routes["/volumes/gone"] = says({"message": "get gone: no such volume"}, 404)
    assert "volume gone" in failure(partial(KINDS["container"][3], calls_to(stub, expects=things)))
    assert not any(it.startswith("DELETE") for it in stub.asked)


def test_another_directory_at_the_same_path_keeps_the_volume(
    stub: StubEngine, tmp_path: Path
) -> None:
    place = tmp_path / "data/_data"
    place.mkdir(parents=True)
    thing = replace(EXPECTED["volume"], places=seen([bytes(place.parent), bytes(place)]))
    calls = calls_to(stub, expects=(thing,))
    place.rename(tmp_path / "aside")
    assert "not the same directory" in failure(partial(KINDS["volume"][3], calls))
    place.mkdir()
    assert f"{place} is not the same" in failure(partial(KINDS["volume"][3], calls))
    place.rmdir()
    (tmp_path / "aside").rename(place)
    stub.routes[KINDS["volume"][0]] = removes(stub, "volume")
    assert KINDS["volume"][3](calls) == ""


def test_an_image_that_is_listed_and_not_inspected_is_found(stub: StubEngine) -> None:
    """So it is with one of another platform in the containerd image store."""
    forgets(stub, "image")
    stub.routes["/images/json"] = says([{"Id": IMAGE, "RepoTags": [TAG]}])
    stub.routes[KINDS["image"][0]] = says([])
    ask(stub, "image")
    assert KINDS["image"][0] in stub.asked
    stub.asked.clear()
    stub.routes["/images/json"] = says([{"Id": OTHER, "RepoTags": [TAG]}])
    assert "now points to" in failure(lambda: ask(stub, "image"))
    assert KINDS["image"][0] not in stub.asked


def test_the_engine_that_the_plan_was_made_with_is_told_and_no_other(
    stub: StubEngine, kind: str, tmp_path: Path
) -> None:
    daemon = stub.daemon
    assert daemon
    others = (
        None,
        replace(daemon, id="another"),
        replace(daemon, uid=daemon.uid + 1),
        replace(daemon, pid=daemon.pid + 1),
        replace(daemon, root=bytes(tmp_path)),
    )
    for other in others:
        calls = calls_to(stub, kind, daemon=other)
        assert "Nothing was sent" in failure(partial(KINDS[kind][3], calls))
    calls = calls_to(stub, kind, root=bytes(tmp_path))
    assert "keeps its data in" in failure(partial(KINDS[kind][3], calls))
    assert not any(it.startswith("DELETE") for it in stub.asked)
    stub.routes[KINDS[kind][0]] = removes(stub, kind)
    # Who listens is out of sight from inside a container.
    assert KINDS[kind][3](calls_to(stub, kind, daemon=replace(daemon, pid=0))) == ""


def test_an_order_is_not_sent_on_to_something_else(stub: StubEngine, kind: str) -> None:
    where = f"/v1.51{KINDS[kind][0].removeprefix('DELETE ')}x"
    stub.routes[KINDS[kind][0]] = sends(raw(307, b"", f"Location: {where}\r\n"))
    assert "did not remove" in failure(lambda: ask(stub, kind))
    assert f"{KINDS[kind][0]}x" not in stub.asked


# --- build cache ----------------------------------------------------------------------------------

PRUNE = "POST /build/prune"


def df(*ids: str) -> Behaviour:
    return says({"BuildCache": [{"ID": id, "Type": "regular"} for id in ids]})


def test_a_prune_names_exactly_the_records(stub: StubEngine) -> None:
    stub.routes[PRUNE] = says({"CachesDeleted": list(RECORDS), "SpaceReclaimed": 5})
    assert calls_to(stub).prune_cache(RECORDS) == ""
    query = parse_qs(stub.queries[PRUNE])
    assert json.loads(query["filters"][0]) == {"id": [f"^{RECORDS[0]}$|^{RECORDS[1]}$"]}
    assert query["all"] == ["True"]
    assert set(query) == {"filters", "all"}
    assert calls_to(stub).prune_cache(RECORDS[:1]) == ""
    query = parse_qs(stub.queries[PRUNE])
    assert json.loads(query["filters"][0]) == {"id": [f"^{RECORDS[0]}$"]}


@pytest.mark.parametrize(
    "ids",
    [
        *((), ("",), ("a",), ("a" * 24,), ("a" * 26,), (".{25}",), ("." * 25,), ("A" * 25,)),
        *((RECORDS[0], ""), (RECORDS[0] + "\n",), ("a" * 64,), RECORDS * 6000),
    ],
)
def test_no_other_pattern_is_ever_sent(stub: StubEngine, ids: tuple[str, ...]) -> None:
    assert "Nothing was sent" in failure(lambda: calls_to(stub).prune_cache(ids))
    assert not stub.asked


@pytest.mark.parametrize(
    "change", [{"CreatedAt": "2026-02-02T00:00:00Z"}, {"InUse": True}, {"ID": "c" * 25}]
)
def test_a_record_that_is_another_one_by_now_is_not_pruned(
    stub: StubEngine, change: dict[str, Any]
) -> None:
    record = {"ID": RECORDS[0], "Type": "regular", "CreatedAt": "2026-01-01T00:00:00Z"}
    things = (Expected(Kind.BUILD_CACHE, RECORDS[0], RECORDS[0], record["CreatedAt"]),)
    stub.routes[PRUNE] = says({"CachesDeleted": list(RECORDS[:1]), "SpaceReclaimed": 5})
    stub.routes["/system/df"] = says({"BuildCache": [record]})
    assert calls_to(stub, expects=things).prune_cache(RECORDS[:1]) == ""
    stub.asked.clear()
    stub.routes["/system/df"] = says({"BuildCache": [{**record, **change}, {"ID": "d" * 25}]})
    with suppress(CallFailed):
        calls_to(stub, expects=things).prune_cache(RECORDS[:1])
    assert PRUNE not in stub.asked


@pytest.mark.parametrize("deleted", [None, [], [RECORDS[0]], "junk", [7], {"a": 1}])
def test_what_it_does_not_call_deleted_was_kept(stub: StubEngine, deleted: object) -> None:
    stub.routes[PRUNE] = says({"CachesDeleted": deleted, "SpaceReclaimed": 0})
    stub.routes["/system/df"] = df(*RECORDS)
    said = failure(lambda: calls_to(stub).prune_cache(RECORDS))
    assert "The engine kept" in said
    assert "in use" in said
    stub.routes["/system/df"] = df()
    assert "did not say" in failure(lambda: calls_to(stub).prune_cache(RECORDS))


@pytest.mark.parametrize("breaks", list(BREAKS))
def test_after_a_broken_prune_it_is_asked_what_is_left(stub: StubEngine, breaks: str) -> None:
    stub.routes[PRUNE] = BREAKS[breaks](stub)
    stub.routes["/system/df"] = df("c" * 25)
    assert "gone, though" in calls_to(stub).prune_cache(RECORDS)
    stub.routes["/system/df"] = df(RECORDS[1])
    assert "did not remove" in failure(lambda: calls_to(stub).prune_cache(RECORDS))
    stub.routes["/system/df"] = says({"BuildCache": [{"Type": "no id"}]})
    assert "does not answer now" in failure(lambda: calls_to(stub).prune_cache(RECORDS))
