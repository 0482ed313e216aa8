"""`simdinstall rollback` and `history`: what was done, and back."""

from __future__ import annotations

from argparse import Namespace

from simdinstall import (
    environment,
    hold,
    install,
    report,
)
from simdinstall.commands.frame import (
    Command,
    Output,
    agreed,
    require_answer,
    settled_target,
    tell_recovery,
)
from simdinstall.environment import Environment
from simdinstall.options import (
    Group,
    ask_options,
    output_options,
    target_options,
)
from simdinstall.progress import TerminalProgress, stderr_console


def _rollback_options(group: Group) -> None:
    target_options(group)
    group.value(
        "--to",
        default="previous",
        choices=("previous", "original"),
        help="previous: what the last change replaced; original: what was there before simdinstall came",
    )
    group.flag("--force", help="even if something else has changed Pillow since")
    ask_options(group)
    output_options(group)


def _rollback(arguments: Namespace, output: Output) -> int:
    require_answer(arguments)
    target, recovery = settled_target(arguments)
    tell_recovery(recovery)
    returning = install.what_returns(target, to=arguments.to)
    present = install.status(target).version or "nothing"
    held = hold.is_held(target, present)
    if not agreed(arguments, f"Bring back {returning} in the place of {present}?"):
        output.show("nothing was changed")
        return 0
    with TerminalProgress(stderr_console()) as progress:
        transaction = install.rollback(target, to=arguments.to, force=arguments.force, progress=progress)
    output.show(f"{transaction.after} is back in {transaction.site}, in the place of {transaction.before}")
    if held:
        output.show(_hold_again(target))
    output.give(report.document("rollback", transaction=report.transaction_json(transaction)))
    return 0


def _hold_again(target: Environment) -> str:
    """Have pip hold what is there now, or nothing; what was held is gone and could not be installed again."""
    now = install.status(environment.inspect(target.python))
    if now.ours and now.version:
        hold.hold_environment(target, now.version)
        return f"pip is told to hold {now.version} now"
    hold.release(target.prefix)
    return "pip is no longer told to hold a build of simdinstall"


def _history_options(group: Group) -> None:
    target_options(group)
    output_options(group)


def _history(arguments: Namespace, output: Output) -> int:
    target = environment.inspect(arguments.python)
    entries = install.history(target)
    output.show(report.history_text(entries, target.site))
    output.give(report.history_json(entries))
    return 0


COMMANDS = (
    Command(
        name="rollback",
        summary="bring back what was there before the last change",
        set_up=_rollback_options,
        run=_rollback,
    ),
    Command(
        name="history",
        summary="what simdinstall has done to an environment",
        set_up=_history_options,
        run=_history,
    ),
)
