"""The frame itself: levels, trace, fallback."""

from __future__ import annotations

import faulthandler
import os
import signal

import pytest
from fronted import LEVELS, Simd

from conftest import FIDELITY, RELEASE, SANITIZED
from simdinstall import kernels


def test_levels_are_clamped(simd: Simd) -> None:
    assert simd.set_level("none") == "none"
    assert simd._library.pillow_simd_set_level(-5) == 0
    assert simd._library.pillow_simd_set_level(99) == LEVELS.index(simd.highest)


def test_build_line_names_release_and_levels(simd: Simd) -> None:
    assert simd.build == f"Pillow {RELEASE}, {FIDELITY}, levels sse4 avx2 avx512"


@pytest.mark.skipif(SANITIZED, reason="the rows are red zones then, and the child would report them")
def test_a_byte_beside_a_row_cannot_be_read(simd: Simd) -> None:
    """The guards that all tests of kernels rely on are really there."""
    with simd.rows("pages"):
        im = simd.image("L", (100, 40), b"x")
    beside = []
    for y in range(40):
        for x in (-1, 100):
            child = os.fork()
            if not child:
                faulthandler.disable()
                simd.read(im, y, x)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            beside.append(os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSEGV)
    ends, starts = sum(beside[1::2]), sum(beside[0::2])
    assert ends + starts == 40, "each row has a guard at one side"
    assert min(ends, starts) >= 8, "both sides occur"


def test_rows_of_every_kind_hold_pixels(simd: Simd) -> None:
    for mode in ("stock", "heap", "pages"):
        with simd.rows(mode):
            im = simd.image("RGB", (33, 700 if mode == "pages" else 7), bytes(range(256)))
            assert im.crop((0, 0, 33, 7)).transpose(0).size == (33, 7)


def test_kernels_can_be_switched_off(simd: Simd) -> None:
    im = simd.image("RGB", (20, 10), bytes(range(256)))
    everything = sorted({entry.kernel for entry in simd.entries()} - {"stock"})
    simd.reset()
    with simd.without(*everything):
        im.resize((7, 5), 1)
        assert simd.served("ImagingResample") == {("stock", "none"): 1}
    im.resize((7, 5), 1)
    assert sum(simd.served("ImagingResample").values()) == 2


def test_stock_serves_at_level_none(simd: Simd) -> None:
    im = simd.image("RGB", (20, 10), bytes(range(256)))
    simd.reset()
    with simd.at("none"):
        im.resize((7, 5), 1)
    assert simd.served("ImagingResample") == {("stock", "none"): 1}


def test_every_function_has_stock_last(simd: Simd) -> None:
    """In the trace as in the tables: the highest level first, stock at the end."""
    tables: dict[str, list[tuple[str, str]]] = {}
    for entry in simd.entries():
        tables.setdefault(entry.function, []).append((entry.kernel, entry.level))
    for function, rows in tables.items():
        assert rows[-1] == ("stock", "none"), function
        for kernel in {kernel for kernel, _ in rows}:
            levels = [LEVELS.index(level) for name, level in rows if name == kernel]
            assert levels == sorted(levels, reverse=True), (function, kernel)


def test_the_manifest_names_what_kernels_call(simd: Simd) -> None:
    """The functions of Pillow that the objects of a kernel want are among its functions' callbacks."""
    catalogue = kernels.load()
    for kernel in catalogue.kernels:
        if FIDELITY == "exact" and kernel.fidelity == "bounded":
            continue
        known = {name for function in kernel.functions for name in catalogue.function(function).callbacks}
        for unit in kernels.units(catalogue, [kernel], kernels.ISAS, "bounded"):
            wanted = (simd.folder / "build" / f"{unit.name}.txt").read_text().split()
            calls = {name for name in wanted if name.startswith("Imaging")}
            assert unit.isa is None or calls <= known, f"{kernel.name} calls {calls - known}"
