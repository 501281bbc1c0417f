"""Made-up ids in the very shapes the engine uses; the same seed always gives the same id."""

from __future__ import annotations

import base64
import hashlib

_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


def hex_id(seed: str) -> str:
    """64 lower-case hex digits: a container, mount or cache id (moby stringid.GenerateRandomID)."""
    return hashlib.sha256(seed.encode()).hexdigest()


def digest(seed: str) -> str:
    """``sha256:`` and 64 hex digits: a diff id."""
    return "sha256:" + hex_id(seed)


def link_token(seed: str) -> str:
    """26 characters [A-Z2-7]: the name in ``l/`` (moby overlay2 generateID, base32)."""
    return base64.b32encode(hashlib.sha256(seed.encode()).digest()).decode()[:26]


def cache_id(seed: str) -> str:
    """25 characters [0-9a-z]: a BuildKit record or directory (buildkit identity.NewID)."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest(), "big")
    letters = []
    for _ in range(25):
        number, rest = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[rest])
    return "".join(letters)


def chain_id(parent: str, diff_id: str) -> str:
    """The chain id of a layer on top of ``parent`` ("" for a base layer; image-spec, ChainID)."""
    if not parent:
        return diff_id
    return "sha256:" + hashlib.sha256(f"{parent} {diff_id}".encode()).hexdigest()
