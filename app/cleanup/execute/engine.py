"""The engine's own removals. It is asked once, and afterwards what came of it.

Every id is checked before it is sent: the filter of a prune is an unanchored pattern, and an empty
list of ids would take the whole build cache (moby daemon/internal/builder-next/builder.go
toBuildkitPruneInfo). What the engine answers is not taken as the result: the connection can break
off, the engine can stop or hang, and a prune says nothing of the records that it left. So the
engine is asked again, in a new conversation, whether the thing is still there.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from app.cleanup.plan.expected import Different, compare, same_root
from app.cleanup.plan.model import Expected
from app.engine.client import CallError, EngineError, Talk, open_talk
from app.engine.parse import EngineInfo, ShapeError, cache_from, mapping, words
from app.model import Daemon

_CONTAINER = re.compile(r"[0-9a-f]{64}")
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
#: A name and its tag or digest (distribution reference.go); a bare name would mean ":latest".
_IMAGE_NAME = re.compile(
    r"(?!.*(?:\.\.|//))[A-Za-z0-9][A-Za-z0-9._:/-]*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})"
)
_RECORD = re.compile(r"[0-9a-z]{25}")
#: moby daemon/names/names.go RestrictedNamePattern
_VOLUME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
#: The names of a prune stand in its URL, of which Go's server takes 1 MB (net/http server.go).
_MOST_RECORDS = 10_000


class CallFailed(Exception):
    """It was not done, or nobody knows whether it was; one sentence with the next step."""


@dataclass(frozen=True, slots=True)
class EngineCalls:
    """Calls to the engine at ``url``; each one is a conversation of its own.

    ``patience`` bounds a removal, for a container of millions of files takes long; ``timeout``
    every question; ``recovery`` is how long an engine that restarts is waited for. Seconds.
    ``may_send`` is asked right before an order is sent, for a conversation can take a while to
    begin. ``daemon`` is the only one that is told anything, ``root`` the data root that it must
    serve, ``expects`` what it must say right before the order. The removals return a sentence where
    something was odd, else ``""``; they raise CallFailed.
    """

    url: str
    patience: float = 1800.0
    timeout: float = 10.0
    recovery: float = 15.0
    may_send: Callable[[], bool] = lambda: True
    daemon: Daemon | None = None
    root: bytes = b""
    expects: tuple[Expected, ...] = ()

    def remove_container(self, id: str, force: bool, volumes: bool) -> str:
        """``docker rm``; ``volumes``: with its anonymous volumes. ``id`` has 64 digits."""
        if not _CONTAINER.fullmatch(id):
            raise _unsent(id, "a container's id")
        return self._remove(
            f"container {id[:12]}",
            lambda talk: talk.client.remove_container(id, v=volumes, force=force),
            lambda talk: talk.client.inspect_container(id),
            "see what it says of it with: docker ps -a",
        )

    def remove_image(self, ref: str) -> str:
        """``docker rmi``, never by force. ``ref`` is a name with its tag or digest, or an id."""
        if not (_IMAGE_ID.fullmatch(ref) or _IMAGE_NAME.fullmatch(ref)):
            raise _unsent(ref, "an image's id or its name with a tag")
        return self._remove(
            f"image {ref}",
            lambda talk: talk.client.remove_image(ref, force=False, noprune=False),
            lambda talk: talk.client.inspect_image(ref),  # type: ignore[no-untyped-call]  # left out by types-docker
            "see what is left with: docker images -a",
        )

    def remove_volume(self, name: str) -> str:
        """``docker volume rm``."""
        if not _VOLUME.fullmatch(name):
            raise _unsent(name, "a volume's name")
        return self._remove(
            f"volume {name}",
            lambda talk: talk.client.remove_volume(name),
            lambda talk: talk.client.inspect_volume(name),
            "see who uses it with: docker ps -a --filter volume=NAME",
        )

    def volumes_left(self, names: Sequence[str]) -> str:
        """A sentence on those of these volumes that did not go with their container, else ``""``.

        The engine removes them in silence (moby daemon/delete.go: what fails is only logged).
        """
        left: list[str] = []

        def look(talk: Talk) -> bool:
            left[:] = [name for name in names if _has_volume(talk, name)]
            return bool(left)

        there = self._asked_again(look) if names else False
        if there is None:
            return (
                "The engine does not answer now, so nobody knows whether the anonymous volumes "
                "went with the container: when it answers again, see what is left with: docker "
                "volume ls."
            )
        if not there:
            return ""
        what = f"volume {left[0]}" if len(left) == 1 else f"volumes {', '.join(left)}"
        return (
            f"The engine kept anonymous {what} when the container went; remove what nobody uses "
            "with: docker volume rm NAME."
        )

    def prune_cache(self, ids: Sequence[str]) -> str:
        """Remove exactly these build-cache records, children before parents as the engine does.

        It is done when the engine says of every one that it deleted it.
        """
        if not ids or len(ids) > _MOST_RECORDS:
            raise CallFailed(
                f"Nothing was sent to the engine: {len(ids)} build-cache records at once are none "
                "or too many. Look at it again."
            )
        for id in ids:
            if not _RECORD.fullmatch(id):
                raise _unsent(id, "a build-cache record's id")
        # Alternatives of one pattern: two values are refused, and parents may go with children.
        pattern = "|".join(f"^{id}$" for id in ids)
        filters: Any = {"id": [pattern]}  # types-docker knows some of the filters only
        answer, refused = self._send(
            lambda talk: talk.client.prune_builds(filters=filters, all=True)
        )
        deleted = words(mapping(answer).get("CachesDeleted"))
        missing = [id for id in ids if id not in deleted]
        return self._pruned(missing, refused) if missing else ""

    # One removal.

    def _remove(
        self,
        what: str,
        order: Callable[[Talk], object],
        question: Callable[[Talk], object],
        look: str,
    ) -> str:
        _, refused = self._send(order)
        left = self._asked_again(lambda talk: _is_there(talk, question))
        if left is None:
            said = f"({refused}) and does not answer now" if refused else "and fell silent"
            raise CallFailed(
                f"The engine was told to remove {what} {said}, so nobody knows whether it is gone: "
                f"when it answers again, {look}."
            )
        if left:
            said = str(refused) if refused else "it said that it did"
            raise CallFailed(f"The engine did not remove {what}: {said.rstrip('.')}; {look}.")
        if refused and refused.gone:
            return f"{_begin(what)} was gone already."
        return (
            f"{_begin(what)} is gone, though the engine did not say so ({refused})."
            if refused
            else ""
        )

    def _pruned(self, missing: list[str], refused: CallError | None) -> str:
        """What became of records that the engine did not call deleted. Raises CallFailed."""
        what = f"build-cache record {missing[0]}"
        if len(missing) > 1:
            what += f" and {len(missing) - 1} more"
        look = "see what is left with: docker system df -v"
        left = self._asked_again(lambda talk: _records(talk, missing))
        if left is None:
            said = f"({refused})" if refused else "and did not name it as deleted"
            raise CallFailed(
                f"The engine was told to remove {what} {said} and does not answer now: when it "
                f"answers again, {look}."
            )
        if left and not refused:
            raise CallFailed(
                f"The engine kept {what}: it is in use, or another record stands on it; {look}."
            )
        if left:
            raise CallFailed(f"The engine did not remove {what}: {refused}; {look}.")
        if refused:
            return f"{_begin(what)}: gone, though the engine did not say so ({refused})."
        raise CallFailed(
            f"The engine did not say that it removed {what}, and does not list it now; {look}."
        )

    def _send(self, order: Callable[[Talk], object]) -> tuple[object, CallError | None]:
        """Give the order once: the answer, or what went wrong. Raises CallFailed if not sent.

        Who is asked, what is compared and the order itself are one connection.
        """
        with self._talking(self.patience + 3 * self.timeout, once=True) as talk:
            self._recognise(talk.info)
            try:
                compare(talk, self.expects)
            except Different as different:
                if different.gone and len(self.expects) == 1:
                    return None, CallError(str(different), gone=True)
                raise _not_sent(f"{different}. Look at it again and decide anew.") from different
            except (CallError, ShapeError) as silent:
                raise _not_sent(f"it does not say what it would remove ({silent}).") from silent
            if not self.may_send():
                raise CallFailed("Stopped before the engine was told; nothing was sent.")
            try:
                return talk.call(lambda: order(talk), self.patience), None
            except CallError as error:
                return None, error

    def _recognise(self, info: EngineInfo) -> None:
        """Raises CallFailed where another daemon answers than the one that the plan was made with.

        A daemon that was started anew since has another process.
        """
        known, here = self.daemon, info.daemon
        if known is None:
            raise _not_sent("nobody knows which daemon this was planned with. Look at it again.")
        if not same_root(here.root, self.root or known.root):
            raise _not_sent(
                f"it keeps its data in {os.fsdecode(here.root)}, not in {os.fsdecode(self.root)}. "
                "Name the right one with --host."
            )
        if here != known or (known.pid and here.pid != known.pid):
            raise _not_sent(
                f"another daemon answers at {self.url} than the one that this was planned with, or "
                "it was started anew. Look at it again."
            )

    def _asked_again(self, question: Callable[[Talk], bool]) -> bool | None:
        """Whether something is still there; None where the engine does not say even after a while.

        What another daemon says is no answer. An engine that is restarting is asked until it
        answers or ``recovery`` is over.
        """
        end = time.monotonic() + self.recovery
        while True:
            try:
                with self._talking(3 * self.timeout) as talk:
                    if self.daemon is None or talk.info.daemon == self.daemon:
                        return question(talk)
            except (CallFailed, CallError, ShapeError):
                pass  # perhaps it is starting anew
            if time.monotonic() >= end:
                return None
            time.sleep(min(1.0, self.recovery / 4))

    @contextmanager
    def _talking(self, overall: float, *, once: bool = False) -> Iterator[Talk]:
        """A new conversation. Raises CallFailed if there is none."""
        if not self.url:
            raise CallFailed("Only the engine can do that, and none was found: start it, or --host")
        # Only what goes wrong before there is a conversation means that nothing was sent.
        opening = open_talk(self.url, self.timeout, overall, once=once)
        try:
            talk = opening.__enter__()
        except EngineError as error:
            raise _not_sent(f"{error.fact}.") from error
        try:
            yield talk
        finally:
            opening.__exit__(None, None, None)


def _is_there(talk: Talk, question: Callable[[Talk], object]) -> bool:
    """Whether the engine still knows it. Raises CallError where it does not say."""
    try:
        talk.call(lambda: question(talk))
    except CallError as error:
        if error.gone:
            return False
        raise
    return True


def _has_volume(talk: Talk, name: str) -> bool:
    """Whether the engine still knows the volume. Raises CallError where it does not say."""
    return _is_there(talk, lambda it: it.client.inspect_volume(name))


def _records(talk: Talk, ids: Sequence[str]) -> bool:
    """Whether the engine lists one of these build-cache records. Raises CallError, ShapeError."""
    found, odd = cache_from(talk.call(talk.disk_usage))
    if odd:
        raise ShapeError("build-cache records without sense")
    return not found.keys().isdisjoint(ids)


def _not_sent(why: str) -> CallFailed:
    return CallFailed(f"Nothing was sent to the engine: {why}")


def _unsent(value: str, kind: str) -> CallFailed:
    return _not_sent(f"{value!r} is not {kind}. Look at it again.")


def _begin(what: str) -> str:
    return what[:1].upper() + what[1:]
