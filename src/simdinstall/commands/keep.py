"""`simdinstall hold`, `upgrade` and `docker`: kept fast, kept new, and the same in an image."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path

from packaging.version import Version
from rich.console import Group as Lines
from rich.text import Text

from simdinstall import dockerfile, environment, hold, install, report
from simdinstall.commands.frame import (
    Command,
    Output,
    open_services,
    require_answer,
    settled_target,
    tell_recovery,
)
from simdinstall.commands.install import install_arguments, run_install
from simdinstall.distributions import Distribution
from simdinstall.environment import Environment
from simdinstall.errors import EXIT_WOULD_CHANGE, TargetError
from simdinstall.options import Group, ask_options, index_options, output_options, path, target_options


def _ours(target: Environment) -> tuple[install.Status, Distribution]:
    """The build of ours in ``target``. Raises TargetError when there is none."""
    status = install.status(target)
    owner = next((o for o in target.replaced if o.version == status.version), None)
    if owner is None or not (status.ours and status.version):
        raise TargetError(
            f"the Pillow in {target.site} is not a build of simdinstall",
            why=f"there is {status.name or 'none'} {status.version or ''}".strip(),
            hint=f"simdinstall --python {target.python}",
        )
    return status, owner


def _hold_options(group: Group) -> None:
    target_options(group)
    group.value(
        "--project",
        parse=path,
        metavar="DIR",
        complete="directory",
        help="write for uv and pip-tools too, into the pyproject.toml in DIR",
    )
    group.flag("--remove", help="take back what hold has written")
    output_options(group)


def _hold(arguments: Namespace, output: Output) -> int:
    target = environment.inspect(arguments.python)
    project: Path | None = arguments.project
    if arguments.remove:
        places = (target.prefix, *((project,) if project else ()))
        changed = hold.release(*places)
        output.show("\n".join(f"taken back: {file}" for file in changed) or "nothing was held")
        output.give(report.document("hold", removed=[str(file) for file in changed], held=[]))
        return 0
    status, owner = _ours(target)
    assert status.version is not None
    held = [hold.hold_environment(target, status.version)] if target.has_pip or project is None else []
    if project is not None:
        held += hold.hold_project(project, target, owner)
    for one in held:
        output.show(
            Lines(
                Text(f"{one.tool}: pillow {status.version} is held", style="bold"),
                report.facts(
                    [("written", ", ".join(map(str, one.files))), ("can", one.can), ("cannot", one.cannot)]
                ),
            )
        )
    output.give(
        report.document(
            "hold",
            version=status.version,
            removed=[],
            held=[
                {"tool": o.tool, "files": [str(f) for f in o.files], "can": o.can, "cannot": o.cannot}
                for o in held
            ],
        )
    )
    return 0


def _upgrade_options(group: Group) -> None:
    target_options(group)
    index_options(group)
    group.flag("--check", help="exit 1 if a newer Pillow is out, 0 if not; change nothing")
    ask_options(group)
    output_options(group)


def _upgrade(arguments: Namespace, output: Output) -> int:
    if not arguments.check:
        require_answer(arguments)
    target, recovery = settled_target(arguments)
    tell_recovery(recovery)
    status, _ = _ours(target)
    current = Version(status.version or "0").public
    with open_services(offline=arguments.offline, lifetime=arguments.index_lifetime) as services:
        newest = services.fetcher.newest("pillow", tags=target.tags, python=target.release)
    newer = Version(newest) > Version(current)
    if arguments.check or not newer:
        told = f"Pillow {newest} is out; {current} is there" if newer else f"{current} is the newest Pillow"
        output.show(told)
        output.give(report.document("upgrade", current=current, newest=newest, would_change=newer))
        return EXIT_WOULD_CHANGE if arguments.check and newer else 0
    held = hold.is_held(target, status.version or "")
    code = run_install(
        install_arguments(
            os.environ,
            python=arguments.python,
            pillow=newest,
            offline=arguments.offline,
            yes=arguments.yes,
            json=arguments.json,
            verbose=arguments.verbose,
            **status.made_with,
        ),
        output,
    )
    if held:
        now = install.status(environment.inspect(arguments.python))
        if now.ours and now.version:
            hold.hold_environment(target, now.version)
            output.show(f"pip is told to hold {now.version} now")
    return code


def _docker_options(group: Group) -> None:
    here = f"python:{sys.version_info[0]}.{sys.version_info[1]}-slim"
    group.value("--image", default=here, metavar="IMAGE", help=f"what both stages are (default: {here})")
    group.value("--march", default="portable", help="what to build for (default: portable)")
    group.value("--pillow", metavar="VERSION", help="the Pillow release (default: the newest)")
    group.value(
        "--requirement",
        default="simdinstall",
        metavar="REQUIREMENT",
        help="where pip gets simdinstall from: a name, a URL, a wheel's path",
    )


def _docker(arguments: Namespace, output: Output) -> int:
    print(
        dockerfile.lines(
            image=arguments.image,
            march=arguments.march,
            release=arguments.pillow,
            requirement=arguments.requirement,
        ),
        end="",
    )
    return 0


COMMANDS = (
    Command(
        name="upgrade",
        summary="a newer Pillow is out: build, verify and exchange it, for the same CPU and fidelity",
        set_up=_upgrade_options,
        run=_upgrade,
    ),
    Command(
        name="hold",
        summary="write what keeps pip, uv and pip-tools from putting stock Pillow back",
        set_up=_hold_options,
        run=_hold,
    ),
    Command(
        name="docker",
        summary="print the lines of a Dockerfile that build once and copy the wheel",
        set_up=_docker_options,
        run=_docker,
    ),
)
