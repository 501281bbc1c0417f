"""Several marked things that share something: each plan holds when its turn comes."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from app.cleanup.plan.batch import Together, one_after_another, together
from app.cleanup.plan.estimate import measured
from app.cleanup.plan.model import Confirmation, Plan, Subject, Wish, changes
from app.cleanup.plan.planner import make_plan
from app.cleanup.plan.simulate import after
from app.demo.cache import CacheSpec, directory_id, record_id, write_cache
from app.demo.containers import Container, ContainerSpec, add_container
from app.demo.content import DAY, put_text, set_age
from app.demo.ids import hex_id
from app.demo.images import Image, ImageLayer, add_image, add_layer, write_tags
from app.demo.layout import Directory, add_directory
from app.discovery.request import Survey
from app.model import ImageInfo, Kind, Layer, Owner, Reference, Role, Snapshot, Store
from tests.unit.proc_stub import make_proc
from tests.unit.small_root import SmallRoot, make_small_root
from tests.unit.test_planner import heard

DRIVER = "image/overlay2"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallRoot:
    """A data root that no engine of this machine serves, with no mounts and no processes."""
    monkeypatch.setattr("app.cleanup.plan.context.serving", lambda _host, _root: [])
    make_proc(tmp_path / "proc", (), ())
    return make_small_root(tmp_path / "docker")


class Marked:
    """What is marked in a root, planned together, and what an engine does with it, one by one."""

    def __init__(self, root: SmallRoot, *wishes: Wish) -> None:
        self.root = root
        alone = [self.plan(wish) for wish in wishes]
        self.alone = together(alone)
        self.question: Together = together(one_after_another(alone, self.plan))

    def plan(self, wish: Wish, before: Sequence[Plan] = ()) -> Plan:
        """In the root as it is now, as if its engine agreed to all of it."""
        proc = bytes(self.root.path.parent / "proc")
        return make_plan(wish, after(heard(self.root), before), now=time.time(), proc=proc)

    def again(self, at: int) -> tuple[str, ...]:
        """What the second look says of one of the plans."""
        shown = self.question.plans[at]
        return changes(shown, self.plan(shown.wish))


def path_wish(root: SmallRoot, path: Path) -> Wish:
    return Wish(Subject.PATH, bytes(root.path), path=bytes(path))


def image_wish(root: SmallRoot, image: Image) -> Wish:
    return Wish(Subject.IMAGE, bytes(root.path), id=image.id)


def container_wish(root: SmallRoot, container: Container, volumes: bool = False) -> Wish:
    return Wish(Subject.CONTAINER, bytes(root.path), id=container.id, anonymous_volumes=volumes)


def new_image(root: SmallRoot, name: str, below: ImageLayer) -> Image:
    """An image of one layer of its own."""
    top = add_layer(root.path, name, below)
    set_age(top.directory.path, 30 * DAY)
    return add_image(root.path, top, "2025-01-01T00:00:00Z", [f"/{name}"])


def tag(root: SmallRoot, **images: Image) -> None:
    """The names of these images, and of the root's own."""
    names = {f"{name}:1": image for name, image in images.items()}
    write_tags(root.path, {"app:1": root.image, **names})


# --- as an engine removes ------------------------------------------------------------------------


def drop_directory(root: SmallRoot, directory: Directory) -> None:
    (root.path / "overlay2/l" / (directory.path / "link").read_text()).unlink()
    shutil.rmtree(directory.path)


def drop_layer(root: SmallRoot, layer: ImageLayer) -> None:
    chain = layer.chain_id.removeprefix("sha256:")
    shutil.rmtree(root.path / DRIVER / "layerdb/sha256" / chain)
    drop_directory(root, layer.directory)


def drop_image(root: SmallRoot, image: Image, *layers: ImageLayer) -> None:
    name = image.id.removeprefix("sha256:")
    (root.path / DRIVER / "imagedb/content/sha256" / name).unlink()
    shutil.rmtree(root.path / DRIVER / "imagedb/metadata/sha256" / name)
    for layer in layers:
        drop_layer(root, layer)


def drop_container(root: SmallRoot, container: Container) -> None:
    shutil.rmtree(root.path / DRIVER / "layerdb/mounts" / container.id)
    shutil.rmtree(container.directory)
    for directory in (container.layer, container.init):
        drop_directory(root, directory)


# --- what is shared -------------------------------------------------------------------------------


def two_images(root: SmallRoot) -> tuple[ImageLayer, Image, Image]:
    """A layer of half a megabyte, and two images that alone stand on it."""
    common = add_layer(root.path, "common", fill=lambda it: put_text(it / "big", "x" * 500_000))
    one, other = new_image(root, "one", common), new_image(root, "other", common)
    tag(root, one=one, other=other)
    return common, one, other


