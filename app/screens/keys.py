"""The explorer's keys: one list that the footer, the help and the command palette are made from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from textual.binding import Binding

from widgets.details_pane import Line, Section
from widgets.usage_tree import UsageTree


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """Keys that belong together, under a title in the help."""

    title: str
    bindings: tuple[Binding, ...]


def _hidden(key: str, action: str, description: str, tooltip: str) -> Binding:
    """A key that the footer has no room for."""
    return Binding(key, action, description, show=False, tooltip=tooltip)


#: The footer shows them in this order.
GROUPS = (
    KeyGroup(
        "whodiff",
        (
            Binding("question_mark", "help", "Help", key_display="?", tooltip="this page"),
            Binding("q", "app.quit", "Quit", tooltip="leave"),
            _hidden("ctrl+z", "app.suspend_process", "Suspend", "back to the shell; fg continues"),
        ),
    ),
    KeyGroup(
        "sort (the same key again turns the order round)",
        (
            Binding("s", "sort('bytes')", "Sort", tooltip="by bytes"),
            _hidden("C", "sort('inodes')", "Sort by inodes", "by inodes"),
            _hidden("n", "sort('name')", "Sort by name", "by name"),
            _hidden("a", "apparent", "Apparent sizes", "apparent sizes, or allocated ones"),
        ),
    ),
    KeyGroup(
        "look",
        (
            Binding(
                "slash",
                "filter",
                "Filter",
                key_display="/",
                priority=True,  # before the keys that are typed ahead
                tooltip="only rows with a word: name, tag, id, path, role",
            ),
            _hidden(
                "escape", "clear_filter", "Drop the filter", "drop the filter, or else the marks"
            ),
            Binding("v", "view", "View", tooltip="by owner, or by directory as du shows it"),
            Binding(
                "H",
                "hot",
                "Hot",
                tooltip="hot spots: the directories that hold the most themselves",
            ),
            Binding("i", "details", "Details", tooltip="all of this row, with the evidence"),
            _hidden("E", "errors", "Problems", "what could not be read, and who answered"),
        ),
    ),
    KeyGroup(
        "measure",
        (
            Binding("r", "rescan", "Rescan", tooltip="measure this row again"),
            _hidden(
                "R",
                "rescan_all",
                "Rescan",
                "read the names again, measure all but image layers that are the same",
            ),
            _hidden(
                "ctrl+r",
                "rescan_all(True)",
                "Rescan everything",
                "the same, and measure every image layer again",
            ),
            _hidden("w", "watch", "Watch", "who grows now: look again every few seconds"),
            Binding(
                "ctrl+c",
                "stop_scan",
                "Stop the scan",
                show=False,
                priority=True,
                tooltip="stop measuring and keep what was found, marked +",
            ),
        ),
    ),
    KeyGroup(
        "delete (a dialog first says what, how much, and who would notice)",
        (
            Binding("d", "remove", "Delete", tooltip="this row, or the marked rows"),
            _hidden("space", "mark", "Mark", "mark or unmark this row for one deletion of several"),
        ),
    ),
)

#: The keys of the hot spots' screen; its list moves as the tree does.
HOT = KeyGroup(
    "hot spots (H)",
    (
        Binding(
            "enter",
            "go",
            "Go there",
            key_display="enter",  # the toolkit's own sign is no ASCII
            tooltip="back to the tree, and to this directory",
        ),
        Binding("s", "sort", "Sort", tooltip="by bytes, or by inodes"),
        Binding(
            "escape,q,H", "back", "Back", key_display="esc", tooltip="back to the tree as it was"
        ),
    ),
)

BINDINGS = [binding for group in GROUPS for binding in group.bindings]

_NAMES = {
    "question_mark": "?",
    "slash": "/",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "backspace": "Bksp",
    "escape": "Esc",
    "ctrl+c": "Ctrl+C",
    "ctrl+r": "Ctrl+R",
    "ctrl+z": "Ctrl+Z",
}


def help_sections() -> list[Section]:
    """The page behind ``?``: every group of keys, then the mouse."""
    moving = KeyGroup("move", tuple(Binding.make_bindings(UsageTree.BINDINGS)))
    hot = KeyGroup(HOT.title, tuple(Binding.make_bindings(HOT.bindings)))
    pages = [GROUPS[0], moving, *GROUPS[1:], hot]
    sections = [Section(group.title, list(_lines(group.bindings))) for group in pages]
    sections[0] = Section(
        sections[0].title, [*sections[0].lines, Line("Ctrl+P", "every command, by its words")]
    )
    mouse = [
        Line("click", "choose a row; on its sign: open or close it"),
        Line("double", "open or close a row"),
        Line("heading", "sort by this column"),
    ]
    return [*sections, Section("mouse", mouse), _SIGNS]


_SIGNS = Section(
    "signs",
    [
        Line("12.0 GiB+", "at least this much: some of it is not measured"),
        Line("STATE", "mounted: its files are in use now; shared by 3: three images hold it"),
    ],
)


def _lines(bindings: Iterable[Binding]) -> Iterable[Line]:
    """One line an action, with all the keys that lead to it."""
    keys: dict[str, list[str]] = {}
    words: dict[str, str] = {}
    for binding in bindings:
        keys.setdefault(binding.action, []).append(_key_name(binding.key))
        words.setdefault(binding.action, binding.tooltip or _lower(binding.description))
    return [Line(" ".join(names), words[action]) for action, names in keys.items()]


def _key_name(key: str) -> str:
    return _NAMES.get(key) or (key.capitalize() if len(key) > 1 else key)


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:]
