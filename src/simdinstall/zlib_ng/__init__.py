"""zlib-ng, compiled from its sources, for Pillow's core and the kernels in front of it alone.

Official Linux wheels say that they have zlib-ng and load the system's zlib. Here zlib-ng
is compiled from the sdist of PyPI's ``zlib-ng``, with its code for every instruction set
and its own choice among it at run time, into a library that lies beside PIL. The library
shows none of zlib's names; it writes itself into the slots through which the core calls
zlib (slots.c says how, and why nothing less does).

zlib-ng's own build needs make or CMake, and asks the compiler dozens of questions whose
answers are known for the compilers that are taken here. So its units are compiled by the
list below, which belongs to one release; other releases are not tried.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from simdinstall import archive
from simdinstall.abi import Abi
from simdinstall.compiling import NO_JUMP_ACROSS, Builder, in_parallel
from simdinstall.errors import BuildError
from simdinstall.fetch import Download
from simdinstall.library import LIBC, LIBDL, STOCK_NAME
from simdinstall.library import LIBRARY_NAME as KERNELS_NAME
from simdinstall.linked import shape
from simdinstall.progress import Progress, silent
from simdinstall.run import Runner
from simdinstall.run import run as run_command
from simdinstall.toolchain import Toolchain

#: The project on PyPI that carries zlib-ng's sources, and the release that is known here.
PROJECT = "zlib-ng"
RELEASE = "1.1.0"

LIBRARY_NAME = "libpillow_zlib.so"

#: What slots.c knows the library of kernels by, if there is one.
_IN_KERNELS = "pillow_simd_level"

#: What zlib's public functions are called.
_API = re.compile(r"(deflate|inflate|crc32|adler32|compress|uncompress|zlib|gz)\w*|zError|get_crc_table")

#: libc, besides what kernels need; all of it older than glibc 2.17.
_LIBC = LIBC | {
    *("dl_iterate_phdr", "mprotect"),
    # functable.c complains on stderr before it gives up; compilers make fwrite of fprintf.
    *("fprintf", "fwrite", "fputs", "stderr"),
}

_TOP = (
    *("adler32", "compress", "cpu_features", "crc32", "crc32_braid_comb", "deflate", "deflate_fast"),
    *("deflate_huff", "deflate_medium", "deflate_quick", "deflate_rle", "deflate_slow", "deflate_stored"),
    *("functable", "infback", "inflate", "inftrees", "insert_string", "insert_string_roll", "trees"),
    *("uncompr", "zutil"),
)
_GENERIC = (
    *("adler32_c", "adler32_fold_c", "chunkset_c", "compare256_c", "crc32_braid_c", "crc32_chorba_c"),
    *("crc32_fold_c", "slide_hash_c"),
)

#: A unit's instruction set, by the end of its name: flags, and what tells zlib-ng of it.
#: zlib-ng's units for AVX-512 are left out: many CPUs that have it run slower for a while after
#: 512-bit instructions, and a load took an eighth longer.
_X86: Mapping[str, tuple[tuple[str, ...], str]] = {
    "_features": (("-mxsave",), ""),
    "_sse2": (("-msse2",), "X86_SSE2"),
    "_ssse3": (("-mssse3",), "X86_SSSE3"),
    "_sse41": (("-msse4.1",), "X86_SSE41"),
    "_sse42": (("-msse4.2",), "X86_SSE42"),
    "_pclmulqdq": (("-msse4.2", "-mpclmul"), "X86_PCLMULQDQ_CRC"),
    "_avx2": (("-mavx2", "-mbmi2"), "X86_AVX2"),
}
_X86_UNITS = (
    *("x86_features", "adler32_avx2", "adler32_sse42", "adler32_ssse3", "chorba_sse2", "chorba_sse41"),
    *("chunkset_avx2", "chunkset_sse2", "chunkset_ssse3", "compare256_avx2", "compare256_sse2"),
    *("crc32_pclmulqdq", "slide_hash_avx2", "slide_hash_sse2"),
)

#: What zlib-ng's build finds out of gcc, clang and zig on Linux.
_DEFINES = (
    *("ZLIB_COMPAT", "WITH_OPTIM", "X86_FEATURES", "X86_HAVE_XSAVE_INTRIN", "HAVE_CPUID_GNU"),
    *("HAVE_ATTRIBUTE_ALIGNED", "HAVE_BUILTIN_ASSUME_ALIGNED", "HAVE_BUILTIN_CTZ", "HAVE_BUILTIN_CTZLL"),
    *("HAVE_VISIBILITY_HIDDEN", "HAVE_POSIX_MEMALIGN", "HAVE_ALIGNED_ALLOC", "HAVE_UNISTD_H"),
    *("_LARGEFILE64_SOURCE=1", "__USE_LARGEFILE64"),
)

#: For every CPU: what is for better ones is chosen when it runs.
_FLAGS = (
    *("-std=c11", "-O3", "-fPIC", "-march=x86-64", "-DNDEBUG", "-w", "-g0", "-fno-lto"),
    *("-U_FORTIFY_SOURCE", "-fno-stack-protector"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ZlibNg:
    """The library, the loader that has it between kernels and core, and what it was made with."""

    library: bytes
    loader: bytes
    version: str
    flags: tuple[str, ...]


def require_machine(machine: str) -> None:
    """BuildError for machines whose units and relocations are not known here."""
    if machine != "x86_64":
        raise BuildError(
            f"zlib-ng is not built for {machine} here",
            why="its units and the slots of the core are known for x86-64 only",
            hint="leave --zlib-ng out: the system's zlib is used then",
        )


def called(official: Abi) -> tuple[str, ...]:
    """The functions of zlib that the core calls. Raises BuildError when it calls none."""
    names = tuple(sorted(name for name in official.imported if _API.fullmatch(name)))
    if not names:
        raise BuildError(
            "zlib-ng cannot be put in front of this wheel's core",
            why="the core does not call a zlib of its surroundings: it has one in itself, or none",
            hint="leave --zlib-ng out",
        )
    return names


def code_digest() -> str:
    """The hash of what here decides the library's bytes, besides its sources and the compiler."""
    files = (Path(__file__), Path(__file__).with_name("slots.c"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def unpack(sdist: Download, into: Path) -> tuple[Path, str]:
    """The folder of zlib-ng's sources in the sdist, made ready, and its version. FetchError, BuildError."""

    def keep(name: str) -> bool:
        parts = PurePosixPath(name).parts
        ours = "zlib-ng" in parts[1:-1] and "test" not in parts
        return ours and name.endswith((".c", ".h", ".in", ".empty", ".md"))

    archive.extract(sdist.path, into, keep=keep)
    homes = [path.parent for path in into.rglob("functable.c")]
    if len(homes) != 1:
        raise _unknown(sdist, f"it has {len(homes)} files functable.c")
    [root] = homes
    missing = [str(unit) for unit in units() if not (root / unit).is_file()]
    try:
        public = (root / "zlib.h.in").read_text(encoding="utf-8")
        # What zlib-ng's configure does when no prefix for its symbols is asked for.
        (root / "zlib.h").write_text(public.replace("@ZLIB_SYMBOL_PREFIX@", ""), encoding="utf-8")
        (root / "zconf.h").write_bytes((root / "zconf.h.in").read_bytes())
        (root / "zlib_name_mangling.h").write_bytes((root / "zlib_name_mangling.h.empty").read_bytes())
    except FileNotFoundError as error:
        missing.append(Path(error.filename).name)
        public = ""
    version = re.search(r'#define ZLIBNG_VERSION "([\w.]+)"', public)
    if missing or version is None:
        raise _unknown(sdist, f"it lacks {', '.join(missing) or 'its version'}")
    return root, version[1]


def units() -> tuple[PurePosixPath, ...]:
    """The sources, relative to zlib-ng's folder."""
    x86 = [PurePosixPath("arch/x86", f"{name}.c") for name in _X86_UNITS]
    generic = [PurePosixPath("arch/generic", f"{name}.c") for name in _GENERIC]
    return (*(PurePosixPath(f"{name}.c") for name in _TOP), *generic, *x86)


def compile_library(
    sdist: Download,
    *,
    official: Abi,
    toolchain: Toolchain,
    scratch: Path,
    log: Path,
    run: Runner = run_command,
    progress: Progress = silent,
    jobs: int = 2,
) -> ZlibNg:
    """Compile zlib-ng and the loader in an empty folder, and check both.

    Raises BuildError, with the end of the log, FetchError and NoSpaceError.
    """
    require_machine(official.machine)
    names = called(official)
    root, version = unpack(sdist, scratch / "zlib-ng")
    folder = root.relative_to(scratch).as_posix()
    builder = Builder(toolchain, scratch=scratch, log=log, run=run)
    known = [macro for _, macro in _X86.values() if macro]
    common = (*_FLAGS, *filter(builder.takes, (NO_JUMP_ACROSS,)))
    flags = [*common, *(f"-D{name}" for name in (*_DEFINES, *known)), f"-I{folder}"]
    sources = units()

    def compile_unit(unit: PurePosixPath) -> str:
        own = _X86[_isa(unit.stem)][0] if unit.parent.name == "x86" else ()
        return builder.compile(f"{folder}/{unit}", f"{unit.stem}.o", [*flags, *own])

    try:
        objects = in_parallel(
            compile_unit, sources, jobs, lambda done: progress("compiling zlib-ng", done, len(sources))
        )
    finally:
        builder.write_log([f"{unit.stem}.o" for unit in sources])
    listed = "".join(f" X({name})" for name in names)
    (scratch / "called.h").write_text(
        f'#define CALLED{listed}\n#define ZLIBNG_VERSION "{version}"\n', encoding="utf-8"
    )
    (scratch / "slots.c").write_bytes(Path(__file__).with_name("slots.c").read_bytes())
    objects.append(builder.compile("slots.c", "slots.o", [*_FLAGS, "-I."]))
    undefined = builder.undefined(objects)
    if lacking := undefined & {*names}:
        raise BuildError(
            "zlib-ng does not have all of zlib that this Pillow calls", why=", ".join(sorted(lacking))
        )
    builder.compile_text("", "empty.o")
    (scratch / "exports.map").write_text("{ global: pillow_simd_zlib_ng; local: *; };\n", encoding="utf-8")
    library = builder.link_shared(
        objects,
        LIBRARY_NAME,
        needed=_libc(official),
        options=("-soname", LIBRARY_NAME, "--version-script", "exports.map"),
    )
    _check_library(library, official)
    loader = builder.link_shared(
        ["empty.o"],
        "loader.so",
        needed=(KERNELS_NAME, LIBRARY_NAME, STOCK_NAME),
        options=("-rpath", "$ORIGIN", "--disable-new-dtags"),
    )
    if (found := shape(loader)).imported or found.rpath != "$ORIGIN":
        raise BuildError("the loader is not what it must be", why=f"search path {found.rpath or 'none'}")
    return ZlibNg(
        library=library.read_bytes(), loader=loader.read_bytes(), version=version, flags=(*common, *known)
    )


def _isa(stem: str) -> str:
    """The longest of :data:`_X86` that a unit's name ends in."""
    return max((isa for isa in _X86 if stem.endswith(isa)), key=len)


def _libc(official: Abi) -> tuple[str, ...]:
    libc = [name for name in official.needed if re.match(r"libc\.(so|musl)", name)] or ["libc.so.6"]
    # libdl is empty since glibc 2.34, and still there.
    return (*(["libdl.so.2"] if official.libc == "glibc" else []), *libc)


def _check_library(library: Path, official: Abi) -> None:
    found = shape(library)
    problems = []
    if found.machine != official.machine:
        problems.append(f"it is for {found.machine}, the official extension for {official.machine}")
    if found.exported != {"pillow_simd_zlib_ng"}:
        problems.append(f"it shows {', '.join(sorted(found.exported)[:8]) or 'nothing'}")
    if missing := found.imported - _LIBC - LIBDL - {_IN_KERNELS}:
        problems.append(f"it needs {', '.join(sorted(missing))}")
    if found.executable_stack or found.text_relocations or found.rpath:
        problems.append("it asks for an executable stack, writes into its code, or has a search path")
    if problems:
        raise BuildError("the compiled zlib-ng is not what it must be", why="; ".join(problems))


def _unknown(sdist: Download, why: str) -> BuildError:
    return BuildError(
        f"{sdist.filename} cannot be compiled here",
        why=why,
        hint="leave --zlib-ng out, or update simdinstall",
    )
