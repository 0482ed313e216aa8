"""All of Pillow compiled from its sdist against the system's libraries: ``--libs system``.

Pillow's own build does it, through pip, with each of stock's features either required or
forbidden, so that nothing is lost or taken in silently. What that build needs from the
index (setuptools, pybind11) is fetched beforehand, checked, and the index shut off. The
wheel that comes out takes the official wheel's place: it is what kernels are put in
front of, and what the result is compared with.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from simdinstall import archive, headers, system_libs
from simdinstall.cpu import March, compiler_flags
from simdinstall.environment import Environment
from simdinstall.errors import BuildError, FetchError, NoSpaceError, TargetError
from simdinstall.fetch import Download, Fetcher
from simdinstall.progress import Progress, silent
from simdinstall.run import CommandFailed, Runner
from simdinstall.run import run as run_command
from simdinstall.store import Store, digest, file_digest
from simdinstall.system_libs import FEATURES, Feature
from simdinstall.toolchain import Toolchain

#: As for the core alone (graft.py); with debug information, which the structs are read from.
FLAGS: tuple[str, ...] = (
    *("-O3", "-g", "-fPIC", "-fwrapv", "-fno-strict-overflow", "-ffp-contract=off", "-DNDEBUG"),
    *("-U_FORTIFY_SOURCE", "-fno-stack-protector"),
)

_INCLUDE = """
import json, sysconfig
print(json.dumps([sysconfig.get_path(name) for name in ("include", "platinclude")]))
"""

_CHECK = """
import json, sys
sys.path.insert(0, sys.argv[1])
from PIL import features
print(json.dumps([name for name in sys.argv[2:] if not features.check(name)]))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceBuild:
    """A Pillow compiled here: the wheel, its sdist, and what was given up and decided."""

    wheel: Download
    sdist: Download
    without: tuple[str, ...]
    flags: tuple[str, ...]
    compiler: str


def includes(target: Environment, run: Runner) -> tuple[Path, ...]:
    """Where the interpreter says that its headers are. Raises TargetError."""
    try:
        said = json.loads(run([target.python, "-I", "-c", _INCLUDE], timeout=60).stdout)
    except (CommandFailed, ValueError) as error:
        raise TargetError("the target does not say where its headers are", why=str(error)) from error
    return tuple(map(Path, said))


def require_libraries(
    without: Sequence[str], target: Environment, run: Runner = run_command
) -> tuple[Feature, ...]:
    """The features to compile. BuildError, with what to install, when something is missing."""
    features = system_libs.wanted(without)
    more = system_libs.python_package(
        includes(target, run), target, headers.manager_of(target.package_manager)
    )
    system_libs.require(features, target, more)
    return features


def build(
    sdist: Download,
    *,
    features: Sequence[Feature],
    march: March,
    toolchain: Toolchain,
    target: Environment,
    user_flags: Sequence[str],
    fetcher: Fetcher,
    store: Store,
    run: Runner = run_command,
    progress: Progress = silent,
) -> SourceBuild:
    """Pillow's wheel, from the cache if the same was compiled before.

    Raises BuildError, with the log, FetchError and NoSpaceError.
    """
    if toolchain.kind == "zig":
        raise BuildError(
            "zig cannot link against the system's libraries",
            why="it compiles for an older libc than the one they need",
            hint="install gcc or clang, or use --libs bundled",
        )
    interposable = () if toolchain.kind == "gcc" else ("-fsemantic-interposition",)
    level = compiler_flags(march, toolchain.kind, toolchain.version)
    flags = (*FLAGS, *interposable, *level, *user_flags)
    mark = f" -Wl,-z,{march.level}" if march.level else ""
    needs = _build_requirements(sdist, target, fetcher)
    settings = _settings(features)
    key = digest(
        {
            "sdist": sdist.sha256,
            "needs": [need.sha256 for need in needs],
            "python": [str(target.python.resolve()), *target.version],
            "features": settings,
            "headers": _header_digests(features),
            "flags": [*flags, mark],
            "compiler": [toolchain.identity, toolchain.kind],
        }
    )

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="simdinstall-pillow-") as name:
            scratch = Path(name)
            links = scratch / "needs"
            links.mkdir()
            for need in needs:
                shutil.copyfile(need.path, links / need.filename)
            (scratch / "tmp").mkdir()
            progress("compiling Pillow and its codecs' modules")
            _compile(
                sdist,
                settings=settings,
                environ={
                    **toolchain.environment(scratch / "tmp"),
                    "CC": str(toolchain.path),
                    "CFLAGS": " ".join(flags),
                    # A Python's own LDSHARED may bake in a search path.
                    "LDSHARED": f"{toolchain.path} -shared{mark}",
                    # The first instant that a wheel can hold.
                    "SOURCE_DATE_EPOCH": "315532800",
                    "MAX_CONCURRENCY": str(os.cpu_count() or 2),
                },
                links=links,
                target=target,
                into=scratch / "out",
                log=store.root / "logs" / f"pillow-{key[:16]}.log",
                run=run,
            )
            [wheel] = (scratch / "out").glob("*.whl")
            _require_features(wheel, features, target, scratch / "check", run)
            shutil.copyfile(wheel, folder / wheel.name)

    entry = store.put("pillows", key, make)
    [wheel] = entry.path.glob("*.whl")
    gone = {feature.name for feature in FEATURES} - {feature.name for feature in features}
    return SourceBuild(
        wheel=replace(
            sdist, filename=wheel.name, url=sdist.url, sha256=file_digest(wheel), path=wheel, checked=True
        ),
        sdist=sdist,
        without=tuple(sorted(gone)),
        flags=flags,
        compiler=toolchain.identity,
    )


