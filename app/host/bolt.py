"""Read a bbolt database that another process may hold open and write.

No lock is taken and nothing is mapped: bbolt's own read-only open waits for the writer's flock,
and a lock held by us would stop a starting daemon (bbolt bolt_unix.go flock). Pages are written
copy-on-write, before the one meta page that makes them count (bbolt tx.go Commit, writeMeta), so
a copy during which the newest transaction stayed the same is whole. Each copy is checked from end
to end before anything of it is given out.

Format: bbolt internal/common/page.go, meta.go, bucket.go, inode.go. Little-endian files only.
"""

from __future__ import annotations

import os
import struct
import time
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from app.host import looks
from app.host.looks import Looker
from app.host.safe_open import NotAFile

LIMIT = 512 << 20

_MAGIC = 0xED0CDAED
_VERSION = 2
_BRANCH, _LEAF, _META = 0x01, 0x02, 0x04
_VALUE, _BUCKET = 0, 1

_PAGE = struct.Struct("<QHHI")  # id, flags, count, overflow
_BRANCH_ELEMENT = struct.Struct("<IIQ")  # pos, ksize, pgid
_LEAF_ELEMENT = struct.Struct("<IIII")  # flags, pos, ksize, vsize
_BUCKET_HEADER = struct.Struct("<QQ")  # root pgid, sequence
_META_BODY = struct.Struct("<IIIIQQQQQ")  # magic .. txid
_CHECKSUM = struct.Struct("<Q")  # of the meta body before it

# Where bbolt looks for the second meta page when the first is damaged (db.go getPageSize).
_PAGE_SIZES = tuple(1024 << shift for shift in range(15))
_FIRST_DATA_PAGE = 2
_PAGE_DEPTH = 32
_BUCKET_DEPTH = 64

_ATTEMPTS = 12
_PATIENCE = 5.0  # seconds
_PAUSE = 0.005  # seconds, longer with each attempt


_CHUNK = 16 << 20  # bytes that are read at a time


class BoltError(Exception):
    """A database that cannot be read, or not be trusted; one sentence for people."""


class _DamagedError(Exception):
    """What is wrong with one copy, in a few words."""


@dataclass(frozen=True, slots=True)
class _File:
    """An open database, and who has it open."""

    looker: Looker
    descriptor: int

    def status(self) -> os.stat_result:
        return self.looker.fstatus(self.descriptor)

    def read(self, size: int, offset: int) -> bytes:
        return self.looker.read(self.descriptor, size, offset)


@dataclass(frozen=True, slots=True)
class _Meta:
    page_size: int
    root: int
    high_water: int
    transaction: int


@dataclass(frozen=True, slots=True)
class _Node:
    """A page with its overflow pages, or the inline page in a bucket's value: where in the copy.

    ``pages`` are the ids of the pages it takes; an inline page takes none.
    """

    start: int
    end: int
    kind: int
    count: int
    pages: range


@dataclass(frozen=True, slots=True)
class _Span:
    """A node with the keys it may hold, by all branches above it: ``low`` <= key < ``high``."""

    node: _Node
    low: bytes
    high: bytes | None

    def holds(self, key: bytes) -> bool:
        return self.low <= key and (self.high is None or key < self.high)


@dataclass(frozen=True, slots=True)
class _Element:
    """One key of a leaf; ``kind`` is ``_VALUE`` or ``_BUCKET``; the value is a span of the copy."""

    kind: int
    key: bytes
    start: int
    end: int


