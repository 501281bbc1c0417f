"""Everything that refers to a thing, each whole: kind, name, short id, why. It scrolls."""

from __future__ import annotations

from collections.abc import Sequence

from app.model import Reference
from app.text import count, short_id
from widgets.details_pane import DetailsPane, Line, Section

#: A heading for several things, and what refers to each.
Group = tuple[str, Sequence[Reference]]


class ReferenceList(DetailsPane):
    """References under a heading that stays where it is and says how many there are."""

    DEFAULT_CSS = """
    ReferenceList {
        border-top: solid $border;
        border-title-color: $text;
        border-title-style: bold;
    }
    """

    def show_references(self, groups: Sequence[Group]) -> None:
        """Show what refers to each thing; a heading "" stands for none."""
        total = len({reference for _, references in groups for reference in references})
        self.border_title = f"referred to by ({count(total)})"
        self.show([_section(title, references) for title, references in groups])


def _section(title: str, references: Sequence[Reference]) -> Section:
    lines = [Line(it.kind.value, _words(it)) for it in references]
    return Section(title, lines or [Line("", "nothing that was found")])


def _words(reference: Reference) -> str:
    """``web-api-1 3f9c12ab04de: stands on this image``."""
    known = [reference.name]
    if reference.id not in ("", reference.name):
        known.append(short_id(reference.id).removeprefix("sha256:"))
    return f"{' '.join(filter(None, known))}: {reference.why}"
