"""OpenCV's way of doing Pillow's rows, where it has one."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from .operations import Call, Inputs, Unavailable
from .wide import FILTERS, LARGE, MIDDLE, RESIZES, SMALL, WAYS, resize_title

BOX = "averages a box, no convolution with the filter"
QUANTISED = "coordinates quantised to 1/32 of a pixel"
EIGHT_TAPS = "8 taps and quantised coordinates, no antialiasing"


class Peer(NamedTuple):
    """How another library does a row, and how its algorithm differs."""

    prepare: Callable[[Inputs], Call]
    remark: str = ""


def hello() -> dict[str, Any]:
    """Version and place; OpenCV is told to use one thread."""
    cv2 = importlib.import_module("cv2")
    cv2.setNumThreads(1)
    return {"pil": cv2.__version__, "path": cv2.__file__, "core": cv2.__file__}


def _cv2() -> Any:
    return importlib.import_module("cv2")


def array(inputs: Inputs, mode: str, size: tuple[int, int], seed: int = 1) -> Any:
    """The same pixels as Pillow's image, as OpenCV likes them."""
    numpy = importlib.import_module("numpy")
    kind = {"I;16": "<u2", "F": "<f4"}.get(mode, "u1")
    bands = {"L": 1, "I;16": 1, "F": 1, "LA": 2, "RGB": 3, "YCbCr": 3, "HSV": 3}.get(mode, 4)
    shape = (size[1], size[0], bands) if bands > 1 else (size[1], size[0])
    return numpy.frombuffer(inputs.data(mode, size, seed=seed), kind).reshape(shape).copy()


def _interpolation(name: str, up: bool) -> tuple[int, str]:
    cv2 = _cv2()
    if name == "nearest":
        return cv2.INTER_NEAREST, "another rounding of coordinates"
    if not up or name in ("box", "hamming"):
        return cv2.INTER_AREA, "" if name == "box" and not up else BOX
    kind = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC, "lanczos": cv2.INTER_LANCZOS4}[name]
    return kind, EIGHT_TAPS if name == "lanczos" else QUANTISED


def _resize(mode: str, size: tuple[int, int], target: tuple[int, int], name: str) -> Peer:
    up = target[0] > size[0]

    def prepare(inputs: Inputs) -> Call:
        kind, image, resize = _interpolation(name, up)[0], array(inputs, mode, size), _cv2().resize
        return lambda: resize(image, target, interpolation=kind)

    remark = {"nearest": "another rounding of coordinates", "box": "" if not up else BOX}.get(name)
    if remark is None:
        remark = BOX if not up or name == "hamming" else EIGHT_TAPS if name == "lanczos" else QUANTISED
    return Peer(prepare, remark)


def _one(mode: str, size: tuple[int, int], use: Callable[[Any, Any], Call], remark: str = "") -> Peer:
    return Peer(lambda inputs: use(_cv2(), array(inputs, mode, size)), remark)


def _two(mode: str, size: tuple[int, int], use: Callable[[Any, Any, Any], Call], remark: str = "") -> Peer:
    return Peer(lambda i: use(_cv2(), array(i, mode, size), array(i, mode, size, 2)), remark)


def _weights(values: list[int]) -> Callable[[Any, Any], Call]:
    def use(cv2: Any, image: Any) -> Call:
        numpy = importlib.import_module("numpy")
        side = int(len(values) ** 0.5)
        kernel = numpy.array(values, "float32").reshape(side, side) / sum(values)
        return lambda: cv2.filter2D(image, -1, kernel)

    return use


_SMOOTH = [1, 1, 1, 1, 5, 1, 1, 1, 1]
_SHARPEN = [-2, -2, -2, -2, 32, -2, -2, -2, -2]
_MORE = [1, 1, 1, 1, 1, 1, 5, 5, 5, 1, 1, 5, 44, 5, 1, 1, 5, 5, 5, 1, 1, 1, 1, 1, 1]
_CONVOLVES = "convolves up to the edge, where Pillow copies"
_TRUE = "a true Gaussian, where Pillow blurs three times with a box"


