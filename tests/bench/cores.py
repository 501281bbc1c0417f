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
from tests.bench.results import write_section
from tests.bench.trees import make_flat, make_layers

ROUNDS = 7
COLD_ROUNDS = 4
WARM = (100_000, 300_000, 1_000_000)
LARGE = 3_000_000
FLAT = 200_000
COLD = 300_000
_IMAGE_BYTES = 3 << 30
TITLE = "Scan cores and other tools"


def main() -> int:
    """Measure everything, print it, and write it to RESULTS.md."""
    contenders = engines()
    tables = []
    with _place() as place:
        for inodes in (*WARM, *([LARGE] if "--large" in sys.argv else [])):
            with _tree(place, make_layers, inodes) as tree:
                tables.append(_compare(f"warm, {inodes:,} inodes", contenders, tree))
        with _tree(place, make_flat, FLAT) as tree:
            tables.append(_compare(f"warm, one directory of {FLAT:,} files", contenders, tree))
        if os.geteuid() == 0:
            with _image(place) as (tree, remount):
                title = f"cold, {COLD:,} inodes on ext4, mounted anew before each run"
                tables.append(_compare(title, contenders, tree, COLD_ROUNDS, remount))
    about = (
        "Medians; the ratio is a tool's time over whodiff's in the same round. Time and memory of "
        "whodiff and diskuse are those of the scan in a running Python, the other tools' those of "
        "their processes. whodiff runs at nice 19, as it always does."
    )
    write_section(TITLE, "\n\n".join([machine(), about, *tables]))
    return 0


def _compare(
    title: str,
    contenders: list[Engine],
    tree: Path,
    rounds: int = ROUNDS,
    before: Callable[[], None] = lambda: None,
) -> str:
    print(f"{title} ...", flush=True)
    size, inodes = du_totals(tree)
    runs: dict[str, list[Run]] = {engine.name: [] for engine in contenders}
    for number in range(rounds + 1):
        turn = number % len(contenders)
        for engine in (*contenders[turn:], *contenders[:turn]):
            before()
            run = engine.scan(tree)
            if run.bytes not in (None, size) or run.inodes not in (None, inodes):
                raise AssertionError(f"{engine.name} found {run}, du {size} and {inodes}")
            if number:  # the first round is for the caches, and for the totals
                runs[engine.name].append(run)
    table = _table(title, runs, inodes)
    print(table, flush=True)
    return table


def _table(title: str, runs: dict[str, list[Run]], inodes: int) -> str:
    lines = [
        f"### {title}",
        "",
        "| tool | s | ratio | CPU s | peak MiB | µs per inode |",
        "|---|---|---|---|---|---|",
    ]
    for name, those in runs.items():
        wall = statistics.median(run.wall for run in those)
        ratio = statistics.median(
            run.wall / ours.wall for run, ours in zip(those, runs[OURS], strict=True)
        )
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
