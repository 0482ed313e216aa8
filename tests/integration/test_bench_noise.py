"""What a benchmark says of nothing: the same build against itself, on a busy machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import builds
from simdinstall.bench import Options, run_bench
from simdinstall.measure import Build
from simdinstall.peers import INSTALLED, STOCK, Participant

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not os.environ.get("SIMDINSTALL_TEST_NOISE"),
        reason="a quarter of an hour of measuring and more, at its best with a core to itself: set"
        " SIMDINSTALL_TEST_NOISE=1",
    ),
]

#: A bit of everything that is quick: some 45 rows.
ROWS = "resize/RGB (up|down)|memory/|composite/|convert/RGB|transpose/RGB|point/table"


@pytest.fixture
def neighbour() -> Iterator[None]:
    """A process that computes without end, wherever the system puts it."""
    busy = subprocess.Popen([sys.executable, "-c", "while True: sum(range(100000))"])
    yield
    busy.kill()
    busy.wait()


@pytest.mark.parametrize("time", range(5))
def test_a_build_is_as_fast_as_itself(
    time: int, neighbour: None, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    stock = builds.stock(tmp_path / "stock", pytestconfig)
    python = Path(sys.executable)
    participants = [
        Participant(label=label, title=label, build=Build(label=label, python=python, path=stock))
        for label in (STOCK, INSTALLED)
    ]
    found = run_bench(participants, Options(ops=ROWS), folder=tmp_path)
    assert not found.interrupted
    comparisons = {
        row.name: cell.comparison
        for row in found.rows
        if (cell := row.cell(INSTALLED)) is not None and cell.comparison is not None
    }
    assert len(comparisons) > 40
    changed = {name: one for name, one in comparisons.items() if one.verdict in ("faster", "slower")}
    far = {name: one for name, one in comparisons.items() if abs(one.ratio - 1) > 0.03}
    print(f"{len(comparisons) - len(far)} of {len(comparisons)} within 3 %", *found.notes)
    assert changed == {}
    assert len(far) <= 0.1 * len(comparisons), far
