"""RESULTS.md: one section for each bench, of which each writes its own anew."""

from __future__ import annotations

from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")
_TITLE = "# What `make bench` measured last\n"


def write_section(title: str, text: str) -> None:
    """Replace a section, or put it at the end; what the others wrote stays."""
    old = RESULTS.read_text() if RESULTS.exists() else ""
    sections: dict[str, str] = {}
    for part in f"\n{old}".split("\n## ")[1:]:
        name, _, body = part.partition("\n")
        sections[name] = body.strip()
    sections[title] = text.strip()
    parts = [f"## {name}\n\n{body}\n" for name, body in sections.items()]
    RESULTS.write_text("\n".join([_TITLE, *parts]))
