"""Carrying out a plan: nothing unless it is still the same, then step by step, told as it is."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from app.cleanup.execute import journal as journal_module
from app.cleanup.execute.engine import CallFailed, EngineCalls
from app.cleanup.execute.executor import execute
from app.cleanup.execute.journal import Journal
from app.cleanup.execute.outcome import Outcome, Progress
from app.cleanup.plan.expected import seen
from app.cleanup.plan.model import Action, Frees, Plan, Step
from app.host.identity import Identity
from app.model import Daemon, Kind, Reference
from tests.unit.removals import Watched, entries, erasing, place, plan, unmounting
from tests.unit.scan_trees import flood

ID = "ab" * 32


@dataclass(frozen=True)
class Engine(EngineCalls):
    """Answers at once and remembers what it was told."""

    told: list[tuple[object, ...]] = field(default_factory=list)

    def _note(self, *call: object) -> str:
        assert self.may_send()
        self.told.append(call)
        return ""

    def remove_container(self, id: str, force: bool, volumes: bool) -> str:
        return self._note("container", id, force, volumes)

    def remove_image(self, ref: str) -> str:
        return self._note("image", ref)

    def remove_volume(self, name: str) -> str:
        return self._note("volume", name)

    def prune_cache(self, ids: Sequence[str]) -> str:
        return self._note("cache", *ids)


@pytest.fixture
def root() -> Iterator[bytes]:
    with unmounting() as made:
        yield made


@pytest.fixture(autouse=True)
def no_syslog(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This machine's own log hears nothing of the tests."""
    monkeypatch.setattr(journal_module, "_SYSLOG_SOCKET", str(tmp_path / "none"))


@pytest.fixture
def engine(root: bytes) -> Engine:
    return Engine(os.fsdecode(root))


def carry_out(
    shown: Plan,
    engine: EngineCalls,
    now: Plan | None = None,
    progress: Progress | None = None,
    journal: Journal | None = None,
) -> Outcome:
    return execute(
        *(shown, lambda: now or shown, engine, progress or Progress(), journal or Journal(None))
    )


def put(path: bytes) -> bytes:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(os.fsdecode(path)).write_bytes(b"x" * 10_000)
    return path


# --- whether at all -------------------------------------------------------------------------------


def test_the_same_plan_is_carried_out_and_the_figures_are_the_filesystems_own(
    root: bytes, engine: Engine
) -> None:
    put(root + b"/top/a/file")
    put(root + b"/canary")
    done = carry_out(erasing(root, b"top"), engine)
    assert (done.done, done.why, done.steps_done) == (True, "", 1)
    assert done.removed.inodes == 3
    assert done.before
    assert done.after
    assert done.before.bytes_total == done.after.bytes_total > 0
    assert entries(root) == {b"canary"}


CHANGES = {
    "reference": {"references": (Reference(Kind.CONTAINER, ID, "web", "it has begun to use it"),)},
    "steps": {"steps": ()},
    "title": {"title": "container other"},
    "refused": {"refused_because": "it runs now", "instead": "Stop it first."},
    "consequence": {"consequences": ("its data is lost",)},
    "word": {"word": "abcdef"},
    "volumes": {"offers_volumes": ("data",)},
}


@pytest.mark.parametrize("what", list(CHANGES))
def test_whatever_changed_since_the_confirmation_nothing_is_touched(
    root: bytes, engine: Engine, what: str, tmp_path: Path
) -> None:
    put(root + b"/top/file")
    shown = erasing(root, b"top")
    now = replace(shown, **CHANGES[what])  # type: ignore[arg-type]
    file = tmp_path / "journal"
    done = carry_out(shown, engine, now, journal=Journal(str(file)))
    assert (done.done, done.steps_done, done.removed) == (False, 0, Frees())
    assert "Nothing was removed" in done.why
    assert entries(root) == {b"top", b"top/file"}
    assert not file.exists()


def test_what_it_frees_may_change(root: bytes, engine: Engine) -> None:
    put(root + b"/top/file")
    shown = erasing(root, b"top")
    done = carry_out(shown, engine, replace(shown, frees=Frees(7, 7)))
    assert done.done
    assert done.plan.frees == shown.frees, "what was promised is what was shown"


