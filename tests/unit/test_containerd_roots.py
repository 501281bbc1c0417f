"""Where the containerd of a data root lies: by the engine, its process, its configuration."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.discovery.roots import NAMED, Discovery, NoDataRoot, classify
from app.model import DataRoot, ImageStore
from app.survey import Request, survey
from tests.unit.containerd_files import ContainerdRoot
from tests.unit.test_discover import containerd_root as docker_root
from tests.unit.test_discover import dockerd, engine, find, overlay2_root

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
    for name in ("buildkit", "containers", "image", "network", "plugins", "volumes"):
        (docker / name).mkdir(parents=True)
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


# --- whose it is, where there are several ---------------------------------------------------------


def pairs(found: Discovery) -> dict[str, str]:
    """The containerd of each data root."""
    return {os.fsdecode(it.path): os.fsdecode(it.containerd) for it in found.roots}


@pytest.mark.parametrize("address", ["/run/user/1000/docker/containerd/containerd.sock", ""])
def test_a_rootless_engine_does_not_take_the_systems_containerd(
    tmp_path: Path, address: str
) -> None:
    docker_root(tmp_path / "var/lib/docker")
    containerd(tmp_path / "var/lib/containerd")
    process(tmp_path, 7, "containerd")
    rootless = overlay2_root(tmp_path / "home/ann/.local/share/docker")
    info = engine(rootless, rootless=True, containerd=address.encode(), namespace="moby")
    assert pairs(find(tmp_path, info=info)) == {str(rootless): ""}
    own = containerd(rootless / "containerd/daemon")
    assert pairs(find(tmp_path, info=info)) == {str(rootless): str(own)}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a directory away")
def test_a_root_of_another_user_does_not_take_the_systems_containerd(tmp_path: Path) -> None:
    docker = overlay2_root(tmp_path / "var/lib/docker")
    containerd(tmp_path / "var/lib/containerd")
    process(tmp_path, 7, "containerd")
    os.chown(docker, 1000, 1000)
    assert only(tmp_path).containerd == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a directory away")
def test_a_remapped_root_belongs_to_who_runs_its_engine(tmp_path: Path) -> None:
    """Old engines gave it to the remapped user."""
    remapped = docker_root(tmp_path / "var/lib/docker/100000.100000")
    store = containerd(tmp_path / "var/lib/containerd")
    os.chown(remapped, 100000, 100000)
    assert pairs(find(tmp_path)) == {str(remapped): str(store)}


@pytest.mark.parametrize("store", [ImageStore.CONTAINERD, ImageStore.GRAPHDRIVER])
def test_the_engine_names_a_socket_and_no_other_containerd_is_its_own(
    tmp_path: Path, store: ImageStore
) -> None:
    docker = overlay2_root(tmp_path / "var/lib/docker")
    containerd(tmp_path / "var/lib/containerd")
    config(tmp_path, 'root = "/data/ctd"')
    containerd(tmp_path / "data/ctd")
    says = {"image_store": store, "containerd": b"/run/other.sock"}
    assert only(tmp_path, root=docker, **says).containerd == b""
    own = containerd(docker / "containerd/daemon")
    assert only(tmp_path, root=docker, **says).containerd == os.fsencode(own)
    process(tmp_path, 7, "containerd", "--root=/moved", "--address=/run/other.sock")
    moved = containerd(tmp_path / "moved")
    assert only(tmp_path, root=docker, **says).containerd == os.fsencode(moved)


@pytest.mark.parametrize("text", ["", '[grpc]\naddress = "/run/other.sock"'])
def test_a_configuration_that_names_no_root_means_the_usual_one(tmp_path: Path, text: str) -> None:
    docker = docker_root(tmp_path / "var/lib/docker")
    usual = containerd(tmp_path / "var/lib/containerd")
    config(tmp_path, text)
    address = b"/run/other.sock" if text else ADDRESS.encode()
    assert only(tmp_path, root=docker, containerd=address).containerd == os.fsencode(usual)
    assert only(tmp_path, root=docker, containerd=b"/run/third.sock").containerd == b""


def test_another_engines_own_containerd_is_not_taken(tmp_path: Path) -> None:
    """Two engines on one machine, each with a containerd of its own, both asleep for us."""
    first, second = docker_root(tmp_path / "one"), overlay2_root(tmp_path / "two")
    own = containerd(first / "containerd/daemon")
    process(tmp_path, 5, "containerd", "--root=/one/containerd/daemon")
    dockerd(tmp_path, "--data-root=/two", pid=6)
    dockerd(tmp_path, "--data-root=/one", pid=7)
    assert pairs(find(tmp_path)) == {str(second): "", str(first): str(own)}


@pytest.mark.parametrize("both_run", [True, False])
def test_of_two_engines_each_has_its_containerd(tmp_path: Path, both_run: bool) -> None:
    """The system's is the one of the engine that has none of its own, running or not."""
    second, first = docker_root(tmp_path / "two"), docker_root(tmp_path / "var/lib/docker")
    own, usual = (
        containerd(second / "containerd/daemon"),
        containerd(tmp_path / "var/lib/containerd"),
    )
    process(tmp_path, 4, "containerd")
    if both_run:
        process(tmp_path, 5, "containerd", "--root=/two/containerd/daemon")
    dockerd(tmp_path, "--data-root=/two", pid=6)
    dockerd(tmp_path, "--data-root=/var/lib/docker", pid=7)
    found = find(tmp_path)
    assert pairs(found) == {str(second): str(own), str(first): str(usual)}
    assert found.problems == ()


