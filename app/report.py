"""The answers as text, for people. What scripts read is made in :mod:`app.documents`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence

from app import wording
from app.cleanup.plan import commands as shell
from app.cleanup.plan.model import Confirmation, Frees, Plan
from app.inventory import HotRow, ImageRow, Inventory, LayerRow, OtherRow
from app.lookup.query import Answer
from app.model import (
    Container,
    Headroom,
    Kind,
    Layer,
    Owner,
    Problem,
    Reference,
    Role,
    Snapshot,
    Store,
    Usage,
    Volume,
)
from app.paper import Heading, Paper
from app.text import count, percent, safe, size
from app.usage.order import Order

#: So many problems are told one by one.
_MOST_PROBLEMS = 8
#: So many paths that could not be read are named on stderr; the rest is a number.
_MOST_PATHS = 10


def complain(sentence: str) -> None:
    """One sentence on stderr."""
    print(f"whodiff: {safe(sentence)}", file=sys.stderr)


def complaints(problems: Iterable[Problem]) -> None:
    """Each problem as a sentence on stderr: first those that hide owners, and not a screenful."""
    ranked = sorted(problems, key=lambda problem: not problem.hides_owners)
    sentences = list(dict.fromkeys(problem.sentence for problem in ranked))
    for sentence in sentences[:_MOST_PROBLEMS]:
        complain(sentence)
    if more := len(sentences[_MOST_PROBLEMS:]):
        complain(f"{count(more)} more such problems; `whodiff report --json` lists all of them.")


def complain_unreadable(paths: Sequence[str], entries: int) -> None:
    """What could not be measured, on stderr; ``entries`` counts also what is not in ``paths``."""
    for path in paths[:_MOST_PATHS]:
        complain(f"could not read {path}; it is not in the figures.")
    more = entries - len(paths[:_MOST_PATHS])
    if more > 0:
        complain(f"{count(more)} more entries could not be read and are not in the figures.")


# --- which ----------------------------------------------------------------------------------------


def which(paper: Paper, answers: Sequence[Answer]) -> None:
    """Each path with its owners first; then what refers to it, and the evidence last."""
    for index, answer in enumerate(answers):
        if index:
            paper.line()
        paper.line(os.fsdecode(answer.path), "bold")
        if answer.layer:
            paper.facts("role", [_role(answer.layer)])
        # A name says more than that there is something untagged.
        owners = sorted(answer.owners, key=lambda it: not it.name)
        paper.facts("owner", [owner_line(paper, it) for it in owners] or ["none found"])
        paper.facts("note", [paper.ids_in(answer.note)] if answer.note else [])
        if answer.layer:
            paper.fact("layer", os.fsdecode(answer.layer.path))
        if answer.layer and answer.layer.snapshot:
            paper.facts("snapshot", [_snapshot(paper, answer.layer.snapshot)])
        paper.facts("references", [_reference_line(paper, it) for it in answer.references])
        paper.facts("evidence", [paper.ids_in(words) for words in _evidence_lines(answer)])


def _snapshot(paper: Paper, it: Snapshot) -> str:
    """``6285bfcf2046 in namespace moby, committed, recorded 28.0 KiB in 11 inodes``."""
    words = f"{paper.ids_in(it.key)} in namespace {it.namespace}, {it.kind}"
    if it.recorded:
        words += f", recorded {size(it.recorded.bytes)} in {count(it.recorded.inodes)} inodes"
    return words


def _role(layer: Layer) -> str:
    words = [layer.role.value]
    if layer.mounts:
        words.append("mounted now")
    if not layer.active:
        words.append("in a store that the engine does not use now")
    return ", ".join(words)


def owner_line(paper: Paper, owner: Owner) -> str:
    """``container web-1, running, image acme/web:2, compose shop/web, id 3f9c12ab04de``."""
    words = [_kind_and_name(paper, owner)]
    words += [owner.state] if owner.state else []
    words += [f"image {owner.image}"] if owner.image else []
    words += [f"containerd namespace {owner.namespace}"] if owner.namespace else []
    words += [f"also {', '.join(owner.tags[1:])}"] if len(owner.tags) > 1 else []
    if owner.compose_project or owner.compose_service:
        words.append(f"compose {owner.compose_project}/{owner.compose_service}")
    if owner.name and owner.name != owner.id:
        words.append(f"id {paper.id(owner.id)}")
    return ", ".join(words)


def _kind_and_name(paper: Paper, owner: Owner) -> str:
    name = owner.name or paper.id(owner.id)
    match owner.kind:
        case Kind.LOG:
            return f"log of container {name}"
        case Kind.IMAGE if not owner.name:
            return f"untagged image {name}"
    return f"{owner.kind.value} {name}"


def _reference_line(paper: Paper, it: Reference) -> str:
    known = it.name and it.name != it.id
    return f"{it.kind.value} {it.name if known else paper.ids_in(it.id)}: {it.why}"


def _evidence_lines(answer: Answer) -> list[str]:
    """Files below the data root go by their path inside it: the root is known."""
    places = answer.store.root.places if answer.store else (b"/",)
    roots = [os.fsdecode(place).rstrip("/") + "/" for place in places]
    return [f"{_inside(it.source, roots)}: {it.says}" for it in answer.evidence]


def _inside(source: str, roots: Sequence[str]) -> str:
    root = next((root for root in roots if source.startswith(root)), "")
    return source.removeprefix(root)


# --- plan -----------------------------------------------------------------------------------------


def plans(paper: Paper, answers: Sequence[tuple[bytes, Plan]]) -> None:
    """Each removal: whether it may be, what it does and frees, by which call, who would notice."""
    for index, (asked, it) in enumerate(answers):
        if index:
            paper.line()
        paper.line(os.fsdecode(asked), "bold")
        paper.facts("remove", [paper.ids_in(it.title)])
        paper.facts("allowed", [paper.ids_in(_allowed(it))])
        paper.facts("instead", [paper.ids_in(it.instead)] if it.instead else [])
        if not it.refused_because:
            paper.facts("frees", [_freed(it.frees)])
            kept = f"{_freed(it.kept)}: the build cache alone keeps that"
            paper.facts("leaves", [kept] if it.kept.inodes else [])
        paper.facts("means", [paper.ids_in(words) for words in it.consequences])
        for command in it.commands:
            # Whole, to be copied.
            paper.fact("command", command)
        if it.steps and not it.commands:
            paper.facts("command", [shell.NONE])
        paper.facts("references", [_reference_line(paper, one) for one in it.references])
        root = os.fsdecode(it.wish.root).rstrip("/") + "/"
        proofs = [f"{one.source.removeprefix(root)}: {one.says}" for one in it.evidence]
        paper.facts("evidence", [paper.ids_in(words) for words in proofs])


def _allowed(it: Plan) -> str:
    if it.refused_because:
        return f"no: {it.refused_because}"
    if it.ask_again:
        return "only when asked for twice, for it frees nothing"
    if it.confirmation is Confirmation.TYPED:
        return f"yes, confirmed by typing {it.word}"
    return "yes"


def _freed(it: Frees) -> str:
    return f"{'at least ' if it.least else ''}{size(it.bytes)}, {_number(it.inodes, 'inode')}"


# --- report ---------------------------------------------------------------------------------------


def filesystem(paper: Paper, it: Headroom) -> None:
    """One filesystem in a line, with the warning words at 80 and 90 percent."""
    parts = [f"{os.fsdecode(it.mount)}  {it.fstype} {it.device}".rstrip()]
    parts.append(f"bytes {_part(it.bytes_used, it.bytes_free, size)}")
    if it.inodes_total:
        parts.append(f"inodes {_part(it.inodes_used, it.inodes_free, count)}")
    else:
        parts.append("inodes: no limit on this filesystem")
    paper.parts(parts)


def _part(used: int, free: int, written: Callable[[int], str]) -> str:
    share = percent(used, free)
    return f"{written(used)} of {written(used + free)} {share}%{_word(share)}"


def _word(share: int) -> str:
    return " LOW" if share >= 90 else " FILLING" if share >= 80 else ""


def root(paper: Paper, store: Store, told: Iterable[Problem]) -> None:
    """The data root's line: path, driver, who answered. A reason that is told apart is left out."""
    who, _, reason = store.witnesses.partition(": ")
    if reason in {problem.sentence for problem in told}:
        reason = ""
    words = f"{who}: {reason}" if reason else who
    places = " + ".join(map(os.fsdecode, store.root.places))
    paper.line(f"{places}  {store.root.driver or '-'}  ({words})", "bold")


