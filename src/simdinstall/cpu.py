"""What this CPU can do, and what a ``--march`` asks of it.

Three sources are asked: the CPU itself (CPUID and XGETBV), the kernel
(``/proc/cpuinfo``) and glibc (the levels that ``ld.so --help`` lists). Each can be
masked without the others knowing, by an emulator, a container or a tunable, so only
what all of them confirm is believed.

Features carry the names of ``/proc/cpuinfo``. The x86-64 levels are those of the
x86-64 psABI, section "Micro-Architecture Levels".
"""

from __future__ import annotations

import ctypes
import difflib
import json
import mmap
import platform
import re
import struct
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from archspec.cpu import TARGETS, Microarchitecture, UnsupportedMicroarchitecture
from archspec.cpu.detect import CpuidInfoCollector
from archspec.cpu.schema import CPUID_JSON, TARGETS_JSON

from simdinstall.errors import CpuError
from simdinstall.run import CommandFailed, Runner, run

SCHEMA = 1

_V1 = frozenset({"cmov", "cx8", "fpu", "fxsr", "mmx", "syscall", "sse", "sse2"})
_V2 = _V1 | {"cx16", "lahf_lm", "pni", "popcnt", "sse4_1", "sse4_2", "ssse3"}
_V3 = _V2 | {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"}
_V4 = _V3 | {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"}

#: The psABI's levels with all features that each needs. ``abm`` is the kernel's name
#: for LZCNT, ``pni`` for SSE3, and ``xsave`` stands for OSXSAVE, because the kernel
#: shows it only where it uses it.
LEVELS: Mapping[str, frozenset[str]] = MappingProxyType(
    {"x86-64": _V1, "x86-64-v2": _V2, "x86-64-v3": _V3, "x86-64-v4": _V4}
)

_FALLING = tuple(LEVELS)[::-1]

#: What a kernel compiled for each instruction set needs at run time.
ISA_FEATURES: Mapping[str, frozenset[str]] = MappingProxyType(
    {"sse4": _V2, "avx2": _V3, "avx512": _V4 | {"avx512_vnni"}}
)

_ISA_LEVELS = {"sse4": "x86-64-v2", "avx2": "x86-64-v3", "avx512": "x86-64-v4"}

# Bits of XCR0 (Intel SDM volume 1, section 13.3): the state that the system saves.
_XCR0_AVX = 0b110
_XCR0_AVX512 = 0b1110_0110
_XCR0_AMX = 0b11 << 17
# These work on YMM registers, though their names do not say so.
_YMM_FEATURES = frozenset({"f16c", "fma", "fma4", "vaes", "vpclmulqdq", "xop"})

# Names that CPUID can speak about; what else /proc/cpuinfo says is the kernel's own.
_CPUID_NAMES = frozenset(
    bit["name"] for leaf in (*CPUID_JSON["flags"], *CPUID_JSON["extension-flags"]) for bit in leaf["bits"]
)

# -march names of gcc that archspec does not list: what they build on, what they add
# to it, and the first gcc that knows them (gcc's manual, "x86 Options").
_GCC_NAMES: Mapping[str, tuple[str, frozenset[str], int]] = MappingProxyType(
    {
        "k8": ("x86_64", frozenset({"3dnow"}), 4),
        "opteron": ("x86_64", frozenset({"3dnow"}), 4),
        "athlon64": ("x86_64", frozenset({"3dnow"}), 4),
        "athlon-fx": ("x86_64", frozenset({"3dnow"}), 4),
        "k8-sse3": ("x86_64", frozenset({"3dnow", "pni"}), 5),
        "opteron-sse3": ("x86_64", frozenset({"3dnow", "pni"}), 5),
        "athlon64-sse3": ("x86_64", frozenset({"3dnow", "pni"}), 5),
        "barcelona": ("k10", frozenset(), 5),
        "btver1": ("x86_64", frozenset({"pni", "ssse3", "sse4a", "cx16", "abm", "popcnt", "lahf_lm"}), 5),
        "btver2": (
            "x86_64_v2",
            frozenset({"sse4a", "abm", "aes", "pclmulqdq", "avx", "bmi1", "f16c", "movbe", "xsave"}),
            5,
        ),
        "bonnell": ("core2", frozenset({"movbe", "lahf_lm"}), 5),
        "atom": ("core2", frozenset({"movbe", "lahf_lm"}), 5),
        "silvermont": ("nehalem", frozenset({"movbe", "pclmulqdq"}), 5),
        "slm": ("nehalem", frozenset({"movbe", "pclmulqdq"}), 5),
        "goldmont": ("nehalem", frozenset({"movbe", "aes", "pclmulqdq", "sha_ni", "xsave"}), 9),
        "tremont": ("nehalem", frozenset({"movbe", "aes", "pclmulqdq", "sha_ni", "xsave", "gfni"}), 9),
        "cooperlake": ("cascadelake", frozenset({"avx512_bf16"}), 10),
        "icelake-server": ("icelake", frozenset(), 8),
        "tigerlake": ("icelake", frozenset({"avx512_vp2intersect"}), 10),
        "rocketlake": ("icelake", frozenset(), 11),
        "raptorlake": ("alderlake", frozenset(), 13),
        "meteorlake": ("alderlake", frozenset(), 13),
        "gracemont": ("alderlake", frozenset(), 13),
        "emeraldrapids": ("sapphirerapids", frozenset(), 13),
        "graniterapids": ("sapphirerapids", frozenset(), 13),
    }
)

# In archspec's lists, but for systems and hand-written code only: no compiler emits
# them by itself, and virtual machines often hide them.
_NEVER_EMITTED = frozenset(
    {
        "amx_bf16",
        "amx_fp16",
        "amx_int8",
        "amx_tile",
        "cldemote",
        "clflushopt",
        "clwb",
        "clzero",
        "flush_l1d",
        "fsgsbase",
        "movdir64b",
        "movdiri",
        "pku",
        "rdpid",
        "rdrand",
        "rdseed",
        "serialize",
        "tsc_adjust",
        "waitpkg",
        "xsavec",
        "xsaveopt",
    }
)

# What gcc takes for granted beyond archspec's lists (read off gcc -march=X -dM -E);
# it holds for their descendants too.
_COMPILERS_ADD: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "nocona": frozenset({"cx16"}),
        "core2": frozenset({"lahf_lm"}),
        "k10": frozenset({"lahf_lm", "pni", "popcnt"}),
        "zen": frozenset({"sha_ni"}),
        "sapphirerapids": frozenset({"avx512_fp16", "avx_vnni"}),
    }
)

