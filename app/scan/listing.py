"""The entries of one directory, for opening it on the screen, as arrays."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from app.host import looks
from app.host.identity import identify
from app.scan.descent import open_path
from app.scan.fence import Fence, Points, is_foreign
from app.scan.links import longs
from app.scan.walk import apparent_size

#: What an entry can be; :attr:`Listing.kinds` has indexes into this.
KINDS = (
    "file",
    "directory",
    "symlink",
    "whiteout",
    "device",
    "fifo",
    "socket",
)
_KIND_OF = {
    stat.S_IFREG: KINDS.index("file"),
    stat.S_IFDIR: KINDS.index("directory"),
    stat.S_IFLNK: KINDS.index("symlink"),
    stat.S_IFBLK: KINDS.index("device"),
    stat.S_IFCHR: KINDS.index("device"),
    stat.S_IFIFO: KINDS.index("fifo"),
    stat.S_IFSOCK: KINDS.index("socket"),
}
_WHITEOUT = KINDS.index("whiteout")
_BLOCK = 512
#: Entries until the first look at a listing, and how many times as many until the next.
FIRST_LOOK = 20_000
_UNTIL_NEXT = 8


@dataclass(slots=True)
class Listing:
    """One directory's entries, in no order: entry ``i`` is what stands at ``i`` in every array.

    ``bytes`` (allocated) and ``apparent`` are the entry's own; a directory's are not what is in it.
    ``mtimes`` are in whole seconds since 1970, ``nlinks`` counts hard links, ``identities`` are
    packed (:class:`app.host.identity.Identity`), empty where an entry was replaced while it was
    looked at. ``unreadable`` entries were there and could not be examined; ``mounts`` are the names
    of entries left out because another file system is mounted there.
    """

    names: list[bytes] = field(default_factory=list)
    bytes: array[int] = field(default_factory=longs)
    apparent: array[int] = field(default_factory=longs)
    kinds: array[int] = field(default_factory=lambda: array("B"))
    mtimes: array[int] = field(default_factory=longs)
    identities: list[_Name] = field(default_factory=list)
    nlinks: array[int] = field(default_factory=lambda: array("L"))
    unreadable: int = 0
    mounts: list[_Name] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)

    def kind(self, index: int) -> str:
        """What entry ``index`` is, one of KINDS. A whiteout is a character device 0:0."""
        return KINDS[self.kinds[index]]

    def add(self, name: _Name, status: os.stat_result, identity: _Name) -> None:
        """Append one entry; ``identity`` is packed."""
        self.names.append(name)
        self.bytes.append(status.st_blocks * _BLOCK)
        self.apparent.append(apparent_size(status))
        self.kinds.append(_kind(status))
        self.mtimes.append(int(status.st_mtime))
        self.identities.append(identity)
        self.nlinks.append(status.st_nlink)


#: ``Listing.bytes`` is an array; inside the class the type needs another name.
_Name = bytes


def list_directory(
    path: bytes, fence: Fence, look: Callable[[Listing], None] | None = None
) -> Listing:
    """List a directory, not its mount points. Takes about 10 µs per entry: not for the UI's thread.

    ``look`` is called with what is listed of a large one so far, after 20,000 entries and each time
    there are eight times as many; it must not keep the listing, which goes on to grow.
    Raises OSError when the directory does not answer, cannot be opened, or not be read to its end.
    Entries that vanish meanwhile are left out. No symbolic link is followed, at ``path`` neither.
    """
    listing, due = Listing(), FIRST_LOOK
    points, subvolumes = fence.below(path), fence.has_subvolumes(path)
    looks.require(path, follow=False)
    descriptor = open_path(path)
    try:
        here = _Directory(descriptor, os.fstat(descriptor).st_dev, points, subvolumes)
        with os.scandir(descriptor) as entries:
            for entry in entries:
                here.take(listing, entry)
                if look and len(listing) == due:
                    look(listing)
                    due *= _UNTIL_NEXT
    finally:
        os.close(descriptor)
    return listing


@dataclass(frozen=True, slots=True)
class _Directory:
    """The open directory that is listed, and what tells its mount points."""

    descriptor: int
    device: int
    points: Points
    subvolumes: bool

    def take(self, listing: Listing, entry: os.DirEntry[str]) -> None:
        """Put one of its entries into the listing."""
        name = os.fsencode(entry.name)
        if self.points and name in self.points and not self.points[name]:
            listing.mounts.append(name)
            return
        try:
            status = entry.stat(follow_symlinks=False)
            identity = identify(name, self.descriptor)
        except FileNotFoundError:
            return
        except OSError:
            listing.unreadable += 1
            return
        if stat.S_ISDIR(status.st_mode) and is_foreign(status, self.device, self.subvolumes):
            listing.mounts.append(name)
            return
        same = (identity.device, identity.inode) == (status.st_dev, status.st_ino)
        listing.add(name, status, identity.packed() if same else b"")


def _kind(status: os.stat_result) -> int:
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
        return _WHITEOUT
    return _KIND_OF.get(stat.S_IFMT(status.st_mode), 0)
