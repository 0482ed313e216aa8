"""libvips' way of doing Pillow's rows, where it has one."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from .opencv import Peer
from .operations import Call, Inputs
from .wide import LARGE, MIDDLE, RESIZES, SMALL, WAYS, resize_title

SHRINKS = "shrinks by whole pixels with a box first"
QUANTISED = "coordinates and coefficients quantised"
_TRUE = "a true Gaussian, where Pillow blurs three times with a box"
_EDGE = "convolves up to the edge, where Pillow copies"


def hello() -> dict[str, Any]:
    """Version and place; libvips is told to keep nothing and to use one thread."""
    pyvips = importlib.import_module("pyvips")
    pyvips.cache_set_max(0)
    version = ".".join(str(pyvips.version(part)) for part in range(3))
    return {"pil": f"{version} (pyvips {pyvips.__version__})", "path": pyvips.__file__, "core": ""}


def _vips() -> Any:
    return importlib.import_module("pyvips")


def image(inputs: Inputs, mode: str, size: tuple[int, int], seed: int = 1) -> Any:
    """The same pixels as Pillow's image, in memory."""
    bands = {"L": 1, "LA": 2, "RGB": 3}.get(mode, 4)
    data = inputs.data(mode, size, seed=seed)
    picture = _vips().Image.new_from_memory(data, size[0], size[1], bands, "uchar")
    return picture.copy(interpretation="srgb" if bands > 2 else "b-w")


class _Pixels:
    """What libvips wrote to memory, with the shape of an array."""

    def __init__(self, picture: Any) -> None:
        self.shape = (picture.height, picture.width, picture.bands)
        self.dtype = {"uchar": "uint8"}.get(picture.format, picture.format)
        self.data = picture.write_to_memory()
        self.__array_interface__: dict[str, Any] = {}

    def tobytes(self) -> bytes:
        """All pixels, row by row."""
        return bytes(self.data)


def _one(mode: str, size: tuple[int, int], use: Callable[[Any], Any], remark: str = "") -> Peer:
    """A lazy pipeline on one image, run to its end by every call."""

    def prepare(inputs: Inputs) -> Call:
        picture = image(inputs, mode, size)
        return lambda: _Pixels(use(picture))

    return Peer(prepare, remark)


def _two(mode: str, size: tuple[int, int], use: Callable[[Any, Any], Any], remark: str = "") -> Peer:
    def prepare(inputs: Inputs) -> Call:
        one, two = image(inputs, mode, size), image(inputs, mode, size, 2)
        return lambda: _Pixels(use(one, two))

    return Peer(prepare, remark)


_KERNELS = {"nearest": "nearest", "bilinear": "linear", "bicubic": "cubic", "lanczos": "lanczos3"}


def _resize(mode: str, size: tuple[int, int], target: tuple[int, int], name: str) -> Peer:
    across, down = target[0] / size[0], target[1] / size[1]
    kernel = _KERNELS[name]
    remark = QUANTISED if across > 1 or name == "nearest" else SHRINKS
    return _one(mode, size, lambda picture: picture.resize(across, vscale=down, kernel=kernel), remark)


def _gauss(size: tuple[int, int], radius: float) -> Peer:
    return _one("RGB", size, lambda picture: picture.gaussblur(radius, min_ampl=0.07), _TRUE)


def _conv(size: tuple[int, int], values: list[int]) -> Peer:
    side = int(len(values) ** 0.5)

    def prepare(inputs: Inputs) -> Call:
        picture = image(inputs, "RGB", size)
        rows = [values[row * side : (row + 1) * side] for row in range(side)]
        kernel = _vips().Image.new_from_array(rows, sum(values))
        return lambda: _Pixels(picture.conv(kernel, precision="integer"))

    return Peer(prepare, _EDGE)


_TURNS: dict[str, Callable[[Any], Any]] = {
    "flip_left_right": lambda picture: picture.fliphor(),
    "flip_top_bottom": lambda picture: picture.flipver(),
    "rotate_90": lambda picture: picture.rot270(),
    "rotate_180": lambda picture: picture.rot180(),
    "rotate_270": lambda picture: picture.rot90(),
}
_SMOOTH = [1, 1, 1, 1, 5, 1, 1, 1, 1]
_SHARPEN = [-2, -2, -2, -2, 32, -2, -2, -2, -2]
_MORE = [1, 1, 1, 1, 1, 1, 5, 5, 5, 1, 1, 5, 44, 5, 1, 1, 5, 5, 5, 1, 1, 1, 1, 1, 1]


def _decode(name: str) -> Peer:
    def prepare(inputs: Inputs) -> Call:
        data, vips = inputs.file(name), _vips()
        return lambda: _Pixels(vips.Image.new_from_buffer(data, ""))

    return Peer(prepare)


def _encode(mode: str, size: tuple[int, int], suffix: str, options: dict[str, Any]) -> Peer:
    def prepare(inputs: Inputs) -> Call:
        picture = image(inputs, mode, size)
        return lambda: bytes(picture.write_to_buffer(suffix, **options))

    return Peer(prepare)


def _thumbnail(inputs: Inputs) -> Call:
    data, vips = inputs.file("photo-2560x1600-q85.jpg"), _vips()
    return lambda: bytes(vips.Image.thumbnail_buffer(data, 256).write_to_buffer(".jpg", Q=80))


