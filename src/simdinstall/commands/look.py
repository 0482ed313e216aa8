"""`simdinstall status`, `explain` and `cpu`: look, and change nothing."""

from __future__ import annotations

from argparse import Namespace

from simdinstall import (
    cpu,
    environment,
    install,
    pipeline,
    report,
)
from simdinstall.commands.frame import (
    Command,
    Output,
    build_request,
    open_services,
    scratch_folder,
    settled_target,
    tell_recovery,
)
from simdinstall.errors import EXIT_WOULD_CHANGE, FetchError
from simdinstall.options import (
    Group,
    build_options,
    cpu_option,
    index_options,
    output_options,
    target_options,
)
from simdinstall.progress import stderr_console


def _status_options(group: Group) -> None:
    target_options(group)
    cpu_option(group)
    index_options(group)
    group.flag("--check", help="for CI: exit 1 unless a build of simdinstall is there, intact and loaded")
    output_options(group)


def _status(arguments: Namespace, output: Output) -> int:
    target, recovery = settled_target(arguments)
    tell_recovery(recovery)
    status = install.status(target)
    newest: str | None = None
    with open_services(offline=arguments.offline, lifetime=arguments.index_lifetime) as services:
        try:
            newest = services.fetcher.newest("pillow", tags=target.tags, python=target.release)
        except FetchError as error:
            stderr_console().print(f"note: whether a newer Pillow is out is not known: {error.what}")
    running = pipeline.running_kernels(target) if status.version is not None else ()
    output.show(report.status_text(status, target, newest, running))
    amiss = _amiss(status, target, bool(running)) if arguments.check else ""
    if amiss:
        output.show(f"\nnot as it should be: {amiss}")
    output.give({**report.status_json(status, newest, running), "amiss": amiss})
    return EXIT_WOULD_CHANGE if amiss else 0


def _amiss(status: install.Status, target: environment.Environment, running: bool) -> str:
    """Why a build of ours does not serve here, in words; empty when it does."""
    if not status.ours:
        before = " in the place of a build of simdinstall" if status.latest is not None else ""
        return f"{status.name or 'no Pillow'} {status.version or ''}".strip() + f" is there{before}"
    if not status.intact:
        return f"{len(status.damaged)} files are missing or changed"
    if target.shadowed_by is not None:
        return f"{target.shadowed_by} is imported instead"
    return "" if running else "it cannot be imported"


def _explain_options(group: Group) -> None:
    build_options(group)
    target_options(group)
    cpu_option(group)
    output_options(group)


def _explain(arguments: Namespace, output: Output) -> int:
    request = build_request(arguments)
    target = environment.inspect(arguments.python)
    with (
        scratch_folder() as scratch,
        open_services(offline=request.offline, lifetime=arguments.index_lifetime) as services,
    ):
        prepared = pipeline.prepare(request, target, services=services, scratch=scratch, installing=False)
    output.show(report.explanation_text(prepared.plan))
    output.note(prepared.notes)
    output.give(report.document("explain", plan=report.plan_json(prepared.plan), notes=list(prepared.notes)))
    return 0


def _cpu_options(group: Group) -> None:
    cpu_option(group)
    output_options(group)


def _cpu(arguments: Namespace, output: Output) -> int:
    seen = cpu.detect(override=arguments.cpu, want_name=True)
    output.show(report.cpu_text(seen))
    output.give(report.cpu_json(seen))
    return 0


COMMANDS = (
    Command(
        name="status",
        summary="what is installed, whether it is intact, whether a newer Pillow is out",
        set_up=_status_options,
        run=_status,
    ),
    Command(
        name="explain",
        summary="why this level, these flags, these sources",
        set_up=_explain_options,
        run=_explain,
    ),
    Command(
        name="cpu", summary="the CPU as seen, and what each level lacks on it", set_up=_cpu_options, run=_cpu
    ),
)
