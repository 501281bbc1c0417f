"""A stand-in for a Docker engine: HTTP on a unix socket, from a capture or misbehaving."""

from __future__ import annotations

import json
import re
import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from app.model import Daemon

#: What a route does with an open connection: write an answer, half of one, or nothing.
Behaviour = Callable[[socket.socket], None]

_REQUEST = re.compile(
    rb"(?P<method>GET|POST|DELETE) (?:/v(?P<version>[\d.]+))?(?P<path>/[^ ?]*)"
    rb"\??(?P<query>\S*) HTTP/1.1"
)


def raw(status: int, body: bytes, headers: str = "") -> bytes:
    """One whole HTTP answer."""
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def says(value: object, status: int = 200) -> Behaviour:
    """Answer with this value as JSON."""
    return lambda connection: connection.sendall(raw(status, json.dumps(value).encode()))


def sends(answer: bytes) -> Behaviour:
    """Answer with exactly these bytes and hang up."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_RDWR)

    return behave


class StubEngine:
    """Serve ``routes`` (path without version -> behaviour) at ``url`` until closed.

    What is no GET has its method before the path: ``DELETE /volumes/data``. ``queries`` has the
    query of the last request for each path, ``asked`` every path in order, ``versions`` the API
    versions that were spoken. ``daemon`` is as what a plan knows it, where a test says so.
    """

    def __init__(self, routes: dict[str, Behaviour]) -> None:
        self.routes = routes
        self.asked: list[str] = []
        self.queries: dict[str, str] = {}
        self.versions: set[str] = set()
        self.daemon: Daemon | None = None
        self.over = threading.Event()
        # A path of its own: pytest's can be longer than a socket's name may be (unix(7)).
        self._folder = tempfile.TemporaryDirectory(prefix="stub-engine-")
        self.path = f"{self._folder.name}/s"
        self.url = f"unix://{self.path}"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(16)
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> StubEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
        self._folder.cleanup()

    def hangs(self, _connection: socket.socket) -> None:
        """A behaviour: say nothing until the test is over."""
        self.over.wait()

    def dribbles(self, beginning: bytes) -> Behaviour:
        """A behaviour: the beginning of an answer, then a byte now and then, without end."""

        def behave(connection: socket.socket) -> None:
            connection.sendall(beginning)
            while not self.over.wait(0.05):
                connection.sendall(b" ")

        return behave

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._answer, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(0.1)
            pending = b""
            while not self.over.is_set():
                try:
                    more = connection.recv(65536)
                except TimeoutError:
                    continue
                if not more:
                    return
                pending += more
                while b"\r\n\r\n" in pending:
                    request, _, pending = pending.partition(b"\r\n\r\n")
                    self._route(request, connection)

    def _route(self, request: bytes, connection: socket.socket) -> None:
        found = _REQUEST.match(request)
        assert found, request
        method, path = found["method"].decode(), found["path"].decode()
        path = path if method == "GET" else f"{method} {path}"
        self.asked.append(path)
        self.queries[path] = found["query"].decode()
        if found["version"]:
            self.versions.add(found["version"].decode())
        self.routes.get(path, says({"message": "page not found"}, 404))(connection)


def capture_routes(capture: Path) -> dict[str, Behaviour]:
    """The answers of a captured engine, its data root moved to where the capture is unpacked.

    The capture has no image inspects. They are made from its containers': same image, same lowers;
    an image without a container is given no layers.
    """
    root = str(capture / "var/lib/docker")

    def load(name: str) -> object:
        text = (capture / "api" / name).read_text()
        return json.loads(text.replace("/var/lib/docker", root))

    routes = {
        "/version": says(load("version.json")),
        "/info": says(load("info.json")),
        "/containers/json": says(load("containers.json")),
        "/images/json": says(load("images.json")),
        "/volumes": says(load("volumes.json")),
        "/system/df": says(load("system-df.json")),
    }
    images: dict[str, object] = {
        image["Id"]: {"RootFS": {"Type": "layers"}} for image in _objects(load("images.json"))
    }
    for file in (capture / "api").glob("container-*.json"):
        inspected = _object(load(file.name))
        routes[f"/containers/{inspected['Id']}/json"] = says(inspected)
        data = (inspected.get("GraphDriver") or {}).get("Data") or {}
        upper, _, lower = data.get("LowerDir", "").partition(":")[2].partition(":")
        if upper:
            paths = {"UpperDir": upper, "LowerDir": lower} if lower else {"UpperDir": upper}
            images[inspected["Image"]] = {
                "RootFS": {"Type": "layers", "Layers": ["sha256:x"]},
                "GraphDriver": {"Name": "overlay2", "Data": paths},
            }
    for id_, image in images.items():
        routes[f"/images/{id_}/json"] = says(image)
    return routes


def _object(value: object) -> dict:  # type: ignore[type-arg]
    assert isinstance(value, dict)
    return value


def _objects(value: object) -> list:  # type: ignore[type-arg]
    assert isinstance(value, list)
    return value
