"""3D colour tables: every level gives the very bytes of stock.

``SIMDINSTALL_KERNEL_CASES`` sets the number of random cases (the default is a small
part), ``SIMDINSTALL_KERNEL_SEED`` where they start. Each case is compared at every level.

Most cases call the C function, which takes a table of 16-bit numbers; Python's tables
are floats, of which stock makes such numbers.
"""

from __future__ import annotations

import array
import ctypes
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fronted import Simd

FUNCTION = "ImagingColorLUT3D_linear"
KERNEL = "color_lut"
CASES = int(os.environ.get("SIMDINSTALL_KERNEL_CASES", "1500"))
SEED = int(os.environ.get("SIMDINSTALL_KERNEL_SEED", "20260"))

#: Modes with three bands or more, all with pixels of four bytes.
IN_MODES = ("RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
FOUR_BANDS = ("RGBA", "RGBa", "RGBX", "CMYK")
#: Around the vectors' widths and the runs of 64 pixels.
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 67, 71, 72, 127, 129, 143)

#: The entries of a table may be so far apart; see color_lut.c.
SHORT, TALL = 2**14 - 1, 2**15 - 1

Sizes = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    mode: str
    to: str
    size: tuple[int, int]
    data: bytes
    channels: int
    sizes: Sizes
    table: array.array[int]

    def __str__(self) -> str:
        span = max(self.table) - min(self.table)
        return f"{self.mode} to {self.to} {self.size} {self.sizes}x{self.channels} span {span}"


class Direct:
    """The C function in the front, called with the interpreter's lock."""

    def __init__(self, simd: Simd) -> None:
        from PIL import Image

        self._simd = simd
        library = ctypes.PyDLL(str(Path(Image.__file__).parent / "libpillow_simd.so"))
        self._function = library.ImagingColorLUT3D_linear
        self._function.restype = ctypes.c_void_p
        self._function.argtypes = (ctypes.c_void_p,) * 2 + (ctypes.c_int,) * 4 + (ctypes.c_void_p,)

    def __call__(self, to: Any, im: Any, case: Case) -> None:
        to_, im_ = self._simd._image(to), self._simd._image(im)
        table, _ = case.table.buffer_info()
        assert self._function(to_, im_, case.channels, *case.sizes, table) == to_


@pytest.fixture(scope="module")
def direct(simd: Simd) -> Direct:
    return Direct(simd)


def check(
    simd: Simd, direct: Direct, case: Case, *, in_place: bool = False, kernel: str | None = KERNEL
) -> None:
    def run() -> bytes:
        im = simd.image(case.mode, case.size, case.data)
        to = im if in_place else simd.image(case.to, case.size, b"\x5a")
        direct(to, im, case)
        return simd.raw(to)

    with simd.at("none"):
        expected = run()
    for level in simd.levels:
        with simd.at(level), simd.without("pillow_simd_color_lut"):
            simd.reset()
            found = run()
            served = simd.served(FUNCTION)
        assert served == {(kernel, level) if kernel else ("stock", "none"): 1}, f"{level}: {case}"
        assert found == expected, f"{level}: {case}"


