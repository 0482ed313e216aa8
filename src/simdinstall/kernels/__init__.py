"""The catalogue of kernels, and how their C files are compiled.

The C sources lie beside this file, together with ``manifest.toml``, which says what
each of them is for. Everything that compiles kernels (a build, a test) asks
:func:`units`, so that all compile the same.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

#: Instruction sets in rising order. Each is a level of the dispatcher (1, 2, 3).
ISAS: tuple[str, ...] = ("sse4", "avx2", "avx512")

#: Compiler flags of each instruction set: the microarchitecture levels of the x86-64
#: psABI. AVX-512 kernels may use VNNI; the dispatcher asks the CPU for it.
ISA_FLAGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "sse4": ("-march=x86-64-v2",),
        "avx2": ("-march=x86-64-v3",),
        "avx512": ("-march=x86-64-v4", "-mavx512vnni", "-mprefer-vector-width=512"),
    }
)

#: Flags of every unit. Without ``-ffp-contract=off`` the compiler fuses multiply and
#: add, which rounds once instead of twice and gives other pixels than stock Pillow.
BASE_FLAGS: tuple[str, ...] = (
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    "-fwrapv",
    "-ffp-contract=off",
    "-DNDEBUG",
    "-Wall",
    "-Wextra",
)

#: Sources that every library has, whatever kernels it holds.
COMMON_SOURCES: tuple[str, ...] = ("dispatch.c",)

Fidelity = Literal["exact", "bounded"]
Origin = Literal["pillow-simd", "simdinstall"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernel:
    """One kernel. ``largest_difference`` is in steps of an 8-bit band, 0 when exact."""

    name: str
    functions: tuple[str, ...]
    origin: Origin
    isas: tuple[str, ...]
    fidelity: Fidelity
    largest_difference: int
    sources: tuple[str, ...]
    needs: tuple[str, ...]
    cflags: tuple[str, ...]
    pillow: str
    pillow_simd: str
    supersedes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Function:
    """A public function of Pillow that has a front.

    ``uses`` names what the front and its kernels rely on: fields of the image struct,
    fields of others as ``Struct.field``, and callbacks as ``Name()``. ``imports`` are functions
    of other libraries that they call, and that the extension has to call as well.
    """

    name: str
    front: str
    prototypes: Mapping[str, int]
    uses: tuple[str, ...]
    imports: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields among :attr:`uses`; those of the image struct have no struct before a dot."""
        return tuple(use for use in self.uses if not use.endswith("()"))

    @property
    def callbacks(self) -> tuple[str, ...]:
        """The public functions among :attr:`uses`, without brackets."""
        return tuple(use.removesuffix("()") for use in self.uses if use.endswith("()"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalogue:
    """All functions and kernels, in the order of the manifest.

    ``callbacks`` gives the prototype of each public function that kernels call.
    """

    functions: tuple[Function, ...]
    kernels: tuple[Kernel, ...]
    callbacks: Mapping[str, str]

    def function(self, name: str) -> Function:
        """The function of that name; KeyError if there is none."""
        for function in self.functions:
            if function.name == name:
                return function
        raise KeyError(name)

    def kernel(self, name: str) -> Kernel:
        """The kernel of that name; KeyError if there is none."""
        for kernel in self.kernels:
            if kernel.name == name:
                return kernel
        raise KeyError(name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """One compilation: ``compiler <flags> <cflags> -D<defines> -c <source>``.

    ``source`` is relative to the folder of the kernels. ``isa`` is None for the code
    that every CPU runs; the caller adds the flags of the wanted baseline to it.
    ``defines`` are without ``-D``. ``name`` is unique within a library and fit for
    an object file.
    """

    name: str
    source: str
    isa: str | None
    cflags: tuple[str, ...]
    defines: tuple[str, ...]


def sources_dir() -> Path:
    """The folder with the C sources and the manifest."""
    return Path(__file__).parent


def load(manifest: Path | None = None) -> Catalogue:
    """Read the manifest (the project's own unless another is given)."""
    path = manifest or sources_dir() / "manifest.toml"
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    return Catalogue(
        functions=tuple(_function(name, entry) for name, entry in data["functions"].items()),
        kernels=tuple(_kernel(name, entry) for name, entry in data["kernels"].items()),
        callbacks=MappingProxyType(dict(data["callbacks"])),
    )


def select(
    catalogue: Catalogue,
    *,
    fidelity: Fidelity,
    isas: Iterable[str],
    origins: Iterable[Origin] = ("pillow-simd", "simdinstall"),
) -> tuple[Kernel, ...]:
    """The kernels that a library of that fidelity and those instruction sets holds.

    A kernel that another of them supersedes would never run and is not among them.
    """
    wanted, from_ = frozenset(isas), frozenset(origins)
    possible = tuple(
        kernel
        for kernel in catalogue.kernels
        if kernel.origin in from_
        and wanted.intersection(kernel.isas)
        and (fidelity == "bounded" or kernel.fidelity == "exact")
    )
    superseded = frozenset(name for kernel in possible for name in kernel.supersedes)
    return tuple(kernel for kernel in possible if kernel.name not in superseded)


def units(
    catalogue: Catalogue,
    kernels: Iterable[Kernel],
    isas: Iterable[str],
    fidelity: Fidelity,
) -> tuple[Unit, ...]:
    """What has to be compiled for a library with these kernels and instruction sets.

    Besides the units' own flags and defines, every unit needs :data:`BASE_FLAGS`, the
    folder of the kernels and the folder of the generated ``pillow_abi.h`` on its include
    path, and, for Pillow-SIMD's kernels, the folder with the patched files.
    """
    kernels = tuple(kernels)
    wanted = tuple(isa for isa in ISAS if isa in frozenset(isas))
    shared = tuple(f"SIMD_HAVE_{isa.upper()}=1" for isa in wanted)
    shared += tuple(f"SIMD_KERNEL_{kernel.name}=1" for kernel in kernels)
    if fidelity == "exact":
        shared += ("SIMD_FIDELITY_EXACT=1",)

    served = {function for kernel in kernels for function in kernel.functions}
    fronts = [function.front for function in catalogue.functions if function.name in served]
    found = [
        Unit(name=_object_name(source), source=source, isa=None, cflags=(), defines=shared)
        for source in dict.fromkeys((*COMMON_SOURCES, *fronts))
    ]
    for isa in wanted:
        # Two kernels may share a source: its parts that are exact and those that are not.
        sources = {source: kernel for kernel in kernels if isa in kernel.isas for source in kernel.sources}
        found += [
            Unit(
                name=f"{_object_name(source)}-{isa}",
                source=source,
                isa=isa,
                cflags=(*ISA_FLAGS[isa], *kernel.cflags),
                defines=(*shared, f"SIMD_ISA={isa}", f"SIMD_LEVEL={ISAS.index(isa) + 1}"),
            )
            for source, kernel in sources.items()
        ]
    return tuple(found)


def _object_name(source: str) -> str:
    return source.removesuffix(".c").replace("/", "-")


def _function(name: str, entry: Mapping[str, object]) -> Function:
    prototypes = entry["prototypes"]
    assert isinstance(prototypes, dict)
    return Function(
        name=name,
        front=str(entry["front"]),
        prototypes=MappingProxyType({str(text): int(number) for text, number in prototypes.items()}),
        uses=_strings(entry["uses"]),
        imports=_strings(entry.get("imports", ())),
    )


def _kernel(name: str, entry: Mapping[str, object]) -> Kernel:
    origin, fidelity = entry["origin"], entry["fidelity"]
    assert origin == "pillow-simd" or origin == "simdinstall"
    assert fidelity == "exact" or fidelity == "bounded"
    difference = entry.get("largest_difference", 0)
    assert isinstance(difference, int)
    return Kernel(
        name=name,
        functions=_strings(entry["functions"]),
        origin=origin,
        isas=_strings(entry["isas"]),
        fidelity=fidelity,
        largest_difference=difference,
        sources=_strings(entry["sources"]),
        needs=_strings(entry.get("needs", ())),
        cflags=_strings(entry.get("cflags", ())),
        pillow=str(entry.get("pillow", "")),
        pillow_simd=str(entry.get("pillow_simd", "")),
        supersedes=_strings(entry.get("supersedes", ())),
    )


def _strings(value: object) -> tuple[str, ...]:
    assert isinstance(value, list | tuple)
    return tuple(str(item) for item in value)
