"""What a terminal may send, byte by byte: text, keys and noise."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.events import AppFocus, Key, MouseMove, Paste, Resize
from textual.message import Message
from textual.messages import TerminalSupportsSynchronizedOutput

from app.terminal.keyboard import Keyboard
from app.terminal.typed import TypedText

NOISE = [
    b"\xe4",  # a Latin-1 letter
    b"\xe1",  # Alt+a, 8-bit
    b"\xff",
    b"\x9b",  # CSI, 8-bit
    b"\xc2\x9b",  # the same in UTF-8
    b"\x00",
    b"\xc3",  # half a character
    b"\xf0\x9f\x98",
    b"\xc0\xaf",  # overlong
    b"\xe0\x80\xaf",
    b"\xed\xa0\x80",  # a surrogate
    b"\xed\xb0\x80",
    b"\xf4\x90\x80\x80",  # beyond Unicode
    b"\xfe\xfe\xff\xff",
    b"\x1b[M \xe4\x21",  # X10 mouse, column 196
    b"\x1b[M  d",
    b"\x1b[M\x1b[M",
    b"\x1b]11;rgb:dddd/dddd/dddd\x07",
    b"\x1b]11;rgb:dddd/dddd/dddd\x1b\\",
    b"\x1bP>|term d q\x1b\\",
    b"\x1b_Gd\x1b\\",
    b"\x1b[?62;22;52c",
    b"\x1b[>41;354;0c",
    b"\x1b[?2048;2$y",
    b"\x1b[?1u",
    b"\x1b[48;0;0;0;0t",
    b"\x1b[48;24;80;999999;999999t",
]


def keys(messages: list[Message]) -> list[str]:
    return [it.key for it in messages if isinstance(it, Key)]


def typed(*pieces: bytes) -> str:
    text = TypedText()
    return "".join(text.feed(piece) for piece in pieces)


@pytest.mark.parametrize("noise", NOISE, ids=repr)
def test_noise_is_left_out_and_what_comes_behind_it_counts(noise: bytes) -> None:
    keyboard = Keyboard()
    assert keys(keyboard.feed(b"a" + noise + b"j")) == ["a", "j"]
    assert keys(keyboard.feed(b"k")) == ["k"]


@pytest.mark.parametrize("noise", NOISE, ids=repr)
def test_noise_in_pieces_is_left_out_too(noise: bytes) -> None:
    for at in range(1, len(noise)):
        keyboard = Keyboard()
        heard = keys([*keyboard.feed(b"a" + noise[:at]), *keyboard.feed(noise[at:] + b"j")])
        assert heard == ["a", "j"], (noise[:at], noise[at:])


@pytest.mark.parametrize(
    ("sent", "heard"),
    [
        ("ä".encode(), ["ä"]),
        ("語".encode(), ["語"]),
        (b"\x1b[A\x1b[B", ["up", "down"]),
        (b"\x1bOP", ["f1"]),
        (b"\x1b[15~", ["f5"]),
        (b"\x1b[1;5C", ["ctrl+right"]),
        (b"\x1b[Z", ["shift+tab"]),
        (b"\x1b[106;1;106u", ["j"]),  # kitty
        (b"\x11\x03\x1a\r", ["ctrl+q", "ctrl+c", "ctrl+z", "enter"]),
    ],
)
def test_keys_are_keys_however_they_are_torn_apart(sent: bytes, heard: list[str]) -> None:
    for at in range(len(sent)):
        keyboard = Keyboard()
        assert keys([*keyboard.feed(sent[:at]), *keyboard.feed(sent[at:])]) == heard


def test_what_else_a_terminal_says_arrives() -> None:
    messages = Keyboard().feed(b"\x1b[I\x1b[<35;10;5M\x1b[?2026;2$y\x1b[200~one\ntwo\x1b[201~j")
    kinds = [AppFocus, MouseMove, TerminalSupportsSynchronizedOutput, Paste, Key]
    assert [type(it) for it in messages] == kinds


def test_an_escape_alone_is_a_key_after_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    keyboard = Keyboard()
    assert keys(keyboard.feed(b"\x1b")) == []
    monkeypatch.setattr("textual._parser.get_time", lambda: 1e12)
    assert keys(keyboard.idle()) == ["escape"]
    monkeypatch.undo()
    assert keys(keyboard.feed(b"]j")) == ["right_square_bracket", "j"]


def test_alt_and_a_key_that_begins_a_sequence() -> None:
    text = TypedText()
    assert text.feed(b"\x1b]") == ""
    assert text.idle() == "\x1b]"
    assert text.feed(b"\x1b]11;rgb:d") == ""
    assert text.idle() == ""
    assert text.feed(b"j") == "j"


@pytest.mark.parametrize(
    "inside",
    [
        b"\x1b[31mdddd\x1b[0m" + b"d" * 40,
        b"\x1b]0;d\x07d" + b"q" * 40,
        b"\x1b" * 40 + b"dq",
        b"\x1b[48;9;9;9;9td",
        b"\xe4\xff\x00d",
    ],
)
def test_nothing_that_is_pasted_is_a_key(inside: bytes) -> None:
    sent = b"\x1b[200~" + inside + b"\x1b[201~j"
    for at in range(len(sent)):
        keyboard = Keyboard()
        messages = [*keyboard.feed(sent[:at]), *keyboard.feed(sent[at:])]
        assert keys(messages) == ["j"], at
        assert [type(it) for it in messages] == [Paste, Key], at


@pytest.mark.parametrize(
    "sent",
    [
        b"\x1b[99999999999;1u",
        b"\x1b[1;1:3;5u",
        b"\x1b[1114112;;1114112u",
        b"\x1b[1;1;1114112u",
        b"\x1b[55296;;55296u",
    ],
)
def test_what_textuals_parser_raises_on_is_no_key(sent: bytes) -> None:
    keyboard = Keyboard()
    for message in keyboard.feed(sent):
        assert isinstance(message, Key)
        (message.character or "").encode()
    assert keys(keyboard.feed(b"\x1b[A"))[-1:] == ["up"]


def test_textuals_parser_is_as_it_was() -> None:
    """What app.terminal.keyboard leans on; of Textual 8.2.8, and private."""
    from textual._xterm_parser import XTermParser  # noqa: PLC0415 - it is what is looked at

    parser = XTermParser()
    assert parser.mouse_pixels is False
    assert [type(it) for it in parser.feed("\x1b[48;1;2;3;4t")] == [Resize]
    assert parser.mouse_pixels is True, "why sizes are not left to it"
    assert list(XTermParser().feed("\x1b[G")) == [], "what is sent for noise"
    with pytest.raises((ValueError, OverflowError)):
        list(XTermParser().feed("\x1b[99999999999;1u"))


pieces = st.lists(
    st.one_of(
        st.binary(max_size=12),
        st.sampled_from([*NOISE, b"\x1b", b"\x1b[", b"\x1b[200~", b"\x1b[201~", b"\x1b]", b"M"]),
        st.text(max_size=4).map(lambda it: it.encode("utf-8", "surrogatepass")),
        st.from_regex(rb"\x1b\[[<?>=]?[0-9;:]{0,12}[ -/]?[@-~]", fullmatch=True),
    ),
    max_size=12,
)


@given(pieces, st.data())
@settings(max_examples=600, deadline=None)
def test_no_bytes_raise_and_none_makes_it_deaf(sent: list[bytes], data: st.DataObject) -> None:
    keyboard = Keyboard()
    for piece in sent:
        messages = keyboard.feed(piece)
        if data.draw(st.booleans()):
            messages += keyboard.idle()
        for message in messages:
            assert not isinstance(message, Resize)
            if isinstance(message, Key):
                (message.character or "").encode()
    # A paste that never ends swallows keys by its nature; an end of it, and a moment, and it hears.
    for tail in (b"\x1b[201~", b""):
        keyboard.feed(tail)
        keyboard.idle()
    assert keys(keyboard.feed(b"\x18\x07\x1b\\\x1b[A"))[-1:] == ["up"]


@given(st.text(), st.lists(st.integers(0, 400), max_size=6))
@settings(max_examples=300, deadline=None)
def test_text_arrives_wherever_it_is_cut(text: str, cuts: list[int]) -> None:
    text = "".join(it for it in text if it != "\x1b" and it not in _NEVER)
    data = text.encode()
    places = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    parts = [data[a:b] for a, b in itertools.pairwise(places)]
    assert typed(*parts) == text


_NEVER = {chr(code) for code in (0, *range(0x80, 0xA0))}
