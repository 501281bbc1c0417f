"""What is mounted where, in every mount namespace of this machine.

Source of the format: proc_pid_mountinfo(5); Linux fs/proc_namespace.c show_mountinfo,
fs/overlayfs/params.c ovl_show_options, include/linux/seq_file.h seq_show_option.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from app.model import Problem, within

_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")
_ELSEWHERE = ("nfs", "cifs", "smb", "fuse", "afs", "ceph", "gfs", "ocfs2", "lustre", "glusterfs")
_LIST_OPTIONS = (b"lowerdir",)
_SINGLE_OPTIONS = (b"lowerdir+", b"datadir+")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of a mountinfo file.

    ``point`` is where it is mounted and ``root`` which directory of its filesystem is seen there;
    ``device`` is ``major:minor``. ``lowers`` (top first) and ``upper`` are an overlay's, exactly as
    they were given at mount time: relative ones stay relative (dockerd changes into its driver
    directory when the options would exceed a page). ``namespace`` is the link text of
    ``/proc/<pid>/ns/mnt`` and ``pid`` the process whose view this is.
    """

    point: bytes
    root: bytes
    fstype: str
    device: str
    source: bytes
    lowers: tuple[bytes, ...]
    upper: bytes
    namespace: str
    pid: int


def read_mountinfo(text: bytes, namespace: str, pid: int) -> tuple[Mount, ...]:
    """Parse a whole mountinfo file. Lines that are not of its shape are left out."""
    return tuple(_mounts(text, namespace, pid))


def _mounts(text: bytes, namespace: str, pid: int) -> Iterator[Mount]:
    for line in text.split(b"\n"):
        # Optional fields ("shared:28") stand between the sixth field and a lone hyphen.
        head, hyphen, tail = line.partition(b" - ")
        fields, rest = head.split(b" "), tail.split(b" ")
        if not hyphen or len(fields) < 6 or len(rest) < 3:
            continue
        lowers, upper = _overlay_options(rest[2]) if rest[0] == b"overlay" else ((), b"")
        yield Mount(
            point=_unescape(fields[4]),
            root=_unescape(fields[3]),
            fstype=os.fsdecode(_unescape(rest[0])),
            device=os.fsdecode(fields[2]),
            source=_unescape(rest[1]),
            lowers=lowers,
            upper=upper,
            namespace=namespace,
            pid=pid,
        )


def _unescape(field: bytes) -> bytes:
    r"""Undo the kernel's ``\040`` for blanks, line ends, commas and backslashes."""
    if b"\\" not in field:
        return field
    return _OCTAL.sub(lambda found: bytes([int(found[1], 8)]), field)


@lru_cache(4096)
def _overlay_options(options: bytes) -> tuple[tuple[bytes, ...], bytes]:
    """Lower directories, top first, and the upper one.

    Cached: one superblock is seen from many namespaces, and its options can be 4 KiB.
    """
    lowers: list[bytes] = []
    upper = b""
    for option in options.split(b","):
        key, _, escaped = option.partition(b"=")
        value = _unescape(escaped)
        if key in _LIST_OPTIONS:
            lowers += _split_lowers(value)
        elif key in _SINGLE_OPTIONS:
            lowers.append(value)
        elif key == b"upperdir":
            upper = value
    return tuple(lowers), upper


def _split_lowers(value: bytes) -> list[bytes]:
    r"""Split at ``:`` but not at ``\:`` (overlayfs.rst: a backslash escapes the next byte).

    ``::`` before data-only layers leaves an empty piece, which is dropped.
    """
    if b"\\" not in value:
        return [piece for piece in value.split(b":") if piece]
    pieces, piece, escaped = [], bytearray(), False
    for byte in value:
        if escaped or byte not in b":\\":
            piece.append(byte)
            escaped = False
        elif byte == ord("\\"):
            escaped = True
        else:
            pieces.append(bytes(piece))
            piece.clear()
    pieces.append(bytes(piece))
    return [whole for whole in pieces if whole]


def read_own(proc: bytes = b"/proc") -> tuple[Mount, ...]:
    """The mounts that this very process sees; none where ``/proc`` cannot be read."""
    try:
        return read_mountinfo(_text(proc, "self"), "self", os.getpid())
    except OSError:
        return ()


def read_of(pid: int, proc: bytes = b"/proc") -> tuple[Mount, ...]:
    """The mounts that one process sees; none where that cannot be read."""
    try:
        return read_mountinfo(_text(proc, str(pid)), f"of process {pid}", pid)
    except OSError:
        return ()


