"""The explorer's tree as plain data: sums, order, filter, opening, keys, the two views."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cleanup.plan.model import Subject, Wish
from app.demo.sample import build_sample
from app.model import Role, Usage
from app.outline.levels import Level, Place, read_level
from app.outline.nodes import What
from app.outline.outline import Outline
from app.outline.visible import Ordering, Span, Visible, entry_key
from app.rows import Row
from app.scan.job import run
from app.scan.tree import UnitResult, combined
from app.scan.walk import Unit, read_fence
from app.screens.wanted import wish_for_row
from app.survey import Request, Survey, survey
from app.text import safe
from app.usage.order import Column, Order
from app.usage.units import units_changed, units_of
from tests.unit.removals import identified


class Host:
    """The demo's data root, read and measured once."""

    def __init__(self, root: Path) -> None:
        build_sample(root)
        self.root = bytes(root)
        self.survey: Survey = survey(Request((self.root,), offline=True))
        units = units_of(self.survey.stores[0], read_fence().points)
        self.units = tuple(unit.path for unit in units)
        self.results: tuple[UnitResult, ...] = tuple(run(units, read_fence()))

    def outline(self, order: Order | None = None) -> Outline:
        outline = Outline(order or Order())
        outline.show(self.survey.stores, self.units)
        outline.figures.finish(self.results)
        outline.refresh()
        return outline


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    return Host(tmp_path_factory.mktemp("outline") / "docker")


def rows(outline: Outline) -> list[Row]:
    return [outline.row(index) for index in range(len(outline))]


def labels(outline: Outline) -> list[str]:
    return [safe(row.label) for row in rows(outline)]


def key_of(outline: Outline, words: str) -> int:
    """The key of the first row with these words in it."""
    return next(row.key for row in rows(outline) if words in safe(row.label))


def open_row(outline: Outline, key: int) -> None:
    """Open a row and attach its listing, as the screen does."""
    place = outline.open(key)
    if place:
        result = outline.figures.results.get(place.unit)
        outline.attach(read_level(place, result, read_fence(), outline.order))


def open_all(outline: Outline, deepest: int) -> None:
    """Open every row above this depth that is not open."""
    shut = True
    while shut:
        shut = False
        for row in rows(outline):
            if row.expandable and not row.expanded and row.depth < deepest:
                open_row(outline, row.key)
                shut = True


# --- sums and reach -------------------------------------------------------------------------------


@pytest.mark.parametrize("switches", [0, 1])
def test_the_top_rows_of_each_view_are_the_whole_data_root(host: Host, switches: int) -> None:
    outline = host.outline()
    for _ in range(switches):
        outline.switch_view()
    whole = combined(host.results)
    tops = [row for row in rows(outline) if row.depth == 0]
    assert sum(row.bytes or 0 for row in tops) == whole.bytes
    assert sum(row.inodes or 0 for row in tops) == whole.inodes
    assert not any(row.partial for row in tops)


@pytest.mark.parametrize("switches", [0, 1])
def test_every_layer_is_reached_in_both_views(host: Host, switches: int) -> None:
    outline = host.outline()
    for _ in range(switches):
        outline.switch_view()
    seen: set[bytes] = set()
    for row in rows(outline):
        outline.open(row.key)
    for row in rows(outline):
        outline.open(row.key)
    for row in rows(outline):
        thing = outline.thing(row.key)
        assert thing
        seen.add(thing.path)
    layers = host.survey.stores[0].layers.values()
    assert {layer.path for layer in layers} <= seen


def test_a_group_that_is_opened_shows_all_of_what_it_counts(host: Host) -> None:
    outline = host.outline()
    for row in rows(outline):
        number = safe(row.label).rpartition("(")[2].rstrip(")")
        if row.depth == 0:
            outline.open(row.key)
            below = [it for it in rows(outline) if outline.parent_of(it.key) == row.key]
            assert len(below) == int(number)
            outline.close(row.key)


def test_files_below_a_layer_add_up_to_it(host: Host) -> None:
    outline = host.outline()
    open_row(outline, key_of(outline, "arroyo"))
    layer = key_of(outline, "writable layer")
    open_row(outline, layer)
    below = [row for row in rows(outline) if outline.parent_of(row.key) == layer]
    thing = outline.thing(layer)
    assert thing
    assert thing.usage
    # The directory itself and the diff that stands inline have no rows of their own.
    assert sum(row.inodes or 0 for row in below) == thing.usage.inodes - 2


