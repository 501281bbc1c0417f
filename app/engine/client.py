"""A conversation with an engine: a client that speaks its API version, and every call guarded.

Only over a unix socket, only with Docker itself, only when its data root is on this machine; each
call and the whole conversation bounded in time. The docker SDK is imported when a conversation is
opened, for it takes longer to load than the disk to read.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from app.engine.parse import (
    EngineInfo,
    ShapeError,
    as_path,
    daemon_of,
    info_from,
    is_podman,
    mapping,
    numbered,
    spoken_version,
    word,
)
from app.engine.root_claim import Wrong, judge
from app.host import looks
from app.host.safe_read import Damage, read_file

if TYPE_CHECKING:
    from docker.api.client import APIClient

    from app.engine.transport import Bounds
    from app.host.peer import Peer

#: The newest API version these shapes were read from.
TESTED_API = "1.51"
#: From here on ``/system/df`` can be asked for the build cache alone.
DF_BY_TYPE = (1, 42)
#: From here on ``/system/df`` may give its items only when asked for them.
DF_VERBOSE = (1, 52)

_REMOTE = ("tcp", "http", "https", "ssh", "npipe")
_LONGEST_REASON = 300
_Answer = TypeVar("_Answer")


#: How a survey goes on without the engine.
DISK_ALONE = "going on with the disk alone."


class EngineError(Exception):
    """The engine gives no usable answer; the text is one sentence with the next step."""

    @property
    def fact(self) -> str:
        """The text for who cannot go on with the disk alone, without the last full stop."""
        return str(self).removesuffix(DISK_ALONE).rstrip(" ;:.")


class RemoteEngine(EngineError):
    """The engine's disk is not on this machine."""


class CallError(Exception):
    """One call failed; the text is the reason.

    ``gone``: the engine says that it does not exist. ``forbidden``: the socket may not be opened.
    ``dropped``: the connection is gone, before it was asked or before it answered wholly.
    """

    def __init__(
        self, reason: str, *, gone: bool = False, forbidden: bool = False, dropped: bool = False
    ) -> None:
        super().__init__(reason)
        self.gone = gone
        self.forbidden = forbidden
        self.dropped = dropped


class OtherDaemon(CallError):
    """In the middle of a conversation somebody else answers."""


def _socket_path(url: str) -> str:
    """The path in ``unix://``. Raises RemoteEngine, or EngineError for what is no engine's URL."""
    scheme, separator, rest = url.partition("://")
    if scheme == "unix" and separator and rest:
        return "/" + rest.lstrip("/")
    if scheme in _REMOTE or not separator:
        raise RemoteEngine(
            f"The engine at {url} is reached over the network and its disk may not be here: run "
            "whodiff on that machine, or name a copied tree with --data-root DIR --offline."
        )
    raise EngineError(
        f"{url} is no engine's address: give --host unix:///var/run/docker.sock or the like; "
        f"{DISK_ALONE}"
    )


@dataclass(frozen=True, slots=True)
class Talk:
    """An open conversation: a client that speaks the right API version, and its bounds.

    ``once``: it is one connection, and ends with it. Else, for what only asks, a connection that
    broke is made again, and who answers then says first that it is the same daemon.
    """

    client: APIClient
    bounds: Bounds
    info: EngineInfo
    timeout: float
    once: bool = False

    def call(self, question: Callable[[], object], seconds: float | None = None) -> object:
        """One call, bounded. Raises CallError, whatever goes wrong."""
        granted = self.timeout if seconds is None else seconds
        try:
            return _call(self.bounds, question, granted)
        except CallError as failed:
            if self.once or not failed.dropped:
                raise
        self._meet_again()
        return _call(self.bounds, question, granted)

    def _meet_again(self) -> None:
        """A new connection, with the same daemon. Raises CallError, OtherDaemon."""
        self.bounds.once_more()
        answer = mapping(_call(self.bounds, self.client.info, self.timeout))
        root, peer = as_path(answer.get("DockerRootDir")), self.bounds.peer
        if daemon_of(word(answer.get("ID")), root, peer) != self.info.daemon:
            self.client.close()
            self.bounds.no_more()
            raise OtherDaemon(f"another daemon answers at {self.info.url} than before")

    def disk_usage(self) -> object:
        """``/system/df``, for the build cache alone where the engine can tell it apart.

        Older engines walk every writable layer and volume for it, which the timeout cuts short.
        The SDK's ``df`` has no arguments.
        """
        version = numbered(self.info.api_version) or (0, 0)
        asked = {"type": "build-cache"} if version >= DF_BY_TYPE else {}
        if version >= DF_VERBOSE:
            asked["verbose"] = "1"
        url = f"{self.client.base_url}/v{self.info.api_version}/system/df"
        response = self.client.get(url, params=asked, timeout=self.timeout)
        response.raise_for_status()
        return response.json()


