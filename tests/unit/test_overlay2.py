"""The overlay2 directory graph: generated hosts against their own truth, and every damage."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.host import safe_read as files
from app.stores.drivers.overlay2.read import LayerGraph, read_graph
from tests.unit.store_files import DAMAGES, put, remove


def token_of(name: str) -> str:
    return base64.b32encode(hashlib.sha256(name.encode()).digest()).decode()[:26]


def name_of(number: int, shape: str) -> str:
    digits = hashlib.sha256(f"layer {number}".encode()).hexdigest()
    return {"long": digits, "init": f"{digits}-init", "short": digits[:25]}[shape]


@dataclass
class Host:
    """A driver directory, written as moby writes one, and the truth about it."""

    home: Path
    parents: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def tokens(self) -> dict[str, str]:
        return {token_of(name): name for name in self.parents}

    def add(self, name: str, parent: str = "") -> Path:
        """A layer on top of ``parent``, in moby's order of steps."""
        self.parents[name] = (parent, *self.parents[parent]) if parent else ()
        place = self.home / name
        (place / "diff").mkdir(parents=True)
        (self.home / "l").mkdir(exist_ok=True)
        (self.home / "l" / token_of(name)).symlink_to(f"../{name}/diff")
        (place / "link").write_text(token_of(name))
        if parent:
            (place / "work").mkdir()
            (self.home / parent / "committed").touch()
            lower = ":".join(f"l/{token_of(each)}" for each in self.parents[name])
            (place / "lower").write_text(lower)
        return place

    def read(self) -> LayerGraph:
        return read_graph(os.fsencode(self.home))

    def users(self) -> dict[str, set[str]]:
        users: dict[str, set[str]] = {}
        for name, parents in self.parents.items():
            for parent in parents:
                users.setdefault(parent, set()).add(name)
        return users


@contextmanager
def host_of(parents: list[int | None], shapes: list[str]) -> Iterator[Host]:
    """Layer i stands on layer ``parents[i]``, one before it, or on none."""
    with tempfile.TemporaryDirectory() as folder:
        host = Host(Path(folder) / "overlay2")
        host.home.mkdir()
        names: list[str] = []
        for number, (parent, shape) in enumerate(zip(parents, shapes, strict=True)):
            names.append(name_of(number, shape))
            host.add(names[-1], names[parent] if parent is not None else "")
        yield host


@st.composite
def forests(draw: st.DrawFn, least: int = 0) -> tuple[list[int | None], list[str]]:
    size = draw(st.integers(least, 14))
    parents = [
        draw(st.one_of(st.none(), st.integers(0, number - 1))) if number else None
        for number in range(size)
    ]
    shapes = draw(
        st.lists(st.sampled_from(["long", "init", "short"]), min_size=size, max_size=size)
    )
    return parents, shapes


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """base <- middle <- top, and alone."""
    made = Host(tmp_path / "overlay2")
    made.home.mkdir()
    made.add(BASE)
    made.add(MIDDLE, BASE)
    made.add(TOP, MIDDLE)
    made.add(ALONE)
    return made


BASE, MIDDLE, TOP, ALONE = (name_of(number, "long") for number in (1001, 1002, 1003, 1004))


def said(graph: LayerGraph) -> str:
    """All that a user could read about this graph."""
    notes = [note for layer in graph.directories.values() for note in (layer.foreign, *layer.notes)]
    return "\n".join([*notes, *(problem.sentence for problem in graph.problems)])


# --- healthy hosts --------------------------------------------------------------------------------


@given(forests())
def test_tokens_parents_and_users_are_those_of_the_generator(
    forest: tuple[list[int | None], list[str]],
) -> None:
    with host_of(*forest) as host:
        graph = host.read()
        assert graph.tokens == host.tokens
        assert {name: it.parents for name, it in graph.directories.items()} == host.parents
        assert {name: set(users) for name, users in graph.users.items()} == host.users()
        assert all(it.token == token_of(name) for name, it in graph.directories.items())
        assert all(it.sure and not it.foreign for it in graph.directories.values())
        assert not graph.problems
        assert not graph.dangling


def test_a_real_host_is_read_without_a_complaint(captures: Path) -> None:
    home = captures / "overlay2/var/lib/docker/overlay2"
    expected = json.loads((captures / "overlay2/expected-layers.json").read_text())
    graph = read_graph(os.fsencode(home))
    assert graph.directories.keys() == expected.keys()
    assert all(it.sure and not it.notes for it in graph.directories.values())
    assert len(graph.tokens) == len(expected)
    for name, layer in graph.directories.items():
        if expected[name]["role"] == "writable":
            assert layer.parents[0] == f"{name}-init"
            assert layer.has_work
            assert not layer.committed
    assert not graph.problems
    assert not graph.dangling


