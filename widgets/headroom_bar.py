"""One line: how full a filesystem is, in bytes and in inodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.strip import Strip
from textual.widget import Widget

from app import text
from app.model import Headroom
from widgets.painting import Part, parts_width, strip_of

LOW = 90
FILLING = 80
PATH_ROOM = 12


def pressure_word(percent: int) -> str:
    """The word for a filesystem this full: "LOW" from 90 %, "FILLING" from 80 %, else ""."""
    return "LOW" if percent >= LOW else "FILLING" if percent >= FILLING else ""


@dataclass(frozen=True, slots=True)
class _Detail:
    """How much of the line is spelled out; tried from the fullest to the shortest."""

    filesystem: bool
    figures: bool
    gauge: int


_DETAILS = (
    _Detail(filesystem=True, figures=True, gauge=12),
    _Detail(filesystem=False, figures=True, gauge=12),
    _Detail(filesystem=False, figures=True, gauge=7),
    _Detail(filesystem=False, figures=True, gauge=0),
    _Detail(filesystem=False, figures=False, gauge=0),
)


class HeadroomBar(Widget):
    """Path, filesystem, and a gauge with percent and a word for bytes and for inodes."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "headroom-bar--text",
        "headroom-bar--path",
        "headroom-bar--dim",
        "headroom-bar--calm",
        "headroom-bar--filling",
        "headroom-bar--low",
    }

    DEFAULT_CSS = """
    HeadroomBar {
        height: 1;
        & > .headroom-bar--path { text-style: bold; }
        & > .headroom-bar--dim { color: $text-muted; }
        & > .headroom-bar--calm { color: $primary; }
        & > .headroom-bar--filling { color: $text-warning; text-style: bold; }
        & > .headroom-bar--low { color: $text-error; text-style: bold; }
    }
    """

    def __init__(
        self, *, ascii: bool = False, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._ascii = ascii
        self._path: bytes = b""
        self._headroom: Headroom | None = None

    def update_headroom(self, path: bytes, headroom: Headroom | None) -> None:
        """Show the filesystem that ``path`` is on; None while it is not known."""
        self._path = path
        self._headroom = headroom
        self.refresh()

    def render_line(self, y: int) -> Strip:
        parts = self._parts(self.size.width) if y == 0 else []
        return strip_of(
            parts,
            self.size.width,
            lambda name: self.get_component_rich_style(f"headroom-bar--{name}"),
        )

    def _parts(self, width: int) -> list[Part]:
        path = text.safe(self._path[-1024:])  # the end says most
        width -= 2  # a cell of margin at either end
        if self._headroom is None:
            return [(" ", "text"), (text.fit_end(path, width, self._ellipsis), "path")]
        tail: list[Part] = []
        room = 0
        # The path shrinks before anything else is left out.
        for detail in _DETAILS:
            tail = self._tail(self._headroom, detail)
            room = width - parts_width(tail)
            if room >= min(len(path), PATH_ROOM):
                break
        return [(" ", "text"), (text.fit_end(path, max(0, room), self._ellipsis), "path"), *tail]

    def _tail(self, headroom: Headroom, detail: _Detail) -> list[Part]:
        parts: list[Part] = []
        if detail.filesystem:
            device = text.safe(headroom.device.rsplit("/", 1)[-1], 24, self._ellipsis)
            parts.append((f"  {text.safe(headroom.fstype, 12, self._ellipsis)} {device}", "dim"))
        total = headroom.bytes_used + headroom.bytes_free
        parts += self._measure(
            "bytes",
            _of(_brief(headroom.bytes_used), _brief(total)),
            text.percent(headroom.bytes_used, headroom.bytes_free),
            detail,
        )
        if headroom.inodes_total == 0:
            return [*parts, ("   inodes ", "dim"), ("no inode limit", "text")]
        total = headroom.inodes_used + headroom.inodes_free
        return parts + self._measure(
            "inodes",
            _of(text.short_count(headroom.inodes_used), text.short_count(total)),
            text.percent(headroom.inodes_used, headroom.inodes_free),
            detail,
        )

    def _measure(self, what: str, figures: str, percent: int, detail: _Detail) -> list[Part]:
        word = pressure_word(percent)
        tone = {"LOW": "low", "FILLING": "filling"}.get(word, "calm")
        parts: list[Part] = [(f"   {what} ", "dim")]
        if detail.figures:
            parts.append((f"{figures} ", "text"))
        if detail.gauge:
            parts.append((text.gauge(percent / 100, detail.gauge, self._ascii) + " ", tone))
        parts.append((f"{percent}%" + (f" {word}" if word else ""), tone))
        return parts

    @property
    def _ellipsis(self) -> str:
        return "~" if self._ascii else "…"


def _brief(n: int) -> str:
    """A size without the decimals that a gauge needs no more: ``412 GiB``."""
    number, unit = text.size(n).split(" ")
    return f"{float(number):.0f} {unit}" if float(number) >= 100 else f"{number} {unit}"


def _of(used: str, total: str) -> str:
    """``412/500 GiB``: a unit that both figures share is said once."""
    for cut in range(len(used)):
        unit = used[cut:]
        if not any(letter.isdigit() or letter == "." for letter in unit):
            return f"{used[:cut]}/{total}" if total.endswith(unit) else f"{used}/{total}"
    return f"{used}/{total}"
