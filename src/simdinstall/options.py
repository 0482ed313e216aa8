"""The command line: what can be said, and its twins in the environment.

Every option ``--some-thing`` can also be given as ``SIMDINSTALL_SOME_THING``; the
command line wins. A wrong value is refused in either place, and the message names the
place.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import shtab

from simdinstall import __version__
from simdinstall.errors import EXIT_CODES, UsageError

PREFIX = "SIMDINSTALL_"
YES = frozenset({"1", "true", "yes", "on"})
NO = frozenset({"0", "false", "no", "off", ""})


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are :class:`UsageError` like everybody else's."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing and exiting."""
        raise UsageError(message, hint=f"see `{self.prog} --help`")


class Group:
    """Adds options to one parser, each with its variable."""

    def __init__(self, parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
        self._parser = parser
        self._environ = environ

    def value(
        self,
        *names: str,
        default: Any = None,
        parse: Callable[[str], Any] = str,
        choices: Sequence[str] | None = None,
        metavar: str | None = None,
        complete: Mapping[str, object] | None = None,
        repeat: bool = False,
        help: str,
    ) -> None:
        """An option that takes a value; with ``repeat`` it may be given several times."""
        variable = variable_of(names[0])
        given = self._environ.get(variable)
        if given is not None:
            parts = given.split(",") if repeat else [given]
            values = [checked(variable, part, parse, choices) for part in parts if part or not repeat]
            default = values if repeat else values[0]
        action = self._parser.add_argument(
            *names,
            action="append" if repeat else "store",
            default=argparse.SUPPRESS if repeat else default,
            type=parse,
            choices=choices,
            metavar=metavar,
            help=f"{help} [{variable}]",
        )
        if repeat:
            self._parser.set_defaults(**{f"{action.dest}_default": default or []})
        if complete is not None:
            action.complete = complete  # type: ignore[attr-defined]

    def flag(self, *names: str, help: str) -> None:
        """A switch that is off unless named."""
        variable = variable_of(names[0])
        given = self._environ.get(variable, "").strip().lower()
        if given not in YES | NO:
            raise UsageError(f"{variable}={given} is neither yes nor no", hint="use 1 or 0")
        self._parser.add_argument(
            *names, action="store_true", default=given in YES, help=f"{help} [{variable}]"
        )


def repeated(arguments: argparse.Namespace, name: str) -> list[Any]:
    """The values of a repeatable option: from the command line, else from its variable."""
    values: list[Any] = getattr(arguments, name, None) or getattr(arguments, f"{name}_default")
    return values


def variable_of(option: str) -> str:
    """The environment variable of an option: ``--dry-run`` → ``SIMDINSTALL_DRY_RUN``."""
    return PREFIX + option.lstrip("-").replace("-", "_").upper()


def checked(variable: str, text: str, parse: Callable[[str], Any], choices: Sequence[str] | None) -> Any:
    """The parsed value of a variable; UsageError names the variable when it is wrong."""
    try:
        value = parse(text)
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise UsageError(f"{variable}={text}: {error}") from error
    if choices is not None and value not in choices:
        raise UsageError(f"{variable}={text} is not one of {', '.join(choices)}")
    return value


def path(text: str) -> Path:
    """A path as the user wrote it, ``~`` expanded."""
    return Path(text).expanduser()


def compiler_name(text: str) -> str:
    """``auto``, ``gcc``, ``clang``, ``zig`` or something that looks like a program."""
    if not text.strip():
        raise argparse.ArgumentTypeError("a compiler's name or path is needed")
    return text


MARCHES = "auto, portable, native, x86-64, x86-64-v2, x86-64-v3, x86-64-v4 or any -march name"


def _build_options(group: Group) -> None:
    group.value("--march", default="auto", help=f"what to build for: {MARCHES}")
    group.value("--pillow", metavar="VERSION", help="the Pillow release (default: the newest)")
    group.value(
        "--fidelity",
        default="exact",
        choices=("exact", "bounded"),
        help="exact: only kernels with stock Pillow's very bytes; bounded: also those that differ a little",
    )
    group.value(
        "--compiler",
        default="auto",
        parse=compiler_name,
        metavar="auto|gcc|clang|zig|PATH",
        help="the C compiler (auto: gcc, else clang, else zig from the package index)",
    )
    group.flag("--offline", help="use only what is in the cache")


def _target_options(group: Group) -> None:
    group.value(
        "--python",
        parse=path,
        metavar="PATH",
        complete=shtab.FILE,
        help="the interpreter or environment to change (default: the active one)",
    )


def _cpu_option(group: Group) -> None:
    group.value(
        "--cpu",
        metavar="LEVEL|FILE",
        complete=shtab.FILE,
        help="believe this instead of asking the CPU: a level, or the output of `simdinstall cpu --json`",
    )


def _output_options(group: Group) -> None:
    group.flag("--json", help="print one JSON document on stdout instead of text")
    group.flag("--verbose", "-v", help="say more: every reason, the commands that ran, the log's place")


def _ask_options(group: Group) -> None:
    group.flag("--yes", "-y", help="do not ask")


def _install(group: Group) -> None:
    _build_options(group)
    _target_options(group)
    _cpu_option(group)
    group.flag("--dry-run", help="show the plan and stop")
    group.flag("--check", help="exit 1 if something would change, 0 if not; change nothing")
    _ask_options(group)
    _output_options(group)


def _wheel(group: Group) -> None:
    _build_options(group)
    _target_options(group)
    _cpu_option(group)
    group.value(
        "--output",
        "-o",
        default=Path(),
        parse=path,
        metavar="DIR",
        complete=shtab.DIRECTORY,
        help="where the wheel goes (default: here)",
    )
    _output_options(group)


def _rollback(group: Group) -> None:
    _target_options(group)
    group.flag("--force", help="even if something else has changed Pillow since")
    _ask_options(group)
    _output_options(group)


def _history(group: Group) -> None:
    _target_options(group)
    _output_options(group)


def _status(group: Group) -> None:
    _target_options(group)
    _cpu_option(group)
    group.flag("--offline", help="do not ask the index for a newer release")
    _output_options(group)


def _explain(group: Group) -> None:
    _build_options(group)
    _target_options(group)
    _cpu_option(group)
    _output_options(group)


def _cpu(group: Group) -> None:
    _cpu_option(group)
    _output_options(group)


def _bench(group: Group) -> None:
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
        complete=shtab.FILE,
        help="another environment to measure too; may be repeated",
    )
    group.value("--suite", default="wide", choices=("wide", "perf", "both"), help="which operations")
    group.value("--ops", metavar="REGEX", help="only the rows whose name it is found in")
    group.flag("--quick", help="a minute instead of ten; sees differences above 1.3 times")
    group.value("--core", parse=int, metavar="N", help="the processor core to measure on")
    group.value(
        "--save", parse=path, metavar="FILE", complete=shtab.FILE, help="keep the figures, for --compare"
    )
    group.value(
        "--compare",
        parse=path,
        metavar="FILE",
        complete=shtab.FILE,
        help="say what got slower or faster since FILE was saved; exit 1 if something got slower",
    )
    group.value(
        "--tolerance",
        default=0.1,
        parse=float,
        metavar="SHARE",
        help="how much slower is still no regression (0.1: ten per cent)",
    )
    group.value(
        "--html", parse=path, metavar="FILE", complete=shtab.FILE, help="write a page with charts and tables"
    )
    group.value(
        "--chart", parse=path, metavar="FILE", complete=shtab.FILE, help="write the summary chart as SVG"
    )
    group.flag("--offline", help="use only what is in the cache")
    _output_options(group)


