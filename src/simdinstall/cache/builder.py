"""Building a matrix: what is missing, who builds it, and putting it into the cache.

Cells are independent: one that fails leaves the others alone. Each wheel is put into the
cache as soon as it is there, so that whoever is interrupted goes on where he was.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from packaging.utils import parse_wheel_filename

from simdinstall import (
    __version__,
    abi,
    build,
    codec_abi,
    compiling,
    dwarf,
    environment,
    graft,
    headers,
    kernels,
    library,
    linked,
    pillow_source,
    prebuilt,
    rebuild,
    toolchain,
    tree,
    wheel,
    zlib_ng,
)
from simdinstall.cache import cells, variants
from simdinstall.cache.catalogue import (
    Catalogue,
    Entry,
    House,
    Signer,
    core_metadata,
    input_digest,
    now,
)
from simdinstall.cache.cells import Cell
from simdinstall.cache.executors import Done, Executor, Worker, lost
from simdinstall.cache.task import Failure, Outcome, Source, Task, find_python
from simdinstall.cpu import March, detect
from simdinstall.errors import BusyError, FetchError, UsageError
from simdinstall.fetch import Download, Fetcher
from simdinstall.plan import KernelSource

State = Literal["queued", "building", "elsewhere", "verified", "unverified", "unchanged", "failed"]

#: States in which nothing more will happen to a cell.
FINAL: frozenset[State] = frozenset({"verified", "unverified", "unchanged", "failed"})

#: How often a cell is given to another worker when its own died.
ATTEMPTS = 3

#: Publishing may take this share of the time, at most; each costs as much as there are wheels.
_SHARE = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """How to build. ``patience``: seconds to wait for the first worker, and for others' cells."""

    compiler: str = "auto"
    kernels: KernelSource = "auto"
    quick: bool = False
    verify: bool = True
    anew: bool = False
    variants: bool = False
    patience: float = 600.0


@dataclass(kw_only=True, slots=True)
class Progress:
    """One cell's state, as the live table shows it."""

    cell: Cell
    state: State = "queued"
    where: str = ""
    why: str = ""
    seconds: float = 0.0
    log: Path | None = None
    started: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What became of a matrix."""

    cells: tuple[Progress, ...]
    catalogue: Catalogue
    repeated: int

    def of(self, state: State) -> tuple[Progress, ...]:
        """The cells in a state."""
        return tuple(cell for cell in self.cells if cell.state == state)


Watcher = Callable[[Sequence[Progress]], None]


@dataclass(kw_only=True)
class _Job:
    """A cell that has to be built, and what is known about it."""

    task: Task
    progress: Progress
    features: frozenset[str]
    inputs: str
    march: March
    before: Entry | None
    attempts: int = 0
    lock: ExitStack = field(default_factory=ExitStack)


def resolve_pythons(text: str) -> tuple[cells.Python, ...]:
    """``--python`` as Pythons: versions as they are, paths asked for theirs. TargetError, UsageError."""
    found: dict[tuple[tuple[int, int], bool], cells.Python] = {}
    for part in cells.parse_pythons(text):
        if isinstance(part, str):
            env = environment.inspect(Path(part).expanduser())
            if env.implementation != "cpython":
                raise UsageError(f"{part} is no CPython", hint="Pillow's kernels are for CPython")
            python = cells.Python(
                version=(env.version[0], env.version[1]), threaded=env.free_threaded, path=str(env.python)
            )
        else:
            python = cells.Python(version=(part[0], part[1]), threaded=part[2])
        key = python.version, python.threaded
        # A named interpreter says more than a bare version.
        if key not in found or python.path:
            found[key] = python
    return tuple(found.values())


def code_digest(kind: str = "") -> str:
    """The hash of the code and the kernels that every wheel of a kind is made with."""
    files: list[Path] = []
    for module in (abi, build, compiling, dwarf, kernels, library, linked, prebuilt, toolchain, wheel):
        files.append(Path(str(module.__file__)))
    if kind:
        modules = (codec_abi, graft, headers, pillow_source, rebuild)
        files += [Path(str(module.__file__)) for module in modules]
    for folder in (kernels.sources_dir(), Path(str(resources.files("simdinstall.patches")))):
        suffixes = (".c", ".h", ".toml", ".patch", ".py")
        files += sorted(p for p in folder.rglob("*") if p.suffix in suffixes or p.name == "series")
    whole = hashlib.sha256(__version__.encode())
    for path in files:
        whole.update(path.name.encode() + b"\0" + path.read_bytes())
    if kind:
        whole.update(zlib_ng.code_digest().encode())
    return whole.hexdigest()


class Sources:
    """The official wheels and the sdist, each fetched once."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._found: dict[tuple[str, ...], Download | FetchError] = {}
        self._simd: Download | None = None
        self._asked = False

    def pillow(self, cell: Cell) -> Download:
        """The official wheel. FetchError, the same for all cells that need it."""

        def fetch() -> Download:
            tags = cells.tags(cell.python, cell.platform)
            python = f"{cell.python.version[0]}.{cell.python.version[1]}"
            return self._fetcher.wheel("pillow", cell.release, tags, python=python)

        return self._once(("wheel", cell.release, cell.python.abi, cell.platform), fetch)

    def more(self, cell: Cell) -> tuple[Download, ...]:
        """The sdists of what else is compiled for a cell's kind. FetchError."""
        wanted = [("pillow", cell.release)] if cell.rebuilt else []
        wanted += [(zlib_ng.PROJECT, zlib_ng.RELEASE)] if cell.zlib_ng else []
        return tuple(self._once(("sdist", *name), partial(self._fetcher.sdist, *name)) for name in wanted)

    def pillow_simd(self, cell: Cell, march: March) -> Download | None:
        """Pillow-SIMD's sdist, where a kernel of it would be built in and it can be had."""
        fidelity: kernels.Fidelity = "bounded" if cell.fidelity == "bounded" else "exact"
        chosen = kernels.select(kernels.load(), fidelity=fidelity, isas=march.isas)
        if not any(kernel.origin == "pillow-simd" for kernel in chosen):
            return None
        if not self._asked:
            self._asked = True
            with contextlib.suppress(FetchError):
                self._simd = self._fetcher.sdist("pillow-simd", tree.newest_series())
        return self._simd

    def _once(self, key: tuple[str, ...], fetch: Callable[[], Download]) -> Download:
        if key not in self._found:
            try:
                self._found[key] = fetch()
            except FetchError as error:
                self._found[key] = error
        found = self._found[key]
        if isinstance(found, FetchError):
            raise found
        return found


