"""A private Docker engine on its own paths: started, asked, stopped, killed, and taken away.

Everything lives below one directory: ``data`` (the data root), ``exec`` (state and sockets),
``docker.sock``, ``daemon.log`` and the client's configuration. The host's daemon.json is not
read, no network is set up and no firewall rule is touched.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from tests.engine import leftovers

# The distribution's client: a different client on the PATH may lack what the tests need.
DISTRIBUTION_CLIENT = "/usr/bin/docker"


@dataclass(frozen=True, slots=True)
class Tools:
    """Programs that the engine tests need."""

    dockerd: str
    docker: str
    busybox: str


class DockerdError(Exception):
    """The engine did not start or a client command failed; says which and why."""


def missing_tools() -> str:
    """What this machine lacks for a private engine, for people; empty when nothing is missing."""
    lacks = []
    if os.geteuid() != 0:
        lacks.append("root")
    lacks += [name for name in ("dockerd", "containerd", "runc", "busybox") if not _which(name)]
    if not _client():
        lacks.append("docker (the client)")
    if busybox := _which("busybox"):
        lacks += [] if _is_static(busybox) else ["a statically linked busybox"]
    return ", ".join(lacks)


def find_tools() -> Tools:
    """The programs; :func:`missing_tools` must have been empty."""
    return Tools(_which("dockerd"), _client(), _which("busybox"))


class Engine:
    """One dockerd with the overlay2 driver. Containers outlive it (live restore).

    ``stop`` and ``kill`` leave the containers running and mounted, as an upgrade or a crash of
    the daemon does, so that answers with and without the engine can be compared one to one.
    """

    def __init__(self, tools: Tools) -> None:
        leftovers.clear_abandoned()
        self.base = Path(tempfile.mkdtemp(prefix=leftovers.PREFIX)).resolve()
        leftovers.claim(self.base)
        self.tools = tools
        self.data = self.base / "data"
        self.exec_root = self.base / "exec"
        self.socket = self.base / "docker.sock"
        self.log = self.base / "daemon.log"
        self._daemon: subprocess.Popen[bytes] | None = None
        (self.base / "daemon.json").write_text("{}")

    @property
    def url(self) -> str:
        """What ``--host`` and ``DOCKER_HOST`` take."""
        return f"unix://{self.socket}"

    @property
    def overlay2(self) -> Path:
        """Where the layer directories are."""
        return self.data / "overlay2"

    @property
    def pid(self) -> int:
        """The daemon's process id. Raises DockerdError when it does not run."""
        if not self.running or self._daemon is None:
            raise DockerdError("the engine does not run")
        return self._daemon.pid

    @property
    def running(self) -> bool:
        """Whether the daemon process lives."""
        return self._daemon is not None and self._daemon.poll() is None

    def start(self, timeout: float = 30.0) -> None:
        """Start the daemon and wait until it answers.

        Raises DockerdError, with the end of its log, when it ends or stays silent.
        """
        (self.base / "docker.pid").unlink(missing_ok=True)
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal is for the test run alone.
            self._daemon = subprocess.Popen(
                [self.tools.dockerd, *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout
        while not self._answers():
            if not self.running or time.monotonic() > deadline:
                raise DockerdError(f"dockerd does not start here: {self._last_words()}")
            time.sleep(0.05)

    def stop(self, timeout: float = 30.0) -> None:
        """Stop the daemon gracefully (SIGTERM); its containers run on."""
        os.kill(self.pid, signal.SIGTERM)
        self._wait(timeout)

    def kill(self) -> None:
        """End the daemon at once (SIGKILL), as a crash does; its containers and mounts stay.

        Its containerd dies with it (moby libcontainerd/supervisor asks for a parent-death signal).
        Where no init collects the dead, the next dockerd takes it for living by its pid file and
        waits in vain: hence the file goes.
        """
        os.kill(self.pid, signal.SIGKILL)
        self._wait(10.0)
        (self.exec_root / "containerd" / "containerd.pid").unlink(missing_ok=True)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """The engine gracefully stopped inside the block, running again after it."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def close(self) -> None:
        """End everything that belongs to this engine and remove its directory. Twice is fine."""
        if self.running:
            self.kill()
        if self.base.exists():
            leftovers.clear(self.base)

    def docker(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        env: dict[str, str] | None = None,
        timeout: float = 120.0,
    ) -> str:
        """Run the client against this engine; what it prints, without the last newline.

        Raises DockerdError with the client's complaint when the command fails.
        """
        done = subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            env=self.client_environment(env),
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            complaint = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise DockerdError(f"docker {' '.join(arguments[:6])}: {complaint[-2000:]}")
        return done.stdout.decode().rstrip("\n")

    def get(self, path: str) -> Any:
        """One answer of the API to GET, decoded; at the newest version the engine speaks.

        Raises DockerdError for any status but 200, OSError when nobody answers.
        """
        with closing(_UnixConnection(self.socket)) as line:
            line.request("GET", path)
            answer = line.getresponse()
            body = answer.read()
        if answer.status != 200:
            raise DockerdError(f"GET {path}: {answer.status} {body.decode(errors='replace')}")
        return json.loads(body)

    def command(self, *arguments: str) -> list[str]:
        """The client's argument list, for callers that run it themselves."""
        return [self.tools.docker, "-H", self.url, *arguments]

    def client_environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        """Environment of the client: nothing of the caller's Docker settings gets in."""
        kept = {name: value for name, value in os.environ.items() if "DOCKER" not in name}
        return {**kept, "DOCKER_CONFIG": str(self.base / "client"), **(extra or {})}

    def _options(self) -> list[str]:
        return [
            f"--config-file={self.base}/daemon.json",
            f"--data-root={self.data}",
            f"--exec-root={self.exec_root}",
            f"--host={self.url}",
            f"--pidfile={self.base}/docker.pid",
            "--storage-driver=overlay2",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--ip-masq=false",
            "--bridge=none",
            "--live-restore",
        ]

    def _answers(self) -> bool:
        try:
            return bool(self.get("/version"))
        except (OSError, HTTPException, DockerdError):
            return False

    def _wait(self, timeout: float) -> None:
        if self._daemon is not None:
            self._daemon.wait(timeout)
            self._daemon = None

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:]) or "it says nothing"


class _UnixConnection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30.0)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _which(name: str) -> str:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""


def _client() -> str:
    return DISTRIBUTION_CLIENT if os.access(DISTRIBUTION_CLIENT, os.X_OK) else _which("docker")


def _is_static(program: str) -> bool:
    """Whether an ELF file has no PT_INTERP program header, so that it runs in an empty image."""
    with Path(program).open("rb") as file:
        head = file.read(64 * 1024)
    if head[:5] != b"\x7fELF\x02":
        return False
    start = int.from_bytes(head[32:40], "little")
    size, entries = (int.from_bytes(head[at : at + 2], "little") for at in (54, 56))
    kinds = [head[start + n * size : start + n * size + 4] for n in range(entries)]
    return (3).to_bytes(4, "little") not in kinds
