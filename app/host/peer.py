"""Who listens on a unix socket.

Source: unix(7) SO_PEERCRED; Linux net/unix/af_unix.c unix_listen and copy_peercred: who connects
is told the process, user and group that called listen(2). With socket activation that is systemd,
which passes the listening socket on (dockerd ``-H fd://``): then the user says who is behind it and
the process does not.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

_UCRED = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Peer:
    """The process and the user that listen, as seen from this process's own namespaces.

    ``pid`` is 0 for a process that is out of sight here. ``uid`` is the overflow user, 65534, for
    one that this user namespace has no number for (user_namespaces(7)).
    """

    pid: int
    uid: int


def peer_of(connected: socket.socket) -> Peer:
    """Who listens at the other end of a connected unix stream socket. Raises OSError."""
    answer = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _ = _UCRED.unpack(answer)
    # Both are unsigned there; -1 is what an unconnected socket says.
    return Peer(max(pid, 0), uid & 0xFFFFFFFF)
