"""moby's own names for a graph driver's directories: ``DATA/image/<driver>``.

Sources: moby daemon/internal/layer/filestore.go (layerdb), daemon/internal/image/fs.go (imagedb),
daemon/internal/refstore/store.go (repositories.json), OCI image-spec identity ChainID.

Every reader lists a directory and then reads what is in it while the engine goes on working. What
vanishes in between was removed by the engine and is left out; what stays and cannot be used is a
Problem.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from app.host import looks
from app.host.safe_read import Damage, Entry, Fields, Folder, Refused, bounded, parse_object
from app.model import Problem

SHA256 = "sha256:"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HEX = re.compile(r"[0-9a-f]{64}")
_REMOVING = re.compile(r"([0-9a-f]{64})-.*-removing")
#: moby reads what it wrote: 64 digits, or BuildKit's 25 characters (filestore.go isValidID).
_CACHE_ID = re.compile(r"[0-9a-z]{25}|[0-9a-f]{64}(?:-init)?")
_MOUNT_ID = re.compile(r"[0-9a-f]{64}(?:-init)?")
_SMALL = 4096
_REPULL = "remove the images on it, then pull, load or build them again"
_REMAKE = "remove the container and make it again"
_RELOAD = "pull, load or build the image again"
_MOST_CONFIG = 16 * 1024 * 1024
_MOST_REPOSITORIES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """``layerdb/sha256/<chain>``: the layer of a chain id lies in directory ``cache_id``.

    ``parent`` is a chain id, "" for a base layer. ``size`` is the apparent size in bytes when the
    layer was made, None where it cannot be read. ``removing`` is set while, and after a crash in
    which, the engine removes the layer.
    """

    chain_id: str
    cache_id: str
    parent: str
    diff_id: str
    size: int | None
    removing: bool
    path: bytes


@dataclass(frozen=True, slots=True)
class MountRecord:
    """``layerdb/mounts/<container>``: the container's directories, and the chain it stands on.

    ``container_id`` can also be an id of BuildKit's own. ``init_id`` and ``parent`` can be "".
    ``mount_id`` is "" where its file is damaged: there is a Problem then.
    """

    container_id: str
    mount_id: str
    init_id: str
    parent: str
    path: bytes


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image config, with its names; ``chain_ids`` base first. No ``tags``: an untagged image."""

    id: str
    chain_ids: tuple[str, ...]
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    created: str
    path: bytes


@dataclass(frozen=True, slots=True)
class GraphdriverReading:
    """All that ``image/<driver>`` says: layers by chain id, mounts by container id, images by id.

    ``writing`` are the transactions of pulls, loads and builds that are open, or were left open.
    """

    layers: dict[str, LayerRecord] = field(default_factory=dict)
    removing: tuple[LayerRecord, ...] = ()
    mounts: dict[str, MountRecord] = field(default_factory=dict)
    images: dict[str, ImageRecord] = field(default_factory=dict)
    writing: tuple[bytes, ...] = ()
    problems: tuple[Problem, ...] = ()


