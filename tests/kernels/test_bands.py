"""Splitting, merging and setting bands: every byte of stock, those that no band uses too."""

from __future__ import annotations

import mmap
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from fronted import Simd

from conftest import RELEASE

#: Modes of several bands, and how many.
MODES = {
    **{"LA": 2, "La": 2, "RGB": 3, "YCbCr": 3, "HSV": 3, "LAB": 3},
    **{"RGBA": 4, "RGBX": 4, "RGBa": 4, "CMYK": 4},
}
WIDTHS = (*range(1, 20), 31, 32, 33, 47, 63, 64, 65, 66, 95, 127, 128, 129, 191, 193)


def pixels(rng: random.Random, length: int) -> bytes:
    if rng.random() < 0.7:
        return rng.randbytes(length)
    return bytes(rng.choices((0, 1, 127, 128, 254, 255), k=length))


def check(
    simd: Simd, function: str, operation: Callable[..., Any], *arguments: Any, kernel: str | None = "bands"
) -> None:
    for level in simd.levels:
        label = function, level, *map(repr, arguments)
        simd.assert_same(function, kernel, level, partial(operation, *arguments), label)


# The operations, as functions of images that give an image.


def get(im: Any, band: int) -> Any:
    return im._new(im.im.getband(band))


def split(im: Any, band: int) -> Any:
    return im._new(im.im.split()[band])


def merge(mode: str, *bands: Any) -> Any:
    from PIL import Image

    return Image.Image()._new(Image.core.merge(mode, *(band.im for band in bands)))


def put(im: Any, value: Any, band: int) -> Any:
    im = im.copy()
    im.im.putband(value.im, band)
    return im


def fill(im: Any, color: int, band: int) -> Any:
    im = im.copy()
    im.im.fillband(band, color)
    return im


def putalpha(im: Any, value: Any) -> Any:
    im = im.copy()
    im.putalpha(value)
    return im


def check_all(simd: Simd, im: Any) -> None:
    """Every operation on the bands of that image."""
    before = simd.raw(im)
    with simd.at("none"):
        bands = im.split()
    for number in range(len(bands)):
        check(simd, "ImagingGetBand", get, im, number)
        check(simd, "ImagingSplit", split, im, number)
        check(simd, "ImagingPutBand", put, im, bands[0], number)
    for color in (-7, 0, 200, 999):
        check(simd, "ImagingFillBand", fill, im, color, len(bands) - 1)
    check(simd, "ImagingMerge", merge, im.mode, *bands)
    check(simd, "ImagingMerge", merge, im.mode, *bands[:1] * len(bands))
    assert simd.raw(im) == before, "the source was changed"


@pytest.mark.parametrize("mode", ["LA", "RGB", "RGBA"])
def test_widths(simd: Simd, mode: str) -> None:
    rng = random.Random(mode)
    for width in WIDTHS:
        check_all(simd, simd.image(mode, (width, 2), pixels(rng, width * 8)))


@pytest.mark.parametrize("mode", MODES)
def test_modes(simd: Simd, mode: str) -> None:
    rng = random.Random(mode)
    for size in ((70, 3), (300, 2)):
        im = simd.image(mode, size, pixels(rng, 2400))
        check_all(simd, im)
        for band in range(MODES[mode]):
            check(simd, "ImagingFillBand", fill, im, 77, band)


def test_bands_of_a_palette_image(simd: Simd) -> None:
    im = simd.image("PA", (77, 5), random.Random(3).randbytes(1540))
    for band in (0, 1):
        check(simd, "ImagingGetBand", get, im, band)
        check(simd, "ImagingSplit", split, im, band)


def test_putalpha(simd: Simd) -> None:
    """The way that most take: an image gets an alpha, or another one."""
    rng = random.Random(9)
    alpha = simd.image("L", (67, 9), rng.randbytes(603))
    for mode in ("L", "LA", "RGB", "RGBA"):
        im = simd.image(mode, (67, 9), rng.randbytes(2412))
        check(simd, "ImagingPutBand", putalpha, im, alpha)
        check(simd, "ImagingFillBand", putalpha, im, 131)


def test_memory_of_others(simd: Simd) -> None:
    """Rows in bytes and in a mapped file, in either order."""
    from PIL import Image

    data = random.Random(4).randbytes(61 * 7 * 4)
    mapped = mmap.mmap(-1, len(data))
    mapped.write(data)
    for memory in (data, mapped):
        for step in (1, -1):
            im = Image.frombuffer("RGBA", (61, 7), memory, "raw", "RGBA", 0, step)
            assert im.readonly
            check_all(simd, im)
        bands = [Image.frombuffer("L", (61, 7), memory, "raw", "L", 0, step) for step in (1, -1, 1)]
        check(simd, "ImagingMerge", merge, "RGB", *bands)


def test_left_to_stock(simd: Simd) -> None:
    """Refused, or a copy of the whole: the same outcome, from stock."""
    rng = random.Random(6)
    rgb = simd.image("RGB", (9, 9), rng.randbytes(324))
    grey = simd.image("L", (9, 9), rng.randbytes(81))
    small = simd.image("L", (8, 9), rng.randbytes(72))
    integer = simd.image("I", (9, 9), rng.randbytes(324))
    empty, empty_grey = simd.image("RGB", (0, 5), b"x"), simd.image("L", (0, 5), b"x")

    for im, band in ((rgb, -1), (rgb, 3), (grey, 0), (grey, 1), (integer, 0)):
        check(simd, "ImagingGetBand", get, im, band, kernel=None)
        check(simd, "ImagingPutBand", put, im, grey, band, kernel=None)
        if (im, band) != (grey, 0):  # stock takes its bytes for pixels of four, and leaves the rows
            check(simd, "ImagingFillBand", fill, im, 7, band, kernel=None)
    reads_integers_as_bytes = int(RELEASE.split(".")[0]) < 13  # beyond its memory
    for wrong in (small, rgb, integer):
        check(simd, "ImagingPutBand", put, rgb, wrong, 0, kernel=None)
        if wrong is not integer or not reads_integers_as_bytes:
            check(simd, "ImagingMerge", merge, "RGB", grey, grey, wrong, kernel=None)
    for im in (integer, grey, empty):
        check(simd, "ImagingSplit", split, im, 0, kernel=None)
    check(simd, "ImagingMerge", merge, "L", grey, kernel=None)
    check(simd, "ImagingMerge", merge, "I", integer, kernel=None)
    check(simd, "ImagingMerge", merge, "RGB", grey, grey, kernel=None)
    check(simd, "ImagingMerge", merge, "LA", grey, grey, grey, kernel=None)
    check(simd, "ImagingMerge", merge, "PA", grey, grey, kernel=None)
    check(simd, "ImagingMerge", merge, "RGB", empty_grey, empty_grey, empty_grey, kernel=None)
