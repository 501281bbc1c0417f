"""Removing an unreferenced layer: the pair that moby makes, in an order that can be taken up."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.cleanup.execute.outcome import Progress
from app.cleanup.execute.remove_layer import erase_layer
from app.cleanup.plan.model import Place
from app.cleanup.plan.reopen_path import Unreachable
from app.stores.drivers.overlay2.read import read_graph
from tests.unit.removals import Watched, entries, place, unmounting
from tests.unit.scan_trees import mounted

ORPHAN = "0123456789abcdef" * 4
NEIGHBOUR = "m0rw778sg1k6m0rw778sg1k6a"
TOKEN = "ABCDEFGHIJKLMNOPQRSTUVWX27"
OTHER = "BBCDEFGHIJKLMNOPQRSTUVWX27"


def layer(home: Path, name: str, token: str, *, stands: bool = False) -> None:
    """One as moby makes it (overlay.go create)."""
    made = home / name
    for folder in ("diff/usr/share", "merged", "work/work"):
        (made / folder).mkdir(parents=True)
    for file in ("diff/file", "diff/usr/share/words", "committed"):
        (made / file).write_text("content")
    (home / "l").mkdir(exist_ok=True)
    (home / "l" / token).symlink_to(f"../{name}/diff")
    (made / "link").write_text(token)
    if stands:
        (made / "lower").write_text(f"l/{OTHER}")


@pytest.fixture
def home() -> Iterator[Path]:
    with unmounting() as root:
        made = Path(os.fsdecode(root)) / "overlay2"
        made.mkdir()
        layer(made, NEIGHBOUR, OTHER)
        # The neighbour is a base layer: it has nothing below and hence no work directory.
        shutil.rmtree(made / NEIGHBOUR / "work")
        layer(made, ORPHAN, TOKEN, stands=True)
        yield made


def where(home: Path) -> Place:
    return place(home.parent, "overlay2", ORPHAN)


def link(home: Path) -> Place:
    return place(home.parent, "overlay2", "l", TOKEN)


def neighbours(home: Path) -> set[bytes]:
    return {it for it in entries(os.fsencode(home)) if it.startswith(NEIGHBOUR.encode())}


def test_the_link_goes_and_the_directory_and_nothing_else(home: Path) -> None:
    before = neighbours(home)
    inodes = len([it for it in entries(os.fsencode(home)) if ORPHAN.encode() in it])
    result = erase_layer(where(home), link(home), Progress())
    assert (result.complete, result.sentences) == (True, ())
    assert result.removed.inodes == inodes + 1
    assert {it.name for it in home.iterdir()} == {"l", NEIGHBOUR}
    assert [it.name for it in (home / "l").iterdir()] == [OTHER]
    assert neighbours(home) == before


def test_the_link_goes_first_and_what_tells_of_it_last(home: Path) -> None:
    gone: list[str] = []
    known = [f"l/{TOKEN}", *(f"{ORPHAN}/{it}" for it in os.listdir(home / ORPHAN)), ORPHAN]

    class Looking(Progress):
        @property
        def stopped(self) -> bool:
            gone.extend(it for it in known if it not in gone and not os.path.lexists(home / it))
            return False

    unlink, rmdir = os.unlink, os.rmdir
    looking = Looking()

    def spied(act: object) -> object:
        def spy(name: bytes, *, dir_fd: int) -> None:
            assert callable(act)
            act(name, dir_fd=dir_fd)
            assert looking.stopped is False

        return spy

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "unlink", spied(unlink))
        patch.setattr(os, "rmdir", spied(rmdir))
        assert erase_layer(where(home), link(home), looking).complete
    assert gone[0] == f"l/{TOKEN}"
    last = [f"{ORPHAN}/lower", f"{ORPHAN}/committed", f"{ORPHAN}/link", ORPHAN]
    assert gone[-4:] == last
    assert sorted(gone) == sorted(known)


def test_cut_anywhere_it_is_still_known_for_what_it_is_and_the_same_again_finishes(
    home: Path,
) -> None:
    """Every removal of an entry may be the last one, as when whodiff is killed."""

    class Killed(BaseException):
        pass

    saved = home.parent / "saved"
    shutil.copytree(home, saved, symlinks=True)
    unlink, rmdir = os.unlink, os.rmdir
    for moment in range(40):
        left = moment

        def cut(act: object) -> object:
            def cutting(name: bytes, *, dir_fd: int) -> None:
                nonlocal left
                if left == 0:
                    raise Killed
                left -= 1
                assert callable(act)
                act(name, dir_fd=dir_fd)

            return cutting

        killed = False
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "unlink", cut(unlink))
            patch.setattr(os, "rmdir", cut(rmdir))
            try:
                erase_layer(where(home), link(home), Progress())
            except Killed:
                killed = True
        graph = read_graph(os.fsencode(home))
        assert not graph.problems
        assert graph.directories[NEIGHBOUR].sure
        if not killed:
            assert ORPHAN not in graph.directories
            return
        found = graph.directories[ORPHAN]
        assert found.sure == (moment == 0)
        assert found.interrupted == (moment > 0)
        assert not graph.dangling
        again = link(home) if os.path.lexists(home / "l" / TOKEN) else None
        assert erase_layer(where(home), again, Progress()).complete
        assert {it.name for it in home.iterdir()} == {"l", NEIGHBOUR}
        shutil.rmtree(home)
        shutil.copytree(saved, home, symlinks=True)
    raise AssertionError("it never came to its end")


def test_stopped_in_between_it_tells_so(home: Path) -> None:
    result = erase_layer(where(home), link(home), Watched(4))
    assert (result.complete, result.stopped) == (False, True)
    assert (home / ORPHAN / "link").exists()
    assert erase_layer(where(home), None, Progress()).complete


def refusal(home: Path, directory: Place, token: Place | None) -> str:
    before = entries(os.fsencode(home))
    with pytest.raises(Unreachable) as caught:
        erase_layer(directory, token, Progress())
    assert entries(os.fsencode(home)) == before
    return str(caught.value)


def test_a_link_that_leads_elsewhere_is_refused(home: Path) -> None:
    (home / "l" / TOKEN).unlink()
    (home / "l" / TOKEN).symlink_to(f"../{NEIGHBOUR}/diff")
    assert "no link to the directory" in refusal(home, where(home), link(home))


def test_a_link_that_is_none_is_refused(home: Path) -> None:
    (home / "l" / TOKEN).unlink()
    (home / "l" / TOKEN).write_text(f"../{ORPHAN}/diff")
    assert "no link to the directory" in refusal(home, where(home), link(home))


def test_another_ones_link_is_refused(home: Path) -> None:
    other = place(home.parent, "overlay2", "l", OTHER)
    assert "does not name" in refusal(home, where(home), other)
    (home / ORPHAN / "link").write_text(OTHER)
    assert "does not name" in refusal(home, where(home), link(home))
    assert "no link to the directory" in refusal(home, where(home), other)


def test_a_link_from_somewhere_else_is_refused(home: Path) -> None:
    far = home.parent / "far" / "l"
    far.mkdir(parents=True)
    (far / TOKEN).symlink_to(f"../{ORPHAN}/diff")
    odd = place(home.parent, "far", "l", TOKEN)
    assert "no link beside" in refusal(home, where(home), odd)
    odd = replace(link(home), base=os.fsencode(home), names=(b"l", TOKEN.encode()))
    assert "no link beside" in refusal(home, where(home), odd)


@pytest.mark.parametrize("name", ["l", "backup", ORPHAN[:40], f"{ORPHAN}-old"])
def test_what_docker_does_not_name_so_is_refused(home: Path, name: str) -> None:
    (home / name).mkdir(exist_ok=True)
    odd = place(home.parent, "overlay2", name)
    assert "no layer directory" in refusal(home, odd, None)


def test_a_file_or_a_link_in_its_place_is_refused(home: Path) -> None:
    (home / ORPHAN).rename(home.parent / "aside")
    (home / ORPHAN).symlink_to("../aside")
    assert "not touched" in refusal(home, where(home), link(home))


def test_a_mount_in_it_stays_and_so_does_what_tells_of_it(home: Path) -> None:
    (home / ORPHAN / "merged" / "point").mkdir()
    with mounted("--bind", str(home / NEIGHBOUR / "diff"), str(home / ORPHAN / "merged")) as done:
        if not done:
            pytest.skip("mounting is not allowed here")
        before = neighbours(home)
        result = erase_layer(where(home), link(home), Progress())
        assert not result.complete
        assert "mounted" in result.sentences[0]
        assert sorted(it.name for it in (home / ORPHAN).iterdir()) == [
            *("committed", "link", "lower", "merged")
        ]
    assert neighbours(home) == before


def test_a_link_that_is_gone_already_is_no_failure(home: Path) -> None:
    token = link(home)
    (home / "l" / TOKEN).unlink()
    assert erase_layer(where(home), token, Progress()).complete
