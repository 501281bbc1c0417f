"""Plans for what lies in a container's directory: its logs; the rest is the engine's own.

The engine holds the current log open: to unlink it frees nothing and loses what follows, to make it
empty frees it at once (moby daemon/logger/loggerutils/logfile.go). Rotated ones are closed.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.cleanup.plan.commands import truncate
from app.cleanup.plan.container_settings import read_settings
from app.cleanup.plan.containers import is_stopped, word_for
from app.cleanup.plan.context import World, named, refused
from app.cleanup.plan.model import Action, Confirmation, Frees, Plan, Step, Wish
from app.cleanup.plan.resolve_path import Gone, Reached, path_of, reach_in_root
from app.cleanup.plan.shared_extents import own_bytes
from app.host import looks
from app.model import Container, DataRoot, ImageStore, Kind, Reference

_ROTATED = re.compile(rb"\.[1-9][0-9]{0,5}(\.gz)?")
_LOCAL, _CURRENT, _CACHED = b"local-logs", b"container.log", b"container-cached.log"
_MAJOR = re.compile(r"v?([0-9]{1,4})\.")
_HANGS_FROM = 29
_OWN_FORMAT = "the engine writes it in a format of its own, which a cut would break"
_ITS_LOG = "this is its log"
_BLOCK = 512
_Names = tuple[bytes, ...]


def _hangs(root: DataRoot) -> bool:
    """Whether the daemon that keeps this log cannot read its end once it was made empty.

    Seen with 29, not with 20.10. Where no version is known, the containerd store tells: it is the
    usual one from 29 on.
    """
    major = _MAJOR.match(root.engine_version)
    if major:
        return int(major[1]) >= _HANGS_FROM
    return root.image_store is ImageStore.CONTAINERD


def _frees(path: bytes, log: Reached) -> Frees:
    own, exact = own_bytes(path, log.status.st_blocks * _BLOCK)
    return Frees(own, least=not exact)


def plan_log(wish: Wish, world: World, names: Sequence[bytes]) -> Plan:
    """``names`` are those below ``containers``: the container's id, then what is in its place."""
    id_ = os.fsdecode(names[0])
    container = world.container(id_)
    if container is None or not container.directory:
        return refused(
            wish,
            f"containers/{id_}",
            "no container with a readable config.v2.json has this directory",
            "restart the engine: it says in its log what it cannot load",
        )
    return _Logs(wish, world, container, tuple(names[1:])).plan()


