"""What the engine's answers mean: plain data out of parsed JSON, without asking anybody.

Shapes: moby api/types at v20.10.24 (API 1.41) up to API 1.56. Nothing is taken on trust: a value
of a wrong type reads as empty, and an entry that cannot be understood is counted, so that the list
it stands in is not called complete.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from app.host.peer import Peer
from app.model import Daemon, ImageStore, Kind, Problem

#: Graph drivers whose inspect answers name directories (moby: each driver's GetMetadata).
PATH_DRIVERS = frozenset({"overlay2", "fuse-overlayfs", "overlay"})
GRAPH_DRIVERS = PATH_DRIVERS | {"btrfs", "zfs", "vfs", "aufs", "devicemapper"}

_SURROGATES = re.compile("[\ud800-\udfff]")
_ID = re.compile(r"(sha256:)?[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Who answers: ``/version`` and ``/info`` together.

    ``root`` is DockerRootDir, with userns-remap the ``<uid>.<gid>`` directory. ``api_version`` is
    the one spoken with this engine. ``name`` is the host's name as the engine gives it.
    ``containerd`` is the socket of the containerd in use and ``namespace`` where this engine's
    containers are in it; both from API 1.46 on, else empty. ``peer`` is who listens there.
    """

    url: str
    id: str
    version: str
    api_version: str
    driver: str
    root: bytes
    image_store: ImageStore
    name: str = ""
    userns: bool = False
    rootless: bool = False
    containerd: bytes = b""
    namespace: str = ""
    peer: Peer | None = None

    @property
    def daemon(self) -> Daemon:
        """By what it is known again."""
        return daemon_of(self.id, self.root, self.peer)


def daemon_of(id_: str, root: bytes, peer: Peer | None) -> Daemon:
    """By what a daemon is known again."""
    return Daemon(id_, root, peer.uid, peer.pid) if peer else Daemon(id_, root)


@dataclass(frozen=True, slots=True)
class EngineContainer:
    """A container as the engine lists and inspects it; ``name`` has no leading slash.

    ``directories``: the writable layer, then the lower ones, nearest first. ``error`` is one
    sentence where the inspect failed; the directories are then unknown, not absent. ``created`` is
    as inspect spells it, "" where it was not asked.
    """

    id: str
    name: str
    state: str = ""
    image: str = ""
    image_id: str = ""
    compose_project: str = ""
    compose_service: str = ""
    directories: tuple[str, ...] = ()
    error: str = ""
    created: str = ""


@dataclass(frozen=True, slots=True)
class EngineImage:
    """An image as the engine lists and inspects it, intermediate ones too.

    ``directories`` are its layers, top first. Of an image in containerd, which has none,
    ``diff_ids`` are its layers, base first. ``error`` as with a container.
    """

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    diff_ids: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class EngineCacheRecord:
    """A build-cache record; its id is BuildKit's, which is not always a directory's name."""

    id: str
    type: str = ""
    description: str = ""
    in_use: bool = False
    shared: bool = False
    parents: tuple[str, ...] = ()
    created: str = ""


@dataclass(frozen=True, slots=True)
class EngineVolume:
    """A volume as the engine lists it.

    ``created`` is its CreatedAt, to the second: of the local driver the time of the last change
    (ctime) of its directory, up to 20.10 of ``_data`` (moby volume/local/local_unix.go CreatedAt).
    """

    name: str
    driver: str = ""
    mountpoint: bytes = b""
    created: str = ""
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EngineReading:
    """Everything the engine said. ``complete`` holds the kinds whose lists it answered wholly.

    An entry whose inspect failed does not make its list incomplete: the entry itself says so.
    """

    info: EngineInfo
    containers: dict[str, EngineContainer] = field(default_factory=dict)
    images: dict[str, EngineImage] = field(default_factory=dict)
    cache: dict[str, EngineCacheRecord] = field(default_factory=dict)
    volumes: dict[str, EngineVolume] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    complete: frozenset[Kind] = frozenset()


class ShapeError(Exception):
    """An answer that is not of the shape it must have; the text completes "it gave ..."."""


# --- values of any type, read without trust -------------------------------------------------------


def word(value: object) -> str:
    """A text, or "" where there is none; half surrogate pairs, which nothing encodes, replaced."""
    return _SURROGATES.sub("\ufffd", value) if isinstance(value, str) else ""


def mapping(value: object) -> dict[str, object]:
    """An object, or an empty one."""
    return value if isinstance(value, dict) else {}