def holding(path: bytes, mounts: Iterable[Mount]) -> Mount | None:
    """The mount that a real path lies on: the innermost, of several on one point the last."""
    found: Mount | None = None
    for mount in mounts:
        if within(path, mount.point) and (not found or len(mount.point) >= len(found.point)):
            found = mount
    return found


def is_served_elsewhere(mount: Mount) -> bool:
    """Whether other machines, or a program, may change unseen what lies on it.

    Then no process here need be the one that uses it: a daemon may work on it on another host, or
    on the directory that such a mount only passes on (fuse(4)).
    """
    return mount.fstype.startswith(_ELSEWHERE)


def spellings(path: bytes, ours: Iterable[Mount], theirs: Iterable[Mount]) -> tuple[bytes, ...]:
    """Every path by which ``theirs`` lead to what lies at our real path ``path``.

    By the directory of its file system that each mount shows (proc_pid_mountinfo(5), root). What
    another mount covers is among them.
    """
    home = holding(path, ours)
    if home is None:
        return ()
    below = path[len(home.point.rstrip(b"/")) :]
    inside = home.root.rstrip(b"/") + below
    found: dict[bytes, None] = {}
    for mount in theirs:
        if mount.device == home.device and within(inside or b"/", mount.root):
            rest = inside[len(mount.root.rstrip(b"/")) :].lstrip(b"/")
            found[os.path.join(mount.point, rest) if rest else mount.point] = None
    return tuple(found)


def read_all(proc: bytes = b"/proc") -> tuple[tuple[Mount, ...], tuple[Problem, ...]]:
    """The mounts of every mount namespace, each namespace read once.

    A process that vanishes is no problem. Namespaces that could not be looked into are one
    Problem, counted: mounts inside them stay unseen.
    """
    mounts: list[Mount] = []
    read: set[str] = set()
    # Mount ids differ between namespaces: equal texts are one namespace without a name.
    texts: set[bytes] = set()
    refused = 0
    for view in sorted(_views(proc), key=lambda view: (view.chrooted, view.pid)):
        if view.namespace in read:
            continue
        try:
            text = _text(proc, str(view.pid))
        except OSError as error:
            refused += not _vanished(error)
            continue
        read.add(view.namespace)
        if text not in texts:
            texts.add(text)
            mounts += read_mountinfo(text, view.namespace, view.pid)
    if not refused:
        return tuple(mounts), ()
    sentence = (
        f"The mounts of {refused} {'process' if refused == 1 else 'processes'} could not be read "
        "(permission denied): run whodiff with sudo to see every live mount."
    )
    return tuple(mounts), (Problem(os.fsdecode(proc), sentence),)


@dataclass(frozen=True, slots=True)
class _View:
    """A process as a window on its mount namespace; a chrooted one shows only a part."""

    namespace: str
    pid: int
    chrooted: bool


def _views(proc: bytes) -> list[_View]:
    """One view per process."""
    views = []
    for name in _listed(proc):
        if not name.isdigit():
            continue
        try:
            namespace = os.readlink(os.path.join(proc, name, b"ns", b"mnt"))
            root = os.readlink(os.path.join(proc, name, b"root"))
        except OSError as error:
            # Naming the namespace needs ptrace rights, reading its mounts does not
            # (fs/proc_namespace.c mounts_open_common): take it for one of its own.
            if not _vanished(error):
                views.append(_View(f"of process {int(name)}", int(name), chrooted=True))
            continue
        views.append(_View(os.fsdecode(namespace), int(name), root != b"/"))
    return views


def _listed(directory: bytes) -> list[bytes]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _vanished(error: OSError) -> bool:
    """A process that ended, or a zombie, which has no namespaces any more."""
    return error.errno in (errno.ENOENT, errno.ESRCH, errno.EINVAL)


def _text(proc: bytes, process: str) -> bytes:
    return Path(os.fsdecode(proc), process, "mountinfo").read_bytes()


def mount_points_below(path: bytes, mounts: Iterable[Mount]) -> frozenset[bytes]:
    """The mount points strictly below ``path``.

    Give it the mounts of one namespace (:func:`read_own` for what a scan would walk into): the
    same path can be a mount point in one namespace and a plain directory in the next.
    """
    inside = path.rstrip(b"/") + b"/"
    return frozenset(
        mount.point
        for mount in mounts
        if mount.point.startswith(inside) and len(mount.point) > len(inside)
    )
