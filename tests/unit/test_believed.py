"""Which processes are believed to be a data root's daemon: real ones, of several users."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from app.discovery.candidates import Host, Worker, others_running, running, serving
from app.host.runs import lock_holders, program_of, runner_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")

MALLORY = 4711
#: A shell that calls itself something else; what follows the script are arguments without use.
WAITS = ("-c", "read line")


@pytest.fixture
def place() -> Iterator[Path]:
    """Two data roots, root's and Mallory's, where both may go."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        top.chmod(0o755)
        for name in ("roots", "mallorys"):
            (top / name / "volumes").mkdir(parents=True)
        os.chown(top / "mallorys", MALLORY, MALLORY)
        yield top


@contextmanager
def called(
    *arguments: str | Path,
    name: str = "dockerd",
    uid: int = 0,
    before: Callable[[], object] | None = None,
    program: str = "/bin/sh",
) -> Iterator[int]:
    """A process that calls itself ``name`` and has these arguments; its id."""
    with subprocess.Popen(
        [name, *WAITS, *map(str, arguments)],
        executable=program,
        user=uid,
        stdin=subprocess.PIPE,
        preexec_fn=before,  # noqa: PLW1509 - no threads here
    ) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def hinted(hints: list[bytes], root: Path) -> bool:
    return bytes(root) in hints


def main() -> list[bytes]:
    return [it.path for it in running(Host())[0]]


def beside() -> list[bytes]:
    return [it.path for it in others_running(Host())]


def works(root: Path) -> list[Worker]:
    return serving(Host(), bytes(root))


def test_roots_own_is_believed(place: Path) -> None:
    with called("--data-root", place / "roots") as pid:
        assert hinted(main(), place / "roots")
        assert works(place / "roots") == [Worker(pid)]
    assert works(place / "roots") == []


def test_a_users_is_believed_about_that_users_own_directory_alone(place: Path) -> None:
    with called("--data-root", place / "mallorys", uid=MALLORY) as pid:
        assert not hinted(main(), place / "mallorys")
        assert hinted(beside(), place / "mallorys")
        assert works(place / "mallorys") == [Worker(pid)]
    with called("--data-root", place / "roots", uid=MALLORY):
        assert not hinted([*main(), *beside()], place / "roots")
        assert works(place / "roots") == []


def test_a_users_settings_that_cannot_be_read_are_no_doubt(place: Path) -> None:
    with called("--config-file", "/etc/passwd", uid=MALLORY):
        assert works(place / "roots") == []
        assert not [it for it in running(Host())[1] if it.source == "/etc/passwd"]
    with called("--config-file", "/etc/passwd") as pid:
        assert works(place / "roots") == [Worker(pid, sure=False)]


def test_a_program_that_is_set_user_id_is_still_the_users(place: Path) -> None:
    # What su and mount are, with whatever arguments somebody gives them.
    program = (sys.executable, "-c", "input()", "--data-root", str(place / "roots"))
    with subprocess.Popen(
        ["dockerd", *program[1:]],
        executable=os.path.realpath(program[0]),
        stdin=subprocess.PIPE,
        preexec_fn=lambda: os.setresuid(MALLORY, 0, 0),  # noqa: PLW1509 - no threads here
        env={**os.environ, "PYTHONHOME": sys.base_prefix},
    ) as process:
        try:
            directory = b"/proc/%d" % process.pid
            assert os.stat(directory).st_uid == 0
            assert runner_of(directory) == MALLORY
            assert works(place / "roots") == []
        finally:
            process.kill()


def test_root_of_a_user_namespace_is_the_user_outside(place: Path) -> None:
    script = "import os,sys; os.execv('/bin/sh', sys.argv[1:])"
    arguments = ["dockerd", *WAITS, "--data-root", str(place / "roots")]
    if subprocess.run(["unshare", "-Ur", "true"], user=MALLORY, check=False).returncode:
        pytest.skip("users may make no user namespaces here")
    with subprocess.Popen(
        ["unshare", "-Ur", "/usr/bin/python3", "-c", script, *arguments],
        user=MALLORY,
        stdin=subprocess.PIPE,
    ) as process:
        try:
            wait_until(lambda: b"dockerd" in Path(f"/proc/{process.pid}/cmdline").read_bytes()[:8])
            status = Path(f"/proc/{process.pid}/uid_map").read_text().split()
            assert status[:2] == ["0", str(MALLORY)]
            assert works(place / "roots") == []
        finally:
            process.kill()


def test_the_lock_on_the_volumes_tells_whatever_the_process_is_called(place: Path) -> None:
    database = place / "roots/volumes/metadata.db"
    database.touch()
    with database.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert works(place / "roots") == [Worker(os.getpid())]
    assert works(place / "roots") == []


def test_a_users_lock_says_nothing(place: Path) -> None:
    database = place / "roots/volumes/metadata.db"
    database.touch()
    ready, writing = os.pipe()
    child = os.fork()
    if not child:
        os.setresuid(MALLORY, MALLORY, MALLORY)
        with database.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            os.write(writing, b".")
            signal.pause()
    try:
        os.read(ready, 1)
        assert list(lock_holders(bytes(database))) == [child]
        assert works(place / "roots") == []
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for end in (ready, writing):
            os.close(end)


def test_a_program_that_calls_itself_something_else_is_known_by_its_file(place: Path) -> None:
    program = place / "dockerd"
    program.write_bytes(Path("/bin/sh").read_bytes())
    program.chmod(0o755)
    arguments = ("--data-root", place / "roots")
    with called(*arguments, name="innocent", program=str(program)) as pid:
        assert program_of(b"/proc/%d" % pid) == b"dockerd"
        assert works(place / "roots") == [Worker(pid)]
        # After an upgrade its file is another one.
        program.unlink()
        assert works(place / "roots") == [Worker(pid)]


@pytest.mark.parametrize("shown", [False, True])
def test_what_runs_in_a_container_counts_where_it_sees_the_root(place: Path, shown: bool) -> None:
    with ExitStack() as stack:
        inner = place / "inner"
        for name in ("bin", "lib", "lib64", "usr", "etc", "data"):
            (inner / name).mkdir(parents=True)
        (inner / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")

        def enter() -> None:
            for name in ("bin", "lib", "lib64", "usr"):
                bind(Path("/", name).resolve(), inner / name)
            if shown:
                bind(place / "roots", inner / "data")
            os.chroot(inner)
            os.chdir("/")

        def alone() -> None:
            unshare_mounts()
            enter()

        about = called("--config-file", "/etc/passwd", before=alone)
        pid = stack.enter_context(about)
        unsure = Worker(pid, sure=False, inside=True)
        assert works(place / "roots") == ([unsure] if shown else [])
        pid = stack.enter_context(called("--data-root", "/data", before=alone))
        assert (Worker(pid, inside=True) in works(place / "roots")) == shown
        assert not hinted(main(), Path("/data"))
        # A daemon has the lock; who has it not only says that it is one.
        database = place / "roots/volumes/metadata.db"
        database.touch()
        assert works(place / "roots") == []
        with database.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            assert works(place / "roots") == [Worker(os.getpid())]


def bind(source: Path, point: Path) -> None:
    subprocess.run(["mount", "--bind", source, point], check=True)


def unshare_mounts() -> None:
    import ctypes  # noqa: PLC0415 - only in the child

    if ctypes.CDLL(None).unshare(0x20000):
        raise OSError("unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
