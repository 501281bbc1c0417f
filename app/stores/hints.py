"""Where a Docker data root could be, when no engine says so: configuration, processes, users.

Sources: dockerd(8); moby daemon/config/config.go (``data-root``, ``graph``), daemon/config
GetDefaultDataRoot for rootless; pflag for how options may be written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.model import Problem
from app.stores.files import Damage, parse_object, read_file
from app.stores.mounts import Mount, read_own
from app.stores.recognise import is_remapped

DAEMON_JSON = b"/etc/docker/daemon.json"
DEFAULT_ROOT = b"/var/lib/docker"
ROOTLESS = b".local/share/docker"

_LARGEST_CONFIG = 4 * 1024 * 1024
_LARGEST_COMMAND = 256 * 1024
_LARGEST_PASSWD = 64 * 1024 * 1024
#: A home directory on one of these is not looked at: its server may be dead and never answer, and
#: overlayfs cannot have its upper directory there anyway.
_FAR = ("nfs", "cifs", "smb", "autofs", "fuse", "9p", "afs", "ceph", "gfs", "lustre", "glusterfs")


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


def configured(host: Host, config: bytes = DAEMON_JSON) -> tuple[list[Hint], list[Problem]]:
    """``data-root``, or ``graph`` of old, in the engine's configuration file."""
    shown = os.fsdecode(config)
    try:
        found = parse_object(read_file(os.path.realpath(host.at(config)), _LARGEST_CONFIG))
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
    """A daemon's process: its id, its owner's uid, its arguments and its environment."""

    pid: int
    uid: int
    arguments: tuple[bytes, ...]
    environ: dict[bytes, bytes]

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
            about = os.stat(theirs)
            return any(os.path.samestat(about, os.stat(each)) for each in ours)
        except PermissionError:
            return True
        except OSError:
            return False


def running(host: Host) -> tuple[list[Hint], list[Problem]]:
    """What every running dockerd says: its ``--data-root``, its own ``--config-file``, its home."""
    hints: list[Hint] = []
    problems: list[Problem] = []
    for engine in processes(host, b"dockerd"):
        more, wrong = _engine_roots(host, engine)
        hints += [hint for hint in more if engine.means(host, hint.path)]
        problems += wrong
    return hints, problems


def serving(host: Host, root: bytes) -> list[int]:
    """The ids of the dockerd processes that work on the data root ``root``, or may do so.

    Also one whose userns-remapped root below its own it is. Where a process may not be looked at,
    its word cannot be checked, and it counts.
    """
    engines = processes(host, b"dockerd")
    return [engine.pid for engine in engines if _may_serve(host, engine, root)]


def _may_serve(host: Host, engine: Process, root: bytes) -> bool:
    hints, problems = _engine_roots(host, engine)
    paths = [hint.path for hint in hints]
    if not hints:
        # It may live in a container, where our daemon.json is not the one that it reads.
        hints, more = configured(host)
        problems += more
        paths = [*(hint.path for hint in hints), host.at(DEFAULT_ROOT)]
    mine = [root, *([os.path.dirname(root)] if is_remapped(root) else [])]
    return bool(problems) or any(engine.sees(host, path, mine) for path in paths)


def _engine_roots(host: Host, engine: Process) -> tuple[list[Hint], list[Problem]]:
    who = f"dockerd, process {engine.pid}"
    if given := engine.option(b"--data-root", b"--graph", b"-g"):
        if not given.startswith(b"/"):
            given = os.path.join(_directory_of(host, engine.pid), given)
        return _hints(host, given, f"the data root of {who}"), []
    problems: list[Problem] = []
    if config := engine.option(b"--config-file"):
        hints, problems = configured(host, config)
        if hints:
            return hints, problems
    if engine.uid:
        data = engine.environ.get(b"XDG_DATA_HOME", b"")
        home = engine.environ.get(b"HOME", b"")
        path = os.path.join(data, b"docker") if data else os.path.join(home, ROOTLESS)
        return _hints(host, path, f"the data root of rootless {who}"), problems
    return [], problems


def processes(host: Host, program: bytes) -> Iterator[Process]:
    """Every running process of this program."""
    proc = host.at(b"/proc")
    try:
        names = sorted((name for name in os.listdir(proc) if name.isdigit()), key=int)
    except OSError:
        return
    for name in names:
        arguments = _fields(os.path.join(proc, name, b"cmdline"))
        if not arguments or os.path.basename(arguments[0]) != program:
            continue
        try:
            uid = os.stat(os.path.join(proc, name)).st_uid
        except OSError:
            continue
        settings = (item.partition(b"=") for item in _fields(os.path.join(proc, name, b"environ")))
        environ = {key: value for key, _, value in settings}
        yield Process(int(name), uid, tuple(arguments[1:]), environ)


def _fields(path: bytes) -> list[bytes]:
    """The NUL-ended strings in a file of /proc; none where it cannot be read."""
    try:
        return read_file(path, _LARGEST_COMMAND).split(b"\0")[:-1]
    except (FileNotFoundError, Damage):
        return []


def _directory_of(host: Host, pid: int) -> bytes:
    try:
        return os.readlink(os.path.join(host.at(b"/proc"), b"%d" % pid, b"cwd"))
    except OSError:
        return b""


# --- rootless engines -----------------------------------------------------------------------------


def rootless(host: Host) -> list[Hint]:
    """``~/.local/share/docker`` of every user in /etc/passwd, where there is such a directory."""
    try:
        passwd = read_file(os.path.realpath(host.at(b"/etc/passwd")), _LARGEST_PASSWD)
    except (FileNotFoundError, Damage):
        return []
    mounts = read_own(host.at(b"/proc"))
    hints: dict[bytes, Hint] = {}
    for line in passwd.split(b"\n"):
        fields = line.split(b":")
        home = fields[5] if len(fields) == 7 else b""
        if not home.startswith(b"/") or b"\0" in home or _is_far(home, mounts):
            continue
        path = host.at(os.path.join(home, ROOTLESS))
        if os.path.isdir(path):
            user = os.fsdecode(fields[0])
            hints.setdefault(path, Hint(path, f"the rootless data root of user {user}"))
    return list(hints.values())


def _is_far(home: bytes, mounts: Sequence[Mount]) -> bool:
    """Whether the mount that holds this path is another machine's."""
    holding = [mount for mount in mounts if _holds(mount.point, home)]
    # The last of equal length is the one on top.
    nearest = max(reversed(holding), key=lambda mount: len(mount.point), default=None)
    return nearest is not None and nearest.fstype.startswith(_FAR)


def _holds(point: bytes, path: bytes) -> bool:
    return point in (b"/", path) or path.startswith(point + b"/")
