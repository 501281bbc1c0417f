"""What is swapped, moved or mounted at the worst moment of a removal: each guard by itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from app.cleanup.execute import aside, erase
from app.cleanup.execute import remove_layer as layers
from app.cleanup.execute import remove_tree as emptying
from app.cleanup.execute.engine import EngineCalls
from app.cleanup.execute.erase import Surroundings, truncate
from app.cleanup.execute.executor import execute
from app.cleanup.execute.journal import Journal
from app.cleanup.execute.mount_changes import MountChanges
from app.cleanup.execute.outcome import Progress
from app.cleanup.execute.remove_layer import erase_layer
from app.cleanup.plan.model import Action, Place, Plan, Step
from app.cleanup.plan.reopen_path import Unreachable
from app.cleanup.plan.resolve_path import Unreachable as NotReached
from app.cleanup.plan.resolve_path import reach
from app.host.mounts import read_all
from app.stores.remainders import NAME
from tests.unit.loop_disks import disk
from tests.unit.removals import Watched, entries, place, plan, unmounting
from tests.unit.scan_trees import mounted

ORPHAN, TOKEN = b"0123456789abcdef" * 4, b"ABCDEFGHIJKLMNOPQRSTUVWX27"


@pytest.fixture
def root() -> Iterator[bytes]:
    with unmounting() as path:
        yield path


def before(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, act: Callable[[], object]
) -> None:
    """Do something just before the first call of a function."""
    call, acts = getattr(module, name), [act]

    def acting(*arguments: Any) -> Any:
        while acts:
            acts.pop()()
        return call(*arguments)

    monkeypatch.setattr(module, name, acting)


def swap(path: bytes) -> Callable[[], None]:
    """Put something else in the place of a file or directory."""

    def swapping() -> None:
        os.rename(path, path + b"-was")
        if os.path.isdir(path + b"-was"):
            put(path + b"/canary")
        else:
            put(path)

    return swapping


def put(path: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(os.fsdecode(path)).write_bytes(b"precious")


# --- swapped --------------------------------------------------------------------------------------


def test_a_directory_that_is_swapped_as_it_is_opened_stays(
    root: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(root + b"/top/file")
    before(monkeypatch, erase, "open_fenced", swap(root + b"/top"))
    with pytest.raises(Unreachable, match="replaced just now"):
        erase.erase(place(root, b"top"), Progress())
    assert entries(root) == {b"top", b"top/canary", b"top-was", b"top-was/file"}


def test_a_log_that_is_swapped_as_it_is_opened_stays(
    root: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(root + b"/log")
    before(monkeypatch, erase, "reopened", swap(root + b"/log"))
    with pytest.raises(Unreachable, match="replaced just now"):
        truncate(place(root, b"log"), Progress())
    for name in ("log", "log-was"):
        assert Path(os.fsdecode(root), name).read_bytes() == b"precious"


@pytest.mark.parametrize("name", [b"file", b"directory"])
def test_what_is_swapped_as_it_is_put_aside_is_put_back(
    root: bytes, monkeypatch: pytest.MonkeyPatch, name: bytes
) -> None:
    put(root + b"/layer/diff/directory/inside")
    put(root + b"/layer/diff/file")
    there = place(root, b"layer", b"diff", name)
    before(monkeypatch, aside, "rename", swap(root + b"/layer/diff/" + name))
    with pytest.raises(Unreachable, match="replaced just now"):
        erase.erase(there, Progress(), Surroundings(beside=1))
    kept = entries(root + b"/layer")
    assert b"diff/" + name + (b"/canary" if name == b"directory" else b"") in kept
    assert b"diff/" + name + b"-was" in kept
    assert not any(NAME.search(it) for it in kept)


def test_what_is_moved_with_its_parent_as_it_is_put_aside_is_put_back(
    root: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(root + b"/layer/diff/parent/top/file")
    there = place(root, b"layer", b"diff", b"parent", b"top")

    def rescue() -> None:
        os.rename(root + b"/layer/diff/parent", root + b"/safe")

    before(monkeypatch, aside, "rename", rescue)
    with pytest.raises(Unreachable, match="moved just now"):
        erase.erase(there, Progress(), Surroundings(beside=1))
    assert b"safe/top/file" in entries(root)


def test_a_layer_that_is_swapped_as_it_is_opened_stays(
    root: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, link = orphan(root)
    before(monkeypatch, layers, "open_fenced", swap(root + b"/overlay2/" + ORPHAN))
    with pytest.raises(Unreachable, match="replaced just now"):
        erase_layer(there, link, Progress())
    kept = entries(root + b"/overlay2")
    assert {ORPHAN + b"/canary", ORPHAN + b"-was/diff/file", b"l/" + TOKEN} <= kept


def orphan(root: bytes) -> tuple[Place, Place]:
    put(root + b"/overlay2/" + ORPHAN + b"/diff/file")
    Path(os.fsdecode(root + b"/overlay2/" + ORPHAN + b"/link")).write_bytes(TOKEN)
    os.mkdir(root + b"/overlay2/l")
    os.symlink(b"../" + ORPHAN + b"/diff", root + b"/overlay2/l/" + TOKEN)
    return place(root, b"overlay2", ORPHAN), place(root, b"overlay2", b"l", TOKEN)


# --- moved ----------------------------------------------------------------------------------------


def test_a_new_directory_with_the_number_of_one_that_was_left_is_not_gone_up_to(
    root: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On ext4 a new directory gets the number of the one that was removed last."""
    monkeypatch.setattr(emptying, "_OPEN", 1)
    same = 0
    with disk("ext4", root) as home:
        for moment in range(2, 20):
            top, safe = home + b"/%d" % moment, home + b"/safe%d" % moment
            os.makedirs(top + b"/a/b/c/d/e")
            os.mkdir(safe)
            number = os.stat(top + b"/a/b").st_ino
            made: list[int] = []

            def act(top: bytes = top, safe: bytes = safe, made: list[int] = made) -> None:
                if not os.path.exists(top + b"/a/b/c"):
                    return
                os.rename(top + b"/a/b/c", safe + b"/c")
                os.rmdir(top + b"/a/b")
                os.mkdir(safe + b"/new")
                made.append(os.stat(safe + b"/new").st_ino)
                put(safe + b"/new/canary")
                os.rename(safe + b"/c", safe + b"/new/c")

            erase.erase(place(home, os.path.basename(top)), Watched(moment, act))
            same += made == [number]
            assert not made or os.path.exists(safe + b"/new/canary")
            assert not made or os.path.exists(safe + b"/new/c")
    assert same


