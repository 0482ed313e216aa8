"""Prove, on this machine, that a built Pillow is stock Pillow, only faster.

Stock and candidate run side by side in processes of their own. Every feature that stock
has must be there; the outcomes of thousands of small calls are compared byte by byte, at
every level of kernels that this CPU can run; each kernel must have run, by the library's
own count; and a short list of typical operations is timed. What comes out is a
:class:`Verdict`. Nothing here changes anything.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from simdinstall import measure
from simdinstall.checks import Group, Mismatch, compare_family
from simdinstall.errors import VerifyError
from simdinstall.measure import Build, Effort, Probe, ProbeDied, ProbeError, Served, time_interleaved
from simdinstall.samples import compare_samples, geometric_mean
from simdinstall.verdict import FALLBACK_BOUND, Graded, Ran, Row, Verdict, declared_bounds

#: The names of the kernels' levels, as ``PILLOW_SIMD`` takes them.
LEVELS = ("none", "sse4", "avx2", "avx512")

#: Zlib among the features that the probe lists.
ZLIB = "codec zlib"

#: Rounding when colours were multiplied by their alpha for the comparison.
_ALPHA_ROUNDING = 1

Progress = Callable[[str, float], None]


def verify(
    stock: Path,
    candidate: Path,
    *,
    python: Path,
    fidelity: str = "bounded",
    quick: bool = False,
    runnable: bool = True,
    progress: Progress | None = None,
    families: Sequence[str] | None = None,
) -> Verdict:
    """Compare two unpacked wheels under one interpreter.

    ``stock`` and ``candidate`` are folders with a ``PIL`` in them. ``quick`` checks the
    best level only and times less. Without ``runnable`` (the build is for a better CPU than
    this) it is a limit, not a failure, when the candidate cannot even be imported.
    ``families`` restricts the checks. ``progress`` is told
    what is at work and how much is done (0 to 1). Raises :class:`VerifyError` where stock
    itself cannot be run; whatever is wrong with the candidate is in the verdict.
    """
    told = progress or (lambda what, done: None)
    with tempfile.TemporaryDirectory(prefix="simdinstall-verify-") as name:
        folder = Path(name)
        reference = Probe(Build(label="stock", python=python, path=stock), folder=folder)
        try:
            reference.start()
        except (ProbeDied, ProbeError) as error:
            raise VerifyError("the stock Pillow does not run", why=_reason(error)) from error
        built = Probe(Build(label="candidate", python=python, path=candidate), folder=folder)
        try:
            return _verify(reference, built, fidelity, quick, runnable, told, families)
        finally:
            for probe in (reference, built):
                probe.close(kindly=False)


def _verify(
    stock: Probe,
    candidate: Probe,
    fidelity: str,
    quick: bool,
    runnable: bool,
    told: Progress,
    families: Sequence[str] | None,
) -> Verdict:
    told("features", 0.0)
    empty = Verdict(
        ok=False,
        features_ok=False,
        fidelity=fidelity,
        level="none",
        graded=(),
        rows=(),
        speedup=1.0,
        trace=(),
        problems=(),
        limits=(),
        stock_version=stock.hello["pil"],
    )
    try:
        candidate.start()
    except (ProbeDied, ProbeError) as error:
        reason = _reason(error)
        if not runnable or "CPU ISA level is lower than required" in reason:
            limit = f"this CPU cannot load the library, so nothing was run: {reason}"
            return replace(empty, ok=True, limits=(limit,))
        return replace(empty, problems=(f"the built Pillow cannot be imported: {reason}",))
    wanted = stock.ask("features")
    provenance = read_provenance(candidate.build.path) if candidate.build.path else {}
    zlib_ng = bool(provenance.get("zlib_ng"))
    try:
        problems = _lacking(wanted, candidate.ask("features"), zlib_ng=zlib_ng)
    except (ProbeDied, ProbeError) as error:
        return replace(empty, problems=(f"the built Pillow cannot list its features: {_reason(error)}",))
    features_ok = not problems
    if stock.hello["pil"] != candidate.hello["pil"]:
        problems.append(f"PIL.__version__ is {candidate.hello['pil']}, stock's is {stock.hello['pil']}")
    trace = candidate.hello["trace"]
    levels, limits = _levels(trace, quick)
    bounds = declared_bounds(provenance)
    names = list(families) if families is not None else stock.ask("families")["families"]
    groups, troubles = _checks(stock, candidate, names, levels, told)
    problems += troubles
    graded = [grade(group, bounds=bounds, fidelity=fidelity, zlib_ng=zlib_ng) for group in groups]
    ran: dict[tuple[str, str, int], int] = {}
    for served in (served for group in groups for served in group.served):
        key = served.function, served.kernel, served.level
        ran[key] = ran.get(key, 0) + served.calls
    problems += [_explain(row) for row in graded if row.grade == "failed"]
    if families is None:
        problems += _never_ran(trace, levels, ran)
    told("speed", 0.75)
    rows = () if troubles else _speed(stock, candidate, quick, told)
    for probe in (stock, candidate):
        probe.close()
    return Verdict(
        ok=not problems,
        features_ok=features_ok,
        fidelity=fidelity,
        level=LEVELS[trace["level"]] if trace else "none",
        graded=tuple(graded),
        rows=rows,
        speedup=geometric_mean([row.comparison.ratio for row in rows]),
        trace=tuple(
            Ran(function=function, kernel=kernel, level=LEVELS[level], calls=calls)
            for (function, kernel, level), calls in sorted(ran.items())
        ),
        problems=tuple(problems),
        limits=limits,
        stock_version=stock.hello["pil"],
        candidate_version=candidate.hello["pil"],
        cpu_seconds=stock.cpu_seconds + candidate.cpu_seconds,
        memory=max(stock.memory, candidate.memory),
    )


def _checks(
    stock: Probe, candidate: Probe, families: Sequence[str], levels: Sequence[int], told: Progress
) -> tuple[list[Group], list[str]]:
    """All families; one that cannot be brought to its end costs itself, not the others."""
    groups: list[Group] = []
    troubles: list[str] = []
    for number, family in enumerate(families):
        told(family, 0.05 + 0.7 * number / len(families))
        try:
            groups += compare_family(stock, candidate, family, levels, scratch=stock.folder)
        except (ProbeDied, ProbeError) as error:
            reason = error.reason if isinstance(error, ProbeDied) else str(error)
            troubles.append(f"{family}: the checks did not end: {reason}")
            for probe in (stock, candidate):
                probe.close(kindly=False)
                probe.start()
    return groups, troubles


def _reason(error: ProbeDied | ProbeError) -> str:
    if isinstance(error, ProbeDied):
        last = error.why.strip().splitlines()
        return f"{error.reason}: {last[-1]}" if last else error.reason
    return str(error)


def read_provenance(folder: Path) -> dict[str, Any]:
    """What the wheel says about its making; empty where it says nothing or nothing readable."""
    for path in folder.glob("*.dist-info/simdinstall.json"):
        try:
            data = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(data, dict):
            return data
    return {}


def _levels(trace: Mapping[str, Any], quick: bool) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The levels to run, the best first, and what this CPU cannot run."""
    if not trace:
        return (0,), ()
    present = sorted({level for _, _, level, _ in trace["entries"] if level > 0}, reverse=True)
    here = tuple(level for level in present if level <= trace["level"])
    limits = tuple(
        f"kernels for {LEVELS[level].upper()} are in the library, and this CPU cannot run them"
        for level in present
        if level > trace["level"]
    )
    if quick and len(here) > 1:
        skipped = ", ".join(LEVELS[level] for level in here[1:])
        limits += (f"quick: levels {skipped} were not run",)
        here = here[:1]
    return here or (0,), limits


