"""The directories of the overlay2 driver and who stands on whom, from ``link``, ``lower``, ``l/``.

Works with the engine down, with a broken layerdb, and for BuildKit's directories alike. Source of
the format: moby daemon/graphdriver/overlay2/overlay.go (create, getLower, getLowerDirs, Remove).

- ``link`` is the directory's token, 26 characters and no newline.
- ``l/<token>`` is a symbolic link to ``../<directory>/diff``. It is made before ``link``, and
  removed before the directory is.
- ``lower`` is ``l/<token>:l/<token>...``, the parent's token first and then the parent's own
  ``lower``, so each one can be checked against the next. A layer without a parent has none.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from app.host.safe_read import Damage, Entry, Folder, bounded
from app.model import Problem
from app.stores.remainders import NAME as NAME_OF_REST
from app.stores.remainders import SAYS

LINKS = "l"
TOKEN = re.compile(r"[A-Z2-7]{26}")
#: Image layer or container (64 digits), a container's init layer, BuildKit's (25 characters).
NAME = re.compile(r"[0-9a-f]{64}(?:-init)?|[0-9a-z]{25}")

_INIT = "-init"
_TARGET = re.compile(r"\.\./([^/]+)/diff")
_LOWER = re.compile(r"l/[A-Z2-7]{26}(?::l/[A-Z2-7]{26})*")
#: A ``lower`` of 128 entries, the most that moby mounts, is 3.7 KB; other tools go to 500.
_MOST_LOWER = 64 * 1024
_MOST_LINK = 1024
#: moby makes six entries in a directory; a crash leaves a few more, a removal by whodiff that was
#: killed up to 128 (app/cleanup/execute/capture.py).
_MOST_ENTRIES = 256


@dataclass(frozen=True, slots=True)
class LayerDir:
    """One directory of the driver.

    ``parents`` are directory names, nearest first, "" where a token leads nowhere; those tokens are
    ``lost_tokens``. ``mtime`` is the newest of the directory and its ``diff`` (unix seconds).
    ``merged`` says that the mount point exists, not that it is mounted. ``foreign`` is one sentence
    when another tool made the directory. ``notes`` are one sentence each. ``sure`` is false when
    its files are damaged or disagree: nobody can tell then who stands on it, or on whom it stands.
    ``interrupted``: it is not sure only because a removal in the engine's order did not come to its
    end: its ``link`` file names a token that ``l/`` has no more, or nothing at all is left in it.
    ``alone``: an init layer whose container's layer is not there. ``uid`` is whose directory it is,
    None where nobody looked. ``covered``: something is mounted at the directory itself.
    """

    name: str
    path: bytes
    token: str = ""
    parents: tuple[str, ...] = ()
    lost_tokens: tuple[str, ...] = ()
    mtime: float = 0.0
    has_diff: bool = False
    has_work: bool = False
    merged: bool = False
    committed: bool = False
    foreign: str = ""
    notes: tuple[str, ...] = ()
    sure: bool = True
    interrupted: bool = False
    alone: bool = False
    uid: int | None = None
    covered: bool = False


@dataclass(frozen=True, slots=True)
class LayerGraph:
    """All directories by name, and how they stand on each other.

    ``tokens`` maps a token to the directory that it leads to. ``users`` maps a directory to those
    whose ``lower`` lists it. ``dangling`` maps a token of ``l/`` to the path it points to, where
    nothing is any more.
    """

    directories: dict[str, LayerDir] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    users: dict[str, tuple[str, ...]] = field(default_factory=dict)
    dangling: dict[str, bytes] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def read_graph(overlay2: bytes) -> LayerGraph:
    """Read the driver directory at this path, as it is now, without a lock.

    Never raises: a driver directory that cannot be read is a Problem that hides owners. What
    vanishes while it is read is left out, and is no damage.
    """
    try:
        with Folder.open(overlay2) as home:
            return _Reading(home).graph()
    except FileNotFoundError:
        words = "is not there any more; start again"
    except Damage as damage:
        words = f"{damage}; without it nobody can tell which layers there are"
    where = os.fsdecode(overlay2)
    return LayerGraph(problems=(Problem(where, f"{where} {words}.", hides_owners=True),))


@dataclass(slots=True)
class _Found:
    """One directory as its own files describe it, before it is compared with the others."""

    name: str
    path: bytes
    link: str = ""
    lower: str = ""
    below: tuple[str, ...] = ()
    mtime: float = 0.0
    uid: int | None = None
    present: frozenset[str] = frozenset()
    foreign: str = ""
    notes: list[str] = field(default_factory=list)
    sure: bool = True
    hides: str = ""
    damaged: bool = False
    bare: bool = False

    def doubt(self, note: str) -> None:
        self.lack(note)
        self.damaged = True

    def lack(self, note: str) -> None:
        """Doubt it for something that is missing, as in what is half removed."""
        self.notes.append(note)
        self.sure = False

    def hide(self, note: str) -> None:
        """Doubt it, and others with it: whom it stands on is not known."""
        self.doubt(note)
        self.hides = note


# --- one directory --------------------------------------------------------------------------------


def _read_directory(home: Folder, name: str) -> _Found | None:
    """Read twice before anything is said against it: it may be in the making. None when gone."""
    found = _read_once(home, name)
    if found and not found.sure:
        found = _read_once(home, name)
    return found if found and (found.sure or home.has(name)) else None


def _read_once(home: Folder, name: str) -> _Found | None:
    found = _Found(name, os.path.join(home.path, os.fsencode(name)))
    if not NAME.fullmatch(name):
        found.foreign = "Docker gives no directory such a name: somebody else made it"
        found.sure = False
    try:
        with home.folder(name) as folder:
            _look(folder, found)
            _read_link(folder, found)
            _read_lower(folder, found)
    except FileNotFoundError:
        return None
    except Damage as damage:
        found.hide(f"it {damage}")
    return found


def _look(folder: Folder, found: _Found) -> None:
    about = folder.status()
    found.mtime, found.uid = about.st_mtime, about.st_uid
    directories = set()
    found.bare = True
    try:
        for name, kind in folder.entries(_MOST_ENTRIES):
            found.bare = False
            if kind is Entry.DIRECTORY or name == "committed":
                directories.add(name)
            if NAME_OF_REST.fullmatch(os.fsencode(name)):
                found.notes.append(f"{name} in it {SAYS}")
            elif name.startswith(".tmp-"):
                found.notes.append("a crash of the engine left a half-written file in it")
    except Damage as damage:
        found.doubt(f"it {damage}, unlike any directory that Docker makes")
    found.present = frozenset(directories)
    if "diff" not in directories:
        found.lack("it has no diff directory: half made or half removed")
        return
    try:
        diff = folder.status("diff")
        found.mtime = max(found.mtime, diff.st_mtime)
    except OSError:
        found.doubt("its diff directory cannot be examined")


def _read_link(folder: Folder, found: _Found) -> None:
    try:
        token = folder.read("link", _MOST_LINK).decode("ascii", "replace")
    except FileNotFoundError:
        found.lack("it has no link file: half made, half removed or damaged")
    except Damage as damage:
        found.doubt(f"its link file {damage}")
    else:
        if TOKEN.fullmatch(token):
            found.link = token
        else:
            found.doubt("its link file holds no token of 26 characters: damaged by a crash")


def _read_lower(folder: Folder, found: _Found) -> None:
    try:
        found.lower = folder.read_text("lower", _MOST_LOWER)
    except FileNotFoundError:
        if "work" in found.present:
            found.lack("it has a work directory but no lower file: half made or half removed")
        return
    except Damage as damage:
        found.hide(f"its lower file {damage}")
        return
    entries = found.lower.split(":")
    tokens = dict.fromkeys(entry[2:] for entry in entries)
    if len(tokens) != len(entries):
        found.doubt("its lower file names the same layer twice")
    if _LOWER.fullmatch(found.lower):
        found.below = tuple(tokens)
        return
    # What is still a token keeps the layer that it leads to from looking unused.
    found.below = tuple(token for token in tokens if TOKEN.fullmatch(token))
    found.hide("its lower file holds something else than l/ tokens")
    if any(entry.startswith("/") for entry in entries):
        found.foreign = found.foreign or (
            "its lower file holds absolute paths, which Docker never writes: another tool made it"
        )


# --- all directories ------------------------------------------------------------------------------


class _Reading:
    """One pass over the driver directory: ``l/`` first, then the directories, then what changed.

    In this order a link that is seen has its directory (moby makes the directory first), unless it
    was removed in between; a token that is not seen is looked up once more.
    """

    def __init__(self, home: Folder) -> None:
        self.home = home
        self.problems: list[Problem] = []
        self.links: dict[str, str] = {}
        self.found: dict[str, _Found] = {}
        self.has_links = self._read_links()
        self._read_directories()
        self._catch_up()

    def graph(self) -> LayerGraph:
        """Compare everything with everything; leave out what vanished on the way."""
        joined = self._join()
        suspects = [it.name for it in joined.directories.values() if not it.sure or it.lost_tokens]
        vanished = [name for name in suspects if not self.home.has(name)]
        if vanished:
            for name in vanished:
                del self.found[name]
            joined = self._join()
        return joined

    def _say(self, name: str, words: str, *, hides_owners: bool = False) -> None:
        where = os.path.join(os.fsdecode(self.home.path), name).rstrip("/")
        self.problems.append(Problem(where, f"{where} {words}.", hides_owners))

    # Reading.

    def _read_links(self) -> bool:
        odd: list[str] = []
        try:
            with self.home.folder(LINKS) as folder:
                for name, _ in folder.entries():
                    target = _target(name, folder) if TOKEN.fullmatch(name) else ""
                    if target:
                        self.links[name] = target
                    elif target is not None:
                        odd.append(name)
        except FileNotFoundError:
            if self._holds_layers():
                self._say(
                    LINKS, "is missing: no layer can be mounted without it", hides_owners=True
                )
            return False
        except Damage as damage:
            words = f"{damage}; without it nobody can tell for sure who stands on whom"
            self._say(LINKS, words, hides_owners=True)
            return False
        if odd:
            more = f" (and {len(odd) - 1:,} more are not)" if len(odd) > 1 else ""
            words = f"is no link as Docker makes them{more}; look who made it"
            self._say(os.path.join(LINKS, min(odd)), words)
        return True

    def _holds_layers(self) -> bool:
        return any(NAME.fullmatch(name) for name, _ in self.home.entries())

    def _read_directories(self) -> None:
        try:
            for name, kind in self.home.entries():
                is_layer = kind is Entry.LINK and NAME.fullmatch(name)
                if is_layer or (kind is Entry.DIRECTORY and name != LINKS):
                    self._add(name)
        except Damage as damage:
            self._say("", f"{damage}; the directories read so far are shown", hides_owners=True)

    def _add(self, name: str) -> None:
        found = _read_directory(self.home, name)
        if found:
            self.found[name] = found

    def _catch_up(self) -> None:
        """Look up the tokens that ``l/`` did not have yet, and read directories that are new."""
        if not self.has_links:
            return
        wanted = {token for it in self.found.values() for token in (it.link, *it.below)}
        try:
            with self.home.folder(LINKS) as folder:
                for token in wanted - self.links.keys() - {""}:
                    target = _target(token, folder)
                    if target:
                        self.links[token] = target
        except (FileNotFoundError, Damage):
            return
        for name in set(self.links.values()) - self.found.keys():
            if NAME.fullmatch(name) and self.home.has(name):
                self._add(name)

    # Comparing.

    def _join(self) -> LayerGraph:
        tokens = self._tokens()
        disputed = self._disputed(tokens)
        here: dict[str, list[str]] = {}
        for token, name in self.links.items():
            here.setdefault(name, []).append(token)
        directories = {
            name: self._layer(found, tokens, disputed, here.get(name, []))
            for name, found in sorted(self.found.items())
        }
        users: dict[str, list[str]] = {}
        for layer in directories.values():
            for parent in layer.parents:
                if parent:
                    users.setdefault(parent, []).append(layer.name)
        return LayerGraph(
            directories,
            tokens,
            {name: tuple(above) for name, above in users.items()},
            self._dangling(),
            (*self.problems, *bounded(tuple(self._hiding(tokens)))),
        )

    def _tokens(self) -> dict[str, str]:
        """What ``l/`` says, as the kernel follows it; else a ``link`` file, if only one says so."""
        tokens = {token: name for token, name in self.links.items() if name in self.found}
        claims = Counter(it.link for it in self.found.values() if it.link not in self.links)
        for found in self.found.values():
            if found.link and claims[found.link] == 1:
                tokens[found.link] = found.name
        return tokens

    def _disputed(self, tokens: dict[str, str]) -> set[str]:
        """Tokens that lead to one directory while a ``link`` file says something else."""
        claims = {it.link: it.name for it in self.found.values()}
        disputed = set()
        for token, name in tokens.items():
            link = self.found[name].link
            if link != token and (link or token in claims):
                disputed.add(token)
        return disputed

    def _layer(
        self, found: _Found, tokens: dict[str, str], disputed: set[str], here: list[str]
    ) -> LayerDir:
        doubts = [
            *self._token_doubts(found, tokens, here),
            *(
                f"its lower file names l/{token}, on which l/ and the link files disagree"
                for token in sorted(disputed.intersection(found.below))
            ),
            *self._break(found, tokens),
        ]
        notes = [*found.notes, *doubts]
        below = found.below
        lost = tuple(token for token in below if token not in tokens)
        if lost:
            notes.append(
                f"its lower file names l/{lost[0]}, which leads nowhere: a layer below it is gone, "
                "so it cannot be mounted"
            )
        base = found.name[: -len(_INIT)]
        alone = found.name.endswith(_INIT) and base not in self.found and not self.home.has(base)
        return LayerDir(
            name=found.name,
            path=found.path,
            token=_token(found, tokens, here),
            parents=tuple(tokens.get(token, "") for token in below),
            lost_tokens=lost,
            mtime=found.mtime,
            has_diff="diff" in found.present,
            has_work="work" in found.present,
            merged="merged" in found.present,
            committed="committed" in found.present,
            foreign=found.foreign,
            notes=tuple(notes),
            sure=found.sure and not doubts,
            interrupted=self._is_interrupted(found, tokens, doubts, here),
            alone=alone,
            uid=found.uid,
        )

    def _is_interrupted(
        self, found: _Found, tokens: dict[str, str], doubts: list[str], here: list[str]
    ) -> bool:
        """Whether a removal ended early, and nothing else is the matter.

        The link in ``l/`` goes first, and it is made before the ``link`` file: so where only the
        file is left, the directory was whole once. The last thing left is an empty directory.
        """
        if found.damaged or found.foreign or here or not self.has_links:
            return False
        if found.bare:
            return not doubts
        is_missing = found.link not in self.links and tokens.get(found.link) == found.name
        return is_missing and len(doubts) == 1

    def _token_doubts(
        self, found: _Found, tokens: dict[str, str], here: list[str]
    ) -> Iterable[str]:
        if found.link and tokens.get(found.link) != found.name:
            if found.link in self.links:
                other = self.links[found.link]
                yield f"its link file says {found.link}, but l/{found.link} leads to {other}"
            else:
                yield f"another directory's link file says {found.link} as well"
        elif self.has_links and found.link and found.link not in self.links:
            yield f"l/{found.link} is missing: what stands on this layer cannot be mounted"
        others = sorted(token for token in here if token != found.link)
        if found.link and others:
            yield f"l/{others[0]} leads here too, but its link file says {found.link}"
        elif len(others) > 1:
            yield f"both l/{others[0]} and l/{others[1]} lead here"

    def _break(self, found: _Found, tokens: dict[str, str]) -> tuple[str, ...]:
        """``lower`` must go on as the parent's own does; a loop or a cut one cannot."""
        first, _, rest = found.lower.partition(":")
        parent = self.found.get(tokens.get(first[2:], ""))
        if not parent or parent.hides or parent.lower == rest:
            return ()
        return (f"its lower file does not go on as that of the layer below it, {parent.name}",)

    def _hiding(self, tokens: dict[str, str]) -> Iterable[Problem]:
        for found in sorted(self.found.values(), key=lambda it: it.name):
            for why in (found.hides,) if found.hides else self._break(found, tokens):
                where = os.fsdecode(found.path)
                words = f"{where}: {why}; whom it stands on is not known for sure."
                yield Problem(where, words, hides_owners=True)

    def _dangling(self) -> dict[str, bytes]:
        """Links to nothing, which are still there and still lead to nothing at this moment."""
        suspects = [token for token, name in self.links.items() if name not in self.found]
        dangling: dict[str, bytes] = {}
        try:
            with self.home.folder(LINKS) as folder:
                for token in sorted(suspects):
                    name = _target(token, folder)
                    if name and not self.home.has(name):
                        dangling[token] = os.path.join(self.home.path, os.fsencode(name), b"diff")
        except (FileNotFoundError, Damage):
            pass
        return dangling


def _target(token: str, folder: Folder) -> str | None:
    """The directory that ``l/<token>`` leads to; "" if it is no link of moby's, None if gone."""
    try:
        target = _TARGET.fullmatch(folder.link(token))
    except FileNotFoundError:
        return None
    except OSError:
        return ""
    return target.group(1) if target and target.group(1) not in (".", "..", LINKS) else ""


def _token(found: _Found, tokens: dict[str, str], here: list[str]) -> str:
    """The token, where what is known of it does not contradict: never a guess."""
    if found.link:
        return found.link if tokens.get(found.link) == found.name else ""
    return here[0] if len(here) == 1 else ""
