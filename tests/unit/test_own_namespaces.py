"""The namespaces that the tests run in: what comes out of them, and that nothing stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import own_namespaces

ENTERED = """
import os, signal, subprocess, sys, time
from tests import own_namespaces
status = own_namespaces.enter()
if status is not None:
    sys.exit(status)
assert own_namespaces.inside()
"""


def entered(script: str) -> subprocess.Popen[bytes]:
    """A run that enters namespaces of its own (from here they are the second ones)."""
    environ = {key: it for key, it in os.environ.items() if key != own_namespaces.MARK}
    return subprocess.Popen(
        [sys.executable, "-c", ENTERED + script],
        cwd=Path(__file__).parents[2],
        env=environ,
        stdout=subprocess.PIPE,
    )


@pytest.fixture(autouse=True)
def _needs_namespaces() -> None:
    if not own_namespaces.inside():
        pytest.skip("needs root, and the right to make namespaces")


def test_the_tests_themselves_are_in_there() -> None:
    assert Path("/proc/1/cwd").resolve()
    assert Path(f"/proc/{os.getpid()}/status").exists()


def test_the_status_comes_out_and_the_dead_are_collected() -> None:
    run = entered(
        "orphan = subprocess.check_output(['sh', '-c', 'sleep 0.01 >/dev/null & echo $!'])\n"
        "at = f'/proc/{int(orphan)}'\n"
        "while os.path.exists(at): time.sleep(0.005)\n"
        "os._exit(7)"
    )
    assert run.communicate(timeout=20)[0] == b""
    assert run.returncode == 7


def test_mounts_and_processes_end_with_it(tmp_path: Path) -> None:
    run = entered(
        f"subprocess.run(['mount', '-t', 'tmpfs', 'none', '{tmp_path}'], check=True)\n"
        f"open('{tmp_path}/hidden', 'w')\n"
        "subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
        "print('ready', flush=True); time.sleep(1000)"
    )
    assert run.stdout
    assert run.stdout.readline() == b"ready\n"
    assert list(tmp_path.iterdir()) == []
    run.kill()
    # The pipe ends with the last process that has it, the sleeping one too.
    assert run.communicate(timeout=20)[0] == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_the_tests(number: signal.Signals) -> None:
    run = entered(
        "def told(number, frame):\n    os._exit(40)\n"
        f"signal.signal({int(number)}, told)\n"
        "print('ready', flush=True); time.sleep(1000)"
    )
    assert run.stdout
    assert run.stdout.readline() == b"ready\n"
    run.send_signal(number)
    run.communicate(timeout=20)
    assert run.returncode == 40
