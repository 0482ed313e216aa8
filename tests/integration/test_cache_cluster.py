"""A cache built by real workers: Dask's and Slurm's, one of which is killed meanwhile.

Three Pythons (those of 3.11, 3.12 and 3.13 that are found) at four levels. Minutes: only
when asked for by ``SIMDINSTALL_TEST_CLUSTER=1``. Slurm (slurmctld, slurmd, munged) is
started here as root, two nodes on one machine, where it is installed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from simdinstall.cache import check, node
from simdinstall.cache.catalogue import NAME, parse

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif("SIMDINSTALL_TEST_CLUSTER" not in os.environ, reason="SIMDINSTALL_TEST_CLUSTER"),
]

PYENV = Path.home() / ".pyenv" / "versions"
LEVELS = 4


def pythons() -> list[str]:
    found = {f"3.{sys.version_info[1]}": sys.executable}
    for series in ("3.11", "3.12", "3.13"):
        here = [*PYENV.glob(f"{series}.*/bin/python{series}"), shutil.which(f"python{series}")]
        found.setdefault(series, next((str(path) for path in here if path), ""))
    return [path for path in found.values() if path]


@contextlib.contextmanager
def polled(root: Path) -> Iterator[list[int]]:
    """Read the cache all the time; every state must be whole. Gives the generations seen."""
    stop = threading.Event()
    seen: list[int] = []
    wrong: list[BaseException] = []

    def poll() -> None:
        while not stop.wait(0.02):
            try:
                listed = parse((root / NAME).read_bytes(), where="here")
                for entry in listed.entries:
                    assert (root / entry.path).stat().st_size == entry.size
                for page in root.glob("simple/*/pillow/index.html"):
                    assert page.read_text().endswith("</html>\n")
                if not seen or seen[-1] != listed.generation:
                    seen.append(listed.generation)
            except FileNotFoundError as error:
                if error.filename != str(root / NAME):
                    wrong.append(error)
            except BaseException as error:
                wrong.append(error)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
    assert not wrong
    assert seen == sorted(seen)


@contextlib.contextmanager
def started(*commands: Sequence[str]) -> Iterator[list[subprocess.Popen[bytes]]]:
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    try:
        yield running
    finally:
        for process in reversed(running):
            process.kill()
            process.wait()


def build(root: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "simdinstall", "cache", "build", str(root), "--pillow", "13.0.0"]
    matrix = ["--python", ",".join(pythons()), "--quick"]
    return subprocess.Popen([*command, *matrix, *options], text=True, stderr=subprocess.PIPE)


def whole(root: Path, said: Sequence[str], seen: Sequence[int]) -> None:
    """Every cell was built once, but for those that were being built by the one that died."""
    cells = LEVELS * len(pythons())
    found = check.check(node.place(str(root)))
    assert (found.wheels, found.problems) == (cells, ()), said
    listed = parse((root / NAME).read_bytes(), where="here")
    assert all(entry.verified for entry in listed.entries), said
    begun = [line.split(": building")[0] for line in said if ": building" in line]
    assert len(begun) == cells + 1, said
    assert len(set(begun)) == cells
    assert len(seen) > 1


def killed_in_the_middle(building: subprocess.Popen[str], kill: Callable[[], None]) -> list[str]:
    """All that the builder says. ``kill`` is called a moment after the third cell was begun."""
    assert building.stderr is not None
    said: list[str] = []
    for line in building.stderr:
        said.append(line)
        if sum(": building" in one for one in said) == 3 and ": building" in line:
            time.sleep(1)
            kill()
    assert building.wait() == 0, said
    return said


def test_dask_workers_of_which_one_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    address = f"tcp://127.0.0.1:{port}"
    dask = [sys.executable, "-m", "distributed.cli"]
    scheduler = [f"{dask[0]}", "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port]
    worker = [dask[0], "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
    worker += ["--no-dashboard", "--local-directory", str(tmp_path / "dask")]
    root = tmp_path / "wh"
    with started([*scheduler, "--no-dashboard"], worker, worker) as (_, first, _second), polled(root) as seen:
        said = killed_in_the_middle(build(root, "--dask", address), first.kill)
    whole(root, said, seen)


SLURM = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort=16819
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port=17011 CPUs=1 RealMemory=2000 Feature=x86_64_v2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port=17012 CPUs=1 RealMemory=2000 Feature=x86_64_v4
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pytest.importorskip("dask_jobqueue")
    if os.geteuid() != 0 or not all(map(shutil.which, ("slurmctld", "slurmd", "munge", "munged"))):
        pytest.skip("needs root, slurm-wlm and munge")
    host = socket.gethostname().partition(".")[0]
    (tmp_path / "state").mkdir()
    for name in ("n1", "n2"):
        (tmp_path / f"spool.{name}").mkdir()
    config = tmp_path / "slurm.conf"
    config.write_text(SLURM.format(host=host, folder=tmp_path))
    monkeypatch.setenv("SLURM_CONF", str(config))
    # The socket alone says nothing: a machine that was switched off leaves it behind.
    if subprocess.run(["munge", "-n"], capture_output=True).returncode != 0:
        Path("/run/munge").mkdir(exist_ok=True)
        shutil.chown("/run/munge", "munge")
        subprocess.run(["su", "-s", "/bin/sh", "munge", "-c", "munged --force"], check=True)
    with started(["slurmctld", "-D"], ["slurmd", "-D", "-N", "n1"], ["slurmd", "-D", "-N", "n2"]):
        until = time.monotonic() + 60
        while time.monotonic() < until:
            said = subprocess.run(["sinfo", "-h", "-o", "%T %D"], capture_output=True, text=True).stdout
            if "idle 2" in said:
                break
            time.sleep(1)
        yield


def job_processes() -> dict[str, list[int]]:
    """The processes of each Slurm job on this machine."""
    found: dict[str, list[int]] = {}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            variables = (folder / "environ").read_bytes().split(b"\0") if folder.name.isdigit() else []
            for variable in variables:
                if variable.startswith(b"SLURM_JOB_ID="):
                    found.setdefault(variable.partition(b"=")[2].decode(), []).append(int(folder.name))
    return found


def test_slurm_starts_the_workers_and_one_of_them_again(slurm: None, tmp_path: Path) -> None:
    root = tmp_path / "wh"
    more = ["--slurm-cores", "1", "--slurm-memory", "1GB", "--slurm-interface", "lo", "--patience", "120"]
    victims: list[str] = []

    def kill() -> None:
        job, processes = sorted(job_processes().items())[0]
        victims.append(job)
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    with polled(root) as seen:
        said = killed_in_the_middle(build(root, "--slurm", *more), kill)
    whole(root, said, seen)
    log = (tmp_path / "slurmctld.log").read_text()
    assert len(victims) == 1
    # Two groups of one job each, and one in the killed one's place.
    assert log.count("_slurm_rpc_submit_batch_job: JobId=") == 3, log
    # What a job prints lies with the cache's other logs, not in whatever folder this was started in.
    assert (root / "logs" / f"simdinstall-{victims[0]}.out").exists()


def test_a_slurm_job_that_never_starts(slurm: None, tmp_path: Path) -> None:
    more = ["--slurm-cores", "1", "--slurm-memory", "1GB", "--slurm-interface", "lo", "--patience", "15"]
    building = build(tmp_path / "wh", "--slurm", "--slurm-option=--begin=now+1hour", *more)
    _, said = building.communicate()
    assert building.returncode == 9
    assert "no worker came within 15 s" in said
    assert "squeue says" in said
