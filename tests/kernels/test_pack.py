"""Pixels in threes: bytes out of images and into them are those of stock."""

from __future__ import annotations

import io
import random
from typing import Any

import pytest
from fronted import Simd, saved

#: Modes and what ``raw`` makes of them, for which there is a shuffler of ours.
PACKED = (
    *((mode, order) for mode in ("RGB", "RGBA", "RGBX") for order in ("RGB", "BGR")),
    *(("YCbCr", "YCbCr"), ("HSV", "HSV")),
)
UNPACKED = (*((mode, order) for mode, order in PACKED if (mode, order) != ("RGBA", "RGB")),)
WIDTHS = (*range(1, 40), 63, 64, 65, 127, 128, 129, 700)


def image(simd: Simd, mode: str, size: tuple[int, int]) -> Any:
    return simd.image(mode, size, random.Random(size[0]).randbytes(size[0] * size[1] * 4))


@pytest.mark.parametrize("rows", ["stock", "heap", "pages"])
@pytest.mark.parametrize(("mode", "order"), PACKED)
def test_packing(simd: Simd, mode: str, order: str, rows: str) -> None:
    with simd.rows(rows):
        for width in WIDTHS:
            im = image(simd, mode, (width, 3))
            stock, ours, served = simd.both(
                "ImagingFindPacker", "sse4", lambda im=im: im.tobytes("raw", order)
            )
            assert stock == ours, width
            assert set(served) == {("pack", "sse4")}


@pytest.mark.parametrize("rows", ["stock", "heap", "pages"])
@pytest.mark.parametrize(("mode", "order"), UNPACKED)
def test_unpacking(simd: Simd, mode: str, order: str, rows: str) -> None:
    from PIL import Image

    with simd.rows(rows):
        for width in WIDTHS:
            data = random.Random(width).randbytes(width * 9)
            simd.assert_same(
                "ImagingFindUnpacker",
                "pack",
                "sse4",
                lambda data=data, width=width: Image.frombytes(mode, (width, 3), data, "raw", order),
                (mode, order, width),
            )


@pytest.mark.parametrize(("mode", "order"), [("RGB", "RGBX"), ("RGBA", "BGRA"), ("RGB", "R"), ("L", "L")])
def test_other_shufflers_are_stocks(simd: Simd, mode: str, order: str) -> None:
    im = image(simd, mode, (50, 3))
    stock, ours, served = simd.both("ImagingFindPacker", "sse4", lambda: im.tobytes("raw", order))
    assert stock == ours
    assert set(served) == {("stock", "none")}


def test_no_such_shuffler(simd: Simd) -> None:
    im = image(simd, "RGB", (5, 3))
    stock, ours, _ = simd.both("ImagingFindPacker", "sse4", lambda: im.tobytes("raw", "LAB"))
    assert stock == ours
    assert isinstance(stock, tuple)  # the error


def test_files(simd: Simd) -> None:
    """Through codecs, whose buffers end where the line does."""
    from PIL import Image

    for width in (1, 5, 6, 7, 33, 200):
        im = image(simd, "RGB", (width, 4))
        for kind in ("TIFF", "BMP", "PPM", "TGA", "PNG"):
            stock, ours, _ = simd.both("ImagingFindPacker", "sse4", lambda im=im, kind=kind: saved(im, kind))
            assert stock == ours, (width, kind)
            simd.assert_same(
                "ImagingFindUnpacker",
                "pack",
                "sse4",
                lambda stock=stock: Image.open(io.BytesIO(stock)).copy(),
                (width, kind),
            )
