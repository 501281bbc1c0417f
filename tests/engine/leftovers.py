"""Takes away what a private engine left behind: its processes, mounts, control groups and files.

Everything here is found by the engine's own paths and container ids and ended by process id, so
that no other engine of this machine is touched. Works without the daemon: after ``kill -9`` of it,
after a test run that was itself killed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

PREFIX = "whodiff-daemon-"
OWNER_FILE = "owner"
ENGINE_PROGRAMS = frozenset({b"dockerd", b"containerd", b"containerd-shim-runc-v2", b"runc"})


def mounts_below(base: Path) -> list[bytes]:
    """Mount points at or below ``base``, in the order they were made (proc_pid_mountinfo(5))."""
    top = os.fsencode(base)
    points = [_unescaped(line.split()[4]) for line in _read(Path("/proc/self/mountinfo"))]
    return [point for point in points if point == top or point.startswith(top + b"/")]


def engine_processes(base: Path) -> list[int]:
    """Daemon, containerd and shims that were started with a path below ``base``."""
    below = os.fsencode(base) + b"/"
    return [
        pid
        for pid, arguments in _command_lines()
        if os.path.basename(arguments[0]) in ENGINE_PROGRAMS
        and any(below in argument for argument in arguments[1:])
    ]


def container_processes(ids: Iterable[str]) -> list[int]:
    """Processes whose control group carries the id of one of these containers."""
    names = [os.fsencode(one) for one in ids]
    return [
        pid
        for pid, _ in _command_lines()
        if any(name in line for line in _read(Path(f"/proc/{pid}/cgroup")) for name in names)
    ]


def clear(base: Path) -> None:
    """End the engine that lives below ``base``, with all it started, and remove ``base``."""
    ids = _container_ids(base)
    _end_all(base, ids)
    _unmount_all(base)
    shutil.rmtree(base)
    _remove_control_groups(ids)
    _remove_shim_sockets(base, ids)


def clear_abandoned() -> None:
    """Clear engines of test runs that are gone without having cleaned up (killed, power cut)."""
    for base in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(FileNotFoundError, BlockingIOError), (base / OWNER_FILE).open("rb") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            clear(base)


def claim(base: Path) -> None:
    """Own ``base`` as long as this process lives, by a lock.

    A process id would not do: runs in other PID namespaces look at the same directories.
    """
    made = base / f"{OWNER_FILE}.new"
    lock = os.open(made, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_EX)
    made.rename(base / OWNER_FILE)


def _container_ids(base: Path) -> list[str]:
    """Ids of all containers and of running build steps, from the data root's own directories."""
    places = (base / "data" / "containers", base / "data" / "buildkit" / "executor")
    return [
        entry.name
        for place in places
        if place.is_dir()
        for entry in place.iterdir()
        if re.fullmatch(r"[0-9a-f]{64}|[0-9a-z]{25}", entry.name)
    ]


def _end_all(base: Path, ids: list[str]) -> None:
    """Kill until nothing is left; a process can start another one between look and kill."""
    deadline = time.monotonic() + 20
    while pids := engine_processes(base) + container_processes(ids):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {pids} of {base} do not end")
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _unmount_all(base: Path) -> None:
    """Unmount newest first. ``-l`` as the last word: a reader elsewhere may hold a mount busy."""
    for options in ([], [], ["-l"]):
        for point in reversed(mounts_below(base)):
            command = ["umount", *options, os.fsdecode(point)]
            subprocess.run(command, capture_output=True, check=False)
    if left := mounts_below(base):
        raise RuntimeError(f"cannot unmount {left}")


def _remove_control_groups(ids: list[str]) -> None:
    """Remove empty groups of killed containers (cgroup v1 has one tree for each controller)."""
    tops = [Path("/sys/fs/cgroup/docker"), *Path("/sys/fs/cgroup").glob("*/docker")]
    for group in (top / one for top in tops for one in ids):
        with suppress(OSError):
            group.rmdir()


def _remove_shim_sockets(base: Path, ids: list[str]) -> None:
    """Remove sockets of killed shims (named as by containerd runtime/v2/shim SocketAddress)."""
    address = base / "exec" / "containerd" / "containerd.sock"
    for one in ids:
        name = hashlib.sha256(os.fsencode(address / "moby" / one)).hexdigest()
        Path("/run/containerd/s", name).unlink(missing_ok=True)


def _command_lines() -> Iterator[tuple[int, list[bytes]]]:
    """Argument lists of all living processes; a zombie has none (proc_pid_cmdline(5))."""
    for pid in _pids():
        with suppress(OSError):
            if line := Path(f"/proc/{pid}/cmdline").read_bytes():
                yield pid, line.rstrip(b"\0").split(b"\0")


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _read(path: Path) -> list[bytes]:
    """Lines of a /proc file; none when its process has gone."""
    try:
        return path.read_bytes().splitlines()
    except OSError:
        return []


def _unescaped(field: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), field)
