"""``python -m tests.bench``: make a host, measure, print, and write RESULTS.md beside this."""

from __future__ import annotations

import sys
from collections.abc import Callable

from app.demo.folder import vanishing_folder
from tests.bench.figures import Result, machine, table
from tests.bench.results import write_section
from tests.bench.roots import BenchRoot, build
from tests.bench.scan import measure_rescan, measure_scan
from tests.bench.screen import (
    measure_keys_during_scan,
    measure_keys_in_flat_directory,
    measure_start,
)
from tests.bench.terminal import NeverShownError

MEASUREMENTS: tuple[Callable[[BenchRoot], list[Result]], ...] = (
    measure_scan,
    measure_rescan,
    measure_start,
    measure_keys_during_scan,
    measure_keys_in_flat_directory,
)


def main() -> int:
    """Run every measurement; one that cannot be made is said so and fails the command."""
    results: list[Result] = []
    failures = 0
    with vanishing_folder("whodiff-bench-") as folder:
        print("making 500 layers and 300,000 inodes ...", flush=True)
        root = build(folder / "docker")
        for measure in MEASUREMENTS:
            print(measure.__name__.replace("_", " "), "...", flush=True)
            try:
                results += measure(root)
            except NeverShownError as waited:
                failures += 1
                print(f"the screen never got there; it was:\n{waited}", file=sys.stderr)
                results.append(Result(measure.__name__.replace("_", " "), "not measured"))
    text = f"{machine()}\n\n{table(results)}\n"
    print(f"\n{text}")
    write_section("The screen and the scan", text)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
