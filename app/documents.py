"""The JSON that scripts read. A contract: keys are added, never renamed or taken away.

Paths and names that are no UTF-8 carry lone surrogates (PEP 383), which :func:`json.dumps` writes
as ``\\udcXX``: ``os.fsencode`` gives their bytes back, and nothing reaches a terminal raw.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.cleanup.plan.model import Frees, Plan
from app.inventory import HotRow, ImageRow, Inventory, LayerRow, OtherRow, Sums
from app.lookup.query import Answer
from app.model import (
    AS_LAST_SAVED,
    Evidence,
    Headroom,
    Layer,
    Owner,
    Problem,
    Reference,
    Snapshot,
    Store,
    Usage,
)

Document = dict[str, Any]


def dump(document: object) -> str:
    """One JSON text, ASCII only, so that no name can reach the terminal raw."""
    return json.dumps(document, ensure_ascii=True, indent=1)


def owner(it: Owner) -> Document:
    """An owner; keys that have no meaning for its kind are empty.

    ``state`` is one word; ``state_as_last_saved`` says that nobody could check it.
    """
    return {
        "kind": it.kind.value,
        "id": it.id,
        "name": it.name,
        "state": it.state.removesuffix(AS_LAST_SAVED),
        "state_as_last_saved": it.state.endswith(AS_LAST_SAVED),
        "image": it.image,
        "tags": list(it.tags),
        "compose": {"project": it.compose_project, "service": it.compose_service},
        "namespace": it.namespace,
    }


def reference(it: Reference) -> Document:
    """What would break or notice."""
    return {"kind": it.kind.value, "id": it.id, "name": it.name, "why": it.why}


def evidence(it: Evidence) -> Document:
    """Where it says so."""
    return {"source": it.source, "says": it.says}


def layer_head(it: Layer) -> Document:
    """The layer itself, without its owners."""
    return {
        "id": it.id,
        "path": os.fsdecode(it.path),
        "role": it.role.value,
        "mounted": bool(it.mounts),
        "active": it.active,
        "note": it.note,
        "snapshot": snapshot(it.snapshot) if it.snapshot else None,
    }


def snapshot(it: Snapshot) -> Document:
    """What containerd knows of a layer; ``recorded`` is null unless it is committed."""
    recorded = it.recorded
    return {
        "key": it.key,
        "namespace": it.namespace,
        "snapshotter": it.snapshotter,
        "kind": it.kind,
        "recorded": {"bytes": recorded.bytes, "inodes": recorded.inodes} if recorded else None,
    }


def answer(it: Answer) -> Document:
    """One answer of ``which``."""
    return {
        "path": os.fsdecode(it.path),
        "store": _store(it),
        "data_root": os.fsdecode(it.store.root.path) if it.store else None,
        "layer": layer_head(it.layer) if it.layer else None,
        "owners": [owner(one) for one in it.owners],
        "references": [reference(one) for one in it.references],
        "evidence": [evidence(one) for one in it.evidence],
        "note": it.note,
    }


def _store(it: Answer) -> str | None:
    """The driver or snapshotter that keeps the layer; the data root's where it is in none."""
    if it.layer and it.layer.snapshot:
        return it.layer.snapshot.snapshotter
    return it.store.root.driver if it.store else None


def usage(it: Usage) -> Document:
    """Figures of a directory tree; bytes are allocated, as du(1) counts."""
    return {
        "bytes": it.bytes,
        "apparent_bytes": it.apparent,
        "inodes": it.inodes,
        "exclusive_bytes": it.exclusive_bytes,
        "exclusive_inodes": it.exclusive_inodes,
        "unreadable": it.unreadable,
    }


def layer(row: LayerRow) -> Document:
    """One row of ``report``: the answer of ``which`` on the layer's directory, and its figures."""
    it = row.layer
    head = Answer(it.path, row.store, it, it.owners, it.references, it.evidence, it.note)
    return {**answer(head), **usage(row.usage)}


def other(row: OtherRow) -> Document:
    """A volume with its users, or a container's own directory, and its figures."""
    return {
        **owner(row.owner),
        "path": os.fsdecode(row.path),
        "data_root": os.fsdecode(row.store.root.path),
        "users": [owner(user) for user in row.users],
        **usage(row.usage),
    }


