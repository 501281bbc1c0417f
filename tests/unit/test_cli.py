"""The commands as their users meet them: answers, exit statuses, sentences, odd surroundings."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app import cli, commands
from app.demo.containers_story import CHECKPOINTS, HOSTILE_NAME
from app.demo.ids import hex_id
from app.demo.images import add_image, add_layer, write_tags
from app.demo.layout import add_directory, make_root
from app.demo.sample import DANGLING, LEFT_INIT, ORPHAN, YOUNG
from app.model import Headroom
from tests.unit.stub_engine import StubEngine, says, sends

REPOSITORY = Path(__file__).parents[2]
NOBODY = 65534

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command in this process: status, stdout, stderr."""

    def run_it(*arguments: str | Path) -> tuple[int, str, str]:
        status: object
        try:
            status = cli.main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
        assert isinstance(status, int)
        return (status, *capsys.readouterr())

    return run_it


def tool(*arguments: str | Path, **changes: Any) -> subprocess.CompletedProcess[bytes]:
    """Run one command in a process of its own."""
    settings: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **changes}
    command = [sys.executable, "-m", "app.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, check=False, timeout=120, **settings)


def on(root: Path) -> tuple[str, ...]:
    return "--data-root", str(root), "--offline"


def layer_of(root: Path, container: str) -> str:
    """The directory name of a container's writable layer, straight from layerdb."""
    for config in root.glob("containers/*/config.v2.json"):
        if json.loads(config.read_bytes())["Name"] == f"/{container}":
            return (
                root / "image/overlay2/layerdb/mounts" / config.parent.name / "mount-id"
            ).read_text()
    raise AssertionError(container)


def one_sentence(text: str) -> bool:
    """Whether this is one line that begins with the tool's name and is no traceback."""
    return bool(re.fullmatch(r"whodiff: .+[.]\n", text)) and "Traceback" not in text


# --- which ----------------------------------------------------------------------------------------


def test_which_says_role_and_owner_before_the_evidence(demo_root: Path, run: Run) -> None:
    layer = layer_of(demo_root, "arroyo")
    asked = demo_root / "overlay2" / layer / "diff" / CHECKPOINTS
    status, out, _ = run("which", asked, *on(demo_root))
    assert status == 0
    labels = [line.split()[0] for line in out.splitlines()]
    assert labels[:4] == [str(asked), "role", "owner", "layer"]
    assert labels[4:] == sorted(labels[4:], reverse=True)  # references, then evidence
    assert (
        "container arroyo, running (as last saved), image ghcr.io/arroyosystems/arroyo:0.15" in out
    )
    assert str(demo_root / "overlay2" / layer) in out


@pytest.mark.parametrize("what", ["merged", "diff/etc/passwd", "work/work", ""])
def test_any_path_in_a_layer_leads_to_its_owner(demo_root: Path, run: Run, what: str) -> None:
    layer = demo_root / "overlay2" / layer_of(demo_root, "elk")
    status, out, _ = run("which", "--json", layer / what, *on(demo_root))
    (answer,) = json.loads(out)
    assert status == 0
    assert [it["name"] for it in answer["owners"]] == ["elk"]


def test_short_ids_and_tokens_lead_to_the_same_answer(demo_root: Path, run: Run) -> None:
    layer = layer_of(demo_root, "shop-web-1")
    token = (demo_root / "overlay2" / layer / "link").read_text()
    for asked in (layer, token, f"{demo_root}/overlay2/l/{token}"):
        status, out, _ = run("which", "--json", asked, *on(demo_root))
        assert status == 0
        assert {it["layer"]["id"] for it in json.loads(out)} >= {layer}
    # A container's id gives all of its layers, twelve digits of anything are enough.
    container = json.loads(out)[0]["owners"][0]["id"]
    status, out, _ = run("which", "--json", container[:12], *on(demo_root))
    assert {it["layer"]["id"] for it in json.loads(out)} == {layer, f"{layer}-init"}


def test_a_log_is_called_a_log(demo_root: Path, run: Run) -> None:
    log = next(demo_root.glob("containers/*/*-json.log"))
    status, out, _ = run("which", "--json", log, *on(demo_root))
    (answer,) = json.loads(out)
    assert status == 0
    assert [it["kind"] for it in answer["owners"]] == ["log", "container"]
    assert {it["state"] for it in answer["owners"]} <= {"running", "exited"}  # words, no remarks
    status, out, _ = run("which", log, *on(demo_root))
    assert "owner       log of container " in out


def test_a_volume_names_its_users(demo_root: Path, run: Run) -> None:
    status, out, _ = run("which", demo_root / "volumes/shop_pgdata/_data", *on(demo_root))
    assert status == 0
    assert "owner       volume shop_pgdata" in out
    assert "container shop-db-1: uses the volume (running (as last saved))" in out


@pytest.mark.parametrize("asked", [ORPHAN, LEFT_INIT, DANGLING, "abcdef123456"])
def test_nobodys_is_status_1(demo_root: Path, run: Run, asked: str) -> None:
    status, out, _ = run("which", asked, *on(demo_root))
    assert status == 1
    assert "owner       none found" in out
    assert "note " in out


@pytest.mark.parametrize("asked", ["/", "/nonexistent/path", "{root}/overlay2/gone", "{root}"])
def test_paths_outside_and_paths_that_are_not_there_are_status_1(
    demo_root: Path, run: Run, asked: str
) -> None:
    status, out, err = run("which", asked.format(root=demo_root), *on(demo_root))
    assert status == 1
    assert "note " in out
    assert "Traceback" not in err


def test_what_is_not_there_is_said_to_be_missing(demo_root: Path, run: Run) -> None:
    _, out, _ = run("which", demo_root / "overlay2/gone", *on(demo_root))
    assert "is not there" in out


def test_an_unknown_layer_is_status_2_for_it_may_have_an_owner(demo_root: Path, run: Run) -> None:
    status, out, _ = run("which", YOUNG, *on(demo_root))
    assert status == 2
    assert "role        unknown" in out
    assert "being created?" in out


def test_the_worst_answer_decides_the_status(demo_root: Path, run: Run) -> None:
    known = layer_of(demo_root, "elk")
    assert run("which", known, ORPHAN, *on(demo_root))[0] == 1
    assert run("which", YOUNG, ORPHAN, known, *on(demo_root))[0] == 2


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A root with an image whose config cannot be read, and a directory that nobody names."""
    root = make_root(tmp_path / "docker")
    image = add_image(root, add_layer(root, "base"), "2025-01-01T00:00:00Z", ["true"])
    write_tags(root, {"acme/app:1": image})
    config = image.id.removeprefix("sha256:")
    (root / "image/overlay2/imagedb/content/sha256" / config).write_text("{")
    add_directory(root, hex_id("nobody's"))
    for entry in (root / "overlay2" / hex_id("nobody's")).rglob("*"):
        os.utime(entry, (0, 0), follow_symlinks=False)
    os.utime(root / "overlay2" / hex_id("nobody's"), (0, 0))
    return root


@pytest.mark.parametrize("asked", [hex_id("nobody's"), "abcdef123456"])
def test_nobodys_is_not_said_while_metadata_cannot_be_read(
    damaged: Path, run: Run, asked: str
) -> None:
    status, out, err = run("which", asked, *on(damaged))
    assert status == 2
    assert "unreferenced" not in out
    assert "imagedb" in err


def test_several_answers_are_apart(demo_root: Path, run: Run) -> None:
    _, out, _ = run("which", layer_of(demo_root, "elk"), ORPHAN, *on(demo_root))
    assert len(out.split("\n\n")) == 2


# --- report --hot ---------------------------------------------------------------------------------


def test_the_fullest_directories_come_with_their_owners(demo_root: Path, run: Run) -> None:
    status, out, _ = run("report", "--hot", "--json", "--sort", "bytes", *on(demo_root))
    rows = json.loads(out)
    assert status == 0
    assert rows[0]["owners"][0]["name"] == "elk"
    assert [it["bytes"] for it in rows] == sorted((it["bytes"] for it in rows), reverse=True)
    assert len(rows) == 20
    for row in rows:
        entries = [
            Path(row["path"]),
            *(it for it in Path(row["path"]).iterdir() if not it.is_dir()),
        ]
        assert row["inodes"] == len({it.lstat().st_ino for it in entries}), row["path"]


def test_a_flood_is_found_without_drilling(demo_root: Path, run: Run) -> None:
    _, out, _ = run("report", "--hot", "--sort", "inodes", "--top", "500", *on(demo_root))
    flooded = [line for line in out.splitlines() if "checkpoints/job_ab12" in line]
    assert len(flooded) >= 40
    assert all("arroyo" in line for line in flooded)


# --- report ---------------------------------------------------------------------------------------


def test_report_names_every_layer_and_adds_up(demo_root: Path, run: Run) -> None:
    status, out, err = run("report", "--json", *on(demo_root))
    document = json.loads(out)
    assert status == 0
    on_disk = {it.name for it in (demo_root / "overlay2").iterdir()} - {"l"}
    assert {it["layer"]["id"] for it in document["layers"]} == on_disk
    du = subprocess.run(
        ["du", "-sx", "--block-size=1", demo_root], stdout=subprocess.PIPE, check=True
    )
    assert document["total"]["bytes"] == int(du.stdout.split()[0])
    sums = document["sums"]
    assert sum(it["inodes"] for it in sums.values()) == document["total"]["inodes"]
    assert sums["volumes"]["bytes"] == sum(
        it["bytes"] for it in document["others"] if it["kind"] == "volume"
    )
    # Problems are told, and do not make the answer a failure.
    assert one_sentence(err)


def test_report_has_whole_ids_and_states_in_a_pipe(demo_root: Path, run: Run) -> None:
    status, out, _ = run("report", *on(demo_root))
    assert status == 0
    elk = layer_of(demo_root, "elk")
    assert re.search(
        rf"^ *[\d.]+ MiB +[\d,]+ +writable +was running +elk +{elk}$", out, re.MULTILINE
    )
    assert re.search(r"volume +in use +shop_pgdata +shop-db-1 +/", out)
    assert re.search(r"volume +unused +grafana-2023 +- +/", out)
    assert not re.search(r"[ \t]$", out, re.MULTILINE)
    assert "\x1b" not in out


@pytest.mark.parametrize("column", ["bytes", "inodes"])
def test_report_is_sorted_by_the_wanted_column(demo_root: Path, run: Run, column: str) -> None:
    _, out, _ = run("report", "--json", "--sort", column, *on(demo_root))
    figures = [it[column] for it in json.loads(out)["layers"]]
    assert figures == sorted(figures, reverse=True)


def test_report_by_name_begins_with_a_and_ends_with_the_nameless(demo_root: Path, run: Run) -> None:
    _, out, _ = run("report", "--json", "--sort", "name", *on(demo_root))
    named = [bool(it["owners"]) for it in json.loads(out)["layers"]]
    assert named == sorted(named, reverse=True)
    assert json.loads(out)["layers"][0]["owners"][0]["name"].startswith("acme/")


def test_apparent_sizes_are_sorted_and_shown(demo_root: Path, run: Run) -> None:
    _, out, _ = run("report", "--apparent", "--sort", "bytes", *on(demo_root))
    assert "APPARENT" in out
    _, out, _ = run("report", "--json", "--apparent", "--sort", "bytes", *on(demo_root))
    figures = [it["apparent_bytes"] for it in json.loads(out)["layers"]]
    assert figures == sorted(figures, reverse=True)


@pytest.mark.parametrize(("bytes_used", "inodes_used"), [(50, 10), (10, 50)])
def test_without_a_wish_the_scarcer_resource_sorts(
    demo_root: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    bytes_used: int,
    inodes_used: int,
) -> None:
    here = Headroom(
        b"/", "ext4", "vda", bytes_used, 100 - bytes_used, inodes_used, 100 - inodes_used, 100
    )
    monkeypatch.setattr(commands, "headrooms", lambda _: {b"/": here})
    _, out, _ = run("report", "--json", *on(demo_root))
    column = "bytes" if bytes_used > inodes_used else "inodes"
    figures = [it[column] for it in json.loads(out)["layers"]]
    assert figures == sorted(figures, reverse=True)


def test_top_shortens_the_tables_and_not_the_sums(demo_root: Path, run: Run) -> None:
    _, whole, _ = run("report", *on(demo_root))
    _, out, _ = run("report", "--top", "3", *on(demo_root))
    assert out.count("  writable  ") + out.count("  image  ") + out.count("unreferenced  ") == 3
    assert "3 of them shown" in out
    assert out.splitlines()[-1] == whole.splitlines()[-1]


def test_the_explorer_without_a_terminal_is_the_report(demo_root: Path, run: Run) -> None:
    drawn, printed = run(demo_root, "--offline")[1], run("report", demo_root, "--offline")[1]
    # The first line is the filesystem's, which never stands still.
    assert drawn.splitlines()[1:] == printed.splitlines()[1:]
    _, out, _ = run("--json", *on(demo_root))
    assert json.loads(out)["layers"]


def test_the_containerd_store_is_answered(captures: Path, run: Run) -> None:
    root = captures / "containerd/var/lib/docker"
    status, out, err = run("report", *on(root))
    assert (status, err) == (0, "")
    assert re.search(r"writable +was running +shop-web-1 +snapshots/25", out)
    assert re.search(r"KiB +.*KiB +app:1\n", out[out.index("COMPRESSED") :])
    _, text, _ = run("report", "--json", *on(root))
    document = json.loads(text)
    containerd = captures / "containerd/var/lib/containerd"
    used = [_du(path) for path in (root, containerd)]
    assert document["total"]["bytes"] == sum(size for size, _ in used)
    assert document["total"]["inodes"] == sum(inodes for _, inodes in used)
    assert document["data_roots"][0]["containerd"] == str(containerd)
    (layer,) = [it for it in document["layers"] if it["layer"]["id"] == "snapshots/10"]
    assert layer["layer"]["snapshot"]["recorded"] == {"bytes": 12595200, "inodes": 4}
    (image,) = [it for it in document["images"] if it["name"] == "base:1"]
    assert image["layers"] == ["snapshots/1"]
    assert image["compressed"]["inodes"] == len(image["blobs"]) == 2


def _du(path: Path) -> tuple[int, int]:
    """Allocated bytes and inodes as du(1) counts them."""
    figures = [
        subprocess.run(["du", "-sx", *options, path], check=True, capture_output=True, text=True)
        for options in (["-B1"], ["--inodes"])
    ]
    size, inodes = (int(it.stdout.split()[0]) for it in figures)
    return size, inodes


def test_a_captured_host_is_answered(captures: Path, run: Run) -> None:
    root = captures / "overlay2/var/lib/docker"
    status, out, _ = run("report", *on(root))
    assert status == 0
    assert re.search(r"writable +was running +shop-web-1", out)


# --- du -------------------------------------------------------------------------------------------


def test_du_counts_what_du_counts(demo_root: Path, run: Run) -> None:
    paths = [demo_root / "volumes", demo_root / "containers"]
    status, out, _ = run("du", "--json", *paths)
    assert status == 0
    for path, answer in zip(paths, json.loads(out), strict=True):
        du = subprocess.run(["du", "-s", "-B1", path], stdout=subprocess.PIPE, check=True)
        count = subprocess.run(["du", "-s", "--inodes", path], stdout=subprocess.PIPE, check=True)
        assert answer["path"] == str(path)
        assert answer["bytes"] == int(du.stdout.split()[0])
        assert answer["inodes"] == int(count.stdout.split()[0])
    status, out, _ = run("du", *paths)
    assert out.splitlines()[1].split()[-1] == str(paths[0])


def test_du_measures_the_rest_when_one_path_is_missing(tmp_path: Path, run: Run) -> None:
    status, out, err = run("du", tmp_path / "missing", tmp_path)
    assert status == 2
    assert str(tmp_path) in out
    assert one_sentence(err)


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