class Bucket:
    """A read-only view of one bucket: keys in order, values as bytes, buckets inside as buckets.

    Nothing is parsed before it is asked for. The whole file was checked by :func:`read`, so no
    method fails.
    """

    __slots__ = ("_copy", "_root")

    def __init__(self, copy: _Copy, root: _Node) -> None:
        self._copy = copy
        self._root = root

    def items(self) -> Iterator[tuple[bytes, bytes | Bucket]]:
        """Every key with its value or bucket, in the order of the keys."""
        for element in self._copy.elements(self._root, set()):
            yield element.key, self._content(element)

    def get(self, key: bytes) -> bytes | Bucket | None:
        """The value or the bucket of ``key``; None when there is none."""
        element = self._copy.find(self._root, key)
        return None if element is None else self._content(element)

    def bucket(self, *path: bytes) -> Bucket | None:
        """The bucket at the end of ``path``; None when a step is missing or is a plain value."""
        here = self
        for key in path:
            found = here.get(key)
            if not isinstance(found, Bucket):
                return None
            here = found
        return here

    def _content(self, element: _Element) -> bytes | Bucket:
        if element.kind == _VALUE:
            return self._copy.data[element.start : element.end]
        return Bucket(self._copy, self._copy.bucket_root(element))


def read(path: bytes, limit: int = LIMIT) -> Bucket:
    """The root bucket of the database at ``path``, as of one transaction.

    The file is copied into memory, at most ``limit`` bytes of it, and checked. FileNotFoundError
    passes through. Anything else raises :class:`BoltError`: no permission, larger than ``limit``,
    damaged, or rewritten faster than it can be copied. Bounded in time and memory by the size.
    """
    name = os.fsdecode(path)
    looker, place = looks.at(path)
    try:
        file = _File(looker, looker.open_regular(place, follow=True))
    except NotAFile as error:
        raise _no_database(name) from error
    except FileNotFoundError:
        if looks.islink(path):
            raise BoltError(f"{name} is a symbolic link to nowhere; restore its target.") from None
        raise
    except OSError as error:
        raise _no_access(name, error) from error
    try:
        return _read_stable(file, name, limit)
    except OSError as error:
        raise _no_access(name, error) from error
    except MemoryError as error:
        raise BoltError(f"{name} does not fit into memory; let the engine prune it.") from error
    finally:
        looker.close(file.descriptor)


def _no_database(name: str) -> BoltError:
    return BoltError(f"{name} is not a regular file, so it is no database; see what made it.")


def _no_access(name: str, error: OSError) -> BoltError:
    if isinstance(error, PermissionError):
        return BoltError(f"{name} may not be read by this user; run whodiff as root.")
    return BoltError(f"{name} cannot be read ({error.strerror}); check the disk it is on.")


def _read_stable(file: _File, name: str, limit: int) -> Bucket:
    """Copy and check until one copy is whole; a damaged copy that stays the same is the end."""
    deadline = time.monotonic() + _PATIENCE
    why, last = "", None
    for attempt in range(_ATTEMPTS):
        _check_file(file, name, limit)
        try:
            return _read_once(file)
        except _DamagedError as damage:
            why = str(damage)
        mark = _change_mark(file)
        if mark == last or time.monotonic() > deadline:
            break
        last = mark
        time.sleep(_PAUSE * (attempt + 1))
    raise BoltError(
        f"{name} cannot be trusted ({why}); try again when the engine is less busy, "
        "and if that does not help, look for disk errors."
    )


def _check_file(file: _File, name: str, limit: int) -> None:
    size = file.status().st_size
    if size > limit:
        raise BoltError(
            f"{name} has {size} bytes, more than the {limit} that are read into memory; "
            "ask the engine itself for what it knows."
        )


def _change_mark(file: _File) -> tuple[int, int, _Meta | None]:
    """Differs whenever a writer did anything since the mark before."""
    about = file.status()
    try:
        meta = _newest_meta(file)
    except _DamagedError:
        meta = None
    return about.st_size, about.st_mtime_ns, meta


def _read_once(file: _File) -> Bucket:
    before = _newest_meta(file)
    copy = _Copy(_read_all(file, before.high_water * before.page_size), before)
    if _newest_meta(file) != before:
        raise _DamagedError("it is being rewritten faster than it can be read")
    root = copy.page(before.root)
    copy.check(root)
    return Bucket(copy, root)


