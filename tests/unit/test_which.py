"""``whodiff which``: whose it is, and the status that says so."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from app.commands import status_of
from app.demo.containers_story import CHECKPOINTS
from app.demo.ids import hex_id
from app.demo.images import add_image, add_layer, write_tags
from app.demo.layout import add_directory, make_root
from app.demo.sample import DANGLING, LEFT_INIT, ORPHAN, YOUNG
from app.demo.volumes import add_volume
from app.lookup.query import lookup
from app.model import Kind, Owner, Problem, Role
from app.survey import Request, survey
from tests.unit.commands import Run, layer_of, on
from tests.unit.small_root import SmallRoot, make_small_root


def test_which_says_role_and_owner_before_the_evidence(demo_root: Path, run: Run) -> None:
    layer = layer_of(demo_root, "arroyo")
    asked = demo_root / "overlay2" / layer / "diff" / CHECKPOINTS
    status, out, _ = run("which", asked, *on(demo_root))
    assert status == 0
    labels = [line.split()[0] for line in out.splitlines()]
    assert labels[:4] == [str(asked), "role", "owner", "layer"]
    assert labels[4:] == sorted(labels[4:], reverse=True)  # references, then evidence
    assert (
        "container arroyo, running (as last saved), image ghcr.io/arroyosystems/arroyo:0.15" in out
    )
    assert str(demo_root / "overlay2" / layer) in out


@pytest.mark.parametrize("what", ["merged", "diff/etc/passwd", "work/work", ""])
def test_any_path_in_a_layer_leads_to_its_owner(demo_root: Path, run: Run, what: str) -> None:
    layer = demo_root / "overlay2" / layer_of(demo_root, "elk")
    status, out, _ = run("which", "--json", layer / what, *on(demo_root))
    (answer,) = json.loads(out)
    assert status == 0
    assert [it["name"] for it in answer["owners"]] == ["elk"]


def test_short_ids_and_tokens_lead_to_the_same_answer(demo_root: Path, run: Run) -> None:
    layer = layer_of(demo_root, "shop-web-1")
    token = (demo_root / "overlay2" / layer / "link").read_text()
    for asked in (layer, token, f"{demo_root}/overlay2/l/{token}"):
        status, out, _ = run("which", "--json", asked, *on(demo_root))
        assert status == 0
        assert {it["layer"]["id"] for it in json.loads(out)} >= {layer}
    # A container's id gives all of its layers, twelve digits of anything are enough.
    container = json.loads(out)[0]["owners"][0]["id"]
    status, out, _ = run("which", "--json", container[:12], *on(demo_root))
    assert {it["layer"]["id"] for it in json.loads(out)} == {layer, f"{layer}-init"}


def test_a_log_is_called_a_log(demo_root: Path, run: Run) -> None:
    log = next(demo_root.glob("containers/*/*-json.log"))
    status, out, _ = run("which", "--json", log, *on(demo_root))
    (answer,) = json.loads(out)
    assert status == 0
    assert [it["kind"] for it in answer["owners"]] == ["log", "container"]
    assert {it["state"] for it in answer["owners"]} <= {"running", "exited"}  # words, no remarks
    status, out, _ = run("which", log, *on(demo_root))
    assert "owner       log of container " in out


def test_a_volume_names_its_users(demo_root: Path, run: Run) -> None:
    status, out, _ = run("which", demo_root / "volumes/shop_pgdata/_data", *on(demo_root))
    assert status == 0
    assert "owner       volume shop_pgdata" in out
    assert "container shop-db-1: uses the volume (running (as last saved))" in out


@pytest.mark.parametrize("asked", [ORPHAN, LEFT_INIT, DANGLING, "abcdef123456"])
def test_nobodys_is_status_1(demo_root: Path, run: Run, asked: str) -> None:
    status, out, _ = run("which", asked, *on(demo_root))
    assert status == 1
    assert "owner       none found" in out
    assert "note " in out


@pytest.mark.parametrize("asked", ["/", "/nonexistent/path", "{root}/overlay2/gone"])
def test_paths_outside_and_paths_that_are_not_there_are_status_1(
    demo_root: Path, run: Run, asked: str
) -> None:
    status, out, err = run("which", asked.format(root=demo_root), *on(demo_root))
    assert status == 1
    assert "note " in out
    assert "Traceback" not in err


@pytest.mark.parametrize("inside", ["", "overlay2", "overlay2/l", "volumes", "image", "buildkit"])
def test_what_is_dockers_own_is_answered(demo_root: Path, run: Run, inside: str) -> None:
    status, out, _ = run("which", demo_root / inside, *on(demo_root))
    assert status == 0
    assert "is Docker's own" in out


def test_an_entry_that_nothing_names_is_not_called_dockers_own(demo_root: Path, run: Run) -> None:
    """A file among the layers, or an odd directory among the containers: nobody can tell."""
    asked = demo_root / "containers/odd"
    asked.mkdir()
    try:
        status, out, _ = run("which", asked, *on(demo_root))
    finally:
        asked.rmdir()
    assert status == 2
    assert "ask again" in out


def test_what_is_not_there_is_said_to_be_missing(demo_root: Path, run: Run) -> None:
    _, out, _ = run("which", demo_root / "overlay2/gone", *on(demo_root))
    assert "is not there" in out


def test_an_unknown_layer_is_status_2_for_it_may_have_an_owner(demo_root: Path, run: Run) -> None:
    status, out, _ = run("which", YOUNG, *on(demo_root))
    assert status == 2
    assert "role        unknown" in out
    assert "being created?" in out


def test_the_worst_answer_decides_the_status(demo_root: Path, run: Run) -> None:
    known = layer_of(demo_root, "elk")
    assert run("which", known, ORPHAN, *on(demo_root))[0] == 1
    assert run("which", YOUNG, ORPHAN, known, *on(demo_root))[0] == 2


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A root with an image whose config cannot be read, and a directory that nobody names."""
    root = make_root(tmp_path / "docker")
    image = add_image(root, add_layer(root, "base"), "2025-01-01T00:00:00Z", ["true"])
    write_tags(root, {"acme/app:1": image})
    config = image.id.removeprefix("sha256:")
    (root / "image/overlay2/imagedb/content/sha256" / config).write_text("{")
    add_directory(root, hex_id("nobody's"))
    for entry in (root / "overlay2" / hex_id("nobody's")).rglob("*"):
        os.utime(entry, (0, 0), follow_symlinks=False)
    os.utime(root / "overlay2" / hex_id("nobody's"), (0, 0))
    return root


