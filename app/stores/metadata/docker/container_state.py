"""Whether a container that ran when the engine last saved its state runs now.

``config.v2.json`` goes on saying "running" after the engine was killed or the machine went down.
While the engine answers, its own word counts; without it, the processes of this machine do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from app.host.pid_namespace import sees_machine
from app.model import AS_LAST_SAVED, DataRoot
from app.stores.metadata.docker.containers import ALIVE, ContainerRecord, still_running

#: The state of a container whose process is gone though the engine saved it as alive.
NOT_RUNNING = "not running"
RUNNING = "running"


def checked_states(
    containers: Mapping[str, ContainerRecord], root: DataRoot, proc: bytes = b"/proc"
) -> dict[str, ContainerRecord]:
    """The same containers, their states checked against the processes of this machine.

    A process that carries the container's id proves that it lives, and that this machine runs the
    containers of this root. That a process is missing proves something only where the root is this
    machine's own: one that was not merely named by the user (``named``), who may have named a copy,
    or one of whose containers is alive. Nor does it in a container that does not see the machine's
    processes.
    """
    alive = {
        id_: still_running(record, proc)
        for id_, record in containers.items()
        if record.state in ALIVE
    }
    own = any(alive.values()) or (not root.named and sees_machine(proc))
    states = {id_: _state(containers[id_].state, alive[id_], own) for id_ in alive}
    return {
        id_: replace(record, state=states.get(id_, record.state))
        for id_, record in containers.items()
    }


def idle_state(root: DataRoot, proc: bytes = b"/proc") -> str:
    """The state of a container that has no live mount: in a copy, that proves nothing."""
    return NOT_RUNNING if not root.named and sees_machine(proc) else ""


def _state(saved: str, alive: bool | None, own: bool) -> str:
    if alive:
        return saved
    return NOT_RUNNING if own and alive is False else saved + AS_LAST_SAVED
