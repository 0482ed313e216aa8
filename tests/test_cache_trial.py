from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

import cache_parts
from simdinstall.cache.trial import Trial
from simdinstall.errors import VerifyError
from simdinstall.wheel import read


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    made = cache_parts.cell()
    house = cache_parts.house(tmp_path / "wh")
    entry = cache_parts.entry(house, made, tmp_path / "s")
    return Trial(read(house.root / entry.path, cached=True), entry)


def answer(**changes: Any) -> dict[str, Any]:
    ran = [["ImagingResample", "resample", "avx2", 5], ["ImagingCopy", "stock", "none", 1]]
    return {"level": "avx2", "rows": [["resize", "L", 0], ["blur", "RGB", 0]], "ran": ran} | changes


def test_what_gives_stocks_bytes_is_good(trial: Trial) -> None:
    verdict = trial.judge(answer())
    assert verdict.ok
    assert verdict.exact == ("resize", "blur")
    assert verdict.level == "avx2"
    assert verdict is trial.verdict


def test_other_bytes_are_a_failure(trial: Trial) -> None:
    verdict = trial.judge(answer(rows=[["resize", "L", 3]]))
    with pytest.raises(VerifyError, match="nothing was installed") as caught:
        verdict.require_ok()
    assert "resize of L differs from stock Pillow by 3" in caught.value.why


def test_kernels_that_do_not_run_are_a_failure(trial: Trial) -> None:
    assert "no kernel ran" in trial.judge(answer(ran=[])).problems
    # A CPU without any instruction set that a kernel is for runs stock's code.
    assert trial.judge(answer(ran=[], level="none")).ok


def test_the_program_needs_nothing_but_pillow_and_the_standard_library() -> None:
    text = Trial.program.read_text()
    assert "simdinstall" not in text.partition('"""\n\n')[2]
    spec = importlib.util.find_spec("simdinstall.cache._compare")
    assert spec is not None
    assert spec.origin == str(Trial.program)
    assert "simdinstall.cache._compare" not in sys.modules
