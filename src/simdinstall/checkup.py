"""Collects what :mod:`simdinstall.doctor` judges: environment, examination, CPU, releases."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from simdinstall import conda, cpu, doctor, environment, health, install, package_managers
from simdinstall.cpu import Cpu
from simdinstall.environment import Environment
from simdinstall.errors import CpuError, SimdinstallError, StateError
from simdinstall.fetch import Fetcher
from simdinstall.run import Runner, run

#: Seconds for which what an index listed is new enough for an advice.
LISTING_LIFETIME = 24 * 3600.0

#: Seconds that an index gets beyond what the examination takes.
PATIENCE = 0.3

#: The same where no index has ever answered: a first advice without them would be half of one.
FIRST_PATIENCE = 2.0


class _Releases:
    """The newest releases, asked for beside everything else, and remembered for a day."""

    def __init__(self, env: Environment, fetcher: Fetcher, memory: Path) -> None:
        self.found: dict[str, str] = {}
        self._env = env
        self._fetcher = fetcher
        self._memory = memory
        self._name = f"{env.release} {env.tags[0] if env.tags else ''}"
        known = _load(memory).get(self._name)
        self.fresh = known is not None and 0 <= time.time() - known["asked"] < LISTING_LIFETIME
        if known is not None:
            # Of yesterday, if no index answers today: better than none.
            self.found = dict(known["found"])

    def ask(self) -> None:
        """Fill in what can be had; what cannot stays unknown."""
        found: dict[str, str] = {}
        for project, tags in (("pillow", self._env.tags), ("pillow-simd", None)):
            try:
                found[project] = self._fetcher.newest(project, tags=tags, python=self._env.release)
            except SimdinstallError:
                continue
        if "pillow" in found:
            self.found = found
            kept = {**_load(self._memory), self._name: {"asked": time.time(), "found": found}}
            with contextlib.suppress(OSError):
                self._memory.parent.mkdir(parents=True, exist_ok=True)
                part = self._memory.with_suffix(".part")
                part.write_text(json.dumps(kept), encoding="utf-8")
                part.replace(self._memory)


def _load(memory: Path) -> dict[str, Any]:
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def collect(
    python: Path | None,
    *,
    fetcher: Fetcher,
    memory: Path,
    environ: Mapping[str, str],
    machines: tuple[Path, ...] = (),
    override: str | None = None,
    patience: float = PATIENCE,
    run: Runner = run,
    inspect: Callable[[Path | None], Environment] = environment.inspect,
) -> doctor.Facts:
    """Look at everything, changing nothing. Raises TargetError and CpuError.

    ``memory`` is the file in which the newest releases are remembered. ``patience``:
    seconds that indexes get beyond the rest. ``machines`` are files of
    ``simdinstall cpu --json``; ``override`` is what to believe of this machine's CPU.
    """
    others = tuple((path.stem, read_cpu(path)) for path in machines)
    env = inspect(python)
    releases = _Releases(env, fetcher, memory)
    asking = threading.Thread(target=releases.ask, daemon=True)
    if not releases.fresh:
        asking.start()
    # The examination is a process of its own; all else is looked at while it runs.
    beside = _Beside(lambda: (cpu.detect(run=run, override=override), _status(env)))
    examined = health.examine(env, run=run, environ=environ)
    seen, status = beside.result()
    if not releases.fresh:
        asking.join(max(patience, 0 if releases.found else FIRST_PATIENCE))
    return doctor.Facts(
        env=env,
        health=examined,
        status=status,
        cpu=seen,
        newest=releases.found.get("pillow"),
        newest_simd=releases.found.get("pillow-simd"),
        machines=others,
        lowered=environ.get("PILLOW_SIMD", ""),
        clobbered=conda.findings(env) if env.kind == "conda" else (),
        conflicts=_conflicts(env, examined, run),
    )


_T = TypeVar("_T")


class _Beside(Generic[_T]):
    """Something that is worked out in a thread of its own; what it raises, :meth:`result` raises."""

    def __init__(self, work: Callable[[], _T]) -> None:
        self._work = work
        self._done: list[_T] = []
        self._raised: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._done.append(self._work())
        except Exception as error:
            self._raised = error

    def result(self) -> _T:
        """Wait for it."""
        self._thread.join()
        if self._raised is not None:
            raise self._raised
        return self._done[0]


def _status(env: Environment) -> install.Status:
    """What is installed; where the records are damaged, that nothing can be relied on."""
    try:
        return install.status(env)
    except StateError:
        return install.Status(
            site=env.site,
            name=None,
            version=None,
            ours=False,
            intact=False,
            damaged=(),
            provenance=None,
            changed=(),
            pending=True,
            latest=None,
            can_roll_back=False,
        )


def _conflicts(
    env: Environment, examined: health.Health, run: Runner
) -> tuple[package_managers.Conflict, ...]:
    """What the package manager's records say, where libraries of the system's are in use."""
    if all(library.bundled for library in examined.loaded("jpeg")):
        return ()
    manager = env.package_manager
    return package_managers.conflicts(manager, package_managers.installed(manager, run=run))


def read_cpu(path: Path) -> Cpu:
    """The CPU in a file of ``simdinstall cpu --json``. Raises CpuError."""
    try:
        return Cpu.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise CpuError(
            f"{path} does not describe a CPU",
            why=str(error),
            hint=f"make it there: simdinstall cpu --json > {path.name}",
        ) from error