def test_what_a_directory_holds_is_told(host: Host) -> None:
    (host.home / TOP / "merged").mkdir()
    os.utime(host.home / TOP, (1000, 1000))
    os.utime(host.home / TOP / "diff", (2000, 2000))
    graph = host.read()
    top, base = graph.directories[TOP], graph.directories[BASE]
    assert (top.has_diff, top.has_work, top.merged, top.committed) == (True, True, True, False)
    assert (base.has_diff, base.has_work, base.merged, base.committed) == (True, False, False, True)
    assert top.mtime == 2000
    assert top.path == os.fsencode(host.home / TOP)


def test_white_space_after_a_lower_is_tolerated(host: Host) -> None:
    lower = host.home / TOP / "lower"
    lower.write_text(lower.read_text() + "\n")
    assert host.read().directories[TOP].sure


def test_an_empty_driver_directory_has_no_layers_and_no_problems(tmp_path: Path) -> None:
    graph = read_graph(os.fsencode(tmp_path))
    assert graph.directories == {}
    assert graph.problems == ()


# --- damage ---------------------------------------------------------------------------------------


def _write(file: str, text: str) -> Callable[[Host, str], None]:
    def apply(host: Host, name: str) -> None:
        put(host.home / name / file, text.replace("MINE", token_of(name)).encode())

    return apply


def _on_file(file: str, damage: Callable[[Path], None]) -> Callable[[Host, str], None]:
    def apply(host: Host, name: str) -> None:
        if os.path.lexists(host.home / name / file):
            damage(host.home / name / file)

    return apply


def _link_elsewhere(host: Host, name: str) -> None:
    other = next(each for each in host.parents if each != name)
    entry = host.home / "l" / token_of(name)
    entry.unlink()
    entry.symlink_to(f"../{other}/diff")


def _link_of_another(host: Host, name: str) -> None:
    other = next(each for each in host.parents if each != name)
    put(host.home / name / "link", token_of(other).encode())


def _second_link(host: Host, name: str) -> None:
    (host.home / "l" / ("A" * 26)).symlink_to(f"../{name}/diff")


def _cut_lower(host: Host, name: str) -> None:
    """Cut exactly between two tokens, where the text alone looks well."""
    lower = host.home / name / "lower"
    if lower.is_file() and lower.stat().st_size < 1 << 20:
        before = lower.read_bytes().rpartition(b":")[0]
        if before:
            put(lower, before)


def _to_symlink(host: Host, name: str) -> None:
    moved = host.home.parent / "moved"
    (host.home / name).rename(moved)
    (host.home / name).symlink_to(moved)


ONE_DAMAGE: dict[str, Callable[[Host, str], None]] = {
    **{f"link {kind}": _on_file("link", damage) for kind, damage in DAMAGES.items()},
    **{f"lower {kind}": _on_file("lower", damage) for kind, damage in DAMAGES.items()},
    "link newline": _write("link", "MINE\n"),
    "link of nobody": _write("link", "B" * 26),
    "lower of itself": _write("lower", "l/MINE"),
    "lower of nobody": _write("lower", f"l/{'C' * 26}"),
    "lower twice": _write("lower", f"l/{'C' * 26}:l/{'C' * 26}"),
    "lower absolute": _write("lower", "/var/lib/other/diff"),
    "lower cut": _cut_lower,
    "diff missing": lambda host, name: remove(host.home / name / "diff"),
    "diff a link": _on_file("diff", DAMAGES["symlink"]),
    "l/ entry missing": lambda host, name: remove(host.home / "l" / token_of(name)),
    "l/ entry a file": lambda host, name: DAMAGES["pipe"](host.home / "l" / token_of(name)),
    "l/ entry elsewhere": _link_elsewhere,
    "l/ entry twice": _second_link,
    "a link of another": _link_of_another,
    "a symlink instead": _to_symlink,
    "removed by hand": lambda host, name: remove(host.home / name),
}


