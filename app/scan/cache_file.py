"""The file in which figures wait for the next run: in memory, ours alone, never half a truth.

It lies below /run (root), or below ``$XDG_RUNTIME_DIR`` (anybody else), which is emptied at boot.
It is never on a disk: what is written to a disk that is full may make things worse. Whatever is not
as it should be (no such place, no room, another's file, a damaged one, one of another version,
boot or data root) is as if there were no file, and no error.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import stat
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app import __version__
from app.host import mountinfo
from app.host.safe_open import open_file
from app.scan.fingerprint import Mark, Stamp, device
from app.scan.links import LinkSums
from app.scan.tree import DirTree, UnitResult

LIMIT = 32 << 20  # bytes of one file
MOST_FILES = 8  # the oldest go: this is memory
#: A file takes at most this part of what is free where it lies: others need the place more.
_PART = 4
_FORMAT = 2
_FOLDER = "whodiff"
_IN_MEMORY = ("tmpfs", "ramfs")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_OURS = re.compile(r"\.?[0-9a-f]{32}(\.[0-9a-f]{16})?")
_COLUMNS = (
    ("parents", "i"),
    ("ends", "i"),
    ("name_ends", "q"),
    ("bytes", "q"),
    ("apparent", "q"),
    ("inodes", "q"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A result, and the mark of the directory that it was measured of."""

    mark: Mark
    result: UnitResult


class _Unusable(Exception):
    """There is no place, or no file, that may be trusted."""


