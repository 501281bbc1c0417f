"""Volumes of the local driver: one directory each below ``DATA/volumes``.

Sources: moby daemon/volume/local/local.go (New: every directory is a volume; opts.json),
daemon/volume/service/db.go (metadata.db, bucket ``volumes``), service.go (the anonymous label).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.host import bolt
from app.host.safe_read import Damage, Entry, Fields, Folder, bounded, parse_object
from app.model import Problem

METADATA = "metadata.db"
OPTIONS = "opts.json"
ANONYMOUS_LABEL = "com.docker.volume.anonymous"

_HEX = re.compile(r"[0-9a-f]{64}")
_MOST_OPTIONS = 64 * 1024
_UNKNOWN_BACKING = "not known: its mount options cannot be read"


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """One volume directory.

    ``name`` is the directory's name. ``backing`` says where the data really is when the volume has
    mount options (``nfs :/export (addr=...)``), else empty. ``labels`` come from metadata.db, which
    knows only volumes that were made with labels, options or by name.
    """

    name: str
    path: bytes
    anonymous: bool = False
    driver: str = "local"
    backing: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def read_volumes(root: bytes) -> tuple[tuple[VolumeRecord, ...], tuple[Problem, ...]]:
    """Every volume directory below this data root by name, and what could not be read.

    Never raises. Nothing inside a volume is opened but the engine's own ``opts.json``.
    """
    path = os.path.join(root, b"volumes")
    records: list[VolumeRecord] = []
    problems: list[Problem] = []
    try:
        with Folder.open(path) as folder:
            known = _read_metadata(os.path.join(path, METADATA.encode()), problems)
            for name, kind in sorted(folder.entries(), key=lambda each: each[0]):
                if name == METADATA:
                    continue
                if kind is Entry.LINK:
                    where = os.path.join(path, os.fsencode(name))
                    problems.append(
                        _problem(where, "is a symbolic link, no volume: the engine ignores it")
                    )
                elif kind is Entry.DIRECTORY:
                    record = _read_volume(folder, name, known.get(name, Fields({})), problems)
                    records += [record] if record else []
    except FileNotFoundError:
        # A data root that never had an engine has none.
        pass
    except Damage as damage:
        problems.append(_problem(path, f"{damage}; volumes are not shown"))
    return tuple(records), bounded(problems)


def _read_volume(
    folder: Folder, name: str, known: Fields, problems: list[Problem]
) -> VolumeRecord | None:
    path = os.path.join(folder.path, os.fsencode(name))
    labels = known.fields("Labels")
    options = known.fields("Options")
    backing = _backing(options.text("type"), options.text("device"), options.text("o"))
    try:
        with folder.folder(name) as place:
            backing = _read_options(place, problems) or backing
    except FileNotFoundError:
        return None
    except Damage as damage:
        problems.append(_problem(path, f"{damage}; what it holds is not known"))
        backing = backing or _UNKNOWN_BACKING
    record = VolumeRecord(
        name=name,
        path=path,
        anonymous=bool(_HEX.fullmatch(name)) or ANONYMOUS_LABEL in labels.values,
        driver=known.text("Driver") or "local",
        backing=backing,
        labels={label: labels.text(label) for label in labels.values},
    )
    if known.wrong:
        words = f"is damaged: {known.wrong[0]} of volume {name} has the wrong type"
        problems.append(_problem(os.path.join(folder.path, METADATA.encode()), words))
    return record


def _read_options(place: Folder, problems: list[Problem]) -> str:
    """Where the data is, by ``opts.json``; a volume without mount options has no such file."""
    path = os.path.join(place.path, OPTIONS.encode())
    try:
        options = parse_object(place.read(OPTIONS, _MOST_OPTIONS))
    except FileNotFoundError:
        return ""
    except Damage as damage:
        problems.append(_problem(path, f"{damage}; where this volume's data is, is not known"))
        return _UNKNOWN_BACKING
    backing = _backing(
        options.text("MountType"), options.text("MountDevice"), options.text("MountOpts")
    )
    if options.wrong:
        words = f"is damaged: {options.wrong[0]} has the wrong type"
        problems.append(_problem(path, words))
        return backing or _UNKNOWN_BACKING
    return backing


def _backing(kind: str, device: str, options: str) -> str:
    words = " ".join(filter(None, (kind, device)))
    return f"{words} ({options})" if words and options else words or options


def _read_metadata(path: bytes, problems: list[Problem]) -> dict[str, Fields]:
    """The engine's notes on volumes, by name; without them names and sizes still hold."""
    known: dict[str, Fields] = {}
    try:
        bucket = bolt.read(path).bucket(b"volumes")
        for key, value in bucket.items() if bucket else ():
            name = os.fsdecode(key)
            try:
                known[name] = parse_object(value if isinstance(value, bytes) else b"")
            except Damage as damage:
                problems.append(_problem(path, f"is damaged: its entry for {name} {damage}"))
    except FileNotFoundError:
        pass
    except bolt.BoltError as error:
        problems.append(Problem(os.fsdecode(path), str(error)))
    return known


def _problem(path: bytes, words: str) -> Problem:
    """No volume's directory is a layer: nothing here hides a layer's owner."""
    where = os.fsdecode(path)
    return Problem(where, f"{where} {words}.")