def build_matrix(
    matrix: Sequence[Cell],
    marches: Iterable[March],
    *,
    house: House,
    fetcher: Fetcher,
    executor: Callable[[int], Executor],
    wanted: Wanted,
    signer: Signer | None = None,
    unsigned: bool = False,
    watch: Watcher = lambda rows: None,
    clock: Callable[[], float] = time.monotonic,
) -> Summary:
    """Build every cell that is missing or out of date, and publish it.

    ``executor`` makes one for a number of cells; it is not called when nothing is to be
    done. Raises StateError for a folder that cannot be built on, and whatever the
    executor raises when nobody can build.
    """
    house.require_fit()
    levels = {march.name: march for march in marches}
    rows = [Progress(cell=cell) for cell in matrix]
    before = house.read()
    jobs = _jobs(rows, levels, before, Sources(fetcher), wanted)
    watch(rows)
    site = _Site(house=house, rows=rows, wanted=wanted, signer=signer, unsigned=unsigned, watch=watch)
    site.clock = clock
    if jobs:
        if before.signer and not unsigned and (signer is None or signer.fingerprint != before.signer):
            # Said now, not after an hour of building.
            house.publish(lambda catalogue: catalogue, signer=signer)
        site.work(jobs, executor(len(jobs)))
    elif signer is not None and before.signer != signer.fingerprint:
        house.publish(lambda catalogue: catalogue, signer=signer)
    elif unsigned and before.signer:
        house.publish(lambda catalogue: catalogue, unsigned=True)
    after = house.read()
    if wanted.variants or after.variants:
        after = variants.add_missing(house, signer=signer, unsigned=unsigned)
    return Summary(cells=tuple(rows), catalogue=after, repeated=site.repeated)


def _jobs(
    rows: Sequence[Progress],
    levels: Mapping[str, March],
    before: Catalogue,
    sources: Sources,
    wanted: Wanted,
) -> list[_Job]:
    code = {kind: code_digest(kind) for kind in {row.cell.kind for row in rows}}
    present = before.by_cell()
    pythons: dict[tuple[cells.Python, str], bool] = {}
    jobs = []
    for row in rows:
        cell, march = row.cell, levels[row.cell.level]
        try:
            pillow = sources.pillow(cell)
            more = sources.more(cell)
        except FetchError as error:
            row.state, row.why = "failed", "; ".join(part for part in (error.what, error.why) if part)
            continue
        simd = sources.pillow_simd(cell, march)
        inputs = input_digest(
            {
                "code": code[cell.kind],
                "cell": cell.key,
                "march": [march.name, march.level, march.isas, march.target],
                "pillow": pillow.sha256,
                "pillow_simd": simd.sha256 if simd else "",
                "compiler": wanted.compiler,
                "kernels": wanted.kernels,
                "epoch": build.source_date_epoch(),
                **({"more": [one.sha256 for one in more]} if more else {}),
                **({"flags": rebuild.user_flags(os.environ)} if cell.rebuilt else {}),
            }
        )
        entry = present.get(cell.key)
        if entry is not None and entry.inputs == inputs and not wanted.anew and entry.verified:
            row.state = "unchanged"
            continue
        if entry is not None and entry.inputs == inputs and not wanted.anew:
            # Not verified so far: only worth another try where that has become possible.
            wanted_python = cell.python, cell.platform
            if wanted_python not in pythons:
                pythons[wanted_python] = wanted.verify and find_python(cell) is not None
            why = str(entry.verdict.get("why", ""))
            if not pythons[wanted_python] or why.endswith(_lacks(march)):
                row.state, row.why = "unchanged", f"not verified: {why}"
                continue
        task = Task(
            cell=cell,
            pillow=_source(pillow),
            pillow_simd=_source(simd) if simd else None,
            more=tuple(_source(one) for one in more),
            compiler=wanted.compiler,
            kernels=wanted.kernels,
            quick=wanted.quick,
            verify=wanted.verify,
        )
        jobs.append(
            _Job(task=task, progress=row, features=march.features, inputs=inputs, march=march, before=entry)
        )
    order = {cell: place for place, cell in enumerate(cells.spread([job.task.cell for job in jobs]))}
    return sorted(jobs, key=lambda job: order[job.task.cell])


