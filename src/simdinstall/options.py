"""The command line: what can be said, and its twins in the environment.

Every option ``--some-thing`` can also be given as ``SIMDINSTALL_SOME_THING``; the
command line wins. A wrong value is refused in either place, and the message names the
place.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

from simdinstall.errors import UsageError
from simdinstall.indexes import LISTING_LIFETIME

PREFIX = "SIMDINSTALL_"
YES = frozenset({"1", "true", "yes", "on"})
#: What a shell completes an option's value with.
Complete = Literal["file", "directory"]

NO = frozenset({"0", "false", "no", "off", ""})


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are :class:`UsageError` like everybody else's."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing and exiting."""
        raise UsageError(message, hint=f"see `{self.prog} --help`")


class Group:
    """Adds options to one parser, each with its variable."""

    def __init__(
        self, parser: argparse.ArgumentParser, environ: Mapping[str, str], *, completing: bool = False
    ) -> None:
        """``completing``: the parser is for a completion script, not to parse."""
        self._parser = parser
        self._environ = environ
        self._completing = completing

    def value(
        self,
        *names: str,
        default: Any = None,
        parse: Callable[[str], Any] = str,
        choices: Sequence[str] | None = None,
        metavar: str | None = None,
        complete: Complete | None = None,
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
        self._complete(action, complete)

    def positional(
        self,
        name: str,
        *,
        choices: Sequence[str] | None = None,
        parse: Callable[[str], Any] = str,
        metavar: str | None = None,
        nargs: str | None = None,
        complete: Complete | None = None,
        help: str,
    ) -> None:
        """An argument without a name; it has no variable."""
        more: dict[str, Any] = {} if nargs is None else {"nargs": nargs}
        action = self._parser.add_argument(
            name, choices=choices, type=parse, metavar=metavar, help=help, **more
        )
        self._complete(action, complete)

    def _complete(self, action: argparse.Action, kind: Complete | None) -> None:
        if self._completing and kind is not None:
            import shtab

            known = {"file": shtab.FILE, "directory": shtab.DIRECTORY}
            action.complete = known[kind]  # type: ignore[attr-defined]

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


def seconds(text: str) -> float:
    """A length of time, not negative."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


MARCHES = "auto, portable, native, x86-64, x86-64-v2, x86-64-v3, x86-64-v4 or any -march name"


def build_options(group: Group) -> None:
    """What to build, from what, and with what."""
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
    group.flag(
        "--rebuild",
        help="compile Pillow's own core for the level too, linked against the libraries that --libs says",
    )
    group.value(
        "--libs",
        default="bundled",
        choices=("bundled", "system"),
        help="with --rebuild: link against the official wheel's own libraries, or compile all of Pillow"
        " against the system's",
    )
    group.value(
        "--without",
        metavar="FEATURE",
        repeat=True,
        help="with --libs system: do without a feature (avif, webp, …) whose library is not there;"
        " may be repeated",
    )
    group.flag(
        "--zlib-ng",
        help="compile zlib-ng and have Pillow's core use it: PNG files are read and written faster",
    )
    index_options(group)


def index_options(group: Group) -> None:
    """How much to rely on what the indexes said before."""
    group.value(
        "--kernels",
        default="auto",
        choices=("auto", "prebuilt", "source"),
        help="prebuilt: those that came with simdinstall; source: compile them;"
        " auto: prebuilt where they fit and no compiler is named",
    )
    group.flag("--offline", help="use only what is in the cache")
    group.value(
        "--index-lifetime",
        default=LISTING_LIFETIME,
        parse=seconds,
        metavar="SECONDS",
        help=f"how long to believe what an index listed (default: {LISTING_LIFETIME:g}; 0: ask again)",
    )


def target_options(group: Group) -> None:
    """Which environment."""
    group.value(
        "--python",
        parse=path,
        metavar="PATH",
        complete="file",
        help="the interpreter or environment to change (default: the active one)",
    )


def cpu_option(group: Group) -> None:
    """Which CPU to believe in."""
    group.value(
        "--cpu",
        metavar="LEVEL|FILE",
        complete="file",
        help="believe this instead of asking the CPU: a level, or the output of `simdinstall cpu --json`",
    )


def output_options(group: Group) -> None:
    """How to tell the result."""
    group.flag("--json", help="print one JSON document on stdout instead of text")
    group.flag("--verbose", "-v", help="say more: every reason, the commands that ran, the log's place")


def ask_options(group: Group) -> None:
    """Whether to ask before anything is changed."""
    group.flag("--yes", "-y", help="do not ask")