@settings(max_examples=300)
@given(forests(least=2), st.sampled_from(sorted(ONE_DAMAGE)), st.data())
def test_one_damage_is_never_taken_for_the_truth(
    forest: tuple[list[int | None], list[str]], damage: str, data: st.DataObject
) -> None:
    with host_of(*forest) as host:
        hurt = data.draw(st.sampled_from(sorted(host.parents)))
        ONE_DAMAGE[damage](host, hurt)
        graph = host.read()
        for name, layer in graph.directories.items():
            if not layer.sure:
                continue
            # Whatever still counts as sure must be exactly true, gone layers left open.
            expected = host.parents[name]
            if damage == "lower of nobody" and name == hurt:
                assert layer.lost_tokens == ("C" * 26,)
                continue
            if damage == "lower missing" and name == hurt:
                # Without work/ nothing tells it from a base layer: there was none to lose.
                assert not expected
            assert layer.token == token_of(name)
            assert len(layer.parents) == len(expected)
            for told, true in zip(layer.parents, expected, strict=True):
                assert told == true or (told == "" and true == hurt)
        assert {*host.parents} - {hurt} <= graph.directories.keys()
        gone = damage == "removed by hand"
        assert (hurt in graph.directories) != gone
        # Nothing may look unused because of a damage somewhere else.
        hiding = any(problem.hides_owners for problem in graph.problems)
        if not hiding and not damage.startswith("lower "):
            for name, users in host.users().items():
                if name in graph.directories and graph.directories[name].sure:
                    assert users - ({hurt} if gone else set()) <= {*graph.users.get(name, ())}


@settings(max_examples=150)
@given(
    forests(least=1),
    st.lists(st.tuples(st.sampled_from(sorted(ONE_DAMAGE)), st.integers(0, 99)), max_size=8),
)
def test_any_heap_of_damage_is_read_to_the_end(
    forest: tuple[list[int | None], list[str]], damages: list[tuple[str, int]]
) -> None:
    with host_of(*forest) as host:
        names = sorted(host.parents)
        for damage, number in damages:
            try:
                ONE_DAMAGE[damage](host, names[number % len(names)])
            except (OSError, StopIteration):
                # The earlier damage left nothing to hurt here.
                continue
        graph = host.read()
        assert graph.directories.keys() <= {*names}
        for layer in graph.directories.values():
            assert layer.token in ("", "A" * 26, "B" * 26, *map(token_of, names))


@pytest.mark.parametrize("kind", sorted(set(DAMAGES) - {"missing"}))
def test_a_damaged_lower_hides_owners_because_it_hides_who_stands_on_whom(
    host: Host, kind: str
) -> None:
    DAMAGES[kind](host.home / TOP / "lower")
    graph = host.read()
    assert not graph.directories[TOP].sure
    assert any(it.hides_owners and TOP in it.source for it in graph.problems)


@pytest.mark.parametrize("kind", sorted(DAMAGES))
def test_a_damaged_link_makes_that_layer_unsure_and_no_other(host: Host, kind: str) -> None:
    DAMAGES[kind](host.home / MIDDLE / "link")
    graph = host.read()
    assert {name for name, it in graph.directories.items() if not it.sure} == {MIDDLE}
    assert graph.users[MIDDLE] == (TOP,)
    assert "link file" in " ".join(graph.directories[MIDDLE].notes)


def test_a_layer_removed_by_hand_dangles_and_is_missed_by_those_above(host: Host) -> None:
    shutil.rmtree(host.home / BASE)
    graph = host.read()
    where = os.fsencode(host.home / BASE / "diff")
    assert graph.dangling == {token_of(BASE): where}
    assert token_of(BASE) not in graph.tokens
    top = graph.directories[TOP]
    assert top.parents == (MIDDLE, "")
    assert top.lost_tokens == (token_of(BASE),)
    assert top.sure
    assert "leads nowhere" in top.notes[0]
    assert not graph.problems


def test_a_missing_l_entry_makes_its_layer_unsure_and_keeps_its_users(host: Host) -> None:
    remove(host.home / "l" / token_of(MIDDLE))
    graph = host.read()
    assert {name for name, it in graph.directories.items() if not it.sure} == {MIDDLE}
    assert graph.users[MIDDLE] == (TOP,)
    assert f"l/{token_of(MIDDLE)} is missing" in graph.directories[MIDDLE].notes[0]


def test_a_removal_that_ended_early_is_told_from_damage(host: Host) -> None:
    whole = host.read().directories
    assert not any(it.interrupted for it in whole.values())
    remove(host.home / "l" / token_of(TOP))
    assert host.read().directories[TOP].interrupted
    shutil.rmtree(host.home / TOP / "diff")
    assert host.read().directories[TOP].interrupted
    shutil.rmtree(host.home / TOP / "work")
    remove(host.home / TOP / "lower")
    assert host.read().directories[TOP].interrupted
    remove(host.home / TOP / "link")
    found = host.read().directories[TOP]
    assert (found.sure, found.interrupted) == (False, True)