def _wide() -> Iterator[tuple[str, Peer]]:
    for mode in ("L", "RGB"):
        for way, target in WAYS:
            for name in _KERNELS:
                yield f"resize/{mode} {way}, {name}", _resize(mode, SMALL, target, name)
    for size, target, name in RESIZES:
        yield f"resize/{resize_title(size, target, name)}", _resize("RGB", size, target, name)
    for factor in (2, 3, 4):

        def shrink(picture: Any, factor: int = factor) -> Any:
            return picture.shrink(factor, factor)

        yield f"reduce/RGB 1280x853 by {factor}", _one("RGB", MIDDLE, shrink, "drops an incomplete last row")
    for radius in (1, 2, 10, 30):
        yield f"blur/RGB gaussian, radius {radius}", _gauss(MIDDLE, radius)
    yield "filter/RGB smooth, 3x3", _conv(MIDDLE, _SMOOTH)
    yield "filter/RGB sharpen, 3x3", _conv(MIDDLE, _SHARPEN)
    yield "filter/RGB smooth more, 5x5", _conv(MIDDLE, _MORE)
    yield "rank filter/RGB median of 3x3", _one("RGB", SMALL, lambda picture: picture.median(3))
    yield "rank filter/L median of 5x5", _one("L", SMALL, lambda picture: picture.median(5))
    yield (
        "composite/alpha_composite RGBA",
        _two("RGBA", MIDDLE, lambda back, front: back.composite2(front, "over")),
    )
    yield "imagechops/invert RGB", _one("RGB", MIDDLE, lambda picture: picture.invert())
    yield "convert/RGB to L", _one("RGB", MIDDLE, lambda picture: picture.colourspace("b-w"), "linear light")
    yield "convert/RGBA to RGBa", _one("RGBA", MIDDLE, lambda picture: picture.premultiply().cast("uchar"))
    for name, turn in _TURNS.items():
        yield f"transpose/RGB {name}", _one("RGB", MIDDLE, turn)
    yield "memory/crop RGB", _one("RGB", MIDDLE, lambda picture: picture.crop(100, 50, 1000, 700))
    yield "memory/copy RGB", _one("RGB", MIDDLE, lambda picture: picture.copy())
    yield "load/JPEG 2560x1600", _decode("photo-2560x1600-q85.jpg")
    yield "load/JPEG 500x375", _decode("photo-500x375-q85.jpg")
    yield "load/JPEG 2560x1600, progressive", _decode("photo-2560x1600-q85-progressive.jpg")
    yield "load/PNG RGB", _decode("photo-1280x853.png")
    yield "load/PNG RGBA", _decode("photo-1280x853-RGBA.png")
    yield "load/WebP", _decode("photo-1280x853-q80.webp")
    yield "save/JPEG 2560x1600, quality 85", _encode("RGB", LARGE, ".jpg", {"Q": 85})
    yield "save/PNG RGB, level 1", _encode("RGB", SMALL, ".png", {"compression": 1})
    yield "save/PNG RGB, level 6", _encode("RGB", SMALL, ".png", {"compression": 6})
    yield "save/WebP, quality 80", _encode("RGB", SMALL, ".webp", {"Q": 80})
    yield "pipeline/thumbnail a 4 MP JPEG", Peer(_thumbnail, "shrinks while it decodes, then cubic")


_SCALE = re.compile(r"scale/to (\d+)x(\d+) (bil|bic|lzs)")
_NAMES = {"bil": "bilinear", "bic": "bicubic", "lzs": "lanczos"}
_RIGHT = {
    "Flop": "flip_left_right",
    "Flip": "flip_top_bottom",
    "Rotate 90": "rotate_90",
    "Rotate 180": "rotate_180",
    "Rotate 270": "rotate_270",
}


def _perf() -> Iterator[tuple[str, Peer]]:
    for radius in (1, 10, 30):
        yield f"blur/{radius}px", _gauss(LARGE, radius)
    for title, values in (("Smooth", _SMOOTH), ("Sharpen", _SHARPEN), ("Smooth More", _MORE)):
        yield f"filter/{title}", _conv(LARGE, values)
    for title, name in _RIGHT.items():
        yield f"rotate right/{title}", _one("RGB", LARGE, _TURNS[name])
    yield "composition/Composition", _two("RGBA", LARGE, lambda back, front: back.composite2(front, "over"))
    yield "load/Jpeg load", _decode("photo-2560x1600-q85.jpg")
    yield "load/Jpeg save", _encode("RGB", LARGE, ".jpg", {"Q": 85})


_ALL: dict[str, Peer] = {}


def peer(name: str) -> Peer | None:
    """How libvips does the row of that name; ``None`` where it does not."""
    if not _ALL:
        _ALL.update((f"wide/{title}", row) for title, row in _wide())
        _ALL.update((f"perf/{title}", row) for title, row in _perf())
    match = _SCALE.fullmatch(name.removeprefix("perf/")) if name.startswith("perf/") else None
    if match:
        return _resize("RGB", LARGE, (int(match[1]), int(match[2])), _NAMES[match[3]])
    return _ALL.get(name)
