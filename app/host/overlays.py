"""Which directories an overlay really uses, by device and inode, whatever its options spell.

The options are as they were given: relative to where the mounter stood, in its namespace, through
symbolic links (Linux Documentation/filesystems/overlayfs.rst). They are resolved where that can be
told: from the roots of the namespaces that show the overlay, and for relative ones from the
directories that its makers stand in. An overlay with an option that leads nowhere is asked itself
(:func:`may_use`).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum

from app.host.mounts import Mount
from app.host.namespaces import Table, open_root
from app.host.roots import open_in
from app.host.statx import Spot, spot, spot_of
from app.host.within import TooLarge, walked

UPPER, LOWER, WORK = "the upper layer", "a lower layer", "the working directory"

#: What makes a relative option tell for itself where it is: a token of l/, a long random name
#: (moby), or a numbered snapshot (containerd core/mount/mount_linux.go compactLowerdirOption).
_TELLING = re.compile(rb"l/[A-Z0-9]{26}|[0-9a-z]{25,}(-init)?/diff|(snapshots/)?[0-9]+/fs")
_ABOVE = 4  # directories above a mount point or upper directory that a mounter may have stood in
_PLAIN = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
#: So many entries are compared at most.
_MOST = 500_000


@dataclass(frozen=True, slots=True)
class Option:
    """One directory that an overlay was given: the path as it was spelled, and as what."""

    path: bytes
    as_what: str


@dataclass(frozen=True, slots=True)
class Overlay:
    """One overlay, with every mount of it.

    ``inside`` are the options that lead into a known directory, by its name; ``lost`` those that
    lead nowhere, so that nobody knows what they are.
    """

    mounts: tuple[Mount, ...]
    inside: tuple[tuple[str, Option], ...] = ()
    lost: tuple[Option, ...] = ()

    def may_use_words(self, shown: Shown) -> str:
        """Why it is in doubt, in words."""
        where = os.fsdecode(self.mounts[0].point)
        if shown is Shown.SOMETHING:
            return f"the overlay at {where} shows what is in it"
        if not self.lost:
            return f"the overlay at {where} may use it: the two could not be compared"
        option = self.lost[0]
        return (
            f"the overlay at {where} may use it: {os.fsdecode(option.path)}, "
            f"{option.as_what} of it, leads nowhere"
        )


class Shown(Enum):
    """Whether an overlay shows anything of a directory."""

    SOMETHING = "something of it is seen there"
    NOTHING = "nothing of it is seen there"
    UNKNOWN = "it could not be compared"


class Roots:
    """The root directories of the namespaces of these mounts, opened when they are asked for."""

    def __init__(self, mounts: Sequence[Mount], proc: bytes = b"/proc") -> None:
        self._proc = proc
        self._tables = {it.namespace: Table(it.namespace, b"", it.pid, it.kept_by) for it in mounts}
        self._open: dict[str, int] = {}

    def of(self, namespace: str) -> int:
        """An O_PATH descriptor; "" is this process's own. Raises OSError."""
        if namespace not in self._open:
            table = self._tables.get(namespace)
            opened = open_root(table, self._proc) if table else os.open(b"/", _DIRECTORY)
            self._open[namespace] = opened
        return self._open[namespace]

    def __enter__(self) -> Roots:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()


def read_overlays(
    mounts: Sequence[Mount], roots: Roots, known: Mapping[tuple[int, int], str]
) -> tuple[Overlay, ...]:
    """Every overlay of these mounts, once, with those of its directories that lie in known ones.

    ``known`` are names of directories by device and inode.
    """
    by_device: dict[str, list[Mount]] = {}
    for mount in mounts:
        if mount.fstype == "overlay":
            by_device.setdefault(mount.device, []).append(mount)
    finder = _Finder(roots, known)
    return tuple(finder.overlay(tuple(them)) for them in by_device.values())