def chain_ids(diff_ids: Iterable[str]) -> tuple[str, ...]:
    """The chain id of every layer, base first (image-spec identity ChainID)."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(_chain_id(chain[-1] if chain else "", diff_id))
    return tuple(chain)


def _chain_id(parent: str, diff_id: str) -> str:
    if not parent:
        return diff_id
    return SHA256 + hashlib.sha256(f"{parent} {diff_id}".encode()).hexdigest()


def read_graphdriver(root: bytes, driver: str) -> GraphdriverReading:
    """Read ``root/image/driver`` as it is now, without a lock. Never raises."""
    base = os.path.join(root, b"image", os.fsencode(driver))
    layerdb, imagedb = os.path.join(base, b"layerdb"), os.path.join(base, b"imagedb")
    problems: list[Problem] = []
    layers, removing = _read_layers(layerdb, problems)
    mounts = _read_mounts(os.path.join(layerdb, b"mounts"), problems)
    images = _read_images(base, os.path.join(imagedb, b"content", b"sha256"), problems)
    return GraphdriverReading(
        layers=layers,
        removing=removing,
        mounts=mounts,
        images=images,
        writing=_open_transactions(os.path.join(layerdb, b"tmp"), problems),
        problems=tuple(problems),
    )


# --- what all readers share -----------------------------------------------------------------------


class _Report:
    """Problems of one directory of records."""

    def __init__(self, into: list[Problem]) -> None:
        self.into = into
        self.found: list[Problem] = []

    def __enter__(self) -> _Report:
        return self

    def __exit__(self, *_: object) -> None:
        self.into.extend(bounded(self.found))

    def say(self, path: bytes, words: str, *, hides_owners: bool = True) -> None:
        where = os.fsdecode(path)
        self.found.append(Problem(where, f"{where} {words}.", hides_owners))


def _missing_store(path: bytes, report: _Report) -> None:
    """The engine makes the store when it starts: without it, a copy is not whole or it was lost."""
    report.say(path, "is missing: names of layers and images are lost; restore or copy it as well")


def _each(
    folder: Folder,
    names: Iterable[str],
    report: _Report,
    read: Callable[[str], None],
    remedy: str,
) -> bool:
    """Read every name; false when one vanished meanwhile. One that is broken hides no other."""
    whole = True
    for name in names:
        path = os.path.join(folder.path, os.fsencode(name))
        for last_try in (False, True):
            try:
                read(name)
            except (FileNotFoundError, Damage) as error:
                if not folder.has(name):
                    whole = False
                elif not last_try:
                    # The engine may be writing this very moment.
                    continue
                elif isinstance(error, Refused):
                    report.say(path, str(error))
                elif isinstance(error, Damage):
                    report.say(path, f"{error}; the engine cannot use it either: {remedy}")
                else:
                    missing = os.fsdecode(error.filename)
                    report.say(path, f"has no file {missing}; the engine ignores it: {remedy}")
            break
    return whole


def _read_id(folder: Folder, name: str, shape: re.Pattern[str]) -> str:
    """One file with one id in it; Damage names the file."""
    try:
        text = folder.read_text(name, _SMALL)
    except Refused as refused:
        raise Refused(f"is not readable in full: its file {name} {refused}") from refused
    except Damage as damage:
        raise Damage(f"is damaged: its file {name} {damage}") from damage
    if not shape.fullmatch(text):
        raise Damage(f"is damaged: its file {name} holds no id")
    return text


def _read_optional_id(folder: Folder, name: str, shape: re.Pattern[str]) -> str:
    try:
        return _read_id(folder, name, shape)
    except FileNotFoundError:
        return ""


# --- layerdb --------------------------------------------------------------------------------------


def _read_layers(
    layerdb: bytes, problems: list[Problem]
) -> tuple[dict[str, LayerRecord], tuple[LayerRecord, ...]]:
    layers: dict[str, LayerRecord] = {}
    removing: dict[str, LayerRecord] = {}
    path = os.path.join(layerdb, b"sha256")
    with _Report(problems) as report:
        try:
            with Folder.open(path) as folder:
                # A removed layer gets a new name first: look again for it, or its directory would
                # seem to be nobody's.
                whole = _list_layers(folder, report, layers, removing)
                if not whole:
                    report.found.clear()
                    _list_layers(folder, report, layers, removing)
        except FileNotFoundError:
            if not looks.isdir(layerdb):
                _missing_store(layerdb, report)
        except Damage as damage:
            report.say(path, str(damage))
    for record in removing.values():
        known = layers.get(record.chain_id)
        if known and known.cache_id == record.cache_id:
            del layers[record.chain_id]
    return layers, tuple(removing.values())


def _list_layers(
    folder: Folder,
    report: _Report,
    layers: dict[str, LayerRecord],
    removing: dict[str, LayerRecord],
) -> bool:
    def read(name: str) -> None:
        leaving = _REMOVING.fullmatch(name)
        with folder.folder(name) as place:
            if not leaving:
                record = _layer(place, SHA256 + name, removing=False)
                layers[record.chain_id] = record
                return
            try:
                removing[name] = _layer(place, SHA256 + leaving.group(1), removing=True)
            except FileNotFoundError:
                # The directory goes before these files do: nothing is left to name.
                return

    names = []
    for name, kind in folder.entries():
        if _HEX.fullmatch(name) or _REMOVING.fullmatch(name):
            names.append(name)
        elif kind is Entry.DIRECTORY:
            path = os.path.join(folder.path, os.fsencode(name))
            report.say(path, "is no layer's name; the engine ignores it", hides_owners=False)
    return _each(folder, sorted(names), report, read, _REPULL)


def _layer(place: Folder, chain_id: str, *, removing: bool) -> LayerRecord:
    record = LayerRecord(
        chain_id,
        cache_id=_read_id(place, "cache-id", _CACHE_ID),
        parent=_read_optional_id(place, "parent", _DIGEST),
        diff_id=_read_optional_id(place, "diff", _DIGEST) if removing else _diff_id(place),
        size=_size(place),
        removing=removing,
        path=place.path,
    )
    if not removing and _chain_id(record.parent, record.diff_id) != chain_id:
        raise Damage("is damaged: its files parent and diff do not give its chain id")
    return record


def _diff_id(place: Folder) -> str:
    return _read_id(place, "diff", _DIGEST)


def _size(place: Folder) -> int | None:
    try:
        text = place.read_text("size", _SMALL)
    except (FileNotFoundError, Damage):
        return None
    return int(text) if text.isdecimal() and len(text) < 20 else None


def _read_mounts(path: bytes, problems: list[Problem]) -> dict[str, MountRecord]:
    mounts: dict[str, MountRecord] = {}

    def read(name: str) -> None:
        with folder.folder(name) as place:
            record, damage = _mount(place, name)
            mounts[name] = record
            if damage:
                raise damage

    with _Report(problems) as report:
        try:
            with Folder.open(path) as folder:
                _each(folder, folder.directories(), report, read, _REMAKE)
        except FileNotFoundError:
            # The first container makes it.
            pass
        except Damage as damage:
            report.say(path, str(damage))
    return mounts


def _mount(place: Folder, container_id: str) -> tuple[MountRecord, Damage | None]:
    """What can be read of it still keeps its owner's layers, even when the rest is damaged."""
    found = {"mount-id": "", "init-id": "", "parent": ""}
    trouble: Damage | None = None
    for name, shape in (("mount-id", _MOUNT_ID), ("init-id", _MOUNT_ID), ("parent", _DIGEST)):
        try:
            found[name] = _read_id(place, name, shape)
        except FileNotFoundError:
            if name == "mount-id":
                trouble = Damage("is damaged: it has no file mount-id")
        except Damage as damage:
            trouble = trouble or damage
    record = MountRecord(
        container_id, found["mount-id"], found["init-id"], found["parent"], place.path
    )
    return record, trouble


