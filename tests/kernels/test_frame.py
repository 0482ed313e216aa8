"""The frame itself: levels, trace, fallback."""

from __future__ import annotations

from fronted import LEVELS, Simd


def test_levels_are_clamped(simd: Simd) -> None:
    assert simd.set_level("none") == "none"
    assert simd._library.pillow_simd_set_level(-5) == 0
    assert simd._library.pillow_simd_set_level(99) == LEVELS.index(simd.highest)


def test_build_line_names_release_and_levels(simd: Simd) -> None:
    assert simd.build.startswith("Pillow ")
    assert "sse4 avx2 avx512, bounded" in simd.build
