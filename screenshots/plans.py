"""Made-up plans for the pictures: the sample has no engine that could carry anything out."""

from __future__ import annotations

from collections.abc import Sequence

from app.cleanup.execute.outcome import Outcome, Progress
from app.cleanup.plan.model import Action, Confirmation, Frees, Plan, Step, Subject, Wish
from app.model import Kind, Reference
from app.screens.removal import Removal

_LAYER = "062de95276b1b3241a6cd6f6cf28968e9726894afd0c36be1cea886908690539"
_WEB = "ed891d8d10b667d82915a37e823aff63afc63d3a2bf4861b15c2eddad32f10fb"


def plan(wish: Wish, _before: Sequence[Plan]) -> Plan:
    """A container that runs, and an image that is needed."""
    return _container(wish) if wish.subject is Subject.CONTAINER else _image(wish)


def _container(wish: Wish) -> Plan:
    return Plan(
        wish,
        "container arroyo",
        path=f"/var/lib/docker/overlay2/{_LAYER}".encode(),
        steps=(Step(Action.REMOVE_CONTAINER, f"docker rm --force {wish.id}", ids=(wish.id,)),),
        frees=Frees(1_851_392, 20_041, least=True),
        confirmation=Confirmation.TYPED,
        word="arroyo",
        consequences=(
            "it is running: the engine kills it at once",
            "everything that it wrote outside of its volumes is lost, its logs too",
        ),
        references=(
            Reference(Kind.CONTAINER, wish.id, "arroyo", "this is its writable layer"),
            Reference(
                Kind.MOUNT,
                "",
                f"/var/lib/docker/overlay2/{_LAYER}/merged",
                "the layer is mounted there for writing",
            ),
        ),
    )


def _image(wish: Wish) -> Plan:
    return Plan(
        wish,
        "image acme/web:2.4.1",
        refused_because="in use: container shop-web-1 stands on it",
        instead="remove the container first, then the image",
        references=(Reference(Kind.CONTAINER, _WEB, "shop-web-1", "was made from this image"),),
    )


def _run(plan: Plan, _: Progress) -> Outcome:
    return Outcome(plan, done=False, why="A picture removes nothing.")


REMOVAL = Removal(plan, _run)
