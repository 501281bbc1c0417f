"""What is mounted where, in every mount namespace of this machine.

Source of the format: proc_pid_mountinfo(5); Linux fs/proc_namespace.c show_mountinfo,
fs/overlayfs/params.c ovl_show_options, include/linux/seq_file.h seq_show_option.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from app.host.namespaces import Tables, read_tables, unescape
from app.model import Problem, within

_ELSEWHERE = ("nfs", "cifs", "smb", "fuse", "afs", "ceph", "gfs", "ocfs2", "lustre", "glusterfs")
_LIST_OPTIONS = (b"lowerdir",)
#: With these, what lies in a layer may be seen with other times than its own.
_OTHERWISE = (b"datadir+", b"metacopy=on")
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
    kept_by: bytes = b""
    work: bytes = b""
    shows_otherwise: bool = False

    @property
    def source_file(self) -> str:
        """The mountinfo file that says so, or what keeps its namespace."""
        if self.pid:
            return f"/proc/{self.pid}/mountinfo"
        return f"the mounts of the namespace {os.fsdecode(self.kept_by) or self.namespace}"


def read_mountinfo(
    text: bytes, namespace: str, pid: int, kept_by: bytes = b""
) -> tuple[Mount, ...]:
    """Parse a whole mountinfo file. Lines that are not of its shape are left out."""
    return tuple(_mounts(text, namespace, pid, kept_by))


def _mounts(text: bytes, namespace: str, pid: int, kept_by: bytes) -> Iterator[Mount]:
    for line in text.split(b"\n"):
        # Optional fields ("shared:28") stand between the sixth field and a lone hyphen.
        head, hyphen, tail = line.partition(b" - ")
        fields, rest = head.split(b" "), tail.split(b" ")
        if not hyphen or len(fields) < 6 or len(rest) < 3:
            continue
        overlay = rest[0] == b"overlay"
        lowers, upper, work, otherwise = _overlay_options(rest[2]) if overlay else _NO_OPTIONS
        yield Mount(
            point=unescape(fields[4]),
            root=unescape(fields[3]),
            fstype=os.fsdecode(unescape(rest[0])),
            device=os.fsdecode(fields[2]),
            source=unescape(rest[1]),
            lowers=lowers,
            upper=upper,
            namespace=namespace,
            pid=pid,
            kept_by=kept_by,
            work=work,
            shows_otherwise=otherwise,
        )


_Options = tuple[tuple[bytes, ...], bytes, bytes, bool]
_NO_OPTIONS: _Options = ((), b"", b"", False)


@lru_cache(4096)
def _overlay_options(options: bytes) -> _Options:
    """Lower directories, top first, the upper one, the one that it works in, ``shows_otherwise``.

    Cached: one superblock is seen from many namespaces, and its options can be 4 KiB.
    """
    lowers: list[bytes] = []
    upper = work = b""
    otherwise = False
    for option in options.split(b","):
        key, _, escaped = option.partition(b"=")
        value = unescape(escaped)
        if key in _LIST_OPTIONS:
            lowers += _split_lowers(value)
            otherwise = otherwise or b"::" in value
        elif key in _SINGLE_OPTIONS:
            lowers.append(value)
        elif key == b"upperdir":
            upper = value
        elif key == b"workdir":
            work = value
        otherwise = otherwise or key in _OTHERWISE or option in _OTHERWISE
    return tuple(lowers), upper, work, otherwise


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

    Namespaces that could not be looked into are one Problem: mounts inside them stay unseen.
    """
    return parsed(read_tables(proc), proc)


def parsed(tables: Tables, proc: bytes = b"/proc") -> tuple[tuple[Mount, ...], tuple[Problem, ...]]:
    """The same of tables that were read."""
    mounts: list[Mount] = []
    for table in tables.tables:
        mounts += read_mountinfo(table.text, table.namespace, table.pid, table.kept_by)
    sentence = unseen_mounts(tables, root=os.geteuid() == 0)
    return tuple(mounts), (Problem(os.fsdecode(proc), sentence),) if sentence else ()


def unseen_mounts(tables: Tables, *, root: bool) -> str:
    """One sentence where some namespace could not be read, or ""."""
    if tables.closed:
        at = os.fsdecode(tables.closed[0])
        return f"The mount namespace that {at} keeps could not be entered."
    count = len(tables.unread)
    if not count:
        return ""
    instead = (
        "here even root may not look at them, so run whodiff on the host itself"
        if root
        else "run whodiff with sudo to see every live mount"
    )
    return (
        f"The mounts of {count} {'process' if count == 1 else 'processes'} could not be read "
        f"(permission denied): {instead}."
    )


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
