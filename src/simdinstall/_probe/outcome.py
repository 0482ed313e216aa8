"""What an operation gave, as plain bytes; and how far two of them are apart.

The difference is computed by the build that runs this, which is the stock one: its
``ImageChops.difference`` and histograms are quick, and are the reference anyway.
"""

from __future__ import annotations

import array
import hashlib
import json
from operator import ne, sub
from typing import Any, NamedTuple

from .images import BYTES, size_of

_WORDS = {"I;16": "H", "I": "i", "F": "f"}


class Part(NamedTuple):
    """One image, file or value of an outcome. ``mode`` is empty for what is no image."""

    kind: str
    mode: str
    size: tuple[int, int]
    data: bytes


class Difference(NamedTuple):
    """How far two outcomes are apart; ``why`` where they cannot even be compared.

    ``largest`` is in units of one step of the mode, ``share`` the fraction of pixels that
    differ at all. ``visible`` is the largest difference after colours were multiplied by
    their alpha: what an eye could see, where un-premultiplying magnifies rounding.
    """

    largest: float
    share: float
    visible: float
    why: str = ""


SAME = Difference(0, 0.0, 0)


def parts(value: Any) -> list[Part]:
    """The outcome of an operation: an image, several, bytes, an array or any value."""
    from PIL import Image

    if isinstance(value, Image.Image):
        value.load()
        found = [Part("image", value.mode, value.size, value.tobytes())]
        if value.palette is not None and value.mode in ("P", "PA"):
            found.append(Part("value", "", (0, 0), bytes(value.palette.tobytes())))
        return found
    if isinstance(value, (bytes, bytearray)):
        return [Part("file", "", (0, 0), bytes(value))]
    if isinstance(value, (list, tuple)) and value and any(_is_picture(item) for item in value):
        return [part for item in value for part in parts(item)]
    if hasattr(value, "__array_interface__"):
        return [_array(value)]
    return [Part("value", "", (0, 0), repr(value).encode())]


def _is_picture(value: Any) -> bool:
    return hasattr(value, "__array_interface__")


def _array(value: Any) -> Part:
    shape = tuple(value.shape)
    bands = shape[2] if len(shape) == 3 else 1
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}.get(bands, "")
    if str(value.dtype) != "uint8" or len(shape) not in (2, 3) or not mode:
        return Part("value", "", (0, 0), repr((str(value.dtype), shape)).encode() + value.tobytes())
    return Part("image", mode, (shape[1], shape[0]), value.tobytes())


def weight(part: Part) -> int:
    """Bytes that a part holds in memory."""
    return size_of(part.mode, *part.size)[0] if part.kind == "image" else len(part.data)


def digest(found: list[Part]) -> str:
    """One hash over everything an operation gave."""
    total = hashlib.blake2b(digest_size=16)
    for part in found:
        total.update(json.dumps([part.kind, part.mode, part.size]).encode())
        total.update(part.data)
    return total.hexdigest()


def pack(found: list[Part]) -> bytes:
    """As bytes, for a file that another build's worker reads."""
    if len(found) == 1:
        part = found[0]
        header = b'[["%s","%s",[%d,%d],%d]]' % (
            part.kind.encode(), part.mode.encode(), part.size[0], part.size[1], len(part.data)
        )  # fmt: skip
        return len(header).to_bytes(8, "little") + header + part.data
    header = json.dumps([[part.kind, part.mode, part.size, len(part.data)] for part in found]).encode()
    return b"".join([len(header).to_bytes(8, "little"), header, *(part.data for part in found)])


def unpack(data: bytes) -> list[Part]:
    """The reverse of :func:`pack`. Raises :class:`ValueError` on anything else."""
    length = int.from_bytes(data[:8], "little")
    position = 8 + length
    found: list[Part] = []
    for kind, mode, size, count in json.loads(data[8:position]):
        found.append(Part(kind, mode, (size[0], size[1]), data[position : position + count]))
        position += count
    if position != len(data):
        raise ValueError("an outcome of another length than it says")
    return found


