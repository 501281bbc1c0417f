"""The tree, driven by keys and the mouse and read from the screen that it draws."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot

from styles import themes
from tests.tui.stage import FULL, GIB, Stage, screen_of
from widgets.columns import UNICODE, Columns, Headings, branch, header_parts, row_parts
from widgets.details_pane import DetailsPane
from widgets.headroom_bar import HeadroomBar
from widgets.painting import parts_width
from widgets.status_line import StatusLine
from widgets.usage_tree import Row, RowList, UsageTree

MANY = 100_000


class Endless:
    """A hundred thousand rows that exist only while they are drawn; it counts the questions."""

    def __init__(self) -> None:
        self.asked = 0

    def __len__(self) -> int:
        return MANY

    def row(self, index: int) -> Row:
        self.asked += 1
        return Row(index, 0, f"row-{index}", bytes=index, inodes=1)

    def index_of(self, key: int) -> int | None:
        return key if 0 <= key < MANY else None

    def anchor(self, key: int) -> object:
        return key


def rows(keys: Sequence[int]) -> RowList:
    return RowList([Row(key, 0, f"row-{key}", bytes=key * GIB, inodes=key) for key in keys])


def cursor_line(tree: UsageTree, sign: str = "▶") -> int:
    """The screen line with the cursor sign: there is never more than one."""
    lines = [y for y, line in enumerate(screen_of(tree)) if line.startswith(sign)]
    assert len(lines) == 1
    return lines[0]


async def wheel_down(pilot: Pilot[None], tree: UsageTree, lines: int) -> None:
    tree.scroll_to(y=tree.top_index + lines, animate=False)
    await pilot.pause()


# -- the cursor ------------------------------------------------------------------------------


async def test_the_cursor_stays_on_its_row_while_rows_are_sorted() -> None:
    app = Stage(rows(range(1, 200)))
    async with app.run_test(size=(120, 36)) as pilot:
        app.tree_.move_to(50)
        await pilot.press(*"kkkkk")
        line = cursor_line(app.tree_)
        assert 1 < line < app.tree_.size.height - 1
        app.tree_.show(rows(range(199, 0, -1)))
        await pilot.pause()
        assert app.tree_.cursor_key == 45
        assert cursor_line(app.tree_) == line, "the row moved on the screen"
        assert "row-45 " in screen_of(app.tree_)[line]


async def test_a_row_that_moves_to_the_top_takes_the_cursor_along() -> None:
    app = Stage(rows(range(1, 200)))
    async with app.run_test(size=(80, 24)) as pilot:
        app.tree_.move_to(9)
        app.tree_.show(rows([9, *range(10, 200)]))
        await pilot.pause()
        assert app.tree_.cursor_key == 9
        assert cursor_line(app.tree_) == 1


async def test_when_the_row_goes_the_cursor_stays_in_place() -> None:
    app = Stage(rows(range(1, 20)))
    async with app.run_test(size=(80, 24)) as pilot:
        app.tree_.move_to(5)
        app.tree_.show(rows([1, 2, 3, 4, 6, 7]))
        await pilot.pause()
        assert app.tree_.cursor_key == 6
        app.tree_.show(rows([1, 2]))
        await pilot.pause()
        assert app.tree_.cursor_key == 2
        app.tree_.show(RowList())
        await pilot.pause()
        assert app.tree_.cursor_key is None
        assert "Nothing to show." in screen_of(app.tree_)[1]
        assert app.heard[-1] == ("highlighted", None)


async def test_news_does_not_pull_back_a_view_that_was_scrolled_away() -> None:
    app = Stage(Endless())
    async with app.run_test(size=(80, 24)) as pilot:
        await wheel_down(pilot, app.tree_, 500)
        app.tree_.show(Endless())
        await pilot.pause()
        assert app.tree_.top_index == 500
        assert app.tree_.cursor_key == 0
        await pilot.press("j")
        assert app.tree_.cursor_key == 1
        assert cursor_line(app.tree_) == 1


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        (["j", "j", "k"], 1),
        (["down", "down", "up"], 1),
        (["G"], MANY - 1),
        (["end", "g"], 0),
        (["end", "home"], 0),
        (["end", "k"], MANY - 2),
        (["k"], 0),
        (["end", "j"], MANY - 1),
    ],
)
async def test_keys_that_hands_know(keys: list[str], key: int) -> None:
    app = Stage(Endless())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*keys)
        assert app.tree_.cursor_key == key
        assert f"row-{key} " in screen_of(app.tree_)[cursor_line(app.tree_)]


async def test_pages_turn_and_the_last_row_is_reached() -> None:
    app = Stage(rows(range(1, 60)))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("pagedown")
        assert app.tree_.cursor_key == app.tree_.size.height - 1
        await pilot.press("pagedown", "pagedown", "pagedown")
        assert app.tree_.cursor_key == 59
        assert cursor_line(app.tree_) == app.tree_.size.height - 1
        await pilot.press("pageup", "pageup", "pageup", "pageup")
        assert app.tree_.cursor_key == 1


async def test_the_cursor_stays_visible_when_the_terminal_shrinks() -> None:
    app = Stage(rows(range(1, 60)))
    async with app.run_test(size=(120, 36)) as pilot:
        app.tree_.move_to(30)
        await pilot.resize_terminal(80, 12)
        await pilot.pause()
        assert "row-30" in screen_of(app.tree_)[cursor_line(app.tree_)]


async def test_a_hundred_thousand_rows_cost_what_the_screen_shows() -> None:
    source = Endless()
    app = Stage(source)
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.press("G")
        assert app.tree_.cursor_key == MANY - 1
        before = source.asked
        app.tree_.show(source)
        await pilot.pause()
        assert source.asked - before < 100
        before = source.asked
        await pilot.press("k")
        assert source.asked - before < 10, "a cursor move draws two rows again, not the list"


# -- opening and closing ---------------------------------------------------------------------

CLOSED = RowList([Row(1, 0, "containers", expandable=True), Row(2, 0, "images", expandable=True)])
OPENED = RowList(
    [
        Row(1, 0, "containers", expandable=True, expanded=True),
        Row(11, 1, "web", expandable=True),
        Row(12, 1, "file"),
        Row(2, 0, "images", expandable=True),
    ]
)


async def test_enter_opens_and_goes_to_the_first_child_when_it_is_there() -> None:
    app = Stage(CLOSED)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("enter")
        assert ("toggled", 1) in app.heard
        app.tree_.show(CLOSED)
        assert app.tree_.cursor_key == 1
        app.tree_.show(OPENED)
        assert app.tree_.cursor_key == 11
        app.tree_.show(OPENED)
        assert app.tree_.cursor_key == 11


async def test_enter_typed_ahead_opens_the_first_child_when_it_is_there() -> None:
    app = Stage(CLOSED)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("enter", "enter")
        assert app.heard.count(("toggled", 1)) == 1, "a second Enter does not close the row again"
        app.tree_.show(OPENED)
        await pilot.pause()
        assert app.tree_.cursor_key == 11
        assert ("toggled", 11) in app.heard
        app.tree_.show(OPENED)
        await pilot.press("j")
        app.tree_.show(OPENED)
        assert app.tree_.cursor_key == 12
        await pilot.press("k", "enter")
        assert app.heard.count(("toggled", 11)) == 2


async def test_enter_does_not_move_a_cursor_that_has_gone_on() -> None:
    app = Stage(CLOSED)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("enter", "j")
        app.tree_.show(OPENED)
        assert app.tree_.cursor_key == 2


async def test_right_opens_and_then_steps_in() -> None:
    app = Stage(CLOSED)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("right")
        app.tree_.show(OPENED)
        assert app.tree_.cursor_key == 1
        await pilot.press("l")
        assert app.tree_.cursor_key == 11
        assert app.heard.count(("toggled", 1)) == 1, "an open row is not closed by going right"
        await pilot.press("j", "enter", "right")
        assert ("toggled", 12) not in app.heard
        await pilot.press("left", "h", "backspace")
        assert app.heard.count(("left", 12)) == 3


async def test_the_mouse_chooses_rows_opens_signs_and_sorts() -> None:
    app = Stage(OPENED)
    async with app.run_test(size=(80, 24)) as pilot:
        tree = app.tree_
        await pilot.click(UsageTree, offset=(5, 3))
        assert tree.cursor_key == 12
        sign = screen_of(tree)[4].index("▸")
        await pilot.click(UsageTree, offset=(sign, 4))
        assert ("toggled", 2) in app.heard
        await pilot.click(UsageTree, offset=(30, 1), times=2)
        assert ("toggled", 1) in app.heard
        header = screen_of(tree)[0]
        for word in ("BYTES", "INODES", "OWNER", "STATE"):
            await pilot.click(UsageTree, offset=(header.index(word), 0))
        heard = [column for what, column in app.heard if what == "heading"]
        assert heard == ["bytes", "inodes", "name"]
        await pilot.click(UsageTree, offset=(5, 15))
        assert tree.cursor_key == 1, "below the last row there is nothing to choose"


# -- what a row looks like -------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 50), (40, 10)])
async def test_columns_stand_in_line(size: tuple[int, int]) -> None:
    names: list[str | bytes] = [
        "plain",
        "日本語のログ",
        "e\u0301a\u0300",
        b"\xff\x1b[2J",
        "x" * 255,
        "😀" * 60,
        "[red]x[/nope]",
    ]
    source = RowList(
        [
            Row(n, n, name, 3**n * 1000, 7**n, 0.5, "running", n % 2 == 0, False)
            for n, name in enumerate(names)
        ]
    )
    app = Stage(source)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        lines = screen_of(app.tree_)
        width = app.tree_.scrollable_content_region.width
        assert {cell_len(line) for line in lines} == {width}
        figures_end = lines[0].index("BYTES ↓") + len("BYTES ↓")
        for line in lines[1 : len(names) + 1]:
            assert line[figures_end - 1] == "B"
            assert line[figures_end] == " "


async def test_at_80_columns_everything_but_the_details_is_there() -> None:
    app = Stage(
        RowList(
            [Row(1, 0, "containers", 12 * GIB, 2_600_000, 1.0, "unreferenced", True, tone="warn")]
        )
    )
    async with app.run_test(size=(80, 24)) as pilot:
        header, first = screen_of(app.tree_)[:2]
        for word in ("BYTES ↓", "SHARE", "INODES", "STATE", "OWNER"):
            assert word in header
        for word in ("12.0 GiB", "██████", "2,600,000", "unreferenced", "▸ containers"):
            assert word in first
        assert not app.query_one(DetailsPane).display
        await pilot.resize_terminal(120, 36)
        await pilot.pause()
        assert app.query_one(DetailsPane).display


async def test_figures_that_are_not_known_or_not_complete_say_so() -> None:
    app = Stage(RowList([Row(1, 0, "a"), Row(2, 0, "b", GIB, 5, partial=True)]))
    async with app.run_test(size=(80, 24)):
        lines = screen_of(app.tree_)
        assert lines[1].split()[:3] == ["▶", "…", "…"]
        assert "1.0 GiB+" in lines[2]
        assert "5+" in lines[2]


async def test_the_sorted_column_is_marked() -> None:
    app = Stage(rows([1]))
    async with app.run_test(size=(80, 24)) as pilot:
        headings = Headings(size="APPARENT", name="DIRECTORY", sorted_by="name", descending=False)
        app.tree_.set_headings(headings)
        await pilot.pause()
        header = screen_of(app.tree_)[0]
        assert "DIRECTORY ↑" in header
        assert "APPARENT " in header


@pytest.mark.parametrize("width", [*range(24, 80, 5), 79, 80, 100, 120])
@pytest.mark.parametrize("depth", [0, 3, 40, 4000])
def test_every_row_is_as_wide_as_its_columns(width: int, depth: int) -> None:
    columns = Columns.for_width(width)
    row = Row(1, depth, "日" * 300, 2**70, 10**10 - 1, 0.3, "pending-removal", True, True, True)
    assert parts_width(row_parts(row, columns, UNICODE, True)) >= width
    if columns.name >= 16:
        assert parts_width(row_parts(row, columns, UNICODE, False)) == width
        assert parts_width(header_parts(columns, Headings(), UNICODE)) == width
        assert cell_len(branch(row, columns, UNICODE)) <= columns.name - 10


async def test_a_deep_row_keeps_room_for_its_name() -> None:
    app = Stage(RowList([Row(1, 300, "checkpoints", 1, 1, expandable=True)]))
    async with app.run_test(size=(80, 24)):
        assert "300›▸ checkpoints" in screen_of(app.tree_)[1]


async def test_ascii_draws_nothing_but_ascii() -> None:
    app = Stage(
        RowList(
            [
                Row(1, 0, "containers", 5 * GIB, None, 0.3, "running", True, True, True, True),
                Row(2, 30, "x" * 200, None, 9, 1.0, "pending-removal", True),
            ]
        ),
        ascii=True,
    )
    async with app.run_test(size=(120, 36)) as pilot:
        app.query_one(HeadroomBar).update_headroom(b"/" + b"d" * 300, FULL)
        app.query_one(StatusLine).update_progress("s" * 300)
        await pilot.pause()
        for widget in (app.tree_, app.query_one(HeadroomBar), app.query_one(StatusLine)):
            assert "".join(screen_of(widget)).isascii()
        assert cursor_line(app.tree_, "*") == 1


async def test_the_cursor_is_seen_without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = Stage(rows([1, 2, 3]))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("j")
        assert cursor_line(app.tree_) == 2
        selected = list(app.tree_.render_line(2))
        assert all(segment.style is not None and segment.style.reverse for segment in selected)
        other = list(app.tree_.render_line(1))
        assert not any(segment.style is not None and segment.style.reverse for segment in other)


@pytest.mark.parametrize("theme", [themes.CALM.name, themes.HIGH_CONTRAST.name])
async def test_every_text_contrasts_with_its_ground(theme: str) -> None:
    """WCAG 2.1: 4.5 for the calm theme, 7 for the one of high contrast."""
    wanted = 7.0 if theme == themes.HIGH_CONTRAST.name else 4.5
    tones = ["", "warn", "danger", "dim"]
    app = Stage(
        RowList([Row(n, 1, "name", 5, 5, 0.0, "state", True, tone=t) for n, t in enumerate(tones)])
    )
    async with app.run_test(size=(120, 36)) as pilot:
        app.theme = theme
        await pilot.pause()
        for y in range(5):
            for segment in app.tree_.render_line(y):
                if not segment.text.strip():
                    continue
                assert segment.style is not None
                assert segment.style.color is not None
                assert segment.style.bgcolor is not None
                ink, ground = (
                    luminance(*color.get_truecolor())
                    for color in (segment.style.color, segment.style.bgcolor)
                )
                ratio = (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05)
                assert ratio >= wanted, f"{segment.text!r} has a contrast of {ratio:.1f}"


def luminance(red: int, green: int, blue: int) -> float:
    """Relative luminance (WCAG 2.1, definition)."""

    def linear(channel: int) -> float:
        part = channel / 255
        return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4

    return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)


# -- the other widgets -----------------------------------------------------------------------
