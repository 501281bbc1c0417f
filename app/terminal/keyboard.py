"""From the bytes of a terminal to Textual's messages: keys, pastes, mouse, focus."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

# Private, of Textual 8.2.8, which has no other parser of keys. tests/unit/test_typed.py holds what
# is used of it: feed, tick, mouse_pixels, and that it may raise.
from textual._xterm_parser import XTermParser
from textual.events import Key, Resize
from textual.message import Message

from app.terminal.typed import TypedText


class Keyboard:
    """Turns what is read into messages. Nothing raises, whatever the bytes are."""

    def __init__(self) -> None:
        self._text = TypedText()
        self._parser = XTermParser()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that these bytes complete."""
        return self._parsed(self._text.feed(data))

    def idle(self) -> list[Message]:
        """Call it when nothing was typed for a moment: an escape alone is a key then."""
        return [*self._parsed(self._text.idle()), *self._step(self._parser.tick)]

    def _parsed(self, text: str) -> list[Message]:
        # One by one: what the parser raises on is lost, and nothing behind it.
        return [it for character in text for it in self._step(partial(self._feed, character))]

    def _feed(self, character: str) -> Iterable[Message]:
        return self._parser.feed(character)

    def _step(self, step: Callable[[], Iterable[Message]]) -> list[Message]:
        messages: list[Message] = []
        try:
            for message in step():
                if self._is_sound(message):
                    messages.append(message)
        except Exception:  # a number that is none, a character beyond Unicode: its state is lost
            self._parser = XTermParser()
        return messages

    def _is_sound(self, message: Message) -> bool:
        if isinstance(message, Resize):
            # The kernel tells the size (SIGWINCH); nobody asked the terminal to.
            self._parser.mouse_pixels = False
            return False
        if isinstance(message, Key):
            return not any("\ud800" <= it <= "\udfff" for it in message.character or "")
        return True
