"""What commands are, and what they share: services, the target, questions, output.

A command is a function from parsed arguments to an exit code. Results go to stdout,
progress and errors to stderr; only this package and :mod:`simdinstall.cli` print.
"""

from __future__ import annotations

import json
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simdinstall import environment, install, interrupt
from simdinstall.environment import Environment
from simdinstall.errors import UsageError
from simdinstall.indexes import LISTING_LIFETIME
from simdinstall.options import Group, repeated
from simdinstall.progress import TerminalProgress, sized, stderr_console

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    # What builds is imported where something is built: a node of a cluster only installs.
    from simdinstall import pipeline
    from simdinstall.plan import Request


class Output:
    """Where results go: a person's text or a program's JSON, never both."""

    def __init__(self, arguments: Namespace) -> None:
        self.json: bool = getattr(arguments, "json", False)
        self.verbose: bool = getattr(arguments, "verbose", False)

    @cached_property
    def console(self) -> Console:
        """Standard output, for what rich draws; a quarter of a small command's time to import."""
        from rich.console import Console

        return sized(Console(highlight=False))

    def say(self, line: str) -> None:
        """Print plain text for a person; nothing when JSON is wanted."""
        if not self.json:
            print(line)

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
            self.say(f"note: {note}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """One command: its options and what it does; or, with ``children``, a group of commands."""

    name: str
    summary: str
    set_up: Callable[[Group], None] | None = None
    run: Callable[[Namespace, Output], int] | None = None
    children: tuple[Command, ...] = ()


def build_request(arguments: Namespace) -> Request:
    """What the user asked for, as the pipeline takes it."""
    from simdinstall.plan import Request  # Late: most commands build nothing.

    return Request(
        march=arguments.march,
        pillow=arguments.pillow,
        python=arguments.python,
        fidelity=arguments.fidelity,
        compiler=arguments.compiler,
        kernels=arguments.kernels,
        cpu=arguments.cpu,
        offline=arguments.offline,
        rebuild=arguments.rebuild,
        zlib_ng=arguments.zlib_ng,
        libs=arguments.libs,
        machine=getattr(arguments, "target", None),
        verify_with=getattr(arguments, "verify_with", None),
        without=tuple(repeated(arguments, "without")),
    )


@contextmanager
def open_services(*, offline: bool, lifetime: float = LISTING_LIFETIME) -> Iterator[pipeline.Services]:
    """The index, the cache and the progress line, for as long as the block lasts.

    ``lifetime``: for how many seconds what an index listed is believed.
    """
    from simdinstall.fetch import Fetcher
    from simdinstall.pipeline import Services
    from simdinstall.store import Store, default_root

    root = default_root()
    with TerminalProgress(stderr_console()) as progress:
        fetcher = Fetcher(cache=root, offline=offline, lifetime=lifetime, progress=progress)
        try:
            yield Services(fetcher=fetcher, store=Store(root), progress=progress)
        finally:
            fetcher.close()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that is gone after the block."""
    folder = tempfile.TemporaryDirectory(prefix="simdinstall-")
    try:
        yield Path(folder.name)
    finally:
        with interrupt.Held():
            folder.cleanup()


def settled_target(arguments: Namespace) -> tuple[Environment, install.Recovery | None]:
    """The environment, after whatever an earlier command was interrupted in is settled."""
    found = environment.inspect(arguments.python)
    recovery = install.recover(found)
    return (environment.inspect(arguments.python) if recovery else found), recovery


def tell_recovery(recovery: install.Recovery | None) -> None:
    """Say what became of an interrupted command."""
    if recovery is not None:
        stderr_console().print(
            f"an interrupted {recovery.action or 'change'} was {recovery.outcome}", highlight=False
        )


def require_answer(arguments: Namespace) -> None:
    """UsageError, before any work, when a question will come that nobody can answer."""
    if arguments.yes or (not arguments.json and sys.stdin.isatty() and sys.stderr.isatty()):
        return
    look = ", or look first with --dry-run" if "dry_run" in arguments else ""
    raise UsageError(
        "nobody can be asked whether to go on",
        why="--json was given" if arguments.json else "stdin or stderr is no terminal",
        hint=f"say it beforehand with --yes{look}",
    )


def agreed(arguments: Namespace, question: str) -> bool:
    """Ask once, unless --yes has answered."""
    if arguments.yes:
        return True
    from rich.prompt import Confirm

    return Confirm.ask(question, console=stderr_console(), default=True)
