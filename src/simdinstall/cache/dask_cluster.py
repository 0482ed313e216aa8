"""Building on a Dask cluster: one that runs already, or workers that Slurm starts for it.

Everything here needs the extra ``simdinstall[cluster]``; nothing else imports it until
``--dask`` or ``--slurm`` asks for it. Sources travel with each task and wheels come back
as bytes: workers need neither a shared file system nor a network of their own, only
simdinstall of the same version.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simdinstall import __version__
from simdinstall.cache.executors import Done, Worker
from simdinstall.cache.task import Host, Outcome, Task, describe, perform, travelling
from simdinstall.cpu import Cpu
from simdinstall.errors import BuildError, BusyError, UsageError
from simdinstall.run import CommandFailed, Runner, run

#: Seconds until a scheduler that does not answer is given up.
PATIENCE = 30.0

#: Seconds between two tries to have jobs started again whose workers are gone.
REVIVAL = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SlurmJobs:
    """What to ask Slurm for. ``constraints``: one group of jobs for each; "" for any node.

    ``walltime`` as Slurm writes it (``02:00:00``), ``memory`` as Dask does (``4GB``).
    ``options`` are further lines for ``#SBATCH``. ``logs`` is the folder, seen by all nodes, for
    what the jobs print.
    """

    logs: Path

    constraints: tuple[str, ...] = ("",)
    jobs: int = 1
    partition: str = ""
    account: str = ""
    walltime: str = "02:00:00"
    cores: int = 2
    memory: str = "4GB"
    interface: str = ""
    options: tuple[str, ...] = ()


class DaskWorkers:
    """The workers of one or more Dask schedulers."""

    def __init__(
        self,
        clients: Sequence[Any],
        *,
        expected: int = 0,
        close: Callable[[], None] = lambda: None,
        patience: float = 600.0,
        waiting: Callable[[], str] = lambda: "",
        revive: Callable[[], None] = lambda: None,
        work: Callable[[Task], Outcome] = perform,
        interval: float = 1.0,
    ) -> None:
        """``expected``: how many workers are to come; for ``patience`` seconds others wait for them.

        ``waiting`` tells why workers have not come, for the message. ``revive`` has those
        started again that are gone. ``interval``: seconds between questions for who is there.
        """
        self._clients = tuple(clients)
        self._expected = expected
        self._close = close
        self._deadline = time.monotonic() + patience
        self._patience = patience
        self._waiting = waiting
        self._revive = revive
        self._revived = 0.0
        self._work = work
        self._interval = interval
        self._known: dict[str, Worker] = {}
        self._refused: dict[str, str] = {}
        self._running: dict[str, tuple[Any, Any, Task]] = {}
        self._present: frozenset[str] = frozenset()
        self._fit: tuple[Worker, ...] = ()
        self._asked = 0.0
        self._client_of: dict[str, Any] = {}

    @property
    def complete(self) -> bool:
        """Whether all that were expected are there, or have had their time to come (again)."""
        return len(self._fit) >= self._expected or time.monotonic() > self._deadline

    def workers(self) -> Sequence[Worker]:
        """Those that are connected and fit. BuildError when the scheduler is gone or none fits."""
        if self._fit and time.monotonic() < self._asked + self._interval:
            # Asking costs the scheduler something; a second is soon enough.
            return tuple(worker for worker in self._fit if worker.name in self._known)
        present: dict[str, Any] = {}
        for client in self._clients:
            try:
                info = client.scheduler_info(n_workers=-1)
            except (OSError, TypeError, ValueError, RuntimeError) as error:
                raise BuildError(
                    "the Dask scheduler does not answer any more", why=str(error) or type(error).__name__
                ) from error
            if client.status not in ("running", "connecting"):
                raise BuildError("the Dask scheduler is gone", hint="start it again; what is built stays")
            present |= dict.fromkeys(info["workers"], client)
        self._meet(present)
        self._client_of = present
        self._present, self._asked = frozenset(present), time.monotonic()
        fit = tuple(self._known[address] for address in present if address in self._known)
        if len(fit) < len(self._fit):
            # Another gets the same time to come in its place.
            self._deadline = self._asked + self._patience
        self._fit = fit
        if len(fit) < self._expected and self._asked >= self._revived + REVIVAL:
            self._revived = self._asked
            self._revive()
        if not fit and self._refused and not self._running:
            raise BuildError("no worker of the cluster can build", why="; ".join(self._refused.values()))
        if not fit and not self._running and time.monotonic() > self._deadline:
            raise BusyError(
                f"no worker came within {self._patience:g} s",
                why=self._waiting(),
                hint="see whether the cluster has room for the job; --patience SECONDS waits longer",
            )
        return fit

    def _meet(self, present: Mapping[str, Any]) -> None:
        """Ask those who are new who they are."""
        for address, client in present.items():
            if address in self._known or address in self._refused:
                continue
            try:
                [host] = client.run(describe, workers=[address], on_error="raise").values()
            except (ModuleNotFoundError, ImportError, AttributeError) as error:
                self._refused[address] = f"{address} has no simdinstall with caches: {error}"
                continue
            except Exception:  # noqa: S112 - it may have gone meanwhile; it is asked again if it has not
                continue
            if not isinstance(host, Host) or host.version != __version__:
                told = getattr(host, "version", "another version")
                self._refused[address] = f"{address} has simdinstall {told}, this is {__version__}"
                continue
            self._known[address] = Worker(name=address, host=host.name, cpu=Cpu.from_json(dict(host.cpu)))

    def submit(self, worker: str, task: Task) -> None:
        """Send the task with its sources to the worker."""
        client = self._client_of[worker]
        with warnings.catch_warnings():
            # Dask would rather have large data elsewhere; ours goes to one worker, once.
            warnings.simplefilter("ignore")
            future = client.submit(
                self._work,
                travelling(task),
                workers=[worker],
                allow_other_workers=False,
                pure=False,
                retries=0,
                key=f"simdinstall-{task.cell.key}-{time.monotonic_ns()}",
            )
        self._running[worker] = future, client, task

    def wait(self, seconds: float) -> Sequence[Done]:
        """What has ended; a worker that is gone takes its task with it."""
        until = time.monotonic() + seconds
        while True:
            found = [done for worker in tuple(self._running) if (done := self._look(worker)) is not None]
            if found or time.monotonic() >= until:
                return found
            time.sleep(0.05)

    def _look(self, worker: str) -> Done | None:
        future, _, task = self._running[worker]
        gone = worker not in self._present
        if not future.done() and not gone:
            return None
        del self._running[worker]
        if not future.done():
            with contextlib.suppress(Exception):
                future.cancel(force=True)
            self._known.pop(worker, None)
            return Done(task=task, worker=worker, outcome=None, why="it left the cluster")
        try:
            outcome = future.result()
        except Exception as error:  # whatever Dask makes of a worker's death
            return Done(task=task, worker=worker, outcome=None, why=str(error) or type(error).__name__)
        finally:
            future.release()
        assert isinstance(outcome, Outcome)
        return Done(task=task, worker=worker, outcome=outcome)

    def close(self) -> None:
        """Cancel what still runs, leave the scheduler, and end what was started."""
        for future, _, _ in self._running.values():
            with contextlib.suppress(Exception):
                future.cancel(force=True)
        self._running.clear()
        for client in self._clients:
            with contextlib.suppress(Exception):
                client.close()
        self._close()


def connect(address: str, *, patience: float = 600.0, timeout: float = PATIENCE) -> DaskWorkers:
    """The workers of a scheduler that runs. BuildError when there is none."""
    client_class = _library("distributed", "Client")
    try:
        client = client_class(address, timeout=timeout, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise BuildError(
            f"no Dask scheduler answers at {address}",
            why=str(error) or type(error).__name__,
            hint="the address looks like tcp://host:8786; is the scheduler running, and reachable from here?",
        ) from error
    return DaskWorkers([client], expected=1, patience=patience)


def slurm(jobs: SlurmJobs, *, patience: float = 600.0, run: Runner = run) -> DaskWorkers:
    """Workers in jobs of the cluster's own Slurm, a group for each constraint. BuildError, UsageError."""
    try:
        run(["sbatch", "--version"], timeout=30)
    except CommandFailed as error:
        raise UsageError(
            "there is no Slurm here",
            why=error.why or error.what,
            hint="run this where `sbatch` works, or use --dask ADDRESS, or leave both out to build here",
        ) from error
    cluster_class = _library("dask_jobqueue", "SLURMCluster")
    # A job whose worker is gone counts as lost after this: long enough for a broken connection.
    _library("dask", "config").set({"distributed.deploy.lost-worker-timeout": "5s"})
    client_class = _library("distributed", "Client")
    clusters: list[Any] = []
    clients: list[Any] = []

    def close() -> None:
        for cluster in clusters:
            with contextlib.suppress(Exception):
                cluster.close(timeout=20)

    def revive() -> None:
        # Jobs that wait or run stay as they are; for one that has lost its worker there is a new one.
        for cluster in clusters:
            cluster.scale(jobs=jobs.jobs)

    try:
        for constraint in jobs.constraints:
            extra = list(jobs.options)
            if constraint:
                extra.append(f"--constraint={constraint}")
            cluster = cluster_class(
                queue=jobs.partition or None,
                account=jobs.account or None,
                walltime=jobs.walltime,
                cores=jobs.cores,
                # One task at a time each: a build uses its cores by itself.
                processes=1,
                memory=jobs.memory,
                interface=jobs.interface or None,
                job_extra_directives=extra,
                job_name="simdinstall",
                log_directory=str(jobs.logs),
                worker_extra_args=["--nthreads", "1", "--no-dashboard"],
                silence_logs="error",
                scheduler_options={"dashboard_address": ":0"},
            )
            clusters.append(cluster)
            cluster.scale(jobs=jobs.jobs)
            clients.append(client_class(cluster, set_as_default=False))
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        for client in clients:
            client.close()
        close()
        raise BuildError(
            "Slurm did not take the jobs", why=str(error), hint="check --slurm-partition and the like"
        ) from error
    return DaskWorkers(
        clients,
        expected=len(jobs.constraints) * jobs.jobs,
        close=close,
        patience=patience,
        waiting=lambda: why_pending(run=run),
        revive=revive,
    )


def why_pending(*, run: Runner = run) -> str:
    """Why Slurm has not started the jobs, in its own words."""
    try:
        said = run(["squeue", "--me", "--name=simdinstall", "--noheader", "--format=%i %T %R"], timeout=30)
    except CommandFailed as error:
        return error.why
    lines = [line.strip() for line in said.stdout.splitlines() if line.strip()]
    return "squeue says: " + "; ".join(lines) if lines else "squeue shows no job of ours"


def _library(module: str, name: str) -> Any:
    import importlib

    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise UsageError(
            f"building on a cluster needs {module}",
            why=str(error),
            hint="install it: pip install 'simdinstall[cluster]'; without it builds run in processes here",
        ) from error
