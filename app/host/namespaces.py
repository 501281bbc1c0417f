"""Every mount namespace of this machine, also one that no process lives in, and its mount table.

A namespace lives as long as a process or thread is in it, a descriptor of it is open, or its file
is bind-mounted somewhere (namespaces(7)). Each is read through a process in it that is not
chrooted, else entered (setns(2)) by a thread that ends with that: a chrooted process shows only
what lies below its root (proc_pid_mountinfo(5)).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from threading import Thread
from typing import TypeVar

from app.host.statx import spot, spot_of

_CLONE_FS, _CLONE_NEWNS = 0x200, 0x20000
_NAMESPACE = re.compile(rb"mnt:\[[0-9]+\]")
#: linux/nsfs.h, Linux 6.12: _IOR(0xb7, 11 and 12, struct mnt_ns_info), the next one as a file.
_NS_MNT_GET_NEXT, _NS_MNT_GET_PREV = 0x8010B70B, 0x8010B70C
_NS_GET_NSTYPE = 0xB703
_INFO = struct.Struct("=IIQ")
_MOST = 100_000
_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")
_PATH = os.O_PATH | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Table:
    """The mount table of one namespace.

    ``namespace`` is the link text ``mnt:[4026531841]``, ``text`` the mountinfo file. ``pid`` is a
    process in it, 0 for a namespace without one. ``kept_by`` is the file or descriptor by which it
    was entered; empty where nobody had to, or the kernel alone knows of it.
    """

    namespace: str
    text: bytes
    pid: int
    kept_by: bytes = b""


@dataclass(frozen=True, slots=True)
class Tables:
    """All of them.

    ``unread`` are processes (or threads) whose namespace could not be read wholly, ``closed`` the
    files and descriptors that keep one without a process which could not be entered.
    """

    tables: tuple[Table, ...] = ()
    unread: tuple[int, ...] = ()
    closed: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """What a mount table says of one mount: ``device`` of its superblock, and ``root`` in it."""

    device: int
    root: bytes


def listed_mounts(tables: Iterable[Table]) -> dict[int, Listed]:
    """All mounts by their id, which is one of its own in every namespace (Linux mnt_id_ida)."""
    found = {}
    for table in tables:
        for line in table.text.split(b"\n"):
            fields = line.split(b" ", 4)
            if len(fields) == 5:
                major, _, minor = fields[2].partition(b":")
                device = os.makedev(int(major), int(minor))
                found[int(fields[0])] = Listed(device, unescape(fields[3]))
    return found


@dataclass(slots=True)
class _Views:
    """The processes and threads in one namespace."""

    whole: list[int] = field(default_factory=list)
    chrooted: list[int] = field(default_factory=list)


def read_tables(proc: bytes = b"/proc", descriptors: Iterable[bytes] = ()) -> Tables:
    """The mount tables of all namespaces. A process that vanishes meanwhile is no matter.

    ``descriptors`` are links (``/proc/PID/fd/N``) to namespaces that a process keeps open
    (:attr:`app.host.open_files.OpenFiles.namespaces`).
    """
    return _Reading(proc, descriptors).tables()


class _Reading:
    def __init__(self, proc: bytes, descriptors: Iterable[bytes]) -> None:
        self._proc = proc
        self._descriptors = descriptors
        self._own = _own(proc)
        self._views: dict[str, _Views] = {}
        self._nameless: list[int] = []
        self._found: dict[str, Table] = {}
        self._unread: list[int] = []
        self._closed: list[bytes] = []
        # Those of files by the namespace in question, which another way may lead to.
        self._unreached: dict[str, bytes] = {}

    def tables(self) -> Tables:
        for pid in _numbers(self._proc):
            self._look(pid)
        for namespace, views in self._views.items():
            self._read(namespace, views)
        self._read_nameless()
        self._read_kept()
        closed = [at for name, at in self._unreached.items() if name not in self._found]
        return Tables(tuple(self._found.values()), tuple(self._unread), (*self._closed, *closed))

    def _look(self, pid: int) -> None:
        """A thread may be in a namespace of its own, and outlive the first one (unshare(2)).

        Not one of ours: it has entered that namespace to look at it, and is about to end.
        """
        place = os.path.join(self._proc, b"%d" % pid)
        threads = [] if pid == self._own else _numbers(os.path.join(place, b"task"))
        for thread in threads or [pid]:
            at = place if thread == pid else os.path.join(place, b"task", b"%d" % thread)
            try:
                namespace = os.fsdecode(os.readlink(os.path.join(at, b"ns", b"mnt")))
                root = os.readlink(os.path.join(at, b"root"))
            except OSError as error:
                # Naming the namespace needs ptrace rights, reading its mounts does not
                # (fs/proc_namespace.c mounts_open_common): take it for one of its own.
                if not _vanished(error):
                    self._nameless.append(thread)
                continue
            views = self._views.setdefault(namespace, _Views())
            (views.whole if root == b"/" else views.chrooted).append(thread)

    def _read(self, namespace: str, views: _Views) -> None:
        """Through a process, else by entering it, else as much as a chrooted process shows."""
        refused = [pid for pid in views.whole if self._is_refused(namespace, pid)]
        if namespace in self._found:
            return
        for pid in (*views.whole, *views.chrooted):
            at = os.path.join(self._proc, b"%d" % pid, b"ns", b"mnt")
            with suppress(OSError):
                self._found[namespace] = Table(namespace, self._entered(at), pid, at)
                return
        self._unread += (
            refused[:1] or [pid for pid in views.chrooted if not self._is_gone(namespace, pid)][:1]
        )

    def _is_refused(self, namespace: str, pid: int) -> bool:
        """Whether this process lives and shows no mounts."""
        if namespace in self._found:
            return False
        try:
            return not self._read_process(namespace, pid)
        except OSError as error:
            return not _vanished(error)

    def _is_gone(self, namespace: str, pid: int) -> bool:
        self._is_refused(namespace, pid)
        return namespace not in self._found

    def _read_process(self, namespace: str, pid: int) -> bool:
        """Raises OSError. A root that is a directory of no namespace any more shows nothing."""
        text = self._mountinfo(pid)
        if text:
            self._found[namespace] = Table(namespace, text, pid)
        return bool(text)

    def _read_nameless(self) -> None:
        # Mount ids differ between namespaces: equal texts are one namespace without a name.
        texts = {it.text for it in self._found.values()}
        for pid in self._nameless:
            namespace = f"of process {pid}"
            if self._is_refused(namespace, pid):
                self._unread.append(pid)
            elif namespace in self._found:
                text = self._found[namespace].text
                if text in texts:
                    del self._found[namespace]
                texts.add(text)

    # Without a process.

    def _read_kept(self) -> None:
        for at in self._descriptors:
            try:
                with _namespace_file(at) as descriptor:
                    self._take(descriptor, at)
            except OSError as error:
                if not _vanished(error):
                    self._closed.append(at)
        for name, at in self._files():
            self._unreached[name] = at
            # Else something else lies there: it is covered by another mount.
            with suppress(OSError), _namespace_file(at) as descriptor:
                self._take(descriptor, at)
        with suppress(OSError), _opened(os.path.join(self._proc, b"self/ns/mnt")) as own:
            for request in (_NS_MNT_GET_NEXT, _NS_MNT_GET_PREV):
                self._walk_on(own, request)

    def _take(self, descriptor: int, at: bytes) -> None:
        name = _name_of(descriptor)
        if not name or name in self._found:
            return
        try:
            self._found[name] = Table(name, self._inside(descriptor), 0, at)
        except OSError:
            self._closed.append(at)

    def _files(self) -> Iterator[tuple[str, bytes]]:
        """Namespaces whose files are bind-mounted, with these, as seen from each that is read.

        One in which another one is kept may be kept in the same way: those found meanwhile too.
        """
        read: set[str] = set()
        while pending := [it for it in self._found.values() if it.namespace not in read]:
            for table in pending:
                read.add(table.namespace)
                for name, point in _kept_in(table.text):
                    if name not in self._found and table.pid:
                        yield name, b"%s/%d/root%s" % (self._proc, table.pid, point)
                    elif name not in self._found:
                        self._unreached[name] = point

    def _walk_on(self, start: int, request: int) -> None:
        """Ask the kernel itself for the next one, as far as it goes and one may."""
        descriptor = os.dup(start)
        try:
            for _ in range(_MOST):
                following = _next(descriptor, request)
                os.close(descriptor)
                descriptor = following
                self._take(descriptor, b"")
        except OSError:
            # The last one, an older kernel, or a PID namespace that is not the machine's.
            pass
        finally:
            os.close(descriptor)

    # Reading.

    def _mountinfo(self, pid: int) -> bytes:
        return _text(os.path.join(self._proc, b"%d" % pid, b"mountinfo"))

    def _entered(self, at: bytes) -> bytes:
        with _opened(at) as descriptor:
            return self._inside(descriptor)

    def _inside(self, namespace: int) -> bytes:
        with _opened(self._proc, _PATH | os.O_DIRECTORY) as proc:
            return in_namespace(namespace, partial(_text, b"thread-self/mountinfo", proc))


# --- entering -------------------------------------------------------------------------------------

_Found = TypeVar("_Found")


def open_root(table: Table, proc: bytes = b"/proc") -> int:
    """An O_PATH descriptor of a namespace's root directory. Raises OSError."""
    if not table.kept_by:
        # Of a namespace that nobody is in: there is none, and that is ENOENT.
        return os.open(os.path.join(proc, b"%d" % table.pid, b"root"), _PATH | os.O_DIRECTORY)
    with _namespace_file(table.kept_by) as namespace:
        return in_namespace(namespace, partial(os.open, b"/", _PATH | os.O_DIRECTORY))


