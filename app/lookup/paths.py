"""Where in which data root a path lies, however it is spelled.

Who lives in a container chooses where the symbolic links in its layer lead to. So links are
followed on the way to a data root or to a mount of one of its layers, and never from there on.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from app.host import looks
from app.model import Layer, Store, within

#: As many links as the kernel follows (Linux include/linux/namei.h MAXSYMLINKS).
_MOST_LINKS = 40


@dataclass(frozen=True, slots=True)
class Inside:
    """Where in which data root a path lies; ``inside`` are the names from ``base`` on.

    ``base`` is the data root, or the root of its containerd.
    """

    store: Store
    base: bytes
    inside: tuple[bytes, ...]

    @property
    def path(self) -> bytes:
        """The path, spelled as the data root is."""
        return os.path.join(self.base, *self.inside)


def place_of(asked: bytes, stores: Sequence[Store]) -> Inside | None:
    """The innermost data root around a path: a userns-remapped one lies in another one."""
    found = [
        Inside(store, place, tuple(path[len(base) :].strip(b"/").split(b"/")))
        for path in _spellings(asked, stores)
        for store in stores
        for place in _places(store)
        for base in _bases(place)
        if within(path, base)
    ]
    return min(found, key=lambda place: len(place.inside), default=None)


def locate(asked: bytes, stores: Sequence[Store]) -> Inside | None:
    """The same, whatever is there; None for a path outside of all, and for a root itself."""
    place = place_of(asked, stores)
    return place if place and place.inside != (b"",) else None


def seen_below(asked: bytes, store: Store, stores: Sequence[Store]) -> Layer | None:
    """The layer of ``store`` that is mounted around a path; the innermost mount hides the others.

    Of the mounts that this process sees only: ``/`` in another namespace is another place.
    """
    found = [
        (len(point), name)
        for path in _spellings(asked, stores)
        for point, name in store.points.items()
        if within(path, point) and name in store.layers
    ]
    return store.layers[max(found)[1]] if found else None


def _places(store: Store) -> Iterator[bytes]:
    yield from filter(None, (store.root.path, store.root.containerd))


def _bases(place: bytes) -> set[bytes]:
    """A root as it was found, and as the kernel calls it."""
    return {place, looks.realpath(place)}


def _spellings(asked: bytes, stores: Sequence[Store]) -> tuple[bytes, ...]:
    """The path as typed, and as the kernel sees it down to what belongs to some store."""
    try:
        path = os.path.abspath(asked)
    except OSError:
        # The working directory was removed: what is relative to it is nowhere.
        return ()
    fences = {base for store in stores for place in _places(store) for base in _bases(place)}
    fences.update(point for store in stores for point in store.points)
    return path, _followed(path, fences)


def _followed(path: bytes, fences: Collection[bytes]) -> bytes:
    """An absolute path with its symbolic links resolved, but for those inside of a fence."""
    done, names, links = b"/", path.split(b"/")[::-1], 0
    while names:
        name = names.pop()
        if name == b"..":
            done = os.path.dirname(done)
        elif name not in (b"", b"."):
            here = os.path.join(done, name)
            fenced = links == _MOST_LINKS or any(within(done, fence) for fence in fences)
            target = b"" if fenced else _target(here)
            links += bool(target)
            names += target.split(b"/")[::-1]
            # A link that is relative goes on from the directory that it lies in.
            done = b"/" if target.startswith(b"/") else done if target else here
    return done


def _target(path: bytes) -> bytes:
    """Where a symbolic link leads to; empty for anything else, and for what cannot be read."""
    try:
        return looks.readlink(path)
    except OSError:
        return b""
