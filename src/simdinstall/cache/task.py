"""One cell's work: from sources at hand to a wheel, wherever it is done.

A :class:`Task` and an :class:`Outcome` are plain data, so that they can go to another
process or machine and back. The sources travel with the task: whoever does the work
needs no network.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from simdinstall import __version__, build, cpu, environment, interpreter, pipeline
from simdinstall.cache import cells
from simdinstall.cache.cells import Cell
from simdinstall.environment import Environment, State
from simdinstall.errors import FetchError, SimdinstallError, TargetError
from simdinstall.fetch import Download, Fetcher
from simdinstall.plan import KernelSource, Request
from simdinstall.progress import silent
from simdinstall.run import run
from simdinstall.store import Store, default_root
from simdinstall.wheel import Wheel


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A file that a wheel is made from: where it is here, or what is in it."""

    name: str
    version: str
    filename: str
    url: str
    sha256: str
    path: str = ""
    data: bytes | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What to build. ``quick``: verify the best level only. ``more`` are the sdists for its kind."""

    cell: Cell
    pillow: Source
    pillow_simd: Source | None
    more: tuple[Source, ...] = ()
    compiler: str = "auto"
    kernels: KernelSource = "auto"
    quick: bool = False
    verify: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a cell has no wheel. ``log`` is the whole text of the log, if there is one."""

    what: str
    why: str = ""
    hint: str = ""
    log: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """A wheel (as a path here, or its bytes) and what verification said; or a failure."""

    key: str
    filename: str = ""
    sha256: str = ""
    path: str = ""
    data: bytes | None = None
    provenance: Mapping[str, Any] | None = None
    verdict: Mapping[str, Any] | None = None
    failure: Failure | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """What a worker says of itself. ``pythons`` are names of interpreters it can verify under."""

    name: str
    version: str
    cpu: Mapping[str, Any]
    pythons: tuple[str, ...] = ()


def describe() -> Host:
    """What a worker on this machine says of itself."""
    return Host(name=platform.node(), version=__version__, cpu=cpu.detect().to_json())


def travelling(task: Task) -> Task:
    """The task with its sources in it."""

    def loaded(source: Source) -> Source:
        if source.data is not None:
            return source
        return replace(source, data=Path(source.path).read_bytes(), path="")

    simd = task.pillow_simd
    return replace(
        task,
        pillow=loaded(task.pillow),
        pillow_simd=loaded(simd) if simd else None,
        more=tuple(map(loaded, task.more)),
    )


def perform(task: Task, *, into: Path | None = None, root: Path | None = None) -> Outcome:
    """Build and verify one cell. Never raises for what is wrong with the cell.

    ``into``: a folder where the wheel goes; without one its bytes are in the outcome.
    ``root``: the folder of this machine's store.
    """
    started = time.monotonic()
    key = task.cell.key
    try:
        with tempfile.TemporaryDirectory(prefix="simdinstall-cell-") as name:
            wheel, verdict = _build(task, Path(name), Store(root or default_root(), patience=3600.0))
            data: bytes | None = wheel.path.read_bytes()
            path = ""
            if into is not None and data is not None:
                target = into / f"{key}-{wheel.path.name}"
                target.write_bytes(data)
                data, path = None, str(target)
        return Outcome(
            key=key,
            filename=wheel.path.name,
            sha256=wheel.sha256,
            path=path,
            data=data,
            provenance=dict(wheel.provenance),
            verdict=verdict,
            seconds=time.monotonic() - started,
        )
    except SimdinstallError as error:
        log = ""
        if error.log is not None and error.log.is_file():
            log = error.log.read_text(encoding="utf-8", errors="replace")
        failure = Failure(what=error.what, why=error.why, hint=error.hint, log=log)
    except OSError as error:
        failure = Failure(what="the machine that built it failed", why=f"{type(error).__name__}: {error}")
    return Outcome(key=key, failure=failure, seconds=time.monotonic() - started)


