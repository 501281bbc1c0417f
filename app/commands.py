"""What each command does: ask the rooms, hand the answer to the report or the screen."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

from app import documents, report
from app.cleanup.plan.model import Plan
from app.cleanup.plan.planner import make_plan, wish_for
from app.discovery.classify import RootError
from app.engine.inventory import EngineError
from app.host import looks
from app.inventory import hot_rows, take_inventory, unreadable_paths
from app.lookup.query import Answer, lookup
from app.model import Problem, Role, Store, Usage
from app.paper import Paper
from app.scan.cache import Kept
from app.scan.cache_file import Entry
from app.scan.fingerprint import marks_of
from app.scan.job import ScanError, ScanJob, ScanNews
from app.scan.walk import Fence, Unit, read_fence
from app.survey import Request, Survey, survey
from app.text import count
from app.usage.figures import Figures
from app.usage.filesystems import headrooms, scarcer
from app.usage.order import Column, Order
from app.usage.units import unchanging, units_of

#: Exit statuses, a contract.
ANSWERED, NOTHING, FAILED = 0, 1, 2

#: Roles that are decided by evidence, whatever else could not be read.
_PROVEN = (Role.UNREFERENCED, Role.PENDING_REMOVAL)

_HOT = 20  # directories that report --hot names without --top
_PATIENCE = 1.0  # seconds of silence before a scan says how far it is


def order_of(options: argparse.Namespace, stores: Sequence[Store]) -> Order:
    """The wanted order; without ``--sort`` whatever the data root's filesystem is shorter of."""
    if options.sort:
        column = Column(options.sort)
        return Order(column, column is not Column.NAME, options.apparent)
    return Order(scarcer(headrooms(stores).values()), True, options.apparent)


class _Failed(Exception):
    """A sentence that ends the command with status 2."""


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    """Errors that have a sentence end the command with it."""
    try:
        yield
    except (RootError, EngineError, ScanError) as error:
        raise _Failed(str(error)) from error


def _surveyed(options: argparse.Namespace) -> Survey:
    with _sentences():
        return survey(Request.of(options))


def _problems(found: Survey) -> list[Problem]:
    return [*_of_host(found), *(problem for store in found.stores for problem in store.problems)]


def _of_host(found: Survey) -> tuple[Problem, ...]:
    """What was found out before any data root was read, and what does not answer by now."""
    return tuple(dict.fromkeys((*found.problems, *looks.problems())))


# --- which ----------------------------------------------------------------------------------------


def which(options: argparse.Namespace) -> int:
    """Print whose each path is. The status is the worst of its answers: 2 unsure, 1 nobody's."""
    try:
        found = _surveyed(options)
    except _Failed as failed:
        report.complain(str(failed))
        return FAILED
    answers = [
        answer for path in options.paths for answer in lookup(os.fsencode(path), found.stores)
    ]
    if options.json:
        print(documents.dump([documents.answer(answer) for answer in answers]))
    else:
        report.which(Paper.on_stdout(options.ascii), answers)
    grave = [problem for problem in _problems(found) if problem.hides_owners]
    report.complaints([*_of_host(found), *grave])
    return max((status_of(answer, found) for answer in answers), default=NOTHING)


def status_of(answer: Answer, found: Survey) -> int:
    """A script may remove what is nobody's, so "nobody's" must be sure.

    It is not where the layer is unknown, nor where nothing was found and some metadata could not
    be read, unless what could be read decides.
    """
    role = answer.layer.role if answer.layer else None
    if role is Role.UNKNOWN or not answer.sure:
        return FAILED
    if answer.found or answer.own:
        return ANSWERED
    unread = _problems(found)
    if answer.store:
        unread = [*found.problems, *answer.store.problems]
    hidden = any(problem.hides_owners for problem in unread)
    return FAILED if hidden and role not in _PROVEN else NOTHING


# --- report ---------------------------------------------------------------------------------------


def print_report(options: argparse.Namespace) -> int:
    """Print every layer with owner and figures; problems, on stderr, do not change the status."""
    try:
        found = _surveyed(options)
        figures = _measured_roots(found.stores, not options.no_cache)
    except _Failed as failed:
        report.complain(str(failed))
        return FAILED
    order = order_of(options, found.stores)
    if options.hot:
        return _print_hot(options, found, figures, order)
    inventory = take_inventory(found.stores, figures, order)
    filesystems = list({here.mount: here for here in headrooms(found.stores).values()}.values())
    if options.json:
        print(
            documents.dump(
                documents.report(found.stores, filesystems, inventory, _of_host(found), options.top)
            )
        )
    else:
        paper = Paper.on_stdout(options.ascii)
        for here in filesystems:
            report.filesystem(paper, here)
        for store in found.stores:
            report.root(paper, store, _of_host(found))
        paper.line()
        report.layers(paper, inventory.layers[: options.top], order)
        paper.line()
        report.images(paper, inventory.images[: options.top], order)
        report.others(paper, inventory.others[: options.top], order)
        report.sums(paper, inventory, options.top)
    report.complaints(_problems(found))
    report.complain_unreadable(list(unreadable_paths(figures)), inventory.sums.total.unreadable)
    return ANSWERED


