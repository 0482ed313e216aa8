"""How the Pillow of an environment really is: it is imported, used and measured there.

:func:`examine` runs :mod:`simdinstall._examine` in the target interpreter. What that
cannot know without reading files (which make of libjpeg a loaded file is, which
instructions a foreign build was compiled for) is read off the files here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

from simdinstall import _examine
from simdinstall.environment import Environment
from simdinstall.interpreter import clean_environment
from simdinstall.run import CommandFailed, Completed, Runner, run, signal_name

#: Seconds that the whole examination may take; a cold network disk needs some.
PATIENCE = 60.0

#: The libraries that matter: ours for a name, and the names of their files.
LIBRARIES: Mapping[str, re.Pattern[str]] = {
    "jpeg": re.compile(r"lib(turbo)?jpeg(-[0-9a-f]{8})?[.-]"),
    "zlib": re.compile(r"lib(z(-ng|-[0-9a-f]{8})?|pillow_zlib)\.so"),
    "tiff": re.compile(r"libtiff(-[0-9a-f]{8})?\."),
    "webp": re.compile(r"libwebp(-[0-9a-f]{8})?\."),
    "openjpeg": re.compile(r"libopenjp2(-[0-9a-f]{8})?\."),
    "freetype": re.compile(r"libfreetype(-[0-9a-f]{8})?\."),
    "raqm": re.compile(r"libraqm(-[0-9a-f]{8})?\."),
    "lcms": re.compile(r"liblcms2(-[0-9a-f]{8})?\."),
    "avif": re.compile(r"libavif(-[0-9a-f]{8})?\."),
}

_TURBO = re.compile(rb"libjpeg-turbo version (\d[\w.]*)")
_IJG = re.compile(rb"\0(\d+[a-z]?)  \d{1,2}-[A-Z][a-z]{2}-\d{4}\0")
_ZLIB_NG = re.compile(rb"\0 zlib-ng (\d[\w.]*)\0")
_ZLIB = re.compile(rb"(?:de|in)flate (\d[\w.]*) Copyright")


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """A shared library that the process has loaded.

    ``make`` tells those apart that go by one file name ("libjpeg-turbo", "libjpeg",
    "zlib", "zlib-ng"); elsewhere it is ``name``. ``bundled``: it lies beside PIL.
    """

    name: str
    path: Path
    make: str
    version: str
    bundled: bool

    def __str__(self) -> str:
        return f"{self.make} {self.version}".strip()


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """One operation in CPU milliseconds: as it runs, and by stock's code in the same process."""

    operation: str
    now: float
    stock: float | None

    @property
    def ratio(self) -> float | None:
        """How many times as fast as stock's code."""
        return self.stock / self.now if self.stock and self.now else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Torch:
    """PyTorch as installed: ``cuda`` is what it was built for, ``driver`` what the driver is for."""

    version: str
    cuda: str | None
    hip: str | None
    driver: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """What came out. Nothing was found of what is None or empty.

    ``error`` is why the import failed, ``signal`` what killed the process. ``broken``
    are compiled modules that are there and cannot be loaded, with the reason. ``features``
    map a name to a version, "" where there is none, None where the feature is missing.
    ``called`` are (function, kernel, level, calls) of the measurement. ``flags`` are the
    compiler's ``-m`` flags that the core was built with, as its debug information tells.
    """

    imported: bool
    file: Path | None
    version: str | None
    error: str
    signal: str
    broken: tuple[tuple[str, str], ...]
    features: Mapping[str, str | None]
    libraries: tuple[Library, ...]
    level: str | None
    build: str | None
    called: tuple[tuple[str, str, str, int], ...]
    speeds: tuple[Speed, ...]
    torch: Torch | None
    flags: tuple[str, ...]

    @property
    def kernels_ran(self) -> bool:
        """Whether a kernel of ours served a call in the measurement."""
        return any(kernel != "stock" for _, kernel, _, _ in self.called)

    def loaded(self, name: str) -> tuple[Library, ...]:
        """The loaded libraries of one of the names of :data:`LIBRARIES`."""
        return tuple(library for library in self.libraries if library.name == name)

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain JSON values."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