def test_stop_is_heeded_after_the_second_look(root: bytes, engine: Engine) -> None:
    put(root + b"/top/file")
    shown, progress = erasing(root, b"top"), Progress()

    def look() -> Plan:
        progress.stop()
        return shown

    done = execute(shown, look, engine, progress, Journal(None))
    assert (done.done, done.why) == (False, "Stopped before anything was removed.")
    assert b"top/file" in entries(root)


def test_the_steps_of_the_fresh_plan_are_done(root: bytes, engine: Engine) -> None:
    """Their equality is the condition, and still it is the fresh one whose word counts."""
    put(root + b"/top/file")
    shown = erasing(root, b"top")
    put(root + b"/x")
    os.rename(root + b"/top", root + b"/aside")
    put(root + b"/top/canary")
    done = carry_out(shown, engine, erasing(root, b"top"))
    assert not done.done
    assert "changed since you looked" in done.why
    assert b"top/canary" in entries(root)


def test_a_refused_plan_and_one_without_steps_are_not_carried_out(
    root: bytes, engine: Engine
) -> None:
    put(root + b"/top/file")
    refused = replace(erasing(root, b"top"), refused_because="never", instead="Leave it.")
    for odd in (refused, plan(root)):
        done = carry_out(odd, engine)
        assert not done.done
        assert "Nothing was removed" in done.why
    assert "Leave it." in carry_out(refused, engine).why
    assert b"top/file" in entries(root)


def test_a_stop_before_it_began_is_heeded(root: bytes, engine: Engine) -> None:
    put(root + b"/top/file")
    progress = Progress()
    progress.stop()
    done = carry_out(erasing(root, b"top"), engine, progress=progress)
    assert not done.done
    assert b"top/file" in entries(root)


# --- steps ----------------------------------------------------------------------------------------


def test_a_step_that_fails_is_the_last_one(root: bytes, engine: Engine) -> None:
    for name in (b"one", b"two", b"three"):
        put(root + b"/" + name)
    good = [Step(Action.ERASE, "rm", place=place(root, name)) for name in (b"one", b"three")]
    bad = Step(Action.ERASE, "rm", place=replace(place(root, b"two"), identity=Identity(1, 1)))
    done = carry_out(plan(root, good[0], bad, good[1]), engine)
    assert (done.done, done.steps_done) == (False, 1)
    assert "something else lies there" in done.why
    assert done.removed.inodes == 1
    assert entries(root) == {b"two", b"three"}


def test_a_step_without_its_place_is_not_done(root: bytes, engine: Engine) -> None:
    for action in (Action.ERASE, Action.ERASE_LAYER, Action.TRUNCATE):
        assert not carry_out(plan(root, Step(action, "rm")), engine).done