def words(value: object) -> tuple[str, ...]:
    """The texts in a list; Go writes an empty list as null."""
    listed = value if isinstance(value, list) else []
    return tuple(word(item) for item in listed if isinstance(item, str))


def as_path(value: object) -> bytes:
    """A path as bytes; b"" where it can be none (no text, a NUL byte in it)."""
    text = word(value)
    return b"" if "\0" in text else text.encode()


def entries(answer: object, what: str) -> Iterator[dict[str, object] | None]:
    """The objects in a list; None for each entry that is no object. Raises ShapeError."""
    if answer is None:
        return
    if not isinstance(answer, list):
        raise ShapeError(f"no list of {what}")
    for entry in answer:
        yield entry if isinstance(entry, dict) else None


# --- who answers ----------------------------------------------------------------------------------


def numbered(version: object) -> tuple[int, int] | None:
    """ "1.41" as numbers that compare rightly; None where it is no version."""
    found = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", word(version))
    return (int(found[1]), int(found[2])) if found else None


def spoken_version(version: object, tested: str) -> str:
    """The API version to speak: the newest tested one, within what the engine offers."""
    answer = mapping(version)
    newest = numbered(answer.get("ApiVersion"))
    if newest is None:
        raise ShapeError("no API version")
    oldest = numbered(answer.get("MinAPIVersion")) or (0, 0)
    major, minor = max(min(numbered(tested) or newest, newest), oldest)
    return f"{major}.{minor}"


def is_podman(version: object) -> bool:
    """Whether podman's imitation of the API answers (podman pkg/api/handlers/compat/version.go)."""
    components = mapping(version).get("Components")
    listed = components if isinstance(components, list) else []
    return any("podman" in word(mapping(one).get("Name")).lower() for one in listed)


def info_from(url: str, api_version: str, version: object, info: object) -> EngineInfo:
    """Put ``/version`` and ``/info`` together. Raises ShapeError."""
    answer = mapping(info)
    root = as_path(answer.get("DockerRootDir"))
    if not root:
        raise ShapeError("no data root (DockerRootDir)")
    security = words(answer.get("SecurityOptions"))
    containerd = mapping(answer.get("Containerd"))
    return EngineInfo(
        url=url,
        id=word(answer.get("ID")),
        version=word(mapping(version).get("Version")),
        api_version=api_version,
        driver=word(answer.get("Driver")),
        root=root,
        image_store=_image_store(answer),
        name=word(answer.get("Name")),
        userns=any(option.startswith("name=userns") for option in security),
        rootless=any(option.startswith("name=rootless") for option in security),
        containerd=as_path(containerd.get("Address")).removeprefix(b"unix://"),
        namespace=word(mapping(containerd.get("Namespaces")).get("Containers")),
    )


def _image_store(info: dict[str, object]) -> ImageStore:
    """The containerd store calls its snapshotter the driver and says so in DriverStatus.

    moby daemon/containerd/service.go LayerStoreStatus.
    """
    status = info.get("DriverStatus")
    for pair in status if isinstance(status, list) else []:
        if words(pair) == ("driver-type", "io.containerd.snapshotter.v1"):
            return ImageStore.CONTAINERD
    driver = word(info.get("Driver"))
    return ImageStore.GRAPHDRIVER if driver in GRAPH_DRIVERS else ImageStore.UNDECIDED


# --- lists ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listed:
    """The entries of one list that could be understood, as given, and the number of the others."""

    entries: dict[str, dict[str, object]]
    odd: int


def listed(answer: object, what: str) -> Listed:
    """Containers or images by full id. Raises ShapeError where it is no list."""
    found: dict[str, dict[str, object]] = {}
    odd = 0
    for entry in entries(answer, what):
        id_ = word(entry.get("Id")) if entry else ""
        if entry and _ID.fullmatch(id_):
            found[id_] = entry
        else:
            odd += 1
    return Listed(found, odd)


def container_from(entry: dict[str, object]) -> EngineContainer:
    """An entry of ``/containers/json``; its directories are not in there."""
    names = words(entry.get("Names"))
    # A link gives a container further names of two parts ("/other/alias"); its own has one.
    own = [name for name in names if name.count("/") <= 1] or list(names)
    labels = mapping(entry.get("Labels"))
    return EngineContainer(
        id=word(entry.get("Id")),
        name=(own[0] if own else "").removeprefix("/"),
        state=word(entry.get("State")),
        image=word(entry.get("Image")),
        image_id=word(entry.get("ImageID")),
        compose_project=word(labels.get("com.docker.compose.project")),
        compose_service=word(labels.get("com.docker.compose.service")),
    )


