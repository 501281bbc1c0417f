"""A claim is what one witness says of one layer directory: roles, owners, references, evidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from app.model import Evidence, Kind, Owner, Reference, Role

Key = tuple[Kind, str]


@dataclass(slots=True)
class Claim:
    """All that one witness says of one directory.

    ``owners`` are those whose directory it is; ``users`` are all who would notice if it went, the
    owners among them, each with one ``references`` entry that says why. Keyed by who.
    """

    roles: set[Role] = field(default_factory=set)
    owners: dict[Key, Owner] = field(default_factory=dict)
    users: dict[Key, Owner] = field(default_factory=dict)
    references: dict[Key, Reference] = field(default_factory=dict)
    evidence: list[Evidence] = field(default_factory=list)

    def own(self, owner: Owner, why: str) -> None:
        """Add an owner, which is a user too."""
        self.owners[owner.kind, owner.id] = owner
        self.refer(owner, why)

    def refer(self, owner: Owner, why: str) -> None:
        """Add a user; the first reason given for one and the same thing stays."""
        key = (owner.kind, owner.id)
        self.users.setdefault(key, owner)
        self.references.setdefault(key, Reference(owner.kind, owner.id, owner.name, why))

    def say(self, source: str, says: str) -> None:
        """Add evidence."""
        self.evidence.append(Evidence(source, says))

    def ids(self, kind: Kind) -> set[str]:
        """The ids of its owners of one kind."""
        return {id_ for owner_kind, id_ in self.owners if owner_kind is kind}

    def uses(self, kind: Kind) -> bool:
        """Whether something of this kind would notice."""
        return any(user_kind is kind for user_kind, _ in self.users)


@dataclass(slots=True)
class Claims:
    """The claims of one witness, by directory name."""

    by_name: dict[str, Claim] = field(default_factory=dict)

    def of(self, name: str) -> Claim:
        """The claim on ``name``, made empty where there is none."""
        return self.by_name.setdefault(name, Claim())

    def get(self, name: str) -> Claim:
        """The claim on ``name``; an empty one, not kept, where there is none."""
        return self.by_name.get(name) or Claim()

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)
