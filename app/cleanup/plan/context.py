"""What every plan looks at: one data root as surveyed, and this machine's mounts and processes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from app.cleanup.plan import estimate as measuring
from app.cleanup.plan.commands import docker, quoted
from app.cleanup.plan.estimate import Measure
from app.cleanup.plan.model import Frees, Plan, Wish
from app.discovery.candidates import Host, Worker, serving
from app.host import looks
from app.host.holding import called, holds_below
from app.host.mounts import Mount, parsed
from app.host.namespaces import Listed, Tables, listed_mounts, read_tables
from app.host.open_files import OpenFiles, read_open_files
from app.host.overlays import Overlay, Shown
from app.host.pid_namespace import sees_machine
from app.host.pinned import first_pinned
from app.model import Container, Evidence, Kind, Layer, Owner, Problem, Reference, Role, Store
from app.stores.drivers.overlay2.mounts import Live, Use, find_live
from app.stores.drivers.overlay2.read import LayerDir, LayerGraph
from app.stores.drivers.overlayfs.mounts import match_snapshots
from app.stores.drivers.overlayfs.snapshotter import SNAPSHOTS, USUAL
from app.survey import BOTH

#: Why something may not be removed, and what to do instead.
Doubt = tuple[str, str]

_SNAPSHOTS = SNAPSHOTS + "/"
_DOCKERS_FILES = (b"/etc/hostname", b"/etc/hosts", b"/etc/resolv.conf")
_BLIND: Doubt = (
    "this is a PID namespace of its own (inside this container or LXC), and no Docker daemon that "
    "works on this data root is in it: a process or mount outside may use it, and cannot be seen "
    "from here",
    "run whodiff on the host itself, or in a container with --privileged --pid=host",
)
#: Seconds for a search of what cannot be removed.
_SEARCH = 2.0
#: What is said of an engine that nobody heard begins the way it does in a store's witnesses.
_GOING_ON = "going on with the disk alone"


@dataclass(frozen=True)
class World:
    """One data root, how to measure, and where to look for mounts and processes.

    ``now`` is unix time in seconds, ``proc`` the mount point of proc(5).
    """

    store: Store
    measure: Measure
    now: float
    proc: bytes = b"/proc"

    # The engine.

    @property
    def silence(self) -> str:
        """Why the engine cannot be asked to do anything; "" where it answers for this root."""
        if self.store.root.engine_url and self.store.witnesses == BOTH:
            return ""
        _, _, reason = self.store.witnesses.partition(": ")
        if reason == "--offline":
            return "it was not asked (--offline)"
        return (
            reason.partition(_GOING_ON)[0].rstrip(" ;:.") or "it does not answer for this data root"
        )

    @property
    def unheard(self) -> str:
        """The first list or inspect that an engine which answers did not give, or ""."""
        said = (it for it in self.store.problems if it.source.startswith("engine: "))
        # Volumes are no layers.
        return next((it.sentence for it in said if it.source != "engine: /volumes"), "")

    @cached_property
    def passed_on(self) -> Iterable[Doubt]:
        """Where another process than the daemon listens, an order by a name could go astray.

        It can pass every request on to another daemon, and Docker's API has no way to say which
        one is meant. What the daemon of this data root is, its open files below the root show; a
        socket that systemd made for it (process 1) has no other end than the daemon's.
        """
        daemon = self.store.daemon
        if daemon is None or daemon.pid <= 1:
            return ()
        if holds_below(daemon.pid, self.store.root.path, self.proc) is not False:
            return ()
        who = called(daemon.pid, self.proc)
        return (
            (
                f"{self.store.root.engine_url} is not the daemon's own socket but that of process "
                f"{daemon.pid} ({who}), which may pass the order on to another daemon",
                "name the daemon's own socket with --host",
            ),
        )

    def docker(self, *words: str) -> str:
        """The same call as one would type it."""
        return docker(self.store.root.engine_url, *words)

    # Mounts and processes, read once for a plan.

    @cached_property
    def engines(self) -> tuple[Worker, ...]:
        """The daemons' processes that work on this data root, or may do so."""
        return tuple(serving(Host(), self.store.root.path))

    def blind(self) -> Iterator[Doubt]:
        """Inside a container that sees neither the machine's processes nor the daemon's.

        What mounts or opens a file is out of sight there, so its absence proves nothing. With the
        daemon that works on this root all that it starts is in sight: its containers, their shims
        and runc are its children, and share its PID namespace or lie in one below (pid_namespaces
        (7)); for anybody outside the directory is one like any other in somebody's container.
        """
        if not any(it.sure for it in self.engines) and not sees_machine(self.proc):
            yield _BLIND

    @cached_property
    def _tables(self) -> Tables:
        return read_tables(self.proc)

    @cached_property
    def _seen(self) -> tuple[tuple[Mount, ...], tuple[Problem, ...]]:
        return parsed(self._tables, self.proc)

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """The mounts of every namespace, at this moment.

        But for those that nothing but an open descriptor keeps: :attr:`every_mount` has them.
        """
        return self._seen[0]

    @cached_property
    def _kept(self) -> Tables:
        """All tables, with those of namespaces that only an open descriptor keeps."""
        links = self.open_files.namespaces
        return read_tables(self.proc, links) if links else self._tables

    @property
    def unseen_mounts(self) -> str:
        """One sentence where some namespace could not be looked into, or ""."""
        if not self._seen[0]:
            return f"No mounts could be read below {os.fsdecode(self.proc)}."
        return next((it.sentence for it in self._seen[1]), "")

    @cached_property
    def every_mount(self) -> tuple[Mount, ...]:
        """The same with those of namespaces that only an open descriptor keeps."""
        return parsed(self._kept, self.proc)[0]

    @cached_property
    def every_unseen_mount(self) -> str:
        """:attr:`unseen_mounts`, of all these namespaces."""
        problems = parsed(self._kept, self.proc)[1]
        return self.unseen_mounts or next((it.sentence for it in problems), "")

    def uses(self, name: str) -> tuple[Use, ...]:
        """The mounts that use the layer directory ``name`` now, in any namespace."""
        return self._live.uses.get(name, ())

    def kept_uses(self, name: str) -> tuple[Use, ...]:
        """The same in namespaces that only an open descriptor keeps."""
        return self._kept_live.uses.get(name, ())

    def perhaps(self, layer: Layer) -> Iterator[tuple[Overlay, Shown]]:
        """The overlays that use, or may use, a layer directory without naming it."""
        for live in (self._live, self._kept_live):
            yield from live.perhaps(layer.path)
            yield from live.nevertheless(layer.path)

    def mounted_in(
        self, layers: Iterable[Layer], mounts: Sequence[Mount] | None = None
    ) -> Iterator[Mount]:
        """What is mounted inside these layers' directories, but for their own ``merged``."""
        looked = self.mounts if mounts is None else mounts
        return (mount for layer in layers for mount in looked if _is_inside(mount, layer))

    def is_own(self, mount: Mount) -> bool:
        """Whether this process sees that mount itself."""
        return mount.namespace == self._namespace(b"self")

    def hinders(self, mount: Mount) -> bool:
        """Whether a mount stands in the way of this process, or of the daemon."""
        places = (b"self", *(b"%d" % it.pid for it in self.engines))
        return mount.namespace in [self._namespace(it) for it in places]

    def _namespace(self, process: bytes) -> str:
        try:
            return os.fsdecode(os.readlink(os.path.join(self.proc, process, b"ns", b"mnt")))
        except OSError:
            return ""

    def container_in(self, mount: Mount) -> Owner | None:
        """The container in whose namespace a mount is, as far as that can be told.

        By the control group of a process there, else by the files that Docker mounts into each.
        """
        text = _read(os.path.join(self.proc, b"%d" % mount.pid, b"cgroup"))
        for it in self.mounts:
            if it.namespace == mount.namespace and it.point in _DOCKERS_FILES:
                text += it.root
        if self.is_own(mount):
            return None
        owners = (it.owner for it in self.store.containers)
        return next((it for it in owners if it.id and it.id.encode() in text), None)

    @cached_property
    def listed(self) -> dict[int, Listed]:
        """All mounts of all namespaces by their ids."""
        return listed_mounts(self._kept.tables)

    @cached_property
    def _live(self) -> Live:
        live = self._live_in(self.mounts)
        return replace(live, uses={**live.uses, **self._live_snapshots()})

    @cached_property
    def _kept_live(self) -> Live:
        known = {it.namespace for it in self._tables.tables}
        tables = tuple(it for it in self._kept.tables if it.namespace not in known)
        return self._live_in(parsed(Tables(tables))[0])

    def _live_in(self, mounts: Sequence[Mount]) -> Live:
        layers = [it for it in self.store.layers.values() if not it.is_snapshot]
        directories = {it.id: LayerDir(it.id, it.path) for it in layers}
        graph = LayerGraph(directories, dict(self.store.tokens))
        return find_live(mounts, graph, self.proc)

    def _live_snapshots(self) -> dict[str, tuple[Use, ...]]:
        root = self.store.root.containerd
        snapshots = {it.id: it for it in self.store.layers.values() if it.is_snapshot}
        homes = {
            it.id.rpartition(_SNAPSHOTS)[0].rstrip("/") or USUAL: os.path.dirname(it.path)
            for it in snapshots.values()
        }
        return match_snapshots(self.mounts, root, homes, snapshots).live.uses if root else {}

    @cached_property
    def open_files(self) -> OpenFiles:
        """Everything that processes hold open."""
        return read_open_files(self.proc)

    # What the store says.

    def container(self, id_: str) -> Container | None:
        """The engine's container with this full id; one of another namespace is none of its."""
        return next(
            (it for it in self.store.containers if it.owner.id == id_ and not it.owner.namespace),
            None,
        )

    def writable_snapshot(self, snapshotter: str, id_: str) -> Layer | None:
        """The layer of a container that the engine mounts at ``rootfs/<snapshotter>/<id>``."""
        container = self.container(id_)
        for layer in self.layers(container.layers if container else ()):
            it = layer.snapshot
            if it and (it.snapshotter, it.key) == (snapshotter, id_):
                return layer
        return None

    def layers(self, names: Iterable[str]) -> Iterator[Layer]:
        """Those of these layers that are there."""
        return (self.store.layers[name] for name in names if name in self.store.layers)

    def links(self, names: Iterable[str]) -> Iterator[bytes]:
        """The paths of the ``l/`` links that lead to these layers."""
        wanted = set(names)
        for token, name in self.store.tokens.items():
            path = os.path.join(self.path("overlay2", "l"), token.encode())
            if name in wanted and looks.islink(path):
                yield path

    def known_as(self, layer: Layer) -> Iterator[bytes]:
        """Parts of paths, with slashes around them, by which a mount would name this layer."""
        names = layer.path.rstrip(b"/").split(b"/")
        # A snapshot's number says nothing without the directory above it.
        yield b"/%b/" % b"/".join(names[-2:] if layer.is_snapshot else names[-1:])
        for link in self.links([layer.id]):
            yield b"/%b/" % os.path.basename(link)

    def notes_on(self, layers: Iterable[Layer]) -> Iterator[bytes]:
        """The directories in layerdb that go with these layers: the evidence names them."""
        for layer in layers:
            for it in layer.evidence:
                if it.source.endswith("/cache-id"):
                    yield os.path.dirname(os.fsencode(it.source))

    def path(self, *names: str | bytes) -> bytes:
        """A path below the data root."""
        return os.path.join(self.store.root.path, *map(os.fsencode, names))

    def filesystem(self, layers: Iterable[Layer]) -> bytes:
        """A directory that stays, on the filesystem of these layers; without any, the data root.

        The containerd root can be on another one than the data root, the driver's directory too.
        """
        return next((os.path.dirname(it.path) for it in layers), self.path())

    def frees(self, paths: Sequence[bytes]) -> Frees:
        """What removing these directories and files gives back."""
        return measuring.frees(self.measure, paths)


