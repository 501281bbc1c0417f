"""The JSON contract: these keys and no fewer, these words for kinds, names that come back whole."""

from __future__ import annotations

import json
import os
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app import documents
from app.inventory import ImageRow, Inventory, LayerRow, OtherRow, Sums
from app.lookup.query import Answer
from app.model import (
    AS_LAST_SAVED,
    Container,
    DataRoot,
    Evidence,
    Headroom,
    ImageInfo,
    ImageStore,
    Kind,
    Layer,
    Owner,
    Problem,
    Reference,
    Role,
    Store,
    Usage,
    Volume,
)

ROOT = DataRoot(b"/var/lib/docker", "overlay2", ImageStore.GRAPHDRIVER, "the default place")
WEB = Owner(Kind.CONTAINER, "c" * 64, "web", "running", "acme/web:1", (), compose_project="shop")
LAYER = Layer(
    "a" * 64,
    b"/var/lib/docker/overlay2/" + b"a" * 64,
    Role.WRITABLE,
    owners=(WEB,),
    references=(Reference(Kind.CONTAINER, WEB.id, "web", "this is its writable layer"),),
    evidence=(Evidence("mount-id", "says so"),),
    mounts=(b"/merged",),
)
STORE = Store(ROOT, {LAYER.id: LAYER}, problems=(Problem("here", "A sentence.", True),))
USAGE = Usage(1, 2, 3, 4, 5, 6)


def test_which_has_the_keys_that_scripts_read() -> None:
    answer = Answer(b"/x", STORE, LAYER, LAYER.owners, LAYER.references, LAYER.evidence)
    (found,) = json.loads(documents.dump([documents.answer(answer)]))
    assert found.keys() >= {
        "path",
        "store",
        "data_root",
        "layer",
        "owners",
        "references",
        "evidence",
    }
    assert (found["store"], found["data_root"]) == ("overlay2", "/var/lib/docker")
    assert found["layer"].keys() >= {"id", "path", "role", "mounted", "active"}
    assert found["layer"]["mounted"] is True
    assert found["layer"]["active"] is True
    (owner,) = found["owners"]
    assert owner.keys() >= {"kind", "id", "name", "state", "image", "tags", "compose"}
    assert owner["name"] == "web"
    assert owner["compose"] == {"project": "shop", "service": ""}
    assert found["references"] == [
        {
            "kind": "container",
            "id": WEB.id,
            "name": "web",
            "why": "this is its writable layer",
        }
    ]
    assert found["evidence"] == [{"source": "mount-id", "says": "says so"}]


def test_an_answer_without_a_layer_has_the_same_keys() -> None:
    full = documents.answer(Answer(b"/x", STORE, LAYER, LAYER.owners))
    empty = documents.answer(Answer(b"/x"))
    assert empty.keys() == full.keys()
    assert empty["layer"] is None
    assert empty["owners"] == []


def test_every_owner_has_the_same_keys_and_a_compose_object() -> None:
    for kind in Kind:
        found = documents.owner(Owner(kind, "id"))
        assert found.keys() == documents.owner(WEB).keys()
        assert found["compose"] == {"project": "", "service": ""}
        assert found["tags"] == []


def test_a_state_is_one_word_whoever_said_it() -> None:
    saved = documents.owner(replace(WEB, state="running" + AS_LAST_SAVED))
    assert (saved["state"], saved["state_as_last_saved"]) == ("running", True)
    assert documents.owner(WEB)["state_as_last_saved"] is False


def test_kinds_are_the_words_of_the_contract() -> None:
    owning = {Kind.CONTAINER, Kind.IMAGE, Kind.BUILD_CACHE, Kind.VOLUME, Kind.LOG}
    assert {documents.owner(Owner(kind, "x"))["kind"] for kind in owning} == {
        "container",
        "image",
        "build-cache",
        "volume",
        "log",
    }


def _report(top: int | None = None) -> documents.Document:
    volume = Volume(Owner(Kind.VOLUME, "data", "data"), b"/v/data", users=(WEB,))
    inventory = Inventory(
        (LayerRow(STORE, LAYER, USAGE), LayerRow(STORE, LAYER, USAGE)),
        (OtherRow(STORE, volume, USAGE), OtherRow(STORE, Container(WEB, b"/c"), USAGE)),
        (ImageRow(STORE, ImageInfo(WEB), USAGE, USAGE, USAGE, USAGE),),
        Sums(USAGE, USAGE, USAGE, USAGE, USAGE, Usage(unreadable=7)),
    )
    filesystems = [
        Headroom(b"/", "ext4", "vda", 1, 2, 3, 4, 7),
        Headroom(b"/b", "btrfs", "vdb", 1, 2, 0, 0, 0),
    ]
    problems = [Problem("engine", "It does not answer.")]
    text = documents.dump(documents.report([STORE], filesystems, inventory, problems, top))
    found: documents.Document = json.loads(text)
    return found


def test_report_has_the_keys_that_scripts_read() -> None:
    found = _report()
    assert found.keys() >= {"data_roots", "filesystems", "layers", "unreadable"}
    assert found["unreadable"] == 7
    layer = found["layers"][0]
    assert layer.keys() >= {"path", "store", "data_root", "layer", "owners", "references"}
    figures = {key: layer[key] for key in documents.usage(USAGE)}
    assert figures == {
        "bytes": 1,
        "apparent_bytes": 2,
        "inodes": 3,
        "exclusive_bytes": 4,
        "exclusive_inodes": 5,
        "unreadable": 6,
    }
    assert found["filesystems"][0]["bytes"] == {"used": 1, "free": 2}
    assert found["filesystems"][1]["inodes"] is None  # no limit is not "0 of 0"
    assert found["data_roots"][0]["problems"][0]["says"] == "A sentence."
    assert found["problems"][0]["source"] == "engine"
    volume, container = found["others"]
    assert (volume["kind"], volume["name"]) == ("volume", "data")
    assert [it["name"] for it in volume["users"]] == ["web"]
    assert (container["kind"], container["path"]) == ("container", "/c")


def test_top_shortens_the_lists() -> None:
    found = _report(top=1)
    assert (len(found["layers"]), len(found["others"])) == (1, 1)
    assert _report()["sums"] == found["sums"]


def test_du_has_the_keys_that_scripts_read() -> None:
    assert documents.du({b"/x": USAGE}) == [
        {"path": "/x", "bytes": 1, "apparent_bytes": 2, "inodes": 3, "unreadable": 6}
    ]


@given(st.binary(min_size=1, max_size=40).filter(lambda it: b"\0" not in it))
def test_any_path_comes_back_byte_for_byte_and_harmless(path: bytes) -> None:
    text = documents.dump(documents.du({path: USAGE}))
    assert all(it.isprintable() or it == "\n" for it in text)
    assert text.isascii()
    assert os.fsencode(json.loads(text)[0]["path"]) == path