def test_three_steps_lead_from_the_containers_to_the_flood(host: Host) -> None:
    outline = host.outline(Order(Column.INODES))
    for step in ("containers", "arroyo", "writable layer"):
        assert rows(outline)[0].expanded
        open_row(outline, key_of(outline, step))
    flood = outline.row(3)
    assert flood.label == b"diff/tmp/arroyo/checkpoints/job_ab12/checkpoints"
    assert flood.path
    assert (flood.inodes or 0) > 20_000


# --- order ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("apparent", [False, True])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("column", list(Column))
def test_siblings_stand_in_order(
    host: Host, column: Column, descending: bool, apparent: bool
) -> None:
    outline = host.outline()
    open_row(outline, key_of(outline, "elk"))
    open_row(outline, key_of(outline, "writable layer"))
    order = Order(column, descending, apparent)
    outline.sort(order)
    families: dict[int | None, list[Row]] = {}
    for row in rows(outline):
        families.setdefault(outline.parent_of(row.key), []).append(row)
    for family in families.values():
        if column is Column.NAME:
            figures: Sequence[object] = [safe(row.label).casefold() for row in family]
        else:
            figures = [row.inodes if column is Column.INODES else row.bytes for row in family]
        assert figures == sorted(figures, reverse=descending)  # type: ignore[type-var]


def test_keys_stay_with_their_things(host: Host) -> None:
    outline = host.outline()
    before = {row.key: safe(row.label) for row in rows(outline)}
    outline.sort(Order(Column.NAME, descending=False))
    outline.show(host.survey.stores, host.units)
    outline.switch_view()
    outline.switch_view()
    assert {row.key: safe(row.label) for row in rows(outline)} == before


def test_an_entry_is_found_again_after_it_was_listed_anew(host: Host, tmp_path: Path) -> None:
    outline = host.outline()
    open_row(outline, key_of(outline, "elk"))
    open_row(outline, key_of(outline, "writable layer"))
    key = key_of(outline, "work/work")
    anchor = outline.anchor(key)
    (place,) = outline.places(host.units)
    level = read_level(place, None, read_fence(), outline.order)  # not measured: not joined
    outline.attach(level)
    again = outline.thing(outline.key_of(outline.anchor(key)) or 0)
    assert again
    outline.attach(read_level(place, _result(host, place), read_fence(), outline.order))
    found = outline.thing(outline.key_of(anchor) or 0)
    assert found
    assert found.name == b"work/work"


def _result(host: Host, place: Place) -> UnitResult:
    return next(result for result in host.results if result.key == place.unit)


# --- filter ---------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    words=st.sampled_from(
        ["arroyo", "POSTGRES", "diff", "init", "lower", "unreferenced", "0", "zz", "e", "(", "acme"]
    )
    | st.text(max_size=3),
    opened=st.integers(0, 3),
    switch=st.booleans(),
)
def test_a_filter_leaves_matches_and_what_is_above_them(
    host: Host, words: str, opened: int, switch: bool
) -> None:
    outline = host.outline()
    if switch:
        outline.switch_view()
    open_all(outline, min(opened, 2))
    before = {row.key for row in rows(outline) if outline.matches(row.key)}
    outline.narrow(words)
    shown = [row.key for row in rows(outline)]
    matching = {key for key in shown if outline.matches(key)}
    above: set[int] = set()
    for key in matching:
        step = outline.parent_of(key)
        while step is not None:
            above.add(step)
            step = outline.parent_of(step)
    assert set(shown) == matching | above
    assert len(shown) == len(set(shown))
    if words:
        assert {key for key in before if outline.matches(key)} <= matching
    outline.narrow("")
    assert outline.filter == ""
    assert before <= {row.key for row in rows(outline)}


@pytest.mark.parametrize(
    "words", ["arroyosystems", "build-cache", "shop_pgdata", "acme/web:2.4.1", "exited"]
)
def test_a_filter_looks_into_tags_roles_volumes_and_states(host: Host, words: str) -> None:
    outline = host.outline()
    outline.narrow(words)
    assert outline.first_match() is not None


def test_a_filter_finds_a_whole_id_and_a_path(host: Host) -> None:
    layer = next(it for it in host.survey.stores[0].layers.values() if it.role is Role.WRITABLE)
    for words in (layer.id, os.fsdecode(layer.path)):
        outline = host.outline()
        outline.narrow(words)
        first = outline.first_match()
        thing = outline.thing(first) if first is not None else None
        assert thing
        assert len([row for row in rows(outline) if outline.matches(row.key)]) < 10


