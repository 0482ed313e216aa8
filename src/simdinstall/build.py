"""From a plan to a wheel: what fits is compiled and put in front of the official code.

The wheel is cached by everything that goes in.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from simdinstall import (
    __version__,
    abi,
    codec_abi,
    compiling,
    dwarf,
    graft,
    kernels,
    library,
    linked,
    toolchain,
    wheel,
    zlib_ng,
)
from simdinstall.abi import Abi
from simdinstall.errors import BuildError, UsageError
from simdinstall.fetch import Download
from simdinstall.graft import Core
from simdinstall.kernels import Catalogue, Fidelity, Kernel
from simdinstall.plan import Plan
from simdinstall.progress import Progress, silent
from simdinstall.run import Runner
from simdinstall.run import run as run_command
from simdinstall.store import FORMAT, Store, digest
from simdinstall.tree import LeftOut, Tree
from simdinstall.wheel import EARLIEST, Wheel
from simdinstall.zlib_ng import ZlibNg

#: The module that goes into the wheel as ``PIL/_simd.py``.
TRACE_SOURCE = "_simd.py"


def left_out(tree: Tree, interface: Abi, catalogue: Catalogue) -> tuple[LeftOut, ...]:
    """The kernels of a tree that the official extension's binary interface rules out."""
    return fit(tree, interface, catalogue)[1]


def fit(tree: Tree, interface: Abi, catalogue: Catalogue) -> tuple[tuple[Kernel, ...], tuple[LeftOut, ...]]:
    """The kernels of a tree that the official extension admits, and those that it does not.

    A kernel for several functions keeps those that fit.
    """
    kept, reasons = abi.fit(interface, tree.kernels, catalogue)
    return kept, tuple(LeftOut(kernel=name, reason=why) for name, why in reasons.items())


def build(
    plan: Plan,
    *,
    store: Store,
    run: Runner = run_command,
    progress: Progress = silent,
    catalogue: Catalogue | None = None,
) -> Wheel:
    """The wheel that a plan asks for, from the cache if the same was built before.

    The log of the compiler lies beside the wheel in the cache, after a failure in its
    folder ``logs``. Raises BuildError and NoSpaceError, and what :class:`Store` raises.
    """
    catalogue = catalogue or kernels.load()
    chosen, ruled_out = fit(plan.tree, plan.abi, catalogue)
    missing = tuple(dict.fromkeys((*plan.tree.left_out, *ruled_out)))
    own_key = key(plan, catalogue)

    def make(folder: Path) -> None:
        log = _fresh_log(store, own_key)
        built = _library(plan, chosen, catalogue, store=store, log=log, run=run, progress=progress)
        core = _core(plan, log=log, run=run, progress=progress)
        zlib = _zlib_ng(plan, store=store, log=log, run=run, progress=progress)
        progress("packing")
        wheel.repack(
            wheel.read_official(plan.sources.pillow.path),
            march=plan.march.name,
            library=built.library,
            loader=zlib.loader if zlib else built.loader,
            zlib=zlib.library if zlib else None,
            system=plan.source_build is not None,
            core=core.content if core else None,
            trace=(kernels.sources_dir() / TRACE_SOURCE).read_bytes(),
            provenance={"key": own_key, **_provenance(plan, chosen, missing, built, core, zlib)},
            into=folder,
            epoch=source_date_epoch(),
        )
        shutil.move(log, folder / "build.log")

    entry = store.put("wheels", own_key, make)
    [path] = entry.path.glob("*.whl")
    found = wheel.read(path, cached=not entry.fresh, left_out=missing)
    return replace(found, repaired=entry.repaired, log=entry.path / "build.log")


def _core(plan: Plan, *, log: Path, run: Runner, progress: Progress) -> Core | None:
    """The core extension compiled from source, if the plan asks for one."""
    if plan.rebuild is None:
        return None
    assert plan.toolchain is not None
    with tempfile.TemporaryDirectory(prefix="simdinstall-core-") as temporary:
        return graft.compile_core(
            plan.rebuild.materials,
            official=plan.abi,
            march=plan.march,
            toolchain=plan.toolchain,
            scratch=Path(temporary),
            log=log,
            run=run,
            progress=progress,
        )


