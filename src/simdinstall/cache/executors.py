"""Where cells are built: processes on this machine, or the workers of a Dask cluster.

All executors look alike: workers that come and go, one task at a time each. What to give
to whom is :mod:`simdinstall.cache.builder`'s affair.
"""

from __future__ import annotations

import os
import queue
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from simdinstall.cache.task import Failure, Outcome, Task
from simdinstall.cache.worker import read_host, read_outcome, task_line
from simdinstall.cpu import Cpu
from simdinstall.errors import BuildError
from simdinstall.run import Child, ChildEnded, start


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """Someone who can build. ``name`` is unique for as long as the executor lives."""

    name: str
    host: str
    cpu: Cpu


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """A task that ended: with an outcome, or without one because its worker died."""

    task: Task
    worker: str
    outcome: Outcome | None
    why: str = ""


class Executor(Protocol):
    """What the builder needs of wherever the work is done."""

    def workers(self) -> Sequence[Worker]:
        """Who is there now. Raises BuildError when nobody ever will be."""
        ...

    def submit(self, worker: str, task: Task) -> None:
        """Give a worker its one task."""
        ...

    def wait(self, seconds: float) -> Sequence[Done]:
        """What has ended; waits at most ``seconds`` for the first."""
        ...

    def close(self) -> None:
        """End everything that was started."""
        ...

    @property
    def complete(self) -> bool:
        """Whether every worker that is to come has come."""
        ...


class LocalProcesses:
    """As many processes on this machine as ``jobs``; one that dies is replaced."""

    def __init__(self, jobs: int, *, command: Sequence[str] = ()) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="simdinstall-workers-")
        self._command = tuple(command) or (sys.executable, "-m", "simdinstall.cache.worker")
        self._ended: queue.Queue[Done] = queue.Queue()
        self._children: dict[str, Child] = {}
        self._workers: dict[str, Worker] = {}
        self._tasks: dict[str, queue.Queue[Task | None]] = {}
        self._count = 0
        self._deaths = 0
        self._jobs = jobs
        self._last_words = ""

    @property
    def complete(self) -> bool:
        """Local processes are all there at once."""
        return True

    def workers(self) -> Sequence[Worker]:
        """Those that live, after those that died have been replaced."""
        while len(self._workers) < self._jobs:
            if self._deaths > 3 * self._jobs + 3:
                raise BuildError("the processes that build die one after another", why=self._last_words)
            self._start()
        return tuple(self._workers.values())

    def _start(self) -> None:
        self._count += 1
        name = f"local-{self._count}"
        scratch = Path(self._folder.name) / name
        scratch.mkdir()
        # What a killed process leaves in its scratch folder goes with ours.
        child = start([*self._command, self._folder.name], env={**os.environ, "TMPDIR": str(scratch)})
        try:
            host = read_host(child.receive(120))
        except ChildEnded as error:
            child.close()
            raise BuildError("a process that builds could not be started", why=error.why) from error
        self._children[name] = child
        self._workers[name] = Worker(name=name, host=host.name, cpu=Cpu.from_json(dict(host.cpu)))
        self._tasks[name] = queue.Queue()
        threading.Thread(target=self._serve, args=(name, child, self._tasks[name]), daemon=True).start()

    def _serve(self, name: str, child: Child, tasks: queue.Queue[Task | None]) -> None:
        while (task := tasks.get()) is not None:
            try:
                child.send(task_line(task))
                outcome = read_outcome(child.receive())
            except (ChildEnded, OSError, ValueError) as error:
                why = getattr(error, "what", str(error))
                self._workers.pop(name, None)
                self._deaths += 1
                self._last_words = why
                self._ended.put(Done(task=task, worker=name, outcome=None, why=why))
                return
            self._ended.put(Done(task=task, worker=name, outcome=outcome))

    def submit(self, worker: str, task: Task) -> None:
        """Hand the task to the process."""
        self._tasks[worker].put(task)

    def wait(self, seconds: float) -> Sequence[Done]:
        """What has ended."""
        found = []
        try:
            found.append(self._ended.get(timeout=seconds))
            while True:
                found.append(self._ended.get_nowait())
        except queue.Empty:
            return found

    def pids(self) -> dict[str, int]:
        """The process of each worker, for whoever wants to look at them."""
        return {name: self._children[name].pid for name in self._workers}

    def close(self) -> None:
        """End all processes, whatever they do."""
        for tasks in self._tasks.values():
            tasks.put(None)
        for child in self._children.values():
            child.kill()
            child.close()
        self._folder.cleanup()


def lost(task: Task, why: str, times: int) -> Outcome:
    """The outcome of a task whose workers died too often."""
    return Outcome(
        key=task.cell.key,
        failure=Failure(
            what=f"{times} workers died while they built it", why=why, hint="is there enough memory?"
        ),
    )
