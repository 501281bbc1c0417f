"""app.host.bolt against files that app.demo.bolt_file wrote, real ones, and hostile ones."""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.demo.bolt_file import Tree, write_bolt
from app.host import bolt
from app.host.bolt import BoltError, Bucket

PAGE = 4096
BRANCH, LEAF, META = 1, 2, 4


def read(path: Path) -> Bucket:
    return bolt.read(os.fsencode(path))


def tree_of(bucket: Bucket) -> dict[bytes, object]:
    return {
        key: tree_of(value) if isinstance(value, Bucket) else value for key, value in bucket.items()
    }


def amount(bucket: Bucket) -> int:
    """All bytes of keys and values that a bucket gives out."""
    return sum(
        len(key) + (amount(value) if isinstance(value, Bucket) else len(value))
        for key, value in bucket.items()
    )


# --- a writer of single pages, for files that no engine would make --------------------------------


def fnv1a(data: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def meta(number: int, root: int, pages: int, *, transaction: int = 1, size: int = PAGE) -> bytes:
    body = struct.pack("<IIIIQQQQQ", 0xED0CDAED, 2, size, 0, root, 0, 2**64 - 1, pages, transaction)
    page = struct.pack("<QHHI", number, META, 0, 0) + body + struct.pack("<Q", fnv1a(body))
    return page.ljust(size, b"\0")


def page(number: int, kind: int, body: bytes, *, count: int = 1, overflow: int = 0) -> bytes:
    raw = struct.pack("<QHHI", number, kind, count, overflow) + body
    return raw.ljust((overflow + 1) * PAGE, b"\0")


def branch(key: bytes, target: int) -> bytes:
    return struct.pack("<IIQ", 16, len(key), target) + key


def leaf(key: bytes, value: bytes, *, kind: int = 0) -> bytes:
    return struct.pack("<IIII", kind, 16, len(key), len(value)) + key + value


def bucket(key: bytes, target: int) -> bytes:
    return leaf(key, struct.pack("<QQ", target, 0), kind=1)


def database(path: Path, *pages: bytes, root: int = 2) -> Path:
    """Two meta pages, then ``pages`` from page 2 on."""
    body = b"".join(pages)
    total = 2 + len(body) // PAGE
    path.write_bytes(meta(0, root, total) + meta(1, root, total, transaction=2) + body)
    return path


# --- good files -----------------------------------------------------------------------------------

keys = st.binary(min_size=1, max_size=40)
values = st.binary(max_size=60) | st.integers(0, 9000).map(lambda size: b"v" * size)
trees: st.SearchStrategy[dict[bytes, object]] = st.recursive(
    st.dictionaries(keys, values, max_size=12),
    lambda inner: st.dictionaries(keys, values | inner, max_size=6),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None)
@given(trees)
def test_what_was_written_is_read(tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.db"
        write_bolt(path, tree)
        assert tree_of(read(path)) == tree


def test_a_tree_of_many_pages_keeps_order_and_finds_every_key(tmp_path: Path) -> None:
    inner = {b"k%05d" % number: b"v" * (number % 300) for number in range(4000)}
    write_bolt(tmp_path / "a.db", {b"v1": {b"deep": inner, b"empty": {}}, b"z": {b"a": b"1"}})
    root = read(tmp_path / "a.db")
    deep = root.bucket(b"v1", b"deep")
    assert deep is not None
    assert [key for key, _value in deep.items()] == sorted(inner)
    assert all(deep.get(key) == value for key, value in inner.items())
    for absent in (b"", b"a", b"k00000a", b"k03999a", b"z"):
        assert deep.get(absent) is None
    assert root.bucket(b"v1", b"nothing") is None
    assert root.bucket(b"z", b"a") is None, "a plain value is no bucket"


def test_long_keys_and_values_take_overflow_pages(tmp_path: Path) -> None:
    tree = {bytes([65 + number]) * 5000: b"x" * 30_000 for number in range(6)}
    write_bolt(tmp_path / "a.db", {b"b": tree})
    assert tree_of(read(tmp_path / "a.db")) == {b"b": tree}


def test_an_empty_key_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="empty"):
        write_bolt(tmp_path / "a.db", {b"b": {b"": b"value"}})


def test_every_database_of_two_real_hosts_is_read(captures: Path) -> None:
    found = sorted(captures.rglob("*.db"))
    assert len(found) >= 15
    assert all(amount(read(path)) >= 0 for path in found)


def test_a_real_metadata_database_says_what_containerd_stored(captures: Path) -> None:
    [path] = captures.rglob("io.containerd.metadata.v1.bolt/meta.db")
    images = read(path).bucket(b"v1", b"moby", b"images")
    assert images is not None
    names = [key for key, _value in images.items()]
    assert b"docker.io/library/app:1" in names
    target = images.bucket(names[0], b"target")
    assert target is not None
    assert str(target.get(b"digest")).startswith("b'sha256:")


@pytest.mark.parametrize("size", [1024, 16384, 65536])
def test_other_page_sizes_are_found_by_either_meta_page(tmp_path: Path, size: int) -> None:
    body = struct.pack("<QHHI", 2, LEAF, 1, 0) + leaf(b"key", b"value")
    whole = meta(0, 2, 3, size=size) + meta(1, 2, 3, size=size) + body.ljust(size, b"\0")
    for damaged in (0, size):
        raw = bytearray(whole)
        raw[damaged + 20] ^= 0xFF
        (tmp_path / "a.db").write_bytes(raw)
        assert tree_of(read(tmp_path / "a.db")) == {b"key": b"value"}


def test_the_newest_valid_meta_page_counts(tmp_path: Path) -> None:
    pages = page(2, LEAF, leaf(b"old", b"")) + page(3, LEAF, leaf(b"new", b""))
    newest = bytearray(meta(1, 3, 4, transaction=8))
    path = tmp_path / "a.db"
    path.write_bytes(meta(0, 2, 4, transaction=7) + newest + pages)
    assert tree_of(read(path)) == {b"new": b""}
    newest[40] ^= 1
    path.write_bytes(meta(0, 2, 4, transaction=7) + newest + pages)
    assert tree_of(read(path)) == {b"old": b""}


# --- a file that somebody else has open -----------------------------------------------------------


def test_a_lock_does_not_stop_the_reader_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    write_bolt(path, {b"a": {b"b": b"c"}})
    before = path.read_bytes(), path.stat().st_mtime_ns, os.listdir(tmp_path)
    with path.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert tree_of(read(path)) == {b"a": {b"b": b"c"}}
    assert (path.read_bytes(), path.stat().st_mtime_ns, os.listdir(tmp_path)) == before


class Writer:
    """Commits a new transaction behind the reader's back right after each whole copy."""

    def __init__(self, path: Path, times: int) -> None:
        self.path, self.left, self.transaction = path, times, 10
        self.real = os.pread

    def pread(self, file: int, length: int, offset: int) -> bytes:
        data = self.real(file, length, offset)
        if length > PAGE and self.left:
            self.left -= 1
            self.commit()
        return data

    def commit(self) -> None:
        self.transaction += 1
        number = self.transaction % 2
        content = page(2 + number, LEAF, leaf(b"commit", b"%d" % self.transaction))
        with self.path.open("r+b") as file:
            file.seek((2 + number) * PAGE)
            file.write(content)
            file.seek(number * PAGE)
            file.write(meta(number, 2 + number, 4, transaction=self.transaction))


def test_a_commit_during_the_copy_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = (page(2, LEAF, leaf(b"commit", b"0")), page(3, LEAF, leaf(b"commit", b"0")))
    writer = Writer(database(tmp_path / "a.db", *pages), times=3)
    monkeypatch.setattr(os, "pread", writer.pread)
    assert tree_of(read(writer.path)) == {b"commit": b"13"}


def test_a_file_that_never_rests_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = (page(2, LEAF, leaf(b"commit", b"0")), page(3, LEAF, leaf(b"commit", b"0")))
    writer = Writer(database(tmp_path / "a.db", *pages), times=1_000_000)
    monkeypatch.setattr(os, "pread", writer.pread)
    with pytest.raises(BoltError, match="rewritten"):
        read(writer.path)


# --- not a database -------------------------------------------------------------------------------


def test_an_absent_file_is_the_callers_business(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.db")


def test_a_link_to_nowhere_is_not_an_absent_file(tmp_path: Path) -> None:
    (tmp_path / "a.db").symlink_to(tmp_path / "gone.db")
    with pytest.raises(BoltError, match="link"):
        read(tmp_path / "a.db")


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * PAGE, b"\xff" * 3 * PAGE])
def test_a_file_without_a_meta_page_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.db").write_bytes(content)
    with pytest.raises(BoltError, match="no valid meta page"):
        read(tmp_path / "a.db")