def image(row: ImageRow) -> Document:
    """An image: its layers unpacked, its blobs as containerd keeps them, its own part of each."""
    return {
        **owner(row.image.owner),
        "data_root": os.fsdecode(row.store.root.path),
        "layers": [name for name in row.image.layers if name],
        "blobs": list(row.image.blobs),
        "unpacked": usage(row.unpacked),
        "unpacked_own": usage(row.unpacked_own),
        "compressed": usage(row.compressed),
        "compressed_own": usage(row.compressed_own),
    }


def sums(it: Sums) -> Document:
    """What the rows of each sort take together; ``rest`` are Docker's own files.

    ``blobs`` are those of all images, and of none.
    """
    return {
        "layers": usage(it.layers),
        "volumes": usage(it.volumes),
        "containers": usage(it.containers),
        "blobs": usage(it.blobs),
        "rest": usage(it.rest),
    }


def filesystem(it: Headroom) -> Document:
    """How full a filesystem is; ``inodes`` is null where it has no inode limit."""
    return {
        "mount": os.fsdecode(it.mount),
        "fstype": it.fstype,
        "bytes": _measure(it.bytes_used, it.bytes_free),
        "inodes": _measure(it.inodes_used, it.inodes_free) if it.inodes_total else None,
    }


def _measure(used: int, free: int) -> Document:
    return {"used": used, "free": free}


def problem(it: Problem) -> Document:
    """What could not be read or does not fit."""
    return {"source": it.source, "says": it.sentence, "hides_owners": it.hides_owners}


def data_root(store: Store) -> Document:
    """One data root, who answered for it, and what went wrong."""
    return {
        "path": os.fsdecode(store.root.path),
        "driver": store.root.driver,
        "image_store": store.root.image_store.value,
        "found_by": store.root.found_by,
        "engine": store.root.engine_url or None,
        "containerd": os.fsdecode(store.root.containerd) or None,
        "namespace": store.root.namespace,
        "witnesses": store.witnesses,
        "problems": [problem(it) for it in store.problems],
    }


def report(
    stores: Sequence[Store],
    filesystems: Iterable[Headroom],
    inventory: Inventory,
    problems: Iterable[Problem] = (),
    top: int | None = None,
) -> Document:
    """The whole report, the rows as far as ``top`` goes; sums and total cover all of them.

    ``problems`` are those of the host; each data root carries its own.
    """
    total = inventory.sums.total
    return {
        "data_roots": [data_root(store) for store in stores],
        "filesystems": [filesystem(it) for it in filesystems],
        "layers": [layer(row) for row in inventory.layers[:top]],
        "others": [other(row) for row in inventory.others[:top]],
        "images": [image(row) for row in inventory.images[:top]],
        "sums": sums(inventory.sums),
        "total": usage(total),
        "unreadable": total.unreadable,
        "problems": [problem(it) for it in problems],
    }


def hot(rows: Iterable[HotRow]) -> list[Document]:
    """What ``report --hot`` prints: the answer of ``which``, and what lies directly in it."""
    return [
        {
            **answer(row.answer),
            "bytes": row.own.bytes,
            "apparent_bytes": row.own.apparent,
            "inodes": row.own.inodes,
        }
        for row in rows
    ]


def plan(asked: bytes, it: Plan) -> Document:
    """What ``plan`` prints of one removal.

    ``action`` and ``command`` are null where there is none; ``word`` is what a typed confirmation
    takes. ``least`` says that it frees at least so much. With ``ask_again`` it is not allowed yet:
    that sentence has to be answered first.
    """
    return {
        "asked": os.fsdecode(asked),
        "path": os.fsdecode(it.path),
        "title": it.title,
        "allowed": it.allowed,
        "refused_because": it.refused_because,
        "instead": it.instead,
        "ask_again": it.ask_again,
        "action": it.steps[0].action.value if it.steps else None,
        "command": " && ".join(it.commands) or None,
        "commands": list(it.commands),
        "frees": _frees(it.frees),
        "kept_by_build_cache": _frees(it.kept),
        "confirmation": it.confirmation.value,
        "word": it.word,
        "consequences": list(it.consequences),
        "references": [reference(one) for one in it.references],
        "evidence": [evidence(one) for one in it.evidence],
    }


def _frees(it: Frees) -> Document:
    return {"bytes": it.bytes, "inodes": it.inodes, "least": it.least}


def du(rows: Mapping[bytes, Usage]) -> list[Document]:
    """What ``du`` prints, one entry a path."""
    return [
        {
            "path": os.fsdecode(path),
            "bytes": it.bytes,
            "apparent_bytes": it.apparent,
            "inodes": it.inodes,
            "unreadable": it.unreadable,
        }
        for path, it in rows.items()
    ]
