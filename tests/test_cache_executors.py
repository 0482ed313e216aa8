from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import cache_parts
from simdinstall.cache import dask_cluster, worker
from simdinstall.cache.executors import Done, Executor, LocalProcesses
from simdinstall.cache.task import (
    Failure,
    Outcome,
    Source,
    Task,
    describe,
    find_python,
    perform,
    travelling,
)
from simdinstall.errors import BuildError, BusyError, UsageError
from simdinstall.run import CommandFailed, Completed


def task(tmp_path: Path, **more: Any) -> Task:
    path = tmp_path / "pillow-13.0.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    path.write_bytes(b"no wheel")
    source = Source(
        name="pillow",
        version="13.0.0",
        filename=path.name,
        url="",
        sha256="d14b31e0ab3c4cf8ba17c8b5b2d0e3a1bb1a4a1f0c4d50f7a6fd5f3c0a5a9b1c",
        path=str(path),
    )
    return Task(cell=cache_parts.cell(), pillow=source, pillow_simd=None, **more)


def ends(executor: Executor, seconds: float = 300) -> Done:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        executor.workers()
        if found := executor.wait(0.2):
            return found[0]
    raise AssertionError("nothing ended")


#: A worker that needs nothing: it answers each task by what its cell's release says.
PRETEND = """\
import json, os, sys, time
cpu = {"schema": 1, "architecture": "x86_64", "vendor": "v", "name": "n", "microarchitecture": "m",
       "features": [], "notes": []}
print(json.dumps({"name": "here", "version": "1", "cpu": cpu, "pythons": []}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    if task["cell"]["release"] == "1.0":
        time.sleep(600)
    print(json.dumps({"key": "k", "filename": str(os.getpid()), "sha256": "", "path": "", "data": None,
                      "provenance": None, "verdict": None, "failure": None, "seconds": 0.1}), flush=True)
"""


@pytest.fixture
def pretending() -> Iterator[Callable[[int], LocalProcesses]]:
    made: list[LocalProcesses] = []

    def make(jobs: int) -> LocalProcesses:
        made.append(LocalProcesses(jobs, command=(sys.executable, "-c", PRETEND)))
        return made[-1]

    yield make
    for executor in made:
        executor.close()


def test_tasks_and_outcomes_survive_the_wire(tmp_path: Path) -> None:
    whole = task(tmp_path, quick=True)
    assert worker.read_task(worker.task_line(whole)) == whole
    more = replace(whole, more=(whole.pillow,), cell=cache_parts.cell(kind="rebuilt.zlibng"))
    assert worker.read_task(worker.task_line(more)) == more
    assert travelling(more).more[0].data == b"no wheel"
    assert (
        worker.read_task(worker.task_line(replace(whole, pillow_simd=whole.pillow))).pillow_simd
        == whole.pillow
    )


def test_a_task_that_travels_has_its_sources_in_it(tmp_path: Path) -> None:
    whole = task(tmp_path)
    away = travelling(whole)
    assert (away.pillow.data, away.pillow.path) == (b"no wheel", "")
    assert travelling(away) == away
    # It arrives with another hash than it has: found out, and told.
    outcome = perform(away, root=tmp_path / "store")
    assert outcome.failure is not None
    assert "did not arrive" in outcome.failure.what


def test_processes_work_side_by_side(tmp_path: Path, pretending: Callable[[int], LocalProcesses]) -> None:
    executor = pretending(2)
    names = [w.name for w in executor.workers()]
    for name in names:
        executor.submit(name, task(tmp_path))
    done: list[Done] = []
    until = time.monotonic() + 300
    while len(done) < 2 and time.monotonic() < until:
        done += executor.wait(0.5)
    assert {d.worker for d in done} == set(names)
    assert len({d.outcome.filename for d in done if d.outcome}) == 2


def test_a_killed_process_is_replaced(tmp_path: Path, pretending: Callable[[int], LocalProcesses]) -> None:
    executor = pretending(1)
    [first] = executor.workers()
    slow = replace(task(tmp_path), cell=cache_parts.cell(release="1.0"))
    executor.submit(first.name, slow)
    os.kill(executor.pids()[first.name], signal.SIGKILL)
    done = ends(executor)
    assert done.outcome is None
    assert done.task == slow
    [second] = executor.workers()
    assert second.name != first.name
    executor.submit(second.name, task(tmp_path))
    assert ends(executor).outcome is not None


def test_processes_that_die_one_after_another() -> None:
    executor = LocalProcesses(1, command=(sys.executable, "-c", "raise SystemExit('no memory')"))
    with pytest.raises(BuildError, match="could not be started") as caught:
        executor.workers()
    assert "no memory" in caught.value.why
    executor.close()


def test_a_real_process_says_what_is_wrong(tmp_path: Path) -> None:
    executor = LocalProcesses(1)
    try:
        [own] = executor.workers()
        assert own.cpu.to_json()["features"] == describe().cpu["features"]
        executor.submit(own.name, task(tmp_path))
        done = ends(executor)
        assert done.outcome is not None
        assert done.outcome.failure is not None
        assert "cannot be used" in done.outcome.failure.what
    finally:
        executor.close()


def test_an_interpreter_must_be_able_to_load_the_wheel() -> None:
    here = cache_parts.cell(py=f"3.{sys.version_info[1]}")
    found = find_python(here)
    assert found is not None
    assert found.version[:2] == sys.version_info[:2]
    # This machine's Pythons are of one libc, and the wheel would be for the other.
    other = "manylinux_x86_64" if "musl" in found.libc else "musllinux_x86_64"
    assert find_python(replace(here, platform=other)) is None


