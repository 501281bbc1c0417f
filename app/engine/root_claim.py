"""Whether a daemon is believed when it names its data root (DockerRootDir).

A daemon is who listens on the socket, and that process says what it likes. Believed is root, or
who owns the directory; and only about the directory that this process itself finds there: a daemon
in a container has a ``/var/lib/docker`` of its own.
"""

from __future__ import annotations

import os
import stat
from enum import Enum, auto

from app.host import looks
from app.host.peer import Peer
from app.host.runs import is_trusted, program_of

DAEMON = b"dockerd"


class Wrong(Enum):
    """Why a data root that a daemon names is not taken for its own."""

    NO_PATH = auto()
    NOT_HERE = auto()
    ANOTHER_VIEW = auto()
    NOT_ITS_OWN = auto()


def judge(root: bytes, peer: Peer | None, proc: bytes = b"/proc") -> Wrong | None:
    """What is wrong with ``root`` as the data root of who listens; None where nothing is.

    What may not be looked at is no reason: then nothing of it can be read either.
    """
    if not root.startswith(b"/"):
        return Wrong.NO_PATH
    try:
        about = looks.stat_of(root)
    except (PermissionError, looks.Hangs):
        return None
    except (OSError, ValueError):
        return Wrong.NOT_HERE
    if not stat.S_ISDIR(about.st_mode):
        return Wrong.NOT_HERE
    return _wrong_of(peer, root, about, proc) if peer else None


def _wrong_of(peer: Peer, root: bytes, about: os.stat_result, proc: bytes) -> Wrong | None:
    if not is_trusted(peer.uid) and peer.uid != about.st_uid:
        return Wrong.NOT_ITS_OWN
    return None if _sees(peer, root, about, proc) else Wrong.ANOTHER_VIEW


def _sees(peer: Peer, root: bytes, about: os.stat_result, proc: bytes) -> bool:
    """Whether who listens has the same directory there, as far as anybody can tell.

    A proxy in a container need not have it at all; a daemon must.
    """
    process = os.path.join(proc, b"%d" % peer.pid)
    if not peer.pid or not looks.isdir(process):
        return True
    try:
        return os.path.samestat(looks.stat_of(os.path.join(process, b"root", root[1:])), about)
    except FileNotFoundError:
        return program_of(process) != DAEMON
    except OSError:
        return True
