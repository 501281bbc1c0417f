"""The sample behind --demo agrees with itself, needs no privilege, and goes away."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.demo import containers_story
from app.demo.cache import CacheSpec, write_cache
from app.demo.containers_story import CHECKPOINTS, HOSTILE_NAME
from app.demo.content import put_empty_files
from app.demo.ids import hex_id
from app.demo.images import add_image, add_layer, write_tags
from app.demo.layout import add_directory, make_root
from app.demo.sample import DANGLING, ORPHAN, YOUNG, DemoError, build_sample, make_sample

REPOSITORY = Path(__file__).parents[2]
NOBODY = 65534


@pytest.fixture(scope="module")
def sample() -> Iterator[Path]:
    with make_sample() as made:
        yield Path(os.fsdecode(made.root))


@pytest.fixture
def small_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that make a whole sample of their own and do not look at its size."""
    monkeypatch.setattr(containers_story, "CHECKPOINT_FOLDERS", 4)


def layers_of(root: Path) -> list[Path]:
    return [path for path in (root / "overlay2").iterdir() if path.name != "l"]


def chain_ids(diff_ids: list[str]) -> list[str]:
    """Chain ids by the image specification's own words, apart from what the sample uses."""
    chains = diff_ids[:1]
    for diff_id in diff_ids[1:]:
        text = chains[-1] + " " + diff_id
        chains.append("sha256:" + hashlib.sha256(text.encode()).hexdigest())
    return chains


def image_configs(root: Path) -> dict[str, list[str]]:
    """Image id -> diff ids, from every config whose name is the digest of its content."""
    configs = {}
    for path in (root / "image/overlay2/imagedb/content/sha256").iterdir():
        content = path.read_bytes()
        assert hashlib.sha256(content).hexdigest() == path.name
        configs["sha256:" + path.name] = json.loads(content)["rootfs"]["diff_ids"]
    return configs


def test_every_image_finds_all_its_layers_by_chain_id(sample: Path) -> None:
    layerdb = sample / "image/overlay2/layerdb/sha256"
    configs = image_configs(sample)
    assert len(configs) == 6
    for diff_ids in configs.values():
        parent = ""
        for diff_id, chain in zip(diff_ids, chain_ids(diff_ids), strict=True):
            entry = layerdb / chain.removeprefix("sha256:")
            assert (entry / "diff").read_text() == diff_id
            assert (sample / "overlay2" / (entry / "cache-id").read_text() / "diff").is_dir()
            assert (entry / "parent").exists() == bool(parent)
            if parent:
                assert (entry / "parent").read_text() == parent
            parent = chain


def test_tags_lead_to_images_and_one_image_has_none(sample: Path) -> None:
    document = json.loads((sample / "image/overlay2/repositories.json").read_bytes())
    tags = {tag: image for tags in document["Repositories"].values() for tag, image in tags.items()}
    assert len(tags) == 7
    assert len(set(image_configs(sample)) - set(tags.values())) == 1


def test_every_link_and_every_lower_token_leads_to_a_directory(sample: Path) -> None:
    for directory in layers_of(sample):
        token = (directory / "link").read_bytes()
        assert len(token) == 26
        link = sample / "overlay2/l" / token.decode()
        assert os.readlink(link) == f"../{directory.name}/diff"
        lower = directory / "lower"
        assert (directory / "work").exists() == lower.exists()
        for entry in lower.read_text().split(":") if lower.exists() else ():
            assert (sample / "overlay2" / entry).resolve(strict=True).name == "diff"
            assert entry.startswith("l/")


def test_one_link_dangles(sample: Path) -> None:
    dangling = [path.name for path in (sample / "overlay2/l").iterdir() if not path.exists()]
    assert dangling == [DANGLING]


def test_parents_are_listed_nearest_first_down_to_the_base(sample: Path) -> None:
    for mount in (sample / "image/overlay2/layerdb/mounts").iterdir():
        layer = (mount / "mount-id").read_text()
        init = (mount / "init-id").read_text()
        assert init == f"{layer}-init"
        tokens = (sample / "overlay2" / layer / "lower").read_text().split(":")
        nearest = (sample / "overlay2" / tokens[0]).resolve().parent.name
        base = (sample / "overlay2" / tokens[-1]).resolve().parent
        assert nearest == init
        assert not (base / "lower").exists()


def test_containers_name_an_image_and_volumes_that_exist(sample: Path) -> None:
    names = {}
    for directory in (sample / "containers").iterdir():
        config = json.loads((directory / "config.v2.json").read_bytes())
        assert config["ID"] == directory.name
        assert config["Image"] in image_configs(sample)
        assert (sample / "image/overlay2/layerdb/mounts" / directory.name / "mount-id").exists()
        for mount in config["MountPoints"].values():
            assert (sample / "volumes" / mount["Name"] / "_data").is_dir()
        names[config["Name"]] = config["Config"]["Labels"].get("com.docker.compose.service")
    assert names == {
        "/shop-web-1": "web",
        "/shop-worker-1": "worker",
        "/shop-db-1": "db",
        "/arroyo": None,
        "/elk": None,
        "/nightly-report": None,
        "/session-cache": None,
    }


def writable_layer(root: Path, name: str) -> Path:
    mounts = root / "image/overlay2/layerdb/mounts"
    return root / "overlay2" / (mounts / hex_id(f"container {name}") / "mount-id").read_text()


