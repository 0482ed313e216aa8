"""Turns by right angles and mirror images: every byte of stock, in every mode."""

from __future__ import annotations

import mmap
import random
from functools import partial
from typing import Any

import pytest
from fronted import Simd

#: Public function, kernel and the value of Image.Transpose.
TURNS = (
    ("ImagingFlipLeftRight", "flip", 0),
    ("ImagingFlipTopBottom", "flip", 1),
    ("ImagingRotate90", "transpose", 2),
    ("ImagingRotate180", "flip", 3),
    ("ImagingRotate270", "transpose", 4),
    ("ImagingTranspose", "transpose", 5),
    ("ImagingTransverse", "transpose", 6),
)
#: Bytes of a pixel in memory, for those modes that do not have four.
BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}
MODES = ("1", "P", "LA", "PA", "RGB", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16B", "La", "RGBa")
#: Around the vectors and squares of every pixel size and instruction set.
SMALL = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17)
LARGE = (31, 32, 33, 47, 63, 64, 65, 67, 127, 128, 129, 191, 197)


def check(simd: Simd, im: Any, label: object) -> None:
    before = simd.raw(im)
    for function, kernel, method in TURNS:
        short = kernel == "transpose" and min(im.size) * BYTES.get(im.mode, 4) < 16
        for level in simd.levels:
            simd.assert_same(
                function,
                None if short else kernel,
                level,
                partial(im.transpose, method),
                (label, im.mode, im.size, function, level),
            )
    assert simd.raw(im) == before, "the source was changed"


@pytest.mark.parametrize("mode", ["L", "I;16", "RGBA"])
def test_sizes(simd: Simd, mode: str) -> None:
    rng = random.Random(mode)
    data = rng.randbytes(300000)
    sizes = [(x, y) for x in SMALL for y in SMALL[::3]]
    sizes += [(x, y) for x in LARGE for y in (rng.choice(SMALL), rng.choice(LARGE))]
    sizes += [(y, x) for x, y in sizes[-20::2]] + [(x, x) for x in LARGE[3:9]]
    for size in sizes:
        check(simd, simd.image(mode, size, data[rng.randrange(9) :]), "sizes")


@pytest.mark.parametrize("mode", MODES)
def test_modes(simd: Simd, mode: str) -> None:
    rng = random.Random(mode)
    for size in ((70, 21), (17, 131)):
        check(simd, simd.image(mode, size, rng.randbytes(40000)), "modes")


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_more_than_a_square(simd: Simd, mode: str) -> None:
    """Sides beyond what is done at once and what is fetched ahead."""
    rng = random.Random(mode)
    with simd.rows("stock"):
        for size in ((700, 410), (333, 1031), (1024, 512)):
            check(simd, simd.image(mode, size, rng.randbytes(65521)), "large")


@pytest.mark.parametrize("mode", ["P", "PA"])
def test_the_palette_comes_along(simd: Simd, mode: str) -> None:
    rng = random.Random(mode)
    im = simd.image(mode, (40, 30), rng.randbytes(4800))
    palette = rng.randbytes(768)
    im.putpalette(palette)
    im.load()
    for _, _, method in TURNS:
        for level in ("none", *simd.levels):
            with simd.at(level):
                assert im.im.transpose(method).getpalette("RGB", "RGB") == palette


@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16"])
def test_memory_of_others(simd: Simd, mode: str) -> None:
    """Rows in bytes and in a mapped file, at odd addresses, in either order."""
    from PIL import Image

    size, pixel = (61, 40), BYTES.get(mode, 4)
    data = random.Random(mode).randbytes(61 * 40 * pixel)
    anonymous = mmap.mmap(-1, len(data))
    anonymous.write(data)
    for memory in (data, anonymous):
        for step in (1, -1):
            im = Image.frombuffer(mode, size, memory, "raw", mode, 0, step)
            assert im.readonly
            check(simd, im, "shared")


def test_left_to_stock(simd: Simd) -> None:
    """What has no pixels, and what is refused: the same outcome, from stock."""
    for mode in ("L", "RGB"):
        for size in ((0, 0), (0, 9), (9, 0)):
            im = simd.image(mode, size, b"x")
            for function, _, method in TURNS:
                for level in simd.levels:
                    simd.assert_same(
                        function, None, level, partial(im.transpose, method), (mode, size, function)
                    )
