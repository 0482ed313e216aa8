"""3x3 and 5x5 filters: every level gives the very bytes of stock.

``SIMDINSTALL_KERNEL_CASES`` sets the number of random cases (the default is a small
part), ``SIMDINSTALL_KERNEL_SEED`` where they start. Each case is compared at every level.
"""

from __future__ import annotations

import math
import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from fronted import Simd

from conftest import RELEASE

FUNCTION = "ImagingFilter"
KERNEL = "filter"
CASES = int(os.environ.get("SIMDINSTALL_KERNEL_CASES", "1500"))
SEED = int(os.environ.get("SIMDINSTALL_KERNEL_SEED", "20260"))

WORD_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
#: Pillow before 13.0 has another formula for them; the kernel leaves those alone.
WORDS_SERVED = int(RELEASE.split(".")[0]) >= 13
MODES = ("1", "L", "LA", "La", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I")
MODES += WORD_MODES if WORDS_SERVED else ()
ONE_OF_EACH = ("L", "LA", "RGB", "RGBA", "I", *(WORD_MODES if WORDS_SERVED else ()))

#: Around the vectors' widths, and around a stripe's.
SIZES = (
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    15,
    16,
    17,
    20,
    21,
    31,
    32,
    33,
    36,
    47,
    48,
    63,
    64,
    65,
    68,
    127,
    128,
    129,
    191,
    193,
)
NAMED = [
    "BLUR",
    "CONTOUR",
    "DETAIL",
    "EDGE_ENHANCE",
    "EDGE_ENHANCE_MORE",
    "EMBOSS",
    "FIND_EDGES",
    "SHARPEN",
    "SMOOTH",
    "SMOOTH_MORE",
]

#: What im.im.filter() takes: size, scale, offset and the values.
Kernel = tuple[tuple[int, int], float, float, tuple[float, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    mode: str
    size: tuple[int, int]
    kernel: Kernel
    data: bytes

    def __str__(self) -> str:
        return f"{self.mode} {self.size} {self.kernel}"


def filtered(im: Any, kernel: Kernel) -> Any:
    return im._new(im.im.filter(*kernel))


def check(simd: Simd, case: Case) -> None:
    im = simd.image(case.mode, case.size, case.data)
    with simd.at("none"):
        expected = simd.raw(filtered(im, case.kernel))
    for level in simd.levels:
        with simd.at(level):
            simd.reset()
            found = filtered(im, case.kernel)
            served = simd.served(FUNCTION)
        assert served == {(KERNEL, level): 1}, f"{level}: {case}"
        assert simd.raw(found) == expected, f"{level}: {case}"


def random_kernel(rng: random.Random) -> Kernel:
    """Integers and fractions, rows that repeat, and numbers that overflow or are none."""
    n = rng.choice((3, 5))

    def values(choose: Any) -> tuple[float, ...]:
        return tuple(choose() for _ in range(n * n))

    kind = rng.randrange(7)
    if kind == 0:
        return (
            (n, n),
            rng.choice((1, 3, 7, 13, 100)),
            rng.choice((0, 128, -5.3)),
            values(lambda: rng.randint(-3, 9)),
        )
    if kind == 1:
        return (n, n), rng.uniform(0.5, 30), rng.uniform(-100, 300), values(lambda: rng.gauss(0, 1))
    if kind == 2:
        return (n, n), 1, rng.choice((0.4999999, 1e-20, -0.5)), values(lambda: rng.choice((0.1, 0.2, 0.04)))
    if kind == 3:
        return (n, n), 1, 0, values(lambda: rng.gauss(0, 10 ** rng.uniform(-40, 37)))
    if kind == 4:
        odd = (0.0, -0.0, 1.0, math.inf, -math.inf, math.nan, 1e38, -3e38, 1e-40)
        return (n, n), 1, rng.choice((0, math.inf, math.nan, 1e38)), values(lambda: rng.choice(odd))
    if kind == 5:
        row = tuple(rng.gauss(0, 0.3) for _ in range(n))
        other = tuple(rng.gauss(0, 0.3) for _ in range(n))
        return (n, n), 1, 0, sum((rng.choice((row, other)) for _ in range(n)), ())
    return (n, n), 1, 0.5, values(lambda: rng.choice((0, 1 / 9, 1 / 25)))


def pixels(rng: random.Random, length: int) -> bytes:
    kind = rng.randrange(4)
    if kind == 0:
        return rng.randbytes(length)
    if kind == 1:
        return bytes(rng.choices((0, 255), k=length))
    if kind == 2:
        return bytes(rng.choices((0, 1, 127, 128, 254, 255), k=length))
    return rng.randbytes(4)


def random_case(rng: random.Random) -> Case:
    kernel = random_kernel(rng)
    least = kernel[0][0]

    def length() -> int:
        return max(least, rng.choice((rng.randint(3, 24), rng.choice(SIZES))))

    size = length(), min(length(), 40)
    data = pixels(rng, min(size[0] * size[1] * 4, 4000))
    return Case(mode=rng.choice(MODES), size=size, kernel=kernel, data=data)


def test_random_cases(simd: Simd) -> None:
    for number in range(CASES):
        check(simd, random_case(random.Random(SEED + number)))


@pytest.mark.parametrize("mode", ONE_OF_EACH)
def test_sizes(simd: Simd, mode: str) -> None:
    data = random.Random(1).randbytes(9999)
    for n in SIZES:
        for k in (3, 5):
            kernel = (k, k), 7, 0, tuple(random.Random(k).choices(range(-2, 9), k=k * k))
            for size in ((n, 7), (7, n), (max(n, k), k), (k, max(n, k))):
                if min(size) >= k:
                    check(simd, Case(mode=mode, size=size, kernel=kernel, data=data))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMED)
def test_named_filters(simd: Simd, mode: str, name: str) -> None:
    from PIL import ImageFilter

    kernel = getattr(ImageFilter, name).filterargs
    for data in (random.Random(2).randbytes(9999), b"\x00\xff\xff", b"\x80"):
        check(simd, Case(mode=mode, size=(83, 51), kernel=kernel, data=data))


def fraction_kernel(rng: random.Random) -> Kernel:
    """Fractions of whole numbers: many are done without floats, some must not be."""
    n = rng.choice((3, 5))
    scale = rng.choice((*range(1, 34), 63, 64, 65, 66, 80, 96, 100, 126, 127, 128))
    largest = rng.choice((1, 2, 9, 40, 127, 130, 600))
    values = [rng.choice((0, 1)) * rng.randint(-largest, largest) for _ in range(n * n)]
    if rng.random() < 0.5:  # no contrast lost: they add up to the scale
        values[n * n // 2] += scale - sum(values)
    offset = rng.choice((0, 0, 1, 128, 255, -3, 0.5, 1 / 3, -0.25, 40000, rng.randint(-300, 300) / scale))
    return (n, n), scale, offset, tuple(values)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_fractions(simd: Simd, mode: str) -> None:
    rng = random.Random(SEED)
    for _ in range(CASES // 4):
        size = rng.choice((5, 35, 37, 67, 131, 200)), rng.randint(5, 9)
        data = pixels(rng, size[0] * size[1] * 4)
        check(simd, Case(mode=mode, size=size, kernel=fraction_kernel(rng), data=data))


@pytest.mark.parametrize("scale", [1, 2, 3, 7, 13, 16, 31, 63, 66, 100, 126])
def test_every_quotient(simd: Simd, scale: int) -> None:
    """Each whole number that a kernel can add up to, and so each quotient and remainder."""
    data = bytes(x for a in range(256) for b in range(max(1, 2 * scale)) for x in (a, b % 256))
    kernel = (3, 3), scale, 0, (0, 0, 0, 0, scale, 1, 0, 0, 0)
    rows = [data[i : i + 4000] for i in range(0, len(data), 3990)]
    im = b"".join(row.ljust(4000, b"\0") * 3 for row in rows)
    check(simd, Case(mode="L", size=(4000, 3 * len(rows)), kernel=kernel, data=im))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_many_ties(simd: Simd, mode: str) -> None:
    """Sums that only rounding decides: some in each row, and from some row on all of them."""
    rng = random.Random(SEED)
    bands = 1 if mode == "L" else 4
    kernels = ((0, 0, 0, 20, 50, 30, 0, 0, 0), (11,) * 4 + (50,) + (1,) * 4, (3,) * 12 + (50,) + (1,) * 12)
    for width, height in ((600 // bands, 40), (1604 // bands + 1, 30)):
        row = width * bands
        for share in (0.002, 0.01, 0.1, 1.0):
            for top in (0, 11, height - 3):
                few = bytes(rng.choice((0, 100, 200)) for _ in range(top * row))
                many = bytes(1 if rng.random() < share else 0 for _ in range((height - top) * row))
                for values in kernels:
                    kernel = (math.isqrt(len(values)),) * 2, 100, 0, values
                    check(simd, Case(mode=mode, size=(width, height), kernel=kernel, data=few + many))


@pytest.mark.parametrize("mode", ONE_OF_EACH)
def test_several_stripes(simd: Simd, mode: str) -> None:
    data = random.Random(3).randbytes(99999)
    for width in (3000, 8191, 32768):
        for kernel in (
            ((3, 3), 13, 0, (1, 1, 1, 1, 5, 1, 1, 1, 1)),
            ((5, 5), 31, 3.5, tuple(range(-5, 20))),
        ):
            check(simd, Case(mode=mode, size=(width, 9), kernel=kernel, data=data))


def test_smallest_integers_and_largest(simd: Simd) -> None:
    """Mode I: sums at both ends of 32 bits, and beyond."""
    data = b"\x00\x00\x00\x80\xff\xff\xff\x7f\x80\xff\xff\x7f\x00\x00\x00\x00\xff\xff\xff\xff"
    for scale in (1, 2, 9, -1):
        kernel = (3, 3), scale, 0, (0, 1, 0, 1, 1, 1, 0, 0, 0)
        check(simd, Case(mode="I", size=(61, 40), kernel=kernel, data=data))
    identity = (3, 3), 1, 0, (0, 0, 0, 0, 1, 0, 0, 0, 0)
    check(simd, Case(mode="I", size=(61, 40), kernel=identity, data=data))


def not_served(simd: Simd, im: Any, kernel: Kernel) -> None:
    """The kernel leaves the call alone, and no other one is asked."""
    with simd.without("pillow_simd_filter", "pillow_simd_filter_bounded"):
        for level in simd.levels:
            simd.assert_same(FUNCTION, None, level, lambda: filtered(im, kernel), (level, kernel[0]))


def test_what_stock_refuses_or_copies(simd: Simd) -> None:
    nine, more = (1.0,) * 9, (0.04,) * 25
    im = simd.image("RGB", (20, 10), b"\1\2\3\4\5")
    for size in ((4, 4), (3, 5), (1, 1), (7, 7), (0, 0)):
        not_served(simd, im, (size, 1, 0, (1.0,) * (size[0] * size[1])))
    for shape in ((2, 9), (9, 2), (0, 0), (0, 5), (1, 1)):
        not_served(simd, simd.image("RGB", shape, b"\1\2\3"), ((3, 3), 9, 0, nine))
    for shape in ((4, 9), (9, 4), (3, 3)):
        not_served(simd, simd.image("L", shape, b"\1\2\3"), ((5, 5), 1, 0, more))
    not_served(simd, simd.image("F", (20, 10), b"\1\2\3\4\5"), ((3, 3), 9, 0, nine))


@pytest.mark.parametrize("mode", WORD_MODES)
def test_words_before_13(simd: Simd, mode: str) -> None:
    if WORDS_SERVED:
        pytest.skip("the kernel serves them")
    not_served(simd, simd.image(mode, (20, 10), b"\1\2\3\4\5"), ((3, 3), 9, 0, (1.0,) * 9))


def test_threads(simd: Simd) -> None:
    """Calls run side by side, without the interpreter's lock."""
    images = [simd.image("RGB", (200, 150), random.Random(n).randbytes(9999)) for n in range(8)]
    kernels = [random_kernel(random.Random(n)) for n in range(8)]
    with simd.at("none"):
        expected = [simd.raw(filtered(im, kernel)) for im, kernel in zip(images, kernels, strict=True)]
    for level in simd.levels:
        with simd.at(level), ThreadPoolExecutor(16) as pool:
            for _ in range(5):
                found = pool.map(lambda im, kernel: simd.raw(filtered(im, kernel)), images * 2, kernels * 2)
                assert list(found) == expected * 2, level