class _Logs:
    """The logs of one container; ``inside`` is what was chosen in its directory."""

    def __init__(self, wish: Wish, world: World, container: Container, inside: _Names) -> None:
        self.wish, self.world, self.container, self.inside = wish, world, container, inside
        self.id = os.fsencode(container.owner.id)
        self.json = b"%s-json.log" % self.id
        self.all = tuple(self._listed())

    def plan(self) -> Plan:
        """What was chosen: one log, or all of them."""
        match self.inside:
            case ():
                chosen = self._erasable((self.json,), (_LOCAL, _CURRENT), (_CACHED,))
                current = [(self.json,)] if (self.json,) in self.all else []
                return self._plan(current, chosen) if current or chosen else self._none()
            case (self.json,):
                return self._plan([self.inside], [])
            case (name,) if name == _LOCAL:
                chosen = self._erasable((_LOCAL, _CURRENT))
                return self._plan([], chosen) if chosen else self._none()
            case _ if self.inside in self._erasable((self.json,), (_LOCAL, _CURRENT), (_CACHED,)):
                return self._plan([], [self.inside])
            case (*_, name) if name in (_CURRENT, _CACHED):
                return self._refused(
                    _OWN_FORMAT,
                    "only rotated ones (.1 and on) can be removed; removing the container takes it",
                )
        return self._refused(
            "it is Docker's own: settings and state of the container",
            f"remove {named(self.container.owner)} as a whole",
            use="this is one of its files",
        )

    def _listed(self) -> Iterator[_Names]:
        """Every file in the container's directory, and in that of the local logger."""
        for above in ((), (_LOCAL,)):
            try:
                place = os.path.join(self.container.directory, *above)
                names = [name for name, _ in looks.names(place)]
            except OSError:
                continue
            yield from ((*above, name) for name in sorted(names))

    def _erasable(self, *currents: _Names) -> list[_Names]:
        """The rotated siblings of these."""
        return [
            it
            for it in self.all
            for current in currents
            if it[:-1] == current[:-1]
            and it[-1].startswith(current[-1])
            and _ROTATED.fullmatch(it[-1][len(current[-1]) :])
        ]

    # Plans.

    def _title(self) -> str:
        what = os.fsdecode(b"/".join(self.inside))
        of = named(self.container.owner)
        return f"{what} of {of}" if what else f"logs of {of}"

    def _refused(self, why: str, instead: str = "", use: str = _ITS_LOG) -> Plan:
        return refused(
            self.wish,
            self._title(),
            why,
            instead,
            references=self._references(use),
            evidence=self.container.evidence,
        )

    def _none(self) -> Plan:
        stays = next(self._staying(), None)
        if stays:
            words = f"of its logs there is only {os.fsdecode(b'/'.join(stays))}, and {_OWN_FORMAT}"
            return self._refused(words, f"remove {named(self.container.owner)} as a whole")
        return self._refused("it has no log that could be emptied or removed")

    def _plan(self, emptied: Sequence[_Names], erased: Sequence[_Names]) -> Plan:
        steps: list[Step] = []
        total = Frees()
        for names in (*emptied, *erased):
            try:
                found = self._reach(names)
            except Gone:
                # The engine has rotated meanwhile.
                continue
            if not stat.S_ISREG(found.status.st_mode) or found.status.st_nlink != 1:
                return self._refused(
                    f"{os.fsdecode(names[-1])} is no plain file of its own, as a log is"
                )
            path = path_of(found.place)
            if names in emptied:
                if found.status.st_size:
                    steps.append(Step(Action.TRUNCATE, truncate(path), place=found.place))
                    total += _frees(path, found)
            else:
                # The daemon may have moved another log to this name before somebody types it.
                steps.append(Step(Action.ERASE, place=found.place))
                total += _frees(path, found) + Frees(inodes=1)
        if not steps:
            return self._refused("it is empty already, or not there (any more)")
        typed = bool(emptied) and not is_stopped(self.container.owner)
        return Plan(
            self.wish,
            self._title(),
            path=os.path.join(self.container.directory, *self.inside),
            steps=tuple(steps),
            frees=replace(total, least=total.least or not is_stopped(self.container.owner)),
            confirmation=Confirmation.TYPED if typed else Confirmation.PLAIN,
            word=word_for(self.container.owner) if typed else "",
            consequences=tuple(self._consequences(emptied, erased)),
            references=self._references(),
            evidence=self.container.evidence,
            filesystem=self.container.directory,
        )

    def _reach(self, names: _Names) -> Reached:
        return reach_in_root(self.world.path(), (b"containers", self.id, *names))

    def _staying(self) -> Iterator[_Names]:
        """The current logs in what was chosen that can be neither emptied nor removed."""
        for names in ((_LOCAL, _CURRENT), (_CACHED,)):
            if names in self.all and names[: len(self.inside)] == self.inside:
                yield names

    def _consequences(self, emptied: Sequence[_Names], erased: Sequence[_Names]) -> Iterator[str]:
        yield "the lines in it are gone for good; `docker logs` does not show them any more"
        for names in self._staying():
            shown = os.fsdecode(b"/".join(names))
            yield f"{shown} stays, with the latest lines: {_OWN_FORMAT}"
        running = not is_stopped(self.container.owner)
        if emptied and running and self._erasable((self.json,)):
            # A log that was rotated is not opened with O_APPEND: its writer goes on at its offset.
            yield (
                "the engine goes on where it was: the log looks as long as before, begins with a "
                "hole of zeros, and `docker logs` may show an odd line, until it rotates again"
            )
        if emptied and running and _hangs(self.world.store.root):
            yield (
                "`docker logs --tail` hangs from then on, until the container restarts (Docker 29 "
                "and later): restart it, or let its log be rotated instead of emptied (--log-opt "
                "max-size=10m)"
            )
        if erased and running:
            yield "a `docker logs --follow` that reads a rotated log keeps its space until it ends"
        settings = read_settings(self.container)
        # Other loggers rotate by default (moby daemon/logger/local: 5 files of 20 MB).
        grows = any(names[-1].startswith(self.json) for names in (*emptied, *erased))
        if grows and settings.known and "max-size" not in settings.log_options:
            yield (
                "it grows again without a limit: make the container with --log-opt max-size=10m "
                "--log-opt max-file=3, or set that in daemon.json"
            )

    def _references(self, use: str = _ITS_LOG) -> tuple[Reference, ...]:
        owner = self.container.owner
        return (Reference(Kind.CONTAINER, owner.id, owner.name, use),)
