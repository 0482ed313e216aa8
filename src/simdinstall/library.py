"""The kernel library and the loader: compiled, linked, and held to what they must be.

The loader is an empty shared object that stands where the official extension was. Its
list of needed libraries names the kernel library first and the official extension
second; all objects of one dlopen share one search list, breadth first, so the kernel
library's functions come before the extension's own, and Python finds ``PyInit_…`` in
the extension (System V ABI, chapter 5, "Shared Object Dependencies").
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from simdinstall import abi as abi_module
from simdinstall.abi import Abi
from simdinstall.cpu import March, compiler_flags
from simdinstall.errors import BuildError, NoSpaceError
from simdinstall.kernels import BASE_FLAGS, ISA_FLAGS, Catalogue, Fidelity, Kernel, Unit, units
from simdinstall.progress import Progress, silent
from simdinstall.run import CommandFailed, Runner, end_running
from simdinstall.run import run as run_command
from simdinstall.toolchain import Toolchain
from simdinstall.tree import Tree

LIBRARY_NAME = "libpillow_simd.so"
STOCK_NAME = "_imaging_stock.so"

#: Besides the catalogue's flags: no debug information, and none of the checks that some
#: distributions switch on and that need helpers of libc.
EXTRA_FLAGS: tuple[str, ...] = ("-g0", "-U_FORTIFY_SOURCE", "-fno-stack-protector")

#: What the linker is told for both objects. Symbols are bound when the library is
#: loaded, so that a missing one shows at import and not in the middle of a resize.
LINK_OPTIONS: tuple[str, ...] = (
    *("--hash-style=gnu", "--build-id=sha1"),
    *("-z", "noexecstack", "-z", "relro", "-z", "now"),
)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Functions of ISO C 90 and of POSIX that every libc has had since before glibc 2.17,
#: under the version that the dynamic linker takes for a reference without one. bcmp and
#: a few others are what compilers make of memcmp and the like.
LIBC = _names(
    """
    abort aligned_alloc bcmp bsearch calloc free getenv madvise malloc memchr memcmp memcpy memmove memset
    mmap munmap posix_memalign pthread_mutex_lock pthread_mutex_unlock pthread_once pthread_self qsort
    realloc sched_yield stpcpy strcasecmp strchr strcmp strcpy strlen strncasecmp strncmp strncpy strstr
    sysconf __errno_location
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

#: Bits of GNU_PROPERTY_X86_ISA_1_NEEDED (x86-64 psABI, "Program Property").
ISA_BITS: Mapping[str, int] = {"x86-64": 1, "x86-64-v2": 2, "x86-64-v3": 4, "x86-64-v4": 8}
_ISA_NEEDED = 0xC0008002

#: A note as linkers write it for ``-z x86-64-v3``, for those that cannot. Its section
#: has a name of its own, since lld drops what it does not know from .note.gnu.property.
_ISA_NOTE = """
__asm__(
    ".pushsection .note.simd.isa, \\"a\\", @note\\n"
    ".balign 8\\n"
    ".long 4, 16, 5\\n"
    ".asciz \\"GNU\\"\\n"
    ".long %d, 4, %d, 0\\n"
    ".popsection\\n");
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """The two objects, and the flags that they were made with."""

    library: bytes
    loader: bytes
    flags: Mapping[str, tuple[str, ...]]
    needed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """What matters of a linked object."""

    machine: str
    exported: frozenset[str]
    imported: frozenset[str]
    glibc: str
    needed: tuple[str, ...]
    rpath: str
    isa: int
    executable_stack: bool
    text_relocations: bool


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
    tree: Tree,
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
) -> Library:
    """Compile and link both objects in an empty folder, and check them.

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
    builder = _Builder(toolchain, scratch=scratch, log=log, run=run)
    includes = ["-Iabi", *(f"-Isrc/{d.relative_to(tree.root).as_posix()}" for d in tree.include_dirs)]
    folder = f"src/{tree.kernels_dir.relative_to(tree.root).as_posix()}"
    chosen = units(catalogue, kernels, march.isas, fidelity)
    named = f'-DSIMD_BUILD="{_c_string(_description(march, toolchain))}"'

    def compile_unit(unit: Unit) -> str:
        extra = (named,) if unit.isa is None else _prefix(unit, headers)
        flags = [*unit_flags(unit, toolchain, march), *extra, *includes]
        return builder.compile(f"{folder}/{unit.source}", f"{unit.name}.o", flags)

    def compile_header(unit: Unit) -> str:
        flags = [*BASE_FLAGS, *EXTRA_FLAGS, *ISA_FLAGS[str(unit.isa)], *_tuning(march, toolchain)]
        return builder.precompile("#include <immintrin.h>\n", f"{unit.isa}.h", flags)

    headers: frozenset[str] = frozenset()
    users = _worth_precompiling(chosen) if toolchain.kind == "gcc" else {}
    # The longest first, so that no core waits for one at the end.
    by_size = sorted(chosen, key=lambda u: (-(tree.kernels_dir / u.source).stat().st_size, u.name))
    try:
        headers = frozenset(_in_parallel(compile_header, list(users.values()), jobs))
        _in_parallel(compile_unit, by_size, jobs, lambda n: progress("compiling", n, len(chosen)))
    finally:
        builder.write_log([*(f"{isa}.h" for isa in users), *(f"{unit.name}.o" for unit in chosen)])
    objects = [f"{unit.name}.o" for unit in chosen]
    progress("linking", len(chosen), len(chosen))
    builder.compile_text("", "empty.o")
    library = builder.link_library(objects, march.level, _needed(abi, builder.undefined(objects)))
    require_fit(library, kernels, catalogue=catalogue, abi=abi, march=march, scratch=scratch)
    loader = builder.link_loader()
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


