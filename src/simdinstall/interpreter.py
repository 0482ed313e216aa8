"""Which Python is meant, and what it says about itself.

The target is the environment that is active where simdinstall was called, never the
private one that ``pipx`` or ``uv tool`` made for simdinstall itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import packaging

from simdinstall import _inspect
from simdinstall.errors import TargetError
from simdinstall.run import CommandFailed, Completed, Runner

#: Seconds that an interpreter may take to say what it is; a cold network disk needs some.
PATIENCE = 60.0

#: The only variables of Python that say something about the environment itself. The
#: others (PYTHONPATH, PYTHONHOME, …) belong to the shell that simdinstall was called from.
KEPT_VARIABLES = frozenset({"PYTHONUSERBASE", "PYTHONNOUSERSITE"})

NAME_IT = "activate the environment, or name it: simdinstall --python PATH"


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """Where an import would find a module: a file, or for a namespace only folders."""

    origin: Path | None
    folders: tuple[Path, ...]

    @property
    def is_namespace(self) -> bool:
        """Whether folders of that name exist, but no ``__init__.py`` in them."""
        return self.origin is None

    @property
    def folder(self) -> Path | None:
        """The package's folder."""
        if self.folders:
            return self.folders[0]
        return self.origin.parent if self.origin else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What an interpreter reports. ``path`` is ``sys.path`` without the caller's own entries.

    For a Python before 3.8 the modules are None, before 3.11 the tags are empty.
    """

    python: Path
    version: tuple[int, int, int]
    implementation: str
    free_threaded: bool
    prefix: Path
    base_prefix: Path
    path: tuple[Path, ...]
    stdlib: Path
    purelib: Path
    platlib: Path
    user_site: Path | None
    user_site_enabled: bool
    platform: str
    libc: str
    suffixes: tuple[str, ...]
    pil: Module | None
    pip: Module | None
    ensurepip: Module | None
    tags: tuple[str, ...]

    @property
    def in_venv(self) -> bool:
        """Whether this is a virtual environment, of whatever make."""
        return self.prefix != self.base_prefix


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` without what would make a Python lie about its own environment."""
    kept = {k: v for k, v in environ.items() if not k.startswith("PYTHON") or k in KEPT_VARIABLES}
    return kept | {"PYTHONDONTWRITEBYTECODE": "1"}


def ask(python: Path, *, run: Runner, environ: Mapping[str, str]) -> Facts:
    """Run :mod:`simdinstall._inspect` inside ``python`` and return its answer.

    Raises TargetError when ``python`` is not a Python or cannot be run.
    """
    source = resources.files("simdinstall").joinpath("_inspect.py").read_text(encoding="utf-8")
    folder = Path(packaging.__path__[0]).parent
    try:
        said = run(
            [python, "-", folder],
            input=source,
            env=clean_environment(environ),
            timeout=PATIENCE,
            check=False,
        )
    except CommandFailed as failure:
        raise TargetError(f"{python} cannot be run", why=failure.why, hint=NAME_IT) from failure
    for line in said.stdout.splitlines():
        if line.startswith(_inspect.MARK):
            return _parse(json.loads(line.removeprefix(_inspect.MARK)), python)
    raise TargetError(f"{python} is not a working Python", why=_last_words(said), hint=NAME_IT)


def _last_words(said: Completed) -> str:
    lines = said.stderr.strip().splitlines() or said.stdout.strip().splitlines()
    if not lines:
        return f"it ended with status {said.returncode}, saying nothing"
    # A traceback has its reason at the end, everything else at the beginning.
    return lines[-1 if lines[0].startswith("Traceback") else 0].strip()[:300]


def _parse(answer: dict[str, Any], asked: Path) -> Facts:
    major, minor, micro = answer["version"]
    return Facts(
        python=Path(answer["executable"] or asked),
        version=(major, minor, micro),
        implementation=answer["implementation"],
        free_threaded=answer["free_threaded"],
        prefix=Path(answer["prefix"]),
        base_prefix=Path(answer["base_prefix"]),
        path=tuple(Path(entry) for entry in answer["path"] if entry),
        stdlib=Path(answer["stdlib"]),
        purelib=Path(answer["purelib"]),
        platlib=Path(answer["platlib"]),
        user_site=Path(answer["user_site"]) if answer["user_site"] else None,
        user_site_enabled=answer["user_site_enabled"],
        platform=answer["platform"],
        libc=answer["libc"] or _musl(answer.get("tags", ())),
        suffixes=tuple(answer.get("suffixes", ())),
        pil=_module(answer.get("pil")),
        pip=_module(answer.get("pip")),
        ensurepip=_module(answer.get("ensurepip")),
        tags=tuple(answer.get("tags", ())),
    )


def _module(found: dict[str, Any] | None) -> Module | None:
    if found is None or "error" in found:
        return None
    return Module(
        origin=Path(found["origin"]) if found["origin"] else None,
        folders=tuple(Path(folder) for folder in found["folders"] or ()),
    )


def _musl(tags: tuple[str, ...] | list[str]) -> str:
    for tag in tags:
        if version := re.search(r"musllinux_(\d+)_(\d+)_", tag):
            return f"musl {version[1]}.{version[2]}"
    return "unknown"


