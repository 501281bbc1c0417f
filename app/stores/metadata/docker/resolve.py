"""Two witnesses, one answer: role, owners, references and evidence of every layer directory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.engine.inventory import EngineReading
from app.host.mounts import Mount
from app.model import Evidence, Kind, Layer, Owner, Reference, Role
from app.stores.claims import Claims
from app.stores.drivers.overlay2.mounts import find_live
from app.stores.drivers.overlay2.read import NAME, LayerDir
from app.stores.metadata.docker.claims import disk_claims
from app.stores.metadata.docker.engine_claims import engine_claims, known_owners
from app.stores.metadata.docker.read import DiskReading, driver_directory
from app.stores.metadata.docker.roles import DIFFER, Case, Question, Verdict, supported, verdict


@dataclass(frozen=True, slots=True)
class Resolved:
    """Every directory of one store with its answer, by name.

    ``gone`` are those that metadata names although they are not there.
    """

    layers: dict[str, Layer]
    gone: dict[str, Layer]


def resolve(
    disk: DiskReading,
    engine: EngineReading | None,
    mounts: Sequence[Mount],
    now: float,
) -> Resolved:
    """Every directory of the graph driver, and every one that is named and not there.

    ``engine`` is None while the engine has not answered or does not serve this root. ``now`` is
    unix time in seconds.
    """
    case = Case(
        disk,
        engine,
        disk_claims(disk),
        engine_claims(engine) if engine else Claims(),
        known_owners(engine) if engine else {},
        find_live(mounts, disk.graph),
        now,
    )
    questions = {
        name: question_of(case, directory) for name, directory in disk.graph.directories.items()
    }
    verdicts = {name: verdict(question) for name, question in questions.items()}
    layers = {
        name: _layer(question, supported(question, verdicts))
        for name, question in questions.items()
    }
    return Resolved(layers, {question.directory.name: _gone(question) for question in _named(case)})


def question_of(case: Case, directory: LayerDir) -> Question:
    """One directory with what both witnesses say of it."""
    name = directory.name
    return Question(case, directory, case.by_disk.get(name), case.by_engine.get(name))


def _named(case: Case) -> Iterator[Question]:
    """What metadata names without a directory: removed by hand, or made since they were read."""
    driver = driver_directory(case.disk.root.path)
    for name in dict.fromkeys((*case.by_disk, *case.by_engine)):
        if name not in case.disk.graph.directories and NAME.fullmatch(name):
            yield question_of(case, LayerDir(name, os.path.join(driver, os.fsencode(name))))


def _gone(question: Question) -> Layer:
    """All that is said of a directory that is not there; a role where they agree on one."""
    roles = question.disk.roles | question.engine.roles
    return _layer(question, Verdict(next(iter(roles)) if len(roles) == 1 else Role.UNKNOWN))


def disagreements(layers: Mapping[str, Layer]) -> tuple[str, ...]:
    """The directories on which the witnesses differ: a reason to hear both once more."""
    return tuple(name for name, layer in layers.items() if layer.note.startswith(DIFFER))


def _layer(question: Question, found: Verdict) -> Layer:
    case, directory = question.case, question.directory
    return Layer(
        id=directory.name,
        path=directory.path,
        role=found.role,
        owners=owners_of(question, found.role),
        references=references_of(question, "its lower file names this layer"),
        evidence=evidence_of(question, tuple(_silence(case))),
        parents=directory.parents,
        mounts=case.live.points(directory.name),
        active=case.disk.active,
        note=found.note or "; ".join(directory.notes),
    )


def owners_of(question: Question, role: Role) -> tuple[Owner, ...]:
    """Both witnesses' owners; the engine's word on containers and images is the fresher.

    The disk's is the better one on cache records: it has the id of a cache mount. An image layer
    that no image holds any more belongs to those who keep it: the containers that stand on it,
    else the cache records.
    """
    owners = dict(question.disk.owners)
    for key, owner in question.engine.owners.items():
        owners.setdefault(key, owner)
    if role in (Role.IMAGE, Role.BUILD_CACHE) and not question.owned(Kind.IMAGE):
        users = {**question.disk.users, **question.engine.users}
        containers = {key: it for key, it in users.items() if it.kind is Kind.CONTAINER}
        owners = {**containers, **owners} or users
    known = question.case.known
    return tuple(known.get(key, owner) for key, owner in owners.items())


def references_of(question: Question, why_above: str) -> tuple[Reference, ...]:
    """All who would notice: both witnesses' users, mounts, and layers above (``why_above``)."""
    case, name = question.case, question.directory.name
    found = {**question.engine.references, **question.disk.references}
    for reference in case.live.references(name):
        found[Kind.MOUNT, reference.id] = reference
    for user in case.disk.graph.users.get(name, ()):
        # A layer above whose owners are listed already needs no line of its own.
        owned = {**case.by_disk.get(user).owners, **case.by_engine.get(user).owners}
        if not owned or not owned.keys() <= found.keys():
            found[Kind.LAYER, user] = Reference(Kind.LAYER, user, user, why_above)
    return tuple(found.values())


def evidence_of(question: Question, silence: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """All evidence of one directory; ``silence`` is that of a directory that nobody names."""
    case, directory = question.case, question.directory
    found = [*question.disk.evidence, *question.engine.evidence]
    found += [Evidence(os.fsdecode(directory.path), note) for note in directory.notes]
    found += case.live.evidence(directory.name)
    if not question.disk.owners and not question.engine.owners:
        found += _unheard(case)
    if not question.disk.roles and not question.engine.roles:
        found += silence
    return tuple(found)


def _unheard(case: Case) -> Iterator[Evidence]:
    """What could not be asked for an owner."""
    for problem in case.disk.hiding:
        yield Evidence(f"{problem.source}: not readable", problem.sentence)


def _silence(case: Case) -> Iterator[Evidence]:
    """That nobody names a directory is evidence too."""
    limits = ", as far as they can be read" if case.disk.hiding else ""
    sources = "layerdb, imagedb, layerdb/mounts and BuildKit's databases"
    yield Evidence(sources, f"name it nowhere{limits}")
    if case.engine:
        source = f"engine: every inspect at {case.engine.info.url}"
        yield Evidence(source, "names it nowhere")
