"""The stages in their order, from a request to a verified wheel.

Each stage is a module of its own; this one only hands their results on. Commands of the
command line are a few calls of these functions.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from simdinstall import (
    abi,
    archive,
    build,
    cpu,
    cross,
    environment,
    install,
    kernels,
    plan,
    prebuilt,
    rebuild,
    source_build,
    system_libs,
    toolchain,
    training,
    tree,
    tuned,
    wheel,
    zlib_ng,
)
from simdinstall.cpu import March
from simdinstall.environment import Environment
from simdinstall.errors import BuildError, FetchError, UsageError
from simdinstall.fetch import Download, Fetcher, Sources
from simdinstall.kernels import Catalogue, Fidelity, Kernel, Origin
from simdinstall.plan import Plan, Request
from simdinstall.prebuilt import Prebuilt
from simdinstall.progress import Progress
from simdinstall.run import Runner, run
from simdinstall.store import Store, digest
from simdinstall.toolchain import Toolchain
from simdinstall.tree import LeftOut
from simdinstall.tuned import Tuned
from simdinstall.verdict import Verdict
from simdinstall.verify import verify
from simdinstall.wheel import Wheel


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """What stages need of the outside world."""

    fetcher: Fetcher
    store: Store
    progress: Progress
    run: Runner = run


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A plan, and whether the environment already is what it asks for.

    ``up_to_date`` says in words why there is nothing to do, and is empty otherwise.
    ``notes`` are what the user may want to know about the sources.
    """

    plan: Plan
    up_to_date: str
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A wheel and what verification said of it."""

    wheel: Wheel
    verdict: Verdict


def prepare(
    request: Request, target: Environment, *, services: Services, scratch: Path, installing: bool
) -> Prepared:
    """Find everything out and decide, without changing anything but the cache.

    ``installing``: the target must be one that may be changed, and the CPU one that can
    run the result. ``scratch`` holds the sources until the plan has been carried out.
    Raises CpuError, TargetError, FetchError, BuildError, UsageError.
    """
    progress = services.progress
    _require_consistent(request)
    here = target
    if request.rebuild:
        rebuild.user_flags(os.environ)
    if request.zlib_ng:
        zlib_ng.require_machine(request.machine or platform.machine())
    progress("looking at the CPU and the environment")
    seen = cpu.detect(run=services.run, override=request.cpu, want_name=False)
    foreign = request.machine is not None and cross.is_foreign(request.machine)
    if request.machine is not None and foreign:
        seen, target = cross.cpu_of(request.machine), cross.environment_for(target, request.machine)
    march = cpu.resolve_march(request.march, seen)
    if installing:
        cpu.require_runnable(march, seen)
        environment.require_supported(target)
    tuned_here = _tuned(request, services.store, seen)
    tuned_core = _tuned_core(request, services.store, seen, os.environ)
    notes: tuple[str, ...] = ()
    progress("looking for Pillow")
    compiler, compiled = None, None
    if request.libs == "system":
        features = source_build.require_libraries(request.without, target, services.run)
        compiler, tuned_here = _find_compiler(request, seen, target, services, tuned_here)
        compiled = source_build.build(
            _pillow_sdist(request, target, services.fetcher),
            features=features,
            march=march,
            toolchain=compiler,
            target=target,
            user_flags=rebuild.user_flags(os.environ),
            fetcher=services.fetcher,
            store=services.store,
            run=services.run,
            progress=progress,
        )
    official = compiled.wheel if compiled else _official(request, target, services.fetcher)
    catalogue = kernels.load()
    progress("reading the official extension")
    extension_abi = _extension_abi(official, services.store, scratch)
    zlib_sources = None
    if request.zlib_ng:
        zlib_ng.called(extension_abi)
        zlib_sources = services.fetcher.sdist(zlib_ng.PROJECT, zlib_ng.RELEASE)
    libc = target.libc.split()[0]
    ready, why_compiled = _prebuilt(
        request,
        march,
        libc=libc,
        catalogue=catalogue,
        official=extension_abi,
        release=official.version,
        tuned_here=tuned_here,
    )
    origins: tuple[Origin, ...] = ("simdinstall",) if ready else ("pillow-simd", "simdinstall")
    selected = kernels.select(catalogue, fidelity=request.fidelity, isas=march.isas, origins=origins)
    pillow_simd = _pillow_simd(services.fetcher) if any(k.origin == "pillow-simd" for k in selected) else None
    progress("laying out the kernels")
    laid_out = tree.lay_out(
        pillow_simd,
        release=official.version,
        catalogue=catalogue,
        fidelity=request.fidelity,
        isas=march.isas,
        into=scratch / "tree",
        origins=origins,
    )
    if ready is not None:
        more = _only_from_sources(catalogue, selected, request.fidelity, march)
        laid_out = replace(laid_out, left_out=(*laid_out.left_out, *more))
    rebuilt = None
    if request.rebuild and compiled is None:
        rebuilt = rebuild.prepare(
            services.fetcher.sdist("pillow", official.version),
            official,
            abi=extension_abi,
            target=target,
            scratch=scratch,
            store=services.store,
            environ=os.environ,
            run=services.run,
            progress=progress,
            speaks=_official(replace(request, pillow=official.version), here, services.fetcher)
            if foreign
            else None,
        )
    if compiler is None and (ready is None or rebuilt is not None or zlib_sources is not None):
        compiler, found = _find_compiler(request, seen, target, services, tuned_core or tuned_here)
        tuned_here, tuned_core = (None, found) if rebuilt is not None else (found, None)
    if rebuilt is not None and compiler is not None:
        rebuilt, notes = _trained(
            rebuilt, official, request, tuned_core, extension_abi, march, compiler, target, services
        )
    chosen, ruled_out = build.fit(laid_out, extension_abi, catalogue)
    made = plan.make(
        request,
        cpu=seen,
        environment=target,
        march=march,
        sources=Sources(pillow=official, pillow_simd=pillow_simd, zlib_ng=zlib_sources),
        toolchain=compiler,
        prebuilt=ready,
        why_compiled=why_compiled,
        abi=extension_abi,
        tree=laid_out,
        kernels=chosen,
        left_out=ruled_out,
        rebuild=rebuilt,
        source_build=compiled,
        tuned=tuned_here,
    )
    return Prepared(
        plan=made,
        up_to_date=_up_to_date(made) if installing else "",
        notes=(*services.fetcher.notes, *notes),
    )


def _require_consistent(request: Request) -> None:
    """UsageError for options that mean nothing without one another."""
    if request.verify_with is not None and request.machine is None:
        raise UsageError("--verify-with is for --target", why="the target's own interpreter verifies")
    if request.machine is not None and (request.libs != "bundled" or not request.rebuild):
        raise UsageError(
            "--target is for --rebuild with the official wheel's libraries",
            why="kernels exist for x86-64 only, so that without --rebuild it would be the official wheel",
        )
    if request.libs == "system" and not request.rebuild:
        raise UsageError(
            "--libs system is about compiling Pillow", hint="say --rebuild too, or leave --libs out"
        )
    if request.without and request.libs != "system":
        raise UsageError(
            "--without is for --libs system", why="the official wheel's libraries have every feature"
        )
    system_libs.wanted(request.without)


def _tuned(request: Request, store: Store, seen: cpu.Cpu) -> Tuned | None:
    """What was measured to be best, where the user leaves the choice and builds for this CPU."""
    here = request.march in ("auto", "native") and request.cpu is None
    left = request.compiler == "auto" and request.kernels == "auto" and not request.rebuild
    return tuned.read(store, seen) if here and left else None


def _tuned_core(request: Request, store: Store, seen: cpu.Cpu, environ: Mapping[str, str]) -> Tuned | None:
    """As :func:`_tuned`, for a rebuild on the official wheel's libraries."""
    here = request.march in ("auto", "native") and request.cpu is None and request.machine is None
    here &= request.libs == "bundled"
    left = request.compiler == "auto" and rebuild.user_compiler(environ) == "auto" and not request.trained
    return tuned.read(store, seen, core=True) if request.rebuild and here and left else None