def _build(task: Task, scratch: Path, store: Store) -> tuple[Wheel, dict[str, Any]]:
    came = [_laid_down(source, scratch) for source in (task.pillow_simd, *task.more) if source is not None]
    supplied = _Supplied(_laid_down(task.pillow, scratch), came)
    services = pipeline.Services(fetcher=supplied, store=store, progress=silent)
    target, why_not = _interpreter(task)
    request = Request(
        march=task.cell.march,
        pillow=task.cell.release,
        fidelity="bounded" if task.cell.fidelity == "bounded" else "exact",
        compiler=task.compiler,
        kernels=task.kernels,
        rebuild=task.cell.rebuilt,
        zlib_ng=task.cell.zlib_ng,
        cpu=None,
    )
    if not task.verify:
        why_not = "verification was switched off"
    elif target is not None:
        here = cpu.detect()
        march = cpu.resolve_march(task.cell.march, here)
        if lack := sorted(march.features - here.features):
            why_not = f"the machine that built it ({here.name}) lacks {', '.join(lack)}"
    env = target or (find_python(task.cell) if task.cell.rebuilt else None) or _stand_in(task.cell)
    if task.cell.rebuilt and not env.python.exists():
        raise TargetError(
            f"the machine that built it has no Python {task.cell.python.name} for {task.cell.platform}",
            why="a core that is compiled for it needs its headers",
            hint="name one with --python PATH, or build where there is one",
        )
    prepared = pipeline.prepare(request, env, services=services, scratch=scratch, installing=False)
    if why_not:
        wheel = build.build(prepared.plan, store=store, run=run)
        return wheel, {"state": "unverified", "why": why_not}
    made = pipeline.make(prepared, services=services, scratch=scratch)
    made.verdict.require_ok()
    verdict = made.verdict
    return made.wheel, {
        "state": "verified" if verdict.graded else "unverified",
        "python": env.release,
        "cpu": prepared.plan.cpu.microarchitecture,
        "level": verdict.level,
        "exact": len(verdict.exact),
        "bounded": len({row.operation for row in verdict.bounded}),
        "times_as_fast": round(verdict.speedup, 2),
        "not_verified": list(verdict.limits),
    }


def _laid_down(source: Source, scratch: Path) -> Download:
    """A source as a file with the hash it must have. FetchError."""
    path = Path(source.path)
    if source.data is not None:
        if hashlib.sha256(source.data).hexdigest() != source.sha256:
            raise FetchError(f"{source.filename} did not arrive as it was sent", hint="try again")
        folder = scratch / "sources"
        folder.mkdir(exist_ok=True)
        path = folder / source.filename
        path.write_bytes(source.data)
    return Download(
        name=source.name,
        version=source.version,
        filename=source.filename,
        url=source.url,
        sha256=source.sha256,
        path=path,
    )


class _Supplied(Fetcher):
    """Gives what came with the task; fetches nothing but, where there is no compiler, zig."""

    def __init__(self, pillow: Download, sdists: Sequence[Download]) -> None:
        super().__init__(cache=default_root())
        self._pillow = pillow
        self._sdists = {sdist.name: sdist for sdist in sdists}

    def newest(self, project: str, *, tags: Sequence[str] | None = None, python: str | None = None) -> str:
        if project == "pillow":
            return self._pillow.version
        return super().newest(project, tags=tags, python=python)

    def wheel(
        self, project: str, version: str, tags: Sequence[str], *, python: str | None = None
    ) -> Download:
        if project == "pillow":
            return self._pillow
        return super().wheel(project, version, tags, python=python)

    def sdist(self, project: str, version: str | None = None) -> Download:
        if project not in self._sdists:
            raise FetchError(f"{project} did not come with the task")
        return self._sdists[project]


def _interpreter(task: Task) -> tuple[Environment | None, str]:
    """The interpreter to verify under, or why there is none."""
    python = task.cell.python
    if not task.verify:
        return None, ""
    found = find_python(task.cell)
    if found is None:
        libc = " for musl" if task.cell.platform.startswith("musl") else ""
        return None, f"the machine that built it has no Python {python.name}{libc}"
    return found, ""


def find_python(cell: Cell) -> Environment | None:
    """An interpreter on this machine that a cell's wheel is for: the named one, else the first that works."""
    python, loadable = cell.python, frozenset(cells.tags(cell.python, cell.platform))
    candidates = [Path(python.path)] if python.path else []
    if sys.version_info[:2] == python.version:
        candidates.append(Path(sys.executable))

    def question(candidate: Path) -> interpreter.Facts:
        return interpreter.ask(candidate, run=run, environ=os.environ)

    name = f"{python.version[0]}.{python.version[1]}"
    if found := interpreter.first_on_path((name,), environ=os.environ, question=question):
        candidates.append(found)
    for candidate in candidates:
        try:
            env = environment.inspect(candidate)
        except SimdinstallError:
            continue
        same = env.version[:2] == python.version and env.free_threaded == python.threaded
        if same and not loadable.isdisjoint(env.tags):
            return env
    return None


def _stand_in(cell: Cell) -> Environment:
    """An environment for a Python that is not here: enough of one to build for."""
    nowhere = Path("/nonexistent")
    musl = cell.platform.startswith("musl")
    return Environment(
        python=nowhere,
        version=(*cell.python.version, 0),
        implementation="cpython",
        free_threaded=cell.python.threaded,
        prefix=nowhere,
        base_prefix=nowhere,
        site=nowhere,
        scope="venv",
        kind="venv",
        has_pip=False,
        writable=False,
        externally_managed=False,
        tags=cells.tags(cell.python, cell.platform),
        libc="musl" if musl else "glibc",
        distro="",
        package_manager=None,
        owners=(),
        state=State.NONE,
        pil_path=None,
        pil_version=None,
        problems=(),
    )