# The clang that each minor release of zig 0.x carries (zig's release notes).
_ZIG_CLANG = {9: 13, 10: 15, 11: 16, 12: 17, 13: 18, 14: 19, 15: 20, 16: 21, 17: 22}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cpu:
    """A CPU as far as all sources agree.

    ``level`` is a key of :data:`LEVELS` on x86_64, else the architecture.
    ``microarchitecture`` is archspec's name. ``notes`` tell where sources disagree.
    """

    architecture: str
    vendor: str
    name: str
    microarchitecture: str
    features: frozenset[str]
    level: str
    notes: tuple[str, ...] = ()

    def missing(self, level: str) -> frozenset[str]:
        """The features that ``level`` needs and this CPU lacks. CpuError if unknown."""
        if level not in LEVELS:
            raise _unknown(level, tuple(LEVELS))
        return LEVELS[level] - self.features

    def can_run(self, features: frozenset[str]) -> bool:
        """Whether every one of ``features`` is there."""
        return features <= self.features

    def isas(self) -> tuple[str, ...]:
        """The instruction sets of :data:`ISA_FEATURES` whose kernels can run here."""
        if self.architecture != "x86_64":
            return ()
        return tuple(isa for isa, needs in ISA_FEATURES.items() if self.can_run(needs))

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain JSON types, with the number of its schema."""
        return {
            "schema": SCHEMA,
            "architecture": self.architecture,
            "vendor": self.vendor,
            "name": self.name,
            "microarchitecture": self.microarchitecture,
            "level": self.level,
            "features": sorted(self.features),
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, data: object) -> Cpu:
        """The inverse of :meth:`to_json`.

        The level is worked out from the features again, so that a file edited by hand
        cannot contradict itself. CpuError for another schema or a wrong type.
        """
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            schema = data.get("schema") if isinstance(data, dict) else None
            raise CpuError(
                "this is not a CPU file that can be read",
                why=f"its schema is {schema!r}, not {SCHEMA}",
                hint="make one with: simdinstall cpu --json",
            )
        texts = {key: data.get(key) for key in ("architecture", "vendor", "name", "microarchitecture")}
        lists = {key: data.get(key, []) for key in ("features", "notes")}
        wrong = [k for k, v in texts.items() if not isinstance(v, str)] + [
            k
            for k, v in lists.items()
            if not isinstance(v, list) or not all(isinstance(item, str) for item in v)
        ]
        if wrong:
            raise CpuError(
                "this is not a CPU file that can be read",
                why=f"wrong or missing: {', '.join(wrong)}",
                hint="make one with: simdinstall cpu --json",
            )
        features = frozenset(lists["features"])
        return cls(
            architecture=str(texts["architecture"]),
            vendor=str(texts["vendor"]),
            name=str(texts["name"]),
            microarchitecture=str(texts["microarchitecture"]),
            features=features,
            level=level_of(features, str(texts["architecture"])),
            notes=tuple(lists["notes"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class March:
    """What is built: a resolved ``--march``.

    ``name`` is the local part of versions (``v3``, ``portable``, ``cascadelake``).
    ``features`` is what the library as a whole needs to be loaded. ``level`` is the
    ISA mark (``-z x86-64-v3``), None for the baseline. ``isas`` are the variants of
    kernels in it. ``cflags`` are for the code common to all, as a compiler new enough
    takes them; :func:`compiler_flags` gives them for a certain one. ``target`` is the
    name in archspec or of gcc that they come from.
    """

    name: str
    requested: str
    features: frozenset[str]
    level: str | None
    isas: tuple[str, ...]
    cflags: tuple[str, ...]
    reason: str
    target: str = "x86_64"
    architecture: str = "x86_64"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cpuid:
    """What the CPU says of itself. ``xcr0`` is None where XGETBV cannot be asked."""

    vendor: str
    brand: str
    features: frozenset[str]
    xcr0: int | None


def level_of(features: frozenset[str], architecture: str = "x86_64") -> str:
    """The highest level whose features are all among ``features``."""
    if architecture != "x86_64":
        return architecture
    return next((name for name in _FALLING if LEVELS[name] <= features), "x86-64")


def read_cpuid() -> Cpuid | None:
    """Ask the CPU, without the kernel between. None where that is not allowed or no x86-64."""
    try:
        collector = CpuidInfoCollector()
        features = frozenset(collector.features)
        brand = collector.brand_string() or ""
        xcr0 = _xgetbv() if "osxsave" in features else 0
    except (OSError, SystemError, ValueError, UnicodeError):
        # SELinux and the like may forbid memory that is writable and executable.
        return None
    return Cpuid(
        vendor=collector.vendor,
        brand=" ".join(brand.replace("\0", " ").split()),
        features=features,
        xcr0=xcr0,
    )


def _xgetbv() -> int:
    """XCR0. Only where CPUID shows ``osxsave``: elsewhere the instruction traps."""
    # xor ecx,ecx; xgetbv; shl rdx,32; or rax,rdx; ret  (System V calling convention)
    code = bytes.fromhex("31c9 0f01d0 48c1e220 4809d0 c3")
    page = mmap.mmap(
        -1,
        mmap.PAGESIZE,
        flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,
        prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC,
    )
    try:
        page.write(code)
        anchor = ctypes.c_char.from_buffer(page)
        function = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(anchor))
        result = int(function())
        del function, anchor  # or the page could not be closed
        return result
    finally:
        page.close()


def detect(
    *,
    run: Runner = run,
    proc_cpuinfo: Path = Path("/proc/cpuinfo"),
    override: str | None = None,
    want_name: bool = False,
    cpuid: Callable[[], Cpuid | None] = read_cpuid,
    machine: str | None = None,
    loader: Callable[[], Path | None] | None = None,
) -> Cpu:
    """The CPU of this machine, or the one that ``override`` describes.

    ``override`` is a level (``x86-64-v3``), any other name :func:`resolve_march`
    knows, or the path of a JSON file as :meth:`Cpu.to_json` makes it: for containers
    that mask what the CPU has. It is believed, with a note of what was seen here.
    ``want_name`` looks harder for a marketing name, which can take a second.

    Raises CpuError for an override that is neither a name nor a readable file.
    """
    architecture = machine or platform.machine()
    seen = _detect(
        architecture,
        proc_cpuinfo=proc_cpuinfo,
        cpuid=cpuid() if architecture == "x86_64" else None,
        glibc=_glibc_levels(run, (loader or program_interpreter)()) if architecture == "x86_64" else None,
        want_name=want_name,
    )
    return seen if override is None else _overridden(override, seen)


def _detect(
    architecture: str,
    *,
    proc_cpuinfo: Path,
    cpuid: Cpuid | None,
    glibc: tuple[str, ...] | None,
    want_name: bool,
) -> Cpu:
    info = _read_cpuinfo(proc_cpuinfo)
    shown = frozenset(info.get("flags", info.get("Features", "")).split())
    notes: list[str] = []
    if architecture != "x86_64":
        features, vendor = shown, _arm_vendor(info)
        notes.append(f"there are no kernels for {architecture} yet: Pillow keeps its own code")
    elif cpuid is None:
        features, vendor = shown, info.get("vendor_id", "generic")
        if shown:
            notes.append("the CPU could not be asked itself; /proc/cpuinfo alone is believed")
        else:
            features = _V1
            notes.append("neither the CPU nor /proc/cpuinfo could be asked; only the baseline is assumed")
    else:
        own = _enabled(cpuid, notes)
        vendor = cpuid.vendor
        if shown:
            features = frozenset(f for f in shown if f in own or f not in _CPUID_NAMES)
            _note_masks(own, shown, notes)
        else:
            features = own
            notes.append("/proc/cpuinfo could not be read; CPUID and XGETBV alone are believed")
    if glibc is not None:
        features = _capped(features, glibc, notes)
    name = (
        (cpuid.brand if cpuid else "") or info.get("model name", "") or (_asked_name() if want_name else "")
    )
    found = _microarchitecture(architecture, vendor, features, info.get("CPU part", ""))
    return Cpu(
        architecture=architecture,
        vendor=vendor,
        name=name or found,
        microarchitecture=found,
        features=features,
        level=level_of(features, architecture),
        notes=tuple(notes),
    )


def _read_cpuinfo(path: Path) -> dict[str, str]:
    """The first processor's block. Linux shows the same features for all."""
    info: dict[str, str] = {}
    try:
        # Read line by line: the whole file takes long on machines with many cores.
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                key, colon, value = line.partition(":")
                if not colon and info:
                    break
                info[key.strip()] = value.strip()
    except OSError:
        return {}
    return info


