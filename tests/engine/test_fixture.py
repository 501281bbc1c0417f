"""The scenario is what it claims to be, and a private engine leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine import archive, dockerd, leftovers, scenario, truth
from tests.engine.scenario import Scenario

pytestmark = pytest.mark.engine


def test_every_directory_has_one_role(engine_scenario: Scenario) -> None:
    facts = engine_scenario.truth
    assert facts.roles().keys() == facts.directories
    writable = {container.writable for container in facts.containers.values()}
    init = {container.init for container in facts.containers.values()}
    groups = [facts.image_directories, facts.cache_only, writable, init, {facts.orphan}]
    assert sum(len(group) for group in groups) == len(facts.directories)


def test_images_share_layers_and_tags(engine_scenario: Scenario) -> None:
    facts = engine_scenario.truth
    (base,) = facts.tagged(scenario.BASE).directories
    assert facts.image_owners(base) == facts.images.keys()
    assert facts.tagged(scenario.WEB_TAGS[0]).tags == scenario.WEB_TAGS
    dangling = facts.images[facts.containers["batch-old"].image_id]
    assert dangling.tags == ()
    assert dangling.directories[1:] == facts.tagged("acme/worker:1").directories[1:]
    assert dangling.directories[0] != facts.tagged("acme/worker:1").directories[0]


def test_a_short_name_tells_nothing_about_the_cache(engine_scenario: Scenario) -> None:
    """25 characters: an image's alone, an image's and the cache's, the cache's alone."""
    facts = engine_scenario.truth
    image_alone = facts.tagged("acme/sealed:1").directories[0]
    both = facts.tagged("acme/staged:1").directories[0]
    assert {len(name) for name in (image_alone, both, *facts.cache_only)} == {25}
    descriptions = " ".join(record.description for record in facts.cache.values())
    assert "/sealed" not in descriptions
    assert "/app.conf" in descriptions
    assert "/withdrawn" in descriptions
    assert "exec.cachemount" in {record.type for record in facts.cache.values()}
    alone = [record for record in facts.cache.values() if not record.shared]
    assert len(facts.cache_only) == len(alone)


def test_containers_of_every_state(engine_scenario: Scenario) -> None:
    containers = engine_scenario.truth.containers
    assert {name: container.state for name, container in containers.items()} == {
        "arroyo-worker-1": "running",
        "awkward": "exited",
        "batch-old": "exited",
        "chatty": "exited",
        "deep-1": "running",
        "elk-logstash-1": "running",
        "next-release": "created",
        "scratchpad": "exited",
        "survivor": "exited",
        "web-api-1": "running",
    }
    worker = containers["arroyo-worker-1"]
    assert (worker.compose_project, worker.compose_service) == ("pipeline", "worker")
    assert containers["chatty"].log_path.stat().st_size > 2**20
    assert containers["survivor"].image_id not in engine_scenario.truth.images


def test_the_flood_is_first_by_inodes_and_elk_by_bytes(engine_scenario: Scenario) -> None:
    overlay2, facts = engine_scenario.engine.overlay2, engine_scenario.truth
    flood = overlay2 / facts.containers["arroyo-worker-1"].writable / "diff" / scenario.FLOOD_PATH
    assert len(list(flood.iterdir())) == scenario.FLOOD_FILES
    elk = overlay2 / facts.containers["elk-logstash-1"].writable / "diff" / scenario.ELK_PATH
    assert sum(file.stat().st_blocks * 512 for file in elk.iterdir()) >= scenario.ELK_MIB * 2**20


def test_volumes_used_anonymous_and_forgotten(engine_scenario: Scenario) -> None:
    facts = engine_scenario.truth
    assert facts.volumes["elk-data"].users == ("elk-logstash-1",)
    assert facts.volumes["forgotten"].users == ()
    (anonymous,) = [volume for volume in facts.volumes.values() if volume.anonymous]
    assert anonymous.users == ("scratchpad",)
    assert all(any(volume.mountpoint.iterdir()) for volume in facts.volumes.values())


def test_the_orphan_stands_on_the_base_and_nothing_names_it(engine_scenario: Scenario) -> None:
    engine, facts = engine_scenario.engine, engine_scenario.truth
    (base,) = facts.tagged(scenario.BASE).directories
    token = (engine.overlay2 / base / "link").read_text()
    assert (engine.overlay2 / facts.orphan / "lower").read_text() == f"l/{token}"
    metadata = subprocess.run(
        ["grep", "--recursive", "--quiet", facts.orphan, str(engine.data / "image")], check=False
    )
    assert metadata.returncode == 1
    assert list((engine.data / "image" / "overlay2" / "layerdb" / "tmp").glob("write-set-*"))


def test_the_dangling_token_leads_nowhere(engine_scenario: Scenario) -> None:
    links = engine_scenario.engine.overlay2 / "l"
    broken = [link.name for link in links.iterdir() if not link.exists()]
    assert broken == [engine_scenario.truth.dangling_token]


def test_the_deep_image_is_mounted_by_relative_paths(engine_scenario: Scenario) -> None:
    deep = engine_scenario.truth.containers["deep-1"]
    merged = str(engine_scenario.engine.overlay2 / deep.writable / "merged")
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    (line,) = [line for line in lines if f" {merged} " in line]
    assert "lowerdir=l/" in line
    assert f"upperdir={deep.writable}/diff" in line


def test_awkward_names_and_kinds_are_there(engine_scenario: Scenario) -> None:
    awkward = engine_scenario.truth.containers["awkward"]
    diff = engine_scenario.engine.overlay2 / awkward.writable / "diff"
    names = set(os.listdir(os.fsencode(diff / "names")))
    assert {b"red\x1b[31mtext", b"two\nlines", b"bad\xff\xfeutf8", b"[bold red]markup"} <= names
    assert max(len(name) for name in names) == 255
    assert (diff / "names" / "numbers").samefile(diff / "names" / "deep" / "er" / "same")
    assert (diff / "etc" / "motd").is_char_device()


def test_containers_and_answers_outlive_a_stopped_engine(engine_scenario: Scenario) -> None:
    engine, facts = engine_scenario.engine, engine_scenario.truth
    mounts = leftovers.mounts_below(engine.overlay2)
    with engine.stopped():
        assert not engine.running
        assert leftovers.mounts_below(engine.overlay2) == mounts
        running = [c.id for c in facts.containers.values() if c.state == "running"]
        assert len(leftovers.container_processes(running)) == len(running)
    assert truth.ask(engine, facts.built, facts.orphan, facts.dangling_token) == facts


def test_a_killed_engine_is_taken_away_wholly_and_alone(
    spare_engine: dockerd.Engine, engine_scenario: Scenario
) -> None:
    others = leftovers.engine_processes(engine_scenario.engine.base)
    mounts = leftovers.mounts_below(engine_scenario.engine.base)
    container = _engine_with_a_container(spare_engine)
    spare_engine.kill()
    assert leftovers.container_processes([container])
    assert leftovers.mounts_below(spare_engine.base)
    spare_engine.close()
    _assert_nothing_is_left(spare_engine.base, container)
    assert leftovers.engine_processes(engine_scenario.engine.base) == others
    assert leftovers.mounts_below(engine_scenario.engine.base) == mounts


def test_the_next_run_takes_away_what_a_killed_run_left() -> None:
    """The run is a process of its own that ends without a word, as by SIGKILL."""
    script = (
        "import os; from tests.engine import test_fixture, dockerd\n"
        "engine = dockerd.Engine(dockerd.find_tools())\n"
        "container = test_fixture._engine_with_a_container(engine)\n"
        "print(engine.base, container, flush=True); os._exit(0)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        check=True,
    )
    base, container = run.stdout.decode().split()
    assert leftovers.engine_processes(Path(base))
    leftovers.clear_abandoned()
    _assert_nothing_is_left(Path(base), container)


def _engine_with_a_container(engine: dockerd.Engine) -> str:
    engine.start()
    base = archive.busybox_layer(Path(engine.tools.busybox))
    image = archive.image("base:1", [base], engine.get("/version")["Arch"])
    engine.docker("load", stdin=image)
    return engine.docker("run", "--detach", "--network=none", "base:1", "sleep", "1000000")


def _assert_nothing_is_left(base: Path, container: str) -> None:
    assert not base.exists()
    assert leftovers.mounts_below(base) == []
    assert leftovers.engine_processes(base) == []
    assert leftovers.container_processes([container]) == []
    assert list(Path("/sys/fs/cgroup").glob(f"**/docker/{container}")) == []
