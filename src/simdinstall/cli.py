"""The command: arguments in, text or JSON out, an exit code back.

Each command is a function from parsed arguments to an exit code. Results go to stdout,
progress and errors to stderr. This is the only module that prints.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import shtab
from rich.console import Console, RenderableType
from rich.prompt import Confirm
from rich.text import Text

from simdinstall import (
    bench,
    bench_chart,
    bench_html,
    bench_table,
    cpu,
    environment,
    install,
    options,
    peers,
    pipeline,
    plan,
    report,
)
from simdinstall.environment import Environment
from simdinstall.errors import (
    EXIT_INTERRUPTED,
    EXIT_WOULD_CHANGE,
    FetchError,
    SimdinstallError,
    TargetError,
    UsageError,
)
from simdinstall.fetch import Fetcher
from simdinstall.plan import Request
from simdinstall.progress import TerminalProgress, sized, stderr_console
from simdinstall.store import Store, default_root


class Output:
    """Where results go: a person's text or a program's JSON, never both."""

    def __init__(self, arguments: Namespace) -> None:
        self.json: bool = getattr(arguments, "json", False)
        self.verbose: bool = getattr(arguments, "verbose", False)
        self.console = sized(Console(highlight=False))

    def show(self, text: RenderableType) -> None:
        """Print for a person; nothing when JSON is wanted."""
        if not self.json:
            self.console.print(text)

    def give(self, data: Mapping[str, Any]) -> None:
        """Print for a program, when JSON is wanted."""
        if self.json:
            print(json.dumps(data, indent=2, sort_keys=False))

    def note(self, notes: Iterable[str]) -> None:
        """Print what else a person may want to know; JSON documents have a field for it."""
        for note in notes:
            self.show(Text(f"note: {note}"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit code (see :data:`errors.EXIT_CODES`)."""
    given = sys.argv[1:] if argv is None else list(argv)
    wants_json = "--json" in given
    try:
        arguments = options.parse(given, os.environ)
        wants_json = getattr(arguments, "json", False)
        return COMMANDS[arguments.command](arguments, Output(arguments))
    except SimdinstallError as error:
        if wants_json:
            print(json.dumps(report.error_json(error), indent=2))
        else:
            stderr_console().print(report.error_text(error))
        return error.exit_code
    except KeyboardInterrupt:
        stderr_console().print("interrupted; nothing half done was left")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader went away, as `| head` does; that is no failure of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


# ---------------------------------------------------------------- what commands share


def _request(arguments: Namespace) -> Request:
    return Request(
        march=arguments.march,
        pillow=arguments.pillow,
        python=arguments.python,
        fidelity=arguments.fidelity,
        compiler=arguments.compiler,
        cpu=arguments.cpu,
        offline=arguments.offline,
    )


@contextmanager
def _services(*, offline: bool) -> Iterator[pipeline.Services]:
    root = default_root()
    with TerminalProgress(stderr_console()) as progress:
        fetcher = Fetcher(cache=root, offline=offline, progress=progress)
        try:
            yield pipeline.Services(fetcher=fetcher, store=Store(root), progress=progress)
        finally:
            fetcher.close()


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="simdinstall-") as name:
        yield Path(name)


def _target(arguments: Namespace) -> tuple[Environment, install.Recovery | None]:
    """The environment, after whatever an earlier command was interrupted in is settled."""
    found = environment.inspect(arguments.python)
    recovery = install.recover(found)
    return (environment.inspect(arguments.python) if recovery else found), recovery


def _tell_recovery(recovery: install.Recovery | None) -> None:
    if recovery is not None:
        stderr_console().print(
            f"an interrupted {recovery.action or 'change'} was {recovery.outcome}", highlight=False
        )


def _require_answer(arguments: Namespace) -> None:
    """UsageError, before any work, when a question will come that nobody can answer."""
    if arguments.yes or (not arguments.json and sys.stdin.isatty() and sys.stderr.isatty()):
        return
    raise UsageError(
        "nobody can be asked whether to go on",
        why="--json was given" if arguments.json else "stdin or stderr is no terminal",
        hint="say it beforehand with --yes, or look first with --dry-run",
    )


def _agreed(arguments: Namespace, question: str) -> bool:
    """Ask once, unless --yes has answered."""
    return arguments.yes or Confirm.ask(question, console=stderr_console(), default=True)


# ---------------------------------------------------------------- the commands


def _install(arguments: Namespace, output: Output) -> int:
    request = _request(arguments)
    if not (arguments.check or arguments.dry_run):
        _require_answer(arguments)
    target, recovery = _target(arguments)
    _tell_recovery(recovery)
    with _scratch() as scratch:
        with _services(offline=request.offline) as services:
            prepared = pipeline.prepare(request, target, services=services, scratch=scratch, installing=True)
        up_to_date = prepared.up_to_date
        if not up_to_date or output.verbose:
            output.show(report.plan_text(prepared.plan, verbose=output.verbose))
        output.note(prepared.notes)
        plan.require_kernels(prepared.plan)
        document = report.document(
            "install",
            plan=report.plan_json(prepared.plan),
            would_change=not up_to_date,
            notes=list(prepared.notes),
        )
        if up_to_date or arguments.check or arguments.dry_run:
            output.show(f"\n{'nothing to do: ' + up_to_date if up_to_date else 'nothing was changed'}")
            output.give(document)
            return EXIT_WOULD_CHANGE if arguments.check and not up_to_date else 0
        if not _agreed(arguments, "\nGo on?"):
            output.show("nothing was changed")
            return 0
        with _services(offline=request.offline) as services:
            made = pipeline.make(prepared, services=services, scratch=scratch)
            made.verdict.require_ok()
            transaction = install.install(made.wheel, made.verdict, target, progress=services.progress)
    output.show("")
    output.show(report.installed_text(made.wheel, made.verdict, transaction, verbose=output.verbose))
    output.give(
        {
            **document,
            **report.outcome_json(made.wheel, made.verdict),
            "transaction": report.transaction_json(transaction),
        }
    )
    return 0


