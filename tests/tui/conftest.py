"""The data roots that several tests of the explorer look at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.demo.layout import add_directory, make_root
from app.demo.sample import build_sample


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root as ``whodiff --demo`` makes it. Nothing in it is changed."""
    root = tmp_path_factory.mktemp("sample") / "docker"
    build_sample(root)
    return root


FOLDER = b"dir\x1b[31m\n\xff"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with one layer, and in it a folder with a hostile name and a file beside it."""
    made = make_root(tmp_path / "docker")
    diff = os.fsencode(add_directory(made, "a" * 64).diff)
    os.mkdir(diff + b"/" + FOLDER)
    for name in (b"/file", b"/" + FOLDER + b"/one", b"/" + FOLDER + b"/two"):
        with open(diff + name, "wb") as file:  # noqa: PTH123 - a name that is no text
            file.write(b"x" * 50_000)
    return made
