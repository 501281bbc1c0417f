"""``whodiff report`` and ``du``: every layer, the fullest directories, and sums that add up."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from app import commands
from app.model import Headroom
from tests.unit.commands import Run, layer_of, on, one_sentence

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