def _enabled(cpuid: Cpuid, notes: list[str]) -> frozenset[str]:
    """CPUID's features less those whose registers the system does not save."""
    lost: set[str] = set()
    if cpuid.xcr0 is None:
        return cpuid.features
    if cpuid.xcr0 & _XCR0_AVX != _XCR0_AVX:
        lost |= {f for f in cpuid.features if f.startswith("avx") or f in _YMM_FEATURES}
    if cpuid.xcr0 & _XCR0_AVX512 != _XCR0_AVX512:
        lost |= {f for f in cpuid.features if f.startswith("avx512")}
    if cpuid.xcr0 & _XCR0_AMX != _XCR0_AMX:
        lost |= {f for f in cpuid.features if f.startswith("amx")}
    if "osxsave" not in cpuid.features:
        lost |= {"xsave"}
    lost &= cpuid.features
    if wide := sorted(f for f in lost if f.startswith("avx")):
        notes.append(f"the system does not save the registers for: {', '.join(wide)}")
    return cpuid.features - lost


def _note_masks(own: frozenset[str], shown: frozenset[str], notes: list[str]) -> None:
    def of_interest(features: frozenset[str]) -> str:
        return ", ".join(sorted(f for f in features if f in _V4 or f.startswith("avx")))

    if names := of_interest((own - shown) & _CPUID_NAMES):
        notes.append(f"CPUID has, but /proc/cpuinfo does not show, and so not used: {names}")
    if names := of_interest((shown - own) & _CPUID_NAMES):
        notes.append(f"/proc/cpuinfo shows, but CPUID does not have, and so not used: {names}")


