"""Carrying out a plan: the one place that changes anything.

It takes a plan that somebody has confirmed, makes it anew, and goes on only if nothing is
different; then it does the steps of the fresh plan, one by one, until one fails or somebody says
stop. What was done is told as it is, beside what the filesystem itself says.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock, Thread

from app.cleanup.execute.counter import Erased
from app.cleanup.execute.engine import CallFailed, EngineCalls
from app.cleanup.execute.erase import ALONE, Surroundings, erase, truncate
from app.cleanup.execute.free_space import space_of
from app.cleanup.execute.journal import Journal
from app.cleanup.execute.mount_changes import MountChanges
from app.cleanup.execute.outcome import Outcome, Progress
from app.cleanup.execute.remove_layer import erase_layer
from app.cleanup.plan.commands import quoted
from app.cleanup.plan.expected import left_behind
from app.cleanup.plan.model import Action, Frees, Plan, Step, changes
from app.cleanup.plan.reopen_path import Unreachable, path_of

#: Seconds between two looks whether somebody said stop while the engine is at work.
_LOOK = 0.1
_STOPPED = "Stopped before anything was removed."
_ENGINE = {
    Action.REMOVE_CONTAINER,
    Action.REMOVE_IMAGE,
    Action.PRUNE_CACHE,
    Action.REMOVE_VOLUME,
}


@dataclass(frozen=True, slots=True)
class _Done:
    """How one step ended: ``why`` is empty where it was carried out."""

    why: str = ""
    removed: Frees = field(default_factory=Frees)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Tools:
    """What a removal works with; ``watched`` where something goes without the daemon."""

    calls: EngineCalls
    progress: Progress
    journal: Journal
    watched: MountChanges | None


def execute(
    shown: Plan,
    renew: Callable[[], Plan],
    calls: EngineCalls,
    progress: Progress,
    journal: Journal,
) -> Outcome:
    """Carry out the plan that was confirmed, if a fresh one (``renew``) is still the same.

    ``renew`` need not measure: what was promised is what the shown plan says.
    Never touches anything where the two differ. What fails is told in the outcome, with what was
    done until then; nothing is undone, and no later step is tried.
    """
    if not shown.allowed:
        return Outcome(shown, done=False, why=_refusal(shown))
    if progress.stopped:
        return Outcome(shown, done=False, why=_STOPPED)
    progress.current = "looking at it once more"
    # It is not measured again: between that look and the deed nothing may take its time.
    now = replace(renew(), frees=shown.frees)
    if different := _different(shown, now):
        return Outcome(shown, done=False, why=different)
    if progress.stopped:
        return Outcome(shown, done=False, why=_STOPPED)
    watched = MountChanges(now.mounts) if _touches_disk(now) else None
    try:
        return _Execution(now, _Tools(calls, progress, journal, watched)).outcome()
    finally:
        if watched:
            watched.close()


def _touches_disk(plan: Plan) -> bool:
    return any(it.action not in _ENGINE for it in plan.steps)


def _refusal(plan: Plan) -> str:
    why = plan.refused_because or "this plan has no steps"
    return f"Nothing was removed: {why.rstrip('.')}. {plan.instead}".rstrip()


def _different(shown: Plan, now: Plan) -> str:
    """Why the plan cannot be carried out as it was confirmed, or ""."""
    found = changes(shown, now)
    if found:
        more = f" (and {len(found) - 1} more changes)" if len(found) > 1 else ""
        return (
            f"Nothing was removed, for something changed since you looked: {found[0]}{more}. "
            "Look at it again and decide anew."
        )
    return "" if now.allowed else _refusal(now)


class _Execution:
    """The steps of one fresh plan, in their order."""

    def __init__(self, plan: Plan, tools: _Tools) -> None:
        self._plan = plan
        self._calls = tools.calls
        self._progress = tools.progress
        self._journal = tools.journal
        self._watched = tools.watched
        self._notes: list[str] = []

    def outcome(self) -> Outcome:
        """Do the steps until one fails or somebody says stop."""
        before = space_of(self._plan.filesystem)
        removed, why, steps_done = Frees(), "", 0
        for step in self._plan.steps:
            if self._progress.stopped:
                why = _stopped(steps_done, len(self._plan.steps))
                break
            done = self._recorded(step)
            removed += done.removed
            self._notes += done.notes
            if done.why:
                why = done.why
                break
            steps_done += 1
        return Outcome(
            self._plan,
            done=not why,
            why=why,
            steps_done=steps_done,
            removed=removed,
            before=before,
            after=space_of(self._plan.filesystem),
            notes=(*self._notes, *self._journal.notes),
        )

    def _recorded(self, step: Step) -> _Done:
        """One step, with its lines in the journal, whatever comes of it."""
        before = space_of(self._plan.filesystem)
        progress = self._progress
        counted = progress.bytes, progress.inodes
        self._journal.begin(self._plan, step)
        result = "whodiff itself broke off; what was removed until then is gone"
        try:
            done = self._carry_out(step)
            result = done.why or "done"
        finally:
            removed = Frees(progress.bytes - counted[0], progress.inodes - counted[1])
            free = before, space_of(self._plan.filesystem)
            self._journal.end(self._plan, step, result, removed, free)
        return done

    def _carry_out(self, step: Step) -> _Done:
        if step.action in _ENGINE:
            return self._by_engine(step)
        try:
            return _told(step, self._on_disk(step))
        except Unreachable as why:
            return _Done(str(why))

    # On disk.

    def _on_disk(self, step: Step) -> Erased:
        """Raises Unreachable, with nothing of this step touched."""
        if step.place is None:
            raise Unreachable("A step without a place was not carried out. Look at it again.")
        around = ALONE
        if self._watched:
            around = Surroundings(
                step.upper,
                step.beside,
                partial(self._watched.in_use, step),
                partial(self._watched.hinders, step),
            )
        if step.action is Action.ERASE_LAYER:
            return erase_layer(step.place, step.link, self._progress, around)
        if step.action is Action.TRUNCATE:
            return truncate(step.place, self._progress)
        return erase(step.place, self._progress, around)

    # Through the engine.

    def _by_engine(self, step: Step) -> _Done:
        """One call, in a thread of its own: who says stop does not wait for the engine."""
        self._progress.current = step.shown
        answer: Future[str] = Future()
        gate = _Gate()

        def call() -> None:
            try:
                answer.set_result(self._call(step, self._calls_for(step, gate)))
            except BaseException as error:
                answer.set_exception(error)

        # A daemon: it must not keep whodiff from ending while the engine goes on.
        Thread(target=call, name="whodiff-engine-call", daemon=True).start()
        while not wait([answer], timeout=_LOOK).done:
            if self._progress.stopped:
                return _Done(_left(step, in_time=gate.close()))
        try:
            note = answer.result()
        except CallFailed as why:
            return _Done(str(why))
        return _Done(notes=(note,) if note else ())

    def _calls_for(self, step: Step, gate: _Gate) -> EngineCalls:
        return replace(
            self._calls,
            may_send=gate.go_through,
            daemon=self._plan.daemon,
            root=self._plan.wish.root,
            expects=step.expects,
        )

    def _call(self, step: Step, calls: EngineCalls) -> str:
        """Raises CallFailed."""
        note = self._order(step, calls)
        left = left_behind(step.goes)
        if left:
            more = f" and {len(left) - 1} more directories" if len(left) > 1 else ""
            where = os.fsdecode(left[0].path)
            raise CallFailed(
                f"The daemon says that it is gone, but {where}{more} is still on disk: see whose "
                f"it is with: whodiff which {quoted(left[0].path)}. {note}".rstrip()
            )
        return note

    def _order(self, step: Step, calls: EngineCalls) -> str:
        """Raises CallFailed."""
        if not step.expects:
            raise CallFailed(
                "A step that says nothing of its thing was not sent. Look at it again."
            )
        if step.action is Action.PRUNE_CACHE:
            return calls.prune_cache(step.ids)
        if len(step.ids) != 1:
            raise CallFailed("A step that names not one thing was not sent. Look at it again.")
        (one,) = step.ids
        if step.action is Action.REMOVE_CONTAINER:
            note = calls.remove_container(one, step.force, step.volumes)
            promised = self._plan.offers_volumes if step.volumes else ()
            return " ".join(filter(None, (note, calls.volumes_left(promised))))
        if step.action is Action.REMOVE_IMAGE:
            return calls.remove_image(one)
        return calls.remove_volume(one)


class _Gate:
    """Between who says stop and an order that is about to be sent: one of them comes first."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._sent = False
        self._closed = False

    def go_through(self) -> bool:
        """Whether the order may be sent; then it counts as sent."""
        with self._lock:
            self._sent = not self._closed
            return self._sent

    def close(self) -> bool:
        """From now on nothing is sent; whether that came in time."""
        with self._lock:
            self._closed = True
            return not self._sent