# --- other filesystems ----------------------------------------------------------------------------


def test_a_subvolume_in_it_stays_and_so_does_the_way_to_it(root: bytes) -> None:
    """It has a device of its own without a mount."""
    with disk("btrfs", root) as home:
        os.makedirs(home + b"/top/way")
        inner = home + b"/top/way/sub"
        subprocess.run(["btrfs", "subvolume", "create", inner], check=True, capture_output=True)
        put(inner + b"/file")
        put(home + b"/top/file")
        result = erase.erase(place(home, b"top"), Progress())
        assert (result.complete, result.left) == (False, 1)
        kept = {b"top", b"top/way", b"top/way/sub", b"top/way/sub/file"}
        assert entries(home) == kept
        there = place(home, b"top", b"way", b"sub", b"file")
        with pytest.raises(Unreachable, match="another file system"):
            erase.erase(there, Progress())
        with pytest.raises(NotReached):
            reach(home, there.names)
        assert entries(home) == kept


# --- mounted --------------------------------------------------------------------------------------


@pytest.fixture
def changes() -> Iterator[MountChanges]:
    found = MountChanges(read_all()[0])
    yield found
    found.close()


@pytest.mark.parametrize("way", ["path", "link", "token", "bind"])
def test_what_was_mounted_since_the_last_look_is_put_back(
    root: bytes, monkeypatch: pytest.MonkeyPatch, changes: MountChanges, way: str
) -> None:
    there, link = orphan(root)
    os.mkdir(root + b"/at")
    os.symlink(b"overlay2/" + ORPHAN + b"/diff", root + b"/to")
    os.mkdir(root + b"/lower")
    path = {"link": root + b"/to", "token": root + b"/overlay2/l/" + TOKEN}.get(
        way, root + b"/overlay2/" + ORPHAN + b"/diff"
    )
    overlay = ("-t", "overlay", "overlay", "-o", b"lowerdir=%b:%b/lower" % (path, root))
    arguments = ("--bind", path) if way == "bind" else overlay
    step = Step(
        Action.ERASE_LAYER,
        place=there,
        link=link,
        known_as=(b"/" + ORPHAN + b"/", b"/" + TOKEN + b"/"),
    )
    around = Surroundings(in_use=lambda target: changes.in_use(step, target))
    with mounted("-t", "tmpfs", "unrelated", root + b"/lower"), monkeypatch.context() as patch:
        made = []

        def mount() -> None:
            made.append(mounted(*arguments, root + b"/at"))
            made[0].__enter__()

        before(patch, layers, "_linked", mount)
        with pytest.raises(Unreachable, match="mounted just now"):
            erase_layer(there, link, Progress(), around)
        assert os.path.exists(root + b"/at/file")
        made[0].__exit__(None, None, None)
    assert entries(root + b"/overlay2") == {
        *(b"l", b"l/" + TOKEN, ORPHAN, ORPHAN + b"/diff", ORPHAN + b"/diff/file"),
        ORPHAN + b"/link",
    }
    assert os.readlink(root + b"/overlay2/l/" + TOKEN) == b"../" + ORPHAN + b"/diff"