def key(plan: Plan, catalogue: Catalogue | None = None) -> str:
    """The hash of everything that the bytes of the wheel depend on.

    It is made of hashes that are known beforehand: nothing is compiled or unpacked.
    """
    chosen, _ = fit(plan.tree, plan.abi, catalogue or kernels.load())
    return digest(
        {
            "format": FORMAT,
            "code": _code_digest(
                (abi, codec_abi, compiling, dwarf, graft, kernels, library, linked, toolchain, wheel)
            ),
            "catalogue": _file_digest(kernels.sources_dir() / "manifest.toml"),
            "trace": _file_digest(kernels.sources_dir() / TRACE_SOURCE),
            "pillow": [plan.sources.pillow.sha256, plan.sources.pillow.filename, plan.release],
            "pillow_simd": plan.sources.pillow_simd and plan.sources.pillow_simd.sha256,
            "tree": plan.tree.digest,
            "patches": [[patch.slug, patch.sha256] for patch in plan.tree.patches],
            "kernels": [[kernel.name, kernel.functions] for kernel in chosen],
            "left_out": [[left.kernel, left.reason] for left in plan.tree.left_out],
            "fidelity": plan.fidelity,
            "march": [plan.march.name, plan.march.level, plan.march.isas, plan.march.target],
            "compiler": _maker(plan),
            "rebuild": plan.rebuild and [plan.rebuild.digest, *_compiler_of(plan)],
            "zlib_ng": plan.sources.zlib_ng and zlib_key(plan),
            "epoch": source_date_epoch(),
        }
    )


def library_key(plan: Plan, chosen: Iterable[Kernel], catalogue: Catalogue) -> str:
    """The hash of everything that the bytes of the kernel library depend on.

    Of the official extension that is its structs, enums and prototypes, not its Python:
    the wheels of a release for all Pythons share one library.
    """
    chosen = tuple(chosen)
    served = [f for f in catalogue.functions if any(f.name in k.functions for k in chosen)]
    return digest(
        {
            "format": FORMAT,
            "code": _code_digest((abi, compiling, dwarf, kernels, library, linked, toolchain)),
            "catalogue": _file_digest(kernels.sources_dir() / "manifest.toml"),
            "header": abi.header(plan.abi, served, release=plan.release),
            "libc": [plan.abi.machine, plan.abi.libc, [n for n in plan.abi.needed if n.startswith("libc.")]],
            "tree": plan.tree.digest,
            "kernels": [[kernel.name, kernel.functions] for kernel in chosen],
            "fidelity": plan.fidelity,
            "march": [plan.march.name, plan.march.level, plan.march.isas, plan.march.target],
            "compiler": _maker(plan),
        }
    )


def zlib_key(plan: Plan) -> str:
    """The hash of everything that the bytes of zlib-ng's library and its loader depend on."""
    assert plan.sources.zlib_ng is not None
    return digest(
        {
            "format": FORMAT,
            "code": [_code_digest((compiling, library, linked, toolchain)), zlib_ng.code_digest()],
            "sources": plan.sources.zlib_ng.sha256,
            "called": zlib_ng.called(plan.abi),
            "libc": [plan.abi.machine, plan.abi.libc, [n for n in plan.abi.needed if n.startswith("libc.")]],
            "compiler": _compiler_of(plan),
        }
    )


def _zlib_ng(plan: Plan, *, store: Store, log: Path, run: Runner, progress: Progress) -> ZlibNg | None:
    """zlib-ng, if the plan asks for it, compiled once for every wheel that calls it alike."""
    sdist, compiler = plan.sources.zlib_ng, plan.toolchain
    if sdist is None:
        return None
    assert compiler is not None

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="simdinstall-zlib-") as temporary:
            built = zlib_ng.compile_library(
                sdist,
                official=plan.abi,
                toolchain=compiler,
                scratch=Path(temporary),
                log=log,
                run=run,
                progress=progress,
            )
        (folder / zlib_ng.LIBRARY_NAME).write_bytes(built.library)
        (folder / "loader.so").write_bytes(built.loader)
        told = {"version": built.version, "flags": built.flags}
        (folder / "library.json").write_text(json.dumps(told), encoding="utf-8")

    entry = store.put("zlib-ng", zlib_key(plan), make)
    told = json.loads((entry.path / "library.json").read_text(encoding="utf-8"))
    return ZlibNg(
        library=(entry.path / zlib_ng.LIBRARY_NAME).read_bytes(),
        loader=(entry.path / "loader.so").read_bytes(),
        version=told["version"],
        flags=tuple(told["flags"]),
    )


