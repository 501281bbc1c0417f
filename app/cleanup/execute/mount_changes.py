"""What was mounted or unmounted while something is removed, and whether that could be hit by it.

A plan is made of the mounts of one moment, and says which. What is mounted before anything goes, in
any namespace, and is none of these and could use what is to go stops it, with everything put back;
later on one that leads into what is removed does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence

from app.cleanup.plan.model import Action, Place, Step
from app.cleanup.plan.reopen_path import Reached, open_base
from app.host.mount_watch import MountWatch
from app.host.mounts import Mount, read_all

#: Seconds between two looks.
_LOOK = 0.01


class MountChanges:
    """The mounts of every namespace beside those that the plan was made of. To be closed."""

    def __init__(self, seen: Iterable[Mount], proc: bytes = b"/proc") -> None:
        self._proc = proc
        self._watch = MountWatch(proc)
        self._before = frozenset(_shown(it) for it in seen)
        self._looked = 0.0
        # Something may have come between the plan and the watch.
        self._changed = True
        self._left = ""

    def close(self) -> None:
        """End watching."""
        self._watch.close()

    def in_use(self, step: Step, target: Reached) -> str:
        """Why what was put aside just now is not to go: a mount that is new uses it; or ""."""
        for mount in read_all(self._proc)[0]:
            if _shown(mount) in self._before:
                continue
            if _names(mount, step.known_as) or _may_lead_to(mount, step, target):
                return (
                    f"{os.fsdecode(target.path)} was not touched: it was mounted just now, at "
                    f"{os.fsdecode(mount.point)}. Look at it again with a fresh plan."
                )
        return ""

    def hinders(self, step: Step, target: Reached) -> str:
        """Why the removal must stop: a mount leads into what is removed by now; or "".

        Cheap where nothing changed.
        """
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return self._left
        self._looked = now
        if self._watch.changed() or self._changed:
            self._changed = False
            self._left = self._why(step, target)
        return self._left

    def _why(self, step: Step, target: Reached) -> str:
        aside = step.beside is not None or step.action is Action.ERASE_LAYER
        live = None if aside else step.place
        if live and not _is_based(live, target):
            return (
                f"{os.fsdecode(live.base)} was unmounted or mounted anew meanwhile, so the rest "
                "was left as it is. Look at it again with a fresh plan."
            )
        mounts = read_all(self._proc)[0]
        found = [it for it in mounts if _names(it, [b"/" + target.name + b"/"])]
        if live:
            inside = _inside_live(live, mounts)
            found = [it for it in inside if _shown(it) not in self._before]
        if not found:
            return ""
        return (
            f"something was mounted in it meanwhile, at {os.fsdecode(found[0].point)}, so the rest "
            "was left as it is. Unmount it, then look again."
        )


def _shown(mount: Mount) -> tuple[object, ...]:
    """What a mount shows, in whatever namespace and wherever it does."""
    return mount.device, mount.root, mount.fstype, mount.lowers, mount.upper


def _names(mount: Mount, known_as: Iterable[bytes]) -> bool:
    """Whether one of its paths has one of these parts, each with slashes around it."""
    paths = (mount.point, mount.root, mount.upper, *mount.lowers)
    return any(part in b"/" + path + b"/" for path in paths for part in known_as)


def _may_lead_to(mount: Mount, step: Step, target: Reached) -> bool:
    """Whether a new overlay has a directory on the way to it, or one that cannot be told.

    However its path is spelled; a relative one is looked for from the driver's directory.
    """
    if mount.fstype != "overlay" or not step.known_as:
        return False
    home, on_the_way = target.parent, [target.status]
    if step.beside:
        home = target.way[step.beside - 1][0]
        on_the_way += [os.fstat(it) for it, _ in target.way[step.beside :]]
    for path in filter(None, (*mount.lowers, mount.upper)):
        try:
            found = os.stat(path, dir_fd=home)
        except OSError:
            return True
        if any(os.path.samestat(found, it) for it in on_the_way):
            return True
    return False


def _is_based(place: Place, target: Reached) -> bool:
    """Whether the path that the removal began at leads to the filesystem that it works in.

    By its device: that of an overlay which is held open is given to no other one, while the number
    of a mount (mountinfo) is, as soon as it is unmounted.
    """
    try:
        descriptor = open_base(place.base)
    except (OSError, ValueError):
        return False
    try:
        return os.path.samestat(os.fstat(descriptor), os.fstat(target.way[0][0]))
    finally:
        os.close(descriptor)


def _inside_live(place: Place, mounts: Sequence[Mount]) -> Iterator[Mount]:
    """Mounts at, below or above it, where the same overlay is mounted in any namespace."""
    device = place.origin.device
    number = f"{os.major(device)}:{os.minor(device)}"
    inside = b"/".join(place.names) + b"/"
    for overlay in mounts:
        if overlay.device != number:
            continue
        top = overlay.point.rstrip(b"/") + b"/"
        for mount in mounts:
            if mount.namespace != overlay.namespace or not mount.point.startswith(top):
                continue
            point = mount.point[len(top) :] + b"/"
            if point != b"/" and (point.startswith(inside) or inside.startswith(point)):
                yield mount
