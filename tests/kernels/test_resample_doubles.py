"""Resample of 16-bit and 32-bit bands: every level gives the very bytes of stock.

``SIMDINSTALL_KERNEL_CASES`` and ``SIMDINSTALL_KERNEL_SEED`` as in test_resample.py.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fronted import Simd
from test_resample import (
    BICUBIC,
    BILINEAR,
    BOX,
    CASES,
    FILTERS,
    FUNCTION,
    LANCZOS,
    SEED,
    Box,
    Case,
    case,
    check,
    noise,
    resized,
)

MODES = ("I;16", "I;16L", "I;16B", "I", "F")
ONE_OF_EACH = ("I;16", "I", "F")

NAN, INF = math.nan, math.inf


def floats(count: int, seed: int) -> bytes:
    """Ordinary numbers of many sizes, of which none makes another invisible."""
    rng = random.Random(seed)
    return struct.pack(f"{count}f", *(rng.uniform(-1, 1) * 10 ** rng.randint(-3, 3) for _ in range(count)))


def pixels(mode: str, count: int = 1500, seed: int = 1) -> bytes:
    return floats(count, seed) if mode == "F" else noise(4 * count, seed)


@pytest.mark.parametrize("filter_", FILTERS)
@pytest.mark.parametrize("mode", MODES)
def test_modes_and_filters(simd: Simd, mode: str, filter_: int) -> None:
    for to in ((23, 19), (160, 131), (61, 40), (23, 131), (160, 19), (61, 7), (7, 40)):
        check(simd, case(mode, (61, 40), to, filter_, data=pixels(mode)))


@pytest.mark.parametrize("mode", ONE_OF_EACH)
def test_sizes_around_every_vector_width(simd: Simd, mode: str) -> None:
    data = pixels(mode)
    for n in (*range(1, 36), 47, 48, 49, 63, 64, 65, 66, 127, 128, 129):
        check(simd, case(mode, (n, 20), (31, 20), LANCZOS, data=data))
        check(simd, case(mode, (40, 20), (n, 20), BICUBIC, data=data))
        check(simd, case(mode, (n, 20), (n, 13), LANCZOS, data=data))
        check(simd, case(mode, (13, n), (9, 17), BILINEAR, data=data))
        check(simd, case(mode, (13, n), (9, n), BILINEAR, data=data))
        check(simd, case(mode, (13, 30), (9, n), LANCZOS, data=data))
        check(simd, case(mode, (n, 90), (n, 2), BOX, data=data))


@pytest.mark.parametrize("mode", ONE_OF_EACH)
@pytest.mark.parametrize("filter_", [LANCZOS, BOX])
def test_extreme_ratios(simd: Simd, mode: str, filter_: int) -> None:
    for size, to in (
        ((1, 1), (300, 200)),
        ((2, 1), (257, 3)),
        ((65536, 1), (1, 1)),
        ((1, 65536), (1, 1)),
        ((3, 32769), (3, 2)),
        ((32769, 3), (2, 3)),
        ((1, 1), (32769, 1)),
        ((5001, 20), (4999, 30)),
    ):
        check(simd, case(mode, size, to, filter_, data=pixels(mode)))


@pytest.mark.parametrize("mode", ONE_OF_EACH)
def test_boxes(simd: Simd, mode: str) -> None:
    boxes: tuple[Box, ...] = (
        (0.5, 0.25, 60.5, 39.75),
        (10, 5, 33, 21),
        (60.999, 39.999, 61, 40),
        (61, 40, 61, 40),
        (0, 0, 0, 0),
        (1e-30, 0, 1e-20, 40),
        (30, 0, 31, 40),
        (0, 0, 61, 39.9999),
    )
    for box in boxes:
        for filter_ in FILTERS:
            for to in ((20, 17), (61, 40), (130, 77)):
                check(simd, case(mode, (61, 40), to, filter_, box, data=pixels(mode)))


EXTREME = {
    "I;16": (b"\xff", b"\x00\x00\xff\xff", b"\xff\xff\0\0\0\0", b"\x00\x80\xff\x7f", b"\xff\x00"),
    "I": tuple(
        struct.pack(f"{len(values)}i", *values)
        for values in (
            (2**31 - 1,),
            (-(2**31),),
            (2**31 - 1, -(2**31)),
            (2**31 - 1, 2**31 - 1, 0, -(2**31), -(2**31), 1),
            (1, 0, -1),
        )
    ),
    "F": tuple(
        struct.pack(f"{len(values)}f", *values)
        for values in (
            (INF, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
            (INF, -INF, 1),
            (*[1.0] * 30, NAN),
            (0.0, -0.0),
            (-0.0,),
            (3.4e38, 3.4e38, -3.4e38),
            (1e-45, -1e-45, 1e-40),
            (1.0, 1e30, -1e30, 1e-30),
        )
    ),
}


def not_a_number(rng: random.Random) -> bytes:
    """Any of them: quiet or signalling, of either sign."""
    return struct.pack("I", 0x7F800000 | rng.getrandbits(23) | rng.getrandbits(1) << 31)


@pytest.mark.parametrize("mode", ONE_OF_EACH)
def test_extreme_pixels(simd: Simd, mode: str) -> None:
    for data in EXTREME[mode]:
        for filter_ in FILTERS:
            for to in ((23, 19), (190, 131)):
                check(simd, case(mode, (61, 40), to, filter_, data=data))


@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
def test_which_nan_it_is(simd: Simd, share: float) -> None:
    """NaN have 23 bits of their own, and where several meet, stock keeps the first one's."""
    rng = random.Random(5)
    data = b"".join(not_a_number(rng) if rng.random() < share else floats(1, i) for i in range(61 * 40))
    for filter_ in FILTERS:
        for to in ((23, 19), (190, 131), (61, 17), (17, 40)):
            check(simd, case("F", (61, 40), to, filter_, data=data))


