"""Where the containerd lies that keeps layers for a data root, and whether one is used at all.

Sources: moby daemon/command/daemon.go (its own containerd: ``DATA/containerd/daemon``), containerd
cmd/containerd/command/main.go (``--root``, ``--address``, ``--config``), docs/man/
containerd-config.toml.5.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace

from app.discovery.candidates import Hint, Host, Process, processes
from app.discovery.classify import is_remapped
from app.engine.parse import EngineInfo
from app.host import looks
from app.host.safe_read import Damage, Folder, read_file
from app.model import DataRoot, ImageStore, Problem
from app.stores.drivers.overlayfs.snapshotter import home_of, snapshotters
from app.stores.metadata.containerd.meta import DATABASE, read_meta

CONFIG = b"/etc/containerd/config.toml"
DEFAULT_ROOT = b"/var/lib/containerd"
DEFAULT_ADDRESS = b"/run/containerd/containerd.sock"
#: Below a data root, when dockerd runs a containerd of its own.
OWN = b"containerd/daemon"
#: Docker's namespace; each userns-remapped root has its own (daemon.go RemapContainerdNamespaces).
NAMESPACE = "moby"

_LARGEST_CONFIG = 1024 * 1024
_SETTING = re.compile(rb"""\s*(root|address)\s*=\s*(?:"([^"\\]*)"|'([^']*)')\s*(?:#.*)?""")
_TABLE = re.compile(rb"\s*\[+\s*([^\]]*?)\s*\]+\s*(?:#.*)?")


@dataclass(frozen=True, slots=True)
class Containerd:
    """A containerd as its process or its configuration describes it: root, socket, who says so."""

    root: bytes
    address: bytes
    found_by: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The containerd taken for a data root, and those with snapshots that it might be as well.

    All roots are real paths.
    """

    taken: Containerd | None = None
    rivals: tuple[Containerd, ...] = ()

    @property
    def root(self) -> bytes:
        """The root of the one taken, b"" without one."""
        return self.taken.root if self.taken else b""

    @property
    def own(self) -> bytes:
        """Docker's own one among the rivals, b"" without one: nobody else can have it."""
        return next((it.root for it in self.rivals if _is_own(it.root)), b"")

    def doubt(self, data_root: bytes, shown_elsewhere: Set[bytes]) -> tuple[Problem, ...]:
        """A problem where there are several: which they are, and which was taken."""
        others = " and ".join(_told(it) for it in self.rivals if it.root not in shown_elsewhere)
        if not self.taken or not others:
            return ()
        shown = os.fsdecode(data_root)
        words = (
            f"More than one containerd may hold layers of {shown}: {_told(self.taken)} was taken, "
            f"{others} was not; name that one with --data-root to see it instead."
        )
        return (Problem(shown, words),)


def _told(it: Containerd) -> str:
    return f"{os.fsdecode(it.root)} ({it.found_by})"


def _is_own(containerd: bytes) -> bool:
    """Whether a dockerd runs it for itself."""
    return looks.realpath(containerd).endswith(b"/" + OWN)


def is_containerd_root(path: bytes) -> bool:
    """Whether this directory is containerd's: it has its database, or a snapshotter's."""
    return bool(snapshotters(path)) or looks.isfile(os.path.join(path, DATABASE))


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
    return f"{NAMESPACE}-{name}" if is_remapped(root.path) else NAMESPACE


def containerd_of(root: DataRoot, engine: EngineInfo | None, host: Host) -> Choice:
    """The containerd that belongs to a data root; none where it has none that can be found.

    On this machine the engine's word comes first; else what the running containerds say, then the
    configuration; then Docker's own below the data root, one beside it (``docker`` and
    ``containerd`` in one directory), the default place. A root that the user named may be a copy:
    there is no more for it than what lies below and beside it.
    """
    found: dict[bytes, Containerd] = {}
    for it in _candidates(root, engine, host):
        real = looks.realpath(it.root)
        if _serves(real, root):
            found.setdefault(real, replace(it, root=real))
    several = tuple(found.values())
    if len(several) < 2:
        return Choice(next(iter(several), None))
    if not _asked(root, engine):
        namespace = namespace_of(root, engine)
        # One that works for others alone is somebody else's, as the one of Kubernetes.
        several = tuple(it for it in several if not _elses(it.root, namespace)) or several
    taken, *others = several
    return Choice(taken, tuple(it for it in others if has_snapshots(it.root)))


def likeliest(roots: Sequence[DataRoot], containerd: bytes, engine: EngineInfo | None) -> DataRoot:
    """Of the data roots that claim a containerd the one that keeps its layers there.

    All that one engine leaves behind (a tree from before userns-remap, other remappings) claims the
    same. That an engine works on a root decides only between those that keep layers there.
    """
    if len(roots) == 1:
        return roots[0]
    spaces = read_meta(containerd).namespaces

    def rank(root: DataRoot) -> tuple[bool, ...]:
        uses = root.image_store is ImageStore.CONTAINERD
        space = spaces.get(namespace_of(root, engine))
        has = space is not None and bool(space.snapshots)
        return not (uses or has), not root.engine_url, not uses, not has

    return min(roots, key=rank)