def _plain(value: object) -> Any:
    if isinstance(value, (Library, Speed, Torch)):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def examine(
    env: Environment,
    *,
    run: Runner = run,
    environ: Mapping[str, str] | None = None,
    speed: bool = True,
    torch: bool = True,
) -> Health:
    """Import and use the PIL of ``env`` in a process of its own. Raises nothing: failures are findings.

    ``environ`` are the caller's variables: those of the dynamic loader and of the
    kernels count, those of Python do not.
    """
    source = resources.files("simdinstall").joinpath("_examine.py").read_text(encoding="utf-8")
    wanted = [*(["speed"] if speed else []), *(["torch"] if torch else [])]
    variables = clean_environment(os.environ if environ is None else environ)
    try:
        said = run(
            [env.python, "-", *wanted],
            input=source,
            env=variables,
            timeout=PATIENCE,
            check=False,
            cwd=Path("/"),
        )
    except CommandFailed as failure:
        said = Completed(argv=(), returncode=127, stdout="", stderr=failure.why, cpu_seconds=0.0)
    facts: dict[str, Any] = {}
    for line in said.stdout.splitlines():
        if line.startswith(_examine.MARK):
            facts.update(json.loads(line.removeprefix(_examine.MARK)))
    return _health(facts, said)


def _health(facts: Mapping[str, Any], said: Completed) -> Health:
    pil = facts.get("pil") or {}
    file = Path(pil["file"]) if pil.get("file") else None
    killed = signal_name(-said.returncode) if said.returncode < 0 else ""
    error = pil.get("error") or ""
    broken = [(name, why) for name, why in (facts.get("extensions") or {}).items() if why]
    if killed and "extensions" not in facts and "loading" in facts:
        broken.append(
            (facts["loading"], f"{killed} while it was loaded: it, or a library of its, is damaged")
        )
    elif not facts.get("end") and not error:
        error = killed or (said.stderr.strip().splitlines() or ["the interpreter said nothing"])[-1]
    kernels = facts.get("kernels") or {}
    return Health(
        imported=bool(pil) and not error,
        file=file,
        version=pil.get("version"),
        error=error,
        signal=killed,
        broken=tuple(broken),
        features={name: _version(value) for name, value in (facts.get("features") or {}).items()},
        libraries=tuple(_libraries(facts.get("mapped") or (), file)),
        level=kernels.get("level"),
        build=kernels.get("build"),
        called=tuple((f, k, level, calls) for f, k, level, calls in facts.get("called") or ()),
        speeds=tuple(
            Speed(operation=name, now=times[0], stock=times[1] if len(times) > 1 else None)
            for name, times in (facts.get("speed") or {}).items()
        ),
        torch=Torch(**{**facts["torch"], "version": facts["torch"]["version"] or ""})
        if facts.get("torch")
        else None,
        flags=_flags(file),
    )


def _version(value: object) -> str | None:
    if value is False or value is None:
        return None
    return value if isinstance(value, str) else ""


def _libraries(mapped: tuple[str, ...] | list[str], pil: Path | None) -> list[Library]:
    found = []
    for path in map(Path, mapped):
        for name, pattern in LIBRARIES.items():
            if pattern.match(path.name):
                make, version = identify(name, path)
                beside = pil is not None and path.is_relative_to(pil.parent.parent.resolve())
                found.append(Library(name=name, path=path, make=make, version=version, bundled=beside))
    return found


def identify(name: str, path: Path) -> tuple[str, str]:
    """Make and version of a library file of :data:`LIBRARIES`, by what is in it.

    libjpeg-turbo defines symbol versions ``LIBJPEGTURBO_*`` and names itself; the
    library of the IJG, which goes by the same file name, has neither.
    """
    if name not in ("jpeg", "zlib"):
        return name, ""
    try:
        data = path.read_bytes()
    except OSError:
        return name, ""
    if name == "jpeg":
        if b"LIBJPEGTURBO_" in data or _TURBO.search(data):
            found = _TURBO.search(data)
            return "libjpeg-turbo", found[1].decode() if found else ""
        found = _IJG.search(data)
        return "libjpeg", found[1].decode() if found else ""
    found = _ZLIB_NG.search(data) or _ZLIB.search(data)
    return ("zlib-ng" if b"zlib-ng" in data else "zlib"), found[1].decode() if found else ""


def _flags(pil: Path | None) -> tuple[str, ...]:
    """The ``-m`` flags in the producer that gcc writes into a core's debug information."""
    if pil is None:
        return ()
    for core in sorted(pil.parent.glob("_imaging.*so")):
        try:
            data = core.read_bytes()
        except OSError:
            continue
        start = data.find(b"GNU C")
        while start >= 0:
            text = data[start : data.find(b"\0", start)].decode("utf-8", "replace")
            if " -" in text:
                return tuple(word for word in text.split() if word.startswith("-m"))
            start = data.find(b"GNU C", start + 1)
    return ()
