"""What holds for every command: usage, bad places, engines that fail, odd surroundings."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app import cli, commands
from app.demo.containers_story import HOSTILE_NAME
from app.demo.ids import hex_id
from app.demo.images import add_image, add_layer, write_tags
from app.demo.layout import add_directory, make_root
from app.demo.sample import ORPHAN
from tests.unit.commands import REPOSITORY, Run, layer_of, on, one_sentence, tool
from tests.unit.stub_engine import StubEngine, says, sends

NOBODY = 65534


# --- bad usage and bad places ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bogus"], "no command and no directory 'bogus'"),
        (["--bogus"], "unrecognized arguments: --bogus"),
        (["report", "--bogus"], "whodiff report --help"),
        (["which"], "required: PATH"),
        (["du"], "required: PATH"),
        (["report", "--top", "0"], "--top: must be a number, 1 or more"),
        (["report", "--top", "many"], "--top: must be a number, 1 or more"),
        (["report", "--sort", "owner"], "invalid choice: 'owner'"),
        (["report", "--data-root"], "expected one argument"),
        (["report", "/nonexistent"], "No such file or directory"),
        (["report", "/etc"], "is no Docker data root"),
        (["report", "/etc/passwd"], "is no directory"),
        (["which", "x", "--data-root", "{root}/overlay2"], "give {root}."),
        (["report", "{root}/overlay2/l"], "give {root}."),
        (["report", "{root}/containers"], "give {root}."),
        (["report", "--host", "tcp://10.0.0.1:2375"], "tcp://10.0.0.1:2375"),
        (["report", "--host", "ssh://root@elsewhere"], "run whodiff on that machine"),
        (["which", "x", "--host", "npipe:////./pipe/docker_engine"], "npipe"),
        (["report", "--host", "nonsense"], "nonsense"),
        (["\x1b[31mred"], r"\x1b[31mred"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_status_2(
    demo_root: Path, run: Run, arguments: list[str], says: str
) -> None:
    status, out, err = run(*(it.format(root=demo_root) for it in arguments))
    assert (status, out) == (2, "")
    assert one_sentence(err)
    assert says.format(root=demo_root) in err
    assert "\x1b" not in err


def test_containerds_own_directory_is_recognised(tmp_path: Path, run: Run) -> None:
    (tmp_path / "io.containerd.snapshotter.v1.overlayfs").mkdir()
    status, _, err = run("report", tmp_path)
    assert status == 2
    assert one_sentence(err)
    assert "belongs to containerd" in err


def test_docker_host_of_another_machine_is_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.1:2375")
    status, out, err = run("report")
    assert (status, out) == (2, "")
    assert one_sentence(err)


def test_the_journal_and_read_only_reach_the_explorer(demo_root: Path) -> None:
    options = cli.parse(["--journal", "which", "--read-only", str(demo_root)])
    assert (options.command, options.journal, options.read_only) == ("", "which", True)
    options = cli.parse([])
    assert (options.journal, options.read_only) == (None, False)


def test_option_values_are_no_commands(demo_root: Path, run: Run) -> None:
    for word in ("du", "which"):
        assert run("report", "--data-root", word)[0] == 2
        status, _, err = run("--data-root", word, "report", "--offline")
        assert status == 2
        assert f"{word} cannot be opened" in err


def test_help_and_version(run: Run) -> None:
    assert run("--version")[0] == 0
    for command in ([], ["which"], ["report"], ["du"]):
        status, out, _ = run(*command, "--help")
        assert status == 0
        assert "usage: whodiff" in out


def test_an_error_of_its_own_is_a_sentence_too(
    demo_root: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("division by \x1b zero")

    monkeypatch.setattr(commands, "survey", fail)
    status, _, err = run("report", *on(demo_root))
    assert status == 2
    assert one_sentence(err)
    assert r"ZeroDivisionError: division by \x1b zero" in err


def test_ctrl_c_is_status_130(demo_root: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "survey", interrupt)
    assert run("report", *on(demo_root)) == (130, "", "")


def test_a_lost_scan_worker_is_a_sentence(
    demo_root: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHODIFF_SCAN", "portable")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    for command in (["report", *on(demo_root)], ["du", str(demo_root)]):
        status, out, err = run(*command)
        assert (status, out) == (2, "")
        assert one_sentence(err)


# --- the engine -----------------------------------------------------------------------------------


def test_a_silent_engine_is_told_and_the_disk_answers(demo_root: Path, run: Run) -> None:
    host = ("--host", "unix:///nonexistent.sock", "--data-root", demo_root)
    status, out, err = run("which", layer_of(demo_root, "elk"), *host)
    assert status == 0
    assert "container elk" in out
    assert "unix:///nonexistent.sock does not answer" in err
    status, out, err = run("report", *host)
    assert status == 0
    assert "(disk alone)" in out
    assert err.count("does not answer") == 1


@pytest.mark.parametrize(
    "answer", [b"garbage", b"", b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"]
)
def test_an_engine_that_talks_nonsense_changes_nothing(
    demo_root: Path, run: Run, answer: bytes
) -> None:
    with StubEngine({"/version": sends(answer), "/info": says([])}) as engine:
        status, out, err = run(
            "which", layer_of(demo_root, "elk"), "--host", engine.url, "--data-root", demo_root
        )
    assert status == 0
    assert "container elk" in out
    assert one_sentence(err.splitlines(keepends=True)[0])


def test_a_broken_client_configuration_changes_nothing(
    demo_root: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text('{"auths": [1], "credHelpers": 7')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / ".docker"))
    with StubEngine({}) as engine:
        status, _, err = run("which", ORPHAN, "--host", engine.url, "--data-root", demo_root)
    assert status == 1
    assert "Traceback" not in err


# --- odd surroundings -----------------------------------------------------------------------------


def test_hostile_names_reach_no_terminal(demo_root: Path, run: Run) -> None:
    layer = layer_of(demo_root, "elk")
    asked = os.fsdecode(os.fsencode(demo_root / "overlay2" / layer / "diff") + b"/" + HOSTILE_NAME)
    for arguments in (["which", asked, *on(demo_root)], ["du", asked], ["which", asked]):
        for more in ([], ["--json"]):
            _, out, err = run(*arguments, *more)
            assert all(it.isprintable() or it == "\n" for it in out + err)
    _, out, _ = run("which", "--json", asked, *on(demo_root))
    (answer,) = json.loads(out)
    assert os.fsencode(answer["path"]) == os.fsencode(asked)


@pytest.mark.parametrize(
    "settings",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX"},
        {"LC_ALL": "xx_YY.nonsense"},
    ],
)
def test_letters_that_cannot_be_written_are_written_out(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    odd = os.fsencode(tmp_path) + "/é漢\u202e".encode() + b"\xff"
    os.mkdir(odd)
    for more in ([], ["--json"]):
        ended = tool("du", os.fsdecode(odd), *more, env={**os.environ, **settings})
        assert ended.returncode == 0, ended.stderr
        assert ended.stderr == b""
        assert ended.stdout.strip().decode()  # UTF-8 or less
    drawn = tool("du", os.fsdecode(odd), env={**os.environ, **settings}).stdout.decode()
    assert all(it.isprintable() or it == "\n" for it in drawn)


def test_a_reader_that_leaves_early_is_no_error(demo_root: Path) -> None:
    for arguments in (["report"], ["report", "--json"], ["which", ORPHAN]):
        reader, writer = os.pipe()
        os.close(reader)
        ended = tool(*arguments, *on(demo_root), stdout=writer)
        os.close(writer)
        assert ended.returncode == 0
        assert b"Traceback" not in ended.stderr
        assert b"Broken" not in ended.stderr
        assert b"Exception" not in ended.stderr


@pytest.mark.parametrize("arguments", [["report"], ["report", "--json"], ["which", ORPHAN]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_a_sentence(
    demo_root: Path, arguments: list[str], unbuffered: str
) -> None:
    with Path("/dev/full").open("wb") as full:
        environ = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        ended = tool(*arguments, *on(demo_root), stdout=full, env=environ)
    assert ended.returncode == 2
    assert b"Traceback" not in ended.stderr
    assert one_sentence(ended.stderr.decode().splitlines(keepends=True)[-1])
    assert b"No space left on device" in ended.stderr


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_closed_descriptors_are_no_trouble(demo_root: Path, closed: tuple[int, ...]) -> None:
    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    ended = tool("report", "--json", *on(demo_root), preexec_fn=close)
    assert ended.returncode == 0
    assert b"Traceback" not in ended.stderr
    if 1 not in closed:
        assert json.loads(ended.stdout)  # and nothing of stderr among it


@pytest.mark.parametrize("stderr", ["full", "broken", "closed"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["report"],
        ["which", "x", "--data-root", "/nonexistent"],
        ["plan", "no-such-thing"],
        ["du", "/nonexistent"],
    ],
    ids=lambda it: it[0],
)
def test_complaints_that_cannot_be_written_change_no_answer(
    demo_root: Path, arguments: list[str], stderr: str
) -> None:
    options = on(demo_root) if arguments[0] in ("report", "plan") else ()
    well = tool(*arguments, *options)
    assert well.stderr, "something to complain of"
    reader, writer = os.pipe()
    os.close(reader)
    with Path("/dev/full").open("wb") as full:
        changes: dict[str, dict[str, Any]] = {
            "full": {"stderr": full},
            "broken": {"stderr": writer},
            "closed": {"stderr": None, "preexec_fn": partial(os.close, 2)},
        }
        ended = tool(*arguments, *options, **changes[stderr])
    os.close(writer)
    assert ended.returncode == well.returncode
    assert ended.stdout[-40:] == well.stdout[-40:]  # how full the disk is may change


def test_neither_home_nor_a_temporary_folder_is_needed(demo_root: Path) -> None:
    environ = {
        key: value
        for key, value in os.environ.items()
        if key not in ("HOME", "USER", "TERM", "XDG_RUNTIME_DIR")
    }
    environ |= {"TMPDIR": "/nonexistent", "DOCKER_HOST": "unix:///nonexistent.sock"}
    ended = tool("report", "--data-root", demo_root, env=environ)
    assert ended.returncode == 0
    assert b"Traceback" not in ended.stderr
    assert b"writable" in ended.stdout


_WATCHED = """
import os, sys
written = []
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
def watch(event, details):
    if event == "open" and details[2] & WRITING and details[0] not in ("/dev/null", 1, 2):
        # A pipe's descriptor is opened by number.
        if not isinstance(details[0], int):
            written.append(details)
    elif event.startswith(("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link",
                           "os.symlink", "os.truncate", "os.chmod", "os.chown", "os.utime",
                           "fcntl.flock", "fcntl.lockf", "tempfile", "shutil")):
        written.append((event, details))
