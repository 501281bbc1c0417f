"""By what a directory is known again: whatever happens to it shows in its mark."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from app.scan.fence import Fence
from app.scan.fingerprint import MOST_ENTRIES, mark, marks_of

OPEN = Fence()


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """A directory as a layer is one, and a second one beside it."""
    for name in ("layer", "other"):
        path = tmp_path / name
        (path / "diff" / "usr" / "lib").mkdir(parents=True)
        (path / "link").write_text("TOKEN")
    return tmp_path / "layer"


def _replace(layer: Path) -> None:
    shutil.copytree(layer, layer.with_name("copy"))
    shutil.rmtree(layer)
    layer.with_name("copy").rename(layer)


def _swap(layer: Path) -> None:
    other, aside = layer.with_name("other"), layer.with_name("aside")
    layer.rename(aside)
    other.rename(layer)
    aside.rename(other)


def _swap_contents(layer: Path) -> None:
    other, aside = layer.with_name("other"), layer.with_name("aside")
    (layer / "diff").rename(aside)
    (other / "diff").rename(layer / "diff")
    aside.rename(other / "diff")


def _swap_contents_there_and_back(layer: Path) -> None:
    _swap_contents(layer)
    _swap_contents(layer)


CHANGES: tuple[Callable[[Path], object], ...] = (
    _replace,
    _swap,
    _swap_contents,
    _swap_contents_there_and_back,
    lambda layer: (layer / "committed").touch(),
    lambda layer: (layer / "link").unlink(),
    lambda layer: (layer / "link").write_text("longer than it was"),
    lambda layer: (layer / "diff" / "new").touch(),
    lambda layer: (layer / "diff" / "usr").rename(layer / "diff" / "opt"),
    lambda layer: (layer / "diff").chmod(0o700),
    lambda layer: shutil.rmtree(layer / "diff"),
    lambda layer: os.utime(layer / "diff", (0, 0)),
)


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_shows(layer: Path, change: Callable[[Path], object]) -> None:
    before = mark(bytes(layer))
    assert before
    assert mark(bytes(layer)) == before, "looking changes nothing"
    change(layer)
    assert mark(bytes(layer)) != before


def _restamp(path: Path) -> None:
    """As the engine does with ``committed``: the same contents once more."""
    path.write_bytes(path.read_bytes())


@pytest.mark.parametrize(
    "use",
    [
        lambda layer: _restamp(layer / "link"),
        lambda layer: ((layer / "merged").mkdir(), (layer / "merged").rmdir()),
        lambda layer: os.utime(layer, (0, 0)),
    ],
)
def test_what_the_engine_does_to_layers_that_it_uses_does_not_show(
    layer: Path, use: Callable[[Path], object]
) -> None:
    before = mark(bytes(layer))
    use(layer)
    assert mark(bytes(layer)) == before


def test_what_is_no_directory_of_ours_has_no_mark(layer: Path) -> None:
    link = layer.with_name("link-to-it")
    link.symlink_to(layer)
    assert mark(bytes(link)) is None
    assert mark(bytes(layer / "link")) is None
    assert mark(bytes(layer / "gone")) is None
    for number in range(MOST_ENTRIES):
        (layer / f"{number}").touch()
    assert mark(bytes(layer)) is None, "this is no layer"


def test_names_are_bytes_of_any_kind(layer: Path) -> None:
    name = os.path.join(bytes(layer), b"\xff\n\x1b")
    os.mkdir(name)
    found = mark(bytes(layer))
    assert found
    assert b"\xff\n\x1b" in [stamp[0] for stamp in found]


def test_a_directory_with_a_mount_in_it_has_no_mark(layer: Path) -> None:
    path = bytes(layer)
    other = bytes(layer.with_name("other"))
    deep = os.path.join(path, b"diff/usr/lib")
    assert marks_of([path, other], Fence(frozenset({deep}))).keys() == {other}
    assert marks_of([path, other], Fence(frozenset({path}))).keys() == {other}
    assert marks_of([path, other], Fence(frozenset({path + b"er"}))).keys() == {path, other}


def test_a_mount_is_found_through_a_link_above(layer: Path) -> None:
    above = layer.parent.with_name("above")
    above.symlink_to(layer.parent)
    point = os.path.join(bytes(layer), b"diff")
    assert not marks_of([bytes(above / "layer")], Fence(frozenset({point})))
    assert marks_of([bytes(above / "layer")], OPEN)
