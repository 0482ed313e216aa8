"""Random calls of every function that has a kernel: every level gives the very bytes of stock.

cases.c makes them: sizes around the vectors' widths, 0 and 2**15, odd boxes, extreme
numbers, NaN and infinities; sources in memory that cannot be written, whose rows overlap,
run backwards or end where the pages do; in every 64th case all rows, of sources and results, lie
at an end of pages with others beside them that cannot be touched.

``SIMDINSTALL_CASES`` is how many calls of each function a kernel has to serve at each level (a
small part unless it is set), ``SIMDINSTALL_CASES_SEED`` where they start. With
``SIMDINSTALL_CASES_REPORT`` the counts are appended to that file, as lines of JSON.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from fronted import Simd

from conftest import SANITIZED

CASES = int(os.environ.get("SIMDINSTALL_CASES", "1000"))
SEED = int(os.environ.get("SIMDINSTALL_CASES_SEED", "1"))
REPORT = os.environ.get("SIMDINSTALL_CASES_REPORT")
FUNCTIONS = re.findall(
    r'^    \{"(\w+)"', Path(__file__).with_name("cases_functions.c").read_text(), re.MULTILINE
)
#: Functions of Pillow whose work is done by a kernel of another one.
THROUGH = {"ImagingGaussianBlur": "ImagingBoxBlur"}
#: Calls made at a time, and the share of them that a kernel serves at the least.
BATCH = 2000
LEAST_SHARE = 1 / 20


def own_kernels(simd: Simd, function: str) -> dict[str, set[str]]:
    """The project's kernels of that function: level to names."""
    found: dict[str, set[str]] = {}
    for entry in simd.entries():
        if entry.function == function and not entry.kernel.startswith(("stock", "pillow_simd_")):
            found.setdefault(entry.level, set()).add(entry.kernel)
    return found


def borrowed(simd: Simd) -> set[str]:
    """Pillow-SIMD's kernels, of which some differ from stock by a little."""
    return {entry.kernel for entry in simd.entries() if entry.kernel.startswith("pillow_simd_")}


def report(**line: object) -> None:
    if REPORT:
        with Path(REPORT).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_random_cases(simd: Simd, function: str) -> None:
    """Stock or a kernel of Pillow-SIMD that differs a little serves what no own kernel does."""
    fronted = THROUGH.get(function, function)
    kernels = own_kernels(simd, fronted)
    if not kernels:
        pytest.skip("no own kernel")
    served: Counter[str] = Counter()
    made = 0
    began = time.process_time()
    with simd.without(*borrowed(simd)):
        while min((served[level] for level in simd.levels), default=CASES) < CASES:
            count = min(BATCH, CASES)
            simd.reset()
            assert not simd.random_calls(function, seed=SEED, first=made, count=count)
            made += count
            for (kernel, level), calls in simd.served(fronted).items():
                if kernel != "stock":
                    assert kernel in kernels[level]
                    served[level] += calls
            assert made < 10 * BATCH or min(served[level] for level in simd.levels) > LEAST_SHARE * made
    seconds = time.process_time() - began
    report(function=function, seed=SEED, calls=made, served=served, differing=0, seconds=round(seconds, 1))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_row_is_left(simd: Simd, function: str) -> None:
    """Each row at an end of pages, nothing beside it: a read or write of one byte too many kills."""
    if not own_kernels(simd, THROUGH.get(function, function)):
        pytest.skip("no own kernel")
    count = 20 if SANITIZED else max(150, CASES // 100)
    with simd.without(*borrowed(simd)):
        assert not simd.random_calls(function, seed=SEED + 1, first=0, count=count, guarded=1)


def test_the_same_number_is_the_same_case(simd: Simd) -> None:
    """However the cases are divided into batches, and whatever ran before."""
    for first, count in ((0, 40), (7, 3), (39, 1)):
        simd.reset()
        simd.random_calls("ImagingReduce", seed=3, first=first, count=count)
        once = simd.served("ImagingReduce")
        simd.reset()
        for number in range(first, first + count):
            simd.random_calls("ImagingReduce", seed=3, first=number, count=1)
        assert simd.served("ImagingReduce") == once


def test_a_difference_is_found(simd: Simd) -> None:
    """One bit of one byte, in one of a hundred calls."""
    found = simd.random_calls("a wrong kernel", seed=SEED, first=0, count=1000)
    assert re.match(r"case \d+ at level 1: byte \d+ of row \d+ is \d+ in stock, \d+ here; mode", found)
    number = int(found.split()[1])
    assert not simd.random_calls("a wrong kernel", seed=SEED, first=0, count=number)
    assert simd.random_calls("a wrong kernel", seed=SEED, first=number, count=1) == found
    assert "no such function" in simd.random_calls("ImagingNothing", seed=SEED, first=0, count=1)
