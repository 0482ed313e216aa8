"""Pasting, through a mask or without: every byte of stock, those that no band uses and those outside too."""

from __future__ import annotations

import mmap
import random
from functools import partial
from typing import Any

import pytest
from fronted import Simd

MODES = ("L", "P", "LA", "PA", "RGB", "RGBA", "RGBX", "RGBa", "La", "CMYK", "YCbCr", "HSV", "LAB", "I", "F")
MASKS = ("1", "L", "LA", "RGBA")
WIDTHS = (*range(1, 20), 31, 32, 33, 63, 64, 65, 66, 127, 128, 129)


def paste(below: Any, value: Any, mask: Any, place: tuple[int, int]) -> Any:
    """What comes out; ``value`` is an image or a pixel's value."""
    below = below.copy()
    size = (mask or value).size
    box = (*place, place[0] + size[0], place[1] + size[1])
    below.im.paste(getattr(value, "im", value), box, *([mask.im] if mask else []))
    return below


def check(
    simd: Simd,
    below: Any,
    value: Any,
    mask: Any,
    place: tuple[int, int] = (0, 0),
    kernel: str | None = "paste",
) -> None:
    function = "ImagingPaste" if hasattr(value, "im") else "ImagingFill2"
    sources = [im for im in (below, value, mask) if hasattr(im, "im")]
    before = [simd.raw(im) for im in sources]
    for level in simd.levels:
        label = function, level, below, value, mask, place
        simd.assert_same(function, kernel, level, partial(paste, below, value, mask, place), label)
    assert before == [simd.raw(im) for im in sources], "a source was changed"


def pixels(rng: random.Random, length: int) -> bytes:
    if rng.random() < 0.5:
        return rng.randbytes(length)
    return bytes(rng.choices((0, 0, 1, 127, 128, 254, 255, 255), k=length))


def noise(simd: Simd, rng: random.Random, mode: str, size: tuple[int, int]) -> Any:
    return simd.image(mode, size, pixels(rng, size[0] * size[1] * 4))


def color(rng: random.Random, im: Any) -> Any:
    """A pixel's value: as many numbers as the mode has bands."""
    value = tuple(rng.choice((0, 1, 77, 128, 254, 255)) for _ in im.getbands())
    return value if len(value) > 1 else value[0]


@pytest.mark.parametrize("mask_mode", MASKS)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_widths(simd: Simd, mode: str, mask_mode: str) -> None:
    rng = random.Random(mode + mask_mode)
    for width in WIDTHS:
        size = width, 2
        below, above = noise(simd, rng, mode, size), noise(simd, rng, mode, size)
        mask = noise(simd, rng, mask_mode, size)
        check(simd, below, above, mask)
        if mask_mode != "LA":  # an error, in stock
            check(simd, below, color(rng, below), mask)


@pytest.mark.parametrize("mode", MODES)
def test_modes_and_places(simd: Simd, mode: str) -> None:
    rng = random.Random(mode)
    below = noise(simd, rng, mode, (71, 9))
    for mask_mode in MASKS:
        above, mask = noise(simd, rng, mode, (43, 6)), noise(simd, rng, mask_mode, (43, 6))
        for place in ((0, 0), (3, 1), (50, 5), (-7, -2), (28, 3), (-43, 0), (71, 9), (500, -500)):
            check(simd, below, above, mask, place)
            if mask_mode != "LA":
                check(simd, below, color(rng, below), mask, place)


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "RGB", "F"])
def test_without_mask(simd: Simd, mode: str) -> None:
    """Rows around a cache line and beyond what is asked for ahead, at every kind of place."""
    rng = random.Random(mode)
    for width in (1, 5, 15, 16, 17, 31, 33, 63, 64, 65, 79, 128, 200, 511, 513, 2049, 3000):
        below, above = noise(simd, rng, mode, (width + 9, 7)), noise(simd, rng, mode, (width, 5))
        for place in ((0, 0), (9, 2), (4, 1), (-3, -2), (20, 4), (-width, 0), (width + 9, 0), (500, -500)):
            check(simd, below, above, None, place)


def test_crop_and_expand(simd: Simd) -> None:
    from PIL import ImageOps

    im = noise(simd, random.Random(2), "RGB", (301, 40))
    for level in simd.levels:
        for box in ((0, 1, 301, 40), (7, 3, 290, 39), (-5, -5, 310, 50)):
            simd.assert_same("ImagingPaste", "paste", level, partial(im.crop, box), box)
        simd.assert_same("ImagingPaste", "paste", level, partial(ImageOps.expand, im, 20), "expand")


