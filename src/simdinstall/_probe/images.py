"""Synthetic images, made of bytes alone and the same everywhere.

The pictures must be equal in every build under test, so no image library has a part in
them: rows are put together by slicing, and lanes of bytes are added as one large
integer, which never carries from one byte into the next because the parts are kept
small enough. Random bytes come from :class:`random.Random` with a fixed seed.
"""

from __future__ import annotations

import array
import math
import random
from collections.abc import Callable
from functools import lru_cache

#: Bytes per pixel of ``tobytes()`` for each mode; "1" is packed and is not here.
BYTES = {
    "L": 1,
    "P": 1,
    "LA": 2,
    "La": 2,
    "PA": 2,
    "I;16": 2,
    "I;16B": 2,
    "RGB": 3,
    "YCbCr": 3,
    "LAB": 3,
    "HSV": 3,
    "RGBA": 4,
    "RGBa": 4,
    "RGBX": 4,
    "CMYK": 4,
    "I": 4,
    "F": 4,
}

#: The index of the alpha byte in a pixel.
ALPHA = {"LA": 1, "PA": 1, "La": 1, "RGBA": 3, "RGBa": 3}

_POOL = 1 << 20

#: Pixels above which a photograph repeats itself, because making one takes its time.
_TILE_FROM = 8_000_000

#: Contents that :func:`pixels` knows.
CONTENTS = ("photo", "noise", "extremes", "graphics", "gradient", "flat")


@lru_cache(maxsize=1)
def _pool() -> bytes:
    return random.Random(20261120).getrandbits(8 * _POOL).to_bytes(_POOL, "little")


