"""Several plans as one question: nothing is lost, nothing is done twice, no word is skipped."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from app.cleanup.plan.batch import together
from app.cleanup.plan.model import Action, Confirmation, Frees, Place, Plan, Step, Subject, Wish
from app.host.identity import Identity

ROOT = b"/d"


def engine(
    *ids: str, action: Action = Action.REMOVE_CONTAINER, path: bytes = b"", word: str = ""
) -> Plan:
    """A plan of one engine call."""
    return Plan(
        Wish(Subject.PATH, ROOT, path=path),
        " ".join(ids),
        path=path,
        steps=(Step(action, "docker x", ids=ids),),
        frees=Frees(10, 1),
        confirmation=Confirmation.TYPED if word else Confirmation.PLAIN,
        word=word,
    )


def erased(path: bytes, action: Action = Action.ERASE) -> Plan:
    """A plan that erases (or truncates) one path."""
    place = Place(ROOT, Identity(1, 2), tuple(path.split(b"/")[2:]), Identity(1, 3))
    wish = Wish(Subject.PATH, ROOT, path=path)
    return Plan(wish, "x", path=path, steps=(Step(action, "rm", place=place),), frees=Frees(10, 1))


def test_two_rows_of_one_container_are_one_removal() -> None:
    one, other = engine("a", path=b"/d/1"), engine("a", path=b"/d/2")
    found = together([one, other])
    assert (found.plans, found.covered) == ((one,), (other,))
    assert found.frees == Frees(10, 1)


def test_what_lies_inside_goes_with_what_it_lies_in() -> None:
    outer, inner, beside = erased(b"/d/x"), erased(b"/d/x/y"), erased(b"/d/xy")
    for order in ([outer, inner, beside], [inner, beside, outer]):
        found = together(order)
        assert set(found.plans) == {outer, beside}
        assert found.covered == (inner,)


def test_a_truncated_log_removes_nothing_beside_it() -> None:
    log, beside = erased(b"/d/c", Action.TRUNCATE), erased(b"/d/c/1.log.1")
    assert together([log, beside]).covered == ()


def test_a_record_that_goes_with_its_parent_is_not_pruned_twice() -> None:
    child = engine("c", action=Action.PRUNE_CACHE)
    both = engine("c", "p", action=Action.PRUNE_CACHE)
    assert together([child, both]).plans == (both,)
    assert together([both, child]).plans == (both,)


def test_two_that_share_a_step_are_both_carried_out() -> None:
    one = engine("c", "p", action=Action.PRUNE_CACHE)
    other = engine("c", "q", action=Action.PRUNE_CACHE)
    assert together([one, other]).plans == (one, other)


def test_a_container_does_not_go_with_a_folder() -> None:
    folder, container = erased(b"/d/x"), engine("a", path=b"/d/x/y")
    assert together([folder, container]).plans == (folder, container)


def test_a_file_goes_with_its_container() -> None:
    file, container = erased(b"/d/x/y"), engine("a", path=b"/d/x")
    assert together([file, container]).plans == (container,)


def test_a_refused_plan_covers_nothing() -> None:
    outer, inner = replace(erased(b"/d/x"), refused_because="in use"), erased(b"/d/x/y")
    found = together([outer, inner])
    assert (found.plans, found.refused) == ((inner,), (outer,))


def test_what_cannot_be_confirmed_is_refused() -> None:
    plan = engine("a", word="w")
    for odd in (replace(plan, word=""), replace(plan, word="  "), replace(plan, steps=())):
        found = together([odd])
        assert not found.plans
        assert found.refused[0].refused_because


def test_what_must_be_asked_twice_is_not_run_before() -> None:
    pending = replace(engine("a"), steps=(), ask_again="It frees nothing.")
    assert together([pending]).ask_again == ("It frees nothing.",)
    insisted = replace(engine("a"), ask_again="It frees nothing.")
    insisted = replace(insisted, wish=replace(insisted.wish, insisted=True))
    assert together([insisted]).ask_again == ()
    assert together([insisted]).plans == (insisted,)


def test_the_words_of_all_are_typed() -> None:
    plans = [engine("a", word="one"), engine("b"), engine("c", word="two")]
    assert together(plans).word == "one two"


paths = st.lists(st.sampled_from([b"a", b"b", b"ab"]), min_size=1, max_size=4).map(
    lambda names: b"/d/" + b"/".join(names)
)
plans = st.one_of(
    st.builds(erased, paths, st.sampled_from([Action.ERASE, Action.TRUNCATE])),
    st.builds(
        lambda ids, path, word: engine(*ids, path=path, word=word),
        st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True),
        paths,
        st.sampled_from(["", "w1", "w2"]),
    ),
    st.builds(lambda path: replace(erased(path), refused_because="no"), paths),
    st.builds(lambda path: replace(erased(path), steps=(), ask_again="really?"), paths),
)


def deeds(plan: Plan) -> set[object]:
    return {(step.action, it) for step in plan.steps for it in (*step.ids, step.place) if it}


def done_with(carried_out: tuple[Plan, ...], asked: list[Plan]) -> list[Plan]:
    """Every plan of which nothing is left once some are carried out: told in another way."""
    done = list(carried_out)
    for _ in asked:
        did = {deed for plan in done for deed in deeds(plan)}
        gone = [it.path for it in done if all(s.action is not Action.TRUNCATE for s in it.steps)]
        for plan in asked:
            files = all(step.action in (Action.ERASE, Action.TRUNCATE) for step in plan.steps)
            inside = any(plan.path.startswith(path + b"/") for path in gone)
            if deeds(plan) and (deeds(plan) <= did or (files and inside)) and plan not in done:
                done.append(plan)
    return done


@settings(max_examples=2000, deadline=None)
@given(st.lists(plans, max_size=8))
def test_every_plan_is_carried_out_refused_or_covered(asked: list[Plan]) -> None:
    found = together(asked)
    assert sorted(map(repr, found.all)) == sorted(map(repr, asked))
    assert list(found.plans) == [plan for plan in asked if any(plan is it for it in found.plans)]
    assert all(not plan.refused_because for plan in (*found.plans, *found.covered))
    assert bool(found.plans) or not found.covered, "what covers is carried out"
    assert all(plan in done_with(found.plans, asked) for plan in found.covered)
    for plan in found.plans:
        if plan.confirmation is Confirmation.TYPED:
            assert plan.word in found.word.split(" ")