@dataclass(frozen=True, slots=True)
class KeptFile:
    """The file of one set of data roots, given as absolute paths."""

    roots: Sequence[bytes]

    @property
    def name(self) -> str:
        """The file's name in its folder."""
        return hashlib.sha256(b"\0".join(self.roots)).hexdigest()[:32]

    def load(self) -> dict[bytes, Entry]:
        """What the file holds, by unit path; nothing unless all of it can be trusted."""
        try:
            with _folder(make=False) as folder:
                lines = _read(self.name, folder).splitlines()
            head = self._head()
            if not lines or lines[0] != head:
                return {}
            entries = [_entry(_unsealed(line, head)) for line in lines[1:]]
        except (_Unusable, OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
            return {}
        return {entry.result.key: entry for entry in entries}

    def save(self, entries: Iterable[Entry]) -> bool:
        """Replace the file by these entries, the costliest to measure first; whether it was."""
        entries = sorted(entries, key=lambda entry: -entry.result.entries)
        devices = {device(entry.mark) for entry in entries}
        try:
            with _folder(make=True, elsewhere_than=devices) as folder:
                data = _data(self._head(), entries)
                space = os.fstatvfs(folder)
                if len(data) * _PART > space.f_bavail * space.f_frsize:
                    return False
                _write(self.name, data, folder)
                _tidy(folder)
        except (_Unusable, OSError):
            return False
        return True

    def remove(self) -> None:
        """Remove the file, if there is one."""
        try:
            with _folder(make=False) as folder:
                os.unlink(self.name, dir_fd=folder)
        except (_Unusable, OSError):
            return

    def _head(self) -> bytes:
        """The first line: what all the others hold for. Raises OSError without a boot id."""
        boot = _BOOT_ID.read_text().strip()
        head = {
            "format": _FORMAT,
            "version": __version__,
            "boot": boot,
            "roots": [_text(root) for root in self.roots],
        }
        return json.dumps(head).encode()


# --- the place ------------------------------------------------------------------------------------


def base_directory() -> bytes:
    """Where the folder lies; "" where there is no place for it."""
    if os.geteuid() == 0:
        # XDG_RUNTIME_DIR may be that of the user who called sudo.
        return b"/run"
    return os.environb.get(b"XDG_RUNTIME_DIR", b"")


@contextmanager
def _folder(make: bool, elsewhere_than: Iterable[int] = ()) -> Iterator[int]:
    """A descriptor of the folder. Raises _Unusable or OSError where it is not to be used."""
    base = os.path.realpath(base_directory())
    mount = mountinfo.mount_of(os.path.join(base, os.fsencode(_FOLDER)), mountinfo.read())
    if not base_directory().startswith(b"/") or mount is None or mount.fstype not in _IN_MEMORY:
        raise _Unusable
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    above = os.open(base, flags)
    try:
        # What is scanned may be in memory as well.
        if os.fstat(above).st_dev in elsewhere_than:
            raise _Unusable
        if make:
            try:
                os.mkdir(_FOLDER, 0o700, dir_fd=above)
            except FileExistsError:
                pass
        folder = os.open(_FOLDER, flags, dir_fd=above)
    finally:
        os.close(above)
    try:
        status = os.fstat(folder)
        if not _is_ours(status) or status.st_dev in elsewhere_than:
            raise _Unusable
        yield folder
    finally:
        os.close(folder)


def _is_ours(status: os.stat_result) -> bool:
    """Whether nobody but us (and root) could have written to it."""
    return status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077


def _read(name: str, folder: int) -> bytes:
    with os.fdopen(open_file(name, folder), "rb") as file:
        status = os.fstat(file.fileno())
        if not (_is_ours(status) and status.st_size <= LIMIT):
            raise _Unusable
        return file.read(LIMIT + 1)


def _write(name: str, data: bytes, folder: int) -> None:
    """Write a draft and put it in place: whoever reads sees the old file or the new one."""
    draft = f".{name}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(draft, flags, 0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(draft, dir_fd=folder)
        raise


def _tidy(folder: int) -> None:
    """Remove the oldest files of other data roots, and drafts that somebody left."""
    ages = []
    for name in os.listdir(folder):
        if _OURS.fullmatch(name):
            ages.append((os.lstat(name, dir_fd=folder).st_mtime_ns, name))
    for _, name in sorted(ages, reverse=True)[MOST_FILES:]:
        os.unlink(name, dir_fd=folder)


# --- the lines ------------------------------------------------------------------------------------


def _data(head: bytes, entries: Iterable[Entry]) -> bytes:
    lines, size = [head], len(head) + 1
    for entry in entries:
        line = _sealed(json.dumps(_record(entry)).encode(), head)
        if size + len(line) + 1 <= LIMIT:
            lines.append(line)
            size += len(line) + 1
    return b"\n".join(lines) + b"\n"


def _sealed(record: bytes, head: bytes) -> bytes:
    """The line of a record. The head goes into its seal: a line of another file is damaged."""
    return hashlib.sha256(head + b"\n" + record).hexdigest().encode() + b" " + record


def _unsealed(line: bytes, head: bytes) -> Any:
    """The record of a line. Raises ValueError when it is damaged."""
    _, _, record = line.partition(b" ")
    if _sealed(record, head) != line:
        raise ValueError
    return json.loads(record)


def _record(entry: Entry) -> dict[str, Any]:
    tree = entry.result.tree
    return {
        "key": _text(entry.result.key),
        "mark": [[_text(stamp[0]), *stamp[1:]] for stamp in entry.mark],
        "entries": entry.result.entries,
        "newest": entry.result.newest,
        "names": _text(tree.names),
        "tree": {column: _text(getattr(tree, column).tobytes()) for column, _ in _COLUMNS},
        "link_nodes": _text(tree.links.nodes.tobytes()),
        "link_sums": [_text(column.tobytes()) for column in tree.links.sums],
    }


def _entry(record: Any) -> Entry:
    """The entry of a record. Raises ValueError, KeyError or TypeError when it is none."""
    key = _bytes(record["key"])
    links = LinkSums(
        _array("i", record["link_nodes"]),
        tuple(_array("q", column) for column in record["link_sums"]),
    )
    tree = DirTree(
        root=key,
        names=_bytes(record["names"]),
        links=links,
        **{column: _array(code, record["tree"][column]) for column, code in _COLUMNS},
    )
    heights = {len(getattr(tree, column)) for column, _ in _COLUMNS}
    if heights != {len(tree)} or not len(tree) or tree.name_ends[-1] != len(tree.names):
        raise ValueError
    marked = tuple(_stamp(*stamp) for stamp in record["mark"])
    result = UnitResult(
        key=key,
        tree=tree,
        usage=tree.usage(0),
        entries=int(record["entries"]),
        newest=int(record["newest"]),
    )
    return Entry(marked, result)


def _stamp(name: str, *numbers: int) -> Stamp:
    mode, dev, inode, links, size, blocks, ctime = map(int, numbers)
    return _bytes(name), mode, dev, inode, links, size, blocks, ctime


def _array(code: str, text: str) -> array[int]:
    numbers: array[int] = array(code)
    numbers.frombytes(_bytes(text))
    return numbers


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