def _in_parallel(
    work: Callable[[Unit], str],
    units_: Sequence[Unit],
    jobs: int,
    tell: Callable[[int], None] = lambda n: None,
) -> list[str]:
    """The results in the order of the units. The first failure ends what has not begun."""
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        pending = [pool.submit(work, unit) for unit in units_]
        try:
            results: list[str] = []
            for future in pending:
                tell(len(results))
                results.append(future.result())
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if not isinstance(error, Exception):
                end_running()
            raise
        return results


def _worth_precompiling(chosen: Iterable[Unit]) -> dict[str, Unit]:
    """One unit of each instruction set whose units would read gcc's largest header often.

    <immintrin.h> takes gcc half a second, more than many kernels; read once and kept
    precompiled, it costs each unit nothing. SSE4 kernels include a small part of it.
    """
    counted = Counter(unit.isa for unit in chosen)
    return {unit.isa: unit for unit in chosen if unit.isa in ("avx2", "avx512") and counted[unit.isa] >= 3}


def _prefix(unit: Unit, headers: frozenset[str]) -> tuple[str, ...]:
    """Flags that include it first; gcc takes the text instead where a unit's flags differ."""
    return ("-include", f"{unit.isa}.h") if f"{unit.isa}.h" in headers else ()


class _Builder:
    """Runs one toolchain in one folder; turns its failures into errors with a log."""

    def __init__(self, toolchain: Toolchain, *, scratch: Path, log: Path, run: Runner) -> None:
        self._toolchain = toolchain
        self._scratch = scratch
        self._log = log
        self._run = run
        self._output: dict[str, str] = {}
        (scratch / "tmp").mkdir()
        self._environment = toolchain.environment(scratch / "tmp")

    def compile(self, source: str, output: str, flags: Sequence[str]) -> str:
        self._call(self._toolchain.compile_argv(source, output, flags), output)
        return output

    def precompile(self, text: str, name: str, flags: Sequence[str]) -> str:
        (self._scratch / name).write_text(text, encoding="utf-8")
        self._call(
            [
                *self._toolchain.argv,
                *self._toolchain.translate(flags),
                "-x",
                "c-header",
                name,
                "-o",
                f"{name}.gch",
            ],
            name,
        )
        return name

    def compile_text(self, text: str, output: str) -> str:
        source = f"{output.removesuffix('.o')}.c"
        (self._scratch / source).write_text(text, encoding="utf-8")
        return self.compile(source, output, ("-O1", "-fPIC", "-g0"))

    def undefined(self, objects: Iterable[str]) -> frozenset[str]:
        """The symbols that these objects want and none of them has."""
        wanted: set[str] = set()
        had: set[str] = set()
        for name in objects:
            for symbol, defined in _object_symbols(self._scratch / name):
                (had if defined else wanted).add(symbol)
        return frozenset(wanted - had)

    def link_library(self, objects: Sequence[str], level: str | None, needed: Sequence[str]) -> Path:
        options = [*LINK_OPTIONS, "-soname", LIBRARY_NAME]
        stubs = self._stubs(needed)
        mark = () if level is None else ("-z", level)
        if level is not None and self._toolchain.kind == "zig":
            # lld does not know the option and only warns.
            mark = ()
        self._link([*objects, *stubs], LIBRARY_NAME, [*options, *mark])
        library = self._scratch / LIBRARY_NAME
        if level is not None and not shape(library).isa & ISA_BITS[level]:
            bits = sum(ISA_BITS[x] for x in ISA_BITS if x <= level)
            note = self.compile_text(_ISA_NOTE % (_ISA_NEEDED, bits), "isa_note.o")
            self._link([*objects, note, *stubs], LIBRARY_NAME, options)
        return library

    def link_loader(self) -> Path:
        options = [*LINK_OPTIONS, "-rpath", "$ORIGIN", "--disable-new-dtags"]
        self._link(["empty.o", *self._stubs((LIBRARY_NAME, STOCK_NAME))], "loader.so", options)
        return self._scratch / "loader.so"

    def _stubs(self, names: Sequence[str]) -> list[str]:
        """Empty libraries by these names: linking them gives the entries in NEEDED."""
        (self._scratch / "stubs").mkdir(exist_ok=True)
        for name in names:
            self._link(["empty.o"], f"stubs/{name}", ["-soname", name])
        return [f"stubs/{name}" for name in names]

    def _link(self, inputs: Sequence[str], output: str, options: Sequence[str]) -> None:
        self._call(self._toolchain.link_argv(inputs, output, [*options, "--no-as-needed"]), output)
        self.write_log((output,))

    def write_log(self, names: Iterable[str]) -> None:
        with self._log.open("a", encoding="utf-8") as file:
            for name in names:
                file.write(self._output.pop(name, ""))

    def _call(self, command: Sequence[str], output: str) -> None:
        try:
            completed = self._run(command, cwd=self._scratch, env=self._environment)
        except CommandFailed as error:
            said = error.completed.output
            self._output[output] = f"$ {' '.join(command)}\n{said}[status {error.completed.returncode}]\n"
            self.write_log((output,))
            if os.strerror(errno.ENOSPC) in said:
                raise NoSpaceError(
                    "no space left to compile",
                    why=f"{self._toolchain.path.name} wrote below {self._scratch}",
                    hint="make room, or set TMPDIR to another folder",
                ) from error
            tail = "\n".join((said.strip() or error.why).splitlines()[-30:])
            raise BuildError(
                f"{self._toolchain.kind} failed on {Path(output).name}",
                why=tail,
                hint="try another compiler: --compiler gcc, clang or zig",
                log=self._log,
            ) from error
        self._output[output] = f"$ {' '.join(command)}\n{completed.output}"


