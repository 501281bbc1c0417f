"""From a name, a number or the beginning of an id to its owner."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from app.demo.ids import cache_id, hex_id, link_token
from app.demo.volumes import add_volume
from app.lookup.names import image_name
from app.lookup.query import lookup
from app.model import Store
from tests.unit.containerd_files import ContainerdRoot
from tests.unit.lookups import WEB, ask, containerd_store, overlay, owners
from tests.unit.small_root import SmallRoot, make_small_root


def test_the_beginning_of_a_directorys_name(small: SmallRoot, store: Store) -> None:
    name = small.container.layer.name
    for asked in (name[:12], name[:6], name[:12].upper()):
        answers = lookup(asked.encode(), (store,))
        assert [it.layer.id for it in answers if it.layer] == [name]
    init = ask(f"{name}-init", store)
    assert init.layer
    assert (init.layer.id, owners(init)) == (f"{name}-init", WEB)
    assert ask(small.cached.name, store).layer is not None


def test_the_beginning_of_a_containers_id(small: SmallRoot, store: Store) -> None:
    answers = lookup(small.container.id[:12].encode(), (store,))
    found = [it.layer.id for it in answers if it.layer]
    assert found == [small.container.layer.name, small.container.init.name]


def test_the_beginning_of_an_images_or_a_records_id(small: SmallRoot, store: Store) -> None:
    for asked in (small.image.id, small.image.id[7:19], small.image.id[:19]):
        answer = ask(asked, store)
        assert owners(answer) == [("image", "app:1")]
        assert small.top.directory.name in answer.note
        assert answer.evidence
    answer = ask(small.record, store)
    assert answer.layer is not None
    assert answer.layer.id == small.cached.name


def test_a_token_bare_and_as_mount_options_have_it(small: SmallRoot, store: Store) -> None:
    layer = small.container.layer
    for asked in (layer.token, f"l/{layer.token}", small.path / "overlay2/l" / layer.token):
        assert owners(ask(asked, store)) == WEB
    # And the upper directory as a mount with relative options shows it.
    assert owners(ask(f"{layer.name}/diff", store)) == WEB


def test_a_dangling_token_says_where_it_led(small: SmallRoot, store: Store) -> None:
    for asked in (link_token("gone"), small.path / "overlay2/l" / link_token("gone")):
        answer = ask(asked, store)
        assert not answer.found
        assert hex_id("gone") in answer.note
        assert "gone" in answer.note


@pytest.mark.parametrize(
    "asked", [link_token("never"), cache_id("never"), "ab12", "webb", "sha256:", "no such thing"]
)
def test_what_nothing_begins_with_says_what_to_give(store: Store, asked: str) -> None:
    answer = ask(asked, store)
    assert not answer.found
    assert "give a path" in answer.note


def test_a_container_without_layers_is_found_by_id(small: SmallRoot, store: Store) -> None:
    bare = replace(
        store, layers={}, containers=tuple(replace(it, layers=()) for it in store.containers)
    )
    assert owners(ask(small.container.id[:12], bare)) == WEB


def test_a_file_in_the_working_directory_hides_no_name(
    small: SmallRoot, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("web", "app:1", "pgdata", small.container.layer.name[:12], "nobody"):
        (tmp_path / name).touch()
    assert owners(ask(small.container.layer.name[:12], store)) == WEB
    assert WEB in [owners(it) for it in lookup(b"web", (store,))]
    assert owners(ask("app:1", store))[0] == ("image", "app:1")
    assert owners(ask("pgdata", store)) == [("volume", "pgdata")]
    # A path is meant where there is a slash, and where nothing has the name.
    for asked in ("./web", tmp_path / "web", "nobody"):
        assert "outside" in ask(asked, store).note


def test_a_word_that_is_a_mount_point_and_a_name_is_answered_as_both(
    small: SmallRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    point = tmp_path / "pgdata"
    point.mkdir()
    store = small.store(time.time(), seen=(overlay(bytes(point), small.cached.diff),))
    found = lookup(b"pgdata", (store,))
    assert [it.layer.id if it.layer else "" for it in found] == [small.cached.name, ""]
    assert owners(found[1]) == [("volume", "pgdata")]


def test_a_container_goes_by_the_name_that_docker_inspect_prints(store: Store) -> None:
    assert lookup(b"/web", (store,))
    assert all(owners(it) == WEB for it in lookup(b"/web", (store,)))
    assert "outside" in ask("//web", store).note
    assert "outside" in ask("/pgdata", store).note


def test_the_beginning_of_an_anonymous_volumes_name(tmp_path: Path) -> None:
    small = make_small_root(tmp_path / "docker")
    name = hex_id("anonymous")
    add_volume(small.path, name)
    store = small.store(time.time())
    for asked in (name[:12], name):
        assert owners(ask(asked, store)) == [("volume", name)]
    # A name that somebody gave is not shortened anywhere.
    assert "nothing is called" in ask("pgdat0", store).note
    assert "nothing is called" in ask("pgdat", store).note


@pytest.mark.parametrize(
    ("typed", "known"),
    [
        ("docker.io/library/app:1", "app:1"),
        ("index.docker.io/library/app:1", "app:1"),
        ("app:1", "docker.io/library/app:1"),
        ("app", "docker.io/library/app:latest"),
        ("docker.io/acme/app", "acme/app:latest"),
        ("localhost/app:1", "localhost/app:1"),
        ("host:5000/app", "host:5000/app:latest"),
        (f"docker.io/library/app:1@sha256:{'a' * 64}", f"app@sha256:{'a' * 64}"),
    ],
)
def test_an_image_is_found_however_much_of_its_name_is_typed(
    store: Store, typed: str, known: str
) -> None:
    digests = (known,) if "@" in known else ()
    tags = () if digests else (known,)
    image = replace(store.images[0], digests=digests)
    named = replace(image, owner=replace(image.owner, name="".join(tags), tags=tags))
    assert owners(ask(typed, replace(store, images=(named,)))) == [("image", "".join(tags))]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("app:1", "app:2"),
        ("app", "acme/app"),
        ("app:1", "host:5000/library/app:1"),
        ("localhost/app", "app"),
        ("app@sha256:1", "app:1"),
    ],
)
def test_names_of_different_images_stay_different(one: str, other: str) -> None:
    assert image_name(one) != image_name(other)


def test_a_key_that_several_namespaces_have_is_answered_for_each(tmp_path: Path) -> None:
    root = ContainerdRoot(tmp_path / "containerd")
    diff = "sha256:" + "1" * 64
    ids = [root.layers([diff], namespace)[0] for namespace in ("moby", "k8s.io", "default")]
    root.write()
    store = containerd_store(root)
    assert [it.layer.id for it in lookup(diff.encode(), (store,)) if it.layer] == ids
    assert [it.layer.id for it in lookup(diff[7:19].encode(), (store,)) if it.layer] == ids
    (only,) = lookup(f"k8s.io/102/{diff}".encode(), (store,))
    assert only.layer == store.layers[ids[1]]