def test_a_directory_or_a_pipe_is_an_error_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.db")
    for path in (tmp_path, tmp_path / "pipe.db"):
        with pytest.raises(BoltError, match="regular file"):
            read(path)


def test_what_is_larger_than_the_limit_is_not_read(tmp_path: Path) -> None:
    write_bolt(tmp_path / "a.db", {})
    os.truncate(tmp_path / "a.db", 1 << 40)
    with pytest.raises(BoltError, match="more than"):
        read(tmp_path / "a.db")


def test_no_permission_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    write_bolt(path, {})
    path.chmod(0)
    own = os.geteuid()
    if own == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(BoltError, match="as root"):
            read(path)
    finally:
        os.seteuid(own)


# --- damaged on purpose ---------------------------------------------------------------------------

SELF_BRANCH = page(2, BRANCH, branch(b"a", 2))
SELF_BUCKET = page(2, LEAF, bucket(b"a", 2))
INLINE_BUCKET = struct.pack("<QQ", 0, 0) + struct.pack("<QHHI", 0, LEAF, 1, 0) + bucket(b"b", 2)
TWICE = struct.pack("<IIIIIIII", 0, 32, 1, 8, 0, 16, 1, 8) + b"a" + b"v" * 8
OVERLAPPING = leaf(
    b"a",
    struct.pack("<QQ", 3, 0).ljust(PAGE - 33, b"\0") + struct.pack("<QHHI", 3, LEAF, 0, 0),
    kind=1,
)

