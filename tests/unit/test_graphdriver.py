"""layerdb, mounts, imagedb and repositories.json: real, generated, damaged and changing."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.host import safe_read as files
from app.stores.metadata.docker.layerdb import GraphdriverReading, chain_ids, read_graphdriver
from tests.unit.store_files import DAMAGES, remove

DRIVER = "overlay2"


def digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Store:
    """``image/overlay2`` as moby writes it, and the truth about it."""

    root: Path
    layers: dict[str, tuple[str, str]] = field(default_factory=dict)  # chain: (cache id, parent)
    images: dict[str, tuple[str, ...]] = field(default_factory=dict)  # image: chains
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> Path:
        return self.root / "image" / DRIVER

    @property
    def layerdb(self) -> Path:
        return self.base / "layerdb"

    @property
    def configs(self) -> Path:
        return self.base / "imagedb/content/sha256"

    def start(self) -> Store:
        """What the engine makes before there is anything."""
        self.configs.mkdir(parents=True)
        self.layerdb.mkdir()
        self.write_tags()
        return self

    def add_layer(self, chain: str, diff_id: str, parent: str, cache_id: str) -> Path:
        self.layers[chain] = (cache_id, parent)
        place = self.layerdb / "sha256" / chain.removeprefix("sha256:")
        place.mkdir(parents=True, exist_ok=True)
        (place / "cache-id").write_text(cache_id)
        (place / "diff").write_text(diff_id)
        (place / "size").write_text("4096")
        if parent:
            (place / "parent").write_text(parent)
        return place

    def add_image(self, diffs: list[str], *tags: str) -> str:
        """An image of these diff ids; the chain ids are worked out here by the letter."""
        chains: list[str] = []
        for diff in diffs:
            chain = diff
            parent = chains[-1] if chains else ""
            if parent:
                chain = "sha256:" + hashlib.sha256(f"{parent} {diff}".encode()).hexdigest()
            chains.append(chain)
            if chain not in self.layers:
                long = digits(chain + "cache")
                self.add_layer(chain, diff, parent, long if int(long[0], 16) % 2 else long[:25])
        config = {"created": "2026-01-02T03:04:05Z", "rootfs": {"type": "layers"}}
        config["rootfs"]["diff_ids"] = diffs  # type: ignore[index]
        text = json.dumps(config)
        image = "sha256:" + digits(text)
        (self.configs / digits(text)).write_text(text)
        self.images[image] = tuple(chains)
        self.tags.update(dict.fromkeys(tags, image))
        self.write_tags()
        return image

    def write_tags(self) -> None:
        repositories: dict[str, dict[str, str]] = {}
        for tag, image in self.tags.items():
            name = tag.partition("@")[0] if "@" in tag else tag.rpartition(":")[0]
            repositories.setdefault(name, {})[tag] = image
        (self.base / "repositories.json").write_text(json.dumps({"Repositories": repositories}))

    def add_mount(self, container: str, parent: str) -> Path:
        place = self.layerdb / "mounts" / container
        place.mkdir(parents=True)
        mount = digits(f"mount {container}")
        (place / "mount-id").write_text(mount)
        (place / "init-id").write_text(f"{mount}-init")
        (place / "parent").write_text(parent)
        return place

    def read(self) -> GraphdriverReading:
        return read_graphdriver(os.fsencode(self.root), DRIVER)


@contextmanager
def store_in_folder() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        yield Store(Path(folder)).start()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One image of three layers, tagged twice, and one container on it."""
    made = Store(tmp_path).start()
    made.add_image([DIFF_1, DIFF_2, DIFF_3], "app:1", "registry.example.com:5000/app:1")
    made.add_mount(CONTAINER, TOP)
    return made


DIFF_1, DIFF_2, DIFF_3 = (f"sha256:{digits(f'diff {number}')}" for number in (1, 2, 3))
TOP = chain_ids([DIFF_1, DIFF_2, DIFF_3])[-1]
CONTAINER = digits("container")

