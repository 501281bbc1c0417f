"""Overlays that no namespace lists: taken away lazily (umount -l), or never put anywhere.

Such a mount lives as long as a process holds something in it (umount(2) MNT_DETACH, fsmount(2)).
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from threading import Thread

from app.host.namespaces import Listed
from app.host.open_files import Holder, OpenFiles
from app.host.statx import Spot

#: linux/magic.h; the first word of struct statfs on every architecture.
_OVERLAYFS = 0x794C7630
_WORD = struct.Struct("=L")
_PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class Detached:
    """Something that a process holds in an overlay which no namespace lists."""

    held: Spot
    holder: Holder


def detached_overlays(files: OpenFiles, listed: Mapping[int, Listed]) -> Iterator[Detached]:
    """What is held in such overlays; of each a directory, if one is held, else every file."""
    devices = {it.device for it in listed.values()}
    kinds: dict[tuple[int, int], bool] = {}
    directories: set[tuple[int, int]] = set()
    # Directories first: from one all of the mount can be seen.
    for held, holders in sorted(files.held.items(), key=lambda it: not it[0].is_directory):
        known = held.mount in listed if held.mount else held.device in devices
        if known or os.major(held.device):
            continue
        mount = held.device, held.mount
        if mount not in kinds:
            kinds[mount] = _is_overlay(holders[0].link)
        if kinds[mount] and mount not in directories:
            if held.is_directory:
                directories.add(mount)
            yield Detached(held, holders[0])


def _is_overlay(link: bytes) -> bool:
    """Also where the filesystem does not say within two seconds: then nobody can tell."""
    answer: list[bool] = []

    def ask() -> None:
        answer.append(_ask(link))

    thread = Thread(target=ask, name="whodiff-statfs", daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return answer[0] if answer else True


def _ask(link: bytes) -> bool:
    try:
        descriptor = os.open(link, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        buffer = ctypes.create_string_buffer(256)
        if ctypes.CDLL(None, use_errno=True).fstatfs(descriptor, buffer):
            return False
        return int(_WORD.unpack_from(buffer)[0]) == _OVERLAYFS
    finally:
        os.close(descriptor)