def test_a_layer_that_two_images_share_goes_with_the_second_and_counts_once(
    root: SmallRoot,
) -> None:
    common, one, other = two_images(root)
    marked = Marked(root, image_wish(root, one), image_wish(root, other))
    first, second = marked.question.plans
    assert "1 of 2 layers stay" in first.consequences[0]
    assert not any("stay" in sentence for sentence in second.consequences)
    path = bytes(common.directory.path)
    usage = measured([path])[path]
    more = marked.question.frees.bytes - marked.alone.frees.bytes
    assert usage.bytes <= more < 2 * usage.bytes
    assert marked.again(0) == ()
    tag(root, other=other)
    drop_image(root, one, one.top)
    assert marked.again(1) == ()


def test_whatever_else_changed_stops_the_second(root: SmallRoot) -> None:
    _, one, other = two_images(root)
    marked = Marked(root, image_wish(root, one), image_wish(root, other))
    # The first did not go after all: more of the second stays than was said.
    assert marked.again(1)
    tag(root, other=other)
    drop_image(root, one, one.top)
    user = add_container(root.path, ContainerSpec("user", other, "other:1", state="exited"))
    assert marked.again(1) == ("it is refused now: in use: container user",)
    drop_container(root, user)
    assert marked.again(1) == ()
    # A third one took its place.
    third = new_image(root, "third", other.top)
    tag(root, other=other, third=third)
    assert marked.again(1)


def test_an_image_that_the_first_leaves_without_its_last_child_goes_with_the_second(
    root: SmallRoot,
) -> None:
    common, one, other = two_images(root)
    base = add_image(root.path, common, "2024-01-01T00:00:00Z", ["/base"])
    for child in (one, other):
        name = child.id.removeprefix("sha256:")
        put_text(root.path / DRIVER / "imagedb/metadata/sha256" / name / "parent", base.id)
    marked = Marked(root, image_wish(root, one), image_wish(root, other))
    assert "untagged images" not in " ".join(marked.alone.plans[1].consequences)
    assert "1 untagged images" in marked.question.plans[1].consequences[0]
    tag(root, other=other)
    drop_image(root, one, one.top)
    assert marked.again(1) == ()


def test_a_parent_that_only_lost_its_tags_goes_with_its_child(root: SmallRoot) -> None:
    common, one, other = two_images(root)
    base = add_image(root.path, common, "2024-01-01T00:00:00Z", ["/base"])
    for child in (one, other):
        name = child.id.removeprefix("sha256:")
        put_text(root.path / DRIVER / "imagedb/metadata/sha256" / name / "parent", base.id)
    tag(root, base=base, one=one, other=other)
    wishes = (image_wish(root, it) for it in (base, one, other))
    marked = Marked(root, *wishes)
    assert "only loses its tags" in marked.question.plans[0].consequences[0]
    tag(root, one=one, other=other)
    assert marked.again(1) == ()
    tag(root, other=other)
    drop_image(root, one, one.top)
    assert marked.again(2) == ()
    assert marked.question.frees.bytes > marked.alone.frees.bytes


def test_layers_that_only_two_containers_still_keep_go_with_the_second(root: SmallRoot) -> None:
    image = new_image(root, "lost", add_layer(root.path, "common"))
    specs = (ContainerSpec(name, image, "lost:1", state="exited") for name in ("one", "other"))
    one, other = (add_container(root.path, spec) for spec in specs)
    drop_image(root, image)
    marked = Marked(root, container_wish(root, one), container_wish(root, other))
    kept = "the layers that only it still keeps go with it"
    said = [any(kept in line for line in it.consequences) for it in marked.question.plans]
    assert said == [False, True]
    drop_container(root, one)
    assert marked.again(1) == ()


def test_containers_that_joined_each_other_go_in_any_order(root: SmallRoot) -> None:
    specs = (ContainerSpec(name, root.image, "app:1", state="exited") for name in ("a", "b"))
    one, other = (add_container(root.path, spec) for spec in specs)
    for it, joined in ((one, other), (other, one)):
        mode = {"NetworkMode": f"container:{joined.id}"}
        put_text(it.directory / "hostconfig.json", json.dumps(mode))
    marked = Marked(root, container_wish(root, one), container_wish(root, other))
    assert [len(it.references) for it in marked.alone.plans] == [1, 1]
    assert [len(it.references) for it in marked.question.plans] == [1, 0]
    drop_container(root, one)
    assert marked.again(1) == ()
    # Another one that has joined it meanwhile is news.
    third = add_container(root.path, ContainerSpec("c", root.image, "app:1", state="exited"))
    mode = {"NetworkMode": f"container:{other.id}"}
    put_text(third.directory / "hostconfig.json", json.dumps(mode))
    assert marked.again(1) == ("new reference: container c, shares its namespaces",)


