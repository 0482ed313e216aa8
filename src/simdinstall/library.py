"""The kernel library and the loader: compiled, linked, and held to what they must be.

The loader is an empty shared object that stands where the official extension was. Its
list of needed libraries names the kernel library first and the official extension
second; all objects of one dlopen share one search list, breadth first, so the kernel
library's functions come before the extension's own, and Python finds ``PyInit_…`` in
the extension (System V ABI, chapter 5, "Shared Object Dependencies").
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from simdinstall import abi as abi_module
from simdinstall.abi import Abi
from simdinstall.compiling import Builder, in_parallel
from simdinstall.cpu import March, compiler_flags
from simdinstall.errors import BuildError
from simdinstall.kernels import BASE_FLAGS, ISA_FLAGS, Catalogue, Fidelity, Kernel, Unit, units
from simdinstall.linked import ISA_BITS, shape
from simdinstall.progress import Progress, silent
from simdinstall.run import Runner
from simdinstall.run import run as run_command
from simdinstall.toolchain import Toolchain

LIBRARY_NAME = "libpillow_simd.so"
STOCK_NAME = "_imaging_stock.so"

#: Besides the catalogue's flags: no debug information, and none of the checks that some
#: distributions switch on and that need helpers of libc.
EXTRA_FLAGS: tuple[str, ...] = ("-g0", "-U_FORTIFY_SOURCE", "-fno-stack-protector")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Functions of ISO C 90 and of POSIX that every libc has had since before glibc 2.17,
#: under the version that the dynamic linker takes for a reference without one. bcmp and
#: a few others are what compilers make of memcmp and the like. __tls_get_addr, which finds a
#: thread's variables, is the dynamic linker's own.
LIBC = _names(
    """
    abort aligned_alloc bcmp bsearch calloc free getenv madvise malloc memchr memcmp memcpy memmove memset
    mmap munmap posix_memalign pthread_mutex_lock pthread_mutex_unlock pthread_once pthread_self qsort
    realloc sched_yield stpcpy strcasecmp strchr strcmp strcpy strlen strncasecmp strncmp strncpy strstr
    sysconf __errno_location __register_atfork __tls_get_addr pthread_atfork
    """
)
LIBM = _names(
    """
    acos acosf asin asinf atan atan2 atan2f atanf cbrt cbrtf ceil ceilf cos cosf exp exp2 exp2f expf
    fabs fabsf floor floorf fmax fmaxf fmin fminf fmod fmodf ldexp ldexpf log logf lrint lrintf
    nearbyint nearbyintf pow powf rint rintf round roundf sin sincos sincosf sinf sqrt sqrtf tan
    tanf trunc truncf
    """
)
LIBDL = frozenset({"dladdr", "dlsym"})


class Sources(Protocol):
    """What is compiled: :class:`simdinstall.tree.Tree`, or the project's own files as they lie."""

    @property
    def root(self) -> Path:
        """The folder that everything is below."""
        ...

    @property
    def kernels_dir(self) -> Path:
        """The folder that names of sources are relative to."""
        ...

    @property
    def include_dirs(self) -> tuple[Path, ...]:
        """Where the compiler finds headers."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """The two objects, and the flags that they were made with."""

    library: bytes
    loader: bytes
    flags: Mapping[str, tuple[str, ...]]
    needed: tuple[str, ...]


def unit_flags(unit: Unit, toolchain: Toolchain, march: March) -> tuple[str, ...]:
    """The flags of one unit, without include folders, in gcc's spelling.

    The code that every CPU runs is compiled for the baseline whatever the march: it
    decides and forwards, which no instruction set makes faster, and C libraries that do
    not read the ISA mark (musl, glibc before 2.33) would let it crash.
    """
    tuned = _tuning(march, toolchain)
    baseline = ("-march=x86-64",) if unit.isa is None and march.architecture == "x86_64" else ()
    defines = [f"-D{define}" for define in unit.defines]
    return (*BASE_FLAGS, *EXTRA_FLAGS, *baseline, *unit.cflags, *tuned, *defines)


def _tuning(march: March, toolchain: Toolchain) -> list[str]:
    flags = compiler_flags(march, toolchain.kind, toolchain.version)
    return [flag for flag in flags if flag.startswith("-mtune=")]


def compile_library(
    tree: Sources,
    kernels: Sequence[Kernel],
    *,
    catalogue: Catalogue,
    abi: Abi,
    release: str,
    fidelity: Fidelity,
    march: March,
    toolchain: Toolchain,
    scratch: Path,
    log: Path,
    run: Runner = run_command,
    progress: Progress = silent,
    jobs: int = 2,
    label: str = "",
) -> Library:
    """Compile and link both objects in an empty folder, and check them.

    ``label`` is what the library says of itself, the release and ``march`` unless given.

    Everything is relative to ``scratch``, so that the result does not depend on where
    it was built. ``log`` gets the commands with their output, in a fixed order. Raises
    BuildError, with the end of the log, and NoSpaceError.
    """
    served = [f for f in catalogue.functions if any(f.name in k.functions for k in kernels)]
    _copy(tree.root, scratch / "src")
    (scratch / "abi").mkdir()
    (scratch / "abi" / "pillow_abi.h").write_text(
        abi_module.header(abi, served, release=release), encoding="utf-8"
    )
    builder = Builder(toolchain, scratch=scratch, log=log, run=run)
    includes = ["-Iabi", *(f"-Isrc/{d.relative_to(tree.root).as_posix()}" for d in tree.include_dirs)]
    folder = f"src/{tree.kernels_dir.relative_to(tree.root).as_posix()}"
    chosen = units(catalogue, kernels, march.isas, fidelity)
    label = label or f"Pillow {release}, {fidelity}, march {march.name}"
    named = f'-DSIMD_BUILD="{_c_string(f"{label}, {toolchain.kind} {toolchain.version}")}"'

    def compile_unit(unit: Unit) -> str:
        extra = (named,) if unit.isa is None else _prefix(unit, headers)
        flags = [*unit_flags(unit, toolchain, march), *extra, *includes]
        return builder.compile(f"{folder}/{unit.source}", f"{unit.name}.o", flags)

    def compile_header(unit: Unit) -> str:
        flags = [*BASE_FLAGS, *EXTRA_FLAGS, *ISA_FLAGS[str(unit.isa)], *_tuning(march, toolchain)]
        return builder.precompile("#include <immintrin.h>\n", f"{unit.isa}.h", flags)

    headers: frozenset[str] = frozenset()
    users = _worth_precompiling(chosen) if toolchain.kind == "gcc" and not toolchain.cached else {}
    # The longest first, so that no core waits for one at the end.
    by_size = sorted(chosen, key=lambda u: (-(tree.kernels_dir / u.source).stat().st_size, u.name))
    try:
        headers = frozenset(in_parallel(compile_header, list(users.values()), jobs))
        in_parallel(compile_unit, by_size, jobs, lambda n: progress("compiling", n, len(chosen)))
    finally:
        builder.write_log([*(f"{isa}.h" for isa in users), *(f"{unit.name}.o" for unit in chosen)])
    objects = [f"{unit.name}.o" for unit in chosen]
    progress("linking", len(chosen), len(chosen))
    builder.compile_text("", "empty.o")
    library = builder.link_shared(
        objects,
        LIBRARY_NAME,
        needed=_needed(abi, builder.undefined(objects)),
        options=("-soname", LIBRARY_NAME),
        level=march.level,
    )
    require_fit(library, kernels, catalogue=catalogue, abi=abi, march=march, scratch=scratch)
    loader = builder.link_shared(
        ["empty.o"],
        "loader.so",
        needed=(LIBRARY_NAME, STOCK_NAME),
        options=("-rpath", "$ORIGIN", "--disable-new-dtags"),
    )
    _check_loader(loader, abi)
    return Library(
        library=library.read_bytes(),
        loader=loader.read_bytes(),
        flags={unit.name: unit_flags(unit, toolchain, march) for unit in chosen},
        needed=shape(library).needed,
    )


def _copy(source: Path, target: Path) -> None:
    """Like shutil.copytree, which hides the reason (no space left) in its own exception."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def _worth_precompiling(chosen: Iterable[Unit]) -> dict[str, Unit]:
    """One unit of each instruction set whose units would read gcc's largest header often.

    <immintrin.h> takes gcc half a second, more than many kernels; read once and kept
    precompiled, it costs each unit nothing.
    """
    counted = Counter(unit.isa for unit in chosen)
    return {unit.isa: unit for unit in chosen if unit.isa and counted[unit.isa] >= 3}