def test_every_mixture(simd: Simd) -> None:
    """Every pair of old and new byte under every mask."""
    with simd.rows("stock"):
        below = simd.image("L", (256, 256), bytes(range(256)) * 256)
        above = simd.image("L", (256, 256), bytes(y for y in range(256) for _ in range(256)))
        masks = [simd.image("L", (256, 256), bytes([value])) for value in range(256)]
        for value, mask in enumerate(masks):
            # One instruction set for each mask is enough: the arithmetic is the same in all.
            level = simd.levels[value % len(simd.levels)]
            operation = partial(paste, below, above, mask, (0, 0))
            simd.assert_same("ImagingPaste", "paste", level, operation, value)


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "LA", "La", "PA"])
def test_a_colour_onto_every_alpha(simd: Simd, mode: str) -> None:
    rng = random.Random(mode)
    data = bytearray(rng.randbytes(256 * 256 * 4))
    data[3::4] = bytes(range(256)) * 256
    below = simd.image(mode, (256, 256), bytes(data))
    mask = simd.image("L", (256, 256), bytes(y for y in range(256) for _ in range(256)))
    check(simd, below, color(rng, below), mask)


def test_composite(simd: Simd) -> None:
    from PIL import Image

    rng = random.Random(3)
    one, two = noise(simd, rng, "RGB", (77, 5)), noise(simd, rng, "RGB", (77, 5))
    for mode in ("1", "L", "RGBA"):
        mask = noise(simd, rng, mode, (77, 5))
        for level in simd.levels:
            simd.assert_same("ImagingPaste", "paste", level, partial(Image.composite, one, two, mask), mode)


def test_memory_of_others(simd: Simd) -> None:
    from PIL import Image

    data = random.Random(4).randbytes(61 * 7 * 4)
    mapped = mmap.mmap(-1, len(data))
    mapped.write(data)
    for memory in (data, mapped):
        one, two = (Image.frombuffer("RGBA", (61, 7), memory, "raw", "RGBA", 0, step) for step in (1, -1))
        assert one.readonly
        check(simd, one, two, Image.frombuffer("L", (61, 7), memory, "raw", "L", 0, 1))
        check(simd, one, two, two)


def test_left_to_stock(simd: Simd) -> None:
    """An odd mask, images over themselves, sizes that do not match: stock's outcome."""
    rng = random.Random(6)
    im, other = noise(simd, rng, "RGBA", (40, 9)), noise(simd, rng, "RGBA", (40, 9))
    small, wide = noise(simd, rng, "L", (39, 9)), noise(simd, rng, "I;16", (40, 9))
    mask = noise(simd, rng, "L", (40, 9))
    for odd in ("RGBa", "RGB", "I", "P"):
        check(simd, im, other, noise(simd, rng, odd, (40, 9)), kernel=None)
    check(simd, im, color(rng, im), noise(simd, rng, "LA", (40, 9)), kernel=None)
    check(simd, im, noise(simd, rng, "RGBA", (39, 9)), mask, kernel=None)
    check(simd, im, other, small, kernel=None)
    check(simd, im, mask, mask, kernel=None)
    check(simd, wide, wide, mask, kernel=None)
    check(simd, wide, 7, mask, kernel=None)
    for level in simd.levels:
        simd.assert_same("ImagingPaste", None, level, partial(over_itself, im, mask, (0, 0)))
        simd.assert_same("ImagingPaste", None, level, partial(over_itself, im, im, (3, 1)))
        simd.assert_same("ImagingPaste", None, level, partial(over_itself, im, None, (3, 1)))


def test_arrow_arrays_may_be_the_same_memory(simd: Simd) -> None:
    from PIL import Image

    with simd.rows("stock"):
        im = noise(simd, random.Random(7), "RGBA", (40, 9))
        mask = noise(simd, random.Random(8), "L", (40, 9))
        check(simd, im, Image.fromarrow(im, "RGBA", im.size), mask, kernel=None)
        check(simd, im, Image.fromarrow(im, "RGBA", im.size), None, kernel=None)
        check(simd, im, color(random.Random(9), im), Image.fromarrow(mask, "L", im.size), kernel=None)


def over_itself(im: Any, mask: Any, place: tuple[int, int]) -> Any:
    im = im.copy()
    im.im.paste(im.im, (*place, place[0] + im.width, place[1] + im.height), *([mask.im] if mask else []))
    return im
