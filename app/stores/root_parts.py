"""What to know of the parts of a data root that are not plainly its own, in sentences."""

from __future__ import annotations

import os
from collections.abc import Iterator

from app.model import DataRoot, Hold, Part, Problem

#: Without these an owner of a layer may be missing.
_NAMING = (b"overlay2", b"image", b"containers", b"buildkit")


def problems_of(root: DataRoot) -> Iterator[Problem]:
    """One sentence for each part that is not plainly the root's own.

    Where it is not its own, an owner may be missing.
    """
    for part in root.parts:
        if part.target or part.hold is not Hold.OWN:
            naming = os.path.relpath(part.path, root.path).split(b"/")[0] in _NAMING
            yield _problem(part, hides=naming and part.hold is not Hold.OWN)


def shown_twice(root: DataRoot) -> Iterator[Problem]:
    """One sentence for each part of its own that other data roots show as well."""
    for part in root.parts:
        if part.rivals and not part.target and part.hold is Hold.OWN:
            yield _problem(part, hides=False)


def _problem(part: Part, *, hides: bool) -> Problem:
    where = os.fsdecode(part.path)
    return Problem(where, f"{where} {_words(part)}.", hides_owners=hides)


def _words(part: Part) -> str:
    shown = " and ".join(os.fsdecode(it) for it in part.rivals)
    link = f"is a symbolic link to {os.fsdecode(part.target)}" if part.target else ""
    same = f"shows the same directory as {shown}" if shown else ""
    what = ", and ".join(it for it in (link, same) if it) or "is mounted from elsewhere"
    return what + _meaning(part)


def _meaning(part: Part) -> str:
    """What follows from it."""
    match part.hold:
        case Hold.FOREIGN:
            says = "which says nothing of it" if part.readable else "so it is not read"
            return f"; it does not belong to who owns this data root, {says}"
        case Hold.OTHERS:
            return ", where Docker works: look at it there; nothing is removed from here"
        case Hold.SHARED if part.rivals:
            return (
                ", and nobody can tell which of them is in use: what no metadata names is unknown, "
                "and nothing is removed without Docker"
            )
        case Hold.SHARED:
            return ", so it may be somebody else's: what no metadata names is unknown"
    if part.target:
        return (
            ": what lies there has its names but is not measured, "
            "and nothing is removed there without Docker"
        )
    return "; Docker works here, so it is this one's"