def test_below_a_match_that_is_opened_every_row_is_shown(host: Host) -> None:
    outline = host.outline()
    outline.narrow("arroyo")
    layer = key_of(outline, "writable layer")
    open_row(outline, layer)
    below = [safe(row.label) for row in rows(outline) if outline.parent_of(row.key) == layer]
    assert "link" in below
    outline.narrow("arroyo")
    assert "link" not in labels(outline), "a new filter forgets what was opened under the last"


def test_under_a_filter_a_group_can_be_closed_and_opened(host: Host) -> None:
    outline = host.outline()
    outline.narrow("postgres")
    group = key_of(outline, "images")
    assert outline.is_open(group)
    outline.close(group)
    assert not outline.is_open(group)
    assert all(outline.parent_of(row.key) != group for row in rows(outline))
    outline.open(group)
    assert any(outline.parent_of(row.key) == group for row in rows(outline))


def test_hostile_names_can_be_searched_as_they_are_drawn() -> None:
    level = Level(b"/x")
    for name in (b"plain", b"esc\x1b[31m", b"two\nlines", b"bad\xff", "Straße".encode()):
        level.add(name, "file", Usage(1, 1, 1), 0)
    found = {
        words: [level.names[at] for at in level.matching(Order(), words, ()).indexes]
        for words in ("\\x1b", "\\n", "\\xff", "strasse", "plain", "\n")
    }
    assert found == {
        "\\x1b": [b"esc\x1b[31m"],
        "\\n": [b"two\nlines"],
        "\\xff": [b"bad\xff"],
        "strasse": ["Straße".encode()],
        "plain": [b"plain"],
        "\n": [],
    }


# --- opening and views ----------------------------------------------------------------------------


def test_a_row_that_is_gone_can_be_neither_opened_nor_closed(host: Host) -> None:
    outline = host.outline()
    before = labels(outline)
    for key in (987_654, entry_key(4321, 7)):
        assert outline.open(key) is None
        outline.close(key)
        assert outline.thing(key) is None
        assert outline.parent_of(key) is None
        assert not outline.is_open(key)
    assert labels(outline) == before


def test_switching_the_view_stays_with_the_thing(host: Host) -> None:
    outline = host.outline()
    twin = outline.switch_view(key_of(outline, "arroyo"))
    assert twin is not None
    assert outline.index_of(twin) is not None
    assert "arroyo (writable)" in outline.trail(twin)[-1]
    image = next(it for it in host.survey.stores[0].layers.values() if it.role is Role.IMAGE)
    key = next(row.key for row in rows(outline) if _path(outline, row.key) == image.path)
    back = outline.switch_view(key)
    assert back is not None
    assert _path(outline, back) == image.path
    assert outline.index_of(back) is not None, "the group around it was not opened"


def _path(outline: Outline, key: int) -> bytes:
    thing = outline.thing(key)
    return thing.path if thing else b""


def test_a_group_has_no_twin_in_the_other_view(host: Host) -> None:
    outline = host.outline()
    assert outline.switch_view(outline.key_at(0)) is None


def test_a_directory_in_an_opened_directory_goes_with_it(host: Host) -> None:
    outline = host.outline(Order(Column.INODES))
    closed = labels(outline)
    open_row(outline, key_of(outline, "arroyo"))
    layer = key_of(outline, "writable layer")
    open_row(outline, layer)
    open_row(outline, key_of(outline, "checkpoints"))
    inner = key_of(outline, "checkpoint-0000003")
    assert outline.trail(inner)[1:3] == ("arroyo", safe(outline.row(2).label))
    outline.close(layer)
    assert outline.thing(inner) is None
    outline.close(key_of(outline, "arroyo"))
    assert labels(outline) == closed


def test_a_layer_that_vanished_takes_its_rows_along(host: Host) -> None:
    outline = host.outline()
    open_row(outline, key_of(outline, "arroyo"))
    layer = key_of(outline, "writable layer")
    unit = _path(outline, layer)
    open_row(outline, layer)
    outline.show(host.survey.stores, [it for it in host.units if it != unit])
    assert outline.places([unit]) == ()
    assert len(rows(outline)) == len(outline)


# --- listings -------------------------------------------------------------------------------------


def test_what_was_not_measured_to_its_end_is_marked(host: Host) -> None:
    outline = host.outline(Order(Column.INODES))
    open_row(outline, key_of(outline, "arroyo"))
    layer = key_of(outline, "writable layer")
    unit = _path(outline, layer)
    whole = next(result for result in host.results if result.key == unit)
    outline.figures.finish([replace(whole, usage=replace(whole.usage, partial=True))])
    open_row(outline, layer)
    marked = {safe(row.label) for row in rows(outline) if row.partial}
    assert {"containers (7)", "arroyo"} <= marked
    assert any(name.endswith("/checkpoints") for name in marked), "directories inside it, too"
    assert "elk" not in marked
    assert "link" not in marked, "a file is listed, not measured"


