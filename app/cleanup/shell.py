"""Commands as one would type them: every word quoted for a shell, and safe to draw."""

from __future__ import annotations

import os
import shlex

from app.stores.engine import DEFAULT_SOCKET

_DEFAULTS = (f"unix://{DEFAULT_SOCKET}", "unix:///run/docker.sock")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\\": r"\\", "'": r"\'"}


def quoted(word: bytes | str) -> str:
    r"""One word for a shell; what cannot be drawn goes into ``$'...'`` (bash, zsh, ksh)."""
    text = os.fsdecode(word)
    if text.isprintable() and text.isascii():
        return shlex.quote(text)
    return "$'" + "".join(map(_escaped, text)) + "'"


def _escaped(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if character.isascii() and character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def docker(url: str, *words: str) -> str:
    """A call of the docker client on the engine at ``url``."""
    host = () if url in _DEFAULTS else ("--host", url)
    return " ".join(quoted(word) for word in ("docker", *host, *words))


def remove(path: bytes, *, directory: bool) -> str:
    """``rm`` of one path; of a directory only what lies on its own file system."""
    options = "-rf --one-file-system" if directory else "-f"
    return f"rm {options} -- {quoted(path)}"


def truncate(path: bytes) -> str:
    """A file made empty, without a new inode."""
    return f"truncate --no-create --size=0 -- {quoted(path)}"