def _asked(root: DataRoot, engine: EngineInfo | None) -> bytes:
    """The socket of the containerd that this root's engine says it uses, b"" without its word."""
    return engine.containerd if engine and root.engine_url else b""


def _candidates(root: DataRoot, engine: EngineInfo | None, host: Host) -> Iterator[Containerd]:
    """Every containerd that may be this root's, the likeliest first."""
    own, beside = _around(root.path)
    if root.named and not root.engine_url:
        yield from (*own, beside)
        return
    rootless = bool(engine and root.engine_url and engine.rootless)
    said, default = ([], None) if rootless else (_said(host), _default(host))
    # Nobody says of these two on which socket they listen: on the usual one.
    usual = [beside, *([default] if default else [])]
    if asked := _asked(root, engine):
        named = _listening(said, asked)
        if not named and _same_socket(asked, _default(host).address):
            named = usual
        yield from (it for it in named if _may_use(root.path, it.root))
        yield from own
        return
    running = {looks.realpath(it.root) for it in said}
    yield from (it for it in own if looks.realpath(it.root) in running)
    yield from (it for it in said if _may_use(root.path, it.root))
    yield from own
    yield from (it for it in usual if _may_use(root.path, it.root))


def _around(root: bytes) -> tuple[list[Containerd], Containerd]:
    """Docker's own containerd below the data root, or around a remapped one, and the one beside."""
    homes = [root, os.path.dirname(root)] if is_remapped(root) else [root]
    own = [Containerd(os.path.join(it, OWN), b"", "below the data root") for it in homes]
    beside = os.path.join(os.path.dirname(homes[-1]), b"containerd")
    return own, Containerd(beside, b"", "beside the data root")


def _listening(said: Iterable[Containerd], address: bytes) -> list[Containerd]:
    """The one on this socket, in a list; the first that says so has it."""
    return [it for it in said if it.address and _same_socket(it.address, address)][:1]


def _same_socket(one: bytes, other: bytes) -> bool:
    return looks.realpath(one) == looks.realpath(other)


def _may_use(root: bytes, containerd: bytes) -> bool:
    """Whether an engine of this root could use a containerd that is not its own.

    A rootless one cannot use the system's, and none can use what another dockerd runs for itself.
    A remapped root may belong to the remapped user: what it lies in belongs to who runs the engine.
    """
    if _is_own(containerd):
        return False
    try:
        home = looks.stat_of(os.path.dirname(root) if is_remapped(root) else root)
        return home.st_uid == looks.stat_of(containerd).st_uid
    except OSError:
        return False


def _elses(path: bytes, namespace: str) -> bool:
    """Whether this containerd keeps things, and surely none in this namespace."""
    meta = read_meta(path)
    return meta.readable and bool(meta.namespaces) and namespace not in meta.namespaces


def _serves(path: bytes, root: DataRoot) -> bool:
    """Beside a graph driver an empty containerd is of no interest: every engine has one."""
    if not is_containerd_root(path):
        return False
    return root.image_store is ImageStore.CONTAINERD or has_snapshots(path)


# --- this machine's -------------------------------------------------------------------------------


def _said(host: Host) -> list[Containerd]:
    """What every running containerd says, then the configuration, where it names a root."""
    found = [_running(host, process) for process in processes(host, b"containerd")]
    configured = _configured(host, CONFIG, f"named in {os.fsdecode(CONFIG)}")
    return [it for it in (*found, configured) if it and it.root]


def _default(host: Host) -> Containerd:
    """The default place, on the socket that a configuration without a root names."""
    configured = _configured(host, CONFIG, "")
    address = DEFAULT_ADDRESS if configured.root else configured.address
    return Containerd(host.at(DEFAULT_ROOT), address, "containerd's default place")


def _running(host: Host, process: Process) -> Containerd | None:
    who = f"the root of containerd, process {process.pid}"
    config = process.option(b"--config", b"-c") or CONFIG
    said = _configured(host, config, who)
    root, address = process.option(b"--root"), process.option(b"--address", b"-a")
    path = host.at(root) if root.startswith(b"/") else said.root or host.at(DEFAULT_ROOT)
    # One inside a container has a /var/lib/containerd of its own.
    if not (process.may_speak_for(path) and process.means(host, path)):
        return None
    return Containerd(path, address or said.address, who)


def _configured(host: Host, config: bytes, found_by: str) -> Containerd:
    """``root`` and ``[grpc] address`` of a config.toml, as far as they are plain strings."""
    try:
        text = read_file(looks.realpath(host.at(config)), _LARGEST_CONFIG)
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
    for it in (*_said(host), _default(host)):
        if has_snapshots(it.root):
            found.setdefault(looks.realpath(it.root), Hint(it.root, it.found_by))
    return list(found.values())
