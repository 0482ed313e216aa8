"""What a linked object is, and how its need of an instruction set is marked."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simdinstall import abi as abi_module
from simdinstall.errors import BuildError
from simdinstall.kernels import ISAS

#: Bits of GNU_PROPERTY_X86_ISA_1_NEEDED (x86-64 psABI, "Program Property").
ISA_BITS: Mapping[str, int] = {"x86-64": 1, "x86-64-v2": 2, "x86-64-v3": 4, "x86-64-v4": 8}
ISA_NEEDED = 0xC0008002

#: The section of dispatch.c with the level that nothing above is run of.
_CEILING = "simd_ceiling"


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


def shape(linked: Path | bytes) -> Shape:
    """Read a linked object, a file or its content. Raises BuildError when it is none."""
    from elftools.elf.elffile import ELFFile  # Late: see abi.

    content = linked if isinstance(linked, bytes) else linked.read_bytes()
    name = "the linked library" if isinstance(linked, bytes) else linked.name
    found = abi_module.read(content, name=name)
    with io.BytesIO(content) as stream:
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


def limited(content: bytes, *, level: str | None, isas: Sequence[str]) -> bytes:
    """A library with every instruction set, made for fewer, and marked as needing ``level``.

    ``content`` must carry some mark. Two places change: the bits of the mark, and the
    level above which the dispatcher runs and shows nothing. Raises BuildError when the
    library has not got them.
    """
    from elftools.elf.elffile import ELFFile  # Late: see abi.

    changed = bytearray(content)
    elf = ELFFile(io.BytesIO(content))
    bits = sum(ISA_BITS[name] for name in ISA_BITS if name <= (level or "x86-64"))
    marks = [
        segment["p_offset"] + place
        for segment in elf.iter_segments()
        if segment["p_type"] == "PT_NOTE"
        for place in _isa_places(segment.data(), segment["p_align"])
    ]
    ceiling = elf.get_section_by_name(_CEILING)
    if ceiling is None or ceiling["sh_size"] != 1 or not marks:
        raise BuildError("the kernel library cannot be limited", why="it lacks the places to do so")
    for place in marks:
        struct.pack_into("<L", changed, place, bits)
    changed[ceiling["sh_offset"]] = max((ISAS.index(isa) + 1 for isa in isas), default=0)
    return bytes(changed)


def _isa_needed(notes: bytes, align: int) -> int:
    """GNU_PROPERTY_X86_ISA_1_NEEDED in the notes of a segment; 0 without one."""
    found = 0
    for place in _isa_places(notes, align):
        found |= struct.unpack_from("<L", notes, place)[0]
    return found


def _isa_places(notes: bytes, align: int) -> Iterator[int]:
    """Where in the notes of a segment the bits of GNU_PROPERTY_X86_ISA_1_NEEDED are."""

    def padded(size: int) -> int:
        return -(-size // max(align, 4)) * max(align, 4)

    position = 0
    while position + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<LLL", notes, position)
        name = notes[position + 12 : position + 12 + name_size]
        start = position + padded(12 + name_size)
        if kind == 5 and name == b"GNU\0":
            offset = start
            while offset + 8 <= start + size:
                property_, length = struct.unpack_from("<LL", notes, offset)
                if property_ == ISA_NEEDED:
                    yield offset + 8
                offset += 8 + padded(length)
        position = start + padded(size)


def object_symbols(path: Path) -> Iterable[tuple[str, bool]]:
    """The global symbols of an object file, and whether it defines them."""
    from elftools.elf.elffile import ELFFile  # Late: see abi.

    with path.open("rb") as stream:
        table: Any = ELFFile(stream).get_section_by_name(".symtab")
        for symbol in table.iter_symbols():
            if symbol.name and symbol["st_info"]["bind"] != "STB_LOCAL":
                yield symbol.name, symbol["st_shndx"] != "SHN_UNDEF"
