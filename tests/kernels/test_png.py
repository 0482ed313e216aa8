"""PNG: rows come out of every filter as in stock, and files are the very bytes that stock writes."""

from __future__ import annotations

import io
import os
import random
import struct
import zlib
from typing import Any

import pytest
from fronted import Simd, saved

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: PNG's colour types by what a pixel is made of: number in the file, and samples.
COLOURS = {"L": (0, 1), "RGB": (2, 3), "P": (3, 1), "LA": (4, 2), "RGBA": (6, 4)}
#: All that PNG allows: colours and bits of a sample.
KINDS = (
    *(("L", bits) for bits in (1, 2, 4, 8, 16)),
    *(("P", bits) for bits in (1, 2, 4, 8)),
    *((colour, bits) for colour in ("RGB", "LA", "RGBA") for bits in (8, 16)),
)
WIDTHS = (*range(1, 20), 31, 32, 33, 63, 64, 65, 127, 128, 129, 130, 383, 384, 385, 400)
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
CASES = int(os.environ.get("SIMDINSTALL_KERNEL_CASES", "150"))


def noise(rng: random.Random, length: int) -> bytes:
    if rng.random() < 0.5:
        return rng.randbytes(length)
    return bytes(rng.choices((0, 0, 1, 2, 127, 128, 254, 255, 255), k=length))


def chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def rows(
    rng: random.Random, colour: str, bits: int, size: tuple[int, int], interlaced: bool, filters: Any
) -> bytes:
    """Random rows behind filters' numbers, as they lie in a file before it is packed."""
    found = b""
    for x, y, dx, dy in PASSES if interlaced else ((0, 0, 1, 1),):
        width, height = (size[0] - x + dx - 1) // dx, (size[1] - y + dy - 1) // dy
        if width > 0:
            length = (width * COLOURS[colour][1] * bits + 7) // 8
            for _ in range(height):
                found += bytes([rng.choice(filters)]) + noise(rng, length)
    return found


def png(
    rng: random.Random,
    colour: str,
    bits: int,
    size: tuple[int, int],
    *,
    interlaced: bool = False,
    filters: Any = (0, 1, 2, 3, 4),
    piece: int = 0,
) -> bytes:
    """A PNG file of random rows; with ``piece``, its data in chunks of so many bytes."""
    header = struct.pack(">IIBBBBB", *size, bits, COLOURS[colour][0], 0, 0, interlaced)
    data = zlib.compress(rows(rng, colour, bits, size, interlaced, filters), rng.choice((0, 1, 6)))
    piece = piece or len(data)
    palette = chunk(b"PLTE", rng.randbytes(768)) if colour == "P" else b""
    pieces = [chunk(b"IDAT", data[i : i + piece]) for i in range(0, len(data), piece)]
    return SIGNATURE + chunk(b"IHDR", header) + palette + b"".join(pieces) + chunk(b"IEND", b"")


def load(file: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(file)).copy()


def check_load(simd: Simd, file: bytes, label: object, kernel: str | None = "zip_decode") -> None:
    for level in simd.levels:
        simd.assert_same("ImagingZipDecode", kernel, level, lambda: load(file), (level, label))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "bits"), KINDS)
def test_rows_of_all_filters(simd: Simd, colour: str, bits: int, interlaced: bool) -> None:
    rng = random.Random(f"{colour}{bits}{interlaced}")
    for width in WIDTHS:
        for filters in ((0, 1, 2, 3, 4), (1,), (3,), (4,)) if width < 70 else ((1, 2, 3, 4), (4,)):
            size = width, rng.randrange(1, 12)
            file = png(rng, colour, bits, size, interlaced=interlaced, filters=filters)
            check_load(simd, file, (colour, bits, size, interlaced, filters))