@contextmanager
def open_talk(url: str, timeout: float, overall: float, *, once: bool = False) -> Iterator[Talk]:
    """Connect, agree upon an API version, learn who answers. Raises EngineError, RemoteEngine.

    All of it, and what is asked then, is one connection; see :class:`Talk` for ``once``.
    """
    path = _socket_path(url)
    try:
        looks.stat_of(os.fsencode(path))
    except looks.Hangs as error:
        raise EngineError(
            f"The engine's socket {url} cannot be reached: {error.strerror}; {DISK_ALONE}"
        ) from error
    except OSError:
        # Connecting to it says best what is wrong.
        pass
    # Late: the SDK takes longer to load than the names take to appear.
    from app.engine.transport import Bounds, open_line, speak  # noqa: PLC0415

    bounds = Bounds(overall)

    def opened(version: str) -> closing[APIClient]:
        try:
            return closing(open_line(path, version, bounds))
        except Exception as error:
            raise EngineError(
                f"The Docker client library does not start ({type(error).__name__}: "
                f"{shortened(error)}): install it anew; {DISK_ALONE}"
            ) from error

    try:
        with opened(TESTED_API) as client:
            version = _call(bounds, lambda: client.version(api_version=False), timeout)
            spoken = spoken_version(version, TESTED_API)
            speak(client, spoken)
            answer = _call(bounds, client.info, timeout)
            info = replace(info_from(url, spoken, version, answer), peer=bounds.peer)
            _refuse_foreign(info, version, bounds.peer)
            yield Talk(client, bounds, info, timeout, once)
    except CallError as refused:
        raise EngineError(_no_answer(url, refused)) from refused
    except ShapeError as odd:
        raise EngineError(
            f"What answers at {url} gave {odd}, as no Docker engine does: {DISK_ALONE}"
        ) from odd


def _refuse_foreign(info: EngineInfo, version: object, peer: Peer | None) -> None:
    """Only Docker itself, only with its data root on this machine."""
    if is_podman(version):
        raise EngineError(
            f"At {info.url} podman answers, whose storage whodiff does not read: name Docker's "
            f"engine with --host; {DISK_ALONE}"
        )
    root = os.fsdecode(info.root)
    here = f"The engine at {info.url} keeps its data in {root}"
    way_out = (
        "run whodiff on the engine's machine, or name a copied tree with --data-root DIR --offline."
    )
    match judge(info.root, peer):
        case Wrong.NO_PATH:
            raise EngineError(f"{here}, which is no whole path: {DISK_ALONE}")
        case Wrong.NOT_HERE:
            raise RemoteEngine(f"{here}, which is not on this machine: {way_out}")
        case Wrong.ANOTHER_VIEW:
            raise RemoteEngine(
                f"{here} as it sees it from its container; the {root} of this machine is another "
                "directory: name its data root as this machine calls it, with --data-root DIR "
                "--offline."
            )
        case Wrong.NOT_ITS_OWN if peer:
            raise EngineError(
                f"What answers at {info.url} is run by user {peer.uid} and calls {root} its data "
                f"root, which belongs to somebody else: it is not believed, {DISK_ALONE}"
            )
    own_id = _id_on_disk(info.root)
    if own_id and info.id and own_id != info.id:
        raise RemoteEngine(
            f"{here}, but the {root} on this machine belongs to another engine: {way_out}"
        )


def _id_on_disk(root: bytes) -> str:
    """The id that moby 23.0 and later keep in the data root (moby daemon/id.go); "" if none."""
    try:
        return read_file(os.path.join(root, b"engine-id"), 4096).decode("utf-8", "replace").strip()
    except (OSError, Damage):
        return ""


def _no_answer(url: str, refused: CallError) -> str:
    if refused.forbidden:
        return f"No permission to ask the engine at {url}: run whodiff with sudo; {DISK_ALONE}"
    return f"The engine at {url} does not answer ({refused}): {DISK_ALONE}"


# --- one call -------------------------------------------------------------------------------------


def _call(bounds: Bounds, question: Callable[[], _Answer], seconds: float) -> _Answer:
    """Ask, for at most so many seconds. Raises CallError with the reason, whatever goes wrong."""
    granted = bounds.begin(seconds)
    try:
        return question()
    except Exception as error:
        # The one border to the SDK, requests and urllib3: each has its own errors, and their own
        # parsers stumble with plain TypeErrors over answers of an odd shape.
        if bounds.dropped:
            raise CallError("it closed the connection", dropped=True) from error
        raise _refusal(bounds.failure, error, granted) from error


def _refusal(failure: OSError | None, error: Exception, granted: float) -> CallError:
    """Why a call failed: the socket's own ``failure`` says it best, else what the SDK raised."""
    if isinstance(failure, TimeoutError):
        within = f"no answer within {granted:.1f} s".replace(".0 s", " s")
        return CallError(within if granted > 0 else "time ran out")
    if isinstance(failure, PermissionError):
        return CallError("permission denied", forbidden=True)
    if failure:
        known = _SOCKET_REASONS.get(failure.errno or 0)
        lost = failure.errno in (errno.ECONNRESET, errno.EPIPE)
        return CallError(known or shortened(failure.strerror or str(failure)), dropped=lost)
    response = getattr(error, "response", None)
    if response is not None and not response.ok:
        said = shortened(getattr(error, "explanation", "") or response.reason)
        gone = response.status_code == 404 and "no such" in said.lower()
        return CallError(f"status {response.status_code}: {said}", gone=gone)
    if isinstance(error, ValueError | TypeError | KeyError | RecursionError):
        return CallError("its answer is malformed")
    return CallError(shortened(f"its answer broke off: {type(error).__name__}"), dropped=True)


_SOCKET_REASONS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ENOENT: "no such socket",
    errno.ENOTDIR: "no such socket",
    errno.EAGAIN: "its queue of connections is full",
    errno.ECONNRESET: "it closed the connection",
    errno.EPIPE: "it closed the connection",
}


def shortened(reason: object) -> str:
    """One line of at most some hundred characters of what the engine itself says."""
    return " ".join(str(reason).split())[:_LONGEST_REASON]