DIFF_IDS = st.integers(0, 9).map(lambda number: f"sha256:{digits(f'diff {number}')}")


# --- chain ids ------------------------------------------------------------------------------------


@given(st.lists(DIFF_IDS, max_size=8))
def test_chain_ids_follow_the_image_specification(diffs: list[str]) -> None:
    """ChainID(L0) = DiffID(L0); ChainID(L0|...|Ln) = Digest(ChainID(L0|...|Ln-1) + " " + ...)."""
    chains = chain_ids(diffs)
    assert len(chains) == len(diffs)
    for number, chain in enumerate(chains):
        if number == 0:
            assert chain == diffs[0]
        else:
            text = chains[number - 1] + " " + diffs[number]
            assert chain == "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def test_chain_ids_of_real_images_are_the_names_in_a_real_layerdb(captures: Path) -> None:
    root = captures / "overlay2/var/lib/docker"
    reading = read_graphdriver(os.fsencode(root), DRIVER)
    assert not reading.problems
    chains = {chain for image in reading.images.values() for chain in image.chain_ids}
    assert len(chains) == 6
    # One more layer outlived its image, because the build cache holds it.
    extra = [it for chain, it in reading.layers.items() if chain not in chains]
    assert [(it.cache_id, it.parent in chains) for it in extra] == [
        ("rjekgg4zr34kl2jtsdooya0cl", True)
    ]
    assert chains < reading.layers.keys()


# --- healthy stores -------------------------------------------------------------------------------


def test_a_real_host_names_every_image_layer_and_container_directory(captures: Path) -> None:
    expected = json.loads((captures / "overlay2/expected-layers.json").read_text())
    reading = read_graphdriver(os.fsencode(captures / "overlay2/var/lib/docker"), DRIVER)
    tags: dict[str, set[str]] = {}
    for image in reading.images.values():
        for chain in image.chain_ids:
            tags.setdefault(reading.layers[chain].cache_id, set()).update(image.tags)
    assert tags == {name: set(it["tags"]) for name, it in expected.items() if it["role"] == "image"}
    mounted = {it.mount_id: "writable" for it in reading.mounts.values()}
    mounted.update({it.init_id: "init" for it in reading.mounts.values()})
    assert mounted == {
        name: it["role"] for name, it in expected.items() if it["role"] in ("writable", "init")
    }
    assert all(it.parent in reading.layers for it in reading.mounts.values())
    assert all(it.size for it in reading.layers.values())


@given(
    st.lists(
        st.tuples(
            st.lists(DIFF_IDS, max_size=6),
            st.lists(st.sampled_from(["a:1", "a:2", "r.example:5000/b:1", "c@sha256:0"])),
        ),
        max_size=6,
    )
)
def test_layers_images_and_tags_are_those_of_the_generator(
    images: list[tuple[list[str], list[str]]],
) -> None:
    with store_in_folder() as store:
        for diffs, tags in images:
            store.add_image(diffs, *tags)
        reading = store.read()
        assert not reading.problems
        layers = {chain: (it.cache_id, it.parent) for chain, it in reading.layers.items()}
        assert layers == store.layers
        assert {image: it.chain_ids for image, it in reading.images.items()} == store.images
        told = {
            tag: image for image, it in reading.images.items() for tag in (*it.tags, *it.digests)
        }
        assert told == store.tags
        assert not any("@" in tag for it in reading.images.values() for tag in it.tags)


def test_a_fresh_engine_without_layers_has_no_problems(tmp_path: Path) -> None:
    reading = Store(tmp_path).start().read()
    assert reading == GraphdriverReading()


def test_a_layer_being_removed_is_told_apart(store: Store) -> None:
    place = store.layerdb / "sha256" / TOP.removeprefix("sha256:")
    place.rename(place.with_name(f"{place.name}-{digits('random')}-removing"))
    reading = store.read()
    assert TOP not in reading.layers
    [record] = reading.removing
    assert (record.chain_id, record.cache_id) == (TOP, store.layers[TOP][0])
    assert record.removing
    remove(Path(os.fsdecode(record.path)) / "cache-id")
    reading = store.read()
    assert reading.removing == ()
    assert not reading.problems


