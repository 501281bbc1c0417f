"""From nodes and entries to the rows that the tree draws."""

from __future__ import annotations

from dataclasses import dataclass

from app.model import Usage
from app.outline.levels import Level
from app.outline.nodes import Draft, Node, What
from app.rows import Row
from app.text import count, safe, size
from app.usage.figures import Figures
from app.usage.growth import Growth
from app.usage.order import Column, Order

_PLAIN = ("file", "directory")


@dataclass(frozen=True, slots=True)
class Setting:
    """What a row is drawn in: its share is a part of ``whole``.

    ``growth`` is the row's own, None where it is not known; ``fastest`` where nothing grows faster.
    """

    order: Order
    whole: Usage | None
    expanded: bool
    growth: Growth | None = None
    fastest: bool = False

    def share(self, usage: Usage | None) -> float | None:
        """The part of the row above, 0..1, by the sorted column."""
        total, figure = self.order.figure(self.whole), self.order.figure(usage)
        return None if figure < 0 or total <= 0 else figure / total


def node_row(node: Node, figures: Figures, setting: Setting) -> Row:
    """The row of a node."""
    draft, usage = node.draft, figures.of(node.draft.units)
    return Row(
        key=node.key,
        depth=node.depth,
        label=_label(draft, usage, figures, setting.order),
        bytes=setting.order.bytes_of(usage) if usage and usage.sized else None,
        inodes=usage.inodes if usage else None,
        share=setting.share(usage),
        state=_state(draft, figures),
        expandable=bool(node.children or draft.path),
        expanded=setting.expanded,
        partial=bool(usage and (usage.partial or usage.unreadable)),
        tone=draft.tone,
        growth=growth_words(setting.growth, setting.order),
        fastest=setting.fastest,
    )


def _state(draft: Draft, figures: Figures) -> str:
    """Of a layer, that its figures are containerd's own as long as it is not measured."""
    recorded = draft.what is What.LAYER and figures.recorded(draft.units)
    return "recorded" if recorded else draft.state


def growth_words(growth: Growth | None, order: Order) -> str:
    """``+1.7 GiB`` or ``-3,400``, per minute and by what is sorted by; "" for no growth."""
    rate = growth.rate(order) if growth else 0
    if not rate:
        return ""
    figure = count(abs(rate)) if order.column is Column.INODES else size(abs(rate))
    return ("+" if rate > 0 else "-") + figure


def entry_row(key: int, depth: int, level: Level, index: int, setting: Setting) -> Row:
    """The row of an entry of an opened directory."""
    usage, kind = level.usage(index), level.kinds[index]
    return Row(
        key=key,
        depth=depth,
        label=level.names[index],
        bytes=setting.order.bytes_of(usage) if usage else None,
        inodes=usage.inodes if usage else None,
        share=setting.share(usage),
        state="" if kind in _PLAIN else kind,
        expandable=level.is_directory(index),
        expanded=setting.expanded,
        partial=bool(usage and usage.partial),
        tone="" if kind in _PLAIN else "dim",
        path=b"/" in level.names[index],
    )


def _label(draft: Draft, usage: Usage | None, figures: Figures, order: Order) -> str | bytes:
    """An image's row also says how much is its own, and how much other images share."""
    own = figures.of(draft.own_units) if draft.own_units is not None else None
    if usage is None or own is None or not usage.sized:
        return draft.label
    mine, all_ = order.bytes_of(own), order.bytes_of(usage)
    return f"{safe(draft.label)}  own {size(mine)}, shared {size(max(0, all_ - mine))}"