@pytest.mark.parametrize("damage", ["no link file", "odd link", "twin", "another l/", "odd lower"])
def test_damage_is_no_removal_that_ended_early(host: Host, damage: str) -> None:
    place = host.home / TOP
    remove(host.home / "l" / token_of(TOP))
    if damage == "no link file":
        remove(place / "link")
    elif damage == "odd link":
        (place / "link").write_text("half a tok")
    elif damage == "twin":
        (host.home / ALONE / "link").write_text(token_of(TOP))
    elif damage == "another l/":
        (host.home / "l" / token_of("another")).symlink_to(f"../{TOP}/diff")
    else:
        (place / "lower").write_text("/somewhere/else")
    found = host.read().directories[TOP]
    assert (found.sure, found.interrupted) == (False, False)


def test_a_loop_of_lowers_is_seen(host: Host) -> None:
    (host.home / BASE / "lower").write_text(f"l/{token_of(TOP)}")
    graph = host.read()
    assert not graph.directories[BASE].sure


def test_a_token_on_which_link_and_l_disagree_is_nobodys(host: Host) -> None:
    _link_elsewhere(host, BASE)
    graph = host.read()
    assert graph.directories[BASE].token == ""
    unsure = {name for name, it in graph.directories.items() if not it.sure}
    assert {BASE, MIDDLE, TOP} <= unsure
    assert f"l/{token_of(BASE)} leads to" in said(graph)


def test_names_that_docker_never_gives_are_listed_as_foreign(host: Host) -> None:
    shutil.copytree(host.home / TOP, host.home / f"{TOP}.bak", symlinks=True)
    (host.home / os.fsdecode(b"\xff\x1b[2J\n")).mkdir()
    (host.home / "a file").touch()
    os.mkfifo(host.home / "a pipe")
    graph = host.read()
    foreign = {name for name, it in graph.directories.items() if it.foreign}
    assert foreign == {f"{TOP}.bak", os.fsdecode(b"\xff\x1b[2J\n")}
    assert not any(graph.directories[name].sure for name in foreign)
    assert graph.directories[TOP].sure
    assert f"{TOP}.bak" in graph.users[BASE]


def test_absolute_lowers_are_another_tools(host: Host) -> None:
    (host.home / ALONE / "lower").write_text("/srv/images/base/diff")
    assert "another tool" in host.read().directories[ALONE].foreign


def test_a_layer_behind_a_symlink_is_not_followed(host: Host) -> None:
    _to_symlink(host, ALONE)
    graph = host.read()
    assert not graph.directories[ALONE].sure
    assert graph.directories[ALONE].token in ("", token_of(ALONE))
    assert "symbolic link" in said(graph)
    assert not graph.dangling


def test_an_init_layer_without_its_container_is_alone(host: Host) -> None:
    with_container, without = name_of(5, "long"), name_of(6, "long")
    host.add(f"{with_container}-init", TOP)
    host.add(with_container, f"{with_container}-init")
    host.add(f"{without}-init", TOP)
    graph = host.read()
    assert not graph.directories[f"{with_container}-init"].alone
    assert graph.directories[f"{without}-init"].alone
    assert graph.directories[f"{without}-init"].sure


def test_a_missing_l_is_one_problem_and_link_files_still_answer(host: Host) -> None:
    shutil.rmtree(host.home / "l")
    graph = host.read()
    assert graph.tokens == host.tokens
    assert graph.directories[TOP].parents == (MIDDLE, BASE)
    assert [problem.hides_owners for problem in graph.problems] == [True]


def test_strange_entries_in_l_are_told_and_not_called_dangling(host: Host) -> None:
    for number, target in enumerate(("/etc", "../../etc/diff", f"../{TOP}/diff/x", "../l/diff")):
        (host.home / "l" / f"{'D' * 25}{'ABCDEFG'[number]}").symlink_to(target)
    (host.home / "l" / "short").symlink_to(f"../{TOP}/diff")
    (host.home / "l" / ("E" * 26)).mkdir()
    graph = host.read()
    assert not graph.dangling
    assert graph.tokens == host.tokens
    assert "5 more" in said(graph)


def test_a_driver_directory_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for name in ("file", "pipe", "absent"):
        graph = read_graph(os.fsencode(tmp_path / name))
        assert [problem.hides_owners for problem in graph.problems] == [True]


def test_a_directory_with_endless_entries_is_not_read_through(host: Host) -> None:
    for number in range(300):
        (host.home / ALONE / f"x{number}").touch()
    layer = host.read().directories[ALONE]
    assert not layer.sure
    assert "more than 256 entries" in " ".join(layer.notes)


