"""What a removal reads of a container's own two files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from app.cleanup.plan.container_settings import Settings, read_inside, read_settings
from app.model import Container, Kind, Owner
from tests.unit.store_files import DAMAGES

OWNER = Owner(Kind.CONTAINER, "ab" * 32, "web")
POINT = {"Type": "volume", "Name": "data", "Source": "/var/lib/docker/volumes/data/_data"}


def settings_of(place: Path, host: object = None, points: object = None) -> Settings:
    """The settings of a container with these mounts."""
    (place / "hostconfig.json").write_text(json.dumps(host or {}))
    (place / "config.v2.json").write_text(json.dumps({"MountPoints": points or {}}))
    return read_settings(Container(OWNER, os.fsencode(place)))


def test_binds_are_read_however_they_were_asked_for(tmp_path: Path) -> None:
    host = {
        "Binds": ["/by/volume:/a:ro", "data:/b"],
        "Mounts": [
            {"Type": "bind", "Source": "/by/../by//mount/", "Target": "/c"},
            {"Type": "volume", "Source": "data", "Target": "/d"},
            {"Type": "tmpfs", "Target": "/e"},
        ],
    }
    points = {
        "/f": {"Type": "bind", "Source": "/as/made", "Name": ""},
        "/g": {"Source": "//by/an/old/engine"},
        "/h": POINT,
    }
    found = settings_of(tmp_path, host, points)
    assert found.binds == (b"/by/volume", b"/by/mount", b"/as/made", b"/by/an/old/engine")
    assert found.known


def test_unnamed_volumes_are_those_that_nobody_named(tmp_path: Path) -> None:
    points = {
        "/a": {**POINT, "Name": "made-up", "Spec": {}},
        "/b": {**POINT, "Name": "made-up-too", "Spec": {"Type": "volume", "Target": "/b"}},
        "/c": {"Name": "by-an-old-engine"},
        "/d": {**POINT, "Spec": {"Type": "volume", "Source": "data", "Target": "/d"}},
        "/e": {"Type": "bind", "Source": "/srv", "Name": ""},
    }
    found = settings_of(tmp_path, None, points)
    assert found.unnamed == ("made-up", "made-up-too", "by-an-old-engine")


LEADING_OUT = (
    {"Privileged": True},
    {"CapAdd": ["CAP_SYS_ADMIN"]},
    {"CapAdd": ["all"]},
    {"PidMode": "host"},
    {"PidMode": "container:other"},
    {"IpcMode": "host"},
    {"VolumesFrom": ["other"]},
    {"Binds": ["data:/b"]},
    {"Binds": "of no known shape"},
)


@pytest.mark.parametrize("host", LEADING_OUT, ids=str)
def test_a_link_in_it_may_lead_to_what_is_not_its_own(tmp_path: Path, host: object) -> None:
    container = Container(OWNER, os.fsencode(tmp_path))
    quiet = {"IpcMode": "private", "CapAdd": ["NET_ADMIN"], "Tmpfs": {"/run": ""}}
    settings_of(tmp_path, quiet, {"/t": {"Type": "tmpfs"}})
    alone = read_inside(container)
    assert alone
    assert alone.is_alone
    for asked, made in ((host, {}), (quiet, {"/h": POINT}), (quiet, {"/i": {"Type": "image"}})):
        settings_of(tmp_path, asked, made)
        found = read_inside(container)
        assert found is None or not found.is_alone


@pytest.mark.parametrize("name", ["hostconfig.json", "config.v2.json"])
@pytest.mark.parametrize("kind", sorted(DAMAGES))
def test_half_of_the_settings_is_used_and_not_taken_for_all(
    tmp_path: Path, name: str, kind: str
) -> None:
    settings_of(tmp_path, {"Binds": ["/one:/a"]}, {"/b": {"Type": "bind", "Source": "/two"}})
    DAMAGES[kind](tmp_path / name)
    found = read_settings(Container(OWNER, os.fsencode(tmp_path)))
    assert not found.known
    assert found.binds == ((b"/two",) if name == "hostconfig.json" else (b"/one",))


@pytest.mark.parametrize(
    ("host", "points"),
    [
        ({"Binds": "/x:/y"}, {}),
        ({"Mounts": ["/x"]}, {}),
        ({"Mounts": [{"Type": "bind", "Source": 7}]}, {}),
        ({}, {"/x": "/y"}),
        ({}, {"/x": {"Type": "bind", "Source": ["/y"]}}),
    ],
)
def test_mounts_without_sense_are_not_known(tmp_path: Path, host: object, points: object) -> None:
    assert not settings_of(tmp_path, host, points).known


def test_a_container_without_a_directory_has_no_known_settings() -> None:
    assert not read_settings(Container(OWNER, b"")).known
