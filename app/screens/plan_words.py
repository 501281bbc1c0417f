"""What the dialogs of removal say, as plain sections: a plan before, an outcome after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.cleanup.execute.outcome import Outcome, Progress, Space
from app.cleanup.plan import commands as shell
from app.cleanup.plan.batch import Together
from app.cleanup.plan.model import Frees, Plan
from app.text import count, short_id, size
from widgets.details_pane import Line, Section
from widgets.reference_list import Group

READ_ONLY = "This is the plan only: whodiff runs with --read-only and removes nothing."


def frees_words(frees: Frees) -> str:
    """``12.0 GiB, 201,993 inodes``, with "at least" where it is a lower bound."""
    least = "at least " if frees.least else ""
    return f"{least}{size(frees.bytes)}, {_inodes(frees.inodes)}"


def _inodes(n: int) -> str:
    return f"{count(n)} inode{'' if n == 1 else 's'}"


# --- before ---------------------------------------------------------------------------------------


def question_sections(
    question: Together, asked: Sequence[str] = (), read_only: bool = False
) -> list[Section]:
    """What would be done; a refusal first, and before all ``asked``: why a second yes is needed."""
    only = read_only and question.plans
    sections = [Section("nothing goes", [Line("", READ_ONLY, "warn")])] if only else []
    if asked:
        sections.append(Section("once more", [Line("", it, "warn") for it in asked]))
    sections += [_refusal(plan) for plan in question.refused]
    if len(question.all) > 1 and question.plans:
        sections.append(_sum(question))
    sections += [_plan(plan) for plan in question.plans]
    sections += [
        Section(plan.title, [Line("covered", "goes with another of these things")])
        for plan in question.covered
    ]
    return sections


def _refusal(plan: Plan) -> Section:
    lines = [Line("refused", plan.refused_because, "warn")]
    if plan.instead:
        lines.append(Line("instead", plan.instead))
    lines += _path(plan)
    lines += [Line("note", sentence) for sentence in plan.consequences]
    lines += [Line("evidence", f"{it.source}: {it.says}", "dim") for it in plan.evidence]
    return Section(plan.title, lines)


def _sum(question: Together) -> Section:
    rows = [Line("", f"{frees_words(plan.frees)}  {plan.title}") for plan in question.plans]
    together = f"{frees_words(question.frees)}, the sum of these"
    title = f"{len(question.plans)} of {len(question.all)} marked things are removed"
    if len(question.plans) == len(question.all):
        title = f"{len(question.plans)} things are removed"
    return Section(title, [Line("frees", together), *rows])


def _plan(plan: Plan) -> Section:
    return Section(plan.title, list(_plan_lines(plan)))


def _plan_lines(plan: Plan) -> Iterator[Line]:
    yield from _path(plan)
    yield Line("frees", frees_words(plan.frees))
    if plan.kept.inodes:
        yield Line("leaves", f"{frees_words(plan.kept)}: the build cache alone keeps that")
    for sentence in plan.consequences:
        yield Line("means", sentence)
    if plan.offers_volumes:
        names = ", ".join(map(short_id, plan.offers_volumes))
        verb = "go too" if plan.wish.anonymous_volumes else "stay"
        yield Line("volumes", f"anonymous ones that {verb}: {names}")
    for command in plan.commands:
        yield Line("runs", command, command=True)
    if plan.steps and not plan.commands:
        yield Line("runs", shell.NONE)


def _path(plan: Plan) -> Iterator[Line]:
    if plan.path:
        yield Line("path", plan.path)


def reference_groups(question: Together) -> list[Group]:
    """What refers to each thing that would go or stays; one thing needs no heading."""
    plans = [plan for plan in question.all if plan not in question.covered]
    if len(plans) == 1:
        return [("", plans[0].references)]
    return [(plan.title, plan.references) for plan in plans]


# --- meanwhile ------------------------------------------------------------------------------------


def progress_sections(plans: Sequence[Plan], at: int, progress: Progress) -> list[Section]:
    """How far a removal is. The counts are its own: an engine says nothing until it is done."""
    promised = sum((plan.frees for plan in plans), Frees())
    removed = f"{size(progress.bytes)}, {_inodes(progress.inodes)}"
    lines = [
        Line("removed", f"{removed}; promised: {frees_words(promised)}"),
        Line("entries", count(progress.entries)),
        Line("now", progress.current or "..."),
    ]
    stopping = "Stopping: what is under way is finished first."
    lines.append(
        Line("", stopping if progress.stopped else "Escape or Ctrl+C stops before the next entry.")
    )
    number = f"{at + 1} of {len(plans)}: " if len(plans) > 1 else ""
    return [Section(f"{number}{plans[at].title}", lines)]


# --- after ----------------------------------------------------------------------------------------


def outcome_sections(outcomes: Sequence[Outcome], untouched: Sequence[Plan]) -> list[Section]:
    """What came of each plan, the failed ones first, and which ones were never begun."""
    ordered = sorted(outcomes, key=lambda outcome: outcome.done)
    sections = [Section(it.plan.title, list(_outcome_lines(it))) for it in ordered]
    for plan in untouched:
        sections.append(Section(plan.title, [Line("untouched", "it was not begun")]))
    return sections


def outcome_sentences(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """The same in one line, for the status line; the longest way to say it first."""
    for outcome in outcomes:
        if not outcome.done:
            return (f"not deleted: {outcome.why}",)
    freed = f"freed {_gain(outcomes)}" if _told(outcomes) else "deleted"
    promised = frees_words(sum((outcome.plan.frees for outcome in outcomes), Frees()))
    return f"{freed}; promised {promised}", freed


def _outcome_lines(outcome: Outcome) -> Iterator[Line]:
    if outcome.done:
        yield Line("done", "removed")
    else:
        yield Line("not done", outcome.why or "It did not come to an end.", "warn")
        steps = len(outcome.plan.steps)
        if steps > 1 or outcome.steps_done:
            yield Line("steps", f"{outcome.steps_done} of {steps} were carried out")
    if outcome.done or outcome.steps_done or outcome.removed != Frees():
        yield from _freed(outcome)
    for note in outcome.notes:
        yield Line("note", note, "warn")


def _freed(outcome: Outcome) -> Iterator[Line]:
    """The filesystem's own word beside the promise; others write to it too."""
    if _told([outcome]):
        yield Line("freed", f"{_gain([outcome])}, as the filesystem counts")
    elif outcome.removed != Frees():
        yield Line("freed", f"{frees_words(outcome.removed)}, as counted while removing")
    else:
        yield Line("freed", "the filesystem does not say")
    yield Line("promised", frees_words(outcome.plan.frees))


def _told(outcomes: Sequence[Outcome]) -> list[tuple[Space, Space]]:
    """What the filesystems said before and after, where they said something."""
    return [(it.before, it.after) for it in outcomes if it.before and it.after]


def _gain(outcomes: Sequence[Outcome]) -> str:
    told = _told(outcomes)
    gained = sum(after.bytes_free - before.bytes_free for before, after in told)
    inodes = sum(after.inodes_free - before.inodes_free for before, after in told)
    limited = any(after.inodes_total for _, after in told)
    counted = ((gained, size(abs(gained))), *([(inodes, _inodes(abs(inodes)))] if limited else []))
    # Others may have written more meanwhile than was removed, or still hold it open.
    more = [words for amount, words in counted if amount >= 0]
    less = [f"{words} fewer free" for amount, words in counted if amount < 0]
    return "; ".join(filter(None, (", ".join(more), *less)))