def _capped(features: frozenset[str], glibc: tuple[str, ...], notes: list[str]) -> frozenset[str]:
    """Without the features of levels that glibc would not load a library for."""
    level = level_of(features)
    allowed = next((name for name in _FALLING if name in glibc), "x86-64")
    if LEVELS[allowed] < LEVELS[level]:
        notes.append(f"glibc runs {allowed} only, though CPUID and /proc/cpuinfo allow {level}")
        above = LEVELS[level] - LEVELS[allowed]
        features = features - above
        if "avx" in above:
            features = frozenset(f for f in features if not f.startswith("avx") and f not in _YMM_FEATURES)
        elif "avx512f" in above:
            features = frozenset(f for f in features if not f.startswith("avx512"))
    elif LEVELS[allowed] > LEVELS[level]:
        notes.append(f"glibc would run {allowed}, but {level} is all that the other sources allow")
    return features


def program_interpreter(program: Path | None = None) -> Path | None:
    """The dynamic loader that ``program`` (default: this Python) asks for in PT_INTERP."""
    try:
        with Path(program or sys.executable).open("rb") as file:
            data = file.read(4096)
    except OSError:
        return None
    if len(data) < 64 or data[:6] != b"\x7fELF\x02\x01":
        return None
    # Elf64_Ehdr: e_phoff at 32, e_phentsize at 54, e_phnum at 56. The program headers
    # and the name follow at once in what linkers write.
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for start in range(offset, min(offset + size * count, len(data) - 55), size or 56):
        # Elf64_Phdr: p_type at 0 (3 is PT_INTERP), p_offset at 8, p_filesz at 32.
        if struct.unpack_from("<I", data, start)[0] == 3:
            (where,) = struct.unpack_from("<Q", data, start + 8)
            name = data[where : where + struct.unpack_from("<Q", data, start + 32)[0]]
            return Path(name.rstrip(b"\0").decode(errors="replace")) if name else None
    return None


