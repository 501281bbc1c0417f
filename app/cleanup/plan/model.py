"""One removal, fully described and not yet done. Frozen dataclasses; nothing is read or changed.

A :class:`Wish` is what the user asks for. A :class:`Plan` is the answer: refused with the reason,
or the steps with everything that the one who confirms must know. Equal circumstances give equal
plans: :func:`changes` tells two plans for one wish apart, which is how a removal is stopped when
the world moved between the dialog and the confirmation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from app.host.identity import Identity
from app.host.mounts import Mount
from app.model import Daemon, Evidence, Kind, Reference


class Subject(str, Enum):
    """What was selected. ``PATH`` is anything that has a path: a layer, a file, a log, a link."""

    CONTAINER = "container"
    IMAGE = "image"
    VOLUME = "volume"
    PATH = "path"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asks for.

    ``id`` is the full id (or a volume's name) of a container, image or volume; ``path`` the
    absolute path of anything else. ``root`` is the data root. ``seen`` is what was listed there
    when the path was chosen on the screen, None where it was typed: it must be the very same now.
    ``anonymous_volumes``: they go with their container. ``insisted``: the user has been told that
    nothing will be freed, and asked again. ``namespace`` is containerd's, where the container or
    image is not the engine's own: another one may have the same id.
    """

    subject: Subject
    root: bytes
    id: str = ""
    path: bytes = b""
    seen: Identity | None = None
    anonymous_volumes: bool = False
    insisted: bool = False
    namespace: str = ""


class Action(str, Enum):
    """The call that a step makes."""

    REMOVE_CONTAINER = "remove-container"
    REMOVE_IMAGE = "remove-image"
    PRUNE_CACHE = "prune-build-cache"
    REMOVE_VOLUME = "remove-volume"
    #: A file or folder, in the mount of a running container, or in a directory nothing has mounted.
    ERASE = "erase"
    #: An unreferenced layer directory: its l/ link, then the directory.
    ERASE_LAYER = "erase-layer"
    TRUNCATE = "truncate"


@dataclass(frozen=True, slots=True)
class Place:
    """A file or directory as removal reaches it: from ``base`` down by ``names``, one at a time.

    ``base`` is an absolute path that no container can change (the data root, a mount point). It and
    every name are opened without following symbolic links; from it on, on one device, never through
    a mount point. ``identity`` is that of the last, ``origin`` that of ``base``. What is found
    there then must be the very same.
    """

    base: bytes
    origin: Identity
    names: tuple[bytes, ...]
    identity: Identity