def _description(march: March, toolchain: Toolchain) -> str:
    return f"march {march.name}, {toolchain.kind} {toolchain.version}"


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
    library: Path,
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
    found, level = shape(library), march.level
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
    if scratch is not None and os.fsencode(scratch) in library.read_bytes():
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


def shape(path: Path) -> Shape:
    """Read a linked object. Raises BuildError when it is none."""
    found = abi_module.read(path)
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        stack = [s for s in elf.iter_segments() if s["p_type"] == "PT_GNU_STACK"]
        dynamic: Any = elf.get_section_by_name(".dynamic")
        tags = {tag.entry.d_tag: tag.entry.d_val for tag in dynamic.iter_tags()}
        isa = 0
        for segment in elf.iter_segments():
            if segment["p_type"] == "PT_NOTE":
                isa |= _isa_needed(segment.data(), segment["p_align"])
    return Shape(
        machine=found.machine,
        exported=found.exported,
        imported=found.imported,
        glibc=found.glibc,
        needed=found.needed,
        rpath=found.rpath,
        isa=isa,
        # No such header means: whatever the system's default is, often executable.
        executable_stack=not stack or bool(stack[0]["p_flags"] & 1),
        text_relocations="DT_TEXTREL" in tags or bool(tags.get("DT_FLAGS", 0) & 4),
    )


def _isa_needed(notes: bytes, align: int) -> int:
    """GNU_PROPERTY_X86_ISA_1_NEEDED in the notes of a segment; 0 without one."""

    def padded(size: int) -> int:
        return -(-size // max(align, 4)) * max(align, 4)

    found, position = 0, 0
    while position + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<LLL", notes, position)
        name = notes[position + 12 : position + 12 + name_size]
        start = position + padded(12 + name_size)
        if kind == 5 and name == b"GNU\0":
            offset = start
            while offset + 8 <= start + size:
                property_, length = struct.unpack_from("<LL", notes, offset)
                if property_ == _ISA_NEEDED:
                    found |= struct.unpack_from("<L", notes, offset + 8)[0]
                offset += 8 + padded(length)
        position = start + padded(size)
    return found


def _object_symbols(path: Path) -> Iterable[tuple[str, bool]]:
    """The global symbols of an object file, and whether it defines them."""
    with path.open("rb") as stream:
        table: Any = ELFFile(stream).get_section_by_name(".symtab")
        for symbol in table.iter_symbols():
            if symbol.name and symbol["st_info"]["bind"] != "STB_LOCAL":
                yield symbol.name, symbol["st_shndx"] != "SHN_UNDEF"