def _glibc_levels(run: Runner, loader: Path | None) -> tuple[str, ...] | None:
    """The levels that glibc searches libraries for; None where it cannot say.

    ``ld.so --help`` lists them since glibc 2.33; musl has none.
    """
    if loader is None or not loader.exists():
        return None
    try:
        text = run([loader, "--help"], timeout=10, check=False).stdout
    except CommandFailed:
        return None
    if "glibc-hwcaps" not in text:
        return None
    return tuple(re.findall(r"^\s+(x86-64-v\d+) \(supported", text, re.MULTILINE))


def _arm_vendor(info: Mapping[str, str]) -> str:
    code = info.get("CPU implementer")
    if code is None:
        return info.get("vendor_id", "generic")
    return str(TARGETS_JSON["conversions"]["arm_vendors"].get(code, code))


def _asked_name() -> str:
    # py-cpuinfo tries many tools and starts processes: good for a name, too slow and
    # too easily fooled for a decision. Imported here because most runs do not need it.
    import cpuinfo

    try:
        return str(cpuinfo.get_cpu_info().get("brand_raw", ""))
    except Exception:  # whatever it stumbles over: a name is not worth a failure
        return ""


def _features(target: Microarchitecture) -> frozenset[str]:
    """What code for ``target`` needs, under the kernel's names, its level included."""
    return (_all_features(target) | LEVELS[_spelled(target.generic.name)]) - _NEVER_EMITTED


def _all_features(target: Microarchitecture) -> frozenset[str]:
    features = frozenset("pni" if f == "sse3" else f for f in target.features)
    return features.union(*(_COMPILERS_ADD.get(t.name, ()) for t in (target, *target.ancestors)))