def test_a_container_takes_its_log_and_its_files_along(root: SmallRoot) -> None:
    spec = ContainerSpec("one", root.image, "app:1", state="exited")
    one = add_container(root.path, spec)
    put_text(one.log, "a line")
    put_text(one.layer.diff / "file", "x")
    log, file = path_wish(root, one.directory), path_wish(root, one.layer.diff / "file")
    for wishes in ((container_wish(root, one), log, file), (log, file, container_wish(root, one))):
        marked = Marked(root, *wishes)
        assert [it.wish.subject for it in marked.question.plans] == [Subject.CONTAINER]
        assert len(marked.question.covered) == 2
    other = add_container(root.path, replace(spec, name="other"))
    marked = Marked(root, container_wish(root, other), log, file)
    assert len(marked.question.plans) == 3, "those of another container stay its own"


def test_a_cache_record_and_the_image_that_shares_its_layer(root: SmallRoot) -> None:
    shared = add_directory(root.path, directory_id("shared"), root.top.directory)
    record = record_id("shared")
    write_cache(root.path, [CacheSpec(record, "exec make", committed=shared.name)])
    above = add_layer(root.path, "above", root.top, directory=shared)
    set_age(shared.path, 30 * DAY)
    image = add_image(root.path, above, "2025-01-01T00:00:00Z", ["/above"])
    tag(root, above=image)
    # What is built on the record is a row of the build cache by itself.
    child = add_directory(root.path, directory_id("child"), shared)
    set_age(child.path, 30 * DAY)
    records = [
        CacheSpec(record, "exec make", committed=shared.name),
        CacheSpec(record_id("child"), "exec more", parent=record, committed=child.name),
    ]
    write_cache(root.path, records)
    marked = Marked(root, path_wish(root, child.path), image_wish(root, image))
    assert len(marked.question.plans) == 2
    drop_directory(root, child)
    write_cache(root.path, records[:1])
    assert marked.again(1) == ()


def test_an_orphan_that_goes_first_is_no_reference_any_more(root: SmallRoot) -> None:
    image = new_image(root, "below", add_layer(root.path, "common"))
    orphan = add_directory(root.path, hex_id("another orphan"), image.top.directory)
    set_age(orphan.path, 30 * DAY)
    tag(root, below=image)
    marked = Marked(root, path_wish(root, orphan.path), image_wish(root, image))
    assert [len(it.references) for it in marked.alone.plans] == [0, 1]
    words = [it.confirmation for it in marked.question.plans]
    assert words == [Confirmation.TYPED, Confirmation.PLAIN]
    drop_directory(root, orphan)
    assert marked.again(1) == ()


# --- what is planned again ------------------------------------------------------------------------


def test_what_is_refused_by_itself_stays_refused(root: SmallRoot) -> None:
    web = root.container
    marked = Marked(root, container_wish(root, web), image_wish(root, root.image))
    assert [it.title for it in marked.question.plans] == ["container web"]
    assert "in use" in marked.question.refused[0].refused_because


def test_files_are_looked_at_once(root: SmallRoot) -> None:
    put_text(root.container.layer.diff / "file", "x")
    image = new_image(root, "one", root.base)
    tag(root, one=image)
    asked: list[Wish] = []
    marked = Marked(
        *(root, image_wish(root, image), path_wish(root, root.container.layer.diff / "file"))
    )

    def again(wish: Wish, _before: Sequence[Plan]) -> Plan:
        asked.append(wish)
        return marked.plan(wish)

    assert one_after_another(marked.question.plans, again) == marked.question.plans
    assert asked == []


def test_the_same_id_in_another_namespace_is_another_thing(root: SmallRoot) -> None:
    id_ = root.image.id

    def layer(namespace: str) -> Layer:
        theirs = "" if namespace == "moby" else namespace
        return Layer(
            f"snapshots/{namespace}",
            b"/x",
            Role.IMAGE,
            (Owner(Kind.IMAGE, id_, "app", namespace=theirs),),
            (Reference(Kind.IMAGE, id_, "app", "it is a layer of it"),),
            snapshot=Snapshot(id_, namespace, "overlayfs", "committed"),
        )

    layers = {it.id: it for it in (layer("moby"), layer("k8s.io"))}
    images = tuple(ImageInfo(it.owners[0]) for it in layers.values())
    data_root = replace(root.data_root(), namespace="moby")
    found = Survey((Store(data_root, layers, images=images),), (), final=True)
    gone = Plan(image_wish(root, root.image), "it", takes=frozenset({(Kind.IMAGE, id_)}))
    (left,) = after(found, [gone]).stores
    assert left.images == images[1:]
    assert left.layers["snapshots/k8s.io"] == layers["snapshots/k8s.io"]
    assert not left.layers["snapshots/moby"].owners
    assert not left.layers["snapshots/moby"].references
    elsewhere = replace(gone, wish=replace(gone.wish, root=b"/other"))
    assert after(found, [elsewhere]) == found