def test_another_mount_is_no_reason_to_stop(root: bytes, changes: MountChanges) -> None:
    there, link = orphan(root)
    step = Step(Action.ERASE_LAYER, place=there, link=link, known_as=(b"/" + ORPHAN + b"/",))
    around = Surroundings(
        in_use=lambda target: changes.in_use(step, target),
        hinders=lambda target: changes.hinders(step, target),
    )
    os.makedirs(root + b"/other")
    os.makedirs(root + b"/another")
    options = b"lowerdir=%b/other:%b/another" % (root, root)
    os.mkdir(root + b"/at")
    with mounted("-t", "overlay", "overlay", "-o", options, root + b"/at") as done:
        assert done
        assert erase_layer(there, link, Progress(), around).complete


def test_a_mount_that_was_there_before_is_no_reason(root: bytes) -> None:
    """The plan has looked at it; what cannot be told of it now is no news."""
    there, link = orphan(root)
    step = Step(Action.ERASE_LAYER, place=there, link=link, known_as=(b"/" + ORPHAN + b"/",))
    for name in (b"/other", b"/another", b"/at"):
        os.mkdir(root + name)
    options = b"lowerdir=%b/other:%b/another" % (root, root)
    with mounted("-t", "overlay", "overlay", "-o", options, root + b"/at") as done:
        assert done
        os.rename(root + b"/other", root + b"/elsewhere")
        changes = MountChanges(read_all()[0])
        try:
            around = Surroundings(in_use=lambda target: changes.in_use(step, target))
            assert erase_layer(there, link, Progress(), around).complete
        finally:
            changes.close()


def test_what_was_mounted_until_the_last_look_and_is_again_is_put_back(
    root: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that is started over and over: its mount was there before, and not at the look.

    The number of its device and all else is the same each time.
    """
    put(root + b"/layer/diff/top/file")
    for name in (b"/layer/work", b"/layer/merged", b"/lower"):
        os.makedirs(root + name)
    parts = b"lowerdir=%b/lower,upperdir=%b/layer/diff,workdir=%b/layer/work" % (root, root, root)
    point = root + b"/layer/merged"

    def mount() -> None:
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", parts, point], check=True)

    step = Step(
        Action.ERASE, place=place(root, b"layer", b"diff", b"top"), beside=1, known_as=(b"/layer/",)
    )
    mount()
    shown = replace(plan(root, step), mounts=read_all()[0])

    def look() -> Plan:
        subprocess.run(["umount", point], check=True)
        return replace(shown, mounts=read_all()[0])

    before(monkeypatch, erase, "put_aside", mount)
    done = execute(shown, look, EngineCalls("unix:///nowhere"), Progress(), Journal(None))
    assert "mounted just now" in done.why
    assert entries(root + b"/layer") > {b"diff/top", b"diff/top/file", b"merged/top/file"}


def test_what_is_mounted_in_it_meanwhile_ends_it(root: bytes, changes: MountChanges) -> None:
    for number in range(200):
        put(root + b"/layer/diff/top/%d/file" % number)
    step = Step(Action.ERASE, place=place(root, b"layer", b"diff", b"top"), beside=1)

    def mount() -> None:
        (rest,) = (it for it in os.listdir(root + b"/layer") if NAME.fullmatch(it))
        point = sorted(os.listdir(root + b"/layer/" + rest))[0]
        where = root + b"/layer/" + rest + b"/" + point
        subprocess.run([b"mount", b"-t", b"tmpfs", b"none", where], check=True)
        put(where + b"/precious")

    assert step.place
    result = erase.erase(
        step.place,
        Watched(60, mount),
        Surroundings(beside=1, hinders=lambda target: changes.hinders(step, target)),
    )
    assert "something was mounted in it meanwhile" in result.hindered
    assert not result.complete
    assert NAME.fullmatch(os.path.basename(result.rest))
    kept = entries(result.rest)
    assert len(kept) > 200
    assert any(it.endswith(b"/precious") for it in kept)
