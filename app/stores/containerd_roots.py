"""Where the containerd lies that keeps layers for a data root, and whether one is used at all.

Sources: moby daemon/command/daemon.go (its own containerd: ``DATA/containerd/daemon``), containerd
cmd/containerd/command/main.go (``--root``, ``--address``, ``--config``), docs/man/
containerd-config.toml.5.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from app.model import DataRoot, ImageStore
from app.stores.containerd_meta import DATABASE
from app.stores.engine_shapes import EngineInfo
from app.stores.files import Damage, Folder, read_file
from app.stores.hints import Hint, Host, Process, processes
from app.stores.snapshotter import home_of, snapshotters

CONFIG = b"/etc/containerd/config.toml"
DEFAULT_ROOT = b"/var/lib/containerd"
DEFAULT_ADDRESS = b"/run/containerd/containerd.sock"
#: Below a data root, when dockerd runs a containerd of its own.
OWN = b"containerd/daemon"
#: Docker's namespace; each userns-remapped root has its own (daemon.go RemapContainerdNamespaces).
NAMESPACE = "moby"

_LARGEST_CONFIG = 1024 * 1024
_REMAPPED = re.compile(r"[0-9]+\.[0-9]+")
_SETTING = re.compile(rb"""\s*(root|address)\s*=\s*(?:"([^"\\]*)"|'([^']*)')\s*(?:#.*)?""")
_TABLE = re.compile(rb"\s*\[+\s*([^\]]*?)\s*\]+\s*(?:#.*)?")


@dataclass(frozen=True, slots=True)
class Containerd:
    """A containerd as its process or its configuration describes it: root, socket, who says so."""

    root: bytes
    address: bytes
    found_by: str


def is_containerd_root(path: bytes) -> bool:
    """Whether this directory is containerd's: it has its database, or a snapshotter's."""
    return bool(snapshotters(path)) or os.path.isfile(os.path.join(path, DATABASE))


def has_snapshots(path: bytes) -> bool:
    """Whether a snapshotter of this containerd holds anything. Each engine has an empty one."""
    for name in snapshotters(path):
        try:
            with Folder.open(home_of(path, name)) as folder:
                if any(True for _ in folder.entries()):
                    return True
        except (FileNotFoundError, Damage):
            continue
    return False


def namespace_of(root: DataRoot, engine: EngineInfo | None) -> str:
    """Docker's namespace in containerd for this data root."""
    if engine and root.engine_url and engine.namespace:
        return engine.namespace
    name = os.path.basename(os.fsdecode(root.path))
    return f"{NAMESPACE}-{name}" if _REMAPPED.fullmatch(name) else NAMESPACE


def containerd_of(root: DataRoot, engine: EngineInfo | None, host: Host) -> bytes:
    """The containerd root that belongs to a data root, b"" where it has none that can be found.

    The engine's word first; else its own below the data root, one beside it (``docker`` and
    ``containerd`` in one directory, as on a host or in a copied tree), and of what may not be a
    copy what this machine's running containerd and its configuration say.
    """
    candidates = [os.path.join(root.path, OWN)]
    above = os.path.dirname(root.path)
    if _REMAPPED.fullmatch(os.path.basename(os.fsdecode(root.path))):
        candidates.append(os.path.join(above, OWN))
        above = os.path.dirname(above)
    candidates.append(os.path.join(above, b"containerd"))
    here = tuple(on_this_machine(host)) if root.engine_url or not root.named else ()
    if engine and root.engine_url and engine.containerd:
        asked = os.path.realpath(engine.containerd)
        named = [it.root for it in here if it.address and os.path.realpath(it.address) == asked]
        candidates = [*named, *candidates]
    candidates += [it.root for it in here]
    for path in candidates:
        real = os.path.realpath(path)
        if _serves(real, root):
            return real
    return b""


def _serves(path: bytes, root: DataRoot) -> bool:
    """Beside a graph driver an empty containerd is of no interest: every engine has one."""
    if not is_containerd_root(path):
        return False
    return root.image_store is ImageStore.CONTAINERD or has_snapshots(path)


# --- this machine's -------------------------------------------------------------------------------


def on_this_machine(host: Host) -> Iterator[Containerd]:
    """What every running containerd says, then the configuration, then the default place."""
    for process in processes(host, b"containerd"):
        found = _running(host, process)
        if found:
            yield found
    configured = _configured(host, CONFIG, f"named in {os.fsdecode(CONFIG)}")
    if configured.root:
        yield configured
    yield Containerd(host.at(DEFAULT_ROOT), DEFAULT_ADDRESS, "containerd's default place")


def _running(host: Host, process: Process) -> Containerd | None:
    who = f"the root of containerd, process {process.pid}"
    config = process.option(b"--config", b"-c") or CONFIG
    said = _configured(host, config, who)
    root, address = process.option(b"--root"), process.option(b"--address", b"-a")
    path = host.at(root) if root.startswith(b"/") else said.root or host.at(DEFAULT_ROOT)
    # One inside a container has a /var/lib/containerd of its own.
    if not process.means(host, path):
        return None
    return Containerd(path, address or said.address, who)


def _configured(host: Host, config: bytes, found_by: str) -> Containerd:
    """``root`` and ``[grpc] address`` of a config.toml, as far as they are plain strings."""
    try:
        text = read_file(os.path.realpath(host.at(config)), _LARGEST_CONFIG)
    except (FileNotFoundError, Damage):
        return Containerd(b"", DEFAULT_ADDRESS, found_by)
    table, root, address = b"", b"", DEFAULT_ADDRESS
    for line in text.splitlines():
        if heading := _TABLE.fullmatch(line):
            table = heading[1]
        elif setting := _SETTING.fullmatch(line):
            value = setting[2] or setting[3] or b""
            if setting[1] == b"root" and not table and value.startswith(b"/"):
                root = host.at(value)
            elif setting[1] == b"address" and table == b"grpc":
                address = value
    return Containerd(root, address, found_by)


def hints(host: Host) -> list[Hint]:
    """The containerd roots of this machine that hold something, each once."""
    found: dict[bytes, Hint] = {}
    for it in on_this_machine(host):
        if has_snapshots(it.root):
            found.setdefault(os.path.realpath(it.root), Hint(it.root, it.found_by))
    return list(found.values())
