"""What the engine itself says about the scenario: the answers that whodiff must agree with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engine.dockerd import Engine


@dataclass(frozen=True, slots=True)
class ContainerTruth:
    """A container; ``directories`` are its writable one, its init one, then the image's, top first.

    ``volumes`` are pairs of volume name and destination; ``image`` is the user's text.
    """

    id: str
    name: str
    state: str
    pid: int
    image: str
    image_id: str
    directories: tuple[str, ...]
    compose_project: str
    compose_service: str
    volumes: tuple[tuple[str, str], ...]
    log_path: Path

    @property
    def writable(self) -> str:
        """Name of its own layer directory."""
        return self.directories[0]

    @property
    def init(self) -> str:
        """Name of its init layer directory."""
        return self.directories[1]


@dataclass(frozen=True, slots=True)
class ImageTruth:
    """An image, tagged, dangling or intermediate; ``directories`` top first."""

    id: str
    tags: tuple[str, ...]
    directories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CacheTruth:
    """A build-cache record. The engine does not tell which directory is its."""

    id: str
    type: str
    description: str
    in_use: bool
    shared: bool


@dataclass(frozen=True, slots=True)
class VolumeTruth:
    """A volume and the names of the containers, running or not, that mount it."""

    name: str
    mountpoint: Path
    users: tuple[str, ...]

    @property
    def anonymous(self) -> bool:
        """Whether the engine made up its name."""
        return re.fullmatch("[0-9a-f]{64}", self.name) is not None


@dataclass(frozen=True, slots=True)
class Truth:
    """The engine's answers, and what was done behind its back.

    ``directories`` are the names of all layer directories. ``built`` are those that appeared
    while BuildKit ran: no answer of the engine names them. ``orphan`` is the directory that a
    killed load left; ``dangling_token`` is an entry of ``l/`` whose directory was removed by hand.
    """

    root: Path
    containers: dict[str, ContainerTruth]
    images: dict[str, ImageTruth]
    cache: dict[str, CacheTruth]
    volumes: dict[str, VolumeTruth]
    directories: frozenset[str]
    built: frozenset[str]
    orphan: str
    dangling_token: str

    @property
    def image_directories(self) -> frozenset[str]:
        """Directories that belong to an image, or did to one whose container is still here."""
        of_images = {name for image in self.images.values() for name in image.directories}
        below = {n for container in self.containers.values() for n in container.directories[2:]}
        return frozenset(of_images | below)

    @property
    def cache_only(self) -> frozenset[str]:
        """Directories that only the build cache holds."""
        return self.built - self.image_directories

    def roles(self) -> dict[str, str]:
        """The role of every directory, in whodiff's words."""
        known = dict.fromkeys(self.cache_only, "build-cache")
        known |= dict.fromkeys(self.image_directories, "image")
        known |= {container.writable: "writable" for container in self.containers.values()}
        known |= {container.init: "init" for container in self.containers.values()}
        known[self.orphan] = "unreferenced"
        return known

    def image_owners(self, directory: str) -> frozenset[str]:
        """Ids of the images, tagged or not, that stand on this directory or begin with it."""
        return frozenset(i.id for i in self.images.values() if directory in i.directories)

    def container_owners(self, directory: str) -> frozenset[str]:
        """Ids of the containers that own this directory or stand on it."""
        return frozenset(c.id for c in self.containers.values() if directory in c.directories)

    def tagged(self, tag: str) -> ImageTruth:
        """The image with this tag."""
        return next(image for image in self.images.values() if tag in image.tags)


def ask(engine: Engine, built: frozenset[str], orphan: str, dangling_token: str) -> Truth:
    """Ask the engine for everything it knows."""
    containers = list(_containers(engine))
    usage = engine.get("/system/df")
    return Truth(
        root=engine.data,
        containers={container.name: container for container in containers},
        images={image.id: image for image in _images(engine)},
        cache={record.id: record for record in _cache(usage)},
        volumes={volume.name: volume for volume in _volumes(engine, containers)},
        directories=layer_names(engine.overlay2),
        built=built & layer_names(engine.overlay2),
        orphan=orphan,
        dangling_token=dangling_token,
    )


def layer_names(overlay2: Path) -> frozenset[str]:
    """Names of the layer directories that lie there now."""
    return frozenset(e.name for e in overlay2.iterdir() if e.is_dir() and e.name != "l")


def _containers(engine: Engine) -> Iterator[ContainerTruth]:
    for listed in engine.get("/containers/json?all=1"):
        answer = engine.get(f"/containers/{listed['Id']}/json")
        labels = answer["Config"]["Labels"] or {}
        yield ContainerTruth(
            id=answer["Id"],
            name=answer["Name"].lstrip("/"),
            state=answer["State"]["Status"],
            pid=answer["State"]["Pid"],
            image=answer["Config"]["Image"],
            image_id=answer["Image"],
            directories=_directories(engine, answer),
            compose_project=labels.get("com.docker.compose.project", ""),
            compose_service=labels.get("com.docker.compose.service", ""),
            volumes=tuple(
                (mount["Name"], mount["Destination"])
                for mount in answer["Mounts"]
                if mount["Type"] == "volume"
            ),
            log_path=Path(answer["LogPath"]),
        )


def _images(engine: Engine) -> Iterator[ImageTruth]:
    for listed in engine.get("/images/json?all=1"):
        answer = engine.get(f"/images/{listed['Id']}/json")
        tags = tuple(tag for tag in answer["RepoTags"] or () if tag != "<none>:<none>")
        yield ImageTruth(answer["Id"], tags, _directories(engine, answer))


def _cache(usage: dict[str, Any]) -> Iterator[CacheTruth]:
    for record in usage["BuildCache"] or ():
        yield CacheTruth(
            id=record["ID"],
            type=record["Type"],
            description=record["Description"],
            in_use=record["InUse"],
            shared=record["Shared"],
        )


def _volumes(engine: Engine, containers: list[ContainerTruth]) -> Iterator[VolumeTruth]:
    for answer in engine.get("/volumes")["Volumes"] or ():
        name = answer["Name"]
        users = (c.name for c in containers if name in (volume for volume, _ in c.volumes))
        yield VolumeTruth(name, Path(answer["Mountpoint"]), tuple(sorted(users)))


def _directories(engine: Engine, answer: dict[str, Any]) -> tuple[str, ...]:
    """Directory names from GraphDriver.Data: the upper one, then the lower ones, nearest first."""
    data = answer["GraphDriver"]["Data"]
    paths = [data["UpperDir"], *filter(None, data.get("LowerDir", "").split(":"))]
    return tuple(Path(path).relative_to(engine.overlay2).parts[0] for path in paths)
