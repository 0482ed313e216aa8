"""Kernel libraries that came compiled with simdinstall, so that no compiler is needed.

They lie in this folder, one for each struct layout of Pillow's image, with every
instruction set in it. A library is found by a digest of all that its bytes depend on
except the compiler: the header made from the official extension's debug information,
the C sources, the kernels and their flags. So it serves every release and Python whose
extension gives the same header, and is left aside as soon as a source changes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet

from simdinstall import abi as abi_module
from simdinstall import kernels as kernel_sources
from simdinstall import library
from simdinstall.abi import Abi
from simdinstall.compiling import LINK_OPTIONS
from simdinstall.cpu import LEVELS, March
from simdinstall.errors import BuildError
from simdinstall.kernels import BASE_FLAGS, ISA_FLAGS, ISAS, Catalogue, Fidelity, Kernel
from simdinstall.library import EXTRA_FLAGS, Library
from simdinstall.linked import limited

#: Counts up whenever the files mean something else.
FORMAT = 1

#: The march that prebuilt libraries are compiled for: every kernel over the baseline.
MARCH = March(
    name="portable",
    requested="portable",
    features=LEVELS["x86-64"],
    level=None,
    isas=ISAS,
    cflags=(),
    reason="",
)

#: The only comparisons that C code makes of a release: has it reached a number or not.
_COMPARED = re.compile(r"PILLOW_RELEASE_NUMBER *(?:>=|<) *(\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Prebuilt:
    """A library of this folder, made ready for one march.

    ``key`` is what it was found by, ``sha256`` that of the file before it was limited to
    the march. ``kind``, ``version`` and ``identity`` are those of the compiler.
    """

    key: str
    sha256: str
    layout: str
    kind: str
    version: str
    identity: str
    library: Library


def folder() -> Path:
    """Where the libraries are, if this simdinstall came with any."""
    return Path(__file__).parent


def own_kernels(
    catalogue: Catalogue, abi: Abi, release: str, isas: Iterable[str] = ISAS
) -> tuple[Kernel, ...]:
    """The project's own kernels that fit a release; a prebuilt library holds these."""
    selected = kernel_sources.select(catalogue, fidelity="exact", isas=isas, origins=("simdinstall",))
    proven = [k for k in selected if SpecifierSet(k.pillow).contains(release, prereleases=True)]
    return abi_module.fit(abi, proven, catalogue)[0]


def key(catalogue: Catalogue, abi: Abi, release: str, sources: Path | None = None) -> str:
    """The hash of all that a library's bytes depend on except the compiler."""
    sources = sources or kernel_sources.sources_dir()
    kernels = own_kernels(catalogue, abi, release)
    served = [f for f in catalogue.functions if any(f.name in k.functions for k in kernels)]
    texts = {path.name: path.read_bytes() for path in sorted(sources.glob("*.[ch]"))}
    thresholds = {int(n) for text in texts.values() for n in _COMPARED.findall(text.decode("utf-8"))}
    number = abi_module.release_number(release)
    return digest(
        {
            "format": FORMAT,
            # Of the release, the sources see only which of these numbers it has reached.
            "header": abi_module.header(abi, served, release="0"),
            "reached": sorted(n for n in thresholds if number >= n),
            "libc": [abi.machine, abi.libc, [n for n in abi.needed if n.startswith("libc.")]],
            "sources": {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()},
            "units": [
                [unit.name, unit.source, unit.isa, unit.cflags, unit.defines]
                for unit in kernel_sources.units(catalogue, kernels, ISAS, "exact")
            ],
            "flags": [BASE_FLAGS, EXTRA_FLAGS, LINK_OPTIONS, {i: ISA_FLAGS[i] for i in ISAS}],
        }
    )


def digest(value: Any) -> str:
    """The sha256 of a value made of JSON types."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def require_wanted(
    catalogue: Catalogue, *, march: March, fidelity: Fidelity, libc: str, compiler: str = "auto"
) -> None:
    """BuildError, with the reason, where what was asked for has to be compiled."""
    why = ""
    if compiler != "auto":
        why = f"--compiler {compiler} was given"
    elif march.architecture != MARCH.architecture or libc != "glibc":
        why = f"there are none for {march.architecture} with {libc}"
    elif not march.isas:
        why = "no kernel can run: there is nothing to compile but the code that says so"
    elif march.target.replace("_", "-") not in LEVELS:
        why = f"{march.target} was asked for, and the compiler tunes for it"
    elif fidelity == "bounded":
        exact = {k.name for k in kernel_sources.select(catalogue, fidelity="exact", isas=march.isas)}
        wanted = kernel_sources.select(catalogue, fidelity=fidelity, isas=march.isas)
        if more := [kernel.name for kernel in wanted if kernel.name not in exact]:
            why = f"bounded adds {', '.join(more)} from Pillow-SIMD's sources"
    if why:
        raise BuildError("no prebuilt kernels can be used", why=why)


def take(
    catalogue: Catalogue,
    abi: Abi,
    *,
    release: str,
    march: March,
    where: Path | None = None,
    sources: Path | None = None,
) -> Prebuilt:
    """The library for an official extension, limited to a march and checked against both.

    ``where`` the libraries are and ``sources`` of kernels are the package's own unless given.

    Raises BuildError with the reason when there is none, or it is not what it was.
    """
    where = where or folder()
    described = sorted(where.glob("*.json"))
    if not described:
        raise _none("this simdinstall came without any: its wheel was built where no compiler was")
    own = key(catalogue, abi, release, sources)
    if not (where / f"{own}.json").exists():
        raise _none(f"none of the {len(described)} here is for Pillow {release}'s structs and these sources")
    try:
        told = json.loads((where / f"{own}.json").read_text(encoding="utf-8"))
        content = (where / f"{own}.so").read_bytes()
        loader = (where / f"{own}.loader.so").read_bytes()
        found = _from(told, own, content, loader, march)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _none(f"the one for Pillow {release} is damaged ({error})") from error
    kernels = own_kernels(catalogue, abi, release)
    library.require_fit(found.library.library, kernels, catalogue=catalogue, abi=abi, march=march)
    return found


def _from(told: Mapping[str, Any], own: str, content: bytes, loader: bytes, march: March) -> Prebuilt:
    sums = [hashlib.sha256(file).hexdigest() for file in (content, loader)]
    if told["format"] != FORMAT or told["key"] != own or told["sha256"] != sums:
        raise ValueError("its hash is another")
    compiler = told["compiler"]
    return Prebuilt(
        key=own,
        sha256=sums[0],
        layout=str(told["layout"]),
        kind=str(compiler["kind"]),
        version=str(compiler["version"]),
        identity=str(compiler["identity"]),
        library=Library(
            library=limited(content, level=march.level, isas=march.isas),
            loader=loader,
            flags={
                unit: tuple(flags)
                for unit, flags in told["flags"].items()
                # Of the other instruction sets, nothing will run.
                if unit.rpartition("-")[2] not in set(ISAS) - set(march.isas)
            },
            needed=tuple(told["needed"]),
        ),
    )


def _none(why: str) -> BuildError:
    return BuildError("there are no prebuilt kernels", why=why, hint="compile them: --kernels source")


def marked() -> March:
    """:data:`MARCH` with a mark, as libraries are kept: the place for any other mark.

    Not the baseline's: GNU ld 2.40 breaks off over that one.
    """
    return replace(MARCH, level="x86-64-v2")
