"""Measure and compare builds of Pillow: each in a process of its own, turn by turn.

A :class:`Build` says what to run, a :class:`Probe` is one running build. Timing is
interleaved: round by round every build runs the same calls, all on one core when the
system permits that, so that whatever slows the machine down slows all of them down.
What is compared is the ratio pair by pair; its median and spread make a
:class:`Comparison`, which also says when the machine was too noisy to tell.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import statistics
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from simdinstall.errors import SimdinstallError
from simdinstall.run import Child, ChildEnded, signal_name, start

#: The program that runs inside a build.
PROBE = Path(__file__).parent / "_probe"

#: Level, group and case at work; the same as in the probe.
_POSITION = struct.Struct("=iii")

#: Seconds without an answer after which a build counts as hung.
PATIENCE = 180.0


class ProbeError(SimdinstallError):
    """A build could not do what it was asked, and told why."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}" if text else kind)
        self.kind = kind


class ProbeDied(SimdinstallError):
    """A build ended while it was at work. ``reason`` is a signal's name where there is one."""

    def __init__(self, reason: str, stderr: str) -> None:
        super().__init__(f"the build ended: {reason}", why=stderr.strip()[-2000:])
        self.reason = reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """Something to measure: an interpreter and where it finds its Pillow.

    ``path`` is a folder with a ``PIL`` in it that goes before everything else, or ``None``
    for whatever the interpreter itself finds. ``extra`` folders come after everything.
    ``level`` is given to the kernels as ``PILLOW_SIMD``. An ``isolated`` interpreter sees
    no variables and no user site.
    """

    label: str
    python: Path
    path: Path | None = None
    extra: tuple[Path, ...] = ()
    level: str | None = None
    isolated: bool = True
    library: str = "pillow"


class Probe:
    """One running build. Use it as a context manager."""

    def __init__(
        self,
        build: Build,
        *,
        folder: Path,
        patience: float = PATIENCE,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.build = build
        self.folder = folder
        self._patience = patience
        self._environ = environ
        self._child: Child | None = None
        self.hello: dict[str, Any] = {}
        self.cpu_seconds = 0.0
        self.memory = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(kindly=kind is None)

    def start(self) -> None:
        """Start, or start again. Raises :class:`ProbeDied` or :class:`ProbeError` where PIL is not there."""
        try:
            self._child = start(self._argv(), env=self._environment(), cwd=self.folder)
        except ChildEnded as end:
            raise ProbeDied(f"status {end.completed.returncode}", end.why) from None
        try:
            self.hello = self.ask("hello", folder=str(self.folder), library=self.build.library)
        except BaseException:
            self.close(kindly=False)
            raise

    def _argv(self) -> list[str | Path]:
        flags = ["-I"] if self.build.isolated else []
        prefix = self.folder / "pycache"
        first = [self.build.path] if self.build.path else []
        return [
            self.build.python,
            *flags,
            "-X",
            f"pycache_prefix={prefix}",
            PROBE,
            *first,
            "--",
            *self.build.extra,
        ]

    def _environment(self) -> dict[str, str]:
        env = {key: value for key, value in self._environ.items() if not key.startswith("PILLOW_")}
        env.pop("PYTHONPYCACHEPREFIX", None)
        if self.build.level is not None:
            env["PILLOW_SIMD"] = self.build.level
        env |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "VIPS_CONCURRENCY": "1"}
        return env

    def ask(self, what: str, **fields: Any) -> dict[str, Any]:
        """One request, one answer. Raises :class:`ProbeError` and :class:`ProbeDied`."""
        self._send(what, fields)
        return self._receive()

    def stream(self, what: str, **fields: Any) -> Iterator[dict[str, Any]]:
        """One request, many answers; the last has no ``mode``."""
        self._send(what, fields)
        while True:
            answer = self._receive()
            yield answer
            if "mode" not in answer:
                return

    def _send(self, what: str, fields: Mapping[str, Any]) -> None:
        assert self._child is not None
        try:
            self._child.send(json.dumps({"do": what, **fields}))
        except ChildEnded as end:
            raise self._died(end) from None

    def _receive(self) -> dict[str, Any]:
        assert self._child is not None
        try:
            line = self._child.receive(self._patience)
        except ChildEnded as end:
            raise self._died(end) from None
        answer: dict[str, Any] = json.loads(line)
        if not answer.pop("ok"):
            raise ProbeError(answer["error"], answer["text"])
        return answer

    def _died(self, end: ChildEnded) -> ProbeDied:
        status = end.completed.returncode
        reason = signal_name(-status) if status < 0 else f"status {status}"
        if "no answer" in end.why:
            reason = end.why
        return ProbeDied(reason, end.completed.stderr)

    def close(self, *, kindly: bool = True) -> None:
        """End the build; adds what it used to ``cpu_seconds`` and ``memory``."""
        if self._child is None:
            return
        if kindly:
            with contextlib.suppress(SimdinstallError):
                used = self.ask("usage")
                self.cpu_seconds += used["cpu"]
                self.memory = max(self.memory, used["memory"])
        else:
            self._child.kill()
        child, self._child = self._child, None
        child.close()