def test_open_transactions_are_listed(store: Store) -> None:
    (store.layerdb / "tmp/write-set-123").mkdir(parents=True)
    assert store.read().writing == (os.fsencode(store.layerdb / "tmp/write-set-123"),)


def test_buildkits_mounts_are_kept_under_their_own_id(store: Store) -> None:
    place = store.add_mount("mk2x0vq1t8b7s6r5p4n3m2l1k", TOP)
    remove(place / "init-id")
    reading = store.read()
    assert reading.mounts[place.name].init_id == ""
    assert not reading.problems


# --- damage ---------------------------------------------------------------------------------------

#: Files whose absence is a state of its own: no init layer, an empty image, a size nobody needs.
MAY_BE_ABSENT = {("mounts", "init-id"), ("mounts", "parent"), ("sha256", "size")}


@pytest.mark.parametrize("kind", sorted(DAMAGES))
@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("sha256", "cache-id"),
        ("sha256", "parent"),
        ("sha256", "diff"),
        ("sha256", "size"),
        ("mounts", "mount-id"),
        ("mounts", "init-id"),
        ("mounts", "parent"),
    ],
)
def test_a_damaged_file_in_layerdb_hides_owners_and_is_never_believed(
    store: Store, folder: str, file: str, kind: str
) -> None:
    healthy = store.read()
    name = CONTAINER if folder == "mounts" else TOP.removeprefix("sha256:")
    path = store.layerdb / folder / name / file
    DAMAGES[kind](path)
    reading = store.read()
    told = [it for it in reading.problems if it.hides_owners and name in it.sentence]
    if file == "size":
        assert reading.layers.keys() == healthy.layers.keys()
        assert not reading.problems
        return
    assert told or (kind == "missing" and (folder, file) in MAY_BE_ABSENT)
    for chain, layer in reading.layers.items():
        assert layer == healthy.layers[chain]
    mount, real = reading.mounts.get(CONTAINER), healthy.mounts[CONTAINER]
    if mount:
        assert mount.mount_id in ("", real.mount_id)
        assert mount.init_id in ("", real.init_id)
        assert mount.parent in ("", real.parent)


@pytest.mark.parametrize("kind", sorted(DAMAGES))
def test_a_damaged_image_config_hides_owners_and_is_not_trusted(store: Store, kind: str) -> None:
    [image] = store.images
    DAMAGES[kind](store.configs / image.removeprefix("sha256:"))
    reading = store.read()
    assert reading.images == {}
    [problem] = reading.problems
    assert problem.hides_owners
    assert image.removeprefix("sha256:") in problem.source


def test_an_image_config_with_one_letter_changed_is_not_trusted(store: Store) -> None:
    [image] = store.images
    path = store.configs / image.removeprefix("sha256:")
    path.write_text(path.read_text().replace("2026", "2025"))
    reading = store.read()
    assert reading.images == {}
    assert "checksum" in reading.problems[0].sentence


@pytest.mark.parametrize("kind", sorted(DAMAGES))
def test_a_damaged_repositories_json_leaves_images_untagged_and_says_so(
    store: Store, kind: str
) -> None:
    DAMAGES[kind](store.base / "repositories.json")
    reading = store.read()
    [image] = reading.images.values()
    assert image.tags == ()
    [problem] = reading.problems
    assert problem.hides_owners == (kind != "missing")
    assert "tags" in problem.sentence


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["app", "app:1", "rootfs", "diff_ids", "x"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=60)
@given(JSON)
def test_any_json_as_repositories_is_survived(value: object) -> None:
    with store_in_folder() as store:
        store.add_image([DIFF_1])
        for document in (value, {"Repositories": value}, {"Repositories": {"app": value}}):
            (store.base / "repositories.json").write_text(json.dumps(document))
            reading = store.read()
            assert len(reading.images) == 1
            assert all(problem.sentence for problem in reading.problems)


