"""Which layer directories are mounted right now, in any mount namespace.

A mount names a layer by absolute paths, by ``l/`` tokens, or relative to the driver directory when
its options would exceed a page (moby daemon/graphdriver/overlay2/mount.go mountFrom). Directory
names and tokens are random and long, so a path component that equals one is proof enough, whatever
the path looks like from another namespace.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from app.host import looks
from app.host.mounts import Mount
from app.host.overlays import (
    LOWER,
    UPPER,
    Overlay,
    Roots,
    Shown,
    contents_of,
    may_use,
    read_overlays,
    shows,
)
from app.model import Evidence, Kind, Reference
from app.stores.drivers.overlay2.read import LayerGraph

#: BuildKit's directory names are the shortest that moby makes.
SHORTEST_NAME = 25

BIND = "a bind mount"


@dataclass(frozen=True, slots=True)
class Use:
    """One live mount that uses a layer: where it is, and as what (UPPER, LOWER, WORK or BIND)."""

    point: bytes
    as_what: str
    source: str
    mount: Mount | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Live:
    """The live uses of each layer directory, by directory name.

    ``lost`` are overlays with directories that nobody could find: each may use any layer.
    ``others`` are those that use none by what is known of them.
    """

    uses: dict[str, tuple[Use, ...]] = field(default_factory=dict)
    lost: tuple[Overlay, ...] = ()
    others: tuple[Overlay, ...] = ()
    proc: bytes = b"/proc"

    def perhaps(self, path: bytes) -> Iterator[tuple[Overlay, Shown]]:
        """The overlays that use, or may use, the layer directory at ``path`` without naming it."""
        with Roots([mount for it in self.lost for mount in it.mounts], self.proc) as roots:
            for overlay in self.lost:
                shown = may_use(overlay, path, roots)
                if shown is not Shown.NOTHING:
                    yield overlay, shown

    def nevertheless(self, path: bytes) -> Iterator[tuple[Overlay, Shown]]:
        """The others that show, or may show, what is in a layer directory all the same."""
        if not self.others:
            return
        entries = contents_of(path)
        with Roots([mount for it in self.others for mount in it.mounts], self.proc) as roots:
            for overlay in self.others:
                shown = shows(overlay, entries, roots) if entries else Shown.UNKNOWN
                if shown is not Shown.NOTHING:
                    yield overlay, shown

    def points(self, name: str) -> tuple[bytes, ...]:
        """The mount points through which this layer is live, as upper, lower or bind."""
        return tuple(use.point for use in self.uses.get(name, ()))

    def references(self, name: str) -> Iterator[Reference]:
        """One reference per mount."""
        for use in self.uses.get(name, ()):
            point = os.fsdecode(use.point)
            yield Reference(Kind.MOUNT, point, point, reason(use.as_what))

    def evidence(self, name: str) -> list[Evidence]:
        """The mountinfo files that say so."""
        return [
            Evidence(use.source, f"{os.fsdecode(use.point)} uses it as {use.as_what}")
            for use in self.uses.get(name, ())
        ]


def reason(as_what: str) -> str:
    """Why a mount refers to a layer, as its Reference says it."""
    return f"mounted there as {as_what}"


def find_live(mounts: Sequence[Mount], graph: LayerGraph, proc: bytes = b"/proc") -> Live:
    """Match every mount against the directories and tokens of one driver directory.

    By name, and what names none of them by device and inode.
    """
    uses: dict[str, dict[tuple[str, str], Use]] = {}
    strange: dict[str, list[Mount]] = {}
    for mount in mounts:
        matches = list(_matches(mount, graph))
        for name, as_what in matches:
            _add(uses, name, as_what, mount)
        if mount.fstype == "overlay" and not _names_all(mount, graph):
            strange.setdefault(mount.device, []).append(mount)
    lost: list[Overlay] = []
    others: list[Overlay] = []
    for overlay in _resolved([it for them in strange.values() for it in them], graph, proc):
        for name, option in overlay.inside:
            if (overlay.mounts[0].device, option.as_what) not in uses.get(name, {}):
                _add(uses, name, option.as_what, overlay.mounts[0])
        if any(not any(_names(it.path, graph)) for it in overlay.lost):
            lost.append(overlay)
        else:
            others.append(overlay)
    found = {name: tuple(them.values()) for name, them in uses.items()}
    return Live(found, tuple(lost), tuple(others), proc)


def _add(
    uses: dict[str, dict[tuple[str, str], Use]], name: str, as_what: str, mount: Mount
) -> None:
    use = Use(mount.point, as_what, mount.source_file, mount)
    # An overlay has a device number of its own: seen from several namespaces it is one use. The
    # host's view ends in /merged and is the one people know.
    key = (os.fsdecode(mount.point) if as_what is BIND else mount.device, as_what)
    known = uses.setdefault(name, {}).get(key)
    if known is None or (mount.point.endswith(b"/merged") and not known.point.endswith(b"/merged")):
        uses[name][key] = use


def _names_all(mount: Mount, graph: LayerGraph) -> bool:
    paths = filter(None, (mount.upper, *mount.lowers))
    return all(any(_names(path, graph)) for path in paths)


def _resolved(mounts: Sequence[Mount], graph: LayerGraph, proc: bytes) -> tuple[Overlay, ...]:
    if not mounts:
        return ()
    known: dict[tuple[int, int], str] = {}
    for name, directory in graph.directories.items():
        with suppress(OSError):
            about = looks.lstat(directory.path)
            known[about.st_dev, about.st_ino] = name
    with Roots(mounts, proc) as roots:
        return read_overlays(mounts, roots, known)


def seen_at(mounts: Sequence[Mount], graph: LayerGraph) -> dict[bytes, str]:
    """The directory that is seen at each mount point: an overlay's upper one, or one bound there.

    Give it the mounts of one namespace; a later mount hides an earlier one at the same point.
    """
    return {
        mount.point: name
        for mount in mounts
        for name, as_what in _matches(mount, graph)
        if as_what is not LOWER
    }


def _matches(mount: Mount, graph: LayerGraph) -> Iterator[tuple[str, str]]:
    if mount.upper:
        yield from ((name, UPPER) for name in _names(mount.upper, graph))
    for lower in mount.lowers:
        yield from ((name, LOWER) for name in _names(lower, graph))
    if mount.fstype != "overlay":
        yield from ((name, BIND) for name in _names(mount.root, graph))


def _names(path: bytes, graph: LayerGraph) -> Iterator[str]:
    for component in os.fsdecode(path).split("/"):
        if component in graph.tokens:
            yield graph.tokens[component]
        elif len(component) >= SHORTEST_NAME and component in graph.directories:
            yield component
