"""Box blur, and Gaussian blur through it: every level gives the very bytes of stock.

``SIMDINSTALL_KERNEL_CASES`` sets the number of random cases (the default is a small
part), ``SIMDINSTALL_KERNEL_SEED`` where they start. Each case is compared at every level.
"""

from __future__ import annotations

import ctypes
import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fronted import Simd

from conftest import RELEASE

FUNCTION = "ImagingBoxBlur"
KERNEL = "box_blur"
CASES = int(os.environ.get("SIMDINSTALL_KERNEL_CASES", "1500"))
SEED = int(os.environ.get("SIMDINSTALL_KERNEL_SEED", "20260"))

MODES = ("L", "LA", "La", "RGB", "RGBA", "RGBa", "RGBX", "CMYK")
#: Around the vectors' widths, in pixels of one byte and of four, and the chunks of a pass.
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 79, 127, 128, 129, 143)
#: Rims with and without weight, the last radius that 16 bits would hold, longer than any line.
RADII = (
    0,
    1e-40,
    0.1,
    0.4999,
    0.5,
    0.99999,
    1,
    1.5,
    2,
    3.3,
    7,
    7.9,
    14.2,
    15,
    16,
    31.5,
    64,
    127.7,
    128,
    129,
    1e3,
    65537.5,
    1e6,
    2**22 - 0.5,
)
#: The weights of these do not fit, or stock refuses them.
NOT_SERVED = (2.0**22, 2.0**24, -0.5)
if int(RELEASE.split(".")[0]) >= 13:  # before, stock itself crashed
    NOT_SERVED += (2.0**30, 3e9, float("nan"), float("inf"))

Size = tuple[int, int]
Radius = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    mode: str
    size: Size
    radius: Radius
    passes: int
    data: bytes

    def __str__(self) -> str:
        return f"{self.mode} {self.size} radius {self.radius} passes {self.passes}"


def blurred(im: Any, radius: Radius, passes: int) -> Any:
    return im._new(im.im.box_blur(radius, passes))


def check(simd: Simd, case: Case) -> None:
    im = simd.image(case.mode, case.size, case.data)
    with simd.at("none"):
        expected = simd.raw(blurred(im, case.radius, case.passes))
    for level in simd.levels:
        with simd.at(level):
            simd.reset()
            found = blurred(im, case.radius, case.passes)
            served = simd.served(FUNCTION)
        assert served == {(KERNEL, level): 1}, f"{level}: {case}"
        assert simd.raw(found) == expected, f"{level}: {case}"


