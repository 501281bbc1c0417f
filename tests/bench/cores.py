"""``python -m tests.bench.cores``: the scan cores against each other and against other tools.

Warm at 100,000, 300,000 and 1,000,000 inodes (``--large``: also 3,000,000), one flat directory, and
cold on a private loop-mounted image that is mounted anew before each run (root only). All take
turns, round after round, and ratios are taken within a round, so that a busy machine slows all of
them alike. diskuse is taken from this Python, or from the one named by DISKUSE_PYTHON.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.engines import OURS, Engine, Run, du_totals, engines
from tests.bench.figures import machine
from tests.bench.results import write_readme, write_section
from tests.bench.trees import make_flat, make_layers

ROUNDS = 7
COLD_ROUNDS = 4
WARM = (100_000, 300_000, 1_000_000)
LARGE = 3_000_000
FLAT = 200_000
COLD = 300_000
_IMAGE_BYTES = 3 << 30
TITLE = "Scan cores and other tools"
#: What the README shows: these cases by their short names, of all that are measured.
SHOWN = {"1,000,000": "1 M inodes, warm", "one directory": "one flat directory", "cold": "cold"}

Runs = dict[str, list[Run]]


def main() -> int:
    """Measure everything, print it, and write it to RESULTS.md."""
    contenders = engines()
    measured: dict[str, Runs] = {}
    with _place() as place:
        for inodes in (*WARM, *([LARGE] if "--large" in sys.argv else [])):
            with _tree(place, make_layers, inodes) as tree:
                title = f"warm, {inodes:,} inodes"
                measured[title] = _compare(title, contenders, tree)
        with _tree(place, make_flat, FLAT) as tree:
            title = f"warm, one directory of {FLAT:,} files"
            measured[title] = _compare(title, contenders, tree)
        if os.geteuid() == 0:
            with _image(place) as (tree, remount):
                title = f"cold, {COLD:,} inodes on ext4, mounted anew before each run"
                measured[title] = _compare(title, contenders, tree, COLD_ROUNDS, remount)
    about = (
        "Medians; the ratio is a tool's time over whodiff's in the same round. Time and memory of "
        "whodiff and diskuse are those of the scan in a running Python, the other tools' those of "
        "their processes. whodiff runs at nice 19, as it always does."
    )
    tables = [_table(title, runs) for title, runs in measured.items()]
    write_section(TITLE, "\n\n".join([machine(), about, *tables]))
    write_readme(f"{_overview(measured)}\n\nMeasured {machine()}.")
    return 0


def _compare(
    title: str,
    contenders: list[Engine],
    tree: Path,
    rounds: int = ROUNDS,
    before: Callable[[], None] = lambda: None,
) -> Runs:
    print(f"{title} ...", flush=True)
    size, inodes = du_totals(tree)
    runs: Runs = {engine.name: [] for engine in contenders}
    for number in range(rounds + 1):
        turn = number % len(contenders)
        for engine in (*contenders[turn:], *contenders[:turn]):
            before()
            run = engine.scan(tree)
            if run.bytes not in (None, size) or run.inodes not in (None, inodes):
                raise AssertionError(f"{engine.name} found {run}, du {size} and {inodes}")
            if number:  # the first round is for the caches, and for the totals
                runs[engine.name].append(run)
    print(_table(title, runs), flush=True)
    return runs


def _ratio(those: list[Run], ours: list[Run]) -> float:
    return statistics.median(one.wall / our.wall for one, our in zip(those, ours, strict=True))


def _overview(measured: dict[str, Runs]) -> str:
    """For the README: each tool's time over whodiff's, and its memory for a million inodes."""
    shown = {
        short: runs
        for sign, short in SHOWN.items()
        for title, runs in measured.items()
        if sign in title
    }
    lines = [
        "| time, as a multiple of whodiff's | " + " | ".join(shown) + " | memory, 1 M inodes |",
        "|---" * (len(shown) + 2) + "|",
    ]
    large = next(iter(shown.values()))
    for name, runs in large.items():
        ratios = [f"{_ratio(those[name], those[OURS]):.2f}" for those in shown.values()]
        peak = statistics.median(run.peak for run in runs) / 1024
        lines.append(f"| {name} | " + " | ".join(ratios) + f" | {peak:.0f} MiB |")
    return "\n".join(lines)


def _table(title: str, runs: Runs) -> str:
    inodes = next(run.inodes for those in runs.values() for run in those if run.inodes)
    lines = [
        f"### {title}",
        "",
        "| tool | s | ratio | CPU s | peak MiB | µs per inode |",
        "|---|---|---|---|---|---|",
    ]
    for name, those in runs.items():
        wall = statistics.median(run.wall for run in those)
        ratio = _ratio(those, runs[OURS])
        cpu = statistics.median(run.cpu for run in those)
        peak = statistics.median(run.peak for run in those) / 1024
        lines.append(
            f"| {name} | {wall:.2f} | {ratio:.2f} | {cpu:.2f} | {peak:.0f} "
            f"| {wall / inodes * 1e6:.2f} |"
        )
    return "\n".join(lines)


@contextmanager
def _place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="whodiff-bench-", dir="/var/tmp") as path:
        yield Path(path)


@contextmanager
def _tree(place: Path, make: Callable[[Path, int], None], inodes: int) -> Iterator[Path]:
    tree = place / "tree"
    make(tree, inodes)
    try:
        yield tree
    finally:
        subprocess.run(["rm", "-rf", tree], check=True)


@contextmanager
def _image(place: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A tree on an image, and what forgets everything that is known of it."""
    image, point = place / "image", place / "mounted"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(_IMAGE_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-N", str(COLD * 2), image], check=True)

    def mount() -> None:
        subprocess.run(["mount", "-o", "loop,noatime", image, point], check=True)

    def unmount() -> None:
        subprocess.run(["umount", point], check=True)
        with image.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def remount() -> None:
        unmount()
        mount()

    mount()
    try:
        make_layers(point / "tree", COLD)
        yield point / "tree", remount
    finally:
        unmount()
        image.unlink()


if __name__ == "__main__":
    sys.exit(main())
