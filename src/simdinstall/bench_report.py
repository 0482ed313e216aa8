"""What a benchmark found, as plain data: saved, read again, and shown by others."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from simdinstall.errors import UsageError
from simdinstall.measure import Difference
from simdinstall.samples import Comparison, geometric_mean

#: Version of the layout of a saved report.
SCHEMA = 1

SUITES = ("wide", "perf")


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """A participant as it presented itself. ``why`` where it could not be measured."""

    label: str
    title: str
    version: str = ""
    python: str = ""
    path: str = ""
    level: str = ""
    kernels: str = ""
    why: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Where it was measured. ``bandwidth`` maps bytes in use to bytes moved per second.

    ``fault`` is the cost of a fresh page of memory in seconds; ``core`` the one core that
    everything ran on, or ``None`` with the reason in ``unpinned``.
    """

    cpu: str
    cores: int
    system: str
    core: int | None
    unpinned: str
    bandwidth: tuple[tuple[int, float], ...]
    fault: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One row in one build.

    ``status`` is "ok", "absent" (the library has no such operation), "unavailable" (this build
    or environment lacks something), "failed" or "crashed", the reason in ``why``. ``seconds``
    are those of each round; ``comparison`` and ``difference`` are against stock.
    """

    label: str
    status: str
    why: str = ""
    seconds: tuple[float, ...] = ()
    calls: int = 0
    faults: float = 0.0
    comparison: Comparison | None = None
    difference: Difference | None = None
    kernels: tuple[str, ...] = ()
    remark: str = ""

    @property
    def median(self) -> float:
        """Seconds per call. Only where ``status`` is "ok"."""
        return statistics.median(self.seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One operation. ``floor`` is the least time, in seconds, that moving its bytes takes."""

    name: str
    group: str
    title: str
    pixels: int
    floor: float | None
    cells: tuple[Cell, ...]

    @property
    def suite(self) -> str:
        """The suite that it belongs to."""
        return self.name.partition("/")[0]

    def cell(self, label: str) -> Cell | None:
        """The cell of one build."""
        return next((cell for cell in self.cells if cell.label == label), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchReport:
    """Everything that a benchmark found."""

    schema: int
    tool: str
    created: str
    command: str
    quick: bool
    interrupted: bool
    seconds: float
    machine: Machine
    builds: tuple[Build, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def measured(self) -> tuple[Build, ...]:
        """The builds that took part, the one to compare with first."""
        return tuple(build for build in self.builds if not build.why)

    @property
    def suites(self) -> tuple[str, ...]:
        """The suites of which there are rows."""
        return tuple(dict.fromkeys(row.suite for row in self.rows))

    def ratios(self, label: str, rows: Iterable[Row] | None = None) -> list[float]:
        """How many times as fast as stock a build is, in each row where both were measured."""
        cells = (row.cell(label) for row in (self.rows if rows is None else rows))
        return [cell.comparison.ratio for cell in cells if cell is not None and cell.comparison is not None]

    def mean(self, label: str, rows: Iterable[Row] | None = None) -> float | None:
        """The geometric mean of :meth:`ratios`; ``None`` where there are none."""
        found = self.ratios(label, rows)
        return geometric_mean(found) if found else None

    @property
    def noisy(self) -> tuple[str, ...]:
        """The rows whose ratio could not be told from noise, in any build."""
        return tuple(
            row.name
            for row in self.rows
            if any(cell.comparison is not None and cell.comparison.verdict == "noisy" for cell in row.cells)
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The reverse of :meth:`to_json`. Raises :class:`UsageError` on any other shape or schema."""
        schema = data.get("schema") if isinstance(data, Mapping) else None
        if schema != SCHEMA:
            raise UsageError(f"the report has schema {schema!r}, not {SCHEMA}", hint="measure it again")
        try:
            values = dict(data)
            machine = dict(values["machine"])
            machine["bandwidth"] = tuple((int(size), float(rate)) for size, rate in machine["bandwidth"])
            values["machine"] = Machine(**machine)
            values["builds"] = tuple(Build(**build) for build in values["builds"])
            values["rows"] = tuple(_row_from(row) for row in values["rows"])
            values["notes"] = tuple(values["notes"])
            return cls(**values)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UsageError("the report has another shape than it says", why=str(error)) from error


def _row_from(data: Mapping[str, Any]) -> Row:
    cells = []
    for cell in data["cells"]:
        values = dict(cell)
        values["seconds"] = tuple(map(float, values["seconds"]))
        values["kernels"] = tuple(values["kernels"])
        values["comparison"] = Comparison(**values["comparison"]) if values["comparison"] else None
        values["difference"] = Difference(**values["difference"]) if values["difference"] else None
        cells.append(Cell(**values))
    return Row(**{**data, "cells": tuple(cells)})


def save(report: BenchReport, path: Path) -> None:
    """Write a report as JSON, whole or not at all. Raises :class:`UsageError` where it cannot be written."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written", why=str(error)) from error


def load(path: Path) -> BenchReport:
    """Read a saved report. Raises :class:`UsageError` where it is none, or of another schema."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as a report", why=str(error)) from error
    try:
        return BenchReport.from_json(data)
    except UsageError as error:
        raise UsageError(f"{path}: {error}", why=error.why, hint=error.hint) from error


def duration(seconds: float) -> str:
    """``40 s``, ``3 min``."""
    return f"{math.ceil(seconds / 5) * 5} s" if seconds < 90 else f"{round(seconds / 60)} min"
