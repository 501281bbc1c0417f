"""Where a Docker data root could be, when no engine says so: configuration, processes, users.

Sources: dockerd(8); moby daemon/config/config.go (``data-root``, ``graph``), daemon/config
GetDefaultDataRoot for rootless; pflag for how options may be written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from app.discovery.classify import is_remapped
from app.host import looks
from app.host.mounts import Mount, read_of, read_own, spellings
from app.host.runs import is_trusted, lock_holders, program_of, runner_of
from app.host.safe_read import Damage, parse_object, read_file
from app.model import Problem

DAEMON_JSON = b"/etc/docker/daemon.json"
DEFAULT_ROOT = b"/var/lib/docker"
ROOTLESS = b".local/share/docker"

_LARGEST_CONFIG = 4 * 1024 * 1024
_LARGEST_COMMAND = 256 * 1024
_LARGEST_PASSWD = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Hint:
    """A directory that may be a data root, as seen from this process, and who says so."""

    path: bytes
    found_by: str


@dataclass(frozen=True, slots=True)
class Host:
    """The file system that is looked through: ``/``, or another machine's, mounted somewhere."""

    fs_root: bytes = b"/"

    def at(self, path: bytes) -> bytes:
        """An absolute path of that machine as a path of this one."""
        return os.path.join(self.fs_root, path.lstrip(b"/"))


# --- daemon.json ----------------------------------------------------------------------------------


def configured(
    host: Host, config: bytes = DAEMON_JSON, at: bytes = b""
) -> tuple[list[Hint], list[Problem]]:
    """``data-root``, or ``graph`` of old, in the engine's configuration file.

    ``at`` is where that file lies for us, where it is not this machine's own.
    """
    shown = os.fsdecode(config)
    try:
        found = parse_object(read_file(at or looks.realpath(host.at(config)), _LARGEST_CONFIG))
    except FileNotFoundError:
        return [], []
    except Damage as damage:
        sentence = f"{shown} {damage}: if it names a data root, give that one with --data-root."
        return [], [Problem(shown, sentence)]
    path = found.text("data-root") or found.text("graph")
    if found.wrong:
        sentence = f"{shown} has no path as {found.wrong[0]}: correct it, or use --data-root."
        return [], [Problem(shown, sentence)]
    return _hints(host, path.encode(), f"named in {shown}"), []


def _hints(host: Host, path: bytes, found_by: str) -> list[Hint]:
    usable = path.startswith(b"/") and b"\0" not in path
    return [Hint(host.at(path), found_by)] if usable else []


# --- running engines ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Process:
    """A daemon's process: its id, its owner's uid, its arguments and its environment.

    ``inside`` is true where it has a root directory of its own, as in a container.
    """

    pid: int
    uid: int
    arguments: tuple[bytes, ...]
    environ: dict[bytes, bytes]
    inside: bool = False

    def may_speak_for(self, path: bytes) -> bool:
        """Whether it is believed about this directory: root's process, or its owner's own.

        A name proves nothing, for anybody may call a process dockerd.
        """
        try:
            return is_trusted(self.uid) or looks.stat_of(path).st_uid == self.uid
        except OSError:
            return False

    def option(self, *names: bytes) -> bytes:
        """The value of an option in any of its spellings, the last one given; b"" without one."""
        value = b""
        for index, argument in enumerate(self.arguments):
            name, equals, rest = argument.partition(b"=")
            if name in names and equals:
                value = rest
            elif argument in names:
                value = b"".join(self.arguments[index + 1 : index + 2])
            elif argument[:2] in names and not argument.startswith(b"--"):
                value = argument[2:].removeprefix(b"=")
        return value

    def means(self, host: Host, path: bytes) -> bool:
        """Whether the process means the directory that we see under this path.

        An engine inside a container has a /var/lib/docker of its own. Where its root directory may
        not be looked at, our own view has to do.
        """
        return self.sees(host, path, [path])

    def sees(self, host: Host, path: bytes, ours: Sequence[bytes]) -> bool:
        """Whether what the process finds under this path is one of these directories of ours.

        Where its root directory may not be looked at, its word cannot be checked, and it counts.
        """
        inside = os.path.relpath(path, host.fs_root)
        theirs = os.path.join(host.at(b"/proc"), b"%d" % self.pid, b"root", inside)
        try:
            about = looks.stat_of(theirs)
            return any(os.path.samestat(about, looks.stat_of(each)) for each in ours)
        except PermissionError:
            return True
        except OSError:
            return False


def dockerds(host: Host) -> tuple[Process, ...]:
    """Every process that is dockerd, or calls itself so, whoever runs it."""
    return tuple(processes(host, b"dockerd"))


