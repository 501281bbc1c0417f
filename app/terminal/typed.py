"""From the bytes of a terminal to characters that can be keys. Anything else is left out.

Bytes come from outside: a Latin-1 keyboard, 8-bit Alt (xterm's ``eightBitInput``), a mouse report
of the old form, the late answer to a question of another program, a line that breaks characters.
None of them may end the explorer, and none may count as keys: ``d`` deletes.
"""

from __future__ import annotations

import codecs
import re

_ESCAPE = b"\x1b"
_PASTE_ENDS = b"\x1b[201~"

#: What Textual drops without a word (8.2, ``_ansi_sequences``), less its first character.
_IGNORED = b"[G"

#: What is longer is no answer of a terminal; nothing is held back for ever.
_MOST = 4096

#: Control sequences as XTerm's (ctlseqs) and ECMA-48 have them. ``noise`` is a mouse report of X10
#: (three bytes follow, of any value), a string (OSC, DCS, APC, PM, SOS) up to its end, or a
#: terminal's answer (a private parameter); only that on synchronised output was asked for.
_SEQUENCE = re.compile(
    rb"""
      (?P<paste> \x1b\[200~ )
    | (?P<noise> \x1b\[M[\x00-\xff]{3}
               | \x1b[]P_^X] [^\x07\x1b\x18\x1a]* (?: \x07 | \x1b\\ | [\x18\x1a] )
               | \x1b\[ (?! \?2026;[0-9]\$y ) [?>=] [0-9;:]* [\x20-\x2f]* [@-~] )
    | (?P<begun> (?: \x1b\[M[\x00-\xff]{0,2}
               | \x1b[]P_^X] [^\x07\x1b\x18\x1a]* \x1b?
               | \x1b\[ (?: [?>=] [0-9;:]* [\x20-\x2f]* )?
               | \x1b\[20?0? ) \Z )
    """,
    re.VERBOSE,
)

#: Characters that no key makes: NUL and the C1 controls (ISO 6429).
_NO_KEYS = {0: None, **dict.fromkeys(range(0x80, 0xA0))}


class TypedText:
    """Decodes what is typed, piece by piece. Nothing raises; what is no UTF-8 is left out."""

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("ignore")
        self._held = b""  # what may be the begin of a sequence, or of the end of a paste
        self._given = False  # whether the first byte of it, an escape, was given out already
        self._pasting = False

    def feed(self, data: bytes) -> str:
        """The characters that these bytes complete."""
        self._held += data
        out = bytearray()
        while self._held and (self._pasted if self._pasting else self._typed)(out):
            pass
        return self._utf8.decode(bytes(out)).translate(_NO_KEYS)

    def idle(self) -> str:
        """Nothing has come for a while: what was held back is an Alt and a key, or no answer."""
        if self._pasting:
            return ""
        held, self._held = self._held, b""
        given, self._given = self._given, False
        return held.decode("ascii", "ignore") if len(held) == 2 and not given else ""

    def _typed(self, out: bytearray) -> bool:
        """One step outside of a paste; whether there is more to do."""
        found = _SEQUENCE.search(self._held)
        if found is None:
            alone = self._held.endswith(_ESCAPE)  # the key, or a sequence that was torn apart
            self._take(len(self._held), out)
            self._held, self._given = (_ESCAPE, True) if alone else (b"", False)
            return False
        if found.start():
            self._take(found.start(), out)
            return True
        if found["begun"] is not None:
            if len(self._held) > _MOST:
                self._held, self._given = b"", False
            return False
        self._take(found.end(), out, given_out=found["paste"] is not None)
        self._pasting = found["paste"] is not None
        return True

    def _take(self, length: int, out: bytearray, *, given_out: bool = True) -> None:
        """Move that much on, or away."""
        part, self._held = self._held[:length], self._held[length:]
        if self._given:
            out += part[1:] if given_out else _IGNORED
            self._given = False
        elif given_out:
            out += part

    def _pasted(self, out: bytearray) -> bool:
        """One step inside of a paste: a sequence in it is text, and must not end as keys."""
        text, end, rest = self._held.partition(_PASTE_ENDS)
        if not end:
            text, rest = _split_at_begin_of(_PASTE_ENDS, self._held)
        out += text.replace(_ESCAPE, b"") + end
        self._held, self._pasting = rest, not end
        return bool(end)


def _split_at_begin_of(mark: bytes, data: bytes) -> tuple[bytes, bytes]:
    """Data up to where the mark may begin at its end, and the rest."""
    for length in range(min(len(mark) - 1, len(data)), 0, -1):
        if mark.startswith(data[-length:]):
            return data[:-length], data[-length:]
    return data, b""
