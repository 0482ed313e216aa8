"""Small caches: wheels of a few files, made in no time, and those who build and fetch them."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import small_pillow
from simdinstall.cache import cells, simple_index
from simdinstall.cache.builder import describe_wheel
from simdinstall.cache.catalogue import Catalogue, Entry, House
from simdinstall.cache.cells import Cell, Python
from simdinstall.cache.executors import Done, Worker
from simdinstall.cache.task import Failure, Outcome, Task
from simdinstall.cpu import LEVELS, Cpu, March, level_of, resolve_march
from simdinstall.errors import FetchError
from simdinstall.fetch import Download, Fetcher

PLATFORM = "manylinux_2_28_x86_64"


def cpu(level: str, *more: str) -> Cpu:
    features = LEVELS[level] | set(more)
    return Cpu(
        architecture="x86_64",
        vendor="GenuineIntel",
        name=f"a {level} machine",
        microarchitecture=level.replace("-", "_"),
        features=frozenset(features),
        level=level_of(frozenset(features)),
    )


#: Has everything that any kernel uses.
BEST = cpu("x86-64-v4", "avx512_vnni")


def march(name: str) -> March:
    return resolve_march(name, BEST)


def python(name: str) -> Python:
    return cells.python_named(name)


def cell(release: str = "13.0.0", py: str = "3.11", level: str = "v3", **more: Any) -> Cell:
    made = march(level)
    return Cell(release=release, python=python(py), march=level, level=made.name, **more)


def our_wheel(folder: Path, of: Cell, *, mark: str = "", kernels: Sequence[str] = ("resample",)) -> Path:
    """A wheel with the name and the provenance of a real one."""
    made = march(of.march)
    version = f"{of.release}+simd.{made.name}{f'.{of.kind}' if of.kind else ''}"
    told = {
        "version": version,
        "fidelity": of.fidelity,
        "pillow": {"release": of.release, "sha256": "0" * 64, "filename": "p.whl"},
        "march": {"name": made.name, "level": made.level, "isas": list(made.isas)},
        "kernels": [{"name": name, "fidelity": "exact"} for name in kernels],
        "added": {"PIL/libpillow_simd.so": hashlib.sha256(version.encode()).hexdigest()},
        "flags": {"all": ["-O3"]},
        "compiler": {"kind": "gcc", "version": "12"},
        **({"core": {"sdist": {"sha256": "1" * 64}}} if of.rebuilt else {}),
    }
    content = {
        "PIL/__init__.py": f"__version__ = '{of.release}'  # {mark}\n".encode(),
        f"pillow-{version}.dist-info/simdinstall.json": json.dumps(told).encode(),
    }
    plain = small_pillow.wheel(folder, version=version, content=content)
    tag = f"{of.python.tag}-{of.python.abi}-{PLATFORM}"
    made_at = folder / plain.name.replace("py3-none-any", tag)
    # The same bytes whenever it is made, as a real build has.
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(made_at, "w") as target:
        for name in source.namelist():
            target.writestr(zipfile.ZipInfo(name), source.read(name))
    plain.unlink()
    return made_at


def outcome(of: Cell, wheel: Path, *, verified: bool = True) -> Outcome:
    from simdinstall.wheel import read

    found = read(wheel, cached=False)
    state = {"state": "verified", "cpu": "here", "python": "3.11.7", "times_as_fast": 7.0}
    return Outcome(
        key=of.key,
        filename=wheel.name,
        sha256=found.sha256,
        path=str(wheel),
        provenance=found.provenance,
        verdict=state if verified else {"state": "unverified", "why": "no such Python here"},
        seconds=1.0,
    )


def house(root: Path, **options: Any) -> House:
    return House(root, pages=simple_index.pages, **options)


def entry(of: House, made: Cell, scratch: Path, *, verified: bool = True, mark: str = "") -> Entry:
    """A wheel put into a cache, not yet published."""
    scratch.mkdir(parents=True, exist_ok=True)
    wheel = our_wheel(scratch, made, mark=mark)
    result = outcome(made, wheel, verified=verified)
    relative = of.take_in(wheel, result.sha256)
    return describe_wheel(made, march(made.march), f"inputs-{mark}", wheel, relative, result)


def filled(root: Path, scratch: Path, *of: Cell, verified: bool = True) -> House:
    """A published cache of these cells."""
    made = house(root)
    entries = [entry(made, one, scratch, verified=verified) for one in of]
    made.publish(lambda catalogue: catalogue.with_entries(entries))
    return made


def paper(count: int) -> Catalogue:
    """A catalogue of many wheels that are not there."""
    template = {
        "cell": "",
        "inputs": "",
        "sha256": "0" * 64,
        "size": 7_000_000,
        "metadata_sha256": "1" * 64,
        "requires_python": ">=3.11",
        "platforms": [PLATFORM],
        "fidelity": "exact",
        "glibc": "2.17",
        "kernels": ["resample"] * 10,
        "sources": {"pillow": "2" * 64},
        "flags": ["-O3"] * 8,
        "compiler": "gcc 12",
        "library": "3" * 64,
        "verdict": {"state": "verified"},
        "built": "2026-11-21T00:00:00+00:00",
    }
    entries = []
    for number in range(count):
        made = march(("portable", "v2", "v3", "v4")[number % 4])
        release = f"{13 + number // 80}.{number // 16 % 5}.0"
        tag = f"cp3{11 + number // 4 % 4}"
        name = f"pillow-{release}+simd.{made.name}-{tag}-{tag}-{PLATFORM}.whl"
        told = template | {
            "cell": f"{release}-{tag}-{made.name}",
            "file": name,
            "path": f"wheels/{number:016x}/{name}",
            "version": f"{release}+simd.{made.name}",
            "release": release,
            "python": tag,
            "abi": tag,
            "cpu": {
                "level": made.name,
                "mark": made.level,
                "architecture": "x86_64",
                "features": sorted(made.features),
                "isas": list(made.isas),
            },
        }
        entries.append(Entry.from_json(told))
    return Catalogue(entries=tuple(entries))


class Shelf:
    """Official wheels of a few bytes, in the place of an index."""

    def __init__(self, folder: Path, *, without: Sequence[str] = ()) -> None:
        self.folder = folder
        self.without = without
        self.asked: list[str] = []

    @classmethod
    def fetcher(cls, folder: Path, **options: Any) -> Fetcher:
        folder.mkdir(parents=True, exist_ok=True)
        return cast("Fetcher", cls(folder, **options))

    def wheel(self, project: str, version: str, tags: Sequence[str], *, python: str = "") -> Download:
        abi = tags[0].split("-")[1]
        self.asked.append(f"{version} {abi}")
        if abi in self.without or version in self.without:
            raise FetchError(f"{project} {version} has no wheel for this Python", why="none was published")
        path = self.folder / f"pillow-{version}-{abi}.whl"
        path.write_text(path.name)
        return self._download(project, version, path)

    def sdist(self, project: str, version: str | None = None) -> Download:
        path = self.folder / f"{project}.tar.gz"
        path.write_text(path.name)
        return self._download(project, version or "1", path)

    @staticmethod
    def _download(project: str, version: str, path: Path) -> Download:
        return Download(
            name=project,
            version=version,
            filename=path.name,
            url=f"https://index.example/{path.name}",
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            path=path,
        )


class Team:
    """Workers that build at once, or die, as they are told. An executor."""

    def __init__(
        self,
        folder: Path,
        *cpus: Cpu,
        fails: Callable[[Task], str] = lambda task: "",
        dies: Callable[[Task], bool] = lambda task: False,
        during: Callable[[Task], None] = lambda task: None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._cpus = list(cpus or (BEST,))
        self._fails = fails
        self._dies = dies
        self._during = during
        self._done: list[Done] = []
        self.built: list[tuple[str, str]] = []
        self.closed = False
        self.complete = True

    def __call__(self, jobs: int) -> Team:
        return self

    def workers(self) -> list[Worker]:
        return [Worker(name=f"w{n}", host=f"node{n}", cpu=c) for n, c in enumerate(self._cpus)]

    def submit(self, worker: str, task: Task) -> None:
        self.built.append((worker, task.cell.key))
        self._during(task)
        if self._dies(task):
            self._done.append(Done(task=task, worker=worker, outcome=None, why="was ended by SIGKILL"))
            return
        if why := self._fails(task):
            failed = Outcome(key=task.cell.key, failure=Failure(what=why, log="cc1: error: no"))
            self._done.append(Done(task=task, worker=worker, outcome=failed))
            return
        folder = self._folder / f"{len(self.built)}"
        wheel = our_wheel(folder, task.cell)
        runs = self._cpus[int(worker[1:])].can_run(march(task.cell.march).features)
        self._done.append(
            Done(task=task, worker=worker, outcome=outcome(task.cell, wheel, verified=runs and task.verify))
        )

    def wait(self, seconds: float) -> list[Done]:
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        self.closed = True