def test_a_unit_with_unreadable_entries_is_a_lower_bound(host: Host) -> None:
    outline = host.outline()
    whole = next(it for it in host.results if it.key == _path(outline, _layer(outline)))
    outline.figures.finish([replace(whole, usage=replace(whole.usage, unreadable=1))])
    assert outline.row(0).partial


def _layer(outline: Outline) -> int:
    open_row(outline, key_of(outline, "arroyo"))
    return key_of(outline, "writable layer")


def test_a_directory_that_is_gone_says_what_to_do(tmp_path: Path) -> None:
    place = Place(bytes(tmp_path / "no"), bytes(tmp_path))
    level = read_level(place, None, read_fence(), Order())
    assert len(level) == 0
    assert level.trouble == "is gone: press R to read everything again"


def test_an_inline_directory_that_cannot_be_listed_is_still_a_row(tmp_path: Path) -> None:
    (tmp_path / "diff").symlink_to("elsewhere")  # not followed, so not listed
    (tmp_path / "work").mkdir()
    level = read_level(
        Place(bytes(tmp_path), bytes(tmp_path), (b"diff",)), None, read_fence(), Order()
    )
    assert sorted(level.names) == [b"diff", b"work"]


# --- lining up ------------------------------------------------------------------------------------


@st.composite
def lined_up(draw: st.DrawFn) -> list[int | list[int]]:
    """Node keys and runs of entries, each entry once."""
    return draw(st.lists(st.integers(1, 500) | st.lists(st.integers(0, 60), unique=True)))


@given(lined_up())
def test_positions_and_keys_lead_to_each_other(parts: list[int | list[int]]) -> None:
    runs: list[int | Span] = []
    wanted: list[int] = []
    for number, part in enumerate(parts, start=1000):
        if isinstance(part, int):
            if part not in wanted:
                runs.append(part)
                wanted.append(part)
        else:
            ordering = Ordering(part, 61)
            cut = len(part) // 2
            runs += [Span(number, ordering, 0, cut), 500 + number]
            runs.append(Span(number, ordering, cut, len(part)))
            keys = [entry_key(number, index) for index in part]
            wanted += [*keys[:cut], 500 + number, *keys[cut:]]
    visible = Visible.of(runs)
    assert len(visible) == len(wanted)
    assert [visible[position] for position in range(len(visible))] == wanted
    assert [visible.index_of(key) for key in wanted] == list(range(len(wanted)))
    assert visible.index_of(entry_key(999, 1)) is None
    with pytest.raises(IndexError):
        visible[len(wanted)]


def _ordered(level: Level) -> Iterator[bytes]:
    for index in level.ordering(Order(Column.NAME, descending=False)).indexes:
        yield level.names[index]


def test_an_opened_entry_shows_its_own_right_below_itself(tmp_path: Path) -> None:
    for name in ("a", "b/inside", "c"):
        (tmp_path / name).mkdir(parents=True)
    level = read_level(Place(bytes(tmp_path), bytes(tmp_path)), None, read_fence(), Order())
    assert list(_ordered(level)) == [b"a", b"b", b"c"]


# --- marks, and what a row is to a removal --------------------------------------------------------


def test_marks_are_the_same_in_both_views_and_after_listing_anew(host: Host) -> None:
    outline = host.outline()
    open_row(outline, key_of(outline, "arroyo"))
    layer = outline.thing(key_of(outline, "writable layer"))
    assert layer
    outline.marks.toggle(layer)
    assert [safe(row.label) for row in rows(outline) if row.marked] == [
        safe(layer.node.draft.label)
    ]
    outline.switch_view()
    open_all(outline, 1)
    (twin,) = (row for row in rows(outline) if row.marked)
    found = outline.thing(twin.key)
    assert found
    assert found.path == layer.path
    outline.marks.toggle(found)
    assert not len(outline.marks)


def test_a_shared_layer_is_marked_wherever_it_stands(host: Host) -> None:
    outline = host.outline()
    open_all(outline, 2)
    shared = next(row for row in rows(outline) if row.state == "shared by 3")
    thing = outline.thing(shared.key)
    assert thing
    outline.marks.toggle(thing)
    assert sum(row.marked for row in rows(outline)) == 3
    assert len(outline.marks) == 1


