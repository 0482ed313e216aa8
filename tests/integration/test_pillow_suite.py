"""Pillow's own test suite: with the kernels of each instruction set, test by test as with stock.

``SIMDINSTALL_TEST_SUITE`` names the releases, parted by commas. Each takes six runs of the
suite, some two minutes of CPU time each.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Suite:
    """The tests of a release, and how they end with stock Pillow."""

    release: str
    folder: Path
    expected: Mapping[str, str]
    made: Callable[[Path], Target]


@pytest.fixture(scope="module", params=[name for name in RELEASES.split(",") if name])
def suite(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Suite:
    release, folder = request.param, tmp_path_factory.mktemp("suite")
    archive.extract(Fetcher(cache=cache).sdist("pillow", release).path, folder / "sdist")
    (tests,) = (folder / "sdist").iterdir()

    def environment(place: Path) -> Target:
        made = Target(place, cache)
        made.pip("install", "-q", "--only-binary", ":all:", f"pillow=={release}", *NEEDS)
        return made

    expected = outcomes(environment(folder / "stock"), tests, folder / "stock.xml")
    # A suite that could not be collected would agree with another that could not.
    assert Counter(expected.values())["passed"] > 4000
    print(f"{release} stock: {dict(Counter(expected.values()))}", file=sys.stderr)
    return Suite(release, tests, expected, environment)


def differences(suite: Suite, target: Target, level: str, report: Path) -> dict[str, tuple[str, str]]:
    """The tests that end otherwise than with stock, and how they do with each."""
    got = outcomes(target, suite.folder, report, PILLOW_SIMD=level)
    print(f"{suite.release} {level}: {dict(Counter(got.values()))}", file=sys.stderr)
    return {
        test: (suite.expected.get(test, ""), got.get(test, ""))
        for test in sorted(suite.expected.keys() | got.keys())
        if suite.expected.get(test) != got.get(test)
    }


def test_the_same_tests_pass_and_fail(suite: Suite, tmp_path: Path) -> None:
    fast = suite.made(tmp_path / "fast")
    fast.simdinstall("--pillow", suite.release, "--yes")
    here = fast.run("from PIL import _simd; print(_simd.level())")
    levels = LEVELS[LEVELS.index(here) :]
    different = {level: differences(suite, fast, level, tmp_path / f"{level}.xml") for level in levels}
    assert not any(different.values()), different


def test_the_same_tests_pass_and_fail_with_a_rebuilt_core(suite: Suite, tmp_path: Path) -> None:
    rebuilt = suite.made(tmp_path / "rebuilt")
    rebuilt.simdinstall("--rebuild", "--pillow", suite.release, "--yes")
    here = rebuilt.run("from PIL import _simd; print(_simd.level())")
    different = differences(suite, rebuilt, here, tmp_path / "rebuilt.xml")
    assert not different, different