def layers(paper: Paper, rows: Sequence[LayerRow], order: Order) -> None:
    """Every layer: figures, role, state, owner, id; its root where there are several."""
    if not rows:
        paper.line("no layers that whodiff can name")
        return
    headings = [
        Heading("APPARENT" if order.apparent else "BYTES", figure=True),
        Heading("INODES", figure=True),
        Heading("ROLE"),
        Heading("STATE"),
        Heading("OWNER", gives_way=True),
        Heading("LAYER"),
    ]
    several = len({row.store.root.path for row in rows}) > 1
    paper.table(
        [*headings, Heading("ROOT", gives_way=True)] if several else headings,
        [
            [
                *_figures(row.usage, order.bytes_of(row.usage)),
                row.layer.role.value,
                _state(row.layer),
                row.label or "-",
                paper.id(row.layer.id),
                *([os.fsdecode(row.store.root.path)] if several else []),
            ]
            for row in rows
        ],
    )


def hot(paper: Paper, rows: Sequence[HotRow], order: Order) -> None:
    """The fullest single directories: what lies directly in them, whose they are, where."""
    headings = [
        Heading("APPARENT" if order.apparent else "BYTES", figure=True),
        Heading("INODES", figure=True),
        Heading("OWNER"),
        Heading("DIRECTORY", gives_way=True),
    ]
    paper.table(
        headings,
        [
            [
                *_figures(row.own, order.bytes_of(row.own)),
                row.label or "-",
                os.fsdecode(row.answer.path),
            ]
            for row in rows
        ],
    )


