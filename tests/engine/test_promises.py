"""What a plan promises, and what the filesystem says afterwards: equal, or at least so much.

On an ext4 of its own, so that nobody else takes or gives anything meanwhile.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from app.cleanup.plan.model import Action, Plan, Subject
from tests.engine import archive
from tests.engine.dockerd import Engine
from tests.engine.planning import (
    BASE,
    freed,
    image_id,
    load,
    of,
    planned,
    run,
    upper,
    with_volumes,
)
from tests.engine.small_disk import mount_small

pytestmark = pytest.mark.engine

FILL = "mkdir -p /job/deep; for n in $(seq 40); do seq 1 2000 > /job/deep/$n; done"
BUILDKIT = {"DOCKER_BUILDKIT": "1"}


@pytest.fixture(scope="module")
def engine(module_engine: Engine) -> Engine:
    mount_small(module_engine, 400, 20_000)
    module_engine.start()
    load(module_engine)
    return module_engine


def kept(engine: Engine, plan: Plan, *, exact: bool = True, later: float = 0.0) -> None:
    """Carry it out: the promise is kept to the byte, or at least where it says so."""
    assert plan.allowed, plan.refused_because
    promised = plan.frees.bytes, plan.frees.inodes
    really = freed(engine, plan, lambda: planned(engine, plan.wish, later=later))
    print(plan.title, "promised", promised, "freed", really, "least", plan.frees.least)
    assert plan.frees.least != exact, (promised, really)
    if exact:
        assert really == promised
    else:
        assert really[0] >= promised[0]
        assert really[1] >= promised[1]


def ended(engine: Engine, script: str, *options: str, image: str = BASE) -> str:
    id_ = engine.docker("create", "--network=none", *options, image, "sh", "-c", script)
    engine.docker("start", id_)
    engine.docker("wait", id_)
    return id_


def built(engine: Engine, tag: str, *lines: str, buildkit: bool = True) -> str:
    file = "\n".join((f"FROM {BASE}", *lines, "")).encode()
    env = {"DOCKER_BUILDKIT": str(int(buildkit))}
    engine.docker("build", "--network=none", f"--tag={tag}", "-", stdin=file, env=env)
    return image_id(engine, tag)


# --- containers -----------------------------------------------------------------------------------


def test_a_container(engine: Engine) -> None:
    kept(engine, planned(engine, of(engine, Subject.CONTAINER, ended(engine, FILL))))


def test_a_container_with_its_volumes(engine: Engine) -> None:
    id_ = ended(engine, f"{FILL}; seq 1 9000 > /data/x", "--volume=/data", "--volume=/more")
    kept(engine, planned(engine, with_volumes(of(engine, Subject.CONTAINER, id_))))


def test_a_container_with_directories_of_its_image(engine: Engine) -> None:
    """ext4 lets them share the block with the overlay's marks."""
    id_ = ended(engine, "for at in etc opt/legacy; do seq 1 3000 > /$at/new; done")
    kept(engine, planned(engine, of(engine, Subject.CONTAINER, id_)), exact=False)


def test_a_running_container(engine: Engine) -> None:
    id_ = run(engine, FILL)
    kept(engine, planned(engine, of(engine, Subject.CONTAINER, id_)), exact=False)


def test_a_container_whose_image_was_removed(engine: Engine) -> None:
    load(engine, "acme/gone:1", archive.layer({f"g/{n}": b"x" * 9000 for n in range(20)}))
    id_ = ended(engine, FILL, image="acme/gone:1")
    engine.docker("rmi", "--force", "acme/gone:1")
    kept(engine, planned(engine, of(engine, Subject.CONTAINER, id_)))


# --- images and cache -----------------------------------------------------------------------------


@pytest.mark.parametrize("tags", [1, 2])
def test_an_image(engine: Engine, tags: int) -> None:
    id_ = load(engine, "acme/one:1", archive.layer({f"i/{n}": b"x" * 9000 for n in range(20)}))
    if tags > 1:
        engine.docker("tag", "acme/one:1", "acme/one:2")
    kept(engine, planned(engine, of(engine, Subject.IMAGE, id_)), exact=False)


def test_an_image_that_was_built_without_buildkit(engine: Engine) -> None:
    id_ = built(
        engine, "acme/classic:1", "RUN seq 1 9000 > /a", "RUN seq 1 9000 > /b", buildkit=False
    )
    kept(engine, planned(engine, of(engine, Subject.IMAGE, id_)), exact=False)


