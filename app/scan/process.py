"""Starting the worker process of a scan.

A fresh interpreter is started, not forked from a process with threads and not through
multiprocessing, which would import the caller's ``__main__`` again. It imports this package from
where this process has it (a folder, a zip archive, an editable install) and nothing else but the
standard library, so that it starts in a few hundredths of a second.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import app

#: What the worker must find ``app`` in. Taken now: a relative entry of sys.path may mean another
#: place once somebody has changed the directory.
_HOME = str(Path(app.__file__).absolute().parent.parent)
_START = (
    "import signal, sys;"
    # Ctrl+C at the terminal reaches the whole process group; the parent decides what it means.
    "signal.signal(signal.SIGINT, signal.SIG_IGN);"
    "sys.path.insert(0, sys.argv[1]);"
    "from app.scan.worker import main;"
    "main(int(sys.argv[2]), int(sys.argv[3]))"
)


def start_worker(leash: int, tickets: int) -> subprocess.Popen[bytes]:
    """Start one worker; see :func:`app.scan.worker.main`. Raises OSError."""
    # -I and -S: neither the environment nor site-packages take part; -B: nothing is written;
    # -X utf8: any bytes as names survive the way through str, whatever the locale.
    command = [sys.executable or "python3", "-I", "-S", "-B", "-X", "utf8", "-c", _START]
    return subprocess.Popen(
        [*command, _HOME, str(leash), str(tickets)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=(leash, tickets),
    )
