"""What is promised in containerd's store, where no engine is at hand: what stays is taken off."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from app.cleanup.plan.model import Frees, Plan, Subject, Wish
from app.demo.content import put_text
from app.discovery.request import Survey
from app.model import Blob, CacheEntry, Kind, Owner, Role, Store, Usage
from tests.unit.small_root import SmallRoot, make_small_root
from tests.unit.test_planner import heard, plan

DIGEST, OTHER = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32


@pytest.fixture
def root(tmp_path: Path) -> SmallRoot:
    return make_small_root(tmp_path / "docker")


def of(root: SmallRoot, store: Store, asked: Path | Wish) -> Plan:
    return plan(root, asked, survey=Survey((store,), (), final=True))


def taken(path: Path) -> tuple[int, int]:
    """Bytes and inodes of a tree."""
    found = [path, *path.rglob("*")]
    return sum(it.lstat().st_blocks * 512 for it in found), len(found)


def test_a_layer_that_an_image_was_made_on_stays(root: SmallRoot) -> None:
    """As after a commit: the image's layer has the init snapshot of the container as its parent."""
    (store,) = heard(root).stores
    id_ = root.container.directory.name
    wish = Wish(Subject.CONTAINER, bytes(root.path), id=id_)
    alone = of(root, store, wish)
    init = root.container.init.name
    image = replace(
        store.layers[root.top.directory.name], id="made", parents=(init,), role=Role.IMAGE
    )
    layers = {**store.layers, "made": image}
    kept = of(root, replace(store, layers=layers), wish)
    stays = taken(root.path / "overlay2" / init)
    link = (root.path / "overlay2/l" / root.container.init.token).lstat()
    assert alone.frees.bytes - kept.frees.bytes == stays[0] + link.st_blocks * 512
    assert alone.frees.inodes - kept.frees.inodes == stays[1] + 1
    assert (Kind.LAYER, init) in alone.takes - kept.takes
    assert any("its init snapshot stays" in words for words in kept.consequences)
    assert not any("init snapshot" in words for words in alone.consequences)


@pytest.mark.parametrize(
    ("image", "another", "freed"), [(False, False, 1), (True, False, 0), (False, True, 0)]
)
def test_a_record_takes_its_compressed_blob_along(
    root: SmallRoot, tmp_path: Path, image: bool, another: bool, freed: int
) -> None:
    (store,) = heard(root).stores
    put_text(tmp_path / "blob", "x" * 50_000)
    owners = (Owner(Kind.IMAGE, root.image.id),) if image else ()
    blob = Blob(DIGEST, bytes(tmp_path / "blob"), Usage(bytes=50_000), owners)
    before = of(root, store, root.cached.path)
    assert before.allowed, before.refused_because
    (entry,) = store.cache
    cache = [replace(entry, blob=DIGEST)]
    if another:
        cache.append(CacheEntry(Owner(Kind.BUILD_CACHE, "z" * 25), listed=True, blob=DIGEST))
    found = of(
        root,
        replace(store, cache=tuple(cache), blobs={DIGEST: blob}),
        root.cached.path,
    )
    blocks = os.stat(tmp_path / "blob").st_blocks * 512
    assert found.frees.bytes - before.frees.bytes == freed * blocks
    assert found.frees.inodes - before.frees.inodes == freed
    assert found.frees.least


def test_an_image_says_what_the_build_cache_keeps(root: SmallRoot) -> None:
    (store,) = heard(root).stores
    store = replace(store, containers=())
    wish = Wish(Subject.IMAGE, bytes(root.path), id=root.image.id)
    alone = of(root, without_container(store), wish)
    assert alone.kept == Frees()
    assert not any("build cache" in words for words in alone.consequences)
    record = Owner(Kind.BUILD_CACHE, "k" * 25, name="exec make all")
    kept = without_container(store)
    name = root.top.directory.name
    layer = replace(kept.layers[name], owners=(*kept.layers[name].owners, record))
    kept = replace(
        kept,
        layers={**kept.layers, name: layer},
        cache=(*kept.cache, CacheEntry(record, layer=name, listed=True)),
    )
    found = of(root, kept, wish)
    assert found.allowed, found.refused_because
    both = (found.frees.bytes + found.kept.bytes, found.frees.inodes + found.kept.inodes)
    assert both == (alone.frees.bytes, alone.frees.inodes)
    assert found.kept.inodes > 0
    (said,) = (words for words in found.consequences if "build cache alone" in words)
    assert "exec make all" in said
    assert "whodiff plan" in said


def without_container(store: Store) -> Store:
    """The same store, where nothing but the image refers to its layers."""
    owned = {
        name: replace(
            it,
            references=tuple(one for one in it.references if one.kind is Kind.IMAGE),
        )
        for name, it in store.layers.items()
        if it.role is Role.IMAGE
    }
    return replace(store, layers=owned, containers=(), cache=())