def _read_all(file: _File, used: int) -> bytes:
    """The file as far as it is ``used``; bbolt makes it longer than it needs, sparse at the end.

    What a writer appends meanwhile belongs to later pages.
    """
    size = min(file.status().st_size, used)
    parts, done = [], 0
    while done < size:
        part = file.read(min(size - done, _CHUNK), done)
        if not part:
            break
        parts.append(part)
        done += len(part)
    return b"".join(parts)


# --- the two meta pages ---------------------------------------------------------------------------


def _newest_meta(file: _File) -> _Meta:
    """The valid meta page with the highest transaction id (bbolt db.go meta)."""
    first = _meta_at(file, 0)
    places = (first.page_size,) if first else _PAGE_SIZES
    metas = [meta for meta in (_meta_at(file, place) for place in places) if meta]
    if first:
        metas.append(first)
    if not metas:
        raise _DamagedError("it is empty or has no valid meta page")
    return max(metas, key=lambda meta: meta.transaction)


def _meta_at(file: _File, place: int) -> _Meta | None:
    body_at, sum_at = _PAGE.size, _PAGE.size + _META_BODY.size
    raw = file.read(sum_at + _CHECKSUM.size, place)
    if len(raw) < sum_at + _CHECKSUM.size:
        return None
    _id, kind, _count, _overflow = _PAGE.unpack_from(raw)
    magic, version, page_size, _flags, root, _sequence, _freelist, high_water, transaction = (
        _META_BODY.unpack_from(raw, body_at)
    )
    (checksum,) = _CHECKSUM.unpack_from(raw, sum_at)
    if (kind, magic, version, checksum) != (_META, _MAGIC, _VERSION, _fnv1a(raw[body_at:sum_at])):
        return None
    if page_size not in _PAGE_SIZES or place not in (0, page_size):
        return None
    return _Meta(page_size, root, high_water, transaction)


