"""Measure what each build of Pillow gains, row by row.

Every participant runs in a process of its own, all on one core, in turns; see
:mod:`simdinstall.measure`. The suite is run several times over with new processes, because
how memory happens to lie in one process can make it faster or slower for its whole life.
The result is a :class:`BenchReport`: plain data that can be saved, compared with another,
and shown (:mod:`simdinstall.bench_table`, :mod:`simdinstall.bench_html`).
"""

from __future__ import annotations

import json
import math
import os
import platform
import random
import re
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from simdinstall import __version__, measure
from simdinstall.errors import SimdinstallError, TargetError, UsageError
from simdinstall.measure import (
    SAME_WITHIN,
    Comparison,
    Difference,
    Effort,
    Operation,
    Prepared,
    Probe,
    ProbeDied,
    ProbeError,
    Sample,
    compare_samples,
    geometric_mean,
)
from simdinstall.peers import INSTALLED, STOCK, Participant
from simdinstall.progress import Progress, silent
from simdinstall.verify import LEVELS, kernel_names

#: Version of the layout of a saved report.
SCHEMA = 1

SUITES = ("wide", "perf")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What to measure and how hard. ``ops`` is a regular expression on the rows' names."""

    suites: tuple[str, ...] = ("wide",)
    ops: str | None = None
    quick: bool = False
    core: int | None = None

    @property
    def passes(self) -> int:
        """How often everything is measured anew, in new processes."""
        return 1 if self.quick else 3

    @property
    def same_within(self) -> float:
        """The least change that is called one. A quick run sees large changes only."""
        return 0.15 if self.quick else SAME_WITHIN

    @property
    def effort(self) -> Effort:
        """The time for a row in one pass."""
        return (
            Effort(rounds=2, slice=0.003)
            if self.quick
            else Effort(rounds=3, most=14, precision=0.01, budget=0.8, slice=0.006)
        )


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


# --- measuring


