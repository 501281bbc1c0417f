"""Who listens is told by the kernel."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest

from app.host.peer import Peer, peer_of


def test_who_listens_is_who_called_listen_and_not_who_accepts() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        address = str(Path(folder, "s"))
        listener.bind(address)
        listener.listen(1)
        if child := os.fork():
            with socket.socket(socket.AF_UNIX) as line:
                line.connect(address)
                found = peer_of(line)
            os.waitpid(child, 0)
            assert found == Peer(os.getpid(), os.geteuid())
        else:
            listener.accept()
            os._exit(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_another_user_is_told_by_number() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        address = str(Path(folder, "s"))
        listener.bind(address)
        ready, done = os.pipe(), os.pipe()
        child = os.fork()
        if not child:
            os.setresuid(4711, 4711, 4711)
            listener.listen(1)
            os.write(ready[1], b".")
            os.read(done[0], 1)
            os._exit(0)
        os.read(ready[0], 1)
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(address)
            found = peer_of(line)
        os.write(done[1], b".")
        os.waitpid(child, 0)
        for end in (*ready, *done):
            os.close(end)
        assert found == Peer(child, 4711)
