"""What was removed, by whom and why it might be: one JSON line for each action, in two places.

Every action has two lines, one before it (``"phase": "begin"``), which stays when whodiff is
killed in the middle, and one after it (``"end"``). Nothing that goes wrong here stops a removal: it
becomes a note.
"""

from __future__ import annotations

import json
import os
import syslog
import threading
import time
from contextlib import suppress
from dataclasses import asdict

from app.cleanup.execute.outcome import Space
from app.cleanup.plan.model import Frees, Plan, Step
from app.cleanup.plan.reopen_path import path_of
from app.host.own_file import open_own

_IDENT = "whodiff"
_SYSLOG_SOCKET = "/dev/log"
#: Seconds. A system log that does not read (its disk is full as well) would block for ever.
_SYSLOG_PATIENCE = 2.0
#: Characters. syslogd(8) of many systems cuts what is longer than 8 KiB.
_LONGEST_SYSLOG = 8000
_LONGEST_TEXT = 150
_MOST_REFERENCES = 200


class Journal:
    """One JSON line per action to syslog(3) and, if there is one, to ``file``.

    ``notes`` are sentences about what could not be written, each once.
    """

    def __init__(self, file: str | None) -> None:
        self.notes: list[str] = []
        self._file = file
        self._cut = False
        self._syslog = True

    def begin(self, plan: Plan, step: Step) -> None:
        """An action is about to be done."""
        self._write(_about("begin", plan, step))

    def end(
        self,
        plan: Plan,
        step: Step,
        result: str,
        removed: Frees,
        free: tuple[Space | None, Space | None],
    ) -> None:
        """It was done (``result`` is "done") or not (why).

        ``removed`` is what whodiff counted, ``free`` the filesystem before and after it.
        """
        before, after = free
        self._write(
            {
                **_about("end", plan, step),
                "result": result,
                "removed": {"bytes": removed.bytes, "inodes": removed.inodes},
                "free_before": asdict(before) if before else None,
                "free_after": asdict(after) if after else None,
            }
        )

    def _write(self, entry: dict[str, object]) -> None:
        self._write_to_syslog(_line(entry, _LONGEST_SYSLOG))
        if self._file:
            try:
                self._write_to_file(self._file, _line(entry) + "\n")
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or error
                self._note(f"The journal {self._file} could not be written ({why}).")

    def _write_to_file(self, file: str, line: str) -> None:
        descriptor = open_own(file)
        try:
            # After a line that was cut by a full disk the next one begins anew.
            data = (("\n" if self._cut else "") + line).encode("ascii")
            self._cut = os.write(descriptor, data) < len(data)
            if self._cut:
                raise ValueError("no space left for a whole line")
        finally:
            os.close(descriptor)

    def _write_to_syslog(self, line: str) -> None:
        if not self._syslog:
            return
        if not os.access(_SYSLOG_SOCKET, os.W_OK):
            self._syslog = False
            self._note(f"No system log listens here ({_SYSLOG_SOCKET}).")
            return
        writer = threading.Thread(target=_to_syslog, args=(line,), daemon=True)
        writer.start()
        writer.join(_SYSLOG_PATIENCE)
        if writer.is_alive():
            self._syslog = False
            self._note("The system log does not take anything.")

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)


def _to_syslog(line: str) -> None:
    syslog.openlog(_IDENT, syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_NOTICE, line)


def _about(phase: str, plan: Plan, step: Step) -> dict[str, object]:
    place = path_of(step.place) if step.place else plan.path
    references = [
        {"kind": it.kind.value, "id": it.id, "name": it.name, "why": it.why}
        for it in plan.references[:_MOST_REFERENCES]
    ]
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "phase": phase,
        "who": _who(),
        "title": plan.title,
        "root": os.fsdecode(plan.wish.root),
        "path": os.fsdecode(place),
        "action": step.action.value,
        "ids": list(step.ids),
        "command": step.command,
        "references": references,
        "references_seen": len(plan.references),
    }


def _who() -> dict[str, object]:
    tty = ""
    for descriptor in range(3):
        with suppress(OSError):
            tty = tty or os.ttyname(descriptor)
    return {
        "uid": os.getuid(),
        "sudo_user": os.environ.get("SUDO_USER", ""),
        "tty": tty,
        "pid": os.getpid(),
    }


def _line(entry: dict[str, object], longest: int = 0) -> str:
    """ASCII, whatever the names are made of; shortened where it would be longer than allowed."""
    line = json.dumps(entry)
    if not longest or len(line) <= longest:
        return line
    short = {key: _shortened(value) for key, value in entry.items() if key != "references"}
    return json.dumps({**short, "shortened": True})


def _shortened(value: object) -> object:
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_TEXT else f"{value[:_LONGEST_TEXT]}..."
    return [_shortened(one) for one in value[:10]] if isinstance(value, list) else value
