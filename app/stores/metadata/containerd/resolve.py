"""Two witnesses, one answer: every snapshot directory as a layer, just as overlay2's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from app.engine.inventory import EngineReading
from app.host.mounts import Mount
from app.model import Evidence, Kind, Layer, Owner, Reference, Snapshot
from app.stores.claims import Claims
from app.stores.drivers.overlay2.read import LayerDir
from app.stores.drivers.overlayfs.mounts import find_live_snapshots
from app.stores.drivers.overlayfs.snapshotter import home_of
from app.stores.metadata.containerd.claims import engine_snapshot_claims, snapshot_claims
from app.stores.metadata.containerd.read import ContainerdReading
from app.stores.metadata.containerd.roles import SnapshotQuestion, snapshot_verdict
from app.stores.metadata.docker.container_state import RUNNING, idle_state
from app.stores.metadata.docker.engine_claims import known_owners
from app.stores.metadata.docker.read import DiskReading
from app.stores.metadata.docker.resolve import (
    Resolved,
    evidence_of,
    owners_of,
    question_of,
    references_of,
)
from app.stores.metadata.docker.roles import Case, Question

_ABOVE = "it stands on this snapshot"


def resolve_snapshots(
    disk: DiskReading, engine: EngineReading | None, mounts: Sequence[Mount], now: float
) -> Resolved:
    """Every directory of containerd's snapshotters with its answer, by id (``snapshots/47``).

    Those that their database has and that are not there come apart. Empty where the root has no
    containerd. ``now`` is unix time in seconds.
    """
    reading = disk.containerd
    if reading is None:
        return Resolved({}, {})
    own = disk.root.namespace
    live = find_live_snapshots(mounts, reading)
    hidden = (*reading.problems, *disk.hidden_containers, *disk.worker_problems)
    case = Case(
        replace(disk, graph=reading.graph, problems=hidden),
        engine,
        snapshot_claims(reading, own, disk.containers, disk.workers, live.holders),
        engine_snapshot_claims(engine, reading, own) if engine else Claims(),
        known_owners(engine) if engine else {},
        live.live,
        now,
    )
    foreign = replace(case, engine=None, by_engine=Claims(), known={})
    asker = _Asker(reading, own, case, foreign, idle_state(disk.root))
    directories = reading.graph.directories
    layers = {name: asker.layer(directory) for name, directory in directories.items()}
    gone = {
        name: asker.layer(LayerDir(name, _place(reading, name, snapshot)))
        for name, snapshot in reading.snapshots.items()
        if name not in directories
    }
    return Resolved(layers, gone)


def _place(reading: ContainerdReading, name: str, snapshot: Snapshot) -> bytes:
    """Where the directory of a snapshot belongs."""
    home = home_of(reading.root, snapshot.snapshotter)
    return os.path.join(home, os.fsencode(name.rpartition("/")[2]))


@dataclass(frozen=True, slots=True)
class _Asker:
    """The cases: Docker's own snapshots, and those of others, of whom the engine knows nothing."""

    reading: ContainerdReading
    own: str
    case: Case
    foreign: Case
    idle: str

    def layer(self, directory: LayerDir) -> Layer:
        """One directory, answered."""
        name = directory.name
        snapshot = self.reading.snapshots.get(name)
        case = self.case if not snapshot or snapshot.namespace == self.own else self.foreign
        question = question_of(case, directory)
        found = snapshot_verdict(SnapshotQuestion(question, self.reading, self.own, snapshot))
        owners = owners_of(question, found.role)
        return Layer(
            id=name,
            path=directory.path,
            role=found.role,
            owners=self._with_states(owners or tuple(_leases(question)), name),
            references=tuple(_references(question)),
            evidence=(*self._itself(directory), *evidence_of(question, tuple(_silence(question)))),
            parents=directory.parents,
            mounts=case.live.points(name),
            active=found.role.value != "inactive",
            note=found.note,
            snapshot=snapshot,
        )

    def _itself(self, directory: LayerDir) -> Iterator[Evidence]:
        """What the snapshotter's database says of it."""
        it = self.reading.snapshots.get(directory.name)
        reading = self.reading.snapshotter_of(directory)
        if it and reading:
            database = os.path.join(os.path.dirname(os.fsdecode(reading.home)), "metadata.db")
            number = directory.name.rpartition("/")[2]
            says = f"snapshot {number} is {it.key} of namespace {it.namespace}, {it.kind}"
            yield Evidence(database, says)

    def _with_states(self, owners: tuple[Owner, ...], name: str) -> tuple[Owner, ...]:
        """Of a container outside Docker nothing but its live mount tells that it runs."""
        state = RUNNING if self.case.live.points(name) else self.idle
        return tuple(
            replace(owner, state=state) if _stateless(owner) else owner for owner in owners
        )


def _stateless(owner: Owner) -> bool:
    return owner.kind is Kind.CONTAINER and bool(owner.namespace) and not owner.state


def _references(question: Question) -> Iterator[Reference]:
    """With owners named, a lease is their means of holding it, not one more holder."""
    owned = question.disk.owners or question.engine.owners
    for it in references_of(question, _ABOVE):
        if it.kind is not Kind.LEASE or not owned:
            yield it


def _leases(question: Question) -> Iterator[Owner]:
    return (owner for owner in question.disk.users.values() if owner.kind is Kind.LEASE)


def _silence(question: Question) -> Iterator[Evidence]:
    """That nobody names a directory is evidence too."""
    case = question.case
    limits = ", as far as they can be read" if case.disk.hiding else ""
    yield Evidence("metadata.db, meta.db and BuildKit's database", f"name no owner{limits}")
    if case.engine:
        yield Evidence(f"engine: every list at {case.engine.info.url}", "names it nowhere")
