"""config.v2.json of every container: real, in every state, damaged and vanishing."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.host import safe_read as files
from app.stores.metadata.docker.containers import ContainerRecord, read_containers, still_running
from tests.unit.store_files import DAMAGES, remove

ID = hashlib.sha256(b"container").hexdigest()
NEVER = "0001-01-01T00:00:00Z"


def write(root: Path, config: object, name: str = ID) -> Path:
    place = root / "containers" / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "config.v2.json").write_text(json.dumps(config))
    return place


def config(**more: object) -> dict[str, object]:
    return {
        "ID": ID,
        "Name": "/web",
        "Image": "sha256:" + "a" * 64,
        "Driver": "overlay2",
        "Created": "2026-01-02T03:04:05Z",
        "State": {"Running": True, "Pid": 4711, "StartedAt": "2026-01-02T03:04:06Z"},
        "Config": {"Image": "app:1", "Labels": None},
        "MountPoints": {},
        "LogPath": "",
        **more,
    }


def read(root: Path) -> ContainerRecord:
    records, problems = read_containers(os.fsencode(root))
    assert not problems
    return records[ID]


def test_a_real_hosts_containers_have_names_states_and_volumes(captures: Path) -> None:
    for store in ("overlay2", "containerd"):
        root = captures / store / "var/lib/docker"
        records, problems = read_containers(os.fsencode(root))
        assert not problems
        answers = json.loads((captures / store / "api/containers.json").read_text())
        told = {it.id: (it.name, it.state, it.image_id) for it in records.values()}
        assert told == {
            it["Id"]: (it["Names"][0].lstrip("/"), it["State"], it["ImageID"]) for it in answers
        }
        by_name = {it.name: it for it in records.values()}
        assert by_name["couchdb"].volumes == (("couchdata", "/opt/couchdb/data"),)
        web = by_name["shop-web-1"]
        assert (web.compose_project, web.compose_service, web.image) == ("shop", "web", "app:1")
        assert web.pid > 0
        assert web.log_path.endswith(b"-json.log")
        assert by_name["never-started"].log_path == b""


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ({"Running": True}, "running"),
        ({"Running": True, "Paused": True}, "paused"),
        ({"Running": True, "Restarting": True}, "restarting"),
        ({"Running": False, "StartedAt": NEVER}, "created"),
        ({}, "created"),
        ({"StartedAt": "2026-01-01T00:00:00Z"}, "exited"),
        ({"StartedAt": "2026-01-01T00:00:00Z", "Dead": True}, "dead"),
        ({"Dead": True, "RemovalInProgress": True}, "removing"),
    ],
)
def test_states_have_the_engines_own_words(
    tmp_path: Path, state: dict[str, object], word: str
) -> None:
    write(tmp_path, config(State=state))
    assert read(tmp_path).state == word


def test_only_volumes_are_volumes(tmp_path: Path) -> None:
    mounts = {
        "/data": {"Type": "volume", "Name": "data", "Destination": "/data"},
        "/old": {"Name": "made-by-an-old-engine"},
        "/etc/x": {"Type": "bind", "Source": "/etc/x", "Name": ""},
        "/run": {"Type": "tmpfs"},
    }
    write(tmp_path, config(MountPoints=mounts))
    assert read(tmp_path).volumes == (("data", "/data"), ("made-by-an-old-engine", "/old"))


def test_no_containers_directory_is_no_problem(tmp_path: Path) -> None:
    assert read_containers(os.fsencode(tmp_path)) == ({}, ())


# --- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(DAMAGES))
def test_a_damaged_config_is_one_problem_and_hides_no_other_container(
    tmp_path: Path, kind: str
) -> None:
    other = hashlib.sha256(b"other").hexdigest()
    write(tmp_path, config(ID=other), other)
    DAMAGES[kind](write(tmp_path, config()) / "config.v2.json")
    records, problems = read_containers(os.fsencode(tmp_path))
    assert records.keys() == {other}
    [problem] = problems
    assert ID in problem.sentence
    assert problem.hides_owners == (kind != "missing")


def test_a_config_of_another_container_is_not_believed(tmp_path: Path) -> None:
    write(tmp_path, config(ID="b" * 64))
    records, [problem] = read_containers(os.fsencode(tmp_path))
    assert records == {}
    assert problem.hides_owners


@pytest.mark.parametrize(
    "wrong",
    [
        {"State": []},
        {"State": {"Running": "yes"}},
        {"State": {"Pid": True}},
        {"Config": {"Labels": ["a"]}},
        {"MountPoints": {"/data": "data"}},
        {"Name": 7},
    ],
)
def test_a_field_of_the_wrong_type_is_told_and_the_rest_is_kept(
    tmp_path: Path, wrong: dict[str, object]
) -> None:
    write(tmp_path, config(**wrong))
    records, [problem] = read_containers(os.fsencode(tmp_path))
    assert records[ID].image_id == "sha256:" + "a" * 64
    assert "wrong type" in problem.sentence


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("Name", "Image", "State", "Config", "MountPoints", "LogPath"), JSON),
)


@settings(max_examples=100)
@given(FIELDS)
def test_any_json_in_any_field_is_survived_and_can_be_written_out(fields: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), config(**fields))
        records, _ = read_containers(os.fsencode(folder))
        record = records[ID]
        # Whatever a container chose: it must be text that can be printed, and paths for the kernel.
        for text in (record.name, record.image, record.state, record.driver):
            text.encode()
        assert isinstance(record.pid, int)
        os.path.lexists(record.log_path or b"/")


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_as_a_config_are_one_problem(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = write(Path(folder), {})
        (place / "config.v2.json").write_bytes(content)
        records, problems = read_containers(os.fsencode(folder))
        assert records == {}
        assert len(problems) == 1


def test_surrogates_and_zero_bytes_are_made_harmless(tmp_path: Path) -> None:
    place = write(tmp_path, {})
    text = json.dumps(config()).replace("/web", "/web\\ud800\\u0000")
    (place / "config.v2.json").write_text(text.replace('"LogPath": ""', '"LogPath": "/a\\u0000b"'))
    record = read(tmp_path)
    assert record.name == "web\ufffd\0"
    assert record.log_path == b""


def test_links_and_odd_names_are_no_containers(tmp_path: Path) -> None:
    place = write(tmp_path, config())
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    (place.parent / "a file").touch()
    records, _ = read_containers(os.fsencode(tmp_path))
    assert records == {}


def test_a_container_that_vanishes_while_it_is_read_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write(tmp_path, config())
    real = files.Folder.read

    def vanish(folder: files.Folder, name: str, limit: int) -> bytes:
        remove(place)
        return real(folder, name, limit)

    monkeypatch.setattr(files.Folder, "read", vanish)
    assert read_containers(os.fsencode(tmp_path)) == ({}, ())


# --- is it alive? ---------------------------------------------------------------------------------


@pytest.fixture
def running(tmp_path: Path) -> ContainerRecord:
    write(tmp_path, config())
    return read(tmp_path)


@pytest.mark.parametrize(
    ("cgroup", "mountinfo", "answer"),
    [
        (f"0::/system.slice/docker-{ID}.scope", "", True),
        (f"0::/../docker/{ID}", "", True),
        ("0::/", f"1 2 8:1 /d/containers/{ID}/hosts /etc/hosts rw - ext4 /dev/sda rw", True),
        ("0::/user.slice", "1 2 8:1 / / rw - ext4 /dev/sda rw", False),
        (None, None, False),
    ],
)
def test_a_process_counts_only_when_it_is_the_containers(
    tmp_path: Path,
    running: ContainerRecord,
    cgroup: str | None,
    mountinfo: str | None,
    answer: bool,
) -> None:
    proc = tmp_path / "proc"
    proc.mkdir()
    if cgroup is not None and mountinfo is not None:
        (proc / "4711").mkdir()
        (proc / "4711/cgroup").write_text(cgroup)
        (proc / "4711/mountinfo").write_text(mountinfo)
    assert still_running(running, os.fsencode(proc)) is answer


def test_nobody_can_tell_without_proc_or_for_a_stopped_container(
    tmp_path: Path, running: ContainerRecord
) -> None:
    assert still_running(running, os.fsencode(tmp_path / "absent")) is None
    write(tmp_path, config(State={"Running": False}))
    assert still_running(read(tmp_path)) is None


def test_this_very_process_is_no_container_of_that_id(
    tmp_path: Path,
) -> None:
    write(tmp_path, config(State={"Running": True, "Pid": os.getpid()}))
    assert still_running(read(tmp_path)) is False