def _trained(
    rebuilt: rebuild.Rebuild,
    official: Download,
    request: Request,
    tuned_core: Tuned | None,
    extension_abi: abi.Abi,
    march: March,
    compiler: Toolchain,
    target: Environment,
    services: Services,
) -> tuple[rebuild.Rebuild, tuple[str, ...]]:
    """The rebuild with a profile, kept or new; as it was, and why, where a kept choice cannot be had."""
    if not (request.trained or (tuned_core is not None and tuned_core.trained)):
        return rebuilt, ()
    try:
        profile = training.profile(
            rebuilt,
            official,
            abi=extension_abi,
            march=march,
            toolchain=compiler,
            python=target.python,
            store=services.store,
            run=services.run,
            progress=services.progress,
        )
    except BuildError as error:
        if request.trained:
            raise
        return rebuilt, (f"Pillow's core is compiled without the training that was kept: {error.what}",)
    return rebuilt.trained(profile.folder, profile.sha256), ()


def _find_compiler(
    request: Request, seen: cpu.Cpu, target: Environment, services: Services, tuned_here: Tuned | None
) -> tuple[Toolchain, Tuned | None]:
    """The compiler that was measured to be best, if it is still there, else as asked for."""
    services.progress("looking for a compiler")

    def find(name: str, flags: tuple[str, ...]) -> Toolchain:
        found = toolchain.find(
            name,
            run=services.run,
            zig=partial(services.fetcher.ziglang, seen.architecture),
            machine=seen.architecture,
            libc=target.libc.split()[0],
        )
        return toolchain.through_ccache(replace(found, tuning=flags))

    if tuned_here is not None and tuned_here.compiler != tuned.PREBUILT:
        with contextlib.suppress(BuildError, FetchError):
            return find(tuned_here.compiler, tuned_here.flags), tuned_here
    return find(_compiler(request), request.tuning), None


