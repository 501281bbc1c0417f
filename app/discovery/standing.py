"""How far each data root is believed: who could have written it, and who else shows its parts.

One directory of layers is one store, however many data roots show it through a link or a mount. It
is the store of the root whose daemon is known to work there. A root that others than root could
have written says nothing about directories that do not belong to them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from app.discovery.candidates import Host, roots_inside, serving
from app.discovery.classify import ENOUGH, is_data_root, is_remapped
from app.engine.parse import EngineInfo
from app.host import looks
from app.host.authors import authors_of
from app.host.mounts import Mount, read_own, spellings
from app.model import DataRoot, Hold, Part, within
from app.stores.drivers.overlayfs.snapshotter import PREFIX

#: What says whose the layers are, below a data root.
_NAMES = (
    b"",
    b"image",
    b"image/overlay2",
    b"image/overlay2/imagedb",
    b"image/overlay2/imagedb/content",
    b"image/overlay2/imagedb/content/sha256",
    b"image/overlay2/layerdb",
    b"image/overlay2/layerdb/mounts",
    b"image/overlay2/layerdb/sha256",
    b"containers",
    b"buildkit",
    b"overlay2",
    b"overlay2/l",
)
#: Files that say so.
_FILES = (b"buildkit/snapshots.db", b"buildkit/metadata_v2.db", b"buildkit/containerdmeta.db")
#: Below containerd's.
_THEIR_NAMES = (b"", b"io.containerd.metadata.v1.bolt", b"io.containerd.content.v1.content")
#: What two data roots may both show, or a root and another directory.
_SHARED = (b"overlay2", b"image", b"containers", b"volumes", b"buildkit", b"tmp", b"rootfs")
_TEMPORARY = b"tmp"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the roots are compared with: other places of data roots, the engine, our mounts."""

    known: tuple[bytes, ...]
    engine: EngineInfo | None
    host: Host
    mounts: tuple[Mount, ...]


def surroundings(known: Iterable[bytes], engine: EngineInfo | None, host: Host) -> Surroundings:
    """As they are now; ``known`` are paths where data roots may be, wanted or not.

    Those of daemons in containers are among them, as these see them.
    """
    real = dict.fromkeys(looks.realpath(it) for it in known)
    inner = roots_inside(host)
    return Surroundings((*real, *inner), engine, host, read_own(host.at(b"/proc")))


def with_standing(root: DataRoot, around: Surroundings) -> DataRoot:
    """The same root with who else could have written it, and its parts that are not its own."""
    strangers = strangers_of(root.path) | (_authors(root.containerd, _THEIR_NAMES) - {0})
    judged = replace(root, strangers=strangers)
    parts = [part for place in root.places for part in _parts(judged, place, around)]
    return replace(judged, parts=(*parts, *_led_to(root), *_replaced(root, around)))


def _replaced(root: DataRoot, around: Surroundings) -> Iterator[Part]:
    """Directories and files with names, deeper in the root, in whose place a link or a mount lies.

    Docker makes plain ones. Another root's names say nothing of the layers that are here.
    """
    points = {it.point for it in around.mounts}
    for name in (*_NAMES, *_FILES):
        path = os.path.join(root.path, name)
        if b"/" in name and (looks.islink(path) or path in points):
            yield Part(path, looks.realpath(path) if looks.islink(path) else b"", Hold.SHARED)


def _led_to(root: DataRoot) -> Iterator[Part]:
    """Docker's own containerd, where a link leads out of the data root to it."""
    home = os.path.join(root.path, b"containerd")
    if root.containerd and looks.islink(home) and within(root.containerd, looks.realpath(home)):
        yield Part(root.containerd, root.containerd)


def strangers_of(root: bytes) -> frozenset[int]:
    """The users other than root who could have written what a data root says of its layers.

    The user of a userns-remapped root is none, where root alone can have made it: the daemon gives
    directories in it to that user (moby daemon/daemon_unix.go setupDaemonRoot).
    """
    trusted = {0}
    if is_remapped(root) and not authors_of(os.path.dirname(root)) - {0}:
        trusted.add(int(os.path.basename(root).partition(b".")[0]))
    return _authors(root, _NAMES) - trusted


def _authors(root: bytes, names: Iterable[bytes]) -> frozenset[int]:
    if not root:
        return frozenset()
    return frozenset().union(*(authors_of(os.path.join(root, name)) for name in names))


# --- parts ----------------------------------------------------------------------------------------


