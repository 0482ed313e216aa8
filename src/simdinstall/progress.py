"""How long work tells that it goes on.

Library code calls a :class:`Progress`; what becomes of it is the caller's affair. On a
terminal it is a line that moves, elsewhere a line per step, both on stderr.
"""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

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


class TerminalProgress:
    """A moving line on a terminal, plain lines elsewhere; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._last = ""
        self._started = time.monotonic()

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
        elif step != self._last:
            seconds = time.monotonic() - self._started
            self._console.print(f"[{seconds:5.1f} s] {step}", markup=False, highlight=False, soft_wrap=True)
        self._last = step


def stderr_console() -> Console:
    """The console for progress and errors; rich honours NO_COLOR and pipes."""
    from rich.console import Console

    return sized(Console(file=sys.stderr, stderr=True))


def sized(console: Console) -> Console:
    """The console, with :data:`WIDTH_OF_FILES` columns where it is none of a person's."""
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH_OF_FILES
    return console
