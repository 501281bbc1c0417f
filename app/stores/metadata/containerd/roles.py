"""The role of a snapshot directory, from what both witnesses say of it.

Fail closed, and never ``unreferenced``: what its databases do not know containerd removes by itself
at its next collection (plugins/snapshots/overlay/overlay.go getCleanupDirectories; core/metadata/
snapshot.go garbageCollect), so nobody else ever has to.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.model import ImageStore, Kind, Role, Snapshot
from app.stores.metadata.containerd.meta import GC_ROOT
from app.stores.metadata.containerd.owners import CONTAINER_ID, RECORD_ID, VIEW
from app.stores.metadata.containerd.read import ContainerdReading
from app.stores.metadata.docker.roles import (
    CREATED,
    YOUNG,
    Question,
    Verdict,
    contradictory,
    differing,
    disowned,
    perhaps_an_images,
)

#: How the note on what nobody holds ends.
COLLECTED = "containerd removes it itself at its next collection"

_UNPACKING = "extract-"
_UNNAMED = "new-"


@dataclass(frozen=True, slots=True)
class SnapshotQuestion:
    """One directory of a snapshotter. ``own`` is Docker's namespace; ``snapshot`` None without one.

    ``foreign``: another namespace than Docker's, of which the engine knows nothing.
    """

    question: Question
    reading: ContainerdReading
    own: str
    snapshot: Snapshot | None

    @property
    def name(self) -> str:
        """The directory's own name."""
        return os.path.basename(os.fsdecode(self.question.directory.path))

    @property
    def foreign(self) -> bool:
        """Whether the snapshot is not Docker's."""
        return self.snapshot is not None and self.snapshot.namespace != self.own

    @property
    def young(self) -> bool:
        """Whether it changed minutes ago."""
        case = self.question.case
        return case.now - self.question.directory.mtime < YOUNG


def snapshot_verdict(asked: SnapshotQuestion) -> Verdict:
    """The first check that has a say decides; the last one always has."""
    for check in _CHECKS:
        found = check(asked)
        if found:
            return found
    return _unnamed(asked)


def _inactive(asked: SnapshotQuestion) -> Verdict | None:
    root = asked.question.case.disk.root
    if root.image_store is not ImageStore.GRAPHDRIVER or asked.foreign:
        return None
    if asked.question.case.live.points(asked.question.directory.name):
        # Whoever mounted it uses this store, whatever this root's engine does.
        words = f"the engine uses the {root.driver} driver, yet it is mounted: another may use it"
        return _unknown(words)
    return Verdict(
        Role.INACTIVE,
        f"left in the containerd image store while the engine uses the {root.driver} driver; "
        "the data returns if somebody switches back",
    )


def _unlisted(asked: SnapshotQuestion) -> Verdict | None:
    """A directory that the snapshotter's database does not have."""
    question = asked.question
    if asked.snapshot or question.disk.roles or question.engine.roles:
        return None
    snapshotter = asked.reading.snapshotter_of(question.directory)
    if question.case.live.points(question.directory.name):
        return _unknown("metadata.db does not know it, yet it is mounted")
    if snapshotter is None or not snapshotter.readable:
        return _unknown("no owner found, but metadata.db could not be read, which names it")
    if asked.young or asked.name.startswith(_UNNAMED):
        return _unknown(f"{CREATED}containerd makes the directory before it notes it down")
    return _unknown(f"metadata.db does not know it; {COLLECTED}")


def _forgotten(asked: SnapshotQuestion) -> Verdict | None:
    """One that containerd itself has dropped, or not yet noted down: it is made and goes so."""
    snapshot, name = asked.snapshot, asked.question.directory.name
    if snapshot is None or not asked.reading.meta.readable or asked.reading.lists(snapshot, name):
        return None
    if asked.question.case.live.points(name):
        return _unknown("meta.db does not know it, yet it is mounted")
    if asked.young:
        return _unknown(f"{CREATED}containerd has not noted it down yet")
    return _unknown(f"meta.db does not know it; {COLLECTED}")


