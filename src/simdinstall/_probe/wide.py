"""The wide suite: operations as real pipelines use them, in modes and sizes that matter."""

from __future__ import annotations

import importlib
import io
import random
from collections.abc import Callable, Iterator
from typing import Any

from .operations import Call, Inputs, Operation, Unavailable, resample, save, transposition

Size = tuple[int, int]

TINY, SMALL, MIDDLE, LARGE, HUGE = (32, 32), (640, 427), (1280, 853), (2560, 1600), (6000, 4000)

#: Filters by the names that titles show.
FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")

#: Where every mode is resized to from :data:`SMALL`, with every filter.
WAYS = (("down", (256, 171)), ("up", (960, 640)))

#: Further rows for RGB: from which size, to which, with which filter.
RESIZES: tuple[tuple[Size, Size, str], ...] = (
    (TINY, (64, 64), "bicubic"),
    ((256, 256), (224, 224), "bilinear"),
    ((500, 375), (224, 224), "bicubic"),
    (LARGE, (320, 200), "lanczos"),
    (LARGE, (2048, 1280), "lanczos"),
    (HUGE, (1920, 1280), "lanczos"),
    (HUGE, (256, 171), "bicubic"),
)


#: Groups, and beginnings of titles, of what leaves a part of its inputs alone.
_PARTIAL = (
    "Draw",
    "Pipeline",
    "crop",
    "getbbox",
    "getcolors",
    "RGB part",
    "fit",
    "fromarray",
    "JPEG 2560x1600, d",
)


class _Pil:
    """The submodules of PIL, imported when an operation first needs them."""

    def __getattr__(self, name: str) -> Any:
        return importlib.import_module(f"PIL.{name}")


pil = _Pil()


def _row(
    group: str,
    title: str,
    size: Size,
    prepare: Callable[[Inputs], Call],
    *,
    assets: tuple[str, ...] = (),
) -> Operation:
    whole = group not in _PARTIAL and not title.startswith(_PARTIAL) and "nearest" not in title
    whole = whole and title not in ("paste RGB", "putalpha on RGBA")
    return Operation(
        f"wide/{group.lower()}/{title}",
        group,
        title,
        size[0] * size[1],
        prepare,
        assets=assets,
        whole=whole,
    )


def _one(
    group: str, title: str, mode: str, size: Size, use: Callable[[Any], Call], *, content: str = "photo"
) -> Operation:
    """A row that works on one image: ``use`` prepares with it and gives the call."""
    return _row(group, title, size, lambda inputs: use(inputs.image(mode, size, content)))


def _two(group: str, title: str, mode: str, size: Size, use: Callable[[Any, Any], Call]) -> Operation:
    return _row(
        group, title, size, lambda inputs: use(inputs.image(mode, size), inputs.image(mode, size, seed=2))
    )


def resize_title(size: Size, target: Size, name: str) -> str:
    """The title of one of :data:`RESIZES`."""
    return f"RGB {size[0]}x{size[1]} to {target[0]}x{target[1]}, {name}"


def _resizing() -> Iterator[Operation]:
    group = "Resize"
    for mode in ("L", "LA", "RGB", "RGBA", "I;16", "F"):
        for way, target in WAYS:
            for name in FILTERS:

                def use(image: Any, target: Size = target, name: str = name) -> Call:
                    kind = resample(name)
                    return lambda: image.resize(target, kind)

                yield _one(group, f"{mode} {way}, {name}", mode, SMALL, use)
    for size, target, name in RESIZES:

        def use(image: Any, target: Size = target, name: str = name) -> Call:
            kind = resample(name)
            return lambda: image.resize(target, kind)

        yield _one(group, resize_title(size, target, name), "RGB", size, use)
    box = (100.5, 80.25, 1100.5, 780.75)
    yield _one(
        group,
        "RGB part of an image, bicubic",
        "RGB",
        MIDDLE,
        lambda image: lambda: image.resize((224, 224), resample("bicubic"), box),
    )
    yield _one(
        group,
        "RGB 6000x4000 to 256x171, reducing_gap 2",
        "RGB",
        HUGE,
        lambda image: lambda: image.resize((256, 171), resample("bicubic"), reducing_gap=2.0),
    )
    yield _one(group, "thumbnail of 2560x1600", "RGB", LARGE, _thumbnail)
    for mode, size, factor in (
        ("RGB", MIDDLE, 2),
        ("RGB", MIDDLE, 3),
        ("RGB", MIDDLE, 4),
        ("RGB", HUGE, 8),
        ("RGB", MIDDLE, (1, 2)),
        ("L", MIDDLE, 2),
        ("RGBA", MIDDLE, 2),
    ):

        def reduce(image: Any, factor: Any = factor) -> Call:
            return lambda: image.reduce(factor)

        yield _one("Reduce", f"{mode} {size[0]}x{size[1]} by {factor}", mode, size, reduce)


