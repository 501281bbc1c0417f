"""Whether what a process holds lies at or below one directory.

A directory is climbed from, by ``..``, until the one in question, or the root of its mount, is met
(path_resolution(7)); a file by the directory that its path leads to, if it is there and the very
same. What cannot be told in this way is looked for among all that the directory holds.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

from app.host.namespaces import Listed
from app.host.open_files import Holder, OpenFiles
from app.host.statx import Spot, spot, spot_of

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DELETED = b" (deleted)"
#: What a directory may hold to be looked through for a file whose place nobody knows.
MOST = 3_000_000


class Where(Enum):
    """Where something lies, seen from the directory in question."""

    INSIDE = "at or below it"
    OUTSIDE = "elsewhere"
    UNKNOWN = "nobody knows"


@dataclass(frozen=True, slots=True)
class Found:
    """A process that holds something of the directory; not ``sure`` where that is not certain."""

    holder: Holder
    sure: bool = True


class TooLarge(Exception):
    """A directory holds more than is looked through."""


@dataclass
class Within:
    """The question for one directory (or file), which is open as ``top``.

    ``listed`` are the mounts of all namespaces by id. Close ``top`` afterwards; nothing is followed
    or opened for reading but directories in it.
    """

    top: int
    name: bytes
    listed: Mapping[int, Listed]
    proc: bytes = b"/proc"
    _climbed: dict[Spot, Where] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._spot = spot_of(self.top)
        self._root = spot(b"/")

    # The answers.

    def holders(self, files: OpenFiles) -> Iterator[Found]:
        """Who holds something at or below the directory, each object once."""
        for held, holders in files.held.items():
            if self._may_be(held):
                yield from self._judged(held, holders)
        for (device, inode), mapped in files.mapped.items():
            if _number(device) == self._superblock:
                yield from self._judged_map(inode, mapped, files)
        for holder, path in files.paths:
            if self.of_path(path, holder.pid) is Where.INSIDE:
                yield Found(holder)
            elif self.name in path.split(b"/"):
                yield Found(holder, sure=False)

    def climb(self, descriptor: int) -> Where:
        """Where an open directory (O_PATH does) lies."""
        trail: list[Spot] = []
        here, above = spot_of(descriptor), descriptor
        try:
            while (where := self._here(here)) is None:
                trail.append(here)
                below, above = above, os.open(b"..", _DIRECTORY, dir_fd=above)
                if below != descriptor:
                    os.close(below)
                there = spot_of(above)
                if there == here or there.mount != here.mount:
                    where = self._past(here)
                    break
                here = there
        finally:
            if above != descriptor:
                os.close(above)
        self._climbed.update(dict.fromkeys(trail, where))
        return where

    def of_file(self, held: Spot, path: bytes, pid: int) -> Where:
        """Where a file lies that a process spells like this."""
        if held[:2] == self._spot[:2]:
            return Where.INSIDE
        roots = (b"/", b"%s/%d/root" % (self.proc, pid)) if path.startswith(b"/") else ()
        for root in roots:
            where = self._spelled(held, path, root)
            if where is not Where.UNKNOWN:
                return where
        return self._among(held)

    def of_path(self, path: bytes, pid: int = 0) -> Where:
        """Where lies what this path leads to, from here or from that process's root."""
        roots = (b"/", b"%s/%d/root" % (self.proc, pid)) if pid else (b"/",)
        found = Where.UNKNOWN
        for root in roots:
            try:
                with _Opened(root, path) as (parent, name):
                    spot(name, parent)
                    found = self.climb(parent)
            except OSError:
                continue
            if found is Where.INSIDE:
                break
        return found

    def files(self) -> Iterator[tuple[bytes, int]]:
        """Name and size of every regular file in it. Raises OSError, and TooLarge."""
        for _, _, entry in walked(self.top) if self._spot.is_directory else ():
            about = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(about.st_mode):
                yield os.fsencode(entry.name), about.st_size

    # One object.

    @cached_property
    def _superblock(self) -> int:
        known = self.listed.get(self._spot.mount)
        return known.device if known else self._spot.device

    def _may_be(self, held: Spot) -> bool:
        if known := self.listed.get(held.mount):
            return known.device == self._superblock
        # On a mount that is in no namespace any more, or not yet, or an older kernel.
        return held.device in (self._spot.device, 0)

    def _judged(self, held: Spot, holders: list[Holder]) -> Iterator[Found]:
        for holder in holders:
            try:
                where = self._held(held, holder)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ESRCH, errno.EINVAL):
                    continue
                where = Where.UNKNOWN
            if where is None:
                continue
            if where is not Where.OUTSIDE:
                yield Found(holder, where is Where.INSIDE)
            return

    def _held(self, held: Spot, holder: Holder) -> Where | None:
        """None where the process holds something else by now."""
        if not held.is_directory:
            try:
                path = os.readlink(holder.link)
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:
                    raise
                path = b""
            return self.of_file(held, path, holder.pid)
        descriptor = os.open(holder.link, _DIRECTORY)
        try:
            if spot_of(descriptor)[:2] != held[:2]:
                return None
            where = self.climb(descriptor)
        finally:
            os.close(descriptor)
        return self._among(held) if where is Where.UNKNOWN else where

    def _judged_map(
        self, inode: int, mapped: list[tuple[Holder, bytes]], files: OpenFiles
    ) -> Iterator[Found]:
        for holder, path in mapped:
            try:
                held = spot(holder.link)
            except OSError:
                # The mapping may have moved, and to look at it takes a privilege (CAP_SYS_ADMIN).
                held = Spot(self._spot.device, inode, 0, 0)
            if held in files.held:
                return
            where = self.of_file(held, path, holder.pid)
            if where is not Where.OUTSIDE:
                yield Found(holder, where is Where.INSIDE)
                return

    def _spelled(self, held: Spot, path: bytes, root: bytes) -> Where:
        deleted = path.endswith(_DELETED)
        try:
            with _Opened(root, path.removesuffix(_DELETED) if deleted else path) as (parent, name):
                if deleted:
                    # Its directory tells, but only what it says for certain.
                    where = self.climb(parent)
                    return where if where is Where.INSIDE else Where.UNKNOWN
                if spot(name, parent, follow=False)[:2] == held[:2]:
                    return self.climb(parent)
        except OSError:
            pass
        return Where.UNKNOWN

    # Climbing.

    def _here(self, here: Spot) -> Where | None:
        if here[:2] == self._spot[:2]:
            return Where.INSIDE
        return self._climbed.get(here)

    def _past(self, root: Spot) -> Where:
        """At the root of a mount: what that mount does not show lies above."""
        known = self.listed.get(root.mount)
        if known is None:
            return Where.OUTSIDE if root[:2] == self._root[:2] else Where.UNKNOWN
        shows_all = known.root == b"/" or self.name not in known.root.split(b"/")
        return Where.OUTSIDE if shows_all else Where.UNKNOWN

    # Among all.

    def _among(self, held: Spot) -> Where:
        if not held.inode:
            return Where.UNKNOWN
        try:
            if held[:2] in self._contents:
                return Where.INSIDE
        except (TooLarge, OSError):
            return Where.UNKNOWN
        # In an overlay that is mounted nowhere any more the same file has other numbers.
        known = os.major(held.device) or held.device in (self._spot.device, *self._devices)
        return Where.OUTSIDE if known else Where.UNKNOWN

    @cached_property
    def _devices(self) -> frozenset[int]:
        return frozenset(it.device for it in self.listed.values())

    @cached_property
    def _contents(self) -> frozenset[tuple[int, int]]:
        return frozenset(contents(self.top) if self._spot.is_directory else (self._spot[:2],))


