"""A cache built by real workers: Dask's and Slurm's, one of which is killed meanwhile.

Minutes: only when asked for by ``SIMDINSTALL_TEST_CLUSTER=1``. Slurm (slurmctld, slurmd,
munged) is started here as root, two nodes on one machine, where it is installed.
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
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from simdinstall.cache import check, node
from simdinstall.cache.catalogue import NAME, parse

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif("SIMDINSTALL_TEST_CLUSTER" not in os.environ, reason="SIMDINSTALL_TEST_CLUSTER"),
]

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


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
    matrix = ["--python", sys.executable, "--march", "portable,v2", "--quick"]
    return subprocess.Popen([*command, *matrix, *options], text=True, stderr=subprocess.PIPE)


def whole(root: Path, cells: int) -> None:
    found = check.check(node.place(str(root)))
    assert (found.wheels, found.problems) == (cells, ())


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
    with started([*scheduler, "--no-dashboard"], worker, worker) as (_, first, _second), polled(root):
        building = build(root, "--dask", address)
        assert building.stderr is not None
        said = []
        for line in building.stderr:
            said.append(line)
            if sum("building" in one for one in said) == 2 and first.poll() is None:
                time.sleep(2)
                first.send_signal(signal.SIGKILL)
        assert building.wait() == 0, said
    assert any("its worker died" in line for line in said)
    whole(root, 2)


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
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port=17012 CPUs=1 RealMemory=2000 Feature=x86_64_v3
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pytest.importorskip("dask_jobqueue")
    if os.geteuid() != 0 or not all(map(shutil.which, ("slurmctld", "slurmd", "munged"))):
        pytest.skip("needs root, slurm-wlm and munge")
    host = socket.gethostname().partition(".")[0]
    (tmp_path / "state").mkdir()
    for name in ("n1", "n2"):
        (tmp_path / f"spool.{name}").mkdir()
    config = tmp_path / "slurm.conf"
    config.write_text(SLURM.format(host=host, folder=tmp_path))
    monkeypatch.setenv("SLURM_CONF", str(config))
    own_munge = not Path("/run/munge/munge.socket.2").exists()
    if own_munge:
        Path("/run/munge").mkdir(exist_ok=True)
        shutil.chown("/run/munge", "munge")
        subprocess.run(["su", "-s", "/bin/sh", "munge", "-c", "munged"], check=True)
    with started(["slurmctld", "-D"], ["slurmd", "-D", "-N", "n1"], ["slurmd", "-D", "-N", "n2"]):
        until = time.monotonic() + 60
        while time.monotonic() < until:
            said = subprocess.run(["sinfo", "-h", "-o", "%T %D"], capture_output=True, text=True).stdout
            if "idle 2" in said:
                break
            time.sleep(1)
        yield


def test_slurm_starts_the_workers(slurm: None, tmp_path: Path) -> None:
    root = tmp_path / "wh"
    more = ["--slurm-cores", "1", "--slurm-memory", "1GB", "--slurm-interface", "lo"]
    with polled(root):
        building = build(root, "--slurm", *more)
        _, said = building.communicate()
    assert building.returncode == 0, said
    whole(root, 2)


def test_a_slurm_job_that_never_starts(slurm: None, tmp_path: Path) -> None:
    more = ["--slurm-cores", "1", "--slurm-memory", "1GB", "--slurm-interface", "lo", "--patience", "15"]
    building = build(tmp_path / "wh", "--slurm", "--slurm-option=--begin=now+1hour", *more)
    _, said = building.communicate()
    assert building.returncode == 9
    assert "no worker came within 15 s" in said
    assert "squeue says" in said
