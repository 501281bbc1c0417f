"""Several plans as one question: what will be carried out, what stays, and what a yes takes.

The plans of one question are carried out one after the other, so each is made for the world that
those before it leave behind (:mod:`app.cleanup.plan.simulate`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from app.cleanup.plan.model import Action, Confirmation, Frees, Place, Plan, Subject, Wish
from app.model import Kind

#: These remove all that lies at their path, and what they remove leaves nothing but files.
_WHOLE = frozenset(Action) - {Action.TRUNCATE}
_FILES = frozenset({Action.ERASE, Action.TRUNCATE})

#: Plans a wish in the world that these plans leave behind.
Replan = Callable[[Wish, Sequence[Plan]], Plan]


@dataclass(frozen=True, slots=True)
class Together:
    """What several plans come to.

    ``plans`` are carried out in their order. ``refused`` stay, each with its reason. ``covered``
    need nothing of their own, for one of ``plans`` removes them with what it removes.
    """

    plans: tuple[Plan, ...] = ()
    refused: tuple[Plan, ...] = ()
    covered: tuple[Plan, ...] = ()

    @property
    def all(self) -> tuple[Plan, ...]:
        """Every plan that was put in."""
        return (*self.plans, *self.refused, *self.covered)

    @property
    def frees(self) -> Frees:
        """The sum of what the plans free."""
        return sum((plan.frees for plan in self.plans), Frees())

    @property
    def word(self) -> str:
        """What to type: the word of each plan that asks for one, a space between; "" for none."""
        words = (plan.word for plan in self.plans if plan.confirmation is Confirmation.TYPED)
        return " ".join(dict.fromkeys(words))

    @property
    def offered_volumes(self) -> tuple[str, ...]:
        """Anonymous volumes that may go along."""
        return tuple(dict.fromkeys(name for plan in self.plans for name in plan.offers_volumes))

    @property
    def with_volumes(self) -> bool:
        """Whether the anonymous volumes go along."""
        return any(plan.wish.anonymous_volumes for plan in self.plans)

    @property
    def ask_again(self) -> tuple[str, ...]:
        """The sentences after which the user has to say yes once more; none once he insisted."""
        return tuple(dict.fromkeys(plan.ask_again for plan in self.plans if asks_again(plan)))


def asks_again(plan: Plan) -> bool:
    """Whether the plan is only carried out once its wish is ``insisted``."""
    return bool(plan.ask_again) and not plan.wish.insisted


def together(plans: Iterable[Plan]) -> Together:
    """Sort plans into those to carry out, those that stay, and those that another one covers."""
    checked = [_checked(plan) for plan in plans]
    possible = [plan for plan in checked if not plan.refused_because]
    covered = _covered(possible)
    return Together(
        tuple(plan for at, plan in enumerate(possible) if at not in covered),
        tuple(plan for plan in checked if plan.refused_because),
        tuple(plan for at, plan in enumerate(possible) if at in covered),
    )


def one_after_another(plans: Sequence[Plan], again: Replan) -> tuple[Plan, ...]:
    """The same plans, each as it will be once those before it have been carried out.

    So what several of them share counts once, and none of them is stopped for what one before it
    did. What is refused by itself stays refused.
    """
    possible = [at for at, plan in enumerate(plans) if not _checked(plan).refused_because]
    covered = {possible[at] for at in _covered([plans[at] for at in possible])}
    found, before = list(plans), list[Plan]()
    for at in possible:
        if at in covered:
            continue
        # What takes nothing that could be shared (a file, a volume) is the same in any order.
        if plans[at].takes and any(plan.takes for plan in before):
            found[at] = again(plans[at].wish, tuple(before))
        if not _checked(found[at]).refused_because:
            before.append(found[at])
    return tuple(found)


def _checked(plan: Plan) -> Plan:
    """A plan that cannot be confirmed, or does nothing, counts as refused."""
    if plan.refused_because:
        return plan
    if not plan.steps and not asks_again(plan):
        return replace(plan, refused_because="There is nothing to do.")
    if plan.confirmation is Confirmation.TYPED and not plan.word.strip():
        return replace(plan, refused_because="It has to be confirmed by a word, and there is none.")
    return plan


def _covered(plans: Sequence[Plan]) -> set[int]:
    """Which of these allowed plans need nothing of their own, for another one does it all."""
    covered: set[int] = set()
    for at in range(len(plans)):
        others = (other for other in range(len(plans)) if other != at and other not in covered)
        if any(_covers(plans, other, at) for other in others):
            covered.add(at)
    return covered


def _covers(plans: Sequence[Plan], outer: int, inner: int) -> bool:
    """Whether carrying out ``outer`` does all that ``inner`` wants; of two equals the first."""
    one, other = plans[outer], plans[inner]
    if asks_again(one) or asks_again(other):
        return False
    mine, theirs = _deeds(one), _deeds(other)
    if theirs and theirs <= mine:
        return theirs != mine or outer < inner
    whole = all(step.action in _WHOLE for step in one.steps)
    # Only files go with what they lie in: what the engine knows of a container does not.
    if not whole or not all(step.action in _FILES for step in other.steps):
        return False
    return _is_inside(other, one) or _places_inside(other, one) or _is_of(other, one)


def _deeds(plan: Plan) -> set[tuple[object, ...]]:
    deeds: set[tuple[object, ...]] = set()
    for step in plan.steps:
        deeds |= {(step.action, id_) for id_ in step.ids}
        deeds |= {(step.action, step.place.base, step.place.names)} if step.place else set()
    return deeds


def _is_of(inner: Plan, outer: Plan) -> bool:
    """Whether files go with their container: they name no other one than their own."""
    removed = {id_ for it in outer.steps if it.action is Action.REMOVE_CONTAINER for id_ in it.ids}
    return any(it.kind is Kind.CONTAINER and it.id in removed for it in inner.references)


def _is_inside(inner: Plan, outer: Plan) -> bool:
    path = inner.wish.path
    return inner.wish.subject is Subject.PATH and bool(outer.path) and _below(path, outer.path)


def _places_inside(inner: Plan, outer: Plan) -> bool:
    """Whether every file and directory of the one lies in one of the other."""
    erased = [_path(step.place) for step in outer.steps if step.place]
    places = [_path(step.place) if step.place else b"" for step in inner.steps]
    return bool(places) and all(any(_below(it, above) for above in erased) for it in places)


def _path(place: Place) -> bytes:
    return os.path.join(place.base, *place.names)


def _below(path: bytes, above: bytes) -> bool:
    return path.startswith(above.rstrip(b"/") + b"/")
