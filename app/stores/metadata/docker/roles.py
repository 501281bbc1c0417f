"""The role of a layer directory, from what both witnesses say of it.

Fail closed: what cannot be read, or where the disk and the engine disagree, is ``unknown`` and says
why. ``unreferenced`` needs every source of names to be readable and silent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass

from app.engine.inventory import EngineReading
from app.model import DataRoot, Hold, ImageStore, Kind, Owner, Role
from app.stores.claims import Claim, Claims, Key
from app.stores.drivers.overlay2.mounts import Live
from app.stores.drivers.overlay2.read import LayerDir
from app.stores.metadata.docker.read import DiskReading, is_foreign

#: A directory without metadata that is younger than this may be a layer being created (seconds).
YOUNG = 600.0
#: A transaction of layerdb that was written to within this time may be open (seconds) ...
OPEN = 3600.0
#: ... and then a directory so young may be the layer that it unpacks (seconds).
YOUNG_WHILE_OPEN = 24 * 3600.0

#: How the note of a layer begins on which the witnesses differ, and of one that is perhaps new.
DIFFER = "disk and engine disagree: "
CREATED = "being created? "

#: What one directory can be at once: an exported build step is a cache record and an image layer.
_SHARED = {Role.IMAGE, Role.BUILD_CACHE}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A role, and one sentence where it is unusual."""

    role: Role
    note: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """All there is to decide upon: the readings, both claims, and what is mounted.

    ``engine`` is None where it has not answered. ``known`` are the owners that the engine lists.
    ``now`` is unix time in seconds.
    """

    disk: DiskReading
    engine: EngineReading | None
    by_disk: Claims
    by_engine: Claims
    known: Mapping[Key, Owner]
    live: Live
    now: float

    def unseen(self) -> str:
        """The first source that could not be read and may hide an owner, or ""."""
        return next((problem.source for problem in self.disk.hiding), "")

    def unseen_images(self) -> str:
        """The same for an image; the engine, where it listed all of them, stands in."""
        engine = self.engine
        if engine and Kind.IMAGE in engine.complete:
            return next((f"image {it.id}" for it in engine.images.values() if it.error), "")
        return self.unseen()


@dataclass(frozen=True, slots=True)
class Question:
    """One directory with the claim of each witness on it."""

    case: Case
    directory: LayerDir
    disk: Claim
    engine: Claim

    def owned(self, kind: Kind) -> bool:
        """Whether either witness names an owner of this kind."""
        return bool(self.disk.ids(kind) or self.engine.ids(kind))

    def used(self, kind: Kind) -> bool:
        """Whether either witness names something of this kind that would notice."""
        return self.disk.uses(kind) or self.engine.uses(kind)


def verdict(question: Question) -> Verdict:
    """The first check that has a say decides; the last one always has."""
    for check in _CHECKS:
        found = check(question)
        if found:
            return found
    return _unknown(_doubts(question)) or Verdict(Role.UNREFERENCED)


def supported(question: Question, verdicts: Mapping[str, Verdict]) -> Verdict:
    """The final verdict: nothing is unreferenced while something that is not stands on it."""
    name = question.directory.name
    if verdicts[name].role is not Role.UNREFERENCED:
        return verdicts[name]
    for user in question.case.disk.graph.users.get(name, ()):
        above = verdicts.get(user, Verdict(Role.UNKNOWN))
        if above.role is not Role.UNREFERENCED:
            words = f"no metadata names it, yet {user} ({above.role.value}) stands on it"
            return Verdict(Role.UNKNOWN, words)
    return verdicts[name]


def _unknown(reasons: Iterator[str]) -> Verdict | None:
    why = next(reasons, "")
    return Verdict(Role.UNKNOWN, why) if why else None


