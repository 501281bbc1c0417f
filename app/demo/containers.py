"""Containers: their two layers, layerdb/mounts, config.v2.json, hostconfig.json and logs.

Sources: moby daemon/container/container.go (toDisk), daemon/internal/layer/layer_store.go
(CreateRWLayer), daemon/logger/jsonfilelog, daemon/initlayer/setup_unix.go.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.demo.content import HOUR, put_text, set_age, timestamp
from app.demo.ids import hex_id
from app.demo.images import Image
from app.demo.layout import DRIVER, Directory, add_directory, mark_mounted, mark_used
from app.demo.volumes import is_anonymous

_NEVER = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """What to make. ``state`` is running, exited or created; ``age`` is seconds since then.

    ``volumes`` maps a mount point inside the container to a volume's name.
    """

    name: str
    image: Image
    image_name: str
    state: str = "running"
    age: float = HOUR
    command: tuple[str, ...] = ("/entrypoint.sh",)
    labels: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The container's 64-digit id."""
        return hex_id(f"container {self.name}")


@dataclass(frozen=True, slots=True)
class Container:
    """A container as made: where its own files, its directory and its current log are."""

    id: str
    layer: Directory
    init: Directory
    directory: Path
    log: Path


def compose_labels(project: str, service: str) -> dict[str, str]:
    """The labels that ``docker compose up`` gives a container."""
    return {
        "com.docker.compose.project": project,
        "com.docker.compose.service": service,
        "com.docker.compose.container-number": "1",
        "com.docker.compose.oneoff": "False",
        "com.docker.compose.project.working_dir": f"/srv/{project}",
        "com.docker.compose.project.config_files": f"/srv/{project}/compose.yaml",
    }


def add_container(root: Path, spec: ContainerSpec) -> Container:
    """Make a container on top of its image. Its own files go below ``layer.diff`` afterwards."""
    mount_id = hex_id(f"mount-id {spec.name}")
    init = add_directory(root, f"{mount_id}-init", spec.image.top.directory)
    layer = add_directory(root, mount_id, init)
    mark_used(init)
    _fill_init(init.diff)
    set_age(init.path, spec.age)
    if spec.state == "running":
        mark_mounted(layer)
    elif spec.state == "exited":
        mark_used(layer)
    mounts = root / f"image/{DRIVER}/layerdb/mounts" / spec.id
    put_text(mounts / "mount-id", mount_id)
    put_text(mounts / "init-id", f"{mount_id}-init")
    put_text(mounts / "parent", spec.image.top.chain_id)
    directory = root / "containers" / spec.id
    log = directory / f"{spec.id}-json.log"
    _fill_directory(directory, root, spec)
    if spec.state != "created":
        log.touch(mode=0o640)
    return Container(spec.id, layer, init, directory, log)


