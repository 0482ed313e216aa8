"""Do headers found here describe the libraries that the official wheel bundles?

The official extension's debug information says how the structs of libjpeg, libtiff,
openjpeg and zlib were laid out when it was compiled. A probe of a few lines, compiled
against the headers at hand, says how they would be now. Every struct that both know
has to be the same, or what is compiled with these headers would corrupt memory.

Format: DWARF 5, section 5.7 (structures).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from simdinstall.dwarf import name_of, size_of, target_of
from simdinstall.errors import BuildError

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

#: The files of libImaging that keep a library's structs in their own, each with the type
#: that does.
CONTEXTS = {
    "jpeg": ('"Jpeg.h"', ("JPEGSTATE", "JPEGENCODERSTATE")),
    "tiff": ('"TiffDecode.h"', ("TIFFSTATE",)),
    "openjp2": ('"Jpeg2K.h"', ("JPEG2KDECODESTATE", "JPEG2KENCODESTATE")),
    "z": ('"ZipCodecs.h"', ("ZIPSTATE",)),
}

#: More types of the libraries that libImaging has on the stack of its codecs.
_ON_STACK = {
    "openjp2": ("opj_image_t", "opj_image_cmptparm_t", "opj_cparameters_t", "opj_dparameters_t"),
}


class Layout(NamedTuple):
    """A struct or union: its size in bytes, and name, offset and size of each member."""

    size: int
    members: tuple[tuple[str, int, int], ...]


def probe_source(libraries: Iterable[str]) -> str:
    """A C file that has a variable of each type that matters; its debug information tells."""
    lines = ["#include <Python.h>", '#include "Imaging.h"']
    # libjpeg has integer types by the names that libImaging uses for macros.
    lines += [f"#undef {sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32)]
    chosen = [library for library in CONTEXTS if library in set(libraries)]
    lines += [f"#include {CONTEXTS[library][0]}" for library in chosen]
    types = [type_ for library in chosen for type_ in (*CONTEXTS[library][1], *_ON_STACK.get(library, ()))]
    lines += ["struct ImagingMemoryInstance probe_image;"]
    lines += [f"{type_} probe_{number};" for number, type_ in enumerate(types)]
    return "\n".join([*lines, ""])


def layouts(path: Path, *, files: Iterable[str] = ()) -> dict[str, Layout]:
    """The named structs in an object's debug information, in the units of these files.

    ``files``: the ends of their names; nothing means every unit. Raises BuildError when
    it cannot be read.
    """
    wanted = tuple(files)
    found: dict[str, Layout] = {}
    from elftools.common.exceptions import DWARFError, ELFError  # Late: see abi.
    from elftools.elf.elffile import ELFFile

    try:
        with path.open("rb") as stream:
            elf: Any = ELFFile(stream)
            dwarf = elf.get_dwarf_info(follow_links=False)
            for unit in dwarf.iter_CUs():
                top = unit.get_top_DIE()
                if wanted and not name_of(top).endswith(wanted):
                    continue
                for name, layout in _structs(top):
                    found.setdefault(name, layout)
    except (ELFError, DWARFError, KeyError, ValueError, AttributeError) as error:
        raise BuildError(f"the debug information of {path.name} cannot be read", why=str(error)) from error
    return found


#: Structs by the beginning of their names that no codec shares with Pillow.
_PYTHON = ("_Py", "Py", "_ts", "_is", "_frame")
_LIBC = ("_IO_",)


def differences(bundled: dict[str, Layout], here: dict[str, Layout]) -> tuple[str, ...]:
    """In words, each struct that both sides know and that is not the same.

    CPython's are left out, and what only libc looks into, which differs from one to the next.
    """
    told = []
    for name in sorted(bundled.keys() & here.keys()):
        if name.startswith((*_PYTHON, *_LIBC)) or bundled[name] == here[name]:
            continue
        if bundled[name].size != here[name].size:
            told.append(f"{name} has {here[name].size} bytes, not {bundled[name].size}")
        else:
            mine, theirs = set(here[name].members), set(bundled[name].members)
            odd = ", ".join(sorted({member[0] for member in mine ^ theirs}))
            told.append(f"{name} has other members: {odd}")
    return tuple(told)


def _structs(top: DIE) -> Iterator[tuple[str, Layout]]:
    for die in top.iter_children():
        if die.tag == "DW_TAG_typedef":
            target = target_of(die)
            if target is not None and not name_of(target) and _is_struct(target):
                yield name_of(die), _layout(target)
        elif _is_struct(die) and name_of(die):
            yield name_of(die), _layout(die)


def _is_struct(die: DIE) -> bool:
    known = die.tag in ("DW_TAG_structure_type", "DW_TAG_union_type")
    return known and "DW_AT_byte_size" in die.attributes


def _layout(die: DIE) -> Layout:
    members = tuple(
        (name_of(child), _offset(child), size_of(target_of(child)))
        for child in die.iter_children()
        if child.tag == "DW_TAG_member"
    )
    return Layout(die.attributes["DW_AT_byte_size"].value, members)


def _offset(member: DIE) -> int:
    """Bytes, or for a bit field its first bit below zero, which no byte offset is."""
    if "DW_AT_data_bit_offset" in member.attributes:
        return -1 - int(member.attributes["DW_AT_data_bit_offset"].value)
    attribute = member.attributes.get("DW_AT_data_member_location")
    return int(attribute.value) if attribute else 0