def _wheel(arguments: Namespace, output: Output) -> int:
    request = _request(arguments)
    target = environment.inspect(arguments.python)
    with _scratch() as scratch, _services(offline=request.offline) as services:
        prepared = pipeline.prepare(request, target, services=services, scratch=scratch, installing=False)
        made = pipeline.make(prepared, services=services, scratch=scratch)
        made.verdict.require_ok()
        wheel = pipeline.deliver(made.wheel, arguments.output)
    output.note(prepared.notes)
    output.show(report.wheel_text(wheel, made.verdict, verbose=output.verbose))
    output.give(
        report.document(
            "wheel",
            plan=report.plan_json(prepared.plan),
            **report.outcome_json(wheel, made.verdict),
            notes=list(prepared.notes),
        )
    )
    return 0


def _rollback(arguments: Namespace, output: Output) -> int:
    _require_answer(arguments)
    target, recovery = _target(arguments)
    _tell_recovery(recovery)
    before = install.status(target)
    if before.latest is not None and not _agreed(
        arguments, f"Bring back {before.latest.before} in the place of {before.version or 'nothing'}?"
    ):
        output.show("nothing was changed")
        return 0
    with TerminalProgress(stderr_console()) as progress:
        transaction = install.rollback(target, force=arguments.force, progress=progress)
    output.show(f"{transaction.after} is back in {transaction.site}, in the place of {transaction.before}")
    output.give(report.document("rollback", transaction=report.transaction_json(transaction)))
    return 0


def _history(arguments: Namespace, output: Output) -> int:
    target = environment.inspect(arguments.python)
    entries = install.history(target)
    output.show(report.history_text(entries, target.site))
    output.give(report.history_json(entries))
    return 0


def _status(arguments: Namespace, output: Output) -> int:
    target, recovery = _target(arguments)
    _tell_recovery(recovery)
    status = install.status(target)
    newest: str | None = None
    with _services(offline=arguments.offline) as services:
        try:
            newest = services.fetcher.newest("pillow", tags=target.tags, python=target.release)
        except FetchError as error:
            stderr_console().print(f"note: whether a newer Pillow is out is not known: {error.what}")
    running = pipeline.running_kernels(target) if status.version is not None else ()
    output.show(report.status_text(status, target, newest, running))
    output.give(report.status_json(status, newest, running))
    return 0


def _explain(arguments: Namespace, output: Output) -> int:
    request = _request(arguments)
    target = environment.inspect(arguments.python)
    with _scratch() as scratch, _services(offline=request.offline) as services:
        prepared = pipeline.prepare(request, target, services=services, scratch=scratch, installing=False)
    output.show(report.explanation_text(prepared.plan))
    output.note(prepared.notes)
    output.give(report.document("explain", plan=report.plan_json(prepared.plan), notes=list(prepared.notes)))
    return 0


def _cpu(arguments: Namespace, output: Output) -> int:
    seen = cpu.detect(override=arguments.cpu, want_name=True)
    output.show(report.cpu_text(seen))
    output.give(report.cpu_json(seen))
    return 0


def _bench(arguments: Namespace, output: Output) -> int:
    old = bench.load(arguments.compare) if arguments.compare else None
    suites = ("perf", "wide") if arguments.suite == "both" else (arguments.suite,)
    with _scratch() as scratch, _services(offline=arguments.offline) as services:
        target, others = _measured(options.repeated(arguments, "python"))
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
    if arguments.save:
        bench.save(found, arguments.save)
    if arguments.html:
        _write(arguments.html, bench_html.page(found))
    if arguments.chart:
        builds = found.measured[1:]
        bars = bench_chart.group_bars(found, found.rows, builds)
        title = f"Times as fast as {found.measured[0].title}"
        _write(arguments.chart, bench_chart.chart(bars, builds, title=title, standalone=True))
    output.show(bench_table.report_text(found, width=output.console.width))
    changes = bench.compare_reports(old, found, tolerance=arguments.tolerance) if old else None
    if changes is not None:
        output.show(bench_table.changes_text(changes))
    output.give(report.document("bench", report=found.to_json(), changes=changes and changes.to_json()))
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


def _completion(arguments: Namespace, output: Output) -> int:
    print(shtab.complete(options.build_parser({}), arguments.shell))
    return 0


COMMANDS: Mapping[str, Callable[[Namespace, Output], int]] = {
    "install": _install,
    "wheel": _wheel,
    "rollback": _rollback,
    "history": _history,
    "status": _status,
    "explain": _explain,
    "cpu": _cpu,
    "bench": _bench,
    "completion": _completion,
}
