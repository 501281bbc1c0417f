"""Looking at files and directories without ever waiting for a filesystem that does not answer.

What lies on one that may hang (:mod:`app.host.hanging`) is looked at by a process of its own, which
is given up after two seconds: a thread that waits for such a filesystem cannot be ended, and would
keep this process from ending too (Linux fs/fuse/dev.c request_wait_answer). A filesystem that was
given up is not asked again until that process comes back with its answer, so that each costs two
seconds, however much lies on it. Everything else is looked at directly.

The functions are those of :mod:`os` and :mod:`os.path` with the same meaning. ``Hangs`` is an
OSError; where there is none to be raised, what hangs is not there.

For other modules: whatever is reached by a path that somebody else may have chosen is looked at
with these. Descriptors of /proc/PID/fd, cwd and root are made with O_PATH, which asks no
filesystem; fstat(2) of one does. The text of such a link (readlink) is always safe, and so is
mountinfo.
"""

from __future__ import annotations

import atexit
import errno
import os
import select
import shlex
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import app
from app.host import looking
from app.host.hanging import Far, far, far_points
from app.host.safe_open import NotAFile
from app.model import Problem

if TYPE_CHECKING:
    import subprocess

#: Seconds that one look may take.
LIMIT = 2.0
#: Seconds more for a process that would go on if it were let, and for one that is starting.
_BUSY = 10.0
_HOME = str(Path(app.__file__).absolute().parent.parent)
_START = "import sys; sys.path.insert(0, sys.argv[1]); from app.host.looking import main; main()"

_T = TypeVar("_T")
_P = ParamSpec("_P")


class Hangs(TimeoutError):
    """A filesystem did not answer within two seconds."""

    def __init__(self, where: Far) -> None:
        words = f"it lies on {os.fsdecode(where.mount)}, which hangs"
        super().__init__(errno.ETIMEDOUT, words, os.fsdecode(where.path))
        self.where = where


class Looker:
    """Makes looks directly: for what lies on a filesystem that is believed."""

    def _do(self, look: Callable[_P, _T], *arguments: _P.args, **options: _P.kwargs) -> _T:
        return look(*arguments, **options)

    def status(self, path: bytes | str, parent: int | None = None) -> os.stat_result:
        """lstat(2)."""
        return self._do(looking.status, path, parent)

    def fstatus(self, descriptor: int) -> os.stat_result:
        """fstat(2)."""
        return self._do(looking.fstatus, descriptor)

    def link(self, path: bytes | str, parent: int | None = None) -> bytes:
        """readlink(2)."""
        return self._do(looking.link, path, parent)

    def open_directory(
        self, path: bytes | str, parent: int | None = None, *, follow: bool = False
    ) -> int:
        """A descriptor of a directory, of this looker."""
        return self._do(looking.open_directory, path, parent, follow=follow)

    def open_regular(
        self, path: bytes | str, parent: int | None = None, *, follow: bool = False
    ) -> int:
        """A descriptor of a regular file, of this looker. Raises NotAFile."""
        return self._do(looking.open_regular, path, parent, follow=follow)

    def entries(self, descriptor: int, most: int) -> list[tuple[str, str]]:
        """At most so many entries of an open directory: name, and ``d``, ``l`` or ``-``."""
        return self._do(looking.entries, descriptor, most)

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        """pread(2)."""
        return self._do(looking.read, descriptor, size, offset)

    def close(self, descriptor: int) -> None:
        """close(2)."""
        os.close(descriptor)


DIRECT = Looker()


class _Patient(Looker):
    """Has the looks at one filesystem made by a process, and does not wait for it too long."""

    def __init__(self, where: Far) -> None:
        self._where = where

    def _do(self, look: Callable[_P, _T], *arguments: _P.args, **options: _P.kwargs) -> _T:
        return _asked(self._where, look, *arguments, **options)

    def close(self, descriptor: int) -> None:
        try:
            self._do(looking.close, descriptor)
        except OSError:
            # What hangs has it open; it goes with the process that does.
            return


# --- the functions --------------------------------------------------------------------------------


def at(path: bytes, *, follow: bool = True) -> tuple[Looker, bytes]:
    """Who looks at ``path``, and the path to give to that one."""
    where = far(path, follow=follow) if not _direct else None
    return (DIRECT, path) if where is None else (_Patient(where), where.path)


def lstat(path: bytes) -> os.stat_result:
    """lstat(2). Raises OSError, of these Hangs."""
    return _look(looking.status, path, follow=False)


def stat_of(path: bytes) -> os.stat_result:
    """stat(2). Raises OSError, of these Hangs."""
    return _look(looking.followed, path)