@pytest.mark.parametrize("mode", ONE_OF_EACH)
def test_large_images(simd: Simd, mode: str) -> None:
    for size, to in (((1024, 301), (130, 77)), ((301, 2048), (37, 100)), ((700, 90), (1500, 200))):
        check(simd, case(mode, size, to, LANCZOS, data=pixels(mode, 25_001)))


def test_sixteen_threads_share_the_weights(simd: Simd) -> None:
    im = simd.image("F", (131, 93), pixels("F", 12_007))
    sizes = [(20 + i % 5, 17 + i % 7) for i in range(35)]
    with simd.at("none"):
        expected = {to: simd.raw(resized(im, to, LANCZOS)) for to in sizes}
    for level in simd.levels:
        with simd.rows("stock"), simd.at(level), ThreadPoolExecutor(16) as pool:
            results = pool.map(lambda to: resized(im, to, LANCZOS), sizes * 4)
            for to, result in zip(sizes * 4, results, strict=True):
                assert simd.raw(result) == expected[to], (level, to)


def test_what_stock_reads_as_big_endian_goes_to_stock(simd: Simd) -> None:
    im = simd.image("I;16N", (19, 17), noise(999))
    simd.assert_same(FUNCTION, None, simd.highest, lambda: resized(im, (9, 7), LANCZOS), "I;16N")


def random_cases(seed: int, count: int) -> Iterator[Case]:
    rng = random.Random(seed)

    def length() -> int:
        kind = rng.random()
        if kind < 0.1:
            return rng.randint(1, 3)
        return rng.randint(1, 40) if kind < 0.8 else rng.randint(1, 150)

    def interval(end: int) -> tuple[float, float]:
        kind = rng.random()
        if kind < 0.4:
            return 0, end
        a, b = sorted((rng.uniform(0, end), rng.uniform(0, end)))
        if kind < 0.5:
            a, b = int(a), int(b)
        return (a, a) if kind > 0.97 else (a, b)

    def data(mode: str) -> bytes:
        kind = rng.random()
        if kind < 0.2:
            return rng.choice(EXTREME["I;16" if mode.startswith("I;16") else mode])
        if mode == "F":
            # Any bits at all: of all numbers many are infinite, or vanish beside others.
            return rng.randbytes(4 * rng.randint(1, 500)) if kind < 0.4 else floats(500, rng.getrandbits(30))
        return rng.randbytes(4 * rng.randint(1, 500))

    for _ in range(count):
        size = length(), length()
        to = size[0] if rng.random() < 0.1 else length(), size[1] if rng.random() < 0.1 else length()
        (left, right), (top, bottom) = interval(size[0]), interval(size[1])
        mode = rng.choice(MODES)
        box = (left, top, right, bottom)
        yield Case(mode=mode, size=size, to=to, filter=rng.choice(FILTERS), box=box, data=data(mode))


def test_random(simd: Simd) -> None:
    for one in random_cases(SEED, CASES):
        check(simd, one)
