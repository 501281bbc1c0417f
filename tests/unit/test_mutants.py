"""The table of broken guards fits the code, so that `make mutants` breaks what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.table import MUTANTS, Mutant

_TREE = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda it: it.name)
def test_a_mutant_breaks_a_guard_that_is_there(mutant: Mutant) -> None:
    whole = (_TREE / mutant.file).read_text()
    assert mutant.broken(whole) != whole
    for before, test in zip(("", *mutant.tests), mutant.tests, strict=False):
        # What follows -k is words of tests' names.
        if before != "-k" and not test.startswith("-"):
            assert (_TREE / test.partition("::")[0]).exists()


def test_no_two_mutants_have_one_name() -> None:
    assert len({it.name for it in MUTANTS}) == len(MUTANTS)
