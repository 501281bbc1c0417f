"""What the details pane says of a row: figures, owners, references, evidence. Plain sections."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from app import wording
from app.model import (
    Container,
    Evidence,
    ImageInfo,
    Kind,
    Layer,
    Owner,
    Reference,
    Role,
    Snapshot,
    Usage,
    Volume,
)
from app.outline.nodes import What
from app.outline.outline import Thing
from app.screens.words import growth_words
from app.text import count, short_id, size
from app.usage.growth import Growth
from widgets.details_pane import Line, Section

#: References are listed up to this many; the commands list them all.
MOST_REFERENCES = 200

_ROLES = {
    Role.WRITABLE: "writable layer: what the container itself wrote",
    Role.INIT: "init layer: mount points that Docker puts under a container",
    Role.IMAGE: "image layer: read only, shared by what stands on it",
    Role.BUILD_CACHE: "build cache: a snapshot that only BuildKit holds",
    Role.UNREFERENCED: "unreferenced: no metadata names it",
    Role.PENDING_REMOVAL: "being removed by the engine",
    Role.INACTIVE: "left by a store that the engine does not use now",
    Role.UNKNOWN: "unknown: no safe answer",
}


def describe(thing: Thing, own: Usage | None = None, growth: Growth | None = None) -> list[Section]:
    """The sections about one row. ``own`` is an image's part that no other image shares.

    ``growth`` is how much the row grew since the look before.
    """
    subject = thing.node.draft.subject
    sections = [Section(_title(thing), list(_place(thing)))]
    grew = [Line("grew", growth_words(growth))] if growth is not None else []
    sections.append(Section("size", [*_figures(thing, own), *grew]))
    match subject:
        case Layer():
            sections += _layer(subject)
        case Container():
            sections += _container(subject)
        case ImageInfo():
            sections += _image(subject)
        case Volume():
            sections += _volume(subject)
    return sections


def _title(thing: Thing) -> str | bytes:
    if thing.name:
        return os.path.basename(thing.name)
    return thing.node.draft.label


def _place(thing: Thing) -> Iterator[Line]:
    if thing.name:
        yield Line("is", f"{thing.kind} in {_whose(thing)}")
    elif thing.node.draft.what is What.GROUP:
        yield Line("is", _GROUPS.get(thing.node.draft.name, "a group of rows"))
    if thing.path:
        yield Line("path", thing.path)
    if thing.trouble:
        yield Line("listing", thing.trouble, "warn")


_GROUPS = {
    "containers": "every container, running or not: its layers, logs and settings",
    "images": "every image; a layer that several share counts once here",
    "build cache": "layers that only BuildKit's cache holds",
    "unreferenced": "layers that no metadata names",
    "unknown": "layers without a safe answer; each says why",
    "being removed": "layers whose removal the engine began and has not ended",
    "inactive store": "layers of the store that the engine does not use now",
    "volumes": "every volume; removing a container leaves its named volumes",
    "Docker's own files": "metadata, databases, temporary files and plugins",
    "daemons' own files": "Docker's and containerd's metadata, databases, temporary files",
    "containerd's own files": "metadata, databases, temporary files",
}


def _whose(thing: Thing) -> str:
    subject = thing.node.draft.subject
    match subject:
        case Layer():
            whose = wording.owners_label(subject.owners) or "nobody known"
            return f"{subject.role.value} layer of {whose}"
        case Container():
            return f"the directory of container {wording.container_label(subject)}"
        case Volume():
            return f"volume {wording.volume_label(subject)}"
        case _:
            return "Docker's own files"


def _figures(thing: Thing, own: Usage | None) -> Iterator[Line]:
    usage = thing.usage
    if usage is None:
        yield Line("", "not measured yet")
        return
    more = " so far" if usage.partial else ""
    if not usage.sized:
        yield Line("inodes", f"{count(usage.inodes)}{more}")
        yield Line("", "bytes are not measured yet")
        return
    yield Line("allocated", f"{size(usage.bytes)} ({count(usage.bytes)} bytes){more}")
    yield Line("apparent", f"{size(usage.apparent)}")
    yield Line("inodes", f"{count(usage.inodes)}{more}")
    if own is not None:
        yield Line(
            "own", f"{size(own.bytes)}, {count(own.inodes)} inodes in parts of no other image"
        )
        shared = max(0, usage.bytes - own.bytes)
        yield Line("shared", f"{size(shared)} in parts that other images hold too")
    elif usage.exclusive_inodes != usage.inodes and not usage.partial and not thing.name:
        yield Line(
            "linked",
            f"{count(usage.inodes - usage.exclusive_inodes)} inodes have a hard link elsewhere too",
        )
    if usage.unreadable:
        yield Line(
            "unreadable", f"{count(usage.unreadable)} entries are not in the figures", "warn"
        )


def _layer(layer: Layer) -> list[Section]:
    lines = [Line("role", _ROLES[layer.role], wording.TONES.get(layer.role, ""))]
    if layer.note:
        lines.append(Line("note", layer.note, "warn" if layer.role is Role.UNKNOWN else ""))
    lines.append(Line("directory", layer.id))
    if layer.snapshot:
        lines += _snapshot(layer.snapshot)
    if layer.parents:
        lines.append(Line("stands on", f"{len(layer.parents)} layers below"))
    lines += [Line("mounted", point) for point in layer.mounts[:8]]
    sections = [Section("layer", lines)]
    sections += [Section(it.kind.value, list(owner_lines(it))) for it in layer.owners[:50]]
    sections.append(_references(layer.references))
    sections.append(_evidence(layer.evidence))
    return sections


def _snapshot(it: Snapshot) -> Iterator[Line]:
    yield Line("key", it.key)
    yield Line("namespace", it.namespace)
    yield Line("kind", it.kind)
    if it.recorded:
        words = f"{size(it.recorded.bytes)}, {count(it.recorded.inodes)} inodes when committed"
        yield Line("recorded", words)


def owner_lines(owner: Owner) -> Iterator[Line]:
    """Name, state, image, tags, compose project and service, id."""
    yield Line("name", wording.owner_name(owner))
    if owner.state:
        yield Line("state", owner.state)
    if owner.image:
        yield Line("image", owner.image)
    for tag in owner.tags[1:]:
        yield Line("also", tag)
    if owner.namespace:
        yield Line("namespace", owner.namespace)
    if owner.compose_project or owner.compose_service:
        yield Line("compose", f"{owner.compose_project} / {owner.compose_service}")
    if owner.id != owner.name:
        yield Line("id", owner.id.removeprefix("sha256:"))


def _references(references: Sequence[Reference]) -> Section:
    """Who would break or notice; the counts first."""
    if not references:
        return Section("referred to by", [Line("", "nothing that was found")])
    kinds: dict[Kind, int] = {}
    for it in references:
        kinds[it.kind] = kinds.get(it.kind, 0) + 1
    words = ", ".join(f"{n} {kind.value}{'s' if n > 1 else ''}" for kind, n in kinds.items())
    lines = [Line("", words)]
    lines += [
        Line(it.kind.value, f"{it.name or short_id(it.id)}: {it.why}")
        for it in references[:MOST_REFERENCES]
    ]
    if len(references) > MOST_REFERENCES:
        lines.append(
            Line("", f"and {len(references) - MOST_REFERENCES} more: `whodiff which` has all")
        )
    return Section("referred to by", lines)


def _container(container: Container) -> list[Section]:
    lines = list(owner_lines(container.owner))
    lines += [Line("volume", name) for name in container.volumes]
    lines += [Line("layer", name) for name in container.layers]
    return [Section("container", lines), _evidence(container.evidence)]


def _image(image: ImageInfo) -> list[Section]:
    missing = sum(not name for name in image.layers)
    lines = list(owner_lines(image.owner))
    lines.append(Line("layers", str(len(image.layers))))
    if image.blobs:
        lines.append(Line("blobs", f"{len(image.blobs)}, compressed, in the content store"))
    if missing:
        lines.append(Line("broken", f"{missing} of its layers have no directory", "danger"))
    return [Section("image", lines), _evidence(image.evidence)]


def _volume(volume: Volume) -> list[Section]:
    lines = [Line("name", volume.owner.name)]
    lines.append(Line("kind", "anonymous: made without a name" if volume.anonymous else "named"))
    if volume.backing:
        lines.append(Line("backed by", volume.backing, "warn"))
    used = [Line(it.state or "container", it.name or short_id(it.id)) for it in volume.users]
    return [
        Section("volume", lines),
        Section("used by", used or [Line("", "no container, running or not", "warn")]),
        _evidence(volume.evidence),
    ]


def _evidence(evidence: Sequence[Evidence]) -> Section:
    return Section("evidence", [Line("", f"{it.source}: {it.says}", "dim") for it in evidence])