def _build_requirements(sdist: Download, target: Environment, fetcher: Fetcher) -> tuple[Download, ...]:
    """What the sdist's pyproject.toml says that its build needs, as checked wheels."""
    try:
        with tarfile.open(sdist.path) as source:
            for member in source:
                if re.fullmatch(r"[^/]+/pyproject\.toml", member.name):
                    file = source.extractfile(member)
                    assert file is not None
                    text = file.read().decode()
                    break
            else:
                raise BuildError(f"{sdist.filename} cannot be compiled here", why="it has no pyproject.toml")
        lines = tomllib.loads(text)["build-system"]["requires"]
        named = [Requirement(line) for line in lines]
    except (tarfile.TarError, OSError, ValueError, KeyError, InvalidRequirement) as error:
        raise BuildError(f"{sdist.filename} cannot be compiled here", why=str(error)) from error
    found = []
    for need in named:
        if need.marker and not need.marker.evaluate({"python_version": "{}.{}".format(*target.version)}):
            continue
        version = next(iter(v for v in fetcher.versions(need.name) if v in need.specifier), None)
        if version is None:
            raise FetchError(f"{need} cannot be had", why=f"the build of {sdist.filename} needs it")
        found.append(fetcher.wheel(need.name, version, target.tags, python=target.release))
    return tuple(found)


def _header_digests(features: Sequence[Feature]) -> list[str]:
    """What the libraries' headers say: another version of a library makes another wheel."""
    folders = headers.search_folders(environ={})
    named = [one.header for feature in features for one in (feature, *feature.carried)]
    found = (next((f / name for f in folders if (f / name).is_file()), None) for name in named)
    return [file_digest(path) for path in found if path is not None]


def _settings(features: Sequence[Feature], root: Path = Path("/")) -> list[str]:
    """Each feature required or forbidden; what stock does not have is not looked for."""
    chosen = {feature.name for feature in features}
    own = system_libs.carried(features, root)
    said = [f"{x.name}={'enable' if x.name in chosen else 'disable'}" for x in FEATURES]
    said += [f"{name}=vendor" for name in sorted(own)]
    return [part for line in (*said, "imagequant=disable") for part in ("--config-settings", line)]


def _compile(
    sdist: Download,
    *,
    settings: Sequence[str],
    environ: dict[str, str],
    links: Path,
    target: Environment,
    into: Path,
    log: Path,
    run: Runner,
) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "--python", str(target.python), "--disable-pip-version-check"]
    command = [*pip, "wheel", "--no-deps", "--no-cache-dir", "--no-index", "--find-links", str(links)]
    command += ["--no-binary", "pillow", "-w", str(into), *settings, str(sdist.path)]
    kept = {name: value for name, value in environ.items() if not name.startswith("PIP_")}
    try:
        run(command, env=kept, log=log, timeout=3600)
    except CommandFailed as error:
        said = error.completed.output
        if "No space left on device" in said:
            raise NoSpaceError(
                "no space left to compile", why=f"below {tempfile.gettempdir()}", hint="set TMPDIR"
            ) from error
        tail = [line for line in said.splitlines() if line.strip()][-30:]
        raise BuildError(f"{sdist.filename} did not compile", why="\n".join(tail), log=log) from error


def _require_features(
    wheel: Path, features: Sequence[Feature], target: Environment, folder: Path, run: Runner
) -> None:
    """BuildError where a feature that was compiled is not there when the wheel is imported."""
    archive.extract(wheel, folder)
    asked = [name for feature in features for name in feature.asked]
    try:
        lost = json.loads(run([target.python, "-I", "-c", _CHECK, folder, *asked], timeout=60).stdout)
    except (CommandFailed, ValueError) as error:
        raise BuildError("the compiled Pillow cannot be imported", why=str(error)) from error
    if lost:
        raise BuildError("the compiled Pillow lacks features", why=", ".join(lost))
