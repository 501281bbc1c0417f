"""What others keep in containerd (Kubernetes, nerdctl, ctr), which the engine cannot remove."""

from __future__ import annotations

from app.cleanup.plan.context import refused
from app.cleanup.plan.model import Plan, Wish
from app.model import Layer

_OWNERS = {
    "k8s.io": "remove it with kubectl, or with crictl on this machine",
    "default": "remove it with nerdctl, or with `ctr --namespace default`",
    "buildkit": "remove it with `buildctl prune`",
}


def instead_of(namespace: str) -> str:
    """Who removes what is in this namespace."""
    return _OWNERS.get(namespace, f"remove it with what made it, or `ctr --namespace {namespace}`")


def not_dockers(wish: Wish, title: str, namespace: str, layer: Layer | None = None) -> Plan:
    """Refused: only who made it can remove it."""
    return refused(
        wish,
        title,
        f"it is in containerd's namespace {namespace}, which is not the Docker engine's",
        instead_of(namespace),
        path=layer.path if layer else b"",
        references=layer.references if layer else (),
        evidence=layer.evidence if layer else (),
    )
