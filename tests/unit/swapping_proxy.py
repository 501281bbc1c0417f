"""A proxy between whodiff and two daemons, which swaps them when told; also a process of its own.

``python -m tests.unit.swapping_proxy LISTEN FIRST SECOND connection|request N`` passes on to FIRST
at first, and from the N-th connection or request on (0 is the first) to SECOND.
"""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import suppress


class SwappingProxy:
    """Listens at ``path``; ``swaps``: ``connection`` or ``request``, ``at`` the how manieth.

    By connections it passes bytes on, by requests whole ones. ``seen`` counts what ``swaps`` says.
    """

    def __init__(self, path: str, daemons: tuple[str, str], swaps: str, at: int) -> None:
        self.daemons, self.swaps, self.at = daemons, swaps, at
        self.seen = 0
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(16)
        threading.Thread(target=self.serve, daemon=True).start()

    def __enter__(self) -> SwappingProxy:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def serve(self) -> None:
        """Until it is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            first = self._choose("connection")
            threading.Thread(target=self._pass_on, args=(client, first), daemon=True).start()

    def _choose(self, event: str) -> str:
        with self._lock:
            self.seen += event == self.swaps
            return self.daemons[self.seen > self.at]

    def _pass_on(self, client: socket.socket, daemon: str) -> None:
        """Each request to the daemon whose turn it is; its answer comes back byte by byte."""
        lines: dict[str, socket.socket] = {}
        with client, suppress(OSError):
            while data := client.recv(1 << 16):
                if self.swaps == "request":
                    daemon = self._choose("request")
                if daemon not in lines:
                    lines[daemon] = line = socket.socket(socket.AF_UNIX)
                    line.connect(daemon)
                    threading.Thread(target=_pump, args=(line, client), daemon=True).start()
                lines[daemon].sendall(data)
        for line in lines.values():
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    listen, first, second, swaps, at = sys.argv[1:]
    SwappingProxy(listen, (first, second), swaps, int(at))
    print("ready", flush=True)
    sys.stdin.read()
