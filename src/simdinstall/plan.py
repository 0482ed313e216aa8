"""What will be done, decided before anything is done, with a reason for each choice.

Pure: everything found out about the machine, the environment and the sources comes
in as values; a :class:`Plan` comes out. It changes nothing and asks nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from simdinstall.abi import Abi
from simdinstall.cpu import Cpu, March
from simdinstall.environment import Distribution, Environment, State
from simdinstall.errors import BuildError
from simdinstall.fetch import Sources
from simdinstall.kernels import ISA_FLAGS, Fidelity, Kernel
from simdinstall.prebuilt import Prebuilt
from simdinstall.rebuild import Rebuild
from simdinstall.source_build import SourceBuild
from simdinstall.toolchain import Toolchain
from simdinstall.tree import LeftOut, Tree
from simdinstall.tuned import Tuned

#: Where the kernel library comes from: compiled beforehand if there is one that fits, only
#: so, or always compiled here.
KernelSource = Literal["auto", "prebuilt", "source"]


#: Whose libraries Pillow is linked with: the official wheel's own, or the system's.
Libs = Literal["bundled", "system"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What the user asked for. ``None`` means: choose."""

    march: str = "auto"
    pillow: str | None = None
    python: Path | None = None
    fidelity: Fidelity = "exact"
    compiler: str = "auto"
    kernels: KernelSource = "auto"
    cpu: str | None = None
    offline: bool = False
    rebuild: bool = False
    zlib_ng: bool = False
    libs: Libs = "bundled"
    without: tuple[str, ...] = ()
    tuning: tuple[str, ...] = ()
    trained: bool = False
    machine: str | None = None
    verify_with: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """One choice: about what, what was chosen, and why."""

    subject: str
    choice: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Everything that is going to happen to one environment, or to none (``wheel``).

    ``kernels`` are those of ``tree`` that the official extension's ABI admits;
    ``left_out`` are all others, each with its reason. The library is ``prebuilt``, or
    compiled by ``toolchain``: one of them is there. ``rebuild`` is there when Pillow's own
    core is compiled too, and then ``toolchain`` is, as it is with zlib-ng among the sources.
    With ``source_build`` no official wheel has a part in it: ``sources.pillow`` was compiled here.
    """

    cpu: Cpu
    environment: Environment
    march: March
    release: str
    fidelity: Fidelity
    sources: Sources
    toolchain: Toolchain | None
    prebuilt: Prebuilt | None
    abi: Abi
    tree: Tree
    kernels: tuple[Kernel, ...]
    left_out: tuple[LeftOut, ...]
    rebuild: Rebuild | None
    source_build: SourceBuild | None
    removes: tuple[Distribution, ...]
    reasons: tuple[Reason, ...]

    @property
    def maker(self) -> Prebuilt | Toolchain:
        """What tells of the compiler, whether it ran here or before."""
        made = self.prebuilt or self.toolchain
        assert made is not None
        return made


def make(
    request: Request,
    *,
    cpu: Cpu,
    environment: Environment,
    march: March,
    sources: Sources,
    toolchain: Toolchain | None,
    prebuilt: Prebuilt | None,
    why_compiled: str,
    abi: Abi,
    tree: Tree,
    kernels: Sequence[Kernel],
    left_out: Sequence[LeftOut],
    rebuild: Rebuild | None = None,
    source_build: SourceBuild | None = None,
    tuned: Tuned | None = None,
) -> Plan:
    """Put the findings together and say why each choice was made.

    ``kernels`` and ``left_out`` are the kernels of ``tree`` that the official extension's
    ABI admits, and those that it rules out. ``why_compiled``: why no prebuilt library is
    used. ``tuned``: what a measurement chose.
    """
    release = sources.pillow.version
    reasons = (
        _cpu_reason(cpu),
        Reason(subject="level", choice=march.name, why=march.reason),
        _target_reason(request, environment),
        _owners_reason(environment),
        _release_reason(request, environment, release),
        *_source_reasons(sources, kernels, source_build),
        *_rebuild_reasons(rebuild, toolchain),
        *_zlib_reasons(sources, toolchain),
        _kernels_reason(kernels, march, cpu),
        *_library_reasons(request, toolchain, prebuilt, why_compiled, tuned),
        _flags_reason(march),
        Reason(subject="fidelity", choice=request.fidelity, why=FIDELITY_WHY[request.fidelity]),
    )
    return Plan(
        cpu=cpu,
        environment=environment,
        march=march,
        release=release,
        fidelity=request.fidelity,
        sources=sources,
        toolchain=toolchain,
        prebuilt=prebuilt,
        abi=abi,
        tree=tree,
        kernels=tuple(kernels),
        left_out=(*tree.left_out, *left_out),
        rebuild=rebuild,
        source_build=source_build,
        removes=environment.replaced,
        reasons=reasons,
    )


def require_kernels(plan: Plan) -> None:
    """BuildError when kernels exist for the CPU, but none of them fits the release."""
    if plan.kernels or not plan.march.isas:
        return
    reasons = dict.fromkeys(left.reason for left in plan.left_out)
    raise BuildError(
        f"no kernel fits Pillow {plan.release}: it would be no faster than it is",
        why="\n".join(reasons),
        hint="choose another release with --pillow, or leave the option out for the newest",
    )


FIDELITY_WHY = {
    "exact": "only kernels that give the very bytes of stock Pillow are built in",
    "bounded": "kernels that may differ from stock Pillow by a stated, small amount are built in too",
}


def _cpu_reason(cpu: Cpu) -> Reason:
    why = f"{cpu.vendor} {cpu.microarchitecture}, as the CPU and the kernel both report it"
    return Reason(subject="CPU", choice=cpu.level, why="; ".join((why, *cpu.notes)))


def _target_reason(request: Request, environment: Environment) -> Reason:
    version = ".".join(map(str, environment.version))
    asked = "named by --python" if request.python else "the active environment"
    return Reason(
        subject="target",
        choice=f"{environment.python} (CPython {version}, {environment.kind})",
        why=f"{asked}; Pillow goes to {environment.site}",
    )


def _owners_reason(environment: Environment) -> Reason:
    owners = ", ".join(f"{owner.name} {owner.version}" for owner in environment.owners if owner.conflicts)
    return Reason(
        subject="PIL there",
        choice=owners or "none",
        why={
            State.NONE: "nothing to replace",
            State.STOCK: "the stock build is moved aside and kept for rollback",
            State.SIMD: "Pillow-SIMD is moved aside and kept for rollback",
            State.OURS: "an earlier build of ours is moved aside and kept for rollback",
            State.MIXED: "several distributions lie over one another: all are moved aside",
            State.BROKEN: "it is damaged: what is left of it is moved aside",
            State.UNOWNED: "no distribution owns these files: they are moved aside",
        }.get(environment.state, "see the message"),
    )


def _release_reason(request: Request, environment: Environment, release: str) -> Reason:
    if request.pillow:
        why = "asked for by --pillow"
    elif environment.pil_version and environment.pil_version.split("+")[0] == release:
        why = "the newest release; the same as now"
    else:
        why = f"the newest release; there now: {environment.pil_version or 'none'}"
    return Reason(subject="Pillow", choice=release, why=why)


def _source_reasons(
    sources: Sources, kernels: Sequence[Kernel], source_build: SourceBuild | None
) -> tuple[Reason, ...]:
    if source_build is not None:
        given_up = ", ".join(source_build.without)
        official = Reason(
            subject="Pillow itself",
            choice=f"compiled from {source_build.sdist.filename} against the system's libraries",
            why="asked for by --libs system; "
            + (
                f"without {given_up}, as asked for" if given_up else "with all that the official wheel can do"
            ),
        )
    else:
        official = Reason(
            subject="official wheel",
            choice=sources.pillow.filename,
            why=f"every codec and fix of the release, byte for byte; sha256 {sources.pillow.sha256[:16]}…",
        )
    if sources.pillow_simd is None or not any(kernel.origin == "pillow-simd" for kernel in kernels):
        return (official,)
    return (
        official,
        Reason(
            subject="kernels from",
            choice=sources.pillow_simd.filename,
            why=f"patched to stand in front of the release; sha256 {sources.pillow_simd.sha256[:16]}…",
        ),
    )


def _rebuild_reasons(rebuild: Rebuild | None, toolchain: Toolchain | None) -> tuple[Reason, ...]:
    if rebuild is None or toolchain is None:
        return ()
    flags = " ".join(rebuild.materials.user_flags)
    return (
        Reason(
            subject="core",
            choice=f"compiled from {rebuild.sdist.filename} by {toolchain.kind} {toolchain.version}",
            why="asked for by --rebuild; linked against the official wheel's own libraries"
            + (f"; your flags: {flags}" if flags else "")
            + (f"; trained: profile {rebuild.profile[:16]}…" if rebuild.profile else ""),
        ),
        Reason(subject="headers", choice=rebuild.headers_from, why="their structs are compared first"),
    )


def _zlib_reasons(sources: Sources, toolchain: Toolchain | None) -> tuple[Reason, ...]:
    if sources.zlib_ng is None or toolchain is None:
        return ()
    compiler = f"{toolchain.kind} {toolchain.version}"
    return (
        Reason(
            subject="zlib",
            choice=f"zlib-ng, compiled from {sources.zlib_ng.filename} by {compiler}",
            why="asked for by --zlib-ng; Pillow's core alone calls it, and PNG files are packed otherwise"
            f" than by stock; sha256 {sources.zlib_ng.sha256[:16]}…",
        ),
    )


def _kernels_reason(kernels: Sequence[Kernel], march: March, cpu: Cpu) -> Reason:
    names = ", ".join(kernel.name for kernel in kernels) or "none"
    if march.isas and kernels:
        why = f"for {', '.join(march.isas)}; the best that the CPU has is picked at run time"
    elif march.isas:
        why = "none fits this release"
    elif cpu.architecture != "x86_64":
        why = f"none exist for {cpu.architecture} yet: every function stays stock Pillow's own"
    else:
        why = f"they need SSE4.1 at least, which {march.name} is without: stock code runs"
    return Reason(subject="kernels", choice=names, why=why)


def _library_reasons(
    request: Request,
    toolchain: Toolchain | None,
    prebuilt: Prebuilt | None,
    why_compiled: str,
    tuned: Tuned | None,
) -> tuple[Reason, ...]:
    if prebuilt is not None:
        asked = (
            "asked for by --kernels prebuilt" if request.kernels == "prebuilt" else "it fits this extension"
        )
        if tuned is not None:
            asked += f", and is {tuned.why}"
        why = (
            f"{asked}; compiled by {prebuilt.kind} {prebuilt.version} for the structs of"
            f" Pillow {prebuilt.layout}; no compiler is needed; sha256 {prebuilt.sha256[:16]}…"
        )
        return (Reason(subject="kernel library", choice="prebuilt", why=why),)
    assert toolchain is not None
    return (
        Reason(subject="kernel library", choice="compiled here", why=why_compiled),
        Reason(
            subject="compiler",
            choice=" ".join((toolchain.kind, toolchain.version, *toolchain.tuning)),
            why=tuned.why if tuned else _compiler_why(request, toolchain),
        ),
    )


def _compiler_why(request: Request, toolchain: Toolchain) -> str:
    if request.compiler != "auto":
        return "asked for by --compiler"
    if toolchain.kind == "zig":
        return "no working gcc or clang here; fetched from the package index, nothing installed"
    return f"{toolchain.path} works"


def _flags_reason(march: March) -> Reason:
    sets = "; ".join(f"{isa}: {' '.join(ISA_FLAGS[isa])}" for isa in march.isas)
    mark = f"; marked as needing {march.level}" if march.level else ""
    return Reason(
        subject="flags",
        choice=sets or "those of the baseline",
        why=f"each kernel for its own instruction set, the code that chooses for the baseline{mark}",
    )
