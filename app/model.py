"""The nouns. Frozen dataclasses that every room shares; nothing here reads, scans or draws.

Paths are ``bytes`` exactly as the kernel gives them. Ids are full. A directory's name inside a
store is a ``str`` made with :func:`os.fsdecode`, so that :func:`os.fsencode` gives the very bytes
back; it is not safe to draw before :func:`app.text.safe` has seen it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Role(str, Enum):
    """What a layer directory is to its store."""

    WRITABLE = "writable"
    INIT = "init"
    IMAGE = "image"
    BUILD_CACHE = "build-cache"
    UNREFERENCED = "unreferenced"
    PENDING_REMOVAL = "pending-removal"
    INACTIVE = "inactive"
    UNKNOWN = "unknown"


#: Ends a container's state where nobody can tell whether it still holds: the engine was not heard.
AS_LAST_SAVED = " (as last saved)"


class Kind(str, Enum):
    """What an Owner or a Reference is. ``LAYER`` and ``MOUNT`` only ever refer, they never own.

    A ``LEASE`` of containerd owns what nothing else holds any more.
    """

    CONTAINER = "container"
    IMAGE = "image"
    BUILD_CACHE = "build-cache"
    VOLUME = "volume"
    LOG = "log"
    LAYER = "layer"
    MOUNT = "mount"
    LEASE = "lease"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One file, or one answer of the engine, and what it says."""

    source: str
    says: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that could not be read or does not fit, as one sentence for people.

    ``source`` is the file, directory or call. ``hides_owners`` is true when the unreadable thing
    could have named the owner of some directory: then no directory of that store may be called
    unreferenced.
    """

    source: str
    sentence: str
    hides_owners: bool = False


@dataclass(frozen=True, slots=True)
class Owner:
    """A container, image, build-cache record, volume or log that a directory belongs to.

    ``name`` is a container's name without the leading slash, an image's first tag, a cache
    record's description or a volume's name; it can be empty. ``tags`` are all tags of an image.
    ``state`` is the engine's word for a container (``running``, ``exited``, ``created``, ...).
    ``namespace`` is containerd's, where it is not the Docker engine's own (``k8s.io``).
    """

    kind: Kind
    id: str
    name: str = ""
    state: str = ""
    image: str = ""
    tags: tuple[str, ...] = ()
    compose_project: str = ""
    compose_service: str = ""
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """Something that would break, or notice, if the layer went, and why."""

    kind: Kind
    id: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What a directory tree takes, each inode once (``st_dev``, ``st_ino``), directories included.

    ``bytes`` is allocated (``st_blocks`` x 512, as ``du --block-size=1``); ``apparent`` is the sum
    of ``st_size`` of regular files and symbolic links; ``inodes`` is a count. The exclusive
    figures leave out inodes that also have a hard link outside the tree: they are what would be
    freed. ``unreadable`` counts entries that could not be read, so that nothing is undercounted
    in silence. ``partial`` is true when the walk was stopped or has not ended. ``sized`` is false
    while only inodes were counted: then the bytes, all 0, say nothing.
    """

    bytes: int = 0
    apparent: int = 0
    inodes: int = 0
    exclusive_bytes: int = 0
    exclusive_inodes: int = 0
    unreadable: int = 0
    partial: bool = False
    sized: bool = True


@dataclass(frozen=True, slots=True)
class Headroom:
    """Used and free bytes and inodes of one filesystem (statvfs(3)).

    ``inodes_total`` is 0 where the filesystem has no inode limit (btrfs): say so, never "0 %".
    ``free`` figures are what an ordinary process may still take; ``used`` + ``free`` is what the
    percentage is of, as df(1) counts.
    """

    mount: bytes
    fstype: str
    device: str
    bytes_used: int
    bytes_free: int
    inodes_used: int
    inodes_free: int
    inodes_total: int


@dataclass(frozen=True, slots=True)
class Daemon:
    """The daemon that a survey heard: by what it is known again before it is told anything.

    ``id`` is its own (``ID`` of ``/info``; several daemons of one machine can have the same), and
    ``root`` its data root as it spells it. ``uid`` is the user of the process that listens, -1
    where that is not known; ``pid`` that process, which a restart changes, 0 where it is not
    visible from here (app/host/peer.py).
    """

    id: str
    root: bytes
    uid: int = -1
    pid: int = field(default=0, compare=False)


