"""Where the containerd of a data root lies: by the engine, its process, its configuration."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.model import DataRoot, ImageStore
from app.stores.discover import NAMED, NoDataRoot, classify
from app.stores.survey import Request, survey
from tests.unit.containerd_files import ContainerdRoot
from tests.unit.test_discover import containerd_root as docker_root
from tests.unit.test_discover import engine, find, overlay2_root

ADDRESS = "/run/containerd/containerd.sock"


def containerd(path: Path) -> Path:
    """A containerd root with a snapshot in it."""
    root = ContainerdRoot(path)
    root.snapshot("something")
    return root.write()


def only(host: Path, *roots: Path, **engine_says: object) -> DataRoot:
    info = None
    if engine_says:
        where = engine_says.pop("root")
        assert isinstance(where, Path)
        says = {"driver": "overlayfs", "image_store": ImageStore.CONTAINERD, **engine_says}
        info = engine(where, **says)
    (found,) = find(host, *roots, info=info).roots
    return found


def process(host: Path, pid: int, *command: str) -> None:
    home = host / "proc" / str(pid)
    home.mkdir(parents=True)
    (home / "cmdline").write_bytes("\0".join(command).encode() + b"\0")
    (home / "environ").write_bytes(b"")
    (home / "root").symlink_to(host)


def config(host: Path, text: str, name: str = "etc/containerd/config.toml") -> None:
    file = host / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_one_beside_the_data_root_is_its_own(tmp_path: Path) -> None:
    docker = docker_root(tmp_path / "copy/docker")
    beside = containerd(tmp_path / "copy/containerd")
    found = only(tmp_path, docker)
    assert found.containerd == os.fsencode(beside)
    assert (found.namespace, found.found_by) == ("moby", NAMED)
    assert found.places == (os.fsencode(docker), os.fsencode(beside))


def test_dockerds_own_is_below_the_data_root(tmp_path: Path) -> None:
    docker = docker_root(tmp_path / "docker")
    own = containerd(docker / "containerd/daemon")
    found = only(tmp_path, docker)
    assert found.containerd == os.fsencode(own)
    assert found.places == (os.fsencode(docker),)


@pytest.mark.parametrize(
    "text",
    [
        'version = 2\nroot = "/data/ctd"\n[grpc]\n  address = "/run/one.sock"\n',
        "root='/data/ctd'   # moved\n[ grpc ]\naddress = '/run/one.sock'\n[x]\nroot = \"/no\"\n",
    ],
)
def test_the_configuration_names_a_root_and_a_socket(tmp_path: Path, text: str) -> None:
    docker = docker_root(tmp_path / "var/lib/docker")
    containerd(tmp_path / "var/lib/containerd")
    moved = containerd(tmp_path / "data/ctd")
    config(tmp_path, text)
    found = only(tmp_path, root=docker, containerd=b"/run/one.sock", namespace="moby-x")
    assert (found.containerd, found.namespace) == (os.fsencode(moved), "moby-x")
    assert found.engine_url


@pytest.mark.parametrize("asked", ["/run/a.sock", "/run/b.sock"])
def test_the_engines_socket_tells_two_running_ones_apart(tmp_path: Path, asked: str) -> None:
    docker = docker_root(tmp_path / "var/lib/docker")
    containerd(tmp_path / "var/lib/containerd")
    roots = {"/run/a.sock": containerd(tmp_path / "a"), "/run/b.sock": containerd(tmp_path / "b")}
    process(tmp_path, 7, "/usr/bin/containerd", "--root", "/a", "--address=/run/a.sock")
    config(tmp_path, 'root = "/b"\n[grpc]\naddress = "/run/b.sock"', "etc/b.toml")
    process(tmp_path, 8, "containerd", "--config", "/etc/b.toml")
    found = only(tmp_path, root=docker, containerd=asked.encode())
    assert found.containerd == os.fsencode(roots[asked])


def test_without_an_engine_the_running_one_is_taken(tmp_path: Path) -> None:
    docker_root(tmp_path / "var/lib/docker")
    moved = containerd(tmp_path / "data/ctd")
    process(tmp_path, 7, "containerd", "--root=/data/ctd")
    assert only(tmp_path).containerd == os.fsencode(moved)


def test_a_named_copy_does_not_take_this_machines(tmp_path: Path) -> None:
    docker = docker_root(tmp_path / "copy/data")
    containerd(tmp_path / "var/lib/containerd")
    assert only(tmp_path, docker).containerd == b""


def test_a_remapped_root_below_a_named_copy_does_not_take_this_machines(tmp_path: Path) -> None:
    docker = docker_root(tmp_path / "copy/docker")
    docker_root(docker / "100000.100000")
    containerd(tmp_path / "var/lib/containerd")
    config(tmp_path, 'root = "/data/ctd"')
    containerd(tmp_path / "data/ctd")
    assert [it.containerd for it in find(tmp_path, docker).roots] == [b"", b""]
    beside = containerd(tmp_path / "copy/containerd")
    assert {it.containerd for it in find(tmp_path, docker).roots} == {b"", os.fsencode(beside)}


def test_an_empty_containerd_beside_overlay2_is_of_no_interest(tmp_path: Path) -> None:
    docker = overlay2_root(tmp_path / "docker")
    root = ContainerdRoot(tmp_path / "containerd")
    root.write()
    assert only(tmp_path, docker).containerd == b""
    root.snapshot("something", namespace="k8s.io")
    root.write()
    assert only(tmp_path, docker).containerd == os.fsencode(root.path)


def test_a_containerd_that_the_docker_beside_it_does_not_use_stands_alone(tmp_path: Path) -> None:
    docker = docker_root(tmp_path / "docker")
    own, other = containerd(docker / "containerd/daemon"), containerd(tmp_path / "containerd")
    found = only(tmp_path, other)
    assert (found.path, found.containerd) == (os.fsencode(other), os.fsencode(other))
    assert only(tmp_path, docker).containerd == os.fsencode(own)


def test_a_fresh_root_that_its_engine_serves_is_a_data_root(tmp_path: Path) -> None:
    docker, store = tmp_path / "fresh", containerd(tmp_path / "containerd")
    docker.mkdir()
    found = only(tmp_path, root=docker)
    assert (found.path, found.containerd) == (os.fsencode(docker), os.fsencode(store))


def test_each_containerd_is_shown_once(tmp_path: Path) -> None:
    """A remapped root and the one from before it share one containerd: the engine's own has it."""
    docker = docker_root(tmp_path / "var/lib/docker")
    remapped = docker_root(docker / "200000.200000")
    store = containerd(tmp_path / "var/lib/containerd")
    info = engine(remapped, driver="overlayfs", image_store=ImageStore.CONTAINERD)
    roots = find(tmp_path, info=info).roots
    assert {os.fsdecode(it.path): it.containerd for it in roots} == {
        str(remapped): os.fsencode(store),
        str(docker): b"",
    }
    served = next(it for it in roots if it.containerd)
    assert served.namespace == "moby-200000.200000"


