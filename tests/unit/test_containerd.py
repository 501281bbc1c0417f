"""containerd roots that the tests write: what they say, and what becomes of damaged ones."""

from __future__ import annotations

import json
import os
import random
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.model import DataRoot, ImageStore, Kind, Layer, Role, Store
from app.stores.catalog import assemble
from app.stores.drivers.overlayfs import snapshotter
from app.stores.metadata.containerd.read import read_containerd
from app.stores.metadata.docker.read import read_disk
from tests.unit.containerd_files import (
    BLOBS,
    META,
    SNAPSHOTTER,
    ContainerdRoot,
    digest,
    uvarint,
    varint,
)
from tests.unit.test_bolt import BRANCH, LEAF, meta, page

DIFFS = [f"sha256:{n:064x}" for n in (1, 2, 3)]
CID = "ab" * 32
LATER = 10_000.0


@pytest.fixture
def root(tmp_path: Path) -> ContainerdRoot:
    return ContainerdRoot(tmp_path / "containerd")


def answer(root: ContainerdRoot, docker: Path | None = None, after: float = LATER) -> Store:
    """The store, as seen some hours after everything was made."""
    path = os.fsencode(docker or root.path)
    place = DataRoot(
        path,
        "overlayfs",
        ImageStore.CONTAINERD,
        "named by --data-root",
        containerd=os.fsencode(root.path),
        namespace="moby" if docker else "",
        named=True,
    )
    return assemble(read_disk(place), None, (), time.time() + after, "disk alone")


def owners(layer: Layer) -> list[tuple[Kind, str]]:
    return [(owner.kind, owner.name or owner.id) for owner in layer.owners]


# --- numbers --------------------------------------------------------------------------------------


@given(st.integers(0, 2**64 - 1))
def test_unsigned_numbers_come_back(value: int) -> None:
    assert snapshotter.uvarint(uvarint(value)) == value


@given(st.integers(-(2**63), 2**63 - 1))
def test_signed_numbers_come_back(value: int) -> None:
    assert snapshotter.varint(varint(value)) == value


@given(st.binary(max_size=12))
def test_what_is_no_number_is_none(raw: bytes) -> None:
    value = snapshotter.uvarint(raw)
    assert value is None or 0 <= value < 2**64


# --- names ----------------------------------------------------------------------------------------


def test_kubernetes_containers_have_namespace_pod_and_name(root: ContainerdRoot) -> None:
    (layer,) = root.layers(DIFFS[:1], "k8s.io")
    pod = {"io.kubernetes.pod.namespace": "prod", "io.kubernetes.pod.name": "db-0"}
    parent = DIFFS[0]
    app = root.snapshot("c1", "active", parent, "k8s.io")
    pause = root.snapshot("c2", "active", parent, "k8s.io")
    plain = root.snapshot("c3", "active", parent, "k8s.io")
    root.container("c1", "c1", labels={**pod, "io.kubernetes.container.name": "postgres"})
    root.container("c2", "c2", labels=pod)
    root.container("c3", "c3", labels={"nerdctl/name": "web", "com.docker.compose.project": "p"})
    root.write()
    store = answer(root)
    assert owners(store.layers[app]) == [(Kind.CONTAINER, "prod/db-0/postgres")]
    assert owners(store.layers[pause]) == [(Kind.CONTAINER, "prod/db-0 (sandbox)")]
    assert owners(store.layers[plain]) == [(Kind.CONTAINER, "web")]
    assert store.layers[plain].owners[0].compose_project == "p"
    assert {it.role for it in (store.layers[app], store.layers[pause])} == {Role.WRITABLE}
    kept = store.layers[layer]
    assert kept.role is Role.IMAGE
    assert "no image holds this layer any more" in kept.note
    assert len([it for it in kept.references if it.kind is Kind.CONTAINER]) == 3


def test_an_index_leads_to_the_platforms_that_were_unpacked(root: ContainerdRoot) -> None:
    """Another platform's config without its snapshots, an absent one, and an attestation."""
    amd, arm = [
        root.blob({"rootfs": {"diff_ids": [diff]}, "architecture": it})
        for diff, it in zip(DIFFS[:2], ("amd64", "arm64"), strict=True)
    ]
    manifests = [root.blob({"config": {"digest": it}, "layers": []}) for it in (amd, arm)]
    absent = {"digest": "sha256:" + "9" * 64}
    index = root.blob({"manifests": [{"digest": it} for it in manifests] + [absent]})
    root.tag("docker.io/library/multi:1", index)
    root.tag("docker.io/library/multi@" + index, index)
    (layer,) = root.layers(DIFFS[:1])
    root.write()
    store = answer(root, docker=root.path.parent)
    assert store.problems == ()
    (image,) = store.images
    assert (image.owner.id, image.owner.tags) == (index, ("multi:1",))
    assert image.layers == (layer,)
    assert set(image.blobs) == {index, *manifests, amd, arm}


