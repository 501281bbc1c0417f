"""What processes hold: open files, working directories, roots, programs, mapped files.

Source: proc_pid_fd(5), proc_pid_cwd(5), proc_pid_root(5), proc_pid_exe(5), proc_pid_maps(5). All of
these are magic links to the very object: what it is, is told by device and inode, and where it
lies by climbing from it. How its process spells the path, and how long that is, plays no part.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import select
import stat
from contextlib import closing, suppress
from dataclasses import dataclass, field
from enum import Enum

from app.host.namespaces import unescape
from app.host.statx import Raw, Spot, raw_spots, spot, spot_of

#: Of one object as many holders are remembered: some may have ended when it is looked at.
_HOLDERS = 16
#: kcmp(2): whether two threads share their descriptors, or their root and working directory.
_KCMP = {"x86_64": 312, "aarch64": 272, "riscv64": 272, "ppc64le": 354, "s390x": 343}
_KCMP_FILES, _KCMP_FS = 2, 3
#: A line of /proc/PID/maps with a file: addresses, device, inode and path.
_MAPPED = re.compile(rb"^(\S+) \S+ \S+ ([0-9a-f]+:[0-9a-f]+) ([1-9][0-9]*) +(.*)$", re.MULTILINE)
_REGISTERED = re.compile(rb"^ *[0-9]+: (/.*)$", re.MULTILINE)
_URING = b"anon_inode:[io_uring]"


class How(Enum):
    """What a process does with a file or directory."""

    OPEN = "has open"
    WORKS = "works in"
    ROOT = "has its root in"
    RUNS = "runs"
    MAPPED = "has mapped"
    REGISTERED = "has registered with io_uring"


@dataclass(frozen=True, slots=True)
class Holder:
    """One process and how it holds an object; ``link`` is its magic link, or a mapped file's."""

    pid: int
    how: How
    link: bytes

    def __str__(self) -> str:
        """In words, with the path as the process spells it where that can be read."""
        try:
            shown = os.fsdecode(os.readlink(self.link)).removesuffix(" (deleted)")
        except OSError:
            shown = "a directory in it" if self.how in (How.WORKS, How.ROOT) else "something in it"
        return f"process {self.pid} {self.how.value} {shown}"


@dataclass(slots=True)
class OpenFiles:
    """Everything that is held, by what it is.

    ``mapped`` are files by the ``major:minor`` (hexadecimal) and inode of maps, each with holders
    and the path. ``paths`` are those of which no more is known (io_uring). ``namespaces`` are the
    links of open mount namespaces. ``unread`` are processes that could not be looked at.
    """

    held: dict[Spot, list[Holder]] = field(default_factory=dict)
    mapped: dict[tuple[bytes, int], list[tuple[Holder, bytes]]] = field(default_factory=dict)
    paths: list[tuple[Holder, bytes]] = field(default_factory=list)
    namespaces: list[bytes] = field(default_factory=list)
    unread: tuple[int, ...] = ()


def read_open_files(proc: bytes = b"/proc") -> OpenFiles:
    """Look at every process once. One that ends meanwhile holds nothing any more."""
    reading = _Reading(proc)
    try:
        pids = sorted(int(name) for name in os.listdir(proc) if name.isdigit())
    except OSError:
        return OpenFiles(unread=(0,))
    unread = []
    for pid in pids:
        try:
            reading.process(pid)
        except OSError as error:
            if not _ended(error):
                unread.append(pid)
    found = reading.found
    found.unread = tuple(unread)
    return found


