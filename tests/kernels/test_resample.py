"""Resample: every level gives the very bytes of stock.

``SIMDINSTALL_KERNEL_CASES`` sets the number of random cases (the default is a small
part), ``SIMDINSTALL_KERNEL_SEED`` where they start. Each case is compared at every level.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from fronted import Simd

from conftest import RELEASE

FUNCTION = "ImagingResample"
KERNEL = "resample"
CASES = int(os.environ.get("SIMDINSTALL_KERNEL_CASES", "1500"))
SEED = int(os.environ.get("SIMDINSTALL_KERNEL_SEED", "20260"))

BANDS = {
    1: ("L",),
    2: ("LA", "La", "PA"),
    3: ("RGB", "YCbCr", "HSV", "LAB"),
    4: ("RGBA", "RGBa", "RGBX", "CMYK"),
}
MODES = tuple(mode for modes in BANDS.values() for mode in modes)
ONE_OF_EACH = tuple(modes[0] for modes in BANDS.values())

LANCZOS, BILINEAR, BICUBIC, BOX, HAMMING, MKS2013, MKS2021 = range(1, 8)
FILTERS = (LANCZOS, BILINEAR, BICUBIC, BOX, HAMMING) + (
    (MKS2013, MKS2021) if int(RELEASE.split(".")[0]) >= 13 else ()
)

Size = tuple[int, int]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    mode: str
    size: Size
    to: Size
    filter: int
    box: Box
    data: bytes

    def __str__(self) -> str:
        return f"{self.mode} {self.size} -> {self.to} filter {self.filter} box {self.box}"


def resized(im: Any, to: Size, filter_: int, box: Box | None = None) -> Any:
    """One call of the C function; ``Image.resize`` would go round it for LA and RGBA."""
    return im._new(im.im.resize(to, filter_, box or (0, 0, *im.size)))


def is_crop(case: Case) -> bool:
    """Pillow crops instead: the box is of whole numbers and has the wanted size."""
    left, top, right, bottom = struct.unpack("4f", struct.pack("4f", *case.box))
    return (left, top) == (int(left), int(top)) and (right - left, bottom - top) == case.to


def check(simd: Simd, case: Case, kernel: str | None = KERNEL) -> None:
    if is_crop(case):
        return
    im = simd.image(case.mode, case.size, case.data)
    before = simd.raw(im)
    with simd.at("none"):
        expected = resized(im, case.to, case.filter, case.box)
    for level in simd.levels:
        with simd.at(level):
            simd.reset()
            found = resized(im, case.to, case.filter, case.box)
            served = simd.served(FUNCTION)
        assert served == {(kernel, level) if kernel else ("stock", "none"): 1}, f"{level}: {case}"
        assert (expected.mode, expected.size) == (found.mode, found.size), f"{level}: {case}"
        assert simd.raw(expected) == simd.raw(found), f"{level}: {case}"
        assert simd.raw(im) == before, f"{level}: {case}: the source was changed"


def noise(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


def case(mode: str, size: Size, to: Size, filter_: int, box: Box | None = None, data: bytes = b"") -> Case:
    full = box or (0, 0, *size)
    return Case(mode=mode, size=size, to=to, filter=filter_, box=full, data=data or noise(5000))


@pytest.mark.parametrize("filter_", FILTERS)
@pytest.mark.parametrize("mode", MODES)
def test_modes_and_filters(simd: Simd, mode: str, filter_: int) -> None:
    for to in ((23, 19), (160, 131), (61, 40), (23, 131), (160, 19), (61, 7), (7, 40)):
        check(simd, case(mode, (61, 40), to, filter_))


@pytest.mark.parametrize("mode", ONE_OF_EACH)
def test_sizes_around_every_vector_width(simd: Simd, mode: str) -> None:
    for n in (*range(1, 36), 47, 48, 49, 63, 64, 65, 66, 127, 128, 129, 191, 192, 193):
        check(simd, case(mode, (n, 20), (31, 20), LANCZOS))
        check(simd, case(mode, (40, 20), (n, 20), BICUBIC))
        check(simd, case(mode, (n, 20), (n, 13), LANCZOS))
        check(simd, case(mode, (13, n), (9, 17), BILINEAR))
        check(simd, case(mode, (13, n), (9, n), BILINEAR))
        check(simd, case(mode, (13, 30), (9, n), LANCZOS))
        check(simd, case(mode, (n, 90), (n, 2), BOX))


@pytest.mark.parametrize("mode", ONE_OF_EACH)
@pytest.mark.parametrize("filter_", FILTERS)
def test_extreme_ratios(simd: Simd, mode: str, filter_: int) -> None:
    for size, to in (
        ((1, 1), (300, 200)),
        ((2, 1), (257, 3)),
        ((65536, 1), (1, 1)),
        ((1, 65536), (1, 1)),
        ((3, 32769), (3, 2)),
        ((32769, 3), (2, 3)),
        ((70, 5000), (70, 1)),
        ((1, 1), (32769, 1)),
        ((1, 2), (1, 32769)),
    ):
        check(simd, case(mode, size, to, filter_))


@pytest.mark.parametrize("mode", ONE_OF_EACH)
def test_boxes(simd: Simd, mode: str) -> None:
    boxes: tuple[Box, ...] = (
        (0.5, 0.25, 60.5, 39.75),
        (10, 5, 33, 21),
        (60.999, 39.999, 61, 40),
        (61, 40, 61, 40),
        (0, 0, 0, 0),
        (1e-30, 0, 1e-20, 40),
        (0, 12.3, 61, 12.4),
        (30, 0, 31, 40),
        (0.0001, 0, 61, 40),
        (0, 0, 61, 39.9999),
    )
    for box in boxes:
        for filter_ in FILTERS:
            for to in ((20, 17), (61, 40), (130, 77)):
                if box[2] - box[0] == to[0] and box[3] - box[1] == to[1]:
                    continue  # a crop
                check(simd, case(mode, (61, 40), to, filter_, box))


@pytest.mark.parametrize("mode", ONE_OF_EACH)
def test_extreme_pixels(simd: Simd, mode: str) -> None:
    patterns = (
        b"\x00",
        b"\xff",
        b"\x00\xff",
        b"\xff" * 4 + b"\x00" * 4,
        b"\x80\x7f",
        b"\xff\xfe",
        b"\x00\x00\x00\xff",
    )
    patterns += tuple(bytes(random.Random(i).choices((0, 255), k=999)) for i in range(4))
    for data in patterns:
        for filter_ in FILTERS:
            for to in ((23, 19), (190, 131)):
                check(simd, case(mode, (61, 40), to, filter_, data=data))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_large_images(simd: Simd, mode: str) -> None:
    """Lines of a size that puts them all in one place of the cache; rings with many lines."""
    for size, to in (
        ((1024, 301), (130, 77)),
        ((2048, 64), (2049, 300)),
        ((301, 2048), (37, 100)),
        ((5001, 90), (4999, 30)),
    ):
        check(simd, case(mode, size, to, LANCZOS, data=noise(100_003)))


def test_what_stock_refuses_goes_to_stock(simd: Simd) -> None:
    for mode in ("P", "1"):
        one = simd.image(mode, (9, 9), b"\1")
        simd.assert_same(FUNCTION, None, simd.highest, lambda one=one: resized(one, (5, 5), 1), mode)
    im = simd.image("RGB", (9, 9), noise(99))
    simd.assert_same(FUNCTION, None, simd.highest, lambda: resized(im, (5, 5), 8), "filter 8")
    simd.assert_same(FUNCTION, None, simd.highest, lambda: resized(im, (5, 5), -1), "filter -1")
    for box in ((float("nan"), 0, 9, 9), (0, 0, float("nan"), 9), (0, float("nan"), 9, float("nan"))):
        simd.assert_same(FUNCTION, None, simd.highest, lambda box=box: resized(im, (5, 5), 1, box), box)
    simd.assert_same(FUNCTION, None, simd.highest, lambda: resized(im, (2**31 - 1, 5), 1), "huge")


def test_shared_and_read_only_memory(simd: Simd, tmp_path: Any) -> None:
    from PIL import Image

    data = noise(4 * 61 * 40)
    shared = Image.frombuffer("RGBX", (61, 40), data, "raw", "RGBX", 0, 1)
    assert shared.readonly
    raw = tmp_path / "raw.ppm"
    raw.write_bytes(b"P5 61 40 255\n" + data[: 61 * 40])
    with Image.open(raw) as mapped:
        mapped.load()
        for im in (shared, mapped):
            for level in simd.levels:
                for to in ((23, 19), (160, 131)):
                    simd.assert_same(
                        FUNCTION, KERNEL, level, lambda im=im, to=to: resized(im, to, LANCZOS), (level, to)
                    )
    assert data == noise(4 * 61 * 40)


def test_resize_thumbnail_and_reducing_gap(simd: Simd) -> None:
    def thumbnail(im: Any) -> Any:
        im = im.copy()
        im.thumbnail((31, 31), BICUBIC, reducing_gap=2.0)
        return im

    for mode in ("L", "LA", "RGB", "RGBA"):
        im = simd.image(mode, (300, 200), noise(50_021))
        for level in simd.levels:
            for operation in (
                lambda im=im: im.resize((31, 20), LANCZOS),
                lambda im=im: im.resize((31, 20), LANCZOS, (3.5, 0, 290, 199.5), 2.0),
                lambda im=im: thumbnail(im),
            ):
                simd.assert_same(FUNCTION, KERNEL, level, operation, (mode, level))


def test_sixteen_threads_share_the_coefficients(simd: Simd) -> None:
    """More axes than the cache has places, so that entries are replaced while in use."""
    im = simd.image("RGB", (211, 173), noise(100_003))
    sizes = [(20 + i % 5, 17 + i % 7) for i in range(35)] + [(400 + i, 300) for i in range(5)]
    with simd.at("none"):
        expected = {to: simd.raw(resized(im, to, LANCZOS)) for to in sizes}
    for level in simd.levels:
        with simd.rows("stock"), simd.at(level), ThreadPoolExecutor(16) as pool:
            results = pool.map(lambda to: resized(im, to, LANCZOS), sizes * 8)
            for to, result in zip(sizes * 8, results, strict=True):
                assert simd.raw(result) == expected[to], (level, to)


def random_cases(seed: int, count: int) -> Iterator[Case]:
    rng = random.Random(seed)

    def length() -> int:
        kind = rng.random()
        if kind < 0.1:
            return rng.randint(1, 3)
        if kind < 0.7:
            return rng.randint(1, 40)
        return rng.randint(1, 150) if kind < 0.98 else rng.randint(150, 600)

    def interval(end: int) -> tuple[float, float]:
        kind = rng.random()
        if kind < 0.4:
            return 0, end
        a, b = sorted((rng.uniform(0, end), rng.uniform(0, end)))
        if kind < 0.5:
            a, b = int(a), int(b)
        return (a, a) if kind > 0.97 else (a, b)

    def pixels(length: int) -> bytes:
        kind = rng.random()
        if kind < 0.7:
            return rng.randbytes(length)
        return bytes(rng.choices((0, 255) if kind < 0.85 else (0, 1, 127, 128, 254, 255), k=length))

    for _ in range(count):
        size = length(), length()
        to = size[0] if rng.random() < 0.1 else length(), size[1] if rng.random() < 0.1 else length()
        (left, right), (top, bottom) = interval(size[0]), interval(size[1])
        yield Case(
            mode=rng.choice(MODES),
            size=size,
            to=to,
            filter=rng.choice(FILTERS),
            box=(left, top, right, bottom),
            data=pixels(rng.randint(1, min(4 * size[0] * size[1], 3000))),
        )


def test_random(simd: Simd) -> None:
    for one in random_cases(SEED, CASES):
        check(simd, one)