def test_dangling_images_are_untagged(root: ContainerdRoot) -> None:
    target = root.image("moby-dangling@sha256:" + "1" * 64, DIFFS[:1])
    (layer,) = root.layers(DIFFS[:1])
    root.write()
    store = answer(root, docker=root.path.parent)
    assert [(it.id, it.tags) for it in store.layers[layer].owners] == [(target, ())]


def test_leases_and_labels_are_what_holds_the_rest(root: ContainerdRoot) -> None:
    leaked = root.snapshot(CID, "active")
    rooted = root.snapshot("kept", labels={"containerd.io/gc.root": "now"})
    loose = root.snapshot("loose")
    record = root.snapshot("a" * 25, "active")
    unpacking = root.snapshot("extract-123 " + DIFFS[0], "active")
    root.lease(CID, [CID])
    root.lease("a" * 25, ["a" * 25])
    root.write()
    layers = answer(root, docker=root.path.parent).layers
    assert owners(layers[leaked]) == [(Kind.LEASE, CID)]
    assert layers[leaked].note == f"no container has this id any more; lease {CID} alone holds it"
    assert "gc.root alone holds it" in layers[rooted].note
    assert "containerd removes it itself" in layers[loose].note
    assert layers[unpacking].note.startswith("being created?")
    assert (layers[record].role, owners(layers[record])) == (
        Role.BUILD_CACHE,
        [(Kind.BUILD_CACHE, "a" * 25)],
    )
    others = [layer for name, layer in layers.items() if name != record]
    assert {layer.role for layer in others} == {Role.UNKNOWN}
    young = answer(root, after=0).layers
    assert young[loose].note.startswith("being created?")


def test_other_snapshotters_are_told_apart(root: ContainerdRoot) -> None:
    root.snapshot("usual")
    root.write()
    native = root.path / "io.containerd.snapshotter.v1.native"
    (native / "snapshots/1").mkdir(parents=True)
    (native / "metadata.db").write_bytes((root.path / SNAPSHOTTER / "metadata.db").read_bytes())
    reading = read_containerd(os.fsencode(root.path))
    assert set(reading.graph.directories) == {"snapshots/1", "native/snapshots/1"}


# --- damage ---------------------------------------------------------------------------------------


def _full(root: ContainerdRoot) -> Path:
    """A root with everything in it."""
    root.image("docker.io/library/app:1", DIFFS)
    ids = root.layers(DIFFS)
    assert len(ids) == 3
    root.snapshot(f"{CID}-init", parent=_top(root))
    root.snapshot(CID, "active", parent=f"{CID}-init")
    root.lease(CID, [CID, f"{CID}-init"])
    root.layers(DIFFS[:1], "k8s.io")
    root.snapshot("pod", "active", DIFFS[0], "k8s.io")
    root.container("pod", "pod")
    return root.write()


def _top(root: ContainerdRoot) -> str:
    return max(root.numbers, key=lambda it: root.numbers[it])[1]


def _claims(store: Store) -> dict[str, tuple[Role, frozenset[tuple[Kind, str]]]]:
    return {
        name: (layer.role, frozenset((it.kind, it.id) for it in layer.owners))
        for name, layer in store.layers.items()
    }


@settings(max_examples=150)
@given(st.sampled_from([META, f"{SNAPSHOTTER}/metadata.db"]), st.randoms(use_true_random=False))
def test_no_damage_makes_a_directory_free_to_go(name: str, rng: random.Random) -> None:
    """Bytes flipped, cut off or overwritten anywhere: what has no owner is unknown and says why."""
    with tempfile.TemporaryDirectory() as folder:
        root = ContainerdRoot(Path(folder) / "containerd")
        _full(root)
        truth = _claims(answer(root))
        file = root.path / name
        content = bytearray(file.read_bytes())
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(content))
            damage = rng.choice(["flip", "zero", "noise", "cut"])
            if damage == "flip":
                content[at] ^= 1 << rng.randrange(8)
            elif damage == "zero":
                content[at : at + 64] = bytes(len(content[at : at + 64]))
            elif damage == "noise":
                content[at : at + 16] = rng.randbytes(len(content[at : at + 16]))
            else:
                del content[max(1, at) :]
        file.write_bytes(content)
        store = answer(root)
        assert store.layers.keys() == truth.keys()
        for layer in store.layers.values():
            assert layer.role is not Role.UNREFERENCED
            if not layer.owners and layer.role is not Role.IMAGE:
                assert layer.role is Role.UNKNOWN
                assert layer.note


def _loop(path: Path) -> None:
    """A branch page that leads to itself."""
    body = struct.pack("<IIQ", 16, 1, 2) + b"k"
    path.write_bytes(meta(0, 2, 3) + meta(1, 2, 3) + page(2, BRANCH, body))


def _sparse(path: Path) -> None:
    """Valid to look at, and hundreds of megabytes long without a byte in them."""
    empty = meta(0, 2, 3) + meta(1, 2, 3) + page(2, LEAF, b"", count=0)
    with path.open("wb") as file:
        file.write(empty)
        file.truncate(200 << 20)