def image_from(entry: dict[str, object]) -> EngineImage:
    """An entry of ``/images/json``. Untagged is ``<none>:<none>`` before API 1.43, then []."""
    return EngineImage(
        id=word(entry.get("Id")),
        tags=tuple(tag for tag in words(entry.get("RepoTags")) if tag != "<none>:<none>"),
        digests=tuple(
            digest for digest in words(entry.get("RepoDigests")) if digest != "<none>@<none>"
        ),
    )


def directories(inspected: object, info: EngineInfo) -> tuple[str, ...]:
    """The directory names in GraphDriver.Data: the upper one, then the lower ones as given.

    For a container that is the writable layer, its init layer, then the image's layers, nearest
    first; for an image its top layer first. The legacy driver ``overlay`` has RootDir for
    images. Raises ShapeError where there is no Data or a path lies outside the data root, for
    then the directories are not known.
    """
    answer = mapping(inspected)
    if "RootFS" in answer and not words(mapping(answer["RootFS"]).get("Layers")):
        return ()  # an image without a single layer
    data = mapping(mapping(answer.get("GraphDriver")).get("Data"))
    paths = [as_path(data[key]) for key in ("UpperDir", "RootDir") if key in data]
    paths += as_path(data.get("LowerDir")).split(b":") if data.get("LowerDir") else []
    if not paths:
        raise ShapeError("no directories in GraphDriver.Data")
    home = b"%s/%s/" % (info.root.rstrip(b"/"), info.driver.encode())
    names = []
    for path in paths:
        name = path.removeprefix(home).split(b"/")[0] if path.startswith(home) else b""
        if not name:
            raise ShapeError("a layer outside its own data root")
        names.append(name.decode("utf-8", "surrogateescape"))
    return tuple(dict.fromkeys(names))


def diff_ids(inspected: object) -> tuple[str, ...]:
    """RootFS.Layers of an image inspect, base first, of every API version."""
    return words(mapping(mapping(inspected).get("RootFS")).get("Layers"))


def cache_from(answer: object) -> tuple[dict[str, EngineCacheRecord], int]:
    """The records in a ``/system/df`` answer of any version, and how many made no sense.

    ``BuildCache`` up to API 1.51, ``BuildCacheUsage.Items`` from 1.52. Raises ShapeError.
    """
    usage = mapping(mapping(answer).get("BuildCacheUsage"))
    if not isinstance(answer, dict) or not {"BuildCache", "BuildCacheUsage"} & answer.keys():
        raise ShapeError("no list of build-cache records")
    legacy = answer.get("BuildCache")
    items = legacy if legacy is not None else usage.get("Items")
    if items is None and usage.get("TotalCount"):
        raise ShapeError("a count of build-cache records without the records")
    found: dict[str, EngineCacheRecord] = {}
    odd = 0
    for entry in entries(items, "build-cache records"):
        if entry and word(entry.get("ID")):
            record = _cache_record(entry)
            found[record.id] = record
        else:
            odd += 1
    return found, odd


def _cache_record(entry: dict[str, object]) -> EngineCacheRecord:
    # The key " Parents" has a leading blank in moby api/types/build/cache.go of 24.0 and later.
    parents = words(entry.get("Parents")) or words(entry.get(" Parents"))
    parent = word(entry.get("Parent"))
    return EngineCacheRecord(
        id=word(entry.get("ID")),
        type=word(entry.get("Type")),
        description=word(entry.get("Description")),
        in_use=entry.get("InUse") is True,
        shared=entry.get("Shared") is True,
        parents=parents or ((parent,) if parent else ()),
        created=word(entry.get("CreatedAt")),
    )


def volumes_from(answer: object) -> tuple[dict[str, EngineVolume], int]:
    """The volumes in a ``/volumes`` answer, and how many made no sense. Raises ShapeError."""
    if not isinstance(answer, dict):
        raise ShapeError("no list of volumes")
    found: dict[str, EngineVolume] = {}
    odd = 0
    for entry in entries(answer.get("Volumes"), "volumes"):
        name = word(entry.get("Name")) if entry else ""
        if not entry or not name:
            odd += 1
            continue
        labels = mapping(entry.get("Labels"))
        found[name] = EngineVolume(
            name=name,
            driver=word(entry.get("Driver")),
            mountpoint=as_path(entry.get("Mountpoint")),
            created=word(entry.get("CreatedAt")),
            labels={word(key): word(value) for key, value in labels.items()},
        )
    return found, odd
