"""The manifest against the C files, and what is compiled for a library."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from simdinstall import abi, kernels, layouts
from simdinstall.kernels import COMMON_SOURCES, ISA_FLAGS, ISAS, Kernel

CATALOGUE = kernels.load()
SOURCES = kernels.sources_dir()


@pytest.mark.parametrize("kernel", CATALOGUE.kernels, ids=lambda kernel: kernel.name)
def test_kernel(kernel: Kernel) -> None:
    assert kernel.functions
    assert {function.name for function in CATALOGUE.functions}.issuperset(kernel.functions)
    assert set(ISAS).issuperset(kernel.isas)
    assert (kernel.fidelity == "exact") == (kernel.largest_difference == 0)
    assert (kernel.origin == "pillow-simd") == bool(kernel.needs) == bool(kernel.pillow_simd)
    assert {other.name for other in CATALOGUE.kernels}.issuperset(kernel.supersedes)
    SpecifierSet(kernel.pillow)
    SpecifierSet(kernel.pillow_simd)
    for source in kernel.sources:
        assert (SOURCES / source).is_file()


@pytest.mark.parametrize("kernel", CATALOGUE.kernels, ids=lambda kernel: kernel.name)
def test_a_kernel_has_a_row_for_each_instruction_set(kernel: Kernel) -> None:
    if not kernel.sources:
        pytest.skip("it is all in its front, the same for every instruction set")
    for name in kernel.functions:
        front = (SOURCES / CATALOGUE.function(name).front).read_text()
        for isa in kernel.isas:
            assert re.search(rf'SIMD_{isa.upper()}\(\s*"{kernel.name}"', front), f"{isa} in {name}"
        assert f"SIMD_KERNEL_{kernel.name}" in front


def test_functions() -> None:
    for function in CATALOGUE.functions:
        front = (SOURCES / function.front).read_text()
        assert f"PILLOW_PROTOTYPE_{function.name}" in front
        assert re.search(rf"^SIMD_PUBLIC \w+\n{function.name}\(", front, re.MULTILINE)
        assert len(set(function.prototypes.values())) == len(function.prototypes)
        assert set(CATALOGUE.callbacks).issuperset(function.callbacks)
        assert not any("(" in field for field in function.fields)


def test_own_kernels_come_before_pillow_simds() -> None:
    for function in CATALOGUE.functions:
        for table in (SOURCES / function.front).read_text().split("SIMD_STOCK"):
            rows = re.findall(r'SIMD_(?:SSE4|AVX2|AVX512)\(\s*"(\w+)"', table)
            theirs = [name.startswith("pillow_simd") for name in rows]
            assert theirs == sorted(theirs), function.front


def test_exact_holds_no_bounded_kernel() -> None:
    exact = kernels.select(CATALOGUE, fidelity="exact", isas=ISAS)
    assert {kernel.fidelity for kernel in exact} == {"exact"}
    defines = kernels.units(CATALOGUE, exact, ISAS, "exact")[0].defines
    assert "SIMD_FIDELITY_EXACT=1" in defines
    assert not any(define.startswith("SIMD_KERNEL_") and "bounded" in define for define in defines)


def test_superseded_kernels_are_left_out_only_beside_the_better_one() -> None:
    for kernel in CATALOGUE.kernels:
        for name in kernel.supersedes:
            together = kernels.select(CATALOGUE, fidelity="bounded", isas=ISAS)
            alone = kernels.select(CATALOGUE, fidelity="bounded", isas=ISAS, origins=["pillow-simd"])
            assert name not in {kernel.name for kernel in together}
            assert name in {kernel.name for kernel in alone}


def test_units_of_two_instruction_sets() -> None:
    chosen = kernels.select(CATALOGUE, fidelity="bounded", isas=["avx2", "sse4"])
    units = kernels.units(CATALOGUE, chosen, ["avx2", "sse4"], "bounded")
    assert len({unit.name for unit in units}) == len(units)
    for unit in units:
        assert (SOURCES / unit.source).is_file()
        assert not unit.name.endswith(".c")
        assert "/" not in unit.name
        if unit.isa is None:
            assert not any(define.startswith("SIMD_ISA") for define in unit.defines)
        else:
            assert unit.cflags[: len(ISA_FLAGS[unit.isa])] == ISA_FLAGS[unit.isa]
            assert {f"SIMD_ISA={unit.isa}", f"SIMD_LEVEL={ISAS.index(unit.isa) + 1}"} <= set(unit.defines)
        assert "SIMD_HAVE_AVX512=1" not in unit.defines
    assert {unit.isa for unit in units} == {None, "sse4", "avx2"}
    assert {unit.source for unit in units if unit.isa is None} >= set(COMMON_SOURCES)


def test_a_source_of_two_kernels_is_compiled_once() -> None:
    pair = [kernel for kernel in CATALOGUE.kernels if kernel.sources == ("pillow_simd/filter.c",)]
    assert len(pair) == 2
    units = kernels.units(CATALOGUE, pair, ["sse4"], "bounded")
    assert [unit.source for unit in units if unit.isa] == ["pillow_simd/filter.c"]
    assert {"SIMD_KERNEL_pillow_simd_filter=1", "SIMD_KERNEL_pillow_simd_filter_bounded=1"} <= set(
        units[-1].defines
    )


def test_no_kernels_at_all() -> None:
    assert [unit.source for unit in kernels.units(CATALOGUE, [], [], "exact")] == list(COMMON_SOURCES)


def test_lookups() -> None:
    assert CATALOGUE.function("ImagingResample").front == "front_resample.c"
    assert CATALOGUE.kernel("pillow_simd_reduce").fidelity == "exact"
    with pytest.raises(KeyError):
        CATALOGUE.function("ImagingFly")
    with pytest.raises(KeyError):
        CATALOGUE.kernel("fly")


def test_no_file_is_forgotten() -> None:
    """Every C file is compiled, or included by one that is."""
    compiled = {source for kernel in CATALOGUE.kernels for source in kernel.sources}
    compiled |= {function.front for function in CATALOGUE.functions} | set(COMMON_SOURCES)
    found = {path.relative_to(SOURCES).as_posix() for path in Path(SOURCES).rglob("*.c")}
    assert found == compiled


def test_the_memory_functions_are_there_together_or_not_at_all() -> None:
    """Their front is compiled only if the library has all three."""
    names = {"memory_get_block", "memory_return_block", "ImagingMemoryClearCache"}
    interface = layouts.load()[0].abi
    for struct in ("ImagingMemoryArena", "ImagingMemoryBlock"):
        for gone in interface.struct_fields[struct]:
            fields = tuple(field for field in interface.struct_fields[struct] if field != gone)
            changed = replace(interface, struct_fields={**interface.struct_fields, struct: fields})
            lost = names.intersection(abi.misfits(changed, CATALOGUE.functions, CATALOGUE.callbacks))
            assert lost in (set(), names), gone.name
