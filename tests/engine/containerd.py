"""A private containerd on its own paths, with ``ctr`` to fill it; everything is taken away again.

Root, state and socket lie below one directory, as leftovers knows it; the host's containerd and its
configuration are not touched, and no network is needed: images are imported from archives.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tests.engine import leftovers

_CONFIG = """\
version = 2
root = "{root}"
state = "{state}"
# The Kubernetes part wants a network; nobody asks it here.
disabled_plugins = ["io.containerd.grpc.v1.cri"]

[grpc]
  address = "{socket}"
"""


class ContainerdError(Exception):
    """containerd did not start, or a command failed; says which and why."""


def missing_tools() -> str:
    """What this machine lacks, for people; empty when nothing is missing."""
    lacks = [] if os.geteuid() == 0 else ["root"]
    lacks += [name for name in ("containerd", "ctr", "busybox") if not shutil.which(name)]
    return ", ".join(lacks)


class Containerd:
    """One containerd; ``root`` stands beside ``docker``, where a data root may be made."""

    def __init__(self) -> None:
        leftovers.clear_abandoned()
        self.base = Path(tempfile.mkdtemp(prefix=leftovers.PREFIX)).resolve()
        leftovers.claim(self.base)
        self.root = self.base / "lib/containerd"
        self.docker = self.base / "lib/docker"
        self.state = self.base / "state"
        self.socket = self.base / "c.sock"
        self.log = self.base / "log"
        self.config = self.base / "config.toml"
        text = _CONFIG.format(root=self.root, state=self.state, socket=self.socket)
        self.config.write_text(text)
        self._tasks: list[tuple[str, str]] = []
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self, timeout: float = 30.0) -> None:
        """Start it and wait until it answers. Raises ContainerdError."""
        with self.log.open("ab") as log:
            self._daemon = subprocess.Popen(
                ["containerd", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout
        while True:
            with suppress(ContainerdError):
                self.ctr("moby", "version")
                return
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                words = self.log.read_text(errors="replace").strip().splitlines()[-3:]
                raise ContainerdError(f"containerd does not start here: {' | '.join(words)}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the daemon; what it keeps on disk stays."""
        if self._daemon and self._daemon.poll() is None:
            self._daemon.terminate()
            self._daemon.wait(30)

    def command(self, namespace: str, *arguments: str) -> list[str]:
        """The argument list of ``ctr`` against this containerd."""
        return ["ctr", "--address", str(self.socket), "-n", namespace, *arguments]

    def ctr(self, namespace: str, *arguments: str) -> str:
        """Run ``ctr``; what it prints. Raises ContainerdError with its complaint."""
        done = subprocess.run(
            self.command(namespace, *arguments), capture_output=True, timeout=60, check=False
        )
        if done.returncode != 0:
            complaint = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise ContainerdError(f"ctr {' '.join(arguments[:4])}: {complaint[-1000:]}")
        return done.stdout.decode()

    def run(self, namespace: str, image: str, id_: str, *options: str) -> None:
        """Start a container that sleeps; it ends with :meth:`close`, or after ten minutes."""
        self._tasks.append((namespace, id_))
        self.ctr(namespace, "run", "-d", *options, image, id_, "/bin/sleep", "600")

    def collect(self) -> None:
        """Let its garbage collector run, and wait for it: it removes long after it was told to."""
        self.ctr("default", "leases", "create", "--id", "collected")
        self.ctr("default", "leases", "delete", "--sync", "collected")

    def close(self) -> None:
        """End its containers and itself, and remove its directory. Twice is fine."""
        for namespace, id_ in self._tasks:
            with suppress(ContainerdError):
                self.ctr(namespace, "tasks", "rm", "-f", id_)
        for namespace, _ in self._tasks:
            # runc leaves the parent of a task's control group; it goes only when it is empty.
            for group in Path("/sys/fs/cgroup").glob(f"*/{namespace}"):
                with suppress(OSError):
                    group.rmdir()
        self._tasks.clear()
        self.stop()
        if self.base.exists():
            leftovers.clear(self.base)
