"""Stopped and continued by a shell, by signals, in any order: usable, and left as it was."""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tui.test_lost_pty import STATES
from tests.tui.tty import Tty, explorer, left_on

PROMPT = "shell> "


@contextmanager
def shell(sample: Path) -> Iterator[Tty]:
    """An interactive shell that controls jobs; ``$started`` is the explorer's command."""
    started = " ".join(map(shlex.quote, explorer(sample)))
    command = ["bash", "--norc", "--noprofile", "--noediting", "-i"]
    with Tty(command, environ={"PS1": PROMPT, "started": started}) as it:
        ask(it, "")
        yield it
        it.press("kill -9 %1 %2; exit\n")


def at_prompt(it: Tty, since: int) -> None:
    it.until(lambda: it.sent[since:].endswith(PROMPT.encode()))


def ask(it: Tty, line: str) -> bytes:
    """Type a line to the shell, and wait until it asks for the next one."""
    since = len(it.sent)
    it.press(line + "\n")
    at_prompt(it, since)
    return it.sent[since:]


def drawn(it: Tty, words: str = "scanned", since: int = 0) -> int:
    """Wait until the whole screen was drawn anew since then."""
    it.see(words, since=since)
    assert "filter: -" in it.screen(since), it.screen(since)
    return len(it.sent)


def start(it: Tty) -> int:
    since = len(it.sent)
    it.press('(eval "exec $started")\n')
    return drawn(it, since=since)


def stop(it: Tty) -> None:
    """Ctrl+Z, and the shell is usable."""
    since = len(it.sent)
    it.press("\x1a")
    at_prompt(it, since)
    assert left_on(it.sent) == []
    assert it.attributes == it.before


def quit_explorer(it: Tty) -> None:
    since = len(it.sent)
    it.press("q")
    at_prompt(it, since)
    assert left_on(it.sent) == []
    assert it.attributes == it.before
    assert ask(it, "echo status=$?").count(b"status=0")


def foreground(it: Tty) -> int:
    since = len(it.sent)
    it.press("fg\n")
    return drawn(it, since=since)


def test_ctrl_z_and_fg_twice(sample: Path) -> None:
    with shell(sample) as it:
        start(it)
        for _ in range(2):
            stop(it)
            since = foreground(it)
            it.press("?")
            it.see("esc closes", since=since)
            it.press("\x1b")
            it.see("filter: -")
        quit_explorer(it)


def test_bg_of_a_stopped_one_stops_it_again(sample: Path) -> None:
    with shell(sample) as it:
        start(it)
        stop(it)
        for _ in range(2):
            ask(it, "bg")
            it.until(lambda: b"Stopped" in ask(it, "jobs"))
            assert left_on(it.sent) == []
            assert it.attributes == it.before
        foreground(it)
        quit_explorer(it)


def test_started_in_the_background(sample: Path) -> None:
    with shell(sample) as it:
        ask(it, '(eval "exec $started") &')
        it.until(lambda: b"Stopped" in ask(it, "jobs"))
        assert left_on(it.sent) == []
        foreground(it)
        quit_explorer(it)


@pytest.mark.parametrize("before", ["stopped", "background"])
def test_killed_where_it_is_stopped(sample: Path, before: str) -> None:
    with shell(sample) as it:
        if before == "stopped":
            start(it)
            stop(it)
        else:
            ask(it, '(eval "exec $started") &')
            it.until(lambda: b"Stopped" in ask(it, "jobs"))
        ask(it, "kill %1")
        it.until(lambda: b"Stopped" not in ask(it, "jobs") and ask(it, "jobs"))
        assert left_on(it.sent) == []
        assert it.attributes == it.before
        assert b"Traceback" not in it.sent


def test_sigstop_from_outside_and_fg(sample: Path) -> None:
    """Stopped without a chance to leave the screen; the shell's prompt stands in it."""
    with shell(sample) as it:
        start(it)
        since = len(it.sent)
        child = child_of(it)
        os.kill(child, signal.SIGSTOP)
        at_prompt(it, since)
        foreground(it)
        stop(it)
        foreground(it)
        quit_explorer(it)


def child_of(it: Tty) -> int:
    """The process that the shell waits for."""
    return int(
        Path(f"/proc/{it.process.pid}/task/{it.process.pid}/children").read_text().split()[0]
    )


@pytest.mark.parametrize("state", ["idle", "palette"])
def test_signals_in_any_order(sample: Path, state: str) -> None:
    stop, tstp, cont = signal.SIGSTOP, signal.SIGTSTP, signal.SIGCONT
    orders: list[list[int]] = [
        [cont],
        [cont, cont],
        [stop, cont],
        [stop, stop, cont, cont],
        [tstp, cont],
        [tstp, tstp, cont],
        [tstp, stop, cont],
        [stop, tstp, cont, cont],
        [cont, tstp, cont],
    ]
    with Tty(explorer(sample)) as it:
        STATES[state](it)
        for order in orders:
            since = len(it.sent)
            for number in order:
                it.process.send_signal(number)
                time.sleep(0.05)
            it.process.send_signal(cont)
            it.until(lambda: it.sent[since:].count(b"\x1b[?1049h"))  # noqa: B023 - called here
            assert it.state() != "T"
        it.press("\x1b\x1b")
        time.sleep(0.3)
        it.press("\x1b")
        it.see("filter: -")
        it.press("\x11")
        assert it.end() == 0
        assert it.changed() == []


def test_who_cannot_be_continued_is_not_stopped(sample: Path) -> None:
    """Nobody could continue it: its process group is orphaned, as below ``ssh -t`` or ``exec``."""
    with Tty(explorer(sample)) as it:
        it.see("scanned")
        since = len(it.sent)
        it.press("\x1a")
        it.see("scanned", since=since)
        assert it.state() != "T"
        it.press("q")
        assert it.end() == 0
        assert it.changed() == []
