"""The journal: two lines for each action, and never a reason not to go on."""

from __future__ import annotations

import json
import os
import socket
import stat
import syslog
import threading
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cleanup.execute import journal as journal_module
from app.cleanup.execute.journal import Journal
from app.cleanup.execute.outcome import Space
from app.cleanup.plan.model import Action, Frees, Plan, Step, Subject, Wish
from app.host.own_file import NotOurs, check_own
from app.model import Kind, Reference
from app.tui import explore

STEP = Step(Action.REMOVE_CONTAINER, "docker rm web", ids=("ab" * 32,))
SPACE = Space(10, 20, 30, 40)


def plan(title: str = "container web", references: int = 1, path: bytes = b"/data/x") -> Plan:
    who = tuple(
        Reference(Kind.IMAGE, f"sha256:{n:064x}", f"acme/{n}", "it stands on it")
        for n in range(references)
    )
    wish = Wish(Subject.CONTAINER, b"/data", id="ab" * 32)
    return Plan(wish, title, path=path, steps=(STEP,), references=who)


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[int, str]]:
    """What the system log was told, instead of this machine's own."""
    lines: list[tuple[int, str]] = []
    (tmp_path / "log").touch()
    monkeypatch.setattr(journal_module, "_SYSLOG_SOCKET", str(tmp_path / "log"))
    monkeypatch.setattr(syslog, "openlog", lambda *_: None)
    monkeypatch.setattr(syslog, "syslog", lambda priority, line: lines.append((priority, line)))
    return lines


def both(journal: Journal, of: Plan) -> None:
    journal.begin(of, STEP)
    journal.end(of, STEP, "done", Frees(4096, 2), (SPACE, None))


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("ascii").splitlines()]