class _Finder:
    def __init__(self, roots: Roots, known: Mapping[tuple[int, int], str]) -> None:
        self._roots = roots
        self._known = known
        self._paths: dict[tuple[str, bytes], str | None] = {}
        self._climbed: dict[Spot, str] = {}

    def overlay(self, mounts: tuple[Mount, ...]) -> Overlay:
        """One of them, by all its mounts."""
        inside: list[tuple[str, Option]] = []
        lost: list[Option] = []
        for option in _options(mounts[0]):
            names = {self._name(*where) for where in _candidates(option.path, mounts)} - {None}
            inside += ((name, option) for name in sorted(filter(None, names)))
            if not names:
                lost.append(option)
        return Overlay(mounts, tuple(inside), tuple(lost))

    def _name(self, namespace: str, path: bytes) -> str | None:
        """The known directory that a path leads into, "" for another one; None for none at all."""
        key = namespace, path
        if key not in self._paths:
            try:
                descriptor = open_in(self._roots.of(namespace), path)
            except OSError:
                self._paths[key] = None
            else:
                with closing_descriptor(descriptor):
                    self._paths[key] = self._climb(descriptor)
        return self._paths[key]

    def _climb(self, descriptor: int) -> str:
        """Up to a known directory or the root of its mount: what that is of, mountinfo tells."""
        trail: list[Spot] = []
        above = os.dup(descriptor)
        try:
            here, name = spot_of(above), ""
            while not (name := self._known.get(here[:2], "")):
                if here in self._climbed:
                    name = self._climbed[here]
                    break
                trail.append(here)
                following = os.open(b"..", _DIRECTORY, dir_fd=above)
                os.close(above)
                above, there = following, spot_of(following)
                if there == here or there.mount != here.mount:
                    break
                here = there
        finally:
            os.close(above)
        self._climbed.update(dict.fromkeys(trail, name))
        return name


def _options(mount: Mount) -> Iterator[Option]:
    if mount.upper:
        yield Option(mount.upper, UPPER)
    if mount.work:
        yield Option(mount.work, WORK)
    yield from (Option(it, LOWER) for it in mount.lowers)


def _candidates(path: bytes, mounts: tuple[Mount, ...]) -> Iterator[tuple[str, bytes]]:
    """Where a path may be meant: in the namespaces that show the overlay, and in our own."""
    if path.startswith(b"/"):
        for namespace in (*dict.fromkeys(it.namespace for it in mounts), ""):
            yield namespace, path
    elif _TELLING.fullmatch(path):
        for mount in mounts:
            for start in filter(None, (mount.point, mount.upper, mount.work)):
                yield from _standing(path, start, mount.namespace)


def _standing(path: bytes, start: bytes, namespace: str) -> Iterator[tuple[str, bytes]]:
    above = start
    for _ in range(_ABOVE if start.startswith(b"/") else 0):
        above = os.path.dirname(above)
        for one in (namespace, ""):
            yield one, os.path.join(above, path)


