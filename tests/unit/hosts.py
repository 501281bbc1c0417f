"""A made-up Docker host as plain records: what its disk says, what its engine says, and the truth.

No file is written, so that thousands of hosts can be tried. The truth is kept apart, as sets of who
was put where; it is never derived from the records.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from app.demo.ids import cache_id, chain_id, digest, hex_id, link_token
from app.engine.inventory import (
    EngineCacheRecord,
    EngineContainer,
    EngineImage,
    EngineInfo,
    EngineReading,
)
from app.model import DataRoot, ImageStore, Kind, Problem, Role
from app.stores.drivers.overlay2.read import LayerDir, LayerGraph
from app.stores.metadata.docker.buildkit import BuildkitReading, CacheRecord
from app.stores.metadata.docker.containers import ContainerRecord
from app.stores.metadata.docker.layerdb import (
    GraphdriverReading,
    ImageRecord,
    LayerRecord,
    MountRecord,
)
from app.stores.metadata.docker.read import DiskReading

NOW = 1_700_000_000.0
DAY = 86400.0
ROOT = DataRoot(b"/data", "overlay2", ImageStore.GRAPHDRIVER, "the default place")
URL = "unix:///engine.sock"

Who = tuple[Kind, str]


@dataclass
class Placed:
    """The truth of one directory: what was put there, and who stands on it."""

    base: Role = Role.UNREFERENCED
    owners: set[Who] = field(default_factory=set)
    standing: set[Who] = field(default_factory=set)

    def of(self, kind: Kind, among: set[Who]) -> set[Who]:
        return {who for who in among if who[0] is kind}

    @property
    def answer(self) -> tuple[Role, frozenset[Who]]:
        """Its role and owners, as storage-facts and the design define them."""
        if self.base is not Role.IMAGE or self.of(Kind.IMAGE, self.owners):
            return self.base, frozenset(self.owners)
        containers = self.of(Kind.CONTAINER, self.standing)
        if containers:
            return Role.IMAGE, frozenset(containers | self.owners)
        if self.owners or self.standing:
            return Role.BUILD_CACHE, frozenset(self.owners or self.standing)
        return Role.IMAGE, frozenset()


class Host:
    """Build it with the ``add_...`` methods; then there are ``disk()``, ``engine()``, ``truth``."""

    def __init__(self, root: DataRoot = ROOT) -> None:
        self.root = root
        self.directories: dict[str, LayerDir] = {}
        self.layers: dict[str, LayerRecord] = {}
        self.removing: list[LayerRecord] = []
        self.mounts: dict[str, MountRecord] = {}
        self.images: dict[str, ImageRecord] = {}
        self.containers: dict[str, ContainerRecord] = {}
        self.records: list[CacheRecord] = []
        self.unclaimed: list[str] = []
        self.truth: dict[str, Placed] = {}

    # Directories.

    def add_directory(self, name: str, below: str = "", age: float = 30 * DAY) -> str:
        parents = (below, *self.directories[below].parents) if below else ()
        path = b"/data/overlay2/" + name.encode()
        self.directories[name] = LayerDir(
            name, path, link_token(name), parents, mtime=NOW - age, has_diff=True
        )
        self.truth[name] = Placed()
        return name

    def change(self, name: str, **changes: object) -> None:
        self.directories[name] = replace(self.directories[name], **changes)  # type: ignore[arg-type]

    # Layers of layerdb; a chain id stands for each.

    def add_layer(self, seed: str, below: str = "", name: str = "") -> str:
        diff = digest(f"diff {seed}")
        chain = chain_id(below, diff)
        directory = name or hex_id(f"cache {seed}")
        if directory not in self.directories:
            self.add_directory(directory, self.layers[below].cache_id if below else "")
        self.layers[chain] = LayerRecord(
            chain, directory, below, diff, 1, False, b"/data/layerdb/" + chain.encode()
        )
        self.truth[directory].base = Role.IMAGE
        return chain

    def start_removal(self, chain: str) -> str:
        layer = self.layers.pop(chain)
        self.removing.append(replace(layer, removing=True))
        self.truth[layer.cache_id].base = Role.PENDING_REMOVAL
        return layer.cache_id

    def stack(self, chain: str) -> tuple[str, ...]:
        """The chain ids from the base up to ``chain``."""
        found: list[str] = []
        while chain:
            found.append(chain)
            chain = self.layers[chain].parent
        return tuple(reversed(found))

    def directory(self, chain: str) -> str:
        return self.layers[chain].cache_id

    # Who owns them.

    def add_image(self, chain: str, *tags: str) -> str:
        id_ = digest(f"image {chain} {tags}")
        stack = self.stack(chain)
        self.images[id_] = ImageRecord(
            id_, stack, tags, (), "", b"/data/imagedb/" + id_[7:].encode()
        )
        for each in stack:
            self.truth[self.directory(each)].owners.add((Kind.IMAGE, id_))
        return id_

    def add_container(self, name: str, chain: str = "", state: str = "exited") -> str:
        id_, mount = hex_id(f"container {name}"), hex_id(f"mount {name}")
        init = self.add_directory(f"{mount}-init", self.directory(chain) if chain else "")
        self.add_directory(mount, init)
        path = b"/data/containers/" + id_.encode()
        self.mounts[id_] = MountRecord(id_, mount, init, chain, b"/data/mounts/" + id_.encode())
        self.containers[id_] = ContainerRecord(
            id_, name, state, 0, "app:1", digest("app"), "overlay2", "", "", "", (), b"", path
        )
        who = (Kind.CONTAINER, id_)
        for directory, role in ((mount, Role.WRITABLE), (init, Role.INIT)):
            self.truth[directory] = Placed(role, {who})
        for each in self.stack(chain):
            self.truth[self.directory(each)].standing.add(who)
        return id_

    def add_record(self, seed: str, **more: str) -> str:
        """A cache record; give ``directory`` or ``chain_id`` as the databases do."""
        id_ = cache_id(f"record {seed}")
        record = CacheRecord(id_, **{"directory": "", **more})  # type: ignore[arg-type]
        self.records.append(record)
        who = (Kind.BUILD_CACHE, id_)
        own = record.directory or self.directory(record.chain_id)
        placed = self.truth[own]
        placed.owners.add(who)
        if placed.base is Role.UNREFERENCED:
            placed.base = Role.BUILD_CACHE
        for chain in (record.chain_id, record.parent):
            if chain in self.layers and (chain == record.parent or not record.directory):
                for each in self.stack(chain):
                    self.truth[self.directory(each)].standing.add(who)
        return id_

    # What the two witnesses say.

    def disk(self, *problems: Problem, last_write: float = 0.0) -> DiskReading:
        users: dict[str, list[str]] = {}
        for it in self.directories.values():
            for parent in it.parents:
                users.setdefault(parent, []).append(it.name)
        graph = LayerGraph(
            dict(self.directories),
            {it.token: it.name for it in self.directories.values()},
            {name: tuple(above) for name, above in users.items()},
        )
        names = GraphdriverReading(
            dict(self.layers), tuple(self.removing), dict(self.mounts), dict(self.images)
        )
        buildkit = BuildkitReading(tuple(self.records), (), tuple(self.unclaimed))
        return DiskReading(
            self.root, graph, names, dict(self.containers), (), buildkit, problems, last_write
        )

    def engine(self) -> EngineReading:
        info = EngineInfo(URL, "id", "29", "1.51", "overlay2", b"/data", self.root.image_store)
        containers = {}
        for id_, mount in self.mounts.items():
            record = self.containers[id_]
            names = (mount.mount_id, *self.directories[mount.mount_id].parents)
            containers[id_] = EngineContainer(id_, record.name, record.state, directories=names)
        images = {
            id_: EngineImage(
                id_,
                image.tags,
                directories=tuple(self.directory(each) for each in reversed(image.chain_ids)),
            )
            for id_, image in self.images.items()
        }
        complete = frozenset({Kind.CONTAINER, Kind.IMAGE, Kind.BUILD_CACHE, Kind.VOLUME})
        cache = {it.id: EngineCacheRecord(it.id, description="RUN") for it in self.records}
        return EngineReading(info, containers, images, cache, complete=complete)
