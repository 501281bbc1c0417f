"""The terminal goes, or a signal comes, whatever the explorer is doing."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tui.test_removal_pty import SAFE
from tests.tui.tty import Tty, explorer

AT_ONCE = 10.0  # seconds; on a busy machine an end takes some
LITTLE = 1.5  # CPU seconds that an end may take
ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


def idle(it: Tty) -> None:
    it.see("scanned")


def page(key: str, words: str) -> Callable[[Tty], None]:
    def open_page(it: Tty) -> None:
        idle(it)
        it.press(key)
        it.see(words)

    return open_page


STATES = {
    "idle": idle,
    "help": page("?", "esc closes"),
    "details": page("i", "esc Close"),
    "filter": page("/abc", "filter: abc"),
    "palette": page("\x10", "Search for commands"),
}


def removing(it: Tty) -> None:
    """Until a removal is under way that goes on until it is stopped."""
    for keys, words in (
        ("", "scanned"),
        ("n", "sort: NAME"),
        ("/unknown\r", "filter: unknown"),
        ("\r", "aaaaaaaaaaaa"),
        ("\r", SAFE),
        ("\x1b", "filter: -"),
    ):
        it.press(keys)
        it.see(words)
    for _ in range(20):
        if any(SAFE in line for line in it.screen().splitlines() if line[:1] == "▶"):
            break
        before = it.screen()
        it.press("j")
        it.until(lambda: it.screen() != before)  # noqa: B023 - called here
    for keys, words in (("d", "▶[ Cancel ]"), ("\x1b[Z", "▶[ Delete ]"), ("\r", "file-40")):
        it.press(keys)
        it.see(words)


def ends_at_once(it: Tty, status: int) -> None:
    begun = time.monotonic()
    spent = spent_now = it.cpu()
    deadline = begun + AT_ONCE
    while it.process.poll() is None and time.monotonic() < deadline:
        if it.state() not in ("", "Z"):
            spent_now = it.cpu()
        it.read(0.02)
    assert it.process.poll() == status, f"state {it.state()!r}, after {AT_ONCE} s"
    assert spent_now - spent < LITTLE


@pytest.mark.parametrize(
    ("state", "controlling"), [*((state, True) for state in STATES), ("idle", False)]
)
def test_it_ends_when_the_terminal_is_gone(sample: Path, state: str, controlling: bool) -> None:
    with Tty(explorer(sample), controlling=controlling, ignored=[signal.SIGHUP]) as it:
        STATES[state](it)
        it.close_master()
        ends_at_once(it, 129)


def test_it_ends_when_the_terminal_goes_while_names_are_read(sample: Path) -> None:
    command = [sys.executable, "-m", "tests.tui.faults", "slow-survey", *explorer(sample)[3:]]
    with Tty(command, ignored=[signal.SIGHUP]) as it:
        it.see("reading names")
        it.close_master()
        ends_at_once(it, 129)


@pytest.mark.parametrize("moment", [0.0, 0.2, 0.4, 0.7])
def test_it_ends_when_the_terminal_goes_while_it_starts(sample: Path, moment: float) -> None:
    with Tty(explorer(sample), ignored=[signal.SIGHUP]) as it:
        time.sleep(moment)
        it.close_master()
        deadline = time.monotonic() + 4 * AT_ONCE
        while it.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        # Without a terminal from the begin it prints the report, which cannot be written.
        assert it.process.poll() in (129, 2, 0)


@pytest.mark.parametrize(
    ("state", "number"),
    [*zip(STATES, (*ENDING, signal.SIGTERM), strict=True), ("idle", signal.SIGTERM)],
)
def test_a_signal_leaves_the_terminal_as_it_was(sample: Path, state: str, number: int) -> None:
    with Tty(explorer(sample)) as it:
        STATES[state](it)
        assert {"mode 1003", "mode 1049", "mode 2004", "mode 25"} < set(it.changed())
        it.process.send_signal(number)
        assert it.end(AT_ONCE) == 128 + number
        assert it.changed() == []
        assert b"Traceback" not in it.sent
        assert it.sent.rpartition(b"\x1b[?1004l")[2] == b"", "nothing is said after it"


@pytest.mark.parametrize("moment", [0.05, 0.3, 0.5])
def test_a_signal_before_the_first_frame(sample: Path, moment: float) -> None:
    with Tty(explorer(sample)) as it:
        deadline = time.monotonic() + moment
        while time.monotonic() < deadline:
            it.read(0.01)
        it.process.send_signal(signal.SIGTERM)
        assert it.end(AT_ONCE) in (143, -signal.SIGTERM)
        assert it.changed() == []
        assert b"Traceback" not in it.sent


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_at_the_first_byte(sample: Path, number: int) -> None:
    with Tty(explorer(sample)) as it:
        while b"\x1b[?1049h" not in it.sent:
            it.read(0.01)
        it.process.send_signal(number)
        assert it.end(AT_ONCE) == 128 + number
        assert it.changed() == []
        assert b"Traceback" not in it.sent


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_at_the_end(sample: Path, number: int) -> None:
    for moment in (1, 6):
        with Tty(explorer(sample)) as it:
            it.see("Help")
            it.press("q")
            time.sleep(moment * 0.01)
            it.process.send_signal(number)
            assert it.end(AT_ONCE) in (0, 128 + number, -number)
            assert it.changed() == []
            assert b"Traceback" not in it.sent


def test_many_signals_at_once(sample: Path) -> None:
    with Tty(explorer(sample)) as it:
        idle(it)
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP, signal.SIGINT) * 5:
            it.process.send_signal(number)
        # The last may come when Python has put its handlers away; a shell sees no difference.
        assert it.end(AT_ONCE) in [status for end in ENDING for status in (128 + end, -end)]
        assert it.changed() == []
        assert b"Traceback" not in it.sent


def test_an_ignored_hangup_stays_ignored(sample: Path) -> None:
    with Tty(explorer(sample), ignored=[signal.SIGHUP]) as it:
        idle(it)
        it.process.send_signal(signal.SIGHUP)
        it.press("?")
        it.see("esc closes")
        it.process.send_signal(signal.SIGTERM)
        assert it.end(AT_ONCE) == 143
        assert it.changed() == []


def test_a_terminal_that_takes_nothing_does_not_hold_up_the_end(sample: Path) -> None:
    with Tty(explorer(sample)) as it:
        idle(it)
        for _ in range(40):  # nobody reads what this draws
            it.press("?\x1b")
            time.sleep(0.02)
        time.sleep(1)
        it.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + AT_ONCE
        while it.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert it.process.poll() == 143
        assert it.attributes == it.before


@pytest.mark.parametrize("how", [signal.SIGHUP, "gone"])
def test_a_removal_stops_between_two_entries_and_tells(
    root: Path, tmp_path: Path, how: str | int
) -> None:
    told = tmp_path / "told"
    command = [sys.executable, "-m", "tests.tui.removals", str(root), "--run", "until-stopped"]
    with Tty([*command, "--told", str(told)], ignored=[signal.SIGHUP] * (how == "gone")) as it:
        removing(it)
        if isinstance(how, int):
            for _ in range(3):  # a shell that closes sends more than one
                it.process.send_signal(how)
            assert it.end(AT_ONCE) == 128 + how
            assert it.changed() == []
        else:
            it.close_master()
            ends_at_once(it, 129)
    assert told.read_text() == "40 It was stopped: the rest stays.\n"


def test_in_the_dialog_a_signal_is_a_no(root: Path, tmp_path: Path) -> None:
    told = tmp_path / "told"
    command = [sys.executable, "-m", "tests.tui.removals", str(root), "--told", str(told)]
    with Tty(command) as it:
        it.see("scanned")
        it.press("n")
        it.see("sort: NAME")
        it.press("/unknown\r")
        it.see("filter: unknown")
        it.press("\r")
        it.see("aaaaaaaaaaaa")
        it.press("\r")
        it.see(SAFE)
        it.press("jd")
        it.see("▶[ Cancel ]")
        it.press("\x1b[Z")
        it.see("▶[ Delete ]")
        it.process.send_signal(signal.SIGTERM)
        it.press("\r")
        assert it.end(AT_ONCE) == 143
        assert it.changed() == []
    assert not told.exists()
