"""The two threads at a terminal, each alone: either of them sees that it is gone."""

from __future__ import annotations

import os
import select
import threading
import time

from textual.message import Message

from app.terminal.output import MOST, Output
from app.terminal.reader import Reader


def test_the_reader_tells_once_that_the_terminal_is_gone_and_ends() -> None:
    master, slave = os.openpty()
    gone = threading.Event()
    told: list[str] = []

    def lost() -> None:
        told.append("lost")
        gone.set()

    reader = Reader(slave, lambda _: None, lost, lambda error: told.append(repr(error)))
    os.close(master)
    assert gone.wait(10)
    begun = time.monotonic()
    reader.stop()
    assert time.monotonic() - begun < 0.9, "it does not read on"
    assert told == ["lost"]
    os.close(slave)


def test_an_error_of_the_reader_is_told() -> None:
    master, slave = os.openpty()
    failed = threading.Event()

    def take(_: Message) -> None:
        raise ValueError

    reader = Reader(slave, take, lambda: None, lambda _: failed.set())
    os.write(master, b"x\n")
    assert failed.wait(10)
    reader.stop()
    os.close(master)
    os.close(slave)


def test_the_output_tells_that_the_terminal_is_gone_and_holds_nobody_up() -> None:
    master, slave = os.openpty()
    gone = threading.Event()
    output = Output(slave, gone.set, lambda: None)
    os.close(master)
    output.write("x")
    assert gone.wait(10)
    for _ in range(2 * MOST):
        output.write("x" * 1000)
    assert output.drain(10)
    output.close()
    os.close(slave)


def test_a_terminal_that_takes_nothing_misses_frames_and_is_drawn_anew_later() -> None:
    master, slave = os.openpty()
    behind = threading.Event()
    output = Output(slave, lambda: None, behind.set)
    for _ in range(2 * MOST):
        output.write("x" * 1000)
    assert not output.drain(0.05), "nobody reads"
    assert not behind.is_set()
    deadline = time.monotonic() + 20
    while not behind.is_set() and time.monotonic() < deadline:
        if select.select([master], [], [], 0.05)[0]:
            os.read(master, 65536)
    assert behind.is_set()
    output.close()
    os.close(slave)
    os.close(master)