def test_an_action_has_a_line_before_and_one_after(
    tmp_path: Path, heard: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")
    journal = Journal(str(tmp_path / "journal"))
    both(journal, plan())
    begin, end = lines_of(tmp_path / "journal")
    for line in (begin, end):
        assert line["who"]["uid"] == os.getuid()
        assert line["who"]["sudo_user"] == "ada"
        assert (line["title"], line["path"], line["root"]) == ("container web", "/data/x", "/data")
        assert (line["action"], line["command"]) == ("remove-container", "docker rm web")
        assert line["ids"] == ["ab" * 32]
        assert line["references"][0]["why"] == "it stands on it"
        assert line["time"].endswith("Z")
    assert (begin["phase"], end["phase"]) == ("begin", "end")
    assert "result" not in begin
    assert end["result"] == "done"
    assert end["removed"] == {"bytes": 4096, "inodes": 2}
    assert end["free_before"]["inodes_free"] == 30
    assert end["free_after"] is None
    assert [json.loads(line) for _, line in heard] == [begin, end]
    assert {priority for priority, _ in heard} == {syslog.LOG_NOTICE}
    assert not journal.notes


def test_it_is_for_root_alone_and_only_added_to(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    both(Journal(str(file)), plan())
    both(Journal(str(file)), plan("container api"))
    assert file.stat().st_mode & 0o777 == 0o600
    assert [it["title"][-3:] for it in lines_of(file)] == ["web", "web", "api", "api"]


@given(st.text(), st.binary(), st.integers(0, 600))
def test_any_name_is_one_line_of_ascii(title: str, path: bytes, references: int) -> None:
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(syslog, "syslog", lambda _, line: lines.append(line))
        both(Journal(None), plan(title * 500, references, path * 500))
    for line in lines:
        assert line.isascii()
        assert line.isprintable()
        assert len(line) <= 8000
        assert json.loads(line)["references_seen"] == references


@pytest.mark.parametrize("kind", ["link", "fifo", "directory", "full", "nowhere", "nul", "socket"])
def test_a_journal_that_cannot_be_written_is_a_note(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "journal"
    if kind == "link":
        file.symlink_to(tmp_path / "elsewhere")
    elif kind == "fifo":
        os.mkfifo(file)
    elif kind == "directory":
        file.mkdir()
    elif kind == "full":
        file = Path("/dev/full")
    elif kind == "nowhere":
        file = tmp_path / "no" / "journal"
    elif kind == "nul":
        file = tmp_path / "a\0b"
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(file))
    journal = Journal(str(file))
    both(journal, plan())
    (note,) = journal.notes
    assert "could not be written" in note
    assert not (tmp_path / "elsewhere").exists()


#: What makes a journal that may be somebody else's, and what is said of it.
ODD = {
    "another's": "it belongs to user 12345",
    "hard link": "it has other names",
    "link": "it is a symbolic link",
    "directory link": "is a symbolic link",
    "fifo": "it is no regular file",
    "device": "it is no regular file",
    "open directory": "everybody may replace what is in",
    "open above": "everybody may replace what is in",
}


def odd_journal(home: Path, kind: str) -> tuple[Path, Path]:
    """A file that is named as the journal, and one that must stay as it is."""
    (home / "in").mkdir()
    file = precious = home / "in/journal"
    precious.write_text("precious")
    if kind == "another's":
        os.chown(file, 12345, 0)
    elif kind == "hard link":
        (home / "other").hardlink_to(file)
    elif kind == "link":
        file = home / "link"
        file.symlink_to(precious)
    elif kind == "directory link":
        (home / "to").symlink_to("in")
        file = home / "to/journal"
    elif kind == "fifo":
        file = home / "fifo"
        os.mkfifo(file)
    elif kind == "device":
        file = home / "device"
        os.mknod(file, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    elif kind == "open directory":
        (home / "in").chmod(0o777)
    else:
        home.chmod(0o757)
    return file, precious


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away and makes devices")
@pytest.mark.parametrize("kind", ODD)
def test_a_journal_that_may_be_somebody_elses_is_refused(tmp_path: Path, kind: str) -> None:
    file, precious = odd_journal(tmp_path, kind)
    journal = Journal(str(file))
    both(journal, plan())
    (note,) = journal.notes
    assert "could not be written" in note
    assert ODD[kind] in note
    assert precious.read_text() == "precious"
    with pytest.raises(NotOurs, match=ODD[kind]):
        check_own(str(file))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_explorer_does_not_begin_with_such_a_journal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, _ = odd_journal(tmp_path, "another's")
    with pytest.raises(NotOurs):
        explore(Namespace(journal=str(file)))


def test_in_a_directory_where_all_may_write_but_not_replace_it_is_taken(tmp_path: Path) -> None:
    home = tmp_path / "all"
    home.mkdir()
    home.chmod(0o1777)
    for _ in range(2):
        check_own(str(home / "journal"))
        both(journal := Journal(str(home / "journal")), plan())
        assert not journal.notes
    assert len(lines_of(home / "journal")) == 4


def test_after_a_line_that_was_cut_the_next_one_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "journal"
    journal, write = Journal(str(file)), os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:40]))
        journal.begin(plan(), STEP)
    journal.end(plan(), STEP, "done", Frees(), (None, None))
    cut, whole = file.read_text().splitlines()
    assert len(cut) == 40
    assert json.loads(whole)["phase"] == "end"
    assert "no space left" in journal.notes[0]


def test_without_a_system_log_there_is_a_note(
    tmp_path: Path, heard: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_SYSLOG_SOCKET", str(tmp_path / "none"))
    journal = Journal(str(tmp_path / "journal"))
    both(journal, plan())
    assert "No system log" in journal.notes[0]
    assert len(journal.notes) == 1
    assert not heard
    assert len(lines_of(tmp_path / "journal")) == 2


def test_a_system_log_that_hangs_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr(syslog, "syslog", lambda *_: over.wait(60))
    monkeypatch.setattr(journal_module, "_SYSLOG_PATIENCE", 0.05)
    journal = Journal(str(tmp_path / "journal"))
    try:
        both(journal, plan())
    finally:
        over.set()
    assert journal.notes == ["The system log does not take anything."]
    assert len(lines_of(tmp_path / "journal")) == 2
