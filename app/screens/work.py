"""The work that goes on behind the explorer. Each function runs in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from textual.message import Message

from app.inventory import hot_column, with_owners
from app.model import Store
from app.outline.filesystems import headrooms
from app.outline.levels import Level
from app.outline.order import Order
from app.outline.units import units_of
from app.scan.hot import HotSpots
from app.scan.tree import UnitResult
from app.scan.walk import Unit, read_fence
from app.screens.messages import Failed, HeadroomRead, HotFound, Listed, Surveyed
from app.stores.request import Request

Post = Callable[[Message], object]


def survey(request: Request, post: Post, cancelled: Callable[[], bool]) -> None:
    """Post what the disk says, then the same with the engine's answer."""
    # The readers are imported here, in the thread: the first frame does not wait for them.
    from app.stores.engine import EngineError  # noqa: PLC0415
    from app.stores.recognise import RootError  # noqa: PLC0415
    from app.stores.survey import survey_in_steps  # noqa: PLC0415

    try:
        for found in survey_in_steps(request):
            if cancelled():
                return
            post(HeadroomRead(headrooms(found.stores)))
            post(Surveyed(found, _units(found.stores)))
    except (RootError, EngineError) as error:
        post(Failed(str(error)))


def _units(stores: Sequence[Store]) -> tuple[Unit, ...]:
    points = read_fence().points
    units = {unit.path: unit for store in stores for unit in units_of(store, points)}
    return tuple(units.values())


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


def list_place(read: Callable[[], Level], post: Post) -> None:
    """Post the entries of an opened directory, which ``read`` lists."""
    post(Listed(read()))
