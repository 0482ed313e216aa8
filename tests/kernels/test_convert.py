"""Conversions between modes: every level gives the very bytes of stock.

``SIMDINSTALL_KERNEL_CASES`` sets the number of random cases (the default is a small
part), ``SIMDINSTALL_KERNEL_SEED`` where they start. Each case is compared at every level.
``SIMDINSTALL_KERNEL_EXHAUSTIVE`` lets the conversions of colours go through all 2**24 of
them instead of one in sixteen.
"""

from __future__ import annotations

import contextlib
import os
import random
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fronted import LEVELS, Simd

from conftest import RELEASE

FUNCTION, KERNEL = "ImagingConvert", "convert"
MATRIX_FUNCTION, MATRIX_KERNEL = "ImagingConvertMatrix", "convert_matrix"
CASES = int(os.environ.get("SIMDINSTALL_KERNEL_CASES", "1500"))
SEED = int(os.environ.get("SIMDINSTALL_KERNEL_SEED", "20260"))
EXHAUSTIVE = "SIMDINSTALL_KERNEL_EXHAUSTIVE" in os.environ

VERSION = tuple(int(part) for part in RELEASE.split("."))

RGBS = "RGB RGBA RGBX"
FROM_RGBS = "1 L LA I F CMYK YCbCr HSV"
WORDS = "I;16 I;16L I;16N I;16B"
SERVED = {
    "1": f"{RGBS} I F CMYK YCbCr HSV {'LA' if VERSION >= (12, 3) else ''}",
    "L": f"{RGBS} LA I F CMYK YCbCr HSV {WORDS}",
    "LA": f"{RGBS} L La CMYK YCbCr HSV",
    "La": "LA",
    "RGB": f"{FROM_RGBS} La RGBA RGBa RGBX {WORDS}",
    "RGBA": f"{FROM_RGBS} RGB RGBa RGBX",
    "RGBX": f"{FROM_RGBS} RGB",
    "RGBa": "RGBA RGB",
    "CMYK": f"{RGBS} HSV",
    "YCbCr": "L LA RGB",
    "HSV": "RGB",
    "I": f"{RGBS} L F HSV I;16 I;16L I;16B {'I;16N' if VERSION >= (13,) else ''}",
    "F": "L I",
    "I;16": "RGB L I F",
    "I;16L": "L I F",
    "I;16B": "L I F",
    "I;16N": "L I F" if VERSION >= (13,) else "L",
}
PAIRS = [(source, target) for source, targets in SERVED.items() for target in targets.split()]
MODES = [*SERVED, "LAB", "P", "PA"]

#: The narrowest rows that a level serves; narrower ones are the next lower level's.
LEAST_WIDTH = {"sse4": 16, "avx2": 32, "avx512": 64}
#: Around the steps of each level.
WIDTHS = (1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65, 95, 96, 97, 127, 128, 129, 191, 192, 200)

FLOATS = (0.0, -0.0, 0.5, 0.999, 1.0, 254.5, 254.99999, 255.0, 255.5, 256.0, -0.001, 1e-40, 65535.5, -7.25)
FLOATS += (2147483520.0, 2147483648.0, -2147483648.0, 1e20, -1e38, float("inf"), float("-inf"), float("nan"))
INTS = (0, 1, -1, 127, 128, 254, 255, 256, 32767, 32768, 65534, 65535, 65536, -32768, 2**31 - 1, -(2**31))

Size = tuple[int, int]


@pytest.fixture(autouse=True)
def _without_the_superseded(simd: Simd) -> Iterator[None]:
    """Pillow-SIMD's converters are in the tests' library only; they would serve narrow images."""
    with simd.without("pillow_simd_convert", "pillow_simd_convert_bounded"):
        yield


def serving(level: str, width: int, kernel: str = KERNEL) -> tuple[str, str]:
    """Who serves a row of that width when `level` is in use."""
    for lower in reversed(LEVELS[1 : LEVELS.index(level) + 1]):
        if width >= LEAST_WIDTH[lower]:
            return kernel, lower
    return "stock", "none"


def converted(im: Any, mode: str, dither: int = 0) -> Any:
    return im._new(im.im.convert(mode, dither))


def check(simd: Simd, im: Any, target: str) -> None:
    with simd.at("none"):
        expected = simd.raw(converted(im, target))
    for level in simd.levels:
        with simd.at(level):
            simd.reset()
            found = converted(im, target)
            served = simd.served(FUNCTION)
        label = f"{im.mode} to {target}, {im.size}, {level}"
        assert served == {serving(level, im.width): 1}, label
        assert (found.mode, found.size) == (target, im.size), label
        assert simd.raw(found) == expected, label