def disowned(question: Question) -> Verdict | None:
    """Unknown where the data root is not believed about this directory, whatever it says of it."""
    directory, root = question.directory, question.case.disk.root
    if directory.covered:
        return Verdict(Role.UNKNOWN, "something else is mounted over this directory")
    if not is_foreign(root, directory):
        return None
    words = (
        f"it belongs to user {directory.uid}, and others could have written this data root, so it "
        "is not believed about it"
    )
    return Verdict(Role.UNKNOWN, words)


def _shared(root: DataRoot) -> Iterator[str]:
    """That another data root shows what tells whose the layers are, or the layers themselves."""
    for name in (b"overlay2", b"image", b"containers", b"buildkit"):
        part = root.part(os.path.join(root.path, name))
        if part and part.hold is not Hold.OWN:
            shown = " and ".join(os.fsdecode(it) for it in part.rivals) or "another place"
            used = "Docker works there" if part.hold is Hold.OTHERS else "nobody knows who uses it"
            yield (
                f"no owner found, but {name.decode()} is the same directory as in {shown}: {used}"
            )


def _inactive(question: Question) -> Verdict | None:
    disk = question.case.disk
    if disk.active:
        return None
    store = "the containerd image store"
    if disk.root.image_store is not ImageStore.CONTAINERD:
        store = f"the {disk.root.driver} driver"
    return Verdict(
        Role.INACTIVE,
        f"left by the overlay2 driver while the engine uses {store}; "
        "the data returns if somebody switches back",
    )


def _damaged(question: Question) -> Verdict | None:
    return _unknown(_damages(question))


def _damages(question: Question) -> Iterator[str]:
    directory = question.directory
    if directory.foreign:
        yield directory.foreign
    # A removal that was interrupted leaves half a directory: the engine's is pending, or nobody
    # knows of the directory any more.
    half = question.disk.roles == {Role.PENDING_REMOVAL} or (
        directory.interrupted and not question.disk.roles and not question.engine.roles
    )
    if not directory.sure and not half:
        yield "; ".join(directory.notes) or "its link or lower file is damaged"


def contradictory(question: Question) -> Verdict | None:
    """Unknown where one witness names it as two things at once."""
    return _unknown(
        f"{who} names it as {_words(claim)} at once"
        for who, claim in (("the disk", question.disk), ("the engine", question.engine))
        if len(claim.roles) > 1
    )


def _words(claim: Claim) -> str:
    return " and ".join(sorted(role.value for role in claim.roles))


# --- where the witnesses differ -------------------------------------------------------------------


def differing(question: Question) -> Verdict | None:
    """Unknown where the witnesses say different things."""
    engine = question.case.engine
    if engine is None:
        return None
    return _unknown(DIFFER + words for words in _differences(question, engine))


def _differences(question: Question, engine: EngineReading) -> Iterator[str]:
    """Every point on which they differ, where both had a full view of the matter.

    The engine's silence on a cache record is none: it hides those that stand for another one.
    """
    disk, theirs = question.disk, question.engine
    disk_saw_all = not question.case.disk.hiding
    both = disk.roles | theirs.roles
    if disk.roles and theirs.roles and disk.roles != theirs.roles and not both <= _SHARED:
        yield f"{_words(disk)} on disk, {_words(theirs)} for the engine"
    if theirs.roles and not disk.roles and disk_saw_all:
        yield f"the engine names it as {_words(theirs)}, the disk's metadata does not"
    for kind, known in _lists(engine).items():
        for id_ in sorted(disk.ids(kind) - theirs.ids(kind)):
            if not _excused(engine, kind, id_):
                knows = "knows without this directory" if id_ in known else "does not know"
                yield f"the disk says {kind.value} {id_}, which the engine {knows}"
        if disk_saw_all:
            for id_ in sorted(theirs.ids(kind) - disk.ids(kind)):
                yield f"the engine says {kind.value} {id_}, which the disk does not"


def _lists(engine: EngineReading) -> dict[Kind, Set[str]]:
    """The ids in the lists that the engine answered wholly."""
    known = {Kind.CONTAINER: engine.containers.keys(), Kind.IMAGE: engine.images.keys()}
    return {kind: ids for kind, ids in known.items() if kind in engine.complete}


