"""A benchmark's report against an older one: what got slower or faster, beyond noise."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from simdinstall.bench_report import BenchReport, Cell
from simdinstall.peers import STOCK
from simdinstall.samples import median_bounds

#: The least change that two runs show of which one was quick.
QUICK_TOLERANCE = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One row of one build, now and before. ``factor`` above 1 is faster now."""

    name: str
    label: str
    before: float
    now: float
    factor: float
    noise: float
    verdict: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """A report against an older one. ``unit`` is "times stock" or "seconds"."""

    unit: str
    tolerance: float
    rows: tuple[Change, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def slower(self) -> tuple[Change, ...]:
        """Regressions past the tolerance and beyond noise, the worst first."""
        return tuple(sorted((r for r in self.rows if r.verdict == "slower"), key=lambda r: r.factor))

    @property
    def faster(self) -> tuple[Change, ...]:
        """Improvements past the tolerance and beyond noise, the best first."""
        return tuple(sorted((r for r in self.rows if r.verdict == "faster"), key=lambda r: -r.factor))

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def compare_reports(old: BenchReport, new: BenchReport, *, tolerance: float = 0.1) -> Changes:
    """What got slower or faster since ``old`` was saved.

    Ratios to stock are compared where both reports measured the same stock release, because
    they do not change with the machine's mood; seconds otherwise. A row has changed when the
    factor is further from 1 than ``tolerance`` and than the noise of both measurements, so
    that their bounds do not meet. A quick run sees changes above :data:`QUICK_TOLERANCE` only.
    """
    notes = []
    if (old.quick or new.quick) and tolerance < QUICK_TOLERANCE:
        tolerance = QUICK_TOLERANCE
        notes.append(f"a quick run does not see changes below {tolerance:.0%}")
    if old.machine.cpu != new.machine.cpu:
        notes.append(f"the older report was made on another CPU: {old.machine.cpu}")
    by_ratio = _base_version(old) is not None and _base_version(old) == _base_version(new)
    if not by_ratio:
        notes.append("the reports do not share a stock release, so times were compared, not ratios")
    before = {row.name: row for row in old.rows}
    labels = {build.label for build in new.measured} & {build.label for build in old.measured}
    rows = [
        change
        for row in new.rows
        if row.name in before
        for cell in row.cells
        if cell.label in labels
        and (past := before[row.name].cell(cell.label)) is not None
        and (change := _change(row.name, past, cell, by_ratio, tolerance)) is not None
    ]
    return Changes(
        unit="times stock" if by_ratio else "seconds",
        tolerance=tolerance,
        rows=tuple(rows),
        missing=tuple(name for name in before if all(row.name != name for row in new.rows)),
        added=tuple(row.name for row in new.rows if row.name not in before),
        notes=tuple(notes),
    )


def _base_version(report: BenchReport) -> str | None:
    return next((build.version for build in report.measured if build.label == STOCK), None)


def _change(name: str, past: Cell, cell: Cell, by_ratio: bool, tolerance: float) -> Change | None:
    if by_ratio:
        if past.comparison is None or cell.comparison is None:
            return None
        before, now = past.comparison.ratio, cell.comparison.ratio
        factor = now / before
        noise = past.comparison.half_width + cell.comparison.half_width
    else:
        if not past.seconds or not cell.seconds:
            return None
        before, now = past.median, cell.median
        factor = before / now
        noise = _scatter(past.seconds) + _scatter(cell.seconds)
    verdict = "same"
    if factor < 1 - tolerance and factor * (1 + noise) < 1:
        verdict = "slower"
    elif factor > 1 + tolerance and factor * (1 - noise) > 1:
        verdict = "faster"
    return Change(
        name=name, label=cell.label, before=before, now=now, factor=factor, noise=noise, verdict=verdict
    )


def _scatter(seconds: Sequence[float]) -> float:
    low, high = median_bounds(sorted(seconds))
    return (high - low) / 2 / statistics.median(seconds)
