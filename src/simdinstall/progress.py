"""How long work tells that it goes on.

Library code calls a :class:`Progress`; what becomes of it is the caller's affair. On a
terminal it is a line that moves, elsewhere a line per step, both on stderr.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import IO, TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    # The wheel's build uses this module too, where rich is not installed.
    from rich.console import Console
    from rich.status import Status

#: Columns of text that goes to a file or a pipe, where nobody knows how wide is wide.
WIDTH_OF_FILES = 120


class Progress(Protocol):
    """What long work is given to report to."""

    def __call__(self, step: str, done: int = 0, total: int | None = None) -> None:
        """``step`` is under way; ``done`` of ``total`` in a unit that ``step`` names."""
        ...


def silent(step: str, done: int = 0, total: int | None = None) -> None:
    """A :class:`Progress` that says nothing."""


class LineProgress:
    """A line for each step, with the seconds since it was made."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._last = ""
        self._started = time.monotonic()

    def __call__(self, step: str, done: int = 0, total: int | None = None) -> None:
        """Show a step; see :class:`Progress`."""
        if step != self._last:
            print(f"[{time.monotonic() - self._started:5.1f} s] {step}", file=self._file, flush=True)
        self._last = step


class TerminalProgress:
    """A moving line on a terminal, plain lines elsewhere; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._lines = LineProgress(console.file)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status = self._console.status("starting", spinner="dots")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, step: str, done: int = 0, total: int | None = None) -> None:
        """Show a step; see :class:`Progress`."""
        if self._status is not None:
            share = f"  {100 * done // total} %" if total else ""
            self._status.update(f"{step}{share}")
        else:
            self._lines(step)


def on_stderr() -> AbstractContextManager[Progress]:
    """Progress for whoever reads stderr; rich is imported for a terminal only."""
    if sys.stderr.isatty():
        return TerminalProgress(stderr_console())
    return contextlib.nullcontext(LineProgress(sys.stderr))


def stderr_console() -> Console:
    """The console for progress and errors; rich honours NO_COLOR and pipes."""
    from rich.console import Console

    return sized(Console(file=sys.stderr, stderr=True))


def sized(console: Console) -> Console:
    """The console, with :data:`WIDTH_OF_FILES` columns where it is none of a person's."""
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH_OF_FILES
    return console
