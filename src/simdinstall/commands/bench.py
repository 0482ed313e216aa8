"""`simdinstall bench`: arguments in, reports out."""

from __future__ import annotations

import os
import shlex
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path

from simdinstall import (
    bench,
    bench_changes,
    bench_chart,
    bench_html,
    bench_report,
    bench_table,
    cpu,
    environment,
    peers,
    report,
)
from simdinstall.commands.frame import (
    Command,
    Output,
    open_services,
    scratch_folder,
)
from simdinstall.environment import Environment
from simdinstall.errors import EXIT_INTERRUPTED, EXIT_WOULD_CHANGE, TargetError, UsageError
from simdinstall.options import (
    Group,
    index_options,
    output_options,
    path,
    repeated,
)
from simdinstall.store import default_root


def _bench_options(group: Group) -> None:
    group.value(
        "--against",
        default="stock",
        metavar="NAMES",
        help="peers, by commas: stock, pillow-simd, pillow-simd-sse4, opencv, pyvips",
    )
    group.value(
        "--python",
        parse=path,
        repeat=True,
        metavar="PATH",
        complete="file",
        help="another environment to measure too; may be repeated",
    )
    group.value("--suite", default="wide", choices=("wide", "perf", "both"), help="which operations")
    group.value("--ops", metavar="REGEX", help="only the rows whose name it is found in")
    group.flag("--quick", help="a minute instead of ten; sees differences above 1.3 times")
    group.value("--core", parse=_core, metavar="N", help="the processor core to measure on")
    group.value("--save", parse=path, metavar="FILE", complete="file", help="keep the figures, for --compare")
    group.value(
        "--compare",
        parse=path,
        metavar="FILE",
        complete="file",
        help="say what got slower or faster since FILE was saved; exit 1 if something got slower",
    )
    group.value(
        "--tolerance",
        default=0.1,
        parse=_share,
        metavar="SHARE",
        help="how much slower is still no regression (0.1: ten per cent)",
    )
    group.value(
        "--html", parse=path, metavar="FILE", complete="file", help="write a page with charts and tables"
    )
    group.value("--chart", parse=path, metavar="FILE", complete="file", help="write the summary chart as SVG")
    index_options(group)
    output_options(group)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < 1:
        raise ArgumentTypeError(f"{text} is no share from 0 up to 1, such as 0.1 for ten per cent")
    return value


def _core(text: str) -> int:
    cores = sorted(os.sched_getaffinity(0))
    if text not in map(str, cores):
        raise ArgumentTypeError(f"{text} is none of the cores here: {', '.join(map(str, cores))}")
    return int(text)


def _check(arguments: Namespace) -> None:
    """Find out what is wrong before anything is measured for ten minutes. Raises :class:`UsageError`."""
    bench.pattern(arguments.ops)
    for file in (arguments.save, arguments.html, arguments.chart):
        if file is not None and (file.is_dir() or not os.access(file.parent, os.W_OK | os.X_OK)):
            why = "it is a folder" if file.is_dir() else f"{file.parent} is no folder that can be written to"
            raise UsageError(f"{file} cannot be written", why=why)


def _bench(arguments: Namespace, output: Output) -> int:
    _check(arguments)
    old = bench_report.load(arguments.compare) if arguments.compare else None
    suites = ("perf", "wide") if arguments.suite == "both" else (arguments.suite,)
    with (
        scratch_folder() as scratch,
        open_services(offline=arguments.offline, lifetime=arguments.index_lifetime) as services,
    ):
        target, others = _measured(repeated(arguments, "python"))
        participants = peers.gather(
            target,
            against=[name for name in arguments.against.split(",") if name],
            others=others,
            cache=default_root(),
            fetcher=services.fetcher,
            progress=services.progress,
        )
        found = bench.run_bench(
            participants,
            bench.Options(suites=suites, ops=arguments.ops, quick=arguments.quick, core=arguments.core),
            folder=scratch,
            cpu=cpu.detect(want_name=True).name,
            command=shlex.join(("simdinstall", *sys.argv[1:])),
            progress=services.progress,
        )
    output.show(bench_table.report_text(found, width=output.console.width))
    changes = bench_changes.compare_reports(old, found, tolerance=arguments.tolerance) if old else None
    if changes is not None:
        output.show(bench_table.changes_text(changes))
    output.give(report.document("bench", report=found.to_json(), changes=changes and changes.to_json()))
    if arguments.save:
        bench_report.save(found, arguments.save)
    if arguments.html:
        _write(arguments.html, bench_html.page(found))
    if arguments.chart:
        builds = found.measured[1:]
        bars = bench_chart.group_bars(found, found.rows, builds)
        title = f"Times as fast as {found.measured[0].title}"
        _write(arguments.chart, bench_chart.chart(bars, builds, title=title, standalone=True))
    if found.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_WOULD_CHANGE if changes is not None and changes.slower else 0


def _measured(named: Sequence[Path]) -> tuple[Environment, list[Environment | peers.Participant]]:
    """The environment to measure, the active one if it has a Pillow, and those beside it."""
    try:
        target: Environment | None = environment.inspect(None)
    except TargetError:
        if not named:
            raise
        target = None
    if named and (target is None or target.pil_path is None):
        target, named = environment.inspect(named[0]), named[1:]
    assert target is not None
    others: list[Environment | peers.Participant] = []
    for place in named:
        try:
            others.append(environment.inspect(place))
        except TargetError as error:
            others.append(peers.Participant(label=str(place), title=str(place), why=error.what))
    return target, others


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written", why=error.strerror or "") from error


COMMANDS = (
    Command(
        name="bench",
        summary="measure this Pillow against stock and others, operation by operation",
        set_up=_bench_options,
        run=_bench,
    ),
)