def _read(path: bytes) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def pinned(paths: Iterable[bytes]) -> Iterator[Doubt]:
    """What nobody can remove: the daemon would stop at it, with the rest removed already.

    It is looked for within two seconds in all; that nothing was found proves nothing.
    """
    end = time.monotonic() + _SEARCH
    for path in paths:
        found, letter = first_pinned(path, max(0.0, end - time.monotonic()))
        if found:
            what = "immutable" if letter == "i" else "append-only"
            yield (
                f"{os.fsdecode(found)} is {what}, and nobody can remove it so",
                f"take the attribute away: chattr -{letter} -- {quoted(found)}; then ask again",
            )


def _is_inside(mount: Mount, layer: Layer) -> bool:
    """Whether a mount lies inside a layer's directory, under whatever path it is seen."""
    point, inside = mount.point + b"/", layer.path + b"/"
    if layer.is_snapshot:
        # A number alone says nothing: it counts together with its snapshotter. Its own overlay is
        # never mounted in it.
        tail = b"/" + b"/".join(inside.split(b"/")[-4:])
        return point.startswith(inside) or tail in point
    name = os.path.basename(layer.path)
    own = mount.fstype == "overlay" and name in mount.upper.split(b"/")
    return not own and (point.startswith(inside) or name in point.split(b"/"))