@dataclass(frozen=True, slots=True)
class Expected:
    """A thing as the plan saw it, which the daemon must still say right before the order.

    ``name`` is what it is asked for by: a container's id, an image's name or id, a volume's name, a
    cache record's id. ``id`` is the full id that it answers with. ``created`` is its creation time
    as the daemon spells it, "" where that says nothing. ``path`` is where a volume has its data by
    the daemon's word. ``places`` are its own directories. ``volumes`` are all that a container
    uses, by name; None where they are not compared.
    """

    kind: Kind
    name: str
    id: str = ""
    created: str = ""
    path: bytes = b""
    places: tuple[Seen, ...] = ()
    volumes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A directory that the plan saw, and by what it is known again."""

    path: bytes
    identity: Identity


@dataclass(frozen=True, slots=True)
class Step:
    """One call. ``command`` is what one would type instead, for a POSIX shell.

    It does exactly what the step does and is as safe, or it is "": none.

    ``ids``: the container, the image reference (a tag, or an id), the volume's name, or the cache
    records of one prune. ``place``: what is erased or truncated. ``link``: for ERASE_LAYER the
    ``l/`` link that goes first. ``force`` and ``volumes`` are the flags of a container's removal.
    ``upper``: for what is erased through an overlay's mount, where its writable layer would have
    the same; only what lies there gives something back. ``beside``: for what is put aside before it
    is emptied, how many names of ``place`` lead to the directory that it is put into. ``known_as``:
    parts of paths, with slashes around them, by which a mount would name its layer. ``expects``:
    what the daemon must say right before its order; ``goes``: what must have gone from the disk
    afterwards.
    """

    action: Action
    command: str = ""
    ids: tuple[str, ...] = ()
    place: Place | None = None
    link: Place | None = None
    upper: bytes = b""
    beside: int | None = None
    known_as: tuple[bytes, ...] = ()
    force: bool = False
    volumes: bool = False
    expects: tuple[Expected, ...] = ()
    goes: tuple[Seen, ...] = ()

    @property
    def shown(self) -> str:
        """What it does, in few words: its command, else its action and what that is of."""
        return self.command or " ".join((self.action.value, *self.ids))


@dataclass(frozen=True, slots=True)
class Frees:
    """What a removal gives back: allocated bytes and inodes, hard links elsewhere taken off.

    ``least`` is true when that is a lower bound or cannot be known beforehand (say it: "at least").
    """

    bytes: int = 0
    inodes: int = 0
    least: bool = False

    def __add__(self, other: Frees) -> Frees:
        return Frees(
            self.bytes + other.bytes, self.inodes + other.inodes, self.least or other.least
        )

    def without(self, other: Frees) -> Frees:
        """The same when ``other`` may stay: then this is a lower bound."""
        return Frees(
            max(self.bytes - other.bytes, 0),
            max(self.inodes - other.inodes, 0),
            least=self.least or other.bytes > 0 or other.inodes > 0,
        )


class Confirmation(str, Enum):
    """How the user says yes: ``TYPED`` is the word that the plan gives."""

    PLAIN = "plain"
    TYPED = "typed"


@dataclass(frozen=True, slots=True)
class Plan:
    """One removal. It is allowed unless ``refused_because`` says why not.

    ``title`` names what goes ("container web-api-1", "volume data"); ``path`` is where it lies.
    ``instead`` is the next step for the user where it is refused. ``consequences`` are plain
    sentences, the worst first. ``references`` is everything that would break or notice, and what
    would have to go first. ``word`` is what to type for a typed confirmation. ``offers_volumes``
    are the anonymous volumes that could go with a container; ``ask_again`` is the sentence after
    which only a wish with ``insisted`` gives steps. ``filesystem`` is a path on the filesystem
    whose free space is shown before and after. ``takes`` is what is gone afterwards and may have
    shared something with others, by kind and id: containers, images, cache records, layers.
    ``daemon`` is the one that was asked; no other one is told anything.
    ``kept`` is what an image has beside that, and the build cache alone keeps. ``mounts`` are those
    of this machine that were looked at, where it removes something on disk.
    Strings come from containers: they are not safe to draw (see :func:`app.text.safe`).
    """

    wish: Wish
    title: str
    path: bytes = b""
    refused_because: str = ""
    instead: str = ""
    steps: tuple[Step, ...] = ()
    frees: Frees = field(default_factory=Frees)
    confirmation: Confirmation = Confirmation.PLAIN
    word: str = ""
    consequences: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    offers_volumes: tuple[str, ...] = ()
    ask_again: str = ""
    filesystem: bytes = b""
    takes: frozenset[tuple[Kind, str]] = frozenset()
    daemon: Daemon | None = None
    kept: Frees = field(default_factory=Frees)
    mounts: tuple[Mount, ...] = field(default=(), compare=False, repr=False)

    @property
    def allowed(self) -> bool:
        """Whether it may be carried out."""
        return not self.refused_because and bool(self.steps)

    @property
    def commands(self) -> tuple[str, ...]:
        """What one would type instead, in order; none where one of the steps has none."""
        commands = tuple(step.command for step in self.steps)
        return commands if all(commands) else ()


def changes(shown: Plan, now: Plan) -> tuple[str, ...]:
    """What differs between the plan that was confirmed and a fresh one, one sentence each.

    What it frees may differ, for containers go on writing; nothing else may.
    """
    return tuple(_changes(shown, now))


def _changes(shown: Plan, now: Plan) -> Iterator[str]:
    if now.refused_because:
        if now.refused_because != shown.refused_because:
            yield f"it is refused now: {now.refused_because}"
        return
    before, after = set(shown.references), set(now.references)
    for reference in sorted(after - before, key=lambda it: (it.kind, it.id)):
        yield f"new reference: {_named(reference)}"
    for reference in sorted(before - after, key=lambda it: (it.kind, it.id)):
        yield f"gone or changed: {_named(reference)}"
    if shown.daemon != now.daemon:
        yield "another daemon answers"
    if shown.steps != now.steps:
        yield from _other_things(shown, now)
        yield "what has to be done is not the same any more"
    for name in ("wish", "title", "path", "confirmation", "word", "consequences", "ask_again"):
        if getattr(shown, name) != getattr(now, name):
            yield f"its {name.replace('_', ' ')} is not the same any more"
    if shown.offers_volumes != now.offers_volumes:
        yield "its anonymous volumes are not the same any more"


def _other_things(shown: Plan, now: Plan) -> Iterator[str]:
    """What has the same name as before and is something else."""
    before = {(it.kind, it.name): it for step in shown.steps for it in step.expects}
    for thing in (it for step in now.steps for it in step.expects):
        then = before.get((thing.kind, thing.name), thing)
        if then.id != thing.id:
            yield f"{thing.name} now points to {thing.id.removeprefix('sha256:')[:12]}"
        elif then.places != thing.places:
            yield f"{thing.kind.value} {thing.name} was removed and created again"
        elif then.created != thing.created:
            yield f"{thing.kind.value} {thing.name} was created or changed {thing.created}"


def _named(reference: Reference) -> str:
    return f"{reference.kind.value} {reference.name or reference.id}, {reference.why}"
