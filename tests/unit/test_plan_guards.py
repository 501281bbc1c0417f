"""Guards of a removal that only one test each holds: break one, and a test here goes red."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from app.cleanup.plan.model import Subject, Wish
from app.demo.content import DAY, put_text, set_age
from app.demo.ids import link_token
from app.discovery.request import Survey
from app.host.safe_read import Folder
from app.model import Kind, Layer, Owner, Role
from tests.unit.proc_stub import bind
from tests.unit.removals import identified
from tests.unit.small_root import SmallRoot, make_small_root
from tests.unit.test_planner import plan, survey_of


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallRoot:
    """A data root that no daemon of this machine serves."""
    monkeypatch.setattr("app.cleanup.plan.context.serving", lambda _host, _root: [])
    return make_small_root(tmp_path / "docker")


def set_mtime(path: Path, age: float) -> None:
    then = time.time() - age
    os.utime(path, (then, then))


# --- age of an unreferenced directory -------------------------------------------------------------
def test_fresh_contents_keep_an_old_directory(root: SmallRoot) -> None:
    """An unpacking daemon writes into `diff`; the directory around it stays as old as it was."""
    assert plan(root, root.orphan.path).allowed
    set_mtime(root.orphan.diff, age=1200)
    set_mtime(root.orphan.path, age=30 * DAY)
    assert "within the last hour" in plan(root, root.orphan.path).refused_because
    assert plan(root, root.orphan.path, later=3600).allowed


def test_a_fresh_directory_with_old_contents_stays(root: SmallRoot) -> None:
    set_mtime(root.orphan.path, age=1200)
    assert "within the last hour" in plan(root, root.orphan.path).refused_because


def test_age_counts_until_a_removal_has_surely_begun(root: SmallRoot) -> None:
    """Only a `link` file whose link in `l/` is gone tells of a removal that broke off."""
    link = root.path / "overlay2/l" / root.orphan.token
    set_mtime(root.orphan.path, age=1200)
    assert not plan(root, root.orphan.path).allowed, "both are there"
    link.unlink()
    set_mtime(root.orphan.path, age=1200)
    assert plan(root, root.orphan.path).allowed, "the link is gone"
    (root.orphan.path / "link").unlink()
    set_mtime(root.orphan.path, age=1200)
    answer = plan(root, root.orphan.path, survey=known_as_orphan(root))
    assert "within the last hour" in answer.refused_because, "both are gone, as at a beginning"


def test_a_transaction_that_ends_while_it_is_looked_at_keeps_every_orphan(
    root: SmallRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it wrote may have its name by the next survey, and has none in this one."""
    really = Folder.directories

    def with_one_that_ends(folder: Folder) -> list[str]:
        ended = ["write-set-9"] if folder.path.endswith(b"layerdb/tmp") else []
        return [*really(folder), *ended]

    monkeypatch.setattr(Folder, "directories", with_one_that_ends)
    assert "write-set-9" in plan(root, root.orphan.path).refused_because


# --- what was chosen ------------------------------------------------------------------------------
@pytest.mark.parametrize("part", ["diff", "merged", "work", "link", "lower", "committed"])
def test_a_part_of_the_layer_itself_means_the_layer(root: SmallRoot, part: str) -> None:
    found = root.orphan.path / part
    if not found.exists():
        put_text(found, "")
        set_age(root.orphan.path, 30 * DAY)
    assert plan(root, found).title == f"unreferenced directory {root.orphan.name}"


def test_a_layer_with_two_owners_goes_with_neither(root: SmallRoot) -> None:
    found = survey_of(root)
    (store,) = found.stores
    name = root.container.layer.name
    layer = store.layers[name]
    second = Owner(Kind.CONTAINER, "f" * 64, "other", "exited")
    shared = replace(layer, owners=(*layer.owners, second))
    found = Survey((replace(store, layers={**store.layers, name: shared}),), (), final=True)
    put_text(root.container.layer.diff / "own", "x")
    answer = plan(root, root.container.layer.path, survey=found)
    assert (answer.title, answer.allowed) == (f"layer {name}", False)
    answer = plan(root, root.container.layer.diff / "own", survey=found)
    assert "more than one" in answer.refused_because


