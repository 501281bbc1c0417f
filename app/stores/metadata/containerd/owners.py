"""The owners in containerd's namespaces: whose name a container, an image or a lease goes by.

Docker's own namespace keeps its names elsewhere (``DATA/containers``); in the others the labels
have them: Kubernetes' (containerd internal/cri/labels, kubelet pkg/kubelet/types/labels.go) and
nerdctl's (nerdctl pkg/labels).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.model import Kind, Owner
from app.stores.metadata.containerd.meta import ContainerEntry, Lease
from app.stores.metadata.containerd.read import ContainerdReading

_DANGLING = "moby-dangling@"
_DOCKER_HUB = ("docker.io/library/", "docker.io/")
#: Docker's container ids, and BuildKit's record ids.
CONTAINER_ID = re.compile(r"[0-9a-f]{64}")
RECORD_ID = re.compile(r"[0-9a-z]{25}")
#: Ends the key of a snapshot, and the id of its lease, through which BuildKit only reads.
VIEW = "-view"


def container_owner(namespace: str, entry: ContainerEntry, state: str = "") -> Owner:
    """A container outside Docker: ``namespace/pod/container``, nerdctl's name, or its own id."""
    labels = entry.labels
    return Owner(
        Kind.CONTAINER,
        entry.id,
        name=_name(entry),
        state=state,
        image=entry.image,
        compose_project=labels.get("com.docker.compose.project", ""),
        compose_service=labels.get("com.docker.compose.service", ""),
        namespace=namespace,
    )


def _name(entry: ContainerEntry) -> str:
    labels = entry.labels
    pod = labels.get("io.kubernetes.pod.name", "")
    if pod:
        of = f"{labels.get('io.kubernetes.pod.namespace', '')}/{pod}"
        name = labels.get("io.kubernetes.container.name", "")
        return f"{of}/{name}" if name else f"{of} (sandbox)"
    return labels.get("nerdctl/name", "") or entry.id


def names_by_digest(reading: ContainerdReading, namespace: str, digest: str) -> tuple[str, ...]:
    """The names of an image that end in ``@digest``, as Docker shows them; no made-up ones.

    An image without any name goes by ``moby-dangling@sha256:...`` (moby daemon/containerd/
    soft_delete.go danglingImageName).
    """
    names = sorted(reading.namespaces[namespace].images.items())
    return tuple(
        _familiar(name)
        for name, of in names
        if of == digest and "@" in name and not name.startswith(_DANGLING)
    )


def image_owners(reading: ContainerdReading, own: str) -> Iterator[tuple[str, Owner]]:
    """Every image of every namespace, once for each digest there, with its namespace."""
    for namespace in reading.namespaces.values():
        names: dict[str, list[str]] = {}
        for name, digest in sorted(namespace.images.items()):
            names.setdefault(digest, []).append(name)
        docker = namespace.name == own
        for digest, all_ in names.items():
            tags = tuple(_familiar(name) if docker else name for name in all_ if "@" not in name)
            tags = tuple(tag for tag in tags if not tag.startswith("sha256:"))
            yield (
                namespace.name,
                Owner(
                    Kind.IMAGE,
                    digest,
                    name=next(iter(tags), ""),
                    tags=tags,
                    namespace="" if docker else namespace.name,
                ),
            )


def _familiar(name: str) -> str:
    """A name as Docker shows it (distribution/reference FamiliarName)."""
    for prefix in _DOCKER_HUB:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def lease_owner(lease: Lease, namespace: str, own: str) -> Owner:
    """A lease, where nothing else holds a snapshot."""
    return Owner(Kind.LEASE, lease.id, namespace="" if namespace == own else namespace)
