"""The explorer's tree without a screen: what is on it, what stands open, and what is visible.

Plain data for one thread. A row's key stays with its thing through sorting, filtering and new
figures (see :mod:`app.outline.visible`), so the cursor can stay on it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from app.host.identity import Identity
from app.model import Store, Usage
from app.outline.by_directory import by_directory
from app.outline.by_owner import by_owner
from app.outline.drawing import Setting, entry_row, node_row
from app.outline.levels import Level, Place
from app.outline.nodes import Draft, Keys, Node, Skeleton, What
from app.outline.opened import Anchor, Opened, OpenedLevels
from app.outline.selection import Marks
from app.outline.visible import Run, Span, Visible, entry_key, split_key
from app.rows import Row
from app.text import safe
from app.usage.figures import Figures
from app.usage.growth import Growth, Growths
from app.usage.order import Column, Order
from app.usage.units import parts_of, recorded_of

BY_OWNER, BY_DIRECTORY = "by owner", "by directory"
_VIEWS = {BY_OWNER: by_owner, BY_DIRECTORY: by_directory}


@dataclass(frozen=True, slots=True)
class Thing:
    """What a row is, for the details and the actions: its node, and the entry below it if any.

    ``trouble`` says why the opened directory shows less than it holds. ``root`` is the data root
    that it lies in. ``seen`` is what an entry was when it was listed, None for a node and where
    that could not be read.
    """

    node: Node
    path: bytes
    usage: Usage | None
    kind: str
    name: bytes = b""
    trouble: str = ""
    root: bytes = b""
    seen: Identity | None = None

    @property
    def identity(self) -> tuple[object, ...]:
        """What tells it from everything else; the same in both views."""
        draft = self.node.draft
        if not self.name and (draft.what in _NAMED or not self.path):
            return self.root, draft.what, draft.name
        return self.root, self.path, self.seen


#: These are what their id says, wherever they lie.
_NAMED = (What.CONTAINER, What.IMAGE, What.VOLUME)


class Outline:
    """Everything on the tree, and which of it is visible; a RowSource for the tree widget."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.view = BY_OWNER
        self.filter = ""
        self.figures = Figures()
        self.growths = Growths()
        self.watched = False
        self._fastest = b""
        self.marks = Marks()
        self._keys = Keys()
        self._stores: tuple[Store, ...] = ()
        self._units: tuple[bytes, ...] = ()
        self._skeleton = Skeleton({}, ())
        self._seen: set[int] = set()
        self._open_nodes: set[int] = set()
        self._levels = OpenedLevels()
        # While a filter is set: groups that it would open and the user has closed, and nodes and
        # levels that the user has opened since, below which every row is shown.
        self._shut: set[int] = set()
        self._followed: set[int] = set()
        self._expanded: set[int] = set()
        self._visible = Visible()

    # --- what is shown --------------------------------------------------------------------------

    def show(self, stores: Sequence[Store], units: Sequence[bytes]) -> None:
        """Take a new survey; rows that are still there keep their keys and stay open."""
        self._stores, self._units = tuple(stores), tuple(sorted(units))
        self.figures.keep_only(self._units)
        self.figures.know(parts_of(stores), recorded_of(stores))
        self.growths.keep_only(self._units)
        self._levels.keep_only(frozenset(self._units))
        self._plant()

    def switch_view(self, key: int | None = None) -> int | None:
        """The other view of the same data; returns the row there that is what ``key`` was here."""
        thing = self.thing(key) if key is not None else None
        self.view = BY_DIRECTORY if self.view == BY_OWNER else BY_OWNER
        self._plant()
        twin = self._twin(thing) if thing else None
        if twin is not None:
            self.reveal(twin)
        return twin

    def _twin(self, thing: Thing) -> int | None:
        """The node of this view with the directory of ``thing``, or of the first thing in it."""
        draft = thing.node.draft
        if draft.what in (What.GROUP, What.ROOT):
            return None
        paths = dict.fromkeys((draft.path, *draft.units[:1]))
        by_path: dict[bytes, int] = {}
        for node in self._skeleton:
            by_path.setdefault(node.draft.path, node.key)
        return next((by_path[path] for path in paths if path and path in by_path), None)

    def _plant(self) -> None:
        drafts = _VIEWS[self.view](self._stores, self._units)
        self._skeleton = Skeleton.plant(self.view, drafts, self._keys)
        for node in self._skeleton:
            if node.draft.open_at_start and node.key not in self._seen:
                self._open_nodes.add(node.key)
            self._seen.add(node.key)
        self.refresh()

    def refresh(self) -> None:
        """Sort, filter and line up again: after new figures, another order, another filter."""
        self._expanded = set()
        self._fastest = self.growths.fastest(self.order) if self.watched else b""
        runs: list[Run] = []
        for key in self._sorted_nodes(self._skeleton.tops):
            runs += self._branch(key, self.filter)
        self._visible = Visible.of(runs)

    def sort(self, order: Order) -> None:
        """Another order."""
        self.order = order
        self.refresh()

    def watch(self, watched: bool) -> None:
        """While watched, rows show their growth, and what grows comes first, the fastest on top.

        Rows that are sorted by name stay so.
        """
        self.watched = watched
        self.refresh()

    def narrow(self, words: str) -> None:
        """Show only rows that hold ``words`` (any case), and the rows above them."""
        self.filter = words.casefold()
        self._shut.clear()
        self._followed.clear()
        self.refresh()

    def matches(self, key: int) -> bool:
        """Whether the row itself holds the filter's words."""
        node = self._skeleton.nodes.get(key)
        found = self._levels.entry(key)
        if found:
            return self.filter in safe(found[1].names[found[2]]).casefold()
        return node is not None and self.filter in node.search

    def first_match(self) -> int | None:
        """The first row that itself holds the filter's words."""
        keys = (self.key_at(index) for index in range(len(self)))
        return next(filter(self.matches, keys), None)

    # --- opening --------------------------------------------------------------------------------

    def open(self, key: int) -> Place | None:
        """Open a row. Returns the directory whose entries are wanted, if they are not there yet."""
        node = self._skeleton.nodes.get(key)
        found = self._levels.entry(key)
        if node:
            self._shut.discard(key)
            self._open_nodes.add(key)
            self._follow(key)
            place = _place_of(node.draft)
            opened = Opened(place, key, node.depth + 1) if place else None
        elif found:
            outer, level, index = found
            place = Place(os.path.join(level.path, level.names[index]), outer.place.unit)
            opened = Opened(place, outer.node, outer.depth + 1)
        else:
            return None  # gone since the key was pressed
        if opened:
            number = self._keys.of("level", opened.node, opened.place.path)
            self._follow(number)
            opened = self._levels.open(number, opened)
        self.refresh()
        return opened.place if opened and not opened.is_listed else None

    def _follow(self, number: int) -> None:
        if self.filter:
            self._followed.add(number)

    def close(self, key: int) -> None:
        """Close a row; what was listed below it is forgotten."""
        self._open_nodes.discard(key)
        self._followed.discard(key)
        if self.filter:
            self._shut.add(key)
        number = self._level_below(key)
        if number:
            self._levels.close(number)
            self._followed.discard(number)
        self.refresh()

    def close_removed(self, paths: Iterable[bytes]) -> None:
        """Close the directories at these paths, which are gone."""
        for path in paths:
            self._levels.close_at(path)
        self.refresh()

    def reveal(self, key: int) -> None:
        """Open the nodes above a row, so that it is visible."""
        above = self.parent_of(key)
        while above is not None:
            if above in self._skeleton.nodes:
                self._open_nodes.add(above)
                self._shut.discard(above)
            above = self.parent_of(above)
        self.refresh()

    def home_of(self, unit: bytes) -> int | None:
        """The row of the directory that is this scan unit: the first that is visible, or at all."""
        homes = [node.key for node in self._skeleton if node.draft.path == unit]
        return next(
            (key for key in homes if self.index_of(key) is not None), next(iter(homes), None)
        )

    def towards(self, key: int, path: bytes) -> int | None:
        """The row below an opened row that is the directory ``path``, or leads to it.

        ``key`` itself where the directory stands inline and has no row; None where nothing leads.
        """
        number = self._level_below(key)
        opened = self._levels.get(number)
        if opened is None or opened.level is None:
            return None
        relative = os.path.relpath(path, opened.place.path)
        if relative in opened.place.inline and opened.level.index_of(relative) is None:
            return key
        index = opened.level.towards(relative)
        return None if index is None else entry_key(number, index)

    def attach(self, level: Level) -> None:
        """Take a listing that :meth:`open` asked for, wherever this directory stands open."""
        self._levels.attach(level)
        self.refresh()

    def places(self, units: Sequence[bytes]) -> tuple[Place, ...]:
        """The opened directories in ``units``: their figures are new, they want listing again."""
        return self._levels.places(units)

    def is_open(self, key: int) -> bool:
        """Whether the row's children are shown."""
        return key in self._expanded or bool(split_key(key)[0] and self._level_below(key))

    def _level_below(self, key: int) -> int:
        """The number of the level opened below a row, 0 for none."""
        node = self._skeleton.nodes.get(key)
        found = self._levels.entry(key)
        number = 0
        if node:
            number = self._keys.known("level", key, node.draft.path)
        elif found and found[1].is_directory(found[2]):
            outer, level, index = found
            path = os.path.join(level.path, level.names[index])
            number = self._keys.known("level", outer.node, path)
        return number if number in self._levels else 0

    # --- the rows -------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._visible)

    def key_at(self, index: int) -> int:
        """The key of the visible row at ``index``."""
        return self._visible[index]

    def index_of(self, key: int) -> int | None:
        """Where a row is now, None when it is not visible."""
        return self._visible.index_of(key)

    def row(self, index: int) -> Row:
        """The row at ``index``, ready to draw."""
        key = self._visible[index]
        above = self.parent_of(key)
        whole = self._usage_of(above) if above is not None else self.figures.of(self._units)
        setting = Setting(self.order, whole, self.is_open(key))
        found = self._levels.entry(key)
        if found:
            opened, level, at = found
            row = entry_row(key, opened.depth, level, at, setting)
        else:
            node = self._skeleton.nodes[key]
            if self.watched:
                growth = self.growths.of(node.draft.units)
                fastest = self._fastest in node.draft.units
                setting = replace(setting, growth=growth, fastest=fastest)
            row = node_row(node, self.figures, setting)
        below = self._levels.get(self._level_below(key))
        if below and not below.is_listed:
            row = replace(row, state="listing", filling=True)
        thing = self.thing(key) if len(self.marks) else None
        return replace(row, marked=True) if thing and thing in self.marks else row

    def _usage_of(self, key: int) -> Usage | None:
        found = self._levels.entry(key)
        if found:
            return found[1].usage(found[2])
        node = self._skeleton.nodes.get(key)
        return self.figures.of(node.draft.units) if node else None

    def parent_of(self, key: int) -> int | None:
        """The key of the row above a row in the tree; None at the top."""
        node = self._skeleton.nodes.get(key)
        if node:
            return node.parent or None
        opened = self._levels.get(split_key(key)[0])
        return opened.above or opened.node if opened else None

    def thing(self, key: int) -> Thing | None:
        """What a row is; None when it is gone."""
        below = self._levels.get(self._level_below(key))
        trouble = below.level.trouble if below and below.level else ""
        node = self._skeleton.nodes.get(key)
        if node:
            draft, usage = node.draft, self.figures.of(node.draft.units)
            root = self._root_of(node)
            return Thing(node, draft.path, usage, draft.what.value, trouble=trouble, root=root)
        found = self._levels.entry(key)
        owner = self._skeleton.nodes.get(found[0].node) if found else None
        if found is None or owner is None:
            return None
        _, level, index = found
        name = level.names[index]
        path = os.path.join(level.path, name)
        return Thing(
            owner,
            path,
            level.usage(index),
            level.kinds[index],
            name,
            trouble,
            self._root_of(owner),
            level.identity(index),
        )

    def _root_of(self, node: Node) -> bytes:
        """The data root of a node: the topmost node says it where there are several."""
        while node.parent:
            node = self._skeleton.nodes[node.parent]
        if isinstance(node.draft.subject, Store):
            return node.draft.subject.root.path
        return self._stores[0].root.path if len(self._stores) == 1 else b""

    def own_usage(self, thing: Thing) -> Usage | None:
        """An image's part that no other image shares; None for everything else."""
        units = thing.node.draft.own_units
        return None if units is None or thing.name else self.figures.of(units)

    def growth(self, thing: Thing) -> Growth | None:
        """How much it grew since the look before; None for a single file or directory in it."""
        return None if thing.name else self.growths.of(thing.node.draft.units)

    def trail(self, key: int) -> tuple[str, ...]:
        """The labels from the top down to a row, for the path line; safe to draw."""
        labels: list[str] = []
        step: int | None = key
        while step is not None:
            found = self._levels.entry(step)
            node = self._skeleton.nodes.get(step)
            label = found[1].names[found[2]] if found else node.draft.label if node else ""
            labels.append(safe(label))
            step = self.parent_of(step)
        return tuple(reversed(labels))

    def anchor(self, key: int) -> Anchor:
        """Remember a row across a new listing of its directory."""
        return self._levels.anchor(key)

    def key_of(self, anchor: Anchor) -> int | None:
        """Where an anchored row is now: the entry of that name, or one it was joined into.

        None when it is gone from its directory.
        """
        return self._levels.key_of(anchor)

    # --- lining up ------------------------------------------------------------------------------

    def _branch(self, key: int, words: str) -> Iterator[Run]:
        """A node and what is shown below it; nothing where the filter leaves nothing."""
        node = self._skeleton.nodes[key]
        below = list(self._below(node, "" if key in self._followed else words))
        if words and not below and words not in node.search:
            return
        yield key
        if key in self._open_nodes or (words and below and key not in self._shut):
            self._expanded.add(key)
            yield from below

    def _below(self, node: Node, words: str) -> Iterator[Run]:
        if node.key in self._open_nodes or words:
            for child in self._sorted_nodes(node.children):
                yield from self._branch(child, words)
        number = self._level_below(node.key)
        opened = self._levels.get(number)
        if opened:
            opened.above = node.key
            yield from self._spans(number, opened, words)

    def _spans(self, number: int, opened: Opened, words: str) -> Iterator[Span]:
        """The entries of an opened directory, and of the directories opened in it, in order."""
        level = opened.level
        if level is None:
            return
        words = "" if number in self._followed else words
        inner: dict[int, list[Span]] = {}
        for index, below in self._levels.inside(opened):
            within = self._levels.get(below)
            if within:
                within.above = entry_key(number, index)
                inner[index] = list(self._spans(below, within, words))
        if words:
            kept = [index for index, spans in inner.items() if spans]
            ordering = level.matching(self.order, words, kept)
        else:
            ordering = level.ordering(self.order)
        start = 0
        for position in sorted(map(ordering.position, inner)):
            if position >= 0:
                yield Span(number, ordering, start, position + 1)
                yield from inner[ordering.indexes[position]]
                start = position + 1
        if start < len(ordering):
            yield Span(number, ordering, start, len(ordering))

    def _sorted_nodes(self, keys: Sequence[int]) -> list[int]:
        nodes = self._skeleton.nodes
        order, figures = self.order, self.figures
        by_name = sorted(keys, key=lambda key: nodes[key].title)
        if order.column is Column.NAME:
            return by_name[::-1] if order.descending else by_name
        by_figure = sorted(
            by_name,
            key=lambda key: order.figure(figures.of(nodes[key].draft.units)),
            reverse=order.descending,
        )
        return sorted(by_figure, key=self._growth_rank) if self._fastest else by_figure

    def _growth_rank(self, key: int) -> int:
        """The fastest first; everything that does not grow is alike."""
        growth = self.growths.of(self._skeleton.nodes[key].draft.units)
        return -max(0, growth.rate(self.order)) if growth else 0


def _place_of(draft: Draft) -> Place | None:
    if not draft.path:
        return None
    return Place(draft.path, draft.path, draft.inline, draft.what is What.FILES)