@contextmanager
def closing_descriptor(descriptor: int) -> Iterator[int]:
    """Close it afterwards."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


# --- asking the overlay itself --------------------------------------------------------------------


def may_use(overlay: Overlay, directory: bytes, roots: Roots) -> Shown:
    """Whether an overlay with lost options shows anything that lies in this directory.

    What is in a lower layer is seen in the overlay with its own name and times, unless a layer on
    top hides it; and what is hidden there, nobody reads. Files of data-only layers are seen with
    other times.
    """
    entries = contents_of(directory)
    if entries is None or overlay.mounts[0].shows_otherwise:
        return Shown.UNKNOWN
    return _seen_in(overlay, entries, roots)


def contents_of(directory: bytes) -> Contents | None:
    """Of a directory; None where it cannot be looked through."""
    try:
        with closing_descriptor(os.open(directory, _DIRECTORY)) as top:
            return Contents.of(top, os.path.basename(directory))
    except (OSError, TooLarge):
        return None


def _seen_in(overlay: Overlay, entries: Contents, roots: Roots) -> Shown:
    for mount in overlay.mounts:
        try:
            with closing_descriptor(open_in(roots.of(mount.namespace), mount.point)) as top:
                # Something else may be mounted on top of it.
                if mount.root == b"/" and _device(top) == mount.device:
                    return entries.seen_below(top)
        except TooLarge:
            return Shown.UNKNOWN
        except OSError:
            continue
    return Shown.UNKNOWN


#: A name and what tells it from another one of this name: type, times of change, in nanoseconds.
Mark = tuple[str, int, int, int]


def shows(overlay: Overlay, entries: Contents, roots: Roots) -> Shown:
    """Whether an overlay shows something of a directory, in places that such a layer would have.

    For one whose options all lead elsewhere: what they led to once may have been another mount,
    which lives on below it (mount(8) ``--bind``, umount(8) ``--lazy``), or a link that was changed.
    """
    for mount in overlay.mounts:
        try:
            descriptor = open_in(roots.of(mount.namespace), mount.point)
        except OSError:
            continue
        with closing_descriptor(descriptor) as top:
            if mount.root == b"/" and _device(top) == mount.device:
                try:
                    return entries.placed_below(top)
                except (OSError, TooLarge):
                    return Shown.UNKNOWN
    return Shown.NOTHING


@dataclass(frozen=True, slots=True)
class Contents:
    """The marks of all that lies in a directory, and which names are in a directory of which name.

    The directory itself is ``""`` there, and all names are in the directory None.
    """

    marks: frozenset[Mark]
    names: Mapping[str | None, Set[str]]

    @classmethod
    def of(cls, top: int, name: bytes = b"") -> Contents:
        """Of an open directory, which is called so. Raises OSError, and TooLarge."""
        marks: set[Mark] = set()
        names: dict[str | None, set[str]] = {None: {os.fsdecode(name)}}
        for _, above, entry in walked(top):
            marks.add(_mark(entry.name, entry.stat(follow_symlinks=False)))
            for it in (None, os.fsdecode(above or name)):
                names.setdefault(it, set()).add(entry.name)
        return cls(frozenset(marks), names)

    def has(self, name: str, about: os.stat_result) -> bool:
        """Whether something with this name and these times is in it."""
        return _mark(name, about) in self.marks

    def seen_below(self, top: int) -> Shown:
        """Whether any of them is seen in the overlay that is open as ``top``.

        All of it is looked through: a directory that is merged with one of another layer has that
        one's times, and one that was renamed another name. Raises OSError, and TooLarge.
        """
        for _, _, entry in walked(top, _MOST):
            try:
                about = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if self.has(entry.name, about):
                return Shown.SOMETHING
        return Shown.NOTHING

    def placed_below(self, top: int) -> Shown:
        """The same where the overlay shows the directory, or one in it, at its own root.

        Nothing but the names that can be there is looked at, for there may be many overlays.
        Raises OSError, and TooLarge.
        """
        pending: list[tuple[bytes, str | None]] = [(b".", None)]
        mount, left = spot_of(top).mount, _MOST
        while pending:
            place, above = pending.pop()
            for entry, about in _entries(top, place, mount):
                if entry.name not in self.names.get(above, ()):
                    continue
                left -= 1
                if not left:
                    raise TooLarge
                if self.has(entry.name, about):
                    return Shown.SOMETHING
                if stat.S_ISDIR(about.st_mode) and entry.name in self.names:
                    pending.append((os.path.join(place, os.fsencode(entry.name)), entry.name))
        return Shown.NOTHING


def _entries(
    top: int, place: bytes, mount: int
) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    """What is in a directory below an open one, unless something else is mounted there."""
    if spot(place, top, follow=False).mount != mount:
        return
    with (
        suppress(FileNotFoundError, NotADirectoryError),
        closing_descriptor(os.open(place, os.O_RDONLY | _PLAIN, dir_fd=top)) as there,
        os.scandir(there) as entries,
    ):
        for entry in entries:
            with suppress(FileNotFoundError):
                yield entry, entry.stat(follow_symlinks=False)


def _mark(name: str, about: os.stat_result) -> Mark:
    return name, stat.S_IFMT(about.st_mode), about.st_ctime_ns, about.st_mtime_ns


def _device(descriptor: int) -> str:
    device = spot_of(descriptor).device
    return f"{os.major(device)}:{os.minor(device)}"