def _thumbnail(image: Any) -> Call:
    def call() -> Any:
        copy = image.copy()
        copy.thumbnail((256, 256))
        return copy

    return call


def _filtering() -> Iterator[Operation]:
    blurs: tuple[tuple[str, str, Callable[[], Any]], ...] = (
        ("RGB", "gaussian, radius 1", lambda: pil.ImageFilter.GaussianBlur(1)),
        ("RGB", "gaussian, radius 2", lambda: pil.ImageFilter.GaussianBlur(2)),
        ("RGB", "gaussian, radius 10", lambda: pil.ImageFilter.GaussianBlur(10)),
        ("RGB", "gaussian, radius 30", lambda: pil.ImageFilter.GaussianBlur(30)),
        ("L", "gaussian, radius 2", lambda: pil.ImageFilter.GaussianBlur(2)),
        ("RGBA", "gaussian, radius 5", lambda: pil.ImageFilter.GaussianBlur(5)),
        ("RGB", "box, radius 5", lambda: pil.ImageFilter.BoxBlur(5)),
        ("RGB", "unsharp mask, radius 2", lambda: pil.ImageFilter.UnsharpMask(2, 150, 3)),
    )
    kernels: tuple[tuple[str, str, Callable[[], Any]], ...] = (
        ("RGB", "smooth, 3x3", lambda: pil.ImageFilter.SMOOTH),
        ("RGB", "sharpen, 3x3", lambda: pil.ImageFilter.SHARPEN),
        ("RGB", "smooth more, 5x5", lambda: pil.ImageFilter.SMOOTH_MORE),
        ("RGB", "blur, 5x5", lambda: pil.ImageFilter.BLUR),
        ("L", "find edges, 3x3", lambda: pil.ImageFilter.FIND_EDGES),
        ("RGBA", "detail, 3x3", lambda: pil.ImageFilter.DETAIL),
        ("L", "own weights, 5x5", lambda: pil.ImageFilter.Kernel((5, 5), [v / 7 for v in range(25)], 43)),
    )
    for group, rows in (("Blur", blurs), ("Filter", kernels)):
        for mode, title, make in rows:

            def use(image: Any, make: Callable[[], Any] = make) -> Call:
                kind = make()
                return lambda: image.filter(kind)

            yield _one(group, f"{mode} {title}", mode, MIDDLE, use)
    ranks: tuple[tuple[str, str, Callable[[], Any]], ...] = (
        ("L", "minimum of 3x3", lambda: pil.ImageFilter.MinFilter(3)),
        ("RGB", "median of 3x3", lambda: pil.ImageFilter.MedianFilter(3)),
        ("L", "median of 5x5", lambda: pil.ImageFilter.MedianFilter(5)),
        ("RGB", "maximum of 3x3", lambda: pil.ImageFilter.MaxFilter(3)),
        ("L", "mode of 5x5", lambda: pil.ImageFilter.ModeFilter(5)),
    )
    for mode, title, make in ranks:

        def rank(image: Any, make: Callable[[], Any] = make) -> Call:
            kind = make()
            return lambda: image.filter(kind)

        yield _one("Rank filter", f"{mode} {title}", mode, SMALL, rank)