def _stretch(seed: int, size: int) -> bytes:
    """``size`` random bytes: pieces of one pool, each from a place that the seed draws."""
    pool, draw = _pool(), random.Random(seed)
    pieces: list[bytes] = []
    left = size
    while left > 0:
        start = draw.randrange(_POOL // 2)
        piece = pool[start : start + left]
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def noise(size: int, seed: int) -> bytes:
    """Every byte value equally likely."""
    return _stretch(seed, size)


#: A byte table that sends three eighths to 0, three eighths to 255, and keeps the rest.
_EXTREME = bytes(0 if v < 96 else 255 if v >= 160 else v for v in range(256))


def extremes(size: int, seed: int) -> bytes:
    """Mostly 0 and 255, side by side: what makes sums overshoot."""
    return _stretch(seed, size).translate(_EXTREME)


@lru_cache(maxsize=1)
def _grain() -> bytes:
    return _pool().translate(bytes(v & 15 for v in range(256)))


def _wave(count: int, bands: int, period: float, height: int, phase: float) -> bytes:
    """``count`` interleaved pixels of a slow wave between 0 and ``height``, each band shifted."""
    half = height / 2
    columns = [
        bytes(
            int(half + half * math.sin(phase + band + 2 * math.pi * x / (period * (1 + 0.3 * band))))
            for x in range(count)
        )
        for band in range(bands)
    ]
    if bands == 1:
        return columns[0]
    row = bytearray(count * bands)
    for band in range(bands):
        row[band::bands] = columns[band]
    return bytes(row)


def photo(width: int, height: int, bands: int, seed: int = 1) -> bytes:
    """Like a photograph: soft gradients, objects with edges, sensor noise, a few highlights.

    The parts add up to at most 255: 90 for a wave that slants over the picture, 70 for
    one from top to bottom, 15 for noise, 80 for objects.
    """
    if width * height > _TILE_FROM:
        return _tiled(width, height, bands, photo(-(-width // 4), -(-height // 4), bands, seed))
    draw = random.Random(seed)
    size = width * bands
    slant = 61
    wave = _wave(width + height // slant + 2, bands, max(8.0, width / 2.7), 90, 0.3)
    columns = [_wave(height, 1, max(8.0, height / (1.3 + band)), 70, band) for band in range(bands)]
    grain = _grain()
    objects = [
        (
            draw.uniform(0, width),
            draw.uniform(0, height),
            draw.uniform(0.03, 0.2) * width,
            draw.uniform(0.03, 0.2) * height,
            bytes(draw.randrange(81) for _ in range(bands)),
        )
        for _ in range(14)
    ]
    rows: list[bytes] = []
    for y in range(height):
        shift = y // slant * bands
        total = int.from_bytes(wave[shift : shift + size], "little")
        total += int.from_bytes(bytes(column[y] for column in columns) * width, "little")
        start = draw.randrange(max(1, _POOL - size))
        speckle = grain[start : start + size]
        if len(speckle) < size:
            speckle = (grain * (size // _POOL + 1))[:size]
        total += int.from_bytes(speckle, "little")
        overlay = bytearray(size)
        for cx, cy, rx, ry, colour in objects:
            offset = (y - cy) / ry
            if -1 < offset < 1:
                reach = rx * math.sqrt(1 - offset * offset)
                left, right = max(0, int(cx - reach)), min(width, int(cx + reach) + 1)
                if left < right:
                    overlay[left * bands : right * bands] = colour * (right - left)
        total += int.from_bytes(overlay, "little")
        row = bytearray(total.to_bytes(size, "little"))
        for value in (b"\xff", b"\x00"):
            length = draw.randrange(1, 6) * bands
            place = draw.randrange(width) * bands
            end = min(size, place + length)
            row[place:end] = value * (end - place)
        rows.append(bytes(row))
    return b"".join(rows)


def _tiled(width: int, height: int, bands: int, tile: bytes) -> bytes:
    """A very large picture, four times four of a smaller one."""
    line = -(-width // 4) * bands
    rows = [(tile[y : y + line] * 4)[: width * bands] for y in range(0, len(tile), line)]
    return b"".join((rows * 4)[:height])


def graphics(width: int, height: int, bands: int, seed: int = 1) -> bytes:
    """Like a drawing: flat areas, hard edges, thin lines, few colours."""
    draw = random.Random(seed)
    palette = [bytes(draw.choice((0, 64, 128, 200, 255)) for _ in range(bands)) for _ in range(8)]
    rows: list[bytes] = []
    while len(rows) < height:
        count = min(draw.randrange(1, 2 + height // 6), height - len(rows))
        row = bytearray()
        while len(row) < width * bands:
            row += draw.choice(palette) * draw.choice((1, 2, 3, 7, 16, 1 + width // 5))
        rows += [bytes(row[: width * bands])] * count
    return b"".join(rows)


def gradient(width: int, height: int, bands: int, seed: int = 1) -> bytes:
    """A ramp over the whole range, each band in another direction."""
    span = max(1, width - 1)
    across = bytes(255 * x // span for x in range(width))
    rows: list[bytes] = []
    for y in range(height):
        level = 255 * y // max(1, height - 1)
        row = bytearray(width * bands)
        for band in range(bands):
            kind = (band + seed) % 3
            row[band::bands] = across if kind == 1 else bytes([level]) * width if kind == 2 else across[::-1]
        rows.append(bytes(row))
    return b"".join(rows)


def _flat(width: int, height: int, bands: int, seed: int = 1) -> bytes:
    return bytes((37 * (band + 1) + 11 * seed) % 256 for band in range(bands)) * (width * height)


def _coverage(width: int, height: int, seed: int) -> bytes:
    """One band of alpha: opaque, clear, half clear, and slopes between, like a cut-out."""
    rows: list[bytes] = []
    draw = random.Random(seed + 7)
    slope = bytes(range(0, 256, 3))
    while len(rows) < height:
        count = min(draw.randrange(1, 2 + height // 5), height - len(rows))
        row = bytearray()
        while len(row) < width:
            row += draw.choice(
                (
                    b"\xff" * (1 + width // 3),
                    b"\x00" * (1 + width // 5),
                    slope,
                    slope[::-1],
                    b"\x80" * 9,
                    b"\x01\x02\x03\xfe",
                )
            )
        rows += [bytes(row[:width])] * count
    return b"".join(rows)


def _words(low: bytes, high: bytes) -> bytes:
    both = bytearray(2 * len(low))
    both[0::2], both[1::2] = low, high
    return bytes(both)


def _floats(width: int, height: int, content: str, seed: int) -> bytes:
    count = width * height
    if content in ("noise", "extremes"):
        table = [(v - 128) * 3.7e3 if v % 5 else (v - 100) * 1e-3 for v in range(256)]
    else:
        table = [v + v / 512 for v in range(256)]
    source = pixels("L", width, height, content, seed)
    values = array.array("f", [table[v] for v in source])
    assert len(values) == count
    return values.tobytes()


_MAKERS: dict[str, Callable[[int, int, int, int], bytes]] = {
    "photo": photo,
    "graphics": graphics,
    "gradient": gradient,
    "flat": _flat,
    "noise": lambda width, height, bands, seed: noise(width * height * bands, seed),
    "extremes": lambda width, height, bands, seed: extremes(width * height * bands, seed),
}


def pixels(mode: str, width: int, height: int, content: str = "photo", seed: int = 1) -> bytes:
    """The bytes of an image, in the order of Pillow's ``tobytes()``.

    ``content`` is one of :data:`CONTENTS`. Premultiplied modes get colours that do not
    exceed their alpha, as real ones do. Raises :class:`KeyError` for unknown contents
    and modes.
    """
    if width == 0 or height == 0:
        return b""
    if mode == "1":
        return noise((width + 7) // 8 * height, seed)
    size = width * height
    make = _MAKERS[content]
    if mode == "F":
        return _floats(width, height, content, seed)
    if mode in ("I;16", "I;16B"):
        return _words(noise(size, seed + 3), make(width, height, 1, seed))
    if mode == "I":
        low = _words(noise(size, seed + 3), make(width, height, 1, seed))
        if content == "noise":
            return _stretch(seed + 5, 4 * size)
        data = bytearray(4 * size)
        data[0::4], data[1::4] = low[0::2], low[1::2]
        return bytes(data)
    data = bytearray(make(width, height, BYTES[mode], seed))
    alpha = ALPHA.get(mode)
    if alpha is None:
        return bytes(data)
    step = BYTES[mode]
    if content in ("photo", "graphics", "gradient"):
        data[alpha::step] = _coverage(width, height, seed)
    if mode in ("RGBa", "La"):
        cover = bytes(data[alpha::step])
        for band in range(alpha):
            data[band::step] = _at_most(bytes(data[band::step]), cover)
    return bytes(data)


def _at_most(values: bytes, ceiling: bytes) -> bytes:
    """Bytes no larger than those of ``ceiling``: their common bits."""
    common = int.from_bytes(values, "little") & int.from_bytes(ceiling, "little")
    return common.to_bytes(len(values), "little")


def size_of(mode: str, width: int, height: int) -> tuple[int, int]:
    """Bytes that Pillow holds for an image in memory, and bytes of its ``tobytes()``."""
    held = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}.get(mode, 4)
    packed = (width + 7) // 8 * height if mode == "1" else BYTES.get(mode, 4) * width * height
    return held * width * height, packed