class ImageStore(str, Enum):
    """Which of Docker's two image stores a data root uses."""

    GRAPHDRIVER = "graphdriver"
    CONTAINERD = "containerd"
    UNDECIDED = "undecided"


class Hold(str, Enum):
    """Whose a part of a data root is, as far as that can be told.

    ``FOREIGN``: who could have written the data root does not own that part. ``OTHERS``: another
    data root shows the same directory, and its daemon works there. ``SHARED``: so do several, and
    nobody knows which of them is in use.
    """

    OWN = "own"
    FOREIGN = "foreign"
    OTHERS = "others"
    SHARED = "shared"


@dataclass(frozen=True, slots=True)
class Part:
    """A directory right below a data root that is not plainly its own.

    ``target`` is where it really lies if it is a symbolic link, else empty. ``rivals`` are the
    other data roots that show the same directory.
    """

    path: bytes
    target: bytes = b""
    hold: Hold = Hold.OWN
    rivals: tuple[bytes, ...] = ()

    @property
    def readable(self) -> bool:
        """Whether what lies there is read: never through a link to what is somebody else's."""
        return not (self.target and self.hold is Hold.FOREIGN)


@dataclass(frozen=True, slots=True)
class DataRoot:
    """One Docker data root on this host.

    ``driver`` is the directory name of the graph driver (``overlay2``), or ``overlayfs`` and the
    like where the containerd image store is in use. ``image_store`` is the one that the engine
    uses now; where both left data and nobody can tell, it is ``UNDECIDED``. ``found_by`` says in
    words how the root was found. ``engine_url`` is set when a live engine serves this root,
    ``engine_version`` is that one's own word (``20.10.24+dfsg1``).
    ``nested`` are userns-remapped roots (``<uid>.<gid>``) below it, each a DataRoot of its own.
    ``named`` is true where the user named it, or the one that it lies below: then it may be a copy,
    or another machine's, and what this machine runs proves nothing about it.
    ``containerd`` is the root directory of the containerd that keeps layers for it, empty where
    there is none; it may lie inside ``path``, or be the same where no Docker uses it.
    ``namespace`` is the one in which that containerd keeps this engine's things.
    ``strangers`` are the users other than root who could have written what it says
    (:data:`app.host.authors.ANYBODY` for more of them); ``parts`` the directories right below it
    that are not plainly its own.
    """

    path: bytes
    driver: str
    image_store: ImageStore
    found_by: str
    engine_url: str = ""
    engine_version: str = ""
    nested: tuple[bytes, ...] = ()
    containerd: bytes = b""
    namespace: str = ""
    named: bool = False
    strangers: frozenset[int] = frozenset()
    parts: tuple[Part, ...] = ()

    def speaks_for(self, uid: int) -> bool:
        """Whether it is believed about a directory of this user: root's word is, and one's own."""
        return all(it == uid for it in self.strangers)

    def part(self, path: bytes) -> Part | None:
        """The part that a path lies in; None for what is plainly this root's own."""
        return next((it for it in self.parts if within(path, it.path)), None)

    @property
    def places(self) -> tuple[bytes, ...]:
        """The directories that together hold everything of this root; none lies in another."""
        if not self.containerd or within(self.containerd, self.path):
            return (self.path,)
        return (self.path, self.containerd)


