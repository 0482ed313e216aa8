"""Unsharp mask: every level gives the very bytes of stock.

``SIMDINSTALL_KERNEL_CASES`` sets the number of random cases (the default is a small
part), ``SIMDINSTALL_KERNEL_SEED`` where they start. Each case is compared at every level.
"""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from fronted import Simd

FUNCTION = "ImagingUnsharpMask"
KERNEL = "unsharp_mask"
CASES = int(os.environ.get("SIMDINSTALL_KERNEL_CASES", "1500"))
SEED = int(os.environ.get("SIMDINSTALL_KERNEL_SEED", "20260"))

MODES = ("L", "LA", "La", "RGB", "RGBA", "RGBa", "RGBX", "CMYK")
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 127, 128, 129)
#: Around whole multiples of 100, around where more makes no difference, the last that is served.
PERCENT = (0, 1, 50, 99, 100, 101, 150, 199, 200, 333, 25499, 25500, 25501, 70000, (2**31 - 1) // 255)
THRESHOLDS = (-(2**31), -1, 0, 1, 2, 3, 10, 100, 253, 254, 255, 256, 2**31 - 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    mode: str
    size: tuple[int, int]
    radius: float
    percent: int
    threshold: int
    data: bytes

    def __str__(self) -> str:
        return (
            f"{self.mode} {self.size} radius {self.radius} percent {self.percent} threshold {self.threshold}"
        )


def sharpened(im: Any, radius: float, percent: int, threshold: int) -> Any:
    return im._new(im.im.unsharp_mask(radius, percent, threshold))


def check(simd: Simd, case: Case) -> None:
    im = simd.image(case.mode, case.size, case.data)
    with simd.at("none"):
        expected = simd.raw(sharpened(im, case.radius, case.percent, case.threshold))
    for level in simd.levels:
        with simd.at(level):
            simd.reset()
            found = sharpened(im, case.radius, case.percent, case.threshold)
            served = simd.served(FUNCTION)
        assert served == {(KERNEL, level): 1}, f"{level}: {case}"
        assert simd.raw(found) == expected, f"{level}: {case}"


def random_case(rng: random.Random) -> Case:
    size = rng.choice((rng.randint(1, 40), rng.choice(WIDTHS))), rng.randint(1, 20)
    length = min(size[0] * size[1] * 4, 4000)
    data = rng.randbytes(length) if rng.random() < 0.7 else bytes(rng.choices((0, 1, 254, 255), k=length))
    percent = rng.choice((rng.choice(PERCENT), rng.randint(0, 400), rng.randint(0, 26000)))
    return Case(
        mode=rng.choice(MODES),
        size=size,
        radius=rng.choice((0, 0.3, 2, rng.random() * 6)),
        percent=percent if rng.random() < 0.8 else -percent,
        threshold=rng.choice((rng.choice(THRESHOLDS), rng.randint(0, 260))),
        data=data,
    )


def test_random_cases(simd: Simd) -> None:
    for number in range(CASES):
        check(simd, random_case(random.Random(SEED + number)))


def test_every_difference(simd: Simd) -> None:
    """Every byte beside every other, so that all differences are there, at many percentages."""
    data = b"".join(bytes((i, j)) * 2 for i in range(256) for j in range(0, 256, 3))
    for percent in (*PERCENT, *range(0, 420, 7)):
        for sign in (1, -1):
            case = Case(mode="L", size=(344, 256), radius=0.7, percent=sign * percent, threshold=0, data=data)
            check(simd, case)


@pytest.mark.parametrize("mode", MODES)
def test_thresholds(simd: Simd, mode: str) -> None:
    data = random.Random(1).randbytes(9999)
    for threshold in THRESHOLDS:
        check(simd, Case(mode=mode, size=(61, 40), radius=2, percent=150, threshold=threshold, data=data))


def test_widths(simd: Simd) -> None:
    data = random.Random(2).randbytes(99999)
    for mode in ("L", "RGB"):
        for width in (*WIDTHS, 32769):
            check(simd, Case(mode=mode, size=(width, 5), radius=1, percent=130, threshold=3, data=data))


def test_percentages_that_overflow_go_to_stock(simd: Simd) -> None:
    im = simd.image("L", (20, 10), b"\x80")  # no differences: the product is 0 all the same
    for percent in ((2**31 - 1) // 255 + 1, 2**31 - 1, -(2**31)):
        for level in simd.levels:
            simd.assert_same(
                FUNCTION, None, level, lambda percent=percent: sharpened(im, 2, percent, 3), percent
            )


@pytest.mark.parametrize("mode", ["1", "I", "F", "P", "YCbCr", "HSV"])
def test_what_the_blur_refuses(simd: Simd, mode: str) -> None:
    im = simd.image(mode, (20, 10), b"\1\2\3\4\5")
    for level in simd.levels:
        stock, ours, _ = simd.both(FUNCTION, level, lambda: sharpened(im, 2, 150, 3))
        assert stock == ours
        assert isinstance(ours, tuple)


def test_negative_radius(simd: Simd) -> None:
    for mode, size in (("RGB", (20, 10)), ("RGB", (0, 0)), ("L", (0, 7))):
        im = simd.image(mode, size, b"\1\2\3\4\5")
        for level in simd.levels:
            simd.assert_same(FUNCTION, KERNEL, level, lambda im=im: sharpened(im, -2, 150, 3), (mode, size))


def test_through_python(simd: Simd) -> None:
    from PIL import ImageFilter

    for mode in ("L", "RGB", "RGBA"):
        im = simd.image(mode, (83, 51), random.Random(5).randbytes(9999))
        for level in simd.levels:
            for mask in (ImageFilter.UnsharpMask(), ImageFilter.UnsharpMask(10.5, 220, 7)):
                simd.assert_same(FUNCTION, KERNEL, level, lambda im=im, mask=mask: im.filter(mask), mode)


def test_threads(simd: Simd) -> None:
    """Calls run side by side, without the interpreter's lock."""
    images = [simd.image("RGB", (200, 150), random.Random(n).randbytes(9999)) for n in range(8)]

    def run(n: int) -> bytes:
        return simd.raw(sharpened(images[n], 0.5 + n, 100 + 30 * n, n))

    with simd.at("none"):
        expected = [run(n) for n in range(8)]
    for level in simd.levels:
        with simd.at(level), ThreadPoolExecutor(16) as pool:
            for _ in range(5):
                assert list(pool.map(run, list(range(8)) * 2)) == expected * 2, level
