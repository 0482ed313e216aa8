"""What is wrong with an environment's Pillow, how bad that is, and what mends it.

Pure: all that was found out comes in as :class:`Facts`; findings come out, worst first.
"""

from __future__ import annotations

import platform
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from simdinstall import remedies
from simdinstall.cpu import ISA_FEATURES, Cpu
from simdinstall.environment import Environment, State
from simdinstall.environment import Finding as Inspected
from simdinstall.health import Health
from simdinstall.package_managers import Conflict, fribidi_command
from simdinstall.remedies import Remedy

if TYPE_CHECKING:
    from simdinstall.install import Status


class Severity(IntEnum):
    """How bad a finding is. The exit code of ``doctor`` is that of the worst."""

    NOTE = 0
    ADVICE = 1
    BROKEN = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something to know. ``code`` is for programs; ``command`` mends it, "" where nothing need be done.

    ``fixable``: ``doctor --fix`` does it, as a transaction.
    """

    severity: Severity
    code: str
    what: str
    why: str = ""
    command: str = ""
    fixable: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """All that is judged. ``newest`` releases are None where no index could be asked.

    ``machines`` are CPUs that the build should run on too, by name. ``lowered`` is the
    value of ``PILLOW_SIMD`` in the caller's environment. ``clobbered`` is what conda's records
    say of files over one another, ``conflicts`` what the package manager's say.
    """

    env: Environment
    health: Health
    status: Status
    cpu: Cpu
    newest: str | None = None
    newest_simd: str | None = None
    machines: tuple[tuple[str, Cpu], ...] = ()
    lowered: str = ""
    clobbered: tuple[Inspected, ...] = ()
    conflicts: tuple[Conflict, ...] = ()


#: Features that the official Linux wheels have, with the release that brought them.
STOCK_FEATURES: Mapping[str, str] = {
    "jpg": "1",
    "zlib": "1",
    "libtiff": "1",
    "jpg_2000": "2.4",
    "libjpeg_turbo": "5.3",
    "webp": "2",
    "freetype2": "1",
    "littlecms2": "2.3",
    "raqm": "8.2",
    "xcb": "7.1",
    "avif": "11.3",
    "zlib_ng": "11.1",
}

#: What people call them.
TITLES: Mapping[str, str] = {
    "jpg": "JPEG",
    "zlib": "zlib (PNG)",
    "libtiff": "TIFF",
    "jpg_2000": "JPEG 2000",
    "libjpeg_turbo": "libjpeg-turbo",
    "webp": "WebP",
    "freetype2": "FreeType",
    "littlecms2": "LittleCMS",
    "raqm": "Raqm",
    "xcb": "XCB (screenshots)",
    "avif": "AVIF",
    "zlib_ng": "zlib-ng",
}

#: What the inspection's findings mean: how bad, and whether a new installation is the cure.
_INSPECTED: Mapping[str, tuple[Severity, bool]] = {
    "mixed": (Severity.BROKEN, True),
    "metadata-missing": (Severity.BROKEN, True),
    "files-missing": (Severity.BROKEN, True),
    "package-missing": (Severity.BROKEN, True),
    "namespace": (Severity.BROKEN, True),
    "core-missing": (Severity.BROKEN, True),
    "core-differs": (Severity.BROKEN, True),
    "version-differs": (Severity.ADVICE, True),
    "record-missing": (Severity.ADVICE, True),
    "files-altered": (Severity.ADVICE, True),
    "unowned": (Severity.ADVICE, True),
    "leftovers": (Severity.ADVICE, True),
    "strays": (Severity.NOTE, False),
    "plugin": (Severity.NOTE, False),
    "foreign": (Severity.ADVICE, False),
    "shadowed": (Severity.ADVICE, False),
    "pythonpath": (Severity.ADVICE, False),
    "editable": (Severity.NOTE, False),
    "system-package": (Severity.NOTE, False),
    "conda": (Severity.NOTE, False),
    "conda-foreign": (Severity.NOTE, False),
    "conda-clobber": (Severity.BROKEN, False),
    "conda-libraries": (Severity.ADVICE, False),
    "outside": (Severity.NOTE, False),
    "in-use": (Severity.NOTE, False),
}

#: The oldest driver's CUDA for each CUDA that a program was built for: since CUDA 11 any
#: driver of the same major release will do (NVIDIA, "CUDA minor version compatibility").
_MINOR_COMPATIBLE = 11

#: Below this the kernels are not worth their name, whatever the machine is doing.
_FASTER = 1.3

#: Resizing RGB takes stock code more than twice the time of one channel; with SIMD less than half.
_SIMD_RATIO = 1.0


def diagnose(facts: Facts) -> tuple[Finding, ...]:
    """Everything worth saying, worst first; of equals in the order in which they were looked for."""
    found = [
        *_transaction(facts),
        *_import(facts),
        *_inspected(facts),
        *_release(facts),
        *_kernels(facts),
        *_features(facts),
        *_libraries(facts),
        *_machines(facts),
        *_torch(facts),
    ]
    unique = {(finding.code, finding.what): finding for finding in found}
    return tuple(sorted(unique.values(), key=lambda finding: -finding.severity))


def exit_code(findings: Iterable[Finding]) -> int:
    """0 healthy, 1 advice, 2 broken."""
    return max((int(finding.severity) for finding in findings), default=0)


def _remedy(facts: Facts) -> Remedy:
    return remedies.reinstall(facts.env)


# What was interrupted, and whether it can be imported --------------------------------


def _transaction(facts: Facts) -> Iterator[Finding]:
    if facts.status.pending:
        yield Finding(
            severity=Severity.BROKEN,
            code="interrupted",
            what="a change by simdinstall was interrupted",
            why="its journal is still there; the next command finishes or undoes it",
            command=f"simdinstall status --python {shlex.quote(str(facts.env.python))}",
            fixable=True,
        )


def _import(facts: Facts) -> Iterator[Finding]:
    env, health = facts.env, facts.health
    if env.pil_path is None and not any(owner.conflicts for owner in env.owners):
        remedy = _remedy(facts)
        yield Finding(
            severity=Severity.ADVICE,
            code="none",
            what="there is no Pillow here",
            command=remedy.command,
            fixable=remedy.possible,
        )
    elif not health.imported:
        remedy = _remedy(facts)
        why = health.error
        if health.signal == "SIGILL":
            why = "SIGILL: this build uses instructions that this CPU does not have"
        yield Finding(
            severity=Severity.BROKEN,
            code="import-fails",
            what="`from PIL import Image` fails",
            why=why,
            command=remedy.command,
            fixable=remedy.possible,
        )
    for name, why in health.broken:
        remedy = _remedy(facts)
        yield Finding(
            severity=Severity.BROKEN,
            code="extension-fails",
            what=f"PIL.{name} cannot be loaded",
            why=why,
            command=remedy.command,
            fixable=remedy.possible,
        )


def _inspected(facts: Facts) -> Iterator[Finding]:
    for found in (*facts.env.findings, *facts.clobbered):
        severity, reinstalls = _INSPECTED.get(found.code, (Severity.NOTE, False))
        remedy = _remedy(facts) if reinstalls else remedies.for_code(found.code, facts.env)
        yield Finding(
            severity=severity,
            code=found.code,
            what=found.text,
            why=remedy.why,
            command=remedy.command,
            fixable=reinstalls and remedy.possible,
        )


# Releases ------------------------------------------------------------------------------


def _version(text: str | None) -> Version | None:
    try:
        return Version(text) if text else None
    except InvalidVersion:
        return None


def _release(facts: Facts) -> Iterator[Finding]:
    env, newest = facts.env, _version(facts.newest)
    current = _version(facts.health.version or env.pil_version)
    if newest is None or current is None or Version(current.public).release >= newest.release:
        return
    remedy = remedies.upgrade(env, ours=facts.status.ours)
    behind = f"Pillow {current.public} is there, {newest} is out"
    if env.state == State.SYSTEM_PACKAGE:
        yield Finding(
            severity=Severity.NOTE,
            code="older",
            what=behind,
            why="the distribution brings security fixes into its own version; new formats it does not",
            command=remedy.command,
        )
        return
    why = "security fixes are made in the newest release only"
    if env.state == State.SIMD and facts.newest_simd:
        why += f"; the newest Pillow-SIMD is {facts.newest_simd}"
    yield Finding(
        severity=Severity.ADVICE,
        code="older",
        what=behind,
        why=why,
        command=remedy.command,
        fixable=remedy.possible,
    )


# SIMD, proven ----------------------------------------------------------------------------


def foreign_simd(health: Health) -> bool | None:
    """Whether a build without a trace runs SIMD code: RGB is resized faster than one channel.

    None where nothing was measured.
    """
    times = {speed.operation: speed.now for speed in health.speeds}
    if not times.get("resize L"):
        return None
    return times["resize RGB"] / times["resize L"] < _SIMD_RATIO


def _kernels(facts: Facts) -> Iterator[Finding]:
    health, env = facts.health, facts.env
    if not health.imported:
        return
    if health.build is not None:
        yield from _our_kernels(facts)
        return
    simd = foreign_simd(health)
    remedy = _remedy(facts)
    if simd:
        yield Finding(
            severity=Severity.NOTE,
            code="foreign-simd",
            what="SIMD code runs, but not simdinstall's",
            why="an RGB image is resized faster than one of a single channel",
            command=remedy.command,
        )
        return
    measured = "" if simd is None else ": measured, an RGB image takes longer to resize than one channel"
    claims = env.state == State.SIMD
    yield Finding(
        severity=Severity.ADVICE,
        code="no-kernels",
        what="this Pillow runs without SIMD kernels" + (" although it is a Pillow-SIMD" if claims else ""),
        why=("it was compiled without its flags" if claims else "it is a stock build") + measured,
        command=remedy.command,
        fixable=remedy.possible,
    )


def _our_kernels(facts: Facts) -> Iterator[Finding]:
    health, cpu = facts.health, facts.cpu
    if facts.lowered:
        yield Finding(
            severity=Severity.ADVICE,
            code="lowered",
            what=f"PILLOW_SIMD={facts.lowered} lowers the kernels that may run",
            why=f"the level in use is {health.level}",
            command="unset PILLOW_SIMD",
        )
        return
    if not health.speeds:
        return
    if not health.kernels_ran and cpu.isas():
        remedy = _remedy(facts)
        yield Finding(
            severity=Severity.BROKEN,
            code="kernels-idle",
            what="the kernels are there, but none of them ran",
            why=f"the trace shows stock code for every call; the level in use is {health.level}",
            command=remedy.command,
            fixable=remedy.possible,
        )
        return
    best = cpu.isas()[-1] if cpu.isas() else "none"
    if health.level != best:
        yield Finding(
            severity=Severity.ADVICE,
            code="level-low",
            what=f"the kernels run at level {health.level}; this CPU has {best}",
            why="the build was made for less",
            command=remedies.reinstall(facts.env).command,
            fixable=remedies.reinstall(facts.env).possible,
        )
    slow = [s for s in health.speeds if s.ratio is not None and s.ratio < _FASTER]
    if slow and len(slow) == len(health.speeds):
        worst = ", ".join(f"{s.operation} {s.ratio:.1f}" for s in slow)
        yield Finding(
            severity=Severity.ADVICE,
            code="slow",
            what="the kernels are hardly faster than stock's code",
            why=f"times as fast: {worst}",
            command="simdinstall bench --quick",
        )


# Features and the libraries behind them ------------------------------------------------


def _features(facts: Facts) -> Iterator[Finding]:
    health, version = facts.health, _version(facts.health.version)
    if not health.features or version is None:
        return
    lacking = [
        name
        for name, since in STOCK_FEATURES.items()
        if version >= Version(since) and health.features.get(name) is None
    ]
    # Where zlib-ng is lacking, so it is from a build with the system's zlib; a matter of speed.
    lost = [name for name in lacking if name not in ("zlib_ng", "libjpeg_turbo", "xcb")]
    if "raqm" in lost and any(library.bundled for library in health.libraries):
        lost.remove("raqm")
        lacking.remove("raqm")
        install = fribidi_command(facts.env.package_manager)
        yield Finding(
            severity=Severity.NOTE,
            code="fribidi",
            what="no layout of complex text (Raqm): the system has no FriBiDi, which official builds load",
            why=f"for Arabic, Hebrew, Indic scripts: {install}" if install else "",
            command=install,
        )
    if lost:
        remedy = _remedy(facts)
        yield Finding(
            severity=Severity.ADVICE,
            code="features-lacking",
            what="this build lacks what the official one has: " + ", ".join(TITLES[n] for n in lost),
            why="it was compiled where their headers were missing",
            command=remedy.command,
            fixable=remedy.possible,
        )
    if minor := [name for name in lacking if name not in lost and name != "libjpeg_turbo"]:
        yield Finding(
            severity=Severity.NOTE,
            code="features-minor",
            what="without " + ", ".join(TITLES[name] for name in minor) + ", which the official build has",
        )


def _libraries(facts: Facts) -> Iterator[Finding]:
    health = facts.health
    if not health.imported:
        return
    yield from _jpeg(facts)
    loaded = health.loaded("zlib")
    claimed = health.features.get("zlib_ng")
    if claimed and loaded and not any(library.make == "zlib-ng" for library in loaded):
        remedy = _remedy(facts)
        ours = remedy.possible and remedy.command.startswith("simdinstall")
        yield Finding(
            severity=Severity.NOTE,
            code="zlib-ng-claimed",
            what=f"features say zlib-ng {claimed}; loaded is {loaded[0]}",
            why=f"{loaded[0].path}: official wheels leave zlib to the system",
            command=f"{remedy.command} --zlib-ng" if ours and platform.machine() == "x86_64" else "",
        )
    # Where all libraries are Pillow's own, the system's may lie as they like.
    for conflict in facts.conflicts if any(not lib.bundled for lib in health.loaded("jpeg")) else ():
        yield Finding(
            severity=Severity.NOTE,
            code="packages",
            what=conflict.what,
            why=conflict.why,
            command=conflict.command,
        )
    bundle = any(library.bundled for library in health.libraries)
    for library in health.libraries:
        if bundle and not library.bundled and library.name not in ("zlib",):
            yield Finding(
                severity=Severity.ADVICE,
                code="library-outside",
                what=f"{library.make} is loaded from {library.path}, not from the build's own folder",
                why="LD_LIBRARY_PATH, LD_PRELOAD or a library loaded before puts it in front",
                command="unset LD_LIBRARY_PATH LD_PRELOAD",
            )


def _jpeg(facts: Facts) -> Iterator[Finding]:
    health = facts.health
    loaded = health.loaded("jpeg")
    claimed = health.features.get("libjpeg_turbo")
    if len(loaded) > 1:
        yield Finding(
            severity=Severity.ADVICE,
            code="jpeg-twice",
            what="two JPEG libraries are loaded: " + " and ".join(str(item.path) for item in loaded),
            why="which of them serves a call depends on the order of loading",
            command=_remedy(facts).command,
        )
    for library in loaded:
        if library.make == "libjpeg-turbo":
            continue
        remedy = remedies.jpeg(facts.env, library.path)
        yield Finding(
            severity=Severity.ADVICE,
            code="jpeg-slow",
            what=f"JPEG is done by {library}, not by libjpeg-turbo"
            + (f", although features say libjpeg-turbo {claimed}" if claimed else ""),
            why=f"loaded is {library.path}, which has no LIBJPEGTURBO symbol versions",
            command=remedy.command,
            fixable=remedy.possible,
        )
    turbo = next((library for library in loaded if library.make == "libjpeg-turbo"), None)
    if claimed and turbo and turbo.version and claimed != turbo.version:
        yield Finding(
            severity=Severity.NOTE,
            code="jpeg-differs",
            what=f"compiled against libjpeg-turbo {claimed}, loaded is {turbo.version}",
            why=str(turbo.path),
        )
    if not loaded and health.features.get("jpg") is not None and not claimed:
        yield Finding(
            severity=Severity.NOTE,
            code="jpeg-static",
            what="JPEG is compiled in, and features do not say libjpeg-turbo",
        )


# This CPU, others, and the GPU ------------------------------------------------------------


def needs(facts: Facts) -> frozenset[str] | None:
    """The CPU features that the build as a whole cannot do without; None where nobody recorded them."""
    from simdinstall.cpu import LEVELS, resolve_march
    from simdinstall.errors import CpuError

    march = (facts.status.provenance or {}).get("march")
    if isinstance(march, dict):
        try:
            wanted = resolve_march(str(march.get("level") or march.get("name")), facts.cpu)
        except CpuError:
            return None
        return wanted.features
    if facts.env.state == State.STOCK and not facts.health.flags:
        return frozenset()
    if not facts.health.flags:
        return None
    found: set[str] = set()
    for flag in facts.health.flags:
        name = flag.removeprefix("-march=")
        if flag.startswith("-march="):
            try:
                found |= resolve_march(name, facts.cpu).features - LEVELS["x86-64"]
            except CpuError:
                return None
        elif flag in _FLAGS:
            found |= ISA_FEATURES[_FLAGS[flag]]
    return frozenset(found)


#: Compiler flags that Pillow-SIMD is built with, and whose instructions they allow.
_FLAGS: Mapping[str, str] = {"-msse4": "sse4", "-msse4.2": "sse4", "-mavx2": "avx2", "-mavx512bw": "avx512"}


def _machines(facts: Facts) -> Iterator[Finding]:
    for note in facts.cpu.notes:
        yield Finding(severity=Severity.NOTE, code="cpu", what=note)
    if not facts.env.pil_path:
        return
    required = needs(facts)
    if required is None:
        if facts.machines or facts.env.state == State.SIMD:
            yield Finding(
                severity=Severity.ADVICE if facts.machines else Severity.NOTE,
                code="cpu-unknown",
                what="nobody recorded which CPU this build was compiled for",
                why="it may end with SIGILL on another machine",
                command=_remedy(facts).command,
            )
        return
    for name, machine in (("this CPU", facts.cpu), *facts.machines):
        if not machine.can_run(required):
            missing = ", ".join(sorted(required - machine.features))
            here = machine is facts.cpu
            yield Finding(
                severity=Severity.BROKEN if here else Severity.ADVICE,
                code="cpu-lacks" if here else "cpu-other",
                what=f"this build cannot run on {name}",
                why=f"which has no {missing}",
                command=f"{remedies.install_command(facts.env)} --march {machine.level}",
            )


def _torch(facts: Facts) -> Iterator[Finding]:
    torch = facts.health.torch
    if torch is None or torch.cuda is None:
        return
    if torch.driver is None:
        yield Finding(
            severity=Severity.NOTE,
            code="torch-no-driver",
            what=f"PyTorch {torch.version} is a build for CUDA {torch.cuda}, and there is no CUDA driver",
            why="it runs on the CPU here",
        )
        return
    built, driver = _version(torch.cuda), _version(torch.driver)
    if built is None or driver is None or driver >= built:
        return
    if built.major == driver.major and built.major >= _MINOR_COMPATIBLE:
        yield Finding(
            severity=Severity.NOTE,
            code="torch-newer",
            what=f"PyTorch's CUDA {torch.cuda} is newer than the driver's {torch.driver}",
            why="it works within one major release, but code for unknown GPUs cannot be compiled at run time",
        )
        return
    index = f"https://download.pytorch.org/whl/cu{driver.major}{driver.minor}"
    yield Finding(
        severity=Severity.ADVICE,
        code="torch-driver",
        what=f"PyTorch {torch.version} needs a driver for CUDA {torch.cuda}; this one is for {torch.driver}",
        why="torch.cuda.is_available() is False here",
        command=f"{remedies.pip(facts.env)} install --force-reinstall torch --index-url {index}",
    )
