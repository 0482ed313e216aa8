"""--rebuild: Pillow's own core compiled for the level, on the official wheel's libraries."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from targets import RELEASE, Target

from simdinstall import linked

pytestmark = pytest.mark.network


def test_a_rebuilt_pillow_is_stock_pillow_in_features_and_bytes(target: Target, tmp_path: Path) -> None:
    document = json.loads(
        target.simdinstall(
            *("wheel", "--rebuild", "--march", "x86-64-v2", "--pillow", RELEASE, "-o", tmp_path, "--json")
        )
    )
    assert document["wheel"]["version"] == f"{RELEASE}+simd.v2.rebuilt"
    assert document["verdict"]["ok"]
    assert document["verdict"]["features_ok"]
    assert {row["grade"] for row in document["verdict"]["graded"]} == {"exact"}
    [wheel] = tmp_path.glob("*.whl")
    assert "manylinux_2_27_x86_64.manylinux_2_28_x86_64" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        archive.extract("PIL/_imaging_stock.so", tmp_path)
    core = linked.shape(tmp_path / "PIL" / "_imaging_stock.so")
    assert core.rpath == "$ORIGIN/../pillow.libs"
    assert core.isa & linked.ISA_BITS["x86-64-v2"]
    assert core.glibc == ""


def test_flags_that_cannot_be_are_refused_before_a_compiler_starts(target: Target) -> None:
    said = target.simdinstall("wheel", "--rebuild", "--pillow", RELEASE, code=2, CFLAGS="-ffast-math")
    assert "-ffast-math" in said
