"""A made-up cleanup room for the screens: plans from a table, and a run that only tells."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from app.cleanup.execute.outcome import Outcome, Progress, Space
from app.cleanup.plan.model import Action, Confirmation, Frees, Plan, Step, Subject, Wish
from app.discovery.request import Request
from app.model import Kind, Reference
from app.screens.removal import Removal
from app.screens.wish import Wish as View
from app.tui import WhodiffApp

GIB = 1 << 30
ID = "3f9c12ab04de" + "0" * 52
BEFORE = Space(10 * GIB, 500 * GIB, 1_000, 30_000_000)
AFTER = Space(22 * GIB, 500 * GIB, 202_000, 30_000_000)


def container_plan(wish: Wish, name: str = "web-api-1", references: int = 2) -> Plan:
    """A running container with two anonymous volumes: it takes its id to be typed."""
    volumes = " --volumes" if wish.anonymous_volumes else ""
    command = f"docker rm --force{volumes} {wish.id or ID}"
    return Plan(
        wish,
        f"container {name}",
        path=b"/var/lib/docker/overlay2/" + b"9f2c" * 16,
        steps=(
            Step(
                Action.REMOVE_CONTAINER,
                command,
                ids=(wish.id or ID,),
                force=True,
                volumes=wish.anonymous_volumes,
            ),
        ),
        frees=Frees(12 * GIB, 201_993),
        confirmation=Confirmation.TYPED,
        word="3f9c12ab04de",
        consequences=(
            "It is running: it is killed, and what it has not saved is lost.",
            "What it wrote into its own layer is gone: logs, caches, uploads.",
        ),
        references=tuple(
            Reference(Kind.MOUNT, "", f"/mnt/{number}", "its layer is mounted there")
            for number in range(references)
        ),
        offers_volumes=("a" * 64, "b" * 64),
        filesystem=b"/",
    )


def volume_plan(wish: Wish) -> Plan:
    """A volume that nothing uses."""
    return Plan(
        wish,
        f"volume {wish.id}",
        path=b"/var/lib/docker/volumes/" + os.fsencode(wish.id),
        steps=(Step(Action.REMOVE_VOLUME, f"docker volume rm {wish.id}", ids=(wish.id,)),),
        frees=Frees(3 * GIB, 1_234),
        consequences=("Its data is gone for good.",),
    )


def image_plan(wish: Wish) -> Plan:
    """An image that a container stands on."""
    return Plan(
        wish,
        "image postgres:16",
        refused_because="A container stands on this image.",
        instead="Remove container shop-db-1 first.",
        references=(Reference(Kind.CONTAINER, ID, "shop-db-1", "was made from this image"),),
    )


def file_plan(wish: Wish) -> Plan:
    """Anything with a path: erased."""
    name = os.fsdecode(wish.path)
    return Plan(
        wish,
        f"folder {os.path.basename(name)}",
        path=wish.path,
        steps=(Step(Action.ERASE, f"rm -rf -- {name}", ids=(name,)),),
        frees=Frees(GIB, 20_000, least=True),
    )


def made_up(wish: Wish) -> Plan:
    """A plan for every kind of row."""
    plans: dict[Subject, Callable[[Wish], Plan]] = {
        Subject.CONTAINER: container_plan,
        Subject.IMAGE: image_plan,
        Subject.VOLUME: volume_plan,
        Subject.PATH: file_plan,
    }
    return plans[wish.subject](wish)


def done(plan: Plan, progress: Progress) -> Outcome:
    """It went as promised."""
    progress.entries, progress.bytes, progress.inodes = 7, plan.frees.bytes, plan.frees.inodes
    return Outcome(
        plan, done=True, steps_done=len(plan.steps), removed=plan.frees, before=BEFORE, after=AFTER
    )


@dataclass
class Room:
    """What the screens asked for and what was carried out.

    ``later`` plans what comes after other plans.
    """

    plan: Callable[[Wish], Plan] = made_up
    run: Callable[[Plan, Progress], Outcome] = done
    later: Callable[[Wish, Sequence[Plan]], Plan] = lambda wish, _before: made_up(wish)
    wishes: list[Wish] = field(default_factory=list)
    ran: list[Plan] = field(default_factory=list)

    @property
    def removal(self) -> Removal:
        def plan(wish: Wish, before: Sequence[Plan]) -> Plan:
            self.wishes.append(wish)
            return self.later(wish, before) if before else self.plan(wish)

        def run(plan: Plan, progress: Progress) -> Outcome:
            self.ran.append(plan)
            return self.run(plan, progress)

        return Removal(plan, run)


def until_stopped(plan: Plan, progress: Progress) -> Outcome:
    """Counts to 40, as one that meets a slow disk there, and waits to be told to stop."""
    pause = threading.Event()
    while not progress.stopped:
        if progress.entries < 40:
            progress.entries += 1
            progress.inodes += 1
            progress.bytes += 4096
            progress.current = f"/var/lib/docker/x/file-{progress.entries}"
        pause.wait(0.01)
    removed = Frees(progress.bytes, progress.inodes)
    return Outcome(plan, done=False, why="It was stopped: the rest stays.", removed=removed)


def erase_for_real(plan: Plan, progress: Progress) -> Outcome:
    """Unlink the one file that the wish names."""
    Path(os.fsdecode(plan.wish.path)).unlink()
    return done(plan, progress)


def again(plan: Callable[[Wish], Plan]) -> Callable[[Wish], Plan]:
    """The same plans, for things whose removal frees nothing."""

    def asking(wish: Wish) -> Plan:
        made = plan(wish)
        sentence = "It lies in the image below: nothing will be freed."
        steps = made.steps if wish.insisted else ()
        return replace(made, ask_again=sentence, steps=steps, frees=Frees())

    return asking


def main() -> int:
    """The explorer with the made-up room: ``python -m tests.tui.removals ROOT [--read-only]``.

    ``--told FILE`` gets a line for every removal that ended.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("--read-only", action="store_true")
    parser.add_argument("--ascii", action="store_true")
    parser.add_argument("--run", default="done")
    parser.add_argument("--told", type=Path)
    options = parser.parse_args()
    request = Request((os.fsencode(options.root),), offline=True)
    view = View(request, ascii=options.ascii, read_only=options.read_only)
    runs = {"done": done, "until-stopped": until_stopped}

    def run(plan: Plan, progress: Progress) -> Outcome:
        outcome = runs[options.run](plan, progress)
        if options.told:
            with options.told.open("a") as file:
                file.write(f"{progress.entries} {outcome.why}\n")
        return outcome

    app = WhodiffApp(view, Room(run=run).removal)
    app.run(mouse=False)
    return app.return_code or 0


if __name__ == "__main__":
    sys.exit(main())
