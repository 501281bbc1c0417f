"""Volume directories, their options and the engine's notes on them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.demo.bolt_file import write_bolt
from app.host import safe_read as files
from app.stores.metadata.docker.volumes import VolumeRecord, read_volumes
from tests.unit.store_files import DAMAGES, remove


def add(root: Path, name: str, options: object = None) -> Path:
    place = root / "volumes" / name
    (place / "_data").mkdir(parents=True)
    if options is not None:
        (place / "opts.json").write_text(json.dumps(options))
    return place


def write_metadata(root: Path, volumes: dict[str, object]) -> Path:
    path = root / "volumes" / "metadata.db"
    path.parent.mkdir(exist_ok=True)
    entries = {name.encode(): json.dumps(value).encode() for name, value in volumes.items()}
    write_bolt(path, {b"volumes": entries})
    return path


def read(root: Path) -> dict[str, VolumeRecord]:
    volumes, problems = read_volumes(os.fsencode(root))
    assert not problems
    return {volume.name: volume for volume in volumes}


def test_a_real_hosts_volumes_are_found(captures: Path) -> None:
    for store in ("overlay2", "containerd"):
        root = captures / store / "var/lib/docker"
        volumes = read(root)
        assert sorted(volumes) == ["couchdata", "forgotten"]
        assert volumes["forgotten"].path == os.fsencode(root / "volumes/forgotten")
        assert not any(volume.anonymous or volume.backing for volume in volumes.values())


def test_hex_names_and_the_label_mean_anonymous(tmp_path: Path) -> None:
    add(tmp_path, "a" * 64)
    add(tmp_path, "named")
    add(tmp_path, "labelled")
    write_metadata(
        tmp_path,
        {
            "labelled": {"Name": "labelled", "Labels": {"com.docker.volume.anonymous": ""}},
            "named": {"Name": "named", "Driver": "local", "Labels": {"team": "shop"}},
            "elsewhere": {"Name": "elsewhere", "Driver": "rexray"},
        },
    )
    volumes = read(tmp_path)
    assert {name for name, it in volumes.items() if it.anonymous} == {"a" * 64, "labelled"}
    assert volumes["named"].labels == {"team": "shop"}
    assert "elsewhere" not in volumes


def test_mount_options_say_where_the_data_really_is(tmp_path: Path) -> None:
    options = {"MountType": "nfs", "MountDevice": ":/export", "MountOpts": "addr=10.0.0.1,rw"}
    add(tmp_path, "by-file", options)
    add(tmp_path, "by-notes")
    add(tmp_path, "quota", {"MountType": "", "MountOpts": "", "MountDevice": "", "Quota": {}})
    notes = {"Options": {"type": "tmpfs", "device": "tmpfs", "o": "size=1g"}, "Labels": None}
    write_metadata(tmp_path, {"by-notes": notes})
    volumes = read(tmp_path)
    assert volumes["by-file"].backing == "nfs :/export (addr=10.0.0.1,rw)"
    assert volumes["by-notes"].backing == "tmpfs tmpfs (size=1g)"
    assert volumes["quota"].backing == ""


def test_what_is_no_directory_is_no_volume(tmp_path: Path) -> None:
    add(tmp_path, "real")
    os.mkfifo(tmp_path / "volumes/backingFsBlockDev")
    (tmp_path / "volumes/a file").touch()
    (tmp_path / "volumes/link").symlink_to("/")
    volumes, [problem] = read_volumes(os.fsencode(tmp_path))
    assert [volume.name for volume in volumes] == ["real"]
    assert "symbolic link" in problem.sentence


def test_names_keep_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "volumes").mkdir()
    os.mkdir(os.path.join(os.fsencode(tmp_path / "volumes"), b"\xff\n"))
    [volume] = read(tmp_path).values()
    assert os.fsencode(volume.name) == b"\xff\n"


@pytest.mark.parametrize("kind", sorted(set(DAMAGES) - {"missing"}))
def test_damaged_options_never_look_like_a_plain_volume(tmp_path: Path, kind: str) -> None:
    add(tmp_path, "well")
    place = add(tmp_path, "hurt", {"MountType": "nfs", "MountDevice": ":/", "MountOpts": ""})
    DAMAGES[kind](place / "opts.json")
    volumes, [problem] = read_volumes(os.fsencode(tmp_path))
    assert {volume.name: bool(volume.backing) for volume in volumes} == {
        "hurt": True,
        "well": False,
    }
    assert "hurt" in problem.sentence


@pytest.mark.parametrize("kind", sorted(set(DAMAGES) - {"missing", "symlink"}))
def test_damaged_notes_are_one_problem_and_the_volumes_stay(tmp_path: Path, kind: str) -> None:
    add(tmp_path, "data")
    DAMAGES[kind](write_metadata(tmp_path, {"data": {"Labels": {}}}))
    volumes, problems = read_volumes(os.fsencode(tmp_path))
    assert [volume.name for volume in volumes] == ["data"]
    assert len(problems) == 1


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(["Labels", "Options", "Driver", "o", "type"]), inner)
        ),
        max_leaves=6,
    )
)
def test_any_json_in_notes_and_options_is_survived(tmp_path: Path, value: object) -> None:
    remove(tmp_path / "volumes")
    add(tmp_path, "data", value)
    write_metadata(tmp_path, {"data": value})
    volumes, _ = read_volumes(os.fsencode(tmp_path))
    assert [volume.name for volume in volumes] == ["data"]


def test_no_volumes_directory_is_no_problem(tmp_path: Path) -> None:
    assert read_volumes(os.fsencode(tmp_path)) == ((), ())


def test_a_volume_that_vanishes_while_it_is_read_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = add(tmp_path, "data")
    real = files.Folder.folder

    def folder(self: files.Folder, name: str) -> files.Folder:
        remove(place)
        return real(self, name)

    monkeypatch.setattr(files.Folder, "folder", folder)
    assert read_volumes(os.fsencode(tmp_path)) == ((), ())
