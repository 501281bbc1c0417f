"""A FUSE mount that does not answer, made without any package: fuse(4), mount(2), linux/fuse.h."""

from __future__ import annotations

import ctypes
import os
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.unit.commands import REPOSITORY

_LIBC = ctypes.CDLL(None, use_errno=True)
_MNT_DETACH = 2
_HEADER = struct.Struct("=IIQQIIIHH")  # fuse_in_header
_ANSWER = struct.Struct("=IiQ")  # fuse_out_header
_LOOKUP, _GETATTR, _STATFS, _INIT, _OPENDIR, _READDIR = 1, 3, 17, 26, 27, 28
_RELEASEDIR, _ACCESS, _GETXATTR, _STATX = 29, 34, 22, 52
_ENOENT, _ENOSYS = 2, 38


@dataclass
class DeadMount:
    """Where it is. ``answers`` are the operations that get one; the others wait for ever.

    Nothing at all is even read from the kernel without ``INIT`` among them; who waits for what was
    read cannot be killed (Linux fs/fuse/dev.c request_wait_answer).
    """

    point: Path
    answers: frozenset[int]
    descriptor: int = -1
    asked: int = 0

    def mount(self) -> None:
        self.descriptor = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        options = f"fd={self.descriptor},rootmode=40000,user_id=0,group_id=0,allow_other"
        result = _LIBC.mount(b"server:/x", bytes(self.point), b"fuse.dead", 0, options.encode())
        assert result == 0, os.strerror(ctypes.get_errno())
        if self.answers:
            threading.Thread(target=self._serve, args=(self.descriptor,), daemon=True).start()

    def end(self) -> None:
        """Let go whoever waits: the connection ends with its descriptor; then unmount it."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
            _LIBC.umount2(bytes(self.point), _MNT_DETACH)

    def _serve(self, descriptor: int) -> None:
        while self.descriptor >= 0:
            try:
                if not select.select([descriptor], [], [], 0.2)[0]:
                    continue
                request = os.read(descriptor, 1 << 18)
            except (OSError, ValueError):
                return
            _, code, unique, *_ = _HEADER.unpack_from(request)
            self.asked += 1
            if code in self.answers:
                self._answer(descriptor, unique, *_content(code))

    def _answer(self, descriptor: int, unique: int, error: int, content: bytes) -> None:
        head = _ANSWER.pack(_ANSWER.size + len(content), -error, unique)
        os.write(descriptor, head + content)


def _content(code: int) -> tuple[int, bytes]:
    """An error number, and what follows the head: of an empty directory."""
    return _CONTENTS.get(code, (_ENOSYS, b""))


_ATTRIBUTES = struct.pack("=6Q10I", 1, *[0] * 8, 0o40755, 2, 0, 0, 0, 4096, 0)
_CONTENTS = {
    _INIT: (0, struct.pack("=IIIIHHIIHH6I", 7, 31, 65536, 0, 12, 10, 131072, 1, 0, 0, *[0] * 6)),
    _GETATTR: (0, struct.pack("=QII", 0, 0, 0) + _ATTRIBUTES),
    _STATFS: (0, struct.pack("=5Q4I6I", 100, 50, 50, 100, 50, 4096, 255, 4096, 0, *[0] * 6)),
    _OPENDIR: (0, struct.pack("=QII", 1, 0, 0)),
    _READDIR: (0, b""),
    _RELEASEDIR: (0, b""),
    _LOOKUP: (_ENOENT, b""),
}


#: Never answers at all; reads everything and answers nothing but INIT; answers for its top only.
KINDS = {
    "silent": frozenset[int](),
    "swallowing": frozenset({_INIT}),
    "shallow": frozenset({_INIT, _GETATTR, _STATFS, _ACCESS, _GETXATTR, _STATX}),
}
ALIVE = frozenset(
    {_INIT, _GETATTR, _STATFS, _LOOKUP, _OPENDIR, _READDIR, _RELEASEDIR, _ACCESS, _GETXATTR, _STATX}
)


@contextmanager
def dead_mount(point: Path, kind: str = "silent") -> Iterator[DeadMount]:
    """Mount it at this directory, which is made; it goes however the test ends."""
    point.mkdir(parents=True, exist_ok=True)
    mount = DeadMount(point, ALIVE if kind == "alive" else KINDS[kind])
    mount.mount()
    try:
        yield mount
    finally:
        mount.end()


_LIMIT = 60.0  # seconds
#: Into the working directory once the interpreter has started: its own start looks there.
_START = """
import os, sys
sys.path[0] = sys.argv[1]
from app.cli import main
os.chdir(sys.argv[2])
sys.exit(main(sys.argv[3:]))
"""


@dataclass(frozen=True)
class Ended:
    """What a command came to, and how long it took (seconds)."""

    status: int
    out: str
    err: str
    seconds: float


def timed(
    *words: str | Path,
    mounts: tuple[DeadMount, ...],
    environ: Mapping[str, str] | None = None,
    cwd: Path = REPOSITORY,
) -> Ended:
    """Run whodiff; where it takes longer than this the mounts end first, or it could not be killed.

    With its output through pipes, whose end only comes when nobody is left who has them.
    """
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", _START, str(REPOSITORY), str(cwd), *map(str, words)],
        cwd="/",
        env={**os.environ, **(environ or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = process.communicate(timeout=_LIMIT)
    except subprocess.TimeoutExpired:
        for mount in mounts:
            mount.end()
        process.kill()
        process.communicate()
        raise AssertionError(f"hangs: {words}") from None
    return Ended(process.returncode, out, err, time.monotonic() - began)


def side_by_side(
    *commands: Sequence[str | Path], mounts: tuple[DeadMount, ...], environ: Mapping[str, str]
) -> list[Ended]:
    """Run several at the same time: each mostly waits."""
    with ThreadPoolExecutor(len(commands)) as pool:
        runs = [pool.submit(timed, *words, mounts=mounts, environ=environ) for words in commands]
        return [it.result() for it in runs]
