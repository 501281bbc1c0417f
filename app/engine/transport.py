"""One conversation with a Docker engine over its unix socket, bounded in time and size.

The docker SDK (and requests and urllib3 below it) only knows a timeout for each read, so an engine
that sends one byte a second would hold a caller for ever. Here the socket itself looks at the
clock before every read. And below the SDK a connection that broke is made again in silence, with
whoever listens by then: here it is made once, and again only when that is asked for. This module
imports docker: import it late.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import requests
import urllib3.connection
from docker.api.client import APIClient
from docker.transport.unixconn import UnixHTTPAdapter, UnixHTTPConnectionPool
from docker.utils import config as client_settings

from app.host.peer import Peer, peer_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

#: All answers of one conversation together may be this large (bytes).
LARGEST = 256 * 1024 * 1024


class Bounds:
    """What is left of a conversation's time (seconds), size (bytes) and connections (one).

    ``failure`` is the last error of the socket itself: the layers above wrap it beyond
    recognition. ``peer`` is who listens at the other end of the connection made last. ``dropped``:
    the connection is gone, and nothing was asked; who listens now need not be who answered before.
    """

    def __init__(self, overall: float, size: int = LARGEST) -> None:
        """Start the overall clock now."""
        self._end = time.monotonic() + overall
        self._call_end = self._end
        self._size = size
        self.failure: OSError | None = None
        self.peer: Peer | None = None
        self.dropped = False
        self._connections = 1

    def connecting(self) -> None:
        """A connection is about to be made. Raises OSError where there was one already."""
        if not self._connections:
            self.dropped = True
            raise OSError("the connection was closed in the middle")
        self._connections -= 1

    def once_more(self) -> None:
        """One more connection may be made."""
        self._connections = 1

    def no_more(self) -> None:
        """No further connection may be made, whatever is asked."""
        self._connections = 0

    def begin(self, seconds: float) -> float:
        """A new call begins; how long it may really take, at most what is left of the whole."""
        now = time.monotonic()
        granted = min(seconds, self._end - now)
        self._call_end = now + granted
        self.failure = None
        self.dropped = False
        return granted

    def wait(self) -> float:
        """How long the next step may wait (seconds). Raises TimeoutError when time is up."""
        left = self._call_end - time.monotonic()
        if left <= 0:
            raise TimeoutError("time is up")
        return left

    def received(self, size: int) -> None:
        """Count what came in. Raises OSError when it is too much."""
        self._size -= size
        if self._size < 0:
            raise OSError("the answer is too large")


class _Socket(socket.socket):
    """A unix socket that knows the Bounds of its conversation."""

    def __init__(self, bounds: Bounds) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self._bounds = bounds

    def connect(self, address: object) -> None:
        try:
            self.settimeout(self._bounds.wait())
            super().connect(address)  # type: ignore[arg-type]  # as it came
            self._bounds.peer = peer_of(self)
        except OSError as error:
            self._bounds.failure = error
            raise

    def sendall(self, data: Buffer, flags: int = 0) -> None:
        try:
            self.settimeout(self._bounds.wait())
            super().sendall(data, flags)
        except OSError as error:
            self._bounds.failure = error
            raise

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        try:
            self.settimeout(self._bounds.wait())
            size = super().recv_into(buffer, nbytes, flags)
            self._bounds.received(size)
        except OSError as error:
            self._bounds.failure = error
            raise
        return size


class _Connection(urllib3.connection.HTTPConnection):
    def __init__(self, path: str, bounds: Bounds) -> None:
        super().__init__("localhost")
        self._path = path
        self._bounds = bounds

    def connect(self) -> None:
        self._bounds.connecting()
        sock = _Socket(self._bounds)
        try:
            sock.connect(self._path)
        except BaseException:
            sock.close()
            raise
        self.sock = sock


class _Pool(UnixHTTPConnectionPool):
    def __init__(self, url: str, path: str, bounds: Bounds) -> None:
        super().__init__(url, path, maxsize=1)
        self._bounds = bounds

    def _new_conn(self) -> _Connection:
        return _Connection(self.socket_path, self._bounds)


class _Adapter(UnixHTTPAdapter):
    """One pool of one connection for all URLs; the SDK's own has a pool for each."""

    def __init__(self, url: str, bounds: Bounds) -> None:
        super().__init__(url)
        self._pool = _Pool(url, self.socket_path, bounds)
        self.pools[url] = self._pool  # closed with the adapter

    def get_connection(self, url: bytes | str, proxies: object = None) -> UnixHTTPConnectionPool:  # noqa: ARG002 - as requests calls it
        return self._pool


def _no_settings(_config_path: str | None = None) -> None:
    """No client settings: what ~/.docker/config.json says of registries and proxies is no matter.

    The SDK would open whatever is there, a named pipe too, and wait for a home that hangs.
    """


def open_line(path: str, version: str, bounds: Bounds) -> APIClient:
    """An SDK client for the socket at ``path`` that keeps to ``bounds``; connects when used."""
    # The one place that the SDK looks for them in.
    client_settings.find_config_file = _no_settings  # type: ignore[assignment]  # typed too narrowly
    client = APIClient(base_url=f"unix://{path}", version=version)
    client.mount("http+docker://", _Adapter(f"http+unix://{path}", bounds))
    # No proxy, no .netrc; nothing but the socket even if an answer redirects elsewhere.
    client.trust_env = False
    for prefix in [prefix for prefix in client.adapters if prefix != "http+docker://"]:
        del client.adapters[prefix]
    client.headers["Accept-Encoding"] = "identity"
    client.hooks["response"] = [_refuse_packed]
    # An order is for what it names; nobody sends it on to something else.
    client.max_redirects = 0
    return client


def speak(client: APIClient, version: str) -> None:
    """From now on this API version, in the same conversation; the SDK has no call for it."""
    client._version = version  # type: ignore[attr-defined]  # left out by types-docker


def _refuse_packed(response: requests.Response, **_: object) -> None:
    """A packed answer could unpack to any size; the engine never packs what was asked plainly."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        response.close()
        raise requests.exceptions.ContentDecodingError("a packed answer that nobody asked for")
