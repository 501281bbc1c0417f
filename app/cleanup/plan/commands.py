"""Commands as one would type them instead of a plan, or none.

A command is shown only where it does what the plan does and is as safe. It is for any POSIX shell,
and printable ASCII: what would need ``$'...'`` (bash, zsh, ksh) has no command. "" is none.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping

from app.engine.inventory import DEFAULT_SOCKET
from app.host import looks
from app.host.safe_read import Damage, parse_object, read_file

#: What is said where there is no command.
NONE = "none: whodiff does this itself; no command typed by hand would be as safe"

_DEFAULTS = (f"unix://{DEFAULT_SOCKET}", "unix:///run/docker.sock")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\\": r"\\", "'": r"\'"}
#: The kernel takes 128 KiB for one argument (linux/binfmts.h MAX_ARG_STRLEN).
_LONGEST = 100_000
_MOST_CONFIG = 1024 * 1024


def quoted(word: bytes | str) -> str:
    r"""One word in a sentence; what cannot be drawn goes into ``$'...'`` (bash, zsh, ksh)."""
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


def typed(*words: bytes | str) -> str:
    """These words for any POSIX shell; "" where one cannot be typed, or it would be too long."""
    texts = [os.fsdecode(word) for word in words]
    line = " ".join(map(shlex.quote, texts))
    plain = line.isascii() and line.isprintable() and all(len(it) < _LONGEST for it in texts)
    return line if plain else ""


def docker(url: str, *words: str) -> str:
    """A call of the docker client on the engine at ``url``."""
    usual = url in _DEFAULTS and not _client_asks_another(os.environ)
    host = () if usual else ("--host", url)
    return typed("docker", *host, *words)


def _client_asks_another(environ: Mapping[str, str]) -> bool:
    """Whether the docker client may ask another daemon than the usual one, unless it is told.

    docker/cli cli/command/cli.go resolveContextName: DOCKER_HOST, DOCKER_CONTEXT, then
    ``currentContext`` in config.json below DOCKER_CONFIG or ~/.docker.
    """
    if environ.get("DOCKER_HOST") or environ.get("DOCKER_CONTEXT"):
        return True
    place = environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    try:
        config = parse_object(
            read_file(os.fsencode(os.path.join(place, "config.json")), _MOST_CONFIG)
        )
    except FileNotFoundError:
        return False
    except Damage:
        return True
    return config.text("currentContext") not in ("", "default")


def only_while(shown: str, expected: str, order: str) -> str:
    """``order``, given only while the command ``shown`` still prints ``expected``."""
    if not (shown and order and expected.isascii() and expected.isprintable()):
        return ""
    return f'test "$({shown})" = {shlex.quote(expected)} && {order}'


def prune(url: str, ids: tuple[str, ...]) -> str:
    """``docker builder prune`` of exactly these records, in the daemon's own builder.

    From Docker 23 on ``docker builder`` is buildx, which asks the builder that is chosen at the
    moment (docker/cli cmd/docker/builder.go processBuilder); older clients ignore the variable.
    """
    ways = "|".join(f"^{it}$" for it in ids)
    order = docker(url, "builder", "prune", "--all", "--force", "--filter", f"id={ways}")
    return f"BUILDX_BUILDER=default {order}" if order else ""


# --- without the daemon ---------------------------------------------------------------------------


def unlink(path: bytes) -> str:
    """``rm`` of one symbolic link or file that only root can have changed."""
    return typed("rm", "-f", "--", path) if is_sealed(path) else ""


def truncate(path: bytes) -> str:
    """A file that only root can have changed is made empty, without a new inode."""
    return typed("truncate", "--no-create", "--size=0", "--", path) if is_sealed(path) else ""


def is_sealed(path: bytes) -> bool:
    """Whether nobody but root, or who asks, can make this path lead elsewhere.

    Every directory on the way is theirs and nobody else may write to it, but for sticky ones, in
    which others cannot rename what is not theirs (inode(7)); no symbolic link lies on it.
    """
    trusted = {0, os.geteuid()}
    place = path
    while place != b"/":
        place = os.path.dirname(place)
        try:
            status = looks.lstat(place)
        except OSError:
            return False
        is_open = bool(status.st_mode & 0o022) and not status.st_mode & 0o1000
        if status.st_uid not in trusted or status.st_mode & 0o170000 != 0o040000 or is_open:
            return False
    return True
