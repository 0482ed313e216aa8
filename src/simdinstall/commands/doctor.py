"""`simdinstall doctor` and `report`: what is wrong, what mends it, and mending it."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from rich.text import Text

from simdinstall import checkup, doctor, doctor_text, install
from simdinstall.commands.frame import (
    Command,
    Output,
    agreed,
    require_answer,
    settled_target,
    tell_recovery,
)
from simdinstall.errors import StateError
from simdinstall.fetch import Fetcher
from simdinstall.options import Group, ask_options, output_options, path, target_options
from simdinstall.store import default_root


def _doctor_options(group: Group) -> None:
    target_options(group)
    group.value(
        "--cpu",
        parse=path,
        repeat=True,
        metavar="FILE",
        complete="file",
        help="could this build run there? FILE: that machine's `simdinstall cpu --json`; may be repeated",
    )
    group.flag("--fix", help="do what mends it, as a transaction that `rollback` undoes")
    group.flag("--offline", help="do not ask the index for newer releases")
    ask_options(group)
    output_options(group)


def _collect(arguments: Namespace) -> doctor.Facts:
    fetcher = Fetcher(cache=default_root(), offline=arguments.offline, lifetime=checkup.LISTING_LIFETIME)
    # SIMDINSTALL_CPU says what to believe of this machine, as for every other command.
    believed = [str(value) for value in getattr(arguments, "cpu_default", [])]
    return checkup.collect(
        arguments.python,
        fetcher=fetcher,
        memory=default_root() / "releases.json",
        environ=os.environ,
        machines=tuple(getattr(arguments, "cpu", None) or ()),
        override=believed[0] if believed else None,
    )


def _doctor(arguments: Namespace, output: Output) -> int:
    if arguments.fix:
        return _fix(arguments, output)
    found = _collect(arguments)
    findings = doctor.diagnose(found)
    code = doctor.exit_code(findings)
    output.show(doctor_text.doctor_text(found, findings))
    output.give(doctor_text.doctor_json(found, findings, code))
    return code


class _Quiet(Output):
    """For a command within a command: progress is shown, its JSON document is not."""

    def give(self, data: Any) -> None:
        """Nothing: the outer command gives one document of its own."""


def _fix(arguments: Namespace, output: Output) -> int:
    require_answer(arguments)
    _, recovery = settled_target(arguments)
    tell_recovery(recovery)
    before = _collect(arguments)
    findings = doctor.diagnose(before)
    mendable = [f for f in findings if f.fixable and f.severity > doctor.Severity.NOTE]
    output.show(doctor_text.doctor_text(before, findings))
    if not mendable:
        open_ones = any(finding.severity > doctor.Severity.NOTE for finding in findings)
        output.show(Text("\nnothing that --fix can do: run the commands above" if open_ones else ""))
        code = doctor.exit_code(findings)
        output.give({**doctor_text.doctor_json(before, findings, code), "fixed": []})
        return code
    if not agreed(arguments, f"\nMend {len(mendable)} of these by one installation?"):
        output.show("nothing was changed")
        return doctor.exit_code(findings)
    from simdinstall.commands.install import run_install  # Late: a mere look needs none of it.

    run_install(_installing(arguments, before), _Quiet(arguments))
    after = _collect(arguments)
    left = doctor.diagnose(after)
    code = doctor.exit_code(left)
    output.show("")
    output.show(doctor_text.doctor_text(after, left))
    done = {(finding.code, finding.what) for finding in left}
    fixed = [doctor_text.finding_json(f) for f in mendable if (f.code, f.what) not in done]
    output.give({**doctor_text.doctor_json(after, left, code), "fixed": fixed})
    return code


def _installing(arguments: Namespace, found: doctor.Facts) -> Namespace:
    """The arguments of the installation that mends: as it was built before, else as by default."""
    from simdinstall.commands.install import install_arguments

    return install_arguments(
        os.environ,
        python=arguments.python,
        offline=arguments.offline,
        yes=True,
        json=arguments.json,
        verbose=arguments.verbose,
        **found.status.made_with,
    )


def _report_options(group: Group) -> None:
    target_options(group)
    group.flag("--offline", help="do not ask the index for newer releases")


def _report(arguments: Namespace, output: Output) -> int:
    found = _collect(arguments)
    try:
        history = install.history(found.env)
    except StateError:
        history = ()
    text = doctor_text.report_text(
        found,
        doctor.diagnose(found),
        history=history,
        logs=_logs(default_root()),
        environ=os.environ,
    )
    print(text, end="")
    return 0


def _logs(root: Path) -> list[tuple[str, str]]:
    """The newest log of a failed build, which is what people ask about."""
    found = sorted((root / "logs").glob("*"), key=lambda log: log.stat().st_mtime)
    return [(log.name, log.read_text(encoding="utf-8", errors="replace")) for log in found[-1:]]


COMMANDS = (
    Command(
        name="doctor",
        summary="what is wrong with this Pillow, how bad it is, and the command that mends it",
        set_up=_doctor_options,
        run=_doctor,
    ),
    Command(
        name="report",
        summary="everything that a bug report needs, as text without names and passwords",
        set_up=_report_options,
        run=_report,
    ),
)