def test_a_machine_without_docker_shows_its_containerd(tmp_path: Path) -> None:
    with pytest.raises(NoDataRoot):
        find(tmp_path)
    root = containerd(tmp_path / "var/lib/containerd")
    found = only(tmp_path)
    assert (found.path, found.containerd) == (os.fsencode(root), os.fsencode(root))
    assert (found.driver, found.image_store) == ("overlayfs", ImageStore.CONTAINERD)
    assert found.namespace == ""
    assert "default place" in found.found_by


def test_a_containerd_root_may_be_named_alone(tmp_path: Path) -> None:
    root = containerd(tmp_path / "copy/ctd")
    assert classify(os.fsencode(root)).image_store is ImageStore.CONTAINERD
    (store,) = survey(Request((os.fsencode(root),), None, True, {})).stores
    assert store.layers.keys() == {"snapshots/1"}
    assert store.root.places == (os.fsencode(root),)


@pytest.mark.parametrize("text", ["", "root = 7", "root = '''/x'''", "\0\xff", 'root = "rel"'])
def test_an_odd_configuration_names_nothing(tmp_path: Path, text: str) -> None:
    docker_root(tmp_path / "var/lib/docker")
    usual = containerd(tmp_path / "var/lib/containerd")
    config(tmp_path, text)
    assert only(tmp_path).containerd == os.fsencode(usual)
