"""The nodes above the single files: groups, containers, images, layers, volumes, folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum

from app.model import Container, ImageInfo, Layer, Store, Volume
from app.text import safe

Subject = Store | Container | ImageInfo | Layer | Volume | None


class What(str, Enum):
    """What a node stands for."""

    ROOT = "data root"
    GROUP = "group"
    CONTAINER = "container"
    IMAGE = "image"
    LAYER = "layer"
    VOLUME = "volume"
    FOLDER = "folder"
    FILES = "files"
    BLOBS = "blobs"


@dataclass(frozen=True, slots=True)
class Draft:
    """A node before it has a place: what a view is made of.

    ``name`` tells it from its siblings and stays the same from one survey to the next. ``units``
    are the scan units whose figures together are the node's. ``path`` is the directory that opens
    below it (empty: only its children do); ``inline`` names subdirectories of it whose entries
    stand beside its own. ``own_units`` are those that no other image shares (images only).
    """

    what: What
    name: str
    label: str | bytes
    units: tuple[bytes, ...] = ()
    own_units: tuple[bytes, ...] | None = None
    path: bytes = b""
    inline: tuple[bytes, ...] = ()
    state: str = ""
    tone: str = ""
    subject: Subject = None
    words: str = ""
    children: tuple[Draft, ...] = ()
    open_at_start: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """A draft in its place. ``key`` is positive and stays with the thing; ``parent`` 0 is none.

    ``title`` is the label as it sorts, ``search`` what the filter looks into; both case-folded.
    """

    key: int
    parent: int
    depth: int
    draft: Draft
    title: str = ""
    search: str = ""
    children: tuple[int, ...] = ()


@dataclass(slots=True)
class Keys:
    """Numbers for names, the same number for the same name for as long as the explorer runs."""

    numbers: dict[tuple[object, ...], int] = field(default_factory=dict)

    def of(self, *name: object) -> int:
        """The number of ``name``, from 1."""
        return self.numbers.setdefault(name, len(self.numbers) + 1)

    def known(self, *name: object) -> int:
        """The number of ``name``, 0 when it has none yet."""
        return self.numbers.get(name, 0)


@dataclass(frozen=True, slots=True)
class Skeleton:
    """All nodes of one view by key, and the keys of the topmost."""

    nodes: dict[int, Node]
    tops: tuple[int, ...]

    @classmethod
    def plant(cls, view: str, drafts: Iterable[Draft], keys: Keys) -> Skeleton:
        """Give every draft its key and its place."""
        planter = _Planter(keys)
        tops = tuple(planter.plant(draft, (view,), None) for draft in drafts)
        return cls(planter.nodes, tops)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())


class _Planter:
    """Turns drafts into nodes, from the top down."""

    def __init__(self, keys: Keys) -> None:
        self.nodes: dict[int, Node] = {}
        self._keys = keys

    def plant(self, draft: Draft, trail: tuple[str, ...], above: Node | None) -> int:
        """Make the node of ``draft`` and of everything below it; returns its key."""
        trail = (*trail, draft.name)
        key = self._keys.of(*trail)
        title = safe(draft.label).casefold()
        search = f"{title} {draft.state} {draft.words}".casefold()
        parent, depth = (above.key, above.depth + 1) if above else (0, 0)
        node = Node(key, parent, depth, draft, title, search)
        children = tuple(self.plant(child, trail, node) for child in draft.children)
        self.nodes[key] = replace(node, children=children)
        return key
