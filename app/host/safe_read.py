"""The one way in which a data root's files are read: bounded, without following links, never stuck.

A live engine writes these files, a crash may have cut them short, and a data root may be a copy
from a machine nobody trusts. So nothing but a regular file is opened (:mod:`app.host.safe_open`,
relative to a directory descriptor), no more than a limit is read, and whatever is wrong becomes
:class:`Damage` with words for people. What is not there stays :class:`FileNotFoundError`: whether
that is damage, only the caller can tell.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType

from app.host import looks
from app.host.hanging import far_points
from app.host.looks import DIRECT, Looker
from app.host.safe_open import NotAFile
from app.model import Problem

#: More entries than this in one directory of a store are not read (a real host has thousands).
MOST_ENTRIES = 200_000
#: Problems of one kind that are told one by one before they are summed up.
MOST_PROBLEMS = 50

_CHUNK = 64 * 1024
_SURROGATES = re.compile("[\ud800-\udfff]")
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)


class Damage(Exception):
    """Something is there but cannot be used. The text follows a name: ``is a named pipe, ...``."""


class Entry(Enum):
    """What a directory entry is, as far as anybody here asks."""

    DIRECTORY = "directory"
    LINK = "symbolic link"
    OTHER = "other"


_ENTRIES = {"d": Entry.DIRECTORY, "l": Entry.LINK, "-": Entry.OTHER}


class Refused(Damage):
    """The kernel does not let it be read (permission, input/output error): it may be quite well."""


@dataclass(frozen=True, slots=True)
class Folder:
    """An open directory of a store. Use it in a ``with`` statement; leaving it closes it.

    ``looker`` is who has it open: what lies on a filesystem that may hang is read by somebody else
    (:mod:`app.host.looks`). ``apart`` are the names in it at which such a filesystem is mounted.
    Every method raises FileNotFoundError for what is not there, and :class:`Damage` for what is
    there and cannot be used.
    """

    path: bytes
    descriptor: int
    looker: Looker = DIRECT
    apart: frozenset[str] = frozenset()

    @classmethod
    def open(cls, path: bytes) -> Folder:
        """The directory at ``path``; symbolic links on the way are followed, as the engine does."""
        looker, place = looks.at(path)
        return cls(path, _open_directory(looker, place, None, follow=True), looker, _apart(path))

    def folder(self, name: str) -> Folder:
        """The directory ``name`` in this one; a symbolic link is damage."""
        path = self._path(name)
        if name in self.apart:
            looker, place = looks.at(path, follow=False)
            descriptor = _open_directory(looker, place, None)
        else:
            looker = self.looker
            descriptor = _open_directory(looker, name, self.descriptor)
        return Folder(path, descriptor, looker, _apart(path) if far_points() else frozenset())

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.looker.close(self.descriptor)

    def has(self, name: str) -> bool:
        """Whether there is an entry of this name now, of whatever kind."""
        try:
            self.status(name)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return False
        except OSError:
            return True
        return True

    def status(self, name: str = "") -> os.stat_result:
        """lstat(2) of an entry, or of the directory itself. Raises OSError."""
        if not name:
            return self.looker.fstatus(self.descriptor)
        if name in self.apart:
            return looks.lstat(self._path(name))
        return self.looker.status(name, self.descriptor)

    def link(self, name: str) -> str:
        """Where the symbolic link ``name`` leads. Raises OSError."""
        return os.fsdecode(self.looker.link(name, self.descriptor))

    def entries(self, most: int = MOST_ENTRIES) -> Iterator[tuple[str, Entry]]:
        """Every entry's name and kind, unsorted; :class:`Damage` on the way after ``most``."""
        try:
            found = self.looker.entries(self.descriptor, most + 1)
        except OSError as error:
            raise Refused(_refusal(error)) from error
        for count, (name, kind) in enumerate(found):
            if count >= most:
                raise Damage(f"holds more than {most:,} entries")
            yield name, _ENTRIES[kind]

    def directories(self) -> list[str]:
        """The names of all directories in it, sorted."""
        return sorted(name for name, kind in self.entries() if kind is Entry.DIRECTORY)

    def _path(self, name: str) -> bytes:
        return os.path.join(self.path, os.fsencode(name))

    def read(self, name: str, limit: int) -> bytes:
        """The content of the regular file ``name``, whole, at most ``limit`` bytes."""
        if name in self.apart:
            return read_file(self._path(name), limit)
        return _read(self.looker, name, limit, self.descriptor)

    def read_text(self, name: str, limit: int) -> str:
        """The same as ASCII text without white space around it; an empty file is damage."""
        content = self.read(name, limit).strip()
        if not content:
            raise Damage("is empty")
        try:
            return content.decode("ascii")
        except UnicodeDecodeError as error:
            raise Damage("holds binary data") from error


def read_file(path: bytes | str, limit: int, directory: int | None = None) -> bytes:
    """The content of a regular file (in an open directory), whole, at most ``limit`` bytes.

    Raises FileNotFoundError where there is none, and :class:`Damage` where it is something else, is
    larger, or cannot be read. A pipe or a device is never opened.
    """
    if directory is not None:
        return _read(DIRECT, path, limit, directory)
    looker, place = looks.at(os.fsencode(path), follow=False)
    return _read(looker, place, limit)


