"""The demo's data root, made once for all tests of the explorer. Nothing in it is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.demo.sample import build_sample


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root as ``whodiff --demo`` makes it."""
    root = tmp_path_factory.mktemp("sample") / "docker"
    build_sample(root)
    return root
