"""What a node's own Python runs on a build from a cache, before it is put into place.

A few calls of each family, with the kernels on and off in one process: stock Pillow is in
the wheel, unchanged. :func:`simdinstall.staging.try_import` calls :func:`trial` where the
build has just been imported; nothing of simdinstall can be imported there.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from PIL import Image, ImageFilter, _simd

SIZE = (97, 53)
TABLE = ImageFilter.Color3DLUT.generate(5, lambda r, g, b: (g, b, r))
KERNEL = ImageFilter.Kernel((5, 5), [(i * 7) % 5 - 1 for i in range(25)], 9)


def image(mode: str) -> Image.Image:
    """An image of random bytes, the same every time."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    noise = random.Random(7).randbytes(SIZE[0] * SIZE[1] * bands)  # noqa: S311
    return Image.frombytes(mode, SIZE, noise)


def operations(mode: str) -> list[tuple[str, Callable[[], Image.Image]]]:
    """What is tried in a mode, each with its name."""
    im = image(mode)
    found: list[tuple[str, Callable[[], Image.Image]]] = [
        ("resize", partial(im.resize, size, how))
        for size, how in (((31, 17), 1), ((31, 17), 3), ((211, 120), 2), ((211, 120), 4), ((60, 70), 5))
    ]
    found += [
        ("reduce", partial(im.reduce, 2)),
        ("blur", partial(im.filter, ImageFilter.GaussianBlur(3))),
        ("filter", partial(im.filter, ImageFilter.SMOOTH)),
        ("filter", partial(im.filter, KERNEL)),
        ("bands", lambda: Image.merge(im.mode, im.split())),
    ]
    if mode != "L":
        found.append(("lut", partial(im.filter, TABLE)))
    found += [("convert", partial(im.convert, to)) for to in CONVERSIONS.get(mode, ())]
    if mode == "RGBA":
        found.append(("composite", partial(Image.alpha_composite, im, im.rotate(180))))
    return found


CONVERSIONS = {"RGB": ("L", "HSV", "YCbCr"), "RGBA": ("RGBa", "L")}


def trial() -> dict[str, Any]:
    """The level of the kernels, how far each outcome is from stock's, and what served it."""
    wanted = [(name, mode, call) for mode in ("L", "RGB", "RGBA") for name, call in operations(mode)]
    best = _simd.level()
    _simd.set_level("none")
    stock = [call().tobytes() for _, _, call in wanted]
    _simd.set_level(best)
    _simd.reset()
    rows = []
    for (name, mode, call), theirs in zip(wanted, stock, strict=True):
        ours = call().tobytes()
        far = 0
        if ours != theirs:
            same = len(ours) == len(theirs)
            far = max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) if same else 256
        rows.append([name, mode, far])
    return {"level": best, "rows": rows, "ran": [list(entry) for entry in _simd.entries() if entry.calls]}