def choose(
    requested: Path | None,
    *,
    environ: Mapping[str, str],
    own_prefix: Path,
    question: Callable[[Path], Facts],
) -> Facts:
    """Find the target interpreter and return its :class:`Facts` (``question`` asks one).

    In this order: what was asked for, ``$VIRTUAL_ENV``, ``$CONDA_PREFIX``, ``python3`` and
    ``python`` on ``PATH``. ``own_prefix`` is the environment that simdinstall itself
    runs in. Raises TargetError when there is none.
    """
    if requested is not None:
        return _first_answer(_named(requested, environ), question)
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if environ.get(variable):
            return question(_activated(variable, Path(environ[variable])))
    candidates = [
        candidate
        for candidate in _on_path(environ, "python3", "python")
        if not (is_private(own_prefix) and _environment_of(candidate) == own_prefix.resolve())
    ]
    if not candidates:
        raise TargetError(
            "no Python environment is active",
            why="VIRTUAL_ENV is not set, and there is no python3 on PATH but simdinstall's own",
            hint=NAME_IT,
        )
    return _first_answer(candidates, question)


def _first_answer(candidates: list[Path], question: Callable[[Path], Facts]) -> Facts:
    """The answer of the first that works: a version manager's shim may stand for nothing."""
    failures = []
    for candidate in candidates:
        try:
            return question(candidate)
        except TargetError as failure:
            failures.append(failure)
    raise failures[0]


def _named(requested: Path, environ: Mapping[str, str]) -> list[Path]:
    if len(requested.parts) == 1:
        name = f"python{requested}" if re.fullmatch(r"\d+(\.\d+)?t?", str(requested)) else str(requested)
        if found := list(_on_path(environ, name)):
            return found
    path = Path(os.path.abspath(requested.expanduser()))  # noqa: PTH100 - resolve() would leave the venv
    if path.is_dir():
        return [_python_in(path)]
    if not path.exists():
        where = "" if len(requested.parts) > 1 else ", and no program of that name is on PATH"
        raise TargetError(
            f"there is no Python {requested}", why=f"{path} does not exist{where}", hint=NAME_IT
        )
    _refuse_application(path)
    return [path]


def _activated(variable: str, prefix: Path) -> Path:
    try:
        # `uv run --with` activates a throwaway that lies over the real environment.
        if beneath := read_config(prefix).get("extends-environment"):
            return _python_in(Path(beneath))
        return _python_in(prefix)
    except TargetError as failure:
        raise TargetError(
            f"${variable} names {prefix}, which is not a Python environment",
            why=failure.why,
            hint=f"unset {variable}, activate the environment that you mean, or use --python PATH",
        ) from failure


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(2)
    except OSError:
        return b""


def _refuse_application(path: Path) -> None:
    """TargetError for a program that carries a Pillow of its own, which is no environment."""
    kind = ""
    frozen = (path, path / "_internal", path.parent, path.parent / "_internal")
    if path.is_file() and _first_bytes(path) in (b"#!", b"PK") and zipfile.is_zipfile(path):
        kind = "a zipapp"
    elif any((place / "base_library.zip").is_file() for place in frozen):
        kind = "an application made by PyInstaller"
    if kind:
        raise TargetError(
            f"{path} is {kind}",
            why="the Pillow in it is a part of the application, and is left alone",
            hint="accelerate the environment that it is made in, and make it again",
        )


def _python_in(prefix: Path) -> Path:
    for name in ("python", "python3"):
        if (prefix / "bin" / name).exists():
            return prefix / "bin" / name
    _refuse_application(prefix)
    raise TargetError(
        f"{prefix} is not a Python environment",
        why="there is no bin/python in it" if prefix.is_dir() else "there is no such folder",
        hint="name the environment's folder or its python: simdinstall --python PATH",
    )


def _on_path(environ: Mapping[str, str], *names: str) -> Iterator[Path]:
    folders = environ.get("PATH", os.defpath).split(os.pathsep)
    for name in names:
        for folder in folders:
            # An empty entry is the current folder to the shell; nobody means it.
            if folder and (found := shutil.which(name, path=folder)):
                yield Path(found)


def _environment_of(python: Path) -> Path | None:
    prefix = python.parent.parent
    return prefix.resolve() if (prefix / "pyvenv.cfg").is_file() else None


def is_private(prefix: Path) -> bool:
    """Whether an environment was made for one program alone: by pipx, ``uv tool`` or ``uvx``."""
    if (prefix / "pipx_metadata.json").is_file() or (prefix / "uv-receipt.toml").is_file():
        return True
    # uvx runs programs from uv's cache, and puts that environment first on PATH.
    return any((parent / "CACHEDIR.TAG").is_file() for parent in prefix.parents)


def read_config(prefix: Path) -> dict[str, str]:
    """The settings in ``pyvenv.cfg``, keys in lower case; none where there is no such file."""
    try:
        text = (prefix / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def own_prefix() -> Path:
    """The environment that simdinstall itself runs in."""
    return Path(sys.prefix)


def first_on_path(
    versions: tuple[str, ...], *, environ: Mapping[str, str], question: Callable[[Path], Facts]
) -> Path | None:
    """The first ``pythonX.Y`` on ``PATH`` that works and really is of one of ``versions``."""
    for candidate in _on_path(environ, *(f"python{version}" for version in versions)):
        try:
            facts = question(candidate)
        except TargetError:
            continue
        if f"{facts.version[0]}.{facts.version[1]}" in versions:
            return facts.python
    return None
