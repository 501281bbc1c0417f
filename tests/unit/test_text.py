"""Names are hostile; figures are for people."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from app import text

NASTY = [
    b"\x1b]52;c;aGk=\x07",
    b"\x9b31m",
    b"\xc2\x9b31m",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    "\u202eexe.txt\u202c\u2066\u200f\u061c".encode(),
    b"a\nb\r\tc\x00\x7f",
    "e\u0301\u0302\u0303\u0304".encode(),
    "\u0301start".encode(),
    "\u200b\u200d\ufeff\u2060\u3164\u115f\u2800\ufe0f".encode(),
    "\ue000\U000e0001\U0010ffff\u0378".encode(),
    b"\xe2\x80",
]

anything = st.one_of(
    st.binary(),
    st.text(),
    st.text(st.characters(categories=["Cs", "Cc", "Cf", "Co", "Cn", "Mn", "Mc", "Me", "Z"])),
    st.sampled_from(NASTY),
)


def assert_drawable(drawn: str) -> None:
    marks = 0
    for character in drawn:
        category = unicodedata.category(character)
        assert category[0] != "C", f"{character!r} is a control, format or no letter at all"
        assert category[0] != "Z" or character == " ", f"{character!r} is no plain space"
        marks = marks + 1 if category[0] == "M" else 0
        assert marks <= 2
        assert cell_len(character) > 0 or category == "Mn"
    assert not drawn or unicodedata.category(drawn[0])[0] != "M"
    assert drawn.splitlines() in ([], [drawn])
    drawn.encode("utf-8")


@given(anything)
@example(b"\x1b[31m")
@example("\u202e")
def test_whatever_comes_in_only_drawable_characters_come_out(value: bytes | str) -> None:
    assert_drawable(text.safe(value))


@given(anything, st.integers(0, 60))
def test_a_width_is_kept_in_cells(value: bytes | str, width: int) -> None:
    drawn = text.safe(value, width)
    assert_drawable(drawn)
    assert cell_len(drawn) <= width
    if cell_len(text.safe(value)) <= width:
        assert drawn == text.safe(value)
    elif width:
        assert drawn.endswith("…")


@given(st.binary(), st.binary())
@example(b"\x1b", b"\\x1b")
@example(b"\x85", b"\xc2\x85")
@example(b"\\", b"\\\\")
def test_names_that_differ_still_differ_when_drawn(one: bytes, other: bytes) -> None:
    assert (text.safe(one) == text.safe(other)) == (one == other)


@given(st.binary())
def test_a_decoded_name_reads_like_its_bytes(name: bytes) -> None:
    assert text.safe(os.fsdecode(name)) == text.safe(name)


@pytest.mark.parametrize(
    ("value", "drawn"),
    [
        (b"\x1b[31mred", r"\x1b[31mred"),
        ("a\u202eb", r"a\u202eb"),
        (b"\xff", r"\xff"),
        (b"\x9b", r"\x9b"),
        ("\x9b", r"\u009b"),
        ("two\nlines", r"two\nlines"),
        ("[/nope]", "[/nope]"),
        ("[@click=app.bell]x[/]", "[@click=app.bell]x[/]"),
        (r"dev-disk\x2d", r"dev-disk\\x2d"),
        ("\U000e0001", r"\U000e0001"),
        ("e\u0301\u0302\u0303", "e\u0301\u0302\\u0303"),
        ("❤\ufe0f 🇩🇪 👍🏽", r"❤\ufe0f \U0001f1e9\U0001f1ea 👍\U0001f3fd"),
        ("\u3164\u2800\u115f\uffa0\u034f\u00ad", r"\u3164\u2800\u115f\uffa0\u034f\u00ad"),
        ("\u093e\u20dd", r"\u093e\u20dd"),
        ("\xa0\u3000", r"\u00a0\u3000"),
        ("naïve 日本語 😀", "naïve 日本語 😀"),
        (b"plain-name_1.0", "plain-name_1.0"),
        (b"", ""),
    ],
)
def test_what_an_operator_reads(value: bytes | str, drawn: str) -> None:
    assert text.safe(value) == drawn


@given(st.text("a日é😀\u0301", max_size=40), st.integers(0, 30))
def test_a_path_cut_at_its_start_keeps_its_end(value: str, width: int) -> None:
    drawn = text.safe(value)
    cut = text.fit_end(drawn, width)
    assert cell_len(cut) <= width
    assert drawn.endswith(cut.removeprefix("…"))


@given(st.text("ab日😀 ", max_size=60), st.integers(2, 20))
def test_folding_loses_nothing_and_keeps_the_width(value: str, width: int) -> None:
    lines = text.wrapped(value, width)
    assert "".join(lines).replace(" ", "") == value.replace(" ", "")
    assert all(cell_len(line) <= width for line in lines)


def test_sentences_fold_between_words_and_ids_anywhere() -> None:
    assert text.wrapped("named by layerdb and by the engine", 18) == [
        "named by layerdb",
        "and by the engine",
    ]
    assert text.wrapped("0123456789abcdef", 10) == ["0123456789", "abcdef"]


@given(st.floats(-1, 2), st.integers(0, 40), st.booleans())
def test_a_bar_is_as_wide_as_asked(share: float, width: int, ascii: bool) -> None:
    drawn = text.bar(share, width, ascii)
    assert cell_len(drawn) == width
    assert not ascii or drawn.isascii()
    full = text.gauge(share, width + 2, ascii)
    assert cell_len(full) == width + 2


def test_bars() -> None:
    assert text.bar(1, 4) == "████"
    assert text.bar(0.625, 4) == "██▌ "
    assert text.bar(0.0001, 4) == "▏   "
    assert text.bar(0, 4) == "    "
    assert text.bar(0.5, 4, ascii=True) == "##  "
    assert text.gauge(0.82, 12) == "[████████░░]"
    assert text.gauge(0.5, 6, ascii=True) == "[##--]"


@pytest.mark.parametrize(
    ("n", "drawn"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (19_541_760_000, "18.2 GiB"),
        (12 * 1024**4, "12.0 TiB"),
    ],
)
def test_sizes_in_words(n: int, drawn: str) -> None:
    assert text.size(n) == drawn


@given(st.integers(0, 2**70))
@example(1024**3 - 1)
def test_sizes_fit_their_column(n: int) -> None:
    assert len(text.size(n)) <= 10


def test_counts() -> None:
    assert text.count(2_600_000) == "2,600,000"
    assert text.short_count(999) == "999"
    assert text.short_count(412_331) == "412k"
    assert text.short_count(30_100_000) == "30.1M"
    assert text.short_count(999_999) == "1.0M"


@given(st.integers(0, 10**15))
def test_a_short_count_is_short(n: int) -> None:
    assert len(text.short_count(n)) <= 5


def test_percent_rounds_up_as_df_does() -> None:
    assert text.percent(1, 999) == 1
    assert text.percent(801, 199) == 81
    assert text.percent(0, 0) == 0


def test_ids() -> None:
    full = "3f9c12ab04de" + "0" * 52
    assert text.short_id(full) == "3f9c12ab04de"
    assert text.short_id(f"sha256:{full}") == "3f9c12ab04de"
    assert text.short_id(f"{full}-init") == "3f9c12ab04de-init"
    assert text.short_id("vz4wl1r4bsj9z7bnvrqdwz1a6") == "vz4wl1r4bsj9z7bnvrqdwz1a6"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (12.9, "12 s"), (240, "4 min"), (7200, "2 h"), (4 * 86400, "4 d"), (9e7, "2 y")],
)
def test_ages(seconds: float, words: str) -> None:
    assert text.age(seconds) == words


# --- commands -------------------------------------------------------------------------------------


def test_a_command_is_shown_as_it_is_typed() -> None:
    typed = r"rm -rf -- $'/x/\x1b[31m' 'a\\b' /y/日本"
    assert text.command(typed) == typed


@given(anything)
def test_a_command_is_safe_to_draw(value: bytes | str) -> None:
    raw = os.fsdecode(value) if isinstance(value, bytes) else value
    drawn = text.command(raw)
    assert_drawable(drawn)
    assert drawn in (raw, text.safe(raw))