def _parts(root: DataRoot, place: bytes, around: Surroundings) -> Iterator[Part]:
    """What lies right below ``place``, the root or its containerd's, and is not plainly its own."""
    for name in _entries(place):
        part = _part(root, place, name, around)
        if part.target or part.rivals or part.hold is not Hold.OWN:
            yield part


def _entries(place: bytes) -> list[bytes]:
    """The directories there that others may show as well."""
    try:
        return sorted(name for name, _ in looks.names(place, ENOUGH) if _may_be_shared(name))
    except OSError:
        return []


def _may_be_shared(name: bytes) -> bool:
    return name in _SHARED or name.startswith(PREFIX.encode())


def _part(root: DataRoot, place: bytes, name: bytes, around: Surroundings) -> Part:
    path = os.path.join(place, name)
    part = Part(path, looks.realpath(path) if looks.islink(path) else b"")
    try:
        about = looks.stat_of(path)
    except (OSError, ValueError):
        return part
    apart = bool(part.target) or any(it.point == path for it in around.mounts)
    rivals = tuple(_rivals(place, name, about, around))
    if apart and not root.speaks_for(about.st_uid):
        return replace(part, hold=Hold.FOREIGN, rivals=rivals)
    if rivals:
        return replace(part, hold=_holder(place, name, rivals, around), rivals=rivals)
    elsewhere = tuple(_elsewhere(path, about, around))
    if name == _TEMPORARY and apart and elsewhere:
        # Nothing but its place says that what is in it is temporary.
        return replace(part, hold=Hold.SHARED, rivals=elsewhere)
    return part


def root_around(directory: bytes) -> bytes:
    """The data root that this directory is a part of by where it lies, b"" without one."""
    above, name = os.path.split(directory)
    return above if name in _SHARED and names_things(above, name) else b""


def _rivals(
    place: bytes, name: bytes, about: os.stat_result, around: Surroundings
) -> Iterator[bytes]:
    """The other data roots that show the same directory and may speak for it."""
    path = os.path.join(place, name)
    real = looks.realpath(path)
    others = (real, *_elsewhere(path, about, around), *_elsewhere(real, about, around))
    beside = (os.path.dirname(it) for it in others if os.path.basename(it) == name)
    for root in dict.fromkeys((*around.known, *beside)):
        if _same(root, place) or not _shows(root, name, about) or not names_things(root, name):
            continue
        if all(it == about.st_uid for it in strangers_of(root)):
            yield root


def _elsewhere(path: bytes, about: os.stat_result, around: Surroundings) -> Iterator[bytes]:
    """Other paths of ours to the same directory, through mounts."""
    for other in spellings(path, around.mounts, around.mounts):
        if other != path and _is(other, about):
            yield other


def _shows(root: bytes, name: bytes, about: os.stat_result) -> bool:
    return _is(os.path.join(root, name), about)


def _is(path: bytes, about: os.stat_result) -> bool:
    try:
        return os.path.samestat(looks.stat_of(path), about)
    except (OSError, ValueError):
        return False


def _same(one: bytes, other: bytes) -> bool:
    try:
        return looks.samefile(one, other)
    except (OSError, ValueError):
        return False


def names_things(root: bytes, name: bytes) -> bool:
    """Whether it is a root that says whose things are: a disk with bare layers on it is none."""
    if name.startswith(PREFIX.encode()):
        return looks.isdir(os.path.join(root, b"io.containerd.metadata.v1.bolt"))
    names = (b"image/overlay2/layerdb", b"containers", b"image")
    return is_data_root(root) and any(looks.isdir(os.path.join(root, it)) for it in names)


def _holder(place: bytes, name: bytes, rivals: Sequence[bytes], around: Surroundings) -> Hold:
    """Whose it is among roots that may all speak for it: who is known to work there."""
    mine = _in_use(place, name, around)
    theirs = any(_in_use(it, name, around) for it in rivals)
    if mine == theirs:
        return Hold.SHARED
    return Hold.OWN if mine else Hold.OTHERS


def _in_use(root: bytes, name: bytes, around: Surroundings) -> bool:
    """Whether a daemon is known to work on what this root shows there.

    Of a link not by what runs in a container: there it leads somewhere else.
    """
    engine = around.engine
    if engine is not None and engine.root.startswith(b"/") and _same(root, engine.root):
        return True
    linked = looks.islink(os.path.join(root, name))
    return any(not (linked and it.inside) for it in serving(around.host, root))