def _pillow_sdist(request: Request, target: Environment, fetcher: Fetcher) -> Download:
    return fetcher.sdist("pillow", request.pillow or fetcher.newest("pillow", python=target.release))


def _prebuilt(
    request: Request,
    march: March,
    *,
    libc: str,
    catalogue: Catalogue,
    official: abi.Abi,
    release: str,
    tuned_here: Tuned | None,
) -> tuple[Prebuilt | None, str]:
    """The prebuilt library that fits, or why there is none; BuildError where one must be."""
    if tuned_here is not None and tuned_here.compiler != tuned.PREBUILT:
        return None, f"{tuned_here.label} is {tuned_here.why}"
    if request.kernels == "source":
        return None, "asked for by --kernels source"
    try:
        prebuilt.require_wanted(
            catalogue, march=march, fidelity=request.fidelity, libc=libc, compiler=request.compiler
        )
        return prebuilt.take(catalogue, official, release=release, march=march), ""
    except BuildError as error:
        if request.kernels == "prebuilt":
            raise
        return None, error.why


def _only_from_sources(
    catalogue: Catalogue, selected: Sequence[Kernel], fidelity: Fidelity, march: March
) -> tuple[LeftOut, ...]:
    """Pillow-SIMD's kernels, which are not among the prebuilt ones."""
    names = {kernel.name for kernel in selected}
    return tuple(
        LeftOut(kernel=kernel.name, reason="it is not among the prebuilt ones: --kernels source adds it")
        for kernel in kernels.select(catalogue, fidelity=fidelity, isas=march.isas)
        if kernel.name not in names
    )


def make(
    prepared: Prepared,
    *,
    services: Services,
    scratch: Path,
    quick: bool = False,
    verify_with: Path | None = None,
) -> Made:
    """Build and verify; both come from the cache when nothing that goes in has changed.

    ``quick``: verify at the best level only. ``verify_with`` runs what is for another machine.

    Raises BuildError, NoSpaceError, VerifyError.
    """
    wanted = prepared.plan
    plan.require_kernels(wanted)
    built = build.build(wanted, store=services.store, run=services.run, progress=services.progress)
    verdict = _verdict(built, wanted, services, scratch, quick, verify_with)
    if not verdict.ok:
        return Made(wheel=built, verdict=verdict)
    complete = wheel.with_verdict(
        built, _lasting(verdict), into=_folder(scratch / "verified"), epoch=build.source_date_epoch()
    )
    return Made(wheel=complete, verdict=verdict)


