"""--rebuild --libs system: what this machine lacks is said; what it has is compiled."""

from __future__ import annotations

import json
import os
import platform
import sysconfig
from pathlib import Path

import pytest
from targets import RELEASE, Target

from simdinstall import system_libs
from simdinstall.system_libs import FEATURES, REQUIRED

pytestmark = pytest.mark.network

LACKING = system_libs.lacking(FEATURES)
OPTIONS = ("--rebuild", "--libs", "system", "--march", "x86-64-v2", "--pillow", RELEASE)


@pytest.mark.skipif(not LACKING, reason="this machine lacks nothing")
def test_what_is_lacking_is_said_before_anything_is_fetched(target: Target, tmp_path: Path) -> None:
    said = target.simdinstall(
        "wheel", *OPTIONS, "--offline", code=6, SIMDINSTALL_CACHE_DIR=str(tmp_path / "empty")
    )
    for item in LACKING:
        assert f"{item.feature.name} ({item.feature.title})" in said
    assert "install what is missing" in said or "--without" in said


@pytest.mark.skipif(
    "SIMDINSTALL_TEST_SYSTEM" not in os.environ, reason="two minutes: set SIMDINSTALL_TEST_SYSTEM=1"
)
@pytest.mark.skipif(
    any(item.feature.name in REQUIRED for item in LACKING), reason="Pillow cannot be compiled here"
)
@pytest.mark.skipif(platform.machine() != "x86_64", reason="kernels are for x86-64")
def test_pillow_is_compiled_against_the_system(target: Target, tmp_path: Path) -> None:
    assert (Path(sysconfig.get_path("include")) / "Python.h").exists()
    without = [part for item in LACKING for part in ("--without", item.feature.name)]
    document = json.loads(target.simdinstall("install", *OPTIONS, *without, "--yes", "--json"))
    assert document["wheel"]["version"] == f"{RELEASE}+simd.v2.system"
    assert {row["grade"] for row in document["verdict"]["graded"]} == {"exact"}
    told = json.loads(next(target.site.glob("pillow-*.dist-info/simdinstall.json")).read_text())
    assert set(told["libs"]["without"]) >= {item.feature.name for item in LACKING}
    asked = [x.asked[0] for x in system_libs.wanted(told["libs"]["without"])]
    assert target.run(f"from PIL import features; print(all(map(features.check, {asked})))") == "True"
    maps = target.run("import PIL.Image; print(open('/proc/self/maps').read())")
    assert "pillow.libs" not in maps
    again = json.loads(target.simdinstall("install", *OPTIONS, *without, "--yes", "--json"))
    assert not again["would_change"]
