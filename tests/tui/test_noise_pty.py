"""Bytes that are no keys, on a real terminal: they are ignored, and those behind them count."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

from tests.tui.tty import Tty, explorer
from tests.unit.test_typed import NOISE

#: Not among what is made up: they quit, suspend, or open a paste that never ends.
LEFT_OUT = (b"q", b"\x11", b"\x1a", b"\x1b[200~")


def leave(it: Tty) -> None:
    it.press("\x11")
    assert it.end() == 0
    assert it.changed() == []
    assert b"Traceback" not in it.sent


def test_every_noise_is_ignored_and_the_key_behind_it_counts(sample: Path) -> None:
    with Tty(explorer(sample)) as it:
        it.see("scanned")
        it.press("/")
        it.see("filter:")
        letters = "".join(chr(ord("A") + number) for number in range(len(NOISE)))
        for noise, letter in zip(NOISE, letters, strict=True):
            it.press(noise + letter.encode())
        it.press(b"\xa0\xb3\xff" * 1000 + b"z")
        it.see(f"{letters}z")
        leave(it)


def test_half_a_character_at_the_end_of_a_read(sample: Path) -> None:
    with Tty(explorer(sample)) as it:
        it.see("scanned")
        it.press("/")
        it.see("filter:")
        for piece in (b"a\xc3", b"\xa4b\xe4", b"c\xf0\x9f", b"\x90\xb3", b"d"):
            it.press(piece)
            time.sleep(0.2)
        it.see("aäbc")
        leave(it)


def made_up(seed: int, strings: int) -> Iterator[bytes]:
    """Random strings: of all bytes, of bytes that are no ASCII, of what begins like a sequence."""
    chance = random.Random(seed)
    kinds = [
        lambda: chance.randbytes(chance.randrange(1, 40)),
        lambda: bytes(chance.randrange(0x80, 0x100) for _ in range(chance.randrange(1, 40))),
        lambda: b"\x1b[" + chance.choice([b"", b"<", b"?", b"M"]) + chance.randbytes(8),
        lambda: (
            b"\x1b[<%d;%d;%dM"
            % (chance.randrange(200), chance.randrange(10**6), chance.randrange(10**6))
        ),
        lambda: b"\x1b[%d;%d:%du" % (chance.randrange(10**7), chance.randrange(99), 3),
    ]
    for _ in range(strings):
        made = chance.choice(kinds)()
        while any(it in made for it in LEFT_OUT):
            for it in LEFT_OUT:
                made = made.replace(it, b"")
        yield made


def test_a_thousand_random_strings_do_not_end_it(sample: Path) -> None:
    with Tty(explorer(sample, "--read-only")) as it:
        it.see("scanned")
        for number, made in enumerate(made_up(1, 1000)):
            it.press(made)
            it.read(0.0)
            if not number % 50:
                it.press(b"\x1b" * 3)
                it.read(0.05)
            assert it.process.poll() is None, made
        it.press(4096 * b"\xfe")
        it.until(lambda: True)
        leave(it)


def test_random_bytes_in_one_piece_never_end_in_a_traceback(sample: Path) -> None:
    with Tty(explorer(sample, "--read-only")) as it:
        it.see("scanned")
        it.press(random.Random(8).randbytes(4096))  # with all that quits and suspends
        it.read(1.0)
        if it.process.poll() is None:
            it.press(b"\x1b[201~" + b"\x11")
        assert it.end() == 0
        assert it.changed() == []
        assert b"Traceback" not in it.sent
