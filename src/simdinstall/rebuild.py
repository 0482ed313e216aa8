"""Everything that ``--rebuild`` needs before the compiler starts, found before it starts.

Pillow's sources come from its sdist, CPython's headers from the target interpreter,
the libraries' headers from the system or, without installing anything, out of the
distribution's packages. What the user says in ``CFLAGS`` and ``CC`` is respected, and
refused where it would give other pixels or shut the kernels out.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from simdinstall import archive, graft, headers, pillow_source
from simdinstall.abi import Abi
from simdinstall.environment import Environment
from simdinstall.errors import BuildError, TargetError, UsageError
from simdinstall.fetch import Download
from simdinstall.graft import Materials
from simdinstall.headers import Needed
from simdinstall.progress import Progress, silent
from simdinstall.run import CommandFailed, Runner
from simdinstall.run import run as run_command
from simdinstall.store import Store, digest

#: Asks an interpreter for its headers, and the official core for what was fixed when it
#: was compiled.
_QUESTION = """
import json, sys, sysconfig
sys.path.insert(0, sys.argv[1])
from PIL import features
paths = [sysconfig.get_path(name) for name in ("include", "platinclude")]
print(json.dumps({
    "include": list(dict.fromkeys(paths)),
    "versions": {name: features.version_feature(name) for name in ("libjpeg_turbo", "zlib_ng")
                 if name in features.features and features.check_feature(name)},
}))
"""

#: Flags that a user's CFLAGS must not have, each with the reason.
_REFUSED = (
    (r"-Ofast|-ffast-math|-funsafe-math-optimizations|-f(no-)?(signed-zeros|math-errno|rounding-math).*|"
     r"-ffinite-math-only|-fassociative-math|-freciprocal-math|-ffp-contract=(fast|on)",
     "it changes results: the pixels would not be stock Pillow's"),
    (r"-m(arch|cpu|tune)=.*|-mavx.*|-msse.*", "--march says what to compile for"),
    (r"-flto.*|-fwhole-program", "it binds calls inside of the extension, where the kernels stand"),
    (r"-fvisibility=.*|-fno-semantic-interposition|-Bsymbolic.*|-Wl,-Bsymbolic.*",
     "the kernels could not stand in front of the functions"),
    (r"-fsanitize=.*", "Python itself would have to be compiled with it"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Rebuild:
    """A core extension that can be compiled: what from, and where its headers come from.

    ``profile`` is the hash of a training's counts, empty without one.
    """

    sdist: Download
    materials: Materials
    headers_from: str
    digest: str
    profile: str = ""

    def trained(self, folder: Path, profile: str) -> Rebuild:
        """The same with the counts of a training; ``profile`` is their hash."""
        return replace(
            self,
            materials=replace(self.materials, profile=folder),
            digest=digest([self.digest, profile]),
            profile=profile,
        )


def user_flags(environ: Mapping[str, str]) -> tuple[str, ...]:
    """``$CFLAGS``, and what ``$CC`` has besides a compiler's name. Raises UsageError."""
    given: list[str] = []
    for variable in ("CC", "CFLAGS"):
        try:
            words = shlex.split(environ.get(variable, ""))
        except ValueError as error:
            raise UsageError(f"{variable} cannot be read", why=str(error)) from error
        given += _without_ccache(words)[1:] if variable == "CC" else words
    for flag in given:
        for pattern, why in _REFUSED:
            if re.fullmatch(pattern, flag):
                raise UsageError(
                    f"the flag {flag} of CC or CFLAGS cannot be used", why=why, hint=f"unset it: {flag}"
                )
    return tuple(given)


def user_compiler(environ: Mapping[str, str]) -> str:
    """The compiler that ``$CC`` names; ``auto`` without one."""
    try:
        return next(iter(_without_ccache(shlex.split(environ.get("CC", "")))), "auto")
    except ValueError:
        return "auto"


def _without_ccache(words: list[str]) -> list[str]:
    """``CC="ccache gcc"`` names gcc; ccache is used wherever it is on the path."""
    return words[1:] if len(words) > 1 and Path(words[0]).name == "ccache" else words