def _excused(engine: EngineReading, kind: Kind, id_: str) -> bool:
    """A failed inspect, or one without directories, contradicts nothing."""
    entry = engine.containers.get(id_) if kind is Kind.CONTAINER else engine.images.get(id_)
    return bool(entry and (entry.error or not entry.directories))


# --- named by metadata ----------------------------------------------------------------------------


def _named(question: Question) -> Verdict | None:
    roles = question.disk.roles | question.engine.roles
    if Role.IMAGE in roles:
        return _image(question)
    if not roles:
        return None
    (role,) = roles
    nameless = sorted(question.disk.ids(Kind.CONTAINER) - question.case.disk.containers.keys())
    if role in (Role.WRITABLE, Role.INIT) and nameless and not question.engine.roles:
        return Verdict(
            Role.UNKNOWN,
            f"layerdb names container {nameless[0]}, which has no readable config.v2.json",
        )
    unseen = question.case.unseen_images() if role is Role.BUILD_CACHE else ""
    return Verdict(role, perhaps_an_images(unseen))


def perhaps_an_images(unseen: str) -> str:
    """The note on a cache record's layer while this source could not be read; "" without one."""
    return f"an image may hold it as well: {unseen} could not be read" if unseen else ""


def _image(question: Question) -> Verdict:
    """A layer of layerdb: an image's, or what is left of one."""
    if question.owned(Kind.IMAGE):
        return Verdict(Role.IMAGE)
    kept = question.used(Kind.CONTAINER) or question.used(Kind.BUILD_CACHE)
    unseen = question.case.unseen_images() if kept else question.case.unseen()
    if unseen:
        words = f"no image found that holds this layer, but {unseen} could not be read"
        return Verdict(Role.IMAGE if kept else Role.UNKNOWN, words)
    if question.used(Kind.CONTAINER):
        words = "no image holds this layer any more; the containers that stand on it keep it"
        return Verdict(Role.IMAGE, words)
    if kept:
        return Verdict(Role.BUILD_CACHE)
    return Verdict(Role.IMAGE, _young(question) or _FORGOTTEN)


_FORGOTTEN = (
    "layerdb keeps this layer, but no image, container or cache record uses it; "
    "the engine never removes such a layer by itself"
)


# --- named by nobody ------------------------------------------------------------------------------


def _doubts(question: Question) -> Iterator[str]:
    """Every reason not to call an unnamed directory unreferenced."""
    case, name = question.case, question.directory.name
    yield from _shared(case.disk.root)
    for problem in case.disk.hiding:
        yield f"no owner found, but {problem.source} could not be read"
    if case.disk.root.image_store is ImageStore.UNDECIDED:
        yield "no owner found, and nobody can tell which image store is in use here"
    if case.live.points(name):
        yield "no metadata names it, yet it is mounted"
    for overlay, shown in case.live.perhaps(question.directory.path):
        yield f"no metadata names it, yet {overlay.may_use_words(shown)}"
    if name in case.disk.buildkit.unclaimed:
        yield "BuildKit's snapshots.db knows it, but no cache record does"
    if young := _young(question):
        yield young


def _young(question: Question) -> str:
    """Why this may be a layer that is just being made, or ""."""
    case, directory = question.case, question.directory
    if directory.interrupted and directory.token:
        # Its link file is made after its link in l/, which is gone: this is a removal, no making.
        return ""
    age = case.now - directory.mtime
    if age < YOUNG:
        return f"{CREATED}changed minutes ago, and no owner is known yet"
    if age < YOUNG_WHILE_OPEN and case.now - case.disk.last_write < OPEN:
        return f"{CREATED}a download, load or build is writing to layerdb/tmp"
    return ""


_CHECKS: tuple[Callable[[Question], Verdict | None], ...] = (
    disowned,
    _inactive,
    _damaged,
    contradictory,
    differing,
    _named,
)
