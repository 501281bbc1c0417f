"""app.stores.metadata.docker.buildkit on a daemon's databases, each shape, and damage."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.demo.bolt_file import Tree, write_bolt
from app.stores.metadata.docker.buildkit import BuildkitReading, CacheRecord, read_buildkit

R, R2, D, D2 = (letter * 25 for letter in "r2d9")
CHAIN = "sha256:" + "c" * 64


def key(name: str, value: object) -> tuple[bytes, bytes]:
    return name.encode(), json.dumps({"value": value}).encode()


def metadata(**records: dict[bytes, bytes]) -> Tree:
    return {b"_main": {id_.encode(): values for id_, values in records.items()}}


def leases(held: dict[str, list[str]]) -> Tree:
    return {
        b"v1": {
            b"buildkit": {
                b"leases": {
                    lease.encode(): {
                        b"snapshots": {b"default": {each.encode(): b"" for each in keys}}
                    }
                    for lease, keys in held.items()
                }
            }
        }
    }


class Root:
    """A data root with BuildKit's databases."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "buildkit").mkdir(parents=True)

    def write(self, **databases: Tree) -> Root:
        for name, tree in databases.items():
            write_bolt(self.path / "buildkit" / f"{name}.db", tree)
        return self

    def read(self) -> BuildkitReading:
        return read_buildkit(os.fsencode(self.path))

    def only(self) -> CacheRecord:
        """The single record of an undamaged root."""
        reading = self.read()
        assert reading.problems == ()
        [record] = reading.records
        return record


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


# --- a real engine --------------------------------------------------------------------------------


def cache_ids(docker: Path) -> dict[str, str]:
    """Chain id to directory, as layerdb says."""
    layers = (docker / "image/overlay2/layerdb/sha256").iterdir()
    return {f"sha256:{layer.name}": (layer / "cache-id").read_text() for layer in layers}


def test_a_real_engines_records_lead_to_its_build_cache_directories(captures: Path) -> None:
    docker = captures / "overlay2/var/lib/docker"
    truth = json.loads((captures / "overlay2/expected-layers.json").read_text())
    layers = cache_ids(docker)
    reading = read_buildkit(os.fsencode(docker))
    assert reading.problems == ()
    assert reading.unclaimed == ()
    found = {record.directory or layers[record.chain_id] for record in reading.records}
    assert {name for name, layer in truth.items() if layer["role"] == "build-cache"} <= found
    assert {truth[name]["role"] for name in found} == {"build-cache", "image"}
    exported = [record for record in reading.records if record.directory and record.chain_id]
    assert exported
    assert all(layers[record.chain_id] == record.directory for record in exported)


def test_a_real_engines_records_are_those_that_its_api_lists(captures: Path) -> None:
    reading = read_buildkit(os.fsencode(captures / "overlay2/var/lib/docker"))
    answer = json.loads((captures / "overlay2/api/system-df.json").read_text())
    listed = {each["ID"]: each for each in answer["BuildCache"]}
    records = {record.id: record for record in reading.records if not record.alias_of}
    assert records.keys() == listed.keys(), "the engine hides aliases, and nothing else"
    for id_, record in records.items():
        assert record.record_type == listed[id_]["Type"]
        assert record.description == listed[id_]["Description"]
        assert [record.parent] == (listed[id_].get(" Parents") or [""])
        assert record.created is not None
        assert record.last_used is not None
        assert record.created <= record.last_used


def test_the_containerd_image_store_has_no_records_of_this_kind(captures: Path) -> None:
    docker = captures / "containerd/var/lib/docker"
    assert read_buildkit(os.fsencode(docker)) == BuildkitReading()


def test_an_engine_that_never_built_is_no_problem(tmp_path: Path, root: Root) -> None:
    assert read_buildkit(os.fsencode(tmp_path / "nothing")) == BuildkitReading()
    root.write(metadata_v2={}, snapshots={}, containerdmeta={})
    assert root.read() == BuildkitReading()


