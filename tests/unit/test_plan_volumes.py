"""Who uses a volume, and which ones go with their container."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.cleanup.plan import Plan, Subject, Wish
from app.demo.content import put_text
from app.demo.volumes import add_volume
from app.model import Kind
from tests.unit.small_root import SmallRoot, make_small_root
from tests.unit.store_files import DAMAGES
from tests.unit.test_planner import heard, plan


@pytest.fixture
def root(tmp_path: Path) -> SmallRoot:
    return make_small_root(tmp_path / "docker")


def of_volume(root: SmallRoot, name: str) -> Plan:
    return plan(root, Wish(Subject.VOLUME, bytes(root.path), id=name), survey=heard(root))


def mount(root: SmallRoot, inside: str, point: Mapping[str, object]) -> None:
    """Note a mount in the container's config.v2.json, as the engine made it."""
    path = root.container.directory / "config.v2.json"
    config = json.loads(path.read_text())
    config["MountPoints"][inside] = {"Destination": inside, "RW": True, **point}
    path.write_text(json.dumps(config))


# --- users ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["asked", "made"])
def test_a_volume_that_a_container_mounts_by_its_path_stays(root: SmallRoot, place: str) -> None:
    source = f"{add_volume(root.path, 'free')}"
    assert of_volume(root, "free").allowed
    bind: dict[str, object] = {"Type": "bind", "Source": source}
    if place == "asked":
        host = {"Binds": None, "Mounts": [{**bind, "Target": "/x"}]}
        put_text(root.container.directory / "hostconfig.json", json.dumps(host))
    else:
        mount(root, "/x", {**bind, "Name": "", "Spec": {**bind, "Target": "/x"}})
    answer = of_volume(root, "free")
    assert "in use by container web" in answer.refused_because
    (user,) = answer.references
    assert (user.kind, user.name) == (Kind.CONTAINER, "web")


@pytest.mark.parametrize("kind", sorted(DAMAGES))
def test_a_container_whose_settings_cannot_be_read_may_mount_any_volume(
    root: SmallRoot, kind: str
) -> None:
    add_volume(root.path, "free")
    DAMAGES[kind](root.container.directory / "hostconfig.json")
    answer = of_volume(root, "free")
    assert "nobody can tell who uses it" in answer.refused_because
    assert "container web" in answer.refused_because
