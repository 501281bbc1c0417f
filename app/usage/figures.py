"""Scan results by unit, and the figure of any set of units, kept until one of them changes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace

from app.model import Usage
from app.scan.tree import UnitResult, combined

Units = tuple[bytes, ...]


class Figures:
    """What is known so far of every unit; a set of units is added up with hard links once.

    A *part* is a single file in a unit, known without a scan: the unit, where it is in the same
    set, holds it already. A *recorded* figure stands in for a unit that was not measured yet.
    Of a unit whose inodes were counted before it was measured, the count stands in for its inodes
    until it is measured to its end: a set of units has the best that is known of each.
    """

    def __init__(self) -> None:
        self.results: dict[bytes, UnitResult] = {}
        self._running: dict[bytes, Usage] = {}
        self._counted: dict[bytes, int] = {}
        self._counting: dict[bytes, int] = {}
        self._sums: dict[Units, Usage | None] = {}
        self._asked_by: dict[bytes, set[Units]] = {}
        self._parts: dict[bytes, Usage] = {}
        self._recorded: dict[bytes, Usage] = {}

    def know(self, parts: Mapping[bytes, Usage], recorded: Mapping[bytes, Usage]) -> None:
        """Take what the stores say: single files by path, and recorded figures by unit."""
        self._parts, self._recorded = dict(parts), dict(recorded)
        self._sums.clear()

    def finish(self, results: Iterable[UnitResult]) -> None:
        """Take the results of finished units."""
        for result in results:
            self.results[result.key] = result
            self._running.pop(result.key, None)
            if not result.usage.partial:
                self._counted.pop(result.key, None)
                self._counting.pop(result.key, None)
            self._forget(result.key)

    def run(self, running: Mapping[bytes, Usage]) -> None:
        """Take the partial figures of the units under way; they replace the earlier ones.

        A unit that is measured again keeps its old figure until it is done.
        """
        for unit in {*self._running, *running}:
            self._forget(unit)
        self._running = dict(running)

    def count(self, counted: Mapping[bytes, int], counting: Mapping[bytes, int]) -> None:
        """Take exact numbers of inodes, and of the units being counted those so far."""
        for unit in {*counting, *counted}:
            self._forget(unit)
        self._counted.update(counted)
        self._counting.update(counting)

    def drop(self, units: Iterable[bytes]) -> None:
        """Forget units that are about to be measured anew."""
        for unit in units:
            self.results.pop(unit, None)
            self._running.pop(unit, None)
            self._counted.pop(unit, None)
            self._counting.pop(unit, None)
            self._forget(unit)

    def keep_only(self, units: Iterable[bytes]) -> None:
        """Forget every unit that is not in ``units``: its directory is gone."""
        self.drop({*self.results, *self._counted, *self._counting} - set(units))

    def of(self, units: Units) -> Usage | None:
        """The usage of ``units`` together, a lower bound (``partial``) while some are not done.

        None while nothing is known of any of them.
        """
        if units not in self._sums:
            self._sums[units] = self._with_known(units)
            for unit in units:
                self._asked_by.setdefault(unit, set()).add(units)
        return self._sums[units]

    def recorded(self, units: Units) -> bool:
        """Whether what :meth:`of` says of these units is recorded, in part at least."""
        return any(map(self._stands_in, units))

    def _stands_in(self, unit: bytes) -> bool:
        return unit in self._recorded and not (unit in self.results or unit in self._running)

    def _with_known(self, units: Units) -> Usage | None:
        """The sum, with parts and recorded figures."""
        asked = set(units)
        scanned = tuple(unit for unit in units if unit not in self._parts)
        known = [
            self._parts[unit]
            for unit in units
            if unit in self._parts and os.path.dirname(unit) not in asked
        ]
        known += [self._beside_count(unit) for unit in scanned if self._stands_in(unit)]
        total = self._sum(scanned)
        if not known:
            return total
        total = total or Usage(partial=True)
        for usage in known:
            total = add(total, usage)
        return total

    def _beside_count(self, unit: bytes) -> Usage:
        """What is recorded of a unit, without the inodes that were counted in it."""
        usage, inodes = self._recorded[unit], self._count(unit)
        if unit in self._counted:
            return replace(usage, inodes=0)
        return replace(usage, inodes=max(0, usage.inodes - inodes))

    def _sum(self, units: Units) -> Usage | None:
        done = [self.results[unit] for unit in units if unit in self.results]
        new = (unit for unit in units if unit not in self.results)
        running = [self._running[unit] for unit in new if unit in self._running]
        counts = [self._count(unit) for unit in units]
        if not done and not running and not any(counts):
            return None if units else Usage()
        total = combined(done)
        for usage in running:
            total = add(total, usage)
        return replace(
            total,
            inodes=total.inodes + sum(counts),
            partial=total.partial or len(done) < len(units),
            sized=bool(done or running),
        )

    def _count(self, unit: bytes) -> int:
        """The inodes that were counted in a unit beyond those that were measured."""
        count = self._counted.get(unit) or self._counting.get(unit, 0)
        if not count:
            return 0
        found = self.results[unit].usage if unit in self.results else self._running.get(unit)
        return max(0, count - (found.inodes if found else 0))

    def _forget(self, unit: bytes) -> None:
        for units in self._asked_by.pop(unit, ()):
            self._sums.pop(units, None)


def add(one: Usage, other: Usage) -> Usage:
    """Two figures that share no inode."""
    return Usage(
        one.bytes + other.bytes,
        one.apparent + other.apparent,
        one.inodes + other.inodes,
        one.exclusive_bytes + other.exclusive_bytes,
        one.exclusive_inodes + other.exclusive_inodes,
        one.unreadable + other.unreadable,
        one.partial or other.partial,
    )
