"""Pillow-SIMD's kernels against stock: what they promise, and what they must leave alone.

The bytes of bands are compared, not those that no band uses: stock leaves there what
happens to be there, Pillow-SIMD's kernels treat them as a band.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from fronted import Simd

from conftest import FIDELITY
from simdinstall import kernels as catalogue_of_kernels

CATALOGUE = catalogue_of_kernels.load()
LEVELS = ("sse4", "avx2")
FOUR_BYTE_MODES = ("RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "LA", "La")

#: Around every vector width (4, 8, 16 pixels), its doubles, and strange ones.
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 23, 31, 32, 33, 65)

NAMED_FILTERS = (
    *("BLUR", "CONTOUR", "DETAIL", "EDGE_ENHANCE", "EDGE_ENHANCE_MORE"),
    *("EMBOSS", "FIND_EDGES", "SHARPEN", "SMOOTH", "SMOOTH_MORE"),
)

Operation = Callable[[], Any]


@contextlib.contextmanager
def only_pillow_simd(simd: Simd) -> Iterator[None]:
    """The project's own kernels switched off, which come first otherwise."""
    own = [kernel.name for kernel in CATALOGUE.kernels if kernel.origin == "simdinstall"]
    with simd.without(*own):
        yield


def pixels(rng: random.Random, length: int) -> bytes:
    """Noise, extremes, or long runs of extremes."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.randbytes(length)
    if kind == 1:
        return bytes(rng.choices((0, 255), k=length))
    if kind == 2:
        return bytes(rng.choices((0, 1, 2, 127, 128, 253, 254, 255), k=length))
    run = rng.randrange(1, 40)
    return b"".join(bytes([rng.choice((0, 255, 128))]) * run for _ in range(length // run + 1))[:length]


def noise(simd: Simd, rng: random.Random, mode: str, size: tuple[int, int]) -> Any:
    return simd.image(mode, size, pixels(rng, max(1, size[0] * size[1] * 4)))


def bands(im: Any) -> np.ndarray[Any, Any]:
    kind = {"I": np.int32, "F": np.float32}.get(im.mode, np.uint8)
    return np.frombuffer(im.tobytes(), kind).astype(np.int64)


def check(simd: Simd, function: str, kernel: str, operation: Operation, label: object) -> int:
    """Every level against stock; the largest difference found, which is within the promise.

    In an exact library the call must have gone to stock, if the kernel is not exact.
    """
    allowed = CATALOGUE.kernel(kernel).largest_difference
    if allowed and FIDELITY == "exact":
        falls_back(simd, function, operation, label)
        return 0
    largest = 0
    for level in LEVELS:
        if level not in simd.levels:
            continue
        stock, ours, served = simd.both(function, level, operation)
        assert set(served) == {(kernel, level)}, f"{label} at {level}: served by {served}"
        for expected, found in zip(parts(stock), parts(ours), strict=True):
            assert (expected.mode, expected.size) == (found.mode, found.size)
            differences = np.abs(bands(expected) - bands(found))
            largest = max(largest, int(differences.max(initial=0)))
            assert largest <= allowed, f"{label} at {level}: {largest} from stock, {allowed} are promised"
    return largest


def parts(result: Any) -> tuple[Any, ...]:
    assert not isinstance(result, tuple) or not isinstance(result[0], str), f"raised {result}"
    return tuple(result) if isinstance(result, list | tuple) else (result,)


def falls_back(simd: Simd, function: str, operation: Operation, label: object) -> None:
    """At every level the call goes to stock, with the same result or the same error."""
    for level in LEVELS:
        if level in simd.levels:
            simd.assert_same(function, None, level, operation, label)


def since_13(simd: Simd) -> bool:
    return int(simd.build.split()[1].split(".")[0]) >= 13


def from_core(im: Any, core: Any) -> Any:
    return im._new(core)


# --- resample


def test_resample(simd: Simd) -> None:
    rng = random.Random(1)
    with only_pillow_simd(simd):
        for number in range(600):
            mode = rng.choice(("RGB", "RGB", "RGBa", "RGBX", "CMYK", "YCbCr", "La", "HSV"))
            width, height = rng.choice(SIZES), rng.choice(SIZES)
            size = rng.choice(SIZES), rng.choice(SIZES)
            box = (0.0, 0.0, float(width), float(height))
            if rng.random() < 0.4:
                x0, y0 = rng.uniform(0, width - 0.5), rng.uniform(0, height - 0.5)
                box = (x0, y0, rng.uniform(x0 + 0.1, width), rng.uniform(y0 + 0.1, height))
            if size == (width, height) and box == (0, 0, width, height):
                continue
            im = noise(simd, rng, mode, (width, height))
            filter_ = rng.choice((1, 2, 3, 4, 5))
            if box[2] - box[0] == size[0] and box[3] - box[1] == size[1] and box[0] == int(box[0]):
                continue  # a crop
            operation = lambda im=im, size=size, filter_=filter_, box=box: im.resize(size, filter_, box)  # noqa: E731
            check(
                simd, "ImagingResample", "pillow_simd_resample", operation, (number, mode, im.size, size, box)
            )


@pytest.mark.parametrize(
    ("size", "target"),
    [((2, 3000), (2000, 3)), ((3000, 2), (3, 2000)), ((65536, 2), (7, 3)), ((2, 65536), (3, 7))],
)
def test_resample_of_long_images(simd: Simd, size: tuple[int, int], target: tuple[int, int]) -> None:
    rng = random.Random(2)
    with only_pillow_simd(simd):
        for filter_ in (1, 4):
            im = noise(simd, rng, "RGB", size)
            operation = lambda im=im, f=filter_: im.resize(target, f)  # noqa: E731
            check(simd, "ImagingResample", "pillow_simd_resample", operation, (size, target, filter_))


def test_resample_leaves_to_stock(simd: Simd) -> None:
    rng = random.Random(3)
    with only_pillow_simd(simd):
        for mode in ("L", "I", "F", "I;16"):
            im = noise(simd, rng, mode, (20, 20))
            falls_back(simd, "ImagingResample", lambda im=im: im.resize((7, 8), 1), mode)
        im = noise(simd, rng, "RGB", (20, 20))
        for filter_ in (6, 7) if since_13(simd) else ():
            falls_back(simd, "ImagingResample", lambda f=filter_: im.resize((7, 8), f), filter_)
        for box in ((math.nan, 0, 5, 5), (0, 0, math.nan, 5), (3, 3, 3, 9)):
            operation = lambda box=box: from_core(im, im.im.resize((7, 8), 1, box))  # noqa: E731
            stock, ours, _served = simd.both("ImagingResample", "avx2", operation)
            assert type(stock) is type(ours), box
        falls_back(simd, "ImagingResample", lambda: from_core(im, im.im.resize((7, 8), 99, (0, 0, 5, 5))), 99)


# --- reduce


def test_reduce(simd: Simd) -> None:
    rng = random.Random(4)
    factors = (1, 2, 3, 4, 5, 6, 7, 8, 13, 40)
    with only_pillow_simd(simd):
        for number in range(600):
            mode = rng.choice(("RGB", "RGBa", "RGBX", "CMYK", "La", "YCbCr"))
            size = rng.choice(SIZES), rng.choice(SIZES)
            factor = rng.choice(factors), rng.choice(factors)
            if factor == (1, 1):
                continue
            im = noise(simd, rng, mode, size)
            box = None
            if rng.random() < 0.4:
                x0, y0 = rng.randrange(size[0]), rng.randrange(size[1])
                box = (x0, y0, rng.randrange(x0 + 1, size[0] + 1), rng.randrange(y0 + 1, size[1] + 1))
            operation = lambda im=im, factor=factor, box=box: im.reduce(factor, box)  # noqa: E731
            check(simd, "ImagingReduce", "pillow_simd_reduce", operation, (number, mode, size, factor, box))


def test_reduce_leaves_to_stock(simd: Simd) -> None:
    rng = random.Random(5)
    with only_pillow_simd(simd):
        for mode in ("L", "I", "F"):
            im = noise(simd, rng, mode, (20, 20))
            falls_back(simd, "ImagingReduce", lambda im=im: im.reduce(3), mode)
        im = noise(simd, rng, "RGB", (20, 20))
        # Before 13.0 stock itself falls over the largest factor.
        for factor in ((1025, 1), (1, 2**20), *([(2**31 - 1, 2)] if since_13(simd) else [])):
            falls_back(simd, "ImagingReduce", lambda f=factor: im.reduce(f), factor)


# --- box blur


def test_box_blur(simd: Simd) -> None:
    from PIL import ImageFilter

    rng = random.Random(6)
    radii = (0.0, 0.2, 0.5, 0.999, 1.0, 1.5, 2.0, 3.3, 7.0, 15.7, 40.0, 70.5, 1000.0, 4e6)
    with only_pillow_simd(simd):
        for number in range(500):
            mode = rng.choice(("RGB", "RGBA", "RGBa", "RGBX", "CMYK", "LA", "La"))
            im = noise(simd, rng, mode, (rng.choice(SIZES[1:]), rng.choice(SIZES[1:])))
            radius = rng.choice(radii), rng.choice(radii)
            if radius == (0, 0):
                continue
            kind = rng.choice((ImageFilter.BoxBlur, ImageFilter.GaussianBlur))
            if kind is ImageFilter.GaussianBlur and max(radius) > 1000:
                continue
            operation = lambda im=im, kind=kind, radius=radius: im.filter(kind(radius))  # noqa: E731
            check(simd, "ImagingBoxBlur", "pillow_simd_box_blur", operation, (number, mode, im.size, radius))


def test_box_blur_leaves_to_stock(simd: Simd) -> None:
    from PIL import ImageFilter

    rng = random.Random(7)
    with only_pillow_simd(simd):
        im = noise(simd, rng, "L", (20, 20))
        falls_back(simd, "ImagingBoxBlur", lambda: im.filter(ImageFilter.BoxBlur(2)), "L")
        for size in ((1, 9), (9, 1), (1, 1)):
            thin = noise(simd, rng, "RGB", size)
            falls_back(simd, "ImagingBoxBlur", lambda im=thin: im.filter(ImageFilter.BoxBlur(0.5)), size)
        colour = noise(simd, rng, "RGB", (20, 20))
        # Before 13.0 stock takes NaN and what no int holds, and does whatever it does.
        for radius in (5e6, *((math.nan, math.inf, 2.0**31) if since_13(simd) else ())):
            operation = lambda r=radius: from_core(colour, colour.im.box_blur((r, r), 1))  # noqa: E731
            falls_back(simd, "ImagingBoxBlur", operation, radius)
        for passes in (0, -1):
            operation = lambda n=passes: from_core(colour, colour.im.box_blur((2, 2), n))  # noqa: E731
            falls_back(simd, "ImagingBoxBlur", operation, passes)
        falls_back(
            simd, "ImagingBoxBlur", lambda: from_core(colour, colour.im.box_blur((-1, 2), 1)), "negative"
        )


# --- filter


def test_filter_exact(simd: Simd) -> None:
    from PIL import ImageFilter

    rng = random.Random(8)
    with only_pillow_simd(simd):
        for number in range(500):
            side = rng.choice((3, 5))
            mode = rng.choice(("RGB", "RGBA", "CMYK", "LA", "L"))
            size = rng.choice([s for s in SIZES if s >= side]), rng.choice([s for s in SIZES if s >= side])
            scale = 1 if mode == "L" else rng.choice((1, 2, 4, 16, 64))
            most = 3 if side == 3 else 1
            limit = max(1, int(1000 / 255 / side / side * scale * most))
            weights = [rng.randint(-min(limit, 3 * scale), min(limit, 3 * scale)) for _ in range(side * side)]
            if sum(map(abs, weights)) / scale * 255 + 100 >= 1024:
                continue
            offset = rng.choice((0, 0, 1, -7, 100))
            im = noise(simd, rng, mode, size)
            kernel = ImageFilter.Kernel((side, side), weights, scale, offset)
            operation = lambda im=im, kernel=kernel: im.filter(kernel)  # noqa: E731
            check(
                simd, "ImagingFilter", "pillow_simd_filter", operation, (number, mode, size, weights, scale)
            )


def test_filter_bounded(simd: Simd) -> None:
    from PIL import ImageFilter

    rng = random.Random(9)
    with only_pillow_simd(simd):
        for number in range(500):
            side = rng.choice((3, 5))
            mode = rng.choice(("RGB", "RGBA", "CMYK", "LA", "L"))
            size = rng.choice([s for s in SIZES if s >= side]), rng.choice([s for s in SIZES if s >= side])
            largest = rng.choice((0.1, 1, 3.9, 5, 9))
            weights = [rng.uniform(-largest, largest) for _ in range(side * side)]
            offset = rng.choice((0, 0.3, -7.7, 100.1))
            im = noise(simd, rng, mode, size)
            kernel = ImageFilter.Kernel((side, side), weights, 1, offset)
            operation = lambda im=im, kernel=kernel: im.filter(kernel)  # noqa: E731
            check(
                simd, "ImagingFilter", "pillow_simd_filter_bounded", operation, (number, mode, size, weights)
            )


@pytest.mark.parametrize("name", NAMED_FILTERS)
def test_named_filters(simd: Simd, name: str) -> None:
    from PIL import ImageFilter

    rng = random.Random(name)
    with only_pillow_simd(simd):
        im = noise(simd, rng, "RGB", (70, 50))
        simd.reset()
        im.filter(getattr(ImageFilter, name))
        ((kernel, _level),) = simd.served("ImagingFilter")
        if kernel == "stock" and FIDELITY == "exact":
            kernel = "pillow_simd_filter_bounded"
        for _ in range(20):
            im = noise(simd, rng, "RGB", (rng.choice(SIZES[5:]), 50))
            operation = lambda im=im: im.filter(getattr(ImageFilter, name))  # noqa: E731
            check(simd, "ImagingFilter", kernel, operation, name)


def test_filter_leaves_to_stock(simd: Simd) -> None:
    from PIL import ImageFilter

    rng = random.Random(10)
    im = noise(simd, rng, "RGB", (20, 20))
    ones = [1.0] * 9
    with only_pillow_simd(simd):
        for weights, offset in (
            ([math.nan, *ones[1:]], 0),
            ([math.inf, *ones[1:]], 0),
            ([1e30, *ones[1:]], 0),
            (ones, math.nan),
            (ones, 1e9),
            ([-300.0] * 9, 0),
        ):
            kernel = ImageFilter.Kernel((3, 3), weights, 1, offset)
            falls_back(simd, "ImagingFilter", lambda k=kernel: im.filter(k), (weights, offset))
        for mode in ("I", "I;16"):
            other = noise(simd, rng, mode, (20, 20))
            falls_back(simd, "ImagingFilter", lambda im=other: im.filter(ImageFilter.SHARPEN), mode)
        for size in ((2, 20), (20, 2), (4, 4)):
            small = noise(simd, rng, "RGB", size)
            falls_back(simd, "ImagingFilter", lambda im=small: im.filter(ImageFilter.SMOOTH_MORE), size)


# --- alpha composite


def test_alpha_composite(simd: Simd) -> None:
    from PIL import Image

    rng = random.Random(11)
    with only_pillow_simd(simd):
        for number in range(300):
            mode = rng.choice(("RGBA", "RGBA", "LA"))
            size = rng.choice(SIZES), rng.choice(SIZES)
            below, above = noise(simd, rng, mode, size), noise(simd, rng, mode, size)
            operation = lambda a=below, b=above: from_core(a, Image.core.alpha_composite(a.im, b.im))  # noqa: E731
            check(
                simd, "ImagingAlphaComposite", "pillow_simd_alpha_composite", operation, (number, mode, size)
            )


def test_alpha_composite_of_every_pair_of_alphas(simd: Simd) -> None:
    from PIL import Image

    rng = random.Random(12)
    x, y = np.meshgrid(np.arange(256), np.arange(256))
    with only_pillow_simd(simd):
        for _ in range(4):
            below = np.frombuffer(rng.randbytes(4 * 65536), np.uint8).reshape(256, 256, 4).copy()
            above = np.frombuffer(rng.randbytes(4 * 65536), np.uint8).reshape(256, 256, 4).copy()
            below[..., 3], above[..., 3] = x, y
            a, b = Image.fromarray(below, "RGBA"), Image.fromarray(above, "RGBA")
            operation = lambda a=a, b=b: Image.alpha_composite(a, b)  # noqa: E731
            check(simd, "ImagingAlphaComposite", "pillow_simd_alpha_composite", operation, "alphas")


def test_alpha_composite_leaves_to_stock(simd: Simd) -> None:
    from PIL import Image

    rng = random.Random(13)
    im = noise(simd, rng, "RGBA", (9, 9))
    with only_pillow_simd(simd):
        for other in (noise(simd, rng, "RGBA", (8, 9)), noise(simd, rng, "LA", (9, 9))):
            operation = lambda b=other: from_core(im, Image.core.alpha_composite(im.im, b.im))  # noqa: E731
            falls_back(simd, "ImagingAlphaComposite", operation, other)
        rgb = noise(simd, rng, "RGB", (9, 9))
        operation = lambda: from_core(rgb, Image.core.alpha_composite(rgb.im, rgb.im))  # noqa: E731
        falls_back(simd, "ImagingAlphaComposite", operation, "RGB")


# --- 3D table


def table(rng: random.Random, sizes: tuple[int, int, int], channels: int, low: float, high: float) -> Any:
    from PIL import ImageFilter

    length = sizes[0] * sizes[1] * sizes[2] * channels
    if rng.random() < 0.5:
        values = [rng.uniform(low, high) for _ in range(length)]
    else:
        values = [rng.choice((low, high)) for _ in range(length)]
    return ImageFilter.Color3DLUT(sizes, values, channels=channels)


def test_color_lut(simd: Simd) -> None:
    rng = random.Random(14)
    with only_pillow_simd(simd):
        for number in range(200):
            channels = rng.choice((3, 4))
            mode = "RGBA" if channels == 4 else rng.choice(("RGB", "RGBA", "CMYK", "YCbCr"))
            sizes = rng.choice((2, 3, 4, 9)), rng.choice((2, 3, 17)), rng.choice((2, 5, 16))
            size = rng.choice(SIZES), rng.choice(SIZES)
            if math.prod(sizes) > math.prod(size) * 8:
                continue
            low = rng.choice((0.0, 0.0, -0.3))
            lut = table(rng, sizes, channels, low, low + rng.choice((0.5, 1.0)))
            lut.mode = None
            im = noise(simd, rng, mode, size)
            operation = lambda im=im, lut=lut: im.filter(lut)  # noqa: E731
            label = (number, mode, size, sizes, channels)
            check(simd, "ImagingColorLUT3D_linear", "pillow_simd_color_lut", operation, label)


def test_color_lut_of_every_size(simd: Simd) -> None:
    from PIL import ImageFilter

    rng = random.Random(15)
    im = noise(simd, rng, "RGB", (260, 150))
    with only_pillow_simd(simd):
        for side in (2, 3, 8, 16, 17, 32, 33, 64, 65):
            lut = ImageFilter.Color3DLUT.generate(side, lambda r, g, b: (r * r, g**0.5, 1 - b))
            operation = lambda lut=lut: im.filter(lut)  # noqa: E731
            check(simd, "ImagingColorLUT3D_linear", "pillow_simd_color_lut", operation, side)


def test_color_lut_leaves_to_stock(simd: Simd) -> None:
    rng = random.Random(16)
    im = noise(simd, rng, "RGB", (30, 30))
    with only_pillow_simd(simd):
        for low, high in ((-1.0, 1.0), (0.0, 2.0), (1.2, 2.01), (-3.0, 3.0)):
            lut = table(rng, (4, 4, 4), 3, low, high)
            falls_back(simd, "ImagingColorLUT3D_linear", lambda lut=lut: im.filter(lut), (low, high))
        small = noise(simd, rng, "RGB", (3, 3))
        lut = table(rng, (16, 16, 16), 3, 0.0, 1.0)
        falls_back(
            simd, "ImagingColorLUT3D_linear", lambda: small.filter(lut), "a table larger than the image"
        )


# --- convert


@pytest.mark.parametrize(
    ("source", "target", "kernel"),
    [
        ("RGBA", "RGBa", "pillow_simd_convert"),
        ("RGBa", "RGBA", "pillow_simd_convert_bounded"),
        *((m, t, "pillow_simd_convert_bounded") for m in ("RGB", "RGBX", "RGBA") for t in ("L", "LA", "I")),
        ("RGB", "La", "pillow_simd_convert_bounded"),
    ],
)
def test_convert(simd: Simd, source: str, target: str, kernel: str) -> None:
    rng = random.Random(source + target)
    with only_pillow_simd(simd):
        for _ in range(60):
            im = noise(simd, rng, source, (rng.choice(SIZES), rng.choice(SIZES)))
            operation = lambda im=im: from_core(im, im.im.convert(target))  # noqa: E731
            check(simd, "ImagingConvert", kernel, operation, (source, target, im.size))


@pytest.mark.parametrize("direction", [("RGBA", "RGBa"), ("RGBa", "RGBA")])
def test_unpremultiply(simd: Simd, direction: tuple[str, str]) -> None:
    """Every colour with every alpha, colours above their alpha too."""
    x, y = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    data = np.stack([x, 255 - x, x // 2, y], axis=-1).tobytes()
    kernel = "pillow_simd_convert" if direction[0] == "RGBA" else "pillow_simd_convert_bounded"
    with only_pillow_simd(simd):
        im = simd.image(direction[0], (256, 256), data)
        operation = lambda: from_core(im, im.im.convert(direction[1]))  # noqa: E731
        check(simd, "ImagingConvert", kernel, operation, direction)


def test_convert_leaves_to_stock(simd: Simd) -> None:
    rng = random.Random(17)
    with only_pillow_simd(simd):
        for source, target in (("L", "RGB"), ("RGB", "HSV"), ("RGB", "P"), ("CMYK", "RGB"), ("RGB", "LAB")):
            im = noise(simd, rng, source, (20, 20))
            falls_back(
                simd,
                "ImagingConvert",
                lambda im=im, t=target: from_core(im, im.im.convert(t)),
                (source, target),
            )


# --- bands


def test_bands(simd: Simd) -> None:
    rng = random.Random(18)
    with only_pillow_simd(simd):
        for _ in range(150):
            mode = rng.choice(FOUR_BYTE_MODES)
            im = noise(simd, rng, mode, (rng.choice(SIZES), rng.choice(SIZES)))
            operation = lambda im=im: [from_core(im, core) for core in im.im.split()]  # noqa: E731
            check(simd, "ImagingSplit", "pillow_simd_bands", operation, (mode, im.size))
            band = rng.randrange(len(im.getbands()))
            operation = lambda im=im, band=band: from_core(im, im.im.getband(band))  # noqa: E731
            check(simd, "ImagingGetBand", "pillow_simd_bands", operation, (mode, im.size, band))


def test_bands_leave_to_stock(simd: Simd) -> None:
    rng = random.Random(19)
    with only_pillow_simd(simd):
        im = noise(simd, rng, "RGB", (20, 20))
        falls_back(simd, "ImagingGetBand", lambda: from_core(im, im.im.getband(3)), "no such band")
        falls_back(simd, "ImagingGetBand", lambda: from_core(im, im.im.getband(-1)), "no such band")
        grey = noise(simd, rng, "L", (20, 20))
        falls_back(simd, "ImagingGetBand", lambda: from_core(grey, grey.im.getband(0)), "L")
