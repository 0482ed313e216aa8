"""A core of the real Pillow, trained: exact, told of, and the same again as long as its counts are kept."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from targets import RELEASE, Target

from simdinstall import cpu, tuned
from simdinstall.store import Store
from simdinstall.tuned import Tuned

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(
        not os.environ.get("SIMDINSTALL_TEST_TRAINING"),
        reason="some minutes, and gcc 12: set SIMDINSTALL_TEST_TRAINING=1",
    ),
]


def test_a_kept_choice_trains_the_core_once(target: Target, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    choice = Tuned(label="gcc trained", compiler="gcc", flags=(), why="kept by a test", trained=True)
    tuned.keep(Store(cache), cpu.detect(want_name=False), choice, core=True)

    def wheel(name: str) -> dict[str, Any]:
        words = ("wheel", "--rebuild", "--pillow", RELEASE, "-o", tmp_path / name, "--json")
        return dict(json.loads(target.simdinstall(*words, SIMDINSTALL_CACHE_DIR=str(cache))))

    first = wheel("first")
    assert first["verdict"]["ok"]
    assert {row["grade"] for row in first["verdict"]["graded"]} == {"exact"}
    assert any("trained: profile" in reason["why"] for reason in first["plan"]["reasons"])
    shutil.rmtree(cache / "wheels")
    assert wheel("second")["wheel"]["sha256"] == first["wheel"]["sha256"]