def test_an_image_that_the_build_cache_keeps(engine: Engine) -> None:
    id_ = built(engine, "acme/built:1", "RUN seq 1 9000 > /a", "RUN seq 1 9000 > /b")
    found = planned(engine, of(engine, Subject.IMAGE, id_))
    assert found.kept.inodes > 20
    kept(engine, found, exact=False)
    (said,) = (words for words in found.consequences if "build cache" in words)
    path = said.partition("`whodiff plan ")[2].partition("`")[0]
    rest = planned(engine, Path(path))
    assert rest.steps[0].action is Action.PRUNE_CACHE
    assert (rest.frees.bytes, rest.frees.inodes) == (found.kept.bytes, found.kept.inodes)
    kept(engine, rest)
    engine.docker("builder", "prune", "--all", "--force")


def test_a_cache_record(engine: Engine) -> None:
    built(engine, "acme/c:1", "RUN seq 1 9000 > /c1", "RUN seq 1 9000 > /c2")
    engine.docker("rmi", "acme/c:1")
    (place,) = engine.overlay2.glob("*/diff/c1")
    kept(engine, planned(engine, place.parent.parent))
    engine.docker("builder", "prune", "--all", "--force")


# --- volumes --------------------------------------------------------------------------------------


def test_a_volume(engine: Engine) -> None:
    id_ = ended(engine, "seq 1 9000 > /data/x; ln /data/x /data/y", "--volume=vol:/data")
    engine.docker("rm", id_)
    kept(engine, planned(engine, of(engine, Subject.VOLUME, "vol")))


# --- files ----------------------------------------------------------------------------------------


def test_a_folder_of_a_running_container(engine: Engine) -> None:
    id_ = run(engine, FILL)
    try:
        kept(engine, planned(engine, upper(engine, id_) / "job"))
    finally:
        engine.docker("rm", "--force", id_)


def test_a_file_with_another_link(engine: Engine) -> None:
    id_ = run(engine, f"{FILL}; ln /job/deep/1 /linked")
    try:
        kept(engine, planned(engine, upper(engine, id_) / "job/deep"))
    finally:
        engine.docker("rm", "--force", id_)


@pytest.mark.parametrize("times", [1, 2])
def test_what_a_layer_beneath_has_leaves_a_whiteout(engine: Engine, times: int) -> None:
    script = "echo more >> /etc/motd; seq 1 3000 > /opt/legacy/old-a; touch /opt/legacy/new"
    id_ = run(engine, script)
    try:
        for path in ("etc/motd", "opt/legacy")[:times]:
            kept(engine, planned(engine, upper(engine, id_) / path), exact=False)
    finally:
        engine.docker("rm", "--force", id_)


def test_what_is_open_gives_nothing_back(engine: Engine) -> None:
    id_ = run(engine, f"{FILL}; exec 7< /job/deep/3 8>> /job/deep/4")
    try:
        kept(engine, planned(engine, upper(engine, id_) / "job"), exact=False)
    finally:
        engine.docker("rm", "--force", id_)


def test_a_folder_of_a_stopped_container(engine: Engine) -> None:
    id_ = ended(engine, f"{FILL}; rm /etc/motd")
    kept(engine, planned(engine, upper(engine, id_) / "job"))
    engine.docker("rm", id_)


def test_logs(engine: Engine) -> None:
    options = ("--log-opt=max-size=50k", "--log-opt=max-file=3")
    id_ = ended(engine, "seq 1 20000", *options)
    kept(engine, planned(engine, engine.data / "containers" / id_))
    engine.docker("rm", id_)
    id_ = run(engine, "seq 1 20000")
    kept(engine, planned(engine, engine.data / "containers" / id_), exact=False)
    engine.docker("rm", "--force", id_)


# --- what the daemon has forgotten ----------------------------------------------------------------


def test_a_dangling_link(engine: Engine) -> None:
    id_ = engine.docker("create", "--network=none", BASE, "sh")
    place = upper(engine, id_).parent
    token = (place / "link").read_text()
    shutil.rmtree(place)
    engine.docker("rm", id_)
    kept(engine, planned(engine, engine.overlay2 / "l" / token))


def test_a_temporary_file(engine: Engine) -> None:
    place = engine.data / "tmp/docker-builder1"
    place.mkdir()
    (place / "context").write_bytes(b"x" * 100_000)
    kept(engine, planned(engine, place, later=7200), later=7200)


def test_an_unreferenced_layer(engine: Engine) -> None:
    place = engine.overlay2 / ("ab" * 32)
    (place / "diff/deep").mkdir(parents=True)
    for n in range(30):
        (place / f"diff/deep/{n}").write_bytes(b"x" * 3000)
    (place / "link").write_text("A" * 26)
    (engine.overlay2 / "l" / ("A" * 26)).symlink_to(f"../{place.name}/diff")
    for path in (place / "diff", place):
        os.utime(path, (1e9, 1e9))
    kept(engine, planned(engine, place, later=7200), later=7200)
