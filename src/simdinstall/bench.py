"""Measure what each build of Pillow gains, row by row.

Every participant runs in a process of its own, all on one core, in turns; see
:mod:`simdinstall.measure`. The suite is run several times over with new processes, because
how memory happens to lie in one process can make it faster or slower for its whole life;
rows whose ratio is not known well enough by then are measured on, in further processes.
The result is a :class:`~simdinstall.bench_report.BenchReport`.
"""

from __future__ import annotations

import math
import os
import platform
import random
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from simdinstall import __version__, measure
from simdinstall.bench_report import SCHEMA, SUITES, BenchReport, Build, Cell, Machine, Row, duration
from simdinstall.errors import SimdinstallError, TargetError, UsageError
from simdinstall.measure import Difference, Effort, Operation, Prepared, Probe, ProbeDied, ProbeError
from simdinstall.peers import INSTALLED, STOCK, Participant
from simdinstall.progress import Progress, silent
from simdinstall.samples import Comparison, Sample, compare_samples
from simdinstall.verify import LEVELS, kernel_names

#: A core that was shared for more than this share of the time is worth a note.
_SHARED = 0.2


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
    def most_passes(self) -> int:
        """How often, where the ratio is not known well enough by then."""
        return 3 if self.quick else 10

    @property
    def precision(self) -> float:
        """The half width of a ratio's bounds, relative, that is good enough."""
        return 0.1 if self.quick else 0.03

    @property
    def limit(self) -> float:
        """Seconds for each build after which only the first pass goes on."""
        return 20 if self.quick else 240

    @property
    def effort(self) -> Effort:
        """The time for a row in one pass."""
        if self.quick:
            return Effort(rounds=2, least=1, budget=0.04, slice=0.002, long=0.03)
        return Effort(rounds=10, least=2, budget=0.25, slice=0.002)

    def settles(self, found: Comparison) -> bool:
        """Whether a ratio is known well enough: the further from 1, the less exactly it need be.

        A single pair, which has no bounds, is enough where it says "the same" or "much".
        """
        if found.half_width == 0:
            return not 0.1 < abs(math.log(found.ratio)) < 0.4
        return found.half_width <= max(self.precision, abs(math.log(found.ratio)) / 3)


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
        self.started = clock()
        self.done = 0
        self.spent: dict[str, float] = {}
        self.shared: list[float] = []
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
        """All passes over all rows, then more over those that need it."""
        self.progress("starting")
        self._start_all()
        operations = self._catalogue()
        self._make_assets(operations)
        self.figures = self._referee().ask("machine")
        begun = self.clock()
        for number in range(self.options.most_passes):
            rows = operations
            if number >= self.options.passes:
                rows = [row for row in operations if not self._settled(row[1].name)]
            if not rows or (number and self._late()):
                break
            if number:
                self._start_all()
            self._pass(in_order(rows, number), number)
        self._note_sharing()
        self.progress(f"measured in {self.clock() - begun:.0f} s", self.done, self.done)

    def _pass(self, rows: Sequence[tuple[str, Operation]], number: int) -> None:
        """Every row once. From the second pass on the time for all of it is limited."""
        again = max(0, self.options.passes - number - 1)
        for place, (suite, operation) in enumerate(rows):
            if number and self._late():
                return
            names = [row.name for _, row in rows]
            certain = names[place:] if number == 0 else ()
            left = time_left(self.spent, certain, names[place:][len(certain) :] + names * again, self._rest())
            total = self.done + len(names) - place + len(names) * again
            self.progress(f"{operation.group}: {operation.title}{left}", self.done, total)
            begun = self.clock()
            self.rows.setdefault(operation.name, operation)
            self._measure(suite, operation, number)
            self.spent[operation.name] = self.clock() - begun
            self.done += 1

    def _rest(self) -> float:
        """Seconds until it is late."""
        return self.options.limit * len(self.running) - (self.clock() - self.started)

    def _late(self) -> bool:
        return self._rest() < 0

    def _settled(self, name: str) -> bool:
        """Whether each build's ratio in this row is known well enough, or will never be."""
        found = (self._comparison(name, label) for label in self.running)
        return all(one is None or self.options.settles(one) for one in found)

    def _note_sharing(self) -> None:
        shared = statistics.fmean(self.shared) if self.shared else 0.0
        if shared > _SHARED:
            self.notes.append(f"other programs had the core for {shared:.0%} of the time")

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
        wanted = pattern(self.options.ops)
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

    def _measure(self, suite: str, operation: Operation, number: int) -> None:
        ready: list[Probe] = []
        seconds: dict[str, float] = {}
        labels = list(self.running)
        begin = number % len(labels)
        for label in labels[begin:] + labels[:begin]:
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
        if number == 0:
            self._compare(operation, ready)
        calls = {label: self.records[operation.name, label].calls for label in seconds}
        samples = measure.time_interleaved(
            ready, self.options.effort, first=seconds, calls=calls, shift=number
        )
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
            record.calls = sample.calls
            self.shared.append(sample.shared)
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
            return measure.prepare(self.running[label], suite, operation.name, again=bool(record.passes))
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
        cells = tuple(self._cell(operation.name, label, record) for label, record in records.items())
        return Row(
            name=operation.name,
            group=operation.group,
            title=operation.title,
            pixels=operation.pixels,
            floor=self._floor(operation, records),
            cells=cells,
        )

    def _comparison(self, name: str, label: str) -> Comparison | None:
        """A build against the base, where both have figures and the build did not crash."""
        base, record = self.records.get((name, self.base)), self.records.get((name, label))
        if label == self.base or base is None or record is None or record.status != "ok":
            return None
        if not base.seconds or not record.seconds:
            return None
        return compare_samples(_sample(base), _sample(record))

    def _cell(self, name: str, label: str, record: _Record) -> Cell:
        status, why = record.status, record.why
        if status == "ok" and not record.seconds:
            status, why = "unavailable", "not measured"
        return Cell(
            label=label,
            status=status,
            why=why,
            seconds=tuple(record.seconds),
            calls=record.calls,
            faults=statistics.median(record.faults) if record.faults else 0.0,
            comparison=self._comparison(name, label),
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


def pattern(ops: str | None) -> re.Pattern[str]:
    """What rows' names are searched for. Raises :class:`UsageError`."""
    try:
        return re.compile(ops or "", re.IGNORECASE)
    except re.error as error:
        raise UsageError(f"--ops {ops!r} is no regular expression", why=str(error)) from error


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


def time_left(
    spent: Mapping[str, float], certain: Sequence[str], others: Sequence[str] = (), rest: float = math.inf
) -> str:
    """What the rows ahead will take, by what each took before; "" without anything to go by.

    ``certain`` rows are measured however long they take, the ``others`` within ``rest`` seconds.
    """
    if len(spent) < 3:
        return ""
    average = statistics.fmean(spent.values())
    seconds, more = (sum(spent.get(name, average) for name in names) for names in (certain, others))
    return f"  about {duration(seconds + min(more, max(0.0, rest - seconds)))} left"