# --- from record to directory ---------------------------------------------------------------------


def test_a_mutable_record_has_a_directory_of_its_own_name(root: Root) -> None:
    root.write(
        metadata_v2=metadata(**{R: dict([key("cache.snapshot", R)])}),
        snapshots={R.encode(): {b"parent": CHAIN.encode(), b"size": b"7"}},
    )
    record = root.only()
    assert (record.directory, record.parent, record.committed) == (R, CHAIN, False)


def test_a_committed_record_has_another_directory_and_that_ones_parent(root: Root) -> None:
    root.write(
        metadata_v2=metadata(**{R: {}}),
        snapshots={
            R.encode(): {b"committed": D.encode(), b"size": b"7"},
            D.encode(): {b"parent": R2.encode(), b"iscommitted": b""},
        },
    )
    record = root.only()
    assert (record.id, record.directory, record.parent) == (R, D, R2)
    assert record.committed
    assert root.read().unclaimed == ()


def test_an_exported_record_has_a_directory_and_a_chain(root: Root) -> None:
    """Two builds of the same layer: the chain is the first one's, the directory is its own."""
    shape = {b"chainid": CHAIN.encode()}
    root.write(
        metadata_v2=metadata(**{R: {}, R2: {}}),
        snapshots={
            R.encode(): {**shape, b"committed": D.encode()},
            R2.encode(): {**shape, b"committed": D2.encode()},
            D.encode(): {b"iscommitted": b""},
            D2.encode(): {b"iscommitted": b""},
            CHAIN.encode(): {},
        },
    )
    reading = root.read()
    assert {(each.id, each.directory, each.chain_id) for each in reading.records} == {
        (R, D, CHAIN),
        (R2, D2, CHAIN),
    }
    assert reading.unclaimed == ()


@pytest.mark.parametrize("said_by", ["snapshots", "metadata", "snapshot key"])
def test_a_record_of_an_image_layer_has_only_the_chain(root: Root, said_by: str) -> None:
    values = {
        "snapshots": {},
        "metadata": dict([key("cache.chainID", CHAIN)]),
        "snapshot key": dict([key("cache.snapshot", CHAIN)]),
    }[said_by]
    snapshots: Tree = {R.encode(): {b"chainid": CHAIN.encode()}} if said_by == "snapshots" else {}
    root.write(metadata_v2=metadata(**{R: values}), snapshots=snapshots)
    record = root.only()
    assert (record.directory, record.chain_id, record.committed) == ("", CHAIN, True)


def test_an_alias_shares_the_mutable_records_directory(root: Root) -> None:
    alias = dict([key("cache.equalMutable", R2), key("cache.snapshot", R)])
    root.write(
        metadata_v2=metadata(**{R: alias, R2: dict([key("cache.snapshot", R2)])}),
        snapshots={R2.encode(): {b"parent": b""}},
    )
    reading = root.read()
    assert {(each.id, each.directory, each.alias_of) for each in reading.records} == {
        (R, R2, R2),
        (R2, R2, ""),
    }


def test_an_alias_that_became_a_snapshot_of_its_own_is_none_any_more(root: Root) -> None:
    """buildkit clears equalMutable with an empty value once the snapshot is committed."""
    root.write(
        metadata_v2=metadata(**{R: {b"cache.equalMutable": b""}}),
        snapshots={R.encode(): {b"committed": D.encode()}, D.encode(): {b"iscommitted": b""}},
    )
    record = root.only()
    assert (record.directory, record.alias_of) == (D, "")


def test_aliases_in_a_circle_come_to_an_end(root: Root) -> None:
    aliases = {"outside": R, R: R2, R2: R}
    records = {id_: dict([key("cache.equalMutable", to)]) for id_, to in aliases.items()}
    root.write(metadata_v2=metadata(**records), snapshots={D.encode(): {b"parent": b""}})
    reading = root.read()
    assert {record.id for record in reading.records} == aliases.keys()
    assert reading.unclaimed == (D,)