def _maker(plan: Plan) -> list[Any]:
    """What the library comes from, as far as its bytes depend on it."""
    if plan.prebuilt is not None:
        return ["prebuilt", plan.prebuilt.key, plan.prebuilt.sha256]
    return _compiler_of(plan)


def _compiler_of(plan: Plan) -> list[Any]:
    assert plan.toolchain is not None
    compiler = plan.toolchain
    tuning = [compiler.tuning] if compiler.tuning else []
    return [compiler.identity, compiler.kind, compiler.target_args, *tuning]


def _library(
    plan: Plan,
    chosen: tuple[Kernel, ...],
    catalogue: Catalogue,
    *,
    store: Store,
    log: Path,
    run: Runner,
    progress: Progress,
) -> library.Library:
    """The kernel library, compiled once for every Python whose extension has this ABI."""
    if plan.prebuilt is not None:
        said = f"prebuilt by {plan.prebuilt.identity}: sha256 {plan.prebuilt.sha256}; nothing was compiled\n"
        log.write_text(said, encoding="utf-8")
        return plan.prebuilt.library
    compiler = plan.toolchain
    assert compiler is not None

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="simdinstall-build-") as temporary:
            built = library.compile_library(
                plan.tree,
                chosen,
                catalogue=catalogue,
                abi=plan.abi,
                release=plan.release,
                fidelity=_fidelity(plan.fidelity),
                march=plan.march,
                toolchain=compiler,
                scratch=Path(temporary),
                log=log,
                run=run,
                progress=progress,
            )
        (folder / library.LIBRARY_NAME).write_bytes(built.library)
        (folder / "loader.so").write_bytes(built.loader)
        told = {"flags": built.flags, "needed": built.needed}
        (folder / "library.json").write_text(json.dumps(told), encoding="utf-8")
        shutil.copyfile(log, folder / "build.log")

    entry = store.put("libraries", library_key(plan, chosen, catalogue), make)
    if not entry.fresh:
        # Found to fit another extension with the same structs: its symbols may differ.
        path = entry.path / library.LIBRARY_NAME
        library.require_fit(path, chosen, catalogue=catalogue, abi=plan.abi, march=plan.march)
        shutil.copyfile(entry.path / "build.log", log)
    told = json.loads((entry.path / "library.json").read_text(encoding="utf-8"))
    return library.Library(
        library=(entry.path / library.LIBRARY_NAME).read_bytes(),
        loader=(entry.path / "loader.so").read_bytes(),
        flags={unit: tuple(flags) for unit, flags in told["flags"].items()},
        needed=tuple(told["needed"]),
    )