def test_a_layer_with_an_owner_of_another_kind_loses_no_file(root: SmallRoot) -> None:
    """A cache record that shares the layer would lose the file too."""
    found = survey_of(root)
    (store,) = found.stores
    name = root.container.layer.name
    layer = store.layers[name]
    record = Owner(Kind.BUILD_CACHE, "r" * 25, "RUN make")
    shared = replace(layer, owners=(*layer.owners, record))
    found = Survey((replace(store, layers={**store.layers, name: shared}),), (), final=True)
    put_text(root.container.layer.diff / "own", "x")
    answer = plan(root, root.container.layer.diff / "own", survey=found)
    assert "more than one" in answer.refused_because


# --- leftovers ------------------------------------------------------------------------------------
def test_an_orphan_with_two_links_stays(root: SmallRoot) -> None:
    """Removing one link would leave the other leading into what is half gone."""
    second = root.path / "overlay2/l" / link_token("second")
    second.symlink_to(f"../{root.orphan.name}/diff")
    assert "several" in plan(root, root.orphan.path, survey=known_as_orphan(root)).refused_because
    second.unlink()
    assert plan(root, root.orphan.path).allowed


def known_as_orphan(root: SmallRoot) -> Survey:
    """The survey with the orphan called unreferenced, whatever else is odd about it."""
    found = survey_of(root)
    (store,) = found.stores
    name = root.orphan.name
    layer: Layer = replace(store.layers[name], role=Role.UNREFERENCED, note="")
    return Survey((replace(store, layers={**store.layers, name: layer}),), (), final=True)


@pytest.mark.parametrize("where", ["", "/deep", "/deep/er"])
def test_a_temporary_entry_stays_with_something_mounted_in_it(root: SmallRoot, where: str) -> None:
    entry = root.path / "tmp/docker-import-1"
    (entry / "deep/er").mkdir(parents=True)
    answer = plan(root, entry, later=4000, mounts=(bind(f"{entry}{where}", "/srv"),))
    assert "mounted" in answer.refused_because


def test_a_mount_beside_a_temporary_entry_does_not_keep_it(root: SmallRoot) -> None:
    entry = root.path / "tmp/docker-import-1"
    entry.mkdir(parents=True)
    answer = plan(root, entry, later=4000, mounts=(bind(f"{entry}2", "/srv"),))
    assert answer.allowed, answer.refused_because


# --- identity -------------------------------------------------------------------------------------
@pytest.mark.parametrize("what", ["device", "inode", "born", "changed"])
def test_what_differs_in_anything_from_what_was_chosen_stays(root: SmallRoot, what: str) -> None:
    file = root.container.layer.diff / "own"
    put_text(file, "x")
    seen = identified(file)
    wish = Wish(Subject.PATH, bytes(root.path), path=bytes(file), seen=seen)
    assert "something else" not in plan(root, wish).refused_because
    other = replace(seen, **{what: getattr(seen, what) + 1})
    answer = plan(root, replace(wish, seen=other))
    assert "something else lies there now" in answer.refused_because


def test_a_new_file_with_the_inode_number_of_the_chosen_one_stays(root: SmallRoot) -> None:
    """As a new file often has on ext4: only what was born with it tells them apart."""
    file = root.container.layer.diff / "own"
    put_text(file, "x")
    seen = replace(identified(file), handle=b"another generation")
    answer = plan(root, Wish(Subject.PATH, bytes(root.path), path=bytes(file), seen=seen))
    assert "something else lies there now" in answer.refused_because


@pytest.mark.parametrize("fstype", ["nfs4", "fuse.sshfs", "fuse.bindfs", "ceph"])
def test_nothing_goes_raw_from_a_filesystem_that_others_may_use_unseen(
    root: SmallRoot, fstype: str
) -> None:
    line = f"95 22 0:99 / {root.path} rw - {fstype} elsewhere rw"
    answer = plan(root, root.orphan.path, mounts=(line,))
    assert not answer.allowed
    assert f"on a {fstype} filesystem" in answer.refused_because