def _compositing() -> Iterator[Operation]:
    group = "Composite"
    yield _two(
        group, "alpha_composite RGBA", "RGBA", MIDDLE, lambda a, b: lambda: pil.Image.alpha_composite(a, b)
    )
    yield _two(group, "blend RGB", "RGB", MIDDLE, lambda a, b: lambda: pil.Image.blend(a, b, 0.3))
    yield _two(group, "blend L", "L", MIDDLE, lambda a, b: lambda: pil.Image.blend(a, b, 0.3))

    def masked(kind: str | None, mode: str, fill: bool) -> Callable[[Inputs], Call]:
        def prepare(inputs: Inputs) -> Call:
            back = inputs.image(mode, MIDDLE)
            front: Any = (20, 90, 160) if fill else inputs.image(mode, MIDDLE, seed=2)
            mask = inputs.image(kind, MIDDLE, seed=3) if kind else None

            def call() -> Any:
                back.paste(front, (0, 0, *MIDDLE), mask)
                return back

            return call

        return prepare

    yield _row(group, "paste RGB", MIDDLE, masked(None, "RGB", False))
    yield _row(group, "paste RGB, mask 1", MIDDLE, masked("1", "RGB", False))
    yield _row(group, "paste RGB, mask L", MIDDLE, masked("L", "RGB", False))
    yield _row(group, "paste RGB, mask RGBA", MIDDLE, masked("RGBA", "RGB", False))
    yield _row(group, "paste L, mask L", MIDDLE, masked("L", "L", False))
    yield _row(group, "paste a colour, mask L", MIDDLE, masked("L", "RGB", True))

    def composite(inputs: Inputs) -> Call:
        one, two, mask = (
            inputs.image("RGB", MIDDLE),
            inputs.image("RGB", MIDDLE, seed=2),
            inputs.image("L", MIDDLE),
        )
        return lambda: pil.Image.composite(one, two, mask)

    yield _row(group, "composite RGB", MIDDLE, composite)
    for name in (
        "add", "add_modulo", "subtract", "subtract_modulo", "multiply", "screen", "overlay", "soft_light",
        "hard_light", "difference", "lighter", "darker",
    ):  # fmt: skip

        def chop(one: Any, two: Any, name: str = name) -> Call:
            function = getattr(pil.ImageChops, name)
            return lambda: function(one, two)

        yield _two("ImageChops", f"{name} RGB", "RGB", MIDDLE, chop)
    yield _one("ImageChops", "invert RGB", "RGB", MIDDLE, lambda image: lambda: pil.ImageChops.invert(image))
    yield _one(
        "ImageChops", "offset RGB", "RGB", MIDDLE, lambda image: lambda: pil.ImageChops.offset(image, 100, 50)
    )
    yield _two(
        "ImageChops", "logical_and 1", "1", MIDDLE, lambda a, b: lambda: pil.ImageChops.logical_and(a, b)
    )


_PAIRS = (
    ("RGB", "L"), ("L", "RGB"), ("RGB", "RGBA"), ("RGBA", "RGB"), ("L", "RGBA"), ("RGBA", "L"),
    ("LA", "RGBA"), ("RGBA", "LA"), ("RGBA", "RGBa"), ("RGBa", "RGBA"), ("RGB", "CMYK"), ("CMYK", "RGB"),
    ("RGB", "YCbCr"), ("YCbCr", "RGB"), ("RGB", "HSV"), ("HSV", "RGB"), ("1", "L"), ("L", "1"),
    ("P", "RGB"), ("P", "RGBA"), ("I;16", "I"), ("I;16", "L"), ("L", "F"), ("F", "L"), ("L", "I"),
    ("I", "L"), ("RGB", "F"),
)  # fmt: skip
_MATRIX = (0.412453, 0.357580, 0.180423, 0, 0.212671, 0.715160, 0.072169, 0, 0.019334, 0.119193, 0.950227, 0)


