"""A container's settings as far as a removal needs them, from its directory.

``hostconfig.json`` has what it was asked for (moby api/types/container/hostconfig.go), and
``config.v2.json`` in ``MountPoints`` what came of it (moby volume/mounts/mounts.go MountPoint).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from app.host.safe_read import Damage, Fields, parse_object, read_file
from app.model import Container
from app.stores.metadata.docker.containers import CONFIG

_HOST_CONFIG = "hostconfig.json"
_MOST = 16 * 1024 * 1024
_SHARED = "container:"
_SERVICE = "com.docker.swarm.service.name"
#: moby oci/oci.go DefaultPathEnv.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ROOTS = ("", "0", "root")
#: To remove what others own, wherever it lies (capabilities(7)).
_NEEDED = {"ALL", "DAC_OVERRIDE", "FOWNER"}
#: With them a container mounts what it likes, or enters other processes' file systems.
_LEADING_OUT = {"ALL", "SYS_ADMIN", "SYS_PTRACE"}


@dataclass(frozen=True, slots=True)
class Settings:
    """``shares`` are the containers, by id or name, whose namespaces this one has joined.

    ``binds`` are the host paths that it mounts, by ``--volume`` or ``--mount``. ``unnamed`` are the
    volumes that were made for it because nobody gave a name, ``images`` the ids of those that it
    mounts (``--mount type=image``). ``service`` is the swarm's, of which it is a task.
    ``auto_remove`` is ``docker run --rm``, ``restarts`` a ``--restart`` with any policy. ``known``
    is false where a file could not be read, or only in part.
    """

    auto_remove: bool = False
    restarts: bool = False
    shares: tuple[str, ...] = ()
    binds: tuple[bytes, ...] = ()
    unnamed: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    service: str = ""
    log_options: Mapping[str, str] = field(default_factory=dict)
    known: bool = True


@dataclass(frozen=True, slots=True)
class Inside:
    """What a process that ``docker exec`` starts in a container may do, and where programs are.

    ``path`` are the directories of its PATH. ``lets_root_remove``: it runs as root, with what lets
    root remove whatever is there (capabilities(7)), and the container's root can be written to.
    ``is_alone``: no link in it leads to files of the host, of a volume or of another container.
    """

    path: tuple[bytes, ...]
    lets_root_remove: bool
    is_alone: bool


def read_inside(container: Container) -> Inside | None:
    """The same of one container; None where a file could not be read. Never raises."""
    asked, made = _read(container, _HOST_CONFIG), _read(container, CONFIG)
    if asked is None or made is None:
        return None
    config = made.fields("Config")
    user = config.text("User").partition(":")[0]
    dropped = _capabilities(asked, "CapDrop")
    path = next(
        (it.partition("=")[2] for it in config.texts("Env") if it.startswith("PATH=")), _PATH
    )
    return Inside(
        tuple(os.fsencode(it) for it in path.split(":") if it.startswith("/")),
        user in _ROOTS and not dropped & _NEEDED and not asked.flag("ReadonlyRootfs"),
        _is_alone(asked, made),
    )


def _capabilities(asked: Fields, name: str) -> set[str]:
    return {it.upper().removeprefix("CAP_") for it in asked.texts(name)}


def _is_alone(asked: Fields, made: Fields) -> bool:
    """Nothing mounted but tmpfs, no other processes' /proc/PID/root, no /dev/shm of others."""
    mounts = any(it.text("Type") != "tmpfs" for it in _mounts(made))
    shown = mounts or any(asked.texts(it) for it in ("Binds", "VolumesFrom"))
    joined = any(
        asked.text(name) == "host" or asked.text(name).startswith(_SHARED)
        for name in ("PidMode", "IpcMode")
    )
    free = asked.flag("Privileged") or bool(_capabilities(asked, "CapAdd") & _LEADING_OUT)
    return not (shown or joined or free or asked.wrong or made.wrong)


def read_settings(container: Container) -> Settings:
    """The settings of one container; without a file, what the other one says. Never raises."""
    asked, made = _read(container, _HOST_CONFIG), _read(container, CONFIG)
    host, mounts = asked or Fields({}), _mounts(made or Fields({}))
    modes = [host.text(name) for name in ("NetworkMode", "IpcMode", "PidMode")]
    options = host.fields("LogConfig").fields("Config")
    settings = Settings(
        auto_remove=host.flag("AutoRemove"),
        restarts=host.fields("RestartPolicy").text("Name") not in ("", "no"),
        shares=tuple(mode.removeprefix(_SHARED) for mode in modes if mode.startswith(_SHARED)),
        binds=tuple(dict.fromkeys(_paths((*_asked_binds(host), *_made_binds(mounts))))),
        unnamed=tuple(dict.fromkeys(_unnamed(mounts))),
        images=tuple(dict.fromkeys(_images(mounts))),
        service=(made or Fields({})).fields("Config").fields("Labels").text(_SERVICE),
        log_options={name: options.text(name) for name in options.values},
    )
    known = asked is not None and made is not None and not asked.wrong and not made.wrong
    return settings if known else replace(settings, known=False)


def _read(container: Container, name: str) -> Fields | None:
    """One file of its directory; None where it cannot be read."""
    if not container.directory:
        return None
    try:
        return parse_object(read_file(os.path.join(container.directory, name.encode()), _MOST))
    except (FileNotFoundError, Damage):
        return None


def _mounts(config: Fields) -> tuple[Fields, ...]:
    points = config.fields("MountPoints")
    return tuple(points.fields(destination) for destination in points.values)


def _asked_binds(host: Fields) -> Iterator[str]:
    """``--volume`` is one text, ``--mount`` an object."""
    yield from (bind.partition(":")[0] for bind in host.texts("Binds"))
    for mount in host.objects("Mounts"):
        source, kind = mount.text("Source"), mount.text("Type")
        if kind == "bind":
            yield source


def _made_binds(mounts: Iterable[Fields]) -> Iterator[str]:
    """Old engines wrote no type; a bind has no name."""
    for mount in mounts:
        source, name, kind = mount.text("Source"), mount.text("Name"), mount.text("Type")
        if kind == "bind" or (not kind and not name):
            yield source


def _paths(sources: Iterable[str]) -> Iterator[bytes]:
    """Those that are paths of this host; ``//`` and ``..`` may stand in what was typed."""
    for source in sources:
        if source.startswith("/"):
            # POSIX lets normpath keep two slashes at the beginning.
            yield os.path.normpath("/" + source.lstrip("/")).encode()


def _unnamed(mounts: Iterable[Fields]) -> Iterator[str]:
    """The source of a volume's spec is the name that somebody gave (moby daemon/mounts.go)."""
    for mount in mounts:
        name, kind = mount.text("Name"), mount.text("Type")
        if name and kind in ("volume", "") and not mount.fields("Spec").text("Source"):
            yield name


def _images(mounts: Iterable[Fields]) -> Iterator[str]:
    """moby daemon/volumes_unix.go, from 28.0 on: the source of the spec is the image's id."""
    for mount in mounts:
        if mount.text("Type") == "image":
            yield mount.fields("Spec").text("Source")
