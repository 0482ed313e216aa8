"""Ctrl-C, at any instant: exit code 130, one line, nothing half done.

CPython marks a KeyboardInterrupt that passes through ``exec`` of a string (dataclasses and
named tuples are made so) as unhandled, even if it is caught further up, and then ends a
``python -m`` process by SIGINT whatever its exit code (Python/pythonrun.c,
run_eval_code_obj). It looks for that very class: :class:`Interrupted` is one of its own.
"""

from __future__ import annotations

import os
import signal
import sys

# Nothing else is imported here: until leave_at_once() Ctrl-C is Python's own affair.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from sys import UnraisableHookArgs
    from types import FrameType

#: The exit code after Ctrl-C, as shells give it (128 + SIGINT).
EXIT_INTERRUPTED = 130
#: Seconds until an interrupt that Python dropped in a destructor is raised again.
_AGAIN = 0.005
#: What was finished before Ctrl-C came, and stays.
_finished: list[str] = []


class Interrupted(KeyboardInterrupt):
    """Ctrl-C was pressed."""


def _ours_to_take() -> bool:
    """Whether SIGINT is as Python sets it up: who started us may have had it ignored."""
    return signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def leave_at_once() -> None:
    """From now on Ctrl-C ends the process where it stands: nothing was begun yet."""
    if _ours_to_take():
        signal.signal(signal.SIGINT, _leave)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    os.write(2, b"interrupted; nothing was changed\n")
    os._exit(EXIT_INTERRUPTED)


def raise_once() -> None:
    """From now on the first Ctrl-C raises :class:`Interrupted`; tidying up is not interrupted again."""
    if not _ours_to_take():
        return
    raised = False

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        nonlocal raised
        if not raised:
            raised = True
            raise Interrupted

    def dropped(unraisable: UnraisableHookArgs) -> None:
        # Raised in a destructor, where Python can only print it: it has to come again.
        nonlocal raised
        if unraisable.exc_type is not Interrupted:
            # After the interrupt, objects whose making it cut short complain as they go.
            if not raised:
                shown(unraisable)
            return
        raised = False
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)

    shown: Callable[[UnraisableHookArgs], object] = sys.unraisablehook
    sys.unraisablehook = dropped
    signal.signal(signal.SIGALRM, interrupt)
    signal.signal(signal.SIGINT, interrupt)


def finished(what: str) -> None:
    """Note what will stand from now on, whatever comes: a sentence, for :func:`message`."""
    _finished.append(what)


def message() -> str:
    """What to say after Ctrl-C."""
    return f"interrupted; {'; '.join(_finished) or 'nothing half done was left'}"


def ignore() -> None:
    """From now on Ctrl-C does nothing: all is done but for the interpreter's own end."""
    if _ours_to_take():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


class Held:
    """A block that Ctrl-C does not interrupt but follows; for tidying up that is soon done."""

    def __enter__(self) -> None:
        self._came: list[int] = []
        self._before = signal.signal(signal.SIGINT, lambda number, _: self._came.append(number))

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before if self._before is not None else signal.SIG_DFL)
        if self._came:
            signal.raise_signal(signal.SIGINT)