def test_too_many_directories_are_a_problem_not_a_silence(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.Folder.entries, "__defaults__", (2,))
    assert any(problem.hides_owners for problem in host.read().problems)


def test_without_permission_nothing_is_called_known() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        host = Host(Path(folder) / "overlay2")
        host.home.mkdir()
        host.add(BASE)
        host.add(MIDDLE, BASE)
        (host.home / MIDDLE).chmod(0)
        with _as_nobody():
            graph = host.read()
        assert not graph.directories[MIDDLE].sure
        assert graph.directories[BASE].sure
        assert any(it.hides_owners and "as root" in it.sentence for it in graph.problems)


@contextmanager
def _as_nobody() -> Iterator[None]:
    """Root reads everything; step down for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


# --- a live engine --------------------------------------------------------------------------------


def test_a_layer_that_vanishes_while_it_is_read_is_no_damage(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files.Folder.read

    def read(folder: files.Folder, name: str, limit: int) -> bytes:
        if name == "link" and folder.path.endswith(TOP.encode()):
            # The engine's own order: the l/ entry first, then the directory.
            remove(host.home / "l" / token_of(TOP))
            remove(host.home / TOP)
        return real(folder, name, limit)

    monkeypatch.setattr(files.Folder, "read", read)
    graph = host.read()
    assert TOP not in graph.directories
    assert all(it.sure and not it.notes for it in graph.directories.values())
    assert not graph.dangling
    assert not graph.problems


def test_a_layer_that_is_removed_after_it_was_read_is_no_damage(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files.Folder.read

    def read(folder: files.Folder, name: str, limit: int) -> bytes:
        content = real(folder, name, limit)
        if name == "lower" and folder.path.endswith(TOP.encode()):
            remove(host.home / "l" / token_of(TOP))
            remove(host.home / TOP)
        return content

    monkeypatch.setattr(files.Folder, "read", read)
    graph = host.read()
    assert all(it.sure and not it.notes for it in graph.directories.values())
    assert not graph.dangling
    assert not graph.problems


def test_a_whole_stack_that_goes_after_its_top_was_read_is_no_damage(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_read, real_entries = files.Folder.read, files.Folder.entries

    def entries(
        folder: files.Folder, most: int = files.MOST_ENTRIES
    ) -> Iterator[tuple[str, files.Entry]]:
        order = [TOP, MIDDLE, BASE, ALONE]
        found = list(real_entries(folder, most))
        yield from sorted(found, key=lambda it: order.index(it[0]) if it[0] in order else 99)

    def read(folder: files.Folder, name: str, limit: int) -> bytes:
        if name == "link" and folder.path.endswith(MIDDLE.encode()):
            for layer in (TOP, MIDDLE, BASE):
                remove(host.home / "l" / token_of(layer))
                remove(host.home / layer)
        return real_read(folder, name, limit)

    monkeypatch.setattr(files.Folder, "entries", entries)
    monkeypatch.setattr(files.Folder, "read", read)
    graph = host.read()
    assert graph.directories.keys() == {ALONE}
    assert not graph.problems
    assert not graph.dangling


def test_layers_that_appear_after_l_was_listed_are_found(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files.Folder.entries
    new = [name_of(number, "long") for number in range(2000, 2010)]

    def entries(
        folder: files.Folder, most: int = files.MOST_ENTRIES
    ) -> Iterator[tuple[str, files.Entry]]:
        yield from real(folder, most)
        if folder.path.endswith(b"/l") and new[0] not in host.parents:
            for below, name in zip([TOP, *new], new, strict=False):
                host.add(name, below)

    monkeypatch.setattr(files.Folder, "entries", entries)
    graph = host.read()
    assert graph.tokens == host.tokens
    assert {name: it.parents for name, it in graph.directories.items()} == host.parents
    assert all(it.sure for it in graph.directories.values())


def test_a_layer_half_made_at_first_sight_is_read_again(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    lower = (host.home / TOP / "lower").read_bytes()
    remove(host.home / TOP / "lower")
    real = files.Folder.read

    def read(folder: files.Folder, name: str, limit: int) -> bytes:
        try:
            return real(folder, name, limit)
        finally:
            if name == "lower" and folder.path.endswith(TOP.encode()):
                (host.home / TOP / "lower").write_bytes(lower)

    monkeypatch.setattr(files.Folder, "read", read)
    graph = host.read()
    assert graph.directories[TOP].sure
    assert graph.directories[TOP].parents == (MIDDLE, BASE)
