"""Noticing that something was mounted or unmounted, in any mount namespace, without reading it all.

A mountinfo file that is open tells by poll(2), with POLLPRI, that its namespace changed
(proc_pid_mountinfo(5); fs/proc_namespace.c mounts_poll). Other namespaces tell nothing there, so
one file is held for each, and new namespaces are looked for now and then.
"""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress

#: Namespaces that are polled; with more of them time decides as well (:data:`_BLIND`).
_MOST = 256
#: Seconds until new namespaces are looked for.
_AGAIN = 2.0
#: Seconds after which a change is assumed where not every namespace can be polled.
_BLIND = 5.0


class MountWatch:
    """Tells whether mounts changed since it was asked the last time. To be closed.

    ``proc`` is where proc(5) is mounted. An open mountinfo file keeps its namespace, so those
    whose last process ended are let go of.
    """

    def __init__(self, proc: bytes = b"/proc") -> None:
        self._proc = proc
        self._poll = select.poll()
        self._held: dict[int, int] = {}
        self._whole = True
        self._looked = self._assumed = time.monotonic()
        self._renew()
        self._has_events()

    def changed(self) -> bool:
        """Whether something may have been mounted or unmounted since the last call."""
        now = time.monotonic()
        found = self._has_events()
        if found or now - self._looked >= _AGAIN:
            found |= self._renew()
            self._looked = time.monotonic()
        if not self._whole and now - self._assumed >= _BLIND:
            self._assumed, found = now, True
        return found

    def close(self) -> None:
        """Let go of every namespace."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def _has_events(self) -> bool:
        return any(event & (select.POLLPRI | select.POLLERR) for _, event in self._poll.poll(0))

    def _renew(self) -> bool:
        """Hold every namespace that a process is in now; whether there are new ones."""
        seen = self._namespaces()
        for gone in self._held.keys() - seen.keys():
            descriptor = self._held.pop(gone)
            self._poll.unregister(descriptor)
            os.close(descriptor)
        new = seen.keys() - self._held.keys()
        self._whole = len(seen) <= _MOST
        for namespace in sorted(new)[: max(0, _MOST - len(self._held))]:
            try:
                path = os.path.join(self._proc, seen[namespace], b"mountinfo")
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                # Its process ended, or may not be looked at: time decides.
                self._whole &= not os.path.lexists(os.path.join(self._proc, seen[namespace]))
                continue
            self._held[namespace] = descriptor
            self._poll.register(descriptor, select.POLLPRI)
        return bool(new)

    def _namespaces(self) -> dict[int, bytes]:
        """The inode numbers of the mount namespaces, each with a process in it; ours by `self`."""
        found: dict[int, bytes] = {}
        with suppress(OSError):
            names = [b"self", *(it for it in os.listdir(self._proc) if it.isdigit())]
            for name in names:
                with suppress(OSError):
                    status = os.stat(os.path.join(self._proc, name, b"ns", b"mnt"))
                    found.setdefault(status.st_ino, name)
        return found