def _lacks(march: March) -> str:
    """The end of the message of a machine that cannot run a level; it holds here if it does."""
    here = detect()
    lack = sorted(march.features - here.features)
    return f"lacks {', '.join(lack)}" if lack else "\0"


def _source(download: Download) -> Source:
    return Source(
        name=download.name,
        version=download.version,
        filename=download.filename,
        url=download.url,
        sha256=download.sha256,
        path=str(download.path),
    )


class _Site:
    """The loop that hands out cells and takes in wheels."""

    def __init__(
        self,
        *,
        house: House,
        rows: Sequence[Progress],
        wanted: Wanted,
        signer: Signer | None,
        unsigned: bool,
        watch: Watcher,
    ) -> None:
        self._house = house
        self._rows = rows
        self._wanted = wanted
        self._signer = signer
        self._unsigned = unsigned
        self._watch = watch
        self.clock: Callable[[], float] = time.monotonic
        self.repeated = 0
        self._arrived: list[Entry] = []
        self._locks: list[ExitStack] = []
        self._next_publication = 0.0

    def work(self, jobs: list[_Job], executor: Executor) -> None:
        """Until every job has ended."""
        queued = list(jobs)
        elsewhere: list[_Job] = []
        running: dict[str, _Job] = {}
        started = self.clock()
        looked = 0.0
        try:
            while queued or elsewhere or running:
                workers = executor.workers()
                if not workers and not running and self.clock() - started > self._wanted.patience:
                    raise BusyError(
                        f"no worker came within {self._wanted.patience:g} s",
                        hint="see whether the cluster has room; --patience SECONDS waits longer",
                    )
                if workers and elsewhere and not queued and self.clock() - looked > 1.0:
                    looked = self.clock()
                    queued, elsewhere = elsewhere, []
                for worker in workers:
                    if worker.name in running:
                        continue
                    job = self._next(queued, worker, workers, executor.complete)
                    if job is None:
                        continue
                    if not self._claim(job):
                        elsewhere.append(job)
                        continue
                    if job.progress.state in FINAL:
                        continue
                    running[worker.name] = job
                    job.progress.state, job.progress.where = "building", worker.host
                    job.progress.started = self.clock()
                    executor.submit(worker.name, job.task)
                self._watch(self._rows)
                for done in executor.wait(0.25):
                    job = running.pop(done.worker)
                    self._take(job, done, queued)
                self._publish_if_due()
        finally:
            executor.close()
            # What is finished is not lost, whatever went wrong.
            self._publish()
            for job in running.values():
                job.lock.close()
            self._watch(self._rows)

    def _next(
        self, queued: list[_Job], worker: Worker, workers: Sequence[Worker], complete: bool
    ) -> _Job | None:
        """The first job that this worker can verify, or that nobody can."""
        for number, job in enumerate(queued):
            nobody = complete and not any(other.cpu.can_run(job.features) for other in workers)
            if worker.cpu.can_run(job.features) or nobody:
                return queued.pop(number)
        return None

    def _claim(self, job: _Job) -> bool:
        """Whether the cell is ours to build; another builder may have it, or have built it."""
        try:
            job.lock.enter_context(self._house.locked(f"cell-{job.task.cell.key}", patience=0))
        except BusyError:
            job.progress.state = "elsewhere"
            job.progress.why = "another builder is at it"
            return False
        entry = self._house.read().by_cell().get(job.task.cell.key)
        if entry is not None and entry != job.before and entry.inputs == job.inputs:
            job.progress.state, job.progress.why = "unchanged", "another builder built it"
            job.lock.close()
        return True

    def _take(self, job: _Job, done: Done, queued: list[_Job]) -> None:
        row = job.progress
        outcome = done.outcome
        if outcome is None:
            job.attempts += 1
            self.repeated += 1
            if job.attempts < ATTEMPTS:
                job.lock.close()
                row.state, row.why = "queued", f"its worker died: {done.why}"
                queued.insert(0, job)
                return
            outcome = lost(job.task, done.why, job.attempts)
        row.seconds = outcome.seconds
        if outcome.failure is None:
            try:
                entry = self._store(job, outcome)
            except BaseException:
                job.lock.close()
                raise
            row.state = "verified" if entry.verified else "unverified"
            row.why = "" if entry.verified else str(entry.verdict.get("why", ""))
            self._arrived.append(entry)
            self._locks.append(job.lock)
        else:
            row.state = "failed"
            row.why = outcome.failure.what
            row.log = self._keep_log(job.task.cell, outcome.failure)
            job.lock.close()

    def _store(self, job: _Job, outcome: Outcome) -> Entry:
        with tempfile.TemporaryDirectory(prefix="simdinstall-arrived-") as name:
            path = Path(name) / outcome.filename
            if outcome.data is not None:
                path.write_bytes(outcome.data)
            else:
                shutil.move(outcome.path, path)
            relative = self._house.take_in(path, outcome.sha256)
            return describe_wheel(job.task.cell, job.march, job.inputs, path, relative, outcome)

    def _keep_log(self, cell: Cell, failure: Failure) -> Path:
        folder = self._house.root / "logs"
        folder.mkdir(exist_ok=True)
        path = folder / f"{cell.key}.log"
        parts = [f"{cell.title}: {failure.what}", failure.why, failure.hint, failure.log]
        path.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
        return path

    def _publish_if_due(self) -> None:
        if self._arrived and self.clock() >= self._next_publication:
            self._publish()

    def _publish(self) -> None:
        arrived, self._arrived = self._arrived, []
        locks, self._locks = self._locks, []
        try:
            if arrived:
                began = self.clock()
                self._house.publish(
                    lambda catalogue: catalogue.with_entries(arrived),
                    signer=self._signer,
                    unsigned=self._unsigned,
                )
                ended = self.clock()
                # All publications together stay in proportion to the work, however many wheels.
                self._next_publication = ended + (ended - began) / _SHARE
        finally:
            for lock in locks:
                lock.close()