def _read(looker: Looker, path: bytes | str, limit: int, directory: int | None = None) -> bytes:
    try:
        descriptor = looker.open_regular(path, directory)
        try:
            size = looker.fstatus(descriptor).st_size
            if size > limit:
                raise Damage(f"is larger than any the engine writes ({size:,} bytes)")
            return _read_up_to(looker, descriptor, limit, size)
        finally:
            looker.close(descriptor)
    except FileNotFoundError:
        raise
    except NotAFile as found:
        raise Damage(f"is {_kind(found.mode)}, not a regular file") from found
    except OSError as error:
        raise Refused(_refusal(error)) from error


def _read_up_to(looker: Looker, descriptor: int, limit: int, expected: int) -> bytes:
    """Read to the end of the file: it may have grown, and /proc says 0 for every size."""
    content = looker.read(descriptor, expected + 1, 0)
    if expected and len(content) == expected:
        return content
    while True:
        more = looker.read(descriptor, _CHUNK, len(content))
        if not more:
            return content
        content += more
        if len(content) > limit:
            raise Damage(f"is larger than any the engine writes (over {limit:,} bytes)")


def _open_directory(
    looker: Looker, path: bytes | str, directory: int | None, *, follow: bool = False
) -> int:
    try:
        return looker.open_directory(path, directory, follow=follow)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise Damage(_no_directory(looker, path, directory)) from error
        raise Refused(_refusal(error)) from error


def _no_directory(looker: Looker, path: bytes | str, directory: int | None) -> str:
    try:
        mode = looker.status(path, directory).st_mode
    except OSError:
        return "is not a directory"
    kind = "a file" if stat.S_ISREG(mode) else _kind(mode)
    return f"is {kind}, not a directory"


def _apart(path: bytes) -> frozenset[str]:
    """The names in a directory at which something is mounted that may hang."""
    points = far_points()
    real = looks.realpath(path) if points else b""
    return frozenset(
        os.fsdecode(os.path.basename(it)) for it in points if os.path.dirname(it) == real
    )


def _kind(mode: int) -> str:
    return next((words for test, words in _KINDS if test(mode)), "a device")


def _refusal(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "cannot be read (permission denied: run whodiff as root)"
    return f"cannot be read ({error.strerror or error})"


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object with typed access. What has the wrong type reads as empty and is remembered.

    ``wrong`` collects the names of such fields, of nested objects too. ``null`` and a missing field
    are empty without complaint, as Go reads them.
    """

    values: dict[str, object]
    wrong: list[str] = field(default_factory=list)
    within: str = ""

    def text(self, name: str) -> str:
        """A string, else ""; lone surrogates, which no encoder takes, are replaced."""
        value = self._typed(name, str)
        return _SURROGATES.sub("\ufffd", value) if isinstance(value, str) else ""

    def number(self, name: str) -> int:
        """A whole number, else 0."""
        value = self._typed(name, int)
        return value if isinstance(value, int) else 0

    def flag(self, name: str) -> bool:
        """True or false, else false."""
        return self._typed(name, bool) is True

    def fields(self, name: str) -> Fields:
        """An object, else one without fields."""
        value = self._typed(name, dict)
        return Fields(value if isinstance(value, dict) else {}, self.wrong, f"{self.within}{name}.")

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings; what is no string in it is left out and remembered."""
        value = self._typed(name, list)
        found = value if isinstance(value, list) else []
        if not all(isinstance(each, str) for each in found):
            self.wrong.append(f"{self.within}{name}")
        return tuple(_SURROGATES.sub("\ufffd", each) for each in found if isinstance(each, str))

    def objects(self, name: str) -> tuple[Fields, ...]:
        """A list of objects; what is no object in it is left out and remembered."""
        value = self._typed(name, list)
        found = value if isinstance(value, list) else []
        if not all(isinstance(each, dict) for each in found):
            self.wrong.append(f"{self.within}{name}")
        inside = f"{self.within}{name}."
        return tuple(Fields(each, self.wrong, inside) for each in found if isinstance(each, dict))

    def _typed(self, name: str, kind: type) -> object:
        value = self.values.get(name)
        if value is None:
            return None
        # A JSON true is an int for Python, but no number for Go.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.wrong.append(f"{self.within}{name}")
            return None
        return value


def parse_object(content: bytes) -> Fields:
    """The JSON object that ``content`` is. Raises :class:`Damage` for anything else."""
    try:
        value = json.loads(content.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        if not content.strip(b"\0 \t\r\n"):
            raise Damage("is empty") from error
        raise Damage("is not valid JSON") from error
    if not isinstance(value, dict):
        raise Damage("is JSON, but not an object")
    return Fields(value)


def bounded(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """At most a screenful of problems of one kind; the rest is summed up, never dropped."""
    rest = problems[MOST_PROBLEMS:]
    if len(rest) < 2:
        return tuple(problems)
    return (
        *problems[:MOST_PROBLEMS],
        Problem(
            rest[0].source,
            f"{len(rest):,} more problems of this kind; solve the first ones, then look again.",
            any(problem.hides_owners for problem in rest),
        ),
    )