def in_namespace(namespace: int, action: Callable[[], _Found]) -> _Found:
    """What ``action`` returns (or raises) in the mount namespace with this descriptor.

    It runs in a thread that shares no root and no working directory with the others, and that
    ends: setns(2) with CLONE_NEWNS asks for that (Linux fs/namespace.c mntns_install).
    """
    answer: Future[_Found] = Future()

    def enter() -> None:
        try:
            _call("unshare", _CLONE_FS)
            _call("setns", namespace, _CLONE_NEWNS)
            answer.set_result(action())
        except BaseException as error:
            answer.set_exception(error)

    thread = Thread(target=enter, name="whodiff-namespace", daemon=True)
    thread.start()
    thread.join()
    return answer.result()


def _call(name: str, *arguments: int) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _next(namespace: int, request: int) -> int:
    info = ctypes.create_string_buffer(_INFO.size)
    _INFO.pack_into(info, 0, _INFO.size, 0, 0)
    ioctl = ctypes.CDLL(None, use_errno=True).ioctl
    descriptor = int(ioctl(namespace, ctypes.c_ulong(request), info))
    if descriptor < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return descriptor


# --- reading --------------------------------------------------------------------------------------


def _kept_in(text: bytes) -> Iterator[tuple[str, bytes]]:
    """Mount namespaces that are bind-mounted, each with where."""
    for line in text.split(b"\n"):
        fields = line.split(b" ", 5)
        if len(fields) == 6 and _NAMESPACE.fullmatch(fields[3]):
            yield os.fsdecode(fields[3]), unescape(fields[4])