def contents(layer: Layer) -> bytes:
    """The directory with what the layer holds: ``diff``, of a snapshot ``fs``."""
    return os.path.join(layer.path, b"fs" if layer.is_snapshot else b"diff")


def collected(layers: Iterable[Layer]) -> Iterator[str]:
    """What to know of the space of snapshots."""
    if any(layer.is_snapshot for layer in layers):
        yield "containerd gives the space back at its next collection, some seconds later"


def refused(  # noqa: PLR0913 - the keywords are fields of a Plan
    wish: Wish,
    title: str,
    why: str,
    instead: str = "",
    *,
    path: bytes = b"",
    references: Iterable[Reference] = (),
    evidence: Iterable[Evidence] = (),
) -> Plan:
    """A plan that is refused."""
    return Plan(
        wish,
        title,
        path=path or wish.path,
        refused_because=why,
        instead=instead,
        references=tuple(references),
        evidence=tuple(evidence),
    )


def silent(world: World, what: str) -> str:
    """Why ``what`` cannot be removed while the engine is silent."""
    return f"only the engine can remove {what}, and there is no word from it: {world.silence}"


def named(owner: Owner) -> str:
    """``container web``, ``untagged image 0123456789ab``: an owner in a sentence."""
    short = owner.id.removeprefix("sha256:")[:12]
    if owner.kind is Kind.IMAGE and not owner.name:
        return f"untagged image {short}"
    return f"{owner.kind.value} {owner.name or short}"