def _prefix(unit: Unit, headers: frozenset[str]) -> tuple[str, ...]:
    """Flags that include it first; gcc takes the text instead where a unit's flags differ."""
    return ("-include", f"{unit.isa}.h") if f"{unit.isa}.h" in headers else ()


def _c_string(text: str) -> str:
    return re.sub(r'["\\\n]', "", text)


def _needed(abi: Abi, undefined: frozenset[str]) -> list[str]:
    """The libraries of the target's libc that have these symbols."""
    libc = [name for name in abi.needed if re.match(r"libc\.(so|musl)", name)] or ["libc.so.6"]
    if abi.libc != "glibc":
        return libc
    # libdl is empty since glibc 2.34, and still there.
    libm = ["libm.so.6"] if undefined & LIBM else []
    libdl = ["libdl.so.2"] if undefined & LIBDL else []
    return [*libm, *libdl, *libc]


# ------------------------------------------------------------------------ checks


def require_fit(
    library: Path | bytes,
    kernels: Iterable[Kernel],
    *,
    catalogue: Catalogue,
    abi: Abi,
    march: March,
    scratch: Path | None = None,
) -> None:
    """BuildError unless a linked library may stand in front of the extension with this ABI.

    ``scratch``: the folder it was linked in, whose path must not be in it.
    """
    content = library if isinstance(library, bytes) else library.read_bytes()
    found, level = shape(content), march.level
    fronts = {f.name for f in catalogue.functions if any(f.name in k.functions for k in kernels)}
    exported = {name for name in found.exported if not name.startswith("pillow_simd_")}
    missing = found.imported - abi.exported - abi.imported - LIBC - LIBM - LIBDL
    problems = []
    if found.machine != abi.machine:
        problems.append(f"it is for {found.machine}, the official extension for {abi.machine}")
    if exported != fronts:
        odd = ", ".join(sorted(exported ^ fronts))
        problems.append(f"it does not define exactly the functions that it fronts: {odd}")
    if missing:
        problems.append(
            f"it needs what neither libc, Pillow nor Python is known to have: {', '.join(sorted(missing))}"
        )
    if abi_module.version_key(found.glibc) > abi_module.version_key(abi.glibc):
        problems.append(f"it needs glibc {found.glibc}, the official extension {abi.glibc or 'none'}")
    if found.executable_stack:
        problems.append("it asks for an executable stack")
    if found.text_relocations:
        problems.append("it has relocations in its code")
    if found.rpath:
        problems.append(f"it has a search path: {found.rpath}")
    if level is not None and not found.isa & ISA_BITS[level]:
        problems.append(f"it is not marked as needing {level}")
    if level is None and found.isa & ~1:
        problems.append("it is marked as needing more than the baseline")
    if scratch is not None and os.fsencode(scratch) in content:
        problems.append(f"it holds the path of the folder that it was built in, {scratch}")
    if problems:
        raise BuildError("the kernel library is not what it must be", why="; ".join(problems))


def _check_loader(loader: Path, abi: Abi) -> None:
    found = shape(loader)
    wrong = found.needed != (LIBRARY_NAME, STOCK_NAME) or found.rpath != "$ORIGIN"
    if wrong or found.machine != abi.machine or found.imported or found.executable_stack:
        raise BuildError(
            "the loader is not what it must be",
            why=f"needed {', '.join(found.needed)}; search path {found.rpath or 'none'}",
        )