def test_names_and_times_of_a_cache_mount(root: Root) -> None:
    values = dict(
        [
            key("cache.description", "cached mount /var/cache/npm from exec npm ci"),
            key("cache.recordType", "exec.cachemount"),
            key("cache.createdAt", 1_700_000_000_500_000_000),
            key("cache.lastUsedAt", 1_700_000_100_000_000_000),
            key("cache-dir:/npm", "/npm"),
        ]
    )
    root.write(metadata_v2=metadata(**{R: values}), snapshots={R.encode(): {b"parent": b""}})
    record = root.only()
    assert record.cache_mount_id == "/npm"
    assert record.record_type == "exec.cachemount"
    assert record.description.startswith("cached mount")
    assert (record.created, record.last_used) == (1_700_000_000.5, 1_700_000_100.0)


# --- who is live ----------------------------------------------------------------------------------


def test_what_a_prune_left_in_snapshots_db_is_no_record(root: Root) -> None:
    root.write(
        metadata_v2=metadata(),
        snapshots={R.encode(): {b"chainid": CHAIN.encode()}, CHAIN.encode(): {}},
        containerdmeta=leases({}),
    )
    assert root.read() == BuildkitReading()


def test_directories_that_no_live_record_leads_to_are_told(root: Root) -> None:
    root.write(
        metadata_v2=metadata(**{R: {}}),
        snapshots={
            R.encode(): {b"parent": b""},
            R2.encode(): {b"parent": b""},
            b"x": {b"committed": D.encode()},
            D.encode(): {b"iscommitted": b""},
            D2.encode(): {b"iscommitted": b""},
        },
    )
    reading = root.read()
    assert [record.id for record in reading.records] == [R]
    assert reading.unclaimed == tuple(sorted((R2, D, D2)))


def test_a_lease_keeps_a_snapshot_that_has_no_record(root: Root) -> None:
    root.write(
        metadata_v2=metadata(**{R: {}}),
        snapshots={
            R.encode(): {b"parent": b""},
            R2.encode(): {b"committed": D.encode()},
            D.encode(): {b"iscommitted": b""},
        },
        containerdmeta=leases({R: [R], "some-other-lease": [R2, CHAIN]}),
    )
    reading = root.read()
    assert reading.problems == ()
    assert {(each.id, each.directory, each.chain_id) for each in reading.records} == {
        (R, R, ""),
        (R2, D, ""),
        (CHAIN, "", CHAIN),
    }
    assert reading.unclaimed == ()


# --- damage ---------------------------------------------------------------------------------------

GOOD: dict[str, Tree] = {
    "metadata_v2": metadata(**{R: dict([key("cache.snapshot", R)])}),
    "snapshots": {R.encode(): {b"parent": b""}},
    "containerdmeta": leases({R: [R]}),
}


@pytest.mark.parametrize("name", GOOD)
def test_an_unreadable_database_hides_owners(root: Root, name: str) -> None:
    root.write(**GOOD)
    path = root.path / "buildkit" / f"{name}.db"
    path.write_bytes(path.read_bytes()[:5000])
    [problem] = root.read().problems
    assert problem.hides_owners
    assert problem.source == str(path)
    assert str(path) in problem.sentence


@pytest.mark.parametrize("name", ["metadata_v2", "snapshots"])
def test_one_database_without_the_other_hides_owners(root: Root, name: str) -> None:
    root.write(**GOOD)
    (root.path / "buildkit" / f"{name}.db").unlink()
    [problem] = root.read().problems
    assert problem.hides_owners
    assert "missing" in problem.sentence