def _figures(usage: Usage, allocated: int) -> list[str]:
    """Bytes and inodes; with a sign where some of it could not be read: at least so much."""
    sign = "+" if usage.unreadable or usage.partial else ""
    return [size(allocated) + sign, count(usage.inodes) + sign]


def _state(layer: Layer) -> str:
    """The container's state, or what else is worth knowing beside the role."""
    owner = next((it for it in layer.owners if it.kind is Kind.CONTAINER), None)
    if owner and layer.role in (Role.WRITABLE, Role.INIT):
        return wording.owner_state(owner)
    words = wording.layer_state(layer)
    says_no_more = words == layer.role.value or layer.role is Role.PENDING_REMOVAL
    return "-" if says_no_more else words


def images(paper: Paper, rows: Sequence[ImageRow], order: Order) -> None:
    """Where containerd keeps them: what each image takes unpacked, and once more compressed."""
    if not any(row.image.blobs for row in rows):
        return
    headings = [
        *(Heading(title, figure=True) for title in ("UNPACKED", "OWN", "COMPRESSED", "OWN")),
        Heading("IMAGE", gives_way=True),
    ]
    paper.table(
        headings,
        [
            [
                *(
                    _figures(usage, order.bytes_of(usage))[0]
                    for usage in (
                        row.unpacked,
                        row.unpacked_own,
                        row.compressed,
                        row.compressed_own,
                    )
                ),
                row.label,
            ]
            for row in rows
        ],
    )
    paper.line()


def others(paper: Paper, rows: Sequence[OtherRow], order: Order) -> None:
    """Volumes with their users, and the containers' own directories (logs, settings)."""
    if not rows:
        return
    headings = [
        Heading("APPARENT" if order.apparent else "BYTES", figure=True),
        Heading("INODES", figure=True),
        Heading("KIND"),
        Heading("STATE"),
        Heading("NAME", gives_way=True),
        Heading("DETAIL", gives_way=True),
    ]
    # A terminal has no room for two ids of 64 digits; a pipe and --json have.
    with_path = paper.console is None
    paper.table(
        [*headings, Heading("PATH")] if with_path else headings,
        [
            [
                *_figures(row.usage, order.bytes_of(row.usage)),
                row.owner.kind.value,
                _holder_state(row.holder),
                row.label,
                _detail(row.holder),
                *([os.fsdecode(row.path)] if with_path else []),
            ]
            for row in rows
        ],
    )
    paper.line()


def _holder_state(holder: Volume | Container) -> str:
    if isinstance(holder, Volume):
        return "in use" if holder.users else "unused"
    return wording.container_state(holder)


def _detail(holder: Volume | Container) -> str:
    if isinstance(holder, Container):
        return "logs and settings"
    words = [wording.owner_name(it) for it in holder.users]
    words += [f"data is in {holder.backing}"] if holder.backing else []
    return ", ".join(words) or "-"


def sums(paper: Paper, inventory: Inventory, top: int | None) -> None:
    """The last lines: what the rows of each sort take together, and everything."""
    it = inventory.sums
    volumes = sum(row.owner.kind is Kind.VOLUME for row in inventory.others)
    containers = len(inventory.others) - volumes
    whose = "daemons'" if it.blobs.inodes else "Docker's"
    lines = [
        (it.layers, _number(len(inventory.layers), "layer") + _shown(len(inventory.layers), top)),
        (it.volumes, _number(volumes, "volume")),
        (it.containers, f"logs and settings of {_number(containers, 'container')}"),
        *([(it.blobs, "compressed blobs of images")] if it.blobs.inodes else []),
        (it.rest, f"{whose} own files"),
        (it.total, "total"),
    ]
    paper.columns(
        [Heading("BYTES", figure=True), Heading("INODES", figure=True), Heading("SUM")],
        [[*_figures(usage, usage.bytes), words] for usage, words in lines],
    )


def _number(n: int, what: str) -> str:
    return f"{count(n)} {what}" + ("" if n == 1 else "s")


def _shown(rows: int, top: int | None) -> str:
    return f", {count(top)} of them shown" if top and top < rows else ""


# --- du -------------------------------------------------------------------------------------------


def du(paper: Paper, rows: Mapping[bytes, Usage]) -> None:
    """Exact figures of each path, to the byte and to the inode."""
    figures = (Heading(title, figure=True) for title in ("BYTES", "APPARENT", "INODES"))
    paper.columns(
        [*figures, Heading("PATH")],
        [
            [str(it.bytes), str(it.apparent), str(it.inodes), os.fsdecode(path)]
            for path, it in rows.items()
        ],
    )