class _Reading:
    def __init__(self, proc: bytes) -> None:
        self.found = OpenFiles()
        self._proc = proc
        # Pipes, sockets and the like lie on mounts of the kernel's own, which nobody can walk.
        self._internal: dict[tuple[int, int], bool] = {}
        self._skipped: set[tuple[int, ...]] = set()
        self._quick: dict[Raw, list[Holder]] = {}
        self._same = _kcmp(proc)
        self._own = os.getpid() if self._same else _own(proc)
        self._nsfs = _device(os.path.join(proc, b"self/ns/mnt"))
        self._anonymous = _anonymous()

    def process(self, pid: int) -> None:
        """Raises OSError where it may not be looked at, or has ended."""
        place = b"%s/%d" % (self._proc, pid)
        threads = sorted(int(it) for it in os.listdir(place + b"/task"))
        files: list[int] = []
        roots: list[int] = []
        for thread in threads:
            at = place if thread == pid else b"%s/task/%d" % (place, thread)
            # Threads mostly share all; one may have descriptors, a root and a working directory of
            # its own (clone(2), CLONE_FILES and CLONE_FS): dockerd's have while they unpack.
            if pid != self._own and not self._shares(thread, files, _KCMP_FILES):
                files.append(thread)
                self._descriptors(pid, at)
            if not self._shares(thread, roots, _KCMP_FS):
                roots.append(thread)
                self._hold(pid, How.WORKS, at + b"/cwd")
                self._hold(pid, How.ROOT, at + b"/root")
        # The first thread may have ended before the others, and has no memory then.
        for thread in threads:
            at = place if thread == pid else b"%s/task/%d" % (place, thread)
            if self._memory(pid, at):
                break

    def _shares(self, thread: int, known: list[int], what: int) -> bool:
        same = self._same
        return same is not None and any(same(it, thread, what) for it in known)

    def _descriptors(self, pid: int, at: bytes) -> None:
        place = at + b"/fd"
        directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Most are seen already: this is the loop of hundreds of thousands.
            for name, raw in raw_spots(os.listdir(place), directory):
                link = place + b"/" + name
                if raw is None:
                    self._hold(pid, How.OPEN, link)
                elif raw[1:4] not in self._skipped:
                    holders = self._quick.get(raw)
                    if holders is None:
                        self._first(raw, Holder(pid, How.OPEN, link))
                    elif len(holders) < _HOLDERS:
                        holders.append(Holder(pid, How.OPEN, link))
        finally:
            os.close(directory)

    def _hold(self, pid: int, how: How, link: bytes) -> None:
        try:
            found = spot(link)
        except OSError as error:
            if _ended(error):
                return
            if error.errno in (errno.EACCES, errno.EPERM):
                raise
            # The filesystem itself has an error (a server that is gone): then it is none of ours
            # unless the mount is, which an O_PATH descriptor tells without asking it.
            found = _by_mount(link)
        self._keep(found, Holder(pid, how, link))

    def _first(self, raw: Raw, holder: Holder) -> None:
        inode, major, minor, mount, mode = raw
        found = Spot(os.makedev(major, minor), inode, mount, stat.S_IFMT(mode))
        if self._keep(found, holder):
            self._quick[raw] = self.found.held[found]
        elif self._internal.get((found.device, mount)):
            self._skipped.add(raw[1:4])

    def _keep(self, found: Spot, holder: Holder) -> bool:
        """Whether it is of a kind that can lie in a directory."""
        holders = self.found.held.get(found)
        if holders is not None:
            if len(holders) < _HOLDERS:
                holders.append(holder)
            return True
        if found.device == self._anonymous:
            self._uring(holder)
        elif found.device == self._nsfs:
            with suppress(OSError):
                if os.readlink(holder.link).startswith(b"mnt:"):
                    self.found.namespaces.append(holder.link)
        elif not self._is_internal(found, holder.link):
            self.found.held[found] = [holder]
            return True
        return False

    def _is_internal(self, found: Spot, link: bytes) -> bool:
        """Whether it lies on no mount that anybody could have a directory on (``pipe:[7]``)."""
        key = found.device, found.mount
        known = self._internal.get(key)
        if known is None:
            with suppress(OSError):
                known = not os.readlink(link).startswith(b"/")
            self._internal[key] = known = bool(known)
        return known

    def _uring(self, ring: Holder) -> None:
        """Files registered with a ring need no descriptor any more (io_uring/fdinfo.c)."""
        with suppress(OSError):
            if os.readlink(ring.link) != _URING:
                return
            text = _read(ring.link.replace(b"/fd/", b"/fdinfo/"))
            for path in _REGISTERED.findall(text):
                holder = Holder(ring.pid, How.REGISTERED, ring.link)
                self.found.paths.append((holder, unescape(path)))

    def _memory(self, pid: int, at: bytes) -> bool:
        self._hold(pid, How.RUNS, at + b"/exe")
        text = _read(at + b"/maps")
        mapped = self.found.mapped
        seen: set[tuple[bytes, bytes]] = set()
        for addresses, device, inode, path in _MAPPED.findall(text):
            if (device, inode) in seen:
                continue
            seen.add((device, inode))
            holders = mapped.setdefault((device, int(inode)), [])
            if len(holders) < _HOLDERS:
                link = at + b"/map_files/" + addresses
                holders.append((Holder(pid, How.MAPPED, link), path.replace(b"\\012", b"\n")))
        return bool(text)


def _read(path: bytes) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _by_mount(link: bytes) -> Spot:
    """Device and inode are unknown then, 0. Raises OSError."""
    descriptor = os.open(link, os.O_PATH | os.O_CLOEXEC)
    try:
        for line in _read(b"/proc/self/fdinfo/%d" % descriptor).splitlines():
            if line.startswith(b"mnt_id:"):
                return Spot(0, 0, int(line.split()[1]), stat.S_IFREG)
    finally:
        os.close(descriptor)
    raise OSError(errno.EACCES, os.strerror(errno.EACCES), link)


def _device(path: bytes) -> int:
    try:
        return spot(path).device
    except OSError:
        return -1


def _anonymous() -> int:
    """The device of anonymous inodes, which rings have."""
    with closing(select.epoll()) as sample:
        return spot_of(sample.fileno()).device


def _own(proc: bytes) -> int:
    """This process in that proc(5), which may be another PID namespace's; 0 where it is not."""
    try:
        name = os.readlink(os.path.join(proc, b"self"))
        return int(os.path.basename(name))
    except (OSError, ValueError):
        return 0


class _Same:
    """kcmp(2), where this process's numbers are those of that proc(5)."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall

    def __call__(self, one: int, other: int, what: int) -> bool:
        return int(self._syscall(self._number, one, other, what, 0, 0)) == 0


def _kcmp(proc: bytes) -> _Same | None:
    number = _KCMP.get(platform.machine())
    if number is None or _own(proc) != os.getpid():
        return None
    same = _Same(number)
    return same if same(os.getpid(), os.getpid(), _KCMP_FILES) else None


def _ended(error: OSError) -> bool:
    """A process or a descriptor that is gone, or a kernel thread or zombie, which has none."""
    return error.errno in (errno.ENOENT, errno.ESRCH, errno.EINVAL)