def _converting() -> Iterator[Operation]:
    group = "Convert"
    for source, target in _PAIRS:

        def use(image: Any, target: str = target) -> Call:
            return lambda: image.convert(target)

        yield _one(group, f"{source} to {target}", source, MIDDLE, use)
    yield _one(group, "L to 1, no dither", "L", MIDDLE, lambda image: lambda: image.convert("1", dither=0))
    yield _one(group, "RGB by a matrix", "RGB", MIDDLE, lambda image: lambda: image.convert("RGB", _MATRIX))
    yield _one(
        group, "RGB to L by a matrix", "RGB", MIDDLE, lambda image: lambda: image.convert("L", _MATRIX[:4])
    )
    yield _one(
        group, "RGB to P, web palette, dithered", "RGB", SMALL, lambda image: lambda: image.convert("P")
    )
    yield _row(group, "RGB to LAB by a profile", SMALL, _lab)
    for title, mode, size, method in (
        ("RGB, median cut", "RGB", (320, 213), 0),
        ("RGB, fast octree", "RGB", SMALL, 2),
        ("RGBA, fast octree", "RGBA", SMALL, 2),
    ):

        def quantize(image: Any, method: int = method) -> Call:
            return lambda: image.quantize(256, method)

        yield _one("Quantize", title, mode, size, quantize)

    def palette(image: Any) -> Call:
        colours = image.quantize(64, 2)
        return lambda: image.quantize(palette=colours)

    yield _one("Quantize", "RGB to a given palette, dithered", "RGB", SMALL, palette)


def _lab(inputs: Inputs) -> Call:
    try:
        cms = pil.ImageCms
        transform = cms.buildTransform(cms.createProfile("sRGB"), cms.createProfile("LAB"), "RGB", "LAB")
    except ImportError as error:
        raise Unavailable(str(error).partition(" (")[0]) from None
    image = inputs.image("RGB", SMALL)
    return lambda: cms.applyTransform(image, transform)


