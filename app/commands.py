"""What each command does: ask the rooms, hand the answer to the report or the screen."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence

from app import documents, report
from app.inventory import hot_rows, take_inventory, unreadable_paths
from app.model import Problem, Role, Store, Usage
from app.outline.figures import Figures
from app.outline.filesystems import headrooms, scarcer
from app.outline.order import Column, Order
from app.outline.units import units_of
from app.paper import Paper
from app.scan.job import ScanError, ScanJob, ScanNews
from app.scan.walk import Fence, Unit, read_fence
from app.stores.engine import EngineError
from app.stores.lookup import Answer, lookup
from app.stores.recognise import RootError
from app.stores.survey import Request, Survey, survey
from app.text import count

#: Exit statuses, a contract.
ANSWERED, NOTHING, FAILED = 0, 1, 2

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
    return [*found.problems, *(problem for store in found.stores for problem in store.problems)]


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
    report.complaints([*found.problems, *grave])
    return max((_status(answer, bool(grave)) for answer in answers), default=NOTHING)


def _status(answer: Answer, hidden: bool) -> int:
    """A script may remove what is nobody's, so "nobody's" must be sure.

    It is not where the layer is unknown, nor where nothing was found and some metadata could not
    be read.
    """
    if answer.layer and answer.layer.role is Role.UNKNOWN:
        return FAILED
    if answer.found:
        return ANSWERED
    return FAILED if hidden and not answer.layer else NOTHING


# --- report ---------------------------------------------------------------------------------------


def print_report(options: argparse.Namespace) -> int:
    """Print every layer with owner and figures; problems, on stderr, do not change the status."""
    try:
        found = _surveyed(options)
        figures = _measured_roots(found.stores)
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
                documents.report(found.stores, filesystems, inventory, found.problems, options.top)
            )
        )
    else:
        paper = Paper.on_stdout(options.ascii)
        for here in filesystems:
            report.filesystem(paper, here)
        for store in found.stores:
            report.root(paper, store, found.problems)
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


def _measured_roots(stores: Sequence[Store]) -> Figures:
    fence = read_fence()
    units: dict[bytes, Unit] = {}
    for store in stores:
        units.update((unit.path, unit) for unit in units_of(store, fence.points))
    return _measured(units.values(), fence)


def _measured(units: Iterable[Unit], fence: Fence) -> Figures:
    """Scan and wait for it. Raises _Failed when a worker is lost."""
    figures = Figures()
    with _sentences(), ScanJob(tuple(units), fence) as job, _Patience() as patience:
        news = ScanNews()
        while not news.done:
            news = job.wait(0.2)
            figures.finish(news.finished)
            patience.tell(news)
        if news.failed:
            raise ScanError(news.failed)
    return figures


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
            os.lstat(path)
            figures = _measured([Unit(path)], fence)
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
    report.complain_unreadable(unreadable, entries)
    return FAILED if entries else status