def _lacking(ours: Mapping[str, Any], theirs: Mapping[str, Any], *, zlib_ng: bool = False) -> list[str]:
    """What stock has and the candidate has not, or has in another version.

    ``zlib_ng``: the candidate brings its own, which then has to be the one that is called.
    """
    if zlib_ng:
        # Asked of the library through the very slots that deflate and inflate are called through.
        [called] = theirs["features"].get(ZLIB, [""])
        if not called.endswith("zlib-ng"):
            return [f"zlib-ng is in the wheel, and the core calls zlib {called or 'nowhere'}"]
        ours = {**ours, "features": {**ours["features"], ZLIB: [called]}}
    problems = [f"lacks the {name}" for name in ours["features"] if name not in theirs["features"]]
    problems += [
        f"{name} is version {theirs['features'][name][0]}, stock's is {version}"
        for name, (version,) in ours["features"].items()
        if name in theirs["features"] and theirs["features"][name][0] != version
    ]
    problems += [f"cannot {name}" for name in sorted(set(ours["formats"]) - set(theirs["formats"]))]
    problems += [f"the C core lacks {name}" for name in sorted(set(ours["names"]) - set(theirs["names"]))]
    return problems


def grade(
    group: Group, *, bounds: Mapping[str, float], fidelity: str = "bounded", zlib_ng: bool = False
) -> Graded:
    """One group's grade: exact, bounded by what its kernels declare together, or failed.

    An operation may pass through several kernels, each with a rounding of its own, so the
    bounds of all that ran are added. Where no kernel ran, nothing may differ. With
    ``zlib_ng`` deflated files may be packed otherwise, with the very same pixels: repacked.
    """
    deflated = [m for m in group.mismatches if zlib_ng and _only_packing(m)]
    mismatches = [m for m in group.mismatches if m not in deflated]
    kernels = {served.kernel for served in group.served if served.level > 0}
    bound = sum(bounds.get(kernel, FALLBACK_BOUND) for kernel in kernels)
    if bound and group.mode in ("RGBA", "LA"):
        bound += _ALPHA_ROUNDING
    worst = max(
        mismatches,
        key=lambda m: (bool(m.difference.why), m.difference.visible, m.difference.largest),
        default=None,
    )
    if worst is None and deflated:
        result, detail = "repacked", deflated[0].label
    elif worst is None:
        result, detail = "exact", ""
    elif worst.difference.why:
        result, detail = "failed", f"{worst.label}: {worst.difference.why}"
    elif fidelity == "exact" or worst.difference.visible > bound:
        result, detail = "failed", worst.label
    else:
        result, detail = "bounded", worst.label
    return Graded(
        operation=group.family,
        mode=group.mode,
        size="x".join(map(str, worst.size)) if worst else "",
        level=LEVELS[group.level],
        grade=result,
        largest_difference=worst.difference.visible if worst else 0,
        raw_difference=max((m.difference.largest for m in group.mismatches), default=0),
        share=_largest_share(group.mismatches),
        bound=bound,
        cases=group.cases,
        different=len(group.mismatches),
        detail=detail,
    )