def _colouring() -> Iterator[Operation]:
    group = "Point"
    table = [min(255, v * v // 200) for v in range(256)]
    yield _one(group, "table on L", "L", MIDDLE, lambda image: lambda: image.point(table))
    yield _one(group, "table on RGB", "RGB", MIDDLE, lambda image: lambda: image.point(table * 3))

    def lut(image: Any, side: int) -> Call:
        kind = pil.ImageFilter.Color3DLUT.generate(side, lambda r, g, b: (g, r * r, (b + r) / 2))
        return lambda: image.filter(kind)

    yield _one(group, "3D colour table, 4³", "RGB", MIDDLE, lambda image: lut(image, 4))
    yield _one(group, "3D colour table, 17³", "RGB", MIDDLE, lambda image: lut(image, 17))
    yield _one(group, "3D colour table, 33³", "RGB", MIDDLE, lambda image: lut(image, 33))
    yield _one(group, "3D colour table, 17³, RGBA", "RGBA", MIDDLE, lambda image: lut(image, 17))
    group = "ImageOps"
    for name in ("autocontrast", "equalize", "invert", "grayscale", "solarize"):

        def operation(image: Any, name: str = name) -> Call:
            function = getattr(pil.ImageOps, name)
            return lambda: function(image)

        yield _one(group, f"{name} RGB", "RGB", MIDDLE, operation)
    yield _one(group, "posterize RGB", "RGB", MIDDLE, lambda image: lambda: pil.ImageOps.posterize(image, 3))
    yield _one(
        group, "colorize L", "L", MIDDLE, lambda image: lambda: pil.ImageOps.colorize(image, "navy", "ivory")
    )
    yield _one(
        group, "fit RGB to 400x400", "RGB", MIDDLE, lambda image: lambda: pil.ImageOps.fit(image, (400, 400))
    )
    yield _one(
        group, "pad RGB to 600x600", "RGB", MIDDLE, lambda image: lambda: pil.ImageOps.pad(image, (600, 600))
    )
    yield _one(group, "expand RGB by 20", "RGB", MIDDLE, lambda image: lambda: pil.ImageOps.expand(image, 20))
    for name in ("Brightness", "Contrast", "Color", "Sharpness"):

        def enhance(image: Any, name: str = name) -> Call:
            function = getattr(pil.ImageEnhance, name)
            return lambda: function(image).enhance(1.3)

        yield _one("ImageEnhance", f"{name} RGB", "RGB", MIDDLE, enhance)


def _moving() -> Iterator[Operation]:
    group = "Transform"
    for name in ("nearest", "bilinear", "bicubic"):

        def affine(image: Any, name: str = name) -> Call:
            kind, method = resample(name), _method("AFFINE")
            return lambda: image.transform(SMALL, method, (1.9, 0.2, 3.5, -0.2, 1.9, 9.1), kind)

        yield _one(group, f"RGB affine, {name}", "RGB", MIDDLE, affine)
    mappings: tuple[tuple[str, str, Any, str], ...] = (
        ("RGB perspective, bicubic", "PERSPECTIVE", (1.8, 0.1, 5, 0.1, 1.9, 2, 0.0001, 0.0001), "bicubic"),
        ("RGB quad, bilinear", "QUAD", (5, 5, 20, 840, 1270, 850, 1260, 9), "bilinear"),
        ("RGB extent, bilinear", "EXTENT", (10.5, 9.5, 1200.5, 800.5), "bilinear"),
        (
            "RGB mesh, bilinear",
            "MESH",
            [
                ((0, 0, 320, 427), (0, 0, 9, 850, 640, 853, 650, 5)),
                ((320, 0, 640, 427), (650, 5, 640, 853, 1270, 840, 1280, 0)),
            ],
            "bilinear",
        ),
    )
    for title, method_name, data, name in mappings:

        def use(image: Any, method_name: str = method_name, data: Any = data, name: str = name) -> Call:
            kind, method = resample(name), _method(method_name)
            return lambda: image.transform(SMALL, method, data, kind)

        yield _one(group, title, "RGB", MIDDLE, use)
    group = "Rotate"
    yield _one(
        group,
        "RGB by 10°, bicubic",
        "RGB",
        SMALL,
        lambda image: lambda: image.rotate(10, resample("bicubic"), expand=True),
    )
    yield _one(group, "RGB by 45°, nearest", "RGB", SMALL, lambda image: lambda: image.rotate(45))
    for name in (
        "flip_left_right", "flip_top_bottom", "rotate_90", "rotate_180", "rotate_270", "transpose",
        "transverse",
    ):  # fmt: skip
        for mode in ("RGB", "L") if name in ("rotate_90", "flip_left_right") else ("RGB",):

            def turn(image: Any, name: str = name) -> Call:
                kind = transposition(name)
                return lambda: image.transpose(kind)

            yield _one("Transpose", f"{mode} {name}", mode, MIDDLE, turn)


def _method(name: str) -> Any:
    return getattr(getattr(pil.Image, "Transform", pil.Image), name)


def _memory() -> Iterator[Operation]:
    group = "Memory"
    yield _one(group, "crop RGB", "RGB", MIDDLE, lambda image: lambda: image.crop((100, 50, 1100, 750)))
    yield _one(group, "copy RGB", "RGB", MIDDLE, lambda image: lambda: image.copy())
    yield _row(group, "new RGB, black", MIDDLE, lambda inputs: lambda: pil.Image.new("RGB", MIDDLE))
    yield _row(
        group, "new RGB, a colour", MIDDLE, lambda inputs: lambda: pil.Image.new("RGB", MIDDLE, (9, 90, 180))
    )
    yield _row(group, "new RGBA 6000x4000", HUGE, lambda inputs: lambda: pil.Image.new("RGBA", HUGE))
    yield _one(group, "split RGB", "RGB", MIDDLE, lambda image: image.split)
    yield _one(group, "split RGBA", "RGBA", MIDDLE, lambda image: image.split)

    def merge(inputs: Inputs) -> Call:
        bands = [inputs.image("L", MIDDLE, seed=seed) for seed in range(3)]
        return lambda: pil.Image.merge("RGB", bands)

    yield _row(group, "merge RGB", MIDDLE, merge)
    yield _one(group, "getchannel of RGBA", "RGBA", MIDDLE, lambda image: lambda: image.getchannel("A"))

    def alpha(inputs: Inputs) -> Call:
        image, mask = inputs.image("RGBA", MIDDLE), inputs.image("L", MIDDLE)

        def call() -> Any:
            image.putalpha(mask)
            return image

        return call

    yield _row(group, "putalpha on RGBA", MIDDLE, alpha)
    yield _one(group, "tobytes RGB", "RGB", MIDDLE, lambda image: image.tobytes)
    yield _one(group, "tobytes RGB as BGR", "RGB", MIDDLE, lambda image: lambda: image.tobytes("raw", "BGR"))
    for mode, rawmode, stored in (("RGB", "RGB", "RGB"), ("RGB", "BGRX", "RGBA"), ("RGBA", "RGBA", "RGBA")):

        def read(inputs: Inputs, mode: str = mode, rawmode: str = rawmode, stored: str = stored) -> Call:
            data = inputs.data(stored, MIDDLE)
            return lambda: pil.Image.frombytes(mode, MIDDLE, data, "raw", rawmode)

        yield _row(group, f"frombytes {mode} from {rawmode}", MIDDLE, read)
    group = "NumPy"
    for mode in ("L", "RGB", "RGBA"):

        def out(inputs: Inputs, mode: str = mode) -> Call:
            image, numpy = inputs.image(mode, MIDDLE), inputs.module("numpy")
            return lambda: numpy.asarray(image)

        yield _row(group, f"asarray of {mode}", MIDDLE, out)

        def back(inputs: Inputs, mode: str = mode) -> Call:
            numpy = inputs.module("numpy")
            shape = (MIDDLE[1], MIDDLE[0], len(mode))[: 2 if mode == "L" else 3]
            array = numpy.frombuffer(inputs.data(mode, MIDDLE), "uint8").reshape(shape)
            return lambda: pil.Image.fromarray(array)

        yield _row(group, f"fromarray to {mode}", MIDDLE, back)


def _measuring() -> Iterator[Operation]:
    group = "Statistics"
    yield _one(group, "histogram RGB", "RGB", MIDDLE, lambda image: image.histogram)
    yield _one(group, "histogram L", "L", MIDDLE, lambda image: image.histogram)

    def masked(inputs: Inputs) -> Call:
        image, mask = inputs.image("RGB", MIDDLE), inputs.image("L", MIDDLE, seed=2)
        return lambda: image.histogram(mask)

    yield _row(group, "histogram RGB, masked", MIDDLE, masked)
    yield _one(group, "getextrema RGB", "RGB", MIDDLE, lambda image: image.getextrema)
    yield _one(group, "getbbox L", "L", MIDDLE, lambda image: image.getbbox, content="gradient")
    yield _one(group, "entropy L", "L", MIDDLE, lambda image: image.entropy)
    yield _one(group, "mean and deviation RGB", "RGB", MIDDLE, lambda image: lambda: _stat(image))
    yield _one(
        group,
        "getcolors RGB",
        "RGB",
        SMALL,
        lambda image: lambda: image.getcolors(1 << 20),
        content="graphics",
    )
    yield _one(group, "getprojection L", "L", MIDDLE, lambda image: image.getprojection)


def _stat(image: Any) -> tuple[Any, Any]:
    stat = pil.ImageStat.Stat(image)
    return stat.mean, stat.stddev


def _drawing() -> Iterator[Operation]:
    group = "Draw"

    def text(size: int, words: str) -> Callable[[Inputs], Call]:
        def prepare(inputs: Inputs) -> Call:
            try:
                font = pil.ImageFont.load_default(size)
            except (TypeError, ImportError) as error:
                raise Unavailable(f"no scalable font: {error}") from None
            image = inputs.image("RGB", SMALL)

            def call() -> Any:
                pil.ImageDraw.Draw(image).text((10, 10), words, font=font, fill=(240, 200, 20))
                return image

            return call

        return prepare

    yield _row(group, "text, one line of 20 px", SMALL, text(20, "The quick brown fox jumps over the dog"))
    yield _row(group, "text, one word of 200 px", SMALL, text(200, "Foxes"))

    def shapes(draw: Callable[[Any], None]) -> Callable[[Any], Call]:
        def use(image: Any) -> Call:
            def call() -> Any:
                draw(pil.ImageDraw.Draw(image))
                return image

            return call

        return use

    def lines(draw: Any) -> None:
        for y in range(0, 420, 7):
            draw.line((0, y, 639, 419 - y), (y % 256, 90, 30), 3)

    def areas(draw: Any) -> None:
        draw.polygon(((10, 10), (630, 60), (300, 420)), (20, 200, 90))
        draw.ellipse((100, 50, 500, 400), (200, 20, 90), (0, 0, 0), 5)
        draw.rounded_rectangle((300, 200, 620, 410), 30, (90, 20, 200))

    yield _one(group, "60 lines, 3 px wide", "RGB", SMALL, shapes(lines))
    yield _one(group, "polygon, ellipse, rounded box", "RGB", SMALL, shapes(areas))


_LOADS = (
    ("JPEG 2560x1600", "photo-2560x1600-q85.jpg", LARGE),
    ("JPEG 500x375", "photo-500x375-q85.jpg", (500, 375)),
    ("JPEG 2560x1600, progressive", "photo-2560x1600-q85-progressive.jpg", LARGE),
    ("JPEG 2560x1600, full colour", "photo-2560x1600-q92-s444.jpg", LARGE),
    ("JPEG 1280x853, grey", "photo-1280x853-L-q85.jpg", MIDDLE),
    ("PNG RGB", "photo-1280x853.png", MIDDLE),
    ("PNG RGBA", "photo-1280x853-RGBA.png", MIDDLE),
    ("PNG L", "photo-1280x853-L.png", MIDDLE),
    ("PNG P", "graphics-1280x853-P.png", MIDDLE),
    ("WebP", "photo-1280x853-q80.webp", MIDDLE),
    ("WebP, lossless", "graphics-1280x853-lossless.webp", MIDDLE),
    ("TIFF", "photo-1280x853.tif", MIDDLE),
    ("TIFF, LZW", "photo-1280x853-lzw.tif", MIDDLE),
    ("TIFF, deflate", "photo-1280x853-deflate.tif", MIDDLE),
    ("GIF", "graphics-1280x853-P.gif", MIDDLE),
    ("AVIF", "photo-640x427-q60.avif", SMALL),
    ("JPEG 2000", "photo-640x427.jp2", SMALL),
)
_SAVES: tuple[tuple[str, str, str, Size, dict[str, Any]], ...] = (
    ("JPEG 2560x1600, quality 85", "RGB", "JPEG", LARGE, {"quality": 85}),
    (
        "JPEG, progressive, optimised",
        "RGB",
        "JPEG",
        MIDDLE,
        {"quality": 85, "progressive": True, "optimize": True},
    ),
    ("JPEG, full colour", "RGB", "JPEG", MIDDLE, {"quality": 92, "subsampling": 0}),
    ("PNG RGB, level 1", "RGB", "PNG", SMALL, {"compress_level": 1}),
    ("PNG RGB, level 6", "RGB", "PNG", SMALL, {"compress_level": 6}),
    ("PNG RGBA, level 6", "RGBA", "PNG", SMALL, {"compress_level": 6}),
    ("PNG L, level 6", "L", "PNG", SMALL, {"compress_level": 6}),
    ("WebP, quality 80", "RGB", "WEBP", SMALL, {"quality": 80}),
    ("TIFF", "RGB", "TIFF", MIDDLE, {}),
    ("TIFF, LZW", "RGB", "TIFF", MIDDLE, {"compression": "tiff_lzw"}),
    ("GIF", "P", "GIF", SMALL, {}),
    ("AVIF, speed 9", "RGB", "AVIF", (320, 213), {"quality": 60, "speed": 9, "max_threads": 1}),
    ("JPEG 2000", "RGB", "JPEG2000", (320, 213), {}),
)


def _files() -> Iterator[Operation]:
    for title, name, size in _LOADS:

        def load(inputs: Inputs, name: str = name) -> Call:
            data = inputs.file(name)
            return lambda: _loaded(data)

        yield _row("Load", title, size, load, assets=(name,))

    def draft(inputs: Inputs) -> Call:
        data = inputs.file(_LOADS[0][1])

        def call() -> Any:
            image = pil.Image.open(io.BytesIO(data))
            image.draft("RGB", (320, 200))
            image.load()
            return image

        return call

    yield _row("Load", "JPEG 2560x1600, draft of 1/8", LARGE, draft, assets=(_LOADS[0][1],))
    for title, mode, format, size, options in _SAVES:

        def write(
            inputs: Inputs, mode: str = mode, format: str = format, size: Size = size, o: Any = options
        ) -> Call:
            return save(inputs.image(mode, size), format, o)

        yield _row("Save", title, size, write)


def _loaded(data: bytes) -> Any:
    image = pil.Image.open(io.BytesIO(data))
    image.load()
    return image


def _encoded(image: Any, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def _pipelines() -> Iterator[Operation]:
    group = "Pipeline"
    small, large = "photo-500x375-q85.jpg", "photo-2560x1600-q85.jpg"

    def pipeline(name: str, work: Callable[[bytes], Any]) -> Callable[[Inputs], Call]:
        def prepare(inputs: Inputs) -> Call:
            data = inputs.file(name)
            return lambda: work(data)

        return prepare

    def train(data: bytes) -> Any:
        draw = random.Random(5)
        image = _loaded(data).convert("RGB")
        side = int((image.width * image.height * draw.uniform(0.3, 0.9)) ** 0.5)
        width, height = min(side, image.width), min(side, image.height)
        left, top = draw.randint(0, image.width - width), draw.randint(0, image.height - height)
        image = image.resize((224, 224), resample("bilinear"), (left, top, left + width, top + height))
        image = image.transpose(transposition("flip_left_right"))
        for name in ("Brightness", "Contrast", "Color"):
            image = getattr(pil.ImageEnhance, name)(image).enhance(draw.uniform(0.6, 1.4))
        return image.tobytes()

    def evaluate(data: bytes) -> Any:
        image = _loaded(data).convert("RGB").resize((341, 256), resample("bilinear"))
        return image.crop((58, 16, 282, 240)).tobytes()

    def thumbnails(data: bytes) -> Any:
        image = pil.Image.open(io.BytesIO(data))
        image.thumbnail((256, 256), resample("lanczos"))
        return _encoded(image, "JPEG", quality=80)

    def sizes(data: bytes) -> Any:
        image = _loaded(data)
        return [image.resize((w, w * 5 // 8), resample("lanczos")) for w in (1920, 1280, 640, 320)]

    def watermark(data: bytes) -> Any:
        image = _loaded(data).convert("RGBA")
        mark = pil.Image.new("RGBA", image.size, (255, 255, 255, 0))
        pil.ImageDraw.Draw(mark).rectangle((100, 100, 900, 300), (255, 255, 255, 90))
        return _encoded(pil.Image.alpha_composite(image, mark).convert("RGB"), "JPEG", quality=85)

    def glow(data: bytes) -> Any:
        image = _loaded(data)
        soft = image.filter(pil.ImageFilter.GaussianBlur(12))
        return pil.Image.blend(image, pil.ImageChops.screen(image, soft), 0.4)

    yield _row(group, "ImageNet training, 500x375", (500, 375), pipeline(small, train), assets=(small,))
    yield _row(group, "ImageNet evaluation, 500x375", (500, 375), pipeline(small, evaluate), assets=(small,))
    yield _row(group, "thumbnail a 4 MP JPEG", LARGE, pipeline(large, thumbnails), assets=(large,))
    yield _row(group, "four sizes of a 4 MP JPEG", LARGE, pipeline(large, sizes), assets=(large,))
    yield _row(group, "watermark a 4 MP JPEG", LARGE, pipeline(large, watermark), assets=(large,))
    yield _row(group, "soft glow on a 4 MP JPEG", LARGE, pipeline(large, glow), assets=(large,))

    def array(inputs: Inputs) -> Call:
        data, numpy = inputs.file(large), inputs.module("numpy")
        return lambda: numpy.asarray(_loaded(data).convert("RGB"))

    yield _row(group, "4 MP JPEG to NumPy", LARGE, array, assets=(large,))

    def scan(image: Any) -> Call:
        def call() -> Any:
            page = pil.ImageOps.autocontrast(image.filter(pil.ImageFilter.MedianFilter(3)), cutoff=1)
            page = page.filter(pil.ImageFilter.UnsharpMask(1.5, 120, 2)).rotate(
                0.7, resample("bicubic"), fillcolor=255
            )
            return _encoded(
                page.point(lambda v: 255 if v > 140 else 0).convert("1"), "TIFF", compression="group4"
            )

        return call

    yield _one(group, "clean up a scanned page", "L", (826, 1169), scan, content="graphics")


def wide() -> Iterator[Operation]:
    """All rows, in the order of the table."""
    yield from _resizing()
    yield from _filtering()
    yield from _compositing()
    yield from _converting()
    yield from _colouring()
    yield from _moving()
    yield from _memory()
    yield from _measuring()
    yield from _drawing()
    yield from _files()
    yield from _pipelines()
