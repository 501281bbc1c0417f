"""From a wish to what came of it: look, ask, do, tell. Nothing is done before the yes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from textual.app import App

from app.cleanup.execute.outcome import Outcome, Progress
from app.cleanup.plan.batch import Together, asks_again, together
from app.cleanup.plan.model import Plan, Subject, Wish
from app.screens.confirm import Answer, ConfirmScreen
from app.screens.dialogs import ResultScreen
from app.screens.plan_words import outcome_sections
from app.screens.waiting import LookingScreen, RunningScreen
from app.text import short_id


@dataclass(frozen=True, slots=True)
class Removal:
    """The two calls of the cleanup room that the screens make.

    ``plan`` looks at the world anew and changes nothing; the plans with the wish are those that
    will have been carried out before. ``run`` carries a plan out, after it has looked again; it
    counts in ``Progress`` and stops when told to there. Both take their time and are called in
    threads.
    """

    plan: Callable[[Wish, Sequence[Plan]], Plan]
    run: Callable[[Plan, Progress], Outcome]


async def remove(
    app: App[int],
    removal: Removal,
    wishes: Sequence[Wish],
    *,
    read_only: bool = False,
    ascii: bool = False,
) -> tuple[Outcome, ...]:
    """Plan, ask, and carry out what the user says yes to. Call it in a worker.

    Returns what came of the plans that were begun; nothing where the user said no.
    """
    asked: tuple[str, ...] = ()
    anew = False
    while True:
        plans = await app.push_screen_wait(LookingScreen(partial(_plan, removal), wishes))
        if plans is None:
            return ()
        question = together(plans)
        dialog = ConfirmScreen(question, asked=asked, anew=anew, read_only=read_only, ascii=ascii)
        answer = await app.push_screen_wait(dialog)
        anew = answer is Answer.VOLUMES
        if answer is Answer.VOLUMES:
            wishes = _with_volumes(wishes, plans, wanted=not question.with_volumes)
        elif answer is Answer.NO or read_only:
            return ()
        elif question.ask_again:
            asked = (*asked, *question.ask_again)
            wishes = _insisting(wishes, plans)
        else:
            return await _carry_out(app, removal, question)


async def _carry_out(app: App[int], removal: Removal, question: Together) -> tuple[Outcome, ...]:
    run = partial(_run, removal)
    outcomes = await app.push_screen_wait(RunningScreen(run, question.plans, Progress()))
    untouched = question.plans[len(outcomes) :]
    done = not untouched and all(outcome.done for outcome in outcomes)
    title = "deleted" if done else "not all was deleted"
    await app.push_screen_wait(ResultScreen(title, outcome_sections(outcomes, untouched)))
    return outcomes


def _with_volumes(
    wishes: Sequence[Wish], plans: Sequence[Plan], *, wanted: bool
) -> tuple[Wish, ...]:
    """The same wishes, with the anonymous volumes of those that have some or without."""
    return tuple(
        replace(wish, anonymous_volumes=wanted and bool(plan.offers_volumes))
        for wish, plan in zip(wishes, plans, strict=True)
    )


def _insisting(wishes: Sequence[Wish], plans: Sequence[Plan]) -> tuple[Wish, ...]:
    return tuple(
        replace(wish, insisted=wish.insisted or asks_again(plan))
        for wish, plan in zip(wishes, plans, strict=True)
    )


def _plan(removal: Removal, wish: Wish, before: Sequence[Plan]) -> Plan:
    """A plan in any case; an error of the planner's own is a refusal, never a crash."""
    try:
        return removal.plan(wish, before)
    except Exception as error:
        why = f"It could not be found out what refers to it: {_words(error)}."
        return Plan(wish, _title(wish), wish.path, why, "Press R, and try again.")


def _run(removal: Removal, plan: Plan, progress: Progress) -> Outcome:
    try:
        return removal.run(plan, progress)
    except Exception as error:
        why = f"The removal met an error of its own: {_words(error)}. Look at what is left of it."
        return Outcome(plan, done=False, why=why)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(".")


def _title(wish: Wish) -> str:
    return "this" if wish.subject is Subject.PATH else f"{wish.subject.value} {short_id(wish.id)}"