def test_what_a_filter_predicts(simd: Simd) -> None:
    """Every relation that a byte's neighbours can have, in one row below another."""
    values = (*range(0, 256, 37), 1, 2, 3, 126, 127, 128, 129, 253, 254, 255)
    rng = random.Random(5)
    for bpp, colour, bits in ((1, "L", 8), (2, "LA", 8), (3, "RGB", 8), (4, "RGBA", 8), (6, "RGB", 16)):
        for filter_ in (3, 4):
            neighbours = [(rng.choice(values), b, c) for b in values for c in values]
            above = b"".join(bytes([c] * bpp + [b] * bpp) for _, b, c in neighbours)
            raw = b"".join(bytes([a] * bpp) + rng.randbytes(bpp) for a, _, _ in neighbours)
            size = len(above) // bpp, 2
            header = struct.pack(">IIBBBBB", *size, bits, COLOURS[colour][0], 0, 0, 0)
            data = zlib.compress(b"\0" + above + bytes([filter_]) + raw, 1)
            file = SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
            check_load(simd, file, (bpp, filter_))


def flat(rng: random.Random, size: tuple[int, int], bpp: int) -> bytes:
    """Rows that pack to next to nothing: a few bytes of the file hold many of them."""
    content = b""
    for _ in range(size[1]):
        value = rng.choice((0, 0, 0, rng.randrange(256)))
        content += bytes([rng.choice((0, 1, 2, 4))]) + bytes([value]) * (size[0] * bpp)
    return content


def test_many_rows_in_few_bytes(simd: Simd) -> None:
    """Where the file ends within them, as many come out as in stock."""
    rng = random.Random(13)
    for case in range(CASES // 2):
        size = rng.choice((1, 2, 7, 50, 300)), rng.randrange(1, 500)
        packer = zlib.compressobj(rng.choice((1, 6, 9)))
        data = b""
        content = flat(rng, size, 3)
        while content:
            length = rng.choice((1, 100, 5000, len(content)))
            data += packer.compress(content[:length])
            # Blocks that hold nothing, as many as there may be.
            data += b"".join(packer.flush(zlib.Z_FULL_FLUSH) for _ in range(rng.choice((0, 0, 0, 1, 40))))
            content = content[length:]
        data += packer.flush()
        if rng.random() < 0.5:
            data = data[: rng.randrange(1, len(data))]
        elif rng.random() < 0.3:
            place = rng.randrange(len(data))
            data = data[:place] + rng.randbytes(1) + data[place + 1 :]
        if rng.random() < 0.2:
            data += bytes(rng.randrange(200))
        check_calls(simd, rng, case, ("RGB", 0), size, cut(rng, data))


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 50, 1000])
def test_data_in_pieces(simd: Simd, piece: int) -> None:
    rng = random.Random(piece)
    for interlaced in (False, True):
        for colour, bits in KINDS:
            size = rng.randrange(1, 40), rng.randrange(1, 12)
            file = png(rng, colour, bits, size, interlaced=interlaced, piece=piece)
            check_load(simd, file, (colour, bits, size, interlaced))


def decode(
    simd: Simd, kind: tuple[str, int], size: tuple[int, int], pieces: list[bytes], switch: Any = None
) -> Any:
    """What PIL's own decoder says and does, call by call: results, errors, pixels."""
    from PIL import Image

    mode, interlaced = kind
    im = Image.new(mode, size)
    decoder = Image.core.zip_decoder(mode, mode, interlaced)
    decoder.setimage(im.im, (0, 0, *size))
    said = []
    for piece in pieces:
        if switch:
            switch()
        said.append(decoder.decode(piece))
        if said[-1][0] < 0:
            break
    decoder.cleanup()
    return said, simd.raw(im)


def cut(rng: random.Random, data: bytes) -> list[bytes]:
    """Data as several calls get it; sometimes one call gets all, or the last one nothing."""
    pieces = []
    while data:
        length = rng.choice((1, 5, 60, 65, 130, 1000, len(data), len(data)))
        pieces.append(data[:length])
        data = data[length:]
    return [*pieces, b""] if rng.random() < 0.5 else pieces