def _gauss(radius: float) -> Callable[[Any, Any], Call]:
    def use(cv2: Any, image: Any) -> Call:
        window = 1 + 2 * int(-(-radius * 2.5 // 1))
        return lambda: cv2.GaussianBlur(image, (window, window), radius)

    return use


def _turns() -> dict[str, Callable[[Any, Any], Call]]:
    def flip(code: int) -> Callable[[Any, Any], Call]:
        return lambda cv2, image: lambda: cv2.flip(image, code)

    def rotate(name: str) -> Callable[[Any, Any], Call]:
        return lambda cv2, image: lambda: cv2.rotate(image, getattr(cv2, name))

    return {
        "flip_left_right": flip(1),
        "flip_top_bottom": flip(0),
        "rotate_90": rotate("ROTATE_90_COUNTERCLOCKWISE"),
        "rotate_180": rotate("ROTATE_180"),
        "rotate_270": rotate("ROTATE_90_CLOCKWISE"),
        "transpose": lambda cv2, image: lambda: cv2.transpose(image),
        "transverse": lambda cv2, image: lambda: cv2.flip(cv2.transpose(image), -1),
    }


def _colour(name: str) -> Callable[[Any, Any], Call]:
    return lambda cv2, image: lambda: cv2.cvtColor(image, getattr(cv2, name))


def _decode(name: str) -> Peer:
    def prepare(inputs: Inputs) -> Call:
        numpy, cv2 = importlib.import_module("numpy"), _cv2()
        data = numpy.frombuffer(inputs.file(name), "uint8")

        def call() -> Any:
            image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED | getattr(cv2, "IMREAD_COLOR_RGB", 0))
            if image is None:
                raise Unavailable("OpenCV cannot read it")
            return image

        return call

    return Peer(prepare, "bands in the order BGR")


def _encode(mode: str, size: tuple[int, int], suffix: str, options: list[tuple[str, int]]) -> Peer:
    def use(cv2: Any, image: Any) -> Call:
        flags = [value for name, number in options for value in (getattr(cv2, name), number)]
        return lambda: cv2.imencode(suffix, image, flags)[1].tobytes()

    return _one(mode, size, use, "bands in the order BGR")


def _wide() -> Iterator[tuple[str, Peer]]:
    for mode in ("L", "LA", "RGB", "RGBA", "I;16", "F"):
        for way, target in WAYS:
            for name in FILTERS:
                yield f"resize/{mode} {way}, {name}", _resize(mode, SMALL, target, name)
    for size, target, name in RESIZES:
        yield f"resize/{resize_title(size, target, name)}", _resize("RGB", size, target, name)
    for radius in (1, 2, 10, 30):
        yield f"blur/RGB gaussian, radius {radius}", _one("RGB", MIDDLE, _gauss(radius), _TRUE)
    yield "blur/L gaussian, radius 2", _one("L", MIDDLE, _gauss(2), _TRUE)
    yield "blur/RGB box, radius 5", _one("RGB", MIDDLE, lambda cv2, im: lambda: cv2.blur(im, (11, 11)))
    yield "filter/RGB smooth, 3x3", _one("RGB", MIDDLE, _weights(_SMOOTH), _CONVOLVES)
    yield "filter/RGB sharpen, 3x3", _one("RGB", MIDDLE, _weights(_SHARPEN), _CONVOLVES)
    yield "filter/RGB smooth more, 5x5", _one("RGB", MIDDLE, _weights(_MORE), _CONVOLVES)
    yield "rank filter/RGB median of 3x3", _one("RGB", SMALL, lambda cv2, im: lambda: cv2.medianBlur(im, 3))
    yield "rank filter/L median of 5x5", _one("L", SMALL, lambda cv2, im: lambda: cv2.medianBlur(im, 5))
    for mode, way in (("L", "erode"), ("RGB", "dilate")):

        def morph(cv2: Any, image: Any, way: str = way) -> Call:
            function, kernel = getattr(cv2, way), importlib.import_module("numpy").ones((3, 3), "uint8")
            return lambda: function(image, kernel)

        kind = "minimum" if way == "erode" else "maximum"
        yield f"rank filter/{mode} {kind} of 3x3", _one(mode, SMALL, morph)
    for mode in ("RGB", "L"):
        yield (
            f"composite/blend {mode}",
            _two(mode, MIDDLE, lambda cv2, a, b: lambda: cv2.addWeighted(a, 0.7, b, 0.3, 0)),
        )
    for name, function in (
        ("add", "add"),
        ("subtract", "subtract"),
        ("difference", "absdiff"),
        ("lighter", "max"),
        ("darker", "min"),
    ):

        def chop(cv2: Any, one: Any, two: Any, function: str = function) -> Call:
            return lambda: getattr(cv2, function)(one, two)

        yield f"imagechops/{name} RGB", _two("RGB", MIDDLE, chop)
    yield (
        "imagechops/multiply RGB",
        _two("RGB", MIDDLE, lambda cv2, a, b: lambda: cv2.multiply(a, b, scale=1 / 255)),
    )
    yield "imagechops/invert RGB", _one("RGB", MIDDLE, lambda cv2, im: lambda: cv2.bitwise_not(im))
    for source, becomes, name in (
        ("RGB", "L", "COLOR_RGB2GRAY"),
        ("L", "RGB", "COLOR_GRAY2RGB"),
        ("RGB", "RGBA", "COLOR_RGB2RGBA"),
        ("RGBA", "RGB", "COLOR_RGBA2RGB"),
        ("L", "RGBA", "COLOR_GRAY2RGBA"),
        ("RGBA", "L", "COLOR_RGBA2GRAY"),
        ("RGBA", "RGBa", "COLOR_RGBA2mRGBA"),
        ("RGBa", "RGBA", "COLOR_mRGBA2RGBA"),
        ("RGB", "YCbCr", "COLOR_RGB2YCrCb"),
        ("YCbCr", "RGB", "COLOR_YCrCb2RGB"),
        ("RGB", "HSV", "COLOR_RGB2HSV_FULL"),
        ("HSV", "RGB", "COLOR_HSV2RGB_FULL"),
    ):
        remark = "chroma bands swapped" if "YCbCr" in (source, becomes) else ""
        yield f"convert/{source} to {becomes}", _one(source, MIDDLE, _colour(name), remark)
    for name, turn in _turns().items():
        for mode in ("RGB", "L"):
            yield f"transpose/{mode} {name}", _one(mode, MIDDLE, turn)
    for name in ("nearest", "bilinear", "bicubic"):

        def affine(cv2: Any, image: Any, name: str = name) -> Call:
            numpy = importlib.import_module("numpy")
            matrix = numpy.array(((1.9, 0.2, 3.5), (-0.2, 1.9, 9.1)))
            kind = {"nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}[
                name
            ]
            flags = kind | cv2.WARP_INVERSE_MAP
            return lambda: cv2.warpAffine(image, matrix, SMALL, flags=flags)

        yield f"transform/RGB affine, {name}", _one("RGB", MIDDLE, affine, QUANTISED)
    yield "memory/crop RGB", _one("RGB", MIDDLE, lambda cv2, im: lambda: im[50:750, 100:1100].copy())
    yield "memory/copy RGB", _one("RGB", MIDDLE, lambda cv2, im: lambda: im.copy())
    for mode in ("RGB", "RGBA"):
        yield f"memory/split {mode}", _one(mode, MIDDLE, lambda cv2, im: lambda: cv2.split(im))
    yield "memory/getchannel of RGBA", _one("RGBA", MIDDLE, lambda cv2, im: lambda: cv2.extractChannel(im, 3))
    yield "load/JPEG 2560x1600", _decode("photo-2560x1600-q85.jpg")
    yield "load/JPEG 500x375", _decode("photo-500x375-q85.jpg")
    yield "load/JPEG 2560x1600, progressive", _decode("photo-2560x1600-q85-progressive.jpg")
    yield "load/PNG RGB", _decode("photo-1280x853.png")
    yield "load/PNG RGBA", _decode("photo-1280x853-RGBA.png")
    yield "load/WebP", _decode("photo-1280x853-q80.webp")
    yield "save/JPEG 2560x1600, quality 85", _encode("RGB", LARGE, ".jpg", [("IMWRITE_JPEG_QUALITY", 85)])
    yield "save/PNG RGB, level 1", _encode("RGB", SMALL, ".png", [("IMWRITE_PNG_COMPRESSION", 1)])
    yield "save/PNG RGB, level 6", _encode("RGB", SMALL, ".png", [("IMWRITE_PNG_COMPRESSION", 6)])
    yield "save/WebP, quality 80", _encode("RGB", SMALL, ".webp", [("IMWRITE_WEBP_QUALITY", 80)])


_SCALE = re.compile(r"to (\d+)x(\d+) (bil|bic|lzs)")
_NAMES = {"bil": "bilinear", "bic": "bicubic", "lzs": "lanczos"}


def _perf(title: str) -> Peer | None:
    match = _SCALE.fullmatch(title.removeprefix("scale/")) if title.startswith("scale/") else None
    if match:
        return _resize("RGB", LARGE, (int(match[1]), int(match[2])), _NAMES[match[3]])
    for radius in (1, 10, 30):
        if title == f"blur/{radius}px":
            return _one("RGB", LARGE, _gauss(radius), _TRUE)
    turns = _turns()
    rows: dict[str, Peer] = {
        "filter/Smooth": _one("RGB", LARGE, _weights(_SMOOTH), _CONVOLVES),
        "filter/Sharpen": _one("RGB", LARGE, _weights(_SHARPEN), _CONVOLVES),
        "filter/Smooth More": _one("RGB", LARGE, _weights(_MORE), _CONVOLVES),
        "convert/RGB to L": _one("RGB", LARGE, _colour("COLOR_RGB2GRAY")),
        "convert/RGBa to RGBA": _one("RGBa", LARGE, _colour("COLOR_mRGBA2RGBA")),
        "convert/RGBA to RGBa": _one("RGBA", LARGE, _colour("COLOR_RGBA2mRGBA")),
        "rotate right/Flop": _one("RGB", LARGE, turns["flip_left_right"]),
        "rotate right/Flip": _one("RGB", LARGE, turns["flip_top_bottom"]),
        "rotate right/Rotate 90": _one("RGB", LARGE, turns["rotate_90"]),
        "rotate right/Rotate 180": _one("RGB", LARGE, turns["rotate_180"]),
        "rotate right/Rotate 270": _one("RGB", LARGE, turns["rotate_270"]),
        "rotate right/Transpose": _one("RGB", LARGE, turns["transpose"]),
        "rotate right/Transverse": _one("RGB", LARGE, turns["transverse"]),
        "load/Jpeg load": _decode("photo-2560x1600-q85.jpg"),
        "load/Jpeg save": _encode("RGB", LARGE, ".jpg", [("IMWRITE_JPEG_QUALITY", 85)]),
    }
    return rows.get(title)


_ALL: dict[str, Peer] = {}


def peer(name: str) -> Peer | None:
    """How OpenCV does the row of that name; ``None`` where it does not."""
    suite, title = name.split("/", 1)
    if suite == "perf":
        return _perf(title)
    if not _ALL:
        _ALL.update(_wide())
    return _ALL.get(title) if suite == "wide" else None