def compare(ours: list[Part], theirs: list[Part]) -> Difference:
    """The largest of the differences of all parts."""
    if len(ours) != len(theirs):
        return Difference(255, 1.0, 255, f"{len(theirs)} results instead of {len(ours)}")
    worst = SAME
    for own, other in zip(ours, theirs):
        found = _part(own, other)
        if found.why:
            return found
        worst = Difference(
            max(worst.largest, found.largest),
            max(worst.share, found.share),
            max(worst.visible, found.visible),
        )
    return worst


def _part(own: Part, other: Part) -> Difference:
    if own == other:
        return SAME
    if (own.kind, own.mode, own.size) != (other.kind, other.mode, other.size):
        return Difference(255, 1.0, 255, f"{_describe(other)} instead of {_describe(own)}")
    if own.kind == "file":
        return _files(own.data, other.data)
    if own.kind != "image":
        return Difference(255, 1.0, 255, f"{_short(other.data)} instead of {_short(own.data)}")
    if own.mode in _WORDS:
        return _words(own.mode, own.data, other.data)
    if own.mode == "1":
        bits = int.from_bytes(own.data, "little") ^ int.from_bytes(other.data, "little")
        return Difference(1, bin(bits).count("1") / (own.size[0] * own.size[1]), 1)
    return _bytes(own, other)


def _describe(part: Part) -> str:
    return f"{part.mode} {part.size[0]}x{part.size[1]}" if part.kind == "image" else _short(part.data)


def _short(data: bytes) -> str:
    text = data[:60].decode("utf-8", "replace")
    return text if len(data) <= 60 else text + "…"


def _files(own: bytes, other: bytes) -> Difference:
    """Two encoded files: their pixels count, not how they were packed."""
    decoded = [_decode(own), _decode(other)]
    if decoded[0] is None or decoded[1] is None:
        return Difference(255, 1.0, 255, f"another {len(other)} bytes than the {len(own)} of stock")
    return compare(decoded[0], decoded[1])


def _decode(data: bytes) -> list[Part] | None:
    import io

    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            return parts(image)
    except Exception:
        return None


def _words(mode: str, own: bytes, other: bytes) -> Difference:
    left, right = array.array(_WORDS[mode], own), array.array(_WORDS[mode], other)
    changed = sum(map(ne, left, right))
    gaps = [abs(gap) for gap in map(sub, left, right) if gap == gap]
    largest = max(gaps, default=0)
    return Difference(largest, changed / max(1, len(left)), largest)


def _bytes(own: Part, other: Part) -> Difference:
    largest, share = _planes(own, other, BYTES[own.mode])
    visible: float = largest
    premultiplied = {"RGBA": "RGBa", "LA": "La"}.get(own.mode)
    if premultiplied is not None:
        from PIL import Image

        flat = [
            Part(
                "image",
                premultiplied,
                part.size,
                Image.frombytes(part.mode, part.size, part.data).convert(premultiplied).tobytes(),
            )
            for part in (own, other)
        ]
        visible = _planes(flat[0], flat[1], BYTES[premultiplied])[0]
    return Difference(largest, share, visible)


def _planes(own: Part, other: Part, bands: int) -> tuple[int, float]:
    from PIL import Image, ImageChops

    worst: Any = None
    for band in range(bands):
        planes = [Image.frombytes("L", part.size, part.data[band::bands]) for part in (own, other)]
        gap = ImageChops.difference(planes[0], planes[1])
        worst = gap if worst is None else ImageChops.lighter(worst, gap)
    counts: list[int] = worst.histogram()
    pixels = sum(counts)
    largest = max((value for value, count in enumerate(counts) if count), default=0)
    return largest, (pixels - counts[0]) / max(1, pixels)


def to_json(found: Difference) -> dict[str, Any]:
    """For the answer to :mod:`simdinstall.measure`."""
    return {"largest": found.largest, "share": found.share, "visible": found.visible, "why": found.why}