def statvfs(path: bytes) -> os.statvfs_result:
    """statvfs(3). Raises OSError, of these Hangs."""
    return _look(looking.space, path)


def readlink(path: bytes) -> bytes:
    """readlink(2). Raises OSError, of these Hangs."""
    return _look(looking.link, path, follow=False)


def realpath(path: bytes) -> bytes:
    """The path without symbolic links; behind what hangs they stay as they are."""
    where = far(path) if not _direct else None
    if where is None:
        return os.path.realpath(path)
    try:
        return _asked(where, looking.realpath, where.path)
    except OSError:
        return os.path.normpath(where.path)


def lexists(path: bytes) -> bool:
    """Whether there is an entry of this name; not where that cannot be told."""
    return _is(lambda: lstat(path), lambda _: True)


def exists(path: bytes) -> bool:
    """Whether it is there, or leads to something; not where that cannot be told."""
    return _is(lambda: stat_of(path), lambda _: True)


def islink(path: bytes) -> bool:
    """Whether it is a symbolic link; not where that cannot be told."""
    return _is(lambda: lstat(path), stat.S_ISLNK)


def isdir(path: bytes) -> bool:
    """Whether it is, or leads to, a directory; not where that cannot be told."""
    return _is(lambda: stat_of(path), stat.S_ISDIR)


def isfile(path: bytes) -> bool:
    """Whether it is, or leads to, a regular file; not where that cannot be told."""
    return _is(lambda: stat_of(path), stat.S_ISREG)


def samefile(path: bytes, other: bytes) -> bool:
    """Whether both lead to the same thing. Raises OSError, of these Hangs."""
    return os.path.samestat(stat_of(path), stat_of(other))


def names(path: bytes, most: int = sys.maxsize, *, follow: bool = True) -> list[tuple[bytes, str]]:
    """At most so many entries of a directory: name, and ``d``, ``l`` or ``-``. Raises OSError."""
    looker, place = at(path, follow=follow)
    descriptor = looker.open_directory(place, follow=follow)
    try:
        return [(os.fsencode(name), kind) for name, kind in looker.entries(descriptor, most)]
    finally:
        looker.close(descriptor)


def require(path: bytes, *, follow: bool = True) -> None:
    """Raise Hangs where the directory ``path`` does not answer; anything else is fine here."""
    where = far(path, follow=follow) if not _direct else None
    if where is None:
        return
    try:
        looker = _Patient(where)
        descriptor = looker.open_directory(where.path, follow=follow)
        looker.entries(descriptor, 1)
        looker.close(descriptor)
    except Hangs:
        raise
    except OSError:
        return


def all_at_once(paths: Iterable[bytes]) -> None:
    """Look at each filesystem that may hang and that one of these leads to, at the same time.

    So that those that do not answer cost two seconds together; they are known from then on.
    """
    wheres = {where.mount: where for path in paths if (where := far(path))}
    if len(wheres) < 2 or _direct:
        return
    threads = [
        threading.Thread(target=isdir, args=(it.path,), daemon=True) for it in wheres.values()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT + 2 * _BUSY)


def given_up() -> tuple[Far, ...]:
    """The filesystems that do not answer now."""
    with _helpers_lock:
        found = {key: it.where for key, it in _helpers.items() if it.stuck}
    return tuple(it for key, it in {**_told, **found}.items() if key == _key(it))


def hanging(path: bytes) -> Far | None:
    """The filesystem that ``path`` leads to, if it is one that was given up."""
    where = far(path)
    return where if where and where.mount in {it.mount for it in given_up()} else None


def problems() -> tuple[Problem, ...]:
    """One sentence for each filesystem that was given up."""
    return tuple(Problem(os.fsdecode(it.mount), sentence(it)) for it in given_up())


def sentence(where: Far) -> str:
    """That a filesystem does not answer, and what to do."""
    mount = os.fsdecode(where.mount)
    if mount.startswith("/proc/"):
        return (
            f"What is mounted where {mount} leads to ({where.fstype}) does not answer: a look at "
            "it was given up after 2 seconds; see to the server or process behind it, then look "
            "again."
        )
    return (
        f"{mount} ({where.fstype}) does not answer: a look at it was given up after 2 seconds, and "
        "what lies there is not shown. See to the server or process behind it, or detach it with "
        f"umount -l {shlex.quote(mount)}, then look again."
    )


def give_up(where: Far) -> None:
    """Somebody else has waited for this filesystem in vain: it is told with the others."""
    with _helpers_lock:
        _told[_key(where)] = where


def directly() -> None:
    """From now on look directly: this process itself is one that may hang and is given up then."""
    global _direct  # noqa: PLW0603 - of this process, once and for all
    _direct = True


