"""The parts of the probe that need no build: images, and the comparison of words."""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from pathlib import Path

import pytest

from simdinstall._probe import images, machine, outcome
from simdinstall._probe.operations import Store
from simdinstall._probe.outcome import Part


@pytest.mark.parametrize("mode", [*images.BYTES, "1"])
@pytest.mark.parametrize("content", images.CONTENTS)
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (65, 3)])
def test_images_have_their_size_and_are_the_same_each_time(
    mode: str, content: str, size: tuple[int, int]
) -> None:
    first = images.pixels(mode, *size, content)
    assert len(first) == images.size_of(mode, *size)[1]
    assert images.pixels(mode, *size, content) == first


def test_images_are_made_once_for_all_builds(tmp_path: Path) -> None:
    wanted = images.pixels("I;16", 5, 4, "graphics", 2)
    assert Store(folder=str(tmp_path)).pixels("I;16", (5, 4), "graphics", 2) == wanted
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(b"made by another")
    store = Store(folder=str(tmp_path))
    assert store.pixels("I;16", (5, 4), "graphics", 2) == b"made by another"
    assert store.pixels("I;16", (5, 4), "graphics", 3) != wanted
    kept.unlink()
    assert store.pixels("I;16", (5, 4), "graphics", 2) == b"made by another"
    assert Store(folder=str(tmp_path / "none")).pixels("I;16", (5, 4), "graphics", 2) == wanted


def test_the_very_bytes_are_fixed() -> None:
    # Saved reports compare outcomes by their hashes, so the inputs must never change.
    digests = {
        content: hashlib.sha256(images.pixels("RGBA", 61, 47, content)).hexdigest()[:12]
        for content in images.CONTENTS
    }
    assert digests == {
        "photo": "52ca4875cfd6",
        "noise": "ab1993eee613",
        "extremes": "d2d83aae60e8",
        "graphics": "d3fc545e92cf",
        "gradient": "a664cf1b22aa",
        "flat": "eeb2e635e975",
    }


def test_photographs_use_the_whole_range_and_are_smooth() -> None:
    data = images.pixels("L", 300, 200)
    assert min(data) == 0
    assert max(data) == 255
    steps = [abs(a - b) for a, b in itertools.pairwise(data)]
    assert sum(step <= 16 for step in steps) > 0.9 * len(steps)
    assert len(set(data)) > 150


def test_alpha_has_clear_opaque_and_between() -> None:
    alpha = images.pixels("RGBA", 200, 100)[3::4]
    assert {0, 255} < set(alpha)
    assert len(set(alpha)) > 50


@pytest.mark.parametrize("mode", ["RGBa", "La"])
@pytest.mark.parametrize("content", ["photo", "noise", "extremes"])
def test_premultiplied_colours_do_not_exceed_their_alpha(mode: str, content: str) -> None:
    data, step = images.pixels(mode, 50, 30, content), images.BYTES[mode]
    for band in range(step - 1):
        assert all(
            value <= cover for value, cover in zip(data[band::step], data[step - 1 :: step], strict=True)
        )


def test_empty_images_and_unknown_contents() -> None:
    assert images.pixels("RGB", 0, 5) == b""
    with pytest.raises(KeyError):
        images.pixels("RGB", 5, 5, "painting")


def test_outcomes_survive_the_file() -> None:
    parts = [Part("image", "RGB", (2, 1), b"abcdef"), Part("value", "", (0, 0), b"(1, 2)")]
    for some in (parts, parts[:1], []):
        assert outcome.unpack(outcome.pack(some)) == some
    with pytest.raises(ValueError, match="length"):
        outcome.unpack(outcome.pack(parts) + b"x")


def test_outcomes_of_another_shape_cannot_be_compared() -> None:
    image = Part("image", "RGB", (2, 1), b"abcdef")
    assert "RGB 1x2 instead of RGB 2x1" in outcome.compare([image], [image._replace(size=(1, 2))]).why
    assert "0 results instead of 1" in outcome.compare([image], []).why
    value = Part("value", "", (0, 0), b"(1, 2)")
    assert "(1, 3) instead of (1, 2)" in outcome.compare([value], [value._replace(data=b"(1, 3)")]).why


def test_words_are_compared_as_numbers() -> None:
    own = Part("image", "I;16", (2, 1), (255).to_bytes(2, "little") + b"\0\0")
    other = own._replace(data=(256).to_bytes(2, "little") + b"\0\0")
    found = outcome.compare([own], [other])
    assert (found.largest, found.share) == (1, 0.5)


def test_bits_are_counted() -> None:
    own = Part("image", "1", (8, 1), b"\xf0")
    found = outcome.compare([own], [own._replace(data=b"\xf3")])
    assert (found.largest, found.share) == (1, 0.25)


def test_the_machine_moves_bytes() -> None:
    assert machine.bandwidth(1 << 20, 2) > 1e6
    assert [size for size, _ in machine.bandwidths()] == list(machine.SIZES)
    assert 0 <= machine.fault_cost(1 << 20, 3) < 1e-3


def test_the_probe_needs_nothing_of_ours() -> None:
    # What runs in the target environment must not import what is not there.
    from pathlib import Path

    for path in Path(images.__file__).parent.glob("*.py"):
        assert "simdinstall." not in path.read_text().replace(":mod:`simdinstall.", ""), path
    assert json.dumps(outcome.to_json(outcome.SAME))
    assert sys.version_info >= (3, 9)