def listed(words: Sequence[str], most: int = 3) -> str:
    """``a, b, c and 4 more``."""
    head = ", ".join(words[:most])
    return f"{head} and {len(words) - most} more" if len(words) > most else head


def of_layers(layers: Iterable[Layer], kinds: Sequence[Kind]) -> tuple[Reference, ...]:
    """The references of these layers, each once, those of the first kind first."""
    found: dict[tuple[Kind, str], Reference] = {}
    for layer in layers:
        for reference in layer.references:
            if reference.kind in kinds:
                found.setdefault((reference.kind, reference.id), reference)
    return tuple(sorted(found.values(), key=lambda it: (kinds.index(it.kind), it.id)))


def held_only_by(store: Store, keys: set[tuple[Kind, str]]) -> tuple[Layer, ...]:
    """The image and cache layers that the engine removes when all of ``keys`` are gone.

    Those that nobody else holds. The layer on top counts as well: one that layerdb keeps without an
    image holds all those below it; one that nothing names holds nothing.
    """
    going: dict[str, Layer] = {}
    by_height = sorted(store.layers.values(), key=lambda it: -len(it.parents))
    for layer in by_height:
        if layer.snapshot and layer.snapshot.namespace != store.root.namespace:
            # The same image in another namespace has snapshots of its own, which stay.
            continue
        holders = {(it.kind, it.id) for it in layer.references if it.kind is not Kind.MOUNT}
        above = {id_ for kind, id_ in holders if kind is Kind.LAYER}
        held = {who for who in holders if who[0] is not Kind.LAYER} | {
            (it.kind, it.id) for it in layer.owners
        }
        free = all(
            name in going or store.layers[name].role is Role.UNREFERENCED
            for name in above
            if name in store.layers
        )
        if layer.role in (Role.IMAGE, Role.BUILD_CACHE) and held and held <= keys and free:
            going[layer.id] = layer
    return tuple(going.values())