def describe_wheel(
    cell: Cell, march: March, inputs: str, path: Path, relative: str, outcome: Outcome
) -> Entry:
    """A wheel's place in the catalogue, from its own metadata and provenance."""
    told: Mapping[str, Any] = outcome.provenance or {}
    metadata = core_metadata(path)
    _, _, _, tags = parse_wheel_filename(outcome.filename)
    simd = told.get("pillow_simd") or {}
    core, zlib = told.get("core") or {}, told.get("zlib_ng") or {}
    more = {"pillow_sdist": core.get("sdist"), "zlib_ng": zlib.get("sdist")}
    compiler = told.get("compiler") or {}
    return Entry(
        cell=cell.key,
        inputs=inputs,
        file=outcome.filename,
        path=relative,
        sha256=outcome.sha256,
        size=path.stat().st_size,
        metadata_sha256=hashlib.sha256(metadata).hexdigest(),
        version=str(told["version"]),
        release=cell.release,
        requires_python=_requires_python(metadata),
        python=cell.python.tag,
        abi=cell.python.abi,
        platforms=tuple(sorted(tag.platform for tag in tags)),
        level=march.name,
        mark=march.level,
        architecture=march.architecture,
        features=march.features,
        isas=march.isas,
        fidelity=cell.fidelity,
        glibc=str((told.get("abi") or {}).get("glibc") or ""),
        kernels=tuple(kernel["name"] for kernel in told.get("kernels", ())),
        sources={
            "pillow": str(told["pillow"]["sha256"]),
            **({"pillow_simd": str(simd["sha256"])} if simd else {}),
            **{name: str(one["sha256"]) for name, one in more.items() if one},
            **{f"patch {patch['slug']}": patch["sha256"] for patch in told.get("patches", ())},
        },
        flags=tuple((told.get("flags") or {}).get("all", ())),
        compiler=f"{compiler.get('kind', '')} {compiler.get('version', '')}".strip(),
        library=str(told.get("added", {}).get("PIL/libpillow_simd.so", "")),
        verdict=outcome.verdict or {},
        built=now(),
        kind=cell.kind,
    )


def _requires_python(metadata: bytes) -> str:
    for line in metadata.split(b"\n\n", 1)[0].decode("utf-8", "replace").splitlines():
        name, _, value = line.partition(":")
        if name.lower() == "requires-python":
            return value.strip()
    return ""