def _microarchitecture(architecture: str, vendor: str, features: frozenset[str], part: str) -> str:
    """The newest microarchitecture whose features are all there, by archspec's rules.

    archspec's own ``host()`` reads this machine's files; here any features can be asked.
    """
    if architecture not in ("x86_64", "aarch64"):
        return architecture

    def rank(target: Microarchitecture) -> tuple[int, int]:
        return len(target.ancestors), len(target.features)

    fitting = [
        target
        for target in TARGETS.values()
        if target.family.name == architecture
        and target.vendor in (vendor, "generic")
        and (architecture == "x86_64" or target.vendor != "generic" or target.name == architecture)
        and _all_features(target) <= features
    ]
    if not fitting:
        return architecture
    generic = max((t for t in fitting if t.vendor == "generic"), key=rank)
    named = [t for t in fitting if part and t.cpu_part == part] or fitting
    best = [t for t in named if t > generic]
    return str(max(best, key=rank).name) if best else str(generic.name)


def _overridden(override: str, seen: Cpu) -> Cpu:
    name = _spelled(override)
    if name in LEVELS or _find(name) is not None:
        target, features = ("", LEVELS[name]) if name in LEVELS else _known(name)
        cpu = Cpu(
            architecture="x86_64",
            vendor="generic",
            name=f"{name} (as told)",
            microarchitecture=target or name.replace("-", "_"),
            features=features,
            level=level_of(features),
        )
    else:
        cpu = _from_file(override)
    notes = (*cpu.notes, f"this CPU was told by {override}, not detected")
    if cpu.architecture != seen.architecture:
        notes += (f"detected here: {seen.architecture}",)
    elif extra := sorted(f for f in cpu.features - seen.features if f in _V4):
        notes += (f"not seen on this machine: {', '.join(extra)}",)
    return replace(cpu, notes=notes)


def _from_file(override: str) -> Cpu:
    path = Path(override)
    try:
        return Cpu.from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        near = difflib.get_close_matches(_spelled(override), _names(), n=3)
        raise CpuError(
            f"{override!r} is neither a CPU level nor a CPU file",
            why=error.strerror or str(error),
            hint=f"did you mean {' or '.join(near)}?" if near else f"levels: {', '.join(LEVELS)}",
        ) from error
    except (UnicodeError, json.JSONDecodeError) as error:
        raise CpuError(
            f"{override} is not a CPU file", why=str(error), hint="make one with: simdinstall cpu --json"
        ) from error


# --- --march ---


def _spelled(name: str) -> str:
    """``v3``, ``x86_64_v3``, ``-march=X86-64-v3`` → ``x86-64-v3``; other names lowered."""
    plain = name.strip().lower().removeprefix("-march=").removeprefix("march=")
    if match := re.fullmatch(r"(?:x86[-_]64[-_]?)?v([1-4])", plain):
        return "x86-64" if match[1] == "1" else f"x86-64-v{match[1]}"
    return "x86-64" if plain in ("x86-64", "x86_64", "amd64") else plain


@cache
def _compiler_names() -> Mapping[str, str]:
    """Names that archspec gives to compilers (``znver4``) → its own (``zen4``)."""
    names: dict[str, str] = {}
    for target in TARGETS.values():
        if target.family.name != "x86_64":
            continue
        for entry in (*target.compilers.get("gcc", ()), *target.compilers.get("clang", ())):
            # An entry with more than -march and -mtune only approximates the target.
            plain = str(entry["flags"]).split() == ["-march={name}", "-mtune={name}"]
            if plain and "name" in entry:
                names.setdefault(entry["name"], target.name)
    return names


def _find(name: str) -> str | None:
    """The archspec or gcc name that ``name`` means, None if nobody knows it."""
    under = name.replace("-", "_")
    if under in TARGETS and TARGETS[under].family.name == "x86_64":
        return under
    dashed = name.replace("_", "-")
    if dashed in _GCC_NAMES:
        return dashed
    return _compiler_names().get(dashed)


