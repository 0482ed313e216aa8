"""Reading the debug information of types: what pyelftools leaves to its users (DWARF 5, section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE


def name_of(die: DIE) -> str:
    """The name of an entry; empty when it has none."""
    attribute = die.attributes.get("DW_AT_name")
    return attribute.value.decode("utf-8", "replace") if attribute else ""


def target_of(die: DIE) -> DIE | None:
    """The type that an entry is of, or stands for."""
    return die.get_DIE_from_attribute("DW_AT_type") if "DW_AT_type" in die.attributes else None


def dimensions(array: DIE) -> list[int]:
    """The lengths of an array, outermost first."""
    found = []
    for child in array.iter_children():
        if child.tag == "DW_TAG_subrange_type":
            if "DW_AT_count" in child.attributes:
                found.append(child.attributes["DW_AT_count"].value)
            else:
                upper = child.attributes.get("DW_AT_upper_bound")
                found.append(upper.value + 1 if upper else 0)
    return found


def size_of(die: DIE | None) -> int:
    """Bytes of a type."""
    if die is None:
        return 0
    if "DW_AT_byte_size" in die.attributes:
        return int(die.attributes["DW_AT_byte_size"].value)
    if die.tag == "DW_TAG_pointer_type":
        return int(die.cu["address_size"])
    size = size_of(target_of(die))
    if die.tag == "DW_TAG_array_type":
        for dimension in dimensions(die):
            size *= dimension
    return size