def source_date_epoch() -> int:
    """``$SOURCE_DATE_EPOCH``, else the first instant that a zip archive can hold.

    Raises UsageError when the variable is no number of seconds.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return EARLIEST
    if not text.isdecimal():
        raise UsageError(
            f"SOURCE_DATE_EPOCH is {text!r}",
            why="it must be a whole number of seconds since 1970",
            hint="unset it, or set it to the output of `date +%s`",
        )
    return int(text)


def _code_digest(modules: Iterable[Any]) -> str:
    """Our own code is an input too: nobody need remember to count a number up."""
    return digest([__version__, *(_file_digest(Path(module.__file__)) for module in modules)])


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _fresh_log(store: Store, key: str) -> Path:
    folder = store.root / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"build-{key[:16]}.log"
    log.write_text("", encoding="utf-8")
    return log


def _fidelity(text: str) -> Fidelity:
    match text:
        case "exact" | "bounded":
            return text
    raise BuildError(f"there is no fidelity {text!r}", hint="choose exact or bounded")


def _provenance(
    plan: Plan,
    chosen: Iterable[Kernel],
    left_out: Iterable[LeftOut],
    built: library.Library,
    core: Core | None,
    zlib: ZlibNg | None,
) -> dict[str, Any]:
    return {
        "tool": {"name": "simdinstall", "version": __version__},
        "pillow": {"release": plan.release, **_download(plan.sources.pillow)},
        "pillow_simd": _simd_download(plan),
        "core": _core_told(plan, core),
        **_zlib_told(plan, zlib),
        **_source_told(plan),
        "patches": [{"slug": patch.slug, "sha256": patch.sha256} for patch in plan.tree.patches],
        "march": {
            "name": plan.march.name,
            "level": plan.march.level,
            "isas": list(plan.march.isas),
            "architecture": plan.march.architecture,
        },
        "fidelity": plan.fidelity,
        "compiler": {
            "kind": plan.maker.kind,
            "version": plan.maker.version,
            "identity": plan.maker.identity,
            **({"tuning": list(plan.toolchain.tuning)} if plan.toolchain and plan.toolchain.tuning else {}),
        },
        "prebuilt": plan.prebuilt
        and {"key": plan.prebuilt.key, "sha256": plan.prebuilt.sha256, "layout": plan.prebuilt.layout},
        "flags": told_flags(built),
        "abi": {"libc": plan.abi.libc, "glibc": plan.abi.glibc, "needed": list(built.needed)},
        "kernels": [
            {
                "name": kernel.name,
                "functions": list(kernel.functions),
                "isas": [isa for isa in kernel.isas if isa in plan.march.isas],
                "origin": kernel.origin,
                "fidelity": kernel.fidelity,
                "largest_difference": kernel.largest_difference,
            }
            for kernel in chosen
        ],
        "left_out": [{"kernel": left.kernel, "reason": left.reason} for left in left_out],
    }


def _core_told(plan: Plan, core: Core | None) -> dict[str, Any] | None:
    if core is None or plan.rebuild is None or plan.toolchain is None:
        return None
    return {
        "sdist": _download(plan.rebuild.sdist),
        "flags": list(core.flags),
        "compiler": plan.toolchain.identity,
        **({"profile": {"sha256": plan.rebuild.profile}} if plan.rebuild.profile else {}),
    }


def _zlib_told(plan: Plan, zlib: ZlibNg | None) -> dict[str, Any]:
    if zlib is None or plan.sources.zlib_ng is None or plan.toolchain is None:
        return {}
    return {
        "zlib_ng": {
            "version": zlib.version,
            "sdist": {"version": plan.sources.zlib_ng.version, **_download(plan.sources.zlib_ng)},
            "flags": list(zlib.flags),
            "compiler": plan.toolchain.identity,
        }
    }


def _source_told(plan: Plan) -> dict[str, Any]:
    compiled = plan.source_build
    if compiled is None:
        return {}
    return {
        "libs": {
            "kind": "system",
            "sdist": _download(compiled.sdist),
            "without": list(compiled.without),
            "flags": list(compiled.flags),
            "compiler": compiled.compiler,
        }
    }


def told_flags(built: library.Library) -> dict[str, Any]:
    """What provenance tells of flags: those of all units, and what each has besides."""
    everywhere = set.intersection(*(set(flags) for flags in built.flags.values()))
    common = [flag for flag in next(iter(built.flags.values())) if flag in everywhere]
    units = {name: [flag for flag in flags if flag not in everywhere] for name, flags in built.flags.items()}
    return {"all": common, "units": units}


def _simd_download(plan: Plan) -> dict[str, str] | None:
    sdist = plan.sources.pillow_simd
    # Without a kernel from it, nothing of it is in the wheel.
    used = sdist and any(kernel.origin == "pillow-simd" for kernel in plan.tree.kernels)
    return {"version": sdist.version, **_download(sdist)} if sdist and used else None


def _download(download: Download) -> dict[str, str]:
    return {"filename": download.filename, "sha256": download.sha256}