# --- statistics


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """The seconds per call of one build in each round, in the order of the rounds.

    ``passes`` are the numbers of rounds in each process, where there was more than one.
    """

    label: str
    seconds: tuple[float, ...]
    calls: int
    faults: float = 0.0
    passes: tuple[int, ...] = ()

    @property
    def median(self) -> float:
        """Seconds per call."""
        return statistics.median(self.seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How many times as fast a build is as the one it is compared with.

    ``low`` and ``high`` bound the median of the pairs' ratios with 99 % confidence, or as
    well as so many pairs can;
    ``spread`` is the half distance of the quartiles over the median. ``verdict`` is
    "faster", "slower", "same" or "noisy".
    """

    ratio: float
    low: float
    high: float
    spread: float
    verdict: str


#: Of the bounds of a median: with hundreds of rows, one in twenty would be far too many.
CONFIDENCE = 0.99
#: A change smaller than this is none: two runs of the same build differ by that much.
SAME_WITHIN = 0.05
#: Where the confidence interval is wider than this, only a clear change is called one.
NOISY_ABOVE = 0.15


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the ordered values lie, interpolated linearly."""
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median_bounds(ordered: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Bounds for the median of what the values were drawn from, by order statistics.

    The number of values below the true median is binomial with p = 1/2, which gives the
    ranks (Conover, Practical Nonparametric Statistics, section 3.2). With fewer than eight
    values the extremes are the best there is.
    """
    count = len(ordered)
    tail = (1 - confidence) / 2
    rank, below = 0, 1 / 2**count
    while below <= tail:
        rank += 1
        below += math.comb(count, rank) / 2**count
    low = max(0, rank - 1)
    return ordered[low], ordered[count - 1 - low]


def compare_samples(base: Sample, other: Sample, *, same_within: float = SAME_WITHIN) -> Comparison:
    """Base's time over the other's, pair by pair: 2.0 is twice as fast.

    Where there were several passes, a change must show in each of them: how memory happens
    to lie in a process makes some operations faster or slower for all of its life.
    Raises :class:`ValueError` where the samples have no rounds in common.
    """
    pairs = [b / o if o > 0 and b > 0 else 1.0 for b, o in zip(base.seconds, other.seconds, strict=False)]
    if not pairs:
        raise ValueError("no pair of measurements")
    ratios = sorted(pairs)
    ratio = statistics.median(ratios)
    low, high = median_bounds(ratios)
    spread = (quantile(ratios, 0.75) - quantile(ratios, 0.25)) / 2 / ratio
    medians = _by_pass(pairs, other.passes)
    return Comparison(
        ratio=ratio,
        low=low,
        high=high,
        spread=spread,
        verdict=_verdict(ratio, min(low, *medians), max(high, *medians), same_within),
    )


def _by_pass(pairs: Sequence[float], passes: Sequence[int]) -> list[float]:
    """The median ratio in each process; of all pairs where they do not add up."""
    if len(passes) < 2 or sum(passes) != len(pairs):
        return [statistics.median(pairs)]
    ends = list(accumulate(passes))
    return [
        statistics.median(pairs[end - count : end]) for end, count in zip(ends, passes, strict=True) if count
    ]


def _verdict(ratio: float, low: float, high: float, same_within: float) -> str:
    if low > 1 + same_within / 2 and ratio > 1 + same_within:
        return "faster"
    if high < 1 - same_within / 2 and ratio < 1 - same_within:
        return "slower"
    if (high - low) / ratio > NOISY_ABOVE:
        return "noisy"
    return "same"


def geometric_mean(ratios: Sequence[float]) -> float:
    """1.0 for none at all."""
    return math.exp(statistics.fmean(math.log(ratio) for ratio in ratios)) if ratios else 1.0


# --- measuring


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """A row of a suite, as the probe lists it."""

    name: str
    group: str
    title: str
    pixels: int
    assets: tuple[str, ...]
    remark: str = ""
    whole: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """A kernel and how often it served a function."""

    function: str
    kernel: str
    level: int
    calls: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What a build said when it ran an operation for the first time."""

    seconds: float
    digest: str
    held: int
    made: int
    served: tuple[Served, ...]
    remark: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """How far an outcome is from stock's; ``why`` where they cannot be compared at all."""

    largest: float = 0.0
    share: float = 0.0
    visible: float = 0.0
    why: str = ""

    @property
    def exact(self) -> bool:
        """Whether every byte is the same."""
        return not self.why and self.share == 0.0


def served_from(entries: Sequence[Sequence[Any]]) -> tuple[Served, ...]:
    """The probe's trace entries as values."""
    return tuple(
        Served(function=function, kernel=kernel, level=level, calls=calls)
        for function, kernel, level, calls in entries
    )


def catalogue(probe: Probe, suite: str) -> tuple[Operation, ...]:
    """The operations of a suite, as this build knows them."""
    rows = probe.ask("catalogue", suite=suite)["operations"]
    return tuple(Operation(**{**row, "assets": tuple(row["assets"])}) for row in rows)


def prepare(probe: Probe, suite: str, operation: str) -> Prepared:
    """Make an operation ready in one build, and run it once. Errors as :meth:`Probe.ask`."""
    answer = probe.ask("prepare", suite=suite, name=operation)
    return Prepared(
        seconds=answer["seconds"],
        digest=answer["digest"],
        held=answer["held"],
        made=answer["made"],
        served=served_from(answer["served"]),
        remark=answer.get("remark", ""),
    )


def pin(probes: Sequence[Probe], core: int | None = None) -> tuple[int | None, str]:
    """Keep all builds on one core. Gives the core, or ``None`` and the reason why not."""
    if core is None:
        core = max(os.sched_getaffinity(0))
    for probe in probes:
        answer = probe.ask("pin", core=core)
        if not answer["pinned"]:
            return None, answer["why"]
    return core, ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """How much time to give a row.

    ``rounds``, of two turns each, at the least; more, up to ``most``, as long as the median
    ratio to the first build is not known to ``precision`` and less than ``budget`` seconds were
    spent. ``slice`` are the seconds of one build in one turn: short ones bring the turns closer together, so
    that what slows the machine down hits both.
    """

    rounds: int = 7
    most: int = 0
    precision: float = 0.0
    budget: float = 1.0
    slice: float = 0.02
    calls: int = 20_000


def time_interleaved(
    probes: Sequence[Probe], effort: Effort, first: Mapping[str, float] | None = None
) -> dict[str, Sample]:
    """Time what is prepared in all these builds, in turns.

    Every round goes through the builds forwards and backwards, and what a build took is the
    mean of both: its place in the order, and the caches that it finds, then cancel out.
    Every build makes the number of calls that fill ``effort.slice``. ``first`` are the
    seconds of the first call in each build, by label: one that filled the slice needs no
    calibration. A build that ends or fails on the way is missing from the result.
    """
    calls: dict[str, int] = {}
    alive = list(probes)
    seconds: dict[str, list[float]] = {probe.build.label: [] for probe in probes}
    faults: dict[str, list[float]] = {probe.build.label: [] for probe in probes}
    for probe in list(alive):
        known = (first or {}).get(probe.build.label, 0.0)
        found = 1 if known > effort.slice else _calibrate(probe, effort)
        if found is None:
            alive.remove(probe)
        else:
            calls[probe.build.label] = found
    number, spent = 0, 0.0
    while number < effort.rounds or (
        number < effort.most
        and spent < effort.budget
        and not _precise([seconds[probe.build.label] for probe in alive], effort.precision)
    ):
        turns: dict[str, list[float]] = {probe.build.label: [] for probe in alive}
        for probe in [*alive, *reversed(alive)]:
            label = probe.build.label
            if probe not in alive:
                continue
            try:
                answer = probe.ask("time", calls=calls[label])
            except (ProbeDied, ProbeError):
                alive.remove(probe)
                continue
            turns[label].append(answer["seconds"] / calls[label])
            faults[label].append(answer["faults"])
            spent += answer["seconds"]
        for probe in alive:
            seconds[probe.build.label].append(statistics.fmean(turns[probe.build.label]))
        number += 1
    return {
        label: Sample(
            label=label,
            seconds=tuple(seconds[label]),
            calls=calls[label],
            faults=statistics.median(faults[label]),
        )
        for label in (probe.build.label for probe in alive)
    }


def _precise(samples: Sequence[Sequence[float]], precision: float) -> bool:
    """Whether all medians of ratios to the first are known to a relative ``precision``."""
    if len(samples) < 2:
        return True
    for other in samples[1:]:
        ratios = sorted(a / b for a, b in zip(samples[0], other, strict=False) if a > 0 and b > 0)
        if not ratios:
            return True
        low, high = median_bounds(ratios)
        if (high - low) / 2 > precision * statistics.median(ratios):
            return False
    return True


def _calibrate(probe: Probe, effort: Effort) -> int | None:
    """Calls that fill a slice; the doubling also warms caches and the allocator up."""
    calls = 1
    try:
        while True:
            spent = float(probe.ask("time", calls=calls)["seconds"])
            if spent >= effort.slice / 2 or calls >= effort.calls:
                break
            calls = min(effort.calls, max(calls * 2, int(calls * effort.slice / 2 / max(spent, 1e-7))))
    except (ProbeDied, ProbeError):
        return None
    return max(1, min(effort.calls, round(calls * effort.slice / max(spent, 1e-9))))


def difference(base: Probe, other: Probe, *, referee: Probe) -> Difference:
    """Compare what the first calls gave, pixel by pixel; before anything is timed.

    ``referee`` is a process of stock Pillow that does the comparing, so that the two that
    are going to be timed have done the very same.
    """
    with tempfile.TemporaryDirectory(dir=base.folder) as folder:
        ours, theirs = str(Path(folder) / "ours"), str(Path(folder) / "theirs")
        base.ask("output", path=ours)
        other.ask("output", path=theirs)
        return difference_from(referee.ask("compare", ours=ours, theirs=theirs))


def difference_from(answer: Mapping[str, Any]) -> Difference:
    """The probe's answer as a value."""
    return Difference(
        largest=answer["largest"], share=answer["share"], visible=answer["visible"], why=answer["why"]
    )


# --- checks: many small cases


@dataclass(frozen=True, kw_only=True, slots=True)
class Mismatch:
    """One case whose outcome is not stock's."""

    label: str
    size: tuple[int, int]
    difference: Difference


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The cases of one family in one mode at one level of kernels."""

    family: str
    mode: str
    level: int
    cases: int
    served: tuple[Served, ...]
    mismatches: tuple[Mismatch, ...]


#: After so many crashes in one family the rest of it is not tried.
MOST_CRASHES = 8


def compare_family(
    stock: Probe, candidate: Probe, family: str, levels: Sequence[int], *, scratch: Path
) -> tuple[Group, ...]:
    """Run one family of checks in both builds and compare.

    A case that ends the candidate's process is a mismatch with the signal's name; the
    others go on in a new process. Raises :class:`ProbeDied` when that happens to
    stock, or again and again.
    """
    path, position = scratch / f"{family}.outcomes", scratch / f"{family}.position"
    skip: dict[str, str] = {}
    while True:
        served: dict[tuple[str, int], tuple[Served, ...]] = {}
        try:
            for answer in candidate.stream(
                "run_checks",
                family=family,
                levels=list(levels),
                path=str(path),
                position=str(position),
                skip=skip,
            ):
                if "mode" in answer:
                    served[answer["mode"], answer["level"]] = served_from(answer["served"])
            break
        except ProbeDied as death:
            place = _POSITION.unpack(position.read_bytes()) if position.exists() else (-1, -1, -1)
            candidate.close(kindly=False)
            if place[2] < 0 or len(skip) >= MOST_CRASHES:
                raise
            skip[",".join(map(str, place))] = f"ended by {death.reason}"
            candidate.start()
    groups: list[Group] = []
    for answer in stock.stream("compare_checks", family=family, levels=list(levels), path=str(path)):
        if "mode" not in answer:
            break
        mismatches = tuple(
            Mismatch(label=row["label"], size=tuple(row["size"]), difference=difference_from(row))
            for row in answer["different"]
        )
        groups.append(
            Group(
                family=family,
                mode=answer["mode"],
                level=answer["level"],
                cases=answer["cases"],
                served=served[answer["mode"], answer["level"]],
                mismatches=mismatches,
            )
        )
    path.unlink(missing_ok=True)
    position.unlink(missing_ok=True)
    return tuple(groups)