def prepare(
    sdist: Download,
    official: Download,
    *,
    abi: Abi,
    target: Environment,
    scratch: Path,
    store: Store,
    environ: Mapping[str, str],
    run: Runner = run_command,
    progress: Progress = silent,
    speaks: Download | None = None,
) -> Rebuild:
    """Unpack the sources and gather all headers below ``scratch``.

    ``speaks`` is the official wheel for this machine, where ``official`` is for another.
    Raises BuildError with the packages to install when headers are missing and cannot be
    had, FetchError, TargetError, UsageError and NoSpaceError.
    """
    flags = user_flags(environ)
    progress("unpacking Pillow's sources")
    source = pillow_source.unpack(sdist, scratch / "pillow-source")
    stock = scratch / "official"
    archive.extract(official.path, stock)
    [extension] = [*stock.glob("PIL/_imaging.*.so")]
    runs = stock
    if speaks is not None:
        runs = scratch / "official-here"
        archive.extract(speaks.path, runs)
    said = _ask(target, runs, run)
    progress("looking for headers")
    wanted = [headers.CORE[stem] for stem in graft.libraries(abi) if stem in headers.CORE]
    folder = scratch / "headers"
    folder.mkdir()
    manager = headers.manager_of(target.package_manager)
    lacking = headers.collect(wanted, headers.search_folders(environ=environ), folder)
    python, python_package = _python_headers(said["include"], target)
    packages = [need.packages[manager] for need in lacking if manager]
    packages += [python_package] if python_package else []
    if lacking or python_package:
        root = _packages(packages, lacking, manager, store, run, progress)
        still = headers.collect(lacking, headers.search_folders(root, environ={}), folder)
        if python_package:
            python, _ = _python_headers([str(root / path.lstrip("/")) for path in said["include"]], target)
            python = (*python, root / "usr" / "include")
        if still or not python:
            raise headers.missing_error(packages, manager, why="the packages do not have them")
    graft.state_versions(folder, said["versions"], abi.needed)
    return Rebuild(
        sdist=sdist,
        materials=Materials(
            source=source, headers=folder, python=python, official=extension, user_flags=flags
        ),
        headers_from=f"unpacked from {', '.join(packages)}, nothing installed" if packages else "the system",
        digest=digest(
            {
                "sdist": sdist.sha256,
                "headers": headers.digest(folder),
                "python": [headers.digest(path) for path in python[:1]],
                "flags": flags,
            }
        ),
    )


def _ask(target: Environment, stock: Path, run: Runner) -> dict[str, Any]:
    try:
        answer = run([target.python, "-I", "-c", _QUESTION, stock], timeout=60).stdout
        return dict(json.loads(answer))
    except (CommandFailed, ValueError) as error:
        raise TargetError(
            "the official wheel does not run in the target", why=getattr(error, "why", str(error))
        ) from error


def _python_headers(include: list[str], target: Environment) -> tuple[tuple[Path, ...], str]:
    """The include folders that have Python.h, or the package that it comes with."""
    found = tuple(Path(path) for path in include if (Path(path) / "Python.h").is_file())
    if found:
        return found, ""
    manager = headers.manager_of(target.package_manager)
    named = headers.python_package(manager, target.version)
    # Debian's points to the one that has the files.
    return (), f"lib{named}" if manager == "apt" else named


def _packages(
    packages: list[str],
    lacking: tuple[Needed, ...],
    manager: str | None,
    store: Store,
    run: Runner,
    progress: Progress,
) -> Path:
    """The unpacked development packages, from the cache or downloaded."""
    if manager is None:
        wanted = [f"{need.library} ({', '.join(need.headers)})" for need in lacking]
        raise headers.missing_error(wanted or packages, None)
    progress(f"fetching headers: {', '.join(packages)}")

    def make(folder: Path) -> None:
        try:
            root = headers.download(packages, manager, folder / "work", run=run)
            include = Path("usr") / "include"
            # Libraries are not kept: nothing is linked with them.
            shutil.copytree(root / include, folder / "root" / include, ignore_dangling_symlinks=True)
        except (OSError, shutil.Error) as error:
            raise BuildError("the development packages cannot be unpacked", why=str(error)) from error
        shutil.rmtree(folder / "work")

    return store.put("headers", digest({"packages": packages, "manager": manager}), make).path / "root"
