"""The suites of pillow-perf, and the short list behind the figure of an installation."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from .operations import Call, Inputs, Operation, resample, save, scaled, transposition

_SIZE = (2560, 1600)
_SHORT = {
    "nearest": "ner",
    "box": "box",
    "bilinear": "bil",
    "hamming": "hmn",
    "bicubic": "bic",
    "lanczos": "lzs",
}


def _resize(inputs: Inputs, mode: str, size: tuple[int, int], target: tuple[int, int], name: str) -> Call:
    image, kind = inputs.image(mode, size), resample(name)
    return lambda: image.resize(target, kind)


def _blur(inputs: Inputs, size: tuple[int, int], radius: float) -> Call:
    from PIL import ImageFilter

    image, kind = inputs.image("RGB", size), ImageFilter.GaussianBlur(radius)
    return lambda: image.filter(kind)


def _kernel(inputs: Inputs, size: tuple[int, int], name: str) -> Call:
    from PIL import ImageFilter

    image, kind = inputs.image("RGB", size), getattr(ImageFilter, name)
    return lambda: image.filter(kind)


def _convert(inputs: Inputs, size: tuple[int, int], source: str, target: str) -> Call:
    image = inputs.image(source, size)
    return lambda: image.convert(target)


def _composition(inputs: Inputs, size: tuple[int, int]) -> Call:
    from PIL import Image

    back, front = inputs.image("RGBA", size), inputs.image("RGBA", size, seed=2)
    return lambda: Image.alpha_composite(back, front)


def _transpose(inputs: Inputs, size: tuple[int, int], name: str) -> Call:
    image, kind = inputs.image("RGB", size), transposition(name)
    return lambda: image.transpose(kind)


def _crop(inputs: Inputs, size: tuple[int, int], scale: float) -> Call:
    image = inputs.image("RGB", size)
    width, height = scaled(size, scale)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return lambda: image.crop((left, top, left + width, top + height))


def _table(channels: int, side: int) -> Any:
    from PIL import ImageFilter

    if channels == 3:
        return ImageFilter.Color3DLUT.generate(side, lambda r, g, b: (r, g, b))
    return ImageFilter.Color3DLUT.generate(side, lambda r, g, b: (r, g, b, r), 4, "RGBA")


def _lut(inputs: Inputs, size: tuple[int, int], channels: int, side: int) -> Call:
    image, kind = inputs.image("RGB", size), _table(channels, side)
    return lambda: image.filter(kind)


def _new(inputs: Inputs, size: tuple[int, int], mode: str) -> Call:
    from PIL import Image

    return lambda: Image.new(mode, size)


def _unpack(inputs: Inputs, size: tuple[int, int], mode: str) -> Call:
    from PIL import Image

    data, image = inputs.data(mode, size), Image.new(mode, size)

    def call() -> Any:
        image.frombytes(data)
        return image

    return call


def _pack(inputs: Inputs, size: tuple[int, int], mode: str) -> Call:
    image = inputs.image(mode, size)
    return lambda: image.tobytes()


def _split(inputs: Inputs, size: tuple[int, int], mode: str) -> Call:
    image = inputs.image(mode, size)
    return lambda: image.split()


def _channel(inputs: Inputs, size: tuple[int, int], mode: str, band: int) -> Call:
    image = inputs.image(mode, size)
    return lambda: image.getchannel(band)


def _merge(inputs: Inputs, size: tuple[int, int], mode: str) -> Call:
    from PIL import Image

    bands = [inputs.image("L", size, seed=seed) for seed in range(len(mode))]
    return lambda: Image.merge(mode, bands)


def _load(inputs: Inputs, name: str) -> Call:
    from PIL import Image

    data = inputs.file(name)

    def call() -> Any:
        image = Image.open(io.BytesIO(data))
        image.load()
        return image

    return call


def _save(inputs: Inputs, size: tuple[int, int]) -> Call:
    return save(inputs.image("RGB", size), "JPEG", {"quality": 85})


def _cycle(inputs: Inputs, level: int, name: str) -> Call:
    from PIL import Image, ImageFilter

    data = inputs.file(name)
    turn, kind = transposition("rotate_270"), resample("bicubic")

    def call() -> bytes:
        image: Any = Image.open(io.BytesIO(data))
        if level > 0:
            image = image.transpose(turn)
        if level > 1:
            image = image.resize((int(image.size[0] * 0.4 + 0.5), int(image.size[1] * 0.4 + 0.5)), kind)
        if level > 2:
            image = image.filter(ImageFilter.GaussianBlur(4))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=85)
        return file.getvalue()

    return call


_JPEG = "photo-2560x1600-q85.jpg"


def perf(size: tuple[int, int] = _SIZE) -> Iterator[Operation]:
    """The suites, sizes and row names of pillow-perf."""
    count = size[0] * size[1]

    def row(
        group: str, title: str, prepare: Callable[..., Call], *arguments: Any, assets: Any = ()
    ) -> Operation:
        return Operation(
            f"perf/{group.lower()}/{title}",
            group,
            title,
            count,
            lambda inputs: prepare(inputs, *arguments),
            assets=tuple(assets),
            whole=group != "Crop",
        )

    for scale in (0.01, 0.125, 0.8, 2.14):
        target = scaled(size, scale)
        for name in ("bilinear", "bicubic", "lanczos"):
            title = f"to {target[0]}x{target[1]} {_SHORT[name]}"
            yield row("Scale", title, _resize, "RGB", size, target, name)
    for radius in (1, 10, 30):
        yield row("Blur", f"{radius}px", _blur, size, radius)
    for title, name in (("Smooth", "SMOOTH"), ("Sharpen", "SHARPEN"), ("Smooth More", "SMOOTH_MORE")):
        yield row("Filter", title, _kernel, size, name)
    for source, target_mode in (("RGB", "L"), ("RGBA", "LA"), ("RGBa", "RGBA"), ("RGBA", "RGBa")):
        yield row("Convert", f"{source} to {target_mode}", _convert, size, source, target_mode)
    yield row("Composition", "Composition", _composition, size)
    for channels in (3, 4):
        for side in (4, 16, 36):
            yield row("Lut", f"{side}³ table to {channels}D", _lut, size, channels, side)
    for title, name in (
        ("Flop", "flip_left_right"),
        ("Flip", "flip_top_bottom"),
        ("Rotate 90", "rotate_90"),
        ("Rotate 180", "rotate_180"),
        ("Rotate 270", "rotate_270"),
        ("Transpose", "transpose"),
        ("Transverse", "transverse"),
    ):
        yield row("Rotate right", title, _transpose, size, name)
    for scale in (0.9, 1.1):
        target = scaled(size, scale)
        yield row("Crop", f"{target[0]}x{target[1]}", _crop, size, scale)
    for mode in ("L", "LA", "RGB", "RGBA"):
        yield row("Allocate", f"mode {mode}", _new, size, mode)
    for mode in ("L", "LA", "RGB", "RGBA"):
        yield row("Allocate", f"Unpack from {mode}", _unpack, size, mode)
    for mode in ("L", "LA", "RGB", "RGBA"):
        yield row("Allocate", f"Pack to {mode}", _pack, size, mode)
    for mode in ("LA", "RGB", "RGBA"):
        yield row("Allocate", f"split {mode}", _split, size, mode)
    for mode, band in (("RGB", 0), ("RGBA", 3)):
        yield row("Allocate", f"get {mode[band]} of {mode}", _channel, size, mode, band)
    for mode in ("LA", "RGB", "RGBA"):
        yield row("Allocate", f"merge {mode}", _merge, size, mode)
    yield row("Load", "Jpeg load", _load, _JPEG, assets=(_JPEG,))
    yield row("Load", "Jpeg save", _save, size)
    for level, title in enumerate(("Load+save", "+transpose", "+resize", "+blur")):
        yield row("Full cycle", title, _cycle, level, _JPEG, assets=(_JPEG,))


def speed() -> Iterator[Operation]:
    """The short list behind the one figure that an installation reports."""
    large, small = (1024, 640), (512, 320)

    def row(title: str, size: tuple[int, int], prepare: Callable[..., Call], *arguments: Any) -> Operation:
        return Operation(
            f"speed/{title}", "Speed", title, size[0] * size[1], lambda inputs: prepare(inputs, *arguments)
        )

    yield row("resize RGB to 1/8, lanczos", large, _resize, "RGB", large, (128, 80), "lanczos")
    yield row("resize RGB to 4/5, bicubic", large, _resize, "RGB", large, (819, 512), "bicubic")
    yield row("resize RGB to 2.14 times, lanczos", small, _resize, "RGB", small, (1096, 685), "lanczos")
    yield row("resize RGBA to 1/4, bicubic", large, _resize, "RGBA", large, (256, 160), "bicubic")
    yield row("reduce RGB by 2", large, _reduce, "RGB", large, 2)
    yield row("gaussian blur, radius 1", small, _blur, small, 1)
    yield row("gaussian blur, radius 10", small, _blur, small, 10)
    yield row("3x3 filter", small, _kernel, small, "SMOOTH")
    yield row("5x5 filter", small, _kernel, small, "SMOOTH_MORE")
    yield row("alpha_composite", large, _composition, large)
    yield row("3D colour table, 16³", small, _lut, small, 3, 16)
    yield row("RGBA to RGBa", large, _convert, large, "RGBA", "RGBa")


def _reduce(inputs: Inputs, mode: str, size: tuple[int, int], factor: int) -> Call:
    image = inputs.image(mode, size)
    return partial(image.reduce, factor)