def pixels(rng: random.Random, length: int) -> bytes:
    """Noise, black and white, near the end of the range, all the same, or opaque, once with one hole."""
    kind = rng.randrange(6)
    if kind >= 4:
        opaque = bytearray(rng.randbytes(length // 4 * 4 or 4))
        opaque[3::4] = bytes([rng.choice((0, 1, 255))]) * len(opaque[3::4])
        if kind == 5 and rng.randrange(2):
            opaque[rng.randrange(len(opaque)) | 3] ^= 1
        return bytes(opaque)
    if kind == 0:
        return rng.randbytes(length)
    if kind == 1:
        return bytes(rng.choices((0, 255), k=length))
    if kind == 2:
        return bytes(rng.choices((253, 254, 255), k=length))
    return rng.randbytes(4)


def random_case(rng: random.Random) -> Case:
    size = (
        rng.choice((rng.randint(1, 24), rng.choice(SIZES))),
        rng.choice((rng.randint(1, 24), rng.choice(SIZES))),
    )

    def radius() -> float:
        return rng.choice(
            (rng.random() * 4, rng.random() * 40, 10 ** rng.uniform(-3, 6.6), rng.choice(RADII))
        )

    x, y = rng.choice(((radius(), radius()), (radius(), 0), (0, radius())))
    return Case(
        mode=rng.choice(MODES),
        size=size,
        radius=(x or 1, y),
        passes=rng.choice((1, 1, 2, 3, 3, 4, 5, 9)),
        data=pixels(rng, min(size[0] * size[1] * 4, 4000)),
    )


def test_random_cases(simd: Simd) -> None:
    for number in range(CASES):
        check(simd, random_case(random.Random(SEED + number)))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_sizes(simd: Simd, mode: str) -> None:
    data = random.Random(1).randbytes(9999)
    for n in SIZES:
        for size in ((n, 40), (40, n), (n, 1), (1, n)):
            check(simd, Case(mode=mode, size=size, radius=(2.3, 5.1), passes=3, data=data))


@pytest.mark.parametrize("mode", MODES)
def test_radii(simd: Simd, mode: str) -> None:
    data = random.Random(2).randbytes(9999)
    for radius in RADII:
        for size in ((70, 37), (37, 70)):
            check(simd, Case(mode=mode, size=size, radius=(radius, 1.25), passes=1, data=data))
            check(simd, Case(mode=mode, size=size, radius=(0.75, radius), passes=3, data=data))


def test_three_bands_with_any_fourth_byte(simd: Simd) -> None:
    """The byte that RGB does not use is the same in nearly all images, and blurred in the others."""
    rng = random.Random(8)
    for size in ((70, 50), (35, 131), (200, 33)):
        data = bytearray(rng.randbytes(size[0] * size[1] * 4))
        for fourth in (0, 77, 255):
            data[3::4] = bytes([fourth]) * (size[0] * size[1])
            holes = (0, len(data) // 2, len(data) - 4, size[0] * 4 * 16 - 4)
            for hole in (None, *holes):
                found = bytearray(data)
                if hole is not None:
                    found[hole + 3] ^= 1
                for radius, passes in (((2.3, 5.1), 3), ((0.4, 0.7), 5), ((3, 0), 1), ((0, 3), 2)):
                    case = Case(mode="RGB", size=size, radius=radius, passes=passes, data=bytes(found))
                    check(simd, case)


def test_all_pixels_with_radius_below_1(simd: Simd) -> None:
    """All sums of neighbours for all pixels, where the weights' remainder decides."""
    line = bytes(value for pixel in range(256) for rim in (0, 1, 2, 127, 254, 255) for value in (pixel, rim))
    every = bytes(range(256))
    pairs = b"".join(bytes([a, b, a]) for a in every for b in every)
    for radius in (0.25, 0.1, 1 / 3, 0.4999, 0.618, 0.8, 0.9999, 1e-7):
        check(simd, Case(mode="L", size=(len(line), 1), radius=(radius, 0), passes=1, data=line))
        check(simd, Case(mode="L", size=(256 * 3, 256), radius=(radius, 0), passes=2, data=pairs))
        check(simd, Case(mode="L", size=(256, 256 * 3), radius=(0, radius), passes=1, data=pairs))


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_long_lines(simd: Simd, mode: str) -> None:
    data = random.Random(3).randbytes(99999)
    for size in ((32768, 3), (3, 32769), (70000, 1), (1, 65537)):
        for radius in (1.5, 20.3, 300, 40000.5):
            check(simd, Case(mode=mode, size=size, radius=(radius, radius / 2), passes=2, data=data))


def test_number_of_passes(simd: Simd) -> None:
    data = random.Random(4).randbytes(9999)
    for passes in (*range(1, 14), 100):
        check(simd, Case(mode="RGB", size=(50, 41), radius=(1.7, 3.2), passes=passes, data=data))


@pytest.mark.parametrize("mode", MODES)
def test_gaussian_goes_through_it(simd: Simd, mode: str) -> None:
    from PIL import ImageFilter

    im = simd.image(mode, (83, 51), random.Random(5).randbytes(9999))
    for radius in (0.3, 1, 2.5, 10, 30, (4, 0), (0, 4), (1.5, 90)):
        for level in simd.levels:
            blur = ImageFilter.GaussianBlur(radius)
            simd.assert_same(FUNCTION, KERNEL, level, lambda blur=blur: im.filter(blur), radius)


def not_served(simd: Simd, im: Any, radius: Radius, passes: int) -> None:
    """The kernel leaves the call alone, and no other one is asked."""
    with simd.without("pillow_simd_box_blur"):
        for level in simd.levels:
            simd.assert_same(
                FUNCTION, None, level, lambda: blurred(im, radius, passes), (level, radius, passes)
            )


def test_bad_radii_and_passes_go_to_stock(simd: Simd) -> None:
    im = simd.image("RGB", (20, 10), b"\1\2\3\4")
    for radius in NOT_SERVED:
        not_served(simd, im, (radius, 1), 1)
        not_served(simd, im, (1, radius), 2)
    not_served(simd, im, (0, 0), 1)
    for passes in (0, -1):
        not_served(simd, im, (1, 1), passes)


@pytest.mark.parametrize("mode", ["1", "I", "F", "I;16", "P", "YCbCr", "LAB", "HSV", "PA"])
def test_other_modes_go_to_stock(simd: Simd, mode: str) -> None:
    not_served(simd, simd.image(mode, (20, 10), b"\1\2\3\4\5"), (1, 1), 1)


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
def test_empty_images_go_to_stock(simd: Simd, size: Size) -> None:
    not_served(simd, simd.image("RGB", size, b"\1"), (1, 1), 1)


def test_more_memory_than_stock_goes_to_stock(simd: Simd) -> None:
    """One very long line and a radius that reaches all over it."""
    im = simd.image("L", (3_000_000, 1), random.Random(6).randbytes(999))
    not_served(simd, im, (1e6, 0), 3)
    for level in simd.levels:
        simd.assert_same(FUNCTION, KERNEL, level, lambda: blurred(im, (10, 0), 3))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_in_place(simd: Simd, mode: str) -> None:
    """The C function may be given one image as source and destination."""
    from PIL import Image

    box_blur = ctypes.PyDLL(str(Path(Image.__file__).parent / "libpillow_simd.so")).ImagingBoxBlur
    box_blur.restype = ctypes.c_void_p
    box_blur.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_float, ctypes.c_float, ctypes.c_int)
    data = random.Random(7).randbytes(9999)
    for size in ((70, 50), (16, 100), (133, 1)):
        for radius, passes in (((2.5, 1.5), 1), ((3, 0), 3), ((0, 9.9), 2), ((20, 30), 6)):
            expected = simd.raw(blurred(simd.image(mode, size, data), radius, passes))
            for level in simd.levels:
                im = simd.image(mode, size, data)
                pointer = simd._image(im)
                with simd.at(level):
                    assert box_blur(pointer, pointer, *radius, passes) == pointer
                assert simd.raw(im) == expected, (level, size, radius, passes)


def test_threads(simd: Simd) -> None:
    """Calls run side by side, without the interpreter's lock."""
    images = [simd.image("RGB", (200, 150), random.Random(n).randbytes(9999)) for n in range(8)]
    radii = [(0.5 * n + 0.2, 7.0 - n * 0.8) for n in range(8)]
    with simd.at("none"):
        expected = [simd.raw(blurred(im, radius, 3)) for im, radius in zip(images, radii, strict=True)]
    for level in simd.levels:
        with simd.at(level), ThreadPoolExecutor(16) as pool:
            for _ in range(5):
                found = pool.map(lambda im, radius: simd.raw(blurred(im, radius, 3)), images * 2, radii * 2)
                assert list(found) == expected * 2, level