@settings(max_examples=60)
@given(JSON)
def test_any_json_as_an_image_config_is_survived(value: object) -> None:
    with store_in_folder() as store:
        for document in (value, {"rootfs": value}, {"rootfs": {"diff_ids": value}}):
            text = json.dumps(document)
            (store.configs / digits(text)).write_text(text)
        reading = store.read()
        assert all(it.chain_ids == () for it in reading.images.values())
        for problem in reading.problems:
            assert problem.hides_owners


@settings(max_examples=60)
@given(st.binary(max_size=200))
def test_any_bytes_as_an_image_config_are_survived(content: bytes) -> None:
    with store_in_folder() as store:
        (store.configs / hashlib.sha256(content).hexdigest()).write_bytes(content)
        reading = store.read()
        assert len(reading.images) + len(reading.problems) == 1


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b"9" * 10_000])
def test_json_made_to_break_a_parser_is_one_problem(store: Store, content: bytes) -> None:
    (store.base / "repositories.json").write_bytes(content)
    assert len(store.read().problems) == 1


def test_a_tag_without_its_image_is_told(store: Store) -> None:
    store.tags["gone:1"] = f"sha256:{digits('gone')}"
    store.write_tags()
    [problem] = store.read().problems
    assert problem.hides_owners
    assert "gone:1" in problem.sentence


@pytest.mark.parametrize("lost", ["layerdb", "imagedb"])
def test_a_copy_without_its_names_is_not_taken_for_an_empty_host(store: Store, lost: str) -> None:
    remove(store.base / lost)
    assert any(problem.hides_owners for problem in store.read().problems)


def test_a_thousand_damaged_layers_are_told_in_few_sentences(store: Store) -> None:
    for number in range(1000):
        (store.layerdb / "sha256" / digits(f"damaged {number}")).mkdir()
    problems = store.read().problems
    assert len(problems) < 60
    assert problems[-1].hides_owners
    assert "950 more" in problems[-1].sentence


def test_links_in_place_of_directories_are_not_followed(store: Store, tmp_path: Path) -> None:
    place = store.layerdb / "sha256" / TOP.removeprefix("sha256:")
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    reading = store.read()
    assert TOP not in reading.layers
    assert any(it.hides_owners and "symbolic link" in it.sentence for it in reading.problems)


# --- a live engine --------------------------------------------------------------------------------


def test_a_layer_that_is_renamed_while_it_is_read_is_still_found(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = store.layerdb / "sha256" / TOP.removeprefix("sha256:")
    real = files.Folder.folder

    def folder(self: files.Folder, name: str) -> files.Folder:
        if name == place.name and place.exists():
            place.rename(place.with_name(f"{name}-{digits('random')}-removing"))
        return real(self, name)

    monkeypatch.setattr(files.Folder, "folder", folder)
    reading = store.read()
    assert [it.chain_id for it in reading.removing] == [TOP]
    assert TOP not in reading.layers
    assert not reading.problems


@pytest.mark.parametrize("where", ["layer", "mount", "image"])
def test_what_vanishes_while_it_is_read_is_no_damage(
    store: Store, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    [image] = store.images
    places = {
        "layer": (store.layerdb / "sha256" / TOP.removeprefix("sha256:"), "cache-id"),
        "mount": (store.layerdb / "mounts" / CONTAINER, "mount-id"),
        "image": (store.configs / image.removeprefix("sha256:"), image.removeprefix("sha256:")),
    }
    place, file = places[where]
    real = files.Folder.read

    def read(folder: files.Folder, name: str, limit: int) -> bytes:
        if (
            name == file
            and place.exists()
            and (where == "image" or folder.path.endswith(os.fsencode(place)))
        ):
            if where == "image":
                store.tags.clear()
                store.write_tags()
            remove(place)
        return real(folder, name, limit)

    monkeypatch.setattr(files.Folder, "read", read)
    reading = store.read()
    assert not reading.problems
    assert not place.exists()