sys.addaudithook(watch)
from app.cli import main
status = main(sys.argv[1:])
assert not written, written
sys.exit(status)
"""


@pytest.mark.parametrize("arguments", [["report"], ["which", ORPHAN], ["which", "/nowhere"]])
def test_nothing_is_written_and_nothing_locked(demo_root: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-B", "-c", _WATCHED, *arguments, "--data-root", str(demo_root)]
    environ = {**os.environ, "DOCKER_HOST": "unix:///nonexistent.sock"}
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=environ, capture_output=True, check=False, timeout=120
    )
    assert ended.returncode in (0, 1), ended.stderr.decode()
    assert b"AssertionError" not in ended.stderr


# --- somebody who is not root ---------------------------------------------------------------------


def _as_nobody(arguments: list[str], out: int, answer: Any) -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.stdout, sys.stderr = open(1, "w"), open(2, "w")  # noqa: SIM115
    answer.put(cli.main(arguments))
    sys.stdout.flush()
    sys.stderr.flush()


def _run_as_nobody(*arguments: str) -> tuple[int, str]:
    # This interpreter may be where nobody may read it: a fork has all of it already.
    cli.main([*arguments])
    fork = multiprocessing.get_context("fork")
    answer = fork.SimpleQueue()
    with tempfile.TemporaryFile() as out:
        child = fork.Process(target=_as_nobody, args=([*arguments], out.fileno(), answer))
        child.start()
        status = answer.get()
        child.join()
        out.seek(0)
        return status, out.read().decode()


@pytest.fixture
def open_root() -> Any:
    """A small root that everybody may read; pytest's own folders are root's alone."""
    with tempfile.TemporaryDirectory(prefix="whodiff-test-") as name:
        Path(name).chmod(0o755)
        root = make_root(Path(name) / "docker")
        image = add_image(root, add_layer(root, "base"), "2025-01-01T00:00:00Z", ["true"])
        write_tags(root, {"acme/app:1": image})
        (root / "image/overlay2/repositories.json").chmod(0o644)
        subprocess.run(["chmod", "-R", "a+rX", root], check=True)
        yield root


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")


@needs_root
def test_a_root_that_may_not_be_read_asks_for_sudo(open_root: Path) -> None:
    open_root.chmod(0o700)
    status, text = _run_as_nobody("which", "abcdef123456", *on(open_root))
    assert status == 2
    assert one_sentence(text)
    assert "run whodiff with sudo" in text


@needs_root
@pytest.mark.parametrize(
    "closed", ["overlay2", "containers", "image/overlay2/imagedb/content/sha256"]
)
def test_a_refusal_part_way_is_told_and_nothing_is_called_nobodys(
    open_root: Path, closed: str
) -> None:
    layer = hex_id("cache-id base")
    add_directory(open_root, hex_id("nobody's"))
    for entry in [open_root / "overlay2", *(open_root / "overlay2").rglob("*")]:
        os.utime(entry, (0, 0), follow_symlinks=False)
    assert _run_as_nobody("which", layer, *on(open_root))[0] == 0
    (open_root / closed).chmod(0o700)
    status, text = _run_as_nobody("which", hex_id("nobody's"), *on(open_root))
    assert status == 2
    assert "Traceback" not in text
    assert "unreferenced" not in text
    assert closed in text
