"""The C compiler: which one is here, and whether it really works.

gcc is taken first, then clang, then zig, which is a whole toolchain in one package
from the index and needs no root. Version numbers prove nothing (a gcc without libc's
headers is common): a candidate counts only when it has compiled and linked a small
shared library in the very way a build does.

Nothing is linked against the host's libc. What a library needs from libc is left
undefined and without a symbol version, and an empty stand-in of the same name gives
the entry in the list of needed libraries. The dynamic linker then takes the base
version of the symbol (glibc, elf/dl-lookup.c), so that the result does not depend on
how new the builder's glibc is, and zig need not build one.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from simdinstall.cpu import isa_flags
from simdinstall.errors import BuildError, SimdinstallError
from simdinstall.run import CommandFailed, Runner
from simdinstall.run import run as run_command

Kind = Literal["gcc", "clang", "zig"]

#: The instruction set of the kernels whose microarchitecture level a flag names.
_LEVEL_ISA: Mapping[str, str] = {
    "-march=x86-64-v2": "sse4",
    "-march=x86-64-v3": "avx2",
    "-march=x86-64-v4": "avx512",
}

#: Names of lld's emulations, which a linker needs that is not driven by a compiler.
_EMULATIONS: Mapping[str, str] = {
    "x86_64": "elf_x86_64",
    "aarch64": "aarch64linux",
    "ppc64le": "elf64lppc",
    "riscv64": "elf64lriscv",
    "s390x": "elf64_s390",
    "i686": "elf_i386",
    "armv7l": "armelf_linux_eabi",
    "loongarch64": "elf64loongarch",
}

#: Zig's names of machines where they differ from ``platform.machine()``.
_ZIG_MACHINES: Mapping[str, str] = {"ppc64le": "powerpc64le", "i686": "x86", "armv7l": "arm"}

#: Variables that change what a compiler includes or links without being seen.
_UNWANTED = frozenset(
    {
        "CCC_OVERRIDE_OPTIONS",
        "COMPILER_PATH",
        "CPATH",
        "CPLUS_INCLUDE_PATH",
        "C_INCLUDE_PATH",
        "DEPENDENCIES_OUTPUT",
        "LD_RUN_PATH",
        "LIBRARY_PATH",
        "SUNPRO_DEPENDENCIES",
    }
)

#: What every kernel library needs of a compiler: libc's headers, a constructor, a
#: versionless reference to libc, and wide vectors where the machine has them.
_PROBE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#if defined(PROBE_AVX2) && !defined(__AVX2__)
#error "AVX2 was asked for and is not there"
#endif
#endif

typedef int32_t lanes __attribute__((vector_size(32)));
static void *next;

__attribute__((constructor)) static void find(void) {
    next = dlsym(RTLD_NEXT, "simdinstall_probe");
}

__attribute__((visibility("default"))) double
simdinstall_probe(const lanes *in, lanes *out, double x) {
    *out = *in + *in * 3;
    return next ? sin(x) : (double)strlen((const char *)in);
}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Toolchain:
    """A compiler that works, and how it is called.

    ``argv`` starts a compilation and ``linker`` a link. ``target_args`` go with every
    compilation, and ``tuning`` after all other flags. ``identity`` is what cache keys hold:
    another identity may give other bytes.
    """

    kind: Kind
    path: Path
    version: str
    argv: tuple[str, ...]
    target_args: tuple[str, ...]
    identity: str
    machine: str
    linker: tuple[str, ...]
    tuning: tuple[str, ...] = ()

    @property
    def cached(self) -> bool:
        """Whether ccache stands in front: it passes over what uses precompiled headers."""
        return Path(self.argv[0]).resolve().name == "ccache"

    def compile_argv(self, source: str, output: str, flags: Sequence[str]) -> list[str]:
        """The command that compiles one unit with :meth:`translate`-d flags."""
        flags = [*self.translate(flags), *self.tuning]
        return [*self.argv, *self.target_args, *flags, "-c", source, "-o", output]

    def link_argv(self, inputs: Sequence[str], output: str, options: Sequence[str] = ()) -> list[str]:
        """The command that links a shared object; ``options`` as the linker itself takes them."""
        if self.kind == "zig":
            emulation = ("-m", _EMULATIONS[self.machine])
            return [*self.linker, *emulation, "-shared", *options, *inputs, "-o", output]
        passed = [part for option in options for part in ("-Xlinker", option)]
        return [*self.linker, "-shared", "-nostdlib", *passed, *inputs, "-o", output]

    def translate(self, flags: Sequence[str]) -> list[str]:
        """Flags in gcc's spelling as this compiler, of this version, takes them."""
        translated: list[str] = []
        for flag in flags:
            if flag in _LEVEL_ISA:
                translated += isa_flags(_LEVEL_ISA[flag], self.kind, self.version)
            elif self.kind == "zig" and flag.startswith("-march="):
                translated.append("-mcpu=" + flag.removeprefix("-march=").replace("-", "_"))
            elif self.kind == "zig" and flag.startswith("-mtune="):
                continue
            else:
                translated.append(flag)
        return list(dict.fromkeys(translated))

    def environment(self, scratch: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
        """The variables to run it with: nothing hidden goes in, caches stay in ``scratch``."""
        kept = {name: value for name, value in environ.items() if name not in _UNWANTED}
        return kept | {
            "LC_ALL": "C",
            "TMPDIR": str(scratch),
            "SOURCE_DATE_EPOCH": kept.get("SOURCE_DATE_EPOCH", "0"),
            "ZIG_GLOBAL_CACHE_DIR": str(scratch / "zig"),
            "ZIG_LOCAL_CACHE_DIR": str(scratch / "zig"),
        }


def find(
    requested: str = "auto",
    *,
    zig: Callable[[], Path],
    run: Runner = run_command,
    machine: str = platform.machine(),
    libc: str = "glibc",
    path: str | None = None,
) -> Toolchain:
    """Find a compiler for ``machine``: ``auto``, ``gcc``, ``clang``, ``zig``, a name or a path.

    ``zig`` fetches zig and returns its executable; it is called only when wanted.
    ``path`` stands for ``$PATH``. Raises BuildError, with what was wrong with each
    candidate, when none works; what ``zig`` raises passes when zig was asked for.
    """
    rejected: list[str] = []
    for candidate in _candidates(requested, path):
        try:
            toolchain = _recognise(candidate, run=run, machine=machine, libc=libc)
            _prove(toolchain, run=run)
        except BuildError as error:
            rejected.append(f"{candidate}: {error.why or error.what}")
        else:
            return toolchain
    if requested not in ("auto", "zig"):
        raise BuildError(
            f"the compiler {requested} cannot be used",
            why="\n".join(rejected) or "it was not found on PATH",
            hint="name another with --compiler; `--compiler zig` fetches one from the package index",
        )
    if not rejected and requested == "auto":
        rejected.append("gcc, clang: not on PATH")
    try:
        toolchain = _recognise(zig(), run=run, machine=machine, libc=libc)
        _prove(toolchain, run=run)
    except SimdinstallError as error:
        if requested == "zig":
            raise
        rejected.append(f"zig from the package index: {': '.join(filter(None, (error.what, error.why)))}")
    else:
        return toolchain
    raise BuildError(
        "there is no working C compiler",
        why="\n".join(rejected),
        hint="install gcc with libc's headers (Debian: `apt install gcc libc6-dev`),"
        " or let simdinstall fetch zig (not possible with --offline)",
    )


def through_ccache(found: Toolchain, path: str | None = None) -> Toolchain:
    """The toolchain with ccache before each compilation, where it is on the path; zig has its own."""
    ccache = shutil.which("ccache", path=path) if found.kind != "zig" and not found.cached else None
    return replace(found, argv=(ccache, *found.argv)) if ccache else found


def _candidates(requested: str, path: str | None) -> Iterator[Path]:
    if requested == "zig":
        return
    if requested not in ("auto", "gcc", "clang"):
        found = shutil.which(str(Path(requested).expanduser()), path=path)
        if found:
            yield Path(found).absolute()
        elif Path(requested).expanduser().exists():
            # Named, there, and not executable: let it fail with that reason.
            yield Path(requested).expanduser().absolute()
        return
    for kind in ("gcc", "clang") if requested == "auto" else (requested,):
        plain = shutil.which(kind, path=path)
        if plain:
            yield Path(plain)
        yield from _versioned(kind, path)
    if requested == "auto":
        plain = shutil.which("cc", path=path)
        if plain:
            yield Path(plain)


def _versioned(kind: str, path: str | None) -> list[Path]:
    """``gcc-13``, ``gcc-12`` and so on, newest first."""
    found: dict[int, Path] = {}
    for folder in (path if path is not None else os.environ.get("PATH", "")).split(os.pathsep):
        for file in sorted(Path(folder or ".").glob(f"{kind}-[0-9]*")):
            match = re.fullmatch(rf"{kind}-(\d+)", file.name)
            if match and os.access(file, os.X_OK):
                found.setdefault(int(match[1]), file)
    return [found[version] for version in sorted(found, reverse=True)]


def _recognise(path: Path, *, run: Runner, machine: str, libc: str) -> Toolchain:
    """Which compiler it is, and which version. Raises BuildError for others."""
    first = ""
    if path.name.startswith("zig"):
        text = _ask(run, path, "version").strip()
        kind: Kind = "zig"
        version = re.match(r"\d+\.\d+(\.\d+)?", text)
    else:
        text = _ask(run, path, "--version")
        first = text.partition("\n")[0].strip()
        if "oneAPI" in text or "nvc" in first:
            raise BuildError("not a supported compiler", why=f"{first} rounds as it likes by default")
        if "clang version" in text:
            kind = "clang"
            version = re.search(r"clang version (\d+\.\d+(\.\d+)?)", text)
        elif "Free Software Foundation" in text and re.match(r"\S*cc(-[\d.]+)? \(", first):
            kind = "gcc"
            version = re.search(r"\) (\d+\.\d+(\.\d+)?)", first) or re.search(r"(\d+\.\d+(\.\d+)?)", first)
        else:
            raise BuildError("not a supported compiler", why=f"{first or 'it'} is not gcc, clang or zig")
    if version is None:
        raise BuildError("not a supported compiler", why=f"it does not say its version: {text[:200]}")
    if kind == "zig":
        if machine not in _EMULATIONS:
            raise BuildError("no target", why=f"zig cannot be used for {machine} here")
        abi = "musl" if libc == "musl" else "gnu.2.17"
        triple = f"{_ZIG_MACHINES.get(machine, machine)}-linux-{abi}"
        return Toolchain(
            kind=kind,
            path=path,
            version=version[0],
            argv=(str(path), "cc"),
            target_args=(
                *("-target", triple, "-fno-sanitize=all"),
                *(["-mno-outline-atomics"] if machine == "aarch64" else []),
            ),
            identity=f"zig {text} {triple}",
            machine=machine,
            linker=(str(path), "ld.lld"),
        )
    target = _ask(run, path, "-dumpmachine").strip()
    # Its headers and what it links by default are of one libc; zig has those of both.
    if target and ("musl" in target) != (libc == "musl"):
        raise BuildError("wrong libc", why=f"it compiles for {target}, and {libc} is wanted")
    linker = _ask(run, path, "-Wl,--version").partition("\n")[0]
    return Toolchain(
        kind=kind,
        path=path,
        version=version[1],
        argv=(str(path),),
        target_args=("-mno-outline-atomics",) if machine == "aarch64" else (),
        # The name it was called by says nothing: cc, gcc and gcc-12 may be one.
        identity=f"{kind} {first[first.find('(') :] if kind == 'gcc' else first}; {target}; {linker}",
        machine=machine,
        linker=(str(path),),
    )


def _ask(run: Runner, path: Path, question: str) -> str:
    try:
        return run([path, question], timeout=60, env={**os.environ, "LC_ALL": "C"}).stdout
    except CommandFailed as error:
        raise BuildError("it does not answer", why=f"`{path} {question}`: {error.why}") from error


def _prove(toolchain: Toolchain, *, run: Runner) -> None:
    """Compile and link the probe. Raises BuildError with what the compiler said."""
    with tempfile.TemporaryDirectory(prefix="simdinstall-") as folder:
        scratch = Path(folder)
        (scratch / "probe.c").write_text(_PROBE, encoding="utf-8")
        flags = ["-O2", "-fPIC", "-fvisibility=hidden", *_wide_flags(toolchain.machine)]
        commands = (
            toolchain.compile_argv("probe.c", "probe.o", flags),
            toolchain.link_argv(["probe.o"], "probe.so", ("-z", "noexecstack")),
        )
        for command in commands:
            try:
                run(command, cwd=scratch, env=toolchain.environment(scratch), timeout=300)
            except CommandFailed as error:
                raise BuildError("it does not work", why=_first_error(error.completed.output)) from error
        built = (scratch / "probe.so").read_bytes()[:20] if (scratch / "probe.so").exists() else b""
    if elf_machine(built) != toolchain.machine:
        found = elf_machine(built) or "nothing of use"
        raise BuildError("wrong machine", why=f"it makes {found}, and {toolchain.machine} is wanted")


def _wide_flags(machine: str) -> tuple[str, ...]:
    """AVX2 on x86-64; the other machines' compilers have their vectors from the start."""
    return ("-march=x86-64-v3", "-DPROBE_AVX2") if machine == "x86_64" else ()


#: ``e_machine`` (System V ABI) of little-endian ELF files.
_ELF_MACHINES: Mapping[int, str] = {
    3: "i686",
    21: "ppc64le",
    40: "armv7l",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}


def elf_machine(start: bytes) -> str:
    """The machine of an ELF file by its first 20 bytes; empty when it is none."""
    if len(start) < 20 or start[:4] != b"\x7fELF":
        return ""
    if start[5] == 2:
        return "s390x" if int.from_bytes(start[18:20], "big") == 22 else ""
    return _ELF_MACHINES.get(int.from_bytes(start[18:20], "little"), "")


def _first_error(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line or "cannot find" in line or "not found" in line]
    return "; ".join((errors or lines or ["it said nothing"])[:3])