def test_a_remapped_root_has_the_containerd_and_not_the_older_tree(tmp_path: Path) -> None:
    before = overlay2_root(tmp_path / "var/lib/docker")
    remapped = docker_root(before / "100000.100000")
    store = containerd(tmp_path / "var/lib/containerd")
    assert pairs(find(tmp_path)) == {str(before): "", str(remapped): str(store)}


def test_the_root_whose_namespace_has_snapshots_has_the_containerd(tmp_path: Path) -> None:
    """Both went back to overlay2; the remapped one left snapshots."""
    before = overlay2_root(tmp_path / "var/lib/docker")
    remapped = overlay2_root(before / "100000.100000")
    store = ContainerdRoot(tmp_path / "var/lib/containerd")
    store.snapshot("something", namespace="moby-100000.100000")
    store.write()
    assert pairs(find(tmp_path)) == {str(before): "", str(remapped): str(store.path)}


def test_the_running_containerd_is_believed_before_one_that_lies_where_they_usually_do(
    tmp_path: Path,
) -> None:
    docker = docker_root(tmp_path / "var/lib/docker")
    old = containerd(tmp_path / "var/lib/containerd")
    moved, later = containerd(tmp_path / "data/ctd"), containerd(tmp_path / "data/later")
    config(tmp_path, 'root = "/data/ctd"')
    found = find(tmp_path)
    assert pairs(found) == {str(docker): str(moved)}
    (problem,) = found.problems
    assert f"{moved} (named in /etc/containerd/config.toml) was taken" in problem.sentence
    assert f"{old} (beside the data root) was not" in problem.sentence
    process(tmp_path, 7, "containerd", "--root=/data/later")
    found = find(tmp_path)
    assert pairs(found) == {str(docker): str(later)}
    (problem,) = found.problems
    assert all(str(it) in problem.sentence for it in (moved, old, later))


def test_a_containerd_that_works_for_others_alone_is_passed_over(tmp_path: Path) -> None:
    docker = docker_root(tmp_path / "var/lib/docker")
    usual = containerd(tmp_path / "var/lib/containerd")
    kubernetes = ContainerdRoot(tmp_path / "k3s")
    kubernetes.snapshot("something", namespace="k8s.io")
    kubernetes.write()
    process(tmp_path, 7, "containerd", "--root=/k3s")
    found = find(tmp_path)
    assert pairs(found) == {str(docker): str(usual)}
    assert found.problems == ()


def test_an_empty_containerd_left_behind_is_no_problem(tmp_path: Path) -> None:
    docker = docker_root(tmp_path / "var/lib/docker")
    ContainerdRoot(tmp_path / "var/lib/containerd").write()
    moved = containerd(tmp_path / "data/ctd")
    config(tmp_path, 'root = "/data/ctd"')
    found = find(tmp_path)
    assert pairs(found) == {str(docker): str(moved)}
    assert found.problems == ()


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


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a process directory away")
def test_a_users_containerd_is_not_believed_about_roots_directories(tmp_path: Path) -> None:
    docker = docker_root(tmp_path / "var/lib/docker")
    usual = containerd(tmp_path / "var/lib/containerd")
    containerd(tmp_path / "data/old")
    process(tmp_path, 9, "containerd", "--root", "/data/old")
    os.chown(tmp_path / "proc/9", 4711, 4711)
    assert only(tmp_path).containerd == os.fsencode(usual)
    assert only(tmp_path).path == os.fsencode(docker)
    os.chown(tmp_path / "proc/9", 0, 0)
    assert only(tmp_path).containerd == os.fsencode(tmp_path / "data/old")