def _too_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(300 << 20)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "a loop": (_loop, "cannot be trusted"),
    "no byte": (lambda path: path.write_bytes(b""), "cannot be trusted"),
    "too large": (_too_large, "more than the"),
    "a text": (lambda path: path.write_text("hello " * 5000), "cannot be trusted"),
}


@pytest.mark.parametrize("damage", BAD)
@pytest.mark.parametrize("name", [META, f"{SNAPSHOTTER}/metadata.db"])
def test_a_bad_database_is_one_clear_word(root: ContainerdRoot, name: str, damage: str) -> None:
    path = _full(root)
    spoil, says = BAD[damage]
    spoil(path / name)
    store = answer(root)
    (problem,) = [it for it in store.problems if name in it.sentence]
    assert says in problem.sentence
    assert problem.hides_owners
    for layer in store.layers.values():
        assert layer.owners or layer.role in (Role.UNKNOWN, Role.IMAGE)


@pytest.mark.parametrize("name", [META, f"{SNAPSHOTTER}/metadata.db"])
def test_a_sparse_database_is_read_as_far_as_it_is_used(root: ContainerdRoot, name: str) -> None:
    path = _full(root)
    _sparse(path / name)
    for layer in answer(root).layers.values():
        assert layer.role in (Role.UNKNOWN, Role.IMAGE)


def test_parents_in_a_circle_end(root: ContainerdRoot) -> None:
    one, two = root.snapshot("one"), root.snapshot("two", parent="one")
    full = "moby/102/two"
    first = dict(root.snapshots["moby/101/one"])
    root.snapshots["moby/101/one"] = {**first, b"parent": full.encode()}
    root.write()
    store = answer(root)
    assert {store.layers[name].role for name in (one, two)} == {Role.UNKNOWN}
    assert "all of its parents" in store.layers[one].note


def test_one_number_for_two_names_is_not_believed(root: ContainerdRoot) -> None:
    root.snapshot("one")
    root.snapshots["moby/7/other"] = dict(root.snapshots["moby/101/one"])
    root.write()
    store = answer(root)
    assert store.layers["snapshots/1"].role is Role.UNKNOWN
    assert any("one number twice" in it.sentence for it in store.problems)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"config": 7}', b'{"manifests": {"a": 1}}', b'{"layers": [7]}'],
)
def test_a_bad_manifest_hides_owners(root: ContainerdRoot, content: bytes) -> None:
    name = digest(content)
    root.blob({})
    (root.path / BLOBS / name.partition(":")[2]).write_bytes(content)
    root.tag("docker.io/library/bad:1", name)
    root.layers(DIFFS)
    root.write()
    store = answer(root, docker=root.path.parent)
    assert any(it.hides_owners for it in store.problems)
    for layer in store.layers.values():
        assert layer.role is Role.UNKNOWN
        assert "could not be read" in layer.note


def test_a_manifest_that_is_not_what_its_name_says_is_not_believed(root: ContainerdRoot) -> None:
    target = root.image("docker.io/library/app:1", DIFFS)
    root.layers(DIFFS)
    file = root.path / BLOBS / target.partition(":")[2]
    file.write_bytes(file.read_bytes().replace(b"config", b"CONFIG"))
    root.write()
    store = answer(root)
    assert any("checksum" in it.sentence for it in store.problems)
    assert not any(it.owners for it in store.layers.values())


def test_indexes_that_hold_each_other_end(root: ContainerdRoot) -> None:
    """Only without checksums could they; a deep nest of them ends too."""
    inner = root.blob({"manifests": []})
    for _ in range(20):
        inner = root.blob({"manifests": [{"digest": inner}], "n": inner})
    root.tag("docker.io/library/deep:1", inner)
    root.write()
    store = answer(root)
    assert len(store.images) == 1


def test_what_containerd_has_dropped_already_is_left_to_it(root: ContainerdRoot) -> None:
    """Gone from meta.db, not yet from the snapshotter: between a removal and its collection."""
    name = root.snapshot(CID, "active")
    root.spaces["moby"]["snapshots"] = {}
    root.write()
    docker = root.path.parent
    (docker / "containers" / CID).mkdir(parents=True)
    config = {"ID": CID, "Name": "/web", "Driver": "overlayfs"}
    (docker / "containers" / CID / "config.v2.json").write_text(json.dumps(config))
    layer = answer(root, docker=docker).layers[name]
    assert layer.role is Role.UNKNOWN
    assert layer.note.startswith("meta.db does not know it")


def test_hostile_keys_lead_nowhere(root: ContainerdRoot) -> None:
    key = "../../etc/\x1b[31m"
    name = root.snapshot(key, "active")
    root.write()
    layer = answer(root).layers[name]
    assert layer.snapshot
    assert layer.snapshot.key == key
    assert layer.path.startswith(os.fsencode(root.path / SNAPSHOTTER))
