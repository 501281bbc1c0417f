"""Where figures go: RESULTS.md, one section for each bench, and the table in the README."""

from __future__ import annotations

from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")
README = Path(__file__).parents[2] / "README.md"
_BEGIN, _END = "<!-- made by `make bench` -->\n", "<!-- end -->"
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


def write_readme(text: str) -> None:
    """Replace what lies between the two marks in the README. Raises ValueError without them."""
    before, begin, rest = README.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError("README.md has lost the marks around the table of `make bench`")
    README.write_text(f"{before}{begin}\n{text}\n\n{end}{after}")