HOSTILE = {
    "a branch that is its own child": [SELF_BRANCH],
    "a bucket that is its own parent": [SELF_BUCKET],
    "two buckets with one page": [
        page(2, BRANCH, branch(b"a", 3)),
        page(3, LEAF, bucket(b"a", 4)),
        page(4, LEAF, bucket(b"a", 3)),
    ],
    "more elements than a page holds": [page(2, LEAF, leaf(b"a", b""), count=65535)],
    "a branch without children": [page(2, BRANCH, b"", count=0)],
    "a key of 4 GiB": [page(2, LEAF, struct.pack("<IIII", 0, 16, 2**32 - 1, 0))],
    "a value of 4 GiB": [page(2, LEAF, struct.pack("<IIII", 0, 16, 1, 2**32 - 1) + b"a")],
    "an element that lies elsewhere": [page(2, LEAF, struct.pack("<IIII", 0, 2**31, 1, 1))],
    "two elements with the same bytes": [page(2, LEAF, TWICE, count=2)],
    "overflow pages without end": [
        page(2, LEAF, leaf(b"a", b""))[:12] + b"\xff" * 4 + b"\0" * 4080
    ],
    "overflow over a page in use": [page(2, LEAF, OVERLAPPING, overflow=1)],
    "a wrong page id": [page(9, LEAF, leaf(b"a", b""))],
    "a page of no kind": [page(2, 0, leaf(b"a", b""))],
    "a page of two kinds": [page(2, BRANCH | LEAF, leaf(b"a", b""))],
    "a child beyond the end": [page(2, BRANCH, branch(b"a", 2**60))],
    "a bucket that points to a meta page": [page(2, LEAF, bucket(b"a", 1))],
    "a bucket without a header": [page(2, LEAF, leaf(b"a", b"", kind=1))],
    "an inline bucket without a page": [page(2, LEAF, leaf(b"a", b"\0" * 20, kind=1))],
    "a bucket in an inline bucket": [page(2, LEAF, leaf(b"a", INLINE_BUCKET, kind=1))],
    "an element of no kind": [page(2, LEAF, leaf(b"a", b"", kind=7))],
    "an empty key": [page(2, LEAF, leaf(b"", b"value"))],
    "keys below their branch": [page(2, BRANCH, branch(b"m", 3)), page(3, LEAF, leaf(b"a", b""))],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_crafted_file_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(BoltError, match="cannot be trusted"):
        read(database(tmp_path / "a.db", *HOSTILE[name]))


def chain(make: str, length: int) -> Iterator[bytes]:
    """Pages of which each only leads to the next; the last is an empty leaf."""
    for number in range(2, length + 2):
        if make == "branch":
            yield page(number, BRANCH, branch(b"a", number + 1))
        else:
            yield page(number, LEAF, bucket(b"a", number + 1))
    yield page(length + 2, LEAF, b"", count=0)


@pytest.mark.parametrize("make", ["branch", "bucket"])
def test_endless_nesting_is_an_error_and_ordinary_nesting_is_not(tmp_path: Path, make: str) -> None:
    with pytest.raises(BoltError, match="nested too deeply"):
        read(database(tmp_path / "a.db", *chain(make, 3000)))
    assert tree_of(read(database(tmp_path / "b.db", *chain(make, 12)))) is not None


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[bytes, object]]:
    """A file with branches, overflow pages, inline and nested buckets, and what is in it."""
    tree: Tree = {
        b"_main": {b"r%03d" % number: {b"key": b"v" * number} for number in range(90)},
        b"_long": {b"text": b"t" * 9000},
        b"_empty": {},
    }
    path = tmp_path_factory.mktemp("sample") / "a.db"
    write_bolt(path, tree)
    return path.read_bytes(), tree_of(read(path))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_flipped_bytes_never_break_out(
    sample: tuple[bytes, dict[bytes, object]], data: st.DataObject
) -> None:
    raw = bytearray(sample[0])
    for _flip in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.db"
        path.write_bytes(raw)
        try:
            found = read(path)
        except BoltError:
            return
        assert amount(found) <= len(raw)


def test_any_flip_in_the_headers_of_a_file_is_noticed(
    tmp_path: Path, sample: tuple[bytes, dict[bytes, object]]
) -> None:
    """Meta pages have a checksum and a twin; a page header has no byte that may change."""
    raw, tree = sample
    path = tmp_path / "a.db"
    for place in [*range(0, 80, 3), *range(PAGE, PAGE + 80, 3), *range(3 * PAGE, 3 * PAGE + 12)]:
        damaged = bytearray(raw)
        damaged[place] ^= 0x5A
        path.write_bytes(damaged)
        if place < 2 * PAGE:
            assert tree_of(read(path)) == tree
        else:
            with pytest.raises(BoltError):
                read(path)


def test_a_cut_file_is_an_error_or_still_whole(
    tmp_path: Path, sample: tuple[bytes, dict[bytes, object]]
) -> None:
    raw, tree = sample
    path = tmp_path / "a.db"
    refused = 0
    for length in range(0, len(raw), 1111):
        path.write_bytes(raw[:length])
        try:
            assert tree_of(read(path)) == tree
        except BoltError:
            refused += 1
    assert refused > 10