@pytest.mark.parametrize(
    "value", [b"[1]", b"{", b"null", b'{"value":["list"]}', b'{"value":5}', b"\xff", b"[" * 100_000]
)
@pytest.mark.parametrize("name", ["cache.snapshot", "cache.equalMutable", "cache.chainID"])
def test_a_damaged_value_that_leads_somewhere_hides_owners(
    root: Root, name: str, value: bytes
) -> None:
    root.write(**{**GOOD, "metadata_v2": metadata(**{R: {name.encode(): value}})})
    reading = root.read()
    assert [record.id for record in reading.records] == [R]
    assert [problem.hides_owners for problem in reading.problems] == [True]
    assert f"{R}/{name}" in reading.problems[0].sentence


@pytest.mark.parametrize("value", [b"[1]", b"{", b'{"value":[]}', b'{"value":1e999}', b"7" * 9999])
def test_a_damaged_description_or_time_only_goes_unsaid(root: Root, value: bytes) -> None:
    names = (b"cache.description", b"cache.recordType", b"cache.createdAt", b"cache.lastUsedAt")
    root.write(**{**GOOD, "metadata_v2": metadata(**{R: dict.fromkeys(names, value)})})
    record = root.only()
    assert (record.description, record.record_type, record.created) == ("", "regular", None)


@pytest.mark.parametrize(
    "broken",
    [
        {"metadata_v2": {b"_main": b"text"}},
        {"metadata_v2": {b"_main": {R.encode(): b"text"}}},
        {"snapshots": {R.encode(): b"text"}},
        {"snapshots": {R.encode(): {b"committed": {}}}},
        {"snapshots": {R.encode(): {b"committed": b"../../etc"}}},
        {"snapshots": {b"..": {b"parent": b""}}},
    ],
)
def test_the_wrong_kind_of_thing_hides_owners(root: Root, broken: dict[str, Tree]) -> None:
    root.write(**{**GOOD, **broken})
    reading = root.read()
    assert reading.problems
    assert all(problem.hides_owners for problem in reading.problems)
    names = {record.directory for record in reading.records} | set(reading.unclaimed)
    assert not any("/" in name or name == ".." for name in names)


def test_many_faults_make_one_problem(root: Root) -> None:
    root.write(**{**GOOD, "snapshots": {b"key%d" % number: b"" for number in range(500)}})
    [problem] = root.read().problems
    assert "499 more" in problem.sentence


words = st.sampled_from(
    [
        *(b"_main", b"v1", b"buildkit", b"leases", b"snapshots", b"default", b"r", b"d", b"c"),
        *(b"parent", b"committed", b"iscommitted", b"chainid", b"sha256:c", b"..", b"\xff"),
        *(b"cache.snapshot", b"cache.equalMutable", b"cache.createdAt", b"cache-dir:x"),
    ]
)
contents = words | st.sampled_from(
    [b"", b'{"value":"r"}', b'{"value":"d"}', b'{"value":"sha256:c"}', b'{"value":[]}', b"[]"]
)
trees: st.SearchStrategy[dict[bytes, object]] = st.recursive(
    st.dictionaries(words, contents, max_size=4),
    lambda inner: st.dictionaries(words, contents | inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None)
@given(trees, trees, trees)
def test_any_three_databases_give_an_answer(main: Tree, snapshots: Tree, leased: Tree) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Root(Path(folder) / "root")
        root.write(
            metadata_v2={b"_main": main},
            snapshots=snapshots,
            containerdmeta={b"v1": {b"buildkit": {b"leases": leased}}},
        )
        reading = root.read()
    claimed = {record.directory for record in reading.records}
    assert len({record.id for record in reading.records}) == len(reading.records)
    assert claimed.isdisjoint(reading.unclaimed)
    assert all(record.directory or record.chain_id for record in reading.records)
    if not reading.problems:
        mutable = {
            os.fsdecode(name)
            for name, bucket in snapshots.items()
            if isinstance(bucket, dict) and not {b"committed", b"chainid"} & bucket.keys()
        }
        known = claimed | set(reading.unclaimed)
        assert {name for name in mutable if not name.startswith("sha256:")} <= known
