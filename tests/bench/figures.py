"""Small statistics and the plain table that they are printed in."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table: what was measured, the figures, and what would be good."""

    what: str
    figures: str
    aim: str = ""


def milliseconds(seconds: float) -> str:
    """A duration for the table."""
    return f"{seconds * 1000:.0f} ms"


def spread(seconds: Sequence[float]) -> str:
    """Median, 99th percentile and worst of many durations."""
    ordered = sorted(seconds)
    nearly_worst = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return (
        f"p50 {milliseconds(statistics.median(ordered))}, p99 {milliseconds(nearly_worst)}, "
        f"worst {milliseconds(ordered[-1])} of {len(ordered)}"
    )


def machine() -> str:
    """Date, Python, kernel, cores and their load: what the figures depend on."""
    return (
        f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, "
        f"load average {os.getloadavg()[0]:.1f}"
    )


def table(results: Sequence[Result]) -> str:
    """A Markdown table that is also readable as it stands."""
    rows = [("measured", "result", "good is"), *((r.what, r.figures, r.aim) for r in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