def within(path: bytes, directory: bytes) -> bool:
    """Whether ``path`` is ``directory`` or lies below it, by their spelling."""
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What containerd's snapshotter knows of a layer directory.

    ``key`` is its name within ``namespace``: a container's id, an image layer's chain id, a
    build-cache record's. ``kind`` is ``active``, ``committed`` or ``view``. ``recorded`` is what
    ``fs`` took when it was committed, in allocated bytes and inodes, directories included
    (containerd core/snapshots/storage/bolt.go, continuity fs/du_unix.go); None of all others.
    """

    key: str
    namespace: str
    snapshotter: str
    kind: str
    recorded: Usage | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """One directory of a store, with its answer: role, owners, references, and the evidence.

    ``id`` is the directory's name, of a snapshot ``snapshots/<number>``.

    ``parents`` are the ids of the layers below, nearest first. ``mounts`` are the mount points
    where it is live, in any mount namespace. ``note`` is one sentence where something is unusual
    (why a role is unknown, "being created?", a leftover), else empty. ``snapshot`` is set where
    containerd keeps the layer and knows it.
    """

    id: str
    path: bytes
    role: Role
    owners: tuple[Owner, ...] = ()
    references: tuple[Reference, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    parents: tuple[str, ...] = ()
    mounts: tuple[bytes, ...] = ()
    active: bool = True
    note: str = ""
    snapshot: Snapshot | None = None

    @property
    def is_snapshot(self) -> bool:
        """Whether containerd keeps it, known to its databases or not."""
        return "/" in self.id


@dataclass(frozen=True, slots=True)
class Container:
    """A container with the places that hold its data: its layers, its directory, its volumes.

    ``directory`` is empty, and ``volumes`` are not known, where no config of it could be read.
    ``image_id`` is the digest of its image, "" where nobody names it. ``created`` is when it was
    created as the daemon spells it, "" where that was not heard.
    """

    owner: Owner
    directory: bytes
    layers: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    image_id: str = ""
    created: str = ""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """An image with its layers, base first. ``layers`` has "" where a directory is missing.

    ``digests`` are its names by digest (``repository@sha256:...``), which keep it as tags do.
    ``blobs`` are the digests of its parts in containerd's content store: index, manifests, configs,
    compressed layers.
    """

    owner: Owner
    layers: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    digests: tuple[str, ...] = ()
    blobs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Blob:
    """One file of containerd's content store; ``owners`` are the images that consist of it."""

    digest: str
    path: bytes
    usage: Usage
    owners: tuple[Owner, ...] = ()
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A build-cache record, as either witness knows it.

    ``layer`` is the directory name of its snapshot, "" where nobody knows it. ``parents`` are the
    ids of the records that it is built on. ``alias_of`` is the record whose data this one shares.
    ``listed`` is true where the engine lists it, ``in_use`` what the engine says of that and
    ``created`` when it was created, as the engine spells it. ``blob`` is the digest of its data,
    compressed, in the content store, "" where there is none.
    """

    owner: Owner
    layer: str = ""
    parents: tuple[str, ...] = ()
    alias_of: str = ""
    listed: bool = False
    in_use: bool = False
    created: str = ""
    blob: str = ""


@dataclass(frozen=True, slots=True)
class ListedVolume:
    """What the daemon says of a volume: its driver, where its data is, and its creation time.

    ``created`` is as the daemon spells it; of a local volume it moves when its directory changes.
    """

    driver: str
    mountpoint: bytes
    created: str = ""


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume directory; ``users`` are the containers, running or not, that mount it.

    ``backing`` says where the data really is when it is not in the directory itself (a volume
    with mount options: NFS, a bind, tmpfs), else empty. ``listed`` is what the daemon says of the
    volume of this name, None where it lists none (or was not heard).
    """

    owner: Owner
    path: bytes
    anonymous: bool = False
    users: tuple[Owner, ...] = ()
    backing: str = ""
    evidence: tuple[Evidence, ...] = ()
    listed: ListedVolume | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """One data root, answered: every layer, container, image and volume, and what went wrong.

    ``layers`` is keyed by directory name. ``tokens`` maps an ``l/`` token to its directory name.
    ``dangling`` maps an ``l/`` token whose directory is gone to the path it points to. ``gone`` are
    the directories that metadata names although they are not there, by name, with what it says of
    them; they count nowhere else. ``points`` maps the mount points that whodiff itself sees to the
    layer that is mounted there. ``blobs`` are keyed by digest. ``witnesses`` says in words who
    answered (``disk and engine``, ``disk alone: ...``). ``daemon`` is who answered, if any.
    """

    root: DataRoot
    layers: dict[str, Layer] = field(default_factory=dict)
    containers: tuple[Container, ...] = ()
    images: tuple[ImageInfo, ...] = ()
    volumes: tuple[Volume, ...] = ()
    cache: tuple[CacheEntry, ...] = ()
    tokens: dict[str, str] = field(default_factory=dict)
    dangling: dict[str, bytes] = field(default_factory=dict)
    gone: dict[str, Layer] = field(default_factory=dict)
    points: dict[bytes, str] = field(default_factory=dict)
    blobs: dict[str, Blob] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    witnesses: str = ""
    daemon: Daemon | None = None