def _print_hot(options: argparse.Namespace, found: Survey, figures: Figures, order: Order) -> int:
    """Print the fullest single directories, wherever they are."""
    rows = hot_rows(found.stores, figures, order, options.top or _HOT)
    if options.json:
        print(documents.dump(documents.hot(rows)))
    else:
        report.hot(Paper.on_stdout(options.ascii), rows, order)
    report.complaints(_problems(found))
    return ANSWERED


def _measured_roots(stores: Sequence[Store], cache: bool) -> Figures:
    """Every unit's figures; those of image layers from an earlier run where they still hold."""
    fence = read_fence()
    units = {unit.path: unit for store in stores for unit in units_of(store, fence.points)}
    closed = {path for store in stores for path in unchanging(store) if path in units}
    kept = Kept(cache)
    kept.open([store.root.path for store in stores])
    marks = marks_of(closed, fence)
    figures = Figures()
    figures.finish(kept.still_good(marks))
    if figures.results:
        _tell(
            f"{len(figures.results)} of {len(units)} directories are image layers measured before"
        )
    walked = [unit for path, unit in units.items() if path not in figures.results]
    _measure(walked, fence, figures)
    results = ((marks.get(unit.path), figures.results.get(unit.path)) for unit in walked)
    kept.keep([Entry(mark, result) for mark, result in results if mark and result], read_fence())
    kept.save(units)
    return figures


def _tell(words: str) -> None:
    """Something to know for who looks on; scripts are not bothered."""
    if sys.stderr.isatty():
        print(f"whodiff: {words}; --no-cache measures them again.", file=sys.stderr)


def _measure(units: Sequence[Unit], fence: Fence, figures: Figures) -> None:
    """Scan into ``figures`` and wait for it. Raises _Failed when a worker is lost."""
    with _sentences(), ScanJob(units, fence) as job, _Patience() as patience:
        news = ScanNews()
        while not news.done:
            news = job.wait(0.2)
            figures.finish(news.finished)
            patience.tell(news)
        if news.failed:
            raise ScanError(news.failed)


class _Patience:
    """One line on a terminal's stderr about a scan that takes its time; wiped at the end."""

    def __init__(self) -> None:
        self._width = 0

    def tell(self, news: ScanNews) -> None:
        """Say how far the scan is."""
        if news.done or news.elapsed < _PATIENCE or not sys.stderr.isatty():
            return
        done = f"{news.units_done} of {news.units_total} directories"
        self._write(f"scanning: {count(news.entries)} entries, {done}")

    def _write(self, words: str) -> None:
        print(f"\r{words:<{self._width}}", end="", file=sys.stderr, flush=True)
        self._width = len(words)

    def __enter__(self) -> _Patience:
        return self

    def __exit__(self, *_: object) -> None:
        if self._width:
            self._write("")
            print("\r", end="", file=sys.stderr, flush=True)


# --- du -------------------------------------------------------------------------------------------


def du(options: argparse.Namespace) -> int:
    """Print the figures of any directory; 2 when one cannot be read, what was found stands."""
    fence = read_fence()
    rows: dict[bytes, Usage] = {}
    unreadable: list[str] = []
    status = ANSWERED
    for path in dict.fromkeys(map(os.fsencode, options.paths)):
        try:
            looks.lstat(path)
            figures = Figures()
            _measure([Unit(path)], fence, figures)
        except OSError as error:
            report.complain(f"cannot measure {os.fsdecode(path)}: {error.strerror}.")
            status = FAILED
            continue
        except _Failed as failed:
            report.complain(str(failed))
            return FAILED
        rows[path] = figures.of((path,)) or Usage(partial=True)
        unreadable += unreadable_paths(figures)
    if options.json:
        print(documents.dump(documents.du(rows)))
    elif rows:
        report.du(Paper.on_stdout(options.ascii), rows)
    entries = sum(usage.unreadable for usage in rows.values())
    report.complaints(looks.problems())
    report.complain_unreadable(unreadable, entries)
    return FAILED if entries else status


# --- plan -----------------------------------------------------------------------------------------


def plan(options: argparse.Namespace) -> int:
    """Print what each removal would do. A refusal is an answer; 1 when a path matched nothing."""
    try:
        found = _surveyed(options)
    except _Failed as failed:
        report.complain(str(failed))
        return FAILED
    plans: list[tuple[bytes, Plan]] = []
    status = ANSWERED
    for asked in map(os.fsencode, options.paths):
        wishes = wish_for(asked, found)
        plans += ((asked, make_plan(wish, found)) for wish in wishes)
        if not wishes:
            answer = lookup(asked, found.stores)[0]
            report.complain(answer.note)
            status = max(status, NOTHING if answer.sure else FAILED)
    if options.json:
        print(documents.dump([documents.plan(asked, it) for asked, it in plans]))
    else:
        report.plans(Paper.on_stdout(options.ascii), plans)
    report.complaints([*_of_host(found), *(it for it in _problems(found) if it.hides_owners)])
    return status