def goes_to_stock(simd: Simd, im: Any, target: str, dither: int = 0) -> None:
    for level in simd.levels:
        simd.assert_same(FUNCTION, None, level, lambda: converted(im, target, dither), (im, target))


def pixels(rng: random.Random, mode: str) -> bytes:
    """Noise, extremes, one colour, or small numbers: colours below and above their alpha."""
    kind = rng.randrange(5)
    if mode == "F" and kind:
        return struct.pack("=500f", *(rng.choice((*FLOATS, rng.uniform(-10, 300))) for _ in range(500)))
    if mode == "I" and kind:
        return struct.pack("=500i", *(rng.choice((*INTS, rng.randint(-300, 700))) for _ in range(500)))
    if kind == 1:
        return bytes(rng.choices((0, 1, 127, 128, 254, 255), k=2000))
    if kind == 2:
        return rng.randbytes(4)
    if kind == 3:
        return bytes(rng.choices((0, 1, 2, 3, 255), k=2000))
    return rng.randbytes(2000)


def test_random_cases(simd: Simd) -> None:
    for number in range(CASES):
        rng = random.Random(SEED + number)
        source, target = rng.choice(PAIRS)
        size = rng.choice((rng.choice(WIDTHS), rng.randint(1, 300))), rng.randint(1, 6)
        check(simd, simd.image(source, size, pixels(rng, source)), target)


@pytest.mark.parametrize("source", SERVED)
def test_widths(simd: Simd, source: str) -> None:
    rng = random.Random(source)
    for target in SERVED[source].split():
        for width in WIDTHS:
            check(simd, simd.image(source, (width, 3), pixels(rng, source)), target)


@pytest.mark.parametrize(
    ("source", "target"), [("L", "RGB"), ("RGB", "L"), ("RGBA", "RGBa"), ("RGB", "YCbCr")]
)
@pytest.mark.parametrize("size", [(32767, 2), (32768, 1), (65537, 1), (16, 5000)])
def test_long_sides(simd: Simd, source: str, target: str, size: Size) -> None:
    check(simd, simd.image(source, size, random.Random(1).randbytes(9999)), target)


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (64, 0)])
def test_empty_images(simd: Simd, size: Size) -> None:
    check(simd, simd.image("RGB", size, b"\1"), "L")
    check(simd, simd.image("L", size, b"\1"), "RGB")


# --- every input there is


@pytest.mark.parametrize(("source", "target"), [("RGBA", "RGBa"), ("RGBa", "RGBA"), ("RGBa", "RGB")])
def test_every_colour_with_every_alpha(simd: Simd, source: str, target: str) -> None:
    data = bytes(n for alpha in range(256) for c in range(256) for n in (c, 255 - c, c * 7 % 256, alpha))
    check(simd, simd.image(source, (256, 256), data), target)


@pytest.mark.parametrize(("source", "target"), [("LA", "La"), ("La", "LA")])
def test_every_grey_with_every_alpha(simd: Simd, source: str, target: str) -> None:
    data = bytes(n for alpha in range(256) for grey in range(256) for n in (grey, grey, grey, alpha))
    check(simd, simd.image(source, (256, 256), data), target)


