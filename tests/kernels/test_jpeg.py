"""JPEG: pixels of every kind of file, and files of every kind of image, are those of stock."""

from __future__ import annotations

import io
import random
from typing import Any

import pytest
from fronted import Simd, saved

#: Images from so many bytes on are decoded straight into their rows.
LARGE = 8 << 20
MODES = ("L", "RGB", "CMYK", "YCbCr")


def photo(simd: Simd, mode: str, size: tuple[int, int], seed: int = 1) -> Any:
    """Random blocks with a little noise: all of a file's coefficients, in few bytes."""
    from PIL import Image

    rng = random.Random(seed)
    bands = 1 if mode == "L" else 4
    coarse = size[0] // 8 + 1, size[1] // 8 + 1
    blocks = simd.image(mode, coarse, rng.randbytes(coarse[0] * coarse[1] * bands))
    return blocks.resize((coarse[0] * 8, coarse[1] * 8), Image.Resampling.NEAREST).crop((0, 0, *size))


def jpeg(im: Any, **options: Any) -> bytes:
    return saved(im, "JPEG", **options)


def load(file: bytes, *, piece: int = 0, draft: tuple[str, tuple[int, int]] | None = None) -> Any:
    from PIL import Image

    with Image.open(io.BytesIO(file)) as im:
        if draft:
            im.draft(*draft)
        if piece:
            im.decodermaxblock = piece
        im.load()
        return im


def check_load(simd: Simd, file: bytes, label: object, **how: Any) -> None:
    simd.assert_same("ImagingJpegDecode", "jpeg_decode", "sse4", lambda: load(file, **how), label)


def decode(simd: Simd, file: bytes, mode: str, size: tuple[int, int], pieces: list[int]) -> Any:
    """What PIL's own decoder says and does, call by call, with an image of that size."""
    from PIL import Image

    im = Image.new(mode, size, 77)
    decoder = Image.core.jpeg_decoder(mode, mode, "", 1, 0)
    decoder.setimage(im.im, (0, 0, *size))
    said, at, until = [], 0, 0
    for piece in [*pieces, len(file)]:
        until = min(until + piece, len(file))
        said.append(decoder.decode(file[at:until]))
        if said[-1][0] < 0:
            break
        at += said[-1][0]
    decoder.cleanup()
    return said, simd.raw(im)


def check_calls(simd: Simd, file: bytes, mode: str, size: tuple[int, int], pieces: list[int]) -> None:
    with simd.at("none"):
        expected = decode(simd, file, mode, size, pieces)
    assert decode(simd, file, mode, size, pieces) == expected, (mode, size, pieces)


# ------------------------------------------------------------------ loading


@pytest.mark.parametrize("mode", MODES)
def test_small_images(simd: Simd, mode: str) -> None:
    for width in (*range(1, 35), 63, 64, 65, 130):
        file = jpeg(photo(simd, mode, (width, width % 40 + 1), width), quality=90)
        check_load(simd, file, (mode, width))


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_large_images(simd: Simd, mode: str, options: dict[str, Any]) -> None:
    """Straight into rows, whose ends are the ends of what may be written."""
    for width in (37, 1021):
        size = width, LARGE // (width * (1 if mode == "L" else 4)) + 1
        if size[1] > 65500:
            continue
        file = jpeg(photo(simd, mode, size), quality=60, **options)
        for rows in ("stock", "pages"):
            with simd.rows(rows):
                check_load(simd, file, (mode, size, options, rows))


def test_drafts(simd: Simd) -> None:
    for size in ((500, 375), (5001, 3003)):
        file = jpeg(photo(simd, "RGB", size))
        for mode in ("L", "RGB", "YCbCr"):
            for factor in (1, 2, 4, 8):
                wanted = size[0] // factor, size[1] // factor
                check_load(simd, file, (size, mode, factor), draft=(mode, wanted))


@pytest.mark.parametrize("size", [(90, 70), (2100, 1000)])
def test_files_in_pieces(simd: Simd, size: tuple[int, int]) -> None:
    file = jpeg(photo(simd, "RGB", size), quality=95)
    for piece in (1, 7, 100) if size[0] < 100 else (1000, 30_000):
        check_load(simd, file, (size, piece), piece=piece)


@pytest.mark.parametrize("size", [(50, 40), (2100, 1000)])
def test_broken_files_end_as_in_stock(simd: Simd, size: tuple[int, int]) -> None:
    rng = random.Random(size[0])
    whole = jpeg(photo(simd, "RGB", size), quality=80)
    for _ in range(120 if size[0] < 100 else 12):
        file = bytearray(whole)
        for _ in range(rng.choice((0, 1, 3))):
            file[rng.randrange(2, len(file))] = rng.randrange(256)
        end = rng.choice((len(file), rng.randrange(len(file))))
        pieces = [rng.choice((1, 50, 1000, len(file))) for _ in range(rng.randrange(4))]
        check_calls(simd, bytes(file[:end]), "RGB", size, pieces)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_images_wider_and_higher_than_their_files(simd: Simd, mode: str) -> None:
    """Whatever is not in the file is zero: the rest of a line, as far as stock has a buffer for it."""
    for size in ((30, 20), (2200, 4000)):
        file = jpeg(photo(simd, mode, size))
        for wider, higher in ((0, 0), (1, 0), (3, 0), (3, 2), (0, 2)):
            check_calls(simd, file, mode, (size[0] + wider, size[1] + higher), [])


# ------------------------------------------------------------------ saving


@pytest.mark.parametrize("mode", MODES)
def test_files_are_the_bytes_of_stock(simd: Simd, mode: str) -> None:
    variants: list[dict[str, Any]] = [
        {},
        {"quality": 95, "subsampling": 0},
        {"progressive": True, "optimize": True},
        {"comment": b"x" * 3000, "quality": 30},
        {"restart_marker_rows": 1},
        {"smooth": 30},
    ]
    if mode == "RGB":
        variants.append({"keep_rgb": True})
    expected = ("jpeg_encode", "sse4") if mode in ("L", "RGB") else ("stock", "none")
    for size in ((1, 1), (17, 3), (64, 64), (401, 300)):
        for rows in ("stock", "pages"):
            with simd.rows(rows):
                im = photo(simd, mode, size)
                for options in variants:
                    stock, ours, served = simd.both(
                        "ImagingJpegEncode", "sse4", lambda im=im, options=options: jpeg(im, **options)
                    )
                    assert set(served) == {expected}
                    assert stock == ours, (mode, size, options, rows)


def test_files_in_little_room(simd: Simd) -> None:
    """The encoder is called again and again, and begins with a line that it could not write before."""
    from PIL import Image

    im = photo(simd, "RGB", (700, 90))

    def encode(room: int) -> bytes:
        encoder = Image.core.jpeg_encoder("RGB", "RGB", 90)
        encoder.setimage(im.im, (0, 0, *im.size))
        found, done = b"", 0
        while done == 0:
            _, done, data = encoder.encode(room)
            found += data
        assert done == 1
        return found

    for room in (1024 + 600, 3000, 10_000):
        with simd.at("none"):
            expected = encode(room)
        assert encode(room) == expected