def _disowned(asked: SnapshotQuestion) -> Verdict | None:
    return disowned(asked.question)


def _damaged(asked: SnapshotQuestion) -> Verdict | None:
    directory = asked.question.directory
    return None if directory.sure else _unknown("; ".join(directory.notes))


def _contradictory(asked: SnapshotQuestion) -> Verdict | None:
    return contradictory(asked.question)


def _differing(asked: SnapshotQuestion) -> Verdict | None:
    return None if asked.foreign else differing(asked.question)


def _named(asked: SnapshotQuestion) -> Verdict | None:
    question = asked.question
    roles = question.disk.roles | question.engine.roles
    if Role.IMAGE in roles:
        return Verdict(Role.IMAGE) if question.owned(Kind.IMAGE) else None
    for role in roles:
        unseen = _unseen_images(asked) if role is Role.BUILD_CACHE else ""
        return Verdict(role, perhaps_an_images(unseen))
    return None


def _unseen_images(asked: SnapshotQuestion) -> str:
    """The first source that may hide an image which holds this snapshot, or "".

    An image holds none that goes by a record's id, and no view. The engine does not stand in for
    the disk: it names one platform of each image, none of some.
    """
    key = asked.snapshot.key if asked.snapshot else ""
    if RECORD_ID.fullmatch(key) or key.endswith(VIEW):
        return ""
    return next((it.source for it in asked.reading.problems if it.hides_owners), "")


def _unnamed(asked: SnapshotQuestion) -> Verdict:
    """Nobody's own, but something may hold it."""
    question = asked.question
    if question.used(Kind.CONTAINER):
        words = "no image holds this layer any more; the containers that stand on it keep it"
        if unseen := question.case.unseen():
            words = f"no image found that holds this layer, but {unseen} could not be read"
        return Verdict(Role.IMAGE, words)
    if question.used(Kind.BUILD_CACHE) and not question.case.unseen():
        return Verdict(Role.BUILD_CACHE)
    return _unknown(next(_holders(asked)))


def _holders(asked: SnapshotQuestion) -> Iterator[str]:
    """Everything that may hold a snapshot without an owner; at last, that nothing does."""
    question = asked.question
    key = asked.snapshot.key if asked.snapshot else ""
    if unseen := question.case.unseen():
        yield f"no owner found, but {unseen} could not be read"
    if key.startswith(_UNPACKING):
        yield f"{CREATED}containerd unpacks an image layer into it"
    if asked.young:
        yield f"{CREATED}changed minutes ago, and no owner is known yet"
    if question.used(Kind.LEASE):
        yield _leased(asked, key)
    if above := question.case.disk.graph.users.get(question.directory.name, ()):
        yield f"nothing names it, yet {len(above)} snapshots stand on it"
    if _rooted(asked):
        yield f"its own label {GC_ROOT} alone holds it"
    yield f"no image, container or lease holds it; {COLLECTED}"


def _leased(asked: SnapshotQuestion, key: str) -> str:
    ids = [id_ for kind, id_ in asked.question.disk.users if kind is Kind.LEASE]
    held = f"lease {ids[0]} alone holds it" + f", and {len(ids) - 1} more do" * (len(ids) > 1)
    if CONTAINER_ID.fullmatch(key.removesuffix("-init")) and not asked.foreign:
        return f"no container has this id any more; {held}"
    return held


def _rooted(asked: SnapshotQuestion) -> bool:
    it = asked.snapshot
    space = asked.reading.namespaces.get(it.namespace) if it else None
    labels = space.snapshots.get((it.snapshotter, it.key), {}) if it and space else {}
    return GC_ROOT in labels


def _unknown(why: str) -> Verdict:
    return Verdict(Role.UNKNOWN, why)


_CHECKS: tuple[Callable[[SnapshotQuestion], Verdict | None], ...] = (
    _disowned,
    _unlisted,
    _inactive,
    _forgotten,
    _damaged,
    _contradictory,
    _differing,
    _named,
)
