"""What the daemon must say of a thing, and the disk, right before the order that names it.

An order carries no more than a name or an id, and a name can stand for something else by then: a
volume that was removed and made again, a tag that was moved. So each thing is asked for in the very
conversation that orders its removal, and compared with what the plan saw.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence

from app.cleanup.plan.model import Expected, Seen
from app.engine.client import CallError, Talk
from app.engine.parse import (
    ShapeError,
    as_path,
    cache_from,
    image_from,
    listed,
    mapping,
    word,
)
from app.host import looks
from app.host.identity import Identity, identify
from app.model import Kind

_AT_FDCWD = -100
#: Seconds in which what a daemon calls removed must have gone from the disk, and between two looks.
_PATIENCE, _LOOK = 5.0, 0.1


class Different(Exception):
    """Something is not as the plan saw it; the text is a clause that says what.

    ``gone``: the daemon does not know it any more.
    """

    def __init__(self, clause: str, *, gone: bool = False) -> None:
        super().__init__(clause)
        self.gone = gone


def seen(paths: Iterable[bytes]) -> tuple[Seen, ...]:
    """Those of these files and directories that are there; no link is followed but on the way."""
    found = ((path, _identity(path)) for path in dict.fromkeys(paths))
    return tuple(Seen(path, identity) for path, identity in found if identity)


def _identity(path: bytes) -> Identity | None:
    """None where nothing is, or nobody may look."""
    try:
        return identify(path, _AT_FDCWD)
    except (OSError, ValueError):
        return None


def compare(talk: Talk, things: Sequence[Expected]) -> None:
    """Raises Different, or CallError or ShapeError where the daemon does not say."""
    for thing in things:
        if thing.kind is Kind.CONTAINER:
            _compare_container(talk, thing)
        elif thing.kind is Kind.IMAGE:
            _compare_image(talk, thing)
        elif thing.kind is Kind.VOLUME:
            _compare_volume(talk, thing)
        _compare_places(thing)
    if records := [it for it in things if it.kind is Kind.BUILD_CACHE]:
        _compare_records(talk, records)


def _answer(talk: Talk, thing: Expected) -> dict[str, object]:
    questions = {
        Kind.CONTAINER: talk.client.inspect_container,
        Kind.IMAGE: talk.client.inspect_image,
        Kind.VOLUME: talk.client.inspect_volume,
    }
    try:
        return mapping(talk.call(lambda: questions[thing.kind](thing.name)))
    except CallError as error:
        if error.gone:
            raise Different(f"the daemon does not know {_named(thing)}", gone=True) from error
        raise


def _compare_container(talk: Talk, thing: Expected) -> None:
    answer = _answer(talk, thing)
    same = word(answer.get("Id")) == thing.id
    if not same or (thing.created and word(answer.get("Created")) != thing.created):
        raise Different(f"{_named(thing)} is another one now")
    _compare_root(talk, thing, answer)
    if thing.volumes is not None and _volumes(answer) != set(thing.volumes):
        raise Different(f"{_named(thing)} does not use the same volumes any more")


def _compare_root(talk: Talk, thing: Expected, answer: dict[str, object]) -> None:
    """Where inspect says where its layers are, that is in the data root of who is asked."""
    data = mapping(mapping(answer.get("GraphDriver")).get("Data"))
    inside = talk.info.root.rstrip(b"/") + b"/"
    for key in ("UpperDir", "MergedDir", "RootDir"):
        path = as_path(data.get(key))
        if path and not path.startswith(inside):
            raise Different(f"{_named(thing)} is in another data root, at {os.fsdecode(path)}")


def _volumes(answer: dict[str, object]) -> set[str]:
    mounts = answer.get("Mounts")
    found = (mapping(it) for it in (mounts if isinstance(mounts, list) else []))
    # Of old containers it has no type; a bind has no name.
    return {word(it.get("Name")) for it in found if it.get("Type") in ("volume", "")} - {""}


def _compare_image(talk: Talk, thing: Expected) -> None:
    try:
        answer = _answer(talk, thing)
    except Different as gone:
        # One without a platform for this machine is listed and has no inspect answer.
        id_ = _in_list(talk, thing.name)
        if not id_:
            raise gone from None
    else:
        id_ = word(answer.get("Id"))
        _compare_root(talk, thing, answer)
    if id_ != thing.id:
        raise Different(f"{thing.name} now points to {id_.removeprefix('sha256:')[:12]}")


def _in_list(talk: Talk, name: str) -> str:
    """The id of the image that the daemon lists under this name; "" for none."""
    for entry in listed(talk.call(lambda: talk.client.images(all=True)), "images").entries.values():
        image = image_from(entry)
        if name in (image.id, *image.tags, *image.digests):
            return image.id
    return ""


def _compare_volume(talk: Talk, thing: Expected) -> None:
    answer = _answer(talk, thing)
    if word(answer.get("Driver")) != "local":
        raise Different(f"{_named(thing)} belongs to another volume driver now")
    if thing.path and as_path(answer.get("Mountpoint")) != thing.path:
        raise Different(f"{_named(thing)} is not at {os.fsdecode(thing.path)} any more")
    if thing.created and word(answer.get("CreatedAt")) != thing.created:
        when = word(answer.get("CreatedAt")) or "at a time that nobody knows"
        raise Different(f"{_named(thing)} was created or changed {when}, not {thing.created}")


def _compare_places(thing: Expected) -> None:
    for place in thing.places:
        if _identity(place.path) != place.identity:
            raise Different(f"{os.fsdecode(place.path)} is not the same directory any more")


def _compare_records(talk: Talk, things: Iterable[Expected]) -> None:
    known, odd = cache_from(talk.call(talk.disk_usage))
    if odd:
        raise ShapeError("build-cache records without sense")
    for thing in things:
        record = known.get(thing.name)
        if record is None:
            raise Different(f"the daemon does not list {_named(thing)}", gone=True)
        if thing.created and record.created != thing.created:
            raise Different(f"{_named(thing)} is another one now")
        if record.in_use:
            raise Different(f"{_named(thing)} is in use now")


def _named(thing: Expected) -> str:
    short = thing.name[:12] if thing.kind is Kind.CONTAINER else thing.name
    return f"{thing.kind.value} {short}"


def same_root(one: bytes, other: bytes) -> bool:
    """Whether two paths are one data root."""
    try:
        return looks.samefile(one, other)
    except OSError:
        return looks.realpath(one) == looks.realpath(other)


# --- afterwards -----------------------------------------------------------------------------------


def left_behind(things: Sequence[Seen]) -> tuple[Seen, ...]:
    """Those that are still on disk, the very same ones, after some seconds."""
    end = time.monotonic() + _PATIENCE
    while True:
        left = tuple(it for it in things if not _is_gone(it))
        if not left or time.monotonic() >= end:
            return left
        time.sleep(_LOOK)


def _is_gone(thing: Seen) -> bool:
    """Whether nothing, or something else, is there; of what may not be looked at nobody knows."""
    try:
        return identify(thing.path, _AT_FDCWD) != thing.identity
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