# ------------------------------------------------------------------------- Dask


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    ) as running:
        yield running


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    from distributed import Client

    with Client(cluster, set_as_default=False) as connected:
        yield connected


def answer(given: Task) -> Outcome:
    assert given.pillow.data == b"no wheel"
    return Outcome(key=given.cell.key, filename="a.whl", data=b"wheel")


def fail(given: Task) -> Outcome:
    raise MemoryError("killed")


def test_dask_workers_build(client: Any, tmp_path: Path) -> None:
    team = dask_cluster.DaskWorkers([client], expected=2, work=answer)
    workers = team.workers()
    assert len(workers) == 2
    assert team.complete
    assert workers[0].cpu.features
    for one in workers:
        team.submit(one.name, task(tmp_path))
    done = [ends(team), *team.wait(5)]
    assert all(d.outcome is not None and d.outcome.data == b"wheel" for d in done)


def test_what_dask_makes_of_a_death(client: Any, tmp_path: Path) -> None:
    team = dask_cluster.DaskWorkers([client], work=fail)
    [first, _] = team.workers()
    team.submit(first.name, task(tmp_path))
    done = ends(team)
    assert (done.outcome, done.why) == (None, "killed")


class Departed:
    """A client whose workers go away in the middle."""

    status = "running"

    def __init__(self) -> None:
        self.there = ["tcp://a"]
        self.cancelled = False

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        return {"workers": {address: {} for address in self.there}}

    def run(self, function: Callable[[], Any], **options: Any) -> dict[str, Any]:
        return {address: function() for address in options["workers"]}

    def submit(self, *arguments: Any, **options: Any) -> Any:
        assert options["workers"] == ["tcp://a"]
        return self

    def done(self) -> bool:
        return False

    def cancel(self, force: bool) -> None:
        self.cancelled = True

    def close(self) -> None:
        pass


def test_a_worker_that_leaves_takes_its_task_with_it(tmp_path: Path) -> None:
    client = Departed()
    team = dask_cluster.DaskWorkers([client], expected=1, patience=3, interval=0)
    [one] = team.workers()
    team.submit(one.name, task(tmp_path))
    assert team.wait(0) == []
    client.there = []
    assert team.workers() == ()
    [done] = team.wait(0)
    assert (done.outcome, done.why) == (None, "it left the cluster")
    assert client.cancelled
    time.sleep(3)
    with pytest.raises(BusyError, match="no worker came"):
        team.workers()


def test_a_worker_that_is_gone_is_started_again() -> None:
    client = Departed()
    revived: list[int] = []

    def revive() -> None:
        revived.append(len(client.there))

    team = dask_cluster.DaskWorkers([client], expected=1, patience=60, interval=0, revive=revive)
    assert len(team.workers()) == 1
    assert team.complete
    assert not revived
    client.there = []
    assert team.workers() == ()
    assert revived == [0]
    # Others wait for the one that comes in its place, and ask for it once in a while only.
    assert not team.complete
    assert team.workers() == ()
    assert revived == [0]
    client.there = ["tcp://b"]
    assert [one.name for one in team.workers()] == ["tcp://b"]
    assert team.complete


def test_a_worker_of_another_version_is_not_used() -> None:
    client = Departed()
    client.run = lambda function, **options: {"tcp://a": replace(function(), version="0.0.1")}  # type: ignore[method-assign]
    with pytest.raises(BuildError, match="no worker of the cluster can build") as caught:
        dask_cluster.DaskWorkers([client]).workers()
    assert "0.0.1" in caught.value.why


def test_a_scheduler_that_is_not_there() -> None:
    pytest.importorskip("distributed")
    with pytest.raises(BuildError, match="no Dask scheduler answers at tcp://127"):
        dask_cluster.connect("tcp://127.0.0.1:9", timeout=0.5)


def test_a_scheduler_that_goes() -> None:
    client = Departed()
    client.status = "closed"
    with pytest.raises(BuildError, match="gone"):
        dask_cluster.DaskWorkers([client]).workers()


# ------------------------------------------------------------------------ Slurm


def test_no_slurm_here(tmp_path: Path) -> None:
    def nothing(argv: Any, **options: Any) -> Completed:
        ended = Completed(argv=tuple(argv), returncode=127, stdout="", stderr="", cpu_seconds=0)
        raise CommandFailed(ended, why="it cannot be started: No such file or directory")

    with pytest.raises(UsageError, match="no Slurm here") as caught:
        dask_cluster.slurm(dask_cluster.SlurmJobs(logs=tmp_path), run=nothing)
    assert "--dask" in caught.value.hint


def test_a_job_that_never_starts_says_why() -> None:
    def squeue(argv: Any, **options: Any) -> Completed:
        said = "17 PENDING (ReqNodeNotAvail)\n"
        return Completed(argv=tuple(argv), returncode=0, stdout=said, stderr="", cpu_seconds=0)

    client = Departed()
    client.there = []
    team = dask_cluster.DaskWorkers(
        [client], expected=1, patience=0, waiting=lambda: dask_cluster.why_pending(run=squeue)
    )
    with pytest.raises(BusyError, match="no worker came within 0 s") as caught:
        team.workers()
    assert caught.value.why == "squeue says: 17 PENDING (ReqNodeNotAvail)"
    assert Failure(what="x").log == ""


def test_a_rebuilt_cell_needs_its_python(tmp_path: Path) -> None:
    whole = replace(task(tmp_path), cell=cache_parts.cell(py="3.39", kind="rebuilt"))
    outcome = perform(whole, root=tmp_path / "store")
    assert outcome.failure is not None
    assert "no Python 3.39" in outcome.failure.what
    assert "headers" in outcome.failure.why