def running(
    host: Host, engines: Sequence[Process] | None = None
) -> tuple[list[Hint], list[Problem]]:
    """What every dockerd that root runs here says: ``--data-root``, its own ``--config-file``."""
    hints: list[Hint] = []
    problems: list[Problem] = []
    for engine in dockerds(host) if engines is None else engines:
        if is_trusted(engine.uid) and not engine.inside:
            more, wrong = _engine_roots(host, engine)
            hints += [hint for hint in more if engine.means(host, hint.path)]
            problems += wrong
    return hints, problems


def others_running(host: Host, engines: Sequence[Process] | None = None) -> list[Hint]:
    """The same of users' engines and of those in containers, as far as each may say so.

    They are shown beside this machine's own root and never stand in for it.
    """
    hints: list[Hint] = []
    for engine in dockerds(host) if engines is None else engines:
        if engine.inside or not is_trusted(engine.uid):
            more, _ = _engine_roots(host, engine)
            hints += [
                hint
                for hint in more
                if engine.may_speak_for(hint.path) and engine.means(host, hint.path)
            ]
    return hints


def roots_inside(host: Host, engines: Sequence[Process] | None = None) -> list[bytes]:
    """The data roots of daemons in containers, by their root directories in proc(5).

    Such a path leads into the daemon's own mounts, and must not be resolved any further.
    """
    found: list[bytes] = []
    for engine in dockerds(host) if engines is None else engines:
        if engine.inside:
            hints, _ = _engine_roots(host, engine)
            paths = [os.path.relpath(it.path, host.fs_root) for it in hints]
            for path in paths or [DEFAULT_ROOT[1:]]:
                root = _inside(host, engine, path)
                if looks.isdir(root) and engine.may_speak_for(root):
                    found.append(root)
    return found


class Worker(NamedTuple):
    """A daemon's process that works on a data root; not ``sure``: nobody can tell, it may.

    ``inside``: in a container, where a path, or a link in the data root, may lead elsewhere.
    """

    pid: int
    sure: bool = True
    inside: bool = False


def serving(host: Host, root: bytes) -> list[Worker]:
    """The processes that work on the data root ``root``, or may do so, the sure ones first.

    Believed is a dockerd that root or the root's owner runs, whose settings lead here, and whoever
    holds the lock that each dockerd has on its own volumes (moby daemon/volume/service/store.go
    NewStore, which bbolt locks), whatever that process is called. Also one whose userns-remapped
    root below its own it is. Where a process may not be looked at, its word cannot be checked,
    and it counts.
    """
    proc = host.at(b"/proc")
    database = os.path.join(root, b"volumes", b"metadata.db")
    found: dict[int, Worker] = {}
    for pid in lock_holders(database, proc):
        process = os.path.join(proc, b"%d" % pid)
        uid = runner_of(process)
        if uid is not None and Process(pid, uid, (), {}).may_speak_for(root):
            found[pid] = Worker(pid, inside=_is_inside(host, process))
    # What a container's process says of itself counts less than the lock that it does not have.
    locked = looks.isfile(database) and looks.isfile(os.path.join(proc, b"locks"))
    for engine in dockerds(host):
        if engine.pid in found or not engine.may_speak_for(root) or (engine.inside and locked):
            continue
        sure = _serves(host, engine, root)
        if sure is not False:
            found[engine.pid] = Worker(engine.pid, bool(sure), engine.inside)
    return sorted(found.values(), key=lambda it: (not it.sure, it.pid))


def _serves(host: Host, engine: Process, root: bytes) -> bool | None:
    """Whether it works on ``root``; None where its settings cannot be read and it could."""
    mine = [root, *([os.path.dirname(root)] if is_remapped(root) else [])]
    hints, problems = _engine_roots(host, engine)
    paths = [hint.path for hint in hints]
    if not hints:
        # In a container our daemon.json is not the one that it reads.
        hints, more = ([], []) if engine.inside else configured(host)
        problems += more
        paths = [*(hint.path for hint in hints), host.at(DEFAULT_ROOT)]
    if any(engine.sees(host, path, mine) for path in paths):
        return True
    return None if problems and _in_view(host, engine, root) else False


def _in_view(host: Host, engine: Process, root: bytes) -> bool:
    """Whether a process could work on ``root`` at all: the directory is to be seen from there."""
    if not engine.inside:
        return True
    proc = host.at(b"/proc")
    theirs = read_of(engine.pid, proc)
    return not theirs or bool(spellings(root, read_own(proc), theirs))


def _engine_roots(host: Host, engine: Process) -> tuple[list[Hint], list[Problem]]:
    who = f"dockerd, process {engine.pid}"
    if given := engine.option(b"--data-root", b"--graph", b"-g"):
        if not given.startswith(b"/"):
            given = os.path.join(_directory_of(host, engine.pid), given)
        return _hints(host, given, f"the data root of {who}"), []
    problems: list[Problem] = []
    if config := engine.option(b"--config-file"):
        hints, problems = configured(host, config, _inside(host, engine, config))
        if hints:
            return hints, problems
    if engine.uid:
        data = engine.environ.get(b"XDG_DATA_HOME", b"")
        home = engine.environ.get(b"HOME", b"")
        path = os.path.join(data, b"docker") if data else os.path.join(home, ROOTLESS)
        return _hints(host, path, f"the data root of rootless {who}"), problems
    return [], problems


