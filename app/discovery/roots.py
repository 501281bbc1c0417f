"""Which Docker data roots there are: the ones named, the engine's, or what the disk hints at."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from app.discovery.candidates import (
    DEFAULT_ROOT,
    Hint,
    Host,
    Process,
    configured,
    dockerds,
    others_running,
    rootless,
    running,
)
from app.discovery.classify import (
    NoDataRoot,
    NoPermission,
    NotADataRoot,
    RootError,
    Unanswered,
    classify,
    is_data_root,
    is_remapped,
    may_be_live,
    nested_roots,
    require_directory,
)
from app.discovery.containerd import DEFAULT_ROOT as CONTAINERD_ROOT
from app.discovery.containerd import (
    containerd_of,
    is_containerd_root,
    likeliest,
    namespace_of,
)
from app.discovery.containerd import hints as containerd_hints
from app.discovery.standing import surroundings, with_standing
from app.engine.parse import EngineInfo
from app.host import looks
from app.model import DataRoot, ImageStore, Problem
from app.stores.root_parts import shown_twice

__all__ = [
    "NAMED",
    "Discovery",
    "NoDataRoot",
    "NoPermission",
    "NotADataRoot",
    "RootError",
    "classify",
    "discover",
]


#: How a root was found that the user named.
NAMED = "named by --data-root"


@dataclass(frozen=True, slots=True)
class Discovery:
    """The data roots to show, the most wanted first, and what was in the way of others."""

    roots: tuple[DataRoot, ...]
    problems: tuple[Problem, ...]


def discover(
    data_roots: Sequence[bytes], engine: EngineInfo | None, fs_root: bytes = b"/"
) -> Discovery:
    """Find the data roots.

    ``data_roots`` are the ones that the user named: then there are no others, and each must be one.
    Else the engine's own when it answers; else the first of daemon.json, the engines that root runs
    and /var/lib/docker that leads to one; and in both cases those of this host's users and of
    engines in containers.
    Userns-remapped roots below each follow it. Where there is no Docker at all, containerd's own
    root is one. ``fs_root`` is where the machine's file system is.
    The engine serves the root that is the same directory as its DockerRootDir.

    Raises RootError: NoDataRoot, NotADataRoot or NoPermission, each a sentence with the next step.
    """
    host = Host(fs_root)
    found = _Found(engine, host, dockerds(host))
    if data_roots:
        for path in data_roots:
            try:
                found.add(Hint(path, NAMED), named=True)
            except Unanswered as error:
                # Told with the mounts that do not answer (survey); the others go on.
                found.failures.append(error)
        if not found.roots:
            raise found.failures[0]
        return found.result()
    _find_main(found, engine, host)
    homes, problems = rootless(host)
    found.problems += problems
    found.try_each([*others_running(host, found.dockerds), *homes])
    if not found.roots and not found.try_each(containerd_hints(host)):
        raise found.nothing()
    return found.result()


def _find_main(found: _Found, engine: EngineInfo | None, host: Host) -> None:
    """The engine's word, else the first of the hints that leads to a root."""
    word = Hint(engine.root, f"the engine at {engine.url}") if engine else None
    if word and word.path.startswith(b"/") and found.try_each([word]):
        return
    for look in (configured, partial(running, engines=found.dockerds)):
        hints, problems = look(host)
        found.problems += problems
        if found.try_each(hints):
            return
    default = Hint(host.at(DEFAULT_ROOT), "the default place")
    if looks.lexists(default.path):
        found.try_each([default])


