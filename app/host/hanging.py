"""Which filesystems may never answer, and which of them a path leads to, without touching one.

A FUSE filesystem whose process hangs, or a network filesystem whose server is gone, lets every call
wait: stat(2), readlink(2), statfs(2) and open(2), of the mount point as of what is below it. Where
they are mounted is known from mountinfo alone. Other filesystems need a disk and are believed.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field

from app.host import mountinfo
from app.host.mountinfo import MountLine

#: fuse and fuse.sshfs, but not fusectl; nfs and nfs4, but not nfsd.
_MAY_HANG = re.compile(
    r"fuse(blk|\..*)?|nfs\d?|cifs|smb\w*|autofs|9p|virtiofs|afs|ceph|gfs2?|ocfs2|lustre|glusterfs"
    r"|orangefs|pvfs2|coda|ncpfs|gpfs|beegfs|vboxsf|vmhgfs|prl_fs|drvfs"
)
#: The options in which an overlay names the directories that it is made of (overlayfs.rst).
_OVERLAY_PARTS = re.compile(rb"(?:^|,)(?:lowerdir\+?|datadir\+|upperdir)=([^,]*)")
#: systemd waits at /proc/sys/fs/binfmt_misc (autofs) and lxcfs gives /proc/meminfo: nobody's data.
_KERNELS = (b"/proc/", b"/sys/", b"/dev/")
#: The links that lead into what another process sees: their text is no path of ours.
_MAGIC = re.compile(
    rb"/proc/([0-9]+)(?:/task/[0-9]+)?/(?:root|cwd|exe|fd/[0-9]+|map_files/[0-9a-f-]+)"
)
_MOST_LINKS = 40  # as the kernel follows, linux/namei.h MAXSYMLINKS
_FRESH = 0.5  # seconds that what was read of the mounts is good for


@dataclass(frozen=True, slots=True)
class Far:
    """A filesystem that may hang, and where on it a path leads to.

    ``mount`` is its mount point, or ``/proc/PID/root`` where the path leads through what another
    process sees. ``path`` is absolute, with the symbolic links resolved that lie before it.
    """

    mount: bytes
    fstype: str
    path: bytes


@dataclass(frozen=True, slots=True)
class _Seen:
    """The mounts that a process sees, and those of them that may hang, by point."""

    mounts: tuple[MountLine, ...]
    risky: dict[bytes, MountLine]


@dataclass
class _Known:
    """The mounts of a moment that may hang, by point, and the directories resolved since then."""

    read_at: float = float("-inf")
    points: dict[bytes, MountLine] = field(default_factory=dict)
    resolved: dict[bytes, bytes | Far] = field(default_factory=dict)
    processes: dict[bytes, _Seen] = field(default_factory=dict)


_known = _Known()


def may_hang(fstype: str) -> bool:
    """Whether a filesystem of this type may let a caller wait for ever."""
    return bool(_MAY_HANG.fullmatch(fstype))


def far_points() -> dict[bytes, MountLine]:
    """The mounts that may hang, by their points.

    Not ``/``: this program runs from there. An overlay that is made of what may hang may hang.
    """
    return _now().points


def far(path: bytes, *, follow: bool = True) -> Far | None:
    """Which filesystem that may hang ``path`` leads to; None where it leads to none.

    ``follow``: a symbolic link at its end is followed, as stat(2) does and lstat(2) does not.
    """
    known = _now()
    if not known.points and not path.startswith(b"/proc/"):
        return None
    try:
        whole = path if path.startswith(b"/") else os.path.join(os.getcwdb(), path)
    except OSError:
        # The working directory was removed: what is relative to it is nowhere.
        return None
    above, name = os.path.split(whole.rstrip(b"/") or b"/")
    if not name or name in (b".", b".."):
        found = _resolve(whole, known)
    else:
        if above not in known.resolved:
            known.resolved[above] = _resolve(above, known)
        found = known.resolved[above]
        if isinstance(found, Far):
            return Far(found.mount, found.fstype, os.path.join(found.path, name))
        found = _step(found, name, [], known) if follow else _at(os.path.join(found, name), known)
    return found if isinstance(found, Far) else None


def _now() -> _Known:
    global _known  # noqa: PLW0603 - what was read last; whoever reads it twice does no harm
    if time.monotonic() - _known.read_at > _FRESH:
        _known = _Known(time.monotonic(), _risky(mountinfo.read()))
    return _known


def _risky(mounts: tuple[MountLine, ...]) -> dict[bytes, MountLine]:
    plain = (it for it in mounts if it.point != b"/" and not it.point.startswith(_KERNELS))
    found: dict[bytes, MountLine] = {}
    overlays = []
    for it in plain:
        if may_hang(it.fstype):
            found[it.point] = it
        elif it.fstype == "overlay":
            overlays.append(it)
    if found:
        found.update((it.point, it) for it in overlays if _is_made_of(it, frozenset(found)))
    return found


def _is_made_of(overlay: MountLine, points: frozenset[bytes]) -> bool:
    parts = (part for it in _OVERLAY_PARTS.findall(overlay.options) for part in it.split(b":"))
    return any(mountinfo.is_at_or_below(part, point) for part in parts for point in points)


def _at(path: bytes, known: _Known) -> bytes | Far:
    """A path whose directory is resolved, unless something that may hang is mounted there."""
    mount = known.points.get(path)
    return Far(path, mount.fstype, path) if mount else path


def _resolve(path: bytes, known: _Known) -> bytes | Far:
    """An absolute path without symbolic links, as far as it leads to nothing that may hang."""
    return _step(b"/", b"", path.split(b"/")[::-1], known)


def _step(done: bytes, first: bytes, rest: list[bytes], known: _Known) -> bytes | Far:
    """From the resolved directory ``done`` to ``first``, then on; ``rest`` is last name first."""
    names, links = [*rest, first], 0
    while names:
        name = names.pop()
        if name == b"..":
            done = os.path.dirname(done)
        elif name not in (b"", b"."):
            here = os.path.join(done, name)
            found = _at(here, known)
            if isinstance(found, Far):
                return Far(found.mount, found.fstype, os.path.join(here, *reversed(names)))
            if magic := _MAGIC.fullmatch(here):
                return _in_process(here, magic[1], names, known)
            target = _target(here) if links < _MOST_LINKS else b""
            links += bool(target)
            names += target.split(b"/")[::-1]
            # A link that is relative goes on from the directory that it lies in.
            done = b"/" if target.startswith(b"/") else done if target else here
    return done


def _in_process(link: bytes, pid: bytes, names: list[bytes], known: _Known) -> bytes | Far:
    """What lies behind a magic link, as the mounts of its process have it."""
    path = os.path.join(link, *reversed(names))
    # Most processes share one namespace: its mounts are read once.
    view = _target(b"/proc/%s/ns/mnt" % pid) + _target(b"/proc/%s/root" % pid) or pid
    if view not in known.processes:
        mounts = mountinfo.read(os.fsdecode(pid))
        known.processes[view] = _Seen(mounts, _risky(mounts))
    process = known.processes[view]
    if not process.risky:
        return path
    seen = b"/" + b"/".join(reversed(names)) if link.endswith(b"/root") else _target(link)
    nearest = mountinfo.mount_of(os.path.normpath(seen), process.mounts)
    return Far(link, nearest.fstype, path) if nearest and nearest.point in process.risky else path


def _target(path: bytes) -> bytes:
    """Where a symbolic link leads to; empty for anything else, and for what cannot be read."""
    try:
        return os.readlink(path)
    except OSError:
        return b""