def _known(name: str) -> tuple[str, frozenset[str]]:
    found = _find(name)
    if found is None:
        raise _unknown(name, _names())
    if found in _GCC_NAMES:
        base, extra, _ = _GCC_NAMES[found]
        return found, _features(TARGETS[base]) | extra
    return found, _features(TARGETS[found])


@cache
def _names() -> tuple[str, ...]:
    archspec = (t.name for t in TARGETS.values() if t.family.name == "x86_64")
    return ("auto", "portable", "native", *LEVELS, *archspec, *_compiler_names(), *_GCC_NAMES)


def _unknown(name: str, names: tuple[str, ...]) -> CpuError:
    near = list(dict.fromkeys(difflib.get_close_matches(name, names, n=3, cutoff=0.55)))
    if name in _ISA_LEVELS:  # an instruction set, where the level that has it is meant
        near = [_ISA_LEVELS[name]]
    return CpuError(
        f"unknown CPU level or -march name {name!r}",
        why="neither the x86-64 levels nor archspec nor gcc know it",
        hint=f"did you mean {' or '.join(near)}?"
        if near
        else f"use auto, portable, native, {', '.join(LEVELS)} or a -march name such as haswell",
    )


def resolve_march(requested: str, cpu: Cpu) -> March:
    """What ``--march requested`` means on ``cpu``. CpuError for an unknown name.

    ``auto``: the level of ``cpu``. ``portable``: every kernel over the baseline.
    ``native``: the microarchitecture. Else a level or a microarchitecture, which may
    be above ``cpu``: :func:`require_runnable` decides whether that matters.
    """
    name = _spelled(requested)
    if cpu.architecture != "x86_64":
        return _without_kernels(requested, name, cpu)
    if name == "auto":
        march = _level_march(cpu.level, requested)
        if cpu.level == "x86-64":
            lack = ", ".join(sorted(cpu.missing("x86-64-v2")))
            return replace(
                march, isas=(), reason=f"this CPU lacks {lack}: no kernel can run, Pillow keeps its own code"
            )
        return replace(march, reason=f"{cpu.level} is the highest level that this CPU has in full")
    if name == "portable":
        march = _level_march("x86-64", requested)
        return replace(
            march, name="portable", reason="one library for every x86-64 machine; it chooses at run time"
        )
    if name in LEVELS:
        return replace(_level_march(name, requested), reason=f"{name} was asked for")
    if name == "native":
        if cpu.microarchitecture.startswith("x86_64"):
            march = _level_march(_spelled(cpu.microarchitecture), requested)
            return replace(
                march, reason="no microarchitecture fits what is visible of this CPU; its level does"
            )
        return _named_march(cpu.microarchitecture, requested, f"this CPU is a {cpu.microarchitecture}")
    return _named_march(name, requested, f"{name} was asked for")


def _isas_upto(level: str) -> tuple[str, ...]:
    if level == "x86-64":
        return tuple(_ISA_LEVELS)
    return tuple(isa for isa, needs in _ISA_LEVELS.items() if LEVELS[needs] <= LEVELS[level])


def _level_march(level: str, requested: str) -> March:
    return _with_flags(
        March(
            name="v1" if level == "x86-64" else level.removeprefix("x86-64-"),
            requested=requested,
            features=LEVELS[level],
            level=None if level == "x86-64" else level,
            isas=_isas_upto(level),
            cflags=(),
            reason="",
            target=level.replace("-", "_"),
        )
    )


def _named_march(name: str, requested: str, reason: str) -> March:
    target, features = _known(name)
    level = level_of(features)
    return _with_flags(
        March(
            # A local version label knows only letters, digits and dots (PEP 440).
            name=re.sub(r"[-_]", ".", target),
            requested=requested,
            features=features,
            level=None if level == "x86-64" else level,
            isas=_isas_upto(level),
            cflags=(),
            reason=reason,
            target=target,
        )
    )


def _with_flags(march: March) -> March:
    return replace(march, cflags=compiler_flags(march, "gcc", "99"))