@pytest.mark.parametrize("asked", [hex_id("nobody's"), "abcdef123456"])
def test_nobodys_is_not_said_while_metadata_cannot_be_read(
    damaged: Path, run: Run, asked: str
) -> None:
    status, out, err = run("which", asked, *on(damaged))
    assert status == 2
    assert "unreferenced" not in out
    assert "imagedb" in err


def test_a_proven_role_stands_whatever_else_cannot_be_read(demo_root: Path) -> None:
    found = survey(Request((os.fsencode(demo_root),), offline=True))
    (store,) = found.stores
    hiding = Problem("x", "x cannot be read.", hides_owners=True)
    unread = replace(found, stores=(replace(store, problems=(hiding,)),))
    for role, status in (
        (Role.UNREFERENCED, 1),
        (Role.PENDING_REMOVAL, 1),
        (Role.INACTIVE, 2),
        (Role.IMAGE, 2),
    ):
        layer = replace(store.layers[ORPHAN], role=role)
        left = replace(unread, stores=(replace(unread.stores[0], layers={ORPHAN: layer}),))
        (answer,) = lookup(ORPHAN.encode(), left.stores)
        assert status_of(answer, left) == status
        assert status_of(replace(answer, owners=(Owner(Kind.IMAGE, "x"),)), left) == 0


@pytest.fixture
def unread(tmp_path: Path) -> SmallRoot:
    """A root whose only container cannot be read: which volumes it uses is not known."""
    small = make_small_root(tmp_path / "docker")
    (small.container.directory / "config.v2.json").write_text('{"ID":')
    return small


@pytest.mark.parametrize("asked", ["pgdata", "{root}/volumes/pgdata/_data"])
def test_no_user_of_a_volume_is_not_said_for_sure_while_settings_cannot_be_read(
    unread: SmallRoot, run: Run, asked: str
) -> None:
    status, out, _ = run("which", asked.format(root=unread.path), *on(unread.path))
    assert status == 2
    assert "as far as can be read" in out
    assert "config.v2.json" in out


def test_an_unused_volume_is_answered(tmp_path: Path, run: Run) -> None:
    small = make_small_root(tmp_path / "docker")
    add_volume(small.path, "spare")
    status, out, _ = run("which", "spare", *on(small.path))
    assert status == 0
    assert out.splitlines()[-1].endswith("no container uses this volume")


def test_a_hostile_word_is_written_out_once(demo_root: Path, run: Run) -> None:
    status, out, _ = run("which", os.fsdecode(b"\xff\xfe\x1b[2J"), *on(demo_root))
    assert status == 1
    assert r"nothing is called '\xff\xfe\x1b[2J', and" in out


def test_several_answers_are_apart(demo_root: Path, run: Run) -> None:
    _, out, _ = run("which", layer_of(demo_root, "elk"), ORPHAN, *on(demo_root))
    assert len(out.split("\n\n")) == 2
