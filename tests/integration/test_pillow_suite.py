"""Pillow's own test suite: with the kernels of each instruction set, test by test as with stock.

``SIMDINSTALL_TEST_SUITE`` names the releases, parted by commas. Each takes five runs of the
suite, some two minutes of CPU time each.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest
from targets import Target

from simdinstall import archive
from simdinstall.fetch import Fetcher

RELEASES = os.environ.get("SIMDINSTALL_TEST_SUITE", "")

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(not RELEASES, reason="ten minutes: set SIMDINSTALL_TEST_SUITE=13.0.0"),
]
#: What the suite uses where it finds it.
NEEDS = ("pytest", "pytest-timeout", "numpy", "olefile", "defusedxml", "packaging")
LEVELS = ("avx512", "avx2", "sse4", "none")


def outcomes(target: Target, suite: Path, report: Path, **variables: str) -> Mapping[str, str]:
    """The suite's tests, and how each ended; one that two parameters gave one name to by its number."""
    command = [target.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    command += ["-o", "addopts=", f"--junitxml={report}", "Tests"]
    done = subprocess.run(
        command, cwd=suite, env=target.environ | variables, capture_output=True, text=True, timeout=1800
    )
    assert report.exists(), done.stdout[-2000:] + done.stderr[-2000:]
    seen: Counter[str] = Counter()
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        seen[name] += 1
        ended = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        found[f"{name} #{seen[name]}"] = ended
    return found


@pytest.mark.parametrize("release", [name for name in RELEASES.split(",") if name])
def test_the_same_tests_pass_and_fail(release: str, tmp_path: Path, cache: Path) -> None:
    sdist = Fetcher(cache=cache).sdist("pillow", release)
    archive.extract(sdist.path, tmp_path / "sdist")
    (suite,) = (tmp_path / "sdist").iterdir()

    def environment(name: str) -> Target:
        made = Target(tmp_path / name, cache)
        made.pip("install", "-q", "--only-binary", ":all:", f"pillow=={release}", *NEEDS)
        return made

    stock, fast = environment("stock"), environment("fast")
    fast.simdinstall("--pillow", release, "--yes")
    expected = outcomes(stock, suite, tmp_path / "stock.xml")
    # A suite that could not be collected would agree with another that could not.
    assert Counter(expected.values())["passed"] > 4000
    print(f"{release} stock: {dict(Counter(expected.values()))}", file=sys.stderr)
    here = fast.run("from PIL import _simd; print(_simd.level())")
    levels = LEVELS[LEVELS.index(here) :]
    different: dict[str, dict[str, tuple[str | None, str | None]]] = {}
    for level in levels:
        got = outcomes(fast, suite, tmp_path / f"{level}.xml", PILLOW_SIMD=level)
        different[level] = {
            test: (expected.get(test), got.get(test))
            for test in sorted(expected.keys() | got.keys())
            if expected.get(test) != got.get(test)
        }
        print(f"{release} {level}: {dict(Counter(got.values()))}", file=sys.stderr)
    assert not any(different.values()), different