def run_bench(
    participants: Sequence[Participant],
    options: Options,
    *,
    folder: Path,
    cpu: str = "",
    command: str = "simdinstall bench",
    progress: Progress = silent,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> BenchReport:
    """Measure all participants; the first that runs is the one the others are compared with.

    ``folder`` is for encoded files and outcomes, some 100 MB. ``cpu`` is the CPU's name.
    Ctrl-C ends the measuring and keeps what there is. Raises :class:`UsageError` where no row
    fits ``options.ops``, :class:`TargetError` where the installed Pillow does not run.
    """
    started = clock()
    session = _Session(participants, options, folder, progress, clock)
    try:
        session.run()
    except KeyboardInterrupt:
        session.interrupted = True
        if not session.rows:
            raise
    finally:
        session.end()
    return BenchReport(
        schema=SCHEMA,
        tool=__version__,
        created=now().isoformat(timespec="seconds"),
        command=command,
        quick=options.quick,
        interrupted=session.interrupted,
        seconds=clock() - started,
        machine=session.machine(cpu),
        builds=tuple(session.builds[one.label] for one in participants),
        rows=session.table(),
        notes=tuple(dict.fromkeys(session.notes)),
    )


@dataclass(kw_only=True, slots=True)
class _Record:
    """What is known of one row in one build so far."""

    status: str = "ok"
    why: str = ""
    seconds: list[float] = field(default_factory=list)
    passes: list[int] = field(default_factory=list)
    faults: list[float] = field(default_factory=list)
    calls: int = 0
    first: Prepared | None = None
    difference: Difference | None = None


class _Session:
    """The state of one run."""

    def __init__(
        self,
        participants: Sequence[Participant],
        options: Options,
        folder: Path,
        progress: Progress,
        clock: Callable[[], float],
    ) -> None:
        self.options = options
        self.folder = folder
        self.progress = progress
        self.clock = clock
        self.interrupted = False
        self.notes: list[str] = []
        self.builds = {
            one.label: Build(label=one.label, title=one.title, why=one.why) for one in participants
        }
        self.probes = {
            one.label: Probe(one.build, folder=folder) for one in participants if one.build is not None
        }
        self.running: dict[str, Probe] = {}
        self.referee: Probe | None = None
        self.known: dict[str, frozenset[str]] = {}
        self.rows: dict[str, Operation] = {}
        self.records: dict[tuple[str, str], _Record] = {}
        self.core: int | None = None
        self.unpinned = ""
        self.figures: dict[str, Any] = {"bandwidth": [], "fault": 0.0}
        self.base = STOCK

    # --- the run

    def run(self) -> None:
        """All passes over all rows."""
        self.progress("starting")
        self._start_all()
        operations = self._catalogue()
        self._make_assets(operations)
        self.figures = self._referee().ask("machine")
        total = len(operations) * self.options.passes
        begun, done = self.clock(), 0
        spent: dict[str, float] = {}
        for number in range(self.options.passes):
            if number:
                self._start_all()
            order = in_order(operations, number)
            for place, (suite, operation) in enumerate(order):
                ahead = order[place:] + operations * (self.options.passes - number - 1)
                left = time_left(spent, [row.name for _, row in ahead])
                self.progress(f"{operation.group}: {operation.title}{left}", done, total)
                row_begun = self.clock()
                self.rows.setdefault(operation.name, operation)
                self._measure(suite, operation, first=number == 0)
                spent[operation.name] = self.clock() - row_begun
                done += 1
        self.progress(f"measured in {self.clock() - begun:.0f} s", total, total)

    def _start_all(self) -> None:
        self.close()
        for label, probe in self.probes.items():
            if self.builds[label].why:
                continue
            try:
                probe.start()
            except (ProbeDied, ProbeError) as error:
                self._refuse(label, _reason(error))
                continue
            self.running[label] = probe
            self.builds[label] = _presented(self.builds[label], probe)
        if not self.running:
            raise TargetError("nothing can be measured", why="; ".join(b.why for b in self.builds.values()))
        if self.base not in self.running:
            self.base = next(iter(self.running))
            if STOCK in self.builds:
                self.notes.append(
                    f"compared with {self.builds[self.base].title}, as stock Pillow is missing:"
                    f" {self.builds[STOCK].why}"
                )
        self.core, self.unpinned = measure.pin(tuple(self.running.values()), self.options.core)

    def _refuse(self, label: str, why: str) -> None:
        if label == INSTALLED:
            raise TargetError(
                f"{self.builds[label].title} does not run",
                why=why,
                hint="install it again with `simdinstall`",
            )
        self.builds[label] = replace(self.builds[label], why=why)

    def _catalogue(self) -> list[tuple[str, Operation]]:
        try:
            wanted = re.compile(self.options.ops or "", re.IGNORECASE)
        except re.error as error:
            raise UsageError(
                f"--ops {self.options.ops!r} is no regular expression", why=str(error)
            ) from error
        rows: list[tuple[str, Operation]] = []
        for suite in self.options.suites:
            if suite not in SUITES:
                raise UsageError(f"there is no suite {suite!r}", hint=f"the suites are {', '.join(SUITES)}")
            for label, probe in self.running.items():
                names = frozenset(operation.name for operation in measure.catalogue(probe, suite))
                self.known[label] = self.known.get(label, frozenset()) | names
            pillow = next(probe for probe in self.running.values() if probe.build.library == "pillow")
            rows += [(suite, row) for row in measure.catalogue(pillow, suite) if wanted.search(row.name)]
        if not rows:
            raise UsageError(f"no row fits --ops {self.options.ops!r}", hint="try --ops resize")
        return rows

    def _measure(self, suite: str, operation: Operation, *, first: bool) -> None:
        ready: list[Probe] = []
        seconds: dict[str, float] = {}
        for label in list(self.running):
            record = self.records.setdefault((operation.name, label), _Record())
            if record.status != "ok":
                continue
            if operation.name not in self.known[label]:
                record.status = "absent"
                continue
            prepared = self._prepare(suite, operation, label, record)
            if prepared is not None:
                record.first = record.first or prepared
                seconds[label] = prepared.seconds
                ready.append(self.running[label])
        if first:
            self._compare(operation, ready)
        samples = measure.time_interleaved(ready, self.options.effort, seconds) if ready else {}
        for probe in ready:
            label = probe.build.label
            record = self.records[operation.name, label]
            sample = samples.get(label)
            if sample is None:
                self._lost(label, record, "ended while it was timed")
                continue
            record.seconds += sample.seconds
            record.passes.append(len(sample.seconds))
            record.faults.append(sample.faults)
            record.calls = max(record.calls, sample.calls)
            if label in self.running:
                self._quietly(probe, "release")

    def _make_assets(self, operations: Sequence[tuple[str, Operation]]) -> None:
        """Make the encoded files that operations read, once, for all builds."""
        for name in dict.fromkeys(name for _, operation in operations for name in operation.assets):
            self.progress(f"making {name}")
            try:
                self._referee().ask("asset", name=name)
            except (ProbeError, ProbeDied) as error:
                self.notes.append(f"{name} could not be made: {error}")

    def _referee(self) -> Probe:
        """A process of the base build that times nothing.

        Making files and comparing outcomes leave their traces in a process's memory, which can
        make what it times later a quarter faster or slower; so another process does that.
        """
        if self.referee is None:
            found = Probe(replace(self.running[self.base].build, label="referee"), folder=self.folder)
            found.start()
            self.referee = found
        return self.referee

    def _quietly(self, probe: Probe, what: str, **fields: Any) -> bool:
        try:
            probe.ask(what, **fields)
        except ProbeError:
            return False
        except ProbeDied as death:
            self._restart(probe.build.label, death.reason)
            return False
        return True

    def _prepare(self, suite: str, operation: Operation, label: str, record: _Record) -> Prepared | None:
        try:
            return measure.prepare(self.running[label], suite, operation.name)
        except ProbeError as error:
            lacking = error.kind == "Unavailable" or "not available" in str(error)
            record.status = "unavailable" if lacking else "failed"
            record.why = str(error).removeprefix("Unavailable: ")
        except ProbeDied as death:
            self._lost(label, record, death.reason)
        return None

    def _compare(self, operation: Operation, ready: Sequence[Probe]) -> None:
        base = self.running.get(self.base)
        own = self.records.get((operation.name, self.base))
        if base is None or base not in ready or own is None or own.first is None:
            return
        for probe in ready:
            record = self.records[operation.name, probe.build.label]
            if record.first is None:
                continue
            if record.first.digest == own.first.digest:
                record.difference = Difference()
                continue
            try:
                record.difference = measure.difference(base, probe, referee=self._referee())
            except (ProbeError, ProbeDied) as error:
                record.difference = Difference(largest=255, share=1, visible=255, why=_reason(error))

    def _lost(self, label: str, record: _Record, reason: str) -> None:
        record.status, record.why = "crashed", reason
        self._restart(label, reason)

    def _restart(self, label: str, reason: str) -> None:
        probe = self.running.pop(label, None)
        if probe is None:
            return
        probe.close(kindly=False)
        try:
            probe.start()
        except (ProbeDied, ProbeError):
            self.builds[label] = replace(self.builds[label], why=f"does not start again after {reason}")
            return
        order = list(self.probes)
        self.running[label] = probe
        self.running = {name: self.running[name] for name in order if name in self.running}
        measure.pin((probe,), self.core)

    def end(self) -> None:
        """End all processes."""
        self.close()
        if self.referee is not None:
            self.referee.close(kindly=False)

    def close(self) -> None:
        """End the processes that are measured."""
        for probe in self.running.values():
            probe.close(kindly=False)
        self.running = {}

    # --- the result

    def machine(self, cpu: str) -> Machine:
        """Where this was measured."""
        release = platform.freedesktop_os_release() if hasattr(platform, "freedesktop_os_release") else {}
        return Machine(
            cpu=cpu or platform.processor() or platform.machine(),
            cores=len(os.sched_getaffinity(0)),
            system=f"{release.get('PRETTY_NAME', platform.system())}, Linux {platform.release()}",
            core=self.core,
            unpinned=self.unpinned,
            bandwidth=tuple((int(size), float(rate)) for size, rate in self.figures["bandwidth"]),
            fault=self.figures["fault"],
        )

    def table(self) -> tuple[Row, ...]:
        """All rows, but not the one that an interrupt cut short before it had a figure."""
        return tuple(
            self._row(operation)
            for operation in self.rows.values()
            if not self.interrupted or self._has_figures(operation)
        )

    def _has_figures(self, operation: Operation) -> bool:
        return any(
            record.seconds or record.status != "ok"
            for label in self.probes
            if (record := self.records.get((operation.name, label))) is not None
        )

    def _row(self, operation: Operation) -> Row:
        records = {
            label: record
            for label in self.probes
            if (record := self.records.get((operation.name, label))) is not None
        }
        base = records.get(self.base)
        cells = tuple(self._cell(label, record, base) for label, record in records.items())
        return Row(
            name=operation.name,
            group=operation.group,
            title=operation.title,
            pixels=operation.pixels,
            floor=self._floor(operation, records),
            cells=cells,
        )

    def _cell(self, label: str, record: _Record, base: _Record | None) -> Cell:
        status, why = record.status, record.why
        if status == "ok" and not record.seconds:
            status, why = "unavailable", "not measured"
        comparison = None
        if base is not None and base.seconds and record.seconds and label != self.base:
            comparison = compare_samples(_sample(base), _sample(record), same_within=self.options.same_within)
        return Cell(
            label=label,
            status=status,
            why=why,
            seconds=tuple(record.seconds),
            calls=record.calls,
            faults=statistics.median(record.faults) if record.faults else 0.0,
            comparison=comparison,
            difference=record.difference if label != self.base else None,
            kernels=kernel_names(record.first.served) if record.first else (),
            remark=record.first.remark if record.first else "",
        )

    def _floor(self, operation: Operation, records: Mapping[str, _Record]) -> float | None:
        base = records.get(self.base)
        if not operation.whole or base is None or base.first is None:
            return None
        faults = [
            statistics.median(record.faults)
            for label, record in records.items()
            if record.faults and self.probes[label].build.library == "pillow"
        ]
        moved = base.first.held + base.first.made
        return floor(moved, min(faults, default=0.0), self.figures["bandwidth"], self.figures["fault"])


def in_order(rows: Sequence[tuple[str, Operation]], number: int) -> list[tuple[str, Operation]]:
    """The rows of a pass: as listed, then backwards, then shuffled.

    What a process did before shapes its memory; in another order it is another shape.
    """
    if number == 0:
        return list(rows)
    if number == 1:
        return list(reversed(rows))
    return random.Random(number).sample(list(rows), len(rows))  # noqa: S311 - no secret


def floor(
    moved: int,
    faults: float,
    bandwidth: Sequence[tuple[int, float]] | Sequence[Sequence[float]],
    fault: float,
) -> float | None:
    """The least seconds for moving so many bytes and touching so many fresh pages.

    ``bandwidth`` are pairs of bytes in use and bytes per second: what fits into a cache
    moves faster. Between the sizes the rate is interpolated, both on logarithmic scales.
    """
    rates = sorted((math.log(size), math.log(rate)) for size, rate in bandwidth)
    if not rates:
        return None
    place = min(max(math.log(max(1, moved)), rates[0][0]), rates[-1][0])
    rate = rates[-1][1]
    for (below, slow), (above, fast) in pairwise(rates):
        if below <= place <= above:
            rate = slow + (fast - slow) * (place - below) / (above - below)
            break
    return moved / math.exp(rate) + faults * fault


def _sample(record: _Record) -> Sample:
    return Sample(label="", seconds=tuple(record.seconds), calls=record.calls, passes=tuple(record.passes))


def _presented(build: Build, probe: Probe) -> Build:
    hello = probe.hello
    trace = hello["trace"]
    return replace(
        build,
        title=build.title if build.title.endswith(hello["pil"]) else _titled(build.title, hello["pil"]),
        version=hello["pil"],
        python=hello["python"],
        path=hello["path"],
        level=LEVELS[trace["level"]] if trace else "",
        kernels=trace.get("build", ""),
    )


def _titled(title: str, version: str) -> str:
    return title if re.search(r"\d+\.\d+", title) else f"{title} {version}"


def _reason(error: SimdinstallError) -> str:
    last = error.why.strip().splitlines()
    return f"{error}: {last[-1]}" if last else str(error)


def time_left(spent: Mapping[str, float], ahead: Sequence[str]) -> str:
    """What the rows ahead will take, by what each took before; "" without anything to go by."""
    if len(spent) < 3:
        return ""
    average = statistics.fmean(spent.values())
    return f"  about {duration(sum(spent.get(name, average) for name in ahead))} left"


def duration(seconds: float) -> str:
    """``40 s``, ``3 min``."""
    return f"{math.ceil(seconds / 5) * 5} s" if seconds < 90 else f"{round(seconds / 60)} min"


# --- comparing with an older report


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
    factor is further from 1 than ``tolerance`` and than the noise of both measurements.
    """
    notes = []
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
        noise = math.hypot(_half_width(past.comparison), _half_width(cell.comparison))
    else:
        if not past.seconds or not cell.seconds:
            return None
        before, now = past.median, cell.median
        factor = before / now
        noise = math.hypot(_scatter(past.seconds), _scatter(cell.seconds))
    verdict = "same"
    if factor < 1 - tolerance and factor * (1 + noise) < 1:
        verdict = "slower"
    elif factor > 1 + tolerance and factor * (1 - noise) > 1:
        verdict = "faster"
    return Change(
        name=name, label=cell.label, before=before, now=now, factor=factor, noise=noise, verdict=verdict
    )


def _half_width(comparison: Comparison) -> float:
    return (comparison.high - comparison.low) / 2 / comparison.ratio


def _scatter(seconds: Sequence[float]) -> float:
    low, high = measure.median_bounds(sorted(seconds))
    return (high - low) / 2 / statistics.median(seconds)