def write_log(log: Path, size: int, rotated: int) -> None:
    """Write a json-file log of about ``size`` bytes and ``rotated`` older siblings of that size.

    ``.1`` is plain, ``.2.gz`` and older are compressed.
    """
    line = json.dumps(
        {
            "log": "GET /api/orders?page=7 200 12ms\n",
            "stream": "stdout",
            "time": "2025-03-01T08:00:00.000000000Z",
        },
        separators=(",", ":"),
    )
    lines = (line + "\n").encode()
    content = lines * (size // len(lines))
    log.write_bytes(content)
    for number in range(1, rotated + 1):
        if number == 1:
            shutil.copyfile(log, f"{log}.1")
        else:
            Path(f"{log}.{number}.gz").write_bytes(gzip.compress(content, 1, mtime=0))


def _fill_init(diff: Path) -> None:
    for name in ("dev/pts", "dev/shm", "proc", "sys", "etc"):
        (diff / name).mkdir(parents=True)
    for name in (".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf"):
        (diff / name).touch()
    (diff / "etc/mtab").symlink_to("/proc/mounts")


def _fill_directory(directory: Path, root: Path, spec: ContainerSpec) -> None:
    directory.mkdir(mode=0o710)
    (directory / "checkpoints").mkdir(mode=0o700)
    (directory / "mounts").mkdir(mode=0o710)
    put_text(directory / "config.v2.json", json.dumps(_config(directory, root, spec)))
    put_text(directory / "hostconfig.json", json.dumps(_host_config(spec)))
    for name in ("config.v2.json", "hostconfig.json"):
        (directory / name).chmod(0o600)
    if spec.state == "created":
        return
    put_text(directory / "hostname", f"{spec.id[:12]}\n")
    put_text(directory / "hosts", f"127.0.0.1\tlocalhost\n172.18.0.2\t{spec.id[:12]}\n")
    put_text(directory / "resolv.conf", "nameserver 127.0.0.11\noptions ndots:0\n")
    put_text(directory / "resolv.conf.hash", hex_id("resolv.conf"))


def _config(directory: Path, root: Path, spec: ContainerSpec) -> dict[str, object]:
    started = spec.state != "created"

    def file_of_started(name: str) -> str:
        return str(directory / name) if started else ""

    return {
        "StreamConfig": {},
        "State": _state(spec),
        "ID": spec.id,
        "Created": timestamp(spec.age),
        "Managed": False,
        "Path": spec.command[0],
        "Args": list(spec.command[1:]),
        "Config": {
            "Hostname": spec.id[:12],
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": list(spec.command),
            "Image": spec.image_name,
            "Volumes": {at: {} for at, name in spec.volumes.items() if is_anonymous(name)} or None,
            "WorkingDir": "",
            "Entrypoint": None,
            "Labels": dict(spec.labels),
        },
        "Image": spec.image.id,
        "ImageManifest": None,
        "NetworkSettings": {"Networks": {}, "Ports": {}},
        "LogPath": file_of_started(f"{spec.id}-json.log"),
        "Name": f"/{spec.name}",
        "Driver": DRIVER,
        "OS": "linux",
        "RestartCount": 0,
        "HasBeenStartedBefore": started,
        "HasBeenManuallyStopped": False,
        "MountPoints": {
            inside: _mount_point(root, inside, name) for inside, name in spec.volumes.items()
        },
        "HostnamePath": file_of_started("hostname"),
        "HostsPath": file_of_started("hosts"),
        "ShmPath": "",
        "ResolvConfPath": file_of_started("resolv.conf"),
    }


def _state(spec: ContainerSpec) -> dict[str, object]:
    running = spec.state == "running"
    return {
        "Running": running,
        "Paused": False,
        "Restarting": False,
        "OOMKilled": False,
        "RemovalInProgress": False,
        "Dead": False,
        # Above the largest process id that Linux gives out, so that it never is somebody's.
        "Pid": 4_200_000 + len(spec.name) if running else 0,
        "ExitCode": 0,
        "Error": "",
        "StartedAt": _NEVER if spec.state == "created" else timestamp(spec.age),
        "FinishedAt": timestamp(spec.age / 2) if spec.state == "exited" else _NEVER,
        "Health": None,
    }


def _mount_point(root: Path, inside: str, name: str) -> dict[str, object]:
    """The spec has what was asked for: no source where nobody gave a name."""
    asked = {} if is_anonymous(name) else {"Type": "volume", "Source": name, "Target": inside}
    return {
        "Source": str(root / "volumes" / name / "_data"),
        "Destination": inside,
        "RW": True,
        "Name": name,
        "Driver": "local",
        "Type": "volume",
        "Relabel": "z",
        "Propagation": "",
        "Spec": asked,
        "SkipMountpointCreation": False,
    }


def _host_config(spec: ContainerSpec) -> dict[str, object]:
    binds = [f"{name}:{at}" for at, name in spec.volumes.items() if not is_anonymous(name)]
    return {
        "Binds": binds or None,
        "LogConfig": {"Type": "json-file", "Config": {}},
        "NetworkMode": "default",
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "AutoRemove": False,
        "Privileged": False,
        "Runtime": "runc",
    }