@pytest.mark.parametrize(
    ("source", "target"),
    [("RGB", target) for target in SERVED["RGB"].split()]
    + [("HSV", "RGB"), ("YCbCr", "RGB"), ("CMYK", "RGB"), ("CMYK", "HSV")],
)
def test_every_colour(simd: Simd, source: str, target: str) -> None:
    """The first two bands in every way, and the third with a sixteenth of its values or all."""
    rng = random.Random(source + target)
    thirds = list(range(256)) if EXHAUSTIVE else [0, 255, *rng.sample(range(1, 255), 14)]
    plane = bytearray(256 * 256 * 4)
    plane[0::4] = bytes(range(256)) * 256
    plane[1::4] = bytes(n for n in range(256) for _ in range(256))
    for start in range(0, len(thirds), 8):
        data = bytearray()
        for third in thirds[start : start + 8]:
            plane[2::4] = bytes([third]) * 65536
            plane[3::4] = rng.randbytes(256) * 256
            data += plane
        check(simd, simd.image(source, (1024, len(data) // 4096), bytes(data)), target)


def test_every_number_of_16_bits(simd: Simd) -> None:
    for source in WORDS.split():
        for target in SERVED[source].split():
            data = b"".join(struct.pack("=H", n) for n in range(65536))
            check(simd, simd.image(source, (256, 256), data), target)
    for target in SERVED["I"].split():
        data = b"".join(struct.pack("=i", n) for n in range(-2000, 70000))
        check(simd, simd.image("I", (1000, 72), data), target)


# --- what goes with it


def test_what_is_not_served_goes_to_stock(simd: Simd) -> None:
    """Among it what stock refuses: that has the same words."""
    served = set(PAIRS)
    for source in MODES:
        for target in MODES:
            if (source, target) not in served:
                goes_to_stock(simd, simd.image(source, (70, 3), b"\1\2\3\4\5"), target)


def test_dithering_goes_to_stock(simd: Simd) -> None:
    for source in ("L", "RGB", "RGBA", "RGBX"):
        im = simd.image(source, (70, 3), random.Random(2).randbytes(999))
        goes_to_stock(simd, im, "1", dither=3)


def test_transparency_goes_to_stock(simd: Simd) -> None:
    im = simd.image("RGB", (70, 3), b"\1\2\3\xff")
    im.info["transparency"] = (1, 2, 3)
    for level in simd.levels:
        with simd.at(level):
            simd.reset()
            assert set(im.convert("RGBA").tobytes()) == {1, 2, 3, 0}
            assert not simd.served(FUNCTION)


def test_resize_with_alpha_goes_through_it(simd: Simd) -> None:
    im = simd.image("RGBA", (130, 70), random.Random(3).randbytes(9999))
    for level in simd.levels:
        with simd.at(level):
            simd.reset()
            im.resize((70, 30), 3)
            assert simd.served(FUNCTION) == {(KERNEL, level): 2}


def test_mapped_memory(simd: Simd) -> None:
    """An image that is a view of read-only bytes."""
    from PIL import Image

    data = random.Random(4).randbytes(100 * 7 * 4)
    for step in (1, -1):
        im = Image.frombuffer("RGBA", (100, 7), data, "raw", "RGBA", 0, step)
        for target in SERVED["RGBA"].split():
            check(simd, im, target)


@pytest.mark.skipif(VERSION < (13,), reason="has no convert_into")
class TestInto:
    """The result written into an image that is there."""

    def test_the_same(self, simd: Simd) -> None:
        from PIL import Image

        rng = random.Random(5)
        for source, target in PAIRS:
            im = simd.image(source, (97, 5), pixels(rng, source))
            with simd.at("none"):
                expected = simd.raw(converted(im, target))
            for level in simd.levels:
                out = Image.new(target, im.size)
                with simd.at(level):
                    simd.reset()
                    im.im.convert_into(out.im)
                    assert simd.served(FUNCTION) == {serving(level, 97): 1}
                assert simd.raw(out) == expected, (source, target, level)

    def test_another_size_goes_to_stock(self, simd: Simd) -> None:
        from PIL import Image

        im = simd.image("RGBA", (97, 5), b"\1")
        for size in ((96, 5), (97, 6)):
            for level in simd.levels:
                with simd.at(level), pytest.raises(ValueError, match="images do not match"):
                    im.im.convert_into(Image.new("L", size).im)

    def test_shared_memory_goes_to_stock(self, simd: Simd) -> None:
        """What stock reads it may have written before: the kernel would read ahead of that."""
        from PIL import Image

        data = random.Random(6).randbytes(100 * 8 * 4)
        for offset in (0, 4, 200):
            results = []
            for level in ("none", *simd.levels):
                memory = bytearray(data)
                source = Image.frombuffer("RGBA", (100, 7), memory, "raw", "RGBA", 0, 1)
                other = memoryview(memory)[offset:]
                target = Image.frombuffer("CMYK", (100, 7), other, "raw", "CMYK", 0, 1)
                with simd.at(level):
                    simd.reset()
                    source.im.convert_into(target.im)
                    assert simd.served(FUNCTION) == {("stock", "none"): 1}
                results.append(bytes(memory))
            assert len(set(results)) == 1


def test_threads(simd: Simd) -> None:
    """Calls run side by side, without the interpreter's lock."""
    rng = random.Random(7)
    jobs = [
        (simd.image(source, (200, 100), pixels(rng, source)), target)
        for source, target in rng.sample(PAIRS, 24)
    ]
    with simd.at("none"):
        expected = [simd.raw(converted(im, target)) for im, target in jobs]
    for level in simd.levels:
        with simd.at(level), ThreadPoolExecutor(16) as pool:
            for _ in range(5):
                found = pool.map(lambda job: simd.raw(converted(*job)), jobs)
                assert list(found) == expected, level


# --- palettes

PALETTE_TARGETS = ("1", "L", "LA", "I", "F", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")


def with_palette(simd: Simd, rng: random.Random, size: Size) -> Any:
    im = simd.image("P", size, rng.randbytes(9999))
    mode = rng.choice(("RGB", "RGBA"))
    entries = rng.choice((1, 2, 100, 256))
    im.im.putpalette(mode, mode, rng.randbytes(entries * len(mode)))
    return im


def test_palette(simd: Simd) -> None:
    rng = random.Random(8)
    for _ in range(max(2, CASES // 50)):
        width = rng.choice((*WIDTHS, rng.randint(16, 300)))
        if width < 16:
            continue
        im = with_palette(simd, rng, (width, 1024 // width + rng.randint(1, 5)))
        for target in PALETTE_TARGETS:
            check(simd, im, target)


def test_palette_leaves_to_stock(simd: Simd) -> None:
    """Few pixels, narrow images, and what is no mere table."""
    rng = random.Random(9)
    for size in ((64, 15), (1023, 1), (15, 300)):
        im = with_palette(simd, rng, size)
        for target in PALETTE_TARGETS:
            goes_to_stock(simd, im, target)
    im = with_palette(simd, rng, (64, 64))
    for target in ("PA", "RGBa", "La", "LAB", "I;16"):
        goes_to_stock(simd, im, target)
    im = simd.image("PA", (64, 64), rng.randbytes(999))
    im.im.putpalette("RGB", "RGB", rng.randbytes(768))
    for target in ("P", *PALETTE_TARGETS):
        goes_to_stock(simd, im, target)


# --- ImagingConvertMatrix

MATRIX_MODES = ("RGB", "YCbCr", "HSV", "LAB")
NUMBERS = (0.0, -0.0, 0.5, 1.0, 255.0, -1.0, 1e-40, 1e38, -3e38, float("inf"), float("-inf"), float("nan"))


def transformed(im: Any, mode: str, matrix: tuple[float, ...]) -> Any:
    return im._new(im.im.convert_matrix(mode, matrix))


def check_matrix(simd: Simd, im: Any, mode: str, matrix: tuple[float, ...]) -> None:
    """Without the fourth byte of a result in RGB, which stock never writes."""
    with simd.at("none"):
        expected = transformed(im, mode, matrix).tobytes()
    for level in simd.levels:
        with simd.at(level):
            simd.reset()
            found = transformed(im, mode, matrix).tobytes()
            served = simd.served(MATRIX_FUNCTION)
        label = f"{im.mode} to {mode}, {im.size}, {level}: {matrix}"
        assert served == {serving(level, im.width, MATRIX_KERNEL): 1}, label
        assert found == expected, label


def random_number(rng: random.Random) -> float:
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice(NUMBERS)
    if kind == 1:
        return rng.choice((1, -1)) * 2 ** rng.uniform(-40, 40)
    return rng.uniform(-2, 2) if kind < 4 else rng.uniform(0, 1)


def test_matrix_random_cases(simd: Simd) -> None:
    for number in range(CASES // 2):
        rng = random.Random(SEED + number)
        size = rng.choice((rng.choice(WIDTHS), rng.randint(1, 300))), rng.randint(1, 4)
        im = simd.image(rng.choice(MATRIX_MODES), size, pixels(rng, "RGB"))
        mode = rng.choice(("L", "RGB"))
        matrix = tuple(random_number(rng) for _ in range(4 if mode == "L" else 12))
        check_matrix(simd, im, mode, matrix)


def test_matrix_halves(simd: Simd) -> None:
    """Sums that lie on a half, or a hair beside it."""
    im = simd.image("RGB", (256, 8), bytes(n for c in range(256) for n in (c, c * 5 % 256, c * 11 % 256, 9)))
    for offset in (0.5, 0.49999997, 0.50000006, -0.5, 127.5, -2.5):
        check_matrix(simd, im, "L", (0.5, 0.25, -0.125, offset))
        check_matrix(simd, im, "RGB", (1, 0, 0, offset, 0, 0.5, 0, offset, 0.5, 0.5, 0.5, offset))


def test_matrix_leaves_to_stock(simd: Simd) -> None:
    for source in ("L", "RGBA", "F", "CMYK"):
        im = simd.image(source, (70, 3), b"\1\2\3\4")
        for level in simd.levels:
            operation = lambda im=im: transformed(im, "L", (1.0, 0.0, 0.0, 0.0))  # noqa: E731
            simd.assert_same(MATRIX_FUNCTION, None, level, operation, source)
    im = simd.image("RGB", (70, 3), b"\1\2\3\4")
    for target in ("HSV", "LAB", "RGBA", "F"):
        for level in simd.levels:
            with simd.at(level):
                simd.reset()
                with contextlib.suppress(ValueError):
                    transformed(im, target, (1.0,) * 12)
                assert simd.served(MATRIX_FUNCTION) == {("stock", "none"): 1}, target