def contents(top: int, most: int = MOST) -> Iterator[tuple[int, int]]:
    """Device and inode of an open directory and of all in it, on its own mount.

    Raises OSError, and TooLarge for more than ``most``.
    """
    yield spot_of(top)[:2]
    for device, _, entry in walked(top, most):
        yield device, entry.inode()


def walked(top: int, most: int = MOST) -> Iterator[tuple[int, bytes, os.DirEntry[str]]]:
    """All entries below an open directory, each with device and name of its directory.

    On one mount; ``top`` itself has no name. Raises OSError, and TooLarge for more than ``most``.
    """
    flat = os.open(b".", _READ, dir_fd=top)
    above: list[tuple[Spot, bytes, list[bytes]]] = []
    pending: list[bytes] = []
    count, called = 0, b""
    try:
        here = spot_of(flat)
        while True:
            with os.scandir(flat) as entries:
                for entry in entries:
                    count += 1
                    yield here.device, called, entry
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(os.fsencode(entry.name))
            if count > most:
                raise TooLarge
            while not pending:
                if not above:
                    return
                here, called, pending = above.pop()
                flat = _instead(flat, b"..")
                if spot_of(flat) != here:
                    raise OSError(errno.ESTALE, "it was moved meanwhile")
            name = pending.pop()
            if _is_mounted_on(spot(name, flat, follow=False), here):
                # Something is mounted there.
                continue
            above.append((here, called, pending))
            flat, called, pending = _instead(flat, name), name, []
            here = spot_of(flat)
    finally:
        os.close(flat)


def _is_mounted_on(there: Spot, here: Spot) -> bool:
    """Without the ids of mounts (before Linux 5.8) the device tells, of most filesystems."""
    if there.mount or here.mount:
        return there.mount != here.mount
    return there.device != here.device


def _instead(descriptor: int, name: bytes) -> int:
    """A directory in an open one, which is closed."""
    following = os.open(name, _READ, dir_fd=descriptor)
    os.close(descriptor)
    return following


class _Opened:
    """The directory of a path below a root, and the last name; never by more than PATH_MAX."""

    def __init__(self, root: bytes, path: bytes) -> None:
        self._root = root
        self._parent, self._name = os.path.split(path.lstrip(b"/").rstrip(b"/"))

    def __enter__(self) -> tuple[int, bytes]:
        root = os.open(self._root, _DIRECTORY)
        try:
            self._descriptor = os.open(self._parent or b".", _DIRECTORY, dir_fd=root)
        finally:
            os.close(root)
        return self._descriptor, self._name or b"."

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _number(device: bytes) -> int:
    """``fe:00`` of maps, as st_dev."""
    major, _, minor = device.partition(b":")
    return os.makedev(int(major, 16), int(minor, 16))