def deliver(made: Wheel, folder: Path) -> Wheel:
    """Put a wheel into ``folder``, whole or not at all, and return it as it lies there."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{made.path.name}.part"
    shutil.copyfile(made.path, part)
    target = folder / made.path.name
    part.replace(target)
    return replace(made, path=target)


def running_kernels(target: Environment, *, run: Runner = run) -> tuple[dict[str, Any], ...]:
    """What the installed Pillow itself says of its kernels; empty when it is not ours."""
    done = run([target.python, "-m", "PIL._simd", "--json"], check=False)
    try:
        rows = json.loads(done.stdout)["functions"]
    except (ValueError, KeyError, TypeError):
        return ()
    return tuple(dict(row) for row in rows)


def _compiler(request: Request) -> str:
    """``$CC`` counts for code that is Pillow's own, as it does for any package's."""
    if request.rebuild and request.compiler == "auto":
        return rebuild.user_compiler(os.environ)
    return request.compiler


def _official(request: Request, target: Environment, fetcher: Fetcher) -> Download:
    release = request.pillow or fetcher.newest("pillow", tags=target.tags, python=target.release)
    return fetcher.wheel("pillow", release, target.tags, python=target.release)


def _pillow_simd(fetcher: Fetcher) -> Download | None:
    try:
        return fetcher.sdist("pillow-simd", tree.newest_series())
    except FetchError:
        if any(kernel.origin == "simdinstall" for kernel in kernels.load().kernels):
            return None
        raise


def _extension_abi(official: Download, store: Store, scratch: Path) -> abi.Abi:
    def work_out() -> str:
        _, content = wheel.extension(official.path)
        extension = scratch / "extension.so"
        extension.write_bytes(content)
        return json.dumps(abi.read(extension).to_json())

    key = digest({"wheel": official.sha256, "format": abi.FORMAT})
    read = abi.Abi.from_json(json.loads(store.text("abi", key, work_out)))
    abi.frontable(read)
    return read


def _up_to_date(wanted: Plan) -> str:
    status = install.status(wanted.environment)
    if not (status.ours and status.intact and status.provenance):
        return ""
    if status.provenance.get("key") != build.key(wanted):
        return ""
    return f"{status.name} {status.version} is installed, intact, and just what would be built"


def _verdict(
    built: Wheel,
    wanted: Plan,
    services: Services,
    scratch: Path,
    quick: bool,
    verify_with: Path | None = None,
) -> Verdict:
    """The kept verdict on this very wheel under this very interpreter and CPU, or a new one."""
    foreign = cross.is_foreign(wanted.march.architecture)
    if foreign and verify_with is None:
        return unverified(wanted)
    python = verify_with if foreign and verify_with is not None else wanted.environment.python
    key = digest(
        {
            "wheel": built.sha256,
            "python": [str(python.resolve()), *wanted.environment.version],
            "cpu": wanted.cpu.to_json()["features"],
            "fidelity": wanted.fidelity,
            **({"quick": True} if quick else {}),
        }
    )
    fresh: list[Verdict] = []

    def work_out() -> str:
        services.progress("verifying against stock Pillow")
        stock, candidate = scratch / "stock", scratch / "candidate"
        archive.extract(wanted.sources.pillow.path, stock)
        archive.extract(built.path, candidate)
        verdict = verify(
            stock,
            candidate,
            python=python,
            fidelity=wanted.fidelity,
            quick=quick,
            progress=lambda what, share: services.progress(f"verifying: {what}", int(share * 100), 100),
        )
        fresh.append(verdict)
        if not verdict.ok:
            raise _UnfitError
        return json.dumps(verdict.to_json())

    try:
        text = services.store.text("verdict", key, work_out)
    except _UnfitError:
        return fresh[0]
    return fresh[0] if fresh else Verdict.from_json(json.loads(text))


def unverified(wanted: Plan) -> Verdict:
    """The verdict on what cannot be run here: nothing is known, and that is said."""
    machine = wanted.march.architecture
    return Verdict(
        ok=True,
        features_ok=False,
        fidelity=wanted.fidelity,
        level="none",
        graded=(),
        rows=(),
        speedup=1.0,
        trace=(),
        problems=(),
        limits=(f"it is for {machine}, and nothing of it was run here: verify it on such a machine",),
        stock_version=wanted.release,
    )


class _UnfitError(Exception):
    """A bad verdict is not kept: what was wrong may be mended by the next run."""


def _lasting(verdict: Verdict) -> Mapping[str, Any]:
    """What of a verdict goes into the wheel: all but times, so that the wheel is reproducible."""
    return {
        "fidelity": verdict.fidelity,
        "level": verdict.level,
        "features_ok": verdict.features_ok,
        "exact": list(verdict.exact),
        "bounded": [
            {
                "operation": row.operation,
                "mode": row.mode,
                "level": row.level,
                "largest_difference": row.largest_difference,
                "bound": row.bound,
            }
            for row in verdict.bounded
        ],
        **({"repacked": list(verdict.repacked)} if verdict.repacked else {}),
        "ran": sorted({f"{ran.function}: {ran.kernel} ({ran.level})" for ran in verdict.trace if ran.calls}),
        "not_verified": list(verdict.limits),
    }


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
