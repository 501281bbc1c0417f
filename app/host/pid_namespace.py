"""Whether the processes that this one sees are the whole machine's."""

from __future__ import annotations

import os

#: ``/proc/<pid>/ns/pid`` of the machine's own processes (Linux include/linux/proc_ns.h,
#: PROC_PID_INIT_INO).
_MACHINE = b"pid:[4026531836]"


def sees_machine(proc: bytes = b"/proc") -> bool:
    """False in a container without ``--pid=host``, or where nobody can tell.

    There, that a process or a mount is not to be seen proves nothing.
    """
    try:
        return os.readlink(os.path.join(proc, b"self/ns/pid")) == _MACHINE
    except OSError:
        return False
