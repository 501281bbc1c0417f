"""Each sentence of "What whodiff will never do" in the README has the tests that hold it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_TREE = Path(__file__).resolve().parents[2]
_SECTION = re.compile(r"^### What whodiff will never do\n(.*?)^## ", re.MULTILINE | re.DOTALL)

_CONFIRM, _REMOVAL = "tests/tui/test_confirm.py", "tests/tui/test_removal.py"
_PLANS, _USES, _ROOTS = (f"tests/engine/test_{it}.py" for it in ("plans", "uses", "roots"))
_ASIDE, _DAEMON = "tests/engine/test_aside.py", "tests/engine/test_daemon.py"
_PLANNER, _SNAPSHOTS = "tests/unit/test_planner.py", "tests/unit/test_snapshot_plans.py"
_EXECUTE = "tests/unit/test_execute.py"

#: How each sentence begins, and tests that go red when it is broken: ``file::test``.
HELD_BY: dict[str, tuple[str, ...]] = {
    "Delete without showing": (
        f"{_CONFIRM}::test_the_dialog_says_all_and_cancel_has_the_keys",
        f"{_CONFIRM}::test_a_plan_without_steps_cannot_be_confirmed",
    ),
    "Delete on Enter": (
        f"{_CONFIRM}::test_the_default_is_no",
        f"{_CONFIRM}::test_a_burst_of_enters_deletes_nothing",
        f"{_CONFIRM}::test_delete_waits_for_the_exact_word",
        f"{_CONFIRM}::test_the_word_taken_back_takes_delete_back",
    ),
    "Remove what has no safe answer": (f"{_PLANNER}::test_uncertain_layers_stay_with_the_reason",),
    "Touch a single file of an image layer": (
        f"{_PLANS}::test_files_in_image_init_and_cache_layers_never_go",
        f"{_SNAPSHOTS}::test_nothing_in_an_image_init_or_cache_snapshot_goes",
    ),
    "Remove files in the `diff` of a layer that is mounted": (
        f"{_PLANS}::test_files_of_a_stopped_container_stay_while_its_layer_is_mounted_anywhere",
        f"{_SNAPSHOTS}::test_a_mount_that_may_be_the_snapshot_s_keeps_its_files",
    ),
    "Remove without the daemon what a mount": (
        f"{_PLANS}::test_the_orphan_stays_while_anything_uses_it",
        f"{_USES}::test_a_relative_lower_directory",
        f"{_USES}::test_a_namespace_that_only_an_open_descriptor_keeps",
        f"{_USES}::test_a_loop_device_on_a_file_inside",
        f"{_USES}::test_an_active_swap_area",
        f"{_PLANNER}::test_where_not_even_root_may_look_it_is_said_what_helps",
    ),
    "Remove a snapshot's directory": (
        f"{_SNAPSHOTS}::test_no_path_ever_gives_a_raw_removal_of_a_snapshot",
        f"{_SNAPSHOTS}::test_blobs_and_containerd_s_own_stay",
    ),
    "Unlink a log": (f"{_PLANS}::test_logs_are_emptied_never_unlinked",),
    "Follow a symbolic link": (
        "tests/unit/test_erase.py::test_a_link_in_its_place_or_on_the_way_is_not_followed",
        "tests/unit/test_plan_world.py::test_no_way_leads_through_a_mount_of_the_same_device",
        f"{_ROOTS}::test_what_lies_behind_tmp_is_not_temporary",
        f"{_ROOTS}::test_one_directory_of_layers_is_the_store_of_whose_daemon_works_there",
    ),
    "Believe a data root": (
        f"{_ROOTS}::test_a_users_root_says_nothing_of_roots_layers",
        f"{_ROOTS}::test_a_users_fake_holds_nothing_up_and_the_real_daemon_does",
    ),
    "Empty a directory where a container": (
        f"{_ASIDE}::test_a_start_in_mid_removal_sees_all_of_it_or_nothing",
        f"{_ASIDE}::test_what_was_started_since_the_last_look_keeps_all_of_it",
        f"{_ASIDE}::test_what_a_container_moves_to_safety_meanwhile_is_safe",
    ),
    "Prune at large": ("tests/engine/test_execute.py::test_exactly_the_named_build_cache_records",),
    "Go on when something changed": (
        f"{_EXECUTE}::test_whatever_changed_since_the_confirmation_nothing_is_touched",
        f"{_PLANNER}::test_what_was_swapped_since_it_was_seen_stays",
    ),
    "Tell another daemon": (
        f"{_DAEMON}::test_no_order_reaches_another_daemon",
        f"{_DAEMON}::test_a_tag_that_was_moved_is_not_removed",
        f"{_DAEMON}::test_a_volume_that_was_made_anew_under_the_same_name_stays",
    ),
    'Say "removed"': (f"{_EXECUTE}::test_what_is_still_on_disk_is_not_called_removed",),
}


def promises() -> list[str]:
    """The sentences of that list, each on one line."""
    section = _SECTION.search((_TREE / "README.md").read_text())
    assert section
    items = re.split(r"^- ", section[1], flags=re.MULTILINE)[1:]
    return [" ".join(it.split()) for it in items]


def test_every_promise_is_held_by_a_test_and_every_entry_is_a_promise() -> None:
    for promise in promises():
        assert [it for it in HELD_BY if promise.startswith(it)], promise
    for beginning in HELD_BY:
        assert [it for it in promises() if it.startswith(beginning)], beginning


@pytest.mark.parametrize("test", sorted({it for tests in HELD_BY.values() for it in tests}))
def test_the_test_that_holds_a_promise_is_there(test: str) -> None:
    file, _, name = test.partition("::")
    found = re.search(rf"^(async )?def {name}\(", (_TREE / file).read_text(), re.MULTILINE)
    assert found, f"{file} has no test of that name"