def unescape(field: bytes) -> bytes:
    r"""Undo the kernel's ``\040`` for blanks, line ends, commas and backslashes."""
    if b"\\" not in field:
        return field
    return _OCTAL.sub(lambda found: bytes([int(found[1], 8)]), field)


@contextmanager
def _opened(path: bytes, flags: int = os.O_RDONLY | os.O_CLOEXEC) -> Iterator[int]:
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _namespace_file(path: bytes) -> Iterator[int]:
    """Opened only after a look that opens nothing: a path leads anywhere by now."""
    with _opened(path, _PATH) as looked:
        if spot_of(looked).device != _nsfs():
            raise OSError(errno.ENOENT, "is no namespace", path)
        with _opened(b"/proc/self/fd/%d" % looked) as descriptor:
            yield descriptor


@cache
def _nsfs() -> int:
    """The device that the files of all namespaces are on."""
    return spot(b"/proc/self/ns/mnt").device


def _name_of(descriptor: int) -> str:
    """``mnt:[...]``, or "" for another kind of namespace (ioctl_nsfs(2))."""
    kind = fcntl.ioctl(descriptor, _NS_GET_NSTYPE)
    return f"mnt:[{spot_of(descriptor).inode}]" if kind == _CLONE_NEWNS else ""


def _text(path: bytes, parent: int | None = None) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=parent)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _own(proc: bytes) -> int:
    """This process in that proc(5); 0 where it is another one's."""
    try:
        return int(os.readlink(os.path.join(proc, b"self")))
    except (OSError, ValueError):
        return 0


def _numbers(directory: bytes) -> list[int]:
    return sorted(int(name) for name in _listed(directory) if name.isdigit())


def _listed(directory: bytes) -> list[bytes]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _vanished(error: OSError) -> bool:
    """A process that ended, or a zombie, which has no namespaces any more."""
    return error.errno in (errno.ENOENT, errno.ESRCH, errno.EINVAL)