def _left(step: Step, *, in_time: bool) -> str:
    if in_time:
        return f"Stopped before the engine was told; this was not done: {step.shown}."
    return (
        "Stopped waiting: the engine was told already and goes on with it "
        f"({step.shown}); look again in a while."
    )


def _stopped(steps_done: int, steps: int) -> str:
    return f"Stopped after {steps_done} of {steps} steps; what was removed until then is gone."


def _told(step: Step, erased: Erased) -> _Done:
    """What came of a removal on disk, in words."""
    path = os.fsdecode(path_of(step.place)) if step.place else ""
    if erased.gone:
        return _Done(notes=(f"{path} was gone already.",))
    if erased.complete:
        return _Done(removed=erased.removed)
    notes = [*erased.sentences]
    if erased.stopped and not erased.rest:
        why = f"Stopped: part of {path} is gone, the rest is as it was; the same again finishes it."
    elif erased.stopped:
        why = f"Stopped: part of {path} is gone."
    elif erased.hindered:
        why = f"Part of {path} is gone, but {erased.hindered}"
    elif erased.left > 1:
        why = f"{erased.left} entries could not be removed; the first: {notes.pop(0)}"
    elif erased.moved and not notes:
        why = _moved(erased)
    else:
        why = notes.pop(0) if notes else f"{path} could not be removed wholly."
    if erased.moved and why != _moved(erased):
        notes.append(_moved(erased))
    if erased.rest:
        rest = os.fsdecode(erased.rest)
        why += f" What is left was put aside to {rest}; `whodiff plan` with that path finishes it."
    return _Done(why, erased.removed, tuple(notes))


def _moved(erased: Erased) -> str:
    what = "1 directory was" if erased.moved == 1 else f"{erased.moved} directories were"
    first = os.fsdecode(erased.moved_from)
    return (
        f"{what} moved out of it meanwhile by somebody else and left as they were; the first from "
        f"{first}. Look where it is now."
    )
