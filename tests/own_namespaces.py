"""The tests run in a PID and a mount namespace of their own, as `unshare --pid --mount` makes them.

What is judged is the tool as it is: it sees every process there is (whatever this machine hides
from its root lies outside), the daemons that the tests start are in there with it, and mounts and
daemons end with the run, however it ends.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from contextlib import suppress
from typing import NoReturn

#: In the environment of everything that runs in there: the inode of the PID namespace.
MARK = "WHODIFF_TESTS_PID_NAMESPACE"
#: sched.h, sys/mount.h and sys/prctl.h
_CLONE_NEWNS, _CLONE_NEWPID = 0x00020000, 0x20000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 2, 4, 8, 1 << 14, 1 << 18
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def inside() -> bool:
    """Whether this process is in there already."""
    return os.environ.get(MARK) == _pid_namespace()


def enter() -> int | None:
    """None in a child that is in there and goes on; in the parent the child's status at its end.

    Only root can make namespaces; for anybody else, and where it is forbidden, None at once, with
    :func:`inside` still false. Ctrl-C reaches the child by itself, other signals are handed on.
    """
    if inside() or os.geteuid() != 0 or not _done(_libc.unshare(_CLONE_NEWPID)):
        return None
    first = os.fork()
    if first == 0:
        return _process_one()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda number, _frame: _hand_on(first, number))
    return _ended(os.waitpid(first, 0)[1])


def _process_one() -> int | None:
    """Process 1 of the namespace: it makes the mounts, starts the child and collects the dead."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    private = _done(_libc.unshare(_CLONE_NEWNS)) and _mount(b"none", b"/", _MS_REC | _MS_PRIVATE)
    if not private or not _mount(b"proc", b"/proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC):
        os.write(2, f"the tests cannot have namespaces of their own: {_why()}\n".encode())
        os._exit(1)
    child = os.fork()
    if child == 0:
        os.environ[MARK] = _pid_namespace()
        return None
    _collect(child)


def _collect(child: int) -> NoReturn:
    # Process 1 is deaf to signals that it has no handler for; it ends with its child.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda number, _frame: _hand_on(child, number))
    while True:
        pid, status = os.wait()
        if pid == child:
            os._exit(_ended(status))


def _hand_on(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _mount(source: bytes, target: bytes, flags: int) -> bool:
    """Mount proc(5), or change the propagation, where the type says nothing (mount(2))."""
    return _done(_libc.mount(source, target, source, ctypes.c_ulong(flags), None))


def _done(result: int) -> bool:
    return result == 0


def _why() -> str:
    return os.strerror(ctypes.get_errno() or errno.EPERM)


def _ended(status: int) -> int:
    """A wait status as the number that a shell would show."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _pid_namespace() -> str:
    return str(os.stat("/proc/self/ns/pid").st_ino)
