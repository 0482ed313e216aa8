"""The only door to other programs.

Commands run without a shell, quietly, in a process group of their own. The whole
output is kept: it is in the result, in the log when one is given, and in the error
when the command fails.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from simdinstall.errors import SimdinstallError


@dataclass(frozen=True, kw_only=True, slots=True)
class Completed:
    """A finished command. ``cpu_seconds`` is user + system time of it and its children."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    cpu_seconds: float

    @property
    def output(self) -> str:
        """Standard output followed by standard error."""
        return self.stdout + self.stderr


class CommandFailed(SimdinstallError):
    """A command ended with a status other than 0, or could not be started."""

    def __init__(self, completed: Completed, *, why: str = "", log: Path | None = None) -> None:
        status = completed.returncode
        ending = f"was ended by {signal_name(-status)}" if status < 0 else f"exited with {status}"
        super().__init__(
            f"{Path(completed.argv[0]).name} {ending}",
            why=why or completed.output.strip()[-4000:],
            log=log,
        )
        self.completed = completed


class Runner(Protocol):
    """What stages take as ``run=``: :func:`run` itself, or a test's stand-in."""

    def __call__(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        input: str | None = None,
        log: Path | None = None,
        check: bool = True,
    ) -> Completed:
        """See :func:`run`."""
        ...


def signal_name(number: int) -> str:
    """The name of a signal (``SIGILL``), or ``signal N`` where it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    input: str | None = None,
    log: Path | None = None,
    check: bool = True,
) -> Completed:
    """Run a command to its end and return what it said.

    ``env`` replaces the whole environment, ``timeout`` is in seconds of wall time,
    ``log`` is appended to. Raises :class:`CommandFailed` when the command cannot be
    started or outlasts ``timeout``, and, with ``check``, when its status is not 0.
    Whatever interrupts the wait ends the command's whole process group.
    """
    command = tuple(str(part) for part in argv)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(env) if env is not None else None,
            stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        unstarted = Completed(argv=command, returncode=127, stdout="", stderr="", cpu_seconds=0.0)
        raise CommandFailed(unstarted, why=f"it cannot be started: {error.strerror}") from error
    try:
        stdout, stderr = process.communicate(input, timeout=timeout)
    except BaseException as interruption:
        _end_group(process)
        if not isinstance(interruption, subprocess.TimeoutExpired):
            raise
        stopped = Completed(argv=command, returncode=-signal.SIGKILL, stdout="", stderr="", cpu_seconds=0.0)
        raise CommandFailed(stopped, why=f"it did not end within {timeout:g} s") from interruption
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    completed = Completed(
        argv=command,
        returncode=process.returncode,
        stdout=stdout,
        stderr=stderr,
        cpu_seconds=after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime,
    )
    if log is not None:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"$ {' '.join(command)}\n{completed.output}")
            file.write(f"[status {completed.returncode}]\n")
    if check and completed.returncode != 0:
        raise CommandFailed(completed, log=log)
    return completed


def _end_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
