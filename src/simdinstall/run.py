"""The only door to other programs.

Commands run without a shell, quietly, in a process group of their own. The whole
output is kept: it is in the result, in the log when one is given, and in the error
when the command fails. :func:`start` is for programs that stay and are spoken to
line by line.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

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
    _running.add(process)
    try:
        stdout, stderr = process.communicate(input, timeout=timeout)
    except BaseException as interruption:
        _end_group(process)
        if not isinstance(interruption, subprocess.TimeoutExpired):
            raise
        stopped = Completed(argv=command, returncode=-signal.SIGKILL, stdout="", stderr="", cpu_seconds=0.0)
        raise CommandFailed(stopped, why=f"it did not end within {timeout:g} s") from interruption
    finally:
        _running.discard(process)
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


#: What :func:`run` waits for, in any thread. Sets change atomically under the GIL.
_running: set[subprocess.Popen[str]] = set()


def end_running() -> None:
    """End every command that :func:`run` waits for, in whatever thread it does.

    Ctrl-C reaches the main thread alone: whoever runs commands in others calls this.
    """
    for process in tuple(_running):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _end_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


class ChildEnded(CommandFailed):
    """A program that should have stayed ended, or did not answer in time."""


class Child:
    """A program that stays: a line in, a line out. Made by :func:`start`."""

    def __init__(self, process: subprocess.Popen[bytes], argv: tuple[str, ...], errors: IO[bytes]) -> None:
        self._process = process
        self._argv = argv
        self._errors = errors
        self._pending = b""

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    def send(self, line: str) -> None:
        """Write one line. Raises :class:`ChildEnded` when nobody reads it any more."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._ended("") from None

    def receive(self, timeout: float | None = None) -> str:
        """The next line. Raises :class:`ChildEnded` at the end, or after ``timeout`` seconds of silence."""
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        deadline = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._pending:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([output], [], [], left)[0]:
                self.kill()
                raise self._ended(f"no answer within {timeout:g} s")
            piece = os.read(output, 1 << 16)
            if not piece:
                raise self._ended("")
            self._pending += piece
        line, self._pending = self._pending.split(b"\n", 1)
        return line.decode("utf-8", "replace")

    def kill(self) -> None:
        """End the program's whole process group at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self, timeout: float = 5.0) -> int:
        """Close the program's input, wait for its end (``timeout`` seconds, then kill), give its status."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        try:
            self._process.wait(timeout)
        except BaseException as interruption:
            self.kill()
            self._process.wait()
            if not isinstance(interruption, subprocess.TimeoutExpired):
                raise
        self._errors.close()
        return self._process.returncode

    def _ended(self, why: str) -> ChildEnded:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        status = self._process.poll()
        self._errors.seek(0)
        completed = Completed(
            argv=self._argv,
            returncode=status if status is not None else -signal.SIGKILL,
            stdout="",
            stderr=self._errors.read().decode("utf-8", "replace"),
            cpu_seconds=0.0,
        )
        return ChildEnded(completed, why=why)


def start(
    argv: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Child:
    """Start a program that stays, in a process group of its own.

    Its standard error is kept for the error message, should it end. Raises
    :class:`ChildEnded` when it cannot be started.
    """
    command = tuple(str(part) for part in argv)
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(env) if env is not None else None,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    except OSError as error:
        errors.close()
        unstarted = Completed(argv=command, returncode=127, stdout="", stderr="", cpu_seconds=0.0)
        raise ChildEnded(unstarted, why=f"it cannot be started: {error.strerror}") from error
    return Child(process, command, errors)
