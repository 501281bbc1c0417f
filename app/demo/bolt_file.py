"""Write a small, valid bbolt database, as BuildKit and the volume service leave it on disk.

The format is bbolt's (etcd-io/bbolt internal/common/page.go, meta.go, bucket.go, inode.go): pages
of 4 KiB, B+ trees of leaf and branch pages, small buckets inline in their parent, two meta pages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

PAGE_SIZE = 4096
INLINE_LIMIT = PAGE_SIZE // 4

MAGIC = 0xED0CDAED
VERSION = 2
BRANCH, LEAF, META, FREELIST = 0x01, 0x02, 0x04, 0x10
BUCKET_ELEMENT = 1

PAGE_HEADER = struct.Struct("<QHHI")  # id, flags, count, overflow
BRANCH_ELEMENT = struct.Struct("<IIQ")  # pos, ksize, pgid
LEAF_ELEMENT = struct.Struct("<IIII")  # flags, pos, ksize, vsize
BUCKET_HEADER = struct.Struct("<QQ")  # root pgid, sequence
META_BODY = struct.Struct("<IIIIQQQQQ")  # magic .. txid, without the checksum
CHECKSUM = struct.Struct("<Q")

FREELIST_PAGE = 2
FIRST_DATA_PAGE = 3

# Buckets inside buckets, plain values at the leaves.
Tree = Mapping[bytes, "bytes | Tree"]


@dataclass(frozen=True, slots=True)
class _Leaf:
    flags: int
    key: bytes
    value: bytes

    def size(self) -> int:
        return LEAF_ELEMENT.size + len(self.key) + len(self.value)


@dataclass(frozen=True, slots=True)
class _Branch:
    key: bytes
    pgid: int

    def size(self) -> int:
        return BRANCH_ELEMENT.size + len(self.key)


_Element = TypeVar("_Element", _Leaf, _Branch)


@dataclass(slots=True)
class _Pages:
    """Finished pages in file order, the first of them at ``FIRST_DATA_PAGE``."""

    written: bytearray = field(default_factory=bytearray)

    @property
    def next_pgid(self) -> int:
        return FIRST_DATA_PAGE + len(self.written) // PAGE_SIZE

    def add(self, flags: int, count: int, body: bytes) -> int:
        """Append one page, with as many overflow pages as it needs; its page id."""
        pgid = self.next_pgid
        self.written += _page(pgid, flags, count, body)
        return pgid


def write_bolt(path: Path, tree: Tree) -> None:
    """Write ``tree`` as a bbolt file at ``path``; keys must not be empty.

    What is there already is replaced. The folder must exist; OSError passes through. An empty
    key raises ValueError (bbolt refuses one as well).
    """
    pages = _Pages()
    root = _write_bucket(pages, tree)
    high_water = pages.next_pgid
    path.write_bytes(
        b"".join(
            (
                _meta_page(0, root, high_water),
                _meta_page(1, root, high_water),
                _page(FREELIST_PAGE, FREELIST, 0, b""),
                pages.written,
            )
        )
    )
    path.chmod(0o600)


def checksum(body: bytes) -> int:
    """FNV-1a, 64 bits (bbolt internal/common/meta.go Sum64)."""
    value = 0xCBF29CE484222325
    for byte in body:
        value = (value ^ byte) * 0x100000001B3 % (1 << 64)
    return value


def _meta_page(number: int, root: int, high_water: int) -> bytes:
    body = META_BODY.pack(MAGIC, VERSION, PAGE_SIZE, 0, root, 0, FREELIST_PAGE, high_water, number)
    return _page(number, META, 0, body + CHECKSUM.pack(checksum(body)))


def _page(pgid: int, flags: int, count: int, body: bytes) -> bytes:
    overflow = (PAGE_HEADER.size + len(body) - 1) // PAGE_SIZE
    page = PAGE_HEADER.pack(pgid, flags, count, overflow) + body
    return page.ljust((overflow + 1) * PAGE_SIZE, b"\0")


def _write_bucket(pages: _Pages, tree: Tree) -> int:
    """Write a bucket's pages, those of the buckets inside it first; its root page."""
    leaves = [_leaf(pages, key, value) for key, value in sorted(tree.items())]
    level = [
        _Branch(group[0].key if group else b"", pages.add(LEAF, len(group), _leaf_body(group)))
        for group in _groups(leaves) or [[]]
    ]
    while len(level) > 1:
        level = [
            _Branch(group[0].key, pages.add(BRANCH, len(group), _branch_body(group)))
            for group in _groups(level)
        ]
    return level[0].pgid


def _leaf(pages: _Pages, key: bytes, value: bytes | Tree) -> _Leaf:
    if not key:
        raise ValueError("a key in a bolt file must not be empty")
    if isinstance(value, bytes):
        return _Leaf(0, key, value)
    return _Leaf(BUCKET_ELEMENT, key, _bucket_value(pages, value))


def _bucket_value(pages: _Pages, tree: Tree) -> bytes:
    """The 16 bytes that lead to a bucket's pages, or, for a small one, the bucket itself.

    Only a bucket without buckets in it may be inline (bbolt bucket.go inlineable).
    """
    if all(isinstance(value, bytes) for value in tree.values()):
        leaves = [_leaf(pages, key, value) for key, value in sorted(tree.items())]
        if PAGE_HEADER.size + sum(leaf.size() for leaf in leaves) <= INLINE_LIMIT:
            page = PAGE_HEADER.pack(0, LEAF, len(leaves), 0)
            return BUCKET_HEADER.pack(0, 0) + page + _leaf_body(leaves)
    return BUCKET_HEADER.pack(_write_bucket(pages, tree), 0)


def _groups(elements: Iterable[_Element]) -> list[list[_Element]]:
    """Cut a level into pages: as much as fits, at least two elements on each but the last.

    Two, so that every level of branches is shorter than the one below; a page that is too small
    for them overflows.
    """
    groups: list[list[_Element]] = []
    room = 0
    for element in elements:
        if not groups or (element.size() > room and len(groups[-1]) >= 2):
            groups.append([])
            room = PAGE_SIZE - PAGE_HEADER.size
        groups[-1].append(element)
        room -= element.size()
    return groups


def _leaf_body(leaves: list[_Leaf]) -> bytes:
    headers, data = bytearray(), bytearray()
    total = len(leaves) * LEAF_ELEMENT.size
    for leaf in leaves:
        position = total - len(headers) + len(data)
        headers += LEAF_ELEMENT.pack(leaf.flags, position, len(leaf.key), len(leaf.value))
        data += leaf.key + leaf.value
    return bytes(headers + data)


def _branch_body(branches: list[_Branch]) -> bytes:
    headers, data = bytearray(), bytearray()
    total = len(branches) * BRANCH_ELEMENT.size
    for branch in branches:
        position = total - len(headers) + len(data)
        headers += BRANCH_ELEMENT.pack(position, len(branch.key), branch.pgid)
        data += branch.key
    return bytes(headers + data)
