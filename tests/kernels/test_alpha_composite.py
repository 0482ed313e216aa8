"""Own alpha compositing: every byte of stock, those that no band uses too."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from fronted import Simd

SIZES = (*range(1, 36), 63, 64, 65, 127, 129)


def pixels(rng: random.Random, length: int) -> bytes:
    if rng.random() < 0.5:
        return rng.randbytes(length)
    return bytes(rng.choices((0, 1, 2, 127, 128, 253, 254, 255), k=length))


def check(simd: Simd, below: Any, above: Any, label: object, kernel: str | None = "alpha_composite") -> None:
    from PIL import Image

    before = simd.raw(below), simd.raw(above)
    for level in simd.levels:
        simd.assert_same(
            "ImagingAlphaComposite",
            kernel,
            level,
            lambda: below._new(Image.core.alpha_composite(below.im, above.im)),
            (label, level),
        )
    assert before == (simd.raw(below), simd.raw(above)), "a source was changed"


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_sizes(simd: Simd, mode: str) -> None:
    rng = random.Random(mode)
    for width in SIZES:
        below = simd.image(mode, (width, 3), pixels(rng, width * 12))
        above = simd.image(mode, (width, 3), pixels(rng, width * 12))
        check(simd, below, above, width)


def test_every_pair_of_alphas(simd: Simd) -> None:
    rng = np.random.default_rng(4)
    alpha = np.arange(256, dtype=np.uint8)
    for number in range(6):
        below = rng.integers(0, 256, (256, 256, 4), dtype=np.uint8)
        above = rng.integers(0, 256, (256, 256, 4), dtype=np.uint8)
        if number % 2:
            below[..., :3], above[..., :3] = below[..., :3] // 128 * 255, above[..., :3] // 128 * 255
        below[..., 3], above[..., 3] = alpha[None, :], alpha[:, None]
        size = (256, 256)
        check(
            simd, simd.image("RGBA", size, below.tobytes()), simd.image("RGBA", size, above.tobytes()), number
        )


def test_over_opaque_pixels(simd: Simd) -> None:
    """In some vectors all results are opaque, in others some, one or none."""
    rng = np.random.default_rng(5)
    for share in (1.0, 0.99, 0.5):
        below = rng.integers(0, 256, (40, 256, 4), dtype=np.uint8)
        above = rng.integers(0, 256, (40, 256, 4), dtype=np.uint8)
        below[..., 3] = np.where(rng.random((40, 256)) < share, 255, below[..., 3])
        images = [simd.image("RGBA", (256, 40), pixels.tobytes()) for pixels in (below, above)]
        check(simd, images[0], images[1], share)
        check(simd, images[1], images[0], share)


def test_an_image_over_itself(simd: Simd) -> None:
    im = simd.image("RGBA", (41, 7), random.Random(5).randbytes(1148))
    check(simd, im, im, "itself")


def test_left_to_stock(simd: Simd) -> None:
    rng = random.Random(6)
    im = simd.image("RGBA", (9, 9), rng.randbytes(324))
    rgb = simd.image("RGB", (9, 9), rng.randbytes(324))
    for a, b in (
        (im, simd.image("RGBA", (8, 9), b"x")),
        (im, simd.image("LA", (9, 9), b"x")),
        (rgb, rgb),
        (simd.image("RGBA", (0, 9), b"x"), simd.image("RGBA", (0, 9), b"x")),
    ):
        check(simd, a, b, (a, b), kernel=None)