_direct = False


def _look(look: Callable[[bytes], _T], path: bytes, *, follow: bool = True) -> _T:
    where = far(path, follow=follow) if not _direct else None
    return look(path) if where is None else _asked(where, look, where.path)


def _is(look: Callable[[], os.stat_result], kind: Callable[[int], bool]) -> bool:
    try:
        return kind(look().st_mode)
    except (OSError, ValueError):
        return False


# --- the processes --------------------------------------------------------------------------------


class _Helper:
    """The process that looks at one filesystem. ``stuck``: it has not come back from a look."""

    def __init__(self, where: Far) -> None:
        self.where = where
        self.stuck = False
        self.lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owes = False  # an answer that nobody waits for any more

    def ask(self, where: Far, name: str, arguments: object, options: object) -> Any:
        """The answer of one look. Raises Hangs, EOFError or OSError where the process is lost."""
        import pickle  # noqa: PLC0415 - hardly any host comes by here

        with self.lock:
            if self.stuck and not self._has_come_back():
                raise Hangs(where)
            if self._process is None:
                self._start()
            assert self._process is not None
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            pickle.dump((name, arguments, options), self._process.stdin)
            self._process.stdin.flush()
            if not self._answers(LIMIT):
                self.stuck = self._owes = True
                raise Hangs(where)
            return pickle.load(self._process.stdout)

    def kill(self) -> None:
        """End the process, if it lets itself be ended; nobody waits for it."""
        if self._process is not None:
            self._process.kill()

    def forget(self) -> None:
        """Start anew with the next look."""
        with self.lock:
            self.kill()
            self._process, self.stuck, self._owes = None, False, False

    def _start(self) -> None:
        import pickle  # noqa: PLC0415 - as above
        import subprocess  # noqa: PLC0415

        # As a scan's workers (app.scan.process); in a session of its own, out of reach of Ctrl+C,
        # and with nothing of ours: it may outlive us.
        self._process = subprocess.Popen(
            [sys.executable or "python3", "-I", "-S", "-B", "-X", "utf8", "-c", _START, _HOME],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        assert self._process.stdout is not None
        if not self._answers(_BUSY):
            raise OSError(errno.EAGAIN, "no process could be started to look at it")
        pickle.load(self._process.stdout)

    def _has_come_back(self) -> bool:
        """Whether the look that was given up has ended by now: then all is well again."""
        if self._owes and self._answers(0):
            import pickle  # noqa: PLC0415 - as above

            assert self._process is not None
            assert self._process.stdout is not None
            pickle.load(self._process.stdout)
            self.stuck = self._owes = False
        return not self.stuck

    def _answers(self, seconds: float) -> bool:
        """Whether there is something to read within so many seconds, or a little later on a busy
        machine: what waits for the processor does not hang.
        """
        assert self._process is not None
        assert self._process.stdout is not None
        waiting = select.poll()
        waiting.register(self._process.stdout, select.POLLIN)
        if waiting.poll(seconds * 1000):
            return True
        end = time.monotonic() + _BUSY
        while seconds and runs(self._process.pid) and time.monotonic() < end:
            if waiting.poll(100):
                return True
        return bool(waiting.poll(0))


def runs(pid: int) -> bool:
    """Whether a process is at work or waits for the processor (proc_pid_stat(5))."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return text.rpartition(b")")[2].split()[:1] == [b"R"]


_helpers: dict[bytes, _Helper] = {}
_told: dict[bytes, Far] = {}
_helpers_lock = threading.Lock()


def _helper(where: Far) -> _Helper:
    with _helpers_lock:
        if not _helpers:
            atexit.register(_kill_all)
        return _helpers.setdefault(_key(where), _Helper(where))


def _key(where: Far) -> bytes:
    """What is mounted there now is not what did not answer before."""
    mount = far_points().get(where.mount)
    return b"%d %s" % (mount.id if mount else 0, where.mount)


def _kill_all() -> None:
    for helper in _helpers.values():
        helper.kill()


def _asked(where: Far, look: Callable[_P, _T], *arguments: _P.args, **options: _P.kwargs) -> _T:
    """What a look at a filesystem that may hang gives. Raises what the look does, and Hangs."""
    helper = _helper(where)
    try:
        how, what = helper.ask(where, look.__name__, arguments, options)
    except Hangs:
        raise
    except (OSError, EOFError) as error:
        helper.forget()
        raise OSError(errno.EIO, "the process that looks at it has ended") from error
    match how:
        case "mode":
            raise NotAFile(*what)
        case "errno":
            raise OSError(what[0], os.strerror(what[0]), what[1])
        case "value":
            raise ValueError(what)
    result: _T = what
    return result
