"""The builds that a benchmark compares, each in a private folder of the cache.

Stock Pillow of the same release, Pillow-SIMD compiled from its sdist, OpenCV and libvips:
fetched from the package index, unpacked or compiled once, and used by putting their folder
on the module search path of the target interpreter. The target environment itself is
measured as it is; nothing is ever installed into it. A peer that cannot be had becomes a
:class:`Participant` with the reason, and the others go on.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from packaging.version import InvalidVersion, Version

from simdinstall import archive
from simdinstall.environment import Environment
from simdinstall.errors import SimdinstallError, TargetError, UsageError
from simdinstall.fetch import Download, Fetcher
from simdinstall.measure import Build
from simdinstall.progress import Progress, silent
from simdinstall.run import CommandFailed, Runner, run

#: The label of stock Pillow, which everything is compared with.
STOCK = "stock"
#: The label of the target environment's own Pillow.
INSTALLED = "installed"
#: What ``--against`` takes.
PEERS = (STOCK, "pillow-simd", "pillow-simd-sse4", "opencv", "pyvips")

#: The compiler flag that gives Pillow-SIMD its instruction set.
_FLAGS = {"pillow-simd": "-mavx2", "pillow-simd-sse4": "-msse4"}

#: OpenCV and numpy unpack to some 250 MB together.
_LIMIT = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Participant:
    """A build to measure, or the reason why there is none."""

    label: str
    title: str
    build: Build | None = None
    why: str = ""


def gather(
    target: Environment,
    *,
    against: Sequence[str],
    others: Sequence[Environment | Participant] = (),
    cache: Path,
    fetcher: Fetcher,
    run: Runner = run,
    environ: Mapping[str, str] = os.environ,
    progress: Progress = silent,
) -> tuple[Participant, ...]:
    """All that will be measured, the one to compare with first.

    ``against`` are names of :data:`PEERS`; stock is always among them. ``others`` are
    further environments, or participants that could not be looked at. ``PILLOW_SIMD`` in
    ``environ`` lowers the kernels of environments, as it does for any process. Raises
    :class:`UsageError` for an unknown peer and :class:`TargetError` where the target has no
    Pillow at all; what else is missing becomes a participant without a build.
    """
    for name in against:
        if name not in PEERS:
            raise UsageError(f"there is no peer {name!r}", hint=f"the peers are {', '.join(PEERS)}")
    if target.pil_path is None:
        raise TargetError(
            f"there is no Pillow in {target.prefix}",
            hint="install one with `simdinstall`, or name another environment with --python",
        )
    kit = _Kit(
        target=target, folder=cache / "bench", fetcher=fetcher, run=run, environ=environ, progress=progress
    )
    numpy = kit.folders_of("numpy")
    level = environ.get("PILLOW_SIMD") or None
    found = [kit.stock(numpy), _installed(target, INSTALLED, numpy, level)]
    for number, other in enumerate(others, 1):
        if isinstance(other, Participant):
            found.append(other)
        else:
            same = other.version[:2] == target.version[:2] and other.free_threaded == target.free_threaded
            found.append(_installed(other, f"python{number}", numpy if same else (), level))
    makers: dict[str, Callable[[], Participant]] = {
        "pillow-simd": lambda: kit.pillow_simd("pillow-simd", numpy),
        "pillow-simd-sse4": lambda: kit.pillow_simd("pillow-simd-sse4", numpy),
        "opencv": lambda: kit.opencv(numpy),
        "pyvips": lambda: kit.pyvips(),
    }
    found += [makers[name]() for name in dict.fromkeys(against) if name != STOCK]
    return tuple(found)


def _installed(target: Environment, label: str, numpy: Sequence[Path], level: str | None) -> Participant:
    if target.pil_path is None:
        return Participant(label=label, title=f"{target.prefix}", why="there is no Pillow in it")
    owner = next((one for one in target.owners if one.in_target), None) or next(iter(target.owners), None)
    name = f"{owner.name} {owner.version}" if owner else f"Pillow {target.pil_version or '?'}"
    title = name if label == INSTALLED else f"{name} in {target.prefix}"
    if level is not None:
        title += f" at {level}"
    build = Build(label=label, python=target.python, isolated=False, extra=tuple(numpy), level=level)
    return Participant(label=label, title=title, build=build)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kit:
    """What it takes to make peers for one interpreter."""

    target: Environment
    folder: Path
    fetcher: Fetcher
    run: Runner
    environ: Mapping[str, str]
    progress: Progress

    def stock(self, numpy: Sequence[Path]) -> Participant:
        try:
            wheel, note = self._stock_wheel()
            folder = self._unpacked(wheel)
        except SimdinstallError as error:
            return Participant(label=STOCK, title="stock Pillow", why=_reason(error))
        build = Build(label=STOCK, python=self.target.python, path=folder, extra=tuple(numpy))
        return Participant(label=STOCK, title=f"stock Pillow {wheel.version}{note}", build=build)

    def _stock_wheel(self) -> tuple[Download, str]:
        """The official wheel of the installed release, else of the newest one."""
        target = self.target
        release = base_release(target.pil_version or "")
        if release:
            try:
                return self.fetcher.wheel("pillow", release, target.tags, python=target.release), ""
            except SimdinstallError:
                note = f" (there is no wheel of {release})"
        else:
            note = ""
        newest = self.fetcher.newest("pillow", tags=target.tags, python=target.release)
        return self.fetcher.wheel("pillow", newest, target.tags, python=target.release), note

    def folders_of(self, *projects: str) -> tuple[Path, ...]:
        """Unpacked wheels, or nothing where one cannot be had: rows that need it will say so."""
        try:
            return tuple(self._newest(project) for project in projects)
        except SimdinstallError:
            return ()

    def _newest(self, project: str) -> Path:
        self.progress(f"fetching {project}")
        version = self.fetcher.newest(project, tags=self.target.tags, python=self.target.release)
        return self._unpacked(
            self.fetcher.wheel(project, version, self.target.tags, python=self.target.release)
        )

    def opencv(self, numpy: Sequence[Path]) -> Participant:
        try:
            folder = self._newest("opencv-python-headless")
            if not numpy:
                numpy = (self._newest("numpy"),)
        except SimdinstallError as error:
            return Participant(label="opencv", title="OpenCV", why=_reason(error))
        build = Build(
            label="opencv", python=self.target.python, path=folder, extra=tuple(numpy), library="opencv"
        )
        return Participant(label="opencv", title="OpenCV", build=build)

    def pyvips(self) -> Participant:
        try:
            # The newest pyvips is a plain Python package in an sdist.
            sdist = self._unpacked(self.fetcher.sdist("pyvips"))
            package = next(iter(sdist.glob("*/pyvips/__init__.py")), None)
            if package is None:
                raise UsageError("pyvips' sdist has another layout than expected")
            extra = tuple(self._newest(name) for name in ("pyvips-binary", "cffi", "pycparser"))
        except SimdinstallError as error:
            return Participant(label="pyvips", title="libvips", why=_reason(error))
        build = Build(
            label="pyvips",
            python=self.target.python,
            path=package.parent.parent,
            extra=extra,
            library="pyvips",
        )
        return Participant(label="pyvips", title="libvips", build=build)

    def pillow_simd(self, label: str, numpy: Sequence[Path]) -> Participant:
        flag = _FLAGS[label]
        title = f"Pillow-SIMD ({flag.removeprefix('-m').upper()})"
        try:
            sdist = self.fetcher.sdist("pillow-simd")
            title = f"Pillow-SIMD {sdist.version} ({flag.removeprefix('-m').upper()})"
            folder = self._compiled(sdist, flag)
        except SimdinstallError as error:
            return Participant(label=label, title=title, why=_reason(error))
        build = Build(label=label, python=self.target.python, path=folder, extra=tuple(numpy))
        return Participant(label=label, title=title, build=build)

    def _compiled(self, sdist: Download, flag: str) -> Path:
        """Pillow-SIMD through its own build, with the flag that its manual asks for.

        The wheel cache of pip ignores flags, so it is not used.
        """
        self.progress(f"compiling Pillow-SIMD with {flag}")
        tag = self.target.tags[0]
        environ = {**self.environ, "CC": f"{self.environ.get('CC') or 'cc'} {flag}", "PIP_NO_INPUT": "1"}

        def make(into: Path) -> None:
            self.run(
                [
                    *self._pip(),
                    "install",
                    "--target",
                    into,
                    "--no-deps",
                    "--no-cache-dir",
                    "--no-binary=pillow-simd",
                    "--disable-pip-version-check",
                    sdist.path,
                ],
                env=environ,
            )

        return self._once(f"pillow-simd-{sdist.version}-{sdist.sha256[:12]}{flag}-{tag}", make)

    def _pip(self) -> list[str | Path]:
        """Our own pip, working for the target's interpreter."""
        return [sys.executable, "-m", "pip", "--python", self.target.python]

    def _unpacked(self, download: Download) -> Path:
        name = f"{download.name}-{download.version}-{download.sha256[:12]}"
        return self._once(name, lambda into: _extract(download.path, into))

    def _once(self, name: str, make: Callable[[Path], None]) -> Path:
        """A folder of that name, made now if it is not there; whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        ready = self.folder / name
        with FileLock(self.folder / f".{name}.lock"):
            if not ready.is_dir():
                part = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=self.folder))
                try:
                    make(part / "new")
                    (part / "new").rename(ready)
                finally:
                    shutil.rmtree(part, ignore_errors=True)
        return ready


def _extract(source: Path, into: Path) -> None:
    archive.extract(source, into, limit_bytes=_LIMIT)


def base_release(version: str) -> str:
    """``13.0.0+simd.v3`` and ``13.0.0.post1`` are both of the release ``13.0.0``; "" for nonsense."""
    try:
        return Version(version).base_version
    except InvalidVersion:
        return ""


#: Lines of a failed build that say what is wrong, rather than that something is.
_TELLING = (
    "RequiredDependencyException",
    "fatal error:",
    "headers or library",
    "command '",
    "Python.h",
    "ERROR:",
)


def _reason(error: SimdinstallError) -> str:
    """One line that says why a peer is missing."""
    if isinstance(error, CommandFailed):
        lines = [line.strip() for line in error.completed.output.splitlines() if line.strip()]
        for sign in _TELLING:
            for line in lines:
                if sign in line:
                    return line[:200]
        return lines[-1][:200] if lines else str(error)
    first = error.why.strip().splitlines()[0] if error.why.strip() else ""
    return f"{error}: {first}" if first else str(error)
