"""The arrays of a scanned unit: paths, subtrees, hard links, units together."""

from __future__ import annotations

import pickle
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.model import Usage
from app.scan.links import LinkLog, OutsideLink, OutsideLinks
from app.scan.tree import DirTree, UnitResult, combined
from app.scan.tree_builder import GrowingTree, result_cut_short
from tests.unit.scan_trees import status_of

parents = st.lists(st.integers(0, 30), min_size=1, max_size=30).map(
    lambda raw: [0, *(value % (place + 1) for place, value in enumerate(raw))]
)
links = st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=6), max_size=5)


def _ways_up(node: int, above: list[int]) -> set[int]:
    way = {node}
    while node:
        node = above[node]
        way.add(node)
    return way


@given(above=parents, inodes=links, hidden=st.integers(0, 2))
def test_a_linked_inode_counts_once_in_every_directory_above_a_link(
    above: list[int], inodes: list[list[int]], hidden: int
) -> None:
    log = LinkLog()
    places = [sorted(node % len(above) for node in nodes) for nodes in inodes]
    for number, nodes in enumerate(places):
        for node in nodes:
            log.see(status_of(number, len(nodes) + hidden), node, 10, 1)
    sums = log.spread(above)
    for top in range(len(above)):
        below = [node for node in range(len(above)) if top in _ways_up(node, above)]
        total = [sum(sums.within(node, node + 1)[column] for node in below) for column in range(5)]
        inside = [[node in below for node in nodes] for nodes in places]
        touched = sum(any(links) for links in inside)
        shared = sum(any(links) and not (all(links) and not hidden) for links in inside)
        assert total == [10 * touched, touched, touched, 10 * shared, shared]


def _small_tree() -> DirTree:
    growing = GrowingTree(b"/data/unit")
    root = growing.enter(0, b"", 1)
    for name in (b"a", b"b"):
        node = growing.enter(root, name, 10)
        growing.leave(growing.enter(node, b"x", 100))
        growing.leave(node)
    growing.mark_unreadable(3, b"/data/unit/b/?")
    growing.leave(root)
    return growing.result(5).tree


def test_directories_are_found_by_path_and_named() -> None:
    tree = _small_tree()
    assert [tree.path(node) for node in range(len(tree))] == [
        b"/data/unit",
        b"/data/unit/a",
        b"/data/unit/a/x",
        b"/data/unit/b",
        b"/data/unit/b/x",
    ]
    assert [tree.name(node) for node in range(3)] == [b"unit", b"a", b"x"]
    assert tree.find(b"b/x") == 4
    assert tree.find(b"") == tree.find(b".") == 0
    assert tree.find(b"b/y") is None
    assert tree.children(0) == [1, 3]
    assert tree.usage(3) == Usage(110, 0, 2, 110, 2, 1)
    assert tree.usage(1).unreadable == 0
    assert tree.usage(0) == Usage(221, 0, 5, 221, 5, 1)


def test_a_result_survives_the_way_between_processes() -> None:
    tree = _small_tree()
    result = UnitResult(b"/data/unit", tree, tree.usage(0), 5)
    assert pickle.loads(pickle.dumps(result)) == result


def test_figures_without_a_tree_stay_as_they_are_and_are_partial() -> None:
    so_far = Usage(5_000, 400, 30, 4_000, 20, 2, partial=True)
    result = result_cut_short(b"/data/unit", so_far, 31)
    assert result.usage == so_far
    assert result.entries == 31
    top = result.tree.usage(0)
    assert (top.bytes, top.inodes, top.unreadable, top.partial) == (5_000, 30, 2, True)


def _unit(name: bytes, *outside: OutsideLink, partial: bool = False) -> UnitResult:
    table = OutsideLinks(array("Q"))
    for link in outside:
        table.add(link)
    linked = sum(link.bytes for link in outside)
    usage = Usage(100 + linked, 7, 2 + len(outside), 100, 2, partial=partial)
    return UnitResult(name, DirTree(name), usage, outside_links=table)


def test_units_that_link_one_inode_own_it_together() -> None:
    one = _unit(b"one", OutsideLink(9, 5, 40, 4, 1, 3))
    two = _unit(b"two", OutsideLink(9, 5, 40, 4, 2, 3))
    assert combined([one, two]) == Usage(240, 10, 5, 240, 5)


def test_a_link_elsewhere_keeps_an_inode_from_being_exclusive() -> None:
    one = _unit(b"one", OutsideLink(9, 5, 40, 0, 1, 3))
    two = _unit(b"two", OutsideLink(9, 5, 40, 0, 1, 3))
    assert combined([one, two]) == Usage(240, 14, 5, 200, 4)


def test_the_same_number_on_another_file_system_is_another_inode() -> None:
    one = _unit(b"one", OutsideLink(9, 5, 40, 0, 1, 2))
    two = _unit(b"two", OutsideLink(8, 5, 40, 0, 1, 2))
    assert combined([one, two]).inodes == 6


@pytest.mark.parametrize("times", [1, 2])
def test_a_unit_given_twice_counts_once(times: int) -> None:
    unit = _unit(b"one", OutsideLink(9, 5, 40, 0, 1, 2))
    assert combined([unit] * times) == unit.usage


def test_a_set_with_a_partial_unit_is_partial_and_nothing_is_nothing() -> None:
    assert combined([_unit(b"one"), _unit(b"two", partial=True)]).partial
    assert combined([]) == Usage()
