"""Measure and compare builds of Pillow: each in a process of its own, turn by turn.

A :class:`Build` says what to run, a :class:`Probe` is one running build. Timing is
interleaved: round by round every build runs the same calls, all on one core when the
system permits that, so that whatever slows the machine down slows all of them down.
What the times mean is in :mod:`simdinstall.samples`.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import statistics
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from simdinstall.errors import SimdinstallError
from simdinstall.run import Child, ChildEnded, signal_name, start
from simdinstall.samples import Sample

#: The program that runs inside a build.
PROBE = Path(__file__).parent / "_probe"

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


def prepare(probe: Probe, suite: str, operation: str, *, again: bool = False) -> Prepared:
    """Make an operation ready in one build, and run it once. Errors as :meth:`Probe.ask`.

    ``again``: the outcome is known already, so nothing is said of it.
    """
    answer = probe.ask("prepare", suite=suite, name=operation, again=again)
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

    ``rounds`` undisturbed ones, and ``least`` at least of whatever kind; once all builds together
    have used ``budget`` CPU seconds, or twice as many rounds were made, no further one is begun.
    ``slice`` are the seconds of one build in one turn: short ones bring the turns closer
    together, so that what slows the machine down hits all, and seldom need the core for longer
    than the system lends it at a time. ``calls`` is the most in one turn. Where a call takes
    ``long`` seconds or more, a round goes forwards only.
    """

    rounds: int = 3
    least: int = 2
    budget: float = 1.0
    slice: float = 0.02
    calls: int = 20_000
    long: float = math.inf


def time_interleaved(
    probes: Sequence[Probe],
    effort: Effort,
    *,
    first: Mapping[str, float] | None = None,
    calls: Mapping[str, int] | None = None,
    shift: int = 0,
) -> dict[str, Sample]:
    """Time what is prepared in all these builds, in turns.

    Every round goes through the builds forwards and backwards, and what a build took is the
    mean of both; which build begins changes from round to round, from ``shift`` on. So a
    build's place in the order, and the caches that it finds, cancel out.
    Every build makes the number of calls that fill ``effort.slice``: as many as ``calls``
    says, else found out; ``first`` are the seconds of the first call, and one that filled the
    slice is known to be enough. A build that ends or fails on the way is missing from the result.

    Where some rounds went by without another program taking the core, only those count: after
    it nothing is left in the caches.
    """
    turns = {probe.build.label: _Turns() for probe in probes}
    long = max((first or {}).values(), default=0.0) >= effort.long
    alive = list(probes)
    for probe in probes:
        label = probe.build.label
        known = (calls or {}).get(label) or int((first or {}).get(label, 0.0) > effort.slice)
        turns[label].calls = known or _calibrate(probe, effort)
        if not turns[label].calls:
            alive.remove(probe)
    undisturbed: list[int] = []
    number = 0
    while number < effort.least or (
        len(undisturbed) < effort.rounds
        and number < 2 * effort.rounds
        and sum(one.spent for one in turns.values()) < effort.budget
    ):
        begin = (number + shift) % max(1, len(alive))
        order = alive[begin:] + alive[:begin]
        for probe in order if long else [*order, *reversed(order)]:
            if probe in alive and not turns[probe.build.label].take(probe):
                alive.remove(probe)
        disturbed = [turns[probe.build.label].end_round() for probe in alive]
        if not any(disturbed):
            undisturbed.append(number)
        number += 1
    kept = undisturbed if len(undisturbed) >= max(2, effort.least) else range(number)
    return {probe.build.label: turns[probe.build.label].sample(probe.build.label, kept) for probe in alive}


#: A turn took longer than its CPU time by this factor, and these seconds: it was interrupted.
_DISTURBED = 1.2, 0.0002


@dataclass(kw_only=True, slots=True)
class _Turns:
    """What one build has done of a row so far."""

    calls: int = 0
    spent: float = 0.0
    wall: float = 0.0
    disturbed: bool = False
    now: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    faults: list[float] = field(default_factory=list)

    def take(self, probe: Probe) -> bool:
        """One turn; whether the build is still there."""
        try:
            answer = probe.ask("time", calls=self.calls)
        except (ProbeDied, ProbeError):
            return False
        self.now.append(answer["seconds"] / self.calls)
        self.faults.append(answer["faults"])
        self.spent += answer["seconds"]
        self.wall += answer["wall"]
        self.disturbed |= answer["wall"] > answer["seconds"] * _DISTURBED[0] + _DISTURBED[1]
        return True

    def end_round(self) -> bool:
        """The mean of its turns is what counts. Gives whether one of them was interrupted."""
        self.seconds.append(statistics.fmean(self.now))
        self.now.clear()
        disturbed, self.disturbed = self.disturbed, False
        return disturbed

    def sample(self, label: str, kept: Iterable[int]) -> Sample:
        return Sample(
            label=label,
            seconds=tuple(self.seconds[number] for number in kept),
            calls=self.calls,
            faults=statistics.median(self.faults),
            shared=max(0.0, 1 - self.spent / self.wall) if self.wall else 0.0,
        )


def _calibrate(probe: Probe, effort: Effort) -> int:
    """Calls that fill a slice, 0 where the build fails; the doubling also warms up."""
    calls = 1
    try:
        while True:
            spent = float(probe.ask("time", calls=calls)["seconds"])
            if spent >= effort.slice / 2 or calls >= effort.calls:
                break
            calls = min(effort.calls, max(calls * 2, int(calls * effort.slice / 2 / max(spent, 1e-7))))
    except (ProbeDied, ProbeError):
        return 0
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