def _open_transactions(path: bytes, problems: list[Problem]) -> tuple[bytes, ...]:
    with _Report(problems) as report:
        try:
            with Folder.open(path) as folder:
                names = [name for name in folder.directories() if name.startswith("write-set-")]
                return tuple(os.path.join(path, os.fsencode(name)) for name in names)
        except FileNotFoundError:
            pass
        except Damage as damage:
            report.say(path, str(damage))
    return ()


# --- images ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Names:
    tags: dict[str, list[str]] = field(default_factory=dict)
    digests: dict[str, list[str]] = field(default_factory=dict)

    def images(self) -> set[str]:
        return {*self.tags, *self.digests}


def _read_images(base: bytes, path: bytes, problems: list[Problem]) -> dict[str, ImageRecord]:
    """The names first: an image loses its names before it goes."""
    configs: dict[str, tuple[tuple[str, ...], str]] = {}

    def read(name: str) -> None:
        configs[SHA256 + name] = _image(folder.read(name, _MOST_CONFIG), name)

    with _Report(problems) as report:
        names = _read_names(base, report)
        try:
            with Folder.open(path) as folder:
                listed = sorted(name for name, _ in folder.entries() if _HEX.fullmatch(name))
                _each(folder, listed, report, read, _RELOAD)
        except FileNotFoundError:
            _missing_store(path, report)
            return {}
        except Damage as damage:
            report.say(path, str(damage))
            return {}
        told = {SHA256 + os.path.basename(problem.source) for problem in report.found}
        lost = names.images() - configs.keys() - told
        if lost:
            # They may have been untagged and removed since.
            lost &= _read_names(base, _Report([])).images()
        for image in sorted(lost):
            named = next(iter([*names.tags.get(image, ()), *names.digests.get(image, ())]), "")
            where = os.path.join(path, os.fsencode(image.removeprefix(SHA256)))
            report.say(
                where, f"is missing, but {named} names it; remove that tag and pull it again"
            )
    return {
        image: ImageRecord(
            image,
            chain,
            tuple(names.tags.get(image, ())),
            tuple(names.digests.get(image, ())),
            created,
            os.path.join(path, os.fsencode(image.removeprefix(SHA256))),
        )
        for image, (chain, created) in configs.items()
    }


def _image(content: bytes, name: str) -> tuple[tuple[str, ...], str]:
    """Chain ids and time of creation, of a config that is what its name says."""
    if hashlib.sha256(content).hexdigest() != name:
        raise Damage("is damaged: its content does not have the checksum that is its name")
    config = parse_object(content)
    diff_ids = config.fields("rootfs").texts("diff_ids")
    created = config.text("created")
    if not all(_DIGEST.fullmatch(diff_id) for diff_id in diff_ids):
        raise Damage("is no image config: a layer in rootfs.diff_ids is no digest")
    if config.wrong:
        raise Damage(f"is no image config: {config.wrong[0]} has the wrong type")
    return chain_ids(diff_ids), created


def _read_names(base: bytes, report: _Report) -> _Names:
    """``repositories.json`` turned round: the tags and digests of each image."""
    names = _Names()
    path = os.path.join(base, b"repositories.json")
    try:
        with Folder.open(base) as folder:
            document = parse_object(folder.read("repositories.json", _MOST_REPOSITORIES))
    except FileNotFoundError:
        words = "is missing: images are shown without their tags; restore or copy it as well"
        report.say(path, words, hides_owners=False)
        return names
    except Damage as damage:
        report.say(path, f"{damage}: images are shown without their tags; restore it")
        return names
    repositories = document.fields("Repositories")
    for repository in repositories.values:
        _collect(repositories.fields(repository), names)
    if document.wrong:
        report.say(path, f"is damaged: {document.wrong[0]} has the wrong type; restore it")
    return names


def _collect(references: Fields, names: _Names) -> None:
    for reference in references.values:
        image = references.text(reference)
        if not _DIGEST.fullmatch(image):
            references.wrong.append(reference)
        elif "@" in reference:
            names.digests.setdefault(image, []).append(reference)
        else:
            names.tags.setdefault(image, []).append(reference)
