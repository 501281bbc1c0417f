"""What the workers tell the screen. They post, the screen handles; no worker touches a widget."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from app.discovery.request import Survey
from app.inventory import HotRow
from app.model import Headroom
from app.outline.levels import Level, Place
from app.scan.fingerprint import Mark
from app.scan.walk import Unit
from app.usage.order import Order


@dataclass
class Surveyed(Message):
    """Names are there: the data roots, cut into the units that are to be measured.

    ``marks`` are of those units that cannot change.
    """

    survey: Survey
    units: tuple[Unit, ...]
    marks: dict[bytes, Mark]


@dataclass
class CameOrWent(Message):
    """There are other units than those that are known."""


@dataclass
class Marked(Message):
    """The marks of units that cannot change and are to be measured again."""

    marks: dict[bytes, Mark]


@dataclass
class Listed(Message):
    """An opened directory is listed, or a part of it so far."""

    place: Place
    level: Level


@dataclass
class HeadroomRead(Message):
    """How full the filesystems are, by the path that was asked for."""

    by_path: dict[bytes, Headroom]


@dataclass
class HotFound(Message):
    """The fullest directories of what has been measured, in this order."""

    rows: tuple[HotRow, ...]
    order: Order


@dataclass
class Failed(Message):
    """There is nothing to show, and why, in one sentence."""

    sentence: str