def test_what_is_left_is_told(root: bytes, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    flood(root + b"/top", 3)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        done = carry_out(erasing(root, b"top"), engine)
    assert "3 entries could not be removed" in done.why
    assert len(done.notes) == 3
    assert "checkpoint" in done.notes[0]


def test_stopped_in_the_middle_it_says_how_to_finish(root: bytes, engine: Engine) -> None:
    flood(root + b"/top", 50)
    shown = erasing(root, b"top")
    done = carry_out(shown, engine, progress=Watched(20))
    assert not done.done
    assert "the same again finishes it" in done.why
    assert 0 < done.removed.inodes < 50
    assert carry_out(shown, engine).done


def test_stopped_between_steps(root: bytes, engine: Engine) -> None:
    steps = [Step(Action.REMOVE_IMAGE, "docker rmi", ids=(f"a:{n}",)) for n in range(3)]
    progress = Progress()

    class Stopping(Engine):
        def remove_image(self, ref: str) -> str:
            progress.stop()
            return super().remove_image(ref)

    stopping = Stopping(os.fsdecode(root))
    done = carry_out(plan(root, *steps), stopping, progress=progress)
    assert not done.done
    assert len(stopping.told) == 1


def test_what_was_gone_already_is_a_note(root: bytes, engine: Engine) -> None:
    put(root + b"/top")
    shown = erasing(root, b"top")
    os.unlink(root + b"/top")
    done = carry_out(shown, engine)
    assert done.done
    assert "gone already" in done.notes[0]


# --- the engine -----------------------------------------------------------------------------------


def test_each_action_is_its_call(root: bytes, engine: Engine) -> None:
    records = ("a" * 25, "b" * 25)
    steps = (
        Step(Action.REMOVE_CONTAINER, "docker rm", ids=(ID,), force=True),
        Step(Action.REMOVE_CONTAINER, "docker rm", ids=(ID,), volumes=True),
        Step(Action.REMOVE_IMAGE, "docker rmi", ids=("a:1",)),
        Step(Action.REMOVE_VOLUME, "docker volume rm", ids=("data",)),
        Step(Action.PRUNE_CACHE, "docker builder prune", ids=records),
    )
    done = carry_out(plan(root, *steps), engine)
    assert (done.done, done.steps_done) == (True, 5)
    assert engine.told == [
        ("container", ID, True, False),
        ("container", ID, False, True),
        ("image", "a:1"),
        ("volume", "data"),
        ("cache", *records),
    ]


@pytest.mark.parametrize("ids", [(), (ID, ID)])
@pytest.mark.parametrize(
    "action", [Action.REMOVE_CONTAINER, Action.REMOVE_IMAGE, Action.REMOVE_VOLUME]
)
def test_a_step_that_names_not_one_thing_is_not_sent(
    root: bytes, engine: Engine, action: Action, ids: tuple[str, ...]
) -> None:
    assert not carry_out(plan(root, Step(action, "docker", ids=ids)), engine).done
    assert not engine.told


def test_a_step_that_says_nothing_of_its_thing_is_not_sent(root: bytes, engine: Engine) -> None:
    step = Step(Action.REMOVE_VOLUME, "docker", ids=("data",))
    bare = replace(plan(root, step), steps=(step,))
    assert "was not sent" in carry_out(bare, engine).why
    assert not engine.told


def test_the_engine_is_told_whom_and_what_to_expect(root: bytes) -> None:
    told: list[EngineCalls] = []

    class Looking(Engine):
        def remove_volume(self, name: str) -> str:
            told.append(self)
            return super().remove_volume(name)

    daemon = Daemon("ID", b"/docker")
    shown = plan(root, Step(Action.REMOVE_VOLUME, "docker", ids=("data",)), daemon=daemon)
    assert carry_out(shown, Looking("")).done
    assert (told[0].daemon, told[0].root) == (daemon, root)
    assert told[0].expects == shown.steps[0].expects != ()


def test_what_is_still_on_disk_is_not_called_removed(
    root: bytes, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cleanup.plan.expected._PATIENCE", 0.3)
    os.makedirs(root + b"/volumes/data/_data")
    os.makedirs(root + b"/volumes/other")
    goes = seen([root + b"/volumes/data", root + b"/volumes/other", root + b"/none"])
    assert len(goes) == 2
    step = Step(Action.REMOVE_VOLUME, "docker", ids=("data",), goes=goes)
    done = carry_out(plan(root, step), engine)
    assert (done.done, done.steps_done) == (False, 0)
    assert f"{os.fsdecode(root)}/volumes/data and 1 more directories is still on disk" in done.why
    # It goes a moment later, and something new has taken a name.
    os.rmdir(root + b"/volumes/other")
    threading.Timer(0.1, lambda: os.rename(root + b"/volumes/data", root + b"/aside")).start()
    os.mkdir(root + b"/volumes/other")
    assert carry_out(plan(root, step), engine).done


def test_what_the_engine_refuses_is_told(root: bytes) -> None:
    class Refusing(Engine):
        def remove_volume(self, name: str) -> str:
            raise CallFailed(f"The engine did not remove volume {name}: it is in use.")

    steps = [Step(Action.REMOVE_VOLUME, "docker", ids=(name,)) for name in ("data", "next")]
    done = carry_out(plan(root, *steps), Refusing(os.fsdecode(root)))
    assert (done.done, done.steps_done) == (False, 0)
    assert done.why == "The engine did not remove volume data: it is in use."


@pytest.mark.parametrize("ticked", [True, False])
def test_it_is_asked_what_became_of_the_volumes_that_were_promised(
    root: bytes, ticked: bool
) -> None:
    class Keeping(Engine):
        def volumes_left(self, names: Sequence[str]) -> str:
            return f"It kept {', '.join(names)}." if names else ""

    step = Step(Action.REMOVE_CONTAINER, "docker rm", ids=(ID,), volumes=ticked)
    shown = replace(plan(root, step), offers_volumes=("one", "two"))
    done = carry_out(shown, Keeping(os.fsdecode(root)))
    assert done.done
    assert ("It kept one, two." in done.notes) == ticked


def test_what_was_odd_at_the_engine_is_a_note(root: bytes) -> None:
    class Odd(Engine):
        def remove_volume(self, name: str) -> str:
            return f"Volume {name} was gone already."

    step = Step(Action.REMOVE_VOLUME, "docker", ids=("data",))
    done = carry_out(plan(root, step), Odd(os.fsdecode(root)))
    assert done.done
    assert "Volume data was gone already." in done.notes


@pytest.mark.parametrize("sent", [True, False])
def test_stop_does_not_wait_for_the_engine(root: bytes, sent: bool) -> None:
    over, progress, may = threading.Event(), Progress(), []

    class Hanging(Engine):
        def remove_container(self, id: str, force: bool, volumes: bool) -> str:
            if sent:
                may.append(self.may_send())
            progress.stop()
            over.wait(60)
            if not sent:
                may.append(self.may_send())
            ended.set()
            return f"{id} {force} {volumes}"

    ended = threading.Event()
    step = Step(Action.REMOVE_CONTAINER, "docker rm web", ids=(ID,))
    try:
        done = carry_out(plan(root, step), Hanging(os.fsdecode(root)), progress=progress)
    finally:
        over.set()
    assert not done.done
    assert "docker rm web" in done.why
    assert ("goes on with it" if sent else "before the engine was told") in done.why
    # What was not sent before the stop is not sent after it either.
    assert ended.wait(60)
    assert may == [sent]


def test_a_mistake_of_whodiffs_own_is_not_hidden_and_stands_in_the_journal(
    root: bytes, tmp_path: Path
) -> None:
    class Broken(Engine):
        def remove_volume(self, name: str) -> str:
            raise RuntimeError(f"a mistake with {name}")

    step = Step(Action.REMOVE_VOLUME, "docker", ids=("data",))
    file = tmp_path / "journal"
    with pytest.raises(RuntimeError, match="a mistake"):
        carry_out(plan(root, step), Broken(os.fsdecode(root)), journal=Journal(str(file)))
    begin, end = lines_of(file)
    assert begin["phase"] == "begin"
    assert "broke off" in end["result"]


# --- the journal ----------------------------------------------------------------------------------


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_every_action_stands_in_the_journal_failed_ones_too(
    root: bytes, engine: Engine, tmp_path: Path
) -> None:
    put(root + b"/one")
    put(root + b"/two")
    good = Step(Action.ERASE, "rm one", place=place(root, b"one"))
    bad = Step(
        Action.TRUNCATE, "truncate two", place=replace(place(root, b"two"), identity=Identity(1, 1))
    )
    file = tmp_path / "journal"
    shown = plan(root, good, bad)
    carry_out(shown, engine, journal=Journal(str(file)))
    lines = lines_of(file)
    assert [(it["phase"], it["action"]) for it in lines] == [
        *(("begin", "erase"), ("end", "erase"), ("begin", "truncate"), ("end", "truncate"))
    ]
    assert lines[1]["result"] == "done"
    assert lines[1]["removed"]["inodes"] == 1
    assert lines[1]["path"] == os.fsdecode(root + b"/one")
    assert "not touched" in lines[3]["result"]


def test_the_line_before_is_there_when_the_first_entry_goes(
    root: bytes, engine: Engine, tmp_path: Path
) -> None:
    flood(root + b"/top", 3)
    file = tmp_path / "journal"
    seen: list[bool] = []
    progress = Watched(4, lambda: seen.append(file.exists() and len(lines_of(file)) == 1))
    carry_out(erasing(root, b"top"), engine, progress=progress, journal=Journal(str(file)))
    assert seen == [True]


def test_a_journal_that_fails_stops_nothing(root: bytes, engine: Engine) -> None:
    put(root + b"/top")
    done = carry_out(erasing(root, b"top"), engine, journal=Journal("/nowhere/journal"))
    assert done.done
    assert any("/nowhere/journal" in note for note in done.notes)
