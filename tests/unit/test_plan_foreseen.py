"""What the daemon would refuse, or others undo, is said in the plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cleanup.plan.makers import Made, Maker, made_by
from app.cleanup.plan.model import Plan, Subject, Wish
from app.demo.containers import ContainerSpec, add_container
from app.demo.images import add_image, add_layer, write_tags
from app.demo.volumes import add_volume
from app.model import Container, Kind, Owner
from tests.unit.small_root import SmallRoot, make_small_root
from tests.unit.test_plan_volumes import mount
from tests.unit.test_planner import heard, plan

SERVICE = "com.docker.swarm.service.name"


@pytest.fixture
def root(tmp_path: Path) -> SmallRoot:
    return make_small_root(tmp_path / "docker")


def of(root: SmallRoot, subject: Subject, id_: str) -> Plan:
    return plan(root, Wish(subject, bytes(root.path), id=id_), survey=heard(root))


@pytest.mark.parametrize("kind", ["image", "volume"])
def test_an_image_that_a_container_mounts_is_in_use(root: SmallRoot, kind: str) -> None:
    """Docker 28: ``--mount type=image``; the daemon says 409, also for a container that ended."""
    layer = add_layer(root.path, "mounted")
    image = add_image(root.path, layer, "2025-01-02T00:00:00Z", ["/x"])
    write_tags(root.path, {"app:1": root.image, "data:1": image})
    spec = {"Type": kind, "Source": image.id, "Target": "/img"}
    mount(root, "/img", {"Type": kind, "Name": "data:1", "ID": "ab" * 32, "Spec": spec})
    for asked in (
        of(root, Subject.IMAGE, image.id),
        plan(root, layer.directory.path, survey=heard(root)),
    ):
        assert ("in use: container web" in asked.refused_because) == (kind == "image")
        assert (Kind.CONTAINER in {it.kind for it in asked.references}) == (kind == "image")


def labelled(root: SmallRoot, name: str, labels: dict[str, str]) -> str:
    """A container of this name that uses a volume; its id."""
    add_volume(root.path, "state")
    spec = ContainerSpec(name, root.image, "app:1", labels=labels, volumes={"/s": "state"})
    return add_container(root.path, spec).directory.name


def test_a_task_of_a_swarm_comes_back(root: SmallRoot) -> None:
    id_ = labelled(root, "faulty.1.x", {SERVICE: "faulty"})
    found = of(root, Subject.CONTAINER, id_)
    assert found.allowed
    words = " ".join(found.consequences)
    assert "task of swarm service faulty" in words
    assert "docker service rm faulty" in words
    in_use = of(root, Subject.VOLUME, "state")
    assert "with `docker service rm faulty`: container faulty.1.x" in in_use.instead
    assert "docker rm`" not in in_use.instead
    image = of(root, Subject.IMAGE, root.image.id)
    assert "with `docker rm`: container web" in image.instead
    assert "with `docker service rm faulty`" in image.instead


def test_a_builder_goes_with_buildx(root: SmallRoot) -> None:
    id_ = labelled(root, "buildx_buildkit_coolify-railpack0", {})
    found = of(root, Subject.CONTAINER, id_)
    assert "docker buildx rm coolify-railpack" in " ".join(found.consequences)
    in_use = of(root, Subject.VOLUME, "state")
    assert "with `docker buildx rm coolify-railpack`: container buildx" in in_use.instead


@pytest.mark.parametrize(
    ("name", "words"), [("a b", "docker service rm 'a b'"), ("a\nb", "scale the service")]
)
def test_names_of_services_are_quoted_or_left_out(root: SmallRoot, name: str, words: str) -> None:
    found = of(root, Subject.CONTAINER, labelled(root, "task", {SERVICE: name}))
    assert words in " ".join(found.consequences)


@pytest.mark.parametrize(
    ("name", "builder"),
    [
        ("buildx_buildkit_default0", "default"),
        ("buildx_buildkit_node10", "node1"),
        ("buildx_buildkit_named", "named"),
        ("my_buildx_buildkit_x0", None),
        ("web", None),
    ],
)
def test_builders_by_their_names(name: str, builder: str | None) -> None:
    made = made_by(Container(Owner(Kind.CONTAINER, "ab" * 32, name=name), b""))
    assert made == (Made(Maker.BUILDX, builder) if builder else None)


def test_a_volume_of_a_container_that_only_the_disk_knows_stays(root: SmallRoot) -> None:
    labelled(root, "lost", {})
    assert "in use by container lost" in of(root, Subject.VOLUME, "state").refused_because


@pytest.mark.parametrize("part", ["", "_data"])
def test_a_volume_behind_a_link_is_not_removed(root: SmallRoot, tmp_path: Path, part: str) -> None:
    add_volume(root.path, "free")
    assert of(root, Subject.VOLUME, "free").allowed
    place = root.path / "volumes/free" / part
    place.rename(tmp_path / "aside")
    place.symlink_to(tmp_path / "aside")
    for asked in (
        of(root, Subject.VOLUME, "free"),
        plan(root, place, survey=heard(root)),
    ):
        assert "symbolic link" in asked.refused_because
        assert f"rm {place}" in asked.instead
