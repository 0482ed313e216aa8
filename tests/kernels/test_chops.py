"""ImageChops and Image.blend: every byte of stock, for every pair of bytes."""

from __future__ import annotations

import mmap
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from fronted import Simd

#: Method of the core, and the public function behind it.
PLAIN = {
    "chop_lighter": "ImagingChopLighter",
    "chop_darker": "ImagingChopDarker",
    "chop_difference": "ImagingChopDifference",
    "chop_multiply": "ImagingChopMultiply",
    "chop_screen": "ImagingChopScreen",
    "chop_soft_light": "ImagingChopSoftLight",
    "chop_hard_light": "ImagingChopHardLight",
    "chop_overlay": "ImagingOverlay",
}
SCALED = {"chop_add": "ImagingChopAdd", "chop_subtract": "ImagingChopSubtract"}
INFINITE = float("inf")
SCALES = (1.0, 2.0, 3.0, 0.5, 1.7, -1.0, 0.1, 1e-7, 1e-38, 0.0, -0.0, 1e30, INFINITE, float("nan"))
OFFSETS = (0, 1, -1, 100, -300, 2**24 + 1, 2**31 - 1, -(2**31))
ALPHAS = (0.5, 0.3, 1 / 3, 0.999999, 1e-7, 1.3, -0.7, 7.5, -255.0, 1e30, -INFINITE, INFINITE, float("nan"))
WIDTHS = (*range(1, 20), 31, 32, 33, 63, 64, 65, 66, 127, 128, 129)


def check(
    simd: Simd, function: str, kernel: str | None, operation: Callable[..., Any], *arguments: Any
) -> None:
    for level in simd.levels:
        label = function, level, *map(repr, arguments)
        simd.assert_same(function, kernel, level, partial(operation, *arguments), label)


def chop(method: str, one: Any, two: Any, *more: Any) -> Any:
    return one._new(getattr(one.im, method)(two.im, *more))


def blend(one: Any, two: Any, alpha: float) -> Any:
    from PIL import Image

    return one._new(Image.core.blend(one.im, two.im, alpha))


def check_all(simd: Simd, one: Any, two: Any, *, kernel: str | None = "chops", blended: bool = True) -> None:
    before = simd.raw(one), simd.raw(two)
    for method, function in PLAIN.items():
        check(simd, function, kernel, chop, method, one, two)
    for method, function in SCALED.items():
        for scale, offset in ((1.0, 0), (1.0, 7), (1.7, -3)):
            check(simd, function, kernel, chop, method, one, two, scale, offset)
    if blended:
        for alpha in (0.3, 1.7):
            check(simd, "ImagingBlend", kernel and "blend", blend, one, two, alpha)
    assert before == (simd.raw(one), simd.raw(two)), "a source was changed"


@pytest.fixture(scope="module")
def pairs(simd: Simd) -> tuple[Any, Any]:
    """Two images with every pair of bytes."""
    across = bytes(range(256)) * 256
    down = bytes(y for y in range(256) for _ in range(256))
    with simd.rows("stock"):
        return simd.image("L", (256, 256), across), simd.image("L", (256, 256), down)


def test_every_pair_of_bytes(simd: Simd, pairs: tuple[Any, Any]) -> None:
    check_all(simd, *pairs)


@pytest.mark.parametrize("scale", SCALES)
def test_scales_and_offsets(simd: Simd, pairs: tuple[Any, Any], scale: float) -> None:
    for offset in OFFSETS:
        for method, function in SCALED.items():
            check(simd, function, "chops", chop, method, *pairs, scale, offset)


def test_alphas(simd: Simd, pairs: tuple[Any, Any]) -> None:
    rng = random.Random(1)
    for alpha in (*ALPHAS, *(rng.random() for _ in range(8)), *(rng.gauss(0, 3) for _ in range(8))):
        check(simd, "ImagingBlend", "blend", blend, *pairs, alpha)
    for alpha in (0.0, -0.0, 1.0):  # answered with a copy
        check(simd, "ImagingBlend", None, blend, *pairs, alpha)


def test_widths(simd: Simd) -> None:
    rng = random.Random(2)
    for width in WIDTHS:
        check_all(simd, *(simd.image("L", (width, 2), rng.randbytes(width * 2)) for _ in range(2)))


@pytest.mark.parametrize(
    "mode", ["1", "P", "PA", "LA", "La", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV", "LAB"]
)
def test_modes_and_sizes(simd: Simd, mode: str) -> None:
    """All bytes count, those that no band uses too; the result is as large as both."""
    rng = random.Random(mode)
    first = simd.image(mode, (37, 5), rng.randbytes(740))
    for size in ((37, 5), (30, 9), (70, 3)):
        second = simd.image(mode, size, rng.randbytes(1080))
        blended = size == first.size and mode not in ("1", "P", "PA")
        check_all(simd, first, second, blended=blended)
        if not blended:
            check(simd, "ImagingBlend", None, blend, first, second, 0.3)


def test_an_image_with_itself(simd: Simd) -> None:
    im = simd.image("RGB", (41, 7), random.Random(5).randbytes(1148))
    check_all(simd, im, im, blended=False)
    check(simd, "ImagingBlend", None, blend, im, im, 0.3)


def test_memory_of_others(simd: Simd) -> None:
    from PIL import Image

    data = random.Random(4).randbytes(61 * 7 * 4)
    mapped = mmap.mmap(-1, len(data))
    mapped.write(data)
    for memory in (data, mapped):
        one, two = (Image.frombuffer("RGBA", (61, 7), memory, "raw", "RGBA", 0, step) for step in (1, -1))
        assert one.readonly
        assert two.readonly
        check_all(simd, one, two)


def test_left_to_stock(simd: Simd) -> None:
    rng = random.Random(6)
    rgb = simd.image("RGB", (9, 9), rng.randbytes(324))
    for other in (
        simd.image("L", (9, 9), b"x"),
        simd.image("RGBA", (9, 9), b"x"),
        simd.image("I", (9, 9), b"x"),
        simd.image("RGB", (0, 9), b"x"),
        simd.image("RGB", (9, 0), b"x"),
    ):
        check_all(simd, rgb, other, kernel=None)
        check_all(simd, other, rgb, kernel=None)
    integers = simd.image("I", (9, 9), b"x")
    check_all(simd, integers, integers, kernel=None)
