"""Which compiler with which flags makes the fastest kernels on this machine.

Each candidate is a kernel library of its own in front of the same official wheel. All of
them and stock Pillow run the operations of verification's speed table in turns, in new
processes for each pass, since how memory lies in one process can make it faster or slower
for its whole life. A candidate whose outcomes are not stock's very bytes is out.
"""

from __future__ import annotations

import re
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from simdinstall import measure, training
from simdinstall.errors import SimdinstallError
from simdinstall.measure import Build, Effort, Probe, ProbeDied, ProbeError
from simdinstall.progress import Progress, silent
from simdinstall.samples import geometric_mean
from simdinstall.tuned import PREBUILT

#: Sets of flags to try with each compiler, besides those that every kernel has. None of
#: them may change what is computed.
FLAG_SETS: tuple[tuple[str, ...], ...] = (
    (),
    ("-O2",),
    ("-funroll-loops",),
    ("-mprefer-vector-width=512",),
)

#: So much faster than the default a candidate must be to take its place.
WORTH = 1.02

#: How long to measure a row in one pass.
EFFORT = Effort(rounds=6, budget=4.0)

#: As :data:`EFFORT`, for the many rows of a core.
CORE_EFFORT = Effort(rounds=4, budget=1.0)

#: The label of the build that everything is compared with.
STOCK = "stock"


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A compiler by name or path, or :data:`PREBUILT`, and flags; ``trained``: by a profile."""

    compiler: str
    flags: tuple[str, ...] = ()
    trained: bool = False

    @property
    def label(self) -> str:
        """For the table."""
        return " ".join((self.compiler, *self.flags, *(["trained"] if self.trained else [])))


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """A candidate's speed: times stock's, over all operations and one by one; or why there is none."""

    candidate: Candidate
    speed: float = 0.0
    rows: Mapping[str, float] = field(default_factory=dict)
    warning: str = ""
    why: str = ""


def candidates(
    compilers: Sequence[str], *, prebuilt: bool, quick: bool = False, wide: bool = True
) -> tuple[Candidate, ...]:
    """What to try, the default first. ``wide``: vectors of 64 bytes are there to be preferred."""
    sets = [flags for flags in FLAG_SETS if wide or "512" not in " ".join(flags)]
    tried = sets[:1] if quick else sets
    made = [Candidate(compiler=name, flags=flags) for name in compilers for flags in tried]
    return (*([Candidate(compiler=PREBUILT)] if prebuilt else []), *made)


def core_candidates(compilers: Sequence[str]) -> tuple[Candidate, ...]:
    """What to try for Pillow's own core: each compiler, and gcc with a profile of a training too."""
    plain = [Candidate(compiler=name) for name in compilers]
    # clang's profiles need a tool that comes apart from it.
    gccs = [name for name in compilers if not re.search("clang|zig", Path(name).name)]
    return (*plain, *(Candidate(compiler=name, trained=True) for name in gccs))


def warning(kind: str, version: str) -> str:
    """What is known to be wrong with a compiler; empty for most."""
    major, minor = (int(part) for part in [*re.findall(r"\d+", version), "0", "0"][:2])
    if kind == "gcc" and (major, minor) < (4, 9):
        return (
            f"GCC {version} converts integers to floats in a register whose upper part it does not clear"
            " (cvtsi2ss): each conversion waits for the one before; 4.9 and later do"
        )
    return ""


def measure_all(
    built: Mapping[Candidate, Path],
    stock: Path,
    *,
    python: Path,
    passes: int = 3,
    effort: Effort = EFFORT,
    progress: Progress = silent,
    core: bool = False,
) -> tuple[Result, ...]:
    """Time all builds against stock, in turns. Folders have a ``PIL`` in them.

    ``core``: the rows of a training that no kernel serves, in place of the speed table's.
    A candidate that ends or fails on the way, or gives other bytes than stock, has a reason
    instead of a speed. Raises :class:`SimdinstallError` where stock itself does not run.
    """
    ratios: dict[Candidate, dict[str, list[float]]] = {one: {} for one in built}
    reasons: dict[Candidate, str] = {}
    labels = {f"candidate {number}": one for number, one in enumerate(built)}
    for number in range(passes):
        with tempfile.TemporaryDirectory(prefix="simdinstall-tune-") as name:
            builds = [Build(label=STOCK, python=python, path=stock)]
            builds += [Build(label=label, python=python, path=built[one]) for label, one in labels.items()]
            probes = [Probe(build, folder=Path(name)) for build in builds]
            try:
                _pass(probes, labels, ratios, reasons, number, effort, progress, core)
            finally:
                for probe in probes:
                    probe.close(kindly=False)
    return tuple(
        Result(candidate=one, why=reasons[one])
        if one in reasons or not rows
        else Result(
            candidate=one,
            speed=geometric_mean([statistics.median(found) for found in rows.values()]),
            rows={title: statistics.median(found) for title, found in rows.items()},
        )
        for one, rows in ratios.items()
    )


def _pass(
    probes: Sequence[Probe],
    labels: Mapping[str, Candidate],
    ratios: Mapping[Candidate, dict[str, list[float]]],
    reasons: dict[Candidate, str],
    number: int,
    effort: Effort,
    progress: Progress,
    core: bool,
) -> None:
    stock, *others = probes
    stock.start()
    alive = []
    for probe in others:
        if labels[probe.build.label] not in reasons:
            _unless_it_ends(probe, labels, reasons, probe.start)
            alive.append(probe)
    alive = [probe for probe in alive if labels[probe.build.label] not in reasons]
    measure.pin((stock, *alive))
    name = training.SUITE if core else "speed"
    suite = training.rows(stock) if core else measure.catalogue(stock, name)
    for row, operation in enumerate(suite):
        progress(f"measuring: {operation.title}", number * len(suite) + row, 0)
        try:
            first = measure.prepare(stock, name, operation.name)
        except ProbeError:
            if not core:
                raise
            continue  # an interpreter without NumPy, say
        served = False
        seconds = {STOCK: first.seconds}
        for probe in tuple(alive):
            own = _unless_it_ends(
                probe, labels, reasons, partial(measure.prepare, probe, name, operation.name)
            )
            if own is not None and own.digest != first.digest:
                reasons[labels[probe.build.label]] = f"{operation.title}: other pixels than stock's"
            if own is None or own.digest != first.digest:
                alive.remove(probe)
            else:
                seconds[probe.build.label] = own.seconds
                served |= core and bool(own.served)
        if served:
            continue
        samples = measure.time_interleaved((stock, *alive), effort, first=seconds, shift=number + row)
        for probe in alive:
            label = probe.build.label
            if label in samples and samples[label].median > 0:
                found = ratios[labels[label]].setdefault(operation.title, [])
                found.append(samples[STOCK].median / samples[label].median)


def _unless_it_ends(
    probe: Probe,
    labels: Mapping[str, Candidate],
    reasons: dict[Candidate, str],
    work: Callable[[], measure.Prepared | None],
) -> measure.Prepared | None:
    try:
        return work()
    except (ProbeDied, ProbeError) as error:
        reasons[labels[probe.build.label]] = error.what
        return None


def winner(results: Sequence[Result]) -> Result:
    """The fastest; the first, which is the default, unless another is well faster. SimdinstallError."""
    measured = [result for result in results if not result.why]
    if not measured:
        raise SimdinstallError(
            "no candidate could be built and measured",
            why="\n".join(f"{r.candidate.label}: {r.why}" for r in results),
        )
    best = max(measured, key=lambda result: result.speed)
    return best if best.speed > measured[0].speed * WORTH else measured[0]