def check_calls(
    simd: Simd,
    rng: random.Random,
    case: int,
    kind: tuple[str, int],
    size: tuple[int, int],
    pieces: list[bytes],
) -> None:
    """Every call returns the same with the same error, whichever level serves it."""
    with simd.at("none"):
        expected = decode(simd, kind, size, pieces)
    for level in simd.levels:
        with simd.at(level):
            assert decode(simd, kind, size, pieces) == expected, (case, level)
    # The state between calls is stock's: each may be served by another level.
    levels = ("none", *simd.levels)
    found = decode(simd, kind, size, pieces, lambda: simd.set_level(rng.choice(levels)))
    simd.set_level(simd.highest)
    assert found == expected, case


def broken(rng: random.Random, colour: str, size: tuple[int, int], interlaced: bool) -> list[bytes]:
    """Data of rows, whole or cut, changed or with a filter that there is not, in pieces."""
    content = rows(rng, colour, 8, size, interlaced, (0, 1, 2, 3, 4))
    if rng.random() < 0.3:
        content = rows(rng, colour, 8, size, interlaced, (0, 1, 2, 3, 4, 4, 3, rng.randrange(5, 256)))
    if rng.random() < 0.3:
        content = content[: rng.randrange(len(content))] + rng.randbytes(rng.randrange(40))
    data = zlib.compress(content, rng.choice((0, 1, 6)))
    if rng.random() < 0.3:
        data = data[: rng.randrange(len(data))]
    if rng.random() < 0.4 and data:
        place = rng.randrange(len(data))
        data = data[:place] + rng.randbytes(1) + data[place + 1 :]
    if rng.random() < 0.2:
        data += rng.randbytes(rng.randrange(30))
    return cut(rng, data)


def test_broken_data_ends_as_in_stock(simd: Simd) -> None:
    rng = random.Random(7)
    for case in range(CASES):
        colour = rng.choice(("L", "LA", "RGB", "RGBA"))
        size, interlaced = (rng.randrange(1, 70), rng.randrange(1, 30)), rng.random() < 0.4
        pieces = broken(rng, colour, size, interlaced)
        check_calls(simd, rng, case, (colour, int(interlaced)), size, pieces)


def far_match(content: bytes) -> bytes:
    """Deflated ``content``, all of it below 144, and then a match from far before it. RFC 1951, 3.2.6."""
    codes = [f"{0x30 + value:08b}" for value in content]
    # A block of fixed codes; 3 bytes from 24,577 and more bytes before.
    bits = "1" + "10" + "".join(codes) + "0000001" + "11101" + "0" * 13
    bits += "0" * (-len(bits) % 8)
    return b"\x78\x01" + bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))


def test_a_match_of_what_was_never_there(simd: Simd) -> None:
    """The rows before it come out: zlib finds it only when it has room for more."""
    rng = random.Random(17)
    for length in range(1, 130):
        content = b"".join(bytes([0, *(rng.randrange(144) for _ in range(12))]) for _ in range(10))
        data = far_match(content[:length]) + bytes(200)
        check_calls(simd, rng, length, ("L", 0), (12, 10), [data])


def test_rows_without_filters_are_left_to_stock(simd: Simd) -> None:
    im = noise_image(simd, random.Random(3), "P", (40, 30))
    im.putpalette(bytes(range(256)) * 3)
    for level in simd.levels:
        stock, ours, served = simd.both("ImagingZipEncode", level, lambda: save(im))
        assert stock == ours
        assert set(served) == {("stock", "none")}


# ------------------------------------------------------------------ saving


def noise_image(simd: Simd, rng: random.Random, mode: str, size: tuple[int, int]) -> Any:
    return simd.image(mode, size, noise(rng, size[0] * size[1] * 4))