def _only_packing(mismatch: Mismatch) -> bool:
    """Whether two deflated files hold the same pixels, as stock's own decoder sees them."""
    found = mismatch.difference
    same = not found.why and found.largest == 0 and found.share == 0
    return same and mismatch.label.startswith(("save PNG", "save ICO"))


def _largest_share(mismatches: Iterable[Mismatch]) -> float:
    return max((mismatch.difference.share for mismatch in mismatches), default=0.0)


def _explain(row: Graded) -> str:
    where = f"{row.operation} of {row.mode} {row.size} at level {row.level}"
    how = f"{row.different} of {row.cases} cases differ"
    if row.detail and ": " in row.detail:
        return f"{where}: {row.detail} ({how})"
    return f"{where}: off by {row.largest_difference:g}, allowed {row.bound:g}, in “{row.detail}” ({how})"


def _never_ran(
    trace: Mapping[str, Any], levels: Sequence[int], ran: Mapping[tuple[str, str, int], int]
) -> list[str]:
    """Kernel variants that this CPU can run, are in the library, and served no call."""
    if not trace:
        return []
    variants = {(kernel, level) for _, kernel, level, _ in trace["entries"] if level in levels and level > 0}
    seen = {(kernel, level) for (_, kernel, level), calls in ran.items() if calls}
    return [
        f"the kernel {kernel} for {LEVELS[level].upper()} never ran"
        for kernel, level in sorted(variants - seen)
    ]


def _speed(stock: Probe, candidate: Probe, quick: bool, told: Progress) -> tuple[Row, ...]:
    effort = Effort(rounds=2 if quick else 3, slice=0.004)
    measure.pin((stock, candidate))
    rows: list[Row] = []
    suite = measure.catalogue(stock, "speed")
    for number, operation in enumerate(suite):
        told(operation.title, 0.75 + 0.25 * number / len(suite))
        try:
            first = {
                probe.build.label: measure.prepare(probe, "speed", operation.name)
                for probe in (stock, candidate)
            }
            seconds = {label: prepared.seconds for label, prepared in first.items()}
            samples = time_interleaved((stock, candidate), effort, first=seconds)
            comparison = compare_samples(samples["stock"], samples["candidate"])
        except (KeyError, ProbeDied, ProbeError):
            continue
        rows.append(
            Row(
                title=operation.title,
                stock=samples["stock"].median,
                candidate=samples["candidate"].median,
                comparison=comparison,
                kernels=kernel_names(first["candidate"].served),
            )
        )
    return tuple(rows)


def kernel_names(served: Sequence[Served]) -> tuple[str, ...]:
    """The kernels behind an outcome, as a table shows them: ``resample (avx2)``."""
    return tuple(
        dict.fromkeys(f"{entry.kernel} ({LEVELS[entry.level]})" for entry in served if entry.level > 0)
    )
