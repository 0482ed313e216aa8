"""Reduce: every level gives the very bytes of stock.

``SIMDINSTALL_KERNEL_CASES`` sets the number of random cases (the default is a small
part), ``SIMDINSTALL_KERNEL_SEED`` where they start. Each case is compared at every level.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fronted import Simd

FUNCTION = "ImagingReduce"
KERNEL = "reduce"
CASES = int(os.environ.get("SIMDINSTALL_KERNEL_CASES", "1500"))
SEED = int(os.environ.get("SIMDINSTALL_KERNEL_SEED", "20260"))

BYTES = ("L", "LA", "La", "PA", "RGB", "YCbCr", "HSV", "LAB", "RGBA", "RGBa", "RGBX", "CMYK")
ONE_OF_EACH = ("L", "LA", "RGB", "CMYK")

Size = tuple[int, int]
Box = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    mode: str
    size: Size
    factor: Size
    box: Box
    data: bytes

    def __str__(self) -> str:
        return f"{self.mode} {self.size} by {self.factor} in {self.box}"


def reduced(im: Any, factor: Size, box: Box | None = None) -> Any:
    return im._new(im.im.reduce(factor, box or (0, 0, *im.size)))


def check(simd: Simd, case: Case) -> None:
    if case.factor == (1, 1):
        return  # a crop
    im = simd.image(case.mode, case.size, case.data)
    before = simd.raw(im)
    with simd.at("none"):
        expected = reduced(im, case.factor, case.box)
    for level in simd.levels:
        with simd.at(level):
            simd.reset()
            found = reduced(im, case.factor, case.box)
            served = simd.served(FUNCTION)
        assert served == {(KERNEL, level): 1}, f"{level}: {case}"
        assert (expected.mode, expected.size) == (found.mode, found.size), f"{level}: {case}"
        assert simd.raw(expected) == simd.raw(found), f"{level}: {case}"
        assert simd.raw(im) == before, f"{level}: {case}: the source was changed"


def case(mode: str, size: Size, factor: Size, box: Box | None = None, data: bytes = b"") -> Case:
    noise = data or random.Random(1).randbytes(5000)
    return Case(mode=mode, size=size, factor=factor, box=box or (0, 0, *size), data=noise)


@pytest.mark.parametrize("mode", BYTES)
def test_modes_and_factors(simd: Simd, mode: str) -> None:
    for x in (1, 2, 3, 4, 5, 6, 7, 8, 16, 17, 61, 62):
        for y in (1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 40, 41):
            check(simd, case(mode, (61, 40), (x, y)))


@pytest.mark.parametrize("mode", ONE_OF_EACH)
def test_sizes_around_every_vector_width(simd: Simd, mode: str) -> None:
    for n in (*range(1, 40), 63, 64, 65, 127, 128, 129, 255, 256, 257, 1030, 4100):
        for factor in ((1, 2), (2, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 1), (1, 6), (7, 3)):
            check(simd, case(mode, (n, 7), factor))


@pytest.mark.parametrize("mode", ONE_OF_EACH)
def test_every_divisor_of_white(simd: Simd, mode: str) -> None:
    """The largest sums, where a multiplier that is off by one shows."""
    for data in (b"\xff", b"\xfe", b"\xff\x00", b"\x80"):
        for x in range(1, 20):
            for y in range(1, 20):
                check(simd, case(mode, (39, 39), (x, y), data=data))


@pytest.mark.parametrize("mode", ONE_OF_EACH)
def test_large_factors(simd: Simd, mode: str) -> None:
    for size, factor in (
        ((9, 1000), (1, 256)),
        ((9, 1000), (1, 257)),
        ((9, 1000), (2, 255)),
        ((9, 1000), (3, 1000)),
        ((1000, 9), (257, 1)),
        ((1000, 9), (999, 9)),
        ((5000, 9), (4999, 2)),
        ((300, 300), (128, 256)),
        ((3, 3), (1000, 1000)),
        ((3, 3), (2047, 4096)),
    ):
        check(simd, case(mode, size, factor))
        check(simd, case(mode, size, factor, data=b"\xff"))


@pytest.mark.parametrize("mode", ONE_OF_EACH)
def test_boxes(simd: Simd, mode: str) -> None:
    for box in ((1, 1, 61, 40), (3, 5, 50, 39), (60, 39, 61, 40), (0, 0, 1, 40), (7, 0, 61, 1), (5, 6, 6, 7)):
        for factor in ((2, 2), (3, 3), (4, 4), (5, 5), (1, 7), (9, 1), (2, 3)):
            check(simd, case(mode, (61, 40), factor, box))


def test_what_is_left_to_stock(simd: Simd) -> None:
    for mode in ("P", "1", "I;16"):
        im = simd.image(mode, (9, 9), b"\1")
        simd.assert_same(FUNCTION, None, simd.highest, lambda im=im: reduced(im, (2, 2)), mode)
    im = simd.image("RGB", (9, 9), b"\1\2\3\4\5")
    simd.assert_same(FUNCTION, None, simd.highest, lambda: reduced(im, (2**12, 2**12)), "2**24 pixels")


def test_shared_memory(simd: Simd) -> None:
    from PIL import Image

    data = random.Random(2).randbytes(4 * 61 * 40)
    shared = Image.frombuffer("RGBX", (61, 40), data, "raw", "RGBX", 0, 1)
    assert shared.readonly
    for level in simd.levels:
        for factor in ((2, 2), (3, 1), (7, 7)):
            simd.assert_same(FUNCTION, KERNEL, level, lambda factor=factor: reduced(shared, factor), level)


def test_image_reduce_and_draft_of_thumbnail(simd: Simd) -> None:
    for mode in ("L", "RGB", "RGBA"):
        im = simd.image(mode, (300, 200), random.Random(3).randbytes(50_021))
        for level in simd.levels:
            for operation in (
                lambda im=im: im.reduce(3),
                lambda im=im: im.reduce((4, 3), (5, 6, 290, 195)),
                lambda im=im: im.resize((31, 20), 1, reducing_gap=2.0),
            ):
                simd.assert_same(FUNCTION, KERNEL, level, operation, (mode, level))


def random_cases(seed: int, count: int) -> Iterator[Case]:
    rng = random.Random(seed)

    def length() -> int:
        return rng.randint(1, 40) if rng.random() < 0.7 else rng.randint(1, 300)

    def factor() -> int:
        kind = rng.random()
        return (
            rng.randint(1, 6) if kind < 0.7 else rng.randint(1, 40) if kind < 0.97 else rng.randint(1, 2000)
        )

    def interval(end: int) -> tuple[int, int]:
        if rng.random() < 0.5:
            return 0, end
        a = rng.randrange(end)
        return a, rng.randint(a + 1, end)

    for _ in range(count):
        size = length(), length()
        (left, right), (top, bottom) = interval(size[0]), interval(size[1])
        data = rng.randbytes(rng.randint(1, 3000))
        if rng.random() < 0.2:
            data = bytes(rng.choices((0, 1, 254, 255), k=len(data)))
        yield Case(
            mode=rng.choice(BYTES),
            size=size,
            factor=(factor(), factor()),
            box=(left, top, right, bottom),
            data=data,
        )


def test_random(simd: Simd) -> None:
    for one in random_cases(SEED, CASES):
        check(simd, one)
