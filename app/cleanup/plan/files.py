"""Plans for files and folders inside a layer directory.

Only a container's own layer may lose files: through the live mount while it is mounted, in ``diff``
while nothing has it mounted (Linux Documentation/filesystems/overlayfs.rst, "Changes to underlying
filesystems": to change the layers of a mounted overlay is forbidden, its result not defined).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from app.cleanup.plan.attribute_blocks import maybe_shared
from app.cleanup.plan.containerd import files_doubt, maybe_mounted
from app.cleanup.plan.containers import STOPPED, is_stopped, word_for, word_of
from app.cleanup.plan.context import Doubt, World, contents, listed, named, of_layers, refused
from app.cleanup.plan.exec_command import docker_exec
from app.cleanup.plan.held_space import held_open
from app.cleanup.plan.in_use import kernel_doubts, look_elsewhere, mounted_inside, unnamed_doubts
from app.cleanup.plan.live_mount import Entrance, entrance, mounted_at
from app.cleanup.plan.lower_layers import Look, Seen, look, shows_beneath
from app.cleanup.plan.model import Action, Confirmation, Frees, Plan, Step, Wish
from app.cleanup.plan.resolve_path import Reached, path_of, reach, reach_in_root
from app.host.overlays import LOWER
from app.model import AS_LAST_SAVED, Evidence, Kind, Layer, Owner, Reference, Role
from app.stores.metadata.docker.containers import ALIVE

_CORRUPTS = {
    Role.IMAGE: "it belongs to an image layer: removing files there corrupts every image and "
    "container on it",
    Role.INIT: "it belongs to an init layer: without it the container does not start",
    Role.BUILD_CACHE: "it belongs to a build-cache layer: removing files there corrupts the builds "
    "and images on it",
}

_UNREADABLE = "its layer could not be read there"


def plan_file(wish: Wish, world: World, layer: Layer, names: Sequence[bytes]) -> Plan:
    """Remove what lies at ``names`` below the layer's ``diff`` (``fs``), or its live mount."""
    inside = "/" + os.fsdecode(b"/".join(names))
    if layer.role is not Role.WRITABLE:
        why, instead = _never(layer)
        return _refused(wish, layer, inside, why, instead)
    owners = [it for it in layer.owners if it.kind is Kind.CONTAINER]
    if len(owners) != 1 or len(layer.owners) != 1:
        return _refused(wish, layer, inside, "more than one thing owns its layer")
    if above := of_layers([layer], (Kind.LAYER, Kind.IMAGE, Kind.BUILD_CACHE)):
        why = f"{above[0].kind.value} {above[0].id} stands on its layer"
        return _refused(wish, layer, inside, why)
    if world.unseen_mounts:
        why = f"nobody can tell where its layer is mounted: {world.unseen_mounts}"
        return _refused(wish, layer, inside, why, look_elsewhere())
    if layer.is_snapshot and (odd := files_doubt(world, layer)):
        return _refused(wish, layer, inside, *odd)
    upper = look(contents(layer), names)
    beneath = [contents(it) for it in world.layers(layer.parents)]
    whole = all(name in world.store.layers for name in layer.parents)
    shows = shows_beneath(upper, beneath, names) if whole else None
    case = _Case(wish, world, layer, owners[0], tuple(names), inside, upper, shows)
    return case.live() if world.uses(layer.id) else case.stopped()


def _never(layer: Layer) -> tuple[str, str]:
    """Why files of such a layer are never removed, and what to do instead."""
    if layer.role in _CORRUPTS:
        return _CORRUPTS[layer.role], f"remove {_owners(layer)} as a whole"
    if layer.role is Role.UNREFERENCED:
        why = "nothing refers to its layer, so there is no reason to remove a part of it"
        return why, "remove the whole directory"
    note = f": {layer.note}" if layer.note else ""
    return f"its layer is {layer.role.value}{note}", "see what `whodiff which` says of the layer"


