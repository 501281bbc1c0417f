"""One conversation is one connection: a proxy that swaps the daemon behind it changes nothing."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.cleanup.execute.engine import CallFailed, EngineCalls
from app.cleanup.plan.model import Expected
from app.engine.inventory import EngineError, ask, peek
from app.model import Kind
from tests.unit.stub_engine import Behaviour, StubEngine, capture_routes, raw, says
from tests.unit.swapping_proxy import SwappingProxy

VOLUME = "data"
DELETE = f"DELETE /volumes/{VOLUME}"
THING = {"Name": VOLUME, "Driver": "local", "CreatedAt": "2026-01-02T00:00:00Z"}


@dataclass(frozen=True)
class Two:
    """Two daemons with the same id, as two of one machine have, each with a volume of one name."""

    right: StubEngine
    wrong: StubEngine

    def proxy(self, folder: Path, swaps: str, at: int) -> SwappingProxy:
        return SwappingProxy(str(folder / "s"), (self.right.path, self.wrong.path), swaps, at)


@pytest.fixture
def two(captures: Path, tmp_path: Path) -> Iterator[Two]:
    known = capture_routes(captures / "overlay2")
    info = json.loads((captures / "overlay2/api/info.json").read_text())
    mine = {**known, f"/volumes/{VOLUME}": says(_at(captures / "overlay2/var/lib/docker"))}
    (tmp_path / "other").mkdir()
    other = says({**info, "DockerRootDir": str(tmp_path / "other")})
    theirs = {**mine, "/info": other, f"/volumes/{VOLUME}": says(_at(tmp_path / "other"))}
    with StubEngine(mine) as right, StubEngine(theirs) as wrong:
        for stub in (right, wrong):
            stub.routes[DELETE] = _removed(stub)
        yield Two(right, wrong)


def _at(root: Path) -> dict[str, str]:
    return {**THING, "Mountpoint": f"{root}/volumes/{VOLUME}/_data"}


def _removed(stub: StubEngine) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        gone = {"message": f"get {VOLUME}: no such volume"}
        stub.routes[f"/volumes/{VOLUME}"] = says(gone, 404)
        connection.sendall(raw(204, b""))

    return behave


def remove(url: str) -> str:
    """Plan with who answers first, then order; the reason if it was not done."""
    try:
        daemon = peek(url, 5).daemon
        path = b"%s/volumes/%s/_data" % (daemon.root, VOLUME.encode())
        expects = (Expected(Kind.VOLUME, VOLUME, created=THING["CreatedAt"], path=path),)
        calls = EngineCalls(url, 2, 5, 0.2, daemon=daemon, root=daemon.root, expects=expects)
        return calls.remove_volume(VOLUME)
    except (CallFailed, EngineError) as why:
        return str(why)


@pytest.mark.parametrize("at", range(5))
def test_whenever_the_daemon_is_swapped_the_other_one_is_told_nothing(
    two: Two, tmp_path: Path, at: int
) -> None:
    with two.proxy(tmp_path, "connection", at) as proxy:
        said = remove(f"unix://{tmp_path}/s")
        if at > 2:
            assert proxy.seen == 3, "who is asked, who is told, and what came of it: one each"
    if at == 0:
        # The other one is the one that was planned with.
        assert (DELETE in two.right.asked, DELETE in two.wrong.asked) == (False, True)
        return
    assert DELETE not in two.wrong.asked
    assert (DELETE in two.right.asked) == (at >= 2)
    # What the other one says of its own volume is no answer to whether this one is gone.
    told = {1: "Nothing was sent", 2: "nobody knows", 3: "", 4: ""}[at]
    assert told in said
    assert (said == "") == (told == "")


@pytest.mark.parametrize("at", range(2, 5))
def test_swapped_between_what_is_asked_in_one_connection(two: Two, tmp_path: Path, at: int) -> None:
    """Up to the last question; see the plans for what a proxy could do after that."""
    with two.proxy(tmp_path, "request", at):
        remove(f"unix://{tmp_path}/s")
    assert DELETE not in two.wrong.asked


def test_an_engine_that_hangs_up_before_the_order_is_not_called_again(two: Two) -> None:
    """Below the SDK a connection that is gone is made again in silence."""

    def hangs_up(connection: socket.socket) -> None:
        body = json.dumps(_at(Path(os.fsdecode(peeked.root)))).encode()
        connection.sendall(raw(200, body, "Connection: close\r\n"))
        connection.shutdown(socket.SHUT_RDWR)

    peeked = peek(two.right.url)
    two.right.routes[f"/volumes/{VOLUME}"] = hangs_up
    said = remove(two.right.url)
    assert DELETE not in two.right.asked
    assert "did not remove" in said


def test_a_survey_is_of_one_daemon(two: Two, tmp_path: Path) -> None:
    """A connection that broke is made again, and who answers then says first who it is."""

    def closes(answer: Behaviour) -> Behaviour:
        def behave(connection: socket.socket) -> None:
            answer(connection)
            connection.shutdown(socket.SHUT_RDWR)

        return behave

    for stub in (two.right, two.wrong):
        stub.routes["/containers/json"] = closes(says([]))
        stub.routes["/images/json"] = closes(says([]))
    with two.proxy(tmp_path, "connection", 9):
        whole = ask(f"unix://{tmp_path}/s")
    assert whole.complete == {Kind.CONTAINER, Kind.IMAGE, Kind.VOLUME, Kind.BUILD_CACHE}
    (tmp_path / "s").unlink()
    two.wrong.asked.clear()
    with two.proxy(tmp_path, "connection", 1), pytest.raises(EngineError, match="another daemon"):
        ask(f"unix://{tmp_path}/s")
    assert two.wrong.asked == ["/info"]