def test_a_name_that_is_another_file_now_has_no_mark(host: Host, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    place = Place(bytes(tmp_path), bytes(tmp_path))
    before = read_level(place, None, read_fence(), Order())
    (tmp_path / "x").unlink()  # its inode number may be given out again
    (tmp_path / "x").write_bytes(b"2")
    after = read_level(place, None, read_fence(), Order())
    at, now = before.names.index(b"x"), after.names.index(b"x")
    assert after.identity(now) == identified(tmp_path / "x")
    assert before.identities[at] != after.identities[now]


def test_what_is_listed_so_far_is_shown_until_the_whole_is_there(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.scan.listing.FIRST_LOOK", 1)
    outline = host.outline()
    key = key_of(outline, "volumes")
    open_row(outline, key)
    key = key_of(outline, "grafana")
    place = outline.open(key)
    assert place
    shown: list[Level] = []
    whole = read_level(place, None, read_fence(), outline.order, shown.append)
    assert [level.so_far for level in (shown[-1], whole)] == [True, False]

    def row() -> Row:
        index = outline.index_of(key)
        assert index is not None
        return outline.row(index)

    assert (row().state, row().filling) == ("listing", True)
    before = len(outline)
    outline.attach(shown[-1])
    assert len(outline) == before + len(shown[-1]) > before
    assert (row().state, row().filling) == ("listing", True)
    outline.attach(whole)
    assert not row().filling
    outline.attach(shown[-1])
    assert len(outline) == before + len(whole), "what was whole does not shrink"


def test_joined_directories_have_the_identity_of_the_last(tmp_path: Path) -> None:
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c" / "file").write_bytes(b"")
    (tmp_path / "file").write_bytes(b"")
    path = bytes(tmp_path)
    (result,) = run((Unit(path),), read_fence())
    level = read_level(Place(path, path), result, read_fence(), Order())
    at = level.names.index(b"a/b/c")
    assert level.identity(at) == identified(tmp_path / "a" / "b" / "c")


def test_every_row_is_a_wish_or_a_sentence(host: Host) -> None:
    outline = host.outline()
    seen = set()
    for _ in range(2):
        open_all(outline, 3)
        for row in rows(outline):
            thing = outline.thing(row.key)
            assert thing
            wish = wish_for_row(thing)
            what = thing.node.draft.what
            seen.add((what, type(wish)))
            if isinstance(wish, tuple):
                assert wish[0].endswith(".")
                assert len(wish[-1]) <= 15, "it fits 40 columns beside the problems"
                assert what in (What.GROUP, What.FILES, What.FOLDER)
                continue
            assert wish.root == host.root
            assert bool(wish.id) is (wish.subject is not Subject.PATH)
            assert wish.path == (thing.path if wish.subject is Subject.PATH else b"")
            assert bool(wish.seen) is bool(thing.name)
        outline.switch_view()
    assert {what for what, kind in seen if kind is Wish} >= {
        What.CONTAINER,
        What.IMAGE,
        What.VOLUME,
        What.LAYER,
        What.FOLDER,
    }
    assert (What.GROUP, Wish) not in seen


def test_after_a_removal_only_what_can_have_changed_is_measured(host: Host) -> None:
    units = units_of(host.survey.stores[0], read_fence().points)
    layers = [unit for unit in host.units if os.path.dirname(unit).endswith(b"/overlay2")]
    changed = units_changed(units, [os.path.join(layers[0], b"diff", b"x")])
    assert layers[0] in changed
    assert not set(layers[1:]) & set(changed)
    assert host.root in changed
    assert os.path.join(host.root, b"image") in changed
    volumes = [unit for unit in host.units if os.path.dirname(unit).endswith(b"/volumes")]
    assert volumes
    assert not set(volumes) & set(changed)


def test_of_several_roots_each_row_knows_its_own(host: Host, tmp_path: Path) -> None:
    other = tmp_path / "other"
    build_sample(other)
    found = survey(Request((host.root, bytes(other)), offline=True))
    points = read_fence().points
    units = [unit.path for store in found.stores for unit in units_of(store, points)]
    outline = Outline(Order())
    outline.show(found.stores, units)
    roots: dict[bytes, set[Subject]] = {}
    for _ in range(2):
        open_all(outline, 2)
        for row in rows(outline):
            thing = outline.thing(row.key)
            assert thing
            wish = wish_for_row(thing)
            if isinstance(wish, Wish):
                roots.setdefault(wish.root, set()).add(wish.subject)
                if wish.path:
                    assert wish.path.startswith(wish.root + b"/")
        outline.switch_view()
    assert set(roots) == {host.root, bytes(other)}
    assert all(Subject.IMAGE in subjects for subjects in roots.values())
