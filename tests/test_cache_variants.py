from __future__ import annotations

import json
import zipfile
from pathlib import Path

from installer.sources import WheelFile

import cache_parts
from simdinstall.cache import check, node, variants
from simdinstall.cache.catalogue import House


def filled(tmp_path: Path, *levels: str) -> House:
    house = House(tmp_path / "wh", pages=variants.all_pages)
    entries = [cache_parts.entry(house, cache_parts.cell(level=level), tmp_path / "s") for level in levels]
    house.publish(lambda catalogue: catalogue.with_entries(entries))
    return house


def test_every_level_becomes_a_variant_of_one_version(tmp_path: Path) -> None:
    house = filled(tmp_path, "portable", "v2", "v3", "haswell")
    variants.add_missing(house)
    listed = house.read()
    assert listed.variants
    made = {entry.level: entry.variant for entry in listed.entries}
    # Only the psABI's levels have a name in the draft.
    assert made.pop("haswell") is None
    stem = "pillow-13.0.0+simd-cp311-cp311-manylinux_2_28_x86_64"
    assert {level: told and told["file"] for level, told in made.items()} == {
        "portable": f"{stem}.whl",
        "v2": f"{stem}-x86_64_v2.whl",
        "v3": f"{stem}-x86_64_v3.whl",
    }
    for level, told in made.items():
        assert told is not None
        plain = (house.root / told["path"]).parent / f"{stem}.whl"
        (house.root / told["path"]).rename(plain)  # the library knows no labels
        with WheelFile.open(plain) as wheel:
            wheel.validate_record()
        with zipfile.ZipFile(plain) as archive:
            metadata = archive.read("pillow-13.0.0+simd.dist-info/METADATA").decode()
            assert "Version: 13.0.0+simd\n" in metadata
            has = "pillow-13.0.0+simd.dist-info/variant.json" in archive.namelist()
            assert has == (level != "portable")
        plain.rename(house.root / told["path"])
    assert check.check(node.place(str(house.root))).problems == ()


def test_the_index_says_what_each_label_asks(tmp_path: Path) -> None:
    house = filled(tmp_path, "portable", "v3", "v4")
    variants.add_missing(house)
    folder = house.root / "simple" / "variants" / "pillow"
    told = json.loads((folder / "pillow-13.0.0+simd-variants.json").read_text())
    assert told["variants"] == {
        "x86_64_v3": {"x86_64": {"level": ["v3"]}},
        "x86_64_v4": {"x86_64": {"level": ["v4"]}},
    }
    page = (folder / "index.html").read_text()
    assert page.count("<a ") == 4
    assert "pillow-13.0.0%2Bsimd-variants.json#sha256=" in page
    assert "preview" in page
    assert (house.root / "simple" / "v3" / "pillow" / "index.html").read_text().count("<a ") == 1


def test_variants_are_made_once_and_go_with_their_wheels(tmp_path: Path) -> None:
    house = filled(tmp_path, "portable", "v3")
    first = variants.add_missing(house)
    assert variants.add_missing(house) == first
    gone = cache_parts.cell(level="v3").key
    house.publish(lambda catalogue: catalogue.without([gone]), clean=True)
    assert not list(house.root.rglob("*x86_64_v3.whl"))
    assert "x86_64_v3" not in (house.root / "simple/variants/pillow/index.html").read_text()


def test_a_damaged_variant_is_found(tmp_path: Path) -> None:
    house = filled(tmp_path, "v3")
    [entry] = variants.add_missing(house).entries
    assert entry.variant is not None
    (house.root / entry.variant["path"]).write_bytes(b"")
    [problem] = check.check(node.place(str(house.root))).problems
    assert "altered" in problem