def test_arroyo_holds_the_inodes_and_elk_the_bytes(sample: Path) -> None:
    def du(path: Path, *options: str) -> int:
        return int(subprocess.check_output(["du", "-s", *options, path]).split()[0])

    inodes = {path.name: du(path, "--inodes") for path in layers_of(sample)}
    allocated = {path.name: du(path, "--block-size=1") for path in layers_of(sample)}
    arroyo, elk = writable_layer(sample, "arroyo"), writable_layer(sample, "elk")
    assert max(inodes, key=lambda name: inodes[name]) == arroyo.name
    assert du(arroyo / "diff" / CHECKPOINTS, "--inodes") > 20_000
    assert max(allocated, key=lambda name: allocated[name]) == elk.name
    assert allocated[elk.name] >= 48 * 1024 * 1024


def test_the_traps_are_there(sample: Path) -> None:
    uploads = os.fsencode(writable_layer(sample, "shop-web-1") / "diff/srv/shop/uploads")
    assert HOSTILE_NAME in os.listdir(uploads)
    now = time.time()
    assert now - (sample / "overlay2" / ORPHAN / "diff").stat().st_mtime > 30 * 86400
    assert now - (sample / "overlay2" / YOUNG).stat().st_mtime < 60
    elk = writable_layer(sample, "elk")
    linked = [path for path in elk.rglob("_0.cfs") if path.stat().st_nlink == 2]
    assert len(linked) == 2
    whiteout = writable_layer(sample, "shop-web-1") / "diff/srv/shop/wsgi.py"
    if whiteout.exists():
        assert stat.S_ISCHR(whiteout.lstat().st_mode)
        assert whiteout.lstat().st_rdev == 0
    [log] = (sample / "containers").glob(f"{hex_id('container shop-web-1')}/*-json.log")
    assert {path.name for path in log.parent.glob("*.log*")} == {
        log.name,
        f"{log.name}.1",
        f"{log.name}.2.gz",
    }
    json.loads(log.read_bytes().splitlines()[0])


def test_build_cache_directories_exist(sample: Path) -> None:
    built = [path.name for path in layers_of(sample) if len(path.name) == 25]
    cached = {
        path.read_text() for path in (sample / "image/overlay2/layerdb/sha256").glob("*/cache-id")
    }
    # Four of BuildKit's own, and one of them is an image layer as well.
    assert len(built) == 4
    assert len(cached & set(built)) == 1


@pytest.mark.usefixtures("small_flood")
def test_two_samples_have_the_same_ids(sample: Path, tmp_path: Path) -> None:
    build_sample(tmp_path / "again")
    for folder in ("overlay2", "containers", "volumes", "image/overlay2/imagedb/content/sha256"):
        again = sorted(path.name for path in (tmp_path / "again" / folder).iterdir())
        assert again == sorted(path.name for path in (sample / folder).iterdir())


@pytest.mark.usefixtures("small_flood")
def test_nothing_is_left_after_the_end_or_an_error(tmp_path: Path) -> None:
    with make_sample(tmp_path) as made:
        assert made.root.startswith(bytes(tmp_path))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt), make_sample(tmp_path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_is_left_when_the_tool_is_killed(tmp_path: Path, how: signal.Signals) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from app.demo.folder import vanishing_folder\n"
        "with vanishing_folder('killed-', Path(sys.argv[1])) as folder:\n"
        "    (folder / 'file').touch()\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=REPOSITORY
    ) as tool:
        assert tool.stdout
        assert tool.stdout.readline() == b"ready\n"
        assert list(tmp_path.iterdir()) != []
        tool.send_signal(how)
    deadline = time.monotonic() + 30
    while list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="set TMPDIR"), make_sample(tmp_path / "missing"):
        pass


def _make_as_nobody(parent: Path) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    with make_sample(parent) as made:
        elk = writable_layer(Path(os.fsdecode(made.root)), "elk")
        assert elk.stat().st_uid == os.geteuid()
        assert os.geteuid() != 0
        # Whatever was made can be read by whoever made it, so that the demo shows no errors.
        for directory, _, _ in os.walk(made.root):
            os.listdir(directory)


@pytest.mark.usefixtures("small_flood")
@pytest.mark.skipif(os.geteuid() != 0, reason="every other test here runs as an ordinary user then")
def test_an_ordinary_user_can_make_it() -> None:
    # Not pytest's own folder, which only root may enter.
    with tempfile.TemporaryDirectory(prefix="whodiff-test-") as name:
        parent = Path(name)
        parent.chmod(0o777)
        child = multiprocessing.get_context("fork").Process(target=_make_as_nobody, args=(parent,))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert list(parent.iterdir()) == []


def test_primitives_make_a_root_of_ones_own(tmp_path: Path) -> None:
    root = make_root(tmp_path / "docker")
    base = add_layer(root, "base", fill=lambda diff: put_empty_files(diff / "many", 300, "f"))
    top = add_layer(root, "top", base)
    image = add_image(root, top, "2025-01-01T00:00:00Z", ["true"])
    write_tags(root, {"registry.example.com:5000/team/app:1": image})
    write_cache(root, [CacheSpec("a" * 25, "made by hand")])
    add_directory(root, "a" * 25)
    document = json.loads((root / "image/overlay2/repositories.json").read_bytes())
    assert document["Repositories"] == {
        "registry.example.com:5000/team/app": {"registry.example.com:5000/team/app:1": image.id}
    }
    assert len(list((base.directory.diff / "many").iterdir())) == 300
    assert (base.directory.path / "committed").exists()
    assert not (top.directory.path / "committed").exists()
