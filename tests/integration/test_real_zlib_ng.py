"""--zlib-ng: what the core really calls, in a Python with and one without a libz of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from targets import RELEASE, Target

pytestmark = pytest.mark.network

SAID = """
import io, json, sys
from PIL import Image, features, _simd
image = Image.effect_noise((300, 200), 60).convert("RGB")
file = io.BytesIO()
image.save(file, "PNG")
same = Image.open(io.BytesIO(file.getvalue())).tobytes() == image.tobytes()
maps = open("/proc/self/maps").read()
print(json.dumps([features.version("zlib"), _simd.zlib_ng(), same, "PIL/libpillow_zlib.so" in maps]))
"""


def test_the_core_calls_zlib_ng_and_nobody_else_does(target: Target) -> None:
    document = json.loads(
        target.simdinstall(
            *("install", "--zlib-ng", "--march", "x86-64-v2", "--pillow", RELEASE, "--yes", "--json")
        )
    )
    grades = {row["operation"]: row["grade"] for row in document["verdict"]["graded"] if row["mode"] == "RGB"}
    assert grades.pop("codecs") == "repacked"
    assert set(grades.values()) == {"exact"}
    expected = ["1.3.1.zlib-ng", "2.3.3", True, True]
    assert json.loads(target.run(SAID)) == expected
    assert "zlib-ng" not in target.run("from PIL import Image; import zlib; print(zlib.ZLIB_RUNTIME_VERSION)")
    assert "zlib-ng 2.3.3" in target.simdinstall("status", "--offline")
    # Debian's python3 has a libz among its own libraries, in front of everything.
    system = Path("/usr/bin/python3.11")
    if system.exists() and "3.11" in target.run("import sys; print(sys.version)"):
        done = subprocess.run(
            [system, "-I", "-c", f"import sys; sys.path.insert(0, {str(target.site)!r})\n{SAID}"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout) == expected