def _completion(group: Group) -> None:
    group._parser.add_argument("shell", choices=shtab.SUPPORTED_SHELLS, help="for which shell")


#: Each command: how it is set up, and one line about it.
COMMANDS: dict[str, tuple[Callable[[Group], None], str]] = {
    "install": (_install, "put SIMD kernels into an environment's Pillow (the default)"),
    "wheel": (_wheel, "build and verify a wheel without installing it"),
    "rollback": (_rollback, "bring back what was there before the last change"),
    "history": (_history, "what simdinstall has done to an environment"),
    "status": (_status, "what is installed, whether it is intact, whether a newer Pillow is out"),
    "explain": (_explain, "why this level, these flags, these sources"),
    "cpu": (_cpu, "the CPU as seen, and what each level lacks on it"),
    "bench": (_bench, "measure this Pillow against stock and others, operation by operation"),
    "completion": (_completion, "print a completion script for your shell"),
}


def build_parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    """The whole parser. Raises UsageError for a wrong ``SIMDINSTALL_…`` variable."""
    codes = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())
    parser = Parser(
        prog="simdinstall",
        description="Gives a Python environment the fastest Pillow its CPU can run.",
        epilog=f"Without a command: install.\n\nexit codes:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"simdinstall {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for name, (set_up, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        set_up(Group(command, environ))
    return parser


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
    """Parse a command line; a missing command is ``install``. Raises UsageError."""
    arguments = list(argv)
    first = arguments[0] if arguments else ""
    if first not in COMMANDS and first not in ("-h", "--help", "--version"):
        if first and not first.startswith("-"):
            raise UsageError(f"there is no command {first!r}", hint=f"the commands are {', '.join(COMMANDS)}")
        arguments.insert(0, "install")
    return build_parser(environ).parse_args(arguments)