@dataclass
class _Found:
    """The roots found so far, each once, by their real paths."""

    engine: EngineInfo | None
    host: Host
    dockerds: tuple[Process, ...]
    roots: dict[bytes, DataRoot] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    failures: list[RootError] = field(default_factory=list)

    def try_each(self, hints: Iterable[Hint]) -> bool:
        """Add what is a data root; note what is not. Whether one of them is."""
        added = False
        for hint in hints:
            try:
                self.add(hint)
            except RootError as error:
                self.failures.append(error)
                sentence = f"Passed over {hint.found_by}: {error}"
                self.problems.append(Problem(os.fsdecode(hint.path), sentence))
            else:
                added = True
                self._add_around(looks.realpath(hint.path))
        return added

    def add(self, hint: Hint, *, named: bool = False) -> None:
        """A root and the remapped ones below it. Raises RootError."""
        path = looks.realpath(hint.path)
        if is_containerd_root(path) and not is_data_root(path):
            path = self._user_of(path, named=named) or path
        nested = nested_roots(path)
        try:
            self._put(path, hint.found_by, nested, named=named)
        except NotADataRoot:
            # With userns-remap from the first day on, all that Docker has is in the roots below.
            if not nested:
                raise
        self._add_below(path, nested, named=named)

    def _add_below(self, path: bytes, nested: Iterable[bytes], *, named: bool = False) -> None:
        """The remapped roots below one; below a copy they are part of the copy."""
        for below in nested:
            self._put(below, f"userns-remapped, below {os.fsdecode(path)}", named=named)

    def _add_around(self, path: bytes) -> None:
        """What lies beside a remapped root: the tree from before the remap, other remappings."""
        above = os.path.dirname(path)
        if not is_remapped(path):
            return
        nested = nested_roots(above)
        if is_data_root(above):
            self._put(above, f"from before the remap to {os.fsdecode(path)}", nested)
        self._add_below(above, nested)

    def _user_of(self, containerd: bytes, *, named: bool) -> bytes:
        """The data root beside a containerd root that uses it: it has the names of containers."""
        beside = os.path.join(os.path.dirname(containerd), b"docker")
        if not is_data_root(beside):
            return b""
        root = replace(_served(beside, self.engine) or _unserved(beside), named=named)
        used = containerd_of(root, self.engine, self.host)
        return beside if used.root == containerd else b""

    def _put(
        self, path: bytes, found_by: str, nested: tuple[bytes, ...] = (), *, named: bool = False
    ) -> None:
        if path in self.roots:
            return
        root = _served(path, self.engine) or _unserved(path)
        if same := next((it for it in self.roots if _is_same(it, path)), b""):
            shown, there = os.fsdecode(path), os.fsdecode(same)
            self.problems.append(
                Problem(shown, f"{shown} is the same directory as {there}, where it is shown.")
            )
            return
        self.roots[path] = replace(root, found_by=found_by, nested=nested, named=named)

    def nothing(self) -> RootError:
        """Why there is no root at all: the refusal, where there was one, is worth most."""
        for kind in (NoPermission, Unanswered):
            for failure in self.failures:
                if isinstance(failure, kind):
                    return failure
        if self.engine and self.failures:
            return NoDataRoot(f"No Docker data root found on this host: {self.failures[0]}")
        return NoDataRoot(
            "No Docker data root found on this host: name one with --data-root DIR, or try "
            "whodiff --demo."
        )

    def result(self) -> Discovery:
        """What was found, each containerd with the data root that it works for.

        Of each root is known how far it is believed, whatever else of this machine is shown.
        """
        around = surroundings((*self.roots, *self._known()), self.engine, self.host)
        roots = tuple(with_standing(it, around) for it in self._paired())
        shared = (problem for root in roots for problem in shown_twice(root))
        return Discovery(roots, (*self.problems, *shared))

    def _known(self) -> Iterator[bytes]:
        """Where this machine's data roots are, or may be."""
        if self.engine and self.engine.root.startswith(b"/"):
            yield self.engine.root
        hints, _ = configured(self.host)
        more, _ = running(self.host, self.dockerds)
        for hint in (*hints, *more, *others_running(self.host, self.dockerds)):
            yield hint.path
        yield self.host.at(DEFAULT_ROOT)
        yield self.host.at(CONTAINERD_ROOT)

    def _paired(self) -> Iterator[DataRoot]:
        """A containerd root that was named stands beside the data root that uses it, or alone.

        Each is shown once.
        """
        stores = [
            path
            for path, root in self.roots.items()
            if is_containerd_root(path) and not (root.engine_url or is_data_root(path))
        ]
        docker = [root for path, root in self.roots.items() if path not in stores]
        taken = self._taken(docker, stores)
        for path, root in self.roots.items():
            if path in taken:
                namespace = namespace_of(root, self.engine)
                yield replace(root, containerd=taken[path], namespace=namespace)
            elif path not in stores:
                yield root
            elif path not in taken.values():
                yield replace(root, containerd=path)

    def _taken(self, docker: Sequence[DataRoot], stores: Sequence[bytes]) -> dict[bytes, bytes]:
        """The containerd of each data root that has one, both by path.

        Each goes to one alone; who gets none may have one of its own. One of ``stores``, which the
        user named, goes to a root that finds none.
        """
        choices = {root.path: containerd_of(root, self.engine, self.host) for root in docker}
        taken: dict[bytes, bytes] = {}
        for found in dict.fromkeys(it.root for it in choices.values() if it.root):
            claiming = [root for root in docker if choices[root.path].root == found]
            claiming.sort(key=lambda root: bool(choices[root.path].own))
            root = likeliest(claiming, found, self.engine)
            taken[root.path] = found
        for root in docker:
            own = choices[root.path].own
            if root.path not in taken and own and own not in taken.values():
                taken[root.path] = own
        for path, found in taken.items():
            if found == choices[path].root:
                self.problems += choices[path].doubt(path, set(taken.values()))
        for root in sorted(docker, key=lambda root: not root.engine_url):
            left = [path for path in stores if path not in taken.values()]
            bare = not choices[root.path].root and root.image_store is ImageStore.CONTAINERD
            if bare and left:
                taken[root.path] = left[0]
        return taken


def _is_same(one: bytes, other: bytes) -> bool:
    try:
        return looks.samefile(one, other)
    except OSError:
        return False


def _served(path: bytes, engine: EngineInfo | None) -> DataRoot | None:
    """The root as its engine describes it, if this is the engine's own directory.

    What the engine names is looked at like anything else: without the shape of a data root it is
    none, and NotADataRoot says what it is.
    """
    require_directory(path)
    try:
        if not (engine and engine.root.startswith(b"/") and looks.samefile(path, engine.root)):
            return None
    except OSError:
        return None
    if not may_be_live(path):
        raise NotADataRoot(
            f"the daemon at {engine.url} calls {os.fsdecode(path)} its data root, but Docker has "
            "nothing there: it is not believed; name the data root with --data-root."
        )
    return DataRoot(
        path,
        engine.driver,
        engine.image_store,
        "",
        engine_url=engine.url,
        engine_version=engine.version,
    )


def _unserved(path: bytes) -> DataRoot:
    """The root as it looks on disk. Raises RootError."""
    kind = classify(path)
    return DataRoot(path, kind.driver, kind.image_store, "")
