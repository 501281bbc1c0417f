"""The work that goes on behind the explorer. Each function runs in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from textual.message import Message

from app.discovery.request import Request
from app.inventory import hot_column, with_owners
from app.model import Store
from app.outline.levels import Level, Place
from app.scan.cache import Kept
from app.scan.cache_file import Entry
from app.scan.fingerprint import Mark, marks_of
from app.scan.hot import HotSpots
from app.scan.tree import UnitResult
from app.scan.walk import Unit, read_fence
from app.screens.messages import (
    CameOrWent,
    Failed,
    HeadroomRead,
    HotFound,
    Listed,
    Marked,
    Surveyed,
)
from app.usage.filesystems import headrooms
from app.usage.order import Order
from app.usage.units import unchanging, units_of

Post = Callable[[Message], object]


def survey(
    request: Request, kept: Kept, post: Post, cancelled: Callable[[], bool], at_once: bool
) -> None:
    """Post what the disk says (``at_once``), then the same with the engine's answer.

    ``kept`` takes what an earlier run left of these data roots.
    """
    # The readers are imported here, in the thread: the first frame does not wait for them.
    from app.discovery.classify import RootError  # noqa: PLC0415
    from app.engine.inventory import EngineError  # noqa: PLC0415
    from app.survey import survey_in_steps  # noqa: PLC0415

    try:
        for found in survey_in_steps(request):
            if cancelled():
                return
            if not (at_once or found.final):
                continue
            post(HeadroomRead(headrooms(found.stores)))
            kept.open([store.root.path for store in found.stores])
            post(Surveyed(found, *_units(found.stores)))
    except (RootError, EngineError) as error:
        post(Failed(str(error)))


def _units(stores: Sequence[Store]) -> tuple[tuple[Unit, ...], dict[bytes, Mark]]:
    fence = read_fence()
    units = {unit.path: unit for store in stores for unit in units_of(store, fence.points)}
    closed = {path for store in stores for path in unchanging(store) if path in units}
    return tuple(units.values()), marks_of(closed, fence)


def look_for_others(stores: Sequence[Store], known: Iterable[bytes], post: Post) -> None:
    """Post when there are other units than the ``known`` ones; nothing is read but their names."""
    points = read_fence().points
    if {unit.path for store in stores for unit in units_of(store, points)} != set(known):
        post(CameOrWent())


def mark(paths: Iterable[bytes], post: Post) -> None:
    """Post the marks of these units."""
    post(Marked(marks_of(paths, read_fence())))


def keep(kept: Kept, measured: Iterable[Entry], paths: Iterable[bytes]) -> None:
    """Keep what was measured, for this run and the next; ``paths`` are all units there are."""
    kept.keep(measured, read_fence())
    kept.save(paths)


def read_headroom(stores: Sequence[Store], post: Post) -> None:
    """Post how full the data roots' filesystems are now."""
    post(HeadroomRead(headrooms(stores)))


def find_hot_spots(
    spots: HotSpots,
    results: Mapping[bytes, UnitResult],
    stores: Sequence[Store],
    order: Order,
    post: Post,
) -> None:
    """Post the fullest directories of these results, with their owners."""
    found = spots.of(results.values(), hot_column(order))
    post(HotFound(with_owners(found, stores), order))


def list_place(
    place: Place, read: Callable[[Callable[[Level], object]], Level], post: Post
) -> None:
    """Post the entries of an opened directory, which ``read`` lists and tells of meanwhile."""
    post(Listed(place, read(lambda level: post(Listed(place, level)))))
