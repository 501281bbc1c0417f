"""A daemon is believed about its data root as far as who listens may speak for it."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.engine.inventory import EngineError, RemoteEngine, peek
from app.engine.root_claim import Wrong, judge
from app.host.peer import Peer
from tests.unit.stub_engine import StubEngine, says

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
MALLORY = 4711
ME = Peer(os.getpid(), os.geteuid())


@pytest.fixture
def root() -> Iterator[Path]:
    """A data root where everybody may go."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder, "docker")
        for name in ("containers", "image", "volumes"):
            (path / name).mkdir(parents=True)
        yield path


@contextmanager
def listening(uid: int, root: Path | str) -> Iterator[str]:
    """A process of this user that answers as a daemon with this data root; its address."""
    ready, writing = os.pipe()
    child = os.fork()
    if not child:
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        info = {"DockerRootDir": str(root), "Driver": "overlay2", "ID": "x"}
        routes = {"/version": says({"ApiVersion": "1.41"}), "/info": says(info)}
        with StubEngine(routes) as stub:
            os.write(writing, stub.url.encode())
            signal.pause()
    try:
        yield os.read(ready, 4096).decode()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for end in (ready, writing):
            os.close(end)


@AS_ROOT
def test_roots_daemon_is_believed(root: Path) -> None:
    with listening(0, root) as url:
        assert peek(url).root == bytes(root)


@AS_ROOT
def test_a_users_is_not_believed_about_what_is_roots(root: Path) -> None:
    with listening(MALLORY, root) as url:
        with pytest.raises(EngineError, match=f"user {MALLORY} .* is not believed") as said:
            peek(url)
        assert not isinstance(said.value, RemoteEngine)
        os.chown(root, MALLORY, MALLORY)
        assert peek(url).root == bytes(root)


@AS_ROOT
@pytest.mark.parametrize("claim", ["docker", "..", "../.."])
def test_a_data_root_is_a_whole_path(claim: str) -> None:
    with listening(0, claim) as url, pytest.raises(EngineError, match="no whole path"):
        peek(url)


def test_what_is_no_directory_is_not_here(root: Path) -> None:
    (root / "file").touch()
    assert judge(bytes(root / "file"), ME) is Wrong.NOT_HERE
    assert judge(bytes(root / "gone"), ME) is Wrong.NOT_HERE
    assert judge(b"/x\0y", ME) is Wrong.NOT_HERE
    assert judge(b"", ME) is Wrong.NO_PATH
    assert judge(bytes(root), ME) is None
    (root / "link").symlink_to(root)
    assert judge(bytes(root / "link"), ME) is None


@AS_ROOT
def test_a_daemon_in_a_container_means_another_directory(root: Path) -> None:
    inner = root.parent / "inner"
    inner.mkdir()
    ready, writing = os.pipe()
    child = os.fork()
    if not child:
        os.chroot(inner)
        os.write(writing, b".")
        signal.pause()
    try:
        os.read(ready, 1)
        peer = Peer(child, 0)
        # A proxy in a container does not have it.
        assert judge(bytes(root), peer) is None
        (inner / str(root)[1:]).mkdir(parents=True)
        assert judge(bytes(root), peer) is Wrong.ANOTHER_VIEW
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for end in (ready, writing):
            os.close(end)
    assert judge(bytes(root), peer) is None
