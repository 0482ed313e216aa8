"""`simdinstall tune`: measure compilers and flags here, keep the fastest for later."""

from __future__ import annotations

import shutil
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rich.table import Table

from simdinstall import (
    archive,
    build,
    cpu,
    environment,
    kernels,
    options,
    pipeline,
    report,
    tune,
    tuned,
)
from simdinstall.commands.frame import Command, Output, open_services, scratch_folder
from simdinstall.errors import CpuError, SimdinstallError
from simdinstall.options import Group, output_options, repeated, target_options
from simdinstall.plan import Plan, Request
from simdinstall.store import default_root
from simdinstall.tune import Candidate, Result
from simdinstall.tuned import Tuned


def _tune_options(group: Group) -> None:
    group.value(
        "--compilers",
        metavar="NAME",
        repeat=True,
        parse=options.compiler_name,
        help="a compiler to try (gcc, clang, zig, a path); may be repeated (default: all that are here)",
    )
    group.value("--pillow", metavar="VERSION", help="the Pillow release (default: the newest)")
    group.flag("--quick", help="each compiler with its plain flags only, measured once")
    group.flag(
        "--rebuild",
        help="tune Pillow's own core for later --rebuild: each compiler, gcc also with a training",
    )
    group.flag("--reset", help="forget what was kept for this CPU, and stop")
    target_options(group)
    group.flag("--offline", help="use only what is in the cache")
    output_options(group)


def _tune(arguments: Namespace, output: Output) -> int:
    target = environment.inspect(arguments.python)
    seen = cpu.detect(want_name=False)
    with scratch_folder() as scratch, open_services(offline=arguments.offline) as services:
        if arguments.reset:
            before = tuned.read(services.store, seen, core=arguments.rebuild)
            tuned.keep(services.store, seen, None, core=arguments.rebuild)
            output.show(f"forgotten: {before.label}" if before else "nothing was kept for this CPU")
            output.give(report.document("tune", kept=None, results=[]))
            return 0
        march = cpu.resolve_march("auto", seen)
        if not march.isas and not arguments.rebuild:
            raise CpuError("there is nothing to tune", why=f"no kernels exist for {seen.level}")
        named = repeated(arguments, "compilers") or list(_found())
        tried = (
            tune.core_candidates(named)
            if arguments.rebuild
            else tune.candidates(
                named,
                prebuilt=not repeated(arguments, "compilers"),
                quick=arguments.quick,
                wide="avx512" in march.isas,
            )
        )
        built: dict[Candidate, Path] = {}
        failed: dict[Candidate, str] = {}
        warnings: dict[Candidate, str] = {}
        official: Path | None = None
        for number, one in enumerate(tried):
            services.progress(f"building: {one.label}", number, len(tried))
            folder = scratch / str(number)
            try:
                prepared = pipeline.prepare(
                    _request(one, arguments), target, services=services, scratch=folder, installing=False
                )
                wanted = prepared.plan if arguments.rebuild else _best_only(prepared.plan)
                made = build.build(wanted, store=services.store, progress=services.progress)
                archive.extract(made.path, folder / "built")
            except SimdinstallError as error:
                failed[one] = ": ".join(filter(None, (error.what, error.why.strip().split("\n")[-1])))
                continue
            built[one] = folder / "built"
            official = prepared.plan.sources.pillow.path
            warnings[one] = tune.warning(prepared.plan.maker.kind, prepared.plan.maker.version)
        results: tuple[Result, ...] = ()
        if official is not None:
            archive.extract(official, scratch / "stock")
            results = tune.measure_all(
                built,
                scratch / "stock",
                python=target.python,
                passes=1 if arguments.quick else 3,
                progress=services.progress,
                core=arguments.rebuild,
                effort=tune.CORE_EFFORT if arguments.rebuild else tune.EFFORT,
            )
        results = tuple(replace(one, warning=warnings.get(one.candidate, "")) for one in results)
        results += tuple(Result(candidate=one, why=why) for one, why in failed.items())
        best = tune.winner(results)
        choice = Tuned(
            label=best.candidate.label,
            compiler=best.candidate.compiler,
            flags=best.candidate.flags,
            trained=best.candidate.trained,
            why=f"the fastest of {len(built)} that `simdinstall tune` measured on this CPU",
        )
        tuned.keep(services.store, seen, choice, core=arguments.rebuild)
    what, option = ("core", " --rebuild") if arguments.rebuild else ("kernels", "")
    output.show(_table(results, best, what))
    output.show(
        f"kept for {seen.microarchitecture}: {choice.label}; `simdinstall tune{option} --reset` forgets it"
    )
    output.give(
        report.document("tune", kept=_choice_json(choice), results=[_result_json(r) for r in results])
    )
    return 0


def _found() -> Iterator[str]:
    """The compilers that are on this machine, zig where it was fetched before."""
    for name in ("gcc", "clang"):
        if shutil.which(name):
            yield name
    if any((default_root() / "zig").glob("*/ziglang/zig")) or not shutil.which("gcc"):
        yield "zig"


def _request(candidate: Candidate, arguments: Namespace) -> Request:
    ready = candidate.compiler == tuned.PREBUILT
    return Request(
        pillow=arguments.pillow,
        python=arguments.python,
        compiler="auto" if ready else candidate.compiler,
        kernels="auto" if arguments.rebuild else "prebuilt" if ready else "source",
        rebuild=arguments.rebuild,
        trained=candidate.trained,
        tuning=candidate.flags,
        offline=arguments.offline,
    )


def _best_only(plan: Plan) -> Plan:
    """Only the best instruction set: the others would not run, and cost as much to compile."""
    if plan.prebuilt is not None:
        return plan
    return replace(plan, march=replace(plan.march, isas=(max(plan.march.isas, key=kernels.ISAS.index),)))


def _table(results: tuple[Result, ...], best: Result, what: str) -> Table:
    table = Table(f"{what} by", "times stock", "", box=None, padding=(0, 2), header_style="bold")
    for result in sorted(results, key=lambda one: -one.speed):
        speed = f"{result.speed:.2f}" if not result.why else "-"
        table.add_row(result.candidate.label, speed, result.why or result.warning or _mark(result, best))
    return table


def _mark(result: Result, best: Result) -> str:
    return "kept" if result is best else ""


def _choice_json(choice: Tuned) -> dict[str, object]:
    return {
        "label": choice.label,
        "compiler": choice.compiler,
        "flags": list(choice.flags),
        "trained": choice.trained,
    }


def _result_json(result: Result) -> dict[str, object]:
    return {
        "compiler": result.candidate.compiler,
        "flags": list(result.candidate.flags),
        "trained": result.candidate.trained,
        "speed": result.speed or None,
        "operations": dict(result.rows),
        "warning": result.warning,
        "why": result.why,
    }


COMMANDS = (
    Command(
        name="tune",
        summary="measure compilers and flags on this machine, and keep the fastest for later builds",
        set_up=_tune_options,
        run=_tune,
    ),
)
