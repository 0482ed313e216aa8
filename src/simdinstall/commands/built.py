"""Building a Pillow with kernels here: plan, ask, build, verify, put in or hand over."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from simdinstall import (
    conda,
    environment,
    headers,
    install,
    package_managers,
    pipeline,
    plan,
    report,
    source_build,
    system_libs,
    toolchain,
)
from simdinstall.commands.frame import (
    Output,
    agreed,
    build_request,
    open_services,
    scratch_folder,
    settled_target,
    tell_recovery,
)
from simdinstall.environment import Environment, State
from simdinstall.errors import EXIT_WOULD_CHANGE, BuildError, TargetError
from simdinstall.progress import stderr_console
from simdinstall.run import run


def install_built(arguments: Namespace, output: Output) -> int:
    """Plan, ask, build, verify, exchange."""
    request = build_request(arguments)
    target, recovery = settled_target(arguments)
    tell_recovery(recovery)
    if arguments.conda:
        target = _without_conda(target, output)
    if arguments.install_deps and not (arguments.check or arguments.dry_run):
        _install_compiler(arguments, target)
        if request.libs == "system":
            _install_libraries(arguments, target, request.without)
    with scratch_folder() as scratch:
        with open_services(offline=request.offline, lifetime=arguments.index_lifetime) as services:
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
        if not agreed(arguments, "\nGo on?"):
            output.show("nothing was changed")
            return 0
        with open_services(offline=request.offline, lifetime=arguments.index_lifetime) as services:
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


def _without_conda(target: Environment, output: Output) -> Environment:
    """The target with conda's Pillow given up. Raises TargetError where conda has no part in it."""
    if target.state != State.CONDA:
        raise TargetError(
            f"{target.prefix} is no conda environment",
            why="there is no conda-meta in it",
            hint="leave --conda out",
        )
    for package in conda.removed(target):
        output.show(f"taken out of conda's record, kept for rollback: {package}")
    return conda.released(target)


def _install_compiler(arguments: Namespace, target: Environment) -> None:
    """Run the package manager's command for a compiler, after asking, where none works."""

    def no_zig() -> Path:
        raise BuildError("zig was not asked for")

    try:
        toolchain.find("auto", zig=no_zig, libc=target.libc.split()[0])
    except BuildError:
        command = package_managers.compiler_command(target.package_manager)
    else:
        return
    if not command:
        raise TargetError(
            f"no package manager is known for {target.distro}",
            hint="install gcc and the C library's headers, or leave --install-deps out: zig is fetched then",
        )
    _run_manager(arguments, command, "No C compiler works here.")


def _install_libraries(arguments: Namespace, target: Environment, without: Sequence[str]) -> None:
    """Run the package manager's command for what Pillow is compiled with, after asking."""
    missing = system_libs.lacking(system_libs.wanted(without))
    more = system_libs.python_package(
        source_build.includes(target, run), target, headers.manager_of(target.package_manager)
    )
    command = system_libs.install_command(missing, target, more)
    if command:
        _run_manager(arguments, command, "; ".join(map(str, missing)))


def _run_manager(arguments: Namespace, command: tuple[str, ...], why: str) -> None:
    lists = package_managers.lists_command(command[0])
    command = package_managers.elevated(command)
    commands = [package_managers.elevated(lists), command] if lists else [command]
    if agreed(arguments, f"{why} Run `{' && '.join(map(shlex.join, commands))}`?"):
        for one in commands:
            stderr_console().print(shlex.join(one), highlight=False)
            run(one, timeout=3600)


def wheel(arguments: Namespace, output: Output) -> int:
    """Build, verify, and put the wheel into a folder."""
    request = build_request(arguments)
    target = environment.inspect(arguments.python)
    with (
        scratch_folder() as scratch,
        open_services(offline=request.offline, lifetime=arguments.index_lifetime) as services,
    ):
        prepared = pipeline.prepare(request, target, services=services, scratch=scratch, installing=False)
        made = pipeline.make(prepared, services=services, scratch=scratch, verify_with=request.verify_with)
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