def _owners(layer: Layer) -> str:
    return listed([named(it) for it in layer.owners]) or "what owns it"


def _refused(wish: Wish, layer: Layer, inside: str, why: str, instead: str = "") -> Plan:
    kinds = (Kind.CONTAINER, Kind.IMAGE, Kind.BUILD_CACHE, Kind.LAYER, Kind.MOUNT)
    return refused(
        wish,
        f"{inside} in {_owners(layer)}" if layer.owners else f"{inside} in layer {layer.id}",
        why,
        instead,
        references=of_layers([layer], kinds),
        evidence=layer.evidence,
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """One path in one container's layer.

    ``inside`` is the path as the container knows it, ``upper`` what its own layer has there, and
    ``shows`` whether a layer beneath has something there too (None where nobody can tell).
    """

    wish: Wish
    world: World
    layer: Layer
    owner: Owner
    names: tuple[bytes, ...]
    inside: str
    upper: Look
    shows: bool | None

    def refused(self, why: str, instead: str = "") -> Plan:
        """Refuse it."""
        return _refused(self.wish, self.layer, self.inside, why, instead)

    # Mounted.

    def live(self) -> Plan:
        """Through the mount, as the container itself would remove it."""
        if points := sorted(set(mounted_at(self.world, self.layer, self.names))):
            shown = listed([os.fsdecode(it) for it in points])
            return self.refused(
                f"the container has something mounted there: {shown}",
                "stop the container, or remove what is inside the volume with `docker exec`",
            )
        if any(use.as_what == LOWER for use in self.world.uses(self.layer.id)):
            return self.refused("another overlay is mounted on top of its layer", "unmount that")
        way = entrance(self.world, self.layer)
        if way is None:
            why = "its layer is mounted, or a copy of it; no mount of it can be reached from here"
            return self.refused(why, self._from_inside())
        if self.upper.seen is Seen.UNKNOWN:
            return self.refused(_UNREADABLE, look_elsewhere())
        found = reach(way.base, self.names)
        evidence = Evidence(way.source, "the overlay of this layer is mounted there")
        if self.upper.seen is not Seen.ENTRY:
            return self._from_beneath(found, way, evidence)
        frees = self._measured().without(held_open(self.world.proc, way.base, self.names))
        notes = ["files that are open in the container give their space back when it closes them"]
        if self.shows is not False:
            notes.append(
                "a layer beneath holds it as well: that copy stays on the disk, hidden by a "
                "whiteout"
            )
            # The whiteout is an inode, which several may share (fs/overlayfs/dir.c ovl_whiteout).
            frees = frees.without(Frees(inodes=1))
        command = self._command(found, way)
        return self._plan(found, notes, evidence, typed=True, frees=frees, command=command)

    def _command(self, found: Reached, way: Entrance) -> str:
        directory = found.is_directory
        return docker_exec(self.world, self.layer, way, self.names, directory=directory)

    def _from_inside(self) -> str:
        if self.world.silence:
            # The container that a reachable engine has may be the one that this was copied from.
            return "unmount it, then ask again"
        return f"remove it from inside, with `docker exec {word_of(self.owner.id)} rm`"

    def _from_beneath(self, found: Reached, way: Entrance, evidence: Evidence) -> Plan:
        words = (
            f"{self.inside} lies in a layer of the image alone: removing it frees nothing, it "
            "only hides it in this container and takes one more inode"
        )
        command = self._command(found, way)
        plan = self._plan(found, [words], evidence, typed=True, frees=Frees(), command=command)
        if self.wish.insisted:
            return plan
        return replace(plan, steps=(), ask_again=words)

    # Not mounted.

    def stopped(self) -> Plan:
        """In the layer's own ``diff``, of a snapshot ``fs``, for nothing has it mounted."""
        if reason := next(self._against_stopped(), None):
            return self.refused(*reason)
        found = self._reach_stopped()
        notes = []
        if self.shows:
            notes.append("a layer beneath holds it as well: the container sees that copy again")
        elif self.shows is None:
            notes.append("nobody can tell whether a layer beneath holds it as well")
        evidence = Evidence("/proc/*/mountinfo", "its layer is mounted in no namespace")
        sure = is_stopped(self.owner)
        return self._plan(found, notes, evidence, typed=not sure, frees=self._measured())

    def _reach_stopped(self) -> Reached:
        root = self.world.store.root
        if self.layer.is_snapshot:
            above = os.path.relpath(contents(self.layer), root.containerd).split(b"/")
            return reach_in_root(root.containerd, (*above, *self.names))
        place = (b"overlay2", os.fsencode(self.layer.id), b"diff", *self.names)
        return reach_in_root(root.path, place)

    def _against_stopped(self) -> Iterator[Doubt]:
        yield from self.world.blind()
        state = self.owner.state
        if state in ALIVE:
            yield (
                f"the container is {state}, yet its layer is mounted nowhere",
                "stop the container, then ask again",
            )
        if state not in STOPPED and not state.endswith(AS_LAST_SAVED):
            yield f"the container is {state or 'in a state that nobody knows'}", "look again"
        yield from mounted_inside(self.world, [self.layer])
        yield from unnamed_doubts(self.world, self.layer)
        yield from kernel_doubts(self.world, os.path.join(contents(self.layer), *self.names))
        if self.layer.is_snapshot:
            yield from maybe_mounted(self.world, self.layer)
        if self.upper.seen is Seen.UNKNOWN:
            yield _UNREADABLE, look_elsewhere()
        if self.upper.seen is Seen.WHITEOUT:
            yield (
                "it is a whiteout, which hides a file of the image: without it that file is back",
                "leave it; it takes next to nothing",
            )
        if self.upper.seen is Seen.NOTHING and self.shows:
            yield (
                "it lies in a layer of the image, not in the container's own",
                "remove the image, or the file from inside the running container",
            )
        if self.upper.seen is Seen.NOTHING:
            yield "it is not there (any more)", "look again"

    # Both.

    def _measured(self) -> Frees:
        path = os.path.join(contents(self.layer), *self.names)
        return self.world.frees([path]).without(Frees(maybe_shared(path)))

    def _plan(  # noqa: PLR0913 - the keywords are fields of a Plan
        self,
        found: Reached,
        notes: list[str],
        evidence: Evidence,
        *,
        typed: bool,
        frees: Frees,
        command: str = "",
    ) -> Plan:
        path = path_of(found.place)
        own = os.path.join(contents(self.layer), *self.names)
        upper = own if self.world.uses(self.layer.id) else b""
        step = Step(Action.ERASE, command, place=found.place, upper=upper)
        if not upper:
            # Out of the way of a mount in one step: into the layer's directory.
            above = len(found.place.names) - len(self.names) - 1
            known_as = tuple(self.world.known_as(self.layer))
            step = replace(step, beside=above, known_as=known_as)
        lost = "it is gone for good: nothing keeps a copy"
        if self.shows is not False:
            lost = "what the container changed in it is gone for good"
        if self.upper.seen is not Seen.ENTRY:
            lost = "the container does not see it any more"
        owner = Reference(
            Kind.CONTAINER, self.owner.id, self.owner.name, "it is in its writable layer"
        )
        return Plan(
            self.wish,
            f"{found.kind} {self.inside} in {named(self.owner)}",
            path=path,
            steps=(step,),
            frees=frees,
            confirmation=Confirmation.TYPED if typed else Confirmation.PLAIN,
            word=word_for(self.owner) if typed else "",
            consequences=(lost, *notes),
            references=(owner, *of_layers([self.layer], (Kind.MOUNT,))),
            evidence=(evidence, *self.layer.evidence),
            filesystem=contents(self.layer),
        )
