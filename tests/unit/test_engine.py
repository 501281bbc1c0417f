"""The engine as a witness: right when it answers, one sentence when it does not, never a hang."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.engine import inventory as engine_module
from app.engine.inventory import EngineError, EngineReading, RemoteEngine, ask, engine_url, peek
from app.engine.parse import (
    EngineInfo,
    ShapeError,
    cache_from,
    container_from,
    directories,
    image_from,
    info_from,
    is_podman,
    listed,
    spoken_version,
    volumes_from,
)
from app.model import ImageStore, Kind
from tests.unit.stub_engine import Behaviour, StubEngine, capture_routes, raw, says, sends

T = TypeVar("T")
#: Seconds that a test waits for an engine that will not answer ...
IMPATIENCE = 0.5
#: ... and for one that answers all but one call: long enough for a busy machine.
PATIENCE = 1.5
WEB = "4c1a66de80a06a806d4b7768b81be2f7cd8588c574ae811d3ebe95de8981c4db"
ALL = {Kind.CONTAINER, Kind.IMAGE, Kind.VOLUME, Kind.BUILD_CACHE}


def in_time(question: Callable[[], T]) -> T:
    """The answer, or a failure where the question would wait for ever."""
    answers: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(question())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "the deadline does not hold"
    if errors:
        raise errors[0]
    return answers[0]


@pytest.fixture
def routes(captures: Path) -> dict[str, Behaviour]:
    return capture_routes(captures / "overlay2")


@pytest.fixture
def stub(routes: dict[str, Behaviour]) -> Iterator[StubEngine]:
    with StubEngine(routes) as running:
        yield running


def refusal(url: str) -> str:
    """The sentence with which asking ``url`` ends."""
    with pytest.raises(EngineError) as caught:
        in_time(lambda: ask(url, timeout=IMPATIENCE))
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def heard(stub: StubEngine) -> EngineReading:
    return in_time(lambda: ask(stub.url, timeout=PATIENCE))


# --- a healthy engine -----------------------------------------------------------------------------


def test_every_container_has_the_directories_that_the_truth_names(
    stub: StubEngine, captures: Path
) -> None:
    truth = json.loads((captures / "overlay2" / "expected-layers.json").read_text())
    reading = in_time(lambda: ask(stub.url))
    assert reading.complete == ALL
    assert reading.problems == ()
    uppers = {container.directories[0]: container for container in reading.containers.values()}
    assert len(uppers) == 6
    text = json.dumps(truth)
    for upper, container in uppers.items():
        assert upper in text
        assert container.directories[1] == f"{upper}-init"
        overlay2 = captures / "overlay2/var/lib/docker/overlay2"
        assert all((overlay2 / name / "diff").is_dir() for name in container.directories)
        assert container.error == ""


def test_names_states_images_and_compose_labels_come_along(stub: StubEngine) -> None:
    containers = in_time(lambda: ask(stub.url)).containers
    web = containers[WEB]
    assert (web.name, web.state, web.image) == ("shop-web-1", "running", "app:1")
    assert (web.compose_project, web.compose_service) == ("shop", "web")
    assert {it.name: it.state for it in containers.values()} == {
        "shop-web-1": "running",
        "renamed-after": "running",
        "chatty": "running",
        "arroyo": "running",
        "couchdb": "exited",
        "never-started": "created",
    }


def test_images_have_all_their_tags_and_layers_top_first(stub: StubEngine) -> None:
    reading = in_time(lambda: ask(stub.url))
    web = reading.containers[WEB]
    assert reading.images[web.image_id].directories == web.directories[2:]
    tags = {image.tags for image in reading.images.values()}
    assert ("app:2", "registry.example.com/team/app:2") in tags
    assert () in tags


def test_volumes_and_build_cache(stub: StubEngine, captures: Path) -> None:
    reading = in_time(lambda: ask(stub.url))
    assert set(reading.volumes) == {"couchdata", "forgotten"}
    assert reading.volumes["couchdata"].mountpoint == os.fsencode(
        captures / "overlay2/var/lib/docker/volumes/couchdata/_data"
    )
    assert reading.cache["bgljln3s30hqa3t43bdy9q9tx"].parents == ("ihlzsjj5rarefqzdm8cbe5ksh",)
    assert reading.cache["k71z3a7b1y5tju2wtvah8chvc"].type == "regular"


def test_a_tested_api_version_is_spoken_and_df_asks_for_the_cache_alone(stub: StubEngine) -> None:
    assert in_time(lambda: ask(stub.url)).info.api_version == "1.51"
    assert stub.versions == {"1.51"}
    assert stub.queries["/system/df"] == "type=build-cache"


def test_an_old_engine_is_asked_in_its_own_version(
    stub: StubEngine, routes: dict[str, Behaviour]
) -> None:
    routes["/version"] = says(
        {"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}
    )
    assert in_time(lambda: ask(stub.url)).complete == ALL
    assert stub.versions == {"1.41"}
    assert stub.queries["/system/df"] == ""


def test_an_engine_of_the_future_is_asked_in_its_oldest_version(
    stub: StubEngine, routes: dict[str, Behaviour]
) -> None:
    routes["/version"] = says({"ApiVersion": "1.70", "MinAPIVersion": "1.53"})
    items = [{"ID": "a", " Parents": ["b"], "InUse": True}]
    routes["/system/df"] = says({"BuildCacheUsage": {"TotalCount": 1, "Items": items}})
    reading = in_time(lambda: ask(stub.url))
    assert stub.versions == {"1.53"}
    assert "verbose=1" in stub.queries["/system/df"]
    assert reading.cache["a"].parents == ("b",)
    assert reading.cache["a"].in_use


def test_the_containerd_store_is_recognised(captures: Path) -> None:
    with StubEngine(capture_routes(captures / "containerd")) as stub:
        reading = in_time(lambda: ask(stub.url))
    assert reading.info.image_store is ImageStore.CONTAINERD
    assert reading.info.driver == "overlayfs"
    assert len(reading.containers) == 6
    assert not any(it.directories or it.error for it in reading.containers.values())
    assert reading.complete == ALL


def test_peek_asks_no_more_than_who_is_there(stub: StubEngine, captures: Path) -> None:
    info = in_time(lambda: peek(stub.url))
    assert info.root == os.fsencode(captures / "overlay2/var/lib/docker")
    assert (info.driver, info.image_store) == ("overlay2", ImageStore.GRAPHDRIVER)
    assert stub.asked == ["/version", "/info"]


# --- an engine in part ----------------------------------------------------------------------------


def test_one_broken_inspect_hides_nothing_else(
    stub: StubEngine, routes: dict[str, Behaviour]
) -> None:
    path = f"/containers/{WEB}/json"
    routes[path] = says({"message": "stat /x/overlay2/92b6: no such file or directory"}, 500)
    reading = heard(stub)
    assert "no such file or directory" in reading.containers[WEB].error
    assert reading.containers[WEB].name == "shop-web-1"
    assert reading.containers[WEB].directories == ()
    assert sum(bool(it.directories) for it in reading.containers.values()) == 5
    assert reading.complete == ALL
    (problem,) = reading.problems
    assert "1 of 6" in problem.sentence
    assert not problem.hides_owners


@pytest.mark.parametrize("way", ["hangs", "dribbles", "breaks off", "is no JSON", "is a list"])
def test_one_inspect_that_misbehaves_hides_nothing_else(
    stub: StubEngine, routes: dict[str, Behaviour], way: str
) -> None:
    half = raw(200, b"{" + b" " * 5000)[:200]
    routes[f"/containers/{WEB}/json"] = {
        "hangs": stub.hangs,
        "dribbles": stub.dribbles(half),
        "breaks off": sends(half),
        "is no JSON": sends(raw(200, b'{"Id": ')),
        "is a list": says([1, 2]),
    }[way]
    reading = heard(stub)
    assert reading.containers[WEB].error
    assert sum(bool(it.directories) for it in reading.containers.values()) == 5
    assert all(it.directories for it in reading.images.values() if WEB in it.tags)
    assert reading.complete == ALL


def test_a_container_that_goes_meanwhile_is_simply_gone(
    stub: StubEngine, routes: dict[str, Behaviour]
) -> None:
    routes[f"/containers/{WEB}/json"] = says({"message": f"No such container: {WEB}"}, 404)
    reading = heard(stub)
    assert WEB not in reading.containers
    assert reading.problems == ()


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("/containers/json", Kind.CONTAINER),
        ("/images/json", Kind.IMAGE),
        ("/volumes", Kind.VOLUME),
        ("/system/df", Kind.BUILD_CACHE),
    ],
)
@pytest.mark.parametrize(
    "way", ["404", "500", "a text", "a dict", "a list of texts", "an endless answer"]
)
def test_a_list_that_fails_is_said_and_the_others_are_heard(
    stub: StubEngine, routes: dict[str, Behaviour], call: str, kind: Kind, way: str
) -> None:
    routes[call] = {
        "404": says({"message": "page not found"}, 404),
        "500": sends(raw(500, b'["an error that is a list"]')),
        "a text": says("containers"),
        "a dict": says({"Volumes": {}, "BuildCache": {}}),
        "a list of texts": says(
            ["x"] if call.endswith("json") else {"Volumes": [1], "BuildCache": [2]}
        ),
        "an endless answer": stub.dribbles(b"HTTP/1.1 200 X\r\nContent-Length: 99999\r\n\r\n["),
    }[way]
    reading = heard(stub)
    assert reading.complete == ALL - {kind}
    (problem,) = reading.problems
    assert call in problem.source
    assert problem.sentence.endswith(".")
    assert not problem.hides_owners


def test_many_hanging_inspects_end_at_the_overall_deadline(
    stub: StubEngine, routes: dict[str, Behaviour]
) -> None:
    ids = [f"{number:064x}" for number in range(60)]
    routes["/containers/json"] = says([{"Id": id_, "Names": [f"/{id_}"]} for id_ in ids])
    routes.update((f"/containers/{id_}/json", stub.hangs) for id_ in ids)
    reading = in_time(lambda: ask(stub.url, timeout=IMPATIENCE))
    assert list(reading.containers) == ids
    assert "no answer within" in reading.containers[ids[0]].error
    assert reading.containers[ids[-1]].error == "time ran out"
    assert reading.complete == {Kind.CONTAINER}
    assert {"time ran out" in problem.sentence for problem in reading.problems[1:]} == {True}


# --- no engine at all -----------------------------------------------------------------------------


def test_nothing_listens(tmp_path: Path) -> None:
    missing = f"unix://{tmp_path}/s"
    assert refusal(missing) == (
        f"The engine at {missing} does not answer (no such socket): going on with the disk alone."
    )


def test_a_socket_whose_engine_has_ended() -> None:
    with StubEngine({}) as stub:
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(f"{stub.path}2")
        dead.close()
        assert "(connection refused)" in refusal(f"{stub.url}2")


def test_a_socket_that_never_accepts() -> None:
    """As a socket unit whose service does not come up: connecting succeeds, then silence."""
    with StubEngine({}) as stub, socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{stub.path}2")
        silent.listen(0)
        assert f"(no answer within {IMPATIENCE:g} s)" in refusal(f"{stub.url}2")
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.setblocking(False)
            while not waiting.connect_ex(f"{stub.path}2"):
                waiting = socket.socket(socket.AF_UNIX)  # noqa: PLW2901
                waiting.setblocking(False)
        assert "does not answer" in refusal(f"{stub.url}2")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_permission_denied_is_its_own_sentence() -> None:
    with StubEngine({}) as stub:
        os.chmod(os.path.dirname(stub.path), 0o755)
        os.chmod(stub.path, 0o600)
        os.seteuid(65534)
        try:
            sentence = refusal(stub.url)
        finally:
            os.seteuid(0)
    assert sentence.startswith("No permission to ask the engine at unix://")
    assert "sudo" in sentence


@pytest.mark.parametrize("call", ["/version", "/info"])
@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("hang", "no answer within"),
        ("dribble", "no answer within"),
        ("dribble a header", "no answer within"),
        ("hang up", "going on with the disk alone"),
        ("rubbish", "going on with the disk alone"),
        ("no JSON", "malformed"),
        ("a deep list", "malformed"),
        ("error", "status 500"),
        ("error of an odd shape", "going on with the disk alone"),
        ("wrong type", "as no Docker engine does"),
        ("packed", "going on with the disk alone"),
        ("sent elsewhere", "going on with the disk alone"),
        ("refused version", "client version 1.51 is too old"),
    ],
)
def test_an_engine_that_misbehaves_is_one_sentence(
    stub: StubEngine, routes: dict[str, Behaviour], call: str, way: str, words: str
) -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    start = head + b"Content-Length: 1000\r\n\r\n{"
    old = "client version 1.51 is too old. Minimum supported API version is 1.99"
    routes[call] = {
        "hang": stub.hangs,
        "dribble": stub.dribbles(start),
        "dribble a header": stub.dribbles(head + b"X-Slow: "),
        "hang up": sends(b""),
        "rubbish": sends(b"\x00\xff nothing of the kind\r\n\r\n"),
        "no JSON": sends(raw(200, b"{'a': 1}")),
        "a deep list": sends(raw(200, b"[" * 200_000)),
        "error": says({"message": "out of order"}, 500),
        "error of an odd shape": says([["x"]], 500),
        "wrong type": says(["x"]),
        "packed": sends(raw(200, b"\x1f\x8b\x08", "Content-Encoding: gzip\r\n")),
        "sent elsewhere": sends(raw(301, b"", "Location: http://127.0.0.1:9/\r\n")),
        "refused version": says({"message": old}, 400),
    }[way]
    assert words in refusal(stub.url)


def test_an_answer_without_end_is_cut_off(stub: StubEngine, routes: dict[str, Behaviour]) -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")

    routes["/images/json"] = flood
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        import app.engine.transport as line  # noqa: PLC0415

        real = line.Bounds
        patch.setattr(line, "Bounds", lambda overall: real(overall, size=4 * 1024 * 1024))
        reading = in_time(lambda: ask(stub.url, timeout=10))
    assert "the answer is too large" in reading.problems[0].sentence
    assert Kind.IMAGE not in reading.complete
    assert reading.containers


def test_a_broken_configuration_of_the_docker_client_is_no_matter(
    stub: StubEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is of registries and proxies, and is not read."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for content in ("\0", "[1]", '{"proxies": 3}', '{"auths": [1]}'):
        (tmp_path / "config.json").write_text(content)
        assert in_time(lambda: peek(stub.url)).driver == "overlay2"


# --- engines whose disk is not here ---------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "tcp://10.0.0.7:2375",
        "ssh://root@db1",
        "http://x",
        "https://x:2376",
        "npipe:////./p",
        "db1:2375",
    ],
)
def test_an_engine_over_the_network_is_refused(url: str) -> None:
    with pytest.raises(RemoteEngine, match="run whodiff on that machine"):
        ask(url)
    with pytest.raises(RemoteEngine):
        peek(url)


def test_what_is_no_address_is_said() -> None:
    for url in ("fd://", "unix://", "x://y"):
        with pytest.raises(EngineError, match="no engine's address"):
            ask(url)


def test_a_data_root_that_is_not_here_means_another_machine(
    stub: StubEngine, routes: dict[str, Behaviour]
) -> None:
    info = {"DockerRootDir": "/no/such/place/docker", "Driver": "overlay2"}
    routes["/info"] = says(info)
    with pytest.raises(RemoteEngine, match="/no/such/place/docker, which is not on this machine"):
        in_time(lambda: ask(stub.url))


def test_a_forwarded_socket_is_told_by_the_engine_id(
    stub: StubEngine, routes: dict[str, Behaviour], tmp_path: Path
) -> None:
    info = {"ID": "aaaa", "DockerRootDir": str(tmp_path), "Driver": "overlay2"}
    routes["/info"] = says(info)
    assert in_time(lambda: peek(stub.url)).id == "aaaa"
    (tmp_path / "engine-id").write_text("aaaa\n")
    assert in_time(lambda: peek(stub.url)).id == "aaaa"
    (tmp_path / "engine-id").write_text("bbbb")
    with pytest.raises(RemoteEngine, match="belongs to another engine"):
        in_time(lambda: peek(stub.url))
    (tmp_path / "engine-id").unlink()
    os.mkfifo(tmp_path / "engine-id")
    assert in_time(lambda: peek(stub.url)).id == "aaaa"


def test_podman_is_not_docker(stub: StubEngine, routes: dict[str, Behaviour]) -> None:
    routes["/version"] = says({"ApiVersion": "1.41", "Components": [{"Name": "Podman Engine"}]})
    assert "podman" in refusal(stub.url)


# --- which engine ---------------------------------------------------------------------------------


def test_the_option_wins_over_the_environment() -> None:
    environ = {"DOCKER_HOST": "unix:///env.sock"}
    assert engine_url("unix:///opt.sock", environ) == "unix:///opt.sock"
    assert engine_url(None, environ) == "unix:///env.sock"
    assert engine_url(None, {"DOCKER_HOST": ""}).startswith("unix:///")
    assert engine_url("/a/b.sock", {}) == "unix:///a/b.sock"


def test_the_default_socket_or_the_rootless_one_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = tmp_path / "default.sock"
    monkeypatch.setattr(engine_module, "DEFAULT_SOCKET", str(default))
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert engine_url(None, environ) == f"unix://{default}"
    (tmp_path / "docker.sock").touch()
    assert engine_url(None, environ) == f"unix://{tmp_path}/docker.sock"
    assert engine_url(None, {}) == f"unix://{default}"
    default.touch()
    assert engine_url(None, environ) == f"unix://{default}"


# --- shapes ---------------------------------------------------------------------------------------

INFO = EngineInfo("u", "", "", "1.41", "overlay2", b"/d", ImageStore.GRAPHDRIVER)
KEYS = st.sampled_from(
    [
        "Id",
        "ID",
        "Names",
        "Labels",
        "RepoTags",
        "GraphDriver",
        "Data",
        "UpperDir",
        "LowerDir",
        "RootFS",
        "Layers",
        "BuildCache",
        "BuildCacheUsage",
        "Items",
        "Parents",
        "Volumes",
        "Name",
        "Mountpoint",
        "DriverStatus",
        "SecurityOptions",
        "DockerRootDir",
        "ApiVersion",
        "MinAPIVersion",
        "Components",
        "Warnings",
    ]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["a" * 64, "/d/overlay2/a/diff", "1.41", "\ud800", "/d\0"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=20,
)


@given(values)
@settings(max_examples=500)
def test_no_answer_of_any_shape_raises_anything_else(value: object) -> None:
    def entries() -> None:
        for entry in listed(value, "x").entries.values():
            container_from(entry)
            image_from(entry)

    for reader in (
        entries,
        lambda: cache_from(value),
        lambda: volumes_from(value),
        lambda: directories(value, INFO),
        lambda: info_from("u", "1.41", value, value),
        lambda: spoken_version(value, "1.51"),
        lambda: is_podman(value),
    ):
        try:
            reader()
        except ShapeError:
            pass


@given(
    value=values,
    call=st.sampled_from(
        ["/containers/json", "/images/json", "/volumes", "/system/df", "/info", "/version"]
    ),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_engine_brings_more_than_a_sentence(captures: Path, value: object, call: str) -> None:
    routes = capture_routes(captures / "overlay2")
    routes[call] = says(value)
    allowed = suppress(EngineError) if call in ("/info", "/version") else nullcontext()
    with StubEngine(routes) as stub, allowed:
        in_time(lambda: ask(stub.url, timeout=2))


def test_layers_outside_the_data_root_are_not_guessed() -> None:
    inspected = {"GraphDriver": {"Data": {"UpperDir": "/elsewhere/overlay2/a/diff"}}}
    with pytest.raises(ShapeError, match="outside"):
        directories(inspected, INFO)
    for path in ("/d/overlay2", "/d/overlay2/", "/d/overlay2x/a/diff", "/d/overlay/a"):
        with pytest.raises(ShapeError):
            directories({"GraphDriver": {"Data": {"UpperDir": path}}}, INFO)


def test_an_image_without_layers_has_none_and_a_container_without_data_is_an_error() -> None:
    assert directories({"RootFS": {"Type": "layers"}, "GraphDriver": {"Data": None}}, INFO) == ()
    for container in ({}, {"GraphDriver": None}, {"GraphDriver": {"Data": None}}):
        with pytest.raises(ShapeError):
            directories(container, INFO)


def test_a_linked_containers_own_name_is_taken_and_none_tags_are_none() -> None:
    linked = container_from({"Id": "a", "Names": ["/web/db", "/db"], "State": "running"})
    assert linked.name == "db"
    image: dict[str, object] = {
        "RepoTags": ["<none>:<none>"],
        "RepoDigests": ["<none>@<none>", "x@sha256:1"],
    }
    assert image_from(image).tags == ()
    assert image_from(image).digests == ("x@sha256:1",)


def test_build_cache_records_of_every_age() -> None:
    for key, value in (("Parent", "p"), ("Parents", ["p"]), (" Parents", ["p"])):
        records, odd = cache_from({"BuildCache": [{"ID": "a", key: value}]})
        assert records["a"].parents == ("p",)
        assert odd == 0
    assert cache_from({"BuildCache": None}) == ({}, 0)
    assert cache_from({"BuildCacheUsage": {}}) == ({}, 0)
    with pytest.raises(ShapeError):
        cache_from({"BuildCacheUsage": {"TotalCount": 3}})
    with pytest.raises(ShapeError):
        cache_from({})
