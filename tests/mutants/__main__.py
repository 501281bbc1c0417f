"""Break each guard in a copy of the tree, and see the tests that hold it go red.

A guard that no test holds is a guard that the next change takes away in silence. Exit status 1
names every mutant that lived.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.table import MUTANTS, Mutant

_TREE = Path(__file__).resolve().parents[2]
_COPIED = ("app", "widgets", "styles", "tests", "pyproject.toml")
#: pytest's exit status when tests ran and at least one failed; any other says nothing of the guard.
_RED = 1
_TIMEOUT = 600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mutants whose name contains a given word; all of them without one."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="only mutants with this in the name"
    )
    words = parser.parse_args(arguments).words
    chosen = [it for it in MUTANTS if not words or any(word in it.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="whodiff-mutants-") as folder:
        tree = Path(folder)
        _copy(tree)
        alive = [it.name for it in chosen if not _killed(it, tree)]
    print(f"{len(chosen) - len(alive)} of {len(chosen)} broken guards were seen by a test")
    for name in alive:
        print(f"no test holds: {name}")
    return 1 if alive or not chosen else 0


def _copy(tree: Path) -> None:
    for name in _COPIED:
        source = _TREE / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, tree / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy2(source, tree / name)


def _killed(mutant: Mutant, tree: Path) -> bool:
    """Whether the tests go red with the guard broken. The copy is as it was afterwards."""
    file = tree / mutant.file
    whole = file.read_text()
    file.write_text(mutant.broken(whole))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *mutant.tests],
            cwd=tree,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    finally:
        file.write_text(whole)
    red = done.returncode == _RED
    print(f"{'seen ' if red else 'ALIVE'}  {mutant.name}", flush=True)
    if done.returncode not in (0, _RED):
        print(done.stdout[-2000:], done.stderr[-2000:], sep="\n")
    return red


if __name__ == "__main__":
    sys.exit(main())
