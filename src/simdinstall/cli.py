"""The command line as a whole: which commands there are, and errors as exit codes.

Only the module of the command that was given is imported: what `bench` or `cache` need
would cost `status` more time than its own work.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence

from simdinstall import __version__
from simdinstall.commands.frame import Command, Output
from simdinstall.errors import EXIT_CODES, SimdinstallError, UsageError
from simdinstall.options import Group, Parser
from simdinstall.progress import stderr_console

#: The modules of :mod:`simdinstall.commands`, each with the names of its commands.
MODULES: Mapping[str, tuple[str, ...]] = {
    "install": ("install", "wheel"),
    "undo": ("rollback", "history"),
    "look": ("status", "explain", "cpu"),
    "doctor": ("doctor", "report"),
    "keep": ("upgrade", "hold", "docker"),
    "bench": ("bench",),
    "tune": ("tune",),
    "cache": ("cache",),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit code (see :data:`errors.EXIT_CODES`)."""
    given = sys.argv[1:] if argv is None else list(argv)
    wants_json = "--json" in given
    try:
        arguments = parse(given, os.environ)
        wants_json = getattr(arguments, "json", False)
        code: int = arguments.run(arguments, Output(arguments))
        return code
    except SimdinstallError as error:
        from simdinstall import report

        if wants_json:
            print(json.dumps(report.error_json(error), indent=2))
        else:
            stderr_console().print(report.error_text(error))
        return error.exit_code
    except BrokenPipeError:
        # The reader went away, as `| head` does; that is no failure of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def all_commands() -> tuple[Command, ...]:
    """Every command, which imports every module."""
    return (*(command for module in MODULES for command in _load(module)), COMPLETION)


def _load(module: str) -> tuple[Command, ...]:
    commands: tuple[Command, ...] = importlib.import_module(f"simdinstall.commands.{module}").COMMANDS
    return commands


def build_parser(
    environ: Mapping[str, str], commands: Sequence[Command] | None = None, *, completing: bool = False
) -> argparse.ArgumentParser:
    """A parser for these commands, or for all. Raises UsageError for a wrong ``SIMDINSTALL_…`` variable."""
    codes = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())
    parser = Parser(
        prog="simdinstall",
        description="Gives a Python environment the fastest Pillow its CPU can run.",
        epilog=f"Without a command: install.\n\nexit codes:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"simdinstall {__version__}")
    _add(parser, all_commands() if commands is None else commands, environ, "command", completing)
    return parser


def _add(
    parser: argparse.ArgumentParser,
    commands: Sequence[Command],
    environ: Mapping[str, str],
    dest: str,
    completing: bool,
) -> None:
    choices = parser.add_subparsers(dest=dest, metavar="COMMAND", parser_class=Parser, required=True)
    for command in commands:
        child = choices.add_parser(
            command.name, help=command.summary, description=command.summary, allow_abbrev=False
        )
        if command.children:
            _add(child, command.children, environ, f"{command.name}_command", completing)
        elif command.set_up is not None:
            command.set_up(Group(child, environ, completing=completing))
            child.set_defaults(run=command.run)


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Namespace:
    """Parse a command line; a missing command is ``install``. Raises UsageError."""
    arguments = list(argv)
    first = arguments[0] if arguments else ""
    if first in ("-h", "--help", "--version"):
        return build_parser(environ, () if first == "--version" else None).parse_args(arguments)
    if not first or first.startswith("-"):
        first = "install"
        arguments.insert(0, first)
    if first == COMPLETION.name:
        return build_parser(environ, (COMPLETION,)).parse_args(arguments)
    for module, names in MODULES.items():
        if first in names:
            return build_parser(environ, _load(module)).parse_args(arguments)
    known = [name for names in MODULES.values() for name in names]
    raise UsageError(
        f"there is no command {first!r}", hint=f"the commands are {', '.join((*known, COMPLETION.name))}"
    )


def _completion_options(group: Group) -> None:
    import shtab  # Late: every other command does without.

    group.positional("shell", choices=shtab.SUPPORTED_SHELLS, help="for which shell")


def _completion(arguments: Namespace, output: Output) -> int:
    import shtab

    print(shtab.complete(build_parser({}, completing=True), arguments.shell))
    return 0


COMPLETION = Command(
    name="completion",
    summary="print a completion script for your shell",
    set_up=_completion_options,
    run=_completion,
)
