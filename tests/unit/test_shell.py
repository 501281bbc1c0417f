"""Commands for any shell, and when there is none."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cleanup.plan.batch import together
from app.cleanup.plan.commands import docker, is_sealed, only_while, prune, truncate, typed, unlink
from app.cleanup.plan.model import Action, Plan, Step, Subject, Wish
from app.documents import plan as document
from app.screens.plan_words import question_sections

words = st.binary(min_size=1, max_size=30).filter(lambda it: b"\0" not in it)
SOCKET = "unix:///var/run/docker.sock"


@settings(max_examples=60, deadline=None)
@given(st.lists(words, min_size=1, max_size=8))
def test_every_shell_gets_the_very_bytes_back_or_there_is_no_command(parts: list[bytes]) -> None:
    line = typed("printf", r"%s\0", *parts)
    if not line:
        assert any(
            not (os.fsdecode(it).isascii() and os.fsdecode(it).isprintable()) for it in parts
        )
        return
    for shell in ("dash", "bash"):
        done = subprocess.run([shell, "-c", line], capture_output=True, check=True)
        assert done.stdout == b"".join(part + b"\0" for part in parts)


@pytest.mark.parametrize(
    "word", [b"new\nline", b"bad\xff", b"\x1b[31m", "größe".encode(), "\u202eexe".encode()]
)
def test_what_a_screen_or_a_shell_may_change_has_no_command(word: bytes) -> None:
    assert typed("rm", word) == docker(SOCKET, "rm", os.fsdecode(word)) == ""


def test_a_command_that_the_kernel_would_not_take_is_none() -> None:
    ids = tuple(f"{n:025}" for n in range(5000))
    assert prune(SOCKET, ids) == ""
    assert prune(SOCKET, ids[:2]).endswith(f"--filter 'id=^{ids[0]}$|^{ids[1]}$'")
    assert prune(SOCKET, ids[:1]).startswith("BUILDX_BUILDER=default docker builder prune --all")


@pytest.mark.parametrize(
    ("name", "value"), [("DOCKER_HOST", "tcp://far:2375"), ("DOCKER_CONTEXT", "far")]
)
def test_the_daemon_is_named_where_the_client_would_ask_another(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    assert docker(SOCKET, "rm", "a") == "docker rm a"
    monkeypatch.setenv(name, value)
    assert docker(SOCKET, "rm", "a") == f"docker --host {SOCKET} rm a"


@pytest.mark.parametrize(
    ("config", "elsewhere"),
    [
        ('{"currentContext": "rootless"}', True),
        ('{"currentContext": "default"}', False),
        ('{"auths": {}}', False),
        ("{", True),
    ],
)
def test_the_daemon_is_named_where_the_client_has_another_context(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: str, elsewhere: bool
) -> None:
    (tmp_path / "config.json").write_text(config)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert ("--host" in docker(SOCKET, "rm", "a")) == elsewhere


def test_an_order_holds_only_while_a_name_is_what_it_was(tmp_path: Path) -> None:
    order = typed("touch", bytes(tmp_path / "done"))
    for expected, done in (("other", False), ("it's", True)):
        line = only_while(typed("echo", "it's"), expected, order)
        status = subprocess.run(["dash", "-c", line], check=False).returncode
        assert ((status == 0), (tmp_path / "done").exists()) == (done, done)
    assert only_while("", "x", order) == only_while("echo", "x", "") == ""
    assert only_while("echo", "x\ny", order) == ""


def test_a_path_that_others_can_lead_elsewhere_has_no_command(tmp_path: Path) -> None:
    file = tmp_path / "a/b/log"
    file.parent.mkdir(parents=True)
    file.touch()
    path = bytes(file)
    assert unlink(path) == f"rm -f -- {file}"
    assert truncate(path) == f"truncate --no-create --size=0 -- {file}"
    file.parent.parent.chmod(0o775)
    assert unlink(path) == truncate(path) == ""
    file.parent.parent.chmod(0o1777)
    assert is_sealed(path)
    file.parent.parent.chmod(0o755)
    (tmp_path / "link").symlink_to("a")
    assert not is_sealed(bytes(tmp_path / "link/b/log"))
    assert not is_sealed(bytes(tmp_path / "none/log"))
    if os.geteuid() == 0:
        os.chown(file.parent, 1000, 1000)
        assert unlink(path) == truncate(path) == ""


def test_a_plan_has_all_its_commands_or_none() -> None:
    wish = Wish(Subject.PATH, b"/r", path=b"/r/x")
    steps = (Step(Action.TRUNCATE, "truncate x"), Step(Action.ERASE))
    whole, part = Plan(wish, "it", steps=steps[:1]), Plan(wish, "it", steps=steps)
    assert (whole.commands, part.commands) == (("truncate x",), ())
    assert document(b"x", whole)["command"] == "truncate x"
    assert (document(b"x", part)["command"], document(b"x", part)["commands"]) == (None, [])
    shown = [line.value for it in question_sections(together([part])) for line in it.lines]
    assert any("whodiff does this itself" in str(value) for value in shown)
    shown = [line.value for it in question_sections(together([whole])) for line in it.lines]
    assert not any("whodiff does this itself" in str(value) for value in shown)