def _without_kernels(requested: str, name: str, cpu: Cpu) -> March:
    if name not in ("auto", "portable", "native"):
        known = name in LEVELS or _find(name) is not None
        raise CpuError(
            f"{requested} is not for this CPU" if known else f"unknown -march name {requested!r}",
            why=f"it is an {cpu.architecture} CPU, for which there are no kernels yet",
            hint="use --march auto",
        )
    return March(
        name=cpu.architecture,
        requested=requested,
        features=frozenset(),
        level=None,
        isas=(),
        cflags=(),
        reason=f"there are no kernels for {cpu.architecture} yet: Pillow keeps its own code",
        target=cpu.architecture,
        architecture=cpu.architecture,
    )


def require_runnable(march: March, cpu: Cpu) -> None:
    """CpuError, naming what is missing, if ``cpu`` cannot load what ``march`` makes."""
    if march.architecture != cpu.architecture:
        raise CpuError(
            f"{march.requested} cannot run on this CPU",
            why=f"it is for {march.architecture}; this CPU is {cpu.architecture}",
            hint="use --march auto",
        )
    if lack := sorted(march.features - cpu.features):
        raise CpuError(
            f"{march.requested} cannot run on this CPU",
            why=f"{cpu.name} lacks {', '.join(lack)} (its level is {cpu.level})",
            hint="use --march auto; to build for another machine: simdinstall wheel --march "
            f"{march.requested}",
        )


# --- flags for compilers ---


def compiler_flags(march: March, compiler_kind: str, compiler_version: str) -> tuple[str, ...]:
    """The flags by which ``gcc``, ``clang`` or ``zig`` of a version compiles for ``march``.

    A compiler too old for a microarchitecture gets the flags of the nearest ancestor
    that it knows. Flags are explicit, never ``-march=native``, whose meaning depends on
    the machine.
    """
    if march.architecture != "x86_64":
        return ()
    kind, version = _compiler(compiler_kind, compiler_version)
    if march.target in _GCC_NAMES:
        base, _, since = _GCC_NAMES[march.target]
        if compiler_kind == "gcc" and int(version.split(".")[0]) >= since:
            return (f"-march={march.target}", f"-mtune={march.target}")
        target = TARGETS[base]
    else:
        target = TARGETS[march.target]
    ancestors = sorted(target.ancestors, key=lambda t: len(t.features), reverse=True)
    for candidate in (target, *ancestors):
        flags = _archspec_flags(candidate, kind, version)
        if flags is None:
            continue
        if compiler_kind != "zig":
            return flags
        if all(flag.startswith(("-march=", "-mtune=")) for flag in flags):
            # zig spells LLVM's names with underscores, and takes them by -mcpu alone.
            return ("-mcpu=" + flags[0].removeprefix("-march=").replace("-", "_"),)
    return ("-mcpu=x86_64",) if compiler_kind == "zig" else ("-march=x86-64",)


def isa_flags(isa: str, compiler_kind: str, compiler_version: str) -> tuple[str, ...]:
    """The flags for a kernel variant of :data:`ISA_FEATURES`: its level, plus VNNI for avx512."""
    march = _level_march(_ISA_LEVELS[isa], isa)
    flags = compiler_flags(march, compiler_kind, compiler_version)
    if isa != "avx512":
        return flags
    if compiler_kind == "zig":
        return (f"{flags[0]}+avx512vnni",)
    return (*flags, "-mavx512vnni")


def _compiler(kind: str, version: str) -> tuple[str, str]:
    # Two components: archspec's ":12.2" would exclude 12.2.0, and its "16.0:" 16.
    digits = re.match(r"(\d+)(?:\.(\d+))?", version)
    number = f"{digits[1]}.{digits[2] or 0}" if digits else "0.0"
    if kind == "zig":
        parts = [*map(int, number.split(".")), 0]
        minor = parts[1] if parts[0] == 0 else max(_ZIG_CLANG)
        known = [z for z in _ZIG_CLANG if z <= minor]
        return "clang", f"{_ZIG_CLANG[max(known)] if known else 13}.0"
    return kind, number


def _archspec_flags(target: Microarchitecture, kind: str, version: str) -> tuple[str, ...] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            flags = target.optimization_flags(kind, version)
        except UnsupportedMicroarchitecture:
            return None
    return tuple(flags.split()) or None