def random_table(rng: random.Random, length: int, span: int) -> array.array[int]:
    low = rng.choice((-0x8000, 0x7FFF - span, 0, rng.randint(-0x8000, 0x7FFF - span)))
    low = min(low, 0x7FFF - span)
    kind = rng.randrange(3)
    if kind == 0:
        return array.array("h", (rng.randint(low, low + span) for _ in range(length)))
    if kind == 1:
        return array.array("h", rng.choices((low, low + span), k=length))
    edge = (low, min(low + 1, low + span), low + span // 2, max(low, low + span - 1), low + span)
    return array.array("h", rng.choices(edge, k=length))


def pixels(rng: random.Random, length: int) -> bytes:
    kind = rng.randrange(3)
    if kind == 0:
        return bytes(rng.choices((0, 255, 1, 254), k=length))
    return rng.randbytes(length)


def random_case(rng: random.Random) -> Case:
    side = rng.choice((3, 5, 9))
    a, b, c = rng.randint(2, side), rng.randint(2, side), rng.randint(2, side)
    if rng.random() < 0.05:
        a, b, c = rng.choice(((65, 2, 2), (2, 65, 2), (2, 2, 65), (17, 9, 4), (64, 3, 2), (3, 2, 63)))
    channels = rng.choice((3, 4))
    mode = rng.choice(IN_MODES)
    width = rng.choice((rng.randint(1, 20), rng.choice(WIDTHS)))
    height = max(rng.randint(1, 4), -(-a * b * c // (2 * width)))
    span = rng.choice((0, 1, 255 * 64, SHORT, SHORT - 1, SHORT + 1, TALL, rng.randint(2, TALL)))
    return Case(
        mode=mode,
        to=rng.choice(FOUR_BANDS) if channels == 4 else rng.choice((mode, "RGB")),
        size=(width, height),
        data=pixels(rng, min(width * height * 4, 4000)),
        channels=channels,
        sizes=(a, b, c),
        table=random_table(rng, a * b * c * channels, span),
    )


def random_cases(first: int, count: int) -> Iterator[Case]:
    for seed in range(first, first + count):
        yield random_case(random.Random(seed))


def test_random_cases(simd: Simd, direct: Direct) -> None:
    for case in random_cases(SEED, CASES):
        check(simd, direct, case)


def test_in_place(simd: Simd, direct: Direct) -> None:
    """The C function may be given one image as source and destination."""
    for case in random_cases(77, 200):
        if case.mode in FOUR_BANDS or case.channels == 3:
            check(simd, direct, case, in_place=True)


def cube(side: int, channels: int) -> array.array[int]:
    """A table that bends every band a little and mixes them."""
    table = array.array("h")
    for c in range(side):
        for b in range(side):
            for a in range(side):
                red, green, blue = a * 16320 // (side - 1), b * 16320 // (side - 1), c * 16320 // (side - 1)
                table.extend(((red * 3 + green) // 4, green, 16320 - blue, (red + blue) // 2)[:channels])
    return table


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("side", [2, 4, 16, 17, 33, 64, 65])
def test_every_value_of_every_band(simd: Simd, direct: Direct, side: int, channels: int) -> None:
    data = b"".join(bytes((i, j, i ^ j, 255 - i)) for i in range(256) for j in range(256))
    data += random.Random(side).randbytes(4 * 256 * 300)
    case = Case(
        mode="RGBA",
        to="RGBA",
        size=(256, 556),
        data=data,
        channels=channels,
        sizes=(side, side, side),
        table=cube(side, channels),
    )
    check(simd, direct, case)


def test_widths(simd: Simd, direct: Direct) -> None:
    for width in (*WIDTHS, 32768):
        for channels in (3, 4):
            case = Case(
                mode="RGB",
                to="RGBA" if channels == 4 else "RGB",
                size=(width, 3 if width > 2 else 9),
                data=random.Random(width).randbytes(9999),
                channels=channels,
                sizes=(2, 2, 2),
                table=random_table(random.Random(width), 8 * channels, SHORT),
            )
            check(simd, direct, case)


def test_too_tall_tables_and_small_images_go_to_stock(simd: Simd, direct: Direct) -> None:
    rng = random.Random(8)
    table = random_table(rng, 27 * 3, TALL)
    table[0], table[1] = -0x8000, 0x7FFF
    base = {"mode": "RGB", "to": "RGB", "data": rng.randbytes(999), "channels": 3}
    check(simd, direct, Case(size=(30, 30), sizes=(3, 3, 3), table=table, **base), kernel=None)
    table[0], table[1] = -1, 0x7FFF
    table = array.array("h", (max(-1, value) for value in table))
    check(simd, direct, Case(size=(30, 30), sizes=(3, 3, 3), table=table, **base), kernel=None)
    small = array.array("h", (value // 2 for value in table))
    check(simd, direct, Case(size=(13, 1), sizes=(3, 3, 3), table=small, **base), kernel=None)
    check(simd, direct, Case(size=(14, 1), sizes=(3, 3, 3), table=small, **base))
    check(simd, direct, Case(size=(0, 4), sizes=(3, 3, 3), table=small, **base), kernel=None)


def test_through_python(simd: Simd) -> None:
    from PIL import ImageFilter

    three = ImageFilter.Color3DLUT.generate(7, lambda r, g, b: (r * 1.2 - 0.1, g**2, 1 - b))
    four = ImageFilter.Color3DLUT.generate((4, 5, 6), lambda r, g, b: (b, r, g, r * g), 4, "RGBA")
    for mode in ("RGB", "RGBA", "RGBX", "CMYK"):
        im = simd.image(mode, (61, 40), random.Random(9).randbytes(9999))
        for level in simd.levels:
            simd.assert_same(FUNCTION, KERNEL, level, lambda im=im: im.filter(three), mode)
            if mode == "RGB":
                simd.assert_same(FUNCTION, KERNEL, level, lambda im=im: im.filter(four), mode)


def test_what_stock_refuses_goes_to_stock(simd: Simd) -> None:
    def look_up(im: Any, to: str, channels: int) -> Any:
        return im._new(im.im.color_lut_3d(to, 2, channels, (2, 2, 2), [0.5] * 8 * channels))

    refused = (
        ("L", "L", 3),
        ("LA", "RGB", 3),
        ("I", "RGB", 3),
        ("RGB", "L", 3),
        ("RGB", "RGB", 4),
        ("RGB", "RGBA", 3),
        ("RGB", "F", 3),
        ("RGB", "RGB", 1),
    )
    for mode, to, channels in refused:
        im = simd.image(mode, (20, 10), b"\1\2\3\4\5")
        with simd.without("pillow_simd_color_lut"):
            for level in simd.levels:
                stock, ours, served = simd.both(
                    FUNCTION, level, lambda im=im, to=to, channels=channels: look_up(im, to, channels)
                )
                assert stock == ours, (mode, to, channels)
                assert isinstance(ours, tuple), (mode, to, channels)
                assert set(served) <= {("stock", "none")}


def test_threads(simd: Simd, direct: Direct) -> None:
    """Calls run side by side, without the interpreter's lock."""
    cases = list(random_cases(5, 8))

    def run(case: Case) -> bytes:
        im, to = simd.image(case.mode, case.size, case.data), simd.image(case.to, case.size, b"\0")
        direct(to, im, case)
        return simd.raw(to)

    with simd.at("none"):
        expected = [run(case) for case in cases]
    for level in simd.levels:
        with simd.at(level), ThreadPoolExecutor(16) as pool:
            for _ in range(5):
                assert list(pool.map(run, cases * 2)) == expected * 2, level