def _fnv1a(data: bytes) -> int:
    """FNV-1a, 64 bits (bbolt meta.go Sum64)."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


# --- pages ----------------------------------------------------------------------------------------


class _Copy:
    """The file's bytes with one meta page to read them by. Every step checks what it stands on.

    Keys ascend over a whole bucket, and the data of a page's elements lies gap-free behind the
    element headers, as bbolt writes it (inode.go WriteInodeToPage). No two elements share bytes
    and no page is met twice, so all work is bounded by the file's size.
    """

    def __init__(self, data: bytes, meta: _Meta) -> None:
        self.data = data
        self.meta = meta

    def check(self, root: _Node) -> None:
        """Read every page that can be reached, once; raises :class:`_DamagedError`."""
        seen: set[int] = set()
        todo = [(root, 0)]
        while todo:
            node, depth = todo.pop()
            if depth > _BUCKET_DEPTH:
                raise _DamagedError("its buckets are nested too deeply")
            for element in self.elements(node, seen):
                if element.kind == _VALUE:
                    continue
                if not node.pages:
                    # bbolt bucket.go inlineable: never one with a bucket in it.
                    raise _DamagedError("an inline bucket holds a bucket")
                todo.append((self.bucket_root(element), depth + 1))

    def elements(self, root: _Node, seen: set[int]) -> Iterator[_Element]:
        """The elements of one bucket in order of their keys; ``seen`` gathers the pages passed."""
        last = b""
        for span in self._leaves(root, seen):
            for element in self._leaf(span.node):
                if element.key <= last or not span.holds(element.key):
                    raise _DamagedError("its keys are out of order")
                last = element.key
                yield element

    def find(self, node: _Node, key: bytes) -> _Element | None:
        """The element with this key, by descent."""
        while node.kind == _BRANCH:
            branches = self._branch(node)
            at = bisect_right([first for first, _pgid in branches], key) - 1
            node = self.page(branches[max(at, 0)][1])
        return next((element for element in self._leaf(node) if element.key == key), None)

    def page(self, pgid: int) -> _Node:
        """A page with its overflow pages."""
        size, high_water = self.meta.page_size, self.meta.high_water
        start = pgid * size
        if not _FIRST_DATA_PAGE <= pgid < high_water or start + size > len(self.data):
            raise _DamagedError(f"its page {pgid} is missing")
        identity, _kind, _count, overflow = _PAGE.unpack_from(self.data, start)
        pages = range(pgid, pgid + 1 + overflow)
        end = start + len(pages) * size
        if identity != pgid or pages.stop > high_water or end > len(self.data):
            raise _DamagedError(f"its page {pgid} is damaged")
        return self._node(start, end, pages)

    def bucket_root(self, element: _Element) -> _Node:
        """Where a bucket begins: its root page, or the inline page right behind its header."""
        start = element.start + _BUCKET_HEADER.size
        if element.end < start:
            raise _DamagedError("a bucket is too short")
        pgid, _sequence = _BUCKET_HEADER.unpack_from(self.data, element.start)
        if pgid:
            return self.page(pgid)
        if element.end < start + _PAGE.size:
            raise _DamagedError("an inline bucket is too short")
        node = self._node(start, element.end, range(0))
        if node.kind != _LEAF:
            raise _DamagedError("an inline bucket is no leaf")
        return node

    def _node(self, start: int, end: int, pages: range) -> _Node:
        _id, kind, count, _overflow = _PAGE.unpack_from(self.data, start)
        if kind not in (_BRANCH, _LEAF) or (kind == _BRANCH and not count):
            raise _DamagedError("a page is neither branch nor leaf")
        if start + _PAGE.size + count * _LEAF_ELEMENT.size > end:
            raise _DamagedError("a page claims more elements than it can hold")
        return _Node(start, end, kind, count, pages)

    def _leaves(self, root: _Node, seen: set[int]) -> Iterator[_Span]:
        """The leaf pages below ``root`` from left to right, each with where its keys may lie."""
        todo = [(_Span(root, b"", None), 0)]
        while todo:
            span, depth = todo.pop()
            if not seen.isdisjoint(span.node.pages):
                raise _DamagedError("a page is used twice")
            seen.update(span.node.pages)
            if span.node.kind == _LEAF:
                yield span
                continue
            if depth == _PAGE_DEPTH:
                raise _DamagedError("its pages are nested too deeply")
            todo.extend((child, depth + 1) for child in reversed(self._children(span)))

    def _children(self, span: _Span) -> list[_Span]:
        branches = self._branch(span.node)
        lows = [max(first, span.low) for first, _pgid in branches]
        highs = [*lows[1:], span.high]
        return [
            _Span(self.page(pgid), low, high)
            for (_first, pgid), low, high in zip(branches, lows, highs, strict=True)
        ]

    def _branch(self, node: _Node) -> list[tuple[bytes, int]]:
        """A branch page's children: the first key of each, and its page."""
        end = node.start + _PAGE.size + node.count * _BRANCH_ELEMENT.size
        found: list[tuple[bytes, int]] = []
        for at, (position, key_size, pgid) in self._headers(node, _BRANCH_ELEMENT):
            start, end = end, end + key_size
            key = self.data[start:end]
            if at + position != start or end > node.end or (found and key <= found[-1][0]):
                raise _DamagedError("a branch page is damaged")
            found.append((key, pgid))
        return found

    def _leaf(self, node: _Node) -> Iterator[_Element]:
        end = node.start + _PAGE.size + node.count * _LEAF_ELEMENT.size
        for at, (kind, position, key_size, value_size) in self._headers(node, _LEAF_ELEMENT):
            start, middle, end = end, end + key_size, end + key_size + value_size
            if at + position != start or end > node.end or kind not in (_VALUE, _BUCKET):
                raise _DamagedError("a leaf page is damaged")
            yield _Element(kind, self.data[start:middle], middle, end)

    def _headers(self, node: _Node, header: struct.Struct) -> Iterator[tuple[int, tuple[int, ...]]]:
        first = node.start + _PAGE.size
        for at in range(first, first + node.count * header.size, header.size):
            yield at, header.unpack_from(self.data, at)
