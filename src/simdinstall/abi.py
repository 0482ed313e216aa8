"""The binary interface of an official extension, read from the extension itself.

The official wheels keep their DWARF. It says where each field of the image struct
lies, which values the modes have and how the public functions are declared; the
dynamic section says which of those functions can be fronted at all. The kernels are
compiled against a header made from what was read, so a field that moved is followed,
and a function that changed is left to stock code and named.

Formats: DWARF 5 (dwarfstd.org), sections 5 and 7.5; System V ABI, chapter 5, for the
dynamic section and symbol versions.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from simdinstall.dwarf import dimensions, name_of, size_of, target_of
from simdinstall.errors import BuildError
from simdinstall.kernels import Catalogue, Function, Kernel

# pyelftools is imported where it is used: it is a quarter of what a command that builds
# nothing would otherwise wait for.
if TYPE_CHECKING:
    from elftools.dwarf.compileunit import CompileUnit
    from elftools.dwarf.die import DIE
    from elftools.elf.sections import SymbolTableSection

#: Counts up whenever :meth:`Abi.to_json` means something else.
FORMAT = 4

#: The structs and enums that kernels see; each may hold those after it.
IMAGE = "ImagingMemoryInstance"
STRUCTS = (
    *(IMAGE, "ImagingPaletteInstance", "ImagingMemoryArena", "ImagingMemoryBlock"),
    *("ImagingCodecStateInstance", "ZIPSTATE", "z_stream_s", "JPEGSTATE", "jpeg_decompress_struct"),
)
#: Of these, other libraries' for the greater part, no more fields than are asked for.
PARTS = MappingProxyType(
    {
        "JPEGSTATE": frozenset({"cinfo"}),
        "jpeg_decompress_struct": frozenset({"output_width", "output_components"}),
    }
)
#: Those of them whose typedef of the same name is a pointer.
HANDLES = frozenset({"ImagingMemoryArena"})
ENUMS = ("ModeID",)

#: ``e_machine`` of the ELF header, as ``platform.machine()`` names it.
MACHINES = MappingProxyType(
    {
        "EM_X86_64": "x86_64",
        "EM_386": "i686",
        "EM_AARCH64": "aarch64",
        "EM_ARM": "armv7l",
        "EM_PPC64": "ppc64le",
        "EM_S390": "s390x",
        "EM_RISCV": "riscv64",
        "EM_LOONGARCH": "loongarch64",
    }
)

#: Relocations of a slot that a symbol's address is written to when the library is
#: loaded (JUMP_SLOT, GLOB_DAT), by machine; from the psABI of each.
SLOTS = MappingProxyType(
    {
        "EM_X86_64": frozenset({6, 7}),
        "EM_386": frozenset({6, 7}),
        "EM_AARCH64": frozenset({1025, 1026}),
        "EM_ARM": frozenset({21, 22}),
        "EM_PPC64": frozenset({20, 21}),
        "EM_S390": frozenset({10, 11}),
        "EM_RISCV": frozenset({2, 5}),
        "EM_LOONGARCH": frozenset({2, 5}),
    }
)

#: Base types as C spells them; the keys are what compilers write into DWARF.
BASE_TYPES = MappingProxyType(
    {
        "short int": "short",
        "long int": "long",
        "long long int": "long long",
        "short unsigned int": "unsigned short",
        "long unsigned int": "unsigned long",
        "long long unsigned int": "unsigned long long",
        "_Bool": "_Bool",
    }
)


class Field(NamedTuple):
    """A field of a struct; offset and size in bytes, type in canonical form."""

    name: str
    offset: int
    size: int
    type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Abi:
    """What was read off one extension.

    Prototypes are in canonical form: ``Imaging(Imaging, int, float *)``. Typedefs of
    integers are resolved, qualifiers of a parameter itself dropped, a pointer to
    ``struct FooInstance`` is ``Foo``, one to the image struct ``Imaging``, and an enum
    is named by its typedef.
    ``plt`` holds the symbols that the extension's own code calls through a slot.
    """

    machine: str
    libc: str
    glibc: str
    struct_fields: Mapping[str, tuple[Field, ...]]
    struct_sizes: Mapping[str, int]
    enums: Mapping[str, Mapping[str, int]]
    prototypes: Mapping[str, str]
    exported: frozenset[str]
    imported: frozenset[str]
    plt: frozenset[str]
    needed: tuple[str, ...]
    rpath: str
    symbolic: bool

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON types, for :meth:`from_json`."""
        return {
            "machine": self.machine,
            "libc": self.libc,
            "glibc": self.glibc,
            "struct_fields": {name: [list(f) for f in fields] for name, fields in self.struct_fields.items()},
            "struct_sizes": dict(self.struct_sizes),
            "enums": {name: dict(values) for name, values in self.enums.items()},
            "prototypes": dict(self.prototypes),
            "exported": sorted(self.exported),
            "imported": sorted(self.imported),
            "plt": sorted(self.plt),
            "needed": list(self.needed),
            "rpath": self.rpath,
            "symbolic": self.symbolic,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Abi:
        """Undo :meth:`to_json`. Raises KeyError or TypeError on other data."""
        return cls(
            machine=data["machine"],
            libc=data["libc"],
            glibc=data["glibc"],
            struct_fields=MappingProxyType(
                {name: tuple(Field(*f) for f in fields) for name, fields in data["struct_fields"].items()}
            ),
            struct_sizes=MappingProxyType(dict(data["struct_sizes"])),
            enums=MappingProxyType({n: MappingProxyType(dict(v)) for n, v in data["enums"].items()}),
            prototypes=MappingProxyType(dict(data["prototypes"])),
            exported=frozenset(data["exported"]),
            imported=frozenset(data["imported"]),
            plt=frozenset(data["plt"]),
            needed=tuple(data["needed"]),
            rpath=data["rpath"],
            symbolic=data["symbolic"],
        )


def read(extension: Path | bytes, *, name: str = "_imaging") -> Abi:
    """Read the binary interface of ``PIL/_imaging.*.so``, from a file or its content.

    An extension without debug information gives an :class:`Abi` without prototypes,
    which :func:`frontable` refuses. Raises BuildError when the file is not a readable
    ELF shared object.
    """
    from elftools.common.exceptions import DWARFError, ELFError
    from elftools.elf.elffile import ELFFile

    name = extension.name if isinstance(extension, Path) else name
    try:
        with extension.open("rb") if isinstance(extension, Path) else io.BytesIO(extension) as stream:
            return _read(ELFFile(stream), name)
    except (ELFError, DWARFError, KeyError, ValueError, IndexError, AttributeError) as error:
        # pyelftools lets several plain exceptions out when a file is damaged.
        raise BuildError(
            f"{name} cannot be read",
            why=f"it is damaged or not an ELF shared object ({error or type(error).__name__})",
            hint="fetch the official wheel again: `simdinstall cache clear`",
        ) from error


def frontable(abi: Abi) -> None:
    """Raise BuildError when nothing can be put in front of this extension."""
    hint = "choose another Pillow release with --pillow, or keep stock Pillow"
    if abi.symbolic:
        raise BuildError(
            "no kernels can be put in front of this extension",
            why="it binds its own symbols at link time (DT_SYMBOLIC)",
            hint=hint,
        )
    if not any(name.startswith("Imaging") for name in abi.exported & abi.plt):
        raise BuildError(
            "no kernels can be put in front of this extension",
            why="it does not call its public functions through slots of the dynamic linker",
            hint=hint,
        )
    if not abi.prototypes or IMAGE not in abi.struct_fields:
        raise BuildError(
            "the binary interface of this extension is not known",
            why="it carries no debug information: it was stripped",
            hint="use the official wheel from PyPI, whose debug information is complete",
        )


def misfits(abi: Abi, functions: Iterable[Function], callbacks: Mapping[str, str]) -> dict[str, str]:
    """Which functions cannot be fronted here, with the reason of each.

    ``callbacks`` are the prototypes that kernels assume for the functions they call.
    """
    found = {}
    for function in functions:
        reason = _misfit(abi, function, callbacks)
        if reason:
            found[function.name] = reason
    return found


def fit(
    abi: Abi, kernels: Iterable[Kernel], catalogue: Catalogue
) -> tuple[tuple[Kernel, ...], dict[str, str]]:
    """The kernels that the extension admits, and why it does not admit the others, by name.

    A kernel for several functions keeps those that fit.
    """
    reasons = misfits(abi, catalogue.functions, catalogue.callbacks)
    kept, ruled_out = [], {}
    for kernel in kernels:
        fitting = tuple(name for name in kernel.functions if name not in reasons)
        if fitting:
            kept.append(replace(kernel, functions=fitting))
        else:
            ruled_out[kernel.name] = "; ".join(dict.fromkeys(reasons[name] for name in kernel.functions))
    return tuple(kept), ruled_out


def _misfit(abi: Abi, function: Function, callbacks: Mapping[str, str]) -> str:
    name = function.name
    if name not in abi.exported:
        return f"{name} is not exported"
    if name not in abi.plt:
        return f"{name} is not called through a slot of the dynamic linker"
    prototype = abi.prototypes.get(name)
    if prototype is None:
        return f"{name} has no debug information"
    if _variant(function, prototype) is None:
        return f"{name} is declared in a way no kernel knows: {prototype}"
    fields = {field.name: field for field in abi.struct_fields.get(IMAGE, ())}
    for use in function.fields:
        struct, dot, field = use.rpartition(".")
        if dot and field not in {other.name for other in abi.struct_fields.get(struct, ())}:
            return f"the struct {struct} has no field {field}"
        if not dot and use not in fields:
            return f"the image struct has no field {use}"
    if "mode" in function.fields and fields["mode"].type != "ModeID":
        return f"the image struct keeps its mode as {fields['mode'].type}, not as ModeID"
    for callback in function.callbacks:
        if callback not in abi.exported:
            return f"{callback}, which the kernels call, is not exported"
        if abi.prototypes.get(callback) != canonical(callbacks.get(callback, "")):
            return f"{callback}, which the kernels call, is {abi.prototypes.get(callback, 'unknown')}"
    for called in function.imports:
        if called not in abi.imported:
            return f"{called}, which the kernels call, is not called by the extension"
    return ""


def header(abi: Abi, functions: Iterable[Function], *, release: str) -> str:
    """The text of ``pillow_abi.h``: what the kernels' C code may rely on.

    Structs have each field at the offset that was read, checked again by the compiler;
    what is between them, or of a type that C code need not know, is opaque bytes.
    """
    lines = [
        "/* Generated from the debug information of the official extension. */",
        "#ifndef PILLOW_ABI_H",
        "#define PILLOW_ABI_H",
        "",
        "#include <stddef.h>",
        "",
        f"#define PILLOW_RELEASE_NUMBER {release_number(release)}",
        "",
        "typedef struct ImagingMemoryInstance *Imaging;",
        "typedef struct ImagingPaletteInstance *ImagingPalette;",
        "typedef struct ImagingCodecStateInstance *ImagingCodecState;",
        "",
    ]
    for name, values in abi.enums.items():
        lines += ["typedef enum {", *(f"    {key} = {value}," for key, value in values.items())]
        lines += [f"}} {name};", f"#define PILLOW_HAS_{name} 1", ""]
    if "ModeID" not in abi.enums:
        # Before Pillow 12.1 modes were text. No kernel fits then; what remains must compile.
        lines += ["typedef enum { IMAGING_MODE_UNKNOWN } ModeID;", ""]
    for name in reversed(STRUCTS):
        if name in abi.struct_fields:
            lines += [*_struct(abi, name), ""]
    lines += [f"#define PILLOW_HAS_{field.name} 1" for field in abi.struct_fields.get(IMAGE, ())]
    lines += [""]
    for function in functions:
        variant = _variant(function, abi.prototypes.get(function.name, ""))
        if variant is not None:
            lines.append(f"#define PILLOW_PROTOTYPE_{function.name} {variant}")
    lines += ["", "#endif", ""]
    return "\n".join(lines)


def release_number(release: str) -> int:
    """13.0.0 as 130000, for comparisons by the preprocessor."""
    parts = [int(part) for part in re.findall(r"\d+", release)[:3]]
    major, minor, micro = (*parts, 0, 0, 0)[:3]
    return major * 10000 + minor * 100 + micro


def _variant(function: Function, prototype: str) -> int | None:
    """The number that the manifest gives to a prototype as it was read."""
    known = {canonical(text): number for text, number in function.prototypes.items()}
    return known.get(prototype)


def canonical(prototype: str) -> str:
    """A prototype with C's fixed-width types spelled as the base types that DWARF shows."""
    return re.sub(r"\b(u?)int(8|16|32|64)_t\b", lambda m: _FIXED[m[1] + m[2]], prototype)


_FIXED = MappingProxyType(
    {
        "8": "signed char",
        "16": "short",
        "32": "int",
        "64": "long",
        "u8": "unsigned char",
        "u16": "unsigned short",
        "u32": "unsigned int",
        "u64": "unsigned long",
    }
)


def _struct(abi: Abi, name: str) -> Iterator[str]:
    instance = name.endswith("Instance") or name in HANDLES
    reference = f"struct {name}" if instance else name
    yield f"struct {name} {{" if instance else "typedef struct {"
    end = 0
    for field in sorted(abi.struct_fields[name], key=lambda field: field.offset):
        if field.offset > end:
            yield f"    char pillow_pad_{end}[{field.offset - end}];"
        yield f"    {_declaration(abi, field)};"
        end = field.offset + field.size
    size = abi.struct_sizes[name]
    if size > end:
        yield f"    char pillow_pad_{end}[{size - end}];"
    yield "};" if instance else f"}} {name};"
    for field in abi.struct_fields[name]:
        yield (
            f"_Static_assert(offsetof({reference}, {field.name}) == {field.offset},"
            f' "{name}.{field.name} is misplaced");'
        )
    yield f'_Static_assert(sizeof({reference}) == {size}, "{name} has another size");'
    if name in HANDLES:
        yield f"typedef struct {name} *{name};"


#: Types that the header can spell as they are. Anything else is a plain pointer, or bytes.
_PLAIN = re.compile(
    r"(?:const )?(?:(?:un)?signed )?(?:char|short|int|long|long long|float|double)(?: \**)?$"
    r"|(?:const )?void \*+$|Imaging(?: \**)?$|ImagingPalette$|ImagingMemoryBlock \*+$"
)


def _declaration(abi: Abi, field: Field) -> str:
    base, bracket, dimensions = field.type.partition("[")
    known = bool(_PLAIN.match(base)) or base in abi.enums
    if base.startswith("ImagingMemoryBlock") and "ImagingMemoryBlock" not in abi.struct_fields:
        known = False
    if not bracket and base.removeprefix("struct ") in abi.struct_fields and base.startswith("struct "):
        return f"{base.removeprefix('struct ')} {field.name}"
    if known:
        space = "" if base.endswith("*") else " "
        return f"{base}{space}{field.name}{bracket}{dimensions}"
    if not bracket and (base.endswith("*") or "(*)" in base):
        return f"void *{field.name}"
    return f"char {field.name}[{field.size}]"


# --------------------------------------------------------------------- reading


def _read(elf: Any, name: str) -> Abi:
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.sections import SymbolTableSection

    machine = elf.header["e_machine"]
    if elf.header["e_type"] != "ET_DYN":
        raise ValueError("it is no shared object")
    dynamic: Any = next((s for s in elf.iter_sections() if isinstance(s, DynamicSection)), None)
    symbols = elf.get_section_by_name(".dynsym")
    if dynamic is None or not isinstance(symbols, SymbolTableSection):
        raise ValueError("it has no dynamic section")
    needed, rpath, symbolic = [], "", False
    for tag in dynamic.iter_tags():
        if tag.entry.d_tag == "DT_NEEDED":
            needed.append(tag.needed)
        elif tag.entry.d_tag in ("DT_RPATH", "DT_RUNPATH"):
            rpath = tag.runpath if tag.entry.d_tag == "DT_RUNPATH" else tag.rpath
        elif tag.entry.d_tag == "DT_SYMBOLIC" or (tag.entry.d_tag == "DT_FLAGS" and tag.entry.d_val & 2):
            symbolic = True
    exported, imported = _symbols(symbols)
    structs, sizes, enums, prototypes = _debug(elf)
    return Abi(
        machine=MACHINES.get(machine, str(machine)),
        libc="musl" if any("musl" in library for library in needed) or "musl" in name else "glibc",
        glibc=_glibc(elf),
        struct_fields=MappingProxyType(structs),
        struct_sizes=MappingProxyType(sizes),
        enums=MappingProxyType(enums),
        prototypes=MappingProxyType(prototypes),
        exported=exported,
        imported=imported,
        plt=_slots(elf, symbols, SLOTS.get(machine, frozenset())),
        needed=tuple(needed),
        rpath=rpath,
        symbolic=symbolic,
    )


def _symbols(table: SymbolTableSection) -> tuple[frozenset[str], frozenset[str]]:
    exported, imported = set(), set()
    for symbol in table.iter_symbols():
        if not symbol.name or symbol["st_info"]["bind"] == "STB_LOCAL":
            continue
        if symbol["st_shndx"] == "SHN_UNDEF":
            imported.add(symbol.name)
        elif symbol["st_other"]["visibility"] == "STV_DEFAULT":
            # A protected symbol is bound inside the library: it cannot be fronted.
            exported.add(symbol.name)
    return frozenset(exported), frozenset(imported)


def _slots(elf: Any, table: SymbolTableSection, kinds: frozenset[int]) -> frozenset[str]:
    from elftools.elf.relocation import RelocationSection

    found: set[int] = set()
    for section in elf.iter_sections():
        if isinstance(section, RelocationSection):
            found |= {r["r_info_sym"] for r in section.iter_relocations() if r["r_info_type"] in kinds}
    return frozenset(table.get_symbol(index).name for index in found)


def _glibc(elf: Any) -> str:
    from elftools.elf.gnuversions import GNUVerNeedSection

    section = elf.get_section_by_name(".gnu.version_r")
    if not isinstance(section, GNUVerNeedSection):
        return ""
    versions = [
        auxiliary.name.removeprefix("GLIBC_")
        for _, auxiliaries in section.iter_versions()
        for auxiliary in auxiliaries
        if re.fullmatch(r"GLIBC_[0-9.]+", auxiliary.name)
    ]
    return max(versions, key=version_key, default="")


def version_key(version: str) -> tuple[int, ...]:
    """``2.27`` as ``(2, 27)``, to compare versions of glibc; ``()`` for none."""
    return tuple(int(part) for part in version.split(".") if part)


_Debug: TypeAlias = tuple[
    dict[str, tuple[Field, ...]], dict[str, int], dict[str, Mapping[str, int]], dict[str, str]
]


def _debug(elf: Any) -> _Debug:
    structs: dict[str, tuple[Field, ...]] = {}
    sizes: dict[str, int] = {}
    enums: dict[str, Mapping[str, int]] = {}
    prototypes: dict[str, str] = {}
    if not elf.has_dwarf_info():
        return structs, sizes, enums, prototypes
    dwarf = elf.get_dwarf_info(relocate_dwarf_sections=False, follow_links=False)
    for unit in dwarf.iter_CUs():
        if not _is_pillow(unit):
            continue
        names = _Names()
        for die in unit.get_top_DIE().iter_children():
            if die.tag == "DW_TAG_subprogram":
                if "DW_AT_external" in die.attributes and "DW_AT_declaration" not in die.attributes:
                    prototypes.setdefault(name_of(die), names.prototype(die))
            elif die.tag == "DW_TAG_typedef":
                _learn_typedef(die, names, structs, sizes, enums)
            elif die.tag == "DW_TAG_structure_type" and name_of(die) in STRUCTS:
                _learn_struct(name_of(die), die, names, structs, sizes)
    prototypes.pop("", None)
    return structs, sizes, enums, prototypes


def _is_pillow(unit: CompileUnit) -> bool:
    """Whether it is libImaging or ``_imaging.c``, which defines libImaging's callbacks."""
    name = f"/{name_of(unit.get_top_DIE())}"
    return "/libImaging/" in name or name.endswith("/_imaging.c")


def _learn_typedef(
    die: DIE,
    names: _Names,
    structs: dict[str, tuple[Field, ...]],
    sizes: dict[str, int],
    enums: dict[str, Mapping[str, int]],
) -> None:
    name = name_of(die)
    if name in ENUMS and name not in enums:
        target = target_of(die)
        if target is not None and target.tag == "DW_TAG_enumeration_type":
            enums[name] = MappingProxyType(
                {
                    name_of(value): value.attributes["DW_AT_const_value"].value
                    for value in target.iter_children()
                }
            )
    elif name in STRUCTS and name not in structs:
        target = target_of(die)
        if target is not None and target.tag == "DW_TAG_structure_type":
            _learn_struct(name, target, names, structs, sizes)


def _learn_struct(
    name: str, die: DIE, names: _Names, structs: dict[str, tuple[Field, ...]], sizes: dict[str, int]
) -> None:
    if name in structs or "DW_AT_declaration" in die.attributes:
        return
    wanted = PARTS.get(name)
    structs[name] = tuple(
        Field(
            name_of(member),
            member.attributes["DW_AT_data_member_location"].value,
            size_of(target_of(member)),
            names.type(target_of(member)),
        )
        for member in die.iter_children()
        if member.tag == "DW_TAG_member"
        and "DW_AT_bit_size" not in member.attributes
        and (wanted is None or name_of(member) in wanted)
    )
    sizes[name] = die.attributes["DW_AT_byte_size"].value


class _Names:
    """Canonical names of the types of one compilation unit; each is worked out once."""

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def prototype(self, function: DIE) -> str:
        parameters = [
            _unqualified(self.type(target_of(child)))
            for child in function.iter_children()
            if child.tag == "DW_TAG_formal_parameter"
        ]
        variadic = [c for c in function.iter_children() if c.tag == "DW_TAG_unspecified_parameters"]
        parameters += ["..."] * bool(variadic)
        return f"{_unqualified(self.type(target_of(function)))}({', '.join(parameters) or 'void'})"

    def type(self, die: DIE | None) -> str:
        if die is None:
            return "void"
        if die.offset not in self._known:
            self._known[die.offset] = self._spell(die)
        return self._known[die.offset]

    def _spell(self, die: DIE) -> str:
        name = name_of(die)
        match die.tag:
            case "DW_TAG_base_type":
                return BASE_TYPES.get(name, name)
            case "DW_TAG_typedef":
                return self._typedef(name, target_of(die))
            case "DW_TAG_pointer_type":
                return self._pointer(target_of(die))
            case "DW_TAG_const_type":
                return _qualified("const", self.type(target_of(die)))
            case "DW_TAG_volatile_type":
                return _qualified("volatile", self.type(target_of(die)))
            case "DW_TAG_array_type":
                brackets = "".join(f"[{length}]" for length in dimensions(die))
                return f"{self.type(target_of(die))}{brackets}"
            case "DW_TAG_structure_type":
                return f"struct {name}"
            case "DW_TAG_union_type":
                return f"union {name}"
            case "DW_TAG_enumeration_type":
                return f"enum {name}"
            case "DW_TAG_subroutine_type":
                return self.prototype(die)
            case _:
                # restrict, atomic and the like change nothing for a caller.
                return self.type(target_of(die))

    def _typedef(self, name: str, target: DIE | None) -> str:
        unnamed = target is not None and not name_of(target)
        if target is not None and unnamed and target.tag in ("DW_TAG_structure_type", "DW_TAG_union_type"):
            return name
        if target is not None and target.tag == "DW_TAG_enumeration_type":
            return name
        resolved = self.type(target)
        # Pillow's handles (ImagingSectionCookie) stand for pointers that nobody looks behind.
        handle = name.startswith("Imaging") and resolved.endswith(" *")
        return name if handle else resolved

    def _pointer(self, target: DIE | None) -> str:
        if target is not None and target.tag == "DW_TAG_subroutine_type":
            result, _, parameters = self.prototype(target).partition("(")
            return f"{result}(*)({parameters}"
        pointee = self.type(target)
        if instance := re.fullmatch(r"struct (\w+)Instance", pointee):
            return "Imaging" if pointee == f"struct {IMAGE}" else instance[1]
        if "(*)" in pointee:
            return pointee.replace("(*)", "(**)", 1)
        return f"{pointee}*" if pointee.endswith("*") else f"{pointee} *"


def _qualified(qualifier: str, name: str) -> str:
    if name.endswith("*") or "(*" in name:
        return f"{name}{qualifier}"
    return name if qualifier in name.split() else f"{qualifier} {name}"


def _unqualified(name: str) -> str:
    if name.endswith("*const"):
        return name.removesuffix("const")
    if "*" not in name:
        return name.removeprefix("const ").removeprefix("volatile ")
    return name
