"""Style sheets, read through importlib.resources so that they also load from a zip archive."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files


@lru_cache
def sheet(name: str) -> str:
    """The text of ``<name>.tcss``, for a ``CSS`` class variable (``CSS_PATH`` needs real files)."""
    return files(__name__).joinpath(f"{name}.tcss").read_text("utf-8")
