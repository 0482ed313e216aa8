"""Encoded files that loading is timed with, made by one build for all."""

from __future__ import annotations

import os
import re
from typing import Any

from .operations import Store, Unavailable

_FORMATS = {
    "jpg": "JPEG",
    "png": "PNG",
    "webp": "WEBP",
    "tif": "TIFF",
    "gif": "GIF",
    "avif": "AVIF",
    "jp2": "JPEG2000",
}
_NAME = re.compile(r"(photo|graphics)-(\d+)x(\d+)((?:-[A-Za-z0-9]+)*)\.([a-z0-9]+)")


def make(name: str, path: str, store: Store) -> None:
    """Write the file that a name asks for, such as ``photo-2560x1600-RGBA-q85.jpg``.

    The words between size and suffix: a mode, ``q85`` for a quality, ``progressive``,
    ``s444`` for colour at full size, ``lossless``, and a TIFF's compression. Raises
    :class:`Unavailable` where this build cannot write it.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"no such asset: {name}")
    content, width, height, words, suffix = match.groups()
    mode = "RGB"
    options: dict[str, Any] = {}
    for word in filter(None, words.split("-")):
        if re.fullmatch(r"q\d+", word):
            options["quality"] = int(word[1:])
        elif word == "progressive":
            options["progressive"] = True
        elif word == "s444":
            options["subsampling"] = 0
        elif word == "lossless":
            options["lossless"] = True
        elif word in ("lzw", "deflate"):
            options["compression"] = {"lzw": "tiff_lzw", "deflate": "tiff_adobe_deflate"}[word]
        else:
            mode = word
    _write(mode, (int(width), int(height)), content, _FORMATS[suffix], options, path, store)


def _write(
    mode: str,
    size: tuple[int, int],
    content: str,
    format: str,
    options: dict[str, Any],
    path: str,
    store: Store,
) -> None:
    from PIL import Image

    Image.init()
    if format not in Image.SAVE:
        raise Unavailable(f"no build here writes {format}")
    if format == "AVIF":
        options = {"max_threads": 1, "speed": 9, **options}
    image = Image.frombytes(mode, size, store.pixels(mode, size, content, 1))
    half = path + ".part"
    image.save(half, format, **options)
    os.replace(half, path)