def smooth_image(simd: Simd, rng: random.Random, mode: str, size: tuple[int, int]) -> Any:
    """Rows for which every filter is the best now and then: gradients, equal rows, solid ones, noise."""
    bands = 1 if mode in ("L", "P", "1") else 2 if mode == "I;16" else 4
    width, height = size
    kinds = [rng.randrange(6) for _ in range(height)]
    data = bytearray()
    for y, kind in enumerate(kinds):
        above = bytes(data[-width * bands :]) if y else bytes(width * bands)
        if kind == 0:
            row = above
        elif kind == 1:
            row = bytes(rng.choices((0, 7, 255))) * (width * bands)
        elif kind == 2:
            row = bytes((x * 3 + y) % 256 for x in range(width) for _ in range(bands))
        elif kind == 3:
            row = bytes((value + rng.randrange(3)) % 256 for value in above)
        elif kind == 4:
            row = bytes(((x * x) // 9 + above[i]) % 256 for x in range(width) for i in range(bands))
        else:
            row = rng.randbytes(width * bands)
        data += row
    return simd.image(mode, size, bytes(data))


def save(im: Any, **options: Any) -> bytes:
    return saved(im, "PNG", **options)


def check_save(simd: Simd, im: Any, label: object, **options: Any) -> None:
    for level in simd.levels:
        stock, ours, served = simd.both("ImagingZipEncode", level, lambda: save(im, **options))
        assert isinstance(stock, bytes), stock
        assert stock == ours, (level, label, options)
        # There is none for AVX-512.
        assert ("zip_encode", "avx2" if level == "avx512" else level) in served, (
            level,
            label,
            options,
            served,
        )


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "RGB", "RGBA"])
def test_files_are_stocks(simd: Simd, mode: str) -> None:
    rng = random.Random(mode)
    for width in WIDTHS:
        for make in (noise_image, smooth_image):
            im = make(simd, rng, mode, (width, rng.randrange(1, 15)))
            options = {"optimize": rng.random() < 0.5, "compress_level": rng.choice((0, 1, 6, 9))}
            check_save(simd, im, (mode, width, make), **options)


@pytest.mark.parametrize("room", [1, 2, 3, 10, 100, 5000])
def test_room_for_so_many_bytes(simd: Simd, room: int) -> None:
    """Every call of the encoder gives the same bytes, whichever level serves it."""
    from PIL import Image

    rng = random.Random(room)
    levels = ("none", *simd.levels)

    def encode(im: Any, optimize: bool, switch: Any = None) -> list[Any]:
        encoder = Image.core.zip_encoder(im.mode, im.mode, optimize, 6, -1, b"")
        encoder.setimage(im.im, (0, 0, *im.size))
        said = []
        while not said or said[-1][1] == 0:
            if switch:
                switch()
            said.append(encoder.encode(room))
        return said

    for mode in ("L", "RGB", "RGBA"):
        for optimize in (False, True):
            im = smooth_image(simd, rng, mode, (rng.randrange(1, 100), rng.randrange(1, 12)))
            with simd.at("none"):
                expected = encode(im, optimize)
            for level in simd.levels:
                with simd.at(level):
                    assert encode(im, optimize) == expected
            assert encode(im, optimize, lambda: simd.set_level(rng.choice(levels))) == expected
    simd.set_level(simd.highest)


def test_random_images(simd: Simd) -> None:
    rng = random.Random(11)
    for case in range(CASES):
        mode = rng.choice(("L", "LA", "I;16", "RGB", "RGBA"))
        size = rng.randrange(1, 200), rng.randrange(1, 20)
        im = rng.choice((noise_image, smooth_image))(simd, rng, mode, size)
        check_save(simd, im, case, optimize=rng.random() < 0.3, compress_type=rng.choice((-1, 0, 2, 3)))
        colour, bits = rng.choice(KINDS)
        file = png(rng, colour, bits, size, interlaced=rng.random() < 0.3, piece=rng.choice((0, 100)))
        check_load(simd, file, case)
