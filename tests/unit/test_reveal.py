"""The tree opens down to one directory, whatever its listings do meanwhile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.demo.layout import add_directory, make_root
from app.outline.levels import Place, read_level
from app.outline.outline import Outline
from app.outline.reveal import Reveal
from app.scan.job import run
from app.scan.walk import read_fence
from app.survey import Request, survey
from app.usage.order import Order
from app.usage.units import units_of
from tests.unit.scan_trees import names

LAYER = "c" * 64
HOSTILE = b"esc\x1b[31m/new\nline/bad\xff/[red]/back\\slash"


def outlined(root: Path, measured: bool = True) -> Outline:
    """The outline of a data root on disk, measured or not."""
    found = survey(Request((bytes(root),), offline=True))
    units = units_of(found.stores[0], read_fence().points)
    outline = Outline(Order())
    outline.show(found.stores, tuple(unit.path for unit in units))
    if measured:
        outline.figures.finish(run(units, read_fence()))
    outline.refresh()
    return outline


def listed(outline: Outline, place: Place) -> None:
    result = outline.figures.results.get(place.unit)
    outline.attach(read_level(place, result, read_fence(), outline.order))


def follow(outline: Outline, reveal: Reveal, between: Callable[[], None] = lambda: None) -> None:
    """Give the reveal every listing that it asks for; ``between`` happens before each."""
    for _ in range(50):
        place = reveal.go_on()
        if place is None:
            return
        between()
        listed(outline, place)
    raise AssertionError("it does not end")


def path_at(outline: Outline, reveal: Reveal) -> bytes:
    thing = outline.thing(reveal.key) if reveal.key is not None else None
    assert thing
    return thing.path


@pytest.fixture
def layer(tmp_path: Path) -> bytes:
    """A layer with a directory of hostile names far down, and company at every level."""
    diff = bytes(add_directory(make_root(tmp_path / "docker"), LAYER).diff)
    steps = HOSTILE.split(b"/")
    for depth in range(len(steps) + 1):
        place = os.path.join(diff, *steps[:depth])
        os.makedirs(os.path.join(place, b"beside"), exist_ok=True)
        Path(os.fsdecode(os.path.join(place, b"file"))).touch()
    os.makedirs(os.path.join(diff, b"a/b/c/d"))  # joined into one row once it is measured
    return os.path.dirname(diff)


@pytest.mark.parametrize("measured", [True, False])
@pytest.mark.parametrize("switches", [0, 1])
def test_the_row_of_a_directory_far_down_becomes_visible(
    layer: bytes, switches: int, measured: bool
) -> None:
    outline = outlined(Path(os.fsdecode(layer)).parents[1], measured)
    for _ in range(switches):
        outline.switch_view()
    target = os.path.join(layer, b"diff", HOSTILE)
    reveal = Reveal(outline, layer, target)
    follow(outline, reveal)
    assert reveal.ended
    assert reveal.arrived
    assert path_at(outline, reveal) == target
    assert reveal.key is not None
    assert outline.index_of(reveal.key) is not None
    assert not outline.is_open(reveal.key)


@pytest.mark.parametrize(
    ("inside", "row"),
    [
        (b"", b""),
        (b"diff", b""),  # stands inline: its entries are those of the layer
        (b"diff/beside", b"diff/beside"),
        (b"diff/a/b", b"diff/a/b/c/d"),  # joined: the row stands for all four
        (b"diff/a/b/c/d", b"diff/a/b/c/d"),
    ],
)
def test_a_directory_without_a_row_of_its_own_is_the_row_that_stands_for_it(
    layer: bytes, inside: bytes, row: bytes
) -> None:
    outline = outlined(Path(os.fsdecode(layer)).parents[1])
    reveal = Reveal(outline, layer, os.path.join(layer, inside).rstrip(b"/"))
    follow(outline, reveal)
    assert reveal.arrived
    assert path_at(outline, reveal) == os.path.join(layer, row).rstrip(b"/")


def test_what_vanished_ends_at_the_nearest_row_that_is_there(layer: bytes) -> None:
    outline = outlined(Path(os.fsdecode(layer)).parents[1])
    steps = HOSTILE.split(b"/")
    shutil.rmtree(os.path.join(layer, b"diff", *steps[:3]))
    reveal = Reveal(outline, layer, os.path.join(layer, b"diff", HOSTILE))
    follow(outline, reveal)
    assert reveal.ended
    assert not reveal.arrived
    assert path_at(outline, reveal) == os.path.join(layer, b"diff", *steps[:2])


def test_a_unit_that_is_gone_has_no_row(layer: bytes) -> None:
    outline = outlined(Path(os.fsdecode(layer)).parents[1])
    reveal = Reveal(outline, layer + b"-gone", layer + b"-gone/diff")
    assert reveal.go_on() is None
    assert (reveal.ended, reveal.arrived, reveal.key) == (True, False, None)


def test_a_listing_is_asked_for_once(layer: bytes) -> None:
    outline = outlined(Path(os.fsdecode(layer)).parents[1])
    reveal = Reveal(outline, layer, os.path.join(layer, b"diff", HOSTILE))
    place = reveal.go_on()
    assert place
    assert reveal.go_on() is None
    assert not reveal.ended
    listed(outline, place)
    following = reveal.go_on()
    assert following
    assert following != place


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(names.filter(lambda it: it not in (b".", b"..")), min_size=1, max_size=5),
    beside=st.lists(names.filter(lambda it: it not in (b".", b"..")), max_size=4),
    vanishing=st.none() | st.tuples(st.integers(0, 5), st.integers(0, 5)),
    switch=st.booleans(),
)
# Gone between two listings: the second one is empty.
@example(steps=[b"0", b"0"], beside=[b"0", b"00"], vanishing=(1, 0), switch=False)
def test_any_directory_is_reached_or_the_nearest_one_that_is_there(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[bytes],
    beside: list[bytes],
    vanishing: tuple[int, int] | None,
    switch: bool,
) -> None:
    root = make_root(tmp_path_factory.mktemp("reveal") / "docker")
    layer = bytes(add_directory(root, LAYER).path)
    target = os.path.join(layer, b"diff", *steps)
    os.makedirs(target)
    for number, name in enumerate(beside):
        place = os.path.join(layer, b"diff", *steps[: number % len(steps)], name)
        os.makedirs(place, exist_ok=True)
    outline = outlined(root)
    if switch:
        outline.switch_view()
    looks = 0

    def between() -> None:
        nonlocal looks
        if vanishing and looks == vanishing[0]:
            shutil.rmtree(os.path.join(layer, b"diff", *steps[: vanishing[1]]), ignore_errors=True)
        looks += 1

    reveal = Reveal(outline, layer, target)
    follow(outline, reveal, between)
    assert reveal.ended
    reached = path_at(outline, reveal)
    assert f"{os.fsdecode(target)}/".startswith(f"{os.fsdecode(reached)}/")
    if not vanishing:
        assert reveal.arrived
        assert reached == target
    shutil.rmtree(root)