def _inside(host: Host, engine: Process, path: bytes) -> bytes:
    """Where a file lies for us that a process in a container calls so; b"" for any other."""
    if not engine.inside:
        return b""
    return os.path.join(host.at(b"/proc"), b"%d" % engine.pid, b"root", path.lstrip(b"/"))


def processes(host: Host, program: bytes) -> Iterator[Process]:
    """Every running process of this program, or that calls itself so."""
    proc = host.at(b"/proc")
    try:
        names = sorted((name for name in os.listdir(proc) if name.isdigit()), key=int)
    except OSError:
        return
    for name in names:
        process = os.path.join(proc, name)
        arguments = _fields(os.path.join(process, b"cmdline"))
        # A kernel thread and a zombie have no arguments.
        if not arguments or program not in (os.path.basename(arguments[0]), program_of(process)):
            continue
        uid = runner_of(process)
        if uid is None:
            continue
        settings = (item.partition(b"=") for item in _fields(os.path.join(process, b"environ")))
        environ = {key: value for key, _, value in settings}
        inside = _is_inside(host, process)
        yield Process(int(name), uid, tuple(arguments[1:]), environ, inside)


def _is_inside(host: Host, process: bytes) -> bool:
    """Whether a process has another root directory; not where it may not be looked at."""
    try:
        return not looks.samefile(os.path.join(process, b"root"), host.at(b"/"))
    except PermissionError:
        return False
    except OSError:
        return True


def _fields(path: bytes) -> list[bytes]:
    """The NUL-ended strings in a file of /proc; none where it cannot be read."""
    try:
        return read_file(path, _LARGEST_COMMAND).split(b"\0")[:-1]
    except (FileNotFoundError, Damage):
        return []


def _directory_of(host: Host, pid: int) -> bytes:
    try:
        return looks.readlink(os.path.join(host.at(b"/proc"), b"%d" % pid, b"cwd"))
    except OSError:
        return b""


# --- rootless engines -----------------------------------------------------------------------------


def rootless(host: Host) -> tuple[list[Hint], list[Problem]]:
    """``~/.local/share/docker`` of every user in /etc/passwd, where that user has such a directory.

    One that belongs to somebody else is passed over with a problem: a link or a mount leads there,
    and what it holds is not this user's to tell about.
    """
    try:
        passwd = read_file(looks.realpath(host.at(b"/etc/passwd")), _LARGEST_PASSWD)
    except (FileNotFoundError, Damage):
        return [], []
    hints: dict[bytes, Hint] = {}
    problems: dict[bytes, Problem] = {}
    users = [it for line in passwd.split(b"\n") if len(it := line.split(b":")) == 7]
    mounts = read_own(host.at(b"/proc"))
    homes = [it for it in users if _is_home(it[5], mounts)]
    places = [(host.at(os.path.join(it[5], ROOTLESS)), it) for it in homes]
    looks.all_at_once(path for path, _ in places)
    for path, fields in places:
        if path in hints or not looks.isdir(path):
            continue
        user = os.fsdecode(fields[0])
        if _owner(path) == _number(fields[2]):
            hints[path] = Hint(path, f"the rootless data root of user {user}")
            problems.pop(path, None)
        else:
            problems[path] = _not_theirs(path, user)
    return list(hints.values()), list(problems.values())


def _is_home(home: bytes, mounts: Sequence[Mount]) -> bool:
    """Whether it is a path, and looking at it mounts nothing, as on autofs(5)."""
    if not home.startswith(b"/") or b"\0" in home:
        return False
    holding = [mount for mount in mounts if _holds(mount.point, home)]
    # The last of equal length is the one on top.
    nearest = max(reversed(holding), key=lambda mount: len(mount.point), default=None)
    return nearest is None or nearest.fstype != "autofs"


def _holds(point: bytes, path: bytes) -> bool:
    return point in (b"/", path) or path.startswith(point + b"/")


def _not_theirs(path: bytes, user: str) -> Problem:
    shown = os.fsdecode(path)
    real = looks.realpath(path)
    leads = f" (it leads to {os.fsdecode(real)})" if real != path else ""
    sentence = (
        f"Passed over {shown}{leads}, for it does not belong to user {user}: if it is a data root, "
        "name it with --data-root."
    )
    return Problem(shown, sentence)


def _number(field: bytes) -> int:
    return int(field) if field.isdigit() else -1


def _owner(path: bytes) -> int:
    try:
        return looks.stat_of(path).st_uid
    except OSError:
        return -2
