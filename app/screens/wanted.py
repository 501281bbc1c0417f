"""From a row to what the user wants removed, or why this row is nothing to remove."""

from __future__ import annotations

import os

from app.cleanup.plan.model import Subject, Wish
from app.model import Container, ImageInfo, Volume
from app.outline.nodes import What
from app.outline.outline import Thing

_SUBJECTS = {
    What.CONTAINER: Subject.CONTAINER,
    What.IMAGE: Subject.IMAGE,
    What.VOLUME: Subject.VOLUME,
}
# Why a row is no wish, the longest way to say it first: the last one fits 40 columns.
_GROUP = (
    "{} is a group: open it, and choose what is to go.",
    "{} is a group: open it, and choose.",
    "It is a group: open it, and choose.",
    "group: open it",
)
_FILES = ("These are single files: open the row, and choose one.", "files: open it")
_OWN = (
    "Docker's own files stay: without them the engine loses its data.",
    "Docker's own files stay: the engine needs them.",
    "Docker's own",
)
_BLOBS = ("Compressed blobs go with their image: choose the image.", "go to the image")
_NOWHERE = (
    "It is not known which data root this belongs to: press R, and try again.",
    "Its data root is not known: press R, and try again.",
    "press R first",
)
_UNSEEN = (
    "It changed while it was listed: press R, and choose it again.",
    "It changed just now: press R.",
    "press R first",
)
_OWNED = (Container, ImageInfo, Volume)
_REFUSALS = {What.FILES: _FILES, What.FOLDER: _OWN, What.BLOBS: _BLOBS}
_LABEL_ROOM = 40


def wish_for_row(thing: Thing) -> Wish | tuple[str, ...]:
    """The wish to remove what a row shows, or why there is none (not yet safe to draw).

    That is one sentence in several ways, the longest first.

    Rows of the explorer's own making (groups, data roots) and Docker's own directories are no
    wish. Whether a wish is granted is for its plan to say.
    """
    if not thing.root:
        return _NOWHERE
    if thing.name:
        wish = Wish(Subject.PATH, thing.root, path=thing.path, seen=thing.seen)
        return wish if thing.seen else _UNSEEN
    draft = thing.node.draft
    if draft.what in _SUBJECTS:
        owner = draft.subject.owner if isinstance(draft.subject, _OWNED) else None
        if owner is None:
            return _NOWHERE
        return Wish(_SUBJECTS[draft.what], thing.root, id=owner.id, namespace=owner.namespace)
    if draft.what is What.LAYER or (draft.what is What.FOLDER and draft.subject is not None):
        return Wish(Subject.PATH, thing.root, path=draft.path)
    label = os.fsdecode(draft.label)[:_LABEL_ROOM]
    return _REFUSALS.get(draft.what) or tuple(way.replace("{}", label) for way in _GROUP)
