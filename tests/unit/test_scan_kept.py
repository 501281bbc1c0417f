"""Kept figures: they are the very ones that were measured, or there are none."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.scan import cache_file as kept_file
from app.scan.cache import SETTLED, Kept
from app.scan.cache_file import Entry, KeptFile
from app.scan.fence import Fence, read_fence
from app.scan.fingerprint import mark, marks_of
from app.scan.job import run
from app.scan.tree import UnitResult
from app.scan.walk import Unit

NOBODY = 65534
ROOTS = (b"/var/lib/docker",)


def make_layer(path: Path, files: int = 3) -> bytes:
    """A layer with hard links in it, and with names that are no text."""
    deep = path / "diff" / "usr" / "lib"
    deep.mkdir(parents=True)
    (path / "link").write_text("TOKEN")
    for number in range(files):
        (deep / f"file-{number}").write_bytes(b"x" * 5000 * (number + 1))
    os.link(deep / "file-0", path / "diff" / "linked")
    os.mkdir(os.path.join(bytes(path), b"diff/\xff\xfe\n"))
    return bytes(path)


def measured(*paths: bytes) -> list[Entry]:
    """Measure these directories; each with the mark that it had before."""
    marks = {path: mark(path) for path in paths}
    results = run([Unit(path) for path in paths], read_fence())
    return [Entry(marks[it.key] or (), it) for it in results]


def entries_of(paths: list[bytes]) -> dict[bytes, Entry]:
    return {entry.result.key: entry for entry in measured(*paths)}


# --- within a session -----------------------------------------------------------------------------


def good(it: Kept, *paths: bytes) -> set[bytes]:
    return {result.key for result in it.still_good(marks_of(paths, Fence()))}


def test_what_is_the_same_is_kept(tmp_path: Path, settled: None) -> None:
    one, other = make_layer(tmp_path / "a"), make_layer(tmp_path / "b", 5)
    it, entries = Kept(), measured(one, other)
    it.keep(entries, Fence())
    assert it.still_good(marks_of([one, other], Fence())) == [entry.result for entry in entries]
    it.forget()
    assert not good(it, one, other)


def test_what_changed_between_two_looks_is_not(tmp_path: Path, settled: None) -> None:
    one, other = make_layer(tmp_path / "a"), make_layer(tmp_path / "b")
    it = Kept()
    it.keep(measured(one, other), Fence())
    (tmp_path / "a" / "diff" / "more").touch()
    assert good(it, one, other) == {other}


def test_two_layers_that_changed_places_meet_no_old_figure(tmp_path: Path, settled: None) -> None:
    one, other = make_layer(tmp_path / "a"), make_layer(tmp_path / "b", 9)
    it = Kept()
    it.keep(measured(one, other), Fence())
    (tmp_path / "a").rename(tmp_path / "c")
    (tmp_path / "b").rename(tmp_path / "a")
    (tmp_path / "c").rename(tmp_path / "b")
    assert not good(it, one, other)


def test_what_changed_during_the_walk_is_not_kept(tmp_path: Path, settled: None) -> None:
    path = make_layer(tmp_path / "a")
    it, entries = Kept(), measured(path)
    (tmp_path / "a" / "diff" / "late").touch()
    it.keep(entries, Fence())
    assert not good(it, path)


def test_what_is_young_is_not_kept(tmp_path: Path) -> None:
    path = make_layer(tmp_path / "a")
    it = Kept()
    it.keep(measured(path), Fence())
    assert not good(it, path)


def test_it_is_the_latest_change_of_anything_in_it_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_layer(tmp_path / "a")
    (entry,) = measured(path)
    # As of a layer that was unpacked for an hour: its topmost directories are that old.
    late = Entry(entry.mark, replace(entry.result, newest=entry.result.newest + 3600))
    it = Kept()
    for seconds, expected in ((SETTLED + 3599, set()), (SETTLED + 3601, {path})):
        now = entry.result.newest + seconds
        monkeypatch.setattr("app.scan.cache.time.time", lambda now=now: now)
        it.keep([late], Fence())
        assert good(it, path) == expected


def test_what_was_mounted_over_meanwhile_is_not_kept(tmp_path: Path, settled: None) -> None:
    path = make_layer(tmp_path / "a")
    it = Kept()
    it.keep(measured(path), Fence(frozenset({path + b"/diff/usr"})))
    assert not good(it, path)


def test_what_depends_on_links_elsewhere_is_not_kept(tmp_path: Path, settled: None) -> None:
    path = make_layer(tmp_path / "a")
    os.link(tmp_path / "a/diff/usr/lib/file-1", tmp_path / "elsewhere")
    it = Kept()
    it.keep(measured(path), Fence())
    assert not good(it, path)


# --- between runs ---------------------------------------------------------------------------------


def same(one: UnitResult, other: UnitResult) -> bool:
    return one == other and one.tree == other.tree and one.tree.links == other.tree.links


def test_the_next_run_finds_the_very_results(tmp_path: Path, base: Path, settled: None) -> None:
    one, other = make_layer(tmp_path / "a"), make_layer(tmp_path / "b", 5)
    first, entries = Kept(between_runs=True), measured(one, other)
    first.open(ROOTS)
    first.keep(entries, Fence())
    first.save([one, other])
    second = Kept(between_runs=True)
    second.open(ROOTS)
    results = second.still_good(marks_of([one, other], Fence()))
    assert {it.key for it in results} == {one, other}
    assert all(same(entry.result, it) for entry, it in zip(entries, results, strict=True))
    folder = base / "whodiff"
    assert folder.stat().st_mode & 0o7777 == 0o700
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o7777 == 0o600
    assert file.name == hashlib.sha256(ROOTS[0]).hexdigest()[:32]
    second.forget()
    assert not list(folder.iterdir())


def test_a_session_that_keeps_nothing_writes_nothing(
    tmp_path: Path, base: Path, settled: None
) -> None:
    path = make_layer(tmp_path / "a")
    it = Kept(between_runs=False)
    it.open(ROOTS)
    it.keep(measured(path), Fence())
    it.save([path])
    assert good(it, path) == {path}, "within the session it does"
    assert not list(base.iterdir())


def test_what_is_gone_is_not_written_again(tmp_path: Path, base: Path, settled: None) -> None:
    one, other = make_layer(tmp_path / "a"), make_layer(tmp_path / "b")
    it = Kept(between_runs=True)
    it.open(ROOTS)
    it.keep(measured(one, other), Fence())
    it.save([other])
    assert KeptFile(ROOTS).load().keys() == {other}


def saved(tmp_path: Path) -> tuple[dict[bytes, Entry], Path]:
    """Two layers in the file; what they are, and where the file is."""
    entries = entries_of([make_layer(tmp_path / "a"), make_layer(tmp_path / "b")])
    assert KeptFile(ROOTS).save(entries.values())
    return entries, Path(os.fsdecode(kept_file.base_directory())) / "whodiff" / KeptFile(ROOTS).name


@dataclass(frozen=True)
class Damage:
    """What happens to a file, somewhere in it. How long a file is depends on inode numbers."""

    kind: str
    place: int
    junk: bytes

    def to(self, data: bytes) -> bytes:
        at = self.place % len(data)
        match self.kind:
            case "cut":
                return data[:at]
            case "insert":
                return data[:at] + self.junk + data[at:]
            case "overwrite":
                return data[:at] + self.junk + data[at + len(self.junk) :]
            case _:
                return self.junk


damages = st.builds(
    Damage,
    st.sampled_from(("cut", "insert", "overwrite", "other")),
    st.integers(0, 4000),
    st.binary(min_size=1, max_size=400),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(damage=damages)
def test_a_damaged_file_never_says_anything_else(
    base: Path, tmp_path_factory: pytest.TempPathFactory, damage: Damage
) -> None:
    entries, file = saved(tmp_path_factory.mktemp("layers"))
    file.write_bytes(damage.to(file.read_bytes()))
    found = KeptFile(ROOTS).load()
    assert all(same(found[path].result, entries[path].result) for path in found)
    assert all(found[path].mark == entries[path].mark for path in found)


def test_not_one_bit_gets_through(base: Path, tmp_path: Path) -> None:
    _, file = saved(tmp_path)
    data = file.read_bytes()
    for at in range(len(data)):
        file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert not KeptFile(ROOTS).load(), at


def test_a_file_that_is_not_ours_is_no_file(base: Path, tmp_path: Path) -> None:
    _, file = saved(tmp_path)
    assert KeptFile(ROOTS).load()
    file.chmod(0o644)
    assert not KeptFile(ROOTS).load(), "others may read it: then others made it"
    file.chmod(0o600)
    assert KeptFile(ROOTS).load()
    file.parent.chmod(0o755)
    assert not KeptFile(ROOTS).load()
    assert not KeptFile(ROOTS).save([])
    file.parent.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(file, NOBODY, NOBODY)
        assert not KeptFile(ROOTS).load()
        os.chown(file, 0, 0)
        os.chown(file.parent, NOBODY, NOBODY)
        assert not KeptFile(ROOTS).load()
        assert not KeptFile(ROOTS).save([])


def test_links_are_not_followed(base: Path, tmp_path: Path) -> None:
    entries, file = saved(tmp_path)
    aside = base / "aside"
    file.rename(aside)
    file.symlink_to(aside)
    assert not KeptFile(ROOTS).load()
    before = aside.read_bytes()
    assert KeptFile(ROOTS).save(entries.values())
    assert aside.read_bytes() == before, "the link is replaced, what it led to is not touched"
    assert not file.is_symlink()
    file.parent.rename(base / "elsewhere")
    file.parent.symlink_to(base / "elsewhere")
    assert not KeptFile(ROOTS).load()
    assert not KeptFile(ROOTS).save(entries.values())


def test_a_pipe_in_its_place_does_not_hang(base: Path, tmp_path: Path) -> None:
    _, file = saved(tmp_path)
    file.unlink()
    os.mkfifo(file, 0o600)
    assert not KeptFile(ROOTS).load()


@pytest.mark.parametrize("what", ["version", "boot", "roots"])
def test_a_file_of_another_time_or_place_is_no_file(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    _, file = saved(tmp_path)
    asked = KeptFile(ROOTS)
    if what == "version":
        monkeypatch.setattr(kept_file, "__version__", "999")
    elif what == "boot":
        boot = tmp_path / "boot_id"
        boot.write_text("another\n")
        monkeypatch.setattr(kept_file, "_BOOT_ID", boot)
    else:
        asked = KeptFile((b"/srv/docker",))
        file.rename(file.with_name(asked.name))
    assert not asked.load()


def test_what_does_not_fit_stays_out_the_cheapest_first(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = make_layer(tmp_path / "a", 1), make_layer(tmp_path / "b", 50)
    entries = measured(small, large)
    assert KeptFile(ROOTS).save(entries[1:])
    (file,) = (base / "whodiff").iterdir()
    monkeypatch.setattr(kept_file, "LIMIT", file.stat().st_size + 10)
    assert KeptFile(ROOTS).save(entries)
    assert KeptFile(ROOTS).load().keys() == {large}
    monkeypatch.setattr(kept_file, "LIMIT", file.stat().st_size - 1)
    assert not KeptFile(ROOTS).load(), "too large to be ours"


def test_no_room_is_no_error_and_the_old_file_stays(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries, file = saved(tmp_path)
    before = file.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(kept_file, "_PART", 1 << 60)
        assert not KeptFile(ROOTS).save(list(entries.values())[:1])

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("app.scan.cache_file.os.rename", full)
        assert not KeptFile(ROOTS).save(list(entries.values())[:1])
    assert [it.read_bytes() for it in (base / "whodiff").iterdir()] == [before]


def test_nothing_is_written_where_the_scan_is(base: Path) -> None:
    with tempfile.TemporaryDirectory(dir=base.parent) as scanned:
        entries = measured(make_layer(Path(scanned) / "a"))
        assert not KeptFile(ROOTS).save(entries)
    assert not list(base.iterdir())


def test_nothing_is_written_to_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_file, "base_directory", lambda: bytes(tmp_path))
    monkeypatch.setattr(kept_file, "_IN_MEMORY", ())
    assert not KeptFile(ROOTS).save([])
    assert not list(tmp_path.iterdir())


def test_the_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("app.scan.cache_file.os.geteuid", lambda: 0)
    assert kept_file.base_directory() == b"/run", "not that of the user who called sudo"
    monkeypatch.setattr("app.scan.cache_file.os.geteuid", lambda: 1000)
    assert kept_file.base_directory() == bytes(tmp_path)
    for nowhere in ("", "relative", "/nonexistent/place"):
        monkeypatch.setenv("XDG_RUNTIME_DIR", nowhere)
        assert not KeptFile(ROOTS).save([])
        assert not KeptFile(ROOTS).load()
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert not KeptFile(ROOTS).save([])


def test_the_oldest_files_go(base: Path) -> None:
    for number in range(kept_file.MOST_FILES + 3):
        roots = (b"/root-%d" % number,)
        assert KeptFile(roots).save([])
        os.utime(base / "whodiff" / KeptFile(roots).name, (number, number))
    mine = base / "whodiff" / "not-ours"
    mine.touch()
    assert KeptFile((b"/last",)).save([])
    names = {it.name for it in (base / "whodiff").iterdir()}
    assert len(names) == kept_file.MOST_FILES + 1
    assert {"not-ours", KeptFile((b"/last",)).name} < names


def test_who_reads_while_two_write_sees_one_of_them_whole(base: Path, tmp_path: Path) -> None:
    entries = measured(make_layer(tmp_path / "a"), make_layer(tmp_path / "b", 20))
    whole = ({entries[0].result.key}, {it.result.key for it in entries})
    assert KeptFile(ROOTS).save(entries)
    writers = [
        threading.Thread(target=lambda some=some: [KeptFile(ROOTS).save(some) for _ in range(60)])
        for some in (entries[:1], entries)
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert KeptFile(ROOTS).load().keys() in whole
    for writer in writers:
        writer.join()
    assert len(list((base / "whodiff").iterdir())) == 1
