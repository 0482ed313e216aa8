"""The cases that verification compares: modes by operations by sizes, small and strange.

A family is one kind of operation, a group one family in one mode. The sizes lie around
the widths of vectors and at the odd ends, the contents are mostly noise and extremes:
what makes sums overshoot and roundings disagree. Both builds generate the same cases in
the same order. Kernels have their own, finer tests; this is the proof on the user's
machine that the very build he gets does what stock Pillow does.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple

from .images import BYTES, pixels


class Case(NamedTuple):
    """One call to compare: in which mode and size, and a label for the rest."""

    mode: str
    size: tuple[int, int]
    label: str
    call: Callable[[], Any]


def _of(image: Any, label: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Case:
    """A case that counts under the mode and size of ``image``."""
    return Case(image.mode, image.size, label, partial(function, *arguments, **named))


@lru_cache(maxsize=256)
def _image(mode: str, width: int, height: int, content: str = "noise", seed: int = 1) -> Any:
    from PIL import Image

    if content == "photo" and mode != "1":
        data = _photo(mode, width, height, seed)
    else:
        data = pixels(mode, width, height, content, seed)
    image = Image.frombytes(mode, (width, height), data)
    if mode in ("P", "PA"):
        image.putpalette(bytes(range(255, -1, -1)) * 3)
    return image


_SMALL, _LARGE = (131, 97), (317, 257)


@lru_cache(maxsize=32)
def _whole_photo(mode: str, size: tuple[int, int], seed: int) -> bytes:
    return pixels(mode, *size, "photo", seed)


def _photo(mode: str, width: int, height: int, seed: int) -> bytes:
    """The top left corner of one photograph, which is quicker than a new one each time."""
    size = _SMALL if width <= _SMALL[0] and height <= _SMALL[1] else _LARGE
    step, line = BYTES[mode] * width, BYTES[mode] * size[0]
    whole = _whole_photo(mode, size, seed)
    return b"".join(whole[row * line : row * line + step] for row in range(height))


_CONTENTS = ("noise", "extremes", "photo")


def _content(index: int) -> str:
    return _CONTENTS[index % len(_CONTENTS)]


_RESIZE_MODES = ("L", "LA", "La", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "I;16", "I", "F")
_RESIZE_SIZES = (
    ((1, 1), (5, 3)),
    ((5, 7), (1, 1)),
    ((2, 3), (16, 17)),
    ((17, 9), (8, 31)),
    ((33, 16), (15, 7)),
    ((64, 33), (63, 34)),
    ((31, 40), (31, 9)),
    ((40, 31), (9, 31)),
    ((129, 65), (3, 16)),
    ((300, 5), (3, 50)),
    ((3, 257), (40, 2)),
    ((111, 97), (53, 131)),
)
_STRIPS = (((65537, 1), (100, 3)), ((1, 65537), (3, 100)), ((2, 2), (2051, 3)))


def _resize() -> Iterator[Case]:
    from PIL import Image

    filters = {kind.name.lower(): kind for kind in Image.Resampling}
    for mode in _RESIZE_MODES:
        for number, (source, target) in enumerate(_RESIZE_SIZES):
            for turn, (name, kind) in enumerate(filters.items()):
                image = _image(mode, *source, _content(number + turn))
                yield _of(image, f"{name} to {target[0]}x{target[1]}", image.resize, target, kind)
        image = _image(mode, 111, 97, "photo")
        for name, kind in filters.items():
            yield _of(image, f"{name} of a box", image.resize, (40, 23), kind, (3.3, 5.5, 97.1, 60.9))
            yield _of(image, f"{name} of whole columns", image.resize, (16, 50), kind, (10, 0, 26, 97))
        if mode in ("L", "RGB", "RGBA"):
            for source, target in _STRIPS:
                image = _image(mode, *source, "extremes")
                yield _of(image, "strip", image.resize, target, Image.Resampling.BILINEAR)
            image = _image(mode, 317, 211, "photo")
            yield _of(image, "reducing_gap", image.resize, (31, 23), filters["bicubic"], reducing_gap=2.0)
            yield _of(image, "thumbnail", _thumbnail, image)


def _thumbnail(image: Any) -> Any:
    image = image.copy()
    image.thumbnail((50, 40))
    return image


def _reduce() -> Iterator[Case]:
    factors = (2, 3, 4, 5, 7, (1, 2), (2, 1), (1, 3), (3, 1), (2, 5), (6, 4), 16)
    sizes = ((1, 1), (7, 5), (16, 16), (33, 18), (64, 9), (97, 61))
    for mode in ("L", "LA", "La", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "I;16", "I", "F"):
        for number, size in enumerate(sizes):
            for turn, factor in enumerate(factors):
                image = _image(mode, *size, _content(number + turn))
                yield _of(image, f"by {factor}", image.reduce, factor)
        image = _image(mode, 97, 61, "photo")
        yield _of(image, "of a box", image.reduce, (3, 2), (5, 7, 80, 60))


def _filter() -> Iterator[Case]:
    from PIL import ImageFilter

    kernels: dict[str, Any] = {
        kernel.name: kernel
        for kernel in (
            ImageFilter.BLUR,
            ImageFilter.CONTOUR,
            ImageFilter.DETAIL,
            ImageFilter.EDGE_ENHANCE,
            ImageFilter.EDGE_ENHANCE_MORE,
            ImageFilter.EMBOSS,
            ImageFilter.FIND_EDGES,
            ImageFilter.SHARPEN,
            ImageFilter.SMOOTH,
            ImageFilter.SMOOTH_MORE,
        )
    }
    kernels["fractions 3x3"] = ImageFilter.Kernel((3, 3), [v / 7.3 for v in range(-3, 6)], 1.7, 12.5)
    kernels["fractions 5x5"] = ImageFilter.Kernel((5, 5), [v / 9.1 for v in range(-9, 16)], 8.3, -3.25)
    kernels["large 3x3"] = ImageFilter.Kernel((3, 3), [90, -80, 70, -60, 50, -40, 30, -20, 10], 1)
    sizes = ((1, 1), (2, 9), (5, 5), (8, 6), (17, 11), (33, 7), (64, 9), (101, 37))
    for mode in ("L", "LA", "RGB", "RGBA", "RGBX", "CMYK", "I;16", "I"):
        for number, size in enumerate(sizes):
            for turn, (name, kernel) in enumerate(kernels.items()):
                image = _image(mode, *size, _content(number + turn))
                yield _of(image, name, image.filter, kernel)


def _blur() -> Iterator[Case]:
    from PIL import ImageFilter

    gaussian: tuple[Any, ...] = (0.1, 0.5, 1, 2.3, 10, 40, (1, 4), (0, 2), (3, 0))
    filters: dict[str, Any] = {
        **{f"gaussian {r}": ImageFilter.GaussianBlur(r) for r in gaussian},
        **{f"box {r}": ImageFilter.BoxBlur(r) for r in (0.3, 1, 2.5, 9, (3, 0), (0, 1.5))},
        "unsharp 2": ImageFilter.UnsharpMask(2, 150, 3),
        "unsharp 0.7": ImageFilter.UnsharpMask(0.7, 80, 0),
    }
    sizes = ((1, 1), (2, 9), (7, 5), (16, 17), (33, 8), (65, 31), (101, 67))
    for mode in ("L", "LA", "La", "RGB", "RGBA", "RGBa", "RGBX", "CMYK"):
        for number, size in enumerate(sizes):
            for turn, (name, kind) in enumerate(filters.items()):
                image = _image(mode, *size, _content(number + turn))
                yield _of(image, name, image.filter, kind)


#: Sizes whose widths lie around those of vectors, for operations on one pixel at a time.
_WIDTHS = (
    (1, 1), (3, 2), (7, 5), (8, 3), (9, 4), (15, 3), (16, 2), (17, 3), (31, 5), (33, 3), (65, 4), (131, 29),
)  # fmt: skip


def _composite() -> Iterator[Case]:
    from PIL import Image

    for number, size in enumerate(_WIDTHS):
        for content in _CONTENTS:
            for mode in ("RGBA", "LA"):
                back, front = _image(mode, *size, content), _image(mode, *size, _content(number), 2)
                yield _of(back, content, Image.alpha_composite, back, front)


def _paste() -> Iterator[Case]:
    from PIL import Image

    for number, size in enumerate(_WIDTHS):
        for mode in ("L", "LA", "RGB", "RGBA", "CMYK", "I;16", "F"):
            back, front = _image(mode, *size, _content(number)), _image(mode, *size, _content(number + 1), 2)
            masks = ["1", "L", "RGBA", "LA"] if mode == "RGBA" else ["1"] if mode == "I;16" else ["1", "L"]
            for kind in masks:
                mask = _image(kind, *size, "noise", 3)
                yield _of(back, f"mask {kind}", _pasted, back, front, mask)
                if mode in ("L", "RGB", "RGBA") and kind != "LA":
                    yield _of(back, f"colour, mask {kind}", _pasted, back, back.getpixel((0, 0)), mask)
            if mode in ("L", "RGB", "RGBA"):
                mask = _image("L", *size, "noise", 3)
                yield _of(back, "composite", Image.composite, back, front, mask)


def _pasted(back: Any, front: Any, mask: Any) -> Any:
    image = back.copy()
    image.paste(front, (0, 0, *image.size), mask)
    return image


def _chops() -> Iterator[Case]:
    from PIL import Image, ImageChops

    names = (
        "add", "add_modulo", "darker", "difference", "hard_light", "lighter", "multiply", "overlay",
        "screen", "soft_light", "subtract", "subtract_modulo",
    )  # fmt: skip
    for number, size in enumerate(_WIDTHS):
        for mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
            one, two = _image(mode, *size, _content(number)), _image(mode, *size, _content(number + 1), 2)
            for name in names:
                yield _of(one, name, getattr(ImageChops, name), one, two)
            yield _of(one, "add scaled", ImageChops.add, one, two, 1.7, 9)
            yield _of(one, "invert", ImageChops.invert, one)
            yield _of(one, "offset", ImageChops.offset, one, 3, 1)
            for alpha in (0.0, 0.3, 1.0, 1.6, -0.4):
                yield _of(one, f"blend {alpha}", Image.blend, one, two, alpha)
        one, two = _image("1", *size, "noise"), _image("1", *size, "noise", 2)
        for name in ("logical_and", "logical_or", "logical_xor"):
            yield _of(one, name, getattr(ImageChops, name), one, two)


def _table(size: tuple[int, int, int], channels: int, kind: str) -> Any:
    from PIL import ImageFilter

    if kind == "smooth":
        return ImageFilter.Color3DLUT.generate(
            size, lambda r, g, b: (g * 0.9 + 0.05, b, r * r, (r + g) / 2)[:channels], channels
        )
    raw = pixels("L", size[0] * size[1] * size[2] * channels, 1, "noise", 9)
    scale, shift = (1 / 255, 0.0) if kind == "noise" else (3 / 255, -1.0)
    return ImageFilter.Color3DLUT(size, [v * scale + shift for v in raw], channels)


def _lut() -> Iterator[Case]:
    tables = {
        "2³": _table((2, 2, 2), 3, "smooth"),
        "4³ noise": _table((4, 4, 4), 3, "noise"),
        "5x3x2 beyond the range": _table((5, 3, 2), 3, "beyond"),
        "16³": _table((16, 16, 16), 3, "smooth"),
        "7³ to 4 bands": _table((7, 7, 7), 4, "smooth"),
        "4³ beyond the range, 4 bands": _table((4, 4, 4), 4, "beyond"),
    }
    for number, size in enumerate(_WIDTHS):
        for mode in ("RGB", "RGBA", "HSV", "CMYK"):
            for turn, (name, table) in enumerate(tables.items()):
                image = _image(mode, *size, _content(number + turn))
                yield _of(image, name, image.filter, table)


_MODES = (
    "1", "L", "LA", "La", "P", "PA", "I", "F", "I;16", "I;16B",
    "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV",
)  # fmt: skip
_MATRIX = (0.412453, 0.357580, 0.180423, 3, 0.212671, 0.715160, 0.072169, -5, 0.019334, 0.119193, 0.950227, 0)


def _convert() -> Iterator[Case]:
    for number, size in enumerate(((1, 1), (7, 5), (16, 3), (33, 9), (131, 29))):
        for source in _MODES:
            image = _image(source, *size, _content(number))
            for target in _MODES:
                if "LAB" in (source, target) and (number != 1 or {source, target} != {"LAB", "RGB"}):
                    continue  # LittleCMS makes a profile for every call, whatever it is
                if source != target and target not in ("P", "PA"):
                    yield _of(image, f"to {target}", image.convert, target)
        image = _image("RGB", *size, _content(number + 1))
        yield _of(image, "by a matrix to RGB", image.convert, "RGB", _MATRIX)
        yield _of(image, "by a matrix to L", image.convert, "L", _MATRIX[:4])
        yield _of(image, "to P, web palette", image.convert, "P")
        image = _image("L", *size, "noise")
        yield _of(image, "to 1, no dither", image.convert, "1", dither=0)


def _bands() -> Iterator[Case]:
    from PIL import Image

    for number, size in enumerate(_WIDTHS):
        for mode in ("LA", "RGB", "RGBA", "CMYK", "YCbCr"):
            image = _image(mode, *size, _content(number))
            bands = [_image("L", *size, "noise", seed) for seed in range(len(image.getbands()))]
            yield _of(image, "split", image.split)
            yield _of(image, "merge", Image.merge, mode, bands)
            for band in range(len(bands)):
                yield _of(image, f"getchannel {band}", image.getchannel, band)
            if mode in ("RGB", "RGBA", "LA"):
                yield _of(image, "putalpha", _with_alpha, image, bands[0])
                yield _of(image, "putalpha of a value", _with_alpha, image, 77)


def _with_alpha(image: Any, alpha: Any) -> Any:
    image = image.copy()
    image.putalpha(alpha)
    return image


def _geometry() -> Iterator[Case]:
    from PIL import Image, ImageOps

    for number, (width, height) in enumerate(((1, 1), (7, 5), (16, 17), (33, 8), (65, 31))):
        mappings: dict[str, Any] = {
            "affine": (0.9, 0.2, 1.5, -0.1, 1.1, 0.3),
            "perspective": (0.9, 0.1, 0, 0.05, 1, 0, 0.0007, 0.0011),
            "quad": (0, 0, 1, height, width, height - 0.5, width - 0.3, 1),
            "extent": (0.5, 0.5, width * 1.2, height * 0.7),
        }
        for mode in ("1", "L", "LA", "P", "I;16", "I", "F", "RGB", "RGBA", "CMYK"):
            image = _image(mode, width, height, _content(number))
            for turn in Image.Transpose:
                yield _of(image, turn.name.lower(), image.transpose, turn)
            for name, data in mappings.items():
                method = Image.Transform[name.upper()]
                for kind in (0,) if mode in ("1", "P") else (0, 2, 3):
                    yield _of(image, f"{name} {kind}", image.transform, (21, 19), method, data, kind)
            yield _of(image, "rotate", image.rotate, 33, expand=True)
            yield _of(image, "crop", image.crop, (-2, 1, width + 1, height))
            yield _of(image, "expand", ImageOps.expand, image, 3)


def _point() -> Iterator[Case]:
    from PIL import ImageEnhance, ImageOps

    table = [(v * 7 + 3) % 256 for v in range(256)]
    for number, size in enumerate(((1, 1), (7, 5), (17, 16), (101, 37))):
        for mode in ("L", "RGB", "RGBA"):
            image = _image(mode, *size, _content(number))
            yield _of(image, "table", image.point, table * len(mode))
            for name in ("Brightness", "Color", "Contrast", "Sharpness"):
                yield _of(image, name, getattr(ImageEnhance, name)(image).enhance, 1.4)
            if mode != "RGBA":
                for name in ("autocontrast", "equalize", "invert", "solarize", "grayscale", "mirror", "flip"):
                    yield _of(image, name, getattr(ImageOps, name), image)
                yield _of(image, "posterize", ImageOps.posterize, image, 3)
        image = _image("L", *size, "photo")
        yield _of(image, "colorize", ImageOps.colorize, image, "navy", "ivory", "tomato")
        image = _image("I", *size, "photo")
        yield _of(image, "scale and offset", image.point, lambda v: v * 2 + 10)
        image = _image("F", *size)
        yield _of(image, "scale and offset", image.point, lambda v: v * 0.5 + 1)


def _statistics() -> Iterator[Case]:
    for number, size in enumerate(((1, 1), (7, 5), (17, 16), (101, 37))):
        for mode in ("1", "L", "LA", "I;16", "I", "F", "RGB", "RGBA", "CMYK"):
            image = _image(mode, *size, _content(number))
            if mode != "I;16":
                yield _of(image, "histogram", image.histogram)
                yield _of(image, "entropy", image.entropy)
            yield _of(image, "extrema", image.getextrema)
            yield _of(image, "bbox", image.getbbox)
            if mode in ("L", "RGB", "RGBA"):
                yield _of(image, "histogram, masked", image.histogram, _image("L", *size, "extremes", 4))
                yield _of(image, "colours", image.getcolors, 10000)
                yield _of(image, "projection", image.getprojection)
                yield _of(image, "stat", _stat, image)


def _stat(image: Any) -> tuple[Any, ...]:
    from PIL import ImageStat

    stat = ImageStat.Stat(image)
    return stat.mean, stat.stddev, stat.median, stat.extrema


def _rank() -> Iterator[Case]:
    from PIL import ImageFilter

    kinds: dict[str, Any] = {
        "min 3": ImageFilter.MinFilter(3),
        "median 3": ImageFilter.MedianFilter(3),
        "median 5": ImageFilter.MedianFilter(5),
        "max 3": ImageFilter.MaxFilter(3),
        "rank 2 of 3": ImageFilter.RankFilter(3, 2),
        "mode 3": ImageFilter.ModeFilter(3),
    }
    for number, size in enumerate(((1, 1), (7, 5), (17, 16), (67, 37))):
        for mode in ("L", "RGB", "RGBA", "I", "F"):
            image = _image(mode, *size, _content(number))
            for name, kind in kinds.items():
                yield _of(image, name, image.filter, kind)


def _quantize() -> Iterator[Case]:
    for number, size in enumerate(((1, 1), (17, 16), (67, 37))):
        for mode, methods in (("L", (0, 1, 2)), ("RGB", (0, 1, 2)), ("RGBA", (2,))):
            image = _image(mode, *size, _content(number + 1))
            for method in methods:
                yield _of(image, f"method {method}", image.quantize, 32, method)


def _drawing() -> Iterator[Case]:
    for mode in ("1", "L", "LA", "I;16", "I", "F", "P", "RGB", "RGBA", "CMYK"):
        yield Case(mode, (90, 60), "shapes", partial(_shapes, mode))
    for mode in ("L", "RGB", "RGBA"):
        yield Case(mode, (120, 30), "text", partial(_text, mode))


def _shapes(mode: str) -> Any:
    from PIL import Image, ImageDraw

    image = Image.new(mode, (90, 60))
    draw = ImageDraw.Draw(image)
    ink: Any = image.getpixel((0, 0))
    ink = tuple(200 for _ in ink) if isinstance(ink, tuple) else 1 if mode == "1" else 200
    draw.line((0, 59, 89, 0), ink, 5)
    draw.ellipse((5, 5, 60, 40), ink, width=3)
    draw.polygon(((10, 50), (40, 12), (80, 55)), ink)
    draw.rounded_rectangle((50, 10, 85, 50), 9, outline=ink, width=2)
    draw.arc((2, 2, 88, 58), 20, 290, ink, 4)
    ImageDraw.floodfill(image, (1, 1), ink)
    return image


def _text(mode: str) -> Any:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new(mode, (120, 30))
    font = ImageFont.load_default(17)
    ImageDraw.Draw(image).text((3, 3), "Hamburg 123 éß", font=font, fill=255 if mode == "L" else "white")
    return image


_FORMATS: tuple[tuple[str, tuple[str, ...], dict[str, Any]], ...] = (
    ("PNG", ("1", "L", "LA", "P", "I;16", "RGB", "RGBA"), {}),
    ("JPEG", ("L", "RGB", "CMYK"), {"quality": 85}),
    ("JPEG", ("RGB",), {"quality": 92, "subsampling": 0, "progressive": True, "optimize": True}),
    ("WEBP", ("RGB", "RGBA"), {"quality": 80, "method": 0}),
    ("WEBP", ("RGBA",), {"lossless": True, "method": 0}),
    ("TIFF", ("1", "L", "LA", "I;16", "F", "RGB", "RGBA", "CMYK"), {"compression": "tiff_lzw"}),
    ("TIFF", ("RGB",), {"compression": "tiff_adobe_deflate"}),
    ("GIF", ("L", "P", "RGB"), {}),
    ("JPEG2000", ("L", "LA", "RGB", "RGBA"), {}),
    ("AVIF", ("RGBA",), {"quality": 60, "speed": 10, "max_threads": 1}),
    ("BMP", ("1", "L", "RGB", "RGBA"), {}),
    ("TGA", ("L", "RGB", "RGBA"), {"compression": "tga_rle"}),
    ("PPM", ("L", "RGB"), {}),
    ("PCX", ("L", "RGB"), {}),
    ("ICO", ("RGBA",), {"sizes": [(32, 32), (16, 16)]}),
    ("SGI", ("L", "RGB", "RGBA"), {}),
)


def _codecs() -> Iterator[Case]:
    for name, modes, options in _FORMATS:
        for mode in modes:
            image = _image(mode, 61, 47, "photo")
            label = " ".join([name, *(f"{key}={value}" for key, value in options.items())])
            yield _of(image, f"save {label}", _encoded, image, name, options)
            yield _of(image, f"load {label}", _decoded, image, name, options)
    image = _image("RGB", 61, 47, "photo")
    yield _of(image, "load a JPEG draft", _draft, image)


def _encoded(image: Any, name: str, options: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def _decoded(image: Any, name: str, options: dict[str, Any]) -> Any:
    from PIL import Image

    with Image.open(io.BytesIO(_encoded(image, name, options))) as loaded:
        loaded.load()
        return loaded.copy()


def _draft(image: Any) -> Any:
    from PIL import Image

    with Image.open(io.BytesIO(_encoded(image, "JPEG", {}))) as loaded:
        loaded.draft(None, (20, 20))
        loaded.load()
        return loaded.copy()


def _memory() -> Iterator[Case]:
    from PIL import Image

    for number, size in enumerate(_WIDTHS):
        for mode in ("1", "L", "LA", "I;16", "F", "RGB", "RGBA", "CMYK"):
            image = _image(mode, *size, _content(number))
            yield _of(image, "copy", image.copy)
            yield _of(image, "new", Image.new, mode, size)
            yield _of(image, "tobytes", image.tobytes)
        raw = pixels("RGBA", *size, "noise")
        for mode, rawmode in (("RGB", "BGRX"), ("RGBA", "BGRA"), ("RGBA", "ABGR"), ("RGBX", "RGBX")):
            call = partial(Image.frombytes, mode, size, raw, "raw", rawmode)
            yield Case(mode, size, f"frombytes {rawmode}", call)


#: Name → cases. The first few are those that kernels serve.
FAMILIES: dict[str, Callable[[], Iterator[Case]]] = {
    "resize": _resize,
    "reduce": _reduce,
    "filter": _filter,
    "blur": _blur,
    "composite": _composite,
    "paste": _paste,
    "chops": _chops,
    "lut": _lut,
    "convert": _convert,
    "bands": _bands,
    "geometry": _geometry,
    "point": _point,
    "statistics": _statistics,
    "rank": _rank,
    "quantize": _quantize,
    "drawing": _drawing,
    "codecs": _codecs,
    "memory": _memory,
}


def groups(family: str) -> list[tuple[str, list[Case]]]:
    """The cases of one family by mode, in the order in which the modes first appear."""
    found: dict[str, list[Case]] = {}
    for case in FAMILIES[family]():
        found.setdefault(case.mode, []).append(case)
    return list(found.items())
